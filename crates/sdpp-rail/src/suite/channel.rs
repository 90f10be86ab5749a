//! What both halves must do about channels: one order each, vouchers of its own, an end in peace.

use sdpp_proto::codec::ChannelId;
use sdpp_proto::statement::Signed;

use crate::rail::{Bill, CloseStatus, PaymentStatus};

use super::world::{coins, locked_at_rest, order, payment, refused};
use super::{RailWorld, Sale, insist, pay_carefully, settle_finally, test_key};

pub(super) async fn cases(world: &dyn RailWorld) {
    if !world.payee().option().channel {
        return;
    }
    admission_looks_at_the_channel(world).await;
    admission_compares_with_the_option(world).await;
    one_channel_serves_one_order(world).await;
    a_voucher_of_another_channel_is_refused(world).await;
    the_deposit_is_the_limit(world).await;
    an_equal_total_gives_nothing_new(world).await;
    redeeming_brings_the_highest_total_once(world).await;
    what_is_no_money_yet_is_outstanding(world).await;
    a_close_by_the_payer_leaves_the_grace(world).await;
    a_finished_channel_is_over(world).await;
}

async fn admit(world: &dyn RailWorld, order: &Signed<sdpp_proto::statement::Order>) -> bool {
    let answer = insist(world, || world.payee().admit(order)).await;
    assert!(answer.is_ok() || refused(&answer), "an order is admitted or refused: {answer:?}");
    answer.is_ok()
}

async fn admission_looks_at_the_channel(world: &dyn RailWorld) {
    let sale = Sale::open(world).await;
    assert!(!admit(world, &order(world, (None, world.fresh()), world.signer())).await, "an order without a channel");
    let invented = ChannelId(world.fresh().0);
    assert!(
        !admit(world, &order(world, (Some(invented), world.fresh()), world.signer())).await,
        "a channel nobody opened"
    );
    let signer = test_key(202);
    assert!(!admit(world, &order(world, (sale.funding.channel, sale.order.nonce), &signer)).await, "another signer");
    let backing = sale.admit().await.expect("the order itself");
    assert_eq!(backing.deposit, Some(sale.funding.deposit), "the payee sees what the payer locked");
    assert_eq!(sale.admit().await, Ok(backing), "looking again changes nothing");

    let closing = Sale::open(world).await;
    closing.close().await.expect("closes");
    assert!(refused(&closing.admit().await), "a channel whose close is pending");
}

async fn admission_compares_with_the_option(world: &dyn RailWorld) {
    let right = world.payee().option();
    let mut elsewhere = right.clone();
    elsewhere.address = world.other_address();
    let mut options = vec![("another payee", elsewhere)];
    if let Some(asset) = world.other_asset() {
        let mut coloured = right.clone();
        coloured.asset = asset;
        options.push(("another asset", coloured));
    }
    // Some ledgers count whole seconds.
    if let Some(shorter) = right.grace_min_ms.checked_sub(1000) {
        let mut hasty = right.clone();
        hasty.grace_min_ms = shorter;
        options.push(("a shorter grace", hasty));
    }
    for (what, option) in options {
        // A payer that refuses to open it is as good.
        if let Ok(sale) = Sale::open_by(world, option).await {
            assert!(refused(&sale.admit().await), "{what}");
        }
    }
}

async fn one_channel_serves_one_order(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let second = order(world, (sale.funding.channel, world.fresh()), world.signer());
    assert!(!admit(world, &second).await, "one channel, two orders");
    sale.pay_and_settle(&sale.bill(0, 1)).await;
    assert!(!admit(world, &second).await, "nor later");
    assert!(admit(world, &sale.order).await, "the first order is still the channel's");
}

async fn a_voucher_of_another_channel_is_refused(world: &dyn RailWorld) {
    let (sale, other) = (Sale::start(world).await, Sale::start(world).await);
    let bill = sale.bill(0, 5);
    let swapped = Bill { channel: other.funding.channel, ..bill.clone() };
    let elsewhere = other.bill(0, 5);
    let proof = pay_carefully(world, &bill).await.expect("pays");
    let its_proof = pay_carefully(world, &elsewhere).await.expect("pays");
    let mut of_other_order = payment(&bill, &proof);
    of_other_order.order_id = other.order.id();
    let mut without = payment(&bill, &proof);
    without.channel = None;
    let bodies = [
        ("another channel", payment(&swapped, &proof)),
        ("another order", of_other_order),
        ("no channel", without),
        ("another order's bill", payment(&elsewhere, &its_proof)),
    ];
    for (what, body) in bodies {
        let answer = settle_finally(world, &bill, &Signed::sign(world.signer(), body)).await;
        assert!(refused(&answer), "a voucher of {what}: {answer:?}");
    }
    let answer = settle_finally(world, &swapped, &sale.payment(&swapped, &proof)).await;
    assert!(refused(&answer), "a bill that names another order's channel: {answer:?}");
    sale.pay_and_settle(&bill).await;
}

async fn the_deposit_is_the_limit(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let above = sale.bill(0, 101);
    let answer = insist(world, || world.payer().pay(&above)).await;
    assert!(refused(&answer), "the payer signs nothing above the deposit: {answer:?}");
    let status = insist(world, || world.payer().status(&above.invoice)).await;
    assert_eq!(status, Ok(PaymentStatus::NotPaid), "and knows that it did not");
    let answer = settle_finally(world, &above, &sale.payment(&above, &world.voucher(&above))).await;
    assert!(refused(&answer), "the payee takes nothing above the deposit: {answer:?}");
    let before = world.received().await;
    sale.pay_and_settle(&sale.bill(0, 100)).await;
    assert_eq!(sale.redeem(true).await, Ok(coins(world, 100)), "all of it can be used");
    assert_eq!(world.received().await.checked_sub(before), Some(coins(world, 100)), "and arrives");
}

async fn an_equal_total_gives_nothing_new(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    sale.pay_and_settle(&sale.bill(0, 12)).await;
    let equal = sale.bill(12, 12);
    settle_finally(world, &equal, &sale.payment(&equal, &world.voucher(&equal))).await.expect("nothing new is due");
    assert_eq!(sale.redeem(true).await, Ok(coins(world, 12)), "and nothing new comes of it");
}

async fn redeeming_brings_the_highest_total_once(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let before = world.received().await;
    assert_eq!(sale.redeem(false).await, Ok(coins(world, 0)), "nothing to redeem yet");
    sale.pay_and_settle(&sale.bill(0, 10)).await;
    sale.pay_and_settle(&sale.bill(10, 30)).await;
    for _ in 0..2 {
        assert_eq!(sale.redeem(false).await, Ok(coins(world, 30)), "the highest total");
        assert_eq!(world.received().await.checked_sub(before), Some(coins(world, 30)), "once");
    }
    sale.pay_and_settle(&sale.bill(30, 50)).await;
    for _ in 0..2 {
        assert_eq!(sale.redeem(true).await, Ok(coins(world, 50)), "the stream went on after a redemption");
        assert_eq!(world.received().await.checked_sub(before), Some(coins(world, 50)), "only the rest came");
    }
}

async fn what_is_no_money_yet_is_outstanding(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let found = async || {
        let all = insist(world, || world.payee().outstanding()).await.expect("a payee knows what it has");
        let hurried = all.iter().take_while(|one| one.closing).count();
        assert!(all.iter().skip(hurried).all(|one| !one.closing), "what is in a hurry comes first");
        let mut own = all.iter().filter(|one| one.order == sale.order.id());
        let first = own.next().map(|one| (one.amount, one.closing));
        assert_eq!(own.count(), 0, "each order once");
        first
    };
    assert_eq!(found().await, Some((coins(world, 0), false)), "nothing was paid yet, but the channel is open");
    sale.pay_and_settle(&sale.bill(0, 10)).await;
    assert_eq!(found().await, Some((coins(world, 10), false)), "a voucher that was not redeemed");
    assert_eq!(sale.redeem(false).await, Ok(coins(world, 10)), "redeems");
    assert_eq!(found().await, Some((coins(world, 0), false)), "all is money, but the channel is still open");
    sale.pay_and_settle(&sale.bill(10, 30)).await;
    assert_eq!(found().await, Some((coins(world, 20), false)), "what came since");
    sale.close().await.expect("the payer may give up alone");
    assert_eq!(found().await, Some((coins(world, 20), true)), "and now it is in a hurry");
    assert_eq!(sale.redeem(false).await, Ok(coins(world, 30)), "redeems");
    assert_eq!(found().await, Some((coins(world, 0), true)), "no further voucher counts: that is news, too");
    assert_eq!(sale.redeem(true).await, Ok(coins(world, 30)), "finishes");
    sale.close().await.expect("closing is always allowed");
    locked_at_rest(world).await;
    assert_eq!(found().await, None, "a closed channel is over");
}

async fn a_close_by_the_payer_leaves_the_grace(world: &dyn RailWorld) {
    let locked = locked_at_rest(world).await;
    let sale = Sale::start(world).await;
    let before = world.received().await;
    sale.pay_and_settle(&sale.bill(0, 20)).await;
    let mut closed = sale.close().await;
    assert_eq!(closed, Ok(CloseStatus::Pending), "the payer may give up alone");
    closed = sale.close().await;
    assert_eq!(closed, Ok(CloseStatus::Pending), "and say so again");
    let late = sale.bill(20, 30);
    let answer = settle_finally(world, &late, &sale.payment(&late, &world.voucher(&late))).await;
    assert!(refused(&answer), "no new voucher once a close is pending: {answer:?}");
    assert_eq!(sale.redeem(false).await, Ok(coins(world, 20)), "what was settled is redeemed within the grace");
    assert_eq!(world.received().await.checked_sub(before), Some(coins(world, 20)), "and arrives");
    assert_eq!(locked_at_rest(world).await, locked, "the rest went back");
    let mut closed = sale.close().await.expect("closing what may be closed");
    if closed == CloseStatus::Pending {
        closed = sale.close().await.expect("closing what is closed");
    }
    assert_eq!(closed, CloseStatus::Closed, "and it is over for good");
    assert_eq!(sale.redeem(true).await, Ok(coins(world, 20)), "redeeming afterwards changes nothing");
    assert_eq!(world.received().await.checked_sub(before), Some(coins(world, 20)), "nor brings anything");
}

async fn a_finished_channel_is_over(world: &dyn RailWorld) {
    let locked = locked_at_rest(world).await;
    let sale = Sale::start(world).await;
    sale.pay_and_settle(&sale.bill(0, 3)).await;
    assert_eq!(sale.redeem(true).await, Ok(coins(world, 3)), "redeems");
    // A rail may close at once or leave it to the payer; both must come to the same end.
    sale.close().await.expect("closing is always allowed");
    assert_eq!(locked_at_rest(world).await, locked, "the rest of the deposit went back");
    let late = sale.bill(3, 4);
    let answer = settle_finally(world, &late, &sale.payment(&late, &world.voucher(&late))).await;
    assert!(refused(&answer), "a voucher of a closed channel: {answer:?}");
    let second = order(world, (sale.funding.channel, world.fresh()), world.signer());
    assert!(!admit(world, &second).await, "a closed channel backs nothing");
}

//! What a [`Payer`](crate::Payer) must do.

use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;

use crate::rail::{Bill, PaymentStatus};

use super::world::{coins, locked_at_rest, refused, request, settle_finally};
use super::{RailWorld, Sale, insist, pay_carefully};

pub(super) async fn cases(world: &dyn RailWorld) {
    opening_twice_by_one_reference_opens_once(world).await;
    one_invoice_is_paid_once(world).await;
    one_invoice_has_one_set_of_terms(world).await;
    an_invoice_may_be_come_to_by_another_way(world).await;
    status_knows_what_was_paid(world).await;
    a_total_below_what_was_paid_is_refused(world).await;
}

async fn opening_twice_by_one_reference_opens_once(world: &dyn RailWorld) {
    let before = locked_at_rest(world).await;
    let request = request(world, world.payee().option());
    let first = insist(world, || world.payer().open(&request)).await.expect("a funded payer opens");
    world.finalise().await;
    let second = insist(world, || world.payer().open(&request)).await.expect("and opens again");
    world.finalise().await;
    assert_eq!(first, second, "opening again by one reference gives what was opened");
    let locked = world.locked().await.checked_sub(before).expect("opening unlocks nothing");
    let option = world.payee().option();
    let expected = if option.channel { request.limit } else { Amount::ZERO };
    assert_eq!(locked, expected, "the deposit is locked once");
    assert_eq!(first.channel.is_some(), option.channel, "a channel where the option asks for one");
    assert_eq!(first.deposit, expected, "the payer says what it locked");

    let mut other = request.clone();
    other.reference = world.fresh();
    let third = insist(world, || world.payer().open(&other)).await.expect("another reference opens");
    world.finalise().await;
    if option.channel {
        assert_ne!(third.channel, first.channel, "another reference opens another channel");
    }
    for funding in [&first, &third] {
        insist(world, || world.payer().close(funding)).await.expect("the payer may give up");
    }
    assert_eq!(locked_at_rest(world).await, before, "deposits come back after the grace");
}

async fn one_invoice_is_paid_once(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let before = world.received().await;
    let bill = sale.bill(0, 7);
    let first = pay_carefully(world, &bill).await.expect("pays");
    for _ in 0..3 {
        let again = pay_carefully(world, &bill).await;
        assert_eq!(again.as_ref(), Ok(&first), "paying an invoice again gives its proof again");
    }
    world.finalise().await;
    sale.pay_and_settle(&bill).await;
    sale.redeem(false).await.expect("redeems");
    assert_eq!(world.received().await.checked_sub(before), Some(coins(world, 7)), "and moves money once");
    assert_eq!(world.payer().moves_money(), bill.channel.is_none(), "a channel is paid by vouchers");
}

async fn one_invoice_has_one_set_of_terms(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let bill = sale.bill(0, 5);
    let proof = pay_carefully(world, &bill).await.expect("pays");
    let mut others = [bill.clone(), bill.clone(), bill.clone()];
    let [higher, elsewhere, for_other_order] = &mut others;
    higher.total = coins(world, 6);
    elsewhere.payee = world.other_address();
    for_other_order.order = StatementId(world.fresh().0);
    for other in &others {
        let answer = insist(world, || world.payer().pay(other)).await;
        assert!(refused(&answer), "one invoice, other terms: {other:?} gave {answer:?}");
    }
    assert_eq!(pay_carefully(world, &bill).await, Ok(proof), "the invoice itself stays paid");
}

/// A payer that lost a signature with its journal has paid less before, as far as it knows.
async fn an_invoice_may_be_come_to_by_another_way(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let first = sale.bill(0, 2);
    sale.pay_and_settle(&first).await;
    let bill = sale.bill(2, 5);
    let proof = pay_carefully(world, &bill).await.expect("pays");
    let other = Bill { before: Amount::ZERO, ..bill.clone() };
    let answer = insist(world, || world.payer().pay(&other)).await;
    if world.payer().moves_money() {
        assert!(refused(&answer), "more would move: {answer:?}");
    } else {
        assert_eq!(answer, Ok(proof.clone()), "a voucher is worth its total");
        let payment = sale.payment(&bill, &proof);
        for way in [&bill, &other] {
            settle_finally(world, way, &payment).await.expect("and is settled whatever the payee had credited");
        }
    }
}

async fn status_knows_what_was_paid(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let unknown = StatementId(world.fresh().0);
    let answer = insist(world, || world.payer().status(&unknown)).await;
    assert_eq!(answer, Ok(PaymentStatus::NotPaid), "an invoice never seen");
    let bill = sale.bill(0, 3);
    let proof = pay_carefully(world, &bill).await.expect("pays");
    let mut answer = insist(world, || world.payer().status(&bill.invoice)).await;
    for _ in 0..100 {
        if answer != Ok(PaymentStatus::Pending) {
            break;
        }
        world.finalise().await;
        answer = insist(world, || world.payer().status(&bill.invoice)).await;
    }
    assert_eq!(answer, Ok(PaymentStatus::Paid(proof)), "a paid invoice, with its proof");
}

async fn a_total_below_what_was_paid_is_refused(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let before = world.received().await;
    let bill = sale.bill(5, 4);
    let answer = insist(world, || world.payer().pay(&bill)).await;
    assert!(refused(&answer), "a total below the one before: {answer:?}");
    let status = insist(world, || world.payer().status(&bill.invoice)).await;
    assert_eq!(status, Ok(PaymentStatus::NotPaid), "what was refused is not paid");
    world.finalise().await;
    assert_eq!(world.received().await, before, "and nothing moved");
}

//! What a [`Payee`](crate::Payee) must do, with and without channels.

use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::Signed;

use crate::rail::{Bill, Proof, RailError};

use super::world::{coins, payment, refused};
use super::{RailWorld, Sale, pay_carefully, settle_finally, test_key};

pub(super) async fn cases(world: &dyn RailWorld) {
    settling_is_idempotent_per_invoice(world).await;
    totals_only_rise(world).await;
    a_payment_answers_its_own_bill(world).await;
    an_order_never_admitted_is_not_settled(world).await;
    if !world.payee().option().channel {
        a_proof_is_used_once(world).await;
        a_proof_of_another_payment_is_refused(world).await;
        redeeming_without_vouchers_is_harmless(world).await;
    }
}

async fn gained(world: &dyn RailWorld, before: Amount) -> Option<Amount> {
    world.finalise().await;
    world.received().await.checked_sub(before)
}

async fn settling_is_idempotent_per_invoice(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let before = world.received().await;
    let first = sale.bill(0, 4);
    let first_payment = sale.pay_and_settle(&first).await;
    let second = sale.bill(4, 9);
    sale.pay_and_settle(&second).await;
    for _ in 0..3 {
        let again = settle_finally(world, &first, &first_payment).await;
        assert_eq!(again, Ok(()), "a settled invoice stays settled, also behind a newer one");
    }
    sale.redeem(true).await.expect("redeems");
    assert_eq!(gained(world, before).await, Some(coins(world, 9)), "and brings its money once");
}

async fn totals_only_rise(world: &dyn RailWorld) {
    let (sale, before) = (Sale::start(world).await, world.received().await);
    sale.pay_and_settle(&sale.bill(0, 20)).await;
    let lower = sale.bill(0, 10);
    let proof = pay_carefully(world, &lower).await;
    // A payer may refuse to sign below its last word; an older signature may still turn up.
    let proof = proof.unwrap_or_else(|_| world.voucher(&lower));
    let answer = settle_finally(world, &lower, &sale.payment(&lower, &proof)).await;
    if world.payee().option().channel {
        // It is covered by the voucher for more, which a seller may have settled before it.
        assert_eq!(answer, Ok(()), "a voucher below what is settled");
    } else {
        assert!(refused(&answer), "a total below what is settled: {answer:?}");
    }
    sale.pay_and_settle(&sale.bill(20, 21)).await;
    if world.payee().option().channel {
        sale.redeem(true).await.expect("redeems");
        assert_eq!(gained(world, before).await, Some(coins(world, 21)), "and takes nothing away");
    }
}

async fn a_payment_answers_its_own_bill(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let bill = sale.bill(0, 8);
    let proof = pay_carefully(world, &bill).await.expect("pays");
    let good = payment(&bill, &proof);
    let mut wrong = [good.clone(), good.clone(), good.clone(), good.clone()];
    let [less, more, other_invoice, other_order] = &mut wrong;
    less.total = coins(world, 7);
    more.total = coins(world, 9);
    other_invoice.invoice_id = StatementId(world.fresh().0);
    other_order.order_id = StatementId(world.fresh().0);
    for body in wrong {
        let answer = settle_finally(world, &bill, &Signed::sign(world.signer(), body.clone())).await;
        assert!(refused(&answer), "a payment that is not this bill's: {body:?} gave {answer:?}");
    }
    let forged = Signed::sign(&test_key(201), good);
    let answer = settle_finally(world, &bill, &forged).await;
    assert!(refused(&answer), "a payment by another signer: {answer:?}");
    sale.pay_and_settle(&bill).await;
}

async fn an_order_never_admitted_is_not_settled(world: &dyn RailWorld) {
    let sale = Sale::open(world).await;
    let bill = sale.bill(0, 2);
    let proof = pay_carefully(world, &bill).await.expect("pays");
    let answer = settle_finally(world, &bill, &sale.payment(&bill, &proof)).await;
    assert!(refused(&answer), "nobody looked at what stands behind this order: {answer:?}");
}

async fn a_proof_is_used_once(world: &dyn RailWorld) {
    let (sale, other) = (Sale::start(world).await, Sale::start(world).await);
    let bill = sale.bill(0, 6);
    let proof = pay_carefully(world, &bill).await.expect("pays");
    let copies = [sale.bill(0, 6), other.bill(0, 6)];
    for copy in &copies {
        let answer = settle_finally(world, copy, &sale.payment(copy, &proof)).await;
        assert!(refused(&answer), "a proof of another invoice, before its own is settled: {answer:?}");
    }
    settle_finally(world, &bill, &sale.payment(&bill, &proof)).await.expect("its own invoice");
    for copy in [sale.bill(6, 12)].iter().chain(&copies) {
        let answer = settle_finally(world, copy, &sale.payment(copy, &proof)).await;
        assert!(refused(&answer), "a used proof: {answer:?}");
    }
}

async fn a_proof_of_another_payment_is_refused(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let bill = sale.bill(0, 6);
    let refuses = async |paid: &Bill, asked: &Bill, what: &str| {
        // A payer that cannot do it at all cannot cheat by it.
        let Ok(proof) = pay_carefully(world, paid).await else {
            return;
        };
        let answer = settle_finally(world, asked, &sale.payment(asked, &proof)).await;
        assert!(refused(&answer), "{what}: {answer:?}");
    };
    let elsewhere = Bill { payee: world.other_address(), ..sale.bill(0, 6) };
    refuses(&elsewhere, &Bill { payee: bill.payee.clone(), ..elsewhere.clone() }, "paid to another payee").await;
    if let Some(asset) = world.other_asset() {
        let coloured = Bill { asset, ..sale.bill(0, 6) };
        refuses(&coloured, &Bill { asset: bill.asset.clone(), ..coloured.clone() }, "paid in another asset").await;
    }
    let short = sale.bill(0, 5);
    refuses(&short, &Bill { total: coins(world, 6), ..short.clone() }, "paid too little").await;
    for invented in [Bytes32(world.fresh().0).0.to_vec(), Vec::new()] {
        let answer = settle_finally(world, &bill, &sale.payment(&bill, &Proof::Bytes(invented))).await;
        assert!(refused(&answer), "a proof of nothing: {answer:?}");
    }
    let answer = settle_finally(world, &bill, &sale.payment(&bill, &Proof::Voucher)).await;
    assert!(refused(&answer), "no proof at all: {answer:?}");
    sale.pay_and_settle(&bill).await;
}

async fn redeeming_without_vouchers_is_harmless(world: &dyn RailWorld) {
    let sale = Sale::start(world).await;
    let before = world.received().await;
    sale.pay_and_settle(&sale.bill(0, 2)).await;
    for finished in [false, true, true] {
        let answer: Result<Amount, RailError> = sale.redeem(finished).await;
        assert!(answer.is_ok(), "nothing to redeem is no error: {answer:?}");
    }
    assert_eq!(gained(world, before).await, Some(coins(world, 2)), "and moves nothing");
}

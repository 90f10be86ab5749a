//! Payments: the seller credits what was signed for an invoice of its own, in order, and settled.

use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::limits;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Ack, Kind, Payment, Signed};
use sdpp_proto::wire;

use crate::kit::liars::{AgainstBuyer, AgainstSeller, spoilt};
use crate::kit::{key, option, product};

/// After one honest payment: a second one that the caller changed.
fn payment_changed(change: impl FnOnce(&mut Payment)) -> AgainstSeller {
    let mut world = AgainstSeller::live(product());
    world.pay();
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(30));
    let mut payment = world.liar.payment(&world.invoice());
    change(&mut payment);
    world.liar.send_payment(payment);
    world
}

#[test]
fn a_payment_that_is_not_signed_by_the_orders_key_is_refused() {
    let mut world = AgainstSeller::live(product());
    world.liar.keys.pays = key(2);
    let payment = world.liar.payment(&world.invoice());
    world.liar.send_payment(payment);
    world.is_refused_with(Offence::BadPayment);
    for empty in [false, true] {
        let mut world = AgainstSeller::live(product());
        let mut payment = spoilt(&Signed::sign(&key(3), world.liar.payment(&world.invoice())).erase());
        if empty {
            payment.bytes = [].into();
        }
        world.liar.line.control(&wire::envelope(&payment));
        world.is_refused_with(Offence::BadPayment);
    }
}

#[test]
fn a_payment_with_a_proof_that_is_too_long_is_refused() {
    payment_changed(|payment| payment.proof = Some(vec![7; limits::OPAQUE_MAX + 1]))
        .is_refused_with(Offence::BadPayment);
    let mut world = payment_changed(|payment| payment.proof = Some(vec![7; limits::OPAQUE_MAX]));
    world.pump();
    assert_eq!(world.ended, None, "the longest");
}

#[test]
fn a_payment_with_a_spoilt_signature_is_refused_whatever_follows_it() {
    // The same payment again, or the next one, with a good signature: both would vouch for its id,
    // but not for the bytes that are to be redeemed.
    for follow in [false, true] {
        let mut world = AgainstSeller::live(product());
        let body = world.liar.payment(&world.invoice());
        let good = Signed::sign(&key(3), body.clone());
        let first = spoilt(&good.erase());
        let last = if follow { Signed::sign(&key(3), Payment { prev: good.id(), ..body }) } else { good };
        let mut control = Vec::new();
        wire::envelope(&first).write(&mut control);
        wire::envelope(&last.erase()).write(&mut control);
        world.liar.line.sealed(&[], &control);
        world.is_refused_with(Offence::BadPayment);
        assert_eq!(world.settled_calls, 0);
        assert!(!world.journal.statements().iter().any(|s| s.kind == Kind::Payment));
    }
}

#[test]
fn a_payment_of_another_order_is_refused() {
    payment_changed(|p| p.order_id = StatementId([1; 32])).is_refused_with(Offence::PaymentForAnother);
}

#[test]
fn a_payment_that_does_not_follow_its_predecessor_is_refused() {
    payment_changed(|p| p.prev = StatementId([1; 32])).is_refused_with(Offence::PaymentChain);
    payment_changed(|p| p.prev = p.order_id).is_refused_with(Offence::PaymentChain);
}

#[test]
fn a_payment_for_an_invoice_that_does_not_wait_is_refused() {
    payment_changed(|p| p.invoice_id = StatementId([1; 32])).is_refused_with(Offence::PaymentInvoice);
    // One that was paid already.
    let mut world = AgainstSeller::live(product());
    let first = world.invoice();
    world.pay();
    world.liar.pay(&first);
    world.is_refused_with(Offence::PaymentInvoice);
}

#[test]
fn a_payment_of_another_total_is_refused() {
    payment_changed(|p| p.total = Amount::new(p.total.get() - 1)).is_refused_with(Offence::PaymentTotal);
    payment_changed(|p| p.total = Amount::new(p.total.get() + 1)).is_refused_with(Offence::PaymentTotal);
    payment_changed(|p| p.total = Amount::ZERO).is_refused_with(Offence::PaymentTotal);
}

#[test]
fn a_payment_from_another_channel_is_refused() {
    payment_changed(|p| p.channel = Some(ChannelId([1; 32]))).is_refused_with(Offence::PaymentChannel);
}

#[test]
fn a_payment_that_the_rail_refuses_is_not_credited() {
    let mut world = AgainstSeller::live(product());
    world.pay();
    world.accepts_payments = false;
    world.liar.pay(&world.invoice());
    world.is_refused_with(Offence::PaymentRefused);
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(30));
}

#[test]
fn an_ack_that_is_not_signed_or_of_another_order_is_refused() {
    for (signer, foreign) in [(key(2), false), (key(3), true)] {
        let mut world = AgainstSeller::live(product());
        let invoice = world.invoice();
        let order_id = if foreign { StatementId([1; 32]) } else { invoice.order_id };
        let ack = Ack { order_id, invoice_id: invoice.id() };
        world.liar.line.statement(&Signed::sign(&signer, ack));
        world.is_refused_with(Offence::BadAck);
    }
}

#[test]
fn an_invoice_that_is_not_paid_in_time_ends_in_a_default() {
    let mut world = AgainstSeller::live(product());
    world.pay();
    world.now = world.now.after_ms(option().pay_by_ms);
    world.seller.handle_timeout(world.now);
    world.is_refused_with(Offence::NotPaid);
    assert!(world.heard.iter().any(|heard| heard.statement::<sdpp_proto::statement::Default>().is_some()));
    let account = world.seller.order().unwrap();
    assert_eq!((account.paid(), account.due()), (Amount::new(30), Amount::new(60)));
}

#[test]
fn silence_ends_the_connection() {
    let mut world = AgainstSeller::live(product());
    world.pay();
    let invoice = world.invoice();
    world.liar.pay(&invoice);
    world.pump();
    world.source = 0;
    world.now = world.now.after_ms(limits::IDLE_MS);
    world.seller.handle_timeout(world.now);
    world.is_refused_with(Offence::IdleTimeout);
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.now = world.now.after_ms(limits::IDLE_MS);
    world.buyer.handle_timeout(world.now);
    world.is_refused_with(Offence::IdleTimeout);
}

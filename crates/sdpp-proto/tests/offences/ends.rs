//! Settlements and defaults.

use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Default as Unpaid, Settlement, Signed};

use crate::kit::liars::{AgainstBuyer, AgainstSeller};
use crate::kit::{key, product};

/// The last invoice is paid; the seller has signed the end.
fn seller_at_the_end() -> (AgainstSeller, Settlement) {
    let mut world = AgainstSeller::live(product());
    let last = world.last_invoice();
    world.pay();
    assert!(world.heard.iter().any(|heard| heard.statement::<Settlement>().is_some()));
    let settlement = world.liar.settlement(&last);
    (world, settlement)
}

/// The last invoice is paid; the buyer waits for the seller to sign the end.
fn buyer_at_the_end() -> (AgainstBuyer, Settlement) {
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    let last = world.deliver(2, true);
    world.credit();
    let settlement = world.liar.settlement(&last);
    (world, settlement)
}

#[test]
fn a_settlement_that_is_not_signed_by_the_other_side_is_refused() {
    let (mut world, settlement) = seller_at_the_end();
    world.liar.line.statement(&Signed::sign(&key(2), settlement));
    world.is_refused_with(Offence::BadSettlement);
    let (mut world, settlement) = buyer_at_the_end();
    world.liar.line.statement(&Signed::sign(&key(4), settlement));
    world.is_refused_with(Offence::BadSettlement);
}

#[test]
fn a_settlement_with_other_totals_is_refused() {
    let changes: [fn(&mut Settlement); 5] = [
        |s| s.paid = Amount::ZERO,
        |s| s.due = Amount::new(s.due.get() + 1),
        |s| s.payment_id = None,
        |s| s.invoice_id = StatementId([1; 32]),
        |s| s.order_id = StatementId([1; 32]),
    ];
    for change in changes {
        let (mut world, mut settlement) = seller_at_the_end();
        change(&mut settlement);
        world.liar.line.statement(&Signed::sign(&key(3), settlement));
        world.is_refused_with(Offence::SettlementMismatch);
        let (mut world, mut settlement) = buyer_at_the_end();
        change(&mut settlement);
        world.liar.line.statement(&Signed::sign(&key(1), settlement));
        world.is_refused_with(Offence::SettlementMismatch);
        assert!(!world.buyer.order().unwrap().is_settled(), "the buyer did not sign it");
    }
}

#[test]
fn a_default_that_is_not_the_sellers_or_of_another_order_is_refused() {
    for (signer, foreign) in [(key(4), false), (key(1), true)] {
        let mut world = AgainstBuyer::live(product());
        let invoice = world.sell(3);
        let mut unpaid: Unpaid = world.liar.unpaid(&invoice, world.now);
        if foreign {
            unpaid.order_id = StatementId([1; 32]);
        }
        world.liar.line.statement(&Signed::sign(&signer, unpaid));
        world.is_refused_with(Offence::BadDefault);
    }
}

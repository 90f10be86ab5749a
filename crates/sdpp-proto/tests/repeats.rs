//! What a peer may say again and again costs the other side no rows in its journal and no verification.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

mod kit;

use kit::liars::{AgainstBuyer, AgainstSeller, spoilt};
use kit::*;
use sdpp_proto::buyer;
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::frame::FrameKind;
use sdpp_proto::journal::Entry;
use sdpp_proto::limits::{CONTROL_ITEMS_MAX, INVOICES_WAITING_MAX};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller;
use sdpp_proto::statement::{Ack, AnyStatement, Kind, Settlement, Signed};
use sdpp_proto::wire::{self, Control};

fn rows(journal: &Journal, kind: Kind) -> usize {
    journal.statements().iter().filter(|statement| statement.kind == kind).count()
}

/// As many items as one frame may have.
fn frameful<'a>(items: impl Iterator<Item = Control<'a>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    items.take(CONTROL_ITEMS_MAX).for_each(|item| item.write(&mut bytes));
    bytes
}

fn statements(statement: &AnyStatement) -> Vec<u8> {
    frameful(std::iter::repeat_with(|| wire::envelope(statement)))
}

#[test]
fn a_buyer_does_not_fill_the_sellers_journal() {
    let mut world = AgainstSeller::live(product());
    let invoice = world.invoice();
    let ack = |invoice_id| Signed::sign(&key(3), Ack { order_id: invoice.order_id, invoice_id }).erase();
    let (right, unknown) = (ack(invoice.id()), ack(StatementId([7; 32])));
    for _ in 0..20 {
        for ack in [&right, &unknown] {
            world.liar.line.sealed(&[], &statements(ack));
            world.pump();
        }
    }
    assert_eq!((world.ended.as_ref(), rows(&world.journal, Kind::Ack)), (None, 1));
    // Of what is of no use not even the signature is looked at.
    for ack in [spoilt(&right), spoilt(&unknown)] {
        world.liar.line.sealed(&[], &statements(&ack));
    }
    world.pay();
    let payment = world.liar.last_payment.clone().unwrap().erase();
    for payment in [payment.clone(), spoilt(&payment)] {
        world.liar.line.sealed(&[], &statements(&payment));
        world.pump();
    }
    assert_eq!((world.ended.as_ref(), world.settled_calls), (None, 1));
    assert_eq!(rows(&world.journal, Kind::Payment), 1);
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(30));
}

#[test]
fn a_last_signature_that_is_repeated_is_stored_once() {
    let mut world = AgainstSeller::live(product());
    let last = world.last_invoice();
    world.pay();
    assert_eq!(rows(&world.journal, Kind::Settlement), 1, "the own one");
    let settlement = Signed::sign(&key(3), world.liar.settlement(&last)).erase();
    world.liar.line.sealed(&[], &statements(&settlement));
    world.pump();
    assert_eq!(world.ended, Some(seller::Ended::Settled { countersigned: true }));
    assert_eq!(rows(&world.journal, Kind::Settlement), 2);

    let mut world = AgainstBuyer::live(product());
    let last = world.deliver(2, true);
    world.credit();
    let settlement = Signed::<Settlement>::sign(&key(1), world.liar.settlement(&last)).erase();
    world.liar.line.sealed(&[], &statements(&settlement));
    world.pump();
    assert_eq!(world.ended, Some(buyer::Ended::Settled));
    assert_eq!(rows(&world.journal, Kind::Settlement), 2);
}

fn recorded(world: &AgainstBuyer) -> usize {
    world.journal.entries.iter().filter(|entry| matches!(entry, Entry::Record { .. })).count()
}

/// Places of records without end, each of something else.
fn record_all(world: &mut AgainstBuyer) {
    for frame in 0..100u64 {
        let item = |at: u64| {
            let statement = StatementId(sdpp_proto::hash::sha256(&(frame << 32 | at).to_be_bytes()));
            Control::Recorded { statement, record: Bytes32([1; 32]) }
        };
        world.liar.line.sealed(&[], &frameful((0..).map(item)));
    }
    world.pump();
    assert_eq!(world.ended, None, "nobody is blamed");
}

#[test]
fn a_seller_does_not_fill_the_buyers_journal() {
    let mut world = AgainstBuyer::live(product());
    // That of the order itself came before.
    let own = recorded(&world);
    record_all(&mut world);
    assert_eq!(recorded(&world), INVOICES_WAITING_MAX + own);
    // Each window makes room for one more, and neither a new connection nor a restart makes any.
    world.sell(3);
    record_all(&mut world);
    assert_eq!(recorded(&world), INVOICES_WAITING_MAX + own + 1);
    world.again();
    world.accept();
    record_all(&mut world);
    world.restarted();
    world.accept();
    record_all(&mut world);
    assert_eq!(recorded(&world), INVOICES_WAITING_MAX + own + 1);

    let invoice = world.deliver(2, false);
    let unpaid = world.liar.unpaid(&invoice, world.now);
    let unpaid = Signed::sign(&key(1), unpaid).erase();
    for unpaid in [&unpaid, &unpaid, &spoilt(&unpaid)] {
        world.liar.line.sealed(&[], &statements(unpaid));
        world.pump();
    }
    world.restarted();
    world.accept();
    world.liar.line.sealed(&[], &statements(&unpaid));
    world.pump();
    assert_eq!((world.ended.as_ref(), rows(&world.journal, Kind::Default)), (None, 1));
}

#[test]
fn a_clear_error_in_a_live_session_is_as_good_as_a_cut() {
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.liar.line.clear(FrameKind::Error, &wire::error_body(Reason::Refused.code()));
    world.pump();
    assert_eq!(world.ended, Some(buyer::Ended::Told(None)));
    // Before there is a session it is all that a seller can say.
    let mut world = AgainstBuyer::ordered(product());
    world.liar.line.clear(FrameKind::Error, &wire::error_body(Reason::Busy.code()));
    world.pump();
    assert_eq!(world.ended, Some(buyer::Ended::Told(Some(Reason::Busy.into()))));
}

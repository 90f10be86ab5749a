//! Ends that go wrong, time, takeovers: the cases of the misbehaviour suite that need two shipped
//! machines.
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

use kit::liars::{AgainstBuyer, AgainstSeller};
use kit::*;
use sdpp_proto::buyer::{self, Buyer};
use sdpp_proto::limits;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::seller::{self, Seller};
use sdpp_proto::statement::{Have, Invoice, Kind, Payment, Settlement, Signed};
use sdpp_proto::suite::Suite;
use sdpp_proto::wire::Control;

fn invoices(world: &World) -> Vec<Signed<Invoice>> {
    let all = world.seller_journal.statements();
    all.iter().filter(|s| s.kind == Kind::Invoice).map(|s| Signed::parse(&s.bytes).unwrap()).collect()
}

fn tick(world: &mut World, ms: u64) {
    world.now = world.now.after_ms(ms);
    world.seller.handle_timeout(world.now);
    world.buyer.handle_timeout(world.now);
    world.run();
}

/// Time passes as both ask for it.
fn pass(world: &mut World, ms: u64) {
    let end = world.now.after_ms(ms);
    loop {
        let next = world.seller.poll_timeout().into_iter().chain(world.buyer.poll_timeout()).min();
        match next.filter(|next| *next <= end) {
            Some(next) => {
                let step = next.since_ms(world.now).max(1);
                tick(world, step);
            }
            None => break,
        }
    }
    let rest = end.since_ms(world.now);
    tick(world, rest);
}

#[test]
fn seconds_are_sold_although_the_stream_is_idle() {
    let mut timed = product();
    (timed.unit, timed.amount, timed.per, timed.window_ms) = (Unit::Second, Amount::new(2), 1, 10_000);
    let mut world = World::new(timed, Suite::X25519);
    world.draft.quantity = None;
    (world.source_end, world.offering) = (0, false);
    world.run();
    pass(&mut world, 300_000);
    assert_eq!((&world.seller_ended, &world.buyer_ended), (&None, &None), "keepalives hold the line");
    world.seller.finish(world.now);
    world.run();
    world.both_settled();
    let paid = world.seller.order().unwrap().paid();
    assert_eq!(paid, Amount::new(600), "five minutes at two a second");
    let invoices = invoices(&world);
    assert!(invoices.iter().all(|invoice| invoice.count == 0));
    let spans: Vec<_> = invoices.iter().filter_map(|i| i.t_start.zip(i.t_end)).collect();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "no second is billed twice");
}

#[test]
fn seconds_are_not_sold_beyond_the_exposure() {
    let mut timed = product();
    (timed.unit, timed.amount, timed.per, timed.window_ms) = (Unit::Second, Amount::new(2), 1, 10_000);
    let mut world = World::new(timed, Suite::X25519);
    world.draft.quantity = None;
    world.draft.exposure_max = Amount::new(9);
    (world.source_end, world.offering, world.pay) = (0, false, false);
    world.run();
    pass(&mut world, option().pay_by_ms - 1);
    let order = world.seller.order().unwrap();
    assert!(order.due() <= Amount::new(9), "{}", order.due());
    assert_eq!(world.exposure_seen.max(order.due()), order.due());
}

#[test]
fn the_largest_amount_that_can_be_written_is_sold_and_not_one_unit_more() {
    let mut dear = product();
    dear.amount = Amount::new(u128::MAX / 3);
    let mut world = World::new(dear, Suite::X25519);
    world.draft.quantity = None;
    (world.draft.limit, world.draft.exposure_max) = (Amount::MAX, Amount::MAX);
    (world.admission.exposure, world.admission.ceiling) = (Amount::MAX, Amount::MAX);
    world.run();
    world.both_settled();
    world.delivered_is_whole(3);
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(u128::MAX / 3 * 3));
}

#[test]
fn both_may_exit_at_once() {
    let mut world = World::new(product(), Suite::X25519);
    world.draft.quantity = None;
    assert!(world.run_until(|w| w.sink.len() >= 20));
    world.buyer.exit(world.now);
    world.seller.finish(world.now);
    world.buyer.exit(world.now);
    world.run();
    world.both_settled();
    assert_eq!(invoices(&world).iter().filter(|invoice| invoice.last).count(), 1);
    world.delivered_is_whole(world.sink.len() as u64);
}

#[test]
fn an_exit_waits_for_a_pending_payment() {
    let mut world = World::new(product(), Suite::X25519);
    world.draft.quantity = None;
    world.run_until(|w| w.sink.len() >= 20);
    // The rail does not answer.
    world.pay = false;
    world.run();
    let pending = world.buyer.order().unwrap();
    let (due, paid) = (pending.due(), pending.paid());
    assert!(due > paid);
    world.buyer.exit(world.now);
    world.run();
    assert_eq!((&world.seller_ended, &world.buyer_ended), (&None, &None));
    // On a new connection the rail is asked again.
    world.pay = true;
    world.reconnect();
    world.run_until(|w| w.buyer.is_live());
    world.buyer.exit(world.now);
    world.run();
    world.both_settled();
    let order = world.seller.order().unwrap();
    assert_eq!(order.paid(), order.due());
    world.delivered_is_whole(world.sink.len() as u64);
}

#[test]
fn an_exit_that_nobody_answers_is_given_up_unless_a_payment_is_on_its_way() {
    for pays in [true, false] {
        let mut world = AgainstBuyer::live(product());
        world.pays = pays;
        world.deliver(3, false);
        world.buyer.exit(world.now);
        world.pump();
        for (ms, over) in [(limits::EXIT_MS - 1, false), (1, pays)] {
            world.now = world.now.after_ms(ms);
            world.buyer.handle_timeout(world.now);
            world.pump();
            let stopped = buyer::Ended::Stopped(Reason::ShuttingDown);
            assert_eq!(world.ended, over.then_some(stopped), "pays {pays}, {ms} ms later");
        }
    }
}

#[test]
fn the_orders_salt_is_known_from_the_first_session_on() {
    let mut world = AgainstBuyer::ordered(product());
    assert_eq!(world.buyer.order().unwrap().salt(), None);
    world.accept();
    assert_eq!(world.buyer.order().unwrap().salt(), Some(world.liar.salt));
}

#[test]
fn the_seller_does_without_the_buyers_countersignature() {
    let mut world = AgainstSeller::live(product());
    world.last_invoice();
    world.pay();
    world.now = world.now.after_ms(limits::EXIT_MS);
    world.seller.handle_timeout(world.now);
    world.pump();
    assert_eq!(world.ended, Some(seller::Ended::Settled { countersigned: false }));
    let order = world.seller.order().unwrap();
    assert_eq!(order.paid(), order.due());
    assert!(world.journal.statements().iter().any(|s| s.kind == Kind::Settlement), "its own");
}

#[test]
fn the_buyer_does_without_the_sellers_countersignature() {
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.deliver(2, true);
    assert_eq!(world.paid.last(), Some(&Amount::new(15)));
    world.now = world.now.after_ms(limits::EXIT_MS);
    world.buyer.handle_timeout(world.now);
    world.pump();
    assert_eq!(world.ended, Some(buyer::Ended::Withheld));
    let kinds: Vec<Kind> = world.journal.statements().iter().map(|s| s.kind).collect();
    assert!(kinds.contains(&Kind::Invoice) && kinds.contains(&Kind::Payment), "the last pair stands alone");
    assert!(!kinds.contains(&Kind::Settlement));
}

#[test]
fn a_settlement_that_was_cut_off_is_sent_again() {
    for abrupt in [false, true] {
        let mut world = World::new(product(), Suite::X25519);
        world.abrupt = abrupt;
        assert!(world.run_until(|w| w.seller.order().is_some_and(seller::SellerOrder::is_settled)));
        world.reconnect();
        world.run();
        world.both_settled();
    }
}

#[test]
fn a_payment_after_the_default_still_counts_and_ends_the_order() {
    for seller_dies in [false, true] {
        let mut world = World::new(product(), Suite::X25519);
        world.run_until(|w| w.sink.len() >= 20);
        world.pay = false;
        world.run();
        world.now = world.now.after_ms(option().pay_by_ms);
        world.seller.handle_timeout(world.now);
        world.run();
        assert_eq!(world.seller_ended, Some(seller::Ended::Defaulted));
        assert_eq!(world.buyer_ended, Some(buyer::Ended::Told(Some(Fault::Offence(Offence::NotPaid)))));
        let held = world.sink.len() as u64;
        // Another day, another connection: now it pays.
        world.pay = true;
        if seller_dies {
            world.restart_seller();
        } else {
            world.reconnect();
        }
        world.run();
        world.both_settled();
        let order = world.seller.order().unwrap();
        assert_eq!(order.paid(), order.due());
        assert_eq!(world.sink.len() as u64, held, "no credit is left after a default");
        assert!(order.is_settled());
    }
}

#[test]
fn a_default_without_a_payment_stays_a_default() {
    let mut world = AgainstSeller::live(product());
    world.now = world.now.after_ms(option().pay_by_ms);
    world.seller.handle_timeout(world.now);
    world.pump();
    let taken = world.messages_heard();
    for index in 2..5 {
        world.again();
        let order = world.liar.order.as_ref().unwrap().id();
        let attach = world.liar.attach(order, index);
        world.liar.send_signed(None, &Signed::sign(&key(2), attach));
        world.pump();
        assert!(world.seller.is_live());
        world.liar.line.control(&Control::Exit);
        world.pump();
        assert_eq!(world.messages_heard(), taken, "the same unpaid messages, and none behind them");
        assert_eq!(world.seller.order().unwrap().sent(), taken);
    }
}

#[test]
fn a_newer_attach_takes_a_half_open_connection_over() {
    let mut world = World::new(product(), Suite::X25519);
    assert!(world.run_until(|w| w.sink.len() >= 30));
    // The buyer's line is dead; what it wrote last comes late. The seller has noticed nothing.
    let mut late = Vec::new();
    world.buyer.exit(world.now);
    world.buyer.poll_transmit(world.now, &mut late);
    assert!(!late.is_empty());
    let fresh = Seller::new(world.config.clone(), [71; 32], world.now);
    world.old = Some(std::mem::replace(&mut world.seller, fresh));
    let fresh = Buyer::new(buyer_config(Suite::X25519), [72; 32], world.now);
    world.resuming = std::mem::replace(&mut world.buyer, fresh).into_order();
    world.to_buyer.clear();
    world.to_seller.clear();
    assert!(world.run_until(|w| w.seller.is_live() && w.buyer.is_live()));
    assert!(world.old.is_none(), "the old connection was ended");
    world.run();
    world.both_settled();
    world.delivered_is_whole(100);
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(300));
}

#[test]
fn late_frames_of_an_ended_connection_are_ignored() {
    let mut world = World::new(product(), Suite::X25519);
    assert!(world.run_until(|w| w.sink.len() >= 30));
    let mut late = Vec::new();
    world.buyer.exit(world.now);
    world.buyer.poll_transmit(world.now, &mut late);
    world.seller.refuse(world.now, sdpp_proto::offence::Reason::Superseded);
    while world.seller.poll_output(world.now).is_some() {}
    let sent = world.seller.order().unwrap().sent();
    for frame in frames(&mut late) {
        assert_eq!(world.seller.handle_frame(world.now, frame), Ok(()));
    }
    assert!(world.seller.poll_output(world.now).is_none());
    assert_eq!(world.seller.order().unwrap().sent(), sent);
}

#[test]
fn an_older_attach_does_not_take_a_connection_over() {
    let mut world = AgainstSeller::live(product());
    world.pay();
    let order = world.liar.order.as_ref().unwrap().id();
    world.again();
    let have = Have { next: 10, last_invoice: None, base: 0, ..Have::default() };
    let attach = world.liar.attach(order, 1);
    world.liar.send_signed(None, &Signed::sign(&key(2), sdpp_proto::statement::Attach { have, ..attach }));
    world.pump();
    assert_eq!(world.ended, Some(seller::Ended::Offence(Offence::StaleAttach)));
    let account = world.seller.into_order(world.now).unwrap();
    assert_eq!((account.index(), account.paid()), (1, Amount::new(30)));
}

#[test]
fn a_buyer_cannot_have_messages_twice_for_one_payment() {
    // It claims on every connection that it holds less than it does: the same messages come again,
    // and nothing new before they are paid.
    let mut world = AgainstSeller::live(product());
    let order = world.liar.order.as_ref().unwrap().id();
    for index in 2..6 {
        world.again();
        let attach = world.liar.attach(order, index);
        world.liar.send_signed(None, &Signed::sign(&key(2), attach));
        world.pump();
        assert!(world.seller.is_live());
        assert_eq!((world.messages_heard(), world.seller.order().unwrap().sent()), (10, 10));
    }
    world.pay();
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(30));
}

#[test]
fn a_restart_is_not_a_licence_to_have_messages_for_nothing() {
    // After a real restart what the buyer says it holds is forgiven: at most what may be outstanding.
    let mut world = AgainstSeller::live(product());
    let order = world.liar.order.as_ref().unwrap().id();
    let attach_after_restart = |world: &mut AgainstSeller, index, next| {
        world.again();
        let restore = seller::SellerOrder::restore;
        let account = restore(&key(1), &world.config.menu, &world.journal.entries, world.now).unwrap();
        world.known = Some(Box::new(account));
        let attach = world.liar.attach(order, index);
        let have = Have { next, ..Have::default() };
        world.liar.send_signed(None, &Signed::sign(&key(2), sdpp_proto::statement::Attach { have, ..attach }));
        world.pump();
    };
    attach_after_restart(&mut world, 2, 11);
    assert_eq!(world.ended, Some(seller::Ended::Offence(Offence::BadAttach)));
    attach_after_restart(&mut world, 2, 10);
    assert!(world.seller.is_live());
    assert_eq!(world.seller.order().unwrap().sent(), 20);
    // Without another restart nothing more is forgiven: it may claim what it likes.
    for index in 3..6 {
        world.again();
        let attach = world.liar.attach(order, index);
        let have = Have { next: 0, ..Have::default() };
        world.liar.send_signed(None, &Signed::sign(&key(2), sdpp_proto::statement::Attach { have, ..attach }));
        world.pump();
        assert_eq!(world.seller.order().unwrap().sent(), 20);
    }
    let invoice = world.invoice();
    assert_eq!((invoice.first, invoice.count, invoice.due), (10, 10, Amount::new(30)));
}

#[test]
fn what_a_buyer_holds_begins_where_an_invoice_ends() {
    for restarted in [false, true] {
        for (base, next) in [(5, 5), (5, 7), (5, 3), (0, 11)] {
            let mut world = AgainstSeller::live(product());
            let order = world.liar.order.as_ref().unwrap().id();
            world.again();
            if restarted {
                let restore = seller::SellerOrder::restore;
                let account = restore(&key(1), &world.config.menu, &world.journal.entries, world.now).unwrap();
                world.known = Some(Box::new(account));
            }
            let attach = world.liar.attach(order, 2);
            let have = Have { base, next, ..Have::default() };
            world.liar.send_signed(None, &Signed::sign(&key(2), sdpp_proto::statement::Attach { have, ..attach }));
            world.pump();
            let about = format!("{base} to {next}, restarted {restarted}");
            assert_eq!(world.ended, Some(seller::Ended::Offence(Offence::BadAttach)), "{about}");
        }
    }
}

#[test]
fn the_settlements_of_both_sides_say_the_same() {
    let mut world = World::new(product(), Suite::X25519);
    world.run();
    let settlements = |journal: &Journal| {
        let all = journal.statements();
        let all = all.iter().filter(|s| s.kind == Kind::Settlement);
        all.map(|s| Signed::<Settlement>::parse(&s.bytes).unwrap().body().clone()).collect::<Vec<_>>()
    };
    let (sellers, buyers) = (settlements(&world.seller_journal), settlements(&world.buyer_journal));
    assert_eq!((sellers.len(), &sellers), (2, &buyers));
    assert_eq!(sellers[0], sellers[1]);
    let payments = world.buyer_journal.statements();
    let last = payments.iter().rev().find_map(|s| Signed::<Payment>::parse(&s.bytes).ok()).unwrap();
    assert_eq!(sellers[0].payment_id, Some(last.id()));
}

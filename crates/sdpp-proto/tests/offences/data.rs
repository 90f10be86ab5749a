//! Messages and cuts.

use sdpp_proto::offence::Offence;
use sdpp_proto::statement::Signing;
use sdpp_proto::wire::Control;

use crate::kit::liars::AgainstBuyer;
use crate::kit::product;

#[test]
fn a_message_longer_than_the_product_allows_is_refused_by_its_header() {
    let mut short = product();
    short.message_max = 10;
    let mut world = AgainstBuyer::live(short.clone());
    world.liar.send_messages(&[b"eleven bytes"]);
    world.is_refused_with(Offence::MessageTooLong);
    // Before its bytes come, and with the header in two frames.
    let mut world = AgainstBuyer::live(short);
    let bytes = world.liar.count(&[b"eleven bytes"]);
    world.liar.line.sealed(&bytes[..5], &[]);
    world.liar.line.sealed(&bytes[5..12], &[]);
    world.is_refused_with(Offence::MessageTooLong);
}

#[test]
fn more_messages_than_ordered_are_refused() {
    let mut world = AgainstBuyer::greeted(product());
    world.draft.quantity = Some(5);
    let reply = world.liar.menu_reply();
    world.liar.send_menu(&reply);
    world.pump();
    world.accept();
    world.sell(3);
    world.send(3);
    world.is_refused_with(Offence::QuantityExceeded);
    assert_eq!(world.sink.len(), 3);
}

#[test]
fn a_message_without_a_valid_signature_is_refused() {
    let mut signed = product();
    signed.signing = Signing::Message;
    for at in [0, 8, 12, 14, 15, 78] {
        let mut world = AgainstBuyer::live(signed.clone());
        let good = world.liar.count(&[b"first"]);
        let mut bad = world.liar.count(&[b"abc"]);
        if at == 8 {
            // The right signature of another place.
            bad = world.liar.encode(0, 1, b"abc");
        } else {
            bad[at] ^= 1;
        }
        world.liar.line.sealed(&[good, bad].concat(), &[]);
        world.is_refused_with(Offence::BadMessageSignature);
        assert!(world.sink.is_empty());
    }
}

#[test]
fn a_cut_out_of_order_or_inside_a_message_is_refused() {
    let mut world = AgainstBuyer::live(product());
    world.liar.send_messages(&[b"one"]);
    world.liar.line.control(&Control::Cut(1));
    world.is_refused_with(Offence::WrongCut);
    let mut world = AgainstBuyer::live(product());
    world.sell(2);
    world.liar.line.control(&Control::Cut(0));
    world.is_refused_with(Offence::WrongCut);
    let mut world = AgainstBuyer::live(product());
    let bytes = world.liar.count(&[b"one"]);
    world.liar.line.sealed(&bytes[..bytes.len() - 1], &[]);
    world.liar.send_cut();
    world.is_refused_with(Offence::WrongCut);
}

#[test]
fn cuts_without_end_are_refused() {
    let mut world = AgainstBuyer::live(product());
    let mut n = 0;
    while world.ended.is_none() && n < 10_000 {
        let mut items = Vec::new();
        (n..n + 50).for_each(|n| Control::Cut(n).write(&mut items));
        n += 50;
        world.liar.line.sealed(&[], &items);
        world.pump();
    }
    world.is_refused_with(Offence::WrongCut);
}

/// A buyer that held `held` unpaid messages, on a new connection.
fn resumed_after(held: &[&[u8]]) -> AgainstBuyer {
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    let books = world.liar.totals;
    world.liar.send_messages(held);
    world.pump();
    world.liar.totals = books;
    world.again();
    world.accept();
    world
}

#[test]
fn a_repeated_message_that_differs_is_refused() {
    for (held, again) in [
        (&[b"four" as &[u8], b"five"][..], &[b"four" as &[u8], b"5ive"][..]),
        (&[b"four", b"five"], &[b"f", b"ourfive"]),
        (&[b"four", b"five"], &[b"five", b"four", b"six!"]),
        (&[b"four"], &[b"FOUR", b"five"]),
    ] {
        let mut world = resumed_after(held);
        world.liar.send_messages(again);
        world.is_refused_with(Offence::PrefixChanged);
        assert_eq!(world.sink.len(), 3 + held.len());
    }
}

#[test]
fn a_changed_message_that_was_refused_does_not_take_the_place_of_the_one_delivered() {
    // The same lie on the next connection is refused again; then the truth is taken.
    let mut world = resumed_after(&[b"four", b"five"]);
    let books = world.liar.totals;
    let held = world.liar.attach.as_ref().unwrap().have;
    for _ in 0..2 {
        world.liar.send_messages(&[b"four", b"5ive"]);
        world.is_refused_with(Offence::PrefixChanged);
        world.liar.totals = books;
        world.again();
        assert_eq!(world.liar.attach.as_ref().unwrap().have, held, "it holds what it held");
        world.accept();
    }
    let invoice = world.liar.deliver(&[b"four", b"five", b"six"], false);
    world.pump();
    assert_eq!((&world.ended, world.paid.last()), (&None, Some(&invoice.due)));
    assert_eq!(world.sink.len(), 6);
}

#[test]
fn a_repeated_span_that_is_cut_earlier_is_refused() {
    let mut world = resumed_after(&[b"four", b"five"]);
    world.liar.send_messages(&[b"four"]);
    world.liar.send_cut();
    let invoice = world.liar.invoice();
    world.liar.send_invoice(invoice);
    world.pump();
    world.liar.send_messages(&[b"five"]);
    world.is_refused_with(Offence::PrefixChanged);
}

#[test]
fn a_cut_in_the_middle_of_repeating_does_not_hide_a_changed_message() {
    // Three held; two connections: the first repeats one and breaks off, the second changes the third.
    let mut world = resumed_after(&[b"four", b"five", b"six"]);
    let books = world.liar.totals;
    world.liar.send_messages(&[b"four"]);
    world.pump();
    assert_eq!(world.ended, None);
    world.liar.totals = books;
    world.again();
    assert_eq!(world.liar.attach.as_ref().unwrap().have.next, 6, "it still holds all of them");
    world.accept();
    world.liar.send_messages(&[b"four", b"five", b"SIX"]);
    world.is_refused_with(Offence::PrefixChanged);
    assert_eq!(world.sink.last().unwrap().1, b"six");
}

#[test]
fn a_payment_in_the_middle_of_repeating_does_not_hide_a_changed_message() {
    // Two spans held, the first repeated, invoiced and paid; then the second is changed.
    let mut world = AgainstBuyer::live(product());
    let books = world.liar.totals;
    world.send(2);
    world.pump();
    world.liar.totals = books;
    world.again();
    world.accept();
    world.sell(2);
    world.liar.send_messages(&[b"three", b"four"]);
    world.pump();
    let held = world.sink.len();
    let books = sdpp_sim::liar::Totals { next: 2, ..world.liar.totals };
    world.liar.totals = books;
    world.again();
    world.accept();
    world.liar.send_messages(&[b"three"]);
    world.pump();
    world.liar.totals = books;
    world.again();
    world.accept();
    world.liar.send_messages(&[b"three", b"FOUR"]);
    world.is_refused_with(Offence::PrefixChanged);
    assert_eq!(world.sink.len(), held);
}

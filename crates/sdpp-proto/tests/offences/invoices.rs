//! Invoices: the buyer pays for what it holds, once, at the price, within its limits.

use sdpp_proto::codec::{Digest, StatementId};
use sdpp_proto::limits;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Invoice, Kind, Product, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire;

use crate::kit::liars::{AgainstBuyer, spoilt};
use crate::kit::{key, product};

/// After one honest, paid window: a second one whose invoice the caller changed.
fn invoice_changed(change: impl FnOnce(&mut Invoice)) -> AgainstBuyer {
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.send(4);
    let mut invoice = world.liar.invoice();
    change(&mut invoice);
    world.pump();
    world.liar.send_invoice(invoice);
    world
}

fn more(amount: Amount) -> Amount {
    Amount::new(amount.get() + 1)
}

#[test]
fn an_invoice_that_is_not_signed_by_the_seller_is_refused() {
    let mut world = AgainstBuyer::live(product());
    world.send(3);
    world.liar.key = key(4);
    let invoice = world.liar.invoice();
    world.liar.send_invoice(invoice);
    world.is_refused_with(Offence::BadInvoice);
    // A changed signature; bytes that are no statement.
    for empty in [false, true] {
        let mut world = AgainstBuyer::live(product());
        world.send(3);
        let mut invoice = spoilt(&Signed::sign(&key(1), world.liar.invoice()).erase());
        if empty {
            invoice.bytes = [].into();
        }
        world.liar.line.control(&wire::envelope(&invoice));
        world.is_refused_with(Offence::BadInvoice);
    }
}

#[test]
fn an_invoice_with_a_spoilt_signature_is_refused_whatever_follows_it() {
    // The next one covers it by hash; but evidence that does not verify must not be kept.
    let mut world = AgainstBuyer::live(product());
    let mut run = Vec::new();
    for _ in 0..2 {
        world.send(2);
        let invoice = world.liar.invoice();
        run.push(world.liar.sign_invoice(invoice).erase());
    }
    let mut control = Vec::new();
    wire::envelope(&spoilt(&run[0])).write(&mut control);
    wire::envelope(&run[1]).write(&mut control);
    world.liar.line.sealed(&[], &control);
    world.is_refused_with(Offence::BadInvoice);
    assert!(!world.journal.statements().iter().any(|s| s.kind == Kind::Invoice));
}

#[test]
fn an_invoice_of_another_order_is_refused() {
    invoice_changed(|i| i.order_id = StatementId([1; 32])).is_refused_with(Offence::InvoiceForAnother);
}

#[test]
fn an_invoice_that_does_not_follow_its_predecessor_is_refused() {
    invoice_changed(|i| i.prev = StatementId([1; 32])).is_refused_with(Offence::InvoiceChain);
    invoice_changed(|i| i.n = 2).is_refused_with(Offence::InvoiceChain);
    invoice_changed(|i| i.n = 0).is_refused_with(Offence::InvoiceChain);
    // The same one again.
    let mut world = AgainstBuyer::live(product());
    let invoice = world.sell(3);
    world.liar.line.statement(&invoice);
    world.is_refused_with(Offence::InvoiceChain);
    // Two that come together: neither is taken.
    let mut world = AgainstBuyer::live(product());
    let mut control = Vec::new();
    for prev in [None, Some(StatementId([1; 32]))] {
        world.send(2);
        let mut invoice = world.liar.invoice();
        invoice.prev = prev.unwrap_or(invoice.prev);
        wire::envelope(&world.liar.sign_invoice(invoice).erase()).write(&mut control);
    }
    world.liar.line.sealed(&[], &control);
    world.is_refused_with(Offence::InvoiceChain);
    assert_eq!(world.buyer.order().unwrap().due(), Amount::ZERO);
}

#[test]
fn an_invoice_for_undelivered_messages_is_refused() {
    invoice_changed(|i| i.count += 1).is_refused_with(Offence::InvoiceRange);
    invoice_changed(|i| i.bytes += 1).is_refused_with(Offence::InvoiceRange);
    invoice_changed(|i| i.first = 0).is_refused_with(Offence::InvoiceRange);
    // Consistent in itself, digest included: a message that never left.
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.send(4);
    world.pump();
    world.liar.count(&[b"never sent"]);
    let invoice = world.liar.invoice();
    world.liar.send_invoice(invoice);
    world.is_refused_with(Offence::InvoiceRange);
}

#[test]
fn an_invoice_with_another_digest_is_refused() {
    invoice_changed(|i| i.digest = Digest([1; 32])).is_refused_with(Offence::InvoiceDigest);
}

#[test]
fn an_invoice_that_counts_other_units_is_refused() {
    invoice_changed(|i| i.units_total += 1).is_refused_with(Offence::InvoiceUnits);
    invoice_changed(|i| i.units_total -= 1).is_refused_with(Offence::InvoiceUnits);
}

#[test]
fn an_invoice_above_the_price_is_refused() {
    invoice_changed(|i| i.due = more(i.due)).is_refused_with(Offence::InvoiceDue);
    invoice_changed(|i| i.due = Amount::ZERO).is_refused_with(Offence::InvoiceDue);
    invoice_changed(|i| i.due = Amount::MAX).is_refused_with(Offence::InvoiceDue);
}

#[test]
fn an_amount_beyond_128_bits_is_refused() {
    let mut dear = product();
    dear.amount = Amount::MAX;
    let mut world = AgainstBuyer::greeted(dear);
    (world.draft.limit, world.draft.exposure_max) = (Amount::MAX, Amount::MAX);
    let reply = world.liar.menu_reply();
    world.liar.send_menu(&reply);
    world.pump();
    world.accept();
    world.sell(1);
    assert_eq!(world.paid, [Amount::MAX]);
    world.deliver(1, false);
    world.is_refused_with(Offence::InvoiceDue);
}

#[test]
fn an_invoice_that_denies_or_invents_a_payment_is_refused() {
    invoice_changed(|i| i.paid_by = Some(StatementId([1; 32]))).is_refused_with(Offence::InvoiceCredit);
    invoice_changed(|i| i.paid = Amount::new(i.paid.get() - 1)).is_refused_with(Offence::InvoiceCredit);
    invoice_changed(|i| i.paid = more(i.paid)).is_refused_with(Offence::InvoiceCredit);
    invoice_changed(|i| i.paid_by = None).is_refused_with(Offence::InvoiceCredit);
}

#[test]
fn a_payment_once_credited_is_not_denied_later() {
    let later = |change: fn(&mut Invoice, &Invoice)| {
        let mut world = AgainstBuyer::live(product());
        world.sell(3);
        let second = world.sell(2);
        world.sell(2);
        world.send(4);
        let mut invoice = world.liar.invoice();
        change(&mut invoice, &second);
        world.pump();
        world.liar.send_invoice(invoice);
        world
    };
    // Back to an older payment; the known one with another total.
    let older = |invoice: &mut Invoice, second: &Invoice| {
        (invoice.paid, invoice.paid_by) = (second.paid, second.paid_by);
    };
    later(older).is_refused_with(Offence::InvoiceCredit);
    later(|invoice, _| (invoice.paid, invoice.paid_by) = (Amount::ZERO, None)).is_refused_with(Offence::InvoiceCredit);
    // The payment that the invoice before credits, with another total.
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.deliver(2, false);
    world.send(2);
    let mut invoice = world.liar.invoice();
    invoice.paid = Amount::new(invoice.paid.get() - 1);
    world.pump();
    world.liar.send_invoice(invoice);
    world.is_refused_with(Offence::InvoiceCredit);
}

#[test]
fn a_payment_is_credited_before_more_windows_than_agreed_follow() {
    // Four windows may be outstanding: the fifth invoice must credit the first payment.
    let mut world = AgainstBuyer::live(product());
    for _ in 0..4 {
        world.deliver(3, false);
        assert_eq!(world.ended, None);
    }
    assert_eq!(world.paid.len(), 4);
    world.deliver(3, false);
    world.is_refused_with(Offence::InvoiceCredit);
}

#[test]
fn a_payment_covers_the_windows_up_to_its_invoice_and_no_later_ones() {
    // Three windows are here when the first of them is paid: two of the four are outstanding still.
    let mut world = AgainstBuyer::live(product());
    world.pays = false;
    let first = world.deliver(3, false);
    world.deliver(3, false);
    world.deliver(3, false);
    world.paid.push(first.due);
    world.buyer.paid(&first.id(), None);
    world.pump();
    world.credit();
    world.deliver(3, false);
    world.deliver(3, false);
    assert_eq!(world.ended, None);
    world.deliver(3, false);
    world.is_refused_with(Offence::InvoiceCredit);
}

#[test]
fn an_invoice_that_is_not_paid_yet_is_kept_when_the_connection_ends() {
    let mut world = AgainstBuyer::live(product());
    world.pays = false;
    world.deliver(3, false);
    let invoices = |world: &AgainstBuyer| world.journal.statements().iter().filter(|s| s.kind == Kind::Invoice).count();
    assert_eq!(invoices(&world), 0, "it goes to the journal with its payment");
    world.buyer.hang_up();
    world.pump();
    assert_eq!(invoices(&world), 1);
}

#[test]
fn an_invoice_above_the_limit_is_refused() {
    let mut world = AgainstBuyer::greeted(product());
    world.draft.limit = Amount::new(10);
    let reply = world.liar.menu_reply();
    world.liar.send_menu(&reply);
    world.pump();
    world.accept();
    world.sell(3);
    world.deliver(1, false);
    world.is_refused_with(Offence::InvoiceOverLimit);
    assert_eq!(world.paid, [Amount::new(9)]);
}

#[test]
fn an_invoice_above_the_exposure_is_refused() {
    let mut world = AgainstBuyer::greeted(product());
    world.draft.exposure_max = Amount::new(10);
    let reply = world.liar.menu_reply();
    world.liar.send_menu(&reply);
    world.pump();
    world.accept();
    world.sell(3);
    world.sell(3);
    world.deliver(4, false);
    world.is_refused_with(Offence::InvoiceOverLimit);
}

fn timed() -> Product {
    let mut product = product();
    (product.unit, product.amount, product.window_ms) = (Unit::Second, Amount::new(1), 10_000);
    product
}

#[test]
fn an_invoice_for_time_that_did_not_pass_is_refused() {
    // Honest: ten seconds pass, ten are billed.
    let billed = |passed: u64, change: fn(&mut Invoice)| {
        let mut world = AgainstBuyer::live(timed());
        world.liar.totals.billed_to = world.now;
        world.now = world.now.after_ms(passed);
        world.send(1);
        let mut invoice = world.liar.invoice_for(10_000);
        change(&mut invoice);
        world.pump();
        world.liar.send_invoice(invoice);
        world.pump();
        world
    };
    assert_eq!(billed(10_000, |_| {}).ended, None);
    assert_eq!(billed(10_000 - limits::CLOCK_TOLERANCE_MS, |_| {}).ended, None);
    billed(9_999 - limits::CLOCK_TOLERANCE_MS, |_| {}).is_refused_with(Offence::InvoiceTime);
    billed(10_000, |i| (i.t_start, i.t_end) = (None, None)).is_refused_with(Offence::InvoiceTime);
    billed(10_000, |i| (i.t_start, i.t_end) = (i.t_end, i.t_start)).is_refused_with(Offence::InvoiceTime);
    // The same second twice.
    let mut world = AgainstBuyer::live(timed());
    world.liar.totals.billed_to = world.now;
    for _ in 0..2 {
        world.now = world.now.after_ms(10_000);
        world.send(1);
        world.pump();
        let mut invoice = world.liar.invoice_for(10_000);
        if invoice.n == 1 {
            invoice.t_start = invoice.t_start.map(|start| Timestamp::from_ms(start.as_ms() - 1));
            invoice.units_total += 1;
            invoice.due = Amount::new(21);
        }
        world.liar.send_invoice(invoice);
        world.pump();
    }
    world.is_refused_with(Offence::InvoiceTime);
    // Time where messages are sold.
    invoice_changed(|i| (i.t_start, i.t_end) = (Some(crate::kit::START), Some(crate::kit::START)))
        .is_refused_with(Offence::InvoiceTime);
    invoice_changed(|i| i.t_start = Some(crate::kit::START)).is_refused_with(Offence::InvoiceTime);
    invoice_changed(|i| i.t_end = Some(crate::kit::START)).is_refused_with(Offence::InvoiceTime);
}

#[test]
fn only_a_last_invoice_without_messages_may_bill_no_time() {
    let untimed = |messages: u64, last: bool| {
        let mut world = AgainstBuyer::live(timed());
        world.send(messages);
        let mut invoice = world.liar.invoice();
        (invoice.t_start, invoice.t_end, invoice.last) = (None, None, last);
        world.pump();
        world.liar.send_invoice(invoice);
        world
    };
    let mut world = untimed(0, true);
    world.pump();
    assert_eq!((world.ended, world.buyer.order().unwrap().due()), (None, Amount::ZERO));
    untimed(1, true).is_refused_with(Offence::InvoiceTime);
    untimed(0, false).is_refused_with(Offence::InvoiceTime);
}

#[test]
fn connections_do_not_give_the_tolerance_anew() {
    // Ten seconds are billed for every five: one tolerance in all, not one per connection.
    let mut world = AgainstBuyer::live(timed());
    world.liar.totals.billed_to = world.now;
    for _ in 0..2 {
        if world.ended.is_some() {
            break;
        }
        world.now = world.now.after_ms(5_000);
        world.send(1);
        world.pump();
        let invoice = world.liar.invoice_for(10_000);
        world.liar.send_invoice(invoice);
        world.pump();
        if world.ended.is_none() && world.paid.len() == 1 {
            world.credit();
            world.again();
            world.accept();
        }
    }
    world.is_refused_with(Offence::InvoiceTime);
}

#[test]
fn an_invoice_that_is_refused_bills_no_time() {
    // A wrong invoice, then, on a new connection, the right one for the same ten seconds.
    type Change = fn(&mut Invoice);
    let wrong: [(Change, Offence); 3] = [
        (|i| i.units_total += 1, Offence::InvoiceUnits),
        (|i| i.due = more(i.due), Offence::InvoiceDue),
        (|i| i.paid_by = Some(StatementId([1; 32])), Offence::InvoiceCredit),
    ];
    for (change, offence) in wrong {
        let mut world = AgainstBuyer::live(timed());
        world.liar.totals.billed_to = world.now;
        world.now = world.now.after_ms(10_000);
        let books = world.liar.totals;
        world.send(1);
        let mut invoice = world.liar.invoice_for(10_000);
        change(&mut invoice);
        world.pump();
        world.liar.send_invoice(invoice);
        world.is_refused_with(offence);
        world.liar.totals = books;
        world.again();
        world.accept();
        world.send(1);
        let invoice = world.liar.invoice_for(10_000);
        world.liar.send_invoice(invoice);
        world.pump();
        assert_eq!((&world.ended, world.paid.as_slice()), (&None, &[Amount::new(10)][..]));
    }
}

#[test]
fn an_invoice_for_a_span_that_has_not_ended_is_refused() {
    let mut world = AgainstBuyer::live(product());
    world.liar.send_messages(&[b"one"]);
    let invoice = world.liar.invoice();
    world.liar.send_invoice(invoice);
    world.is_refused_with(Offence::InvoiceWithoutCut);
}

#[test]
fn nothing_follows_the_last_invoice() {
    let mut world = AgainstBuyer::live(product());
    world.deliver(3, true);
    world.credit();
    world.liar.send_messages(&[b"more"]);
    world.is_refused_with(Offence::InvoiceAfterLast);
    let mut world = AgainstBuyer::live(product());
    world.deliver(3, true);
    world.credit();
    world.liar.send_cut();
    let invoice = world.liar.invoice();
    world.liar.send_invoice(invoice);
    world.is_refused_with(Offence::InvoiceAfterLast);
}

#[test]
fn an_invoice_whose_messages_do_not_fit_its_windows_is_refused() {
    invoice_changed(|i| i.windows = 0).is_refused_with(Offence::InvoiceWindows);
    invoice_changed(|i| i.windows = 5).is_refused_with(Offence::InvoiceWindows);
    let mut world = AgainstBuyer::live(product());
    world.deliver(11, false);
    world.is_refused_with(Offence::InvoiceWindows);
    // Windows that hold nothing: invoices without end, for nothing.
    for (count, windows) in [(0, 1), (2, 3)] {
        let mut world = AgainstBuyer::live(product());
        world.sell(3);
        world.send(count);
        let mut invoice = world.liar.invoice();
        invoice.windows = windows;
        world.pump();
        world.liar.send_invoice(invoice);
        world.is_refused_with(Offence::InvoiceWindows);
    }
}

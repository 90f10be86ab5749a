//! Journals that were put back from a backup: what was signed since is found at the other side, nothing
//! is signed twice with another content, nothing is paid twice, and the order is settled.
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

use std::collections::BTreeMap;

use kit::liars::{AgainstBuyer, AgainstSeller};
use kit::*;
use sdpp_proto::buyer::{self, Buyer, BuyerConfig, BuyerOrder};
use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::journal::Entry;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::seller::{self, SellerOrder};
use sdpp_proto::statement::{AnyStatement, Attach, Have, Invoice, Kind, Payment, Settlement, Signed, Statement};
use sdpp_proto::suite::Suite;
use sdpp_proto::wire::SessionPlain;

#[derive(Clone, Copy, Debug)]
struct Plan {
    windows: u32,
    moves: bool,
    ramp: bool,
    /// Messages delivered before the crash.
    until: usize,
    /// Whether the seller's rail has seen the last payments: otherwise money has moved, and nobody
    /// but the rail knows.
    seen: bool,
}

const PLANS: [Plan; 6] = [
    Plan { windows: 8, moves: true, ramp: false, until: 60, seen: false },
    Plan { windows: 4, moves: false, ramp: false, until: 60, seen: false },
    Plan { windows: 1, moves: false, ramp: true, until: 40, seen: true },
    Plan { windows: 4, moves: true, ramp: false, until: 60, seen: true },
    Plan { windows: 8, moves: false, ramp: false, until: 90, seen: true },
    Plan { windows: 1, moves: true, ramp: false, until: 33, seen: true },
];

/// A sale in its middle.
fn middle(plan: Plan) -> World {
    let mut product = product();
    product.k = 5;
    let mut world = World::new(product, Suite::X25519);
    world.draft.quantity = Some(400);
    world.draft.windows = plan.windows;
    (world.admission.windows, world.admission.ramp) = (plan.windows, plan.ramp);
    world.rail.moves = plan.moves;
    if plan.moves {
        let config = BuyerConfig { pay_moves_money: true, ..buyer_config(Suite::X25519) };
        world.buyer = Buyer::new(config, [2; 32], START);
    }
    assert!(world.run_until(|w| w.sink.len() >= plan.until), "{plan:?}");
    if !plan.seen {
        world.settle = false;
        world.run();
        world.settle = true;
    }
    world.abrupt = true;
    world
}

fn statements<T: Statement>(entries: &[Entry]) -> Vec<Signed<T>> {
    let of_kind = |entry: &Entry| match entry {
        Entry::Statement(statement) if statement.kind == T::KIND => Some(statement.clone()),
        _ => None,
    };
    entries.iter().filter_map(of_kind).map(|s: AnyStatement| Signed::parse(&s.bytes).unwrap()).collect()
}

/// How many rows the opening of a journal has: a backup without them has no order.
fn opening(entries: &[Entry]) -> usize {
    entries.iter().position(|entry| matches!(entry, Entry::Statement(s) if s.kind == Kind::Acceptance)).unwrap() + 1
}

/// Invoices of all times: no number has two digests.
fn one_digest_per_number<'a>(all: impl IntoIterator<Item = &'a Signed<Invoice>>, about: &str) {
    let mut digests = BTreeMap::new();
    for invoice in all {
        let first = digests.entry(invoice.n).or_insert(invoice.digest);
        assert_eq!(*first, invoice.digest, "{about}: invoice {} was signed twice", invoice.n);
    }
}

fn settled(world: &World, about: &str) -> (Amount, Amount) {
    let order = world.buyer.order().unwrap_or_else(|| panic!("{about}: {:?}", world.refused()));
    assert!(order.is_settled(), "{about}: {:?} {:?}", world.seller_ended, world.buyer_ended);
    let menu = &world.config.menu;
    let seller = SellerOrder::restore(&world.config.key, menu, &world.seller_journal.entries, world.now).unwrap();
    let buyer = BuyerOrder::restore(&key(3), menu, &world.buyer_journal.entries).unwrap();
    assert!(seller.is_over() && buyer.is_settled(), "{about}: both journals say so");
    assert_eq!((seller.paid(), seller.due()), (buyer.paid(), buyer.due()), "{about}");
    assert_eq!(buyer.paid(), buyer.due(), "{about}");
    if world.rail.moves {
        assert_eq!(world.rail.moved, buyer.paid(), "{about}: money moved once");
    }
    (buyer.paid(), buyer.due())
}

#[test]
fn a_seller_restored_from_a_backup_adopts_the_buyers_evidence_and_settles() {
    for plan in PLANS {
        let rows = middle(plan).seller_journal.entries.len();
        let first = opening(&middle(plan).seller_journal.entries);
        for kept in first..=rows {
            let about = format!("{plan:?}, {kept} of {rows} rows");
            let mut world = middle(plan);
            let before = statements::<Invoice>(&world.seller_journal.entries);
            let held = statements::<Invoice>(&world.buyer_journal.entries);
            let (paid, delivered) = (world.buyer.order().unwrap().paid(), world.sink.len());
            world.seller_journal.entries.truncate(kept);
            world.restored[0] = true;
            world.restart_seller();
            world.run();
            let (total, due) = settled(&world, &about);
            assert!(total >= paid, "{about}: what was paid counts");
            assert_eq!(world.sink.len(), delivered, "{about}: nothing more is sold");
            // What the buyer had verified is charged, and nothing else.
            let most = world.buyer.order().unwrap().order().limit;
            assert!(due <= most && due >= held.last().map_or(Amount::ZERO, |invoice| invoice.due), "{about}");
            let after = statements::<Invoice>(&world.seller_journal.entries);
            one_digest_per_number(before.iter().chain(&after).chain(&held), &about);
        }
    }
}

#[test]
fn a_restored_seller_may_die_and_be_restored_again() {
    let plan = PLANS[3];
    let rows = middle(plan).seller_journal.entries.len();
    let first = opening(&middle(plan).seller_journal.entries);
    for kept in [first, (first + rows) / 2] {
        for at in 1..12 {
            for (durable, again) in [(false, false), (true, false), (true, true)] {
                let about = format!("{kept} rows, dies at write {at}, durable {durable}, restored again {again}");
                let mut world = middle(plan);
                let mut all = statements::<Invoice>(&world.seller_journal.entries);
                world.seller_journal.entries.truncate(kept);
                world.restored[0] = true;
                world.restart_seller();
                world.seller_journal.dies_at = Some((world.seller_journal.writes + at, durable));
                world.run_until(|w| w.broken);
                all.extend(statements::<Invoice>(&world.seller_journal.entries));
                if world.broken {
                    if again {
                        world.seller_journal.entries.truncate(kept);
                    }
                    world.go_on();
                }
                world.run_through();
                if world.buyer.order().is_some_and(BuyerOrder::is_settled) && again {
                    // The buyer had settled before the second backup was put back.
                    continue;
                }
                settled(&world, &about);
                all.extend(statements::<Invoice>(&world.seller_journal.entries));
                one_digest_per_number(&all, &about);
            }
        }
    }
}

#[test]
fn a_buyer_restored_from_a_backup_adopts_the_sellers_evidence_and_pays_nothing_twice() {
    for plan in PLANS {
        let rows = middle(plan).buyer_journal.entries.len();
        // Menu, order and attach are there; the salt may be lost.
        for kept in 3..=rows {
            let about = format!("{plan:?}, {kept} of {rows} rows");
            let mut world = middle(plan);
            let credited = world.seller.order().unwrap().paid();
            let moved = world.rail.moved;
            world.buyer_journal.entries.truncate(kept);
            world.restored[1] = true;
            world.restart_buyer();
            world.run();
            let (total, _) = settled(&world, &about);
            assert!(total >= credited && total >= moved, "{about}: what was paid counts");
            let payments = statements::<Payment>(&world.buyer_journal.entries);
            assert!(payments.iter().all(|payment| payment.total <= total), "{about}");
            one_digest_per_number(&statements::<Invoice>(&world.seller_journal.entries), &about);
        }
    }
}

#[test]
fn a_buyer_restored_from_a_backup_finds_an_index_that_it_never_used() {
    let mut world = middle(PLANS[0]);
    for _ in 0..5 {
        world.reconnect();
        assert!(world.run_until(|w| w.buyer.is_live() && w.seller.is_live()));
    }
    world.buyer_journal.entries.truncate(4);
    world.restored[1] = true;
    world.restart_buyer();
    world.run();
    settled(&world, "the seller knows of five connections that this journal does not");
}

#[test]
fn both_may_be_restored() {
    for plan in PLANS {
        let world = middle(plan);
        let rows = (world.seller_journal.entries.len(), world.buyer_journal.entries.len());
        let first = opening(&world.seller_journal.entries);
        for (sellers, buyers) in [(first, 4), (first, rows.1 / 2), (rows.0 / 2, 4), (rows.0 / 2, rows.1 / 2)] {
            let about = format!("{plan:?}, {sellers} and {buyers} of {rows:?} rows");
            let mut world = middle(plan);
            let before = statements::<Invoice>(&world.seller_journal.entries);
            world.seller_journal.entries.truncate(sellers);
            world.buyer_journal.entries.truncate(buyers);
            world.restored = [true; 2];
            world.restart_seller();
            world.restart_buyer();
            world.run();
            // What neither holds any more cannot be agreed on: but nothing contradicts itself.
            let after = statements::<Invoice>(&world.seller_journal.entries);
            one_digest_per_number(before.iter().chain(&after), &about);
            assert_eq!(world.refused(), None, "{about}: nobody is blamed");
        }
    }
}

#[test]
fn an_old_journal_that_was_not_declared_signs_nothing() {
    for plan in PLANS {
        let mut world = middle(plan);
        let first = opening(&world.seller_journal.entries);
        world.seller_journal.entries.truncate(first);
        world.restart_seller();
        world.run();
        assert_eq!(world.seller_ended, Some(seller::Ended::Stopped(Reason::Frozen)), "{plan:?}");
        assert_eq!(world.buyer_ended, Some(buyer::Ended::Told(Some(Fault::Reason(Reason::Frozen)))), "{plan:?}");
        assert_eq!(world.seller_journal.entries.len(), first, "{plan:?}: nothing was signed");

        let mut world = middle(plan);
        world.buyer_journal.entries.truncate(5);
        let payments = world.rail.moved;
        world.restart_buyer();
        world.run();
        assert_eq!(world.buyer_ended, Some(buyer::Ended::Stopped(Reason::Frozen)), "{plan:?}");
        assert_eq!(world.rail.moved, payments, "{plan:?}");
        // Declared, the same journals settle.
        world.restored[1] = true;
        world.restart_buyer();
        world.run();
        settled(&world, &format!("{plan:?}"));
    }
}

/// Signs a statement again, changed.
fn resigned<T: Statement + Clone>(key: &SigningKey, statement: &Signed<T>, change: impl Fn(&mut T)) -> AnyStatement {
    let mut body = statement.body().clone();
    change(&mut body);
    Signed::sign(key, body).erase()
}

#[test]
fn an_invoice_that_the_seller_never_signed_is_not_adopted() {
    let plan = PLANS[2];
    let forgeries: [fn(&Signed<Invoice>) -> AnyStatement; 3] = [
        |invoice| resigned(&key(9), invoice, |_| {}),
        |invoice| resigned(&key(9), invoice, |invoice| invoice.paid = invoice.due),
        |invoice| resigned(&key(1), invoice, |invoice| invoice.order_id = sdpp_proto::codec::StatementId([7; 32])),
    ];
    for forge in forgeries {
        let mut world = middle(plan);
        let first = opening(&world.seller_journal.entries);
        world.seller_journal.entries.truncate(first);
        world.restored[0] = true;
        world.restart_seller();
        // The buyer's journal says what the buyer likes.
        let rows = &mut world.buyer_journal.entries;
        let last = rows.iter().rposition(|row| matches!(row, Entry::Statement(s) if s.kind == Kind::Invoice)).unwrap();
        let Entry::Statement(invoice) = &rows[last] else { unreachable!() };
        rows[last] = forge(&Signed::parse(&invoice.bytes).unwrap()).into();
        rows.truncate(last + 1);
        world.restart_buyer();
        world.run();
        assert_eq!(world.seller_ended, Some(seller::Ended::Offence(Offence::BadAttach)));
        assert_eq!(world.seller_journal.entries.len(), first, "nothing was adopted");
    }
}

#[test]
fn a_buyer_that_said_it_holds_nothing_does_not_make_the_sellers_journal_old() {
    let mut world = World::new(product(), Suite::X25519);
    // Nothing is ever credited.
    world.settle = false;
    world.abrupt = true;
    world.run();
    let mut rows = world.buyer_journal.entries.clone();
    assert!(!statements::<Invoice>(&rows).is_empty());
    // Both die, and the buyer says that it has nothing: all invoices are void.
    world.restart_seller();
    world.buyer_journal.entries.truncate(4);
    world.restart_buyer();
    assert!(world.run_until(|w| w.buyer.is_live() && w.seller.is_live()));
    // Now it holds them all the same.
    let attach = |row: &&Entry| matches!(row, Entry::Statement(s) if s.kind == Kind::Attach);
    rows.extend(world.buyer_journal.entries.iter().rfind(attach).cloned());
    world.buyer_journal.entries = rows;
    world.restart_buyer();
    world.run();
    assert_eq!(world.seller_ended, Some(seller::Ended::Offence(Offence::BadAttach)), "its journal has all it signed");
}

#[test]
fn a_pair_that_the_buyer_never_signed_is_not_adopted() {
    let plan = PLANS[2];
    let mut world = middle(plan);
    world.buyer_journal.entries.truncate(5);
    world.restored[1] = true;
    // The seller claims a payment that nobody made.
    let rows = &mut world.seller_journal.entries;
    let last = rows.iter().rposition(|row| matches!(row, Entry::Statement(s) if s.kind == Kind::Payment)).unwrap();
    let Entry::Statement(payment) = &rows[last] else { unreachable!() };
    let forged = resigned(&key(9), &Signed::<Payment>::parse(&payment.bytes).unwrap(), |_| {});
    rows[last] = forged.into();
    rows.truncate(last + 1);
    world.restart_seller();
    world.restart_buyer();
    world.run();
    assert_eq!(world.buyer_ended, Some(buyer::Ended::Offence(Offence::WrongStart)));
}

/// What the rail was asked about, the newest last.
fn recalled(world: &AgainstBuyer) -> Vec<Vec<StatementId>> {
    let recalls = world.outputs.iter().filter_map(|output| match output {
        buyer::Output::Recall(invoices) => Some(invoices.clone()),
        _ => None,
    });
    recalls.collect()
}

#[test]
fn a_restored_buyer_asks_the_rail_once_the_last_invoice_is_here_and_pays_nothing_before() {
    let mut world = AgainstBuyer::live_that_moves(product());
    world.sell(3);
    world.restored();
    world.accept();
    let first = world.deliver(3, false);
    assert_eq!((recalled(&world), world.paid.len()), (vec![], 1), "more invoices may come");
    let last = world.deliver(2, true);
    assert_eq!(
        (recalled(&world), world.paid.len()),
        (vec![vec![first.id(), last.id()]], 1),
        "the rail may have paid one"
    );
    world.buyer.recalled(world.now, Some(first.id()));
    world.pump();
    assert_eq!(world.paid[1..], [first.due], "what was paid is paid again, which moves nothing");
    assert_eq!(recalled(&world)[1..], [vec![last.id()]]);
    world.buyer.recalled(world.now, None);
    world.pump();
    assert_eq!(world.paid[2..], [last.due]);
}

#[test]
fn where_no_money_moves_a_restored_buyer_asks_nobody() {
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.restored();
    world.accept();
    let last = world.deliver(3, true);
    assert_eq!((recalled(&world), world.paid[1..].to_vec()), (vec![], vec![last.due]));
}

#[test]
fn a_restored_buyer_takes_an_invoice_of_a_seller_that_lost_the_payments() {
    let mut world = AgainstBuyer::live(product());
    world.sell(3);
    world.sell(3);
    world.restored();
    world.accept();
    (world.liar.totals.paid, world.liar.totals.paid_by) = (Amount::ZERO, None);
    let invoice = world.deliver(3, false);
    assert_eq!((&world.ended, world.buyer.order().unwrap().due()), (&None, invoice.due));
}

#[test]
fn an_old_pair_of_a_journal_that_lacks_nothing_is_no_news() {
    let mut world = AgainstBuyer::live(product());
    let invoice = world.sell(3);
    let payment = world.credit();
    world.sell(3);
    world.sell(3);
    world.again();
    let acceptance = world.liar.acceptance();
    let acceptance = Signed::sign(&world.liar.key, acceptance);
    world.liar.send_session(&SessionPlain {
        acceptance: acceptance.bytes().to_vec(),
        order_salt: world.liar.salt,
        last_invoice: Some(invoice.bytes().to_vec()),
        last_payment: Some(payment.bytes().to_vec()),
    });
    world.pump();
    assert!(world.buyer.is_live(), "{:?}", world.ended);
    assert!(!world.buyer.order().unwrap().is_restored());
}

#[test]
fn a_restored_seller_forgives_no_more_than_may_be_outstanding() {
    let attached = |base: u64, next: u64| {
        let mut world = AgainstSeller::live(product());
        world.pay();
        let (order, invoice) = (world.liar.order.as_ref().unwrap().id(), world.invoices()[0].id());
        world.again();
        let mut account = SellerOrder::restore(&key(1), &world.config.menu, &world.journal.entries, world.now).unwrap();
        account.declare_restored();
        world.known = Some(Box::new(account));
        let attach = world.liar.attach(order, 2);
        let have = Have { base, next, last_invoice: Some(invoice), ..Have::default() };
        world.liar.send_signed(None, &Signed::sign(&key(2), Attach { have, ..attach }));
        world.pump();
        world
    };
    let world = attached(10, 20);
    assert!(world.seller.is_live(), "a window of ten behind the ten that are paid: {:?}", world.ended);
    for (base, next) in [(10, 21), (0, 10)] {
        assert_eq!(attached(base, next).ended, Some(seller::Ended::Offence(Offence::BadAttach)), "{base} {next}");
    }
}

/// The seller says that it was not paid, and dies; the buyer comes back without the invoice, which is void now, and
/// with nothing that it would have to pay.
#[test]
fn a_default_whose_invoice_is_forgiven_ends_the_order_without_a_debt() {
    let mut world = AgainstSeller::live(product());
    world.now = world.now.after_ms(world.config.menu.options[0].pay_by_ms + 1);
    world.seller.handle_timeout(world.now);
    world.pump();
    assert!(world.journal.entries.iter().any(|row| matches!(row, Entry::Statement(one) if one.kind == Kind::Default)));
    let order = world.liar.order.as_ref().unwrap().id();
    // The second time its journal says that it was forgiven.
    for index in [2, 3] {
        let account = SellerOrder::restore(&key(1), &world.config.menu, &world.journal.entries, world.now).unwrap();
        world.again();
        world.known = Some(Box::new(account));
        let attach = world.liar.attach(order, index);
        world.liar.send_signed(None, &Signed::sign(&key(2), Attach { have: Have::default(), ..attach }));
        world.pump();
        assert!(world.seller.is_live(), "{index}: {:?}", world.ended);
        assert_eq!(world.messages_heard(), 0, "{index}: nothing more is sold");
        let last = world.invoice();
        assert!(last.last && last.due.is_zero(), "{index}: {last:?}");
    }
}

#[test]
fn a_seller_finds_the_order_in_its_journal_wherever_it_stands() {
    let mut world = middle(PLANS[2]);
    let entries = &mut world.seller_journal.entries;
    entries.insert(0, world.config.menu.erase().into());
    let account = SellerOrder::restore(&world.config.key, &world.config.menu, entries, world.now).unwrap();
    assert_eq!(account.id(), world.seller.order().unwrap().id());
}

#[test]
fn a_full_window_that_was_invoiced_before_a_restart_proves_the_buyer() {
    let mut world = World::new(product(), Suite::X25519);
    let newest = |world: &World| statements::<Invoice>(&world.seller_journal.entries).pop();
    assert!(world.run_until(|w| newest(w).is_some_and(|invoice| invoice.count == 10)));
    let invoice = newest(&world).unwrap();
    assert!(world.seller.order().is_some_and(|order| !order.is_proven() && order.paid() < invoice.due));
    world.restart_seller();
    assert!(world.run_until(|w| w.seller.order().is_some_and(|order| order.paid() >= invoice.due)));
    assert!(world.seller.order().unwrap().is_proven());
}

#[test]
fn a_payment_whose_invoice_is_lost_counts_in_a_restored_journal() {
    let world = middle(PLANS[1]);
    let entries = &world.seller_journal.entries;
    let invoices = statements::<Invoice>(entries);
    let (lost, adopted) = (&invoices[0], &invoices[1]);
    assert!(adopted.paid < lost.due);
    let payment = Payment {
        order_id: lost.order_id,
        prev: lost.order_id,
        invoice_id: lost.id(),
        total: lost.due,
        channel: None,
        proof: None,
    };
    let mut rows = entries[..opening(entries)].to_vec();
    rows.extend([adopted.erase().into(), Signed::sign(&key(3), payment).erase().into()]);
    let account = SellerOrder::restore(&world.config.key, &world.config.menu, &rows, world.now).unwrap();
    assert_eq!(account.paid(), lost.due);
}

#[test]
fn an_order_is_settled_by_the_own_signature_only() {
    let mut world = middle(PLANS[2]);
    world.buyer.exit(world.now);
    world.run();
    settled(&world, "a whole sale");
    let rows = &mut world.buyer_journal.entries;
    let own = |row: &Entry| match row {
        Entry::Statement(s) if s.kind == Kind::Settlement => {
            Signed::<Settlement>::parse(&s.bytes).unwrap().issuer() == key(3).public()
        }
        _ => false,
    };
    let before = rows.len();
    rows.retain(|row| !own(row));
    assert_eq!(rows.len(), before - 1);
    assert!(!BuyerOrder::restore(&key(3), &world.config.menu, rows).unwrap().is_settled());
}

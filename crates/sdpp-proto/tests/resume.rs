//! Connections that break anywhere and processes that die at any write: the sale goes on, with
//! nothing lost, repeated or paid twice.
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

use kit::*;
use sdpp_proto::buyer::BuyerOrder;
use sdpp_proto::journal::Entry;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::seller::{Seller, SellerOrder};
use sdpp_proto::statement::{Acceptance, AnyStatement, Invoice, Kind, Payment, Signed, Signing, Statement};
use sdpp_proto::suite::Suite;

fn all<T: Statement>(statements: &[AnyStatement]) -> Vec<Signed<T>> {
    statements.iter().filter(|s| s.kind == T::KIND).map(|s| Signed::parse_unverified(&s.bytes).unwrap()).collect()
}

/// How a sale is set up.
#[derive(Clone, Copy, Debug)]
struct Plan {
    signing: Signing,
    windows: u32,
    ramp: bool,
    money_moves: bool,
    abrupt: bool,
}

const PLAN: Plan = Plan { signing: Signing::Window, windows: 4, ramp: true, money_moves: false, abrupt: false };

const PLANS: [Plan; 4] = [
    PLAN,
    Plan { abrupt: true, ramp: false, windows: 8, ..PLAN },
    Plan { money_moves: true, windows: 1, ..PLAN },
    Plan { money_moves: true, abrupt: true, ramp: false, signing: Signing::Message, ..PLAN },
];

fn world(plan: Plan) -> World {
    let mut product = product();
    (product.signing, product.k) = (plan.signing, 5);
    let mut world = World::new(product, Suite::X25519);
    world.draft.quantity = Some(40);
    world.draft.windows = plan.windows;
    (world.admission.windows, world.admission.ramp) = (plan.windows, plan.ramp);
    world.abrupt = plan.abrupt;
    world.rail.moves = plan.money_moves;
    if plan.money_moves {
        world.buyer = sdpp_proto::buyer::Buyer::new(
            sdpp_proto::buyer::BuyerConfig { pay_moves_money: true, ..buyer_config(Suite::X25519) },
            [2; 32],
            START,
        );
    }
    world
}

/// What must hold at the end whatever happened: the buyer has settled, both journals say so and
/// agree, no invoice number was signed twice, and money moved once.
fn is_over(world: &World, about: &str) -> Amount {
    let buyer = world.buyer.order().unwrap_or_else(|| panic!("{about}: {:?}", world.refused()));
    assert!(buyer.is_settled(), "{about}: {:?} {:?}", world.seller_ended, world.buyer_ended);
    let (sellers, buyers) = (&world.seller_journal.entries, &world.buyer_journal.entries);
    let seller = SellerOrder::restore(&world.config.key, &world.config.menu, sellers, world.now).unwrap();
    let buyer = BuyerOrder::restore(&key(3), &world.config.menu, buyers).unwrap();
    assert!(seller.is_settled() && buyer.is_settled(), "{about}");
    assert_eq!((seller.paid(), seller.due()), (buyer.paid(), buyer.due()), "{about}");
    assert_eq!(seller.paid(), seller.due(), "{about}");
    let mut digests = BTreeMap::new();
    for invoice in all::<Invoice>(&world.seller_journal.statements()) {
        let id = digests.entry(invoice.n).or_insert(invoice.id());
        assert_eq!(*id, invoice.id(), "{about}: invoice {} was signed twice", invoice.n);
    }
    let mut tip = buyer.id();
    let mut payments = all::<Payment>(&world.buyer_journal.statements());
    payments.dedup_by_key(|payment| payment.id());
    payments.retain(|payment| {
        let next = payment.prev == tip;
        tip = if next { payment.id() } else { tip };
        next
    });
    assert_eq!(payments.last().map(|payment| payment.total), Some(buyer.paid()), "{about}: one chain of payments");
    if world.rail.moves {
        assert_eq!(world.rail.moved, buyer.paid(), "{about}: money that moved");
    }
    buyer.paid()
}

/// Over, and everything that was ordered is there and paid once.
fn is_complete(world: &World, about: &str) {
    assert_eq!(is_over(world, about), Amount::new(3 * 40), "{about}");
    world.delivered_is_whole(40);
}

/// Bytes that an undisturbed sale carries in each direction.
fn length(plan: Plan) -> [u64; 2] {
    let mut world = world(plan);
    world.run();
    world.both_settled();
    is_complete(&world, "undisturbed");
    world.carried
}

#[test]
fn a_sale_survives_a_cut_at_any_byte() {
    for plan in PLANS {
        let length = length(plan);
        for (direction, length) in length.into_iter().enumerate() {
            // A prime step meets headers, bodies and tags.
            for at in (0..length).step_by(151) {
                let mut world = world(plan);
                world.break_at[direction] = Some(at);
                let broke = world.run_until(|w| w.broken);
                assert!(broke, "{plan:?} {direction} {at}");
                world.break_at = [None; 2];
                world.run_through();
                is_complete(&world, &format!("{plan:?}, direction {direction}, byte {at}"));
            }
        }
    }
}

#[test]
fn a_sale_survives_a_cut_at_every_frame() {
    for plan in PLANS {
        for direction in 0..2 {
            for at in boundaries(plan, direction) {
                for at in [at - 1, at] {
                    let mut world = world(plan);
                    world.break_at[direction] = Some(at);
                    world.run_until(|w| w.broken);
                    world.break_at = [None; 2];
                    world.go_on();
                    world.run_through();
                    is_complete(&world, &format!("{plan:?}, direction {direction}, frame ends at {at}"));
                }
            }
        }
    }
}

/// Where the frames of an undisturbed sale end.
fn boundaries(plan: Plan, direction: usize) -> Vec<u64> {
    let mut world = world(plan);
    let mut ends = Vec::new();
    while world.step() {
        ends.push(world.carried[direction]);
    }
    ends.dedup();
    ends.retain(|end| *end > 0);
    ends
}

#[test]
fn a_sale_survives_connections_that_all_break() {
    // Every connection breaks after so many bytes; each brings the sale a little further.
    for plan in PLANS {
        for bytes in [8_000, 8_301, 9_907] {
            let mut world = world(plan);
            world.break_at = [Some(bytes), None];
            world.run_through();
            is_complete(&world, &format!("{plan:?}, {bytes} bytes per connection"));
        }
    }
}

/// Kills one side, or both, at every write.
fn kill_everywhere(plan: Plan, kill: impl Fn(&mut World, (u64, bool)) -> bool, check: impl Fn(&World, &str)) {
    for at in 1..200 {
        for durable in [false, true] {
            let mut world = world(plan);
            if !kill(&mut world, (at, durable)) {
                assert!(at > 4, "the sale has some writes");
                return;
            }
            world.run_through();
            check(&world, &format!("{plan:?}, write {at}, durable: {durable}"));
        }
    }
    panic!("the sale has an end");
}

#[test]
fn a_sale_survives_the_buyers_death_at_any_write() {
    for plan in PLANS {
        let kill = |world: &mut World, at| {
            world.buyer_journal.dies_at = Some(at);
            world.run_until(|w| w.broken)
        };
        kill_everywhere(plan, kill, is_complete);
    }
}

/// A restarted seller has lost what was not paid: the buyer keeps what it holds, unpaid, and is sent
/// other messages under the numbers that follow.
fn is_gapless(world: &World, about: &str) {
    is_over(world, about);
    let numbers: Vec<u64> = world.sink.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (0..40).collect::<Vec<u64>>(), "{about}");
    let mut messages: Vec<_> = world.sink.iter().map(|(_, message)| message).collect();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 40, "{about}: no message came twice");
}

#[test]
fn a_sale_survives_the_sellers_death_at_any_write() {
    for plan in PLANS {
        let kill = |world: &mut World, at| {
            world.seller_journal.dies_at = Some(at);
            world.run_until(|w| w.broken)
        };
        kill_everywhere(plan, kill, is_gapless);
    }
}

#[test]
fn a_sale_survives_both_deaths_at_any_write() {
    for plan in PLANS {
        let kill = |world: &mut World, at| {
            world.seller_journal.dies_at = Some(at);
            let died = world.run_until(|w| w.broken);
            world.buyer_journal.dead = true;
            died
        };
        kill_everywhere(plan, kill, is_gapless);
        let kill = |world: &mut World, at| {
            world.buyer_journal.dies_at = Some(at);
            let died = world.run_until(|w| w.broken);
            world.seller_journal.dead = true;
            died
        };
        kill_everywhere(plan, kill, is_gapless);
    }
}

#[test]
fn a_sale_survives_a_second_death_soon_after_the_first() {
    for plan in PLANS {
        for first in [4, 7, 11] {
            for second in 1..8 {
                let mut world = world(plan);
                world.seller_journal.dies_at = Some((first, true));
                world.run_until(|w| w.broken);
                world.go_on();
                world.seller_journal.dies_at = Some((first + second, second % 2 == 0));
                world.run_until(|w| w.broken);
                world.buyer_journal.dead = second % 3 == 0;
                world.run_through();
                is_gapless(&world, &format!("{plan:?}, {first} and {second} writes later"));
            }
        }
    }
}

/// The buyer holds messages whose invoice never became durable, and then the seller dies.
fn with_forgiven(plan: Plan) -> (World, u64, u64) {
    let mut world = world(plan);
    assert!(world.run_until(|w| w.seller.order().is_some_and(|order| order.paid() > Amount::ZERO)));
    world.seller_journal.hold = true;
    world.run();
    let (held, verified) = (world.sink.len() as u64, world.buyer.order().unwrap().verified());
    assert!(held > verified, "{held} {verified}");
    world.seller_journal.hold = false;
    world.abrupt = true;
    world.restart_seller();
    (world, verified, held)
}

const OPEN: Plan = Plan { ramp: false, windows: 2, ..PLAN };

#[test]
fn the_buyer_keeps_forgiven_messages_unpaid() {
    let (mut world, verified, held) = with_forgiven(OPEN);
    world.run_through();
    is_gapless(&world, "forgiven");
    let acceptances = all::<Acceptance>(&world.seller_journal.statements());
    let forgiven = acceptances.last().unwrap().forgiven.unwrap();
    assert_eq!((forgiven.first, forgiven.first + forgiven.count), (verified, held));
    let paid = world.seller.order().unwrap().paid();
    assert_eq!(paid, Amount::new(3 * u128::from(40 - forgiven.count)));
    assert!(world.seller_journal.statements().iter().any(|s| s.kind == Kind::Settlement));
}

#[test]
fn what_both_sides_lost_is_forgiven_and_not_signed_again() {
    // Both die in mid-window; the source is stamped with the time, so it never repeats itself.
    let (mut world, verified, _) = with_forgiven(OPEN);
    world.restart_buyer();
    world.time_us = |_| 7;
    world.run_through();
    is_gapless(&world, "both lost");
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(3 * 40), "all 40 that the buyer has at the end");
    let invoices = all::<Invoice>(&world.seller_journal.statements());
    assert!(invoices.windows(2).all(|pair| pair[0].n < pair[1].n && pair[0].end() == pair[1].first));
    assert!(invoices.iter().any(|invoice| invoice.end() == verified));
}

/// A connection that ends while a write is under way leaves it to the next one to write again: of any number of rows,
/// the same ones follow. A buyer writes only payments again.
#[test]
fn rows_that_were_written_twice_change_nothing() {
    let (mut world, ..) = with_forgiven(OPEN);
    assert!(world.run_until(|w| w.seller.order().is_some_and(|order| order.paid() > Amount::new(60))));
    let now = world.now;
    let seller = |rows: &[Entry]| SellerOrder::restore(&key(1), &world.config.menu, rows, now).unwrap();
    let buyer = |rows: &[Entry]| BuyerOrder::restore(&key(3), &world.config.menu, rows).unwrap();
    let (sold, bought) = (&world.seller_journal.entries, &world.buyer_journal.entries);
    assert!(all::<Acceptance>(&world.seller_journal.statements()).iter().any(|one| one.forgiven.is_some()));
    let (once_sold, once_bought) = (format!("{:?}", seller(sold)), format!("{:?}", buyer(bought)));
    let twice = |rows: &[Entry], from: usize, to: usize, may: fn(Kind) -> bool| {
        let (from, to) = (from.min(rows.len()), to.min(rows.len()));
        let comes_again = |row: &&Entry| matches!(row, Entry::Statement(one) if may(one.kind));
        let again: Vec<_> = rows[from..to].iter().filter(comes_again).cloned().collect();
        [&rows[..to], &again, &rows[to..]].concat()
    };
    for (from, length) in (0..sold.len().max(bought.len())).flat_map(|from| [(from, 1), (from, 2), (from, 3)]) {
        let sold = twice(sold, from, from + length, |_| true);
        assert_eq!(format!("{:?}", seller(&sold)), once_sold, "{length} rows at {from}");
        let bought = twice(bought, from, from + length, |kind| kind == Kind::Payment);
        assert_eq!(format!("{:?}", buyer(&bought)), once_bought, "{length} rows at {from}");
    }
}

/// Memory that comes back is for the next batches: as much as is unpaid at most, and none between connections.
#[test]
fn memory_of_what_is_paid_is_not_kept_for_nothing() {
    let spare = |account: &SellerOrder| !format!("{account:?}").contains("spare: []");
    let mut world = world(Plan { windows: 8, ramp: false, ..PLAN });
    world.draft.quantity = Some(400);
    let kept = |w: &World| w.seller.order().is_some_and(|order| order.due() > order.paid() && spare(order));
    assert!(world.run_until(kept), "some is unpaid, and some memory is there for the next");
    let now = world.now;
    let fresh = Seller::new(world.config.clone(), [9; 32], now);
    let account = std::mem::replace(&mut world.seller, fresh).into_order(now).unwrap();
    assert!(account.due() > account.paid() && !spare(&account));
    let mut world = self::world(Plan { windows: 8, ramp: false, ..PLAN });
    world.draft.quantity = Some(4000);
    (world.source_end, world.endless) = (2000, true);
    world.run();
    let account = world.seller.order().unwrap();
    assert!(
        account.due() == account.paid() && !account.is_settled() && !spare(account),
        "all is paid, and it is quiet"
    );
}

#[test]
fn forgiving_survives_cuts_and_deaths_before_the_buyer_hears_of_it() {
    for direction in 0..2 {
        for at in (0..6_000).step_by(311) {
            for (buyer_dies, seller_dies) in [(false, false), (true, false), (false, true), (true, true)] {
                let (mut world, ..) = with_forgiven(OPEN);
                world.break_at[direction] = Some(at);
                world.run_until(|w| w.broken);
                world.break_at = [None; 2];
                world.seller_journal.dead |= seller_dies;
                world.buyer_journal.dead |= buyer_dies;
                world.run_through();
                let about = format!("direction {direction}, byte {at}, deaths {buyer_dies} {seller_dies}");
                is_over(&world, &about);
                let last = world.sink.last().map(|(seq, _)| *seq);
                assert_eq!(last, Some(39), "{about}");
                if !buyer_dies {
                    is_gapless(&world, &about);
                }
            }
        }
    }
}

#[test]
fn time_that_was_billed_before_a_break_is_paid_after_it() {
    let mut product = product();
    (product.unit, product.amount, product.window_ms) = (Unit::Second, Amount::new(2), 10_000);
    for lose in [false, true] {
        let mut world = World::new(product.clone(), Suite::X25519);
        world.draft.quantity = None;
        (world.source_end, world.offering) = (0, false);
        world.run();
        for _ in 0..6 {
            tick(&mut world, 5_000);
        }
        world.pay = !lose;
        tick(&mut world, 20_000 - 1);
        // The line is dead for a while; the seller notices late and bills what it may.
        world.now = world.now.after_ms(9_000);
        world.reconnect();
        world.pay = true;
        world.run();
        for _ in 0..4 {
            tick(&mut world, 5_000);
        }
        world.seller.finish(world.now);
        world.run();
        world.both_settled();
        is_over(&world, "timed");
    }
}

#[test]
fn a_break_behind_a_session_without_time_is_not_billed() {
    // The first session ends in the millisecond in which it began; a minute later the second one lasts 10 seconds.
    let mut product = product();
    (product.unit, product.amount, product.window_ms) = (Unit::Second, Amount::new(2), 10_000);
    let mut world = World::new(product, Suite::X25519);
    world.draft.quantity = None;
    world.admission.ramp = false;
    (world.source_end, world.offering) = (0, false);
    world.run();
    world.reconnect();
    world.now = world.now.after_ms(60_000);
    world.run();
    tick(&mut world, 10_000);
    world.seller.finish(world.now);
    world.run();
    is_over(&world, "a break");
    assert_eq!(world.buyer.order().unwrap().due(), Amount::new(20));
}

#[test]
fn time_of_a_session_that_the_buyer_never_saw_is_no_lie() {
    let mut product = product();
    (product.unit, product.amount, product.window_ms) = (Unit::Second, Amount::new(2), 10_000);
    // The acceptance is lost on the way, and the seller notices late.
    let cut_at = |at| {
        let mut world = World::new(product.clone(), Suite::X25519);
        world.draft.quantity = None;
        world.admission.ramp = false;
        (world.source_end, world.offering) = (0, false);
        world.break_at[0] = Some(at);
        world.run();
        world
    };
    let mut world = (0..9_000).step_by(50).map(cut_at).find(|w| w.seller.is_live() && !w.buyer.is_live()).unwrap();
    world.break_at = [None; 2];
    world.now = world.now.after_ms(8_000);
    world.seller.handle_timeout(world.now);
    world.go_on();
    world.run();
    tick(&mut world, 2_000);
    world.seller.finish(world.now);
    world.run();
    assert_eq!(world.refused(), None);
    is_over(&world, "a lost acceptance");
}

#[test]
fn time_billed_before_a_buyers_death_is_no_lie_after_it() {
    let mut product = product();
    (product.unit, product.amount, product.window_ms) = (Unit::Second, Amount::new(2), 3_000);
    let mut world = World::new(product, Suite::X25519);
    world.draft.quantity = None;
    world.admission.ramp = false;
    (world.source_end, world.offering) = (0, false);
    world.run();
    // Four windows are invoiced, and none of the invoices is durable at the buyer when it dies.
    world.buyer_journal.hold = true;
    for _ in 0..4 {
        tick(&mut world, 3_000);
    }
    assert!(world.seller.order().unwrap().due() >= Amount::new(18));
    world.buyer_journal.hold = false;
    world.restart_buyer();
    world.run();
    tick(&mut world, 2_000);
    world.seller.finish(world.now);
    world.run();
    assert_eq!(world.refused(), None);
    is_over(&world, "a buyer that died");
}

#[test]
fn an_invoice_signed_before_a_payment_was_credited_is_taken_after_it() {
    let mut world = world(OPEN);
    (world.endless, world.source_end) = (true, 5);
    assert!(world.run_until(|w| w.buyer.order().is_some_and(|order| order.paid() > Amount::ZERO)));
    // The second invoice is signed while the first payment is under way; the line breaks before it
    // is sent, and after the payment came.
    world.seller_journal.hold = true;
    world.source_end = 10;
    world.run();
    world.seller_journal.hold = false;
    world.reconnect();
    assert_eq!(world.known.as_ref().unwrap().paid(), Amount::new(15));
    assert_eq!(all::<Invoice>(&world.seller_journal.statements())[1].paid_by, None);
    (world.endless, world.source_end) = (false, u64::MAX);
    world.run_through();
    is_complete(&world, "an older invoice after a newer payment");
}

#[test]
fn an_order_whose_first_write_was_lost_is_written_with_the_next() {
    for dies in [false, true] {
        let mut world = world(Plan { abrupt: true, ..OPEN });
        world.seller_journal.hold = true;
        world.run();
        assert!(!world.seller.is_live());
        world.reconnect();
        world.seller_journal.hold = false;
        assert!(world.run_until(|w| w.seller.order().is_some_and(|order| order.paid() > Amount::ZERO)));
        world.broken = dies;
        world.seller_journal.dead = dies;
        if dies {
            world.go_on();
        }
        world.run_through();
        is_gapless(&world, "the order's rows");
    }
}

#[test]
fn time_without_messages_between_messages_is_no_obstacle() {
    let mut product = product();
    (product.unit, product.amount, product.window_ms) = (Unit::Second, Amount::new(2), 3_000);
    let mut world = World::new(product, Suite::X25519);
    world.draft.quantity = None;
    world.admission.ramp = false;
    (world.source_end, world.endless) = (0, true);
    world.run();
    // Cuts and messages come, invoices do not: they are not durable yet.
    world.seller_journal.hold = true;
    for more in [1, 0, 2] {
        world.source_end += more;
        tick(&mut world, 3_000);
    }
    assert_eq!((world.sink.len(), world.buyer.order().unwrap().verified()), (3, 0));
    world.seller_journal.hold = false;
    world.reconnect();
    world.run();
    assert_eq!(world.refused(), None);
    world.seller.finish(world.now);
    world.run();
    is_over(&world, "empty spans");
    world.delivered_is_whole(3);
}

/// Both lose an invoice of time without messages and one with messages: both are void, and stay so in the seller's
/// next life.
#[test]
fn forgiven_time_stays_forgiven() {
    let mut product = product();
    (product.unit, product.amount, product.window_ms) = (Unit::Second, Amount::new(2), 3_000);
    let mut world = World::new(product, Suite::X25519);
    world.draft.quantity = None;
    world.admission.ramp = false;
    (world.source_end, world.endless) = (1, true);
    world.run();
    tick(&mut world, 3_000);
    let paid = world.seller.order().unwrap().paid();
    assert!(paid > Amount::ZERO);
    world.buyer_journal.hold = true;
    for more in [1, 0] {
        world.source_end += more;
        tick(&mut world, 3_000);
    }
    world.buyer_journal.hold = false;
    world.abrupt = true;
    world.restart_buyer();
    world.restart_seller();
    world.run();
    let acceptances = all::<Acceptance>(&world.seller_journal.statements());
    let void = acceptances.last().unwrap().forgiven.unwrap().invoice.unwrap();
    let invoices = all::<Invoice>(&world.seller_journal.statements());
    let void = invoices.iter().find(|invoice| invoice.id() == void).unwrap();
    assert_eq!((void.count, void.paid, invoices.last().unwrap().count), (0, paid, 1), "the first of the two");
    let rows = &world.seller_journal.entries;
    let again = SellerOrder::restore(&key(1), &world.config.menu, rows, world.now).unwrap();
    assert_eq!((again.due(), again.paid()), (paid, paid));
}

#[test]
fn a_sale_by_the_second_survives_a_cut_at_any_byte() {
    // Some windows have messages, some have only time.
    let mut product = product();
    (product.unit, product.amount, product.window_ms) = (Unit::Second, Amount::new(2), 3_000);
    for (direction, pays) in [(0, true), (0, false), (1, true)] {
        for at in (0..9_000).step_by(307) {
            let mut world = World::new(product.clone(), Suite::X25519);
            world.draft.quantity = None;
            world.admission.ramp = false;
            (world.source_end, world.endless, world.pay) = (0, true, pays);
            world.break_at[direction] = Some(at);
            for step in 0..12 {
                world.source_end += [2, 0, 1][step % 3];
                tick(&mut world, 1_500);
                if world.broken {
                    world.break_at = [None; 2];
                    world.pay = true;
                    world.go_on();
                    world.run();
                }
            }
            world.pay = true;
            world.reconnect();
            world.run();
            world.seller.finish(world.now);
            world.run();
            let about = format!("direction {direction}, byte {at}, pays {pays}");
            assert_eq!(world.refused(), None, "{about}");
            is_over(&world, &about);
            world.delivered_is_whole(12);
        }
    }
}

fn tick(world: &mut World, ms: u64) {
    world.now = world.now.after_ms(ms);
    world.seller.handle_timeout(world.now);
    world.buyer.handle_timeout(world.now);
    world.run();
}

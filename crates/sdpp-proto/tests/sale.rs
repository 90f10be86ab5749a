//! Whole sales between two honest machines.
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

use kit::*;
use sdpp_proto::codec::{Bytes32, ChannelId};
use sdpp_proto::limits;
use sdpp_proto::message::Batch;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::seller::Offered;
use sdpp_proto::statement::{Invoice, Kind, PayOption, Payment, Product, Signed, Signing};
use sdpp_proto::suite::Suite;

fn invoices(world: &World) -> Vec<Signed<Invoice>> {
    let all = world.buyer_journal.statements();
    all.iter().filter(|s| s.kind == Kind::Invoice).map(|s| Signed::parse(&s.bytes).unwrap()).collect()
}

fn payments(world: &World) -> Vec<Signed<Payment>> {
    let all = world.seller_journal.statements();
    all.iter().filter(|s| s.kind == Kind::Payment).map(|s| Signed::parse(&s.bytes).unwrap()).collect()
}

#[test]
fn a_hundred_messages_are_sold_and_settled_in_both_suites() {
    for suite in Suite::ALL {
        let mut world = World::new(product(), suite);
        world.run();
        world.both_settled();
        world.delivered_is_whole(100);
        assert_eq!(payments(&world).last().unwrap().total, Amount::new(300));
        assert!(invoices(&world).last().unwrap().last);
    }
}

#[test]
fn a_new_buyer_starts_with_one_message() {
    let mut product = product();
    product.k = 100;
    let mut world = World::new(product, Suite::X25519);
    world.draft.quantity = Some(1000);
    world.run();
    world.both_settled();
    world.delivered_is_whole(1000);
    let first: Vec<u64> = invoices(&world).iter().take(9).map(|invoice| invoice.count).collect();
    assert_eq!(first, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
}

#[test]
fn prices_of_three_per_thousand_round_up_on_the_total() {
    let mut product = product();
    (product.amount, product.per) = (Amount::new(3), 1000);
    let mut world = World::new(product, Suite::X25519);
    world.draft.quantity = Some(1004);
    world.run();
    world.both_settled();
    world.delivered_is_whole(1004);
    let dues: Vec<u128> = invoices(&world).iter().map(|invoice| invoice.due.get()).collect();
    assert_eq!(dues.first(), Some(&1));
    assert_eq!(dues.last(), Some(&4));
    assert!(dues.windows(2).any(|pair| pair[0] == pair[1]), "some windows add nothing to the amount due");
}

#[test]
fn messages_that_are_signed_one_by_one_arrive() {
    let mut product = product();
    product.signing = Signing::Message;
    product.acks = true;
    let mut world = World::new(product, Suite::X25519);
    world.run();
    world.both_settled();
    world.delivered_is_whole(100);
    assert!(world.seller_journal.statements().iter().any(|s| s.kind == Kind::Ack));
}

#[test]
fn a_byte_price_with_one_maximal_message() {
    let mut product = product();
    (product.unit, product.amount, product.per) = (Unit::Byte, Amount::new(1), 1000);
    product.message_max = 1_000_000;
    let mut world = World::new(product, Suite::X25519);
    world.payload = |seq| vec![seq as u8; 1_000_000];
    world.draft.quantity = Some(3);
    world.run();
    world.both_settled();
    world.delivered_is_whole(3);
    assert_eq!(payments(&world).last().unwrap().total, Amount::new(3000));
}

#[test]
fn a_deposit_that_ends_in_mid_window_is_never_exceeded() {
    let mut world = World::new(product(), Suite::X25519);
    world.draft.quantity = None;
    world.admission.ceiling = Amount::new(3 * 25 + 2);
    world.run();
    world.both_settled();
    world.delivered_is_whole(25);
    assert_eq!(payments(&world).last().unwrap().total, Amount::new(75));
}

#[test]
fn an_order_limit_that_ends_in_mid_window_is_never_exceeded() {
    let mut world = World::new(product(), Suite::X25519);
    world.draft.quantity = None;
    world.draft.limit = Amount::new(100);
    world.run();
    world.both_settled();
    world.delivered_is_whole(33);
}

#[test]
fn what_is_owed_never_exceeds_the_exposure() {
    let mut world = World::new(product(), Suite::X25519);
    world.draft.exposure_max = Amount::new(16);
    world.run();
    world.both_settled();
    assert_eq!(world.exposure_seen, Amount::new(15));
}

#[test]
fn a_buyer_is_proven_by_a_full_window_that_it_paid_for() {
    for ramp in [true, false] {
        let mut world = World::new(product(), Suite::X25519);
        world.admission.ramp = ramp;
        let standing = |w: &World| w.seller.order().map(|order| (order.has_paid(), order.is_proven()));
        assert!(world.run_until(|w| w.seller.is_live()));
        assert_eq!(standing(&world), Some((false, false)), "nothing was paid");
        assert!(world.run_until(|w| w.seller.order().is_some_and(|order| order.paid() > Amount::ZERO)));
        assert_eq!(standing(&world), Some((true, !ramp)), "one message was paid, or a window");
        world.run();
        assert_eq!(standing(&world), Some((true, true)));
    }
}

/// A live sale without a ramp in which eight windows may be outstanding; the test offers by itself.
fn offered_by_hand(product: Product, exposure: u128) -> World {
    let mut world = World::new(product, Suite::X25519);
    (world.draft.quantity, world.draft.windows, world.draft.exposure_max) = (None, 8, Amount::new(exposure));
    (world.admission.windows, world.admission.ramp) = (8, false);
    world.offering = false;
    assert!(world.run_until(|w| w.seller.is_live() && w.buyer.is_live()));
    world
}

/// Offers so many messages, and gives what was paid after that.
fn offer(world: &mut World, count: u64) -> Amount {
    let mut batch = Batch::new();
    let sent = world.seller.order().unwrap().sent();
    (sent..sent + count).for_each(|seq| batch.push((world.time_us)(seq), &message(seq)).unwrap());
    assert_eq!((world.seller.offer(world.now, &mut batch), batch.len()), (Offered::Taken, 0));
    world.run();
    world.seller.order().unwrap().paid()
}

#[test]
fn whole_windows_wait_for_more_until_the_source_is_idle() {
    let mut world = offered_by_hand(product(), 1000);
    for (messages, paid) in [(10, 30), (5, 30), (5, 60)] {
        let before = world.seller.order().unwrap().paid();
        assert_eq!(offer(&mut world, messages), before, "one window of two that a span has");
        world.seller.idle(world.now);
        world.run();
        assert_eq!(world.seller.order().unwrap().paid(), Amount::new(paid));
    }
    assert_eq!(offer(&mut world, 20), Amount::new(120), "a full span does not wait");
}

#[test]
fn a_span_ends_at_once_where_the_exposure_does() {
    let mut world = offered_by_hand(product(), 30);
    assert_eq!(offer(&mut world, 10), Amount::new(30));
}

#[test]
fn a_seller_asks_to_be_woken_when_a_window_or_the_credit_ends() {
    let wakes = |unit: Unit, window_ms: u64| {
        let timed = Product { unit, amount: Amount::new(2), window_ms, ..product() };
        let mut world = offered_by_hand(timed, 9);
        offer(&mut world, 1);
        world.seller.poll_timeout().unwrap().since_ms(START)
    };
    assert_eq!([3_000, 10_000].map(|ms| wakes(Unit::Second, ms)), [3_000, 4_500]);
    let silent = sdpp_proto::limits::KEEPALIVE_MS;
    assert_eq!([0, 3_000, 10_000].map(|ms| wakes(Unit::Message, ms)), [silent, 3_000, 10_000]);
}

#[test]
fn a_message_that_is_too_long_is_left_to_the_caller_and_all_before_it_are_sold() {
    let mut world = offered_by_hand(Product { message_max: 10, ..product() }, 1000);
    let mut batch = Batch::new();
    for length in [10, 9, 11, 10] {
        batch.push(0, &vec![b'x'; length]).unwrap();
    }
    assert_eq!(world.seller.offer(world.now, &mut batch), Offered::TooLong);
    assert_eq!((batch.len(), world.seller.order().unwrap().sent()), (2, 2));
    assert_eq!(world.seller.offer(world.now, &mut batch), Offered::TooLong);
    assert_eq!(batch.len(), 2);
}

/// Offers one message as a span of its own.
fn offer_span(world: &mut World, payload: &[u8]) {
    let mut batch = Batch::new();
    batch.push(0, payload).unwrap();
    assert_eq!(world.seller.offer(world.now, &mut batch), Offered::Taken);
    world.seller.idle(world.now);
}

#[test]
fn invoices_that_become_durable_together_are_sent_in_frames_that_the_buyer_takes() {
    let mut world = World::new(Product { k: 1, windows_max: 200, ..product() }, Suite::X25519);
    (world.draft.quantity, world.draft.windows, world.admission.windows) = (None, 200, 200);
    (world.admission.ramp, world.offering, world.time_us) = (false, false, |_| 0);
    assert!(world.run_until(|w| w.seller.is_live() && w.buyer.is_live()));
    world.seller_journal.hold = true;
    let invoices = 2 * sdpp_proto::limits::CONTROL_ITEMS_MAX;
    for _ in 0..invoices {
        offer_span(&mut world, b"x");
        world.run();
    }
    assert_eq!(world.seller.order().unwrap().paid(), Amount::ZERO, "none is durable");
    world.seller_journal.hold = false;
    // Its cut goes into the same frame, and there is one more item.
    offer_span(&mut world, b"x");
    world.seller.recorded(world.order_id(), Bytes32([2; 32]));
    world.run();
    assert_eq!(world.refused(), None);
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(3 * (invoices as u128 + 1)));
}

#[test]
fn an_invoice_waits_for_the_next_frame_where_messages_leave_no_room() {
    use sdpp_proto::limits::{CONTROL_TRAILER_LEN, FRAME_PLAIN_MAX, MESSAGE_HEADER_LEN};
    let mut world = offered_by_hand(Product { k: 1, message_max: 200_000, ..product() }, 1000);
    world.time_us = |_| 0;
    world.seller_journal.hold = true;
    offer_span(&mut world, b"x");
    world.run();
    world.seller_journal.hold = false;
    let full = FRAME_PLAIN_MAX - CONTROL_TRAILER_LEN - MESSAGE_HEADER_LEN;
    offer_span(&mut world, &vec![b'x'; full - 100]);
    world.run();
    assert_eq!((world.refused(), world.sink.len()), (None, 2));
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(6));
}

#[test]
fn a_payment_at_the_rail_or_on_its_way_to_the_disk_has_come_in_time() {
    let mut world = offered_by_hand(Product { k: 1, ..product() }, 1000);
    world.settle = false;
    offer_span(&mut world, b"x");
    world.run();
    let late = option().pay_by_ms + 5_000;
    world.now = world.now.after_ms(late);
    world.seller.handle_timeout(world.now);
    world.run();
    assert_eq!(world.seller_ended, None, "the rail is slow");
    let payments = world.buyer_journal.statements();
    let payment = payments.iter().rev().find(|statement| statement.kind == Kind::Payment).unwrap();
    world.seller_journal.hold = true;
    world.seller.settled(world.now, &payment.id, true);
    world.run();
    world.seller.handle_timeout(world.now);
    world.run();
    assert_eq!((&world.seller_ended, world.seller.order().unwrap().paid()), (&None, Amount::ZERO), "the disk is slow");
    world.seller_journal.hold = false;
    world.run();
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(3));
}

/// Two units of money for a second, in windows of ten.
fn timed_by_hand(exposure: u128) -> World {
    let timed = Product { unit: Unit::Second, amount: Amount::new(2), window_ms: 10_000, ..product() };
    offered_by_hand(timed, exposure)
}

#[test]
fn time_is_invoiced_when_the_exposure_is_used_up() {
    let mut world = timed_by_hand(9);
    offer(&mut world, 1);
    world.now = world.now.after_ms(4_500);
    world.seller.handle_timeout(world.now);
    world.run();
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(9));
}

#[test]
fn a_window_of_time_counts_without_messages_and_one_without_time_does_not() {
    let mut world = timed_by_hand(1000);
    world.now = world.now.after_ms(10_000);
    world.seller.handle_timeout(world.now);
    world.run();
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(20));
    let mut world = timed_by_hand(1000);
    world.seller.finish(world.now);
    world.run();
    assert_eq!(invoices(&world).iter().map(|invoice| invoice.windows).collect::<Vec<_>>(), [0]);
}

#[test]
fn time_without_a_connection_is_not_billed() {
    let mut world = timed_by_hand(1000);
    offer(&mut world, 1);
    world.now = world.now.after_ms(2_000);
    world.reconnect();
    world.now = world.now.after_ms(5_000);
    assert!(world.run_until(|w| w.seller.is_live() && w.buyer.is_live()));
    world.now = world.now.after_ms(1_000);
    world.seller.finish(world.now);
    world.run();
    world.both_settled();
    assert_eq!(world.buyer.order().unwrap().paid(), Amount::new(6));
}

#[test]
fn a_window_of_messages_goes_on_behind_a_break() {
    let mut world = offered_by_hand(product(), 1000);
    offer(&mut world, 3);
    world.reconnect();
    assert!(world.run_until(|w| w.seller.is_live() && w.buyer.is_live()));
    assert!(!world.seller_journal.statements().iter().any(|statement| statement.kind == Kind::Invoice));
}

/// A sale of messages of a million bytes, each a window.
fn large_by_hand(windows: u32) -> World {
    let large = Product { k: 1, message_max: 1_000_000, windows_max: windows, ..product() };
    let mut world = World::new(large, Suite::X25519);
    (world.draft.quantity, world.draft.windows, world.admission.windows) = (None, windows, windows);
    (world.admission.ramp, world.offering, world.time_us) = (false, false, |_| 0);
    assert!(world.run_until(|w| w.seller.is_live() && w.buyer.is_live()));
    world
}

fn offer_large(world: &mut World) -> Offered {
    let mut batch = Batch::new();
    batch.push(0, &vec![0; 1_000_000]).unwrap();
    world.seller.offer(world.now, &mut batch)
}

#[test]
fn large_windows_are_invoiced_before_a_span_is_full() {
    let mut world = large_by_hand(128);
    // An invoice has 32 windows; half a span has sixteen megabytes and a bit.
    for _ in 0..16 {
        assert_eq!(offer_large(&mut world), Offered::Taken);
        world.run();
    }
    assert_eq!(world.seller.order().unwrap().paid(), Amount::ZERO);
    offer_large(&mut world);
    world.run();
    assert_eq!(world.seller.order().unwrap().paid(), Amount::new(17 * 3));
}

#[test]
fn a_seller_keeps_no_more_than_its_limit_of_what_is_not_paid() {
    let mut world = large_by_hand(300);
    let taken = (0..300).take_while(|_| offer_large(&mut world) == Offered::Taken).count() as u64;
    assert_eq!(taken, sdpp_proto::limits::KEPT_BYTES_MAX.div_ceil(1_000_012));
}

#[test]
fn silence_counts_from_the_last_frame_that_was_sent() {
    let mut world = offered_by_hand(product(), 1000);
    let wakes = |world: &World| world.seller.poll_timeout().unwrap();
    let silent = sdpp_proto::limits::KEEPALIVE_MS;
    let mut out = Vec::new();
    world.now = world.now.after_ms(1_000);
    assert!(!world.seller.poll_transmit(world.now, &mut out, 1 << 16));
    assert_eq!(wakes(&world), START.after_ms(silent), "nothing was sent");
    let mut batch = Batch::new();
    batch.push(0, b"x").unwrap();
    assert_eq!(world.seller.offer(world.now, &mut batch), Offered::Taken);
    assert!(!world.seller.poll_transmit(world.now, &mut out, 0), "as much as was asked for is there");
    assert_eq!(wakes(&world), START.after_ms(silent));
    assert!(world.seller.poll_transmit(world.now, &mut out, 1 << 16));
    assert_eq!(wakes(&world), world.now.after_ms(silent));
}

#[test]
fn the_buyer_leaves_in_the_middle() {
    let mut world = World::new(product(), Suite::X25519);
    world.draft.quantity = None;
    world.exit_at = Some(44);
    world.run();
    world.both_settled();
    let sold = world.sink.len() as u64;
    assert!((44..100).contains(&sold));
    world.delivered_is_whole(sold);
    assert_eq!(payments(&world).last().unwrap().total, Amount::new(3 * u128::from(sold)));
}

#[test]
fn the_source_ends_in_mid_window() {
    let mut world = World::new(product(), Suite::X25519);
    world.source_end = 57;
    world.run();
    world.both_settled();
    world.delivered_is_whole(57);
}

#[test]
fn a_buyer_that_does_not_pay_gets_no_more_than_the_first_window() {
    let mut world = World::new(product(), Suite::X25519);
    world.pay = false;
    world.run();
    assert_eq!(world.sink.len(), 1);
    world.now = world.now.after_ms(option().pay_by_ms);
    world.seller.handle_timeout(world.now);
    world.run();
    assert_eq!(world.seller_ended, Some(sdpp_proto::seller::Ended::Defaulted));
    assert!(world.seller_journal.statements().iter().any(|s| s.kind == Kind::Default));
    assert!(world.buyer_journal.statements().iter().any(|s| s.kind == Kind::Default));
}

#[test]
fn nothing_is_credited_before_it_is_durable() {
    let mut world = World::new(product(), Suite::X25519);
    assert!(world.run_until(|w| w.seller.is_live()));
    assert!(world.run_until(|w| w.sink.len() >= 20));
    world.seller_journal.hold = true;
    world.run();
    let stuck = world.sink.len();
    let paid = world.seller.order().unwrap().paid();
    world.run();
    assert_eq!((world.sink.len(), world.seller.order().unwrap().paid()), (stuck, paid));
    world.seller_journal.hold = false;
    world.run();
    world.both_settled();
    world.delivered_is_whole(100);
}

/// Found by walking the demo's matrix: a payment that is settled while the one before it is still on
/// its way to the disk is billed from that one, not from the account.
#[test]
fn a_payment_is_billed_from_the_one_settled_before_it() {
    let mut buyer = buyer_config(Suite::X25519);
    buyer.pay_moves_money = true;
    // The kit's source has fifty messages at a time: a window, and so an invoice, in each step.
    let mut world = World::with(seller_config(Product { k: 50, ..product() }), buyer, draft());
    world.draft.quantity = Some(300);
    world.rail.moves = true;
    world.admission.ramp = false;
    assert!(world.run_until(|w| w.seller.is_live() && w.buyer.is_live()));
    // The first payment waits for its intent to be durable, while more invoices arrive.
    world.buyer_journal.hold = true;
    world.run();
    assert!(world.invoices_seen.len() > 1);
    world.seller_journal.hold = true;
    world.buyer_journal.hold = false;
    world.run();
    assert!(world.rail.transfers.len() > 1, "two payments reached the rail before one was durable");
    assert_eq!(world.seller_ended, None);
    world.seller_journal.hold = false;
    world.run();
    world.both_settled();
    world.delivered_is_whole(300);
}

/// Found by the simulator's chain: where nothing new is due no rail is asked, and such a payment is no voucher.
#[test]
fn a_payment_for_nothing_new_does_not_replace_a_voucher_that_waits() {
    let product = Product { amount: Amount::new(3), per: 1000, k: 50, ..product() };
    let option = PayOption { channel: true, ..option() };
    let mut world = World::with(seller_config_of(product, option, 9), buyer_config(Suite::X25519), draft());
    (world.draft.channel, world.draft.quantity) = (Some(ChannelId([1; 32])), Some(300));
    // Vouchers of this rail have proofs.
    world.rail.moves = true;
    world.admission.ramp = false;
    assert!(world.run_until(|w| w.seller.is_live() && w.buyer.is_live()));
    // The first payment waits for the disk, while more invoices arrive.
    world.buyer_journal.hold = true;
    world.run();
    assert!(world.invoices_seen.len() > 1);
    world.buyer_journal.hold = false;
    world.run();
    world.both_settled();
    let proofs = payments(&world).iter().filter(|payment| payment.proof.is_some()).count();
    assert_eq!((proofs, payments(&world).len() > 1), (1, true));
}

#[test]
fn time_to_pay_does_not_run_while_there_is_no_connection() {
    let mut world = World::new(product(), Suite::X25519);
    world.pay = false;
    world.run();
    assert_eq!(world.sink.len(), 1);
    world.now = world.now.after_ms(10 * option().pay_by_ms);
    world.reconnect();
    world.pay = true;
    world.run_until(|w| w.seller.is_live());
    world.seller.handle_timeout(world.now);
    assert_eq!(world.seller_ended, None);
    world.run();
    world.both_settled();
    world.delivered_is_whole(100);
}

#[test]
fn a_default_is_durable_before_it_leaves_and_stands_behind_its_invoice() {
    let mut world = World::new(product(), Suite::X25519);
    world.pay = false;
    world.run();
    world.seller_journal.hold = true;
    world.now = world.now.after_ms(option().pay_by_ms);
    world.seller.handle_timeout(world.now);
    world.run();
    let has = |journal: &Journal, kind| journal.statements().iter().position(|statement| statement.kind == kind);
    assert_eq!(has(&world.buyer_journal, Kind::Default), None, "its writer does not have it yet");
    assert_eq!(world.seller_ended, None);
    world.seller_journal.hold = false;
    world.run();
    assert_eq!(world.seller_ended, Some(sdpp_proto::seller::Ended::Defaulted));
    let [default, invoice] = [Kind::Default, Kind::Invoice].map(|kind| has(&world.buyer_journal, kind).unwrap());
    assert!(default > invoice, "what it names is there: {default} and {invoice}");
}

#[test]
fn a_side_that_has_nothing_to_say_is_heard_all_the_same() {
    let mut world = World::new(product(), Suite::X25519);
    (world.endless, world.source_end) = (true, 10);
    world.run();
    for (ms, speak) in [(limits::KEEPALIVE_MS - 1, false), (1, true), (limits::KEEPALIVE_MS - 1, false)] {
        world.now = world.now.after_ms(ms);
        world.seller.handle_timeout(world.now);
        world.buyer.handle_timeout(world.now);
        let (mut seller, mut buyer) = (Vec::new(), Vec::new());
        world.seller.poll_transmit(world.now, &mut seller, 1 << 20);
        world.buyer.poll_transmit(world.now, &mut buyer);
        assert_eq!((!seller.is_empty(), !buyer.is_empty()), (speak, speak), "{:?}", world.now);
        world.to_buyer.extend(seller);
        world.to_seller.extend(buyer);
        world.run();
    }
}

#[test]
fn nothing_is_due_while_a_default_is_written() {
    // A window is half full, and its time is over, too.
    let product = Product { window_ms: 1_000, ..product() };
    let mut world = World::new(product.clone(), Suite::X25519);
    (world.admission.ramp, world.draft.windows) = (false, 4);
    (world.pay, world.endless, world.source_end) = (false, true, u64::from(product.k) * 3 / 2);
    world.run();
    world.now = world.now.after_ms(999);
    world.source_end += 1;
    world.run();
    world.seller_journal.hold = true;
    world.now = world.now.after_ms(option().pay_by_ms - 999);
    for _ in 0..3 {
        world.seller.handle_timeout(world.now);
        world.run();
    }
    assert_eq!(world.seller_ended, None, "the default is not durable yet");
    assert!(world.seller.poll_timeout().unwrap() > world.now, "whoever drives it need not turn");
}

#[test]
fn a_connection_after_a_default_that_brings_no_payment_is_ended() {
    let mut world = World::new(product(), Suite::X25519);
    world.pay = false;
    world.run();
    for _ in 0..2 {
        world.now = world.now.after_ms(option().pay_by_ms);
        world.seller.handle_timeout(world.now);
        world.run();
        assert_eq!(world.seller_ended, Some(sdpp_proto::seller::Ended::Defaulted));
        world.reconnect();
        world.run();
    }
    assert_eq!(world.seller.order().unwrap().index(), 3, "each connection has its number");
    let defaults = world.seller_journal.statements().iter().filter(|s| s.kind == Kind::Default).count();
    assert_eq!(defaults, 1, "one default is enough");
}

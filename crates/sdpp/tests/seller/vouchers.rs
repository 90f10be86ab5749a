//! Vouchers become money without the buyer's help.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sdpp::journal::{Journal, order_stream};
use sdpp::seller::{Event, OrderState, Seller};
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::StatementId;
use sdpp_proto::journal::Entry;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller as core;
use sdpp_proto::statement::{Invoice, Kind, Order, Settlement, Signed};
use sdpp_rail::fake::{Call, FakeBank, FakeMode, FakePayee, FakePayer, FakeWorld, Fault};
use sdpp_rail::{Funding, Payee, Payer};
use sdpp_sim::liar::Heard;

use crate::kit::*;
use crate::pools::pay;
use crate::rogue::Rogue;
use crate::tap::*;

fn earned(world: &World) -> Amount {
    world.bank.balance("seller", &FakeWorld::asset())
}

fn locked(world: &World, seed: u8) -> Amount {
    world.bank.locked(&key(seed).public().multibase(), &FakeWorld::asset())
}

/// Five windows of the ramp, 25 messages, are paid; every fourth is redeemed by its session.
async fn paid_75(seller: &Seller, tap: &Tap) {
    tap.open(25);
    until(|| seller.status().orders.first().is_some_and(|order| order.paid == Amount::new(75))).await;
}

async fn channel_of(world: &World, order: StatementId) -> Funding {
    let journal = Journal::start(world.seller_disk.open()).unwrap();
    let entries = journal.read(order_stream(&order)).await.unwrap();
    let order = entries.iter().find_map(|entry| match entry {
        Entry::Statement(one) if one.kind == Kind::Order => Signed::<Order>::parse(&one.bytes).ok(),
        _ => None,
    });
    let order = order.unwrap();
    Funding { channel: order.channel, deposit: order.limit }
}

#[tokio::test]
async fn vouchers_of_a_buyer_that_never_returns_are_redeemed_after_a_restart() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let tap = Tap::new();
    let offers = || vec![offer(named("weather", 1), tap.source("weather"))];
    let first = world.seller(offers()).await;
    let (at, serving) = world.listen(&first).await;
    let buying = Buying::start(&world, at, world.buyer(2), world.request(1000, 4));
    paid_75(&first, &tap).await;
    serving.abort();
    let _ = serving.await;
    buying.kill().await;
    world.seller_disk.crash();
    assert!(earned(&world) < Amount::new(75));

    let second = world.seller(offers()).await;
    assert_eq!(second.status().orders[0].paid, Amount::new(75), "credited is durable");
    let (_, serving) = world.listen(&second).await;
    until(|| earned(&world) == Amount::new(75)).await;
    let order = second.status().orders[0].order;
    let redeemed = Event::Redeemed { order, total: Amount::new(75) };
    until(|| world.seller_events.lock().unwrap().contains(&redeemed)).await;
    // It may still come back, so its channel stays.
    assert_eq!(second.status().orders[0].state, OrderState::Parked);
    assert!(locked(&world, 2) > Amount::ZERO);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_close_that_is_requested_in_the_middle_of_a_sale_is_noticed() {
    let mut world = World::new(FakeMode::Voucher, product(10), 0);
    world.tend_every = Duration::from_millis(5);
    let tap = Tap::new();
    let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
    let (at, serving) = world.listen(&seller).await;
    let buying = Buying::start(&world, at, world.buyer(2), world.request(1000, 4));
    paid_75(&seller, &tap).await;
    let funding = channel_of(&world, seller.status().orders[0].order).await;
    let thief = FakePayer::new(&world.bank, key(2).public().multibase(), FakeMode::Voucher);
    thief.close(&funding).await.unwrap();
    let purchase = buying.done().await;
    assert_eq!(purchase.ended, Ended::Told(Some(Reason::Refused.into())), "no more is sent");
    assert_eq!(purchase.delivered, 25);
    until(|| earned(&world) == Amount::new(75)).await;
    let stopped = core::Ended::Stopped(Reason::Refused);
    let ended = |event: &Event| matches!(event, Event::Ended { ended, .. } if *ended == stopped);
    until(|| world.seller_events.lock().unwrap().iter().any(ended)).await;
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_close_that_is_requested_while_an_order_is_parked_costs_nothing() {
    let mut world = World::new(FakeMode::Voucher, product(10), 0);
    let tap = Tap::new();
    let offers = || vec![offer(named("weather", 1), tap.source("weather"))];
    let first = world.seller(offers()).await;
    let (at, serving) = world.listen(&first).await;
    let buying = Buying::start(&world, at, world.buyer(2), world.request(1000, 4));
    paid_75(&first, &tap).await;
    serving.abort();
    let _ = serving.await;
    buying.kill().await;
    let funding = channel_of(&world, first.status().orders[0].order).await;
    let thief = FakePayer::new(&world.bank, key(2).public().multibase(), FakeMode::Voucher);
    thief.close(&funding).await.unwrap();
    // The rail is away for a while, but not for as long as the grace period.
    for _ in 0..5 {
        world.bank.push_fault(Call::Outstanding, Fault::REFUSED);
        world.bank.push_fault(Call::Redeem, Fault::REQUEST_LOST);
    }
    world.tend_every = Duration::from_millis(5);
    let second = world.seller(offers()).await;
    let (_, serving) = world.listen(&second).await;
    until(|| earned(&world) == Amount::new(75)).await;
    world.bank.advance_ms(sdpp_rail::fake::FakePayee::GRACE_MIN_MS);
    assert_eq!((earned(&world), locked(&world, 2)), (Amount::new(75), Amount::ZERO));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Each redemption costs gas there, and a buyer may lose its connection ten times a minute.
#[tokio::test]
async fn a_parked_order_is_redeemed_where_that_is_dear_only_when_its_close_is_requested() {
    let mut world = World::new(FakeMode::Voucher, product(10), 0);
    world.tend_every = Duration::from_millis(5);
    let tap = Tap::new();
    let dear = Dear::new(&world);
    let seller = dear.seller(&world, vec![offer(named("weather", 1), tap.source("weather"))]).await;
    let (at, serving) = world.listen(&seller).await;
    let buying = Buying::start(&world, at, world.buyer(2), world.request(1000, 4));
    paid_75(&seller, &tap).await;
    let funding = channel_of(&world, seller.status().orders[0].order).await;
    buying.kill().await;
    until(|| seller.status().orders[0].state == OrderState::Parked).await;
    let before = dear.looks.load(Ordering::SeqCst);
    until(|| dear.looks.load(Ordering::SeqCst) > before + 3).await;
    assert_eq!((dear.redemptions.load(Ordering::SeqCst), earned(&world)), (0, Amount::ZERO));
    let thief = FakePayer::new(&world.bank, key(2).public().multibase(), FakeMode::Voucher);
    thief.close(&funding).await.unwrap();
    until(|| earned(&world) == Amount::new(75)).await;
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn an_order_that_ended_while_the_rail_was_away_is_redeemed_and_its_channel_closed() {
    redeemed_after_the_rail_was_away(&[]).await;
}

/// The other one has nothing to redeem, and says so.
#[tokio::test]
async fn a_channel_is_closed_by_its_own_payee_whatever_another_says() {
    let other = FakePayee::new(&FakeBank::new(), "elsewhere", FakeWorld::asset(), FakeMode::Voucher);
    let other: Arc<dyn Payee> = Arc::new(other);
    redeemed_after_the_rail_was_away(&[other]).await;
}

async fn redeemed_after_the_rail_was_away(others: &[Arc<dyn Payee>]) {
    // After 15 messages all vouchers are redeemed in the sale, and only the close is left; after 25
    // some vouchers are left, too.
    for messages in [15, 25] {
        let mut world = World::new(FakeMode::Voucher, product(10), 0);
        world.tend_every = Duration::from_millis(5);
        world.more_payees = others.to_vec();
        let tap = Tap::new();
        let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
        let (at, serving) = world.listen(&seller).await;
        let buying = Buying::start(&world, at, world.buyer(2), world.request(1000, 4));
        tap.open(messages);
        let due = Amount::new(3 * u128::from(messages));
        until(|| seller.status().orders.first().is_some_and(|order| order.paid == due)).await;
        until(|| earned(&world) == Amount::new(45)).await;
        // More than its session has patience for.
        for _ in 0..200 {
            world.bank.push_fault(Call::Redeem, Fault::REFUSED);
        }
        assert!(seller.end(&seller.status().orders[0].order));
        assert_eq!(buying.done().await.ended, Ended::Settled);
        until(|| earned(&world) == due && locked(&world, 2) == Amount::ZERO).await;
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

/// All vouchers are money, only the close is left: nothing of the order is in the seller's hand any more but
/// the rest of the buyer's deposit.
#[tokio::test]
async fn a_seller_that_died_before_the_close_closes_the_channel_in_its_next_life() {
    let mut world = World::new(FakeMode::Voucher, product(10), 0);
    world.tend_every = Duration::from_millis(5);
    let tap = Tap::new();
    let offers = || vec![offer(named("weather", 1), tap.source("weather"))];
    let first = world.seller(offers()).await;
    let (at, serving) = world.listen(&first).await;
    let buying = Buying::start(&world, at, world.buyer(2), world.request(1000, 4));
    tap.open(15);
    until(|| earned(&world) == Amount::new(45)).await;
    for _ in 0..200 {
        world.bank.push_fault(Call::Redeem, Fault::REFUSED);
    }
    assert!(first.end(&first.status().orders[0].order));
    assert_eq!(buying.done().await.ended, Ended::Settled);
    serving.abort();
    let _ = serving.await;
    world.seller_disk.crash();
    assert!(locked(&world, 2) > Amount::ZERO);
    let second = world.seller(offers()).await;
    let (_, serving) = world.listen(&second).await;
    until(|| locked(&world, 2) == Amount::ZERO).await;
    assert_eq!(earned(&world), Amount::new(45));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// The fourth payment starts a redemption, which holds the rail when the connection breaks behind the fifth.
#[tokio::test]
async fn a_payment_that_arrived_counts_although_a_redemption_holds_the_rail() {
    let mut world = World::new(FakeMode::Direct, product(10), 0);
    world.payee = Narrow::wrap;
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let (mut rogue, mut invoice) = Rogue::take_one(at, 2, 3).await;
    for _ in 0..4 {
        pay(&world, &mut rogue, &invoice).await;
        invoice = rogue.invoice().await;
    }
    assert_eq!((invoice.due, invoice.paid), (Amount::new(15), Amount::new(12)));
    pay(&world, &mut rogue, &invoice).await;
    rogue.say().await;
    drop(rogue);
    let ended = |event: &Event| match event {
        Event::Ended { paid, .. } => Some(*paid),
        _ => None,
    };
    until(|| world.seller_events.lock().unwrap().iter().any(|event| ended(event).is_some())).await;
    let paid = world.seller_events.lock().unwrap().iter().find_map(ended);
    assert_eq!(paid, Some(Amount::new(15)));
    assert!(seller.status().proven.used.is_zero() && seller.status().strangers.used.is_zero());
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_rail_that_does_not_answer_keeps_no_seller_from_stopping() {
    let mut world = World::new(FakeMode::Direct, product(10), 0);
    world.payee = |inner| Arc::new(Stuck(inner));
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (_, serving) = world.listen(&seller).await;
    // It is being asked.
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(10), serving).await.expect("it has stopped").unwrap();
}

#[tokio::test]
async fn an_order_that_is_told_to_end_before_it_is_live_ends_when_it_is() {
    let mut world = World::new(FakeMode::Direct, product(10), 0);
    world.payee = |inner| Arc::new(Stuck(inner));
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let mut rogue = Rogue::greeted(at, 2, 2).await;
    let order = rogue.liar.order();
    rogue.liar.send_order(order);
    rogue.say().await;
    let id = rogue.order_id();
    until(|| seller.end(&id)).await;
    assert!(seller.status().orders.is_empty(), "not live yet");
    let settles = |heard: &Heard| heard.statement::<Settlement>().is_some() || heard.statement::<Invoice>().is_some();
    rogue.hear(settles).await.expect("its end");
    drop(rogue);
    let sent = |event: &Event| match event {
        Event::Ended { sent, .. } => Some(*sent),
        _ => None,
    };
    until(|| world.seller_events.lock().unwrap().iter().any(|event| sent(event).is_some())).await;
    assert_eq!(world.seller_events.lock().unwrap().iter().find_map(sent), Some(0));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

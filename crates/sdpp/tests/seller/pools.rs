//! What parked orders owe stays in their pool, also after a restart.

use std::net::SocketAddr;

use sdpp::buyer::Request;
use sdpp::seller::{Event, Limits, OrderState, OrderStatus, Pools, Seller};
use sdpp_proto::buyer::Ended;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::statement::{Order, Signed};
use sdpp_rail::fake::FakeMode;
use sdpp_sim::liar::Heard;

use crate::kit::*;
use crate::rogue::Rogue;
pub(crate) use crate::rogue::pay;
use crate::tap::*;

/// Room for three strangers who owe a message each.
fn world() -> World {
    let mut world = World::new(FakeMode::Direct, product(10), 0);
    world.pools = Pools { strangers: Amount::new(9), proven: Amount::new(1000) };
    world
}

async fn start(world: &World) -> (Seller, SocketAddr, tokio::task::JoinHandle<()>) {
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    (seller, at, serving)
}

fn ask(world: &World, quantity: u64) -> Request {
    Request { exposure_max: Some(Amount::new(3)), ..world.request(quantity, 1) }
}

/// Proves itself: a full window has ten messages, and what is owed may be a window's worth.
async fn prove(world: &World, at: SocketAddr, seed: u8) {
    // One message may be owed, so the ramp ends when a window of ten was paid piece by piece.
    let done = Buying::start(world, at, world.buyer(seed), ask_wide(world, 60)).done().await;
    assert_eq!(done.ended, Ended::Settled);
}

fn ask_wide(world: &World, quantity: u64) -> Request {
    Request { exposure_max: Some(Amount::new(30)), ..world.request(quantity, 1) }
}

/// Three thieves take a message each and go.
async fn rob(world: &World, seller: &Seller, at: SocketAddr) -> Vec<Signed<Order>> {
    let mut orders = Vec::new();
    for thief in 20..23 {
        let (rogue, invoice) = Rogue::take_one(at, thief, 3).await;
        assert_eq!(invoice.due, Amount::new(3));
        orders.push(rogue.liar.order.clone().unwrap());
        drop(rogue);
        let robbed = orders.len();
        until(|| ended(world) >= robbed && seller.status().strangers.used == Amount::new(3 * robbed as u128)).await;
    }
    orders
}

fn ended(world: &World) -> usize {
    world.seller_events.lock().unwrap().iter().filter(|event| matches!(event, Event::Ended { .. })).count()
}

async fn stranger(world: &World, at: SocketAddr, seed: u8) -> Ended {
    told(Buying::start(world, at, world.buyer(seed), ask(world, 5)).task.await.unwrap())
}

#[tokio::test]
async fn strangers_who_left_their_debts_fill_their_pool_and_proven_buyers_go_on_also_after_a_restart() {
    let busy = Ended::Told(Some(Reason::Busy.into()));
    let mut world = world();
    // Wide enough for one buyer to prove itself before the thieves come.
    world.pools.strangers = Amount::new(30);
    let (_, at, serving) = start(&world).await;
    prove(&world, at, 2).await;
    serving.abort();
    let _ = serving.await;

    world.pools.strangers = Amount::new(9);
    world.seller_events.lock().unwrap().clear();
    let (seller, at, serving) = start(&world).await;
    rob(&world, &seller, at).await;
    assert_eq!(stranger(&world, at, 3).await, busy, "the debts of those who left");
    let proven = |at| Buying::start(&world, at, world.buyer(2), ask_wide(&world, 50)).done();
    assert_eq!(proven(at).await.ended, Ended::Settled);

    serving.abort();
    let _ = serving.await;
    world.seller_disk.crash();
    let (seller, at, serving) = start(&world).await;
    let status = seller.status();
    assert_eq!(status.strangers.used, Amount::new(9), "rebuilt from the journal");
    let debts: Vec<_> = status.orders.iter().filter(|order| order.state == OrderState::Parked).collect();
    assert!(debts.len() == 3 && debts.iter().all(|order| order.owed == Amount::new(3)));
    assert_eq!(stranger(&world, at, 3).await, busy);
    assert_eq!(proven(at).await.ended, Ended::Settled);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn whoever_comes_back_to_pay_is_let_in_and_makes_room() {
    let world = world();
    let (seller, at, serving) = start(&world).await;
    let orders = rob(&world, &seller, at).await;
    assert_ne!(stranger(&world, at, 3).await, Ended::Settled);
    // The pool is full, has even shrunk, and its debtor is let in all the same.
    let smaller = Pools { strangers: Amount::new(2), ..world.pools };
    seller.reload(vec![offer(named("weather", 1), flood())], smaller, Limits::default()).unwrap();
    let mut debtor = Rogue::come_back(at, 20, &orders[0], 0).await;
    let invoice = debtor.invoice().await;
    assert_eq!(debtor.order_id(), orders[0].id());
    pay(&world, &mut debtor, &invoice).await;
    // The next message is its credit: what it owed is paid.
    let next = debtor.invoice().await;
    assert_eq!((next.due, next.paid), (Amount::new(6), Amount::new(3)));
    pay(&world, &mut debtor, &next).await;
    let third = debtor.invoice().await;
    pay(&world, &mut debtor, &third).await;
    debtor.liar.line.control(&sdpp_proto::wire::Control::Exit);
    let last = debtor.invoice().await;
    if last.due > last.paid {
        pay(&world, &mut debtor, &last).await;
    }
    drop(debtor);
    until(|| ended(&world) >= 5).await;
    until(|| seller.status().strangers.used <= Amount::new(9)).await;
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_stranger_that_attaches_to_a_parked_order_takes_nothing_of_its_owner() {
    let mut world = world();
    world.pools.strangers = Amount::new(30);
    let (seller, at, serving) = start(&world).await;
    prove(&world, at, 20).await;
    until(|| ended(&world) == 1).await;
    let (owner, _) = Rogue::take_one(at, 20, 3).await;
    let order = owner.liar.order.clone().unwrap();
    drop(owner);
    until(|| ended(&world) == 2 && seller.status().proven.used == Amount::new(3)).await;

    let mut thief = Rogue::come_back(at, 30, &order, 0).await;
    assert_eq!(thief.error().await, Some(sdpp_proto::offence::Offence::BadAttach.code()));
    drop(thief);
    until(|| ended(&world) == 3).await;
    let status = seller.status();
    assert_eq!((status.proven.used, status.strangers.used), (Amount::new(3), Amount::ZERO));

    let mut owner = Rogue::come_back(at, 20, &order, 0).await;
    let invoice = owner.invoice().await;
    owner.liar.line.control(&sdpp_proto::wire::Control::Exit);
    pay(&world, &mut owner, &invoice).await;
    let paid = |order: &OrderStatus| order.state == OrderState::Live && order.paid >= invoice.due;
    drive(owner, until(|| seller.status().orders.iter().any(paid))).await;
    until(|| ended(&world) == 4).await;
    until(|| seller.status().proven.used.is_zero()).await;
    assert!(seller.status().orders.iter().all(|order| order.owed.is_zero()));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn what_is_forgiven_makes_room() {
    let world = world();
    let tap = Tap::new();
    let offers = || vec![offer(named("weather", 1), tap.source("weather"))];
    tap.open(1);
    let seller = world.seller(offers()).await;
    let (at, serving) = world.listen(&seller).await;
    let orders = rob(&world, &seller, at).await;
    serving.abort();
    let _ = serving.await;
    let seller = world.seller(offers()).await;
    let (at, serving) = world.listen(&seller).await;
    assert_eq!(seller.status().strangers.used, Amount::new(9));
    // The message that it holds was lost at the seller: it is not charged.
    let debtor = Rogue::come_back(at, 20, &orders[0], 1).await;
    let live = |order: &OrderStatus| order.state == OrderState::Live && order.owed == Amount::ZERO;
    drive(debtor, until(|| seller.status().orders.iter().any(live))).await;
    until(|| seller.status().strangers.used == Amount::new(6)).await;
    assert_eq!(seller.status().totals.owed[&sdpp_rail::fake::FakeWorld::asset()], Amount::new(6));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Lets a rogue listen until something has happened; then it goes.
async fn drive(mut rogue: Rogue, happens: impl Future<Output = ()>) {
    tokio::select! {
        () = happens => {}
        heard = rogue.hear(|heard| matches!(heard, Heard::Error(_))) => panic!("{heard:?}"),
    }
}

#[tokio::test]
async fn a_debt_that_is_written_off_makes_room_and_stays_written_off() {
    let world = world();
    let (seller, at, serving) = start(&world).await;
    let orders = rob(&world, &seller, at).await;
    assert!(seller.write_off(&orders[1].id()).await.unwrap());
    assert_eq!(seller.status().strangers.used, Amount::new(6));
    assert_eq!(stranger(&world, at, 3).await, Ended::Settled, "there is room again");
    assert!(!seller.write_off(&sdpp_proto::codec::StatementId([7; 32])).await.unwrap());
    serving.abort();
    let _ = serving.await;
    world.seller_disk.crash();
    let (seller, _, serving) = start(&world).await;
    assert_eq!(seller.status().strangers.used, Amount::new(6));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn what_is_owed_anew_after_a_debt_was_written_off_counts_also_after_a_restart() {
    let world = world();
    let (seller, at, serving) = start(&world).await;
    let orders = rob(&world, &seller, at).await;
    assert!(seller.write_off(&orders[0].id()).await.unwrap());
    assert_eq!(seller.status().strangers.used, Amount::new(6));
    // It pays what was written off, and owes the next message.
    let mut debtor = Rogue::come_back(at, 20, &orders[0], 0).await;
    let invoice = debtor.invoice().await;
    pay(&world, &mut debtor, &invoice).await;
    let next = debtor.invoice().await;
    assert_eq!((next.due, next.paid), (Amount::new(6), Amount::new(3)));
    drop(debtor);
    until(|| ended(&world) == 4 && seller.status().strangers.used == Amount::new(9)).await;
    serving.abort();
    let _ = serving.await;
    world.seller_disk.crash();
    let (seller, _, serving) = start(&world).await;
    assert_eq!(seller.status().strangers.used, Amount::new(9));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

//! Somebody else goes for a session or for an order that is parked: with its id, with what its owner signed,
//! with its owner's words, with a key of its own. The owner loses nothing and goes on.

use std::net::SocketAddr;

use sdpp::seller::{OrderState, Seller};
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Offence, Reason};
use sdpp_proto::statement::{Attach, Order, Signed};
use sdpp_rail::fake::{FakeMode, FakeWorld};

use crate::kit::*;
use crate::rogue::{Rogue, pay};
use crate::tap::*;

const OWNER: u8 = 20;
const THIEF: u8 = 30;

/// What a thief has of somebody's order. Whole orders stand on public ledgers.
struct Spoils {
    order: Signed<Order>,
    attach: Signed<Attach>,
    /// The bytes of its order', as they passed.
    sealed: Vec<u8>,
}

/// The owner, live, with one message that it owes, and what a thief may know of it.
async fn owner(at: SocketAddr) -> (Rogue, Spoils) {
    let mut owner = Rogue::greeted(at, OWNER, OWNER).await;
    let order = Order { exposure_max: Amount::new(3), ..owner.liar.order() };
    let order = Signed::sign(&owner.liar.keys.identity, order);
    let attach = owner.liar.attach(order.id(), 5);
    let attach = Signed::sign(&owner.liar.keys.identity, attach);
    owner.liar.send_signed(Some(order.clone()), &attach);
    let sealed = owner.liar.line.outbox().clone();
    owner.invoice().await;
    (owner, Spoils { order, attach, sealed })
}

/// Everything a thief can try, and what it is told.
async fn rob(at: SocketAddr, spoils: &Spoils, live: bool) {
    let own_key = async |seed: u8, with_order: bool| {
        let mut thief = Rogue::greeted(at, THIEF, seed).await;
        let attach = thief.liar.attach(spoils.order.id(), 99);
        let attach = Signed::sign(&key(THIEF), attach);
        thief.liar.send_signed(with_order.then(|| spoils.order.clone()), &attach);
        thief.error().await
    };
    // An attach of its own, for the id alone: nothing moves, whether or not somebody is live.
    let told = if live { Reason::Busy.code() } else { Offence::BadAttach.code() };
    assert_eq!(own_key(40, false).await, Some(told));
    // With the owner's signed order it is the wrong signature at once.
    assert_eq!(own_key(41, true).await, Some(Offence::BadAttach.code()));
    // An attach that the owner signed, for another connection.
    for with_order in [false, true] {
        let mut thief = Rogue::greeted(at, THIEF, 42).await;
        thief.liar.send_signed(with_order.then(|| spoils.order.clone()), &spoils.attach);
        assert_eq!(thief.error().await, Some(Offence::WrongTranscript.code()));
    }
    // The same with this connection in it: the signature is of other bytes.
    let mut thief = Rogue::greeted(at, THIEF, 43).await;
    let stolen = Attach { th1: thief.liar.th1, index: 99, ..spoils.attach.body().clone() };
    let stolen = sdpp_proto::statement::Signed::sign(&key(THIEF), stolen);
    thief.liar.send_signed(Some(spoils.order.clone()), &stolen);
    assert_eq!(thief.error().await, Some(Offence::BadAttach.code()));
    // Bytes that passed on the wire.
    let mut thief = Rogue::greeted(at, THIEF, 44).await;
    thief.liar.line.raw(&spoils.sealed);
    assert_eq!(thief.error().await, Some(Offence::BadSealedOrder.code()));
}

async fn start(world: &World) -> (Seller, SocketAddr, tokio::task::JoinHandle<()>) {
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    (seller, at, serving)
}

#[tokio::test]
async fn a_live_session_cannot_be_taken_over_by_a_thief() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let (seller, at, serving) = start(&world).await;
    let (mut owner, spoils) = owner(at).await;
    rob(at, &spoils, true).await;
    // The session is the same, and its owner pays and goes on.
    let order = status_of(&seller, spoils.order.id());
    assert_eq!((order.state, order.owed), (OrderState::Live, Amount::new(3)));
    let mut again = Rogue::come_back(at, OWNER, &spoils.order, 1).await;
    assert_eq!(again.error().await, Some(Reason::Busy.code()), "its own older attach neither");
    let invoice = pay_newest(&world, &mut owner).await;
    assert_eq!((invoice.due, invoice.paid), (Amount::new(6), Amount::new(3)));
    drop((owner, again));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

async fn pay_newest(world: &World, owner: &mut Rogue) -> Signed<sdpp_proto::statement::Invoice> {
    let waiting = owner.newest.clone().unwrap();
    pay(world, owner, &waiting).await;
    owner.invoice().await
}

fn status_of(seller: &Seller, order: StatementId) -> sdpp::seller::OrderStatus {
    seller.status().orders.into_iter().find(|known| known.order == order).unwrap()
}

#[tokio::test]
async fn a_parked_order_cannot_be_resumed_by_a_thief() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let (seller, at, serving) = start(&world).await;
    let (left, spoils) = owner(at).await;
    let newest = left.newest.clone().unwrap();
    drop(left);
    let parked = || status_of(&seller, spoils.order.id()).state == OrderState::Parked;
    until(|| seller.status().connections == 0).await;
    assert!(parked());
    rob(at, &spoils, false).await;
    until(|| seller.status().connections == 0).await;
    assert!(parked());
    assert_eq!(seller.status().strangers.used, Amount::new(3), "no room was taken, and none given");
    // The owner, with an attach that is newer than its last.
    let mut back = Rogue::greeted(at, OWNER, 50).await;
    let attach = back.liar.attach(spoils.order.id(), 6);
    let attach = Signed::sign(&back.liar.keys.identity, attach);
    back.liar.order = Some(spoils.order.clone());
    back.liar.send_signed(None, &attach);
    let same = back.invoice().await;
    assert_eq!(same.id(), newest.id(), "it goes on where it was");
    let next = pay_newest(&world, &mut back).await;
    assert_eq!((next.due, next.paid), (Amount::new(6), Amount::new(3)));
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(3));
    drop(back);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Real buyers are cut off again and again, while a thief that knows their orders is faster than they are.
#[tokio::test]
async fn a_buyer_that_comes_back_finds_its_order_whatever_a_thief_did_meanwhile() {
    let world = World::new(FakeMode::Direct, product(10), 1000);
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let disk = sdpp_rail::MemoryDisk::new();
    let kept = Kept::default();
    let first = Buying::start(&world, at, world.buyer_on(OWNER, &disk), world.request(400, 4));
    until(|| first.count() > 50).await;
    let (held, order) = (first.kept.clone(), seller.status().orders[0].order);
    first.kill().await;
    disk.crash();
    kept.0.lock().unwrap().extend(held.0.lock().unwrap().iter().cloned());
    until(|| status_of(&seller, order).state == OrderState::Parked).await;
    // The thief attaches in the owner's place, with the highest index there is.
    for seed in 60..70 {
        let mut thief = Rogue::greeted(at, THIEF, seed).await;
        let attach = thief.liar.attach(order, u32::MAX);
        let attach = Signed::sign(&key(THIEF), attach);
        thief.liar.send_signed(None, &attach);
        assert_eq!(thief.error().await, Some(Offence::BadAttach.code()));
    }
    let (buyer, mut sink, stop) = (world.buyer_on(OWNER, &disk), kept.clone(), world.stop.subscribe());
    let done = buyer.resume(&world.address(at), order, &mut sink, stop).await.unwrap();
    assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 400, Amount::new(1200)));
    let kept = kept.0.lock().unwrap().clone();
    assert!(kept.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq), "in order, each once");
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(1200));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

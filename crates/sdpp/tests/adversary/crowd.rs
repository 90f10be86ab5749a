//! Buyers that take and do not pay: one that comes again and again, and a crowd of fresh keys.

use std::net::SocketAddr;

use sdpp::buyer::Request;
use sdpp::seller::{OrderState, Pools};
use sdpp_proto::buyer::Ended;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::statement::{Invoice, Order};
use sdpp_rail::fake::{FakeMode, FakeWorld};
use sdpp_sim::liar::{BuyerKeys, Heard};
use zeroize::Zeroizing;

use crate::kit::*;
use crate::rogue::{Rogue, pay};
use crate::tap::*;

const PRICE: u128 = 3;
/// The strangers' pool: a hundred messages.
const POOL: Amount = Amount::new(100 * PRICE);
const THIEVES: u64 = 1000;

/// A key that nobody has seen before.
fn fresh(number: u64) -> (BuyerKeys, [u8; 32]) {
    let seed = sdpp_proto::hash::sha256(&number.to_be_bytes());
    let identity = SigningKey::from_seed(&Zeroizing::new(seed));
    (BuyerKeys { pays: identity.clone(), identity }, seed)
}

/// What a thief came away with.
#[derive(Default)]
struct Loot {
    messages: u64,
    paid: u128,
    busy: bool,
}

/// Pays some windows, as far as the ramp needs it, then takes the next one and leaves.
async fn steal(world: &World, at: SocketAddr, number: u64) -> Loot {
    let (keys, seed) = fresh(number);
    let mut thief = Rogue::connect_as(at, keys, seed).await;
    let mut loot = Loot::default();
    if thief.greet().await.is_none() {
        return Loot { busy: true, ..loot };
    }
    let order = Order { exposure_max: Amount::new(4 * PRICE), ..thief.liar.order() };
    thief.liar.send_order(order);
    for window in 0.. {
        let over = |heard: &Heard| heard.statement::<Invoice>().is_some() || matches!(heard, Heard::Error(_));
        let heard = thief.hear(over).await;
        loot.messages = thief.liar.next;
        match heard.as_ref().and_then(Heard::statement::<Invoice>) {
            Some(invoice) if window < number % 3 => {
                pay(world, &mut thief, &invoice).await;
                loot.paid = invoice.due.get();
            }
            Some(_) => break,
            None => {
                loot.busy = heard == Some(Heard::Error(Reason::Busy.code()));
                break;
            }
        }
    }
    loot
}

#[tokio::test]
async fn a_thousand_fresh_keys_take_no_more_than_the_strangers_pool() {
    let mut world = World::new(FakeMode::Direct, product(10), 0);
    world.pools = Pools { strangers: POOL, proven: Amount::new(1000) };
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let wide = |quantity| Request { exposure_max: Some(Amount::new(30)), ..world.request(quantity, 1) };
    let proven = |quantity| Buying::start(&world, at, world.buyer(2), wide(quantity));
    assert_eq!(proven(60).done().await.ended, Ended::Settled, "it proves itself");

    let meanwhile = proven(1_000_000);
    until(|| meanwhile.count() > 0).await;
    let before = meanwhile.count();
    let (mut stolen, mut busy) = (0, 0);
    for crowd in 0..THIEVES / 20 {
        let thieves = (0..20).map(|at_once| steal(&world, at, crowd * 20 + at_once));
        for loot in futures_util::future::join_all(thieves).await {
            stolen += u128::from(loot.messages) * PRICE - loot.paid;
            busy += u64::from(loot.busy);
        }
    }
    until(|| seller.status().connections == 1).await;
    // What the thieves hold and did not pay is what the seller says it lost, and no more than the pool.
    assert!(stolen <= POOL.get(), "{stolen} were taken");
    let status = seller.status();
    assert_eq!(status.strangers.used, Amount::new(stolen));
    assert!(stolen > POOL.get() - 4 * PRICE, "they took all they could: {stolen}");
    assert!(busy > THIEVES / 2, "{busy} were told that there is no room");
    // Proven buyers had all the room they had before.
    assert!(meanwhile.count() > before, "served all the while");
    meanwhile.kill().await;
    assert_eq!(proven(100).done().await.ended, Ended::Settled);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Unpaid messages are sent again as often as somebody asks for them, and none behind them.
#[tokio::test]
async fn a_buyer_that_comes_again_and_again_gets_nothing_new_for_nothing() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let offers = || vec![offer(named("weather", 1), flood())];
    let seller = world.seller(offers()).await;
    let (at, serving) = world.listen(&seller).await;
    let (first, invoice) = Rogue::take_one(at, 3, 1000).await;
    let order = first.liar.order.clone().unwrap();
    drop(first);
    let parked = |seller: &sdpp::seller::Seller| {
        let orders = seller.status().orders;
        orders.iter().any(|order| order.state == OrderState::Parked && order.owed == Amount::new(PRICE))
    };
    for index in 2..30u32 {
        until(|| parked(&seller)).await;
        let mut again = Rogue::greeted(at, 3, index as u8 + 100).await;
        let mut attach = again.liar.attach(order.id(), index);
        // It says that it holds nothing, or all it was sent.
        attach.have.next = 0;
        let attach = sdpp_proto::statement::Signed::sign(&again.liar.keys.identity, attach);
        again.liar.order = Some(order.clone());
        again.liar.send_signed(None, &attach);
        assert_eq!(again.invoice().await.id(), invoice.id());
        assert_eq!(again.liar.next, 1, "the same message, and none behind it");
    }
    // A restart of the seller forgives that one message, once, and it costs the seller one more at most.
    until(|| parked(&seller)).await;
    serving.abort();
    let _ = serving.await;
    world.seller_disk.crash();
    let seller = world.seller(offers()).await;
    let (at, serving) = world.listen(&seller).await;
    for index in 200..210u32 {
        let mut again = Rogue::greeted(at, 3, index as u8).await;
        let mut attach = again.liar.attach(order.id(), index);
        attach.have.next = u64::from(index == 200);
        if index > 200 {
            attach.have.base = 1;
            attach.have.next = 1;
        }
        let attach = sdpp_proto::statement::Signed::sign(&again.liar.keys.identity, attach);
        again.liar.order = Some(order.clone());
        again.liar.next = 1;
        again.liar.send_signed(None, &attach);
        let owed = again.invoice().await;
        assert_eq!((owed.first, owed.count, again.liar.next), (1, 1, 2), "connection {index}");
        drop(again);
        until(|| parked(&seller)).await;
    }
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::ZERO);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

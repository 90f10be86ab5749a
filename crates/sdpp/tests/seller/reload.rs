//! Offers change while orders run.

use std::sync::Arc;

use sdpp::buyer::{BuyError, Request};
use sdpp::feed::{Hub, Start, Take};
use sdpp::seller::{Event, Limits, MakeSource, OrderState, StartError};
use sdpp_proto::buyer::Ended;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::statement::Product;
use sdpp_rail::MemoryDisk;
use sdpp_rail::fake::FakeMode;

use crate::kit::*;
use crate::tap::*;

fn ended(world: &World) -> usize {
    world.seller_events.lock().unwrap().iter().filter(|event| matches!(event, Event::Ended { .. })).count()
}

#[tokio::test]
async fn a_reload_ends_no_session_and_new_orders_pay_the_new_price() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let (tap, dear) = (Tap::new(), Amount::new(7));
    let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
    let (at, serving) = world.listen(&seller).await;
    let old = Buying::start(&world, at, world.buyer(2), world.request(100, 4));
    tap.open(40);
    until(|| old.count() == 40).await;

    let changed = Product { amount: dear, ..named("weather", 1) };
    let before = seller.menu().unwrap().id();
    let menu = seller.reload(vec![offer(changed, tap.source("weather"))], world.pools, Limits::default()).unwrap();
    assert_ne!(menu.id(), before, "a new menu at once");
    assert_eq!(seller.status().products[0].price.amount, dear);
    let new = Buying::start(&world, at, world.buyer(3), world.request(100, 4));
    tap.open(100);
    let (old, new) = (old.done().await, new.done().await);
    assert_eq!((old.ended, old.delivered, old.paid), (Ended::Settled, 100, Amount::new(300)));
    assert_eq!((new.ended, new.delivered, new.paid), (Ended::Settled, 100, Amount::new(700)));
    let lives = world.seller_events.lock().unwrap().iter().filter(|e| matches!(e, Event::Live { .. })).count();
    assert_eq!(lives, 2, "nobody had to connect again");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn an_order_of_a_removed_product_is_sold_to_its_end_also_when_it_comes_back() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let (tap, tide) = (Tap::new(), Tap::new());
    let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
    let (at, serving) = world.listen(&seller).await;
    let disk = MemoryDisk::new();
    let order = Buying::start(&world, at, world.buyer_on(2, &disk), world.request(100, 4));
    tap.open(30);
    until(|| order.count() == 30).await;
    seller.reload(vec![offer(named("tide", 1), tide.source("tide"))], world.pools, Limits::default()).unwrap();
    tap.open(60);
    until(|| order.count() == 60).await;
    let kept = order.kept.clone();
    order.kill().await;
    until(|| ended(&world) == 1).await;

    let other = Buying::start(&world, at, world.buyer(3), world.request(1, 1));
    assert!(matches!(other.task.await.unwrap(), Err(BuyError::NotOffered(_))), "nobody else gets it");
    tap.open(100);
    let id = seller.status().orders[0].order;
    let mut sink = kept.clone();
    let done =
        world.buyer_on(2, &disk).resume(&world.address(at), id, &mut sink, world.stop.subscribe()).await.unwrap();
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 100));
    let texts: Vec<String> =
        kept.0.lock().unwrap().iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into()).collect();
    assert_eq!(texts, (0..100).map(|number| text("weather", number)).collect::<Vec<String>>());
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_running_order_keeps_the_live_source_that_a_reload_replaces() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let live = || {
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        let hub = Hub::start(Said(said), Start::Now);
        let source: MakeSource = Arc::new(move |_| Ok(Box::new(hub.subscribe(Take::default()))));
        (say, offer(named("weather", 1), source))
    };
    let (say, first) = live();
    let seller = world.seller(vec![first]).await;
    let (at, serving) = world.listen(&seller).await;
    let running = Buying::start(&world, at, world.buyer(2), world.request(60, 8));
    let lives = |event: &Event| matches!(event, Event::Live { .. });
    until(|| world.seller_events.lock().unwrap().iter().any(lives)).await;
    (0..30).for_each(|number| say.send(number).unwrap());
    until(|| running.count() == 30).await;
    let (_other, second) = live();
    seller.reload(vec![second], world.pools, Limits::default()).unwrap();
    for number in 30..60 {
        say.send(number).expect("it is still read");
    }
    let done = running.done().await;
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 60));
    // With its last order the old source is let go.
    say.closed().await;
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn an_order_finds_its_product_by_topic_after_numbers_have_moved() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let (weather, tide) = (Tap::new(), Tap::new());
    let first = world.seller(vec![offer(named("weather", 1), weather.source("weather"))]).await;
    let (at, serving) = world.listen(&first).await;
    let disk = MemoryDisk::new();
    let order = Buying::start(&world, at, world.buyer_on(2, &disk), world.request(50, 4));
    weather.open(20);
    until(|| order.count() == 20).await;
    let (kept, id) = (order.kept.clone(), first.status().orders[0].order);
    order.kill().await;
    serving.abort();
    let _ = serving.await;

    // After a restart number 1 is the tide's.
    let offers =
        vec![offer(named("tide", 1), tide.source("tide")), offer(named("weather", 2), weather.source("weather"))];
    let second = world.seller(offers).await;
    let (at, serving) = world.listen(&second).await;
    weather.open(1000);
    tide.open(1000);
    let mut sink = kept.clone();
    let done =
        world.buyer_on(2, &disk).resume(&world.address(at), id, &mut sink, world.stop.subscribe()).await.unwrap();
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 50));
    let wrong = kept.0.lock().unwrap().iter().filter(|(_, bytes)| !bytes.starts_with(b"weather")).count();
    assert_eq!(wrong, 0, "the order's own menu says what it is for");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn after_a_restart_without_its_product_an_order_is_refused_and_others_are_served() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let (weather, tide) = (Tap::new(), Tap::new());
    let first = world.seller(vec![offer(named("weather", 1), weather.source("weather"))]).await;
    let (at, serving) = world.listen(&first).await;
    let disk = MemoryDisk::new();
    let order = Buying::start(&world, at, world.buyer_on(2, &disk), world.request(50, 4));
    weather.open(20);
    until(|| order.count() == 20).await;
    let id = first.status().orders[0].order;
    order.kill().await;
    serving.abort();
    let _ = serving.await;

    let second = world.seller(vec![offer(named("tide", 1), tide.source("tide"))]).await;
    let (at, serving) = world.listen(&second).await;
    tide.open(1000);
    let stop = || world.stop.subscribe();
    let gone = world.buyer_on(2, &disk).resume(&world.address(at), id, &mut Kept::default(), stop()).await.unwrap();
    assert_eq!(gone.ended, Ended::Told(Some(Reason::Refused.into())));
    let request = Request { topic: "tide".into(), ..world.request(20, 4) };
    let other = world.buyer(3).buy(&world.address(at), &request, &mut Kept::default(), stop()).await.unwrap();
    assert_eq!((other.ended, other.delivered), (Ended::Settled, 20));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_topic_keeps_its_number_and_a_bad_reload_changes_nothing() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let tap = Tap::new();
    let make = |topic: &'static str, id| offer(named(topic, id), tap.source(topic));
    let seller = world.seller(vec![make("a", 5), make("b", 6)]).await;
    let ids = || {
        let products = seller.status().products.into_iter();
        products.map(|product| (product.topic, product.id)).collect::<Vec<_>>()
    };
    let limits = Limits::default();
    assert_eq!(ids(), [("a".into(), 5), ("b".into(), 6)]);
    seller.reload(vec![make("c", 5), make("b", 1), make("a", 2)], world.pools, limits).unwrap();
    assert_eq!(ids(), [("c".into(), 1), ("b".into(), 6), ("a".into(), 5)], "5 is taken");
    seller.reload(vec![make("d", 5)], world.pools, limits).unwrap();
    assert_eq!(ids(), [("d".into(), 2)], "also by a topic that is not offered now");
    seller.reload(vec![make("a", 9)], world.pools, limits).unwrap();
    assert_eq!(ids(), [("a".into(), 5)]);
    let menu = seller.menu().unwrap().id();
    for bad in [vec![], vec![make("x", 1), make("x", 2)], vec![make("", 1)]] {
        let error = seller.reload(bad, world.pools, limits).unwrap_err();
        assert!(matches!(error, StartError::Settings(_)), "{error}");
    }
    assert_eq!((ids(), seller.menu().unwrap().id()), (vec![("a".into(), 5)], menu));
}

#[tokio::test]
async fn a_paused_product_takes_no_new_orders_and_running_ones_go_on() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let tap = Tap::new();
    let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
    let (at, serving) = world.listen(&seller).await;
    let running = Buying::start(&world, at, world.buyer(2), world.request(50, 4));
    tap.open(20);
    until(|| running.count() == 20).await;
    assert!(seller.pause("weather") && !seller.pause("tide"));
    // A reload does not forget it.
    seller.reload(vec![offer(named("weather", 1), tap.source("weather"))], world.pools, Limits::default()).unwrap();
    assert!(seller.status().products[0].paused);
    let new = |seed| Buying::start(&world, at, world.buyer(seed), world.request(50, 4));
    assert_eq!(told(new(3).task.await.unwrap()), Ended::Told(Some(Reason::Paused.into())));
    assert_eq!(seller.status().totals.refusals.get(&Reason::Paused), Some(&1));
    tap.open(50);
    assert_eq!(running.done().await.ended, Ended::Settled);
    assert!(seller.unpause("weather"));
    assert_eq!(new(4).done().await.ended, Ended::Settled);
    let states: Vec<_> = seller.status().orders.iter().map(|order| order.state).collect();
    assert_eq!(states, [OrderState::Over; 2], "the refused one left nothing behind");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

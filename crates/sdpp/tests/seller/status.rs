//! What a seller says it is doing, and what it counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use sdpp::seller::OrderState;
use sdpp_proto::buyer::Ended;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Offence, Reason};
use sdpp_rail::fake::{FakeMode, FakeWorld};

use crate::kit::*;
use crate::rogue::Rogue;
use crate::tap::*;

#[tokio::test]
async fn the_status_follows_an_order_from_live_to_over() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let tap = Tap::new();
    let seller = world.seller(vec![offer(named("weather", 4), tap.source("weather"))]).await;
    let (at, serving) = world.listen(&seller).await;
    let status = seller.status();
    assert_eq!((status.orders.len(), status.connections), (0, 0));
    assert_eq!(
        (status.products[0].id, status.products[0].topic.as_str(), status.products[0].paused),
        (4, "weather", false)
    );
    assert_eq!(status.strangers.limit, world.pools.strangers);

    let buying = Buying::start(&world, at, world.buyer(2), world.request(40, 4));
    tap.open(25);
    until(|| seller.status().orders.first().is_some_and(|order| order.paid == Amount::new(75))).await;
    let status = seller.status();
    let order = &status.orders[0];
    assert_eq!((order.state, order.buyer, order.topic.as_str()), (OrderState::Live, key(2).public(), "weather"));
    assert_eq!((order.sent, order.due, order.owed), (25, Amount::new(75), Amount::ZERO));
    assert!(order.since >= status.since);
    assert_eq!((status.connections, status.silent), (1, 0));
    assert!(status.strangers.used > Amount::ZERO, "reserved while it is live");
    let totals = &status.totals;
    assert_eq!((totals.messages, totals.windows), (25, 5));
    let bytes: usize = (0..25).map(|number| text("weather", number).len()).sum();
    assert_eq!(totals.bytes, bytes as u64);
    assert_eq!(totals.paid, BTreeMap::from([(FakeWorld::asset(), Amount::new(75))]));

    tap.open(40);
    assert_eq!(buying.done().await.ended, Ended::Settled);
    until(|| seller.status().orders[0].state == OrderState::Over).await;
    let status = seller.status();
    assert_eq!((status.orders[0].sent, status.orders[0].paid), (40, Amount::new(120)));
    assert_eq!((status.strangers.used, status.proven.used), (Amount::ZERO, Amount::ZERO));
    assert_eq!(status.totals.owed, BTreeMap::from([(FakeWorld::asset(), Amount::ZERO)]));
    world.stop.send(true).unwrap();
    serving.await.unwrap();

    let again = world.seller(vec![offer(named("weather", 4), flood())]).await;
    let order = again.status().orders[0].clone();
    assert_eq!((order.state, order.paid), (OrderState::Over, Amount::new(120)), "the journal knows it");
}

#[tokio::test]
async fn a_live_order_is_asked_to_settle_and_end() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let tap = Tap::new();
    let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
    let (at, serving) = world.listen(&seller).await;
    let buying = Buying::start(&world, at, world.buyer(2), world.request(1000, 4));
    tap.open(17);
    until(|| buying.count() == 17).await;
    let order = seller.status().orders[0].order;
    assert!(seller.end(&order));
    let done = buying.done().await;
    assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 17, Amount::new(51)));
    until(|| seller.status().orders[0].state == OrderState::Over).await;
    assert!(!seller.end(&order), "it has no session any more");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Keeps every number under its name and labels.
#[derive(Default)]
struct Book {
    numbers: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

impl Book {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.numbers.lock().unwrap().entry(name).or_default().clone()
    }

    fn read(&self, name: &str) -> u64 {
        let numbers = self.numbers.lock().unwrap();
        numbers.get(name).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.read(name))
    }
}

struct Times(Arc<AtomicU64>);

impl metrics::HistogramFn for Times {
    fn record(&self, _value: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Times(self.cell(key))))
    }
}

#[test]
fn a_sale_is_counted_by_the_metrics() {
    let book = Book::default();
    let _guard = metrics::set_default_local_recorder(&book);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::new(FakeMode::Voucher, product(10), 0);
        let tap = Tap::new();
        let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
        let (at, serving) = world.listen(&seller).await;
        let buying = Buying::start(&world, at, world.buyer(2), world.request(100, 4));
        tap.open(25);
        until(|| book.gauge("sdpp_paid_total{role=seller,asset=fake-coin}") == 75.0).await;
        assert_eq!(book.gauge("sdpp_sessions{role=seller}"), 1.0);
        tap.open(100);
        assert_eq!(buying.done().await.ended, Ended::Settled);
        let mut rogue = Rogue::connect(at, 3, 3).await;
        rogue.liar.line.raw(&[0xff; 64]);
        assert_eq!(rogue.error().await, Some(Offence::UnknownFrame.code()));
        seller.pause("weather");
        let refused = Buying::start(&world, at, world.buyer(4), world.request(1, 1));
        assert_eq!(told(refused.task.await.unwrap()), Ended::Told(Some(Reason::Paused.into())));
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    });
    assert_eq!(book.read("sdpp_messages_total{role=seller}"), 100);
    assert_eq!(book.gauge("sdpp_paid_total{role=seller,asset=fake-coin}"), 300.0);
    assert_eq!(book.gauge("sdpp_unpaid_exposure{role=seller,asset=fake-coin}"), 0.0);
    assert_eq!(book.gauge("sdpp_sessions{role=seller}"), 0.0);
    assert_eq!(
        book.read("sdpp_offences_total{role=seller,code=101}") + book.read("sdpp_offences_total{role=seller,code=100}"),
        1
    );
    assert_eq!(book.read("sdpp_refusals_total{role=seller,reason=Paused}"), 1);
    for name in ["sdpp_bytes_total", "sdpp_windows_total", "sdpp_settle_seconds", "sdpp_store_seconds"] {
        assert!(book.read(&format!("{name}{{role=seller}}")) > 0, "{name}");
    }
}

//! A sale from a live source, over real sockets.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod kit;

use std::sync::Arc;

use kit::{Kept, World, product};
use sdpp::feed::{Hub, Item, Start, Take, Taken, Upstream};
use sdpp::source::{Filled, Pick};
use sdpp::topic;
use sdpp_proto::buyer::Ended;
use sdpp_rail::fake::FakeMode;

/// Numbers for ever, on two topics in turn.
struct Numbers(u64);

impl Upstream for Numbers {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        Box::pin(async move {
            // Nobody falls behind.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            for _ in 0..8 {
                let topic = if self.0.is_multiple_of(2) { "even" } else { "odd" };
                let payload = self.0.to_string().into();
                items.push(Item { topic: Some(Arc::from(topic)), time_us: 0, payload });
                self.0 += 1;
            }
            Ok(Filled::Some)
        })
    }
}

#[tokio::test]
async fn one_live_source_is_sold_to_many_with_its_topics() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let upstream: Box<dyn Upstream> = Box::new(Numbers(0));
    let hub = Hub::start(upstream, Start::FirstOrder);
    let shared = hub.clone();
    let pick = Pick::all().topics(["odd"]).unwrap();
    let take = Take { with_topic: true, pick, ..Take::default() };
    let (at, serving) = world.serve_from(Arc::new(move |_| Ok(Box::new(shared.subscribe(take.clone()))))).await;
    let mut buying = tokio::task::JoinSet::new();
    for seed in 2..6 {
        let (buyer, address, stop) = (world.buyer(seed), world.address(at), world.stop.subscribe());
        let request = world.request(200, 4);
        buying.spawn(async move {
            let mut sink = Kept::default();
            let done = buyer.buy(&address, &request, &mut sink, stop).await.unwrap();
            assert_eq!((done.ended, done.delivered), (Ended::Settled, 200));
            sink
        });
    }
    while let Some(sink) = buying.join_next().await {
        let messages = sink.unwrap().0.lock().unwrap().clone();
        let numbers = messages.iter().map(|message| {
            let (topic, payload) = topic::split(&message.1).unwrap();
            assert_eq!(topic, "odd");
            std::str::from_utf8(payload).unwrap().parse().unwrap()
        });
        let numbers: Vec<u64> = numbers.collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 2), "no gap and no repeat: {numbers:?}");
    }
    world.stop.send(true).unwrap();
    serving.await.unwrap();
    assert_eq!(hub.status().orders, 0);
}

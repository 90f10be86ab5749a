//! Live data that does not wait for credit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sdpp::feed::{Hub, Overflow, Start, Subscription, Take};
use sdpp::seller::{Event, MakeSource};
use sdpp::source::{Fill, Filled, Source};
use sdpp_proto::buyer::Ended;
use sdpp_proto::message::Batch;
use sdpp_proto::statement::{Product, Stalled};
use sdpp_rail::fake::FakeMode;
use sdpp_sim::liar::Heard;

use crate::kit::*;
use crate::pools::pay;
use crate::rogue::Rogue;
use crate::tap::*;

fn live(when_stalled: Stalled) -> Product {
    Product { when_stalled, ..named("weather", 1) }
}

#[tokio::test]
async fn what_comes_while_credit_is_used_up_is_skipped_or_waits_as_the_product_says() {
    for when_stalled in [Stalled::Skip, Stalled::Buffer] {
        let world = World::new(FakeMode::Direct, product(10), 0);
        let tap = Tap::new();
        let seller = world.seller(vec![offer(live(when_stalled), tap.source("weather"))]).await;
        let (at, serving) = world.listen(&seller).await;
        tap.open(1);
        // A new buyer has credit for one message.
        let (mut rogue, invoice) = Rogue::take_one(at, 5, 1000).await;
        tap.open(100);
        until(|| tap.drawn() == 100).await;
        if when_stalled == Stalled::Skip {
            // All that came is gone before more is asked for.
            tap.open(101);
            until(|| tap.drawn() == 101).await;
        }
        pay(&world, &mut rogue, &invoice).await;
        let events = || world.seller_events.lock().unwrap().clone();
        let paid = |event: &Event| matches!(event, Event::Paid { .. });
        let mut drive = tokio::spawn(async move {
            let heard = rogue.hear(|heard| matches!(heard, Heard::Message(1, _))).await;
            (rogue, heard)
        });
        tokio::select! {
            () = until(|| events().iter().any(paid)) => {}
            _ = &mut drive, if when_stalled == Stalled::Skip => panic!("nothing is there to be sold"),
        }
        if when_stalled == Stalled::Skip {
            until(|| events().iter().any(|event| matches!(event, Event::Skipped { .. }))).await;
            tap.open(110);
        }
        let (rogue, heard) = drive.await.unwrap();
        let (first, skipped) = match when_stalled {
            Stalled::Skip => (101, 100),
            Stalled::Buffer => (1, 0),
        };
        // Numbers have no gaps, whatever was dropped.
        assert_eq!(heard, Some(Heard::Message(1, text("weather", first).into_bytes())), "{when_stalled:?}");
        let said = events().into_iter().find_map(|event| match event {
            Event::Skipped { order, messages } => Some((order, messages)),
            _ => None,
        });
        assert_eq!(said, (skipped > 0).then(|| (rogue.order_id(), skipped)));
        let status = seller.status();
        assert_eq!(status.totals.skipped, skipped);
        drop(rogue);
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

/// One message at each look, for ever: a sensor that waits for nobody.
struct Sensor(u64);

impl Source for Sensor {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            batch.push(0, text("weather", self.0).as_bytes()).unwrap();
            self.0 += 1;
            Ok(Filled::Some)
        })
    }

    fn seek(&mut self, seq: u64) -> std::io::Result<()> {
        self.0 = seq;
        Ok(())
    }
}

#[tokio::test]
async fn a_source_that_gives_more_than_the_buyer_pays_for_is_sold_with_gaps_in_time_only() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let sensor: MakeSource = Arc::new(|_| Ok(Box::new(Sensor(0))));
    let seller = world.seller(vec![offer(live(Stalled::Skip), sensor)]).await;
    let (at, serving) = world.listen(&seller).await;
    let buying = Buying::start(&world, at, world.buyer(2), world.request(300, 2));
    let kept = buying.kept.clone();
    let done = buying.done().await;
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 300));
    let kept = kept.0.lock().unwrap().clone();
    assert!(kept.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq), "no gap in the numbers");
    let number = |bytes: &[u8]| -> u64 {
        let text = std::str::from_utf8(bytes).unwrap();
        text.strip_prefix("weather ").unwrap().parse().unwrap()
    };
    let numbers: Vec<u64> = kept.iter().map(|(_, bytes)| number(bytes)).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    let gaps = numbers[299] - 299;
    world.stop.send(true).unwrap();
    serving.await.unwrap();
    let status = seller.status();
    assert!(gaps > 0 && status.totals.skipped >= gaps, "{gaps} of {}", status.totals.skipped);
    assert_eq!(status.orders[0].skipped, status.totals.skipped);
}

/// Counts how often a session asks its order's part of a live source.
struct Asked {
    inner: Subscription,
    fills: Arc<AtomicU64>,
}

impl Source for Asked {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        self.fills.fetch_add(1, Ordering::Relaxed);
        self.inner.fill(batch)
    }

    fn seek(&mut self, seq: u64) -> std::io::Result<()> {
        self.inner.seek(seq)
    }

    fn let_pass(&mut self) -> bool {
        self.inner.let_pass()
    }

    fn passed(&mut self) -> u64 {
        self.inner.passed()
    }
}

/// Whoever sells to thousands has most of them without credit at any time: what comes must not wake those.
#[tokio::test]
async fn a_session_without_credit_takes_no_turn_for_live_data() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let (say, said) = tokio::sync::mpsc::unbounded_channel();
    let hub = Hub::start(Said(said), Start::FirstOrder);
    let (shared, fills) = (hub.clone(), Arc::new(AtomicU64::new(0)));
    let counted = fills.clone();
    let source: MakeSource = Arc::new(move |_| {
        let inner = shared.subscribe(Take { overflow: Overflow::DropOldest, ..Take::default() });
        Ok(Box::new(Asked { inner, fills: counted.clone() }))
    });
    let seller = world.seller(vec![offer(live(Stalled::Skip), source)]).await;
    let (at, serving) = world.listen(&seller).await;
    say.send(0).unwrap();
    // It has credit for one message.
    let (mut rogue, invoice) = Rogue::take_one(at, 5, 1000).await;
    for number in 1..=200 {
        say.send(number).unwrap();
        until(|| hub.status().received == number + 1).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    let asked = fills.load(Ordering::Relaxed);
    assert!(asked < 20, "asked {asked} times for 200 messages that it could not sell");
    pay(&world, &mut rogue, &invoice).await;
    rogue.say().await;
    let skips = |event: &Event| matches!(event, Event::Skipped { messages: 200, .. });
    until(|| world.seller_events.lock().unwrap().iter().any(skips)).await;
    assert_eq!(seller.status().totals.skipped, 200);
    drop(rogue);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

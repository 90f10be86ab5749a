//! Caps on connections, and on what one buyer has going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sdpp::buyer::Request;
use sdpp::seller::{Event, Limits, MakeSource};
use sdpp::source::{Fill, Filled, Source};
use sdpp_proto::buyer::Ended;
use sdpp_proto::message::Batch;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::statement::{Product, Signing};
use sdpp_rail::fake::FakeMode;

use crate::kit::*;
use crate::rogue::Rogue;
use crate::tap::*;

fn busy() -> Ended {
    Ended::Told(Some(Reason::Busy.into()))
}

#[tokio::test]
async fn half_open_connections_keep_nobody_out() {
    let mut world = World::new(FakeMode::Voucher, product(10), 1000);
    world.limits = Limits { handshakes: 4, ..Limits::default() };
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let mut crowd = Vec::new();
    for seed in 0..20 {
        crowd.push(Rogue::connect(at, 3, seed).await);
        // Some say hello and no more.
        if seed % 2 == 0 {
            let hello = crowd[usize::from(seed)].liar.hello();
            crowd[usize::from(seed)].liar.send_hello(&hello);
        }
    }
    let done = Buying::start(&world, at, world.buyer(2), world.request(100, 4)).done().await;
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 100));
    let status = seller.status();
    assert!(status.silent <= 4, "{}", status.silent);
    assert!(status.totals.connections_refused >= 16, "{}", status.totals.connections_refused);
    assert_eq!(crowd[0].error().await, Some(Reason::Busy.code()), "the oldest was told why");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
    assert_eq!((seller.status().connections, seller.status().silent), (0, 0));
}

#[tokio::test]
async fn connections_above_the_caps_are_told_so() {
    for per_address in [false, true] {
        let mut world = World::new(FakeMode::Voucher, product(10), 1000);
        world.limits = match per_address {
            true => Limits { connections_per_address: 2, loopback_exempt: false, ..Limits::default() },
            false => Limits { connections: 2, ..Limits::default() },
        };
        let tap = Tap::new();
        let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
        let (at, serving) = world.listen(&seller).await;
        let running = Buying::start(&world, at, world.buyer(2), world.request(50, 4));
        tap.open(10);
        until(|| running.count() == 10).await;
        let _silent = Rogue::greeted(at, 3, 3).await;
        assert_eq!(Rogue::connect(at, 4, 4).await.error().await, Some(Reason::Busy.code()));
        assert_eq!(seller.status().totals.connections_refused, 1);
        // Who is inside is not disturbed.
        tap.open(50);
        assert_eq!(running.done().await.ended, Ended::Settled);
        until(|| seller.status().connections == 1).await;
        Rogue::greeted(at, 5, 5).await;
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn one_buyer_has_so_many_sessions_and_owes_so_much() {
    let one_session = Limits { sessions_per_buyer: 1, ..Limits::default() };
    // One window of ten messages is 30.
    let one_window = Limits { exposure_per_buyer: Amount::new(30), ..Limits::default() };
    for limits in [one_session, one_window] {
        let mut world = World::new(FakeMode::Voucher, product(10), 0);
        world.limits = limits;
        let tap = Tap::new();
        let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
        let (at, serving) = world.listen(&seller).await;
        let request = || Request { exposure_max: Some(Amount::new(30)), ..world.request(50, 1) };
        let buy = |seed| Buying::start(&world, at, world.buyer(seed), request());
        let first = buy(2);
        tap.open(20);
        until(|| first.count() == 20).await;
        assert_eq!(told(buy(2).task.await.unwrap()), busy(), "the same buyer again");
        let other = buy(3);
        until(|| other.count() == 20).await;
        tap.open(50);
        assert_eq!((first.done().await.ended, other.done().await.ended), (Ended::Settled, Ended::Settled));
        let ends = || world.seller_events.lock().unwrap().iter().filter(|e| matches!(e, Event::Ended { .. })).count();
        until(|| ends() == 3).await;
        assert_eq!(buy(2).done().await.ended, Ended::Settled, "once the first is over");
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

/// Gives as much as it may in one go, and notes how much that was.
struct Measure(Arc<AtomicUsize>);

impl Source for Measure {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            while batch.push(0, b"").is_ok() {}
            self.0.fetch_max(batch.len(), Ordering::Relaxed);
            Ok(Filled::Some)
        })
    }

    fn seek(&mut self, _seq: u64) -> std::io::Result<()> {
        Ok(())
    }
}

/// Where each message is signed, a turn of a session handles few.
#[tokio::test]
async fn a_turn_of_a_session_signs_so_many_messages() {
    for (signing, most) in [(Signing::Message, 512), (Signing::Window, 65_536)] {
        let product = Product { signing, ..product(1000) };
        let world = World::new(FakeMode::Voucher, product.clone(), 0);
        let measured = Arc::new(AtomicUsize::new(0));
        let seen = measured.clone();
        let source: MakeSource = Arc::new(move |_| Ok(Box::new(Measure(seen.clone()))));
        let seller = world.seller(vec![offer(product, source)]).await;
        let (at, serving) = world.listen(&seller).await;
        let done = Buying::start(&world, at, world.buyer(2), world.request(2000, 4)).done().await;
        assert_eq!((done.ended, done.delivered), (Ended::Settled, 2000));
        assert_eq!(measured.load(Ordering::Relaxed), most, "{signing:?}");
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

/// A fast source does not starve others: whoever asks for little is done while the greedy buyer is
/// still served.
#[tokio::test]
async fn modest_buyers_are_done_before_a_greedy_one() {
    // More than any machine delivers while the others buy their few.
    const MANY: u64 = 50_000_000;
    let mut plain = product(1000);
    plain.message_max = 1000;
    let signed =
        sdpp_proto::statement::Product { signing: sdpp_proto::statement::Signing::Message, k: 10_000, ..plain.clone() };
    for product in [plain, signed] {
        let world = World::new(FakeMode::Voucher, product.clone(), MANY);
        let seller = world.seller(vec![offer(product, flood())]).await;
        let (at, serving) = world.listen(&seller).await;
        let greedy_one = Buying::start(&world, at, world.buyer(2), world.request(MANY, 64));
        until(|| greedy_one.count() > 0).await;
        let modest: Vec<_> =
            (3..8).map(|seed| Buying::start(&world, at, world.buyer(seed), world.request(50, 4))).collect();
        for one in modest {
            let done = one.done().await;
            assert_eq!((done.ended, done.delivered), (Ended::Settled, 50));
        }
        assert!(!greedy_one.task.is_finished());
        let done = greedy_one.stopped().await;
        assert!(done.ended == Ended::Settled && done.delivered > 0 && done.delivered < MANY, "{done:?}");
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn an_order_that_finds_no_room_when_it_comes_back_tries_again() {
    let mut world = World::new(FakeMode::Voucher, product(10), 0);
    world.limits = Limits { sessions_per_buyer: 1, ..Limits::default() };
    let tap = Tap::new();
    let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
    let (at, serving) = world.listen(&seller).await;
    let disk = sdpp_rail::MemoryDisk::new();
    let first = Buying::start(&world, at, world.buyer_on(2, &disk), world.request(50, 4));
    tap.open(20);
    until(|| first.count() == 20).await;
    let (kept, id) = (first.kept.clone(), seller.status().orders[0].order);
    first.kill().await;
    let events = |which: fn(&Event) -> bool| world.seller_events.lock().unwrap().iter().filter(|e| which(e)).count();
    until(|| events(|event| matches!(event, Event::Ended { .. })) == 1).await;
    // Another connection of the same buyer has its only place.
    let other = Buying::start(&world, at, world.buyer(2), world.request(50, 4));
    until(|| events(|event| matches!(event, Event::Live { .. })) == 2).await;
    let patient = sdpp::buyer::Settings { reconnect: quick(100), ..world.buyer_settings(2, &disk) };
    let (address, stop) = (world.address(at), world.stop.subscribe());
    let mut sink = kept.clone();
    let back =
        tokio::spawn(async move { sdpp::buyer::Buyer::new(patient).resume(&address, id, &mut sink, stop).await });
    until(|| seller.status().totals.refusals.contains_key(&Reason::Busy)).await;
    other.kill().await;
    tap.open(50);
    let done = back.await.unwrap().unwrap();
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 50));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

//! Sales over real sockets, on a fake bank.
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

use std::sync::Arc;

use kit::*;
use sdpp::buyer::{BuyError, ask};
use sdpp::journal::{Journal, ORDERS};
use sdpp::seller::Event;
use sdpp::sink::{Mark, Sink};
use sdpp::source::{Fill, Filled, Source};
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::StatementId;
use sdpp_proto::journal::Entry;
use sdpp_proto::message::{Batch, Message};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Offence, Reason};
use sdpp_proto::statement::{Kind, Order};
use sdpp_proto::wire::{Ask, AskQuote};
use sdpp_rail::MemoryDisk;
use sdpp_rail::fake::FakeMode;

#[tokio::test]
async fn a_thousand_messages_are_sold_by_voucher_and_by_transfer() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let world = World::new(mode, product(10), 1000);
        let (at, serving) = world.serve().await;
        let mut sink = Kept::default();
        let buyer = world.buyer(2);
        let stop = world.stop.subscribe();
        let done = buyer.buy(&world.address(at), &world.request(1000, 8), &mut sink, stop).await.unwrap();
        assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 1000, Amount::new(3000)));
        assert_eq!(sink.0.lock().unwrap().len(), 1000);
        world.stop.send(true).unwrap();
        serving.await.unwrap();
        assert_eq!(world.bank.balance("seller", &sdpp_rail::fake::FakeWorld::asset()), Amount::new(3000), "{mode:?}");
    }
}

#[tokio::test]
async fn many_buyers_get_each_their_own() {
    let world = World::new(FakeMode::Voucher, product(10), 500);
    let (at, serving) = world.serve().await;
    let mut buying = tokio::task::JoinSet::new();
    for seed in 10..30 {
        let (buyer, address, stop) = (world.buyer(seed), world.address(at), world.stop.subscribe());
        let quantity = 100 + u64::from(seed);
        let request = world.request(quantity, 4);
        buying.spawn(async move {
            let mut sink = Kept::default();
            let done = buyer.buy(&address, &request, &mut sink, stop).await.unwrap();
            assert_eq!((done.delivered, done.paid), (quantity, Amount::new(3 * u128::from(quantity))));
            assert_eq!(done.ended, Ended::Settled);
        });
    }
    while let Some(done) = buying.join_next().await {
        done.unwrap();
    }
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// A rail that loses calls and answers at random: money moves once, whatever is heard of it.
#[tokio::test]
async fn a_rail_that_loses_answers_is_asked_and_nothing_is_paid_twice() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        for seed in 1..4 {
            let world = World::new(mode, product(10), 300);
            let (at, serving) = world.serve().await;
            let buyer = world.buyer(2);
            world.bank.seed_faults(seed, 300);
            let mut sink = Kept::default();
            let stop = world.stop.subscribe();
            let done = buyer.buy(&world.address(at), &world.request(300, 4), &mut sink, stop).await.unwrap();
            assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 300, Amount::new(900)));
            world.bank.clear_faults();
            world.stop.send(true).unwrap();
            serving.await.unwrap();
            let earned = world.bank.balance("seller", &sdpp_rail::fake::FakeWorld::asset());
            assert_eq!(earned, Amount::new(900), "{mode:?} {seed}");
        }
    }
}

/// Cuts every connection after so many bytes to the buyer; each may carry a little more.
async fn cutting_proxy(to: std::net::SocketAddr, mut bytes: usize) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            let up = tokio::io::copy(&mut from_client, &mut to_server);
            let down = async {
                let mut limited = tokio::io::AsyncReadExt::take(&mut from_server, bytes as u64);
                tokio::io::copy(&mut limited, &mut to_client).await
            };
            tokio::select! { _ = up => {}, _ = down => {} }
            bytes += 1777;
        }
    });
    at
}

#[tokio::test]
async fn a_connection_that_breaks_again_and_again_loses_and_repeats_nothing() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let world = World::new(mode, product(10), 1000);
        let (at, serving) = world.serve().await;
        let proxy = cutting_proxy(at, 6000).await;
        let mut sink = Kept::default();
        let (buyer, stop) = (world.buyer(2), world.stop.subscribe());
        let done = buyer.buy(&world.address(proxy), &world.request(1000, 8), &mut sink, stop).await.unwrap();
        assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 1000, Amount::new(3000)));
        let kept = sink.0.lock().unwrap().clone();
        assert!(kept.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq), "in order, each once");
        assert_eq!(kept.len(), 1000);
        let lives = world.seller_events.lock().unwrap().iter().filter(|e| matches!(e, Event::Live { .. })).count();
        assert!(lives > 3, "{lives} connections");
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn strangers_fill_their_pool_and_proven_buyers_go_on() {
    let mut world = World::new(FakeMode::Voucher, product(10), 10_000);
    // One window of ten messages is 30.
    world.pools = sdpp::seller::Pools { strangers: Amount::new(30), proven: Amount::new(1000) };
    let (at, serving) = world.serve().await;
    let request = |quantity| sdpp::buyer::Request { exposure_max: Some(Amount::new(30)), ..world.request(quantity, 1) };
    let proven = world.buyer(2);
    let mut sink = Kept::default();
    let done = proven.buy(&world.address(at), &request(100), &mut sink, world.stop.subscribe()).await.unwrap();
    assert_eq!(done.ended, Ended::Settled);
    // A stranger that never pays takes the whole pool of strangers.
    let (sink_a, stop_a) = (Kept::default(), tokio::sync::watch::channel(false).0);
    let holding = {
        let (buyer, address, request) = (world.buyer(3), world.address(at), request(9000));
        let (mut sink, stop) = (sink_a.clone(), stop_a.subscribe());
        world.bank.set_lateness(u32::MAX);
        tokio::spawn(async move { buyer.buy(&address, &request, &mut sink, stop).await })
    };
    while sink_a.0.lock().unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (third, mut sink_b) = (world.buyer(4), Kept::default());
    let stop = world.stop.subscribe();
    let refused = third.buy(&world.address(at), &request(10), &mut sink_b, stop).await.unwrap();
    assert_eq!(refused.ended, Ended::Told(Some(Reason::Busy.into())));
    world.bank.set_lateness(0);
    let again = proven.buy(&world.address(at), &request(50), &mut sink, world.stop.subscribe()).await.unwrap();
    assert_eq!((again.ended, again.delivered), (Ended::Settled, 50));
    holding.abort();
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_menu_a_sample_and_a_quote_can_be_had_without_an_order() {
    let mut world = World::new(FakeMode::Direct, product(10), 100);
    world.product.sample = true;
    let (at, serving) = world.serve().await;
    let config = || sdpp_proto::buyer::BuyerConfig {
        key: key(2),
        seller: Some(key(1).public()),
        suites: vec![sdpp_proto::suite::Suite::XWing],
        pay_moves_money: true,
    };
    let connect = || tokio::net::TcpStream::connect(at);
    let menu = ask(config(), connect().await.unwrap(), |_| None).await.unwrap().menu;
    assert_eq!(menu.products[0].topic, "weather");
    let sample = Ask { product: 1, quote: None };
    let sample = ask(config(), connect().await.unwrap(), |_| Some(sample)).await.unwrap().sample.unwrap();
    assert_eq!(sample.topic, "weather");
    let quote = Ask { product: 1, quote: Some(AskQuote { option: 1, quantity: 100 }) };
    let quote = ask(config(), connect().await.unwrap(), |_| Some(quote)).await.unwrap().quote.unwrap();
    assert_eq!(quote.due, Amount::new(300));
    let wrong = sdpp_proto::buyer::BuyerConfig { seller: Some(key(9).public()), ..config() };
    let wrong = ask(wrong, connect().await.unwrap(), |_| None).await.unwrap_err();
    assert!(matches!(wrong, BuyError::Ended(Ended::Offence(Offence::WrongSeller))), "{wrong}");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// The one order in a buyer's journal.
async fn order_on(disk: &MemoryDisk) -> StatementId {
    let journal = Journal::start(disk.open()).unwrap();
    let streams = journal.streams(ORDERS).await.unwrap();
    let entries = journal.read(streams[0].clone()).await.unwrap();
    let order = entries.iter().find_map(|entry| match entry {
        Entry::Statement(statement) if statement.kind == Kind::Order => Some(statement.id),
        _ => None,
    });
    order.unwrap()
}

#[tokio::test]
async fn both_sides_die_and_the_order_is_completed_from_their_journals() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let world = World::new(mode, product(10), 3000);
        let disk = MemoryDisk::new();
        let sink = Kept::default();
        let (at, serving) = world.serve().await;
        // The buyer dies, then the seller, each in the middle.
        let (buyer, address, request) = (world.buyer_on(2, &disk), world.address(at), world.request(3000, 8));
        let (mut held, stop) = (sink.clone(), world.stop.subscribe());
        let buying = tokio::spawn(async move { buyer.buy(&address, &request, &mut held, stop).await });
        while sink.0.lock().unwrap().len() < 500 {
            tokio::task::yield_now().await;
        }
        buying.abort();
        let _ = buying.await;
        disk.crash();
        serving.abort();
        let _ = serving.await;
        world.seller_disk.crash();
        let (at, serving) = world.serve().await;
        let order = order_on(&disk).await;
        disk.crash();
        let (buyer, mut held) = (world.buyer_on(2, &disk), sink.clone());
        let done = buyer.resume(&world.address(at), order, &mut held, world.stop.subscribe()).await.unwrap();
        assert_eq!((&done.ended, done.delivered), (&Ended::Settled, 3000), "{mode:?}");
        let kept = sink.0.lock().unwrap().clone();
        assert!(kept.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq), "in order, each once");
        assert_eq!(kept.len(), 3000);
        world.stop.send(true).unwrap();
        serving.await.unwrap();
        // What both had lost is not charged; everything else is, once.
        let earned = world.bank.balance("seller", &sdpp_rail::fake::FakeWorld::asset());
        assert_eq!(earned, done.paid, "{mode:?}");
        assert!(done.paid <= Amount::new(9000) && done.paid >= Amount::new(9000 - 3 * 80), "{mode:?}: {}", done.paid);
    }
}

/// A source that gives some messages, then nothing for a while, then its end.
struct Hesitant {
    left: u32,
    fails: bool,
}

impl Source for Hesitant {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            if self.left == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                let failed = std::io::Error::other("the sensor is gone");
                return if self.fails { Err(failed) } else { Ok(Filled::End) };
            }
            self.left -= 1;
            batch.push(0, b"reading").unwrap();
            Ok(Filled::Some)
        })
    }

    fn seek(&mut self, _seq: u64) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_source_that_ends_or_fails_while_it_is_waited_for_ends_the_order() {
    for fails in [false, true] {
        let world = World::new(FakeMode::Voucher, product(10), 0);
        let source = move |_: &Order| Ok(Box::new(Hesitant { left: 25, fails }) as Box<dyn Source>);
        let (at, serving) = world.serve_from(Arc::new(source)).await;
        let (buyer, mut sink) = (world.buyer(2), Kept::default());
        let stop = world.stop.subscribe();
        let done = buyer.buy(&world.address(at), &world.request(1000, 4), &mut sink, stop).await.unwrap();
        assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 25, Amount::new(75)));
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_in_the_middle_settles_whatever_the_session_is_at() {
    for seller_stops in [false, true] {
        for after in [1, 40, 333] {
            let world = World::new(FakeMode::Voucher, product(10), 1_000_000);
            let (at, serving) = world.serve().await;
            let (buyer, sink) = (world.buyer(2), Kept::default());
            let (address, request) = (world.address(at), world.request(1_000_000, 4));
            let buyer_stop = tokio::sync::watch::channel(false).0;
            let (mut held, stop) = (sink.clone(), buyer_stop.subscribe());
            let buying = tokio::spawn(async move { buyer.buy(&address, &request, &mut held, stop).await });
            while sink.0.lock().unwrap().len() < after {
                tokio::task::yield_now().await;
            }
            if seller_stops {
                world.stop.send(true).unwrap()
            } else {
                buyer_stop.send(true).unwrap()
            }
            let done = buying.await.unwrap().unwrap();
            assert_eq!(done.ended, Ended::Settled, "{seller_stops} {after}");
            assert_eq!(done.paid, Amount::new(3 * u128::from(done.delivered)));
            world.stop.send_replace(true);
            serving.await.unwrap();
        }
    }
}

/// A sink whose disk is full once.
struct Full {
    kept: Kept,
    fails_at: u64,
}

impl Sink for Full {
    fn write(&mut self, seq: u64, message: &Message<'_>) -> std::io::Result<()> {
        if seq == self.fails_at {
            self.fails_at = u64::MAX;
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.kept.write(seq, message)
    }

    fn flush(&mut self) -> std::io::Result<Option<Arc<dyn sdpp::journal::Barrier>>> {
        Ok(None)
    }

    fn go_back(&mut self, mark: &Mark) -> std::io::Result<bool> {
        self.kept.go_back(mark)
    }
}

#[tokio::test]
async fn what_a_sink_could_not_hold_is_not_paid_for_and_comes_again() {
    let world = World::new(FakeMode::Voucher, product(10), 500);
    let (at, serving) = world.serve().await;
    let disk = MemoryDisk::new();
    let mut sink = Full { kept: Kept::default(), fails_at: 123 };
    let buyer = world.buyer_on(2, &disk);
    let stop = world.stop.subscribe();
    let failed = buyer.buy(&world.address(at), &world.request(500, 4), &mut sink, stop.clone()).await.unwrap();
    assert_eq!(failed.ended, Ended::Stopped(Reason::Frozen));
    assert!(failed.paid <= Amount::new(3 * 123), "{}", failed.paid);
    let done = buyer.resume(&world.address(at), failed.order, &mut sink, stop).await.unwrap();
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 500));
    let kept = sink.kept.0.lock().unwrap().clone();
    assert!(kept.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq), "no hole");
    assert_eq!(kept.len(), 500);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_payment_counts_also_when_the_connection_ends_behind_it() {
    let world = World::new(FakeMode::Voucher, product(10), 1000);
    // The rail takes its time, and the buyer is gone before it has answered.
    world.bank.set_lateness(10);
    let (at, serving) = world.serve().await;
    let (buyer, address, request) = (world.buyer(2), world.address(at), world.request(1000, 4));
    let stop = world.stop.subscribe();
    let buying = tokio::spawn(async move { buyer.buy(&address, &request, &mut Kept::default(), stop).await });
    while world.bank.calls(sdpp_rail::fake::Call::Settle) == 0 {
        tokio::task::yield_now().await;
    }
    buying.abort();
    let ended = || {
        let events = world.seller_events.lock().unwrap();
        events.iter().find_map(|event| match event {
            Event::Ended { paid, .. } => Some(*paid),
            _ => None,
        })
    };
    while ended().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(ended(), Some(Amount::new(3)), "the first message was paid for");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

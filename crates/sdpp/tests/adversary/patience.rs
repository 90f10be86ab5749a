//! The slow and the silent: each has its time, and honest buyers are served meanwhile.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sdpp::seller::{Event, OrderState, Seller};
use sdpp_proto::buyer::Ended;
use sdpp_proto::frame::FrameKind;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::seller as core;
use sdpp_proto::statement::{Order, Settlement};
use sdpp_rail::fake::{FakeMode, FakeWorld};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::crook::Stall;
use crate::kit::*;
use crate::rogue::{Rogue, pay};
use crate::tap::*;

/// A message that no socket holds.
const LARGE: usize = 4 * 1024 * 1024;

/// Writes a few bytes a second, for ever.
async fn trickle(stream: &mut tokio::net::tcp::OwnedWriteHalf, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    std::future::pending().await
}

/// Says this, a byte now and then; gives what it is told, at last, by a clear error.
async fn loris(at: std::net::SocketAddr, bytes: Vec<u8>) -> Option<Offence> {
    let stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let mut told = Vec::new();
    let listening = async {
        let _ = read.read_to_end(&mut told).await;
    };
    tokio::select! {
        () = listening => {}
        () = trickle(&mut write, &bytes) => {}
    }
    let body = told.get(13..)?;
    let code = sdpp_proto::codec::decode::<u16>(body, 256).ok()?;
    sdpp_proto::offence::Fault::of_code(code).and_then(|fault| match fault {
        sdpp_proto::offence::Fault::Offence(offence) => Some(offence),
        sdpp_proto::offence::Fault::Reason(_) => None,
    })
}

fn hello() -> Vec<u8> {
    let keys = sdpp_sim::liar::BuyerKeys { identity: key(3), pays: key(3) };
    let mut liar = sdpp_sim::liar::RawBuyer::new(keys, sdpp_proto::suite::Suite::X25519, [3; 32]);
    let hello = liar.hello();
    liar.send_hello(&hello);
    liar.line.take()
}

/// Takes a large message and never reads it, or reads it and falls silent in the middle of a frame.
async fn taker(seller: &Seller, at: std::net::SocketAddr, (buyer, reads): (u8, bool)) {
    let mut rogue = Rogue::greeted(at, buyer, buyer).await;
    let order = Order { exposure_max: Amount::new(3), ..rogue.liar.order() };
    rogue.liar.send_order(order);
    rogue.say().await;
    if reads {
        rogue.invoice().await;
        rogue.liar.line.raw(&[0, 0, 1, 0, 7]);
        rogue.say().await;
    }
    let parked = |order: &sdpp::seller::OrderStatus| {
        order.buyer == key(buyer).public() && order.state == OrderState::Parked && order.owed == Amount::new(3)
    };
    // Held open all the while.
    until_rested(|| seller.status().orders.iter().any(parked)).await;
}

/// Like `until`, for what takes seconds: it leaves the processor to others.
async fn until_rested(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_slow_are_let_go_and_the_honest_served_meanwhile() {
    let mut world = World::new(FakeMode::Direct, product(10), 0);
    // Time to pay, in place of a minute.
    world.pay_by_ms = Some(3000);
    world.product.message_max = LARGE as u32;
    let large: sdpp::seller::MakeSource =
        std::sync::Arc::new(|_| Ok(Box::new(sdpp::source::Repeat::new(vec![b'x'; LARGE], 1 << 20))));
    let small = named("weather", 1);
    let big = sdpp_proto::statement::Product { message_max: LARGE as u32, ..named("pictures", 2) };
    let seller = world.seller(vec![offer(big, large), offer(small, flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let hello = hello();
    let half = hello[..hello.len() / 2].to_vec();
    let slow: Vec<Pin<Box<dyn Future<Output = Option<Offence>>>>> = vec![
        Box::pin(loris(at, hello.clone())),
        Box::pin(loris(at, half)),
        Box::pin(loris(at, Vec::new())),
        Box::pin(loris(at, vec![0, 0, 4, 0, 1])),
    ];
    let slow = futures_util::future::join_all(slow);
    let takers = async { tokio::join!(taker(&seller, at, (30, false)), taker(&seller, at, (31, true))) };
    let honest = async {
        for seed in 40..50 {
            let done = Buying::start(&world, at, world.buyer(seed), world.request(100, 4)).done().await;
            assert_eq!((done.ended, done.delivered), (Ended::Settled, 100));
        }
    };
    let (told, _, ()) = tokio::join!(slow, takers, honest);
    assert_eq!(told, [Some(Offence::HandshakeTimeout); 4], "a handshake has ten seconds, however it is spent");
    until_rested(|| seller.status().connections == 0).await;
    let defaults = {
        let events = world.seller_events.lock().unwrap();
        events.iter().filter(|event| matches!(event, Event::Ended { ended: core::Ended::Defaulted, .. })).count()
    };
    assert_eq!(defaults, 2, "who takes and does not pay is said to, whether or not it reads");
    assert_eq!(seller.status().strangers.used, Amount::new(6), "and costs a message each");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// What a seller does instead of its part of the handshake.
async fn dawdle(stall: &Stall, bytes: Vec<u8>) {
    let crook = stall.accept().await;
    let (_read, mut write) = crook.stream.into_split();
    trickle(&mut write, &bytes).await;
}

#[tokio::test]
async fn a_seller_that_dawdles_is_given_up() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let mut menu = Vec::new();
    sdpp_proto::frame::write_clear(&mut menu, FrameKind::Menu, &[0; 1000]);
    let tries: Vec<_> = [Vec::new(), menu[..5].to_vec(), menu]
        .into_iter()
        .zip(10u8..)
        .map(|(bytes, seed)| {
            let world = &world;
            async move {
                let stall = Stall::open(world, product(10)).await;
                let buying = Buying::start(world, stall.at(), world.buyer(seed), world.request(10, 4));
                tokio::select! {
                    () = dawdle(&stall, bytes) => unreachable!("it dawdles for ever"),
                    ended = buying.task => told(ended.unwrap()),
                }
            }
        })
        .collect();
    let told = futures_util::future::join_all(tries).await;
    assert!(told.iter().all(|ended| *ended == Ended::Offence(Offence::HandshakeTimeout)), "{told:?}");
}

/// Half a minute is what a last signature is waited for, and a minute any word at all.
#[tokio::test]
#[ignore = "takes a minute of waiting: SDPP_PATIENCE, see docs/testing.md"]
async fn a_last_signature_and_a_silent_peer_are_not_waited_for_without_end() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let tap = Tap::new();
    tap.open(1);
    let seller = world.seller(vec![offer(named("weather", 1), tap.source("weather"))]).await;
    let (at, serving) = world.listen(&seller).await;
    let withheld_by_seller = async {
        let stall = Stall::open(&world, product(10)).await;
        let buying = Buying::start(&world, stall.at(), world.buyer(2), world.request(15, 4));
        let mut crook = stall.live().await;
        crook.sell(10).await;
        crook.deliver(5, true);
        crook.paid().await;
        let done = buying.done().await;
        assert_eq!((done.ended, done.paid, done.delivered), (Ended::Withheld, Amount::new(45), 15));
    };
    let withheld_by_buyer = async {
        let mut rogue = Rogue::greeted(at, 3, 3).await;
        let order = Order { quantity: Some(1), ..rogue.liar.order() };
        rogue.liar.send_order(order);
        let invoice = rogue.invoice().await;
        pay(&world, &mut rogue, &invoice).await;
        let last = rogue.invoice().await;
        pay(&world, &mut rogue, &last).await;
        rogue.hear(|heard| heard.statement::<Settlement>().is_some()).await.unwrap();
        // Nothing more is said to it, and the connection ends.
        assert_eq!(rogue.error().await, None);
    };
    let silent_buyer = async {
        // All is paid, the source has no more, and nothing comes.
        let mut rogue = Rogue::greeted(at, 4, 4).await;
        let order = rogue.liar.order();
        rogue.liar.send_order(order);
        let invoice = rogue.invoice().await;
        pay(&world, &mut rogue, &invoice).await;
        rogue.say().await;
        assert_eq!(rogue.error().await, Some(Offence::IdleTimeout.code()));
    };
    let silent_seller = async {
        let stall = Stall::open(&world, product(10)).await;
        let settings = sdpp::buyer::Settings { reconnect: quick(0), ..world.buyer_settings(5, &Default::default()) };
        let buying = Buying::start(&world, stall.at(), sdpp::buyer::Buyer::new(settings), world.request(15, 4));
        let mut crook = stall.live().await;
        crook.sell(10).await;
        assert_eq!(crook.error().await, Some(Offence::IdleTimeout.code()));
        let done = buying.done().await;
        // It came again, and nobody spoke at all.
        assert_eq!((done.ended, done.paid), (Ended::Offence(Offence::HandshakeTimeout), Amount::new(30)));
        assert!(done.parked, "it goes on if the seller comes back");
    };
    tokio::join!(withheld_by_seller, withheld_by_buyer, silent_buyer, silent_seller);
    until_rested(|| seller.status().connections == 0).await;
    let settled = {
        let events = world.seller_events.lock().unwrap();
        let alone = core::Ended::Settled { countersigned: false };
        events.iter().any(|event| matches!(event, Event::Ended { ended, .. } if *ended == alone))
    };
    assert!(settled, "the seller has all its money without the buyer's last word");
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(45 + 3 + 3 + 30));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

//! Somebody on the way, who has no key: frames are changed, repeated, left out, swapped and put in, and others
//! answer in the seller's place. Each costs a connection and nothing more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sdpp::buyer::{OrderState, Reconnect};
use sdpp_proto::buyer::Ended;
use sdpp_proto::frame::{FrameHeader, FrameKind};
use sdpp_proto::limits::FRAME_HEADER_LEN;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Offence, Reason};
use sdpp_proto::wire::error_body;
use sdpp_rail::MemoryDisk;
use sdpp_rail::fake::{FakeMode, FakeWorld};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::crook::Stall;
use crate::kit::*;
use crate::tap::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    ToBuyer,
    ToSeller,
}

/// What is done to one frame; gives what is passed on in its place.
type Deed = fn(Vec<u8>) -> Vec<Vec<u8>>;

/// One frame of one connection, and what is done to it.
#[derive(Clone, Copy)]
struct Plan {
    connection: u32,
    way: Way,
    frame: usize,
    deed: Deed,
}

fn changed(mut frame: Vec<u8>) -> Vec<Vec<u8>> {
    let middle = FRAME_HEADER_LEN + (frame.len() - FRAME_HEADER_LEN) / 2;
    frame[middle] ^= 1;
    vec![frame]
}

fn renumbered(mut frame: Vec<u8>) -> Vec<Vec<u8>> {
    frame[FRAME_HEADER_LEN - 1] ^= 1;
    vec![frame]
}

fn repeated(frame: Vec<u8>) -> Vec<Vec<u8>> {
    vec![frame.clone(), frame]
}

fn left_out(_: Vec<u8>) -> Vec<Vec<u8>> {
    Vec::new()
}

fn refused(frame: Vec<u8>) -> Vec<Vec<u8>> {
    before(frame, FrameKind::Error, &error_body(Reason::Refused.code()))
}

fn blamed(frame: Vec<u8>) -> Vec<Vec<u8>> {
    before(frame, FrameKind::Error, &error_body(Offence::NotPaid.code()))
}

fn said_hello(frame: Vec<u8>) -> Vec<Vec<u8>> {
    before(frame, FrameKind::Hello, b"hello")
}

fn before(frame: Vec<u8>, kind: FrameKind, body: &[u8]) -> Vec<Vec<u8>> {
    let mut put_in = Vec::new();
    sdpp_proto::frame::write_clear(&mut put_in, kind, body);
    vec![put_in, frame]
}

fn rubbish(frame: Vec<u8>) -> Vec<Vec<u8>> {
    vec![vec![0xff; 64], frame]
}

fn too_long(mut frame: Vec<u8>) -> Vec<Vec<u8>> {
    frame[0] = 0xff;
    vec![frame]
}

/// Passes frames on until one side is gone.
async fn pass(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, mut deed: impl FnMut(usize, Vec<u8>) -> Vec<Vec<u8>>) {
    let (mut held, mut piece, mut number) = (Vec::new(), vec![0; 64 * 1024], 0);
    loop {
        while let Ok(Some(header)) = FrameHeader::peek(&held) {
            if held.len() < header.frame_len() {
                break;
            }
            let frame: Vec<u8> = held.drain(..header.frame_len()).collect();
            for bytes in deed(number, frame) {
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            number += 1;
        }
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => held.extend_from_slice(&piece[..length]),
        }
    }
}

/// Somebody on the way to the seller; counts the connections.
async fn meddler(to: SocketAddr, plans: Vec<Plan>) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let made = Arc::new(AtomicU32::new(0));
    let count = made.clone();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst);
            let (plans, to) = (plans.clone(), TcpStream::connect(to).await.unwrap());
            tokio::spawn(async move {
                let deed = |way: Way| {
                    let plans = plans.clone();
                    move |at: usize, frame: Vec<u8>| {
                        let mine = |p: &&Plan| (p.connection, p.way, p.frame) == (number, way, at);
                        plans.iter().find(mine).map_or_else(|| vec![frame.clone()], |p| (p.deed)(frame.clone()))
                    }
                };
                let ((mut client_in, mut client_out), (mut server_in, mut server_out)) =
                    (client.into_split(), to.into_split());
                let up = async {
                    pass(&mut client_in, &mut server_out, deed(Way::ToSeller)).await;
                    let _ = server_out.shutdown().await;
                };
                let down = async {
                    pass(&mut server_in, &mut client_out, deed(Way::ToBuyer)).await;
                    let _ = client_out.shutdown().await;
                };
                tokio::join!(up, down);
            });
        }
    });
    (at, made)
}

/// A sale of a hundred messages over a meddler: whatever it does, each is delivered and paid once.
async fn sold_over(mode: FakeMode, plans: Vec<Plan>, what: &str) -> u32 {
    let world = World::new(mode, product(10), 100);
    let (at, serving) = world.serve().await;
    let (on_the_way, made) = meddler(at, plans).await;
    let buying = Buying::start(&world, on_the_way, world.buyer(2), world.request(100, 4));
    let kept = buying.kept.clone();
    let done = buying.done().await;
    assert_eq!((&done.ended, done.delivered, done.paid), (&Ended::Settled, 100, Amount::new(300)), "{what}");
    let kept = kept.0.lock().unwrap().clone();
    assert!(kept.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq) && kept.len() == 100, "{what}");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(300), "{what}");
    made.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_changed_repeated_or_foreign_frame_costs_a_connection_and_no_order() {
    let deeds: [(&str, Deed); 9] = [
        ("changed", changed),
        ("renumbered", renumbered),
        ("repeated", repeated),
        ("left out", left_out),
        ("a clear refusal put in", refused),
        ("a clear blame put in", blamed),
        ("a hello put in", said_hello),
        ("rubbish put in", rubbish),
        ("a length that is too long", too_long),
    ];
    for (mode, way, (name, deed)) in [FakeMode::Voucher, FakeMode::Direct]
        .into_iter()
        .flat_map(|mode| [Way::ToBuyer, Way::ToSeller].map(|way| (mode, way)))
        .flat_map(|(mode, way)| deeds.map(|deed| (mode, way, deed)))
    {
        // Past the handshake: hello and order' on the one way, menu' and session on the other.
        let plan = Plan { connection: 0, way, frame: 4, deed };
        let what = format!("{mode:?} {way:?} {name}");
        assert_eq!(sold_over(mode, vec![plan], &what).await, 2, "{what}: one connection was lost");
    }
}

/// The same in the handshake of a connection that comes back: the order was paid for, and is not given up.
#[tokio::test]
async fn a_spoilt_handshake_costs_a_resumed_order_nothing() {
    let lost = Plan { connection: 0, way: Way::ToBuyer, frame: 6, deed: rubbish };
    for (way, frame, name) in [
        (Way::ToSeller, 0, "hello"),
        (Way::ToBuyer, 0, "menu'"),
        (Way::ToSeller, 1, "order'"),
        (Way::ToBuyer, 1, "session"),
    ] {
        for deed in [changed as Deed, rubbish, too_long] {
            let plan = Plan { connection: 1, way, frame, deed };
            let what = format!("{name} {way:?}");
            assert_eq!(sold_over(FakeMode::Voucher, vec![lost, plan], &what).await, 3, "{what}");
        }
    }
}

/// Nobody gets further with it than with scissors: after some tries the order waits for better times, with
/// its channel.
#[tokio::test]
async fn an_order_that_is_always_spoilt_is_kept() {
    let world = World::new(FakeMode::Voucher, product(10), 100);
    let (at, serving) = world.serve().await;
    // The first frame behind the handshake: no connection brings anything.
    let plans = (0..100).map(|connection| Plan { connection, way: Way::ToBuyer, frame: 2, deed: changed as Deed });
    let (on_the_way, made) = meddler(at, plans.collect()).await;
    let disk = MemoryDisk::new();
    let settings =
        sdpp::buyer::Settings { reconnect: Reconnect { tries: None, ..quick(0) }, ..world.buyer_settings(2, &disk) };
    let buying = Buying::start(&world, on_the_way, sdpp::buyer::Buyer::new(settings), world.request(100, 4));
    let kept = buying.kept.clone();
    let done = buying.done().await;
    assert_eq!(done.ended, Ended::Offence(Offence::BadSeal));
    assert!(done.parked && !done.closing, "{done:?}");
    assert!(made.load(Ordering::SeqCst) >= 6);
    let buyer = world.buyer_on(2, &disk);
    let known = buyer.orders().await.unwrap();
    assert_ne!(known[0].state, OrderState::Void);
    let (mut sink, stop) = (kept.clone(), world.stop.subscribe());
    let done = buyer.resume(&world.address(at), done.order, &mut sink, stop).await.unwrap();
    assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 100, Amount::new(300)));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Another seller listens where this order's was: it hears nothing of the order, and costs it nothing.
#[tokio::test]
async fn an_order_is_not_given_up_to_whoever_answers_at_its_address() {
    let world = World::new(FakeMode::Voucher, product(10), 100);
    let (at, serving) = world.serve().await;
    let other = Stall::of(77, &world, product(10)).await;
    let spoilt = |(connection, frame)| Plan { connection, way: Way::ToBuyer, frame, deed: rubbish };
    let plans = [(0, 6)].into_iter().chain((1..10).map(|connection| (connection, 0))).map(spoilt);
    let (on_the_way, _) = meddler(at, plans.collect()).await;
    let disk = MemoryDisk::new();
    let buying = Buying::start(&world, on_the_way, world.buyer_on(2, &disk), world.request(100, 4));
    let kept = buying.kept.clone();
    // The first connection is lost in the middle of the sale, and no other comes to anything.
    let lost = buying.done().await;
    assert!(lost.parked, "{lost:?}");
    let answering = async {
        loop {
            let mut crook = other.accept().await;
            let reply = crook.liar.menu_reply();
            crook.liar.send_menu(&reply);
            assert_eq!(crook.error().await, Some(Offence::WrongSeller.code()), "no word about the order");
        }
    };
    let buyer = world.buyer_on(2, &disk);
    let (mut sink, stop) = (kept.clone(), world.stop.subscribe());
    let address = world.address(other.at());
    let astray = tokio::select! {
        () = answering => unreachable!("it goes on for ever"),
        astray = buyer.resume(&address, lost.order, &mut sink, stop.clone()) => astray.unwrap(),
    };
    assert_eq!(astray.ended, Ended::Offence(Offence::WrongSeller));
    assert!(astray.parked && !astray.closing, "{astray:?}");
    let done = buyer.resume(&world.address(at), lost.order, &mut sink, stop).await.unwrap();
    assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 100, Amount::new(300)));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

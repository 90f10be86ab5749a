//! Whatever comes in over a socket ends its own session at most, is counted by its own name, and the
//! seller goes on serving others.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]
#![allow(dead_code, reason = "it uses its part of what the seller's tests share")]

mod kit;
#[path = "seller/rogue.rs"]
mod rogue;
#[path = "seller/tap.rs"]
mod tap;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use kit::*;
use rogue::Rogue;
use sdpp::seller::{Limits, Seller};
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::limits::{FRAME_BODY_MAX, FRAME_HEADER_LEN};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::statement::{Attach, Order, Payment, Product, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{Ask, Control};
use sdpp_rail::fake::FakeMode;
use tap::*;
use tokio::io::AsyncWriteExt;

/// Types of frames, as `spec/protocol.md` §5.1 numbers them.
const HELLO: u8 = 1;
const SEALED: u8 = 7;

/// Where a case has the seller, and itself.
struct Scene<'a> {
    world: &'a World,
    seller: &'a Seller,
    at: SocketAddr,
    /// A buyer of its own.
    buyer: u8,
}

type Act<'a> = Pin<Box<dyn Future<Output = Option<u16>> + 'a>>;

/// One way to be wrong: what it is called, what it does, and what it is called by the seller.
struct Case {
    name: &'static str,
    act: for<'a> fn(&'a Scene<'a>) -> Act<'a>,
    fault: Fault,
}

const fn offence(name: &'static str, act: for<'a> fn(&'a Scene<'a>) -> Act<'a>, offence: Offence) -> Case {
    Case { name, act, fault: Fault::Offence(offence) }
}

async fn raw(scene: &Scene<'_>, bytes: &[u8]) -> Option<u16> {
    let mut rogue = Rogue::connect(scene.at, scene.buyer, scene.buyer).await;
    rogue.liar.line.raw(bytes);
    rogue.error().await
}

fn header(length: u32, kind: u8, counter: u64) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(&counter.to_be_bytes());
    bytes
}

async fn order(scene: &Scene<'_>, change: impl FnOnce(&mut Order)) -> Option<u16> {
    let mut rogue = Rogue::greeted(scene.at, scene.buyer, scene.buyer).await;
    let mut order = rogue.liar.order();
    change(&mut order);
    rogue.liar.send_order(order);
    rogue.error().await
}

async fn attach(scene: &Scene<'_>, change: impl FnOnce(&mut Attach)) -> Option<u16> {
    let mut rogue = Rogue::greeted(scene.at, scene.buyer, scene.buyer).await;
    let order = rogue.liar.order();
    let order = Signed::sign(&rogue.liar.keys.identity, order);
    let mut attach = rogue.liar.attach(order.id(), 1);
    change(&mut attach);
    let attach = Signed::sign(&rogue.liar.keys.identity, attach);
    rogue.liar.send_signed(Some(order), &attach);
    rogue.error().await
}

/// Live, with one message and its invoice.
async fn live(
    scene: &Scene<'_>,
    then: impl FnOnce(&mut Rogue, &Signed<sdpp_proto::statement::Invoice>),
) -> Option<u16> {
    let (mut rogue, invoice) = Rogue::take_one(scene.at, scene.buyer, 1000).await;
    then(&mut rogue, &invoice);
    rogue.error().await
}

async fn payment(scene: &Scene<'_>, change: impl FnOnce(&mut Payment)) -> Option<u16> {
    live(scene, |rogue, invoice| {
        let mut payment = rogue.liar.payment(invoice);
        change(&mut payment);
        rogue.liar.send_payment(payment);
    })
    .await
}

fn before_an_order() -> Vec<Case> {
    vec![
        offence("garbage", |s| Box::pin(raw(s, &[0xff; 300])), Offence::UnknownFrame),
        offence("an http request", |s| Box::pin(raw(s, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")), Offence::UnknownFrame),
        offence(
            "a frame above its limit, by its header alone",
            |s| Box::pin(async { raw(s, &header(u32::MAX, SEALED, 0)).await }),
            Offence::FrameTooLong,
        ),
        offence(
            "a hello above its limit",
            |s| Box::pin(async { raw(s, &header(1025, HELLO, 0)).await }),
            Offence::FrameTooLong,
        ),
        offence(
            "a hello that is none",
            |s| Box::pin(async { raw(s, &[header(3, HELLO, 0), vec![1, 2, 3]].concat()).await }),
            Offence::BadHello,
        ),
        offence(
            "a sealed frame before there is a key",
            |s| {
                Box::pin(async {
                    let sealed = header(FRAME_BODY_MAX as u32, SEALED, 0);
                    raw(s, &[sealed, vec![0; FRAME_BODY_MAX]].concat()).await
                })
            },
            Offence::UnexpectedFrame,
        ),
        offence(
            "an ask for what is not there",
            |s| {
                Box::pin(async {
                    let mut rogue = Rogue::greeted(s.at, s.buyer, s.buyer).await;
                    rogue.liar.send_ask(&Ask { product: 77, quote: None });
                    rogue.error().await
                })
            },
            Offence::BadAsk,
        ),
        offence(
            "an order that does not open",
            |s| {
                Box::pin(async {
                    let mut rogue = Rogue::greeted(s.at, s.buyer, s.buyer).await;
                    let mut sealed = rogue.liar.seal(b"nonsense");
                    sealed.ct[0] ^= 1;
                    rogue.liar.send_sealed(&sealed);
                    rogue.error().await
                })
            },
            Offence::BadSealedOrder,
        ),
    ]
}

fn orders() -> Vec<Case> {
    vec![
        offence("an unknown product", |s| Box::pin(order(s, |order| order.product = 99)), Offence::UnknownProduct),
        offence("an unknown option", |s| Box::pin(order(s, |order| order.option = 99)), Offence::UnknownProduct),
        offence(
            "a menu that never was",
            |s| Box::pin(order(s, |o| o.menu_id = StatementId([1; 32]))),
            Offence::WrongMenu,
        ),
        offence("a menu whose time is over", |s| Box::pin(old_menu(s, false)), Offence::WrongMenu),
        offence("a price that has changed", |s| Box::pin(old_menu(s, true)), Offence::WrongMenu),
        offence(
            "an order past its end",
            |s| Box::pin(order(s, |o| o.until = Timestamp::from_ms(1))),
            Offence::OrderExpired,
        ),
        offence("a quantity of zero", |s| Box::pin(order(s, |order| order.quantity = Some(0))), Offence::BadOrder),
        offence("windows of zero", |s| Box::pin(order(s, |order| order.windows = 0)), Offence::BadOrder),
        offence(
            "more windows than offered",
            |s| Box::pin(order(s, |order| order.windows = 65)),
            Offence::TermsNotOffered,
        ),
        offence("another seller", |s| Box::pin(order(s, |o| o.seller = other_key())), Offence::OrderForAnother),
        offence(
            "a channel where there is none",
            |s| Box::pin(order(s, |o| o.channel = Some(Default::default()))),
            Offence::TermsNotOffered,
        ),
        offence(
            "another conversation",
            |s| Box::pin(attach(s, |a| a.th1 = Bytes32([1; 32]))),
            Offence::WrongTranscript,
        ),
        offence(
            "an attach to another order",
            |s| Box::pin(attach(s, |a| a.order_id = StatementId([1; 32]))),
            Offence::AttachForAnother,
        ),
        offence(
            "an attach to an order that nobody knows",
            |s| {
                Box::pin(async {
                    let mut rogue = Rogue::greeted(s.at, s.buyer, s.buyer).await;
                    let attach = rogue.liar.attach(StatementId([7; 32]), 1);
                    let attach = Signed::sign(&rogue.liar.keys.identity, attach);
                    rogue.liar.send_signed(None, &attach);
                    rogue.error().await
                })
            },
            Offence::UnknownOrder,
        ),
        Case {
            name: "a paused product",
            act: |s| {
                Box::pin(async {
                    s.seller.pause("weather");
                    let told = order(s, |_| {}).await;
                    s.seller.unpause("weather");
                    told
                })
            },
            fault: Fault::Reason(Reason::Paused),
        },
    ]
}

fn other_key() -> PublicKey {
    key(99).public()
}

/// Orders by a menu that a reload has replaced, with the same price or another.
async fn old_menu(scene: &Scene<'_>, dearer: bool) -> Option<u16> {
    let old = scene.seller.menu().unwrap();
    let price = if dearer { 4 } else { 3 };
    let changed = Product { amount: Amount::new(price), ..named("weather", 1) };
    let reload = |product| scene.seller.reload(vec![offer(product, flood())], scene.world.pools, Limits::default());
    assert_ne!(reload(changed).unwrap().id(), old.id());
    let told = order(scene, |order| order.menu_id = old.id()).await;
    reload(named("weather", 1)).unwrap();
    told
}

fn frames_of_sessions() -> Vec<Case> {
    vec![
        offence(
            "garbage in a session",
            |s| Box::pin(live(s, |r, _| r.liar.line.raw(&[0xff; 64]))),
            Offence::UnknownFrame,
        ),
        offence(
            "a frame above its limit in a session",
            |s| Box::pin(live(s, |r, _| r.liar.line.raw(&header(u32::MAX, SEALED, 0)))),
            Offence::FrameTooLong,
        ),
        offence(
            "messages from a buyer",
            |s| Box::pin(live(s, |r, _| r.liar.line.sealed(b"data", &[]))),
            Offence::BadFrame,
        ),
        offence(
            "control items that are none",
            |s| Box::pin(live(s, |r, _| r.liar.line.sealed(&[], b"???"))),
            Offence::BadControl,
        ),
        offence(
            "a frame left out",
            |s| {
                Box::pin(live(s, |r, _| {
                    r.liar.line.skip(1);
                    r.liar.line.control(&Control::Exit);
                }))
            },
            Offence::WrongCounter,
        ),
        offence(
            "another key",
            |s| {
                Box::pin(live(s, |r, _| {
                    r.liar.line.spoil_key();
                    r.liar.line.control(&Control::Exit);
                }))
            },
            Offence::BadSeal,
        ),
        offence(
            "a cut by a buyer",
            |s| Box::pin(live(s, |r, _| r.liar.line.control(&Control::Cut(0)))),
            Offence::UnexpectedControl,
        ),
    ]
}

fn payments() -> Vec<Case> {
    vec![
        offence(
            "a payment of too little",
            |s| Box::pin(payment(s, |p| p.total = Amount::new(1))),
            Offence::PaymentTotal,
        ),
        offence(
            "a payment of no invoice",
            |s| Box::pin(payment(s, |p| p.invoice_id = StatementId([9; 32]))),
            Offence::PaymentInvoice,
        ),
        offence(
            "a payment out of the chain",
            |s| Box::pin(payment(s, |p| p.prev = StatementId([9; 32]))),
            Offence::PaymentChain,
        ),
        offence(
            "a payment of another order",
            |s| Box::pin(payment(s, |p| p.order_id = StatementId([9; 32]))),
            Offence::PaymentForAnother,
        ),
        offence(
            "a payment that the rail does not know",
            |s| Box::pin(payment(s, |p| p.proof = Some(vec![1; 32]))),
            Offence::PaymentRefused,
        ),
    ]
}

#[tokio::test]
async fn whatever_comes_in_ends_its_own_session_and_is_counted_by_its_name() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    // Somebody honest is served all the while.
    let witness = Buying::start(&world, at, world.buyer(2), world.request(1_000_000_000, 64));
    let cases = [before_an_order(), orders(), frames_of_sessions(), payments()];
    for (number, case) in (10u8..).zip(cases.into_iter().flatten()) {
        let count = || {
            let totals = seller.status().totals;
            let sum: u64 = totals.offences.values().chain(totals.refusals.values()).sum();
            let own = match case.fault {
                Fault::Offence(offence) => totals.offences.get(&offence).copied(),
                Fault::Reason(reason) => totals.refusals.get(&reason).copied(),
            };
            (sum, own.unwrap_or(0))
        };
        let before = count();
        let scene = Scene { world: &world, seller: &seller, at, buyer: number };
        let told = (case.act)(&scene).await;
        assert_eq!(told.and_then(Fault::of_code), Some(case.fault), "{}", case.name);
        until(|| count().1 > before.1).await;
        assert_eq!(count(), (before.0 + 1, before.1 + 1), "{}: counted once, as what it is", case.name);
        let so_far = witness.count();
        until(|| witness.count() > so_far).await;
    }
    witness.kill().await;
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// A frame that never ends says nothing wrong; its connection is over when it is cut, and nobody is
/// blamed for it.
#[tokio::test]
async fn a_frame_that_is_cut_off_ends_nothing_but_its_connection() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let mut whole = Rogue::connect(at, 3, 3).await;
    let hello = whole.liar.hello();
    whole.liar.send_hello(&hello);
    let bytes = whole.liar.line.take();
    for cut in [1, FRAME_HEADER_LEN - 1, FRAME_HEADER_LEN, bytes.len() - 1] {
        let mut rogue = Rogue::connect(at, 4, 4).await;
        rogue.stream.write_all(&bytes[..cut]).await.unwrap();
        rogue.stream.shutdown().await.unwrap();
        assert_eq!(rogue.error().await, None, "cut at {cut}");
        drop(rogue);
        until(|| seller.status().connections == 1).await;
    }
    let totals = seller.status().totals;
    assert!(totals.offences.is_empty() && totals.refusals.is_empty(), "{totals:?}");
    drop(whole);
    let done = Buying::start(&world, at, world.buyer(2), world.request(50, 4)).done().await;
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 50));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

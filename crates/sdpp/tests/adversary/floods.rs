//! Floods of what does not verify. Each ends its own connection at the first signature and costs no row, no
//! room and no question to a rail; honest buyers are served meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sdpp::seller::Limits;
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec;
use sdpp_proto::limits::CONTROL_ITEMS_MAX;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Ack, Payment, Signed};
use sdpp_proto::wire::{OrderPlain, envelope};
use sdpp_rail::fake::{Call, FakeMode};

use crate::kit::*;
use crate::rogue::Rogue;
use crate::tap::*;

/// What is signed badly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bad {
    Order,
    Attach,
    Payment,
}

impl Bad {
    const ALL: [Self; 3] = [Self::Order, Self::Attach, Self::Payment];

    const fn offence(self) -> Offence {
        match self {
            Self::Order => Offence::BadOrder,
            Self::Attach => Offence::BadAttach,
            Self::Payment => Offence::BadPayment,
        }
    }
}

/// One bad signature of a connection of its own; what it was told.
async fn send_bad(bad: Bad, at: SocketAddr, seed: u8) -> Option<u16> {
    let mut rogue = Rogue::connect(at, 3, seed).await;
    rogue.greet().await?;
    let order = rogue.liar.order();
    let order = Signed::sign(&rogue.liar.keys.identity, order);
    let attach = rogue.liar.attach(order.id(), 1);
    let attach = Signed::sign(&rogue.liar.keys.identity, attach);
    let (mut order_bytes, mut attach_bytes) = (order.bytes().to_vec(), attach.bytes().to_vec());
    match bad {
        Bad::Order => *order_bytes.last_mut().unwrap() ^= 1,
        Bad::Attach => *attach_bytes.last_mut().unwrap() ^= 1,
        Bad::Payment => {
            rogue.liar.send_signed(Some(order), &attach);
            return pay_badly(rogue).await;
        }
    }
    let plain = OrderPlain { order: Some(order_bytes), attach: attach_bytes, ..OrderPlain::default() };
    let sealed = rogue.liar.seal(&codec::encode(&plain));
    rogue.liar.send_sealed(&sealed);
    rogue.error().await
}

/// As many payments as a frame holds, none of them signed by the order's key.
async fn pay_badly(mut rogue: Rogue) -> Option<u16> {
    let invoice = rogue.invoice().await;
    let payment: Payment = rogue.liar.payment(&invoice);
    let bad = Signed::sign(&key(99), payment).erase();
    let mut items = Vec::new();
    (0..CONTROL_ITEMS_MAX).for_each(|_| envelope(&bad).write(&mut items));
    rogue.liar.line.sealed(&[], &items);
    rogue.error().await
}

#[tokio::test]
async fn a_bad_signature_costs_its_sender_a_connection_and_the_seller_one_look() {
    const EACH: u64 = 40;
    let mut world = World::new(FakeMode::Direct, product(10), 0);
    world.limits = Limits { handshakes: 1000, sessions_per_buyer: 1000, ..Limits::default() };
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    // The journal is quiet before an order is accepted, so nobody honest buys yet.
    let calls = || (world.bank.calls(Call::Admit), world.bank.calls(Call::Settle));
    let before = (world.seller_disk.appends(), calls());
    for bad in [Bad::Order, Bad::Attach] {
        for seed in 0..EACH {
            assert_eq!(send_bad(bad, at, seed as u8).await, Some(bad.offence().code()), "{bad:?}");
        }
    }
    until(|| seller.status().connections == 0).await;
    assert_eq!((world.seller_disk.appends(), calls()), before, "no row, and no rail was asked");
    assert!(seller.status().orders.is_empty() && seller.status().strangers.used.is_zero());
    // In a session the first one of a frame ends it: no payment reaches the rail.
    let settled = world.bank.calls(Call::Settle);
    for seed in 0..EACH {
        assert_eq!(send_bad(Bad::Payment, at, seed as u8).await, Some(Offence::BadPayment.code()));
    }
    until(|| seller.status().connections == 0).await;
    assert_eq!(world.bank.calls(Call::Settle), settled);
    let offences = seller.status().totals.offences;
    for bad in Bad::ALL {
        assert_eq!(offences.get(&bad.offence()), Some(&EACH), "{bad:?}: each counted once");
    }
    let done = Buying::start(&world, at, world.buyer(2), world.request(50, 4)).done().await;
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 50));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// A key whose point has small order: anybody could sign for it.
struct SmallOrder;

impl sdpp_proto::crypto::Signer for SmallOrder {
    fn public(&self) -> [u8; 32] {
        let mut point = [0; 32];
        point[0] = 1;
        point
    }

    fn sign(&self, _: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature[0] = 1;
        signature
    }
}

#[tokio::test]
async fn a_key_that_anybody_could_sign_for_buys_nothing() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let identity = sdpp_proto::identity::SigningKey::from_signer(Arc::new(SmallOrder));
    let keys = sdpp_sim::liar::BuyerKeys { identity, pays: key(3) };
    for (attaches, offence) in [(true, Offence::BadAttach), (false, Offence::BadOrder)] {
        let mut rogue = Rogue::connect_as(at, keys.clone(), [3; 32]).await;
        rogue.greet().await.unwrap();
        let order = rogue.liar.order();
        let order = Signed::sign(&keys.identity, order);
        let attach = rogue.liar.attach(order.id(), 1);
        let attach = Signed::sign(if attaches { &keys.identity } else { &keys.pays }, attach);
        rogue.liar.send_signed(Some(order), &attach);
        assert_eq!(rogue.error().await, Some(offence.code()));
    }
    assert!(seller.status().orders.is_empty());
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Good signatures, again and again: acks of one invoice are one row, and what is of no use is not looked at.
#[tokio::test]
async fn a_flood_of_acks_and_payments_fills_no_journal() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let (mut rogue, invoice) = Rogue::take_one(at, 3, 3).await;
    let honest = Buying::start(&world, at, world.buyer(2), world.request(200, 4));
    assert_eq!(honest.done().await.ended, Ended::Settled);
    let before = world.seller_disk.appends();
    let ack = Signed::sign(&key(3), Ack { order_id: invoice.order_id, invoice_id: invoice.id() }).erase();
    for _ in 0..200 {
        let mut items = Vec::new();
        (0..CONTROL_ITEMS_MAX).for_each(|_| envelope(&ack).write(&mut items));
        rogue.liar.line.sealed(&[], &items);
        rogue.say().await;
    }
    crate::rogue::pay(&world, &mut rogue, &invoice).await;
    let paid = rogue.liar.last_payment.clone().unwrap().erase();
    for _ in 0..100 {
        let mut items = Vec::new();
        (0..CONTROL_ITEMS_MAX).for_each(|_| envelope(&paid).write(&mut items));
        rogue.liar.line.sealed(&[], &items);
        rogue.say().await;
    }
    // All of it was read: the next payment behind it is taken.
    let next = rogue.invoice().await;
    crate::rogue::pay(&world, &mut rogue, &next).await;
    rogue.invoice().await;
    let rows = world.seller_disk.appends() - before;
    assert!(rows <= 5, "an ack, two payments and two invoices: {rows} rows");
    drop(rogue);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Attackers on a thread of their own, as fast as the seller lets them.
struct Siege {
    on: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    tried: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Siege {
    /// So many connections at a time, each with at most so many tries a second.
    fn lay(at: SocketAddr, attackers: u8, pause: Duration) -> Self {
        let (on, over, tried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::default());
        let (begins, ends, count): (_, _, Arc<AtomicU64>) = (on.clone(), over.clone(), Arc::clone(&tried));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let attack = async |seed: u8| {
                while !ends.load(Ordering::SeqCst) {
                    tokio::time::sleep(pause).await;
                    if begins.load(Ordering::SeqCst) {
                        let bad = Bad::ALL[usize::from(seed) % 2];
                        assert_eq!(send_bad(bad, at, seed).await, Some(bad.offence().code()));
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
            };
            runtime.block_on(futures_util::future::join_all((0..attackers).map(attack)));
        });
        Self { on, over, tried, thread }
    }

    fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

/// Messages per second of honest buyers, in one round.
async fn round(world: &World, at: SocketAddr, quantity: u64) -> f64 {
    let start = Instant::now();
    let buying: Vec<_> =
        (40..44).map(|seed| Buying::start(world, at, world.buyer(seed), world.request(quantity, 64))).collect();
    for one in buying {
        let done = one.done().await;
        assert_eq!((done.ended, done.delivered), (Ended::Settled, quantity));
    }
    quantity as f64 * 4.0 / start.elapsed().as_secs_f64()
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Calm and flood take turns, so that what else the machine does meets both; the medians are compared.
/// `SDPP_FLOOD=rounds,quantity,pause_us` measures; unset, few and short rounds only show that the honest
/// are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_throughput_holds_under_a_flood_of_bad_signatures() {
    let setting = std::env::var("SDPP_FLOOD").ok();
    let numbers: Vec<u64> = setting.iter().flat_map(|text| text.split(',')).map(|one| one.parse().unwrap()).collect();
    let (rounds, quantity, pause_us) = match numbers[..] {
        [rounds, quantity, pause_us] => (rounds, quantity, pause_us),
        _ => (3, 20_000, 100_000),
    };
    let mut world = World::new(FakeMode::Voucher, product(1000), 0);
    world.limits = Limits { handshakes: 1000, sessions_per_buyer: 1000, ..Limits::default() };
    let seller =
        world.seller(vec![offer(sdpp_proto::statement::Product { message_max: 1000, ..product(1000) }, flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let siege = Siege::lay(at, 8, Duration::from_micros(pause_us));
    // The first round proves the buyers.
    round(&world, at, quantity).await;
    let (mut calm, mut flooded, mut tries) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..rounds {
        calm.push(round(&world, at, quantity).await);
        siege.on.store(true, Ordering::SeqCst);
        let (before, start) = (siege.tried.load(Ordering::SeqCst), Instant::now());
        flooded.push(round(&world, at, quantity).await);
        let tried = siege.tried.load(Ordering::SeqCst) - before;
        tries += tried as f64 / start.elapsed().as_secs_f64();
        siege.on.store(false, Ordering::SeqCst);
        until(|| seller.status().connections == 0).await;
    }
    siege.end();
    let (calm, flooded, tries) = (median(calm), median(flooded), tries / rounds as f64);
    let ratio = flooded / calm;
    if setting.is_some() {
        eprintln!("calm {calm:.0}/s, under {tries:.0} bad signatures a second {flooded:.0}/s: ratio {ratio:.2}");
    }
    // Generous, because the attackers share this machine.
    assert!(ratio > 0.4, "calm {calm:.0}/s, flooded {flooded:.0}/s by {tries:.0} a second");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

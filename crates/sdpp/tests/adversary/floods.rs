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
use tokio::runtime::Handle;

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

/// Where attackers are: another address of this machine.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

/// One bad signature of a connection of its own; what it was told, if it was let in.
async fn send_bad(bad: Bad, at: SocketAddr, seed: u8) -> Option<u16> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((ELSEWHERE, 0).into()).unwrap();
    let keys = sdpp_sim::liar::BuyerKeys { identity: key(3), pays: key(3) };
    let mut rogue = Rogue::over(socket.connect(at).await.unwrap(), keys, [seed; 32]);
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

/// An address that is wrong too often has to wait; nobody else has.
#[tokio::test]
async fn an_address_is_wrong_so_often_a_second_and_no_more() {
    let mut world = World::new(FakeMode::Direct, product(10), 0);
    world.limits = Limits { connections_per_address: 1, loopback_exempt: false, ..Limits::default() };
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let (mut heard, mut refused) = (0, 0);
    while refused == 0 && heard < 50 {
        match send_bad(Bad::Order, at, heard as u8).await {
            Some(told) => {
                assert_eq!(told, Offence::BadOrder.code());
                heard += 1;
            }
            None => refused += 1,
        }
        // It is gone: what is in the way of the next one is that it was wrong.
        until(|| seller.status().connections == 0).await;
    }
    assert!(refused > 0, "wrong {heard} times, and let in again at once");
    assert_eq!(seller.status().totals.offences[&Offence::BadOrder], heard);
    // From another address all is as ever, and that one is let in again later.
    let done = Buying::start(&world, at, world.buyer(2), world.request(50, 4)).done().await;
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 50));
    while send_bad(Bad::Order, at, 99).await.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
    refused: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Siege {
    /// So many connections at a time, each with at most so many tries a second.
    fn lay(at: SocketAddr, attackers: u8, pause: Duration) -> Self {
        let (on, over, tried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::default());
        let (begins, ends, count): (_, _, Arc<AtomicU64>) = (on.clone(), over.clone(), Arc::clone(&tried));
        let turned_away = Arc::new(AtomicU64::new(0));
        let refused = turned_away.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let attack = async |seed: u8| {
                while !ends.load(Ordering::SeqCst) {
                    tokio::time::sleep(pause).await;
                    if begins.load(Ordering::SeqCst) {
                        let bad = Bad::ALL[usize::from(seed) % 2];
                        match send_bad(bad, at, seed).await {
                            Some(told) => assert_eq!(told, bad.offence().code()),
                            None => _ = refused.fetch_add(1, Ordering::SeqCst),
                        }
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
            };
            runtime.block_on(futures_util::future::join_all((0..attackers).map(attack)));
        });
        Self { on, over, tried, refused: turned_away, thread }
    }

    fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

/// Nanoseconds that the seller's thread has worked; none where the system does not say.
async fn worked(seller: &Handle) -> Option<f64> {
    let read = || std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let text = seller.spawn(async move { read() }).await.unwrap()?;
    text.split(' ').next()?.parse().ok()
}

/// One round of honest buyers: messages per second, and seconds that the seller worked.
async fn round(world: &World, (at, seller): (SocketAddr, &Handle), quantity: u64) -> (f64, f64) {
    let (start, before) = (Instant::now(), worked(seller).await);
    let buying: Vec<_> =
        (40..44).map(|seed| Buying::start(world, at, world.buyer(seed), world.request(quantity, 64))).collect();
    for one in buying {
        let done = one.done().await;
        assert_eq!((done.ended, done.delivered), (Ended::Settled, quantity));
    }
    let work = worked(seller).await.zip(before).map_or(f64::NAN, |(after, before)| (after - before) / 1e9);
    (quantity as f64 * 4.0 / start.elapsed().as_secs_f64(), work)
}

/// The medians of both numbers.
fn medians(of: &[(f64, f64)]) -> (f64, f64) {
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    (median(of.iter().map(|one| one.0).collect()), median(of.iter().map(|one| one.1).collect()))
}

/// Bad signatures a second that the seller looks at from one address: its connections, each counted for a second.
const LOOKED_AT: f64 = 64.0;

/// Calm and flood take turns, so that what else the machine does meets both. Attackers and honest buyers
/// share this machine with the seller, so what counts is the seller's own work: what one bad signature takes
/// of it, and what the worst flood of an address leaves of a processor that has nothing but honest work.
/// `SDPP_FLOOD=rounds,quantity,pause_us` measures; unset, there are few and short rounds.
#[test]
fn honest_throughput_holds_under_a_flood_of_bad_signatures() {
    let setting = std::env::var("SDPP_FLOOD").ok();
    let numbers: Vec<u64> = setting.iter().flat_map(|text| text.split(',')).map(|one| one.parse().unwrap()).collect();
    let (rounds, quantity, pause_us) = match numbers[..] {
        [rounds, quantity, pause_us] => (rounds, quantity, pause_us),
        _ => (3, 20_000, 100_000),
    };
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (sellers, buyers) = (runtime(), runtime());
    let product = sdpp_proto::statement::Product { message_max: 1000, ..product(1000) };
    let mut world = World::new(FakeMode::Voucher, product.clone(), 0);
    world.limits = Limits { loopback_exempt: false, ..Limits::default() };
    let (seller, (at, serving)) = sellers.block_on(async {
        let seller = world.seller(vec![offer(product, flood())]).await;
        let listening = world.listen(&seller).await;
        (seller, listening)
    });
    let siege = Siege::lay(at, 8, Duration::from_micros(pause_us));
    let honest = async |quantity| round(&world, (at, sellers.handle()), quantity).await;
    let (calm, flooded, tries) = buyers.block_on(async {
        // The first round proves the buyers.
        honest(quantity).await;
        let (mut calm, mut flooded, mut tries) = (Vec::new(), Vec::new(), Vec::new());
        let looked_at = || siege.tried.load(Ordering::SeqCst) - siege.refused.load(Ordering::SeqCst);
        for _ in 0..rounds {
            calm.push(honest(quantity).await);
            siege.on.store(true, Ordering::SeqCst);
            let (before, start) = (looked_at(), Instant::now());
            flooded.push(honest(quantity).await);
            let tried = (looked_at() - before) as f64;
            tries.push((tried / start.elapsed().as_secs_f64(), tried));
            siege.on.store(false, Ordering::SeqCst);
            until(|| seller.status().connections == 0).await;
        }
        (medians(&calm), medians(&flooded), medians(&tries))
    });
    let refused = siege.refused.load(Ordering::SeqCst);
    siege.end();
    let cost = (flooded.1 - calm.1).max(0.0) / tries.1.max(1.0);
    let holds = 1.0 - cost * LOOKED_AT;
    if setting.is_some() {
        eprintln!(
            "{:.0} bad signatures a second ({refused} turned away): {:.0} -> {:.0} messages/s ({:.2}); one takes {:.0} us of \
             the seller, so a flood from one address leaves {holds:.2} of a processor",
            tries.0,
            calm.0,
            flooded.0,
            flooded.0 / calm.0,
            cost * 1e6
        );
    }
    // Generous; where the system does not count work there is nothing to compare.
    assert!(holds.is_nan() || holds > 0.5, "one bad signature takes {cost:.4} s: {holds:.2} is left");
    world.stop.send(true).unwrap();
    sellers.block_on(serving).unwrap();
}

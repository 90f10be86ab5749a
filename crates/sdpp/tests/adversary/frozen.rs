//! Journals that fail in the middle of a sale: nothing is credited or signed on them, the other side is told,
//! and the order goes on from what was durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sdpp::journal::{Ack, Journal};
use sdpp::seller::{Event, Seller};
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::Bytes32;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Reason};
use sdpp_proto::statement::{Kind, Payment, Signed};
use sdpp_rail::fake::{self, Call, FakeMode, FakeWorld};
use sdpp_rail::{FlushFault, Head, MemoryDisk, MemoryStore, Row, Store, StoreError, StoreReader};
use tokio::sync::mpsc;

use crate::kit::*;
use crate::tap::*;

const FAULTS: [FlushFault; 3] = [FlushFault::Fails, FlushFault::FailsButDurable, FlushFault::Full];
const FROZEN: Ended = Ended::Told(Some(Fault::Reason(Reason::Frozen)));

/// The cumulative amount of the newest payment that a disk holds.
async fn durable(disk: &MemoryDisk) -> Amount {
    let journal = Journal::start(disk.open()).unwrap();
    let mut total = Amount::ZERO;
    for stream in journal.streams(sdpp::journal::ORDERS).await.unwrap() {
        for entry in journal.read(stream).await.unwrap() {
            if let Entry::Statement(statement) = entry
                && statement.kind == Kind::Payment
            {
                total = total.max(Signed::<Payment>::parse(&statement.bytes).unwrap().total);
            }
        }
    }
    total
}

#[tokio::test]
async fn a_seller_whose_journal_fails_credits_nothing_says_so_and_goes_on_after_a_restart() {
    for (mode, fault, after) in [FakeMode::Voucher, FakeMode::Direct]
        .into_iter()
        .flat_map(|mode| FAULTS.map(|fault| (mode, fault)))
        .zip([1, 30, 77, 150, 200, 5])
        .map(|((mode, fault), after)| (mode, fault, after))
    {
        let what = format!("{mode:?} {fault:?} {after}");
        let world = World::new(mode, product(10), 300);
        let (at, serving) = world.serve().await;
        let disk = MemoryDisk::new();
        let buying = Buying::start(&world, at, world.buyer_on(2, &disk), world.request(300, 4));
        until(|| buying.count() > after).await;
        world.seller_disk.fail_next_flush(fault);
        let kept = buying.kept.clone();
        let frozen = buying.done().await;
        assert_eq!(frozen.ended, FROZEN, "{what}");
        assert!(frozen.parked && frozen.delivered < 300, "{what}: {frozen:?}");
        // Whoever comes now is told the same: nothing is accepted on a journal that cannot be written.
        let next = Buying::start(&world, at, world.buyer(3), world.request(10, 4));
        assert_eq!(told(next.task.await.unwrap()), FROZEN, "{what}");
        let credited = || {
            let events = world.seller_events.lock().unwrap();
            events.iter().fold(Amount::ZERO, |most, event| match event {
                Event::Paid { total, .. } => most.max(*total),
                _ => most,
            })
        };
        // Its sessions wait for nothing that cannot come any more.
        world.stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(60), serving).await.expect("a frozen seller ends").unwrap();
        world.stop.send_replace(false);
        world.seller_disk.crash();
        let held = durable(&world.seller_disk).await;
        assert!(credited() <= held, "{what}: {} were credited, {held} are durable", credited());
        let (at, serving) = world.serve().await;
        let (mut sink, stop) = (kept.clone(), world.stop.subscribe());
        let buyer = world.buyer_on(2, &disk);
        let done = buyer.resume(&world.address(at), frozen.order, &mut sink, stop).await.unwrap();
        assert_eq!((&done.ended, done.delivered), (&Ended::Settled, 300), "{what}");
        world.stop.send(true).unwrap();
        serving.await.unwrap();
        assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), done.paid, "{what}: no payment twice, none lost");
        // What the seller had lost of the unpaid is not charged, and is no more than may be outstanding.
        assert!(done.paid >= Amount::new(900 - 4 * 30), "{what}: {}", done.paid);
        let kept = kept.0.lock().unwrap();
        assert!(kept.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq) && kept.len() == 300, "{what}");
    }
}

#[tokio::test]
async fn a_buyer_whose_journal_fails_pays_nothing_more_and_goes_on_after_a_restart() {
    for (mode, fault, after) in [FakeMode::Voucher, FakeMode::Direct]
        .into_iter()
        .flat_map(|mode| FAULTS.map(|fault| (mode, fault)))
        .zip([1, 30, 77, 150, 200, 5])
        .map(|((mode, fault), after)| (mode, fault, after))
    {
        let what = format!("{mode:?} {fault:?} {after}");
        let world = World::new(mode, product(10), 300);
        let (at, serving) = world.serve().await;
        let disk = MemoryDisk::new();
        let buying = Buying::start(&world, at, world.buyer_on(2, &disk), world.request(300, 4));
        until(|| buying.count() > after).await;
        disk.fail_next_flush(fault);
        let kept = buying.kept.clone();
        let frozen = buying.done().await;
        assert_eq!(frozen.ended, Ended::Stopped(Reason::Frozen), "{what}");
        assert!(frozen.parked, "{what}");
        disk.crash();
        let ends = || world.seller_events.lock().unwrap().iter().any(|event| matches!(event, Event::Ended { .. }));
        until(ends).await;
        let buyer = world.buyer_on(2, &disk);
        let (mut sink, stop) = (kept.clone(), world.stop.subscribe());
        let done = buyer.resume(&world.address(at), frozen.order, &mut sink, stop).await.unwrap();
        assert_eq!((&done.ended, done.delivered, done.paid), (&Ended::Settled, 300, Amount::new(900)), "{what}");
        world.stop.send(true).unwrap();
        serving.await.unwrap();
        assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(900), "{what}");
        let kept = kept.0.lock().unwrap();
        assert!(kept.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq) && kept.len() == 300, "{what}");
    }
}

/// A store that takes the thread that commits with it when it is told to, or fails at the end of an order.
struct Dying {
    store: MemoryStore,
    dies: Arc<AtomicBool>,
    takes_ends: bool,
    /// Writers commit by themselves.
    quick: bool,
}

impl StoreReader for Dying {
    fn read(&self, stream: &str, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.store.read(stream, from, rows_max)
    }

    fn head(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.head(key)
    }

    fn heads(&self, prefix: &str, after: Option<&str>, heads_max: usize) -> Result<Vec<Head>, StoreError> {
        self.store.heads(prefix, after, heads_max)
    }
}

impl Store for Dying {
    fn append(&mut self, stream: &str, body: &[u8]) -> Result<u64, StoreError> {
        let is_end = matches!(Entry::from_bytes(body), Ok(Entry::Statement(one)) if one.kind == Kind::Settlement);
        if is_end && !self.takes_ends {
            return Err(StoreError::Full);
        }
        self.store.append(stream, body)
    }

    fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.streams(prefix)
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.put(key, value)
    }

    fn swap(&mut self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError> {
        self.store.swap(key, expected, value)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        assert!(!self.dies.load(Ordering::SeqCst), "the test has the store die");
        self.store.flush()
    }

    fn is_quick(&self) -> bool {
        self.quick
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        self.store.reader()
    }
}

#[tokio::test]
async fn a_commit_that_panics_in_its_writers_thread_fails_the_journal_and_not_the_writer() {
    let dies = Arc::new(AtomicBool::new(true));
    let store = Dying { store: MemoryStore::new(), dies: dies.clone(), takes_ends: true, quick: true };
    let journal = Journal::start(store).unwrap();
    let (done, mut acks) = mpsc::unbounded_channel();
    let write = |id, done: &mpsc::UnboundedSender<Ack>| {
        let entries = [Entry::Salt(Bytes32([1; 32]))];
        journal.write("order/a".to_owned(), &entries, StoreId(id), done);
    };
    // So long that the journal is quiet.
    tokio::time::sleep(Duration::from_millis(5)).await;
    write(0, &done);
    assert!(matches!(acks.try_recv(), Ok(Ack::Failed(_))), "it was in this thread, which has its answer");
    assert!(journal.has_failed());
    dies.store(false, Ordering::SeqCst);
    write(1, &done);
    drop(done);
    while let Some(ack) = acks.recv().await {
        assert!(matches!(ack, Ack::Failed(_)), "{ack:?}");
    }
}

/// Puts a journal on this disk in its place; gives what kills its thread.
fn replace_by_dying(journal: &mut Journal, disk: &MemoryDisk) -> Arc<AtomicBool> {
    let dies = Arc::new(AtomicBool::new(false));
    *journal =
        Journal::start(Dying { store: disk.open(), dies: dies.clone(), takes_ends: true, quick: false }).unwrap();
    dies
}

/// Before silence, or the time of a payment, would have ended it.
const AT_ONCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_session_whose_journals_thread_has_died_ends_at_once_and_goes_on_after_a_restart() {
    for sellers in [true, false] {
        let world = World::new(FakeMode::Direct, product(10), 1000);
        let offers = || vec![offer(named("weather", 1), world_source(1000))];
        // Opened last: opening a disk is a restart of whoever had it open.
        let mut settings = world.seller_settings(offers());
        let kill_seller = replace_by_dying(&mut settings.journal, &world.seller_disk);
        let seller = Seller::start(settings).await.unwrap();
        let (at, serving) = world.listen(&seller).await;
        let disk = MemoryDisk::new();
        let mut settings = world.buyer_settings(2, &disk);
        let kill_buyer = replace_by_dying(&mut settings.journal, &disk);
        let buying = Buying::start(&world, at, sdpp::buyer::Buyer::new(settings), world.request(1000, 4));
        until(|| buying.count() > 50).await;
        if sellers { &kill_seller } else { &kill_buyer }.store(true, Ordering::SeqCst);
        let kept = buying.kept.clone();
        let frozen =
            tokio::time::timeout(AT_ONCE, buying.done()).await.expect("nobody waits for a thread that is gone");
        assert_eq!(frozen.ended, if sellers { FROZEN } else { Ended::Stopped(Reason::Frozen) });
        assert!(frozen.parked && frozen.delivered < 1000, "{frozen:?}");
        if sellers {
            let next = Buying::start(&world, at, world.buyer(3), world.request(10, 4));
            let next = tokio::time::timeout(AT_ONCE, next.task).await.expect("nor does who comes later");
            assert_eq!(told(next.unwrap()), FROZEN);
        }
        serving.abort();
        let _ = serving.await;
        world.seller_disk.crash();
        disk.crash();
        let seller = world.seller(offers()).await;
        let (at, serving) = world.listen(&seller).await;
        let (mut sink, stop) = (kept.clone(), world.stop.subscribe());
        let buyer = world.buyer_on(2, &disk);
        let done = buyer.resume(&world.address(at), frozen.order, &mut sink, stop).await.unwrap();
        assert_eq!((done.ended, done.delivered), (Ended::Settled, 1000));
        world.stop.send(true).unwrap();
        serving.await.unwrap();
        assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), done.paid);
    }
}

#[tokio::test]
async fn an_order_whose_end_is_not_durable_keeps_its_channel_for_the_buyer_that_comes_back() {
    for away in [0, 160] {
        end_is_lost(away).await;
    }
}

/// The rail is away for so many tries to redeem: then who looks after vouchers beside the sales does it.
async fn end_is_lost(away: usize) {
    let world = World::new(FakeMode::Voucher, product(10), 30);
    (0..away).for_each(|_| world.bank.push_fault(Call::Redeem, fake::Fault::REFUSED));
    let offers = || vec![offer(named("weather", 1), world_source(30))];
    let mut settings = world.seller_settings(offers());
    let dies = Arc::new(AtomicBool::new(false));
    settings.journal =
        Journal::start(Dying { store: world.seller_disk.open(), dies, takes_ends: false, quick: false }).unwrap();
    settings.tend_every = Duration::from_millis(20);
    let (at, serving) = world.listen(&Seller::start(settings).await.unwrap()).await;
    let disk = MemoryDisk::new();
    let buying = Buying::start(&world, at, world.buyer_on(2, &disk), world.request(30, 4));
    let kept = buying.kept.clone();
    let frozen = buying.done().await;
    assert_eq!((&frozen.ended, frozen.parked, frozen.paid), (&FROZEN, true, Amount::new(90)));
    // The session redeems, and so does who looks after vouchers beside the sales: neither closes the channel.
    let redeemed = || world.bank.balance("seller", &FakeWorld::asset()) == Amount::new(90);
    until(redeemed).await;
    let looks = world.bank.calls(Call::Outstanding);
    until(|| world.bank.calls(Call::Outstanding) > looks + 3).await;
    world.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(60), serving).await.expect("a frozen seller ends").unwrap();
    world.stop.send_replace(false);
    world.seller_disk.crash();
    let (at, serving) = world.listen(&world.seller(offers()).await).await;
    let (mut sink, stop) = (kept, world.stop.subscribe());
    let done = world.buyer_on(2, &disk).resume(&world.address(at), frozen.order, &mut sink, stop).await.unwrap();
    assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 30, Amount::new(90)));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

fn world_source(messages: u64) -> sdpp::seller::MakeSource {
    Arc::new(move |_| Ok(Box::new(sdpp::source::Repeat::new(b"reading".to_vec(), messages))))
}

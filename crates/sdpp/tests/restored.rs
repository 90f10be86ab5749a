//! Journals that were put back from a backup, over real sockets.
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

use kit::*;
use sdpp::audit::{Bundle, Trust, Verdict};
use sdpp::buyer::{Buyer, Event, Reconnect};
use sdpp::journal::{Journal, ORDERS, note_key, order_stream};
use sdpp::sink::FileSink;
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_rail::fake::{FakeMode, FakeWorld};
use sdpp_rail::{MemoryDisk, Store as _, StoreReader as _};
use tokio::net::TcpListener;

/// What a backup of the disk holds that was made when its order had so many of its rows; notes were
/// made with the first of them.
fn backup(disk: &MemoryDisk, part: impl Fn(usize) -> usize) -> MemoryDisk {
    let (store, copy) = (disk.open(), MemoryDisk::new());
    let mut to = copy.open();
    for stream in store.streams(ORDERS).unwrap() {
        let rows = store.read(&stream, 0, 1 << 20).unwrap();
        for row in &rows[..part(rows.len())] {
            to.append(&stream, &row.body).unwrap();
        }
    }
    to.flush().unwrap();
    copy
}

/// A backup of a journal that is at work: its orders and their notes.
async fn copy(journal: &Journal) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut to = disk.open();
    for stream in journal.streams(ORDERS).await.unwrap() {
        for row in journal.read(stream.clone()).await.unwrap() {
            to.append(&stream, &row.to_bytes()).unwrap();
        }
        let key = stream.replace(ORDERS, "note/");
        let note = journal.note(key.clone()).await.unwrap().unwrap();
        to.put(&key, note.as_bytes()).unwrap();
    }
    to.flush().unwrap();
    disk
}

async fn declare(disk: &MemoryDisk) {
    assert_eq!(Journal::start(disk.open()).unwrap().declare_restored().await.unwrap(), 1);
}

/// What the auditor says of a journal.
async fn audited(disk: &MemoryDisk) -> Verdict {
    let journal = Journal::start(disk.open()).unwrap();
    let stream = journal.streams(ORDERS).await.unwrap().remove(0);
    let mut bundle = Bundle::default();
    for entry in journal.read(stream).await.unwrap() {
        if let Entry::Statement(statement) = entry {
            bundle.statements.push(statement.bytes);
        }
    }
    bundle.audit(&Trust { seller: key(1).public(), log: None }).verdict
}

/// Each order has its own mark and its own note: one that is ordered later is as good as new.
#[tokio::test]
async fn an_order_behind_the_declaration_is_not_restored() {
    let journal = Journal::start(MemoryDisk::new().open()).unwrap();
    let (old, new) = (StatementId([1; 32]), StatementId([2; 32]));
    let write = async |order| {
        let (done, mut acks) = tokio::sync::mpsc::unbounded_channel();
        journal.write(order_stream(&order), &[Entry::Salt(Bytes32(order.0))], StoreId(1), &done);
        acks.recv().await.unwrap();
        journal.put_note(note_key(&order), order.to_string()).await.unwrap();
    };
    write(old).await;
    assert_eq!(journal.declare_restored().await.unwrap(), 1);
    write(new).await;
    assert!(journal.is_restored(&old).await.unwrap() && !journal.is_restored(&new).await.unwrap());
    for order in [old, new] {
        assert_eq!(journal.note(note_key(&order)).await.unwrap(), Some(order.to_string()));
    }
}

#[tokio::test]
async fn a_seller_that_was_restored_settles_what_it_finds_at_the_buyer() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let mut world = World::new(mode, product(10), 5000);
        let (at, serving) = world.serve().await;
        let (disk, heard, sink) = (MemoryDisk::new(), Heard::default(), Kept::default());
        let mut settings = world.buyer_settings(2, &disk);
        settings.listener = heard.listener();
        settings.reconnect = Reconnect { tries: None, ..quick(0) };
        let buying = {
            let (mut sink, address, request) = (sink.clone(), world.address(at), world.request(5000, 4));
            let stop = world.stop.subscribe();
            tokio::spawn(async move { Buyer::new(settings).buy(&address, &request, &mut sink, stop).await })
        };
        heard.until(|event| matches!(event, Event::Paid { total, .. } if total.get() > 600)).await;
        serving.abort();
        let _ = serving.await;
        heard.until(|event| matches!(event, Event::Reconnecting { .. })).await;
        let due = heard.0.lock().unwrap().iter().rev().find_map(|event| match event {
            Event::Invoiced { due, .. } => Some(*due),
            _ => None,
        });
        world.seller_disk = backup(&world.seller_disk, |rows| rows / 3);
        declare(&world.seller_disk).await;
        let serving = world.serve_at(TcpListener::bind(at).await.unwrap()).await;
        let done = buying.await.unwrap().unwrap();
        assert_eq!(done.ended, Ended::Settled, "{mode:?}");
        assert_eq!((Some(done.due), done.paid), (due, done.due), "{mode:?}: what was verified, and nothing more");
        assert!(done.delivered < 5000);
        world.stop.send_replace(true);
        serving.await.unwrap();
        assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), done.paid, "{mode:?}");
        assert_eq!(audited(&disk).await, Verdict::Clean, "{mode:?}: the buyer's journal is whole");
        let own = audited(&world.seller_disk).await;
        assert!(!matches!(own, Verdict::False(_)), "{mode:?}: what is lost makes nobody false: {own:?}");
    }
}

#[tokio::test]
async fn a_seller_whose_journal_is_old_and_not_declared_signs_nothing() {
    let mut world = World::new(FakeMode::Voucher, product(10), 5000);
    let (at, serving) = world.serve().await;
    let (disk, heard) = (MemoryDisk::new(), Heard::default());
    let mut settings = world.buyer_settings(2, &disk);
    settings.listener = heard.listener();
    settings.reconnect = Reconnect { tries: None, ..quick(0) };
    let buying = {
        let (address, request, stop) = (world.address(at), world.request(5000, 4), world.stop.subscribe());
        let mut sink = Kept::default();
        tokio::spawn(async move { Buyer::new(settings).buy(&address, &request, &mut sink, stop).await })
    };
    heard.until(|event| matches!(event, Event::Paid { total, .. } if total.get() > 600)).await;
    serving.abort();
    let _ = serving.await;
    heard.until(|event| matches!(event, Event::Reconnecting { .. })).await;
    world.seller_disk = backup(&world.seller_disk, |rows| rows / 3);
    let serving = world.serve_at(TcpListener::bind(at).await.unwrap()).await;
    let done = buying.await.unwrap().unwrap();
    assert_eq!(done.ended, Ended::Told(Some(Fault::Reason(Reason::Frozen))));
    assert!(done.parked && !done.closing, "it is settled once the seller has declared its journal");
    serving.abort();
    let _ = serving.await;
    declare(&world.seller_disk).await;
    let serving = world.serve_at(TcpListener::bind(at).await.unwrap()).await;
    let (buyer, stop) = (world.buyer_on(2, &disk), world.stop.subscribe());
    let done = buyer.resume(&world.address(at), done.order, &mut Kept::default(), stop).await.unwrap();
    assert_eq!((done.ended, done.paid), (Ended::Settled, done.due));
    world.stop.send_replace(true);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_buyer_that_was_restored_settles_what_it_finds_at_the_seller_and_keeps_its_file() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let world = World::new(mode, product(10), 5000);
        let (at, serving) = world.serve().await;
        let (disk, heard) = (MemoryDisk::new(), Heard::default());
        let path = std::env::temp_dir().join(format!("sdpp-restored-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let mut settings = world.buyer_settings(2, &disk);
        settings.listener = heard.listener();
        let journal = settings.journal.clone();
        let buying = {
            let (address, request, stop) = (world.address(at), world.request(5000, 4), world.stop.subscribe());
            let mut sink = FileSink::open(&path, sdpp::sink::Form::Lines(sdpp::sink::Encoding::Base64)).unwrap();
            tokio::spawn(async move { Buyer::new(settings).buy(&address, &request, &mut sink, stop).await })
        };
        heard.until(|event| matches!(event, Event::Paid { total, .. } if total.get() > 200)).await;
        let old = copy(&journal).await;
        heard.until(|event| matches!(event, Event::Paid { total, .. } if total.get() > 600)).await;
        buying.abort();
        let _ = buying.await;
        let held = std::fs::read(&path).unwrap();
        // Undeclared, it finds out and signs nothing.
        let buyer = world.buyer_on(2, &old);
        let known = buyer.orders().await.unwrap();
        assert!(!known[0].restored);
        let (address, stop) = (world.address(at), world.stop.subscribe());
        let mut sink = FileSink::open(&path, sdpp::sink::Form::Lines(sdpp::sink::Encoding::Base64)).unwrap();
        let refused = buyer.resume(&address, known[0].order, &mut sink, stop.clone()).await.unwrap();
        drop(sink);
        assert_eq!(refused.ended, Ended::Stopped(Reason::Frozen), "{mode:?}");
        assert!(std::fs::read(&path).unwrap().starts_with(&held), "{mode:?}: nor is anything cut off meanwhile");
        drop(buyer);
        declare(&old).await;
        let buyer = world.buyer_on(2, &old);
        assert!(buyer.orders().await.unwrap()[0].restored);
        let mut sink = FileSink::open(&path, sdpp::sink::Form::Lines(sdpp::sink::Encoding::Base64)).unwrap();
        let done = buyer.resume(&address, refused.order, &mut sink, stop).await.unwrap();
        assert_eq!((&done.ended, done.paid), (&Ended::Settled, done.due), "{mode:?}");
        assert!(done.paid >= Amount::new(600) && done.delivered < 5000);
        drop(sink);
        assert!(std::fs::read(&path).unwrap().starts_with(&held), "nothing that was paid for is cut off");
        std::fs::remove_file(&path).unwrap();
        world.stop.send_replace(true);
        serving.await.unwrap();
        assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), done.paid, "{mode:?}: no second transfer");
        let own = audited(&old).await;
        assert!(!matches!(own, Verdict::False(_)), "{mode:?}: what is lost makes nobody false: {own:?}");
    }
}

#[tokio::test]
async fn a_buyer_whose_journal_is_older_than_its_last_connections_keeps_its_order_until_that_is_declared() {
    let world = World::new(FakeMode::Voucher, product(10), 5000);
    let (at, serving) = world.serve().await;
    let (disk, address) = (MemoryDisk::new(), world.address(at));
    let mut old = None;
    let mut order = None;
    for _ in 0..4 {
        let heard = Heard::default();
        let mut settings = world.buyer_settings(2, &disk);
        settings.listener = heard.listener();
        let journal = settings.journal.clone();
        let (request, stop, address) = (world.request(5000, 4), world.stop.subscribe(), address.clone());
        let mut sink = Kept::default();
        let buying = tokio::spawn(async move {
            let buyer = Buyer::new(settings);
            match order {
                None => buyer.buy(&address, &request, &mut sink, stop).await,
                Some(order) => buyer.resume(&address, order, &mut sink, stop).await,
            }
        });
        heard.until(|event| matches!(event, Event::Paid { .. })).await;
        if old.is_none() {
            old = Some(copy(&journal).await);
        }
        drop(journal);
        buying.abort();
        let _ = buying.await;
        order = world.buyer_on(2, &disk).orders().await.unwrap().first().map(|known| known.order);
    }
    let (old, order, stop) = (old.unwrap(), order.unwrap(), world.stop.subscribe());
    let refused = world.buyer_on(2, &old).resume(&address, order, &mut Kept::default(), stop.clone()).await.unwrap();
    assert_eq!(refused.ended, Ended::Told(Some(Fault::Offence(Offence::StaleAttach))));
    assert!(refused.parked && !refused.closing, "its channel is kept");
    declare(&old).await;
    let done = world.buyer_on(2, &old).resume(&address, order, &mut Kept::default(), stop).await.unwrap();
    assert_eq!((&done.ended, done.paid), (&Ended::Settled, done.due));
    world.stop.send_replace(true);
    serving.await.unwrap();
}

//! The writer: many callers, crashes, restarts.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::*;
use sdpp_ledger::entry::Record;
use sdpp_ledger::{Body, Entry, Fold, LedgerHost as _, LedgerService, LocalLedger, Refusal, ServiceError, StartError};
use sdpp_log::{Checkpoint, Note, verify_inclusion};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::Form;
use sdpp_rail::{FlushFault, Head, MemoryDisk, MemoryStore, Row, Store, StoreError, StoreReader};

fn checkpoint(ledger: &LocalLedger) -> Checkpoint {
    let note = block_on(ledger.checkpoint()).unwrap();
    Checkpoint::parse(Note::parse(note.as_bytes()).unwrap().text()).unwrap()
}

#[test]
fn an_answer_names_the_place_and_the_tree_proves_it() {
    let ledger = fresh_ledger();
    assert_eq!(checkpoint(&ledger).size(), 0, "a new log is signed before its first entry");
    let entry = issue(PAYER, 100, 1);
    let place = submit(&ledger, &entry).unwrap();
    // A tick stands before the first entry.
    assert_eq!((place.index, place.id), (1, entry.id()));
    let head = checkpoint(&ledger);
    assert_eq!(head.size(), 2);
    let stored = block_on(ledger.entries(1, 10)).unwrap();
    assert_eq!(stored, [entry.bytes().to_vec()]);
    let proof = block_on(ledger.inclusion(1, 2)).unwrap();
    verify_inclusion(&sdpp_log::leaf_hash(&stored[0]), 1, 2, &proof, &head.root()).unwrap();
    assert_eq!(block_on(ledger.entries(2, 1)), Err(ServiceError::OutOfRange));
    assert_eq!(block_on(ledger.inclusion(2, 2)), Err(ServiceError::OutOfRange));
    assert_eq!(block_on(ledger.consistency(1, 3)), Err(ServiceError::OutOfRange));
}

#[test]
fn a_known_entry_gives_its_first_place_and_no_news() {
    let ledger = fresh_ledger();
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let first = submit(&ledger, &transfer(PAYER, PAYEE, 10, 1)).unwrap();
    let before = block_on(ledger.checkpoint()).unwrap();
    assert_eq!(submit(&ledger, &transfer(PAYER, PAYEE, 10, 1)), Ok(first));
    let statement = voucher(channel(1), 1).erase();
    let record = |seed, form| entry(seed, Body::Record(Record::of(&statement, form)));
    let recorded = submit(&ledger, &record(PAYER, Form::Full)).unwrap();
    assert_ne!(block_on(ledger.checkpoint()).unwrap(), before);
    let before = block_on(ledger.checkpoint()).unwrap();
    assert_eq!(submit(&ledger, &record(PAYEE, Form::Full)), Ok(recorded));
    assert_eq!(submit(&ledger, &record(PAYER, Form::Hash)), Ok(recorded));
    assert_eq!(block_on(ledger.checkpoint()).unwrap(), before);
    assert_eq!(balance(&client(ledger), PAYEE), 10);
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let ledger = fresh_ledger();
    let refusal = |entry: &Entry| submit(&ledger, entry).unwrap_err();
    assert_eq!(refusal(&transfer(PAYER, PAYEE, 1, 1)), ServiceError::Refused(Refusal::InsufficientFunds));
    let foreign = Entry::sign(&test_key(ISSUER), "other.example", issue(PAYER, 1, 1).body().clone());
    assert_eq!(refusal(&foreign), ServiceError::Refused(Refusal::OtherLog));
    let mut forged = issue(PAYER, 1, 1).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let answer = block_on(ledger.submit(&forged));
    assert_eq!(answer, Err(ServiceError::Refused(Refusal::BadSignature)));
    assert_eq!(checkpoint(&ledger).size(), 0);
}

#[test]
fn the_same_money_is_spent_once_by_sixteen_threads() {
    let ledger = fresh_ledger();
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let accepted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..16u64 {
            let (ledger, accepted) = (ledger.clone(), &accepted);
            scope.spawn(move || {
                for round in 0..8 {
                    match submit(&ledger, &transfer(PAYER, PAYEE, 30, number * 8 + round)) {
                        Ok(_) => drop(accepted.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => assert_eq!(error, ServiceError::Refused(Refusal::InsufficientFunds)),
                    }
                }
            });
        }
    });
    assert_eq!(accepted.into_inner(), 3);
    let client = client(ledger);
    assert_eq!((balance(&client, PAYER), balance(&client, PAYEE)), (10, 90));
    assert_eq!(block_on(client.look(Fold::conservation)), Ok(None));
}

#[test]
fn one_reference_is_used_once_by_sixteen_threads() {
    let ledger = fresh_ledger();
    submit(&ledger, &issue(PAYER, 1000, 1)).unwrap();
    let places: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let ledger = ledger.clone();
                scope.spawn(move || submit(&ledger, &transfer(PAYER, PAYEE, 7, 1)).unwrap())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    assert_eq!(balance(&client(ledger), PAYEE), 7);
}

/// A disk that takes its time: as long as somebody holds the gate, and 20 ms. After so many more appends one fails,
/// and nothing else does.
struct Slow(MemoryStore, Arc<Mutex<()>>, Arc<AtomicUsize>);

impl StoreReader for Slow {
    fn read(&self, stream: &str, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.0.read(stream, from, rows_max)
    }
    fn head(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.head(key)
    }
    fn heads(&self, prefix: &str, after: Option<&str>, heads_max: usize) -> Result<Vec<Head>, StoreError> {
        self.0.heads(prefix, after, heads_max)
    }
}

impl Store for Slow {
    fn append(&mut self, stream: &str, body: &[u8]) -> Result<u64, StoreError> {
        let last = self.2.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if last == Ok(1) { Err(StoreError::Failed("this once".to_owned())) } else { self.0.append(stream, body) }
    }
    fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.0.streams(prefix)
    }
    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.0.put(key, value)
    }
    fn swap(&mut self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError> {
        self.0.swap(key, expected, value)
    }
    fn flush(&mut self) -> Result<(), StoreError> {
        drop(self.1.lock());
        thread::sleep(Duration::from_millis(20));
        self.0.flush()
    }
    fn is_quick(&self) -> bool {
        false
    }
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        self.0.reader()
    }
}

#[test]
fn many_entries_share_a_flush() {
    let disk = MemoryDisk::new();
    let ledger = ledger(&Hand::new(), Slow(disk.open(), Arc::default(), Arc::default()));
    submit(&ledger, &issue(PAYER, 100_000, 1)).unwrap();
    let before = disk.flushes();
    let entries: Vec<_> = (0..500).map(|number| transfer(PAYER, PAYEE, 1, number)).collect();
    let mut waiting: Vec<_> = entries.iter().map(|entry| ledger.submit(entry.bytes())).collect();
    // The first poll puts each into the queue; only then does anybody wait.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut answers = 0;
    waiting.retain_mut(|answer| match answer.as_mut().poll(&mut context) {
        std::task::Poll::Ready(answer) => {
            answers += usize::from(answer.is_ok());
            false
        }
        std::task::Poll::Pending => true,
    });
    for answer in waiting {
        block_on(answer).unwrap();
        answers += 1;
    }
    assert_eq!(answers, 500);
    assert!(disk.flushes() - before < 25, "{} flushes for 500 entries", disk.flushes() - before);
}

#[test]
fn a_full_queue_says_so_and_loses_nothing() {
    let gate = Arc::new(Mutex::new(()));
    let ledger = ledger(&Hand::new(), Slow(MemoryStore::new(), gate.clone(), Arc::default()));
    submit(&ledger, &issue(PAYER, 100_000, 1)).unwrap();
    let held = gate.lock().unwrap();
    let count = sdpp_ledger::limits::QUEUE_MAX + sdpp_ledger::limits::GROUP_MAX + 100;
    let entries: Vec<_> = (0..count).map(|number| transfer(PAYER, PAYEE, 1, number as u64)).collect();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let (mut waiting, mut turned_away) = (Vec::new(), 0);
    for entry in &entries {
        let mut answer = ledger.submit(entry.bytes());
        match answer.as_mut().poll(&mut context) {
            std::task::Poll::Pending => waiting.push(answer),
            std::task::Poll::Ready(answer) => {
                assert_eq!(answer, Err(ServiceError::Unavailable), "nothing was done: come back");
                turned_away += 1;
            }
        }
    }
    assert!(turned_away > 0 && waiting.len() >= sdpp_ledger::limits::QUEUE_MAX, "{turned_away} turned away");
    drop(held);
    let taken = waiting.len();
    for answer in waiting {
        block_on(answer).expect("whoever was let in is served");
    }
    assert_eq!(balance(&client(ledger), PAYEE), taken as u128);
}

#[test]
fn a_restart_gives_the_same_root_and_balances() {
    let (disk, hand) = (MemoryDisk::new(), Hand::new());
    let before = ledger(&hand, disk.open());
    submit(&before, &issue(PAYER, 100, 1)).unwrap();
    submit(&before, &open(40, 500, 1)).unwrap();
    submit(&before, &redeem(channel(1), 15)).unwrap();
    hand.pass(5000);
    submit(&before, &entry(PAYER, Body::RequestClose(channel(1)))).unwrap();
    let (note, state) = (block_on(before.checkpoint()).unwrap(), client(before.clone()));
    block_on(state.follow()).unwrap();
    before.stop();
    assert_eq!(submit(&before, &issue(PAYER, 1, 2)), Err(ServiceError::Frozen), "stopped is stopped");

    let after = ledger(&hand, disk.open());
    assert_eq!(block_on(after.checkpoint()).unwrap(), note);
    let again = client(after.clone());
    block_on(again.follow()).unwrap();
    let fold = block_on(state.look(Fold::dump)).unwrap();
    assert_eq!(block_on(again.look(Fold::dump)).unwrap(), fold);
    // And it goes on where it was: the grace period has run.
    hand.pass(500);
    submit(&after, &entry(STRANGER, Body::Close(channel(1)))).unwrap();
    assert_eq!((balance(&again, PAYER), balance(&again, PAYEE)), (85, 15));
}

#[test]
fn a_crash_takes_only_what_nobody_was_told() {
    let (disk, hand) = (MemoryDisk::new(), Hand::new());
    let before = ledger(&hand, disk.open());
    let place = submit(&before, &issue(PAYER, 100, 1)).unwrap();
    disk.fail_next_flush(FlushFault::Fails);
    let lost = transfer(PAYER, PAYEE, 10, 1);
    assert_eq!(submit(&before, &lost), Err(ServiceError::Unknown));
    // Frozen: nothing more is taken, what was durable can still be read.
    assert_eq!(submit(&before, &transfer(PAYER, PAYEE, 10, 2)), Err(ServiceError::Frozen));
    assert_eq!(checkpoint(&before).size(), 2);
    assert_eq!(block_on(before.entries(1, 1)).unwrap().len(), 1);
    before.stop();

    let after = ledger(&hand, disk.open());
    assert_eq!(checkpoint(&after).size(), 2);
    assert_eq!(submit(&after, &issue(PAYER, 100, 1)), Ok(place));
    submit(&after, &lost).expect("the same entry again tells what became of it");
    assert_eq!(balance(&client(after), PAYEE), 10);
}

#[test]
fn a_read_that_fails_inside_a_group_loses_nothing_that_was_told() {
    let (disk, hand) = (MemoryDisk::new(), Hand::new());
    let gate = Arc::new(Mutex::new(()));
    let ledger = ledger(&hand, Slow(disk.open(), gate.clone(), Arc::default()));
    let kept = submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    // A group is held at its flush, so that the next ones come together.
    let held = gate.lock().unwrap();
    let entries: Vec<_> = (0..6).map(|number| transfer(PAYER, PAYEE, 1, number)).collect();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut waiting: Vec<_> = entries.iter().map(|entry| ledger.submit(entry.bytes())).collect();
    for answer in &mut waiting {
        assert!(answer.as_mut().poll(&mut context).is_pending());
    }
    // The medium fails under a look-up of a later group, which has taken an entry by then or not.
    disk.fail_next_read(StoreError::Failed("medium".to_owned()));
    drop(held);
    let answers: Vec<_> = waiting.into_iter().map(block_on).collect();
    assert!(answers.iter().any(Result::is_err), "{answers:?}");
    ledger.stop();
    let after = common::ledger(&hand, disk.open());
    assert_eq!(submit(&after, &issue(PAYER, 100, 1)), Ok(kept));
    for (entry, answer) in entries.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
        let told = answer.as_ref().unwrap();
        let stored = block_on(after.entries(told.index, 1)).unwrap();
        assert_eq!(stored, [entry.bytes().to_vec()], "what was told is there");
    }
    assert_eq!(block_on(client(after).look(Fold::conservation)), Ok(None));
}

#[test]
fn a_group_that_is_not_whole_is_not_flushed_even_if_the_disk_could() {
    let (disk, hand, fails) = (MemoryDisk::new(), Hand::new(), Arc::new(AtomicUsize::new(0)));
    let before = ledger(&hand, Slow(disk.open(), Arc::default(), fails.clone()));
    submit(&before, &issue(PAYER, 100, 1)).unwrap();
    // A tick stands before the transfer; its own row is the second.
    hand.pass(2_000);
    fails.store(2, Ordering::SeqCst);
    let transfer = transfer(PAYER, PAYEE, 10, 1);
    assert_eq!(submit(&before, &transfer), Err(ServiceError::Unknown));
    assert_eq!(submit(&before, &transfer), Err(ServiceError::Frozen));
    before.stop();
    let after = ledger(&hand, disk.open());
    assert_eq!(checkpoint(&after).size(), 2, "neither the tick nor half a transfer");
    assert_eq!(block_on(after.balance(&coin(), &public(PAYEE))).unwrap(), Amount::ZERO);
    submit(&after, &transfer).expect("it is not known");
}

#[test]
fn a_flush_that_failed_but_was_durable_is_found_again() {
    let (disk, hand) = (MemoryDisk::new(), Hand::new());
    let before = ledger(&hand, disk.open());
    submit(&before, &issue(PAYER, 100, 1)).unwrap();
    disk.fail_next_flush(FlushFault::FailsButDurable);
    assert_eq!(submit(&before, &transfer(PAYER, PAYEE, 10, 1)), Err(ServiceError::Unknown));
    assert_eq!(checkpoint(&before).size(), 2, "nothing is shown that may not be durable");
    before.stop();
    let after = ledger(&hand, disk.open());
    assert_eq!(submit(&after, &transfer(PAYER, PAYEE, 10, 1)).unwrap().index, 2);
    assert_eq!(balance(&client(after), PAYEE), 10, "once");
}

#[test]
fn a_store_that_was_tampered_with_does_not_start() {
    let start = |store: MemoryStore| LocalLedger::start(config(&Hand::new(), Vec::new()), Box::new(store)).err();
    let disk = MemoryDisk::new();
    let before = ledger(&Hand::new(), disk.open());
    submit(&before, &issue(PAYER, 100, 1)).unwrap();
    before.stop();
    let mut store = disk.open();
    store.append("ledger/entries", transfer(PAYER, PAYEE, 1000, 1).bytes()).unwrap();
    assert_eq!(start(store), Some(StartError::WrongCheckpoint), "an entry that was never signed for");
    assert_eq!(start(disk.open()), None);
    // The head of another log of this key, as long as this one; then no head at all.
    let other = MemoryDisk::new();
    let another = ledger(&Hand::new(), other.open());
    submit(&another, &issue(PAYER, 200, 2)).unwrap();
    another.stop();
    let head = other.open().head("ledger/checkpoint").unwrap().unwrap();
    let mut store = disk.open();
    store.put("ledger/checkpoint", &head).unwrap();
    assert_eq!(start(store), Some(StartError::WrongCheckpoint), "a tree that was never signed for");
    let (from, mut bare) = (disk.open(), MemoryStore::new());
    for stream in from.streams("").unwrap() {
        for row in from.read(&stream, 0, 9).unwrap() {
            bare.append(&stream, &row.body).unwrap();
        }
    }
    for (key, value) in from.heads("", None, 99).unwrap().into_iter().filter(|(key, _)| key != "ledger/checkpoint") {
        bare.put(&key, &value).unwrap();
    }
    assert_eq!(start(bare), Some(StartError::WrongCheckpoint), "entries, and nobody who signs for them");
    let mut bad = config(&Hand::new(), Vec::new());
    bad.origin = "two words".into();
    assert_eq!(LocalLedger::start(bad, Box::new(MemoryStore::new())).err(), Some(StartError::BadOrigin));
}

#[test]
fn time_is_logged_with_news_and_on_demand() {
    let hand = Hand::new();
    let ledger = ledger(&hand, MemoryStore::new());
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    hand.pass(1000);
    submit(&ledger, &issue(PAYER, 100, 2)).unwrap();
    assert_eq!(checkpoint(&ledger).size(), 3, "one second is not yet long");
    hand.pass(1);
    submit(&ledger, &issue(PAYER, 100, 3)).unwrap();
    assert_eq!(checkpoint(&ledger).size(), 5, "a tick stands before the news");
    hand.pass(1);
    let place = block_on(ledger.tick()).unwrap();
    assert_eq!(place.index, 5);
    // The clock stands: the last tick is known.
    assert_eq!(block_on(ledger.tick()).unwrap().index, 5);
    hand.pass(60_000);
    submit(&ledger, &transfer(STRANGER, PAYEE, 1, 1)).unwrap_err();
    assert_eq!(checkpoint(&ledger).size(), 6, "no news, no tick");
    submit(&ledger, &open(10, 500, 1)).unwrap();
    submit(&ledger, &entry(PAYER, Body::RequestClose(channel(1)))).unwrap();
    let before = checkpoint(&ledger).size();
    hand.pass(499);
    submit(&ledger, &entry(PAYER, Body::Close(channel(1)))).unwrap_err();
    assert_eq!(checkpoint(&ledger).size(), before, "the grace runs: a tick would not end it");
    hand.pass(1);
    submit(&ledger, &entry(PAYER, Body::Close(channel(1)))).unwrap();
    assert_eq!(checkpoint(&ledger).size(), before + 2, "a tick ends it");
}

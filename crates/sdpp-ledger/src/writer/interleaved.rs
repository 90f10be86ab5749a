//! The writer, the publisher and everybody who asks them, under many interleavings: what was acknowledged is in the log,
//! money is spent once, and an end is an end. `shuttle` decides after every step of a lock or channel who goes on.
#![allow(clippy::arithmetic_side_effects, clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sdpp_log::Hash;
use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::Amount;
use sdpp_proto::time::Timestamp;
use sdpp_rail::{FlushFault, MemoryDisk};
use shuttle::future::block_on;
use zeroize::Zeroizing;

use super::LocalLedger;
use crate::entry::{Body, Entry, Issue, Transfer, asset_id};
use crate::keys::log_key;
use crate::ledger::LedgerConfig;
use crate::refusal::Refusal;
use crate::service::{LedgerService, ServiceError, Submitted};
use crate::sync::{interleave, thread};
use crate::witness::{Cosigning, Witness, WitnessError, WitnessService};

const ORIGIN: &str = "ledger.example/interleaved";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

/// Signed once, because interleavings are many.
struct Entries {
    issue: Vec<u8>,
    /// Each takes all that there is.
    double: Vec<Vec<u8>>,
    /// There is enough for each.
    small: Vec<Vec<u8>>,
}

fn entries() -> Arc<Entries> {
    let coin = asset_id("coin", &public(2));
    let reference = |number| Bytes32([number; 32]);
    let sign = |seed, body| Entry::sign(&key(seed), ORIGIN, body).bytes().to_vec();
    let transfer = |amount, number| {
        let (to, asset) = (public(4), coin.clone());
        sign(3, Body::Transfer(Transfer { to, asset, amount: Amount::new(amount), reference: reference(number) }))
    };
    let issue = Issue { symbol: "coin".into(), to: public(3), amount: Amount::new(100), reference: reference(1) };
    Arc::new(Entries {
        issue: sign(2, Body::Issue(issue)),
        double: (0..3).map(|number| transfer(100, number)).collect(),
        small: (10..14).map(|number| transfer(10, number)).collect(),
    })
}

fn config(witnesses: Vec<Arc<dyn WitnessService>>) -> LedgerConfig {
    let clock = Arc::new(|| Timestamp::from_ms(1_000_000));
    LedgerConfig { witnesses, ..LedgerConfig::new(ORIGIN, key(1), clock) }
}

/// A ledger in which one account has 100.
fn funded(entries: &Entries, witnesses: Vec<Arc<dyn WitnessService>>) -> (MemoryDisk, LocalLedger) {
    let disk = MemoryDisk::new();
    let ledger = LocalLedger::start(config(witnesses), Box::new(disk.open())).unwrap();
    block_on(ledger.submit(&entries.issue)).unwrap();
    (disk, ledger)
}

type Came = Result<Submitted, ServiceError>;

/// Submits on a thread of its own. What was acknowledged can be read in the published log at once.
fn submit(ledger: &LocalLedger, entry: &[u8]) -> thread::JoinHandle<Came> {
    let (ledger, entry) = (ledger.clone(), entry.to_vec());
    thread::spawn(move || {
        let came = block_on(ledger.submit(&entry));
        if let Ok(submitted) = &came {
            let page = block_on(ledger.entries(submitted.index, 1)).unwrap();
            assert_eq!(page, [entry], "acknowledged and not in the log");
        }
        came
    })
}

fn all(threads: Vec<thread::JoinHandle<Came>>) -> Vec<Came> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// After a power cut: what the log has, looked at by a ledger that was started again.
fn after_a_crash(disk: &MemoryDisk) -> Vec<Vec<u8>> {
    disk.crash();
    let ledger = LocalLedger::start(config(Vec::new()), Box::new(disk.open())).unwrap();
    let found = block_on(ledger.entries(0, 100)).unwrap();
    ledger.stop();
    found
}

#[test]
fn of_three_writers_of_one_double_spend_exactly_one_wins() {
    let entries = entries();
    interleave(150, move || {
        let (disk, ledger) = funded(&entries, Vec::new());
        let came = all(entries.double.iter().map(|entry| submit(&ledger, entry)).collect());
        let won = came.iter().filter(|came| came.is_ok()).count();
        assert_eq!(won, 1, "{came:?}");
        let lost = Err(ServiceError::Refused(Refusal::InsufficientFunds));
        assert!(came.iter().all(|came| came.is_ok() || *came == lost), "{came:?}");
        ledger.stop();
        let found = after_a_crash(&disk);
        for (entry, came) in entries.double.iter().zip(&came) {
            assert_eq!(found.contains(entry), came.is_ok(), "the winner and no other is in the log");
        }
    });
}

#[test]
fn one_entry_has_one_place_whoever_submits_it() {
    let entries = entries();
    interleave(100, move || {
        let (_, ledger) = funded(&entries, Vec::new());
        let one = entries.small.first().unwrap();
        let came = all((0..3).map(|_| submit(&ledger, one)).collect());
        let places: Vec<_> = came.iter().map(|came| came.as_ref().unwrap().index).collect();
        assert!(places.windows(2).all(|pair| pair.first() == pair.last()), "{places:?}");
        ledger.stop();
    });
}

/// Whoever is told that nothing was done is right, whoever has an answer is right, and all are told something.
fn answers_are_true(entries: &[Vec<u8>], came: &[Came], found: &[Vec<u8>]) {
    for (entry, came) in entries.iter().zip(came) {
        match came {
            Ok(submitted) => {
                let at = usize::try_from(submitted.index).unwrap();
                assert_eq!(found.get(at), Some(entry), "acknowledged and lost");
            }
            Err(ServiceError::Frozen | ServiceError::Unavailable) => {
                assert!(!found.contains(entry), "said to be left undone, and in the log");
            }
            Err(ServiceError::Unknown) => {}
            Err(ServiceError::Refused(_) | ServiceError::OutOfRange) => panic!("{came:?}"),
        }
    }
}

#[test]
fn an_end_answers_everybody_and_always_comes() {
    let entries = entries();
    interleave(150, move || {
        let (disk, ledger) = funded(&entries, Vec::new());
        let submitting = entries.small.iter().map(|entry| submit(&ledger, entry)).collect();
        let stopping = [ledger.clone(), ledger.clone()].map(|ledger| thread::spawn(move || ledger.stop()));
        let came = all(submitting);
        stopping.into_iter().for_each(|thread| thread.join().unwrap());
        let late = block_on(ledger.submit(entries.double.first().unwrap()));
        assert_eq!(late, Err(ServiceError::Frozen), "nothing is taken behind the end");
        answers_are_true(&entries.small, &came, &after_a_crash(&disk));
    });
}

#[test]
fn the_last_handle_ends_it_too() {
    let entries = entries();
    interleave(100, move || {
        let (disk, ledger) = funded(&entries, Vec::new());
        let threads = std::mem::take(&mut *ledger.threads.lock().unwrap());
        let submitting = entries.small.iter().map(|entry| submit(&ledger, entry)).collect();
        drop(ledger);
        let came = all(submitting);
        assert!(came.iter().all(Result::is_ok), "whoever asks holds a handle: {came:?}");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        answers_are_true(&entries.small, &came, &after_a_crash(&disk));
    });
}

#[test]
fn a_flush_that_fails_acknowledges_nothing_that_is_lost() {
    let entries = entries();
    for fault in [FlushFault::Fails, FlushFault::FailsButDurable] {
        let entries = entries.clone();
        interleave(100, move || {
            let (disk, ledger) = funded(&entries, Vec::new());
            let (breaking, before) = (disk.clone(), submit(&ledger, entries.small.first().unwrap()));
            let breaks = thread::spawn(move || breaking.fail_next_flush(fault));
            let behind = entries.small.iter().skip(1).map(|entry| submit(&ledger, entry));
            let came = all([before].into_iter().chain(behind).collect());
            breaks.join().unwrap();
            ledger.stop();
            answers_are_true(&entries.small, &came, &after_a_crash(&disk));
        });
    }
}

/// An honest witness that learns of another log of the same name after so many cosignatures.
struct Turns {
    honest: Witness,
    asked: AtomicUsize,
    after: usize,
}

impl WitnessService for Turns {
    fn cosign<'a>(&'a self, old: u64, proof: &'a [Hash], note: &'a str) -> Cosigning<'a> {
        // Its answer comes later than the question.
        thread::yield_now();
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.after {
            return self.honest.cosign(old, proof, note);
        }
        let known = sdpp_log::Refusal::Conflict { known_size: 1_000 };
        Box::pin(std::future::ready(Err(WitnessError::Refused(known))))
    }
}

#[test]
fn a_ledger_that_learns_of_another_one_acknowledges_nothing_from_then_on() {
    let entries = entries();
    interleave(100, move || {
        let clock = Arc::new(|| Timestamp::from_ms(1_000_000));
        let logs = [log_key(ORIGIN, &key(1)).unwrap()];
        let store = Box::new(MemoryDisk::new().open());
        let honest = Witness::start("witness.example", key(50), clock, store, &logs).unwrap();
        // The start and the issue are cosigned; of what follows one more group at most.
        let witness = Arc::new(Turns { honest, asked: AtomicUsize::new(0), after: 3 });
        let (disk, ledger) = funded(&entries, vec![witness.clone()]);
        let came = all(entries.small.iter().map(|entry| submit(&ledger, entry)).collect());
        if witness.asked.load(Ordering::SeqCst) > 3 {
            assert!(came.contains(&Err(ServiceError::Unknown)), "whose group was contradicted: {came:?}");
            let late = block_on(ledger.submit(entries.double.first().unwrap()));
            assert_eq!(late, Err(ServiceError::Frozen));
        }
        ledger.stop();
        answers_are_true(&entries.small, &came, &after_a_crash(&disk));
    });
}

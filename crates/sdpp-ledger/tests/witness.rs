//! Witnesses against forked and rolled back ledgers.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use sdpp_ledger::{
    Cosigning, LedgerClient, LedgerHost, LedgerService, LocalLedger, ServiceError, StartError, Witness, WitnessError,
    WitnessService, witness_key,
};
use sdpp_log::{Hash, Policy, Refusal};
use sdpp_rail::{FlushFault, MemoryDisk, MemoryStore, RailError};

const WITNESS: u8 = 50;

fn witness(disk: &MemoryDisk) -> Arc<Witness> {
    let hand = Hand::new();
    let started =
        Witness::start("witness.example", test_key(WITNESS), hand.clock(), Box::new(disk.open()), &[log_vkey()]);
    Arc::new(started.expect("starts"))
}

fn witnessed(witness: &Arc<Witness>, store: MemoryStore) -> Result<LocalLedger, StartError> {
    LocalLedger::start(config(&Hand::new(), vec![witness.clone()]), Box::new(store))
}

fn note(ledger: &LocalLedger) -> Arc<str> {
    block_on(ledger.checkpoint()).unwrap()
}

fn strict() -> Policy {
    let key = witness_key("witness.example", &test_key(WITNESS)).unwrap();
    Policy::new(log_vkey(), vec![key], 1).unwrap()
}

#[test]
fn every_published_checkpoint_is_cosigned() {
    let ledger = witnessed(&witness(&MemoryDisk::new()), MemoryStore::new()).unwrap();
    let client = LedgerClient::new(Arc::new(ledger.clone()), strict(), None).unwrap();
    assert_eq!(block_on(client.follow()), Ok(0));
    for number in 1..6 {
        submit(&ledger, &issue(PAYER, 100, number)).unwrap();
        assert_eq!(block_on(client.follow()), Ok(number + 1));
    }
}

#[test]
fn without_a_quorum_nothing_is_believed() {
    let ledger = fresh_ledger();
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let client = LedgerClient::new(Arc::new(ledger), strict(), None).unwrap();
    assert_eq!(block_on(client.follow()), Err(RailError::Unavailable));
    assert_eq!(client.evidence(), None);
}

#[test]
fn a_stricter_policy_goes_on_from_what_is_remembered() {
    let witness = witness(&MemoryDisk::new());
    let (ledger, disk) = (fresh_ledger(), MemoryDisk::new());
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let open = |ledger: &LocalLedger, policy| {
        LedgerClient::new(Arc::new(ledger.clone()), policy, Some(Box::new(disk.open()))).unwrap()
    };
    assert_eq!(block_on(open(&ledger, policy()).follow()), Ok(2));
    let stricter = open(&ledger, strict());
    assert_eq!(block_on(stricter.follow()), Err(RailError::Unavailable), "the same checkpoint is not enough now");
    drop(stricter);
    // A cosigned part of it is no way around.
    let shorter = witnessed(&witness, MemoryStore::new()).unwrap();
    assert_eq!(block_on(open(&shorter, strict()).follow()), Err(RailError::Unavailable));
    submit(&shorter, &issue(PAYER, 100, 1)).unwrap();
    assert_eq!(block_on(open(&shorter, strict()).follow()), Ok(2), "now the witness has seen what is remembered");
    let other = witnessed(&self::witness(&MemoryDisk::new()), MemoryStore::new()).unwrap();
    submit(&other, &issue(STRANGER, 100, 1)).unwrap();
    let turned = open(&other, strict());
    assert!(matches!(block_on(turned.follow()), Err(RailError::Dishonest(_))), "memory outlives a change of policy");
}

/// A witness that is away at times.
struct Away(Arc<Witness>, AtomicBool);

impl WitnessService for Away {
    fn cosign<'a>(&'a self, old: u64, proof: &'a [Hash], note: &'a str) -> Cosigning<'a> {
        if self.1.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(WitnessError::Unavailable)));
        }
        self.0.cosign(old, proof, note)
    }
}

#[test]
fn an_idle_log_is_cosigned_when_its_witness_is_back() {
    let away = Arc::new(Away(witness(&MemoryDisk::new()), AtomicBool::new(false)));
    let ledger = LocalLedger::start(config(&Hand::new(), vec![away.clone()]), Box::new(MemoryStore::new())).unwrap();
    away.1.store(true, Ordering::SeqCst);
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let client = LedgerClient::new(Arc::new(ledger.clone()), strict(), None).unwrap();
    assert_eq!(block_on(client.follow()), Err(RailError::Unavailable));
    away.1.store(false, Ordering::SeqCst);
    let start = std::time::Instant::now();
    while block_on(client.follow()) != Ok(2) {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "nobody asks the witness again");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ledger.stop();
}

#[test]
fn a_fork_is_refused_across_a_restart_and_kept_as_evidence() {
    let disk = MemoryDisk::new();
    let first = witness(&disk);
    let honest = witnessed(&first, MemoryStore::new()).unwrap();
    submit(&honest, &issue(PAYER, 100, 1)).unwrap();
    let fork = fresh_ledger();
    submit(&fork, &issue(STRANGER, 100, 1)).unwrap();

    let restarted = witness(&disk);
    let other = note(&fork);
    let answer = block_on(restarted.cosign(2, &[], &other));
    assert_eq!(answer, Err(WitnessError::Refused(Refusal::Fork { known_size: 2 })));
    // A larger fork: no proof leads there.
    submit(&fork, &issue(STRANGER, 100, 2)).unwrap();
    let proof = block_on(fork.consistency(2, 3)).unwrap();
    let answer = block_on(restarted.cosign(2, &proof, &note(&fork)));
    assert!(matches!(answer, Err(WitnessError::Refused(Refusal::BadProof(_)))), "{answer:?}");
    // The same fork again, and a wrong proof for an honest note: neither is evidence of anything new.
    assert!(block_on(restarted.cosign(2, &[], &other)).is_err());
    let wrong = block_on(restarted.cosign(2, &[sdpp_log::Hash([7; 32])], &note(&honest)));
    assert!(matches!(wrong, Err(WitnessError::Refused(Refusal::BadProof(_)))), "{wrong:?}");
    let forks = restarted.forks(ORIGIN).unwrap();
    assert_eq!(forks.len(), 1);
    for (accepted, other) in &forks {
        assert_ne!(accepted, other);
        policy().check(accepted.as_bytes(), &sdpp_ledger::Verifier).expect("signed by the log");
        policy().check(other.as_bytes(), &sdpp_ledger::Verifier).expect("signed by the log");
    }
}

#[test]
fn the_last_cosigned_note_is_handed_out_across_a_restart() {
    let disk = MemoryDisk::new();
    let witness_of = witness(&disk);
    assert_eq!(witness_of.latest(ORIGIN), Ok(None));
    let ledger = witnessed(&witness_of, MemoryStore::new()).unwrap();
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    for witness in [witness_of, witness(&disk)] {
        let note = witness.latest(ORIGIN).unwrap().unwrap();
        let trusted = strict().check(note.as_bytes(), &sdpp_ledger::Verifier).expect("signed by both");
        assert_eq!(trusted.checkpoint.size(), 2);
        assert_eq!(witness.latest("other.example"), Ok(None));
        assert_eq!(witness.origins().collect::<Vec<_>>(), [ORIGIN]);
    }
}

#[test]
fn a_smaller_tree_is_refused() {
    let witness = witness(&MemoryDisk::new());
    let ledger = witnessed(&witness, MemoryStore::new()).unwrap();
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let old = note(&ledger);
    submit(&ledger, &issue(PAYER, 100, 2)).unwrap();
    for claimed in [2, 3] {
        let answer = block_on(witness.cosign(claimed, &[], &old));
        let refusal = if claimed == 2 { Refusal::Conflict { known_size: 3 } } else { Refusal::Rollback };
        assert_eq!(answer, Err(WitnessError::Refused(refusal)));
    }
}

#[test]
fn a_ledger_restored_from_a_backup_does_not_start() {
    let witness = witness(&MemoryDisk::new());
    let disk = MemoryDisk::new();
    let ledger = witnessed(&witness, disk.open()).unwrap();
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    // The backup: the same entries, made by a ledger that no witness saw grow further.
    let backup = MemoryDisk::new();
    let copy = LocalLedger::start(config(&Hand::new(), Vec::new()), Box::new(backup.open())).unwrap();
    submit(&copy, &issue(PAYER, 100, 1)).unwrap();
    copy.stop();
    submit(&ledger, &issue(PAYER, 100, 2)).unwrap();
    ledger.stop();

    let old = witnessed(&witness, backup.open()).err();
    assert_eq!(old, Some(StartError::RolledBack { size: 2, witnessed: 3 }));
    let other = MemoryDisk::new();
    let foreign = LocalLedger::start(config(&Hand::new(), Vec::new()), Box::new(other.open())).unwrap();
    for number in 1..3 {
        submit(&foreign, &issue(STRANGER, 100, number)).unwrap();
    }
    foreign.stop();
    assert_eq!(witnessed(&witness, other.open()).err(), Some(StartError::Forked));
    witnessed(&witness, disk.open()).expect("the ledger itself goes on");
}

#[test]
fn a_witness_that_cannot_write_does_not_sign() {
    let disk = MemoryDisk::new();
    let witness = witness(&disk);
    let ledger = witnessed(&witness, MemoryStore::new()).unwrap();
    disk.fail_next_flush(FlushFault::Fails);
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let client = LedgerClient::new(Arc::new(ledger.clone()), strict(), None).unwrap();
    assert_eq!(block_on(client.follow()), Err(RailError::Unavailable), "one signature is missing");
    let answer = block_on(witness.cosign(0, &[], &note(&ledger)));
    assert_eq!(answer, Err(WitnessError::Unavailable), "it may not remember what it would sign");
}

#[test]
fn a_witness_vouches_only_for_logs_it_follows() {
    let mut foreign = config(&Hand::new(), Vec::new());
    foreign.origin = "other.example".into();
    let foreign = LocalLedger::start(foreign, Box::new(MemoryStore::new())).unwrap();
    let answer = block_on(witness(&MemoryDisk::new()).cosign(0, &[], &note(&foreign)));
    assert_eq!(answer, Err(WitnessError::Refused(Refusal::UnknownOrigin)));
}

#[test]
fn a_client_that_asks_for_more_witnesses_than_before_waits_for_them() {
    let disk = MemoryDisk::new();
    let store = MemoryDisk::new();
    let ledger = fresh_ledger_on(&store);
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let start = |service: &LocalLedger, policy| {
        LedgerClient::new(Arc::new(service.clone()), policy, Some(Box::new(disk.open()))).unwrap()
    };
    assert_eq!(block_on(start(&ledger, policy()).follow()), Ok(2));
    let strict_now = start(&ledger, strict());
    assert_eq!(block_on(strict_now.follow()), Err(RailError::Unavailable), "what was enough is not any more");
    ledger.stop();
    let ledger = witnessed(&witness(&MemoryDisk::new()), store.open()).unwrap();
    assert_eq!(block_on(start(&ledger, strict()).follow()), Ok(2), "the same tree, cosigned");
}

fn fresh_ledger_on(disk: &MemoryDisk) -> LocalLedger {
    common::ledger(&Hand::new(), disk.open())
}

#[test]
fn a_ledger_that_learns_of_another_log_of_its_name_takes_nothing_more() {
    let disk = MemoryDisk::new();
    let shared = witness(&disk);
    // Two copies of one ledger, both started while the witness saw nothing yet.
    let (first, second) =
        (witnessed(&shared, MemoryStore::new()).unwrap(), witnessed(&shared, MemoryStore::new()).unwrap());
    submit(&first, &issue(PAYER, 100, 1)).unwrap();
    let before = note(&second);
    assert_eq!(submit(&second, &issue(STRANGER, 100, 1)), Err(ServiceError::Unknown), "not promised");
    assert_eq!(note(&second), before, "nothing of it was shown");
    assert_eq!(submit(&second, &issue(STRANGER, 100, 2)), Err(ServiceError::Frozen));
    assert_eq!(block_on(second.health()), Err(ServiceError::Frozen));
    submit(&first, &issue(PAYER, 100, 2)).expect("the other one goes on");
    // An old backup, started while the witness was away.
    let shared: Arc<dyn WitnessService> = Arc::new(Absent(shared, true.into()));
    let config = sdpp_ledger::LedgerConfig { without_witness: true, ..config(&Hand::new(), vec![shared.clone()]) };
    let absent = LocalLedger::start(config, Box::new(MemoryStore::new())).unwrap();
    let mut answers = (0..40).map(|number| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        submit(&absent, &issue(STRANGER, 1, number))
    });
    assert!(answers.any(|answer| answer == Err(ServiceError::Frozen)), "it was told, and stopped");
}

/// A witness that does not answer the first time.
struct Absent(Arc<Witness>, std::sync::atomic::AtomicBool);

impl WitnessService for Absent {
    fn cosign<'a>(&'a self, old: u64, proof: &'a [sdpp_log::Hash], note: &'a str) -> sdpp_ledger::Cosigning<'a> {
        if self.1.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(WitnessError::Unavailable)));
        }
        self.0.cosign(old, proof, note)
    }
}

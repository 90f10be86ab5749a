//! Rotation and revocation: what the log says of keys (`spec/records.md` §5).
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use std::sync::Arc;

use common::*;
use sdpp_ledger::entry::Record;
use sdpp_ledger::{Body, Entry, Fold, LedgerClient, LedgerRecords, LedgerService as _, Refusal, ServiceError};
use sdpp_proto::codec::{Bytes32, Signature};
use sdpp_proto::cose;
use sdpp_proto::statement::{AnyStatement, Form, Revocation, RevokeReason, Rotation, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{MemoryDisk, Records as _, Standing, Standings};

const OLD: u8 = 20;
const NEW: u8 = 21;
const THIEF: u8 = 22;

const fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn rotation(from: u8, to: u8, ms: u64) -> AnyStatement {
    Rotation::sign(&test_key(from), &test_key(to), at(ms)).erase()
}

fn revocation(of: u8, ms: u64) -> AnyStatement {
    Revocation::sign(&test_key(of), at(ms), RevokeReason::Exposed).erase()
}

fn recorded(statement: &AnyStatement, form: Form) -> Entry {
    entry(STRANGER, Body::Record(Record::of(statement, form)))
}

fn rotated(to: u8, ms: u64, by: &Entry) -> Standing {
    Standing::Rotated { to: public(to), at: at(ms), record: Bytes32(by.id().0) }
}

fn revoked(ms: u64, by: &Entry) -> Standing {
    Standing::Revoked { at: at(ms), reason: RevokeReason::Exposed, record: Bytes32(by.id().0) }
}

#[test]
fn the_first_rotation_counts_and_a_revocation_is_final() {
    let mut fold = Fold::new(ORIGIN, public(LOG));
    let standing = |fold: &Fold, of| fold.standing(&public(of)).unwrap();
    assert_eq!(standing(&fold, OLD), Standing::Good);
    let first = recorded(&rotation(OLD, NEW, 5), Form::Full);
    fold.take(&first).unwrap();
    assert_eq!(standing(&fold, OLD), rotated(NEW, 5, &first));
    assert_eq!(standing(&fold, NEW), Standing::Good);
    // A thief of the old key turns it to a key of its own, and dates that before.
    fold.take(&recorded(&rotation(OLD, THIEF, 1), Form::Full)).unwrap();
    assert_eq!(standing(&fold, OLD), rotated(NEW, 5, &first));
    let end = recorded(&revocation(OLD, 7), Form::Full);
    fold.take(&end).unwrap();
    assert_eq!(standing(&fold, OLD), revoked(7, &end));
    // Neither another time nor another rotation brings it back.
    fold.take(&recorded(&revocation(OLD, 3), Form::Full)).unwrap();
    fold.take(&recorded(&rotation(OLD, THIEF, 9), Form::Full)).unwrap();
    assert_eq!(standing(&fold, OLD), revoked(7, &end));
    assert!(!standing(&fold, OLD).is_good() && standing(&fold, NEW).is_good());
    let keys = fold.dump().unwrap().into_iter().filter(|(key, _)| key.starts_with("k/")).count();
    assert_eq!(keys, 1, "one small value for a key");
}

#[test]
fn a_record_of_the_hash_ends_nothing() {
    let mut fold = Fold::new(ORIGIN, public(LOG));
    fold.take(&recorded(&revocation(OLD, 7), Form::Hash)).unwrap();
    assert_eq!(fold.standing(&public(OLD)), Ok(Standing::Good));
    // Whoever did that has not silenced the key: at another time it says the same anew.
    assert!(matches!(fold.take(&recorded(&revocation(OLD, 7), Form::Full)), Err(Refusal::KnownRecord(_))));
    let again = recorded(&revocation(OLD, 8), Form::Full);
    fold.take(&again).unwrap();
    assert_eq!(fold.standing(&public(OLD)), Ok(revoked(8, &again)));
}

/// A record entry of any bytes.
fn record_of(body: &[u8]) -> Vec<u8> {
    let mut e = minicbor::Encoder::new(Vec::new());
    e.map(2).unwrap().u8(1).unwrap().u8(0).unwrap().u8(2).unwrap().bytes(body).unwrap();
    cose::sign(&test_key(STRANGER), &cose::content_type("ledger-record"), ORIGIN, &e.into_writer()).0
}

/// Ends of keys that nobody who may has signed.
fn forged() -> Vec<(Vec<u8>, Refusal)> {
    let honest = Rotation::sign(&test_key(OLD), &test_key(NEW), at(5));
    let without_consent = Rotation { consent: Signature([7; 64]), ..honest.body().clone() };
    let theirs = Revocation { key: public(OLD), at: at(5), reason: RevokeReason::Retired };
    let mut changed = revocation(OLD, 5).bytes.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    vec![
        (Signed::sign(&test_key(OLD), without_consent).bytes().to_vec(), Refusal::RecordBadSignature),
        (changed, Refusal::RecordBadSignature),
        (Signed::sign(&test_key(THIEF), theirs).bytes().to_vec(), Refusal::RecordMalformed),
        (Signed::sign(&test_key(NEW), honest.body().clone()).bytes().to_vec(), Refusal::RecordMalformed),
        (rotation(OLD, OLD, 5).bytes.to_vec(), Refusal::RecordMalformed),
    ]
}

#[test]
fn a_forged_end_of_a_key_is_refused() {
    let ledger = fresh_ledger();
    for (statement, refusal) in forged() {
        let refused = block_on(ledger.submit(&record_of(&statement)));
        assert_eq!(refused.err(), Some(ServiceError::Refused(refusal)));
    }
    let client = client(ledger);
    assert_eq!(block_on(client.standing(&public(OLD))), Ok(Standing::Good));
}

#[test]
fn a_record_of_an_unknown_kind_breaks_a_rule() {
    // So a replica of an older version never has a kind that it did not know behind it.
    let (later, _) = cose::sign(&test_key(OLD), &cose::content_type("renunciation"), "about", b"payload");
    assert_eq!(Entry::parse(&record_of(&later)), Err(Refusal::RecordMalformed));
}

#[test]
fn a_replica_answers_for_keys_and_remembers() {
    let ledger = fresh_ledger();
    let disk = MemoryDisk::new();
    let open = || {
        let client = LedgerClient::new(Arc::new(ledger.clone()), policy(), Some(Box::new(disk.open())));
        Arc::new(client.unwrap())
    };
    let client = open();
    // Anybody records it, for example its holder in another name.
    let records = LedgerRecords::new(client.clone(), test_key(STRANGER));
    let record = block_on(records.append(&rotation(OLD, NEW, 5), Form::Full)).unwrap();
    let wanted = Standing::Rotated { to: public(NEW), at: at(5), record };
    assert_eq!(block_on(client.standing(&public(OLD))), Ok(wanted));
    drop((client, records));
    let again = open();
    let known = block_on(again.look(|fold| fold.standing(&public(OLD)))).unwrap();
    assert_eq!(known, wanted, "without asking the ledger");
    let standings: Arc<dyn Standings> = again;
    assert_eq!(block_on(standings.standing(&public(OLD))), Ok(wanted));
    assert_eq!(block_on(standings.standing(&public(NEW))), Ok(Standing::Good));
}

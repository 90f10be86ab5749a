//! Dishonest ledgers, and the clients that catch them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use common::*;
use sdpp_ledger::entry::Record;
use sdpp_ledger::{
    Answer, Body, ClientError, Contradiction, Entry, LedgerClient, LedgerRecords, LedgerService, LocalLedger, Refusal,
    ServiceError, Submitted,
};
use sdpp_log::{Checkpoint, Hash, Note, NoteSigner, Policy, Tree, leaf_hash};
use sdpp_proto::codec::{Bytes32, Signature};
use sdpp_proto::statement::{Form, Rotation, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{MemoryDisk, RailError, Records};

/// Shows one history at first and another one later.
#[derive(Clone)]
struct TwoFaced {
    faces: [LocalLedger; 2],
    second: Arc<AtomicBool>,
}

impl TwoFaced {
    fn new(first: LocalLedger, second: LocalLedger) -> Self {
        Self { faces: [first, second], second: Arc::default() }
    }

    fn turn(&self) {
        self.second.store(true, Ordering::SeqCst);
    }

    fn face(&self) -> &LocalLedger {
        &self.faces[usize::from(self.second.load(Ordering::SeqCst))]
    }
}

impl LedgerService for TwoFaced {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        self.face().submit(entry)
    }
    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        self.face().checkpoint()
    }
    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        self.face().entries(from, max)
    }
    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.face().inclusion(index, size)
    }
    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.face().consistency(old, new)
    }
}

/// An operator without rules: signs whatever is in its list.
struct Patched {
    entries: Mutex<Vec<Vec<u8>>>,
    /// Bytes that it shows in place of entry 1.
    instead: Mutex<Option<Vec<u8>>>,
}

struct LogSigner;

impl NoteSigner for LogSigner {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        test_key(LOG).sign(message)
    }
}

impl Patched {
    fn new(entries: &[Entry]) -> Self {
        Self {
            entries: Mutex::new(entries.iter().map(|entry| entry.bytes().to_vec()).collect()),
            instead: Mutex::default(),
        }
    }

    fn lie(&self, entry: &[u8]) {
        *self.instead.lock().unwrap() = Some(entry.to_vec());
    }

    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for entry in self.entries.lock().unwrap().iter() {
            tree.append(leaf_hash(entry));
        }
        tree
    }

    fn note(&self) -> Arc<str> {
        let tree = self.tree();
        let text = Checkpoint::new(ORIGIN, tree.size(), tree.root(tree.size()).unwrap()).unwrap().to_string();
        let mut note = Note::new(&text).unwrap();
        note.sign(&log_vkey(), &LogSigner).unwrap();
        note.to_string().into()
    }
}

fn ready<T: Send + 'static>(answer: Result<T, ServiceError>) -> Answer<'static, T> {
    Box::pin(std::future::ready(answer))
}

impl LedgerService for Patched {
    /// Promises, and forgets; but something else is always logged.
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        let index = self.tree().size();
        self.entries.lock().unwrap().push(issue(STRANGER, 1, index + 1000).bytes().to_vec());
        let id = Entry::parse(entry).unwrap().id();
        ready(Ok(Submitted { index, id, checkpoint: self.note() }))
    }
    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        ready(Ok(self.note()))
    }
    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        let from = usize::try_from(from).unwrap();
        let mut page: Vec<_> = self.entries.lock().unwrap().iter().skip(from).take(max).cloned().collect();
        if let (Some(instead), 0..=1) = (&*self.instead.lock().unwrap(), from) {
            page[1 - from] = instead.clone();
        }
        ready(Ok(page))
    }
    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        ready(self.tree().inclusion_proof(index, size).map_err(|_| ServiceError::OutOfRange))
    }
    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        ready(self.tree().consistency_proof(old, new).map_err(|_| ServiceError::OutOfRange))
    }
}

/// Two ledgers of one name and key that differ from their second entry on.
fn fork(first: u64, second: u64) -> TwoFaced {
    let build = |to, entries| {
        let ledger = fresh_ledger();
        for number in 0..entries {
            submit(&ledger, &issue(to, 100, number)).unwrap();
        }
        ledger
    };
    TwoFaced::new(build(PAYER, first), build(STRANGER, second))
}

fn assert_caught(client: &LedgerClient, what: Contradiction) {
    let refusal = RailError::Dishonest(what.text());
    assert_eq!(block_on(client.follow()), Err(refusal.clone()));
    let evidence = client.evidence().expect("the evidence is kept");
    assert_eq!(evidence.what, what);
    for note in &evidence.notes {
        policy().check(note.as_bytes(), &sdpp_ledger::Verifier).expect("evidence is signed by the log");
    }
    // From now on everything is refused, also what needs no network.
    assert_eq!(block_on(client.look(|_| Ok(()))), Err(refusal.clone()));
    assert_eq!(block_on(client.entry(0)).err(), Some(refusal.clone()));
    assert_eq!(block_on(client.submit(&issue(PAYER, 1, 77))), Err(refusal));
}

#[test]
fn a_forked_view_is_caught_with_two_notes() {
    for (first, second, what) in
        [(2, 2, Contradiction::SplitView), (2, 4, Contradiction::NotAnExtension), (4, 2, Contradiction::RolledBack)]
    {
        let service = fork(first, second);
        let client = client(service.clone());
        assert_eq!(block_on(client.follow()), Ok(first + 1));
        service.turn();
        assert_caught(&client, what);
        let notes = &client.evidence().unwrap().notes;
        assert_eq!(notes.len(), 2, "{what:?}");
        assert_ne!(notes[0], notes[1]);
    }
}

#[test]
fn a_client_remembers_across_its_restart() {
    let (service, disk) = (fork(3, 3), MemoryDisk::new());
    let open = || {
        let store = Box::new(disk.open());
        LedgerClient::new(Arc::new(service.clone()), policy(), Some(store)).unwrap()
    };
    assert_eq!(block_on(open().follow()), Ok(4));
    assert_eq!(block_on(open().follow()), Ok(4), "an honest ledger goes on");
    service.turn();
    assert_caught(&open(), Contradiction::SplitView);
    let other = Policy::new(sdpp_ledger::log_key(ORIGIN, &test_key(99)).unwrap(), Vec::new(), 0).unwrap();
    let stranger = LedgerClient::new(Arc::new(service.clone()), other, Some(Box::new(disk.open())));
    assert_eq!(stranger.err(), Some(ClientError::WrongState), "another log under the same name");
}

#[test]
fn a_truncated_ledger_is_caught() {
    // The second face is a true part of the first: only its being older is wrong, and that it has
    // lost what it signed.
    let (hand, service) = (Hand::new(), fresh_ledger());
    submit(&service, &issue(PAYER, 1, 1)).unwrap();
    submit(&service, &issue(PAYER, 1, 2)).unwrap();
    let truncated = ledger(&hand, sdpp_rail::MemoryStore::new());
    submit(&truncated, &issue(PAYER, 1, 1)).unwrap();
    let service = TwoFaced::new(service, truncated);
    let client = client(service.clone());
    block_on(client.follow()).unwrap();
    service.turn();
    assert_caught(&client, Contradiction::RolledBack);
}

/// An honest ledger behind a cache that has not heard the news.
struct Stale(LocalLedger, Arc<str>, AtomicBool);

impl LedgerService for Stale {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        self.0.submit(entry)
    }
    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        if self.2.load(Ordering::SeqCst) { ready(Ok(self.1.clone())) } else { self.0.checkpoint() }
    }
    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        self.0.entries(from, max)
    }
    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.0.inclusion(index, size)
    }
    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.0.consistency(old, new)
    }
}

#[test]
fn an_old_checkpoint_of_the_same_history_is_no_lie() {
    let ledger = fresh_ledger();
    submit(&ledger, &issue(PAYER, 1, 1)).unwrap();
    let old = block_on(ledger.checkpoint()).unwrap();
    submit(&ledger, &issue(PAYER, 1, 2)).unwrap();
    let service = Arc::new(Stale(ledger, old, AtomicBool::new(false)));
    let client = LedgerClient::new(service.clone(), policy(), None).unwrap();
    assert_eq!(block_on(client.follow()), Ok(3));
    service.2.store(true, Ordering::SeqCst);
    assert_eq!(block_on(client.follow()), Ok(3));
    assert_eq!(client.evidence(), None);
    // And what was submitted through it is seen, by the checkpoint of the answer.
    block_on(client.submit(&issue(PAYER, 1, 3))).unwrap();
}

#[test]
fn a_logged_entry_that_breaks_a_rule_is_caught() {
    let spent = [tick(1), issue(PAYER, 10, 1), transfer(PAYER, PAYEE, 10, 1), transfer(PAYER, STRANGER, 10, 2)];
    let twice = [tick(1), issue(PAYER, 10, 1), issue(PAYER, 10, 1)];
    let backward = [tick(2), tick(1)];
    for (entries, index, refusal) in [
        (&spent[..], 3, Refusal::InsufficientFunds),
        (&twice[..], 2, Refusal::KnownEntry(sdpp_ledger::Place { index: 1, id: twice[1].id() })),
        (&backward[..], 1, Refusal::TickBackward),
    ] {
        let client = client(Patched::new(entries));
        assert_caught(&client, Contradiction::BadEntry { index, refusal });
        let evidence = client.evidence().unwrap();
        let bytes = entries[usize::try_from(index).unwrap()].bytes().to_vec();
        assert_eq!(evidence.entry, Some(bytes));
    }
}

#[test]
fn a_forged_signature_in_the_log_is_caught() {
    let service = Patched::new(&[tick(1), issue(PAYER, 10, 1)]);
    *service.entries.lock().unwrap()[1].last_mut().unwrap() ^= 1;
    let what = Contradiction::BadEntry { index: 1, refusal: Refusal::BadSignature };
    assert_caught(&client(service), what);
}

#[test]
fn entries_that_were_not_signed_for_are_caught() {
    let service = Patched::new(&[tick(1), issue(PAYER, 10, 1), issue(PAYER, 10, 2)]);
    service.lie(issue(PAYER, 1_000_000, 1).bytes());
    assert_caught(&client(service), Contradiction::WrongEntries);

    // In a long log each page is checked before it is believed, so a forged entry of the first page
    // is a wrong page, not a broken rule of the log.
    let mut entries = vec![tick(1)];
    entries.extend((0..400).map(|number| issue(PAYER, 10, number)));
    let service = Patched::new(&entries);
    let mut forged = issue(PAYER, 1_000_000, 1).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    service.lie(&forged);
    assert_caught(&client(service), Contradiction::WrongEntries);
}

#[test]
fn an_entry_that_changes_later_is_caught() {
    let service = Arc::new(Patched::new(&[tick(1), issue(PAYER, 10, 1), issue(PAYER, 10, 2)]));
    let client = LedgerClient::new(service.clone(), policy(), None).unwrap();
    block_on(client.follow()).unwrap();
    assert_eq!(block_on(client.entry(1)).unwrap(), Some(issue(PAYER, 10, 1)));
    service.lie(issue(PAYER, 11, 1).bytes());
    let refusal = RailError::Dishonest(Contradiction::WrongEntries.text());
    assert_eq!(block_on(client.entry(1)), Err(refusal));
    assert_caught(&client, Contradiction::WrongEntries);
}

#[test]
fn pages_of_entries_are_proved_and_a_changed_one_is_caught() {
    let all: Vec<Entry> = (1..40).map(|number| issue(PAYER, 10, number)).collect();
    let open = || {
        let service = Arc::new(Patched::new(&all));
        let client = LedgerClient::new(service.clone(), policy(), None).unwrap();
        assert_eq!(block_on(client.follow()), Ok(39));
        (service, client)
    };
    let (_, client) = open();
    for from in 0..42 {
        for max in 0..42 {
            let there: Vec<Entry> = all.iter().skip(from).take(max).cloned().collect();
            assert_eq!(block_on(client.entries(from as u64, max)), Ok(there), "{max} from {from}");
        }
    }
    for (from, max) in [(0, 2), (0, 39), (1, 38), (1, 2)] {
        let (service, client) = open();
        service.lie(issue(PAYER, 11, 2).bytes());
        assert!(matches!(block_on(client.entries(from, max)), Err(RailError::Dishonest(_))), "{max} from {from}");
        assert_caught(&client, Contradiction::WrongEntries);
    }
}

#[test]
fn a_record_with_a_forged_statement_verifies_nothing() {
    let statement = voucher(channel(1), 1).erase();
    let mut record = Record::of(&statement, Form::Full);
    let mut forged = record.body.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    record.body = forged.clone().into();
    let logged = entry(STRANGER, Body::Record(record));
    let records = LedgerRecords::new(client(Patched::new(&[tick(1), logged.clone()])), test_key(PAYER));
    let id = Bytes32(logged.id().0);
    assert_eq!(block_on(records.fetch(&id)).unwrap(), Some(forged), "it shows what is there");
    assert_eq!(block_on(records.verify(&id, &statement)), Ok(false));
    // An entry that is no record.
    assert_eq!(block_on(records.fetch(&Bytes32(tick(1).id().0))).unwrap(), None);
}

#[test]
fn a_forged_end_of_a_key_in_the_log_is_caught() {
    let (old, new) = (test_key(PAYEE), test_key(STRANGER));
    let rotation = Rotation::sign(&old, &new, Timestamp::from_ms(5));
    let body = Rotation { consent: Signature([7; 64]), ..rotation.body().clone() };
    for forged in [Signed::sign(&old, body).bytes().to_vec(), with_last_bit_changed(rotation.bytes())] {
        let mut record = Record::of(&rotation.erase(), Form::Full);
        record.body = forged.into();
        let logged = entry(STRANGER, Body::Record(record));
        let client = client(Patched::new(&[tick(1), logged]));
        assert!(block_on(client.standing(&old.public())).is_err());
        assert_caught(&client, Contradiction::BadEntry { index: 1, refusal: Refusal::RecordBadSignature });
    }
}

fn with_last_bit_changed(bytes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    changed
}

#[test]
fn a_broken_promise_is_caught() {
    let client = client(Patched::new(&[tick(1), issue(PAYER, 10, 1)]));
    let refusal = RailError::Dishonest(Contradiction::BrokenPromise.text());
    assert_eq!(block_on(client.submit(&transfer(PAYER, PAYEE, 10, 1))), Err(refusal));
    assert_caught(&client, Contradiction::BrokenPromise);
}

#[test]
fn a_long_log_is_followed_page_by_page() {
    let ledger = fresh_ledger();
    for number in 0..600 {
        // Not waited for one by one: the last answer tells that all are there.
        let entry = issue(PAYER, 1, number);
        block_on(ledger.submit(entry.bytes())).unwrap();
    }
    let client = client(ledger);
    assert_eq!(block_on(client.follow()), Ok(601));
    assert_eq!(balance(&client, PAYER), 600);
    let entry = block_on(client.entry(300)).unwrap().unwrap();
    assert_eq!(entry.id(), issue(PAYER, 1, 299).id());
    assert_eq!(block_on(client.entry(601)).unwrap(), None);
}

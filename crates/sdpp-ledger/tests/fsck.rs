//! A whole ledger checked from its public files, and everything that may be wrong with them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;

use common::*;
use sdpp_ledger::entry::Record;
use sdpp_ledger::fsck::{Fault, Options, Report, Signatures, Source, SourceError, fsck};
use sdpp_ledger::{Body, Entry, Refusal};
use sdpp_log::{Checkpoint, Edge, Hash, Note, NoteSigner, Policy, TileKind, TilePath, bundle, leaf_hash, tiled};
use sdpp_proto::codec::Signature;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Form, Rotation, Signed};
use sdpp_proto::time::Timestamp;

/// Public files in memory, and which of them were read.
struct Site {
    files: BTreeMap<String, Vec<u8>>,
    read: Mutex<Vec<String>>,
}

struct LogSigner;

impl NoteSigner for LogSigner {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        test_key(LOG).sign(message)
    }
}

fn note(size: u64, root: Hash) -> Vec<u8> {
    let mut note = Note::new(&Checkpoint::new(ORIGIN, size, root).unwrap().to_string()).unwrap();
    note.sign(&log_vkey(), &LogSigner).unwrap();
    note.to_string().into_bytes()
}

impl Site {
    /// What an operator without rules publishes.
    fn of(entries: &[Vec<u8>]) -> Self {
        let (mut files, mut edge) = (BTreeMap::new(), Edge::new());
        for entry in entries {
            for full in edge.append(leaf_hash(entry)).unwrap() {
                files.insert(full.path.to_string(), tiled::tile_bytes(&full.hashes));
            }
        }
        for (path, hashes) in edge.partials() {
            files.insert(path.to_string(), tiled::tile_bytes(hashes));
        }
        for (index, entries) in (0..).zip(entries.chunks(256)) {
            let path = TilePath::new(TileKind::Entries, index, u16::try_from(entries.len()).unwrap()).unwrap();
            files.insert(path.to_string(), bundle::encode(entries).unwrap());
        }
        files.insert("checkpoint".into(), note(edge.size(), edge.root()));
        Self { files, read: Mutex::default() }
    }

    fn fault(&self) -> Fault {
        check(self, Signatures::All).expect_err("something is wrong")
    }

    fn file(&mut self, name: &str) -> &mut Vec<u8> {
        self.files.get_mut(name).unwrap_or_else(|| panic!("no file {name}"))
    }
}

impl Source for Site {
    fn checkpoint(&self) -> Result<Vec<u8>, SourceError> {
        self.files.get("checkpoint").cloned().ok_or(SourceError::NotThere)
    }

    fn tile(&self, path: TilePath) -> Result<Vec<u8>, SourceError> {
        self.read.lock().unwrap().push(path.to_string());
        self.files.get(&path.to_string()).cloned().ok_or(SourceError::NotThere)
    }
}

fn options(signatures: Signatures) -> Options {
    Options { policy: policy(), signatures, threads: 2 }
}

fn check(source: &dyn Source, signatures: Signatures) -> Result<Report, Fault> {
    fsck(source, &options(signatures), &mut |_| {})
}

/// Every kind of entry, and enough of them for several bundles.
fn story(count: u64) -> Vec<Entry> {
    let mut entries = vec![tick(1000), issue(PAYER, 1_000_000, 1), open(100, 500, 1), top_up(PAYER, channel(1), 50, 1)];
    entries.push(redeem(channel(1), 40));
    let statement = voucher(channel(1), 41).erase();
    entries.push(entry(STRANGER, Body::Record(Record::of(&statement, Form::Full))));
    entries.push(entry(PAYER, Body::RequestClose(channel(1))));
    entries.push(tick(2000));
    entries.push(entry(STRANGER, Body::Close(channel(1))));
    let left = count.saturating_sub(u64::try_from(entries.len()).unwrap());
    entries.extend((0..left).map(|number| transfer(PAYER, PAYEE, 1, number)));
    entries
}

fn bytes_of(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| entry.bytes().to_vec()).collect()
}

#[test]
fn a_sound_ledger_is_found_sound_and_every_file_is_read() {
    let site = Site::of(&bytes_of(&story(1500)));
    let report = check(&site, Signatures::All).unwrap();
    assert_eq!((report.checkpoint.size(), report.verified, report.channels_alive), (1500, 1500, 0));
    assert_eq!(report.issued, [(coin(), Amount::new(1_000_000))]);
    let mut read = site.read.lock().unwrap().clone();
    read.sort();
    let files: Vec<String> = site.files.keys().filter(|name| *name != "checkpoint").cloned().collect();
    assert_eq!(read, files, "each once");
    let sampled = check(&site, Signatures::OneIn { many: 10, seed: 7 }).unwrap();
    assert!((75..300).contains(&sampled.verified), "{}", sampled.verified);
    assert_eq!(check(&Site::of(&[]), Signatures::All).unwrap().checkpoint.size(), 0);
}

#[test]
fn the_end_of_a_key_is_not_taken_on_trust() {
    let rotation = Rotation::sign(&test_key(PAYEE), &test_key(STRANGER), Timestamp::from_ms(5));
    let body = Rotation { consent: Signature([7; 64]), ..rotation.body().clone() };
    let mut record = Record::of(&rotation.erase(), Form::Full);
    record.body = Signed::sign(&test_key(PAYEE), body).bytes().clone();
    let mut entries = story(20);
    entries.push(entry(STRANGER, Body::Record(record)));
    // Not one of the entries whose signatures are chosen to be looked at.
    let fault = check(&Site::of(&bytes_of(&entries)), Signatures::OneIn { many: 1_000_000_000, seed: 1 }).unwrap_err();
    assert_eq!(fault, Fault::BadEntry { index: 20, refusal: Refusal::RecordBadSignature });
}

#[test]
fn a_partial_tile_that_was_replaced_meanwhile_is_read_from_the_full_one() {
    let entries = bytes_of(&story(512));
    let (mut site, old) = (Site::of(&entries), Site::of(&entries[..300]));
    site.files.insert("checkpoint".into(), old.files["checkpoint"].clone());
    let upper = old.files["tile/1/000.p/1"].clone();
    site.files.insert("tile/1/000.p/1".into(), upper);
    assert_eq!(check(&site, Signatures::All).unwrap().checkpoint.size(), 300);
}

#[test]
fn the_first_bad_entry_is_named() {
    let broke = |index: usize, bad: Vec<u8>| {
        let mut entries = bytes_of(&story(900));
        entries[index] = bad;
        // Something later is wrong, too.
        entries[890] = b"no entry".to_vec();
        Site::of(&entries).fault()
    };
    let bad = |index, refusal| Fault::BadEntry { index, refusal };
    let mut forged = transfer(PAYER, PAYEE, 1, 7000).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(broke(700, forged), bad(700, Refusal::BadSignature));
    let spend = transfer(STRANGER, PAYEE, 1, 1);
    assert_eq!(broke(701, spend.bytes().to_vec()), bad(701, Refusal::InsufficientFunds));
    assert_eq!(broke(257, b"no entry".to_vec()), bad(257, Refusal::Malformed));
    let foreign = Entry::sign(&test_key(ISSUER), "other.example", issue(PAYER, 1, 2).body().clone());
    assert_eq!(broke(511, foreign.bytes().to_vec()), bad(511, Refusal::OtherLog));
    let again = transfer(PAYER, PAYEE, 1, 0);
    assert!(matches!(broke(800, again.bytes().to_vec()), Fault::BadEntry { index: 800, .. }));
    let counterfeit = entry(STRANGER, issue(STRANGER, 5, 5).body().clone());
    assert_eq!(broke(890, counterfeit.bytes().to_vec()), bad(890, Refusal::Malformed), "its own coin is no offence");
    assert_eq!(broke(600, tick(1500).bytes().to_vec()), bad(600, Refusal::TickBackward));
    assert_eq!(broke(600, entry(STRANGER, tick(9000).body().clone()).bytes().to_vec()), bad(600, Refusal::NotTheLog));
}

#[test]
fn what_is_not_sampled_is_checked_all_the_same_but_for_its_signature() {
    let mut entries = bytes_of(&story(900));
    entries[700] = transfer(STRANGER, PAYEE, 1, 1).bytes().to_vec();
    let fault = check(&Site::of(&entries), Signatures::OneIn { many: 1_000_000, seed: 3 }).unwrap_err();
    assert_eq!(fault, Fault::BadEntry { index: 700, refusal: Refusal::InsufficientFunds });
    // A forged signature is found by some seeds.
    let mut entries = bytes_of(&story(900));
    *entries[700].last_mut().unwrap() ^= 1;
    let site = Site::of(&entries);
    let found = (0..40).filter(|seed| check(&site, Signatures::OneIn { many: 4, seed: *seed }).is_err()).count();
    assert!((2..30).contains(&found), "{found} of 40 seeds");
}

#[test]
fn files_that_do_not_fit_each_other_are_named() {
    let entries = bytes_of(&story(70_000 / 100));
    let broke = |change: &dyn Fn(&mut Site)| {
        let mut site = Site::of(&entries);
        change(&mut site);
        site.fault()
    };
    let path = |name: &str| name.parse::<TilePath>().unwrap();
    let flip = |name: &'static str, at: usize| move |site: &mut Site| site.file(name)[at] ^= 1;
    assert_eq!(broke(&flip("tile/0/001", 32 * 5)), Fault::WrongLeaf { index: 261 });
    assert_eq!(broke(&flip("tile/entries/001", 50)), Fault::WrongLeaf { index: 256 });
    assert_eq!(broke(&flip("tile/1/000.p/2", 40)), Fault::WrongTile { path: path("tile/1/000.p/2") });
    assert_eq!(broke(&flip("tile/entries/002.p/188", 0)), Fault::BadBundle { path: path("tile/entries/002.p/188") });
    let cut = |site: &mut Site| site.file("tile/0/000").truncate(8191);
    assert_eq!(broke(&cut), Fault::WrongTile { path: path("tile/0/000") });
    let gone = |site: &mut Site| drop(site.files.remove("tile/entries/001"));
    assert!(matches!(broke(&gone), Fault::Missing { what, why: SourceError::NotThere } if what == "tile/entries/001"));
    let root = |site: &mut Site| drop(site.files.insert("checkpoint".into(), note(700, Hash([7; 32]))));
    assert_eq!(broke(&root), Fault::WrongRoot);
    let unsigned = |site: &mut Site| site.file("checkpoint")[3] ^= 1;
    assert!(matches!(broke(&unsigned), Fault::Checkpoint(_)));
    let site = Site::of(&entries);
    let witness = sdpp_ledger::witness_key("w", &test_key(50)).unwrap();
    let strict = Options { policy: Policy::new(log_vkey(), vec![witness], 1).unwrap(), ..options(Signatures::All) };
    assert!(matches!(fsck(&site, &strict, &mut |_| {}), Err(Fault::Checkpoint(_))), "no witness has seen it");
}

#[test]
fn no_changed_byte_passes() {
    let entries = bytes_of(&story(600));
    let mut dice = Dice(11);
    let names: Vec<String> = Site::of(&entries).files.keys().cloned().collect();
    for name in names {
        for _ in 0..6 {
            let mut site = Site::of(&entries);
            let file = site.file(&name);
            let at = usize::try_from(dice.below(u64::try_from(file.len()).unwrap())).unwrap();
            file[at] ^= 1 << dice.below(8);
            assert!(check(&site, Signatures::All).is_err(), "byte {at} of {name}");
        }
    }
}

#[test]
fn a_published_folder_is_sound() {
    let folder = std::env::temp_dir().join(format!("sdpp-fsck-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let hand = Hand::new();
    let config = sdpp_ledger::LedgerConfig { folder: Some(folder.clone()), ..config(&hand, Vec::new()) };
    let ledger = sdpp_ledger::LocalLedger::start(config, Box::new(sdpp_rail::MemoryStore::new())).unwrap();
    for entry in story(300).into_iter().filter(|entry| !matches!(entry.body(), Body::Tick(_))) {
        // The clock stands, so the channel is not closed: that is refused and leaves no trace.
        let _ = block_on(sdpp_ledger::LedgerService::submit(&ledger, entry.bytes()));
    }
    ledger.stop();
    let report = check(&sdpp_ledger::fsck::Folder::new(&folder), Signatures::All);
    std::fs::remove_dir_all(&folder).unwrap();
    let report = report.unwrap();
    assert!(report.checkpoint.size() > 290 && report.channels_alive == 1, "{report:?}");
}

//! What outlives a process: the ledger's store and files, a client's replica, the word of a witness.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::*;
use sdpp_ledger::entry::Record;
use sdpp_ledger::{
    Answer, Body, Cosigning, Entry, Fold, LedgerClient, LedgerConfig, LedgerHost, LedgerService, LocalLedger,
    ServiceError, StartError, Submitted, WitnessError, WitnessService,
};
use sdpp_log::{Checkpoint, Hash, Note, TileKind, TilePath, Tree, leaf_hash, tiled};
use sdpp_proto::statement::{Form, Payment, Signed};
use sdpp_rail::{Durability, FlushFault, MemoryDisk, MemoryStore, RailError, SqliteStore, Store, StoreError};

/// A folder that goes away with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sdpp-ledger-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sqlite(path: &Path) -> Box<dyn Store> {
    Box::new(SqliteStore::open(path, Durability::Power).unwrap())
}

fn checkpoint_of(note: &[u8]) -> Checkpoint {
    Checkpoint::parse(Note::parse(note).unwrap().text()).unwrap()
}

fn head(ledger: &LocalLedger) -> Checkpoint {
    checkpoint_of(block_on(ledger.checkpoint()).unwrap().as_bytes())
}

/// Submits many transfers of nothing much, all at once.
fn fill(ledger: &LocalLedger, numbers: std::ops::Range<u64>) {
    let entries: Vec<Entry> = numbers.map(|number| issue(PAYER, 1, number)).collect();
    for chunk in entries.chunks(512) {
        let waiting: Vec<_> = chunk.iter().map(|entry| ledger.submit(entry.bytes())).collect();
        for answer in block_on(futures_util::future::join_all(waiting)) {
            answer.unwrap();
        }
    }
}

#[test]
fn a_ledger_in_sqlite_goes_on_after_a_restart() {
    let folder = Temporary::new("sqlite");
    let (path, hand) = (folder.0.join("ledger.db"), Hand::new());
    let start = || LocalLedger::start(config(&hand, Vec::new()), sqlite(&path));
    let first = start().unwrap();
    fill(&first, 0..700);
    submit(&first, &open(40, 500, 1)).unwrap();
    let (before, reader) = (head(&first), client(first.clone()));
    let state = block_on(reader.fresh(Fold::dump)).unwrap();
    first.stop();

    let second = start().unwrap();
    assert_eq!(head(&second), before);
    assert_eq!(block_on(client(second.clone()).fresh(Fold::dump)).unwrap(), state);
    assert_eq!(block_on(second.balance(&coin(), &public(PAYER))).unwrap().get(), 660, "read beside the writer");
    fill(&second, 700..1400);
    // Old and new entries under one root, in the same tiles as a tree made at once.
    let mut tree = Tree::new();
    let size = head(&second).size();
    while tree.size() < size {
        for entry in block_on(second.entries(tree.size(), 256)).unwrap() {
            tree.append(leaf_hash(&entry));
        }
    }
    assert_eq!(tree.root(size), Ok(head(&second).root()));
    for old in [1, 255, 256, 257, 702, size - 1] {
        assert_eq!(block_on(second.consistency(old, size)).unwrap(), tree.consistency_proof(old, size).unwrap());
        assert_eq!(block_on(second.inclusion(old, size)).unwrap(), tree.inclusion_proof(old, size).unwrap());
    }
    let tile = block_on(second.tile(TilePath::new(TileKind::Hashes { level: 1 }, 0, 3).unwrap())).unwrap();
    let roots: Vec<Hash> = (0..3).map(|index| tree.node(8, index).unwrap()).collect();
    assert_eq!(tile, tiled::tile_bytes(&roots), "a partial tile of an older tree can still be read");
    let beyond = TilePath::new(TileKind::Entries, size / 256, u16::try_from(size % 256).unwrap() + 1).unwrap();
    assert_eq!(block_on(second.tile(beyond)), Err(ServiceError::OutOfRange));
}

#[test]
fn an_entry_has_room_for_the_largest_statement() {
    let ledger = fresh_ledger();
    let statement = |bytes: usize| {
        let payment = Payment { proof: Some(vec![7; bytes]), ..payment(None, 1) };
        Signed::sign(&test_key(SIGNER), payment).erase()
    };
    let room = sdpp_proto::limits::STATEMENT_MAX - statement(0).bytes.len() - 4;
    let statement = statement(room);
    assert!(statement.bytes.len() > 32_000, "{}", statement.bytes.len());
    let entry = entry(PAYER, Body::Record(Record::of(&statement, Form::Full)));
    let place = submit(&ledger, &entry).unwrap();
    let client = client(ledger);
    block_on(client.follow()).unwrap();
    assert_eq!(block_on(client.entry(place.index)).unwrap(), Some(entry));
}

/// Counts the entries that it hands out.
struct Counting(LocalLedger, AtomicUsize);

impl LedgerService for Counting {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        self.0.submit(entry)
    }
    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        self.0.checkpoint()
    }
    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            let entries = self.0.entries(from, max).await?;
            self.1.fetch_add(entries.len(), Ordering::SeqCst);
            Ok(entries)
        })
    }
    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.0.inclusion(index, size)
    }
    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.0.consistency(old, new)
    }
}

#[test]
fn a_client_with_a_store_goes_on_where_it_was() {
    let ledger = fresh_ledger();
    fill(&ledger, 0..600);
    let disk = MemoryDisk::new();
    let service = Arc::new(Counting(ledger.clone(), AtomicUsize::new(0)));
    let follow = |store: MemoryStore| {
        let client = LedgerClient::new(service.clone(), policy(), Some(Box::new(store))).unwrap();
        (block_on(client.follow()).unwrap(), block_on(client.look(Fold::dump)).unwrap())
    };
    let first = follow(disk.open());
    assert_eq!((first.0, service.1.swap(0, Ordering::SeqCst)), (601, 601));
    assert_eq!(follow(disk.open()), first);
    assert_eq!(service.1.swap(0, Ordering::SeqCst), 0, "all was there");
    fill(&ledger, 600..610);
    assert_eq!(follow(disk.open()).0, 611);
    assert_eq!(service.1.load(Ordering::SeqCst), 10, "only what is new");
}

#[test]
fn one_store_holds_one_ledger() {
    let disk = MemoryDisk::new();
    let ledger = ledger(&Hand::new(), disk.open());
    submit(&ledger, &issue(PAYER, 1, 1)).unwrap();
    ledger.stop();
    let other = Fold::open("other.example", public(LOG), Box::new(disk.open()));
    assert!(matches!(other.err(), Some(StoreError::Failed(why)) if why.contains(ORIGIN)));
    assert_eq!(Fold::open(ORIGIN, public(LOG), Box::new(disk.open())).unwrap().size(), 2);
}

#[test]
fn a_client_that_crashes_on_the_way_starts_again_at_a_page() {
    let ledger = fresh_ledger();
    fill(&ledger, 0..1000);
    let disk = MemoryDisk::new();
    let start = || LedgerClient::new(Arc::new(ledger.clone()), policy(), Some(Box::new(disk.open()))).unwrap();
    let mut sizes = Vec::new();
    loop {
        // Room for a page and a bit: it ends in the middle of one.
        disk.set_room(Some(17_000));
        let (client, before) = (start(), sizes.last().copied());
        let done = block_on(client.follow()).is_ok();
        sizes.push(block_on(start().look(|fold| Ok(fold.size()))).unwrap());
        if done {
            break;
        }
        assert!(before < sizes.last().copied(), "no progress: {sizes:?}");
    }
    assert!(sizes.len() > 2 && sizes.iter().all(|size| size % 256 == 0 || *size == 1001), "{sizes:?}");
    assert_eq!(block_on(start().fresh(Fold::dump)), block_on(common::client(ledger.clone()).fresh(Fold::dump)));
}

#[test]
fn a_fault_of_the_own_store_is_not_blamed_on_the_ledger() {
    let ledger = fresh_ledger();
    fill(&ledger, 0..600);
    for skip in [0, 3, 50, 700, 1500] {
        let disk = MemoryDisk::new();
        let start = || LedgerClient::new(Arc::new(ledger.clone()), policy(), Some(Box::new(disk.open()))).unwrap();
        let client = start();
        // The medium fails for a moment, at some look-up of the way.
        disk.fail_read_after(skip, StoreError::Failed("medium".to_owned()));
        for _ in 0..3 {
            assert_eq!(block_on(client.follow()), Err(RailError::Unavailable), "after {skip}");
        }
        assert_eq!(client.evidence(), None);
        assert_eq!(block_on(start().follow()), Ok(601), "opened again it goes on");
    }
}

/// All published files under a folder, but for the checkpoint.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder_now) = open.pop() {
        for entry in std::fs::read_dir(folder_now).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.retain(|name| name != "checkpoint");
    found.sort();
    found
}

fn with_folder(hand: &Hand, folder: &Path) -> LedgerConfig {
    LedgerConfig { folder: Some(folder.to_owned()), ..config(hand, Vec::new()) }
}

#[test]
fn published_files_are_the_tiles_of_the_published_checkpoint() {
    let (folder, hand, disk) = (Temporary::new("files"), Hand::new(), MemoryDisk::new());
    let public = folder.0.join("public");
    let start = |disk: &MemoryDisk| LocalLedger::start(with_folder(&hand, &public), Box::new(disk.open()));
    let ledger = start(&disk).unwrap();
    fill(&ledger, 0..300);
    fill(&ledger, 300..599);
    ledger.stop();
    let note = std::fs::read(public.join("checkpoint")).unwrap();
    assert_eq!(note, block_on(ledger.checkpoint()).unwrap().as_bytes());
    assert_eq!(checkpoint_of(&note).size(), 600);
    let kept = ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"];
    let bundles = ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"];
    let names = files(&public);
    for name in kept.iter().chain(&bundles) {
        assert!(names.contains(&(*name).to_owned()), "{name} in {names:?}");
        let bytes = block_on(ledger.tile(name.parse().unwrap())).unwrap();
        assert_eq!(std::fs::read(public.join(name)).unwrap(), bytes, "{name}");
    }
    assert!(!names.iter().any(|name| name.starts_with("tile/0/000.p")), "full ones replace partial ones: {names:?}");

    // What is missing is written again; what is there is gone on with.
    std::fs::remove_dir_all(&public).unwrap();
    let ledger = start(&disk).unwrap();
    ledger.stop();
    assert_eq!(std::fs::read(public.join("checkpoint")).unwrap(), note);
    assert_eq!(files(&public).len(), kept.len() + bundles.len());
    for name in ["tile/entries/000", "tile/1/000.p/2"] {
        std::fs::remove_file(public.join(name)).unwrap();
        start(&disk).unwrap().stop();
        assert!(public.join(name).is_file(), "a single one, too: {name}");
    }
    let ledger = start(&disk).unwrap();
    fill(&ledger, 599..900);
    ledger.stop();
    assert_eq!(checkpoint_of(&std::fs::read(public.join("checkpoint")).unwrap()).size(), 901);
    assert!(files(&public).contains(&"tile/0/002".to_owned()));
}

#[test]
fn published_files_show_that_a_store_is_an_old_backup() {
    let (folder, hand, disk) = (Temporary::new("backup"), Hand::new(), MemoryDisk::new());
    let public = folder.0.join("public");
    let ledger = LocalLedger::start(with_folder(&hand, &public), Box::new(disk.open())).unwrap();
    fill(&ledger, 0..20);
    ledger.stop();
    let backup = common::ledger(&hand, MemoryStore::new());
    backup.stop();
    let start = |store: MemoryStore| LocalLedger::start(with_folder(&hand, &public), Box::new(store)).err();
    assert_eq!(start(MemoryStore::new()), Some(StartError::RolledBack { size: 0, witnessed: 21 }));
    let other = MemoryDisk::new();
    let foreign = common::ledger(&hand, other.open());
    fill(&foreign, 50..90);
    foreign.stop();
    assert_eq!(start(other.open()), Some(StartError::Forked));
    std::fs::write(public.join("checkpoint"), "not a checkpoint").unwrap();
    assert!(matches!(start(disk.open()), Some(StartError::Folder(_))));
    std::fs::remove_file(public.join("checkpoint")).unwrap();
    assert_eq!(start(disk.open()), None);
}

struct Silent;

impl WitnessService for Silent {
    fn cosign<'a>(&'a self, _: u64, _: &'a [Hash], _: &'a str) -> Cosigning<'a> {
        Box::pin(std::future::ready(Err(WitnessError::Unavailable)))
    }
}

#[test]
fn a_silent_witness_keeps_a_ledger_from_starting_unless_told_otherwise() {
    let start = |without_witness| {
        let config = LedgerConfig { without_witness, ..config(&Hand::new(), vec![Arc::new(Silent)]) };
        LocalLedger::start(config, Box::new(MemoryStore::new()))
    };
    assert_eq!(start(false).err(), Some(StartError::WitnessSilent));
    let ledger = start(true).unwrap();
    submit(&ledger, &issue(PAYER, 1, 1)).unwrap();
}

/// A ledger with an open channel whose last tick is just too old, and its size.
fn due_for_a_tick() -> (LocalLedger, u64) {
    let hand = Hand::new();
    let ledger = ledger(&hand, MemoryStore::new());
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    submit(&ledger, &open(40, 500, 1)).unwrap();
    let size = head(&ledger).size();
    hand.pass(10_000);
    (ledger, size)
}

/// Waits until a log has grown.
fn until_grown(ledger: &LocalLedger, size: u64, meanwhile: impl Fn()) {
    let patience = Instant::now();
    while head(ledger).size() == size {
        assert!(patience.elapsed() < Duration::from_secs(60), "no tick came");
        meanwhile();
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_log_ticks_by_itself_while_a_channel_is_open() {
    let (ledger, before) = due_for_a_tick();
    until_grown(&ledger, before, || {});
    let tick = Entry::parse(&block_on(ledger.entries(before, 1)).unwrap()[0]).unwrap();
    assert!(matches!(tick.body(), Body::Tick(_)));
}

#[test]
fn refused_entries_do_not_keep_time_from_passing() {
    let (ledger, before) = due_for_a_tick();
    until_grown(&ledger, before, || assert!(submit(&ledger, &transfer(STRANGER, PAYEE, 1, 1)).is_err()));
}

#[test]
fn no_acknowledged_entry_is_lost_whenever_the_power_goes() {
    for seed in 0..40 {
        let (mut dice, hand, disk) = (Dice(seed), Hand::new(), MemoryDisk::new());
        let (mut acknowledged, mut seen) = (Vec::new(), None::<(u64, Hash)>);
        for life in 0..4 {
            let ledger = ledger(&hand, disk.open());
            if let Some((size, root)) = seen {
                let now = head(&ledger);
                assert!(now.size() >= size, "seed {seed}: it forgot");
                let proof = block_on(ledger.consistency(size, now.size())).unwrap();
                sdpp_log::verify_consistency(size, &root, now.size(), &now.root(), &proof).expect("no fork");
            }
            for (index, id) in &acknowledged {
                let entry = block_on(ledger.entries(*index, 1)).unwrap();
                assert_eq!(Entry::parse(&entry[0]).unwrap().id(), *id, "seed {seed}");
            }
            let fatal = dice.below(12);
            for number in 0..12 {
                if number == fatal {
                    let fault = [FlushFault::Fails, FlushFault::FailsButDurable, FlushFault::Full];
                    disk.fail_next_flush(fault[usize::try_from(dice.below(3)).unwrap()]);
                }
                match submit(&ledger, &issue(PAYER, 1, life * 100 + number)) {
                    Ok(place) => acknowledged.push((place.index, place.id)),
                    Err(error) => assert!(matches!(error, ServiceError::Unknown | ServiceError::Frozen), "{error}"),
                }
            }
            let shown = head(&ledger);
            seen = Some((shown.size(), shown.root()));
            ledger.stop();
        }
        assert!(acknowledged.len() > 4, "seed {seed}");
    }
}

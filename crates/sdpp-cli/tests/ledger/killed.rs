//! Kill -9 at a hundred random moments, under load.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sdpp_ledger::entry::{Issue, Record, Transfer, asset_id};
use sdpp_ledger::http::{ClientOptions, HttpLedger};
use sdpp_ledger::{Body, Entry, LedgerClient, LedgerService as _, ServiceError, Submitted, Verifier};
use sdpp_log::{Checkpoint, Frontier, Hash, Policy, SignedCheckpoint, VerifierKey, leaf_hash, verify_consistency};
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{Form, Payment, Signed};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::files;
use crate::kit::*;

const KILLS: u32 = 100;
const WRITERS: u8 = 4;
/// What each writer has at first.
const FUNDS: u128 = 1_000_000_000;
/// Longest load between two kills, and longest life of a server that is killed while it starts.
const LOAD_MS: u64 = 120;
const BIRTH_MS: u64 = 60;

/// A generator for tests (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self) -> [u8; 32] {
        let words = [self.next(), self.next(), self.next(), self.next()].map(u64::to_le_bytes);
        words.concat().try_into().unwrap()
    }
}

fn seed() -> u64 {
    match std::env::var("SDPP_SEED") {
        Ok(seed) => seed.parse().expect("SDPP_SEED is a number"),
        Err(_) => u64::from_le_bytes(sdpp::entropy::draw().unwrap()[..8].try_into().unwrap()),
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([number; 32]))
}

/// All that the ledger has said.
#[derive(Default)]
struct Told {
    /// Acknowledged entries by their index.
    places: BTreeMap<u64, StatementId>,
    /// The same, where it was not looked at them again yet.
    fresh: Vec<(u64, StatementId)>,
    /// Signed checkpoints that were not compared with a later one yet, and all roots by size.
    checkpoints: Vec<Checkpoint>,
    roots: BTreeMap<u64, Hash>,
    /// Answers "perhaps", each of which was resolved later.
    unknown: u64,
}

/// A ledger's users, who share what they were told.
struct World {
    runtime: Runtime,
    http: HttpLedger,
    key: VerifierKey,
    asset: AssetId,
    told: Mutex<Told>,
    /// The tree of the entries that were read so far: they never change.
    replica: Mutex<Frontier>,
    /// Entries that must be there, whatever happened.
    least: AtomicU64,
    /// The writers finish what they are at.
    done: AtomicBool,
    /// The test has failed: they drop it.
    failed: AtomicBool,
}

impl World {
    fn open(&self, note: &str) -> Checkpoint {
        let keys = std::slice::from_ref(&self.key);
        let signed = SignedCheckpoint::open(note.as_bytes(), self.key.name(), keys, &Verifier);
        signed.expect("a checkpoint of this log").checkpoint().clone()
    }

    fn hear(&self, told: &mut Told, checkpoint: Checkpoint) {
        let first = told.roots.entry(checkpoint.size()).or_insert_with(|| {
            told.checkpoints.push(checkpoint.clone());
            checkpoint.root()
        });
        assert_eq!(*first, checkpoint.root(), "two roots of size {}", checkpoint.size());
    }

    fn acknowledge(&self, entry: &Entry, submitted: &Submitted) {
        let checkpoint = self.open(&submitted.checkpoint);
        assert!(checkpoint.size() > submitted.index, "a checkpoint that has it");
        assert_eq!(submitted.id, entry.id());
        let mut told = self.told.lock().unwrap();
        self.hear(&mut told, checkpoint);
        let before = told.places.insert(submitted.index, submitted.id);
        assert!(before.is_none_or(|before| before == submitted.id), "two entries at {}", submitted.index);
        told.fresh.push((submitted.index, submitted.id));
    }

    /// Submits one entry until the ledger says where it is, through all kills.
    fn settle(&self, entry: &Entry) {
        while !self.failed.load(Ordering::SeqCst) {
            match self.runtime.block_on(self.http.submit(entry.bytes())) {
                Ok(submitted) => return self.acknowledge(entry, &submitted),
                Err(ServiceError::Unknown) => self.told.lock().unwrap().unknown += 1,
                Err(ServiceError::Unavailable) => thread::sleep(Duration::from_millis(3)),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Pays others and records statements until told to end; gives what it has sent.
    fn write(&self, number: u8, mut random: Random) -> Sent {
        let (key, origin) = (key(number), self.key.name());
        let mut sent = Sent::default();
        while !self.done.load(Ordering::SeqCst) {
            let body = if random.below(4) == 0 {
                Body::Record(record(&key, &mut random))
            } else {
                let to = 1 + (random.below(u64::from(WRITERS)) as u8);
                let amount = u128::from(1 + random.below(1000));
                sent.paid.push((to, amount));
                let reference = Bytes32(random.bytes());
                Body::Transfer(Transfer {
                    to: self::key(to).public(),
                    asset: self.asset.clone(),
                    amount: Amount::new(amount),
                    reference,
                })
            };
            let entry = Entry::sign(&key, origin, body);
            sent.ids.push(entry.id());
            self.settle(&entry);
        }
        sent
    }

    /// Looks at everything that was said since the last time, on a server that was started again.
    fn check(&self, published: Option<Checkpoint>) {
        let note = self.runtime.block_on(self.http.checkpoint()).expect("it is ready, so it answers");
        let now = self.open(&note);
        assert!(now.size() >= self.least.load(Ordering::SeqCst), "entries are lost");
        let mut told = self.told.lock().unwrap();
        if let Some(published) = published {
            self.hear(&mut told, published);
        }
        let (checkpoints, fresh) = (std::mem::take(&mut told.checkpoints), std::mem::take(&mut told.fresh));
        self.hear(&mut told, now.clone());
        drop(told);
        let start = self.replica.lock().unwrap().size();
        let expected = self.grow(&checkpoints, fresh.iter().copied().collect(), &now);
        for old in checkpoints {
            // While this looks, others write: what they hear is newer than `now`.
            if old.size() >= now.size() {
                self.told.lock().unwrap().checkpoints.push(old);
            } else if (1..=start).contains(&old.size()) {
                // Heard late; the others were compared with the entries themselves.
                let proof = self.runtime.block_on(self.http.consistency(old.size(), now.size())).expect("a proof");
                let shown = verify_consistency(old.size(), &old.root(), now.size(), &now.root(), &proof);
                shown.unwrap_or_else(|error| panic!("{} is no part of {}: {error}", old.size(), now.size()));
            }
        }
        // So that all earlier ones are parts of the next one too.
        self.told.lock().unwrap().checkpoints.push(now.clone());
        for (index, id) in expected {
            if index >= now.size() {
                self.told.lock().unwrap().fresh.push((index, id));
                continue;
            }
            let page = self.runtime.block_on(self.http.entries(index, 1)).expect("an acknowledged entry");
            assert_eq!(Entry::parse(&page[0]).unwrap().id(), id, "the entry at {index}");
        }
    }

    /// Reads all entries up to a checkpoint, page by page, and compares them with what was acknowledged and
    /// their roots with all checkpoints on the way. Gives the acknowledged entries that it did not pass.
    fn grow(
        &self,
        checkpoints: &[Checkpoint],
        mut expected: BTreeMap<u64, StatementId>,
        now: &Checkpoint,
    ) -> BTreeMap<u64, StatementId> {
        let roots: BTreeMap<u64, Hash> =
            checkpoints.iter().chain([now]).map(|checkpoint| (checkpoint.size(), checkpoint.root())).collect();
        let mut replica = self.replica.lock().unwrap();
        while replica.size() < now.size() {
            let page = self.runtime.block_on(self.http.entries(replica.size(), 256)).expect("entries");
            for bytes in page {
                if replica.size() == now.size() {
                    break;
                }
                let index = replica.append(leaf_hash(&bytes)).unwrap();
                if let Some(id) = expected.remove(&index) {
                    assert_eq!(Entry::parse(&bytes).unwrap().id(), id, "the entry at {index}");
                }
                if let Some(root) = roots.get(&replica.size()) {
                    assert_eq!(replica.root(), *root, "the checkpoint of size {}", replica.size());
                }
            }
        }
        expected
    }
}

#[derive(Default)]
struct Sent {
    ids: Vec<StatementId>,
    paid: Vec<(u8, u128)>,
}

/// A record of a statement of its own, whole or by its id.
fn record(key: &SigningKey, random: &mut Random) -> Record {
    let (order_id, invoice_id) = (StatementId(random.bytes()), StatementId(random.bytes()));
    let body = Payment { order_id, prev: order_id, invoice_id, total: Amount::new(1), channel: None, proof: None };
    let form = if random.below(2) == 0 { Form::Full } else { Form::Hash };
    Record::of(&Signed::sign(key, body).erase(), form)
}

fn fund(world: &World, issuer: &SigningKey) {
    for number in 1..=WRITERS {
        let (symbol, to) = ("coin".to_owned(), key(number).public());
        let issue = Issue { symbol, to, amount: Amount::new(FUNDS), reference: Bytes32([number; 32]) };
        world.settle(&Entry::sign(issuer, world.key.name(), Body::Issue(issue)));
    }
}

/// Where the server lives, and how it is started.
struct Place<'a> {
    start: &'a dyn Fn() -> Served,
    tiles: &'a Path,
}

/// Kills and starts again; gives the last one.
fn kill_again_and_again(world: &World, place: &Place<'_>, random: &mut Random) -> Served {
    let mut served = (place.start)();
    let mut published = None;
    for kill in 0..KILLS {
        // Every fourth one is killed before it is ready, or just then.
        if kill % 4 == 3 {
            thread::sleep(Duration::from_millis(random.below(BIRTH_MS)));
        } else {
            served.url();
            world.check(published.take());
            thread::sleep(Duration::from_millis(random.below(LOAD_MS)));
        }
        served.kill();
        published = files::check(place.tiles, &world.key);
        let said = world.told.lock().unwrap().roots.last_key_value().map_or(0, |(size, _)| *size);
        world.least.store(said, Ordering::SeqCst);
        served = (place.start)();
    }
    served.url();
    world.check(published);
    served
}

/// Follows the whole log as a newcomer, and compares with what everybody knows.
fn audit(world: &World, url: &str, sent: &[Sent], issuer: PublicKey) {
    let http = HttpLedger::new(url, ClientOptions::new(world.runtime.handle().clone())).unwrap();
    let policy = Policy::new(world.key.clone(), Vec::new(), 0).unwrap();
    let client = LedgerClient::new(Arc::new(http), policy, None).unwrap();
    let size = world.runtime.block_on(client.follow()).expect("an honest ledger");
    let (asset, told) = (asset_id("coin", &issuer), world.told.lock().unwrap());
    let conserved = world.runtime.block_on(client.look(|fold| fold.conservation())).unwrap();
    assert_eq!(conserved, None);

    let mut balances = [FUNDS; WRITERS as usize];
    for (from, sent) in sent.iter().enumerate() {
        for (to, amount) in &sent.paid {
            balances[from] -= amount;
            balances[usize::from(*to) - 1] += amount;
        }
    }
    for (number, balance) in (1..=WRITERS).zip(balances) {
        let has = client.look(|fold| fold.balance(&asset, &key(number).public()));
        assert_eq!(world.runtime.block_on(has).unwrap(), Amount::new(balance), "writer {number}: each payment once");
    }

    let mut ids = BTreeSet::new();
    let mut next = 0;
    while next < size {
        for bytes in world.runtime.block_on(world.http.entries(next, 256)).unwrap() {
            let entry = Entry::parse(&bytes).unwrap();
            if !matches!(entry.body(), Body::Tick(_)) {
                assert!(ids.insert(entry.id()), "an entry stands twice");
                assert_eq!(told.places.get(&next), Some(&entry.id()), "where it was acknowledged, and nobody else's");
            }
            next += 1;
        }
    }
    assert_eq!(ids.len(), told.places.len());
    assert!(sent.iter().flat_map(|sent| &sent.ids).all(|id| ids.contains(id)));
    println!("{size} entries, {} acknowledged, {} answers that said perhaps", ids.len(), told.unknown);
}

#[test]
fn what_was_acknowledged_survives_a_hundred_kills() {
    let seed = seed();
    println!("SDPP_SEED={seed}");
    let mut random = Random(seed);
    let folder = Folder::new("kill");
    let (home, tiles, address) = (folder.path("home"), folder.path("tiles"), fixed_address());
    let published = folder.text("tiles");
    let start = || Served::spawn(command(&home, &["serve", "--listen", &address, "--publish", &published]));
    let mut first = start();
    let url = first.url();
    let verifier = line(&home, &["key", "--as", "ledger"]);
    let runtime = Runtime::new().unwrap();
    let http = HttpLedger::new(&url, ClientOptions::new(runtime.handle().clone())).unwrap();
    let issuer = key(99);
    let world = World {
        runtime,
        http,
        key: text(&verifier["verifier"]).parse().unwrap(),
        asset: asset_id("coin", &issuer.public()),
        told: Mutex::default(),
        replica: Mutex::default(),
        least: AtomicU64::new(0),
        done: AtomicBool::new(false),
        failed: AtomicBool::new(false),
    };
    fund(&world, &issuer);
    first.kill();
    let (served, sent) = thread::scope(|scope| {
        let ending = Ending(&world);
        let writers: Vec<_> = (1..=WRITERS)
            .map(|number| {
                let (world, random) = (&world, Random(random.next()));
                scope.spawn(move || world.write(number, random))
            })
            .collect();
        let served = kill_again_and_again(&world, &Place { start: &start, tiles: &tiles }, &mut random);
        drop(ending);
        let sent: Vec<Sent> = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
        (served, sent)
    });
    audit(&world, &url, &sent, issuer.public());
    served.stop();
    let published = files::check(&tiles, &world.key).expect("published files");
    let size = *world.told.lock().unwrap().places.keys().last().unwrap();
    assert!(published.size() > size, "stopped in good order, all is published");
}

/// Ends the writers, also when the test fails.
struct Ending<'a>(&'a World);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.failed.store(thread::panicking(), Ordering::SeqCst);
        self.0.done.store(true, Ordering::SeqCst);
    }
}

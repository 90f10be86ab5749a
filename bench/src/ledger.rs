//! The ledger's benchmark: durable appends per second, how long each waits, what an entry costs on
//! disk, and whether any of it changes as the log grows.
//!
//! Two parts, one after the other: appends side by side with rivals' ([`Comparison`]), and one long run.
//!
//! Writers are tasks of a runtime with two threads. Each signs an entry, submits it and waits for the
//! answer, which comes when the entry is durable and its checkpoint published. Every signature is
//! verified by the ledger. Nothing else runs in between: signing counts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sdpp_ledger::entry::{Issue, Record, Transfer, asset_id};
use sdpp_ledger::fsck::{self, Folder, Signatures, fsck};
use sdpp_ledger::http::{ClientOptions, HttpLedger, Limits, Server, ServerConfig, serve_ledger};
use sdpp_ledger::{Body, Entry, LedgerConfig, LedgerService, LocalLedger, Witness};
use sdpp_log::Policy;
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::hash::sha256;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{Form, Payment, Signed};
use sdpp_rail::{Durability, SqliteStore};
use zeroize::Zeroizing;

use crate::{Failure, since};

mod compare;
mod proofs;

pub use compare::{Comparison, Row, System};
pub use proofs::Proofs;

const ORIGIN: &str = "ledger.sdpp.example/bench";

/// What is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Transfers: one signature, two balances.
    Transfer,
    /// Records of whole payments: two signatures.
    Record,
    /// Records of hashes: one signature.
    Hash,
}

impl Kind {
    /// By its name on the command line.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Transfer, Self::Record, Self::Hash].into_iter().find(|kind| kind.name() == name)
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Record => "record",
            Self::Hash => "hash",
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Entries of the long run; none: there is no long run.
    pub entries: u64,
    /// Writers at once, one number after the other; the long run has the highest.
    pub writers: Vec<u64>,
    /// Rounds of the appends side by side; none: they are not compared.
    pub rounds: u32,
    /// How long a round is.
    pub round: Duration,
    /// Whose appends are compared.
    pub systems: Vec<System>,
    /// What they append.
    pub kind: Kind,
    /// Parts of the run, each reported for itself.
    pub parts: u64,
    /// Where the ledger is kept.
    pub folder: PathBuf,
    /// Whether tiles are published as files meanwhile.
    pub files: bool,
    /// Whether writers go through a server on loopback, in the same process.
    pub http: bool,
    /// Whether a witness with a store of its own cosigns every checkpoint.
    pub witness: bool,
}

/// One part of a run.
#[derive(Clone, Debug)]
pub struct Part {
    /// Entries in the log at its end.
    pub size: u64,
    /// Appends per second.
    pub rate: f64,
    /// Waiting times in milliseconds: half, 99 of 100, the longest.
    pub wait_ms: [f64; 3],
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Report {
    /// Side by side with others.
    pub comparison: Option<Comparison>,
    /// Of the ledger alone.
    pub long: Option<Long>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.comparison.iter().try_for_each(|comparison| writeln!(f, "{comparison}"))?;
        self.long.iter().try_for_each(|long| long.fmt(f))
    }
}

impl Report {
    /// One JSON object a line.
    pub fn json(&self) -> String {
        let compared = self.comparison.iter().flat_map(Comparison::json);
        compared.chain(self.long.iter().flat_map(Long::json)).collect::<Vec<_>>().join("\n")
    }
}

/// What came out of the long run.
#[derive(Clone, Debug)]
pub struct Long {
    /// As asked for.
    pub options: Options,
    /// Writers at once.
    pub writers: u64,
    /// In the order of time.
    pub parts: Vec<Part>,
    /// A single writer, at the end: waiting times in milliseconds.
    pub single_ms: [f64; 3],
    /// Bytes of an entry, and what it takes in the store and in files.
    pub entry_bytes: f64,
    /// Bytes in the store per entry.
    pub store_bytes: f64,
    /// Bytes of published files per entry.
    pub files_bytes: f64,
    /// Entries per second of `fsck` over the files, where there are any: every signature verified,
    /// and one in a hundred.
    pub fsck: Option<[f64; 2]>,
    /// Signatures per second that all cores verify when they do nothing else.
    pub verify: f64,
    /// Inclusion proofs per second, at the end.
    pub proofs: Proofs,
}

impl fmt::Display for Long {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Options { entries, kind, files, http, witness, .. }, writers) = (&self.options, self.writers);
        let ways = format!("files: {files}, http: {http}, witness: {witness}");
        writeln!(f, "{entries} entries of kind {}, {writers} writers, {ways}", kind.name())?;
        writeln!(f, "        size  appends/s   wait ms: half     99%  longest")?;
        for Part { size, rate, wait_ms: [half, most, longest] } in &self.parts {
            writeln!(f, "{size:>12} {rate:>10.0} {half:>15.1} {most:>7.1} {longest:>8.1}")?;
        }
        if let (Some(first), Some(last)) = (self.parts.first(), self.parts.last()) {
            writeln!(f, "last part / first part: {:.2} x appends/s", last.rate / first.rate)?;
        }
        let [half, most, longest] = self.single_ms;
        writeln!(f, "a single writer waits {half:.1} ms (half), {most:.1} ms (99%), {longest:.1} ms (longest)")?;
        writeln!(
            f,
            "bytes per entry: {:.0} itself, {:.0} in the store, {:.0} in files",
            self.entry_bytes, self.store_bytes, self.files_bytes
        )?;
        let Proofs { one, two, verified, by_way } = self.proofs;
        let by_http = if *http { format!(" ({by_way:.0} over HTTP)") } else { String::new() };
        write!(f, "inclusion proofs a second: {one:.0} made for one reader{by_http}, {two:.0} for two at once, ")?;
        writeln!(f, "{verified:.0} verified on one core")?;
        writeln!(f, "verifying signatures and nothing else: {:.0} a second on all cores", self.verify)?;
        if let Some([all, some]) = self.fsck {
            writeln!(f, "fsck over the files: {all:.0} entries/s, {some:.0} with one signature in a hundred")?;
        }
        Ok(())
    }
}

impl Long {
    fn json(&self) -> Vec<String> {
        let (Options { kind, files, http, witness, .. }, writers) = (&self.options, self.writers);
        let part = |Part { size, rate, wait_ms: [half, most, longest] }: &Part| {
            format!(
                "{{\"what\":\"part\",\"kind\":\"{}\",\"writers\":{writers},\"files\":{files},\"http\":{http},\"witness\":{witness},\
                 \"size\":{size},\"per_s\":{rate:.0},\"half_ms\":{half:.2},\"p99_ms\":{most:.2},\"max_ms\":{longest:.2}}}",
                kind.name()
            )
        };
        let mut lines: Vec<String> = self.parts.iter().map(part).collect();
        let [half, most, longest] = self.single_ms;
        let Proofs { one, two, verified, by_way } = self.proofs;
        let fsck = self.fsck.map_or_else(String::new, |[all, some]| {
            format!(",\"fsck_per_s\":{all:.0},\"fsck_one_in_hundred_per_s\":{some:.0}")
        });
        lines.push(format!(
            "{{\"what\":\"ledger\",\"single_ms\":[{half:.2},{most:.2},{longest:.2}],\"entry_bytes\":{:.0},\"store_bytes\":{:.0},\
             \"files_bytes\":{:.0},\"signatures_per_s\":{:.0},\"proofs_per_s\":[{one:.0},{two:.0}],\"proofs_by_way_per_s\":{by_way:.0},\
             \"proofs_verified_per_s\":{verified:.0}{fsck}}}",
            self.entry_bytes, self.store_bytes, self.files_bytes, self.verify
        ));
        lines
    }
}

struct World {
    ledger: LocalLedger,
    /// How writers reach it.
    way: Arc<dyn LedgerService>,
    /// Serves it for as long as it is measured.
    _server: Option<Server>,
    asset: AssetId,
    kind: Kind,
    payee: PublicKey,
    /// Numbers that make entries differ.
    next: AtomicU64,
    /// Numbers that an earlier run may have used.
    used: u64,
    bytes: AtomicU64,
}

fn key(seed: u64) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new(sha256(&seed.to_be_bytes())))
}

impl World {
    async fn open(options: &Options) -> Result<Self, Failure> {
        std::fs::create_dir_all(&options.folder)?;
        let mut config = LedgerConfig::new(ORIGIN, key(0), Arc::new(sdpp::now));
        config.folder = options.files.then(|| options.folder.join("public"));
        if options.witness {
            let store = SqliteStore::open(options.folder.join("witness.db"), Durability::Power)?;
            let log = sdpp_ledger::log_key(ORIGIN, &key(0))?;
            let witness = Witness::start("witness", key(u64::MAX), Arc::new(sdpp::now), Box::new(store), &[log]);
            config.witnesses.push(Arc::new(witness?));
        }
        let store = SqliteStore::open(options.folder.join("ledger.db"), Durability::Power)?
            .with_cache(sdpp_ledger::limits::STORE_CACHE_KIB)?;
        let ledger = LocalLedger::start(config, Box::new(store))?;
        let asset = asset_id("coin", &key(0).public());
        let (way, server) = way(&ledger, options.http).await?;
        // Numbers used before are at most as many as there are entries.
        let used = size_of(&ledger).await?;
        Ok(Self {
            ledger,
            way,
            _server: server,
            asset,
            kind: options.kind,
            payee: key(1).public(),
            next: AtomicU64::new(used.saturating_add(1)),
            used,
            bytes: AtomicU64::new(0),
        })
    }

    async fn fund(&self, writers: u64) -> Result<(), Failure> {
        for writer in 0..=writers {
            let reference = Bytes32(sha256(&writer.to_be_bytes()));
            let to = key(writer.saturating_add(1)).public();
            let issue = Issue { symbol: "coin".to_owned(), to, amount: Amount::new(1 << 60), reference };
            self.ledger.submit(Entry::sign(&key(0), ORIGIN, Body::Issue(issue)).bytes()).await?;
        }
        Ok(())
    }

    fn entry(&self, key: &SigningKey) -> Entry {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let reference = sha256(&number.to_le_bytes());
        let payment = || {
            let (order_id, invoice_id) = (StatementId(reference), StatementId(reference));
            let total = Amount::new(u128::from(number));
            Signed::sign(key, Payment { order_id, prev: order_id, invoice_id, total, channel: None, proof: None })
                .erase()
        };
        let body = match self.kind {
            Kind::Transfer => Body::Transfer(Transfer {
                to: self.payee,
                asset: self.asset.clone(),
                amount: Amount::new(1),
                reference: Bytes32(reference),
            }),
            Kind::Record => Body::Record(Record::of(&payment(), Form::Full)),
            Kind::Hash => Body::Record(Record {
                form: Form::Hash,
                statement: StatementId(reference),
                body: Arc::from(&reference[..]),
                notice: None,
            }),
        };
        Entry::sign(key, ORIGIN, body)
    }

    /// One writer: appends until there is nothing left to do; gives how long each waited.
    async fn write(self: Arc<Self>, writer: u64, left: Arc<AtomicU64>) -> Result<Vec<Duration>, Failure> {
        let key = key(writer.saturating_add(1));
        let mut waits = Vec::new();
        let take = |left: u64| left.checked_sub(1);
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let entry = self.entry(&key);
            self.bytes.fetch_add(u64::try_from(entry.bytes().len())?, Ordering::Relaxed);
            let start = Instant::now();
            self.way.submit(entry.bytes()).await?;
            waits.push(since(start));
        }
        Ok(waits)
    }

    async fn part(self: &Arc<Self>, writers: u64, entries: u64) -> Result<(f64, [f64; 3]), Failure> {
        let left = Arc::new(AtomicU64::new(entries));
        let start = Instant::now();
        let tasks: Vec<_> = (0..writers).map(|writer| tokio::spawn(self.clone().write(writer, left.clone()))).collect();
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await??);
        }
        Ok((crate::per_second(entries, since(start)), spread(waits)))
    }
}

/// Half, 99 of 100 and the longest, in milliseconds.
fn spread(mut waits: Vec<Duration>) -> [f64; 3] {
    waits.sort_unstable();
    let at = |share: usize| {
        let index = waits.len().saturating_sub(1).saturating_mul(share).checked_div(100).unwrap_or(0);
        waits.get(index).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    };
    [at(50), at(99), at(100)]
}

/// Runs both parts; `progress` hears what is being done.
///
/// # Errors
/// [`Failure`]: a ledger that refused, or the system's.
pub fn measure(options: &Options, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let comparison = match options.rounds {
        0 => None,
        _ => Some(runtime.block_on(compare::compare(options, progress))?),
    };
    let long = match options.entries {
        0 => None,
        _ => Some(run(options, &runtime, progress)?),
    };
    Ok(Report { comparison, long })
}

/// The long run.
fn run(options: &Options, runtime: &tokio::runtime::Runtime, progress: &dyn Fn(&str)) -> Result<Long, Failure> {
    let writers = options.writers.iter().copied().max().unwrap_or(1);
    let world = Arc::new(runtime.block_on(World::open(options))?);
    runtime.block_on(world.fund(writers))?;
    let mut parts = Vec::new();
    let each = options.entries.checked_div(options.parts.max(1)).unwrap_or(0).max(1);
    for _ in 0..options.parts.max(1) {
        let (rate, wait_ms) = runtime.block_on(world.part(writers, each))?;
        let size = runtime.block_on(size_of(&world.ledger))?;
        progress(&format!("{size} entries, {rate:.0} appends/s"));
        parts.push(Part { size, rate, wait_ms });
    }
    let (_, single_ms) = runtime.block_on(world.part(1, 200))?;
    let proofs = runtime.block_on(prove(&world, options.entries))?;
    let made = world.next.load(Ordering::Relaxed).saturating_sub(world.used).max(1);
    world.ledger.stop();
    let size = runtime.block_on(size_of(&world.ledger))?;
    let entry_bytes = ratio(world.bytes.load(Ordering::Relaxed), made);
    drop(world);
    let store = ["ledger.db", "ledger.db-wal"].map(|name| disk_bytes(&options.folder.join(name))).iter().sum();
    let public = options.folder.join("public");
    let files = disk_bytes(&public);
    let fsck = match options.files {
        true => Some([check(&public, Signatures::All)?, check(&public, Signatures::OneIn { many: 100, seed: 1 })?]),
        false => None,
    };
    Ok(Long {
        options: options.clone(),
        writers,
        parts,
        single_ms,
        entry_bytes,
        store_bytes: ratio(store, size),
        files_bytes: ratio(files, size),
        fsck,
        verify: verify_rate()?,
        proofs,
    })
}

/// Proofs of what the newest checkpoint promises.
async fn prove(world: &Arc<World>, most: u64) -> Result<Proofs, Failure> {
    let policy = Policy::new(sdpp_ledger::log_key(ORIGIN, &key(0))?, Vec::new(), 0)?;
    let trusted = policy.check(world.ledger.checkpoint().await?.as_bytes(), &sdpp_ledger::Verifier)?;
    proofs::measure(world, &trusted.checkpoint, most).await
}

/// Straight to the ledger, or through a server that bears so many writers from one address.
async fn way(ledger: &LocalLedger, http: bool) -> Result<(Arc<dyn LedgerService>, Option<Server>), Failure> {
    if !http {
        return Ok((Arc::new(ledger.clone()), None));
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let limits = Limits { rate: None, connections_per_address_max: 1024, ..Limits::default() };
    let server = serve_ledger(Arc::new(ledger.clone()), listener, ServerConfig { limits, ..ServerConfig::default() })?;
    let url = format!("http://{}", server.local_addr());
    let client = HttpLedger::new(&url, ClientOptions::new(tokio::runtime::Handle::current()))?;
    Ok((Arc::new(client), Some(server)))
}

/// Signatures per second on all cores.
fn verify_rate() -> Result<f64, Failure> {
    const EACH: u64 = 5_000;
    let threads = std::thread::available_parallelism()?.get();
    let message = [7; 300];
    let (key, signature) = (key(1).public(), key(1).sign(&message));
    let start = Instant::now();
    let verify = || (0..EACH).filter(|_| key.verify(std::hint::black_box(&message), &signature)).count();
    let good: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(verify)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    Ok(crate::per_second(u64::try_from(good)?, since(start)))
}

/// Entries per second of a check of the published files.
fn check(public: &Path, signatures: Signatures) -> Result<f64, Failure> {
    let policy = Policy::new(sdpp_ledger::log_key(ORIGIN, &key(0))?, Vec::new(), 0)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let start = Instant::now();
    let report = fsck(&Folder::new(public), &fsck::Options { policy, signatures, threads }, &mut |_| {})?;
    Ok(crate::per_second(report.checkpoint.size(), since(start)))
}

async fn size_of(ledger: &LocalLedger) -> Result<u64, Failure> {
    let note = ledger.checkpoint().await?;
    let size = note.lines().nth(1).and_then(|line| line.parse().ok());
    Ok(size.ok_or("the checkpoint has no size")?)
}

#[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Bytes of a file, or of all files under a folder.
fn disk_bytes(path: &Path) -> u64 {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| disk_bytes(&entry.path())).sum()
        }
        Ok(meta) => meta.len(),
        Err(_) => 0,
    }
}

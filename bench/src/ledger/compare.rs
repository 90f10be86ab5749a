//! Durable appends side by side: the ledger and what else people would append to, in turns, with as many writers.
//!
//! Each writer has one append in flight. A round is so long, and all that was begun in it counts. Whoever is measured
//! keeps what it has from round to round, so all of them grow.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sdpp_ledger::LedgerService;
use sdpp_proto::hash::sha256;
use sdpp_proto::identity::SigningKey;

use super::{Options, World, key, ratio, spread};
use crate::clock::{cpu_of_family, own_cpu};
use crate::folder::Folder;
use crate::report::{Rates, json_of};
use crate::rival::{jetstream, postgres};
use crate::{Failure, since};

const LEFT_OUT: &str = "not chosen";

/// Who keeps the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum System {
    /// The ledger, called in the writers' own process.
    Ledger,
    /// The same through its server of HTTP.
    LedgerHttp,
    /// NATS `JetStream`, through a real server.
    Jetstream,
    /// `PostgreSQL`, through a real server.
    Postgres,
}

impl System {
    /// All, in the order in which they take their turns.
    pub const ALL: [Self; 4] = [Self::Ledger, Self::LedgerHttp, Self::Jetstream, Self::Postgres];

    /// Its name on the command line and in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::LedgerHttp => "ledger-http",
            Self::Jetstream => "jetstream",
            Self::Postgres => "postgresql",
        }
    }

    /// What is measured under this name.
    const fn what(self) -> &'static str {
        match self {
            Self::Ledger => "in the writers' process: an entry is signed, verified, ordered, hashed, proved; FULL sync",
            Self::LedgerHttp => "the same ledger through its HTTP server on loopback, both ends in this process",
            Self::Jetstream => "file store, sync_interval: always, a publish with its acknowledgement; bytes only",
            Self::Postgres => "INSERT of one row, key and bytes, prepared, autocommit, fsync and synchronous_commit on",
        }
    }
}

/// One of them, with so many writers.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub system: System,
    /// Writers at once.
    pub writers: u64,
    /// Appends per second, by round.
    pub rates: Rates,
    /// Milliseconds that half of a round's appends waited at most.
    pub half_ms: Rates,
    /// Milliseconds that 99 of 100 waited at most.
    pub most_ms: Rates,
    /// Microseconds of processor time per append: writers, and the server with all its processes. None where that is
    /// not to be had.
    pub cpu_us: Rates,
}

/// What was compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    rounds: u32,
    round: Duration,
    entry_bytes: usize,
    systems: Vec<System>,
    /// By writers, then in the order of turns.
    pub rows: Vec<Row>,
    /// Who is not there, and what to do for it.
    pub absent: Vec<(System, String)>,
    versions: Vec<(System, String)>,
    /// Entries in the ledger at the end.
    size: u64,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rounds, round, bytes) = (self.rounds, self.round.as_secs_f64(), self.entry_bytes);
        writeln!(f, "appends of {bytes} bytes side by side, each durable before it is answered")?;
        writeln!(f, "{rounds} rounds of {round} s, in turns; entries in the ledger at the end: {}", self.size)?;
        for system in &self.systems {
            let version = self.versions.iter().find(|(one, _)| one == system);
            let version = version.map(|(_, version)| format!("{version}, ")).unwrap_or_default();
            let absent = self.absent.iter().find(|(one, _)| one == system);
            let what = absent.map_or(system.what().to_owned(), |(_, why)| format!("not there: {why}"));
            writeln!(f, "  {:<12}{version}{what}", system.name())?;
        }
        writeln!(f, "medians of the rounds; CPU us: processor time of writers and server per append")?;
        writeln!(f, "writers  system       appends/s     [lowest highest]   wait ms: half     99%   CPU us")?;
        self.rows.iter().try_for_each(|row| row.fmt(f))
    }
}

impl Comparison {
    pub(super) fn json(&self) -> Vec<String> {
        let row = |row: &Row| {
            let cpu =
                if row.cpu_us.is_empty() { String::new() } else { format!(",{}", json_of("cpu_us", &row.cpu_us)) };
            format!(
                "{{\"what\":\"appends\",\"system\":\"{}\",\"writers\":{},\"bytes\":{},{},{},{}{cpu}}}",
                row.system.name(),
                row.writers,
                self.entry_bytes,
                json_of("per_s", &row.rates),
                json_of("half_ms", &row.half_ms),
                json_of("p99_ms", &row.most_ms)
            )
        };
        self.rows.iter().map(row).collect()
    }

    /// A rival says its version, or why it is not there.
    fn meet(&mut self, system: System, found: Result<String, &String>) {
        match found {
            Ok(version) => self.versions.push((system, version)),
            Err(why) => self.absent.push((system, why.clone())),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.rates.range();
        let range = format!("[{low:.0} {high:.0}]");
        let cpu = if self.cpu_us.is_empty() { "-".to_owned() } else { format!("{:.0}", self.cpu_us.median()) };
        let (rate, half, most) = (self.rates.median(), self.half_ms.median(), self.most_ms.median());
        let (writers, system) = (self.writers, self.system.name());
        writeln!(f, "{writers:>7}  {system:<11} {rate:>10.0} {range:>20} {half:>15.2} {most:>7.2} {cpu:>8}")
    }
}

/// Whatever takes appends, one at a time.
trait Appender: Send + 'static {
    fn append(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
}

struct ToLedger {
    world: Arc<World>,
    http: bool,
    key: SigningKey,
}

impl Appender for ToLedger {
    async fn append(&mut self) -> Result<(), Failure> {
        let entry = self.world.entry(&self.key);
        if self.http {
            self.world.way.submit(entry.bytes()).await?;
        } else {
            self.world.ledger.submit(entry.bytes()).await?;
        }
        Ok(())
    }
}

/// Bytes that a rival keeps, in place of entries.
struct Bytes {
    next: Arc<AtomicU64>,
    length: usize,
}

impl Bytes {
    fn draw(&self) -> ([u8; 32], Vec<u8>) {
        let id = sha256(&self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        (id, id.into_iter().cycle().take(self.length).collect())
    }
}

struct ToJetstream(jetstream::Writer, Bytes);

impl Appender for ToJetstream {
    async fn append(&mut self) -> Result<(), Failure> {
        let (_, bytes) = self.1.draw();
        self.0.append(&bytes).await
    }
}

struct ToPostgres(postgres::Writer, Bytes);

impl Appender for ToPostgres {
    async fn append(&mut self) -> Result<(), Failure> {
        let (id, bytes) = self.1.draw();
        self.0.append(&id, &bytes).await
    }
}

/// All that are there.
struct Systems {
    world: Arc<World>,
    jetstream: Result<jetstream::Jetstream, String>,
    postgres: Result<postgres::Postgres, String>,
    next: Arc<AtomicU64>,
    length: usize,
    round: Duration,
}

/// What a round came to.
struct Round {
    waits: Vec<Duration>,
    wall: Duration,
    cpu: Option<Duration>,
}

/// Compares; `progress` hears what is being done.
pub(super) async fn compare(options: &Options, progress: &dyn Fn(&str)) -> Result<Comparison, Failure> {
    let folder = Folder::new("bench-ledgers")?;
    let mut comparison = Comparison {
        rounds: options.rounds,
        round: options.round,
        entry_bytes: 0,
        systems: options.systems.clone(),
        rows: Vec::new(),
        absent: Vec::new(),
        versions: Vec::new(),
        size: 0,
    };
    let systems = Systems::start(options, folder.path(), &mut comparison).await?;
    for round in 1..=options.rounds {
        progress(&format!("side by side: round {round} of {}", options.rounds));
        for row in &mut comparison.rows {
            row.push(systems.run(row.system, row.writers).await?)?;
        }
    }
    comparison.size = super::size_of(&systems.world.ledger).await?;
    systems.world.ledger.stop();
    Ok(comparison)
}

impl Systems {
    async fn start(options: &Options, folder: &std::path::Path, into: &mut Comparison) -> Result<Self, Failure> {
        let own = Options { folder: folder.to_owned(), files: false, http: true, ..options.clone() };
        let world = Arc::new(World::open(&own).await?);
        world.fund(options.writers.iter().copied().max().unwrap_or(1)).await?;
        let wants = |system| options.systems.contains(&system);
        let jetstream = if wants(System::Jetstream) { jetstream::Jetstream::start()? } else { Err(LEFT_OUT.into()) };
        if let Ok(server) = &jetstream {
            server.create().await?;
        }
        let postgres = if wants(System::Postgres) { postgres::Postgres::start()? } else { Err(LEFT_OUT.into()) };
        if let Ok(server) = &postgres {
            server.create().await?;
        }
        let length = world.entry(&key(1)).bytes().len();
        into.entry_bytes = length;
        into.meet(System::Jetstream, jetstream.as_ref().map(jetstream::Jetstream::version));
        into.meet(System::Postgres, postgres.as_ref().map(postgres::Postgres::version));
        let absent = |system: &System| into.absent.iter().any(|(one, _)| one == system);
        let there: Vec<System> = System::ALL.into_iter().filter(|system| wants(*system) && !absent(system)).collect();
        for writers in &options.writers {
            into.rows.extend(there.iter().map(|system| Row::new(*system, *writers)));
        }
        Ok(Self { world, jetstream, postgres, next: Arc::default(), length, round: options.round })
    }

    /// One round.
    async fn run(&self, system: System, writers: u64) -> Result<Round, Failure> {
        let bytes = || Bytes { next: self.next.clone(), length: self.length };
        match system {
            System::Ledger | System::LedgerHttp => {
                let http = system == System::LedgerHttp;
                let to = |writer: u64| ToLedger { world: self.world.clone(), http, key: key(writer.saturating_add(1)) };
                self.round((0..writers).map(to).collect(), None).await
            }
            System::Jetstream => {
                let server = self.jetstream.as_ref().map_err(String::as_str)?;
                let mut all = Vec::new();
                for _ in 0..writers {
                    all.push(ToJetstream(server.writer().await?, bytes()));
                }
                self.round(all, Some(server.id())).await
            }
            System::Postgres => {
                let server = self.postgres.as_ref().map_err(String::as_str)?;
                let mut all = Vec::new();
                for _ in 0..writers {
                    all.push(ToPostgres(server.writer().await?, bytes()));
                }
                self.round(all, Some(server.id())).await
            }
        }
    }

    async fn round<A: Appender>(&self, appenders: Vec<A>, server: Option<u32>) -> Result<Round, Failure> {
        // Before it is hot nothing counts: the first append of a connection prepares much.
        let appenders = Self::append_until(appenders, Instant::now()).await?.0;
        let served = || server.map_or(Some(Duration::ZERO), cpu_of_family);
        let (before, own, start) = (served(), own_cpu(), Instant::now());
        let end = start.checked_add(self.round).ok_or("a round is longer than time goes")?;
        let (appenders, waits) = Self::append_until(appenders, end).await?;
        let wall = since(start);
        // The connections are still there, and so is what the server did for them.
        let cpu = served().zip(before).map(|(after, before)| after.saturating_sub(before));
        let cpu = cpu.map(|server| server.saturating_add(own_cpu().saturating_sub(own)));
        drop(appenders);
        Ok(Round { waits, wall, cpu })
    }

    /// All append, at least once each, until this moment; gives them back, and how long each append waited.
    async fn append_until<A: Appender>(appenders: Vec<A>, end: Instant) -> Result<(Vec<A>, Vec<Duration>), Failure> {
        let one = |mut appender: A| async move {
            let mut waits = Vec::new();
            loop {
                let start = Instant::now();
                appender.append().await?;
                waits.push(since(start));
                if Instant::now() >= end {
                    return Ok::<_, Failure>((appender, waits));
                }
            }
        };
        let tasks: Vec<_> = appenders.into_iter().map(|appender| tokio::spawn(one(appender))).collect();
        let (mut back, mut all) = (Vec::new(), Vec::new());
        for task in tasks {
            let (appender, waits) = task.await??;
            back.push(appender);
            all.extend(waits);
        }
        Ok((back, all))
    }
}

impl Row {
    fn new(system: System, writers: u64) -> Self {
        let (rates, half_ms, most_ms, cpu_us) = Default::default();
        Self { system, writers, rates, half_ms, most_ms, cpu_us }
    }

    fn push(&mut self, round: Round) -> Result<(), Failure> {
        let count = u64::try_from(round.waits.len())?;
        self.rates.push(crate::per_second(count, round.wall));
        let [half, most, _] = spread(round.waits);
        self.half_ms.push(half);
        self.most_ms.push(most);
        if let Some(cpu) = round.cpu {
            self.cpu_us.push(cpu.as_secs_f64() * 1e6 * ratio(1, count));
        }
        Ok(())
    }
}

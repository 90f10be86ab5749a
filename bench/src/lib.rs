//! The stream benchmark: how many messages per second a whole sale moves, beside TLS and plain TCP
//! in the same run.
//!
//! `cargo run --release -p sdpp-bench`, and what it found: `docs/performance.md`.
//!
//! - A *sale* is a real seller and a real buyer of crate `sdpp` over loopback TCP, each on a thread of
//!   its own with a current-thread runtime, each with a journal. The rail is the fake bank in voucher
//!   mode, so payments are signed, verified and stored, but no ledger stands behind them. Nothing is
//!   recorded. A round runs from the connection to both settlements: handshake and the new buyer's
//!   ramp are in it.
//! - *Commits* are what lock step waits for: durable writes one after another, by a journal and by the store alone,
//!   as many a second as this disk allows.
//! - Two *rivals* write the same payload bytes in large slices: TCP, and TLS 1.3 by rustls. A round of
//!   theirs runs from the connection to the last byte, handshake included.
//! - The others move messages, each as one: NATS, MQTT, and a paid request of HTTP for each. They are far
//!   slower, so a round of theirs has as many as fill its time. Servers between their ends are the real
//!   ones; `tools/` fetches those that the system does not have, and a row says which are not there.
//! - Processor time counts beside time: both ends of all rows are in this process, and a server's own time
//!   is added.
//!
//! All sales and rivals take turns, round by round, so that a busy machine slows all of them.

use std::time::{Duration, Instant};

pub mod audit;
mod clock;
mod commits;
pub mod cycle;
pub mod fanout;
mod folder;
mod head;
pub mod latency;
pub mod ledger;
pub mod length;
mod memory;
mod rail;
pub mod rails;
mod report;
mod rival;
mod sale;
mod shown;

pub use report::{Limit, Rates, Report, Rival, Row, name_of};
pub use rival::Kind;
pub use sale::{Journal, Spec, Way};
pub use sdpp_proto::suite::Suite;
pub use sdpp_rail::fake::FakeMode;
pub use shown::{Shown, ended};

use rival::Rivals;

/// What goes wrong in a benchmark ends it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Warm-up rounds that look for the right count of messages.
const SEARCHES_MAX: u32 = 6;
/// Steps of a round at least.
const STEPS_MIN: u64 = 4;
/// A round of a shape that was sold in another way before may take so many times as long as others.
const SLOWER_MAX: u32 = 4;
/// A warm-up round raises the count at most so many times.
const GROWTH_MAX: u128 = 30;

/// A steady rate is that of a sale of so many times its credit: at the ramp's end the seller has made
/// up to all outstanding messages ready, and that head start must not count for much.
const STEADY_CREDITS: u64 = 4;

/// Fewest messages in lock step, or commits, of a round: one slow flush among few would be all that is seen, and the
/// commits of a sale's two ends would count.
const SERIES_MIN: u64 = 200;

/// What to measure: a grid of shapes, each sold in the first class, suite and mode; and shapes of the reference size
/// that the other classes, suites and modes vary.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds that count.
    pub rounds: u32,
    /// Roughly how long a round of a sale takes.
    pub round: Duration,
    /// Bytes of one message.
    pub sizes: Vec<usize>,
    /// Messages per window.
    pub ks: Vec<u32>,
    /// Outstanding windows; K = 1 is also measured in lock step, with one.
    pub windows: Vec<u32>,
    /// Further shapes of the reference size: K and outstanding windows.
    pub also: Vec<(u32, u32)>,
    /// How durable the journals of both sides are.
    pub journals: Vec<Journal>,
    /// How both sides agree on keys.
    pub suites: Vec<Suite>,
    /// How buyers pay.
    pub modes: Vec<FakeMode>,
    /// What sales are measured against.
    pub rivals: Vec<Kind>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 5,
            round: Duration::from_millis(350),
            sizes: vec![100, 1024, 16384],
            ks: vec![1, 10, 100, 1000],
            windows: vec![64],
            also: vec![(1, 64_000), (100, 8), (100, 640)],
            journals: vec![Journal::Process, Journal::Power],
            suites: vec![Suite::X25519, Suite::XWing],
            modes: vec![FakeMode::Voucher, FakeMode::Direct],
            rivals: Kind::ALL.to_vec(),
        }
    }
}

/// The reference, where it is among what was asked for.
const SIZE: usize = 1024;
const K: u32 = 100;

impl Options {
    fn rows(&self, size: usize) -> Result<Vec<(Spec, Way)>, Failure> {
        let first = |missing: &'static str| Failure::from(format!("there is no {missing}"));
        let way = Way {
            journal: *self.journals.first().ok_or_else(|| first("class of journals"))?,
            suite: *self.suites.first().ok_or_else(|| first("suite"))?,
            mode: *self.modes.first().ok_or_else(|| first("mode"))?,
        };
        let mut shapes: Vec<(u32, u32)> =
            self.ks.iter().flat_map(|k| self.windows.iter().map(|windows| (*k, *windows))).collect();
        if self.ks.contains(&1) {
            shapes.push((1, 1));
        }
        let is_reference = size == reference(&self.sizes, SIZE);
        if is_reference {
            shapes.extend(&self.also);
        }
        shapes.sort_unstable();
        shapes.dedup();
        let spec = |(k, windows): (u32, u32)| Spec { size, k, windows, messages: 0 };
        let mut rows: Vec<(Spec, Way)> = shapes.iter().map(|shape| (spec(*shape), way)).collect();
        if is_reference {
            let k = reference(&self.ks, K);
            let stored = shapes.iter().filter(|(one, windows)| *one == k || (*one, *windows) == (1, 1));
            let stored: Vec<Spec> = stored.copied().map(spec).collect();
            let varied = spec((k, self.windows.first().copied().unwrap_or(1)));
            let classes = self.journals.iter().skip(1).map(|journal| Way { journal: *journal, ..way });
            rows.extend(classes.flat_map(|way| stored.iter().map(move |spec| (*spec, way))));
            rows.extend(self.suites.iter().skip(1).map(|suite| (varied, Way { suite: *suite, ..way })));
            rows.extend(self.modes.iter().skip(1).map(|mode| (varied, Way { mode: *mode, ..way })));
        }
        Ok(rows)
    }
}

/// The wanted one, or the first.
fn reference<T: Copy + Default + PartialEq>(all: &[T], wanted: T) -> T {
    if all.contains(&wanted) { wanted } else { all.first().copied().unwrap_or_default() }
}

/// Runs everything; `progress` hears what is being done.
///
/// # Errors
/// [`Failure`]: a sale that did not settle in full, or the system's.
pub fn measure(options: &Options, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    let rivals = Rivals::new(&options.rivals)?;
    let mut head = head::read(options);
    head.extend(rivals.versions());
    let mut report = Report::new(head);
    for size in &options.sizes {
        progress(&format!("warming up with {size} bytes"));
        for (spec, way) in options.rows(*size)? {
            let same = report.rows.iter().find(|row| row.spec.is_shaped_as(&spec)).map(|row| row.spec.messages);
            report.rows.push(Row::new(warm_up(spec, way, (options.round, same))?, way));
        }
        let rows = report.rows.iter().filter(|row| row.spec.size == *size);
        let bytes = rows.map(|row| row.spec.payload_bytes()).max().unwrap_or_default();
        for kind in &options.rivals {
            report.rivals.push(rivals.warm_up(*kind, *size, bytes, options.round)?);
        }
    }
    report.limits = limits(&report, options.round)?;
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}", options.rounds));
        for size in &options.sizes {
            take_turns(&mut report, *size, &rivals)?;
        }
        for limit in &mut report.limits {
            limit.push(
                commits::by_journal(limit.journal, limit.commits)?,
                commits::by_store(limit.journal, limit.commits)?,
            );
        }
    }
    Ok(report)
}

/// One round of all that moves messages of this size.
fn take_turns(report: &mut Report, size: usize, rivals: &Rivals) -> Result<(), Failure> {
    for row in report.rows.iter_mut().filter(|row| row.spec.size == size) {
        let sold = sale::run(&row.spec, row.way)?;
        row.push(sold.whole, sold.commits);
        if let Some(sale::Parts { handshake, ramp, steady: (messages, time), end }) = sold.parts {
            if row.spec.messages >= row.spec.outstanding().saturating_mul(STEADY_CREDITS) {
                row.steady.push(per_second(messages, time));
            }
            for (part, time) in row.parts_ms.iter_mut().zip([handshake, ramp, end]) {
                part.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    for rival in report.rivals.iter_mut().filter(|rival| rival.size == size && rival.absent.is_none()) {
        rival.push(rivals.run(rival.kind, size, rival.messages)?);
    }
    Ok(())
}

/// Runs a sale that does not count, and finds how many messages make a round: of the right length, or as many as the
/// same shape has that was sold in another way, so that handshake and ramp weigh the same.
fn warm_up(mut spec: Spec, way: Way, (round, same): (Duration, Option<u64>)) -> Result<Spec, Failure> {
    let step = u64::from(spec.k);
    let run = |messages| Ok::<_, Failure>(sale::run(&Spec { messages, ..spec }, way)?.whole.wall);
    let messages = match same {
        None => search(step, round, run)?,
        Some(messages) => scaled(messages, step, (round.saturating_mul(SLOWER_MAX), run(messages)?)).min(messages),
    };
    spec.messages = if spec.is_lock_step() { messages.max(SERIES_MIN) } else { messages };
    Ok(spec)
}

/// How many commits make a round, for each class that something is sold in lock step with.
fn limits(report: &Report, round: Duration) -> Result<Vec<Limit>, Failure> {
    let mut limits: Vec<Limit> = Vec::new();
    for journal in report.rows.iter().filter(|row| row.spec.is_lock_step()).map(|row| row.way.journal) {
        if limits.iter().all(|limit| limit.journal != journal) {
            let commits = search(1, round, |commits| Ok(commits::by_journal(journal, commits)?.wall))?;
            limits.push(Limit::new(journal, commits.max(SERIES_MIN)));
        }
    }
    Ok(limits)
}

/// How many messages, in whole steps, make a round of this length.
fn search(step: u64, wanted: Duration, mut run: impl FnMut(u64) -> Result<Duration, Failure>) -> Result<u64, Failure> {
    let mut messages = step.saturating_mul(STEPS_MIN).max(64);
    for _ in 0..SEARCHES_MAX {
        let mut took = run(messages)?;
        let is_long = |took: Duration| took.saturating_mul(2) > wanted;
        if is_long(took) {
            // Once more: the machine may have been busy with something else.
            took = took.min(run(messages)?);
        }
        messages = scaled(messages, step, (wanted, took));
        if is_long(took) {
            break;
        }
    }
    Ok(messages)
}

/// How many messages, in whole steps, take so long, when these took so long.
fn scaled(messages: u64, step: u64, (wanted, took): (Duration, Duration)) -> u64 {
    let scaled = u128::from(messages).saturating_mul(wanted.as_nanos()).checked_div(took.as_nanos().max(1));
    let most = u128::from(messages).saturating_mul(GROWTH_MAX);
    let scaled = u64::try_from(scaled.unwrap_or_default().min(most)).unwrap_or(u64::MAX);
    scaled.checked_div(step).unwrap_or(1).max(STEPS_MIN).saturating_mul(step)
}

#[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// What has passed since.
fn since(start: Instant) -> Duration {
    Instant::now().saturating_duration_since(start)
}

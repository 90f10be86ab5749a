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

mod clock;
pub mod fanout;
mod folder;
mod head;
pub mod ledger;
pub mod length;
mod memory;
mod rail;
mod report;
mod rival;
mod sale;

pub use report::{Rates, Report, Rival, Row};
pub use rival::Kind;
pub use sale::{Journal, Spec};

use rival::Rivals;

/// What goes wrong in a benchmark ends it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Warm-up rounds that look for the right count of messages.
const SEARCHES_MAX: u32 = 6;
/// A warm-up round raises the count at most so many times.
const GROWTH_MAX: u128 = 30;

/// A steady rate is that of a sale of so many times its credit: at the ramp's end the seller has made
/// up to all outstanding messages ready, and that head start must not count for much.
const STEADY_CREDITS: u64 = 4;

/// What to measure.
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
    /// Outstanding windows; K = 1 is also measured with the protocol's default, two.
    pub windows: Vec<u32>,
    /// How durable the journals of both sides are.
    pub journal: Journal,
    /// What sales are measured against.
    pub rivals: Vec<Kind>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 5,
            round: Duration::from_millis(350),
            sizes: vec![100, 1024],
            ks: vec![1, 10, 100, 1000],
            windows: vec![64],
            journal: Journal::Process,
            rivals: Kind::ALL.to_vec(),
        }
    }
}

impl Options {
    fn specs(&self, size: usize) -> Vec<Spec> {
        let mut specs = Vec::new();
        for k in &self.ks {
            let mut windows = self.windows.clone();
            if *k == 1 && !windows.contains(&2) {
                windows.insert(0, 2);
            }
            specs.extend(windows.into_iter().map(|windows| Spec { size, k: *k, windows, messages: 0 }));
        }
        specs
    }
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
        for spec in options.specs(*size) {
            report.rows.push(Row::new(warm_up(spec, options)?));
        }
        let rows = report.rows.iter().filter(|row| row.spec.size == *size);
        let bytes = rows.map(|row| row.spec.payload_bytes()).max().unwrap_or_default();
        for kind in &options.rivals {
            report.rivals.push(rivals.warm_up(*kind, *size, bytes, options.round)?);
        }
    }
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}", options.rounds));
        for size in &options.sizes {
            take_turns(&mut report, *size, options.journal, &rivals)?;
        }
    }
    Ok(report)
}

/// One round of all that moves messages of this size.
fn take_turns(report: &mut Report, size: usize, journal: Journal, rivals: &Rivals) -> Result<(), Failure> {
    for row in report.rows.iter_mut().filter(|row| row.spec.size == size) {
        let sold = sale::run(&row.spec, journal)?;
        row.push(sold.whole);
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

/// Runs a sale that does not count, and finds how many messages make a round of the right length.
fn warm_up(mut spec: Spec, options: &Options) -> Result<Spec, Failure> {
    spec.messages = search(u64::from(spec.k), options.round, |messages| {
        Ok(sale::run(&Spec { messages, ..spec }, options.journal)?.whole.wall)
    })?;
    Ok(spec)
}

/// How many messages, in whole steps, make a round of this length.
fn search(step: u64, wanted: Duration, mut run: impl FnMut(u64) -> Result<Duration, Failure>) -> Result<u64, Failure> {
    let wanted = wanted.as_nanos();
    let mut messages = step.saturating_mul(4).max(64);
    for _ in 0..SEARCHES_MAX {
        let took = run(messages)?.as_nanos().max(1);
        let growth = wanted.checked_div(took).unwrap_or(1);
        let scaled = u128::from(messages).saturating_mul(wanted).checked_div(took).unwrap_or(1);
        let most = u128::from(messages).saturating_mul(GROWTH_MAX);
        let steps = u64::try_from(scaled.min(most)).unwrap_or(u64::MAX).checked_div(step).unwrap_or(1);
        messages = steps.max(4).saturating_mul(step);
        if growth < 2 {
            break;
        }
    }
    Ok(messages)
}

#[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// What has passed since.
fn since(start: Instant) -> Duration {
    Instant::now().saturating_duration_since(start)
}

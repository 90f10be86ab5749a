//! One message at a time.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use sdpp::buyer::Buyer;
use sdpp::journal::Barrier;
use sdpp::seller::{self, Offer};
use sdpp::sink::{Mark, Sink};
use sdpp::source::{Fill, Filled, Source};
use sdpp_proto::message::{Batch, Message};
use sdpp_rail::fake::{FakeBank, FakeMode};

use super::Options;
use crate::Failure;
use crate::folder::Folder;
use crate::report::json_of;
use crate::report::{Rates, spread};
use crate::rival::{HOST, tls};
use crate::sale::{self, Spec, Way};

/// Bytes that the time of an offer takes in a message.
pub(super) const STAMP: usize = 8;

/// What moves messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A sale.
    Sdpp,
    /// TLS 1.3 with AES-256-GCM: a write and a flush for each message.
    Tls,
    /// Plain TCP.
    Tcp,
}

impl Kind {
    /// All, in the order in which they take their turns.
    pub const ALL: [Self; 3] = [Self::Sdpp, Self::Tls, Self::Tcp];

    /// Its name in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sdpp => "sdpp",
            Self::Tls => "rustls",
            Self::Tcp => "tcp",
        }
    }
}

/// How long messages of one kind were under way, a value for each round.
#[derive(Clone, Debug)]
pub struct Times {
    /// What moved them.
    pub kind: Kind,
    /// Microseconds from offer to delivery: half of the messages, 99 of 100, 999 of 1,000, all.
    pub under_way_us: [Rates; 4],
    /// Messages per second that were offered.
    pub offered: Rates,
    /// Milliseconds by which offers came behind their time: 99 of 100, all.
    pub behind_ms: [Rates; 2],
}

impl Times {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, under_way_us: Default::default(), offered: Rates::default(), behind_ms: Default::default() }
    }

    pub(super) fn push(&mut self, seen: Seen, options: &Options) {
        let Seen { mut under_way_ns, offered_ns } = seen;
        let mut behind_ns: Vec<u64> = behind(&offered_ns, options.rate);
        let (first, last) = (offered_ns.first(), offered_ns.last());
        let span = last.copied().unwrap_or_default().saturating_sub(first.copied().unwrap_or_default());
        let gaps = u64::try_from(offered_ns.len()).unwrap_or_default().saturating_sub(1);
        self.offered.push(crate::per_second(gaps, Duration::from_nanos(span)));
        under_way_ns.sort_unstable();
        behind_ns.sort_unstable();
        for (rates, share) in self.under_way_us.iter_mut().zip([500, 990, 999, 1000]) {
            rates.push(scaled(quantile(&under_way_ns, share), 1e3));
        }
        for (rates, share) in self.behind_ms.iter_mut().zip([990, 1000]) {
            rates.push(scaled(quantile(&behind_ns, share), 1e6));
        }
    }

    pub(super) fn json(&self) -> String {
        let names = ["p50_us", "p99_us", "p999_us", "max_us", "offered_per_s", "behind_p99_ms", "behind_max_ms"];
        let all = self.under_way_us.iter().chain([&self.offered]).chain(&self.behind_ms);
        names.into_iter().zip(all).map(|(name, rates)| json_of(name, rates)).collect::<Vec<_>>().join(",")
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}", self.kind.name())?;
        for (rates, width) in self.under_way_us.iter().zip([18, 18, 20, 22]) {
            write!(f, " {:>width$}", format!("{:.0} {}", rates.median(), spread(rates)))?;
        }
        let [p99, max] = self.behind_ms.each_ref().map(Rates::median);
        writeln!(f, "   {:>8.0} {:>16}", self.offered.median(), format!("{p99:.2}, {max:.2}"))
    }
}

/// How much later than at a steady rate each was offered, counted from the one that was the least late.
fn behind(offered_ns: &[u64], rate: u32) -> Vec<u64> {
    let interval_ns = 1_000_000_000_u64.checked_div(u64::from(rate)).unwrap_or_default();
    let due = |number: usize| u64::try_from(number).unwrap_or(u64::MAX).saturating_mul(interval_ns);
    let shifted = offered_ns.iter().enumerate().map(|(number, at)| i128::from(*at).saturating_sub(due(number).into()));
    let least = shifted.clone().min().unwrap_or_default();
    shifted.map(|at| u64::try_from(at.saturating_sub(least)).unwrap_or(u64::MAX)).collect()
}

/// So many of 1,000 are not above it.
fn quantile(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = sorted.len().saturating_mul(per_mille).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a time need not be exact")]
fn scaled(ns: u64, by: f64) -> f64 {
    ns as f64 / by
}

/// What a reader or a sink has seen.
#[derive(Default)]
pub(super) struct Seen {
    under_way_ns: Vec<u64>,
    offered_ns: Vec<u64>,
}

impl Seen {
    fn take(&mut self, clock: Clock, message: &[u8]) -> io::Result<()> {
        let now = clock.now_ns();
        let stamp = message.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
        let offered = u64::from_be_bytes(*stamp);
        self.under_way_ns.push(now.saturating_sub(offered));
        self.offered_ns.push(offered);
        Ok(())
    }

    /// Without those before.
    fn without(mut self, warm_up: usize) -> Self {
        self.under_way_ns.drain(..warm_up.min(self.under_way_ns.len()));
        self.offered_ns.drain(..warm_up.min(self.offered_ns.len()));
        self
    }
}

/// One for both ends.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now_ns(self) -> u64 {
        u64::try_from(crate::since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Says when the next message is due, and makes it.
struct Pace {
    clock: Clock,
    interval: Duration,
    due: Option<Instant>,
    payload: Vec<u8>,
    left: usize,
}

impl Pace {
    fn new(clock: Clock, options: &Options) -> Self {
        let interval = Duration::from_secs(1).checked_div(options.rate).unwrap_or_default();
        let left = options.warm_up.saturating_add(options.messages);
        Self { clock, interval, due: None, payload: sale::payload(options.size), left }
    }

    /// When the next one is due; the first one is at once. Those that are late come one behind the other.
    fn due(&mut self) -> Instant {
        *self.due.get_or_insert_with(Instant::now)
    }

    /// The next one, with the time of now.
    fn message(&mut self) -> &[u8] {
        self.due = self.due.and_then(|due| due.checked_add(self.interval));
        self.left = self.left.saturating_sub(1);
        let now = self.clock.now_ns().to_be_bytes();
        self.payload.iter_mut().zip(now).for_each(|(to, from)| *to = from);
        &self.payload
    }
}

/// Moves the messages of one round.
pub(super) fn run(kind: Kind, options: &Options) -> Result<Seen, Failure> {
    let seen = match kind {
        Kind::Sdpp => sell(options),
        Kind::Tls | Kind::Tcp => write_all(kind, options),
    }?;
    Ok(seen.without(options.warm_up))
}

impl Source for Pace {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            if self.left == 0 {
                return Ok(Filled::End);
            }
            tokio::time::sleep_until(self.due().into()).await;
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let time_us = i64::try_from(time.as_micros()).unwrap_or_default();
            batch.push(time_us, self.message()).map_err(|_| io::ErrorKind::InvalidInput)?;
            Ok(Filled::Some)
        })
    }

    fn seek(&mut self, seq: u64) -> io::Result<()> {
        // An order of one connection begins at its beginning.
        if seq == 0 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }
}

struct Watch {
    clock: Clock,
    seen: Seen,
}

impl Sink for Watch {
    fn write(&mut self, _seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.seen.take(self.clock, message.bytes)
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        Ok(None)
    }

    fn go_back(&mut self, _mark: &Mark) -> io::Result<bool> {
        Ok(false)
    }
}

fn sell(options: &Options) -> Result<Seen, Failure> {
    let (folder, bank) = (Folder::new("bench-journals")?, FakeBank::new());
    let way = Way::from(options.journal);
    let messages = u64::try_from(options.warm_up.saturating_add(options.messages))?;
    let spec = Spec { size: options.size, k: options.k, windows: options.windows, messages };
    let journal = |role| options.journal.start(folder.path(), role);
    let clock = Clock(Instant::now());
    let settings = sale::settings_by(&spec, &bank, (journal("seller")?, FakeMode::Voucher));
    let paced = options.clone();
    let settings = with_source(settings, move || Box::new(Pace::new(clock, &paced)));
    let seen = sale::with_seller(settings, |at| {
        let settings = sale::buyer_settings(&bank, (journal("buyer")?, way), &sale::buyer_key(0), Arc::new(|_| {}))?;
        let buyer = Buyer::new(settings);
        let mut sink = Watch { clock, seen: Seen::default() };
        let request = sale::request(&spec);
        let (purchase, ..) = sale::in_thread(|| sale::buy(&buyer, at, &request, &mut sink))?;
        let complete = purchase.is_settled() && purchase.delivered == messages;
        if complete { Ok(sink.seen) } else { Err(format!("a sale did not settle in full: {purchase:?}").into()) }
    })?;
    sale::wait_for_journals(folder.path(), &["seller", "buyer"]);
    Ok(seen)
}

/// The same settings with another source.
fn with_source(
    settings: seller::Settings,
    source: impl Fn() -> Box<dyn Source> + Send + Sync + 'static,
) -> seller::Settings {
    let source: seller::MakeSource = Arc::new(move |_| Ok(source()));
    let offers = settings.offers.into_iter().map(|offer| Offer { source: source.clone(), ..offer }).collect();
    seller::Settings { offers, ..settings }
}

/// A write and a flush for each message.
fn write_all(kind: Kind, options: &Options) -> Result<Seen, Failure> {
    let (server, client) = tls(rustls::crypto::aws_lc_rs::default_provider())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    let clock = Clock(Instant::now());
    thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            let pace = Pace::new(clock, options);
            match kind {
                Kind::Tls => write(StreamOwned::new(ServerConnection::new(Arc::new(server))?, stream), pace)?,
                Kind::Tcp | Kind::Sdpp => write(stream, pace)?,
            }
            Ok::<_, Failure>(())
        });
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        let seen = match kind {
            Kind::Tls => {
                let connection = ClientConnection::new(Arc::new(client), ServerName::try_from(HOST)?)?;
                read(StreamOwned::new(connection, stream), clock, options)
            }
            Kind::Tcp | Kind::Sdpp => read(stream, clock, options),
        };
        writing.join().map_err(|_| "the writing thread panicked")??;
        Ok(seen?)
    })
}

fn write(mut to: impl Write, mut pace: Pace) -> io::Result<()> {
    while pace.left > 0 {
        thread::sleep(pace.due().saturating_duration_since(Instant::now()));
        to.write_all(pace.message())?;
        to.flush()?;
    }
    Ok(())
}

fn read(mut from: impl Read, clock: Clock, options: &Options) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let mut message = vec![0; options.size];
    for _ in 0..options.warm_up.saturating_add(options.messages) {
        from.read_exact(&mut message)?;
        seen.take(clock, &message)?;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let thousand: Vec<u64> = (1..=1000).collect();
        assert_eq!([500, 990, 999, 1000].map(|share| quantile(&thousand, share)), [500, 990, 999, 1000]);
        assert_eq!([500, 990, 999, 1000].map(|share| quantile(&[7, 9], share)), [7, 9, 9, 9]);
        assert_eq!(quantile(&[], 500), 0);
    }

    #[test]
    fn offers_that_are_held_back_show() {
        // One a millisecond; the third is 5 ms late, and the fourth catches up.
        assert_eq!(behind(&[100, 1_000_100, 7_000_100, 7_000_200], 1000), [0, 0, 5_000_000, 4_000_100]);
        // Late from the first one on is not held back.
        assert_eq!(behind(&[900, 1_000_900], 1000), [0, 0]);
    }
}

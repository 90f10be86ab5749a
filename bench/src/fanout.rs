//! One seller, many buyers at once: what a quiet session takes, and what all get together.
//!
//! `cargo run --release -p sdpp-bench --bin fanout`. Two kinds: one live source for all orders ([`live`]), and here an order's own
//! source for each. Here seller and buyers are in one process, each side on one thread with a
//! current-thread runtime and one journal in memory. First all sessions go live and nothing is sold: what the process
//! has grown by, divided by them, is both ends of a quiet session. Then every order's source opens at once.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sdpp::buyer::Purchase;
use sdpp::seller::{self, Event, Offer, Seller};
use sdpp::sink::Discard;
use sdpp::source::{Fill, Repeat, Source};
use sdpp_proto::message::Batch;
use sdpp_rail::fake::FakeBank;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::Failure;
use crate::memory::resident;
use crate::sale::{self, Journal, Spec};

mod buying;
pub mod live;
mod process;
mod selling;

/// Handshakes at a time: a seller drops the oldest of too many.
const HANDSHAKES: usize = 64;
/// How often it is looked whether all are live.
const LOOK: Duration = Duration::from_millis(5);
/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Buyers at once, run by run.
    pub buyers: Vec<usize>,
    /// Messages of all buyers of a run.
    pub messages: u64,
    /// Bytes of one message.
    pub size: usize,
    /// Messages per window.
    pub k: u32,
    /// Outstanding windows of a buyer.
    pub windows: u32,
    /// How long the sessions are left quiet before their memory is looked at: connections give back what their
    /// handshakes took when they have been quiet for the time of a keep-alive, 15 s.
    pub quiet: Duration,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Row {
    /// Buyers at once.
    pub buyers: usize,
    /// Bytes that the process grew by for each: both ends of a session. Only of the first run: others write where it has
    /// written.
    pub quiet_bytes: Option<u64>,
    /// Messages per second of all, from the opening of the sources to the last settlement.
    pub rate: f64,
    /// When the first and the last buyer had all it wanted, by the time of the last.
    pub first: f64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    options: Options,
    /// The runs.
    pub rows: Vec<Row>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { size, k, windows, messages, .. } = &self.options;
        writeln!(f, "{messages} messages of {size} bytes in all, K = {k}, {windows} windows, journals in memory")?;
        writeln!(
            f,
            "{:>7} {:>22} {:>12} {:>22}",
            "buyers", "quiet, KiB a session", "messages/s", "first done / last done"
        )?;
        self.rows.iter().try_for_each(|row| {
            let kib = row.quiet_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.div_ceil(1024).to_string());
            writeln!(f, "{:>7} {:>22} {:>12.0} {:>22.2}", row.buyers, kib, row.rate, row.first)
        })
    }
}

impl Report {
    /// One JSON object a line.
    pub fn json(&self) -> String {
        let Options { size, k, windows, messages, .. } = &self.options;
        let line = |row: &Row| {
            let Row { buyers, quiet_bytes, rate, first } = row;
            let quiet = quiet_bytes.map_or_else(String::new, |bytes| format!(",\"quiet_bytes\":{bytes}"));
            format!(
                "{{\"what\":\"own\",\"buyers\":{buyers},\"messages\":{messages},\"bytes\":{size},\"k\":{k},\"windows\":{windows},\
                 \"per_s\":{rate:.0},\"first_by_last\":{first:.2}{quiet}}}"
            )
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Runs everything; `progress` hears what is being done.
///
/// # Errors
/// [`Failure`]: a sale that did not settle in full, or the system's.
pub fn measure(options: &Options, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    let mut report = Report { options: options.clone(), rows: Vec::new() };
    for buyers in &options.buyers {
        progress(&format!("{buyers} buyers"));
        let mut row = run(options, *buyers)?;
        row.quiet_bytes = row.quiet_bytes.filter(|_| report.rows.is_empty());
        report.rows.push(row);
    }
    Ok(report)
}

/// A source that gives nothing until a gate opens.
struct Gated {
    gate: watch::Receiver<bool>,
    inner: Repeat,
}

impl Source for Gated {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            self.gate.wait_for(|open| *open).await.map_err(io::Error::other)?;
            self.inner.fill(batch).await
        })
    }

    fn seek(&mut self, seq: u64) -> io::Result<()> {
        self.inner.seek(seq)
    }
}

fn run(options: &Options, buyers: usize) -> Result<Row, Failure> {
    let each = options.messages.checked_div(u64::try_from(buyers)?).unwrap_or(1).max(1);
    let spec = Spec { size: options.size, k: options.k, windows: options.windows, messages: each };
    let bank = FakeBank::new();
    let (gate, gated) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let live = Arc::new(AtomicUsize::new(0));
    let before = resident()?;
    let (quiet, start, ends) = thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let settings = settings(&spec, &bank, buyers, (gated, live.clone()))?;
        let selling = scope.spawn(move || serve(settings, (tell, stopped), || {}));
        let bought = told.recv().map_err(Failure::from).and_then(|at| {
            let (spec, bank, here, opener) = (&spec, &bank, live.clone(), gate.clone());
            let buying = scope.spawn(move || buy(spec, bank, at, (buyers, here, opener)));
            while live.load(Ordering::SeqCst) < buyers && !*gate.borrow() && !buying.is_finished() {
                thread::sleep(LOOK);
            }
            thread::sleep(options.quiet);
            let (quiet, start) = (resident(), Instant::now());
            let _ = gate.send(true);
            let ends = buying.join().map_err(|_| "the buyers' thread panicked")??;
            Ok((quiet?, start, ends))
        });
        let _ = stop.send(true);
        selling.join().map_err(|_| "the seller's thread panicked")??;
        bought
    })?;
    let took = |end: &Instant| end.saturating_duration_since(start).as_secs_f64();
    let (first, last) = (ends.iter().min().map_or(0.0, took), ends.iter().max().map_or(0.0, took));
    let count = each.saturating_mul(u64::try_from(buyers)?);
    Ok(Row {
        buyers,
        quiet_bytes: quiet.saturating_sub(before).checked_div(u64::try_from(buyers)?),
        rate: crate::per_second(count, Duration::from_secs_f64(last)),
        first: first / last.max(1e-9),
    })
}

fn settings(
    spec: &Spec,
    bank: &FakeBank,
    buyers: usize,
    (gate, live): (watch::Receiver<bool>, Arc<AtomicUsize>),
) -> Result<seller::Settings, Failure> {
    let (size, messages) = (spec.size, spec.messages);
    let mut settings = sale::settings(spec, bank, Journal::Memory.start(std::path::Path::new(""), "seller")?);
    let source = move |_: &_| {
        let gated = Gated { gate: gate.clone(), inner: Repeat::new(sale::payload(size), messages) };
        Ok(Box::new(gated) as Box<dyn Source>)
    };
    settings.offers =
        settings.offers.into_iter().map(|offer| Offer { source: Arc::new(source.clone()), ..offer }).collect();
    settings.limits.connections = buyers.saturating_add(HANDSHAKES);
    settings.listener = Arc::new(move |event| {
        if matches!(event, Event::Live { .. }) {
            live.fetch_add(1, Ordering::SeqCst);
        }
    });
    Ok(settings)
}

/// The seller's thread; `start` is called inside its runtime.
fn serve(
    settings: seller::Settings,
    (tell, stop): (mpsc::Sender<SocketAddr>, watch::Receiver<bool>),
    start: impl FnOnce(),
) -> Result<(), Failure> {
    sale::runtime()?.block_on(async {
        start();
        let seller = Seller::start(settings).await?;
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(1024)?;
        tell.send(listener.local_addr()?)?;
        seller.serve(listener, stop).await;
        Ok(())
    })
}

/// Gives when each buyer had all it wanted.
fn buy(
    spec: &Spec,
    bank: &FakeBank,
    at: SocketAddr,
    (buyers, live, gate): (usize, Arc<AtomicUsize>, watch::Sender<bool>),
) -> Result<Vec<Instant>, Failure> {
    let journal = Journal::Memory.start(std::path::Path::new(""), "buyer")?;
    let (_stop, stopped) = watch::channel(false);
    LocalSet::new().block_on(&sale::runtime()?, async move {
        let (mut tasks, failed) = (Vec::new(), Rc::new(Cell::new(false)));
        for number in 0..buyers {
            // One more may come for each that is live.
            while number.saturating_sub(live.load(Ordering::SeqCst)) >= HANDSHAKES && !failed.get() {
                tokio::time::sleep(LOOK).await;
            }
            let gate = gate.clone();
            let buyer = sale::purchaser(bank, journal.clone(), &sale::buyer_key(number), Arc::new(|_: &_| {}))?;
            let (request, stopped) = (sale::request(spec), stopped.clone());
            let failed = failed.clone();
            tasks.push(tokio::task::spawn_local(async move {
                let mut sink = Discard::default();
                let bought = buyer.buy(&sale::address(at), &request, &mut sink, stopped).await;
                if bought.is_err() {
                    // The others wait for a gate that waits for all.
                    failed.set(true);
                    gate.send_replace(true);
                }
                (bought, sink.messages, Instant::now())
            }));
        }
        let mut ends = Vec::new();
        for task in tasks {
            let (bought, messages, end) = task.await?;
            check(spec, &bought?, messages)?;
            ends.push(end);
        }
        Ok(ends)
    })
}

fn check(spec: &Spec, purchase: &Purchase, messages: u64) -> Result<(), Failure> {
    let complete = purchase.is_settled() && purchase.delivered == spec.messages && messages == spec.messages;
    if complete { Ok(()) } else { Err(format!("an order did not settle in full: {purchase:?}").into()) }
}

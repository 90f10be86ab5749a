//! Receipts audited per second, and what memory that takes as an order gets longer.
//!
//! `cargo run --release -p sdpp-bench --bin audit`. A *receipt* is an invoice and its payment: two signatures, each
//! verified strictly. The orders come from real sales in lock step (K = 1, one window), so that every message has one;
//! their bundles are files as `sdpp orders export` writes them, without messages and without a ledger's evidence.
//!
//! Every audit runs in a process of its own, so that the most memory it had is its own. Time is from opening the file
//! to the verdict. [`Way::Passes`] is what `sdpp audit FILE` does.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use sdpp::audit::{Bundle, Item, Items, Report as Verdicts, Trust, Verdict, audit_from};
use sdpp::buyer::Buyer;
use sdpp::journal::order_stream;
use sdpp_proto::cose;
use sdpp_proto::identity::PublicKey;
use sdpp_rail::fake::{FakeBank, FakeMode};

use crate::clock::Stopwatch;
use crate::folder::Folder;
use crate::report::{self, Rates, spread};
use crate::sale::{self, Journal, Spec};
use crate::{Failure, head};

/// The first argument of a process that audits.
pub const CHILD: &str = "--child";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds that count.
    pub rounds: u32,
    /// Statements of an order, roughly: twice its messages.
    pub statements: Vec<u64>,
    /// Audits at once, a thread each in one process, of the longest order.
    pub threads: Vec<usize>,
    /// The program that calls [`child`] when its first argument is [`CHILD`].
    pub program: PathBuf,
}

/// How statements are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The bundle is read, then audited: as `sdpp audit` does it with own orders.
    Whole,
    /// The file is read several times, piece by piece: as `sdpp audit FILE` does it.
    Passes,
    /// Signatures are verified as the auditor does it, and nothing else.
    Signatures,
}

impl Way {
    /// All, in the order in which they take their turns.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Passes, Self::Signatures];

    /// Its name in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Passes => "passes",
            Self::Signatures => "signatures",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }
}

/// One order, looked at in one way.
#[derive(Clone, Debug)]
pub struct Row {
    /// Statements of the order.
    pub statements: u64,
    /// Receipts among them.
    pub receipts: u64,
    /// How they are looked at.
    pub way: Way,
    /// How many do it at once.
    pub threads: usize,
    /// Receipts per second, of all together.
    pub rates: Rates,
    /// Microseconds of processor time per receipt.
    pub cpu_us: Rates,
    /// KiB that the process had at most, above what it had when it began.
    pub peak_kib: Rates,
    /// The bundle's file.
    file: PathBuf,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    head: Vec<(&'static str, String)>,
    rounds: u32,
    /// The rows.
    pub rows: Vec<Row>,
}

/// Makes the orders and audits them; `progress` hears what is being done.
///
/// # Errors
/// [`Failure`]: an order that is not clean, or the system's.
pub fn measure(options: &Options, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    let folder = Folder::new("bench-audit")?;
    let mut report = Report { head: head::machine(), rounds: options.rounds, rows: Vec::new() };
    for wanted in &options.statements {
        progress(&format!("selling for {wanted} statements"));
        let order = sell((*wanted / 2).max(1), folder.path())?;
        report.rows.extend(Way::ALL.map(|way| order.row(way, 1)));
        if options.statements.iter().max() == Some(wanted) {
            let several = options.threads.iter().filter(|threads| **threads > 1);
            report.rows.extend(several.map(|threads| order.row(Way::Passes, *threads)));
        }
    }
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}", options.rounds));
        report.rows.iter_mut().try_for_each(|row| row.run(&options.program))?;
    }
    Ok(report)
}

/// An order's bundle.
struct Exported {
    file: PathBuf,
    statements: u64,
    receipts: u64,
}

impl Exported {
    fn row(&self, way: Way, threads: usize) -> Row {
        let (file, statements, receipts) = (self.file.clone(), self.statements, self.receipts);
        let (rates, cpu_us, peak_kib) = Default::default();
        Row { statements, receipts, way, threads, rates, cpu_us, peak_kib, file }
    }
}

/// Sells so many messages in lock step; the bundle is the buyer's.
fn sell(messages: u64, folder: &Path) -> Result<Exported, Failure> {
    let bank = FakeBank::new();
    let spec = Spec { size: 16, k: 1, windows: 1, messages };
    let (seller, buyer) = (Journal::Memory.start(folder, "seller")?, Journal::Memory.start(folder, "buyer")?);
    let mut bundle = sale::with_seller(sale::settings_by(&spec, &bank, (seller, FakeMode::Voucher)), |at| {
        let way = Journal::Memory.into();
        let settings = sale::buyer_settings(&bank, (buyer.clone(), way), &sale::buyer_key(0), Arc::new(|_: &_| {}))?;
        let (purchaser, request) = (Buyer::new(settings), sale::request(&spec));
        let mut sink = sdpp::sink::Discard::default();
        let (purchase, ..) = sale::buy(&purchaser, at, &request, &mut sink)?;
        let entries = sale::runtime()?.block_on(buyer.read(order_stream(&purchase.order)))?;
        Ok(sdpp::bundle::of(&entries))
    })?;
    bundle.order_salt = None;
    let file = folder.join(format!("{messages}.bundle"));
    std::fs::write(&file, bundle.encode()?)?;
    Ok(Exported { file, statements: u64::try_from(bundle.statements.len())?, receipts: messages })
}

impl Row {
    fn run(&mut self, program: &Path) -> Result<(), Failure> {
        let output = Command::new(program)
            .args([CHILD, self.way.name(), &self.threads.to_string(), &self.receipts.to_string()])
            .args([self.file.as_os_str(), sale::seller_key().multibase().as_ref()])
            .output()?;
        if !output.status.success() {
            return Err(format!("an audit failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let figures = text.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [wall_ns, cpu_ns, peak_kib] = figures.as_slice() else {
            return Err(format!("an audit said '{text}'").into());
        };
        let receipts = self.receipts.saturating_mul(u64::try_from(self.threads)?);
        self.rates.push(crate::per_second(receipts, Duration::from_nanos(*wall_ns)));
        // Processor time by receipts is a time by a count: the same division the other way round.
        self.cpu_us.push(1e6 / crate::per_second(receipts, Duration::from_nanos(*cpu_ns)));
        self.peak_kib.push(exact(*peak_kib));
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn exact(kib: u64) -> f64 {
    kib as f64
}

/// What a process does whose arguments, behind [`CHILD`], are these. Prints nothing: gives nanoseconds, nanoseconds
/// of processor time, and KiB at most above those of the beginning.
///
/// # Errors
/// [`Failure`]: arguments that are not these, an order that is not clean, or the system's.
pub fn child(mut arguments: impl Iterator<Item = String>) -> Result<String, Failure> {
    let mut next = || arguments.next().ok_or("an argument is missing");
    let way = Way::of_name(&next()?).ok_or("no such way")?;
    let (threads, receipts): (usize, u64) = (next()?.parse()?, next()?.parse()?);
    let (file, seller): (PathBuf, PublicKey) = (next()?.into(), next()?.parse().map_err(|_| "no key")?);
    let before = peak_kib()?;
    // The clock starts when all are there.
    let ready = Barrier::new(threads.saturating_add(1));
    let took = thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    ready.wait();
                    look(way, &file, seller, receipts)
                })
            })
            .collect();
        ready.wait();
        let watch = Stopwatch::start();
        for one in all {
            one.join().map_err(|_| "an auditing thread panicked")??;
        }
        Ok::<_, Failure>(watch.stop())
    })?;
    let cpu = took.cpu.ok_or("no processor time")?;
    Ok(format!("{} {} {}", took.wall.as_nanos(), cpu.as_nanos(), peak_kib()?.saturating_sub(before)))
}

fn look(way: Way, file: &Path, seller: PublicKey, receipts: u64) -> Result<(), Failure> {
    let open = || File::open(file).map(BufReader::new);
    let trust = Trust { seller, log: None };
    match way {
        Way::Whole => check(&Bundle::read(open()?)?.audit(&trust), receipts),
        Way::Passes => check(&audit_from(open, &trust)?, receipts),
        Way::Signatures => each_statement(Items::new(open()?), |statement| {
            let parsed = cose::parse(statement).map_err(|error| error.to_string())?;
            Ok(parsed.verify().map_err(|error| error.to_string())?)
        }),
    }
}

fn each_statement(
    mut items: Items<BufReader<File>>,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while let Some(item) = items.next_item()? {
        match item {
            Item::Statement(statement) => take(&statement)?,
            Item::Header(_) | Item::Checkpoint(_) | Item::Record(_) | Item::Messages(_) => {}
        }
    }
    Ok(())
}

/// An audit counts only when all was looked at and found good.
fn check(report: &Verdicts, receipts: u64) -> Result<(), Failure> {
    let totals = &report.totals;
    let complete = report.verdict == Verdict::Clean && totals.invoices >= receipts && totals.payments >= receipts;
    if complete { Ok(()) } else { Err(format!("not clean, or not complete: {report}").into()) }
}

/// The most that this process had in memory.
fn peak_kib() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

impl Report {
    /// One JSON object a line: the head, then the rows.
    pub fn json(&self) -> String {
        let mut lines = vec![report::head_json(&self.head)];
        lines.extend(self.rows.iter().map(|row| {
            let Row { statements, receipts, way, threads, rates, cpu_us, peak_kib, .. } = row;
            let (low, high) = rates.range();
            format!(
                "{{\"what\":\"audit\",\"statements\":{statements},\"receipts\":{receipts},\"way\":\"{}\",\
                 \"threads\":{threads},\"rounds\":{},\"receipts_per_s\":{:.0},\"lowest\":{low:.0},\"highest\":{high:.0},\
                 \"cpu_us\":{:.3},\"peak_kib\":{:.0}}}",
                way.name(),
                self.rounds,
                rates.median(),
                cpu_us.median(),
                peak_kib.median(),
            )
        }));
        lines.join("\n")
    }
}

const LEGEND: &str = "\
A receipt is an invoice and its payment: two signatures, verified strictly. Orders of K = 1, one window, from real sales;
each audit in a process of its own, from opening the file to the verdict. Medians, [lowest highest].
passes: the file is read piece by piece, several times, as sdpp audit FILE does it; whole: the bundle is read, then
audited, as own orders are; signatures: the same file, signatures verified and nothing else.
threads: so many audits at once, all together: one audit is one thread.
peak: the most memory the process had, above that when it began; there are pages of the program in it.";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report::write_head(f, &self.head)?;
        writeln!(f, "rounds: {}\n{LEGEND}\n", self.rounds)?;
        writeln!(
            f,
            "{:>10} {:>9} {:>10} {:>7} {:>11} {:>17} {:>11} {:>10} {:>17}",
            "statements",
            "receipts",
            "way",
            "threads",
            "receipts/s",
            "",
            "CPU us each",
            "peak, KiB",
            "bytes a statement"
        )?;
        self.rows.iter().try_for_each(|row| {
            let Row { statements, receipts, way, threads, rates, cpu_us, peak_kib, .. } = row;
            let looked_at = statements.saturating_mul(u64::try_from(*threads).unwrap_or(1)).max(1);
            writeln!(
                f,
                "{statements:>10} {receipts:>9} {:>10} {threads:>7} {:>11.0} {:>17} {:>11.2} {:>10.0} {:>17.0}",
                way.name(),
                rates.median(),
                spread(rates),
                cpu_us.median(),
                peak_kib.median(),
                peak_kib.median() * 1024.0 / exact(looked_at),
            )
        })
    }
}

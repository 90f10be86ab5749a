//! One live source, shared by all buyers through the program's own hub, as `sdpp sell` does it.
//!
//! Seller and buyers are two processes, this program again: descriptors are limited per process, and so what each side takes
//! is seen for itself. When all are live, and after a silence in which their memory is looked at, the source
//! opens. Nobody waits for anybody: who does not keep up loses the oldest. So there are two answers. First the
//! highest rate of the source is looked for at which next to nothing is lost: what all get together then is *carried*.
//! Then the source gives as much as the hub takes, far more than can be sold, and what all get in a fixed time is
//! counted: *flooded*. Last the source ends, and a run counts only if everybody settles in full.
//!
//! A source may also be open before the first buyer comes, as those of real life are: then it is flooded at once, and how long
//! it takes until all are live is a figure of its own.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::process::{Look, Process};
use super::{buying, selling};
use crate::Failure;
use crate::report::{Rates, json_of};

/// Arguments with which this program is one of the processes.
const SELLER: &str = "__seller";
const BUYERS: &str = "__buyers";
/// From so many buyers on a run is a big one.
const BIG: usize = 1000;
/// Ramp and flood last so much longer for each buyer.
const MORE_FOR_ONE: Duration = Duration::from_millis(4);
/// What the buyers get of what the source has for them when nothing is lost, but for what is on its way.
const CARRIED: f64 = 0.99;
/// Steps in which the highest rate is looked for, at most.
const STEPS: u32 = 14;
/// The first guess, messages a second of all buyers together: far below what one thread can sell.
const GUESS: u64 = 50_000;
/// With fewer a session's memory is not to be told from the process's.
const MEMORY_OF: usize = 100;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Buyers at once, run by run.
    pub buyers: Vec<usize>,
    /// Rounds of those below 1,000 buyers, and of the others.
    pub rounds: [u32; 2],
    /// Bytes of one message.
    pub size: usize,
    /// Messages per window.
    pub k: u32,
    /// Outstanding windows of a buyer.
    pub windows: u32,
    /// Messages that may wait for one order.
    pub queue: usize,
    /// Messages a second that the source has; none: both answers are looked for.
    pub rate: Option<u64>,
    /// The source is open when the buyers come: their sessions begin in the middle of it, and nothing is looked for.
    pub open_first: bool,
    /// From the source's opening until it counts; more with many buyers.
    pub ramp: Duration,
    /// How long it counts.
    pub time: Duration,
    /// How long the sessions are left quiet before their memory is looked at, in the first round.
    pub quiet: Duration,
    /// So many buyers are measured without and with a slow one beside them.
    pub beside_slow: Option<usize>,
    /// What the slow one takes, by what each of the others takes without it.
    pub slow_share: f64,
    /// The program that obeys [`act`].
    pub program: PathBuf,
}

/// What both processes of a run know.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) buyers: usize,
    pub(super) size: usize,
    pub(super) k: u32,
    pub(super) windows: u32,
    pub(super) queue: usize,
    pub(super) rate: Option<u64>,
    /// Nanoseconds that each message keeps the last buyer's sink busy.
    pub(super) slow_ns: Option<u64>,
}

impl Shape {
    fn arguments(&self) -> Vec<String> {
        let Self { buyers, size, k, windows, queue, rate, slow_ns } = self;
        let (rate, slow_ns) = (rate.unwrap_or_default(), slow_ns.unwrap_or_default());
        vec![
            buyers.to_string(),
            size.to_string(),
            k.to_string(),
            windows.to_string(),
            queue.to_string(),
            rate.to_string(),
            slow_ns.to_string(),
        ]
    }

    fn read(arguments: &mut impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut next = || arguments.next().ok_or("a process was told too little");
        Ok(Self {
            buyers: next()?.parse()?,
            size: next()?.parse()?,
            k: next()?.parse()?,
            windows: next()?.parse()?,
            queue: next()?.parse()?,
            rate: Some(next()?.parse()?).filter(|rate| *rate > 0),
            slow_ns: Some(next()?.parse()?).filter(|slow| *slow > 0),
        })
    }

    /// How long a message keeps this buyer's sink busy, if it is the slow one.
    pub(super) fn pace_of(&self, number: usize) -> Option<Duration> {
        let is_last = number.saturating_add(1) == self.buyers;
        self.slow_ns.filter(|_| is_last).map(Duration::from_nanos)
    }
}

/// Whether these are arguments of one of the processes. Then it has run to its end.
///
/// # Errors
/// [`Failure`], for the process that started it.
pub fn act(mut arguments: impl Iterator<Item = String>) -> Result<bool, Failure> {
    match arguments.next().as_deref() {
        Some(SELLER) => selling::obey(&Shape::read(&mut arguments)?)?,
        Some(BUYERS) => {
            let shape = Shape::read(&mut arguments)?;
            let at: SocketAddr = arguments.next().ok_or("the buyers were told no seller")?.parse()?;
            buying::obey(&shape, at)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Runs of so many buyers.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Buyers at once.
    pub buyers: usize,
    /// Messages per second that all got together, at the highest rate at which next to nothing was lost.
    pub carried: Rates,
    /// Messages per second that all got together when flooded, or at the rate that was asked for.
    pub rates: Rates,
    /// Those that all got then, by those that the source had for all.
    pub shares: Rates,
    /// Processors at work: the seller's process, the buyers'.
    pub cpus: [Rates; 2],
    /// Bytes of a quiet session in memory: of the seller's process, of the buyers'.
    pub quiet_bytes: Option<[u64; 2]>,
    /// The same at the end of what counts.
    pub busy_bytes: [Rates; 2],
    /// Messages per second of the buyer that got least, of the middle one, and of the one that got most.
    pub spread: [Rates; 3],
    /// Jain's index of what the buyers got: 1 if all got the same, 1 / buyers if one got all.
    pub jain: Rates,
    /// Seconds from the first buyer's connection until all were live.
    pub live_s: Rates,
}

/// Without and with a slow buyer.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Buyers that are not slow.
    pub buyers: usize,
    /// Messages per second of each of them: without, with.
    pub rates: [Rates; 2],
    /// With by without, by round.
    pub ratios: Rates,
    /// Messages per second of the slow one.
    pub slow: Rates,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    options: Options,
    /// By buyers.
    pub rows: Vec<Row>,
    /// Beside a slow one.
    pub beside: Option<Beside>,
}

impl Report {
    /// One JSON object a line.
    pub fn json(&self) -> String {
        let Options { size, k, windows, .. } = &self.options;
        let mut lines: Vec<String> = self
            .rows
            .iter()
            .map(|row| {
                let quiet = row.quiet_bytes.map_or_else(String::new, |bytes| format!(",\"quiet_bytes\":{bytes:?}"));
                let named = [
                    ("carried_per_s", &row.carried),
                    ("per_s", &row.rates),
                    ("share", &row.shares),
                    ("jain", &row.jain),
                    ("live_s", &row.live_s),
                ];
                let [seller, buyers] = &row.cpus;
                let named = named.into_iter().chain([("seller_cpus", seller), ("buyers_cpus", buyers)]);
                let named: Vec<String> = named.map(|(name, rates)| json_of(name, rates)).collect();
                let (buyers, named) = (row.buyers, named.join(","));
                format!(
                    "{{\"what\":\"live\",\"buyers\":{buyers},\"bytes\":{size},\"k\":{k},\"windows\":{windows},{named}{quiet}}}"
                )
            })
            .collect();
        lines.extend(self.beside.iter().map(|beside| {
            let (ratio, slow) = (json_of("ratio", &beside.ratios), json_of("slow_per_s", &beside.slow));
            format!("{{\"what\":\"beside a slow one\",\"buyers\":{},{ratio},{slow}}}", beside.buyers)
        }));
        lines.join("\n")
    }
}

/// What one run came to.
struct Run {
    carried: Option<f64>,
    quiet_bytes: Option<[u64; 2]>,
    busy_bytes: [f64; 2],
    /// Messages per second, of each buyer.
    rates: Vec<f64>,
    /// Messages per second of the source.
    source: f64,
    cpus: [f64; 2],
    /// Seconds until all were live.
    live_s: f64,
}

/// Runs everything; `progress` hears what is being done.
///
/// # Errors
/// [`Failure`]: an order that did not settle in full, or the system's.
pub fn measure(options: &Options, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    let mut rows: Vec<Row> = options.buyers.iter().map(|buyers| Row { buyers: *buyers, ..Row::default() }).collect();
    let rounds = |row: &Row| options.rounds.get(usize::from(row.buyers >= BIG)).copied().unwrap_or(1);
    for round in 1..=options.rounds.into_iter().max().unwrap_or(1) {
        for row in rows.iter_mut().filter(|row| round <= rounds(row)) {
            progress(&format!("one source, {} buyers, round {round}", row.buyers));
            row.push(run(options, (row.buyers, None), round == 1)?);
        }
    }
    let beside = options.beside_slow.map(|buyers| beside_slow(options, buyers, progress)).transpose()?;
    Ok(Report { options: options.clone(), rows, beside })
}

/// All are flooded, so that the slow one costs the others what it can.
fn beside_slow(options: &Options, buyers: usize, progress: &dyn Fn(&str)) -> Result<Beside, Failure> {
    let options = &Options { rate: Some(options.rate.unwrap_or_default()), ..options.clone() };
    let mut beside = Beside { buyers, ..Beside::default() };
    for round in 1..=options.rounds.into_iter().next().unwrap_or(1) {
        progress(&format!("{buyers} buyers, then beside a slow one, round {round}"));
        let without = mean(&run(options, (buyers, None), false)?.rates);
        let slow_ns = Duration::from_secs_f64(1.0 / (without * options.slow_share).max(1.0)).as_nanos();
        let all = run(options, (buyers.saturating_add(1), Some(u64::try_from(slow_ns)?)), false)?;
        let (slow, others) = all.rates.split_last().ok_or("nobody has bought")?;
        let with = mean(others);
        let [first, second] = &mut beside.rates;
        first.push(without);
        second.push(with);
        beside.ratios.push(with / without.max(1e-9));
        beside.slow.push(*slow);
    }
    Ok(beside)
}

fn run(options: &Options, (buyers, slow_ns): (usize, Option<u64>), first: bool) -> Result<Run, Failure> {
    let Options { size, k, windows, queue, rate, .. } = *options;
    let shape = Shape { buyers, size, k, windows, queue, rate, slow_ns };
    let mut arguments = shape.arguments();
    let (mut seller, at) = Process::start(&options.program, SELLER, &arguments)?;
    let alone: Look = seller.ask("look")?.parse()?;
    arguments.push(at);
    let (mut bought, empty) = Process::start(&options.program, BUYERS, &arguments)?;
    let empty: Look = empty.parse()?;
    if options.open_first {
        seller.ask("open")?;
    }
    let begun = Instant::now();
    bought.ask("connect")?;
    let live_s = crate::since(begun).as_secs_f64();
    let each =
        |now: &Look, before: &Look| now.memory.saturating_sub(before.memory).checked_div(u64::try_from(buyers).ok()?);
    let mut quiet_bytes = None;
    if first && buyers >= MEMORY_OF && !options.open_first {
        thread::sleep(options.quiet);
        let (sold, got): (Look, Look) = (seller.ask("look")?.parse()?, bought.ask("look")?.parse()?);
        quiet_bytes = each(&sold, &alone).zip(each(&got, &empty)).map(|(sold, got)| [sold, got]);
    }
    let mut both = Both { seller, buyers: bought };
    let carried = both.open(options, buyers)?;
    let (from, to) = both.count(options.time.saturating_add(more_for(buyers)?))?;
    let Both { mut seller, buyers: mut bought } = both;
    seller.ask("end")?;
    bought.ask("end")?;
    let busy_bytes = [each(&to.0, &alone), each(&to.1, &empty)].map(|bytes| float(bytes.unwrap_or_default()));
    let cpus = [cpus(&from.0, &to.0) / passed_s(&from.0, &to.0), cpus(&from.1, &to.1) / passed_s(&from.1, &to.1)];
    Ok(Run {
        carried,
        quiet_bytes,
        busy_bytes,
        rates: rates(&from.1, &to.1),
        source: of_all(&from.0, &to.0),
        cpus,
        live_s,
    })
}

/// Seller and buyers at work.
struct Both {
    seller: Process,
    buyers: Process,
}

/// What both saw at one time.
type Seen = (Look, Look);

impl Both {
    fn look(&mut self) -> Result<Seen, Failure> {
        Ok((self.seller.ask("look")?.parse()?, self.buyers.ask("look")?.parse()?))
    }

    /// What they saw at the beginning and at the end of this time.
    fn count(&mut self, time: Duration) -> Result<(Seen, Seen), Failure> {
        let from = self.look()?;
        thread::sleep(time);
        Ok((from, self.look()?))
    }

    /// Opens the source, and waits until it counts. Gives what can be carried, where no rate was asked for.
    fn open(&mut self, options: &Options, buyers: usize) -> Result<Option<f64>, Failure> {
        let all = u64::try_from(buyers)?.max(1);
        let mut search = Search::from(GUESS.checked_div(all).unwrap_or_default());
        let looks = options.rate.is_none() && !options.open_first;
        if looks {
            self.seller.ask(&format!("rate {}", search.rate))?;
        }
        self.seller.ask("open")?;
        thread::sleep(options.ramp.saturating_add(more_for(buyers)?));
        if !looks {
            return Ok(None);
        }
        let mut carried = 0.0;
        loop {
            let mut passed = None;
            for _ in 0..search.tries() {
                let (from, to) = self.count(options.time)?;
                let (got, had) = (of_all(&from.1, &to.1), of_all(&from.0, &to.0) * float(all));
                // What had waited since a step that was too high may come on top.
                passed = (got >= CARRIED * had).then(|| got.min(had));
                if passed.is_some() {
                    break;
                }
                thread::sleep(options.ramp);
            }
            carried = f64::max(carried, passed.unwrap_or_default());
            let passed = passed.is_some();
            if !search.next(passed) {
                break;
            }
            self.seller.ask(&format!("rate {}", search.rate))?;
            thread::sleep(options.ramp);
        }
        self.seller.ask("rate 0")?;
        thread::sleep(options.ramp);
        Ok(Some(carried))
    }
}

/// Many buyers take longer to get going, and each gets a whole credit at a time: one of few messages a second would look
/// unfair for a while.
fn more_for(buyers: usize) -> Result<Duration, Failure> {
    Ok(MORE_FOR_ONE.saturating_mul(u32::try_from(buyers)?))
}

/// Looks for the highest rate that is carried: from below, since what a flood leaves behind takes long to go.
struct Search {
    rate: u64,
    /// The highest that was carried.
    low: u64,
    /// The lowest that was not.
    high: Option<u64>,
    left: u32,
}

impl Search {
    fn from(guess: u64) -> Self {
        Self { rate: guess.max(1), low: 0, high: None, left: STEPS }
    }

    /// How often a rate is tried until it is known to be too high: something else may have kept the machine busy, and as long
    /// as none was too high the buyers' ramps, which end after so many messages, may not be over.
    const fn tries(&self) -> u32 {
        if self.high.is_none() { 4 } else { 2 }
    }

    /// Goes on to another rate; false: there is none that would tell more.
    fn next(&mut self, passed: bool) -> bool {
        if passed {
            self.low = self.rate
        } else {
            self.high = Some(self.rate)
        }
        self.left = self.left.saturating_sub(1);
        let next = match self.high {
            None => self.rate.saturating_add((self.rate / 2).max(1)),
            // A twentieth is near enough, but something has to be found.
            Some(high) if high.saturating_sub(self.low) <= high / 20 => self.low,
            Some(high) => u64::midpoint(self.low, high),
        };
        self.rate = next;
        self.left > 0 && next > self.low
    }
}

/// Messages per second of each.
fn rates(from: &Look, to: &Look) -> Vec<f64> {
    let passed_s = passed_s(from, to);
    let gone = from.messages.iter().zip(&to.messages);
    gone.map(|(from, to)| float(to.saturating_sub(*from)) / passed_s).collect()
}

/// Messages per second of all.
fn of_all(from: &Look, to: &Look) -> f64 {
    float(to.sum().saturating_sub(from.sum())) / passed_s(from, to)
}

fn passed_s(from: &Look, to: &Look) -> f64 {
    (float(to.at_ns.saturating_sub(from.at_ns)) / 1e9).max(1e-9)
}

fn cpus(from: &Look, to: &Look) -> f64 {
    float(to.cpu_ns.saturating_sub(from.cpu_ns)) / 1e9
}

impl Row {
    fn push(&mut self, run: Run) {
        let all: f64 = run.rates.iter().sum();
        let count = float(u64::try_from(run.rates.len()).unwrap_or_default());
        if let Some(carried) = run.carried {
            self.carried.push(carried);
        }
        self.rates.push(all);
        self.shares.push(all / (run.source * count).max(1e-9));
        for (to, cpus) in self.cpus.iter_mut().zip(run.cpus) {
            to.push(cpus);
        }
        for (to, bytes) in self.busy_bytes.iter_mut().zip(run.busy_bytes) {
            to.push(bytes);
        }
        self.live_s.push(run.live_s);
        self.quiet_bytes = self.quiet_bytes.or(run.quiet_bytes);
        let mut each = Rates::default();
        run.rates.iter().for_each(|rate| each.push(*rate));
        let (least, most) = each.range();
        for (to, rate) in self.spread.iter_mut().zip([least, each.median(), most]) {
            to.push(rate);
        }
        let squares: f64 = run.rates.iter().map(|rate| rate * rate).sum();
        self.jain.push(all * all / (count * squares).max(1e-9));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { size, k, windows, queue, rate, rounds: [some, big], .. } = &self.options;
        writeln!(f, "one live source for all through the hub; {size} bytes, K = {k}, {windows} windows")?;
        writeln!(
            f,
            "seller and buyers: a process each, on a thread each, journals in memory; {queue} messages may wait for an order"
        )?;
        writeln!(
            f,
            "medians of {some} rounds ({big} from {BIG} buyers on) [lowest highest]; messages/s of all buyers together"
        )?;
        let when = if self.options.open_first { "into the flood" } else { "before the source opened" };
        writeln!(f, "live: seconds until all were, {when}")?;
        writeln!(f, "carried: at the highest rate of the source of which {CARRIED} and more arrives")?;
        let flooded =
            rate.map_or("the source gives all that the hub takes".to_owned(), |rate| format!("{rate} messages/s"));
        writeln!(
            f,
            "flooded: {flooded}; and then, got: of what the source had for all; CPUs: processors at work, seller's + buyers';"
        )?;
        writeln!(
            f,
            "  one buyer's messages/s: least < middle < most, and Jain's index; KiB: of a session, quiet | flooded"
        )?;
        writeln!(
            f,
            "{:>7} {:>6} {:>30} {:>30} {:>6} {:>11} {:>25} {:>5} {:>13} {:>13}",
            "buyers",
            "live",
            "carried",
            "flooded",
            "got",
            "CPUs",
            "least < middle < most",
            "Jain",
            "KiB seller",
            "KiB buyer"
        )?;
        self.rows.iter().try_for_each(|row| row.fmt(f))?;
        self.beside.iter().try_for_each(|beside| beside.fmt(f, self.options.slow_share))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranged = |rates: &Rates| {
            let (low, high) = rates.range();
            if rates.is_empty() { "-".to_owned() } else { format!("{:.0} [{low:.0} {high:.0}]", rates.median()) }
        };
        let ([sold, got], [least, middle, most]) = (&self.cpus, &self.spread);
        let live_s = self.live_s.median();
        write!(f, "{:>7} {live_s:>6.2} {:>30} {:>30}", self.buyers, ranged(&self.carried), ranged(&self.rates))?;
        write!(f, " {:>6.3} {:>11}", self.shares.median(), format!("{:.2} + {:.2}", sold.median(), got.median()))?;
        let spread = format!("{:.0} < {:.0} < {:.0}", least.median(), middle.median(), most.median());
        write!(f, " {spread:>25} {:>5.2}", self.jain.median())?;
        let [sold, got] = &self.busy_bytes;
        let quiet = |side: usize| {
            let bytes = self.quiet_bytes.and_then(|both| both.get(side).copied());
            bytes.map_or("-".to_owned(), |bytes| bytes.div_ceil(1024).to_string())
        };
        for (side, busy) in [sold, got].into_iter().enumerate() {
            write!(f, " {:>13}", format!("{} | {:.0}", quiet(side), busy.median() / 1024.0))?;
        }
        writeln!(f)
    }
}

impl Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>, share: f64) -> fmt::Result {
        let ([without, with], (low, high)) = (&self.rates, self.ratios.range());
        writeln!(
            f,
            "beside a slow buyer, whose sink takes {:.1}% of what each of {} others gets:",
            share * 100.0,
            self.buyers
        )?;
        writeln!(
            f,
            "  messages/s of each other: {:.0} without it, {:.0} with it: {:.3} x [{low:.3} {high:.3}]; the slow one: {:.0}",
            without.median(),
            with.median(),
            self.ratios.median(),
            self.slow.median()
        )
    }
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / float(u64::try_from(rates.len()).unwrap_or_default()).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_rate_that_is_carried_is_found_from_below_and_from_above() {
        for capacity in [1, 7, 49, 500, 900] {
            let mut search = Search::from(50);
            while search.next(search.rate <= capacity) {}
            assert!(search.low <= capacity && search.low >= capacity - capacity / 10, "{capacity}: {}", search.low);
        }
        let mut search = Search::from(0);
        while search.next(false) {}
        assert_eq!(search.low, 0);
    }
}

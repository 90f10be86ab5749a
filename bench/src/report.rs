//! Results, as a table for people and as JSON lines for programs.

use std::fmt;

use sdpp_rail::fake::FakeMode;

use crate::clock::Took;
use crate::commits;
use crate::rival::Kind;
use crate::sale::{Journal, Spec, Way};

/// What one thing reached in each round.
#[derive(Clone, Default, Debug)]
pub struct Rates(Vec<f64>);

impl Rates {
    pub(crate) fn push(&mut self, rate: f64) {
        self.0.push(rate);
        self.0.sort_by(f64::total_cmp);
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The middle one; of two the lower. Zero when there is none.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }

    /// The lowest and the highest.
    pub fn range(&self) -> (f64, f64) {
        (self.0.first().copied().unwrap_or_default(), self.0.last().copied().unwrap_or_default())
    }
}

/// A sale.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was sold.
    pub spec: Spec,
    /// And how.
    pub way: Way,
    /// Messages per second of whole sales.
    pub rates: Rates,
    /// Messages per second between the first invoice after the ramp and the last one; none for a sale
    /// that is short beside its credit.
    pub steady: Rates,
    /// Milliseconds outside that: handshake, ramp, end.
    pub parts_ms: [Rates; 3],
    /// Microseconds of processor time per message: seller, buyer and their journals.
    pub cpu_us: Rates,
    /// Commits of both journals per message.
    pub commits: Rates,
}

impl Row {
    pub(crate) fn new(spec: Spec, way: Way) -> Self {
        let (rates, steady, cpu_us, commits) = Default::default();
        Self { spec, way, rates, steady, parts_ms: Default::default(), cpu_us, commits }
    }

    #[expect(clippy::cast_precision_loss, reason = "commits per message need not be exact")]
    pub(crate) fn push(&mut self, whole: Took, commits: u64) {
        push(&mut self.rates, &mut self.cpu_us, self.spec.messages, whole);
        self.commits.push(commits as f64 / self.spec.messages.max(1) as f64);
    }
}

/// What lock step cannot exceed in a class: durable commits one after another.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The class.
    pub journal: Journal,
    /// Commits of a round.
    pub commits: u64,
    /// Commits per second through a journal, as a session makes them.
    pub by_journal: Rates,
    /// Commits per second by a store in the caller's own thread.
    pub by_store: Rates,
    /// Microseconds of processor time for each through a journal.
    pub cpu_us: Rates,
}

impl Limit {
    pub(crate) fn new(journal: Journal, commits: u64) -> Self {
        let (by_journal, by_store, cpu_us) = Default::default();
        Self { journal, commits, by_journal, by_store, cpu_us }
    }

    pub(crate) fn push(&mut self, by_journal: Took, by_store: Took) {
        push(&mut self.by_journal, &mut self.cpu_us, self.commits, by_journal);
        self.by_store.push(crate::per_second(self.commits, by_store.wall));
    }
}

/// What it is measured against.
#[derive(Clone, Debug)]
pub struct Rival {
    /// Which.
    pub kind: Kind,
    /// Bytes of one message, or that count as one.
    pub size: usize,
    /// Messages of a round.
    pub messages: u64,
    /// Messages per second.
    pub rates: Rates,
    /// Microseconds of processor time per message: both ends, and the server between them. None where a
    /// server's is not to be had.
    pub cpu_us: Rates,
    /// What it lacks to be measured, and how to get it.
    pub absent: Option<String>,
}

impl Rival {
    pub(crate) fn new(kind: Kind, size: usize, messages: u64) -> Self {
        Self { kind, size, messages, rates: Rates::default(), cpu_us: Rates::default(), absent: None }
    }

    pub(crate) fn absent(kind: Kind, size: usize, why: &str) -> Self {
        Self { absent: Some(why.to_owned()), ..Self::new(kind, size, 0) }
    }

    pub(crate) fn push(&mut self, took: Took) {
        push(&mut self.rates, &mut self.cpu_us, self.messages, took);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time per message need not be exact")]
fn push(rates: &mut Rates, cpu_us: &mut Rates, messages: u64, took: Took) {
    rates.push(crate::per_second(messages, took.wall));
    if let Some(cpu) = took.cpu {
        cpu_us.push(cpu.as_secs_f64() * 1e6 / messages.max(1) as f64);
    }
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Report {
    head: Vec<(&'static str, String)>,
    /// The sales.
    pub rows: Vec<Row>,
    /// What lock step waits for, in each class that something is sold in lock step with.
    pub limits: Vec<Limit>,
    /// What they are measured against.
    pub rivals: Vec<Rival>,
}

impl Report {
    pub(crate) const fn new(head: Vec<(&'static str, String)>) -> Self {
        Self { head, rows: Vec::new(), limits: Vec::new(), rivals: Vec::new() }
    }

    /// A sale's rate by a rival's, medians; none without that rival.
    pub fn ratio(&self, row: &Row, kind: Kind) -> Option<f64> {
        let mut rivals = self.rivals.iter().filter(|rival| !rival.rates.is_empty());
        let rival = rivals.find(|rival| rival.kind == kind && rival.size == row.spec.size)?;
        Some(row.rates.median() / rival.rates.median())
    }

    /// A lock-step sale's rate by that which commits through a journal alone would allow, medians; none for other
    /// sales.
    pub fn to_commits(&self, row: &Row) -> Option<f64> {
        self.to_limit(row, |limit| &limit.by_journal)
    }

    fn to_limit(&self, row: &Row, rates: impl Fn(&Limit) -> &Rates) -> Option<f64> {
        let limit = self.limits.iter().find(|limit| row.spec.is_lock_step() && limit.journal == row.way.journal)?;
        Some(row.rates.median() / messages_of(rates(limit).median(), row.way.mode))
    }

    /// One JSON object a line: the head, then sales and rivals.
    pub fn json(&self) -> String {
        let mut lines = vec![head_json(&self.head)];
        for row in &self.rows {
            let (journal, suite, mode) = (row.way.journal.name(), row.way.suite.code(), name_of(row.way.mode));
            let Spec { size, k, windows, messages } = row.spec;
            let [handshake, ramp, end] = row.parts_ms.each_ref().map(Rates::median);
            lines.push(format!(
                "{{\"what\":\"sdpp\",\"bytes\":{size},\"k\":{k},\"windows\":{windows},\"messages\":{messages},\
                 \"journal\":\"{journal}\",\"suite\":{suite},\"mode\":\"{mode}\",\
                 {},{},\"commits\":{:.4},\"steady_per_s\":{},\"handshake_ms\":{handshake:.2},\"ramp_ms\":{ramp:.2},\"end_ms\":{end:.2},\
                 \"to_rustls\":{},\"to_tcp\":{},\"to_commits\":{},\"to_commits_of_store\":{}}}",
                rates(&row.rates, size),
                cpu(&row.cpu_us),
                row.commits.median(),
                or((!row.steady.is_empty()).then(|| row.steady.median()), 0, "null"),
                or(self.ratio(row, Kind::Tls64), 4, "null"),
                or(self.ratio(row, Kind::Tcp), 4, "null"),
                or(self.to_commits(row), 4, "null"),
                or(self.to_limit(row, |limit| &limit.by_store), 4, "null"),
            ));
        }
        lines.extend(self.limits.iter().map(limit_json));
        for rival in &self.rivals {
            let (name, size, messages) = (text(rival.kind.name()), rival.size, rival.messages);
            let found = match &rival.absent {
                Some(why) => format!("\"absent\":{}", text(why)),
                None => {
                    format!("\"messages\":{messages},{},{}", rates(&rival.rates, size), cpu(&rival.cpu_us))
                }
            };
            lines.push(format!("{{\"what\":{name},\"bytes\":{size},{found}}}"));
        }
        lines.join("\n")
    }
}

/// A mode's name on the command line.
pub const fn name_of(mode: FakeMode) -> &'static str {
    match mode {
        FakeMode::Voucher => "voucher",
        FakeMode::Direct => "direct",
    }
}

/// Messages in lock step per second, by commits.
#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn messages_of(commits: f64, mode: FakeMode) -> f64 {
    commits / commits::in_series(mode) as f64
}

/// `"name":{median, lowest, highest}`.
pub(crate) fn json_of(name: &str, rates: &Rates) -> String {
    let (low, high) = rates.range();
    format!("\"{name}\":{{\"median\":{:.2},\"lowest\":{low:.2},\"highest\":{high:.2}}}", rates.median())
}

/// What any result begins with.
pub(crate) fn head_json(head: &[(&'static str, String)]) -> String {
    let head = head.iter().map(|(name, value)| format!("{}:{}", text(name), text(value)));
    format!("{{\"what\":\"head\",{}}}", head.collect::<Vec<_>>().join(","))
}

fn limit_json(limit: &Limit) -> String {
    let [journal, store] = [&limit.by_journal, &limit.by_store].map(|rates| {
        let (low, high) = rates.range();
        format!("{{\"per_s\":{:.0},\"lowest\":{low:.0},\"highest\":{high:.0}}}", rates.median())
    });
    let (name, commits, cpu) = (limit.journal.name(), limit.commits, cpu(&limit.cpu_us));
    format!(
        "{{\"what\":\"commits\",\"journal\":\"{name}\",\"commits\":{commits},\"by_journal\":{journal},\"by_store\":{store},{cpu}}}"
    )
}

fn rates(rates: &Rates, size: usize) -> String {
    let (low, high) = rates.range();
    let (median, bytes) = (rates.median(), megabytes(rates.median(), size));
    format!("\"per_s\":{median:.0},\"lowest\":{low:.0},\"highest\":{high:.0},\"mb_per_s\":{bytes:.2}")
}

fn cpu(cpu_us: &Rates) -> String {
    let (low, high) = cpu_us.range();
    let figure = |figure| or((!cpu_us.is_empty()).then_some(figure), 4, "null");
    let (median, low, high) = (figure(cpu_us.median()), figure(low), figure(high));
    format!("\"cpu_us\":{median},\"cpu_us_lowest\":{low},\"cpu_us_highest\":{high}")
}

/// A number with so many decimals, or what stands for none.
fn or(number: Option<f64>, decimals: usize, none: &str) -> String {
    number.map_or_else(|| none.to_owned(), |number| format!("{number:.decimals$}"))
}

/// A JSON string.
fn text(value: &str) -> String {
    let plain = value.chars().filter(|c| !c.is_control());
    let escaped = plain.flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]));
    format!("\"{}\"", escaped.collect::<String>())
}

#[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
fn megabytes(rate: f64, size: usize) -> f64 {
    rate * size as f64 / 1e6
}

/// Megabytes a second: whole ones where there are many.
fn short(megabytes: f64) -> String {
    if megabytes < 1000.0 { format!("{megabytes:.1}") } else { grouped(megabytes) }
}

/// A whole number with its digits in groups of three.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<String> =
        digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join(",")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_head(f, &self.head)?;
        writeln!(f, "{LEGEND}\n")?;
        writeln!(
            f,
            "{:>5} {:>5} {:>7} {:>7} {:>5} {:>7} {:>9} {:>11} {:>25} {:>7} {:>8} {:>7} {:>11} {:>14} {:>7} {:>6} {:>6}",
            "bytes",
            "K",
            "windows",
            "journal",
            "suite",
            "rail",
            "messages",
            "messages/s",
            "",
            "MB/s",
            "CPU us",
            "commits",
            "steady/s",
            "outside ms",
            "/rustls",
            "/TCP",
            "/limit"
        )?;
        self.rows.iter().try_for_each(|row| self.write_row(f, row))?;
        self.limits.iter().try_for_each(|limit| write_limit(f, limit))?;
        self.rivals.iter().try_for_each(|rival| write_rival(f, rival))
    }
}

/// Two lines: the machine, the run.
pub(crate) fn write_head(f: &mut fmt::Formatter<'_>, head: &[(&'static str, String)]) -> fmt::Result {
    let (machine, run) = head.split_at_checked(MACHINE_LINES).unwrap_or((head, &[]));
    for half in [machine, run] {
        let half: Vec<String> = half.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        writeln!(f, "{}", half.join("; "))?;
    }
    Ok(())
}

/// Entries of the head that speak of the machine.
const MACHINE_LINES: usize = 5;
const LEGEND: &str = "\
Medians, [lowest highest] of the rounds; payload bytes only. A sale runs from the connection to both settlements;
steady: from the first invoice after the new buyer's ramp to the last; outside it: handshake + ramp + end. None for a
sale shorter than four times its credit (K x windows): the seller's head start would count.
/rustls and /TCP: by the whole sale's median, to writes of 64 KiB; a message of theirs is so many bytes of them.
CPU us: microseconds of processor time per message, of both ends and of the server between them.
commits: of both journals, per message; one takes what has gathered from all who wait. In lock step (K = 1, one window)
all of them are in series: the seller's invoice, the buyer's invoice and payment, the seller's payment; one more, the
buyer's intent, where money moves at once (direct). /limit: a lock-step sale's rate by what commits alone would allow,
the rate of commits one after another through a journal of its class, by three (direct: four).
commits-CLASS: a row of some 250 bytes each, the next when the one before is durable, through a journal (in
class power with the hand-over to its thread and back); then by the store alone, and messages in lock step that either allows.
nats, mqtt: a message each, from one publisher to one subscriber; qos1 with 200 in flight. http-paid: a request and a
signed payment each, one in flight.";

impl Report {
    fn write_row(&self, f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        let (Spec { size, k, windows, messages }, Way { journal, suite, mode }) = (row.spec, row.way);
        let outside = row.parts_ms.each_ref().map(|part| format!("{:.0}", part.median()));
        writeln!(
            f,
            "{size:>5} {k:>5} {windows:>7} {:>7} {:>5} {:>7} {messages:>9} {:>11} {:>25} {:>7} {:>8.3} {:>7} {:>11} \
             {:>14} {:>7} {:>6} {:>6}",
            journal.name(),
            suite.code(),
            name_of(mode),
            grouped(row.rates.median()),
            spread(&row.rates),
            short(megabytes(row.rates.median(), size)),
            row.cpu_us.median(),
            format!("{:.*}", if row.commits.median() < 0.1 { 4 } else { 2 }, row.commits.median()),
            if row.steady.is_empty() { "-".to_owned() } else { grouped(row.steady.median()) },
            outside.join(" + "),
            or(self.ratio(row, Kind::Tls64), 3, "-"),
            or(self.ratio(row, Kind::Tcp), 3, "-"),
            or(self.to_commits(row), 3, "-"),
        )
    }
}

fn write_limit(f: &mut fmt::Formatter<'_>, limit: &Limit) -> fmt::Result {
    let allowed = |rates: &Rates| {
        let of = |mode| grouped(messages_of(rates.median(), mode));
        format!("{} messages/s (direct: {})", of(FakeMode::Voucher), of(FakeMode::Direct))
    };
    writeln!(
        f,
        "      {:<36} {:>9} {:>11} {:>25} {:>7} {:>8.3}  allow {}; store alone {} {}, {}",
        format!("commits-{}", limit.journal.name()),
        limit.commits,
        grouped(limit.by_journal.median()),
        spread(&limit.by_journal),
        "",
        limit.cpu_us.median(),
        allowed(&limit.by_journal),
        grouped(limit.by_store.median()),
        spread(&limit.by_store),
        allowed(&limit.by_store),
    )
}

/// The lowest and the highest.
pub(crate) fn spread(rates: &Rates) -> String {
    let (low, high) = rates.range();
    format!("[{} {}]", grouped(low), grouped(high))
}

fn write_rival(f: &mut fmt::Formatter<'_>, rival: &Rival) -> fmt::Result {
    let (size, name) = (rival.size, rival.kind.name());
    if let Some(why) = &rival.absent {
        return writeln!(f, "{size:>5} {name:<13} not there: {why}");
    }
    writeln!(
        f,
        "{size:>5} {name:<36} {:>9} {:>11} {:>25} {:>7} {:>8}",
        rival.messages,
        grouped(rival.rates.median()),
        spread(&rival.rates),
        short(megabytes(rival.rates.median(), rival.size)),
        or((!rival.cpu_us.is_empty()).then(|| rival.cpu_us.median()), 3, "-"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([0.0, 999.4, 1000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_median_is_a_measured_one() {
        let mut rates = Rates::default();
        assert_eq!((rates.median(), rates.range()), (0.0, (0.0, 0.0)));
        [5.0, 1.0, 3.0, 9.0].into_iter().for_each(|rate| rates.push(rate));
        assert_eq!((rates.median(), rates.range()), (3.0, (1.0, 9.0)));
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(text("a \"b\"\\\n"), r#""a \"b\"\\""#);
    }
}

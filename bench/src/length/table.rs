//! Results, as a table for people and as JSON lines for programs.

use std::fmt;

use super::{Options, Report, Row};
use crate::report::Rates;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { windows, size, journal, rounds, .. } = &self.options;
        writeln!(
            f,
            "one sale by its length: {size} bytes a message, {windows} windows, journals of class {}",
            journal.name()
        )?;
        writeln!(
            f,
            "medians of {rounds} rounds [lowest highest]; from the connection to both settlements, both ends together"
        )?;
        writeln!(
            f,
            "memory: what the process grew by at most; journals: both, on the disk at the end, with their write-ahead logs"
        )?;
        writeln!(
            f,
            "{:>5} {:>10} {:>10} {:>21} {:>12} {:>9} {:>10} {:>13}",
            "K", "messages", "seconds", "[lowest highest]", "messages/s", "CPU s", "memory MiB", "journals KiB"
        )?;
        self.rows.iter().try_for_each(|row| row.fmt(f))?;
        self.options.ks.iter().try_for_each(|k| self.growth(*k, f))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, (low, high)) = (self.seconds.median(), self.seconds.range());
        write!(f, "{:>5} {:>10} {seconds:>10.4} {:>21}", self.k, self.messages, format!("[{low:.4} {high:.4}]"))?;
        let (memory, journals) = (self.memory.median() / 1024.0 / 1024.0, self.journals.median() / 1024.0);
        writeln!(f, " {:>12.0} {:>9.4} {memory:>10.1} {journals:>13.0}", self.rate(), self.cpu_s.median())
    }
}

impl Row {
    /// Messages per second of the whole sale.
    pub fn rate(&self) -> f64 {
        self.length() / self.seconds.median().max(1e-9)
    }

    /// Messages of a sale.
    #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
    pub(super) const fn length(&self) -> f64 {
        self.messages as f64
    }
}

impl Report {
    /// What the longest takes beside the shortest of the same K.
    fn growth(&self, k: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut same = self.rows.iter().filter(|row| row.k == k);
        let Some((first, last)) = same.next().zip(same.next_back()) else { return Ok(()) };
        let times = |of: fn(&Row) -> f64| of(last) / of(first).max(1e-9);
        let (length, time) = (times(Row::length), times(|row| row.seconds.median()));
        let (memory, journals) = (times(|row| row.memory.median()), times(|row| row.journals.median()));
        let more = (last.length() - first.length()).max(1.0);
        let each = |of: fn(&Row) -> f64| (of(last) - of(first)) / more;
        write!(f, "K = {k}: {length:.0} x the messages take {time:.1} x the time, {memory:.1} x the memory ")?;
        write!(
            f,
            "({:.1} bytes for each message more), {journals:.1} x the journals ",
            each(|row| row.memory.median())
        )?;
        writeln!(f, "({:.1} bytes)", each(|row| row.journals.median()))
    }

    /// The same as JSON lines: what was asked for, then a line for each length.
    pub fn json(&self) -> String {
        let Options { windows, size, journal, rounds, .. } = &self.options;
        let head =
            format!("{{\"windows\":{windows},\"size\":{size},\"journal\":\"{}\",\"rounds\":{rounds}}}", journal.name());
        let row = |row: &Row| {
            let three = |name: &str, of: &Rates| {
                let (low, high) = of.range();
                format!("\"{name}\":[{low},{},{high}]", of.median())
            };
            format!(
                "{{\"k\":{},\"messages\":{},{},{},{},{}}}",
                row.k,
                row.messages,
                three("seconds", &row.seconds),
                three("cpu_s", &row.cpu_s),
                three("memory_bytes", &row.memory),
                three("journal_bytes", &row.journals)
            )
        };
        let lines: Vec<String> = [head].into_iter().chain(self.rows.iter().map(row)).collect();
        lines.join("\n")
    }
}

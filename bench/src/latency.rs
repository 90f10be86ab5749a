//! How long one message is under way, and how long the first one takes to come: beside TLS and plain TCP in one run.
//!
//! `cargo run --release -p sdpp-bench --bin latency`.
//!
//! *Messages*: one at a time, at a steady rate, from the seller's source (a writer) to the buyer's sink (a reader). Each
//! carries the time of its offer: that of the moment at which the source puts it into the batch, or just before the
//! writer's call of `write`. So a late timer delays an offer and does not count; how late offers were is printed beside,
//! for one that is held back by the sale itself would not count either. One thread for each end on both sides of the
//! comparison; that of a seller or buyer waits in a tokio runtime, that of a writer sleeps and that of a reader blocks.
//!
//! *First messages*: from the call that connects to the first message in the sink. In a sale that is: TCP connection,
//! keys agreed on, the menu, a deposit asked of the (fake) rail and noted durably before, the order signed and made
//! durable, sent, admitted and made durable by the seller, accepted, the first message sealed, sent and opened. Both
//! sides prove who they are. Against it a whole handshake of TLS 1.3 (nothing resumed, no client certificate) with the
//! same way to agree on keys, and the first byte behind it.

use std::fmt;

use crate::report;
use crate::sale::Journal;
use crate::{Failure, head};

mod connect;
mod message;

pub use connect::First;
pub use message::{Kind, Times};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds that count.
    pub rounds: u32,
    /// Messages of a round that count.
    pub messages: usize,
    /// Messages before them: the new buyer's ramp is among them.
    pub warm_up: usize,
    /// Messages offered per second.
    pub rate: u32,
    /// Bytes of one message, at least 8: it carries the time of its offer.
    pub size: usize,
    /// Messages per window.
    pub k: u32,
    /// Outstanding windows.
    pub windows: u32,
    /// How durable the journals of both sides are.
    pub journal: Journal,
    /// Connections of each kind, for the time to the first message.
    pub connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 5,
            messages: 5000,
            warm_up: 1000,
            rate: 1000,
            size: 1024,
            k: 100,
            windows: 64,
            journal: Journal::Process,
            connections: 100,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    head: Vec<(&'static str, String)>,
    options: Options,
    /// Messages: one row each for a sale, TLS and TCP.
    pub messages: Vec<Times>,
    /// First messages: of a sale and of TLS, for each way to agree on keys.
    pub firsts: Vec<First>,
}

/// Runs everything; `progress` hears what is being done.
///
/// # Errors
/// [`Failure`]: a sale that did not settle in full, or the system's.
pub fn measure(options: &Options, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    if options.size < message::STAMP {
        return Err(format!("a message has at least {} bytes: the time of its offer", message::STAMP).into());
    }
    let head = head::machine();
    let mut messages: Vec<Times> = Kind::ALL.into_iter().map(Times::new).collect();
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}", options.rounds));
        for times in &mut messages {
            times.push(message::run(times.kind, options)?, options);
        }
    }
    progress(&format!("{} connections of each kind", options.connections));
    let firsts = connect::run(options)?;
    Ok(Report { head, options: options.clone(), messages, firsts })
}

impl Report {
    /// One JSON object a line: the head, then messages and first messages.
    pub fn json(&self) -> String {
        let Options { rate, size, k, windows, journal, rounds, .. } = &self.options;
        let mut lines = vec![report::head_json(&self.head)];
        lines.extend(self.messages.iter().map(|times| {
            format!(
                "{{\"what\":\"message\",\"kind\":\"{}\",\"rate\":{rate},\"bytes\":{size},\"k\":{k},\"windows\":{windows},\
                 \"journal\":\"{}\",\"rounds\":{rounds},{}}}",
                times.kind.name(),
                journal.name(),
                times.json()
            )
        }));
        lines.extend(self.firsts.iter().map(|first| {
            format!(
                "{{\"what\":\"first message\",\"kind\":\"{}\",\"journal\":\"{}\",\"connections\":{},{}}}",
                first.name,
                journal.name(),
                self.options.connections,
                first.json()
            )
        }));
        lines.join("\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { rounds, messages, warm_up, rate, size, k, windows, journal, connections } = &self.options;
        report::write_head(f, &self.head)?;
        writeln!(
            f,
            "\nOne message of {size} bytes at a time, {rate} a second, from offer to delivery, microseconds. Medians of \
             {rounds} rounds, [lowest highest];\n{messages} messages each behind {warm_up} that do not count. \
             sdpp: K = {k}, {windows} windows, journals of class {}, vouchers.",
            journal.name()
        )?;
        writeln!(f, "offered: messages a second, and how much behind their time: p99, max (milliseconds).\n")?;
        writeln!(
            f,
            "{:<8} {:>18} {:>18} {:>20} {:>22}   {:>8} {:>16}",
            "", "p50", "p99", "p99.9", "max", "offered", "behind p99, max"
        )?;
        self.messages.iter().try_for_each(|times| times.write(f))?;
        writeln!(
            f,
            "\nFrom the call that connects to the first message in the sink (the first byte read), microseconds. Medians of \
             {connections}, [lowest highest].\nsdpp: journals of class {}; menu: it is there, and nothing is \
             ordered yet; commits: of both sides until then, waited for or not.\nrustls: a whole handshake; only the server has a \
             certificate.\n",
            journal.name()
        )?;
        self.firsts.iter().try_for_each(|first| first.write(f, &self.firsts))
    }
}

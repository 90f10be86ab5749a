//! `cargo run --release -p sdpp-bench --bin latency`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::process::ExitCode;

use sdpp_bench::latency::{Options, measure};
use sdpp_bench::{Failure, Journal, Shown, ended};

const HELP: &str = "\
How long one message is under way from offer to delivery, beside rustls and TCP; and how long from a connection
to its first message, beside a handshake of rustls.

cargo run --release -p sdpp-bench --bin latency -- [OPTION]...

  --rounds N          rounds that count (5)
  --messages N        messages of a round that count (5000); 1,000 before them do not
  --rate N            messages offered per second (1000)
  --size N            bytes of a message (1024)
  --k N               messages per window (100)
  --windows N         outstanding windows (64)
  --journal CLASS     process (survives a kill), power (survives a power cut), memory (process)
  --connections N     connections of each kind (100)
  --json              JSON lines in place of the table
  --json-file PATH    JSON lines in a file, too
  --help";

fn main() -> ExitCode {
    ended("latency", run())
}

fn run() -> Result<(), Failure> {
    let mut options = Options::default();
    let mut shown = Shown::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if shown.take(&name, &mut arguments)? {
            continue;
        }
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value: see --help"));
        match name.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--messages" => options.messages = value()?.parse()?,
            "--rate" => options.rate = value()?.parse()?,
            "--size" => options.size = value()?.parse()?,
            "--k" => options.k = value()?.parse()?,
            "--windows" => options.windows = value()?.parse()?,
            "--journal" => {
                options.journal = Journal::of_name(&value()?).ok_or("--journal takes process, power or memory")?;
            }
            "--connections" => options.connections = value()?.parse()?,
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            _ => return Err(format!("{name} is unknown: see --help").into()),
        }
    }
    let report = measure(&options, &|what| eprintln!("{what}"))?;
    shown.show(&report, &report.json())
}

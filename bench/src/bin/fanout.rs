//! `cargo run --release -p sdpp-bench --bin fanout`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::process::ExitCode;
use std::time::Duration;

use sdpp_bench::Failure;
use sdpp_bench::fanout::{Options, measure};

const HELP: &str = "\
What many sessions take and get: one seller, so many buyers at once, in one process.

cargo run --release -p sdpp-bench --bin fanout -- [OPTION]...

  --buyers N[,N...]   buyers at once (1,10,100,1000)
  --messages N        messages of all buyers of a run (2000000)
  --size N            bytes of a message (1024)
  --k N               messages per window (100)
  --windows N         outstanding windows of a buyer (8)
  --quiet-s N         seconds of silence before a session's memory is looked at (20)
  --help";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("fanout: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut options = Options {
        buyers: vec![1, 10, 100, 1000],
        messages: 2_000_000,
        size: 1024,
        k: 100,
        windows: 8,
        quiet: Duration::from_secs(20),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value: see --help"));
        match name.as_str() {
            "--buyers" => options.buyers = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--messages" => options.messages = value()?.parse()?,
            "--size" => options.size = value()?.parse()?,
            "--k" => options.k = value()?.parse()?,
            "--windows" => options.windows = value()?.parse()?,
            "--quiet-s" => options.quiet = Duration::from_secs(value()?.parse()?),
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            _ => return Err(format!("{name} is unknown: see --help").into()),
        }
    }
    print!("{}", measure(&options, &|what| eprintln!("{what}"))?);
    Ok(())
}

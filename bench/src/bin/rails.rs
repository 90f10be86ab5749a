//! `cargo run --release -p sdpp-bench --bin rails`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::process::ExitCode;

use sdpp_bench::rails::{Options, measure};
use sdpp_bench::{Failure, Journal, Shown, ended};

const HELP: &str = "\
How long one voucher of the EVM rail takes to sign and to check; and messages per second of whole sales on that rail, by a
node that this starts, beside the embedded ledger's.

cargo run --release -p sdpp-bench --bin rails -- [OPTION]...

  --rounds N          rounds that count (5); one more warms up
  --vouchers N        vouchers of a round (2000)
  --only-vouchers     no sales, and no node
  --messages N        messages of a sale (1500000)
  --windows N[,N...]  outstanding windows (8,64)
  --k N               messages per window (100)
  --size N            bytes of a message (1024)
  --journal CLASS     process (survives a kill), power (survives a power cut), memory (process)
  --json              JSON lines in place of the table
  --json-file PATH    JSON lines in a file, too
  --help

The node is anvil; tools/anvil fetches it, or SDPP_ANVIL names it.";

fn main() -> ExitCode {
    ended("rails", run())
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
            "--vouchers" => options.vouchers = value()?.parse()?,
            "--only-vouchers" => options.windows.clear(),
            "--messages" => options.messages = value()?.parse()?,
            "--windows" => options.windows = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--k" => options.k = value()?.parse()?,
            "--size" => options.size = value()?.parse()?,
            "--journal" => {
                options.journal = Journal::of_name(&value()?).ok_or("--journal takes process, power or memory")?;
            }
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

//! `cargo run --release -p sdpp-bench --bin audit`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::process::ExitCode;

use sdpp_bench::audit::{CHILD, Options, child, measure};
use sdpp_bench::{Failure, Shown, ended};

const HELP: &str = "\
Receipts audited per second, and what memory that takes as orders get longer.

cargo run --release -p sdpp-bench --bin audit -- [OPTION]...

  --rounds N              rounds that count (5)
  --statements N[,N...]   statements of an order, roughly (1000,10000,100000)
  --threads N[,N...]      audits at once, of the longest order (1,2)
  --json                  JSON lines in place of the table
  --json-file PATH        JSON lines in a file, too
  --help";

fn main() -> ExitCode {
    ended("audit", run())
}

fn run() -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let mut options = Options { rounds: 5, statements: vec![1000, 10_000, 100_000], threads: vec![1, 2], program };
    let mut shown = Shown::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if shown.take(&name, &mut arguments)? {
            continue;
        }
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value: see --help"));
        match name.as_str() {
            CHILD => {
                println!("{}", child(arguments)?);
                return Ok(());
            }
            "--rounds" => options.rounds = value()?.parse()?,
            "--statements" => options.statements = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--threads" => options.threads = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
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

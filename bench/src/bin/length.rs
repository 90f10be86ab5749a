//! `cargo run --release -p sdpp-bench --bin length`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::path::PathBuf;
use std::process::ExitCode;

use sdpp_bench::length::{Options, act, measure, plot};
use sdpp_bench::{Failure, Journal, Shown, ended};

const HELP: &str = "\
How long one sale takes by the number of its messages, what memory it takes at most, and what its journals
take on the disk. Each sale is a process of its own. The defaults take about ten minutes.

cargo run --release -p sdpp-bench --bin length -- [OPTION]...

  --lengths N[,N...]  messages of a sale (1000,10000,100000,1000000,10000000)
  --k N[,N...]        messages per window (1,10,100,1000)
  --windows N         outstanding windows (64)
  --size N            bytes of a message (100)
  --journal CLASS     process (survives a kill), power (survives a power cut), memory (process)
  --rounds N          rounds (3)
  --plot PATH         writes total time by length as SVG
  --json              JSON lines in place of the table
  --json-file PATH    JSON lines in a file, too
  --help";

fn main() -> ExitCode {
    ended("length", run())
}

fn run() -> Result<(), Failure> {
    if let Some(numbers) = act(std::env::args().skip(1))? {
        println!("{numbers}");
        return Ok(());
    }
    let mut options = Options {
        lengths: vec![1_000, 10_000, 100_000, 1_000_000, 10_000_000],
        ks: vec![1, 10, 100, 1000],
        windows: 64,
        size: 100,
        journal: Journal::Process,
        rounds: 3,
        program: std::env::current_exe()?,
    };
    let (mut shown, mut picture) = (Shown::default(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if shown.take(&name, &mut arguments)? {
            continue;
        }
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value: see --help"));
        match name.as_str() {
            "--lengths" => options.lengths = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--k" => options.ks = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--windows" => options.windows = value()?.parse()?,
            "--size" => options.size = value()?.parse()?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--journal" => {
                let class = Journal::of_name(&value()?);
                options.journal = class.ok_or("--journal takes process, power or memory")?;
            }
            "--plot" => picture = Some(PathBuf::from(value()?)),
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            _ => return Err(format!("{name} is unknown: see --help").into()),
        }
    }
    let report = measure(&options, &|what| eprintln!("{what}"))?;
    if let Some(path) = picture {
        std::fs::write(path, plot(&report))?;
    }
    shown.show_with_machine(&report, &report.json())
}

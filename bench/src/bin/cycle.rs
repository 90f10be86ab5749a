//! `cargo run --release -p sdpp-bench --bin cycle`

#![allow(clippy::print_stdout, reason = "a program that prints its result")]

use std::path::PathBuf;
use std::process::ExitCode;

use sdpp_bench::cycle::measure;
use sdpp_bench::length::draw;
use sdpp_bench::{Failure, ended};

const HELP: &str = "\
How long an order takes where each payment takes its time, by the order's size: the paper's Fig. 3, under a
simulated clock. The same figures on every machine.

cargo run --release -p sdpp-bench --bin cycle -- [OPTION]...

  --cycles MS[,MS...]   milliseconds from a payment to its finality (21600,500)
  --k N[,N...]          messages per window (4,20)
  --windows N[,N...]    outstanding windows; 1 is lock step (1,2,8)
  --lengths N[,N...]    messages of an order (20,100,500,1000,5000)
  --plot PATH           writes total time by length as SVG, for the first cycle
  --help";

fn main() -> ExitCode {
    ended("cycle", run())
}

fn all<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, Failure>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(text.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

fn run() -> Result<(), Failure> {
    let (mut cycles, mut ks, mut windows) = (vec![21_600, 500], vec![4, 20], vec![1, 2, 8]);
    let (mut lengths, mut picture) = (vec![20, 100, 500, 1_000, 5_000], None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value: see --help"));
        match name.as_str() {
            "--cycles" => cycles = all(&value()?)?,
            "--k" => ks = all(&value()?)?,
            "--windows" => windows = all(&value()?)?,
            "--lengths" => lengths = all(&value()?)?,
            "--plot" => picture = Some(PathBuf::from(value()?)),
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            _ => return Err(format!("{name} is unknown: see --help").into()),
        }
    }
    let report = measure((&cycles, &ks, &windows), &lengths)?;
    print!("{report}");
    if let (Some(path), Some(cycle)) = (picture, cycles.first()) {
        let seconds = std::time::Duration::from_millis(*cycle).as_secs_f64();
        let under = format!("each payment final after {seconds} s; nothing else takes time");
        std::fs::write(path, draw("Total time of an order by its length", &under, &report.lines(*cycle)))?;
    }
    Ok(())
}

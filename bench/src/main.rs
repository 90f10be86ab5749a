//! `cargo run --release -p sdpp-bench`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use sdpp_bench::{Failure, FakeMode, Journal, Kind, Options, Shown, Suite, ended, measure};

const HELP: &str = "\
Messages per second of whole sales over loopback, beside others in the same run: TCP, rustls, NATS, MQTT,
and a request of HTTP with a signed payment for each message.

cargo run --release -p sdpp-bench -- [OPTION]...

  --rounds N              rounds that count (5); one warm-up more
  --windows N[,N...]      outstanding windows (64); K = 1 is also run in lock step, with one
  --k N[,N...]            messages per window (1,10,100,1000)
  --sizes N[,N...]        bytes of a message (100,1024,16384)
  --also KxN[,KxN...]     further shapes, K x outstanding windows, of 1,024 bytes (1x64000,100x8,100x640)
  --journal CLASS[,...]   process (survives a kill), power (survives a power cut), memory (process,power)
  --suites N[,N]          1 (X25519), 2 (X-Wing: X25519 and ML-KEM-768) (1,2)
  --modes MODE[,MODE]     voucher, direct (a transfer for each payment) (voucher,direct)
                          the first class, suite and mode are those of all shapes; the second class also sells
                          1,024 bytes at K = 100 and in lock step, the second suite and mode 1,024 bytes at K = 100
  --round-ms N            roughly how long a round of a sale takes (350)
  --rivals NAME[,NAME...] tcp,rustls,nats,mqtt,http (all that are there); tools/nats and tools/mosquitto
                          fetch a server
  --json                  JSON lines in place of the table
  --json-file PATH        JSON lines in a file, too
  --help";

fn main() -> ExitCode {
    ended("sdpp-bench", run())
}

fn run() -> Result<(), Failure> {
    let mut options = Options::default();
    let mut shown = Shown::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if shown.take(&name, &mut arguments)? {
            continue;
        }
        match name.as_str() {
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            _ => {
                let value =
                    arguments.next().ok_or_else(|| format!("{name} needs a value, or is unknown: see --help"))?;
                set(&mut options, &name, &value)?;
            }
        }
    }
    let report = measure(&options, &|what| eprintln!("{what}"))?;
    shown.show(&report, &report.json())
}

fn set(options: &mut Options, name: &str, value: &str) -> Result<(), Failure> {
    match name {
        "--rounds" => options.rounds = one(name, value)?,
        "--round-ms" => options.round = Duration::from_millis(one(name, value)?),
        "--windows" => options.windows = list(name, value)?,
        "--k" => options.ks = list(name, value)?,
        "--sizes" => options.sizes = list(name, value)?,
        "--also" => options.also = value.split(',').map(|part| shape(name, part)).collect::<Result<_, _>>()?,
        "--journal" => options.journals = named(value, Journal::of_name, "--journal takes process, power, memory")?,
        "--suites" => options.suites = named(value, suite, "--suites takes 1, 2")?,
        "--modes" => options.modes = named(value, mode, "--modes takes voucher, direct")?,
        "--rivals" => options.rivals = rivals(value)?,
        _ => return Err(format!("{name} is unknown: see --help").into()),
    }
    Ok(())
}

fn suite(code: &str) -> Option<Suite> {
    Suite::of_code(code.parse().ok()?)
}

fn mode(name: &str) -> Option<FakeMode> {
    [FakeMode::Voucher, FakeMode::Direct].into_iter().find(|mode| sdpp_bench::name_of(*mode) == name)
}

/// Values by their names.
fn named<T>(value: &str, of_name: impl Fn(&str) -> Option<T>, what: &str) -> Result<Vec<T>, Failure> {
    value.split(',').map(|part| of_name(part.trim()).ok_or_else(|| what.into())).collect()
}

/// K x outstanding windows.
fn shape(name: &str, part: &str) -> Result<(u32, u32), Failure> {
    let (k, windows) = part.split_once('x').ok_or_else(|| format!("{name} takes KxWINDOWS, not '{part}'"))?;
    Ok((one(name, k)?, one(name, windows)?))
}

/// Once each, in the order of the table.
fn rivals(value: &str) -> Result<Vec<Kind>, Failure> {
    let names: Vec<&str> = value.split(',').map(str::trim).collect();
    if let Some(name) = names.iter().find(|name| Kind::ALL.iter().all(|kind| kind.group() != **name)) {
        let mut groups: Vec<&str> = Kind::ALL.into_iter().map(Kind::group).collect();
        groups.dedup();
        return Err(format!("--rivals does not know '{name}': choose from {}", groups.join(", ")).into());
    }
    Ok(Kind::ALL.into_iter().filter(|kind| names.contains(&kind.group())).collect())
}

fn list<T: FromStr + Default + PartialEq>(name: &str, value: &str) -> Result<Vec<T>, Failure> {
    value.split(',').map(|part| one(name, part)).collect()
}

/// A number above zero.
fn one<T: FromStr + Default + PartialEq>(name: &str, value: &str) -> Result<T, Failure> {
    let number = value.trim().parse().ok().filter(|number| *number != T::default());
    number.ok_or_else(|| format!("{name} takes numbers above zero, not '{value}'").into())
}

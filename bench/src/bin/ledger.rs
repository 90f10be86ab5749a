//! `cargo run --release -p sdpp-bench --bin ledger`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use sdpp_bench::ledger::{Kind, Options, System, measure};
use sdpp_bench::{Failure, Shown, ended};

const HELP: &str = "\
Durable appends per second of the ledger, every signature verified: first in turns with others that keep
entries, then alone in one long run, with what an entry takes, proofs, and a check of everything.

cargo run --release -p sdpp-bench --bin ledger -- [OPTION]...

  --writers N[,N...] writers at once (1,4,16,64,256); the long run has the highest
side by side:
  --rounds N        rounds (5); 0: nothing is compared
  --round-ms N      how long one is (1000)
  --systems NAME[,NAME...]
                    ledger,ledger-http,jetstream,postgresql (all that are there); tools/jetstream and
                    tools/postgres fetch a server
the long run:
  --entries N       entries in all (200000); 0: there is none
  --kind KIND       transfer, record (of a whole payment, two signatures) or hash (transfer)
  --parts N         parts that are reported for themselves (10)
  --files           publish tiles as files meanwhile, and check them with fsck at the end
  --witness         a witness in the same process cosigns every checkpoint, durably
  --http            writers go through a server on loopback, in the same process
  --folder PATH     where the ledger is kept, stays, and is gone on with (a temporary folder, removed)
  --json            JSON lines in place of the table
  --json-file PATH  JSON lines in a file, too
  --help";

fn main() -> ExitCode {
    ended("ledger", run())
}

fn run() -> Result<(), Failure> {
    let temporary = std::env::temp_dir().join(format!("sdpp-bench-ledger-{}", std::process::id()));
    let mut options = Options {
        entries: 200_000,
        writers: vec![1, 4, 16, 64, 256],
        rounds: 5,
        round: Duration::from_millis(1000),
        systems: System::ALL.to_vec(),
        kind: Kind::Transfer,
        parts: 10,
        folder: temporary.clone(),
        files: false,
        http: false,
        witness: false,
    };
    let mut shown = Shown::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if shown.take(&name, &mut arguments)? {
            continue;
        }
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value: see --help"));
        match name.as_str() {
            "--files" => options.files = true,
            "--http" => options.http = true,
            "--witness" => options.witness = true,
            "--entries" => options.entries = value()?.parse()?,
            "--writers" => options.writers = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--round-ms" => options.round = Duration::from_millis(value()?.parse()?),
            "--systems" => options.systems = systems(&value()?)?,
            "--parts" => options.parts = value()?.parse()?,
            "--kind" => options.kind = Kind::of_name(&value()?).ok_or("--kind takes transfer, record or hash")?,
            "--folder" => options.folder = PathBuf::from(value()?),
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            _ => return Err(format!("{name} is unknown: see --help").into()),
        }
    }
    let report = measure(&options, &|what| eprintln!("{what}"));
    if options.folder == temporary && temporary.exists() {
        std::fs::remove_dir_all(&temporary)?;
    }
    let report = report?;
    shown.show_with_machine(&report, &report.json())
}

/// Once each, in the order of the table.
fn systems(names: &str) -> Result<Vec<System>, Failure> {
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    match names.iter().find(|name| System::ALL.iter().all(|system| system.name() != **name)) {
        Some(name) => Err(format!("--systems does not know '{name}': see --help").into()),
        None => Ok(System::ALL.into_iter().filter(|system| names.contains(&system.name())).collect()),
    }
}

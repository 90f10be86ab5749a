//! `cargo run --release -p sdpp-bench --bin ledger`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::path::PathBuf;
use std::process::ExitCode;

use sdpp_bench::Failure;
use sdpp_bench::ledger::{Kind, Options, measure};

const HELP: &str = "\
Durable appends per second of the embedded ledger, every signature verified.

cargo run --release -p sdpp-bench --bin ledger -- [OPTION]...

  --entries N       entries in all (200000)
  --writers N       writers at once (256)
  --kind KIND       transfer, record (of a whole payment, two signatures) or hash (transfer)
  --parts N         parts that are reported for themselves (10)
  --files           publish tiles as files meanwhile, and check them with fsck at the end
  --witness         a witness in the same process cosigns every checkpoint, durably
  --http            writers go through a server on loopback, in the same process
  --folder PATH     where the ledger is kept, stays, and is gone on with (a temporary folder, removed)
  --help";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ledger: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let temporary = std::env::temp_dir().join(format!("sdpp-bench-ledger-{}", std::process::id()));
    let mut options = Options {
        entries: 200_000,
        writers: 256,
        kind: Kind::Transfer,
        parts: 10,
        folder: temporary.clone(),
        files: false,
        http: false,
        witness: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value: see --help"));
        match name.as_str() {
            "--files" => options.files = true,
            "--http" => options.http = true,
            "--witness" => options.witness = true,
            "--entries" => options.entries = value()?.parse()?,
            "--writers" => options.writers = value()?.parse()?,
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
    let report = measure(&options, &|part| eprintln!("{part:?}"));
    if options.folder == temporary {
        std::fs::remove_dir_all(&temporary)?;
    }
    print!("{}", report?);
    Ok(())
}

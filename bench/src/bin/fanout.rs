//! `cargo run --release -p sdpp-bench --bin fanout`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its result")]

use std::process::ExitCode;
use std::time::Duration;

use sdpp_bench::fanout::{self, live};
use sdpp_bench::{Failure, Shown, ended};

const HELP: &str = "\
What many sessions take and get: one seller, so many buyers at once. First all share one live source through
the program's hub, with seller and buyers in a process each; then each has a source of its own, all in one process.

cargo run --release -p sdpp-bench --bin fanout -- [OPTION]...

  --sources KIND[,KIND]  live (shared), own (live,own)
  --buyers N[,N...]      buyers at once (live: 1,10,100,1000,10000; own: 1,10,100,1000)
  --size N               bytes of a message (1024)
  --k N                  messages per window (100)
  --windows N            outstanding windows of a buyer (8)
  --quiet-s N            seconds of silence before a session's memory is looked at (20)
live:
  --rounds N[,N]         rounds, and those from 1,000 buyers on (5,3)
  --rate N               messages a second of the source (first the highest that is carried, then all that the
                         hub takes)
  --open WHEN            before or after the buyers connect (after); before: flooded only
  --queue N              messages that may wait for one order (1024)
  --ramp-ms N            from a change of the source until it counts (1000); when it opens 4 ms more for each buyer
  --time-ms N            how long it counts (2000); when all are flooded 4 ms more for each buyer
  --beside-slow N        so many buyers are measured without and with a slow one (10); 0: not
  --slow-share X         what the slow one takes, by what each other takes (0.01)
own:
  --messages N           messages of all buyers of a run (2000000)
  --json                 JSON lines in place of the table
  --json-file PATH       JSON lines in a file, too
  --help";

fn main() -> ExitCode {
    ended("fanout", run())
}

/// What was asked for.
struct Asked {
    live: Option<live::Options>,
    own: Option<fanout::Options>,
}

fn run() -> Result<(), Failure> {
    if live::act(std::env::args().skip(1))? {
        return Ok(());
    }
    let mut asked = Asked { live: Some(usual_live()?), own: Some(usual_own()) };
    let mut shown = Shown::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if matches!(name.as_str(), "--help" | "-h") {
            println!("{HELP}");
            return Ok(());
        }
        if shown.take(&name, &mut arguments)? {
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value, or is unknown: see --help"))?;
        asked.set(&name, &value)?;
    }
    let (mut table, mut json) = (String::new(), Vec::new());
    if let Some(options) = &asked.live {
        let report = live::measure(options, &|what| eprintln!("{what}"))?;
        table.push_str(&format!("{report}\n"));
        json.push(report.json());
    }
    if let Some(options) = &asked.own {
        let report = fanout::measure(options, &|what| eprintln!("a source each, {what}"))?;
        table.push_str(&format!("a source of its own for each\n{report}"));
        json.push(report.json());
    }
    shown.show_with_machine(&table, &json.join("\n"))
}

fn usual_live() -> Result<live::Options, Failure> {
    Ok(live::Options {
        buyers: vec![1, 10, 100, 1000, 10_000],
        rounds: [5, 3],
        size: 1024,
        k: 100,
        windows: 8,
        queue: 1024,
        rate: None,
        open_first: false,
        ramp: Duration::from_secs(1),
        time: Duration::from_secs(2),
        quiet: Duration::from_secs(20),
        beside_slow: Some(10),
        slow_share: 0.01,
        program: std::env::current_exe()?,
    })
}

fn usual_own() -> fanout::Options {
    fanout::Options {
        buyers: vec![1, 10, 100, 1000],
        messages: 2_000_000,
        size: 1024,
        k: 100,
        windows: 8,
        quiet: Duration::from_secs(20),
    }
}

impl Asked {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        if name == "--sources" {
            let kinds: Vec<&str> = value.split(',').collect();
            if let Some(kind) = kinds.iter().find(|kind| !["live", "own"].contains(kind)) {
                return Err(format!("--sources takes live and own, not '{kind}'").into());
            }
            self.live.take_if(|_| !kinds.contains(&"live"));
            self.own.take_if(|_| !kinds.contains(&"own"));
            return Ok(());
        }
        let known = [
            self.own.as_mut().map(|options| set_own(options, name, value)).transpose()?,
            self.live.as_mut().map(|options| set_live(options, name, value)).transpose()?,
        ];
        if known.contains(&Some(true)) { Ok(()) } else { Err(format!("{name} is unknown here: see --help").into()) }
    }
}

/// Says whether it knows this option.
fn set_own(options: &mut fanout::Options, name: &str, value: &str) -> Result<bool, Failure> {
    match name {
        "--buyers" => options.buyers = list(value)?,
        "--messages" => options.messages = value.parse()?,
        "--size" => options.size = value.parse()?,
        "--k" => options.k = value.parse()?,
        "--windows" => options.windows = value.parse()?,
        "--quiet-s" => options.quiet = Duration::from_secs(value.parse()?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Says whether it knows this option.
fn set_live(options: &mut live::Options, name: &str, value: &str) -> Result<bool, Failure> {
    match name {
        "--buyers" => options.buyers = list(value)?,
        "--rounds" => {
            let rounds = list(value)?;
            let first = rounds.first().copied().ok_or("--rounds needs a number")?;
            options.rounds = [first, rounds.get(1).copied().unwrap_or(first)];
        }
        "--size" => options.size = value.parse()?,
        "--k" => options.k = value.parse()?,
        "--windows" => options.windows = value.parse()?,
        "--open" => {
            options.open_first = match value {
                "before" => true,
                "after" => false,
                _ => return Err(format!("--open takes before or after, not '{value}'").into()),
            }
        }
        "--queue" => options.queue = value.parse()?,
        "--rate" => options.rate = Some(value.parse()?).filter(|rate| *rate > 0),
        "--ramp-ms" => options.ramp = Duration::from_millis(value.parse()?),
        "--time-ms" => options.time = Duration::from_millis(value.parse()?),
        "--quiet-s" => options.quiet = Duration::from_secs(value.parse()?),
        "--beside-slow" => options.beside_slow = Some(value.parse()?).filter(|buyers| *buyers > 0),
        "--slow-share" => options.slow_share = value.parse()?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn list<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(value: &str) -> Result<Vec<T>, Failure> {
    Ok(value.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

//! `sdpp-sim`: runs worlds by seed, counts what they reached, and says which seed fails.
//!
//! ```sh
//! cargo run -p sdpp-sim --release -- --seeds 5000
//! cargo run -p sdpp-sim --release -- --from 100000 --to 200000 --append results.txt
//! cargo run -p sdpp-sim --release -- --replay 4711
//! cargo run -p sdpp-sim --release --features evm -- --evm --seeds 5000
//! ```
//!
//! With the feature `evm` every 12th seed has a second world, whose money is on an EVM chain: the first one stays what it is.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use sdpp_sim::world::{Failure, Report, simulate};
use sdpp_sim::{CHAIN_POINTS, Coverage};

/// Seeds from which on every fault, offence and state must have been reached.
const COVERED_FROM: u64 = 4_000;
/// Of so many seeds one has a second world, on a chain.
const EVM_EVERY: u64 = 12;

/// Runs made-up worlds, one per seed, and checks after every step that nothing is lost.
#[derive(Parser)]
struct Arguments {
    /// Seeds from 0 on.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The seed behind the last one.
    #[arg(long, default_value_t = 1000)]
    to: u64,
    /// Appends the result to this file, so that long runs can go in pieces.
    #[arg(long)]
    append: Option<PathBuf>,
    /// Runs one seed and says what happens in it.
    #[arg(long, conflicts_with_all = ["seeds", "from", "to", "append"])]
    replay: Option<u64>,
    /// Only worlds that pay on an EVM chain, one for each seed.
    #[cfg(feature = "evm")]
    #[arg(long)]
    evm: bool,
    /// Threads; one per core if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Goes on behind a seed that fails.
    #[arg(long)]
    keep_going: bool,
}

impl Arguments {
    #[cfg(feature = "evm")]
    const fn evm(&self) -> bool {
        self.evm
    }

    #[cfg(not(feature = "evm"))]
    const fn evm(&self) -> bool {
        false
    }
}

/// One of the worlds of a seed.
#[derive(Clone, Copy)]
struct World {
    seed: u64,
    evm: bool,
}

impl World {
    fn run(self, trace: bool) -> Result<Report, Failure> {
        #[cfg(feature = "evm")]
        if self.evm {
            return sdpp_sim::world::simulate_evm(self.seed, trace);
        }
        simulate(self.seed, trace)
    }

    /// As the command line names it.
    fn name(self) -> String {
        if self.evm { format!("{} --evm", self.seed) } else { self.seed.to_string() }
    }
}

/// What all threads share.
struct Shared {
    next: AtomicU64,
    done: AtomicU64,
    steps: AtomicU64,
    failed: AtomicBool,
    /// Only worlds on a chain.
    evm: bool,
    coverage: Mutex<Coverage>,
    failures: Mutex<Vec<(World, String)>>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.replay {
        return replay(World { seed, evm: arguments.evm() });
    }
    // A panic is a finding with a seed: it is said once, with the others.
    panic::set_hook(Box::new(|_| {}));
    let (from, to) = match arguments.seeds {
        Some(seeds) => (0, seeds),
        None => (arguments.from, arguments.to),
    };
    let shared = Shared {
        next: AtomicU64::new(from),
        done: AtomicU64::new(0),
        steps: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        evm: arguments.evm(),
        coverage: Mutex::new(Coverage::default()),
        failures: Mutex::new(Vec::new()),
    };
    let threads = arguments.threads.or_else(|| thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&shared, to, arguments.keep_going));
        }
        watch(&shared, (from, to), started);
    });
    report(&shared, (from, to), started.elapsed(), arguments.append.as_deref())
}

fn work(shared: &Shared, to: u64, keep_going: bool) {
    while keep_going || !shared.failed.load(Ordering::Relaxed) {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        if seed >= to {
            return;
        }
        let both = !shared.evm && cfg!(feature = "evm") && seed.is_multiple_of(EVM_EVERY);
        let second = both.then_some(World { seed, evm: true });
        for world in std::iter::once(World { seed, evm: shared.evm }).chain(second) {
            match one(world) {
                Ok(report) => {
                    shared.steps.fetch_add(report.steps, Ordering::Relaxed);
                    lock(&shared.coverage).add(&report.coverage);
                }
                Err(what) => {
                    shared.failed.store(true, Ordering::Relaxed);
                    lock(&shared.failures).push((world, what));
                }
            }
        }
        shared.done.fetch_add(1, Ordering::Relaxed);
    }
}

fn one(world: World) -> Result<Report, String> {
    match panic::catch_unwind(AssertUnwindSafe(|| world.run(false))) {
        Ok(done) => done.map_err(|failure| failure.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A bar for people; nothing where nobody looks.
fn watch(shared: &Shared, (from, to): (u64, u64), started: Instant) {
    let all = to.saturating_sub(from);
    while std::io::stderr().is_terminal() {
        let done = shared.done.load(Ordering::Relaxed);
        let share = done.saturating_mul(40).checked_div(all).unwrap_or(40);
        let width = usize::try_from(share).unwrap_or(40);
        let rate = rate(done, started.elapsed());
        say_to_people(&format!("\r[{:<40}] {done} of {all} seeds, {rate}/s ", "#".repeat(width)));
        if done >= all || shared.failed.load(Ordering::Relaxed) {
            say_to_people("\n");
            return;
        }
        thread::sleep(Duration::from_millis(250));
    }
}

fn rate(done: u64, passed: Duration) -> u64 {
    let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
    done.saturating_mul(1000).checked_div(passed_ms).unwrap_or(0)
}

fn report(shared: &Shared, (from, to): (u64, u64), passed: Duration, append: Option<&Path>) -> ExitCode {
    let coverage = lock(&shared.coverage);
    let failures = lock(&shared.failures);
    let done = shared.done.load(Ordering::Relaxed);
    let mut text = format!(
        "seeds {from} to {to}: {done} run, {} failed, {} steps, {:.1} s, {} seeds/s\n",
        failures.len(),
        shared.steps.load(Ordering::Relaxed),
        passed.as_secs_f64(),
        rate(done, passed),
    );
    for (point, count) in coverage.table() {
        text.push_str(&format!("{count:>12}  {point}\n"));
    }
    for (world, what) in failures.iter() {
        let (name, features) = (world.name(), if world.evm { " --features evm" } else { "" });
        text.push_str(&format!(
            "FAILED {name}: {what}\n  replay: cargo run -p sdpp-sim --release{features} -- --replay {name}\n"
        ));
    }
    let mut missing = coverage.missing();
    // Nobody lies on a chain, and no ledger is there.
    missing.retain(|point| !shared.evm || CHAIN_POINTS.contains(point));
    let uncovered = done >= COVERED_FROM && !missing.is_empty();
    if uncovered {
        text.push_str(&format!("NEVER REACHED: {}\n", missing.join(", ")));
    }
    say(&text);
    if let Some(path) = append {
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        if let Err(error) = written {
            say_to_people(&format!("the result cannot be kept in {}: {error}\n", path.display()));
            return ExitCode::FAILURE;
        }
    }
    if failures.is_empty() && !uncovered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(world: World) -> ExitCode {
    let name = world.name();
    match world.run(true) {
        Ok(report) => {
            say(&format!(
                "seed {name}: {} steps, {} ms of virtual time, all is well\n",
                report.steps, report.passed_ms
            ));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say(&format!("seed {name} FAILED: {failure}\n"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program's result")]
fn say(text: &str) {
    print!("{text}");
}

#[expect(clippy::print_stderr, reason = "a program's progress")]
fn say_to_people(text: &str) {
    eprint!("{text}");
}

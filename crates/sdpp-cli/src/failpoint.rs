//! Kills a program at a named point, for the tests. Debug builds only: a program that is released does
//! not look at the variables.
//!
//! `SDPP_FAILPOINT=POINT:N[:VICTIM]`: when the N-th time comes that this program is at the point
//! (`sdpp_rail::failpoint` lists them; `any` is each of them), the victim is killed with SIGKILL. A number
//! is a process. Without a victim it is this one, and the thread that is there goes no further. The victim
//! `halt` is this one too, but it is only suspended.
//!
//! `SDPP_FAILPOINT_TRACE=FILE`: each point is written to the file when the program is there, a line each.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sdpp_rail::failpoint::{self, Point};

const VARIABLE: &str = "SDPP_FAILPOINT";
const TRACE: &str = "SDPP_FAILPOINT_TRACE";
/// Stands for each point.
const ANY: &str = "any";
const HALT: &str = "halt";

/// What ends whom, and when.
struct Plan {
    /// None: each.
    point: Option<Point>,
    time: u64,
    victim: Victim,
    /// How often the program was there.
    times: AtomicU64,
}

#[derive(Clone, Copy)]
enum Victim {
    Itself,
    Halted,
    Process(u32),
}

/// Listens at the points if a variable says so. A wrong one is a test that would prove nothing.
pub(crate) fn arm() {
    let plans = std::env::var(VARIABLE).ok().map(|text| text.split(',').map(read).collect::<Vec<Plan>>());
    let trace = std::env::var_os(TRACE).map(|path| {
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.unwrap_or_else(|error| refuse(&format!("{TRACE}: {error}")))
    });
    if plans.is_none() && trace.is_none() {
        return;
    }
    failpoint::arm(Box::new(move |point| {
        if let Some(trace) = &trace {
            note(trace, point.name());
        }
        for plan in plans.iter().flatten().filter(|plan| plan.point.is_none_or(|wanted| wanted == point)) {
            if plan.times.fetch_add(1, Ordering::SeqCst).saturating_add(1) == plan.time {
                end(plan.victim);
            }
        }
    }));
}

fn read(text: &str) -> Plan {
    parse(text).unwrap_or_else(|| refuse(&format!("{VARIABLE}={text} is not POINT:N[:VICTIM] with a point there is")))
}

fn refuse(what: &str) -> ! {
    eprintln!("sdpp: {what}");
    std::process::exit(2)
}

/// One write a line: other processes may write to the same file.
fn note(mut trace: &File, line: &str) {
    if let Err(error) = trace.write_all(format!("{line}\n").as_bytes()) {
        refuse(&format!("{TRACE}: {error}"));
    }
}

fn parse(text: &str) -> Option<Plan> {
    let mut parts = text.split(':');
    let point = match parts.next()? {
        ANY => None,
        name => Some(Point::named(name)?),
    };
    let time = parts.next()?.parse().ok()?;
    let victim = match parts.next() {
        Some(HALT) => Victim::Halted,
        Some(id) => Victim::Process(id.parse().ok()?),
        None => Victim::Itself,
    };
    parts.next().is_none().then_some(Plan { point, time, victim, times: AtomicU64::new(0) })
}

fn end(victim: Victim) {
    let own = std::process::id();
    let (signal, id) = match victim {
        Victim::Itself => ("KILL", own),
        Victim::Halted => ("STOP", own),
        Victim::Process(id) => ("KILL", id),
    };
    // Who is gone already need not be killed.
    let sent = Command::new("kill").args(["-s", signal, &id.to_string()]).status();
    while matches!(victim, Victim::Itself) && sent.as_ref().is_ok_and(std::process::ExitStatus::success) {
        thread::park();
    }
}

//! Kills a program at a named point, for the tests. Debug builds only: a program that is released does
//! not look at the variable.
//!
//! `SDPP_FAILPOINT=PLACE/WHAT:N[:PID]`: when the N-th time comes that this program is at the point
//! (`sdpp_rail::failpoint` lists them), process PID is killed with SIGKILL. Without a PID it is this one,
//! and the thread that is there goes no further.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sdpp_rail::failpoint;

const VARIABLE: &str = "SDPP_FAILPOINT";

/// Listens at the points if the variable says so. A wrong one is a test that would prove nothing.
pub(crate) fn arm() {
    let Ok(text) = std::env::var(VARIABLE) else { return };
    let Some((place, what, time, victim)) = parse(&text) else {
        eprintln!("sdpp: {VARIABLE}={text} is not PLACE/WHAT:N[:PID]");
        std::process::exit(2);
    };
    let times = AtomicU64::new(0);
    failpoint::arm(Box::new(move |at, about| {
        let here = at == place && about == what;
        if here && times.fetch_add(1, Ordering::SeqCst).saturating_add(1) == time {
            kill(victim);
        }
    }));
}

fn parse(text: &str) -> Option<(String, String, u64, Option<u32>)> {
    let mut parts = text.split(':');
    let (place, what) = parts.next()?.split_once('/')?;
    let time = parts.next()?.parse().ok()?;
    let victim = match parts.next() {
        Some(id) => Some(id.parse().ok()?),
        None => None,
    };
    parts.next().is_none().then(|| (place.to_owned(), what.to_owned(), time, victim))
}

fn kill(victim: Option<u32>) {
    let id = victim.unwrap_or_else(std::process::id).to_string();
    // Who is gone already need not be killed.
    let killed = Command::new("kill").args(["-s", "KILL", &id]).status();
    while victim.is_none() && killed.as_ref().is_ok_and(std::process::ExitStatus::success) {
        thread::park();
    }
}

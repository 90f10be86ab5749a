//! What a result is worth nothing without: machine, compiler, commit, date.

use std::path::Path;
use std::process::Command;

use crate::Options;

/// Names and values, in the order in which they are printed.
pub(crate) fn read(options: &Options) -> Vec<(&'static str, String)> {
    let journals: Vec<&str> = options.journals.iter().map(|journal| journal.name()).collect();
    let mut head = machine();
    head.extend([
        ("rounds", options.rounds.to_string()),
        ("journals", journals.join(" and ")),
        ("rail", "fake bank".to_owned()),
        ("records", "none".to_owned()),
    ]);
    head
}

/// What any result needs: the machine, its load, compiler and commit.
pub(crate) fn machine() -> Vec<(&'static str, String)> {
    let cpus = std::thread::available_parallelism().map_or_else(|_| "unknown".to_owned(), |cpus| cpus.to_string());
    let build = if cfg!(debug_assertions) { "debug: the numbers mean nothing" } else { "release" };
    vec![
        ("date", say("date", &["-u", "+%F"])),
        ("cpus", cpus),
        ("cpu", cpu_model()),
        ("has", cpu_flags()),
        ("load before", load()),
        ("rustc", say("rustc", &["--version"])),
        ("build", build.to_owned()),
        ("commit", commit()),
    ]
}

/// A program's first line; "unknown" where it cannot be asked.
fn say(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.ok().filter(|output| output.status.success()).and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().next().map(str::to_owned)
    });
    text.unwrap_or_else(|| "unknown".to_owned())
}

fn commit() -> String {
    let id = say("git", &["rev-parse", "--short", "HEAD"]);
    let changed = Command::new("git")
        .args(["diff", "--quiet", "HEAD", "--", "."])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates"))
        .status();
    if changed.is_ok_and(|status| status.code() == Some(1)) { format!("{id} and changes to crates/") } else { id }
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
}

/// What of the instructions that this depends on the machine has.
fn cpu_flags() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &&str| flags.split_whitespace().any(|one| one == *flag);
    let (there, missing): (Vec<&str>, Vec<&str>) =
        ["aes", "vaes", "avx2", "avx512f", "sha_ni"].into_iter().partition(has);
    format!("{}, not {}", there.join(" "), missing.join(" "))
}

/// How busy the machine was before: one, five and fifteen minutes.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let three: Vec<&str> = text.split_whitespace().take(3).collect();
    if three.is_empty() { "unknown".to_owned() } else { three.join(" ") }
}

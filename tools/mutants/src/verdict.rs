//! Which mutants some test catches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::tests::{End, Test, append, each, traced};
use crate::{Mutant, lines, schema};

/// `{"name", "verdict", "by"}`; the last line about a mutant counts.
const VERDICTS: &str = "verdicts.jsonl";
const ORDER: [&str; 5] = ["sdpp-rail", "sdpp-proto", "sdpp-ledger", "sdpp", "sdpp-log"];
const CAUGHT: &str = "caught";
const SLOW: &str = "caught by time";
const MISSED: &str = "missed";
const UNREACHED: &str = "not reached";
const OPEN: &str = "open";

fn verdicts() -> HashMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    lines(VERDICTS).iter().map(|line| (text(&line["name"]), text(&line["verdict"]))).collect()
}

fn left_out() -> HashMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    lines(schema::LEFT_OUT).iter().map(|line| (text(&line["name"]), text(&line["why"]))).collect()
}

/// Runs mutants: those without a verdict, or those that were not caught.
pub fn seek(mutants: &[Mutant], seconds: u64, again: bool, words: &[String]) {
    let (tests, verdicts, left_out) = (traced(), verdicts(), left_out());
    let mut chosen: Vec<&Mutant> = mutants.iter().collect();
    chosen.retain(|mutant| {
        let wanted = match verdicts.get(&mutant.name).map(String::as_str) {
            None => !again,
            Some(OPEN | MISSED | UNREACHED) => again,
            Some(_) => false,
        };
        let named = words.is_empty() || words.iter().any(|word| mutant.name.contains(word.as_str()));
        wanted && named && !left_out.contains_key(&mutant.name)
    });
    chosen.sort_by_key(|mutant| ORDER.iter().position(|package| *package == mutant.package));
    println!("{} tests, {} mutants", tests.len(), chosen.len());
    // The tests that last caught something, by file: they are likely to catch its neighbour.
    let catchers: Mutex<BTreeMap<&str, Vec<usize>>> = Mutex::default();
    each(&chosen, |mutant| {
        let recent = catchers.lock().expect("no worker fails").get(mutant.file.as_str()).cloned().unwrap_or_default();
        let (verdict, by) = judge(mutant, &tests, &recent, Duration::from_secs(seconds));
        let label = by.map(|test| tests[test].label.as_str());
        append(VERDICTS, &json!({"name": mutant.name, "verdict": verdict, "by": label}));
        if let Some(test) = by.filter(|_| verdict == CAUGHT) {
            let mut catchers = catchers.lock().expect("no worker fails");
            let recent = catchers.entry(&mutant.file).or_default();
            recent.retain(|other| *other != test);
            recent.push(test);
        } else {
            println!("{verdict}: {}", mutant.name);
        }
    });
}

/// Tests of its own crate first, among them those that caught its neighbours, then the quickest.
fn judge(mutant: &Mutant, tests: &[Test], recent: &[usize], limit: Duration) -> (&'static str, Option<usize>) {
    let mut order: Vec<usize> = (0..tests.len()).filter(|test| tests[*test].reached.contains(&mutant.number)).collect();
    let age = |test: &usize| recent.iter().rev().position(|other| other == test).filter(|age| *age < 8);
    order.sort_by_key(|test| (tests[*test].package != mutant.package, age(test).unwrap_or(usize::MAX), *test));
    let started = Instant::now();
    for test in &order {
        match tests[*test].with(mutant.number) {
            End::Failed => return (CAUGHT, Some(*test)),
            End::TimedOut => return (SLOW, Some(*test)),
            End::Passed if started.elapsed() > limit => return (OPEN, None),
            End::Passed => (),
        }
    }
    (if order.is_empty() { UNREACHED } else { MISSED }, None)
}

/// The table of `docs/testing.md`.
pub fn table(mutants: &[Mutant]) {
    let (verdicts, left_out) = (verdicts(), left_out());
    println!(
        "| crate | mutants | do not compile | caught | of these by time | missed | not reached | by hand | open |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for package in ORDER {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for mutant in mutants.iter().filter(|mutant| mutant.package == package) {
            let column = match (left_out.get(&mutant.name), verdicts.get(&mutant.name)) {
                (Some(why), _) if [schema::CONSTANT, schema::OPAQUE].contains(&why.as_str()) => "by hand",
                (Some(_), _) => "refused",
                (None, verdict) => verdict.map_or(OPEN, String::as_str),
            };
            *counts.entry(column).or_default() += 1;
        }
        let all: usize = counts.values().sum();
        let count = |key: &str| counts.get(key).copied().unwrap_or_default();
        let (caught, slow) = (count(CAUGHT), count(SLOW));
        print!("| `{package}` | {all} | {} | {} | {slow} | {} ", count("refused"), caught + slow, count(MISSED));
        println!("| {} | {} | {} |", count(UNREACHED), count("by hand"), count(OPEN));
    }
}

/// What no test caught.
pub fn missed(mutants: &[Mutant]) {
    let verdicts = verdicts();
    for mutant in mutants {
        if let Some(verdict) = verdicts.get(&mutant.name).filter(|verdict| ![CAUGHT, SLOW].contains(&verdict.as_str()))
        {
            println!("{verdict}: {}", mutant.name);
        }
    }
}

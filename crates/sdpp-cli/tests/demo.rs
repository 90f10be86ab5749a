//! The program as a person runs it: the demo over the whole matrix, and its thieves.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

fn sdpp(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sdpp")).args(args).output().expect("the program starts")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn earthquakes() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("examples/data/usgs-earthquakes-week.ndjson").display().to_string()
}

/// Every combination of ways to sell, each with its own sale.
fn matrix() -> Vec<Vec<String>> {
    let mut cases = Vec::new();
    for (k, messages) in [("1", "40"), ("10", "200"), ("100", "700")] {
        for pay in ["voucher", "direct"] {
            for suite in ["1", "2"] {
                for signing in ["window", "message"] {
                    for record in ["each", "ends"] {
                        let args = ["demo", "--rate", "0", "--journal", "process", "--k", k, "--messages", messages];
                        let more = ["--rail", pay, "--suite", suite, "--signing", signing, "--record", record];
                        cases.push(args.iter().chain(&more).map(ToString::to_string).collect());
                    }
                }
            }
        }
    }
    cases
}

#[test]
fn earthquakes_and_weather_sell_in_every_way() {
    let earthquakes = earthquakes();
    let mut cases = matrix();
    for (number, case) in cases.iter_mut().enumerate() {
        // Two of three sell earthquakes, so that every value of every option meets both.
        if number % 3 != 0 {
            case.extend(["--data".to_owned(), earthquakes.clone()]);
        }
    }
    let cases = Mutex::new(cases);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(case) = cases.lock().unwrap().pop() else { return };
                    let args: Vec<&str> = case.iter().map(String::as_str).collect();
                    let output = sdpp(&args);
                    let said = text(&output);
                    if !output.status.success() || !said.contains("auditor            clean") {
                        failed.lock().unwrap().push(format!("sdpp {}\n{said}", case.join(" ")));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of 48 failed, the first:\n{}", failed.len(), failed[0]);
}

#[test]
fn prices_below_one_unit_do_not_drift() {
    let output = sdpp(&["demo", "--rate", "0", "--k", "10", "--price", "3/1000", "--messages", "1001"]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("paid               4 uUSD"), "{said}");
}

#[test]
fn each_thief_is_stopped_named_and_bounded() {
    for thief in ["buyer", "seller", "ledger"] {
        let output = sdpp(&["demo", "--cheat", thief, "--k", "20", "--rate", "4000"]);
        let said = text(&output);
        assert!(output.status.success(), "{thief}: {said}");
        assert!(said.contains("stopped, named, within the bound"), "{thief}: {said}");
    }
}

#[test]
fn a_kept_bundle_can_be_audited_again_and_a_changed_one_is_false() {
    let home = std::env::temp_dir().join(format!("sdpp-demo-test-{}", std::process::id()));
    let folder = home.display().to_string();
    let output = sdpp(&["demo", "--rate", "0", "--messages", "300", "--home", &folder]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let line = said.lines().find(|line| line.trim_start().starts_with("sdpp audit")).expect("how to check it again");
    let args: Vec<String> = line.split_whitespace().skip(1).map(|word| word.trim_matches('\'').to_owned()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let again = sdpp(&args);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    let bundle = home.join("order.bundle");
    let mut bytes = std::fs::read(&bundle).unwrap();
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let changed = sdpp(&args);
    assert_ne!(changed.status.code(), Some(0), "{}", text(&changed));
    std::fs::remove_dir_all(home).unwrap();
}

#[test]
fn wrong_words_get_an_answer() {
    for (args, says) in [
        (&["demo", "--price", "free"][..], "is not a price"),
        (&["demo", "--data", "no-such-file"], "no-such-file"),
        (&["demo", "--k", "0"], "0 is not in"),
        (&["audit", "no-such-file", "--seller", "z6Mk"], "not an Ed25519 key"),
    ] {
        let output = sdpp(args);
        assert!(!output.status.success(), "{args:?}");
        assert!(text(&output).contains(says), "{args:?}: {}", text(&output));
    }
}

//! The benchmark of rails stays working.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that panics has failed")]

use sdpp_bench::Journal;
use sdpp_bench::rails::{Options, measure};

fn tiny() -> Options {
    let (messages, windows, k, size) = (2_000, vec![4], 10, 64);
    Options { rounds: 1, vouchers: 10, messages, windows, k, size, journal: Journal::Memory }
}

#[test]
fn vouchers_are_timed_alone() {
    let report = measure(&Options { windows: Vec::new(), ..tiny() }, &|_| {}).unwrap();
    assert!(report.vouchers.sign_us.median() > 0.0 && report.vouchers.verify_us.median() > 0.0, "{report}");
    assert_eq!(report.json().lines().count(), 2);
}

#[test]
fn sales_on_both_rails_are_compared() {
    let report = measure(&tiny(), &|_| {}).unwrap();
    if let Some(why) = &report.absent {
        // Where the switch is set it is there.
        assert!(std::env::var_os("SDPP_ANVIL").is_none() && why.contains("tools/anvil"), "{why}");
        eprintln!("not measured: {why}");
        return;
    }
    let row = report.rows.first().unwrap();
    assert!(row.steady.iter().chain(&row.whole).all(|rates| rates.median() > 0.0), "{row:?}");
    assert!(row.ratio.median() > 0.0, "{row:?}");
    let (table, json) = (report.to_string(), report.json());
    assert!(table.contains("verify") && table.contains("/ledger"), "{table}");
    assert_eq!(json.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 1 + 1 + 1, "{json}");
}

//! The benchmark of an order's length stays working.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use sdpp_bench::Journal;
use sdpp_bench::length::{Options, act, measure, plot};

#[test]
fn sales_of_every_length_are_measured_and_drawn() {
    let options = Options {
        lengths: vec![20, 200],
        ks: vec![1, 10],
        windows: 4,
        size: 100,
        journal: Journal::Process,
        rounds: 1,
        program: env!("CARGO_BIN_EXE_length").into(),
    };
    let report = measure(&options, &|_| {}).unwrap();
    let shapes: Vec<_> = report.rows.iter().map(|row| (row.k, row.messages)).collect();
    assert_eq!(shapes, [(1, 20), (1, 200), (10, 20), (10, 200)]);
    for row in &report.rows {
        let numbers = [&row.seconds, &row.cpu_s, &row.memory, &row.journals];
        assert!(numbers.iter().all(|rates| rates.median() > 0.0), "{report}");
    }
    assert_eq!(report.json().lines().count(), 1 + 4);
    let picture = plot(&report);
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert_eq!(picture.matches("<polyline ").count(), 2, "{picture}");
    assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
}

#[test]
fn a_usual_start_is_no_sale() {
    let arguments = ["--rounds", "1"].map(str::to_owned);
    assert_eq!(act(arguments.into_iter()).unwrap(), None);
}

//! The benchmark of the auditor stays working.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use sdpp_bench::audit::{Options, Way, child, measure};

#[test]
fn orders_of_every_length_are_audited_in_every_way() {
    let program = env!("CARGO_BIN_EXE_audit").into();
    let options = Options { rounds: 2, statements: vec![10, 60], threads: vec![1, 2], program };
    let report = measure(&options, &|_| {}).unwrap();
    let rows: Vec<_> = report.rows.iter().map(|row| (row.receipts, row.way, row.threads)).collect();
    let ways = |receipts| Way::ALL.map(|way| (receipts, way, 1));
    assert_eq!(rows, [ways(5).to_vec(), ways(30).to_vec(), vec![(30, Way::Passes, 2)]].concat());
    for row in &report.rows {
        assert!(row.statements > 2 * row.receipts, "{row:?}");
        assert!(row.rates.median() > 0.0 && row.cpu_us.median() > 0.0, "{row:?}");
    }
    let (table, json) = (report.to_string(), report.json());
    assert!(table.contains("signatures") && table.contains("passes"), "{table}");
    assert_eq!(json.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 1 + 7, "{json}");
}

#[test]
fn what_cannot_be_audited_is_an_error() {
    let arguments = ["whole", "1", "1", "/nowhere", "z6Mk"].map(str::to_owned);
    assert!(child(arguments.into_iter()).is_err());
    assert!(child(std::iter::empty()).is_err());
}

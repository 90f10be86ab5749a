//! The benchmark itself stays working: everything runs once, with next to no messages.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

use std::time::Duration;

use sdpp_bench::{Journal, Kind, Options, measure};

fn tiny(journal: Journal) -> Options {
    Options {
        rounds: 1,
        round: Duration::from_millis(1),
        sizes: vec![100, 1024],
        ks: vec![1, 10],
        windows: vec![4],
        journal,
    }
}

#[test]
fn every_kind_of_journal_gives_a_report() {
    for journal in [Journal::Process, Journal::Power, Journal::Memory] {
        let report = measure(&tiny(journal), &|_| {}).unwrap();
        let shapes: Vec<_> = report.rows.iter().map(|row| (row.spec.size, row.spec.k, row.spec.windows)).collect();
        let expected = [(100, 1, 2), (100, 1, 4), (100, 10, 4), (1024, 1, 2), (1024, 1, 4), (1024, 10, 4)];
        assert_eq!(shapes, expected);
        for row in &report.rows {
            assert!(row.rates.median() > 0.0 && row.steady.median() > 0.0, "{row:?}");
            assert!(report.ratio(row, Kind::Tls64) > 0.0 && report.ratio(row, Kind::Tcp) > 0.0, "{row:?}");
        }
        let (table, json) = (report.to_string(), report.json());
        assert!(table.contains(&format!("journal: {}", journal.name())) && table.contains("rustls-16K"), "{table}");
        assert_eq!(json.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 1 + 6 + 6);
    }
}

//! The benchmark itself stays working: everything runs once, with next to no messages.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

use std::time::Duration;

use sdpp_bench::{FakeMode, Journal, Kind, Options, Suite, measure};

fn tiny(journal: Journal, sizes: &[usize], ks: &[u32]) -> Options {
    let (sizes, ks) = (sizes.to_vec(), ks.to_vec());
    let rivals = vec![Kind::Tcp, Kind::Tls64, Kind::Tls16, Kind::Http];
    let (suites, modes) = (vec![Suite::X25519], vec![FakeMode::Voucher]);
    let (windows, also, journals) = (vec![4], Vec::new(), vec![journal]);
    Options { rounds: 1, round: Duration::from_millis(1), sizes, ks, windows, also, journals, suites, modes, rivals }
}

#[test]
fn all_rows_and_rivals_are_reported() {
    let report = measure(&tiny(Journal::Process, &[100, 1024], &[1, 10]), &|_| {}).unwrap();
    let shapes: Vec<_> = report.rows.iter().map(|row| (row.spec.size, row.spec.k, row.spec.windows)).collect();
    assert_eq!(shapes, [(100, 1, 1), (100, 1, 4), (100, 10, 4), (1024, 1, 1), (1024, 1, 4), (1024, 10, 4)]);
    for row in &report.rows {
        assert!(row.rates.median() > 0.0, "{row:?}");
        assert!(row.cpu_us.median() > 0.0, "{row:?}");
        assert!(report.ratio(row, Kind::Tls64) > Some(0.0) && report.ratio(row, Kind::Tcp) > Some(0.0), "{row:?}");
    }
    let (table, json) = (report.to_string(), report.json());
    assert!(table.contains("journals: process") && table.contains("rustls-16K"), "{table}");
    assert_eq!(json.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 1 + 6 + 1 + 8);
    for rival in &report.rivals {
        assert!(rival.rates.median() > 0.0 && rival.cpu_us.median() > 0.0, "{rival:?}");
    }
}

/// A server's row: measured, or what to do for it. Where the switch is set it is there.
fn one_row_each(rivals: &[Kind], switch: &str, tool: &str) {
    let options = Options { rivals: rivals.to_vec(), ..tiny(Journal::Memory, &[100], &[10]) };
    let report = measure(&options, &|_| {}).unwrap();
    assert_eq!(report.rivals.iter().map(|rival| rival.kind).collect::<Vec<_>>(), rivals);
    for rival in &report.rivals {
        match &rival.absent {
            None => {
                assert!(rival.rates.median() > 0.0, "{rival:?}");
                assert!(report.to_string().contains(": 2."), "the server's version: {report}");
            }
            Some(why) => {
                assert!(std::env::var_os(switch).is_none() && why.contains(tool), "{why}");
                assert!(report.to_string().contains(&format!("not there: {why}")), "{report}");
                assert!(report.json().contains("\"absent\":"), "{}", report.json());
                eprintln!("not measured: {why}");
            }
        }
    }
}

#[test]
fn nats_moves_messages() {
    one_row_each(&[Kind::Nats], "SDPP_NATS", "tools/nats");
}

#[test]
fn mqtt_moves_messages_with_both_qualities_of_service() {
    one_row_each(&[Kind::MqttQos0, Kind::MqttQos1], "SDPP_MOSQUITTO", "tools/mosquitto");
}

#[test]
fn every_class_of_journal_works() {
    for journal in [Journal::Power, Journal::Memory] {
        let report = measure(&tiny(journal, &[100], &[10]), &|_| {}).unwrap();
        assert!(report.to_string().contains(&format!("journals: {}", journal.name())));
    }
}

#[test]
fn classes_suites_and_modes_vary_the_reference_and_lock_step() {
    let options = Options {
        also: vec![(100, 2)],
        journals: vec![Journal::Memory, Journal::Process],
        suites: vec![Suite::X25519, Suite::XWing],
        modes: vec![FakeMode::Voucher, FakeMode::Direct],
        ..tiny(Journal::Memory, &[100, 1024], &[1, 100])
    };
    let report = measure(&Options { rivals: Vec::new(), ..options }, &|_| {}).unwrap();
    let grid = |size| [(1, 1), (1, 4), (100, 4)].map(|(k, windows)| (size, k, windows, "memory", 1, FakeMode::Voucher));
    let mut expected = grid(100).to_vec();
    expected.extend(grid(1024));
    expected.insert(5, (1024, 100, 2, "memory", 1, FakeMode::Voucher));
    expected
        .extend([(1, 1), (100, 2), (100, 4)].map(|(k, windows)| (1024, k, windows, "process", 1, FakeMode::Voucher)));
    expected.extend([(1024, 100, 4, "memory", 2, FakeMode::Voucher), (1024, 100, 4, "memory", 1, FakeMode::Direct)]);
    let rows: Vec<_> = report
        .rows
        .iter()
        .map(|row| (row.spec, row.way))
        .map(|(spec, way)| (spec.size, spec.k, spec.windows, way.journal.name(), way.suite.code(), way.mode))
        .collect();
    assert_eq!(rows, expected);
    // What commits alone allow is known for lock step in every class, and for nothing else.
    assert_eq!(
        report.limits.iter().map(|limit| limit.journal).collect::<Vec<_>>(),
        [Journal::Memory, Journal::Process]
    );
    for row in &report.rows {
        assert_eq!(report.to_commits(row).is_some_and(|ratio| ratio > 0.0), row.spec.is_lock_step(), "{row:?}");
        assert!(row.commits.median() > 0.0, "{row:?}");
    }
    let (table, json) = (report.to_string(), report.json());
    assert!(table.contains("commits-process") && table.contains("direct"), "{table}");
    assert!(json.contains("\"suite\":2") && json.contains("\"what\":\"commits\""), "{json}");
}

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

use sdpp_bench::{Journal, Kind, Options, measure};

fn tiny(journal: Journal, sizes: &[usize], ks: &[u32]) -> Options {
    let (sizes, ks) = (sizes.to_vec(), ks.to_vec());
    let rivals = vec![Kind::Tcp, Kind::Tls64, Kind::Tls16, Kind::Http];
    Options { rounds: 1, round: Duration::from_millis(1), sizes, ks, windows: vec![4], journal, rivals }
}

#[test]
fn all_rows_and_rivals_are_reported() {
    let report = measure(&tiny(Journal::Process, &[100, 1024], &[1, 10]), &|_| {}).unwrap();
    let shapes: Vec<_> = report.rows.iter().map(|row| (row.spec.size, row.spec.k, row.spec.windows)).collect();
    assert_eq!(shapes, [(100, 1, 2), (100, 1, 4), (100, 10, 4), (1024, 1, 2), (1024, 1, 4), (1024, 10, 4)]);
    for row in &report.rows {
        assert!(row.rates.median() > 0.0, "{row:?}");
        assert!(row.cpu_us.median() > 0.0, "{row:?}");
        assert!(report.ratio(row, Kind::Tls64) > Some(0.0) && report.ratio(row, Kind::Tcp) > Some(0.0), "{row:?}");
    }
    let (table, json) = (report.to_string(), report.json());
    assert!(table.contains("journal: process") && table.contains("rustls-16K"), "{table}");
    assert_eq!(json.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 1 + 6 + 8);
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
        assert!(report.to_string().contains(&format!("journal: {}", journal.name())));
    }
}

//! The benchmark of latencies stays working.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use sdpp_bench::latency::{Kind, Options, measure};
use sdpp_bench::{Journal, Suite};

#[test]
fn messages_and_first_messages_are_timed_on_every_way() {
    let options = Options {
        rounds: 2,
        messages: 40,
        warm_up: 10,
        rate: 2000,
        size: 64,
        k: 10,
        windows: 4,
        journal: Journal::Memory,
        connections: 3,
    };
    let report = measure(&options, &|_| {}).unwrap();
    assert_eq!(report.messages.iter().map(|times| times.kind).collect::<Vec<_>>(), Kind::ALL);
    for times in &report.messages {
        let [half, most, nearly_all, all] = times.under_way_us.each_ref().map(sdpp_bench::Rates::median);
        assert!(0.0 < half && half <= most && most <= nearly_all && nearly_all <= all, "{times:?}");
        assert!(times.offered.median() > 0.0, "{times:?}");
    }
    let firsts: Vec<_> = report.firsts.iter().map(|first| (first.is_sale(), first.suite)).collect();
    let both = |suite| [(true, suite), (false, suite)];
    assert_eq!(firsts, [both(Suite::X25519), both(Suite::XWing)].concat());
    for first in &report.firsts {
        assert!(first.whole_us.median() > 0.0, "{first:?}");
        assert_eq!(first.commits.median() > 0.0, first.is_sale(), "{first:?}");
    }
    let (table, json) = (report.to_string(), report.json());
    assert!(table.contains("x rustls X25519MLKEM768") && table.contains("memory"), "{table}");
    assert_eq!(json.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 1 + 3 + 4, "{json}");
}

#[test]
fn a_message_that_cannot_carry_its_time_is_refused() {
    assert!(measure(&Options { size: 7, ..Options::default() }, &|_| {}).is_err());
}

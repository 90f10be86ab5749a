//! The benchmark of many buyers stays working.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::time::Duration;

use sdpp_bench::fanout::{Options, live, measure};

#[test]
fn many_buyers_all_get_what_they_want() {
    let options = Options { buyers: vec![1, 70], messages: 700, size: 100, k: 2, windows: 4, quiet: Duration::ZERO };
    let report = measure(&options, &|_| {}).unwrap();
    assert_eq!(report.rows.iter().map(|row| row.buyers).collect::<Vec<_>>(), [1, 70]);
    assert!(report.rows.iter().all(|row| row.rate > 0.0 && row.first > 0.0 && row.first <= 1.0), "{report}");
}

#[test]
fn many_buyers_share_one_live_source() {
    let options = live::Options {
        buyers: vec![1, 70],
        rounds: [1, 1],
        size: 100,
        k: 10,
        windows: 4,
        queue: 256,
        rate: Some(2_000),
        open_first: false,
        ramp: Duration::from_millis(100),
        time: Duration::from_millis(500),
        quiet: Duration::ZERO,
        beside_slow: Some(3),
        slow_share: 0.1,
        program: env!("CARGO_BIN_EXE_fanout").into(),
    };
    let report = live::measure(&options, &|_| {}).unwrap();
    let into_flood = live::Options { buyers: vec![30], open_first: true, beside_slow: None, ..options };
    let flooded = live::measure(&into_flood, &|_| {}).unwrap();
    assert!(flooded.rows.iter().all(|row| row.live_s.median() > 0.0 && row.rates.median() > 0.0), "{flooded}");
    assert_eq!(report.rows.iter().map(|row| row.buyers).collect::<Vec<_>>(), [1, 70]);
    for row in &report.rows {
        assert!(row.rates.median() > 0.0 && row.jain.median() > 0.0 && row.jain.median() <= 1.001, "{report}");
        assert!(row.cpus.iter().all(|cpus| cpus.median() > 0.0), "{report}");
    }
    let beside = report.beside.as_ref().unwrap();
    assert!(beside.buyers == 3 && beside.rates.iter().all(|rates| rates.median() > 0.0), "{report}");
}

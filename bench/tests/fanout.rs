//! The benchmark of many buyers stays working.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::time::Duration;

use sdpp_bench::fanout::{Options, measure};

#[test]
fn many_buyers_all_get_what_they_want() {
    let options = Options { buyers: vec![1, 70], messages: 700, size: 100, k: 2, windows: 4, quiet: Duration::ZERO };
    let report = measure(&options, &|_| {}).unwrap();
    assert_eq!(report.rows.iter().map(|row| row.buyers).collect::<Vec<_>>(), [1, 70]);
    assert!(report.rows.iter().all(|row| row.rate > 0.0 && row.first > 0.0 && row.first <= 1.0), "{report}");
}

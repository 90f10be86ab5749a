//! Worlds that failed once, and what a world promises about itself. `./test sim` runs 5,000 others.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use sdpp_sim::world::{simulate, simulate_bytes};

/// Seeds that failed once, with what they found; `evm` before the seed: of its world on a chain. A seed means another world whenever a draw is added: what
/// a finding was about has a test of its own where it was fixed.
const KEPT: &str = include_str!("seeds.txt");

#[test]
fn seeds_that_failed_once_are_well() {
    let mut count = 0;
    let is_kept = |line: &&str| !line.starts_with('#') && !line.starts_with("evm ") && !line.trim().is_empty();
    for line in KEPT.lines().filter(is_kept) {
        let (seed, why) = line.split_once(' ').unwrap();
        let seed: u64 = seed.parse().unwrap();
        if let Err(failure) = simulate(seed, false) {
            panic!("seed {seed} ({why}): {failure}");
        }
        count += 1;
    }
    assert!(count > 0, "there are seeds to keep");
}

#[cfg(feature = "evm")]
#[test]
fn seeds_whose_chains_failed_once_are_well() {
    for line in KEPT.lines().filter_map(|line| line.strip_prefix("evm ")) {
        let (seed, why) = line.split_once(' ').unwrap();
        if let Err(failure) = sdpp_sim::world::simulate_evm(seed.parse().unwrap(), false) {
            panic!("seed {seed} --evm ({why}): {failure}");
        }
    }
}

#[cfg(feature = "evm")]
#[test]
fn a_seed_has_the_same_chain_each_time() {
    for seed in [3, 20, 43] {
        let [one, other] = [(), ()].map(|()| sdpp_sim::world::simulate_evm(seed, false).unwrap());
        assert_eq!((one.steps, one.passed_ms), (other.steps, other.passed_ms));
        assert_eq!(one.coverage.table(), other.coverage.table());
    }
}

#[test]
fn a_seed_is_the_same_world_each_time() {
    for seed in [3, 20, 43] {
        let (one, other) = (simulate(seed, false).unwrap(), simulate(seed, false).unwrap());
        assert_eq!((one.steps, one.passed_ms), (other.steps, other.passed_ms));
        assert_eq!(one.coverage.table(), other.coverage.table());
    }
}

#[test]
fn bytes_choose_a_world_and_run_out_in_calm() {
    for length in [0, 1, 7, 100, 2_000] {
        let bytes: Vec<u8> = (0u32..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let report = simulate_bytes(&bytes).unwrap_or_else(|failure| panic!("{length} bytes: {failure}"));
        assert!(report.steps > 10, "something happens");
    }
}

//! The crash matrix: every program is killed with SIGKILL at every point of `sdpp_rail::failpoint` that it
//! gets to, is started again and killed there once more, and then sees its business through: nothing is
//! lost, repeated or paid twice, and the auditor finds nothing.
//!
//! A survey runs every scene without a kill and writes down who gets where. A point that nobody gets to
//! fails the test. `SDPP_MATRIX=all` then walks through everything; without it a part is drawn, by
//! `SDPP_MATRIX_SEED`. `SDPP_MATRIX=Seller flushed/payment` walks through what has these words.
#![cfg(all(unix, debug_assertions))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

#[path = "matrix/cases.rs"]
mod cases;
#[path = "ledger/files.rs"]
mod files;
#[path = "matrix/forge.rs"]
mod forge;
#[path = "ledger/kit.rs"]
mod kit;
#[path = "matrix/lane.rs"]
mod lane;
#[path = "matrix/live.rs"]
mod live;
#[path = "kills/market.rs"]
mod market;
#[path = "../../sdpp-mqtt/tests/kit/mosquitto.rs"]
mod mosquitto;
#[path = "matrix/proof.rs"]
mod proof;
#[path = "kills/random.rs"]
mod random;
#[path = "kills/sale.rs"]
mod sale;
#[path = "matrix/scenes.rs"]
mod scenes;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

use cases::{Case, Reached, Table};
use lane::Lane;
use random::Random;
use scenes::Scene;

/// Markets that work at the same time.
const LANES: usize = 2;
/// Cases that a usual run draws.
const DRAWN: usize = 24;
const SEED: u64 = 1;

/// Works through a queue in all lanes; gives what came of it, in no order.
fn in_lanes<T: Send, U: Send>(work: Vec<T>, name: &str, each: impl Fn(&mut Lane, T) -> U + Sync) -> Vec<U> {
    let (queue, done) = (Mutex::new(VecDeque::from(work)), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for number in 0..LANES {
            let (queue, done, each) = (&queue, &done, &each);
            scope.spawn(move || {
                let mut lane = Lane::open(&format!("{name}-{number}"));
                loop {
                    let Some(one) = queue.lock().unwrap().pop_front() else { break };
                    let outcome = each(&mut lane, one);
                    done.lock().unwrap().push(outcome);
                }
                lane.close();
            });
        }
    });
    done.into_inner().unwrap()
}

/// Where everybody gets in every scene, if nobody is killed.
fn survey() -> Reached {
    let traces = in_lanes(Scene::ALL.to_vec(), "survey", |lane, scene| (scene, lane.survey(scene)));
    Reached::of(traces)
}

/// What is to be walked through: all of it, a part that is drawn, or what has these words.
fn chosen(all: Vec<Case>) -> Vec<Case> {
    let seed =
        std::env::var("SDPP_MATRIX_SEED").map_or(SEED, |text| text.parse().expect("SDPP_MATRIX_SEED is a number"));
    match std::env::var("SDPP_MATRIX") {
        Ok(word) if word == "all" => all,
        Ok(words) => {
            let has = |case: &Case| words.split(' ').all(|word| case.to_string().split(' ').any(|own| own == word));
            all.into_iter().filter(has).collect()
        }
        Err(_) => {
            println!("SDPP_MATRIX_SEED={seed}");
            let (mut random, mut left, mut drawn) = (Random(seed), all, Vec::new());
            while drawn.len() < DRAWN && !left.is_empty() {
                drawn.push(left.swap_remove(random.below(left.len())));
            }
            drawn
        }
    }
}

#[test]
fn whoever_is_killed_twice_at_any_point_loses_nothing() {
    let reached = survey();
    println!("{reached}");
    let all = reached.cases();
    let count = all.len();
    let chosen = chosen(all);
    println!("{} of {count} cases", chosen.len());
    let outcomes = in_lanes(chosen, "matrix", Lane::try_twice);
    let table = Table::of(&outcomes);
    println!("{table}");
    let missed = reached.missed();
    assert!(missed.is_empty(), "no scene gets to {missed:?}");
    let failed: Vec<&String> = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} cases failed:\n{failed:#?}", failed.len());
}

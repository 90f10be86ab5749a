//! SIGKILL of buyer, seller, ledger and broker, by the real programs: started again, every order completes
//! with nothing lost, repeated or paid twice, and a clean audit.
//!
//! The moments are points of `sdpp_rail::failpoint`, drawn from a seed. `SDPP_KILL_SEED` draws others,
//! `SDPP_KILLS` draws more.
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

#[path = "kills/broker.rs"]
mod broker;
#[path = "ledger/house.rs"]
mod house;
#[path = "ledger/kit.rs"]
mod kit;
#[path = "kills/market.rs"]
mod market;
#[path = "kills/moment.rs"]
mod moment;
#[path = "../../sdpp-mqtt/tests/kit/mosquitto.rs"]
mod mosquitto;
#[path = "kills/random.rs"]
mod random;
#[path = "kills/sale.rs"]
mod sale;

use std::collections::BTreeMap;
use std::thread;

use market::{Deal, Market, Plan, Who};
use moment::{Moment, PHASES, Phase};
use random::Random;
use sale::Sale;

const KILLS: usize = 60;
const SEED: u64 = 1;
/// Markets that work at the same time.
const LANES: usize = 2;
/// Moments that are drawn for one kill at most: a point may not be reached.
const DRAWS: usize = 8;

const PLAN: Plan =
    Plan { deal: Deal { count: 300, price: 5, k: 20, windows: 4 }, witnessed: false, config: "", traced: false };

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

type Table = BTreeMap<(Who, Phase), usize>;

/// Makes everything ready for a moment.
fn arm(market: &mut Market, moment: &Moment) {
    if moment.at == Who::Seller {
        let victim = market.id(Who::Ledger).filter(|_| moment.victim == Who::Ledger);
        market.fates.put(Who::Seller, [moment.failpoint(victim)]);
        market.restart(Who::Seller);
        return;
    }
    if market.is_armed(Who::Seller) {
        market.restart(Who::Seller);
    }
    let victim = market.id(moment.victim);
    market.fates.put(Who::Buyer, [moment.failpoint(victim)]);
}

/// Sees an order through. Says whether somebody was killed.
fn run(market: &mut Market, home: &str, moment: &Moment) -> bool {
    arm(market, moment);
    let mut sale = Sale::new(market, home, moment.direct, moment.to_string());
    sale.pursue(market);
    sale.check(market);
    let killed = &sale.killed;
    assert!(killed.len() <= 1 && killed.iter().all(|who| *who == moment.victim), "{moment}: killed were {killed:?}");
    !killed.is_empty()
}

/// Kills of one phase after the other; gives who was killed when.
fn lane(lane: usize, kills: usize, seed: u64) -> Table {
    let mut random = Random(seed.wrapping_mul(0x0100_0000_01b3).wrapping_add(lane as u64));
    let mut market = Market::open(&format!("kills-{lane}"), PLAN);
    let mut table = Table::new();
    for kill in (lane..kills).step_by(LANES) {
        // Each victim in each phase, in turn.
        let (phase, victim) = (PHASES[kill / LANES % 4], [Who::Buyer, Who::Seller, Who::Ledger][kill / LANES / 4 % 3]);
        let hit = (0..DRAWS).any(|draw| {
            let moment = Moment::draw(phase, victim, &mut random);
            println!("{kill}.{draw} {moment}");
            run(&mut market, &format!("buyer-{kill}-{draw}"), &moment)
        });
        assert!(hit, "no moment of {phase:?} was reached for the {victim:?}");
        *table.entry((victim, phase)).or_default() += 1;
    }
    market.close();
    table
}

#[test]
fn every_order_completes_whoever_is_killed_whenever() {
    let (seed, kills) = (number("SDPP_KILL_SEED", SEED), number("SDPP_KILLS", KILLS as u64) as usize);
    println!("SDPP_KILL_SEED={seed} SDPP_KILLS={kills}");
    let lanes: Vec<_> = (0..LANES).map(|number| thread::spawn(move || lane(number, kills, seed))).collect();
    let mut table = Table::new();
    for lane in lanes {
        for (key, count) in lane.join().expect("a lane") {
            *table.entry(key).or_default() += count;
        }
    }
    println!("{:<10}{:>11}{:>11}{:>11}{:>11}", "killed", "handshake", "window", "payment", "exit");
    for who in [Who::Buyer, Who::Seller, Who::Ledger] {
        let of = |phase| table.get(&(who, phase)).copied().unwrap_or_default();
        let [handshake, window, payment, exit] = PHASES.map(of);
        println!("{:<10}{handshake:>11}{window:>11}{payment:>11}{exit:>11}", format!("{who:?}"));
    }
    let sums = PHASES.map(|phase| table.iter().filter(|((_, of), _)| *of == phase).map(|(_, count)| count).sum());
    assert_eq!(sums.iter().sum::<usize>(), kills);
    assert!(kills < KILLS || sums.iter().all(|count| *count >= 10), "{sums:?}");
}

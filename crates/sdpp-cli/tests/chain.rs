//! The program on a real chain: anvil, with the contracts that `sdpp wallet deploy` puts there.
//!
//! `SDPP_ANVIL` names the node (`tools/anvil` fetches it). `SDPP_KILL_SEED` draws other moments to kill somebody at,
//! `SDPP_CHAIN_KILLS` draws more.
#![cfg(all(unix, debug_assertions))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[cfg(feature = "iota")]
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "iota/fake.rs"]
mod fake;
#[path = "chain/kills.rs"]
mod kills;
#[path = "ledger/kit.rs"]
mod kit;
#[path = "chain/market.rs"]
mod market;
#[path = "kills/moment.rs"]
mod moment;
#[path = "chain/node.rs"]
mod node;
#[path = "kills/random.rs"]
mod random;
#[path = "chain/story.rs"]
mod story;
#[path = "chain/trouble.rs"]
mod trouble;

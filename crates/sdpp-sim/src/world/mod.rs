//! A world: one seller, some buyers, their disks, links between them, a rail and its ledger.
//!
//! ```text
//! Dice ──► Plan ──► World: next event ──► a process has its turn ──► invariants ──► next event …
//!                          storm: faults, per step      calm: everybody comes to an end
//! ```
//! The machines, the journal's order, rails and ledger are the real ones. Nothing looks at a clock; the
//! same seed gives the same run, to the last byte.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a simulation that panics has found something"
)]

mod buyer;
mod call;
#[cfg_attr(not(feature = "evm"), path = "no_chain.rs")]
mod chain;
mod check;
mod ctx;
mod journal;
mod keys;
mod liars;
mod link;
mod model;
mod money;
mod plan;
mod pools;
mod run;
mod seller;

#[cfg(feature = "evm")]
pub use run::simulate_evm;
pub use run::{Failure, Report, simulate, simulate_bytes};

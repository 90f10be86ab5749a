//! The contracts, run without a node.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "contracts/bond.rs"]
mod bond;
#[path = "contracts/bond_play.rs"]
mod bond_play;
#[path = "contracts/chain.rs"]
mod chain;
#[path = "contracts/challenge.rs"]
mod challenge;
#[path = "contracts/crypto.rs"]
mod crypto;
#[path = "contracts/escrow.rs"]
mod escrow;
#[path = "contracts/gas.rs"]
mod gas;
#[path = "contracts/hostile.rs"]
mod hostile;
#[path = "contracts/registry.rs"]
mod registry;
#[path = "contracts/rules.rs"]
mod rules;

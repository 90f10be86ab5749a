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
#[path = "contracts/chain.rs"]
mod chain;
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

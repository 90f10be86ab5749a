//! The ledger and the witness over real sockets, with the feature `http`.
//!
//! No test depends on time: waits are generous and only make a hang a failure.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod grants;
mod hostile;
mod kit;
mod lawless;
mod limits;
mod sale;
mod tls;
mod turned;
mod whole;
mod witness;

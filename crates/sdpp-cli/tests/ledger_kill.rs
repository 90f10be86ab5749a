//! A served ledger under load is killed again and again, and its disk fills up. Whatever it has said
//! must stay true.
//!
//! `SDPP_SEED` replays the moments; what the system makes of them is its own.
#![cfg(unix)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

#[path = "ledger/files.rs"]
mod files;
#[path = "ledger/full.rs"]
mod full;
#[path = "ledger/killed.rs"]
mod killed;
#[path = "ledger/kit.rs"]
mod kit;

//! `sdpp ledger`, as people use it: the real program, real sockets, real folders.
#![cfg(unix)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "ledger/kit.rs"]
mod kit;
#[path = "ledger/refusals.rs"]
mod refusals;
#[path = "ledger/story.rs"]
mod story;

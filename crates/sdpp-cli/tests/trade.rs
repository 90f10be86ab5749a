//! Selling and buying, as people do it: the real program, real sockets, one home for all roles.
#![cfg(unix)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "trade/config.rs"]
mod config;
#[path = "trade/doctor.rs"]
mod doctor;
#[path = "ledger/kit.rs"]
mod kit;
#[path = "trade/manual.rs"]
mod manual;
#[path = "trade/market.rs"]
mod market;
#[path = "trade/pipes.rs"]
mod pipes;
#[path = "trade/refusals.rs"]
mod refusals;
#[path = "trade/resume.rs"]
mod resume;
#[path = "trade/status.rs"]
mod status;
#[path = "trade/story.rs"]
mod story;

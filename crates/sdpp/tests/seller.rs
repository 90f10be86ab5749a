//! What a seller does beside selling: it changes its offers, keeps its bounds, looks after its money,
//! and says what it is doing. Over real sockets, on a fake bank.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

mod kit;

#[path = "seller/caps.rs"]
mod caps;
#[path = "seller/pools.rs"]
mod pools;
#[path = "seller/reload.rs"]
mod reload;
#[path = "seller/rogue.rs"]
mod rogue;
#[path = "seller/shelf.rs"]
mod shelf;
#[path = "seller/skip.rs"]
mod skip;
#[path = "seller/status.rs"]
mod status;
#[path = "seller/tap.rs"]
mod tap;
#[path = "seller/vouchers.rs"]
mod vouchers;

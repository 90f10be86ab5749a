//! Adversaries over real sockets against the shipped seller and buyer, on a fake bank: the rows of the
//! table in SECURITY.md. Whoever lies is named, nobody loses more than was printed, and honest people go
//! on meanwhile. What needs a ledger stands in `sdpp-ledger/tests/http`.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]
#![allow(dead_code, reason = "it uses its part of what the seller's tests share")]

#[path = "../kit/mod.rs"]
mod kit;
#[path = "../seller/rogue.rs"]
mod rogue;
#[path = "../seller/tap.rs"]
mod tap;

mod crook;
mod crowd;
mod floods;
mod frozen;
mod hijack;
mod on_the_way;
mod patience;
mod replays;
mod sellers;

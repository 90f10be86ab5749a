//! The handshake under attack: `docs/security/handshake.md` derives what it gives, these tests try to take it.
//!
//! `fields` changes every field that the table of that page names, one by one, between two shipped machines.
//! `secrets` gives away long-term keys and tries to read, or to be somebody else. `mirror` computes transcript and
//! keys once more, without the code under test.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test that panics has failed"
)]

#[path = "../kit/mod.rs"]
mod kit;

mod cbor;
mod fields;
mod middle;
mod mirror;
mod parties;
mod secrets;
mod table;

//! Every offence of the protocol, committed by a hand-made peer against the shipped machines: the
//! machine names it, tells it, and its account loses nothing.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

#[path = "../kit/mod.rs"]
mod kit;

mod data;
mod ends;
mod frames;
mod handshake;
mod invoices;
mod payments;
mod sessions;

use sdpp_proto::offence::Offence;

/// The sources of these tests: where `is_refused_with(Offence::X)` stands, `X` was committed.
const SOURCES: [&str; 7] = [
    include_str!("data.rs"),
    include_str!("ends.rs"),
    include_str!("frames.rs"),
    include_str!("handshake.rs"),
    include_str!("invoices.rs"),
    include_str!("payments.rs"),
    include_str!("sessions.rs"),
];

#[test]
fn every_offence_is_committed_by_some_test() {
    let committed = |offence: &Offence| {
        let call = format!("is_refused_with(Offence::{})", offence.name());
        SOURCES.iter().any(|source| source.contains(&call))
    };
    let missing: Vec<_> = Offence::ALL.iter().filter(|offence| !committed(offence)).collect();
    assert!(missing.is_empty(), "no test commits {missing:?}");
}

//! What the fuzz targets do with their input. `fuzz/` runs them under libFuzzer; the tests here replay its corpora.
//!
//! A target takes any bytes and must come back. More than that, it panics where a promise is broken: what was accepted
//! is written again as it was read, two encodings never mean one thing, memory stays within bounds, money is neither
//! made nor lost, and nobody honest is blamed. Parsers get bytes as they come, and as parts that are signed here, so that
//! what lies behind a signature is reached; machines get a peer whose every word the bytes choose.
//!
//! [`TARGETS`] lists them all. `docs/testing.md` says what they found.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::indexing_slicing,
    reason = "a panic is how a target reports what is wrong"
)]

mod audit;
mod buyer_frames;
mod choices;
mod diff;
mod kit;
mod ledger;
mod log;
mod money;
mod resume;
mod sale;
pub mod seeds;
mod seller_frames;
mod statements;
mod texts;
mod wire;

pub use peak_alloc::PeakAlloc;

/// One fuzz target.
pub struct Target {
    /// Its name, as that of its program and its corpus.
    pub name: &'static str,
    /// What it does.
    body: fn(&[u8]),
    /// Most memory that it may take at once, in bytes, besides so many times its input.
    memory_max: usize,
}

/// Memory for every byte of input, at most.
const MEMORY_PER_BYTE: usize = 64;
/// Parsers.
const SMALL: usize = 512 * 1024;
/// Whole conversations.
const LARGE: usize = 16 * 1024 * 1024;

/// A world of some processes and disks.
const WORLD: usize = 64 * 1024 * 1024;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", body: wire::frame, memory_max: SMALL },
    Target { name: "control", body: wire::control, memory_max: SMALL },
    Target { name: "statement", body: statements::statement, memory_max: SMALL },
    Target { name: "cose", body: statements::cose, memory_max: SMALL },
    Target { name: "journal_row", body: statements::journal_row, memory_max: SMALL },
    Target { name: "note", body: log::note, memory_max: SMALL },
    Target { name: "tlog_proof", body: log::tlog_proof, memory_max: SMALL },
    Target { name: "add_checkpoint", body: log::add_checkpoint, memory_max: SMALL },
    Target { name: "policy", body: log::policy, memory_max: SMALL },
    Target { name: "tile_path", body: log::tile_path, memory_max: SMALL },
    Target { name: "ledger_entry", body: ledger::ledger_entry, memory_max: SMALL },
    Target { name: "ledger_fold", body: ledger::ledger_fold, memory_max: LARGE },
    Target { name: "receipt", body: ledger::receipt, memory_max: SMALL },
    Target { name: "rail_terms", body: ledger::rail_terms, memory_max: SMALL },
    Target { name: "audit_bundle", body: audit::audit_bundle, memory_max: LARGE },
    Target { name: "audit_tampered", body: audit::audit_tampered, memory_max: LARGE },
    Target { name: "address", body: texts::address, memory_max: SMALL },
    Target { name: "config", body: texts::config, memory_max: SMALL },
    Target { name: "resume", body: resume::resume, memory_max: LARGE },
    Target { name: "seller_frames", body: seller_frames::seller_frames, memory_max: LARGE },
    Target { name: "buyer_frames", body: buyer_frames::buyer_frames, memory_max: LARGE },
    Target { name: "money_consistency", body: money::money_consistency, memory_max: WORLD },
    Target { name: "diff_merkle", body: diff::diff_merkle, memory_max: SMALL },
    Target { name: "diff_tiles", body: diff::diff_tiles, memory_max: SMALL },
    Target { name: "diff_cbor", body: diff::diff_cbor, memory_max: LARGE },
    Target { name: "diff_cose", body: diff::diff_cose, memory_max: LARGE },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

impl Target {
    /// Runs it, and measures the memory that it takes if [`PeakAlloc`] is the program's allocator.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub fn run(&self, data: &[u8]) {
        let before = PeakAlloc.current_usage();
        PeakAlloc.reset_peak_usage();
        (self.body)(data);
        let taken = PeakAlloc.peak_usage().saturating_sub(before);
        let most = self.memory_max.saturating_add(data.len().saturating_mul(MEMORY_PER_BYTE));
        assert!(taken <= most, "{} takes {taken} bytes of memory for an input of {}", self.name, data.len());
    }

    /// Runs it once with nothing, so that what is made only once is not counted.
    pub fn warm_up(&self) {
        (self.body)(&[]);
    }
}

//! Every limit of the auditor, in one place. Lengths are in bytes.

use sdpp_proto::limits;

/// Items of one bundle file: statements, records and pieces of data together.
pub const ITEMS_MAX: u64 = 1 << 24;
/// Longest body of a bundle's header item.
pub const HEADER_MAX: usize = 256;
/// Longest statement.
pub const STATEMENT_MAX: usize = limits::STATEMENT_MAX;
/// Longest signed checkpoint.
pub const CHECKPOINT_MAX: usize = sdpp_log::limits::NOTE_BYTES_MAX;
/// Longest record entry: C2SP's limit.
pub const ENTRY_MAX: usize = 65_535;
/// Hashes in one inclusion proof: a tree has fewer than 2^63 leaves.
pub const PROOF_HASHES_MAX: usize = sdpp_log::limits::PROOF_HASHES_MAX;
/// Longest place of a record: statement, index and proof.
pub const PLACE_MAX: usize = 64 + 34 * PROOF_HASHES_MAX;
/// Longest piece of message data in one item.
pub const PIECE_MAX: usize = 1024 * 1024;
/// Menus kept until the order names one of them.
pub const MENUS_MAX: usize = 16;
/// Statements remembered in memory, and as many records; older ones lie in a temporary file. With what a tree of them
/// takes beside them that is 5 MiB.
pub const RECENT_MAX: usize = 1 << 16;
/// Memory for pages of each temporary file, in KiB.
pub const SPILL_CACHE_KIB: u32 = 2 * 1024;
/// Words of eight bytes that know of ids that are not in such a file: 2 MiB. With a million statements in it one look of a
/// hundred is for nothing, with sixteen millions nearly every one.
pub const FILTER_WORDS: usize = 1 << 18;
/// Notes kept in a report; further ones are only counted.
pub const NOTES_MAX: usize = 1000;

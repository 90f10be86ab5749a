//! Every limit of this rail, in one place.

/// Longest record in a transaction: IOTA takes less than 16 KiB for a pure argument.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 - 8;
/// Longest transaction, as IOTA has it.
pub const TRANSACTION_BYTES_MAX: usize = 128 * 1024;
/// Longest effects of one of our transactions: it makes one coin and changes a few.
pub const EFFECTS_BYTES_MAX: usize = 64 * 1024;
/// Gas coins in one transaction.
pub const GAS_COINS_MAX: usize = 16;

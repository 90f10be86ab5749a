//! Every limit of this rail, in one place.

use std::time::Duration;

/// Longest record in a transaction: IOTA takes less than 16 KiB for a pure argument.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 - 8;
/// Longest transaction, as IOTA has it.
pub const TRANSACTION_BYTES_MAX: usize = 128 * 1024;
/// Longest effects of one of our transactions: it makes one coin and changes a few.
pub const EFFECTS_BYTES_MAX: usize = 64 * 1024;
/// Gas coins in one transaction: the network takes 256.
pub const GAS_COINS_MAX: usize = 250;
/// Bytes of a node's answer.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a node may take for an answer.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node may take to execute a transaction.
pub const EXECUTE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two rounds over all nodes, the first time; twice as long each time after.
pub const BACK_OFF: Duration = Duration::from_millis(200);
/// Rounds over all nodes until a question counts as unanswered.
pub const ROUNDS_MAX: u32 = 3;
/// How long other nodes are waited for once one has said its epoch.
pub const OTHERS_WAIT: Duration = Duration::from_secs(2);
/// Epochs that a node may be behind another one and still be believed to be of the same time.
pub const EPOCHS_BEHIND_MAX: u64 = 30;
/// Coins asked for at once.
pub const COINS_PER_PAGE: u32 = 50;
/// Coins that are looked at, at most: an account with more should have them merged.
pub const COINS_MAX: usize = 10_000;
/// How long the gas price and the epoch that a node said count.
pub const PRICES_FOR: Duration = Duration::from_secs(60);
/// How long a payment waits for a coin that another one is using.
pub const COIN_WAIT: Duration = Duration::from_secs(60);
/// How often it looks meanwhile which coins there are.
pub const COIN_LOOK: Duration = Duration::from_secs(1);
/// How long a gas station is asked to set gas aside: as long as it does at most.
pub const RESERVED_FOR: Duration = Duration::from_secs(600);
/// Looks for what a gas station says that it has executed.
pub const LOOKS_MAX: u32 = 5;
/// Most nanos for the gas of one transaction, until a dry run says less: 0.05 IOTA.
pub const BUDGET: u64 = 50_000_000;
/// Least nanos for it, whatever a dry run says.
pub const BUDGET_MIN: u64 = 5_000_000;
/// The same of one that keeps its record in an object, for each byte of it.
pub const BUDGET_PER_KEPT_BYTE: u64 = 20_000;
/// Longest proof of a payment.
pub const PROOF_BYTES_MAX: usize = 256;
/// Parts that a coin is divided into at once.
pub const PARTS_MAX: u64 = 128;
/// Nanos of gas for each part of a coin that is divided: a new coin takes about a million of storage.
pub const BUDGET_PER_PART: u64 = 2_000_000;
/// Bytes of a committee: a few hundred members, each with a key and a weight.
pub const COMMITTEE_BYTES_MAX: usize = 256 * 1024;
/// Committees of validators that are kept: of so many epochs payments can still be confirmed.
pub const COMMITTEES_MAX: usize = 64;
/// Time from an invoice to its default, in milliseconds.
pub const PAY_BY_MS: u64 = 60_000;
/// Proofs of records that are fetched with each new one.
pub const PROVEN_AT_ONCE: usize = 4;
/// Digests that are kept of what was signed for one name and called void.
pub const EARLIER_MAX: usize = 16;
/// Bytes of a signed transaction with what is said of it.
pub const SENT_BYTES_MAX: usize = TRANSACTION_BYTES_MAX + 1024;
/// Bytes of a receipt that is kept.
pub const RECEIPT_BYTES_MAX: usize = TRANSACTION_BYTES_MAX + EFFECTS_BYTES_MAX + 64;

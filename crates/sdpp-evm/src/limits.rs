//! Every limit of this rail, in one place.

use std::time::Duration;

/// How long one question to a node may take.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a transaction may take to be mined, fees raised meanwhile, before it counts as unknown.
pub const MINED_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a transaction waits in the mempool before its fees are raised.
pub const BUMP_AFTER: Duration = Duration::from_secs(30);
/// How often it is looked whether it is mined.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked for a transaction whose nonce is used up: nodes know of one before the other.
pub const LOOKS_WHEN_USED_UP: u32 = 6;
/// How often in a row an opened channel is not there before it counts as dropped by a reorganisation.
pub const LOOKS_WHEN_GONE: u32 = 6;
/// Fees grow to so many hundredths when they are raised: nodes replace a transaction from 110 on.
pub const BUMP_PERCENT: u128 = 125;
/// How often fees are raised at most: to 9 times the estimate.
pub const BUMPS_MAX: u32 = 10;
/// Gas beyond the estimate, in hundredths.
pub const GAS_PERCENT: u64 = 120;
/// How often a payee with open channels asks for the newest block.
pub const WATCH_EVERY: Duration = Duration::from_secs(4);
/// How old news of a channel may be for a voucher to be taken without another look.
pub const VIEW_FRESH: Duration = Duration::from_secs(15);
/// How old they may be where the node does not answer: then no voucher is taken any more. This one, the one before and
/// the next one are never more than a quarter of the grace period, so that a requested close is seen in time.
pub const VIEW_OLD: Duration = Duration::from_secs(60);
/// How long a channel goes without a look of its own while the contract's events are followed.
pub const VIEW_FOLLOWED: Duration = Duration::from_secs(30 * 60);
/// Blocks whose events are asked for at once; after a longer silence all channels are looked at instead.
pub const EVENT_BLOCKS_MAX: u64 = 1_000;
/// Blocks whose events are read again each time: a reorganisation may have moved one, and nodes know of a block one before
/// the other.
pub const EVENT_BLOCKS_AGAIN: u64 = 64;
/// How long an opened channel may take to become final before the payer gives up waiting.
pub const FINAL_TIMEOUT: Duration = Duration::from_secs(1800);
/// Channels whose state is kept in memory.
pub const VIEWS_MAX: usize = 10_000;
/// Longest proof of a payment.
pub const PROOF_BYTES_MAX: usize = 128;
/// Shortest grace period that is asked for, in milliseconds: two hours for a chain that is busy.
pub const GRACE_MIN_MS: u64 = 2 * 60 * 60 * 1000;
/// Time from an invoice to a default, in milliseconds.
pub const PAY_BY_MS: u64 = 60_000;
/// Statements whose records are remembered.
pub const RECORDS_REMEMBERED_MAX: usize = 65_536;
/// Vouchers that are tried out in one call.
pub const REDEEMED_AT_ONCE_MAX: usize = 200;
/// Gas of one transaction by the estimate: with what is added to it, below what chains allow for one (EIP-7825).
pub const TRANSACTION_GAS_MAX: u64 = 13_000_000;
/// Longest call that is relayed.
pub const RELAYED_BYTES_MAX: usize = 4_096;
/// How long a permit is good for, in seconds of the chain.
pub const PERMIT_S: u64 = 3_600;
/// Blocks whose events are asked for at once: public nodes refuse more.
pub const LOGS_BLOCKS: u64 = 10_000;
/// Gas of opening a channel with native coins, as `calls_cost_what_the_bars_allow` prints it, rounded up.
pub const GAS_OPEN_COINS: u64 = 100_000;
/// Gas of opening a channel with a token by permit.
pub const GAS_OPEN_TOKEN: u64 = 160_000;
/// Gas of closing a channel with its last voucher.
pub const GAS_CLOSE: u64 = 77_000;
/// Gas of anchoring a statement's id.
pub const GAS_ANCHOR: u64 = 24_000;
/// Memory that the lock of a key may ask for, in blocks of 128 bytes: a gigabyte.
pub const SCRYPT_BLOCKS_MAX: u64 = 8 << 20;
/// Gas of a transaction that does nothing.
pub const GAS_NOTHING: u64 = 21_000;
/// Blocks that are looked through for what happened to an order: some weeks on a chain with a block every two seconds.
pub const AUDIT_BLOCKS: u64 = 1_000_000;
/// Bytes of messages that an answer to a challenge may have to publish, headers and signatures among them: what fits into
/// one transaction.
pub const REVEAL_BYTES_MAX: u64 = 96 * 1024;
/// Most gas of a call, by what our own contracts take of it with tokens that are somewhat dear.
pub const GAS_CALL_MAX: u64 = 400_000;
/// Most gas for each byte that a call brings.
pub const GAS_BYTE_MAX: u64 = 40;
/// Transactions that are sent again with higher fees at once.
pub const HURRIED_MAX: u64 = 16;
/// Most wei for a unit of gas, tip and all, where nothing else is known of a chain.
pub const FEE_MAX: u128 = 1_000_000_000_000;

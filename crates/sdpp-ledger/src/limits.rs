//! Every limit of the ledger, in one place. Lengths are in bytes and times in milliseconds unless
//! the name says otherwise.

/// Largest entry, COSE included: below the 65,535 of C2SP's entry bundles, and room for the largest
/// statement in a record.
pub const ENTRY_MAX: usize = 60_000;
/// Largest value of the ledger's own state.
pub const STATE_VALUE_MAX: usize = 4096;
/// Longest symbol of an asset.
pub const SYMBOL_MAX: usize = 32;
/// Longest grace period of a channel: a year.
pub const GRACE_MAX_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// Requests that the writer takes into one group, and so entries that become durable with one flush.
pub const GROUP_MAX: usize = 256;
/// Size of a group from which on the next one waits for company: so many writers are at work that a
/// larger group serves all of them sooner. A single writer never waits for others.
pub const GROUP_BUSY: usize = 16;
/// How long a busy writer gathers a group at most: until it is as large as the one before.
pub const GROUP_GATHER_MS: u64 = 4;
/// Requests that wait for the writer; one more is told to come back.
pub const QUEUE_MAX: usize = 4096;
/// Groups that wait for the publisher; then the writer waits too, and the queue fills.
pub const GROUPS_WAITING_MAX: usize = 16;
/// Memory for pages that the store of a ledger should have: its writes are spread over all keys, and what is read
/// again from the system in the middle of a group costs more than this.
pub const STORE_CACHE_KIB: u32 = 64 * 1024;
/// Readers of the store beside the writer: so many look at once.
pub const READERS: usize = 4;
/// Shortest time between two publications of files. Shorter in debug builds, the only ones that can be killed at a
/// point: a quick sale is over before the longer time, and nothing would be written while it is watched.
pub const FILES_EVERY_MS: u64 = if cfg!(debug_assertions) { 25 } else { 250 };
/// Time after which files that could not be written are tried again.
pub const FILES_RETRY_MS: u64 = 5_000;
/// Age of the last tick after which the log ticks by itself, while a channel is open.
pub const TICK_IDLE_MS: u64 = 10_000;
/// How often an idle writer looks at the clock.
pub const TICK_LOOK_MS: u64 = 1000;
/// Silence after which a checkpoint with news gets a fresh tick.
pub const TICK_EVERY_MS: u64 = 1000;
/// Entries in one answer: one C2SP entry bundle.
pub const ENTRIES_PAGE_MAX: usize = 256;
/// Rows or heads read at once.
pub const REPLAY_PAGE_MAX: usize = 1024;
/// Witnesses that one ledger asks.
pub const WITNESSES_MAX: usize = 16;
/// Times that a witness which knows another size is asked again for one checkpoint.
pub const WITNESS_RETRIES_MAX: usize = 1;
/// Time for which a witness that failed is not asked; doubles with each failure in a row.
pub const WITNESS_REST_MS: u64 = 500;
/// How often that time doubles at most.
pub const WITNESS_REST_DOUBLINGS: u32 = 6;
/// Rows of evidence that a witness keeps per log: two for each fork, enough to prove it.
pub const FORK_ROWS_MAX: usize = 64;

/// Bundles that a thread of `fsck` reads ahead.
pub const FSCK_BUNDLES_PER_THREAD: u64 = 8;
/// Times that a client looks for an entry which the ledger says it has taken.
pub const FOLLOW_TRIES_MAX: usize = 3;
/// Longest proof of a direct payment.
pub const PROOF_MAX: usize = 64;

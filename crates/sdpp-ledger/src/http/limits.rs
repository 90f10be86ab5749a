//! Every limit of the HTTP services and clients. Those that an operator may want to change are
//! fields of [`Limits`]; the rest follows from the formats.

use sdpp_log::limits::{ADD_CHECKPOINT_BYTES_MAX, NOTE_BYTES_MAX};

use crate::limits::{ENTRIES_PAGE_MAX, ENTRY_MAX};

/// Connections that are served at the same time.
pub const CONNECTIONS_MAX: usize = 1024;
/// Connections of one address (IPv6: one network of 64 bits) at the same time.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 128;
/// Connections above the limits that are told so; further ones are just closed.
pub const TURNED_AWAY_MAX: usize = 64;
/// Addresses that are remembered for their rates; one more is told to come back.
pub const ADDRESSES_MAX: usize = 65_536;
/// Requests of one address per second in the long run: an auditor reads 100,000 entries a second with so
/// many.
pub const RATE_PER_SECOND: u32 = 1000;
/// Requests of one address at once.
pub const RATE_BURST: u32 = 4000;
/// Entry bundles on their way out at the same time. Each may have some 15 MB, and its reader may be slow.
pub const BUNDLES_MAX: usize = 32;
/// Of those, by one address.
pub const BUNDLES_PER_ADDRESS_MAX: usize = 8;
/// Time in which a reader must take something of what it is sent.
pub const STALL_MS: u64 = 15_000;
/// Piece of a bundle that is handed to a connection at once.
pub const PIECE_BYTES: usize = 64 * 1024;
/// Time between two searches for addresses that can be forgotten.
pub const FORGET_EVERY_MS: u64 = 1000;
/// Time for the head of a request, and so also the time that an idle connection is kept.
pub const HEADER_MS: u64 = 15_000;
/// Time for the body of a request.
pub const BODY_MS: u64 = 15_000;
/// Time for an answer to begin, the request's body included.
pub const ANSWER_MS: u64 = 30_000;
/// Time for a TLS handshake.
pub const HANDSHAKE_MS: u64 = 10_000;
/// Age at which a connection ends, between two requests: nobody reads slowly for ever.
pub const CONNECTION_AGE_MS: u64 = 600_000;
/// Time to finish running requests when the server stops or a connection is too old.
pub const STOP_MS: u64 = 10_000;
/// Pause after the system could not accept a connection, for instance for lack of file handles.
pub const ACCEPT_PAUSE_MS: u64 = 50;
/// Bytes of a request's head, and of an answer's.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of a request, and of an answer.
pub const HEADERS_MAX: usize = 64;
/// Pause that a busy server asks for.
pub const RETRY_AFTER_S: u64 = 1;

/// Largest body of a request to a witness: old size, proof, note.
pub const WITNESS_BODY_MAX: usize = ADD_CHECKPOINT_BYTES_MAX;
/// Largest JSON or text that a client reads: a note in JSON, every character escaped at worst.
pub const ANSWER_MAX: usize = NOTE_BYTES_MAX * 6 + 4096;
/// Largest entry bundle that a client reads.
pub const BUNDLE_MAX: usize = ENTRIES_PAGE_MAX * (ENTRY_MAX + 2);
/// Time of a client's request, from the connection to the last byte of the answer.
pub const CALL_MS: u64 = 30_000;
/// Times that a reader of tiles asks a busy server.
pub const READ_RETRIES: u32 = 5;
/// Time for a client to connect.
pub const CONNECT_MS: u64 = 5_000;
/// Time for a ledger to connect to a witness: whoever submits waits for the slowest.
pub const WITNESS_CONNECT_MS: u64 = 1_000;
/// Time for a witness to answer.
pub const WITNESS_CALL_MS: u64 = 2_000;
/// Time that a client keeps an idle connection: less than a server does, so that it is not used
/// just when the server closes it.
pub const IDLE_MS: u64 = 5_000;
/// Idle connections that a client keeps.
pub const IDLE_MAX: usize = 16;

/// How often one address may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Requests per second, in the long run. At least 1 counts.
    pub per_second: u32,
    /// Requests at once after a pause. At least 1 counts.
    pub burst: u32,
}

/// What a server bears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// [`CONNECTIONS_PER_ADDRESS_MAX`].
    pub connections_per_address_max: usize,
    /// [`BUNDLES_MAX`].
    pub bundles_max: usize,
    /// [`BUNDLES_PER_ADDRESS_MAX`].
    pub bundles_per_address_max: usize,
    /// [`STALL_MS`].
    pub stall_ms: u64,
    /// How often one address may ask; none for no limit, for instance behind a proxy that has one.
    pub rate: Option<Rate>,
    /// [`HEADER_MS`].
    pub header_ms: u64,
    /// [`BODY_MS`].
    pub body_ms: u64,
    /// [`ANSWER_MS`].
    pub answer_ms: u64,
    /// [`HANDSHAKE_MS`].
    pub handshake_ms: u64,
    /// [`CONNECTION_AGE_MS`].
    pub connection_age_ms: u64,
    /// [`STOP_MS`].
    pub stop_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            bundles_max: BUNDLES_MAX,
            bundles_per_address_max: BUNDLES_PER_ADDRESS_MAX,
            stall_ms: STALL_MS,
            rate: Some(Rate { per_second: RATE_PER_SECOND, burst: RATE_BURST }),
            header_ms: HEADER_MS,
            body_ms: BODY_MS,
            answer_ms: ANSWER_MS,
            handshake_ms: HANDSHAKE_MS,
            connection_age_ms: CONNECTION_AGE_MS,
            stop_ms: STOP_MS,
        }
    }
}

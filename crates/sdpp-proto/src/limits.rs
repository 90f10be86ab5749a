//! Every limit of the protocol, in one place. Lengths are in bytes and times in milliseconds
//! unless the name says otherwise. All are checked before memory is allocated.

/// Protocol version spoken by this crate (`spec/protocol.md` §1).
pub const VERSION: u16 = 2;

/// Largest plaintext of one frame: message bytes and control items together.
pub const FRAME_PLAIN_MAX: usize = 128 * 1024;
/// AEAD tag that closes every sealed frame.
pub const TAG_LEN: usize = 16;
/// Frame header: `length u32`, `type u8`, `counter u64`.
pub const FRAME_HEADER_LEN: usize = 13;
/// Largest body of a frame: the plaintext and the tag.
pub const FRAME_BODY_MAX: usize = FRAME_PLAIN_MAX + TAG_LEN;
/// Largest frame on the wire.
pub const FRAME_MAX: usize = FRAME_HEADER_LEN + FRAME_BODY_MAX;
/// Largest part of a frame that control items may take; the rest is left to messages.
pub const CONTROL_MAX: usize = 96 * 1024;
/// Control items of one frame.
pub const CONTROL_ITEMS_MAX: usize = 64;
/// Trailer of a frame's plaintext: the length of its control items.
pub const CONTROL_TRAILER_LEN: usize = 4;

/// Largest signed statement, COSE included. C2SP's entry limit is 65,535.
pub const STATEMENT_MAX: usize = 32 * 1024;
/// Largest menu' (clear): the nonce and one statement.
pub const MENU_BODY_MAX: usize = STATEMENT_MAX + 256;
/// Largest hello (clear).
pub const HELLO_MAX: usize = 1024;
/// Largest order' or session: four statements and an HPKE encapsulation.
pub const SEALED_HANDSHAKE_MAX: usize = 100 * 1024;
/// Largest clear error frame.
pub const ERROR_MAX: usize = 256;

/// Header of one message: `time_us i64`, `length u32`.
pub const MESSAGE_HEADER_LEN: usize = 12;
/// Largest message any product may allow.
pub const MESSAGE_MAX: u32 = 4 * 1024 * 1024;
/// Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;

/// Messages in one window.
pub const K_MAX: u32 = 1_000_000;
/// Outstanding windows.
pub const WINDOWS_MAX: u32 = 1_000_000;
/// Bytes of messages the seller keeps until they are paid.
pub const KEPT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of messages in one invoice: a span is hashed and kept as a whole.
pub const SPAN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Messages that one `Batch` holds.
pub const BATCH_MESSAGES_MAX: usize = 65_536;
/// Bytes that one `Batch` holds, a single larger message aside.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Bytes from which on a batch is kept where it is until it is paid for, and not copied.
pub const BATCH_SHARED_MIN: usize = 32 * 1024;

/// Numbers of invoices left out after a journal was restored: more than can have been signed and not
/// verified, for an invoice covers a window at least.
pub const RESTORED_NUMBERS: u64 = 1 << 20;
/// Connections that a buyer leaves out after a restore: it may have made them behind its backup (§9.3).
pub const RESTORED_CONNECTIONS: u32 = 1 << 20;
/// Invoices that may wait for their payment.
pub const INVOICES_WAITING_MAX: usize = 4096;

/// Samples and quotes that one connection may ask for.
pub const ASKS_MAX: u32 = 16;
/// Products of one menu.
pub const PRODUCTS_MAX: usize = 64;
/// Payment options of one menu.
pub const OPTIONS_MAX: usize = 16;
/// Short text: topics, asset ids, addresses, rail names.
pub const TEXT_MAX: usize = 512;
/// Opaque terms of a payment option, opaque proof of a payment.
pub const OPAQUE_MAX: usize = 8 * 1024;
/// Bytes of messages in a free sample.
pub const SAMPLE_BYTES_MAX: usize = 16 * 1024;

/// Time for the whole handshake.
pub const HANDSHAKE_MS: u64 = 10_000;
/// Time that a buyer has to choose from a menu.
pub const CHOOSING_MS: u64 = 120_000;
/// Silence after which a live side sends an empty frame.
pub const KEEPALIVE_MS: u64 = 15_000;
/// Silence after which a live connection is given up.
pub const IDLE_MS: u64 = 60_000;
/// Time that both sides have for the last payment and the settlements.
pub const EXIT_MS: u64 = 30_000;
/// Longest life of a menu, and so of its sealing keys.
pub const MENU_LIFE_MS: u64 = 24 * 60 * 60 * 1000;
/// Difference of two clocks that is forgiven.
pub const CLOCK_TOLERANCE_MS: u64 = 5_000;

/// Frames per key epoch, as a power of two (`epoch = counter >> 20`).
pub const EPOCH_SHIFT: u32 = 20;

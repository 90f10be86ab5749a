//! All limits of this crate. Each is checked before the value it bounds is believed or stored.

/// Most leaves a tree can have. `2^63 - 1`, so that a size also fits the signed integers of SQLite and Go.
pub const TREE_SIZE_MAX: u64 = i64::MAX as u64;

/// Most hashes in a consistency proof that a witness takes (C2SP tlog-witness, "add-checkpoint"), and in an inclusion
/// proof for a tree of at most [`TREE_SIZE_MAX`] leaves.
pub const PROOF_HASHES_MAX: usize = 63;

/// Largest body of an `add-checkpoint` request, in bytes: the largest note behind the longest proof.
pub const ADD_CHECKPOINT_BYTES_MAX: usize = NOTE_BYTES_MAX + 4 * 1024;

/// Most opaque extra data in a `.tlog-proof`, in bytes.
pub const TLOG_PROOF_EXTRA_BYTES_MAX: usize = 16 * 1024;

/// Largest `.tlog-proof`, in bytes: the largest note behind the longest proof and extra data.
pub const TLOG_PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 32 * 1024;

/// Largest signed note, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// Most signature lines in a note. C2SP signed-note asks for at least 16.
pub const NOTE_SIGNATURES_MAX: usize = 100;

/// Longest key name or log origin, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Most extension lines in a checkpoint. Our own checkpoints have none.
pub const EXTENSION_LINES_MAX: usize = 16;

/// Latest time of a cosignature, in seconds since 1970 (C2SP tlog-cosignature, "Format").
pub const TIME_MAX_S: u64 = i64::MAX as u64;

/// Most witnesses in one [`Policy`](crate::Policy).
pub const WITNESSES_MAX: usize = 64;

/// Most keys of one log that a [`Witness`](crate::Witness) trusts at the same time.
pub const LOG_KEYS_MAX: usize = 8;

/// Hashes in a full tile, and entries in a full bundle (C2SP tlog-tiles, "Merkle Tree").
pub const TILE_WIDTH: u16 = 256;

/// Largest entry in a bundle, in bytes: its length has 16 bits (C2SP tlog-tiles, "Log entries").
pub const BUNDLE_ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// Levels of tiles that a tree of [`TREE_SIZE_MAX`] leaves has.
pub const TILE_LEVELS: u8 = 8;

/// Highest tile level that a path may name (C2SP tlog-tiles, "Merkle Tree").
pub const TILE_LEVEL_MAX: u8 = 63;

/// Highest tile index: the last tile of a tree of [`TREE_SIZE_MAX`] leaves.
pub const TILE_INDEX_MAX: u64 = TREE_SIZE_MAX / 256;

/// Longest tile path, in bytes.
pub const TILE_PATH_BYTES_MAX: usize = 64;

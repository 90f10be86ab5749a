//! The storage seam: small enough that crashes can be modelled.

use std::fmt;

mod group;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use group::{Barrier, Beside, GroupCommit, GroupWrite};
pub use memory::{FlushFault, MemoryDisk, MemoryStore};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteStore, StoreInfo};

/// What a flush is worth (`spec/protocol.md` §9).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Flushed to the disk: survives a power cut.
    #[default]
    Power,
    /// Written to the system: survives a kill; a power cut may take the last moments.
    Process,
}

impl Durability {
    /// Its name, as programs and files have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Process => "process",
        }
    }

    /// The class of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Power, Self::Process].into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One row of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its place in the stream, from 0, without gaps.
    pub position: u64,
    /// What was appended.
    pub body: Vec<u8>,
}

/// Why a store did not answer. After any error of `append`, `swap` or `flush` the caller must treat
/// everything since the last good flush as lost and freeze.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// The disk is full.
    Full,
    /// The medium failed, or another program holds the store. The text is for people.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the disk is full: make room and start again, nothing durable was lost"),
            Self::Failed(why) => write!(f, "the store cannot be used: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What can be read of a store.
pub trait StoreReader: Send {
    /// Reads at most `rows_max` rows of a stream from a position on.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self, stream: &str, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError>;

    /// The value under a key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn head(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `heads_max` keys that begin with `prefix`, with their values, in the order of their
    /// bytes: from the first one behind `after`, or from the first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn heads(&self, prefix: &str, after: Option<&str>, heads_max: usize) -> Result<Vec<Head>, StoreError>;
}

/// A key and its value.
pub type Head = (String, Vec<u8>);

/// Append-only streams and small atomic heads.
///
/// What was appended or put is *written*: this handle reads it. It is *durable* only when
/// [`flush`](Self::flush) has come back; a crash takes all that was written since the flush before.
/// Everything between two flushes becomes durable together or not at all.
pub trait Store: StoreReader {
    /// Appends a row to a stream; gives its position.
    ///
    /// # Errors
    /// [`StoreError`].
    fn append(&mut self, stream: &str, body: &[u8]) -> Result<u64, StoreError>;

    /// Names of the streams that begin so, sorted.
    ///
    /// # Errors
    /// [`StoreError`].
    fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Puts a value under a key, whatever was there.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Replaces the value under a key if it is still `expected`; says whether it did.
    ///
    /// # Errors
    /// [`StoreError`].
    fn swap(&mut self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`StoreError`].
    fn flush(&mut self) -> Result<(), StoreError>;

    /// Whether a flush now almost certainly takes microseconds, because it waits for no disk: the caller may as well do it
    /// itself.
    fn is_quick(&self) -> bool;

    /// A handle for another thread that reads what is durable, beside the writer.
    ///
    /// # Errors
    /// [`StoreError`].
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError>;
}

//! The seam between a ledger and those who use it. In process it is [`LocalLedger`](crate::LocalLedger);
//! over a network it is whatever carries these five questions. Nothing that comes through it is
//! believed: [`LedgerClient`](crate::LedgerClient) checks every answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sdpp_log::Hash;
use sdpp_proto::codec::StatementId;

use crate::refusal::Refusal;

/// A boxed answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ServiceError>> + Send + 'a>>;

/// Why a ledger gave no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceError {
    /// Nothing was done: it cannot be reached or has too much to do. Trying again is safe.
    Unavailable,
    /// The entry may be in the log or not. Submitting the same entry again is safe and tells.
    Unknown,
    /// The entry breaks a rule and was not taken.
    Refused(Refusal),
    /// No such entry, or no tree of that size.
    OutOfRange,
    /// A write failed: the ledger takes nothing more until somebody has looked after it. Nothing
    /// was done.
    Frozen,
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("the ledger cannot be reached or is busy; trying again is safe"),
            Self::Unknown => f.write_str("no answer; submit the same entry again to learn what became of it"),
            Self::Refused(refusal) => write!(f, "the ledger refused: {refusal}"),
            Self::OutOfRange => f.write_str("the ledger has no such entry or size"),
            Self::Frozen => f.write_str("the ledger could not write and takes nothing more"),
        }
    }
}

impl std::error::Error for ServiceError {}

/// The ledger's word that an entry is in its log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submitted {
    /// Where.
    pub index: u64,
    /// The entry's id: of the submitted one, or of the first that said the same.
    pub id: StatementId,
    /// A signed checkpoint whose tree has it.
    pub checkpoint: Arc<str>,
}

/// A ledger, as its users see it.
pub trait LedgerService: Send + Sync {
    /// Submits an entry, and answers when it is durable. A known entry gives its first place.
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted>;

    /// The newest checkpoint: a signed note with the witnesses' cosignatures.
    fn checkpoint(&self) -> Answer<'_, Arc<str>>;

    /// Entries from an index on: at least one if there is one, at most `max` and at most
    /// [`ENTRIES_PAGE_MAX`](crate::limits::ENTRIES_PAGE_MAX).
    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>>;

    /// The proof that entry `index` is in the tree of the first `size` entries.
    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>>;

    /// The proof that the tree of `old` entries is a prefix of the tree of `new` entries.
    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>>;
}

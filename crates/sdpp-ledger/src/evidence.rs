//! What a client keeps when a ledger contradicts itself.

use std::sync::Arc;

use sdpp_rail::RailError;

use crate::refusal::Refusal;

/// How a ledger was caught.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contradiction {
    /// Two signed checkpoints of one size with two roots. The notes alone prove it.
    SplitView,
    /// A newer checkpoint that was not shown to grow out of the older one.
    NotAnExtension,
    /// An older checkpoint that was not shown to be a part of the newer one.
    RolledBack,
    /// Entries that do not lead to the signed root, or none where there must be some.
    WrongEntries,
    /// An entry in the log breaks a rule. Entry and note tell; who has the log proves it with `fsck`.
    BadEntry {
        /// Its index.
        index: u64,
        /// The rule.
        refusal: Refusal,
    },
    /// An entry that it said was in the log is not there.
    BrokenPromise,
}

impl Contradiction {
    /// Whether what is kept proves it to others, by the log's own signatures. The rest was seen, and on an
    /// open network somebody between may have caused it.
    pub const fn is_proof(&self) -> bool {
        matches!(self, Self::SplitView)
    }

    /// The same in fixed words for people.
    pub const fn text(&self) -> &'static str {
        match self {
            Self::SplitView => "it signed two histories of one length",
            Self::NotAnExtension => "its newer history does not contain the older one",
            Self::RolledBack => "it went back behind a history that it had signed",
            Self::WrongEntries => "its entries are not those that it signed",
            Self::BadEntry { .. } => "its log has an entry that breaks the rules",
            Self::BrokenPromise => "an entry that it confirmed is not in its log",
        }
    }

    pub(crate) const fn error(&self) -> RailError {
        RailError::Dishonest(self.text())
    }
}

/// A contradiction, with what was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// How the ledger was caught.
    pub what: Contradiction,
    /// The signed notes that do not go together, the one believed before first.
    pub notes: Vec<Arc<str>>,
    /// The entry that breaks a rule, if it is about one.
    pub entry: Option<Vec<u8>>,
}

//! Whether a key still stands (`spec/records.md` §5).

use sdpp_proto::identity::PublicKey;
use sdpp_proto::statement::RevokeReason;
use sdpp_proto::time::Timestamp;

use crate::rail::{RecordId, Reply};

/// What a ledger has heard a key say of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing: it stands.
    Good,
    /// It gave way to another: whoever wants its holder asks that one.
    Rotated {
        /// The successor, which consented. It may have a standing of its own.
        to: PublicKey,
        /// When, by its holder.
        at: Timestamp,
        /// Where it is recorded.
        record: RecordId,
    },
    /// It is over: nothing new by it is to be believed.
    Revoked {
        /// From when on, by its holder.
        at: Timestamp,
        /// Why.
        reason: RevokeReason,
        /// Where it is recorded.
        record: RecordId,
    },
}

impl Standing {
    /// Whether a new order may be made with the key.
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Good)
    }
}

/// Somebody who knows which keys still stand: a follower of a ledger.
pub trait Standings: Send + Sync {
    /// The standing of a key, by the newest that can be known. An error says nothing about the key: a
    /// caller that needs to know waits, or refuses.
    fn standing<'a>(&'a self, key: &'a PublicKey) -> Reply<'a, Standing>;
}

//! What a ledger that is served answers beside the five questions of [`LedgerService`]: for people, for
//! tools that read tiles, and for proofs that travel. Whoever must be sure replays the log with a
//! [`LedgerClient`](crate::LedgerClient); nothing here is proof but what a signature covers.

use sdpp_log::{TilePath, TlogProof, VerifierKey};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};

use crate::channel::Channel;
use crate::fold::Recorded;
use crate::service::{Answer, LedgerService};

/// A ledger with its look-ups: what a server shows.
pub trait LedgerHost: LedgerService {
    /// The log's key; its name is the origin.
    fn key(&self) -> &VerifierKey;

    /// Whether it takes entries: [`ServiceError::Frozen`](crate::ServiceError::Frozen) after a write that
    /// failed.
    fn health(&self) -> Answer<'_, ()>;

    /// The bytes of a tile or an entry bundle (C2SP tlog-tiles) of the newest published tree:
    /// [`ServiceError::OutOfRange`](crate::ServiceError::OutOfRange) if that tree is too small for it.
    /// A partial tile stays readable for ever, by its width.
    fn tile(&self, path: TilePath) -> Answer<'_, Vec<u8>>;

    /// The proof of an entry that travels, with the newest published checkpoint.
    fn proof(&self, index: u64) -> Answer<'_, TlogProof>;

    /// The COSE receipt of an entry, by the root of the newest published tree.
    fn receipt(&self, index: u64) -> Answer<'_, Vec<u8>>;

    /// What an account has.
    fn balance<'a>(&'a self, asset: &'a AssetId, account: &'a PublicKey) -> Answer<'a, Amount>;

    /// A channel, open or closed.
    fn channel(&self, id: ChannelId) -> Answer<'_, Option<Channel>>;

    /// Where a statement is recorded.
    fn record(&self, statement: StatementId) -> Answer<'_, Option<Recorded>>;
}

//! Money for trials: every account that asks gets the same amount, once. It is an issue like any
//! other, signed by its issuer and recorded; only that anybody may cause it. So a ledger offers it
//! where its operator alone can reach it, or where its money is worth nothing.

use sdpp_proto::codec::Bytes32;
use sdpp_proto::hash::labelled;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::{Amount, AssetId};

use crate::entry::{Body, Entry, Issue, asset_id};

/// What a server gives to whoever asks by `POST /v1/dev/grant`.
#[derive(Clone, Debug)]
pub struct DevGrant {
    /// The issuer's key.
    pub key: SigningKey,
    /// Name of the asset at its issuer.
    pub symbol: String,
    /// How much each account gets.
    pub amount: Amount,
}

impl DevGrant {
    /// The asset that is given.
    pub fn asset(&self) -> AssetId {
        asset_id(&self.symbol, &self.key.public())
    }

    /// The grant of an account. Its reference is the account's, so the ledger takes it once.
    pub fn entry(&self, origin: &str, account: &PublicKey) -> Entry {
        let reference = Bytes32(labelled("SDPP/2 dev grant", &[account.as_bytes()]));
        let issue = Issue { symbol: self.symbol.clone(), to: *account, amount: self.amount, reference };
        Entry::sign(&self.key, origin, Body::Issue(issue))
    }
}

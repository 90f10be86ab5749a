//! The state under the fold: small values under readable keys of a [`Store`], so that it may be
//! larger than memory, becomes durable together with the entries, and opens at once.
//!
//! | key | value |
//! |---|---|
//! | `e/ENTRY` | index of an entry that has no other key below |
//! | `r/STATEMENT` | where a statement is recorded |
//! | `b/ASSET/ACCOUNT` | balance |
//! | `i/ASSET` | what was issued |
//! | `j/PAIR` | where an issue stands, by asset and reference |
//! | `x/PAIR` | where a transfer stands, by payer and reference |
//! | `c/CHANNEL` | a channel |
//! | `p/PAYER/CHANNEL` | a payer's channel |
//! | `k/KEY` | how a key ended: rotated, revoked |
//! | `t/PAIR` | where a top-up stands, by channel and reference |
//! | `fold` | size, time, channels alive |
//! | `origin` | which ledger it is |
//!
//! An entry costs as few keys as can be, with short values: keys are random, so each is a page to write,
//! and long ones split pages more often. What a transfer says is in its entry, to which its id commits.
//! Keys, ids and references of 32 bytes are written in base64url, which takes a tenth of the time of an
//! account's usual base58.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use minicbor::{Decode, Encode};
use sdpp_proto::codec::{self, Bytes32, ChannelId, StatementId};
use sdpp_proto::hash::labelled;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{KeyNotice, RevokeReason};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{Standing, Store, StoreError, StoreReader};

use crate::channel::Channel;
use crate::fold::Recorded;
use crate::limits;
use crate::refusal::Place;

const SUMMARY: &str = "fold";
const ORIGIN: &str = "origin";
pub(crate) const BALANCES: &str = "b/";
pub(crate) const ISSUED: &str = "i/";
pub(crate) const CHANNELS: &str = "c/";
/// All keys of the state begin with one of these.
pub(crate) const PREFIXES: [&str; 11] = ["b/", "c/", "e/", "fold", "i/", "j/", "k/", "p/", "r/", "t/", "x/"];
/// What there is to say of a key that is only there or not.
const MARK: &[u8] = &[];

/// What the fold knows of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Summary {
    /// Entries taken.
    #[n(1)]
    pub(crate) size: u64,
    /// The last tick.
    #[n(2)]
    pub(crate) time: Option<Timestamp>,
    /// Channels that are not closed.
    #[n(3)]
    pub(crate) alive: u64,
}

/// How a key ended: the first rotation and the first revocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct KeyEnd {
    #[n(1)]
    pub(crate) rotation: Option<RotatedTo>,
    #[n(2)]
    pub(crate) revocation: Option<RevokedFrom>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RotatedTo {
    #[n(1)]
    pub(crate) to: PublicKey,
    #[n(2)]
    pub(crate) at: Timestamp,
    /// The entry that records it.
    #[n(3)]
    pub(crate) entry: StatementId,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RevokedFrom {
    #[n(1)]
    pub(crate) at: Timestamp,
    #[n(2)]
    pub(crate) reason: RevokeReason,
    /// The entry that records it.
    #[n(3)]
    pub(crate) entry: StatementId,
}

impl KeyEnd {
    /// With one more notice, recorded by this entry: of each kind the first counts.
    pub(crate) fn hear(mut self, notice: &KeyNotice, entry: StatementId) -> Self {
        match notice {
            KeyNotice::Rotation(said) => {
                self.rotation.get_or_insert(RotatedTo { to: said.successor, at: said.at, entry });
            }
            KeyNotice::Revocation(said) => {
                self.revocation.get_or_insert(RevokedFrom { at: said.at, reason: said.reason, entry });
            }
        }
        self
    }

    /// What follows: a revocation is final, whenever it came.
    pub(crate) fn standing(&self) -> Standing {
        if let Some(RevokedFrom { at, reason, entry }) = self.revocation {
            return Standing::Revoked { at, reason, record: Bytes32(entry.0) };
        }
        let rotated = |RotatedTo { to, at, entry }| Standing::Rotated { to, at, record: Bytes32(entry.0) };
        self.rotation.map_or(Standing::Good, rotated)
    }
}

fn name(bytes: &[u8; 32]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// A key that names a pair, as short as any other.
fn pair(prefix: &str, first: &[u8], second: &[u8; 32]) -> String {
    format!("{prefix}{}", name(&labelled("SDPP/2 ledger state", &[first, second])))
}

fn key_name(key: &PublicKey) -> String {
    format!("k/{}", name(key.as_bytes()))
}

fn balance_key(asset: &AssetId, account: &PublicKey) -> String {
    format!("{BALANCES}{asset}/{}", name(account.as_bytes()))
}

/// Values were encoded by this module; anything else is a damaged store.
fn value<T: for<'b> Decode<'b, ()> + Encode<()>>(key: &str, bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode(bytes, limits::STATE_VALUE_MAX)
        .map_err(|_| StoreError::Failed(format!("the value of {key} is damaged: restore the ledger, then run fsck")))
}

/// The channel that a key under a prefix ends with.
fn channel_of(prefix: &str, key: &str) -> Option<ChannelId> {
    let id = Base64UrlUnpadded::decode_vec(key.strip_prefix(prefix)?).ok()?;
    <[u8; 32]>::try_from(id).ok().map(ChannelId)
}

fn get<T: for<'b> Decode<'b, ()> + Encode<()>>(
    store: &(impl StoreReader + ?Sized),
    key: &str,
) -> Result<Option<T>, StoreError> {
    store.head(key)?.map(|bytes| value(key, &bytes)).transpose()
}

/// Reads of the state, for everybody who has a store or a reader of one.
pub(crate) struct View<'a, S: StoreReader + ?Sized>(pub(crate) &'a S);

impl<S: StoreReader + ?Sized> View<'_, S> {
    pub(crate) fn origin(&self) -> Result<Option<String>, StoreError> {
        Ok(self.0.head(ORIGIN)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(crate) fn summary(&self) -> Result<Summary, StoreError> {
        Ok(get(self.0, SUMMARY)?.unwrap_or_default())
    }

    pub(crate) fn place(&self, id: &StatementId) -> Result<Option<Place>, StoreError> {
        let index = get(self.0, &format!("e/{}", name(&id.0)))?;
        Ok(index.map(|index| Place { index, id: *id }))
    }

    pub(crate) fn record(&self, statement: &StatementId) -> Result<Option<Recorded>, StoreError> {
        get(self.0, &format!("r/{}", name(&statement.0)))
    }

    pub(crate) fn key_end(&self, key: &PublicKey) -> Result<KeyEnd, StoreError> {
        Ok(get(self.0, &key_name(key))?.unwrap_or_default())
    }

    pub(crate) fn balance(&self, asset: &AssetId, account: &PublicKey) -> Result<Amount, StoreError> {
        Ok(get(self.0, &balance_key(asset, account))?.unwrap_or(Amount::ZERO))
    }

    pub(crate) fn issued(&self, asset: &AssetId) -> Result<Amount, StoreError> {
        Ok(get(self.0, &format!("{ISSUED}{asset}"))?.unwrap_or(Amount::ZERO))
    }

    pub(crate) fn issue(&self, asset: &AssetId, reference: &Bytes32) -> Result<Option<Place>, StoreError> {
        get(self.0, &pair("j/", asset.as_str().as_bytes(), &reference.0))
    }

    pub(crate) fn transfer(&self, payer: &PublicKey, reference: &Bytes32) -> Result<Option<Place>, StoreError> {
        get(self.0, &pair("x/", payer.as_bytes(), &reference.0))
    }

    pub(crate) fn channel(&self, id: &ChannelId) -> Result<Option<Channel>, StoreError> {
        get(self.0, &format!("{CHANNELS}{}", name(&id.0)))
    }

    pub(crate) fn top_up(&self, channel: &ChannelId, reference: &Bytes32) -> Result<Option<Place>, StoreError> {
        get(self.0, &pair("t/", &channel.0, &reference.0))
    }

    /// The channels of a payer, open or closed.
    pub(crate) fn channels_of(&self, payer: &PublicKey) -> Result<Vec<(ChannelId, Channel)>, StoreError> {
        let mut found = Vec::new();
        let prefix = format!("p/{}/", name(payer.as_bytes()));
        self.each(&prefix, |key, _| {
            if let Some(id) = channel_of(&prefix, key)
                && let Some(channel) = self.channel(&id)?
            {
                found.push((id, channel));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The channels for a payee, open or closed.
    pub(crate) fn channels_for(&self, payee: &PublicKey) -> Result<Vec<(ChannelId, Channel)>, StoreError> {
        let mut found = Vec::new();
        self.each(CHANNELS, |key, bytes| {
            let channel: Channel = value(key, bytes)?;
            if let Some(id) = channel_of(CHANNELS, key).filter(|_| channel.payee == *payee) {
                found.push((id, channel));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// What an account has of each asset.
    pub(crate) fn balances_of(&self, account: &PublicKey) -> Result<Vec<(AssetId, Amount)>, StoreError> {
        let mut found = Vec::new();
        let end = format!("/{}", name(account.as_bytes()));
        self.each(BALANCES, |key, bytes| {
            if let Some(asset) = key.strip_prefix(BALANCES).and_then(|rest| rest.strip_suffix(&end)) {
                found.push((AssetId::new(asset), value(key, bytes)?));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Visits all values under a prefix.
    pub(crate) fn each(
        &self,
        prefix: &str,
        mut visit: impl FnMut(&str, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.0.heads(prefix, after.as_deref(), limits::REPLAY_PAGE_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            let next = last.clone();
            for (key, bytes) in &page {
                visit(key, bytes)?;
            }
            after = Some(next);
        }
    }

    /// All amounts under a prefix, by the asset that stands behind it.
    pub(crate) fn amounts(&self, prefix: &str, mut visit: impl FnMut(AssetId, Amount)) -> Result<(), StoreError> {
        self.each(prefix, |key, bytes| {
            let rest = key.strip_prefix(prefix).unwrap_or(key);
            let asset = rest.split_once('/').map_or(rest, |(asset, _)| asset);
            visit(AssetId::new(asset), value(key, bytes)?);
            Ok(())
        })
    }

    /// All channels.
    pub(crate) fn each_channel(&self, mut visit: impl FnMut(Channel)) -> Result<(), StoreError> {
        self.each(CHANNELS, |key, bytes| {
            visit(value(key, bytes)?);
            Ok(())
        })
    }
}

/// Writes of the state.
pub(crate) struct Edit<'a>(pub(crate) &'a mut dyn Store);

impl Edit<'_> {
    pub(crate) fn origin(&mut self, origin: &str) -> Result<(), StoreError> {
        self.0.put(ORIGIN, origin.as_bytes())
    }

    pub(crate) fn summary(&mut self, summary: &Summary) -> Result<(), StoreError> {
        self.0.put(SUMMARY, &codec::encode(summary))
    }

    pub(crate) fn place(&mut self, place: &Place) -> Result<(), StoreError> {
        self.0.put(&format!("e/{}", name(&place.id.0)), &codec::encode(&place.index))
    }

    pub(crate) fn record(&mut self, statement: &StatementId, recorded: &Recorded) -> Result<(), StoreError> {
        self.0.put(&format!("r/{}", name(&statement.0)), &codec::encode(recorded))
    }

    pub(crate) fn key_end(&mut self, key: &PublicKey, end: &KeyEnd) -> Result<(), StoreError> {
        self.0.put(&key_name(key), &codec::encode(end))
    }

    pub(crate) fn balance(&mut self, asset: &AssetId, account: &PublicKey, amount: Amount) -> Result<(), StoreError> {
        self.0.put(&balance_key(asset, account), &codec::encode(&amount))
    }

    pub(crate) fn issued(&mut self, asset: &AssetId, amount: Amount) -> Result<(), StoreError> {
        self.0.put(&format!("{ISSUED}{asset}"), &codec::encode(&amount))
    }

    pub(crate) fn issue(&mut self, asset: &AssetId, reference: &Bytes32, place: &Place) -> Result<(), StoreError> {
        self.0.put(&pair("j/", asset.as_str().as_bytes(), &reference.0), &codec::encode(place))
    }

    pub(crate) fn transfer(&mut self, payer: &PublicKey, reference: &Bytes32, place: &Place) -> Result<(), StoreError> {
        self.0.put(&pair("x/", payer.as_bytes(), &reference.0), &codec::encode(place))
    }

    pub(crate) fn new_channel(&mut self, id: &ChannelId, channel: &Channel) -> Result<(), StoreError> {
        self.0.put(&format!("p/{}/{}", name(channel.payer.as_bytes()), name(&id.0)), MARK)?;
        self.channel(id, channel)
    }

    pub(crate) fn channel(&mut self, id: &ChannelId, channel: &Channel) -> Result<(), StoreError> {
        self.0.put(&format!("{CHANNELS}{}", name(&id.0)), &codec::encode(channel))
    }

    pub(crate) fn top_up(&mut self, channel: &ChannelId, reference: &Bytes32, place: &Place) -> Result<(), StoreError> {
        self.0.put(&pair("t/", &channel.0, &reference.0), &codec::encode(place))
    }
}

//! What travels as JSON, in both directions. Amounts are decimal text, for a double cannot hold
//! them; ids are lower-case hexadecimal, keys `z6Mk…`, hashes base64.

use base64ct::{Base64, Encoding};
use sdpp_log::Hash;
use sdpp_log::limits::TREE_SIZE_MAX;
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::Form;
use sdpp_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::channel::{Channel, ChannelState};
use crate::fold::Recorded;
use crate::refusal::Place;
use crate::service::Submitted;

/// More hashes than any proof of a tree has.
const HASHES_MAX: usize = 128;

#[derive(Serialize, Deserialize)]
pub(super) struct SubmittedJson {
    index: u64,
    id: String,
    checkpoint: String,
}

impl From<&Submitted> for SubmittedJson {
    fn from(submitted: &Submitted) -> Self {
        let Submitted { index, id, checkpoint } = submitted;
        Self { index: *index, id: id.to_string(), checkpoint: checkpoint.to_string() }
    }
}

impl SubmittedJson {
    pub(super) fn read(self) -> Option<Submitted> {
        Some(Submitted { index: self.index, id: statement_id(&self.id)?, checkpoint: self.checkpoint.into() })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct OfferedJson {
    pub(super) amount: String,
    pub(super) asset: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct GrantJson {
    pub(super) amount: String,
    pub(super) asset: String,
    #[serde(flatten)]
    pub(super) submitted: SubmittedJson,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PlaceJson {
    index: u64,
    id: String,
}

impl From<Place> for PlaceJson {
    fn from(place: Place) -> Self {
        Self { index: place.index, id: place.id.to_string() }
    }
}

impl PlaceJson {
    pub(super) fn read(&self) -> Option<Place> {
        Some(Place { index: self.index, id: statement_id(&self.id)? })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct RecordJson {
    index: u64,
    id: String,
    form: String,
}

impl From<Recorded> for RecordJson {
    fn from(record: Recorded) -> Self {
        let form = match record.form {
            Form::Full => "full",
            Form::Hash => "hash",
        };
        Self { index: record.place.index, id: record.place.id.to_string(), form: form.to_owned() }
    }
}

impl RecordJson {
    pub(super) fn read(&self) -> Option<Recorded> {
        let form = match self.form.as_str() {
            "full" => Form::Full,
            "hash" => Form::Hash,
            _ => return None,
        };
        Some(Recorded { place: Place { index: self.index, id: statement_id(&self.id)? }, form })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct BalanceJson {
    pub(super) asset: String,
    pub(super) account: String,
    pub(super) amount: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ProofJson {
    hashes: Vec<String>,
}

impl From<&[Hash]> for ProofJson {
    fn from(hashes: &[Hash]) -> Self {
        Self { hashes: hashes.iter().map(hash_text).collect() }
    }
}

impl ProofJson {
    pub(super) fn read(&self) -> Option<Vec<Hash>> {
        if self.hashes.len() > HASHES_MAX {
            return None;
        }
        self.hashes.iter().map(|text| hash(text)).collect()
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ChannelJson {
    id: String,
    opened: PlaceJson,
    payer: String,
    payee: String,
    asset: String,
    signer: String,
    grace_ms: u64,
    deposit: String,
    redeemed: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_ms: Option<u64>,
}

impl ChannelJson {
    pub(super) fn new(id: ChannelId, channel: &Channel) -> Self {
        let (state, ends_ms) = match channel.state {
            ChannelState::Open => ("open", None),
            ChannelState::Closing { ends } => ("closing", Some(ends.as_ms())),
            ChannelState::Closed => ("closed", None),
        };
        Self {
            id: id.to_string(),
            opened: channel.opened.into(),
            payer: channel.payer.to_string(),
            payee: channel.payee.to_string(),
            asset: channel.asset.to_string(),
            signer: channel.signer.to_string(),
            grace_ms: channel.grace_ms,
            deposit: channel.deposit.to_string(),
            redeemed: channel.redeemed.to_string(),
            state: state.to_owned(),
            ends_ms,
        }
    }

    pub(super) fn read(&self) -> Option<Channel> {
        let state = match (self.state.as_str(), self.ends_ms) {
            ("open", None) => ChannelState::Open,
            ("closing", Some(ends)) => ChannelState::Closing { ends: Timestamp::from_ms(ends) },
            ("closed", None) => ChannelState::Closed,
            _ => return None,
        };
        Some(Channel {
            payer: self.payer.parse().ok()?,
            payee: self.payee.parse().ok()?,
            asset: AssetId::new(self.asset.clone()),
            signer: self.signer.parse().ok()?,
            grace_ms: self.grace_ms,
            deposit: amount(&self.deposit)?,
            redeemed: amount(&self.redeemed)?,
            state,
            opened: self.opened.read()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct AboutJson {
    pub(super) origin: String,
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) links: Vec<String>,
}

/// A decimal number without sign, spaces or leading zeros.
pub(super) fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && digits { text.parse().ok() } else { None }
}

/// A number of entries, or the index of one.
pub(super) fn size(text: &str) -> Option<u64> {
    decimal(text).filter(|size| *size <= TREE_SIZE_MAX)
}

pub(super) fn amount(text: &str) -> Option<Amount> {
    decimal(text).map(Amount::new)
}

/// 32 bytes as 64 lower-case hexadecimal digits.
pub(super) fn hex32(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte.checked_sub(b'0'),
        b'a'..=b'f' => byte.checked_sub(b'a')?.checked_add(10),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    bytes?.try_into().ok()
}

pub(super) fn statement_id(text: &str) -> Option<StatementId> {
    hex32(text).map(StatementId)
}

pub(super) fn hash_text(hash: &Hash) -> String {
    Base64::encode_string(&hash.0)
}

pub(super) fn hash(text: &str) -> Option<Hash> {
    let mut bytes = [0; 32];
    let length = Base64::decode(text, &mut bytes).ok()?.len();
    (length == bytes.len()).then_some(Hash(bytes))
}

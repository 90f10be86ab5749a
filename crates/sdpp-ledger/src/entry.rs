//! Entries: what may stand in the log (`spec/rails.md`, the rail `ledger`).
//!
//! An entry is a COSE_Sign1 statement whose content type names its kind and whose subject is the
//! log's origin, so that no entry of one log means anything in another.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use sdpp_proto::codec::{self, Bytes32, ChannelId, StatementId};
use sdpp_proto::cose::{self, CoseError};
use sdpp_proto::hash::labelled;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{AnyStatement, Form, KeyNotice, Kind, Payment, Signed, StatementError};
use sdpp_proto::time::Timestamp;

use crate::limits;
use crate::refusal::Refusal;

/// Money made out of nothing by its issuer, who signs. The asset is [`asset_id`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Issue {
    /// Name of the asset at its issuer.
    #[n(1)]
    pub symbol: String,
    /// Who gets it.
    #[n(2)]
    pub to: PublicKey,
    /// How much.
    #[n(3)]
    pub amount: Amount,
    /// Makes it differ from other issues; unique per asset.
    #[n(4)]
    pub reference: Bytes32,
}

/// Money from the account of whoever signs.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Transfer {
    /// Who gets it.
    #[n(1)]
    pub to: PublicKey,
    /// Of what.
    #[n(2)]
    pub asset: AssetId,
    /// How much.
    #[n(3)]
    pub amount: Amount,
    /// What it is for; unique per payer. A direct payment names its invoice.
    #[n(4)]
    pub reference: Bytes32,
}

/// A channel: a deposit of whoever signs, locked for one payee. Its id is [`channel_id`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Open {
    /// Who may redeem.
    #[n(1)]
    pub payee: PublicKey,
    /// Of what.
    #[n(2)]
    pub asset: AssetId,
    /// How much is locked.
    #[n(3)]
    pub deposit: Amount,
    /// The key that signs vouchers.
    #[n(4)]
    pub signer: PublicKey,
    /// Time between the request to close and the close.
    #[n(5)]
    pub grace_ms: u64,
    /// Unique per payer.
    #[n(6)]
    pub reference: Bytes32,
}

/// More deposit for a channel, by its payer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TopUp {
    /// The channel.
    #[n(1)]
    pub channel: ChannelId,
    /// How much more.
    #[n(2)]
    pub amount: Amount,
    /// Unique per channel.
    #[n(3)]
    pub reference: Bytes32,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
struct RedeemWire {
    #[n(1)]
    channel: ChannelId,
    #[cbor(n(2), with = "minicbor::bytes")]
    payment: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
struct ChannelWire {
    #[n(1)]
    channel: ChannelId,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
struct TickWire {
    #[n(1)]
    time: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
struct RecordWire {
    #[n(1)]
    form: Form,
    #[cbor(n(2), with = "minicbor::bytes")]
    body: Vec<u8>,
}

/// A statement kept on the ledger, whole or by its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whole, or the id only.
    pub form: Form,
    /// The id of the recorded statement.
    pub statement: StatementId,
    /// The recorded bytes.
    pub body: Arc<[u8]>,
    /// The end of a key, if it is recorded whole: then the fold relies on what it says.
    pub notice: Option<KeyNotice>,
}

impl Record {
    /// The record of a statement.
    pub fn of(statement: &AnyStatement, form: Form) -> Self {
        let body = match form {
            Form::Full => statement.bytes.clone(),
            Form::Hash => Arc::from(&statement.id.0[..]),
        };
        let notice = match form {
            Form::Full => KeyNotice::read(statement.kind, &statement.bytes).ok().flatten(),
            Form::Hash => None,
        };
        Self { form, statement: statement.id, body, notice }
    }
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Money out of nothing.
    Issue(Issue),
    /// Money from one account to another.
    Transfer(Transfer),
    /// A new channel.
    Open(Open),
    /// More deposit.
    TopUp(TopUp),
    /// A voucher turned into money, by anybody, for the payee.
    Redeem {
        /// The channel.
        channel: ChannelId,
        /// The signed payment.
        voucher: Signed<Payment>,
    },
    /// The payer wants its channel closed: the grace period starts at the last logged tick.
    RequestClose(ChannelId),
    /// The end of a channel: by its payee at any time, by anybody after the grace period.
    Close(ChannelId),
    /// What time it is, by the log's own clock.
    Tick(Timestamp),
    /// A statement of a sale.
    Record(Record),
}

const ISSUE: &str = "ledger-issue";
const TRANSFER: &str = "ledger-transfer";
const OPEN: &str = "ledger-open";
const TOP_UP: &str = "ledger-top-up";
const REDEEM: &str = "ledger-redeem";
const REQUEST_CLOSE: &str = "ledger-request-close";
const CLOSE: &str = "ledger-close";
const TICK: &str = "ledger-tick";
const RECORD: &str = "ledger-record";

impl Body {
    /// Whether the fold relies on the signatures in it: all but records, whose readers verify what
    /// they rely on. The end of a key is answered for by whoever folds it.
    pub const fn must_be_verified(&self) -> bool {
        !matches!(self, Self::Record(Record { notice: None, .. }))
    }

    /// Name inside the content type `application/sdpp-NAME+cbor`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Issue(_) => ISSUE,
            Self::Transfer(_) => TRANSFER,
            Self::Open(_) => OPEN,
            Self::TopUp(_) => TOP_UP,
            Self::Redeem { .. } => REDEEM,
            Self::RequestClose(_) => REQUEST_CLOSE,
            Self::Close(_) => CLOSE,
            Self::Tick(_) => TICK,
            Self::Record(_) => RECORD,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Issue(issue) => codec::encode(issue),
            Self::Transfer(transfer) => codec::encode(transfer),
            Self::Open(open) => codec::encode(open),
            Self::TopUp(top_up) => codec::encode(top_up),
            Self::Redeem { channel, voucher } => {
                codec::encode(&RedeemWire { channel: *channel, payment: voucher.bytes().to_vec() })
            }
            Self::RequestClose(channel) | Self::Close(channel) => codec::encode(&ChannelWire { channel: *channel }),
            Self::Tick(time) => codec::encode(&TickWire { time: *time }),
            Self::Record(record) => codec::encode(&RecordWire { form: record.form, body: record.body.to_vec() }),
        }
    }

    fn decode(content_type: &str, payload: &[u8]) -> Result<Self, Refusal> {
        let name = content_type.strip_prefix("application/sdpp-").and_then(|rest| rest.strip_suffix("+cbor"));
        Ok(match name.ok_or(Refusal::Malformed)? {
            ISSUE => Self::Issue(payload_of(payload)?),
            TRANSFER => Self::Transfer(payload_of(payload)?),
            OPEN => Self::Open(payload_of(payload)?),
            TOP_UP => Self::TopUp(payload_of(payload)?),
            REDEEM => {
                let wire: RedeemWire = payload_of(payload)?;
                let voucher = Signed::parse_unverified(&wire.payment).map_err(|_| Refusal::VoucherMalformed)?;
                Self::Redeem { channel: wire.channel, voucher }
            }
            REQUEST_CLOSE => Self::RequestClose(payload_of::<ChannelWire>(payload)?.channel),
            CLOSE => Self::Close(payload_of::<ChannelWire>(payload)?.channel),
            TICK => Self::Tick(payload_of::<TickWire>(payload)?.time),
            RECORD => Self::Record(record_of(payload_of(payload)?)?),
            _ => return Err(Refusal::Malformed),
        })
    }
}

fn payload_of<'b, T: Decode<'b, ()> + Encode<()>>(payload: &'b [u8]) -> Result<T, Refusal> {
    codec::decode(payload, limits::ENTRY_MAX).map_err(|_| Refusal::Malformed)
}

fn record_of(wire: RecordWire) -> Result<Record, Refusal> {
    let (statement, notice) = match wire.form {
        Form::Hash => (StatementId(<[u8; 32]>::try_from(&wire.body[..]).map_err(|_| Refusal::RecordNotAHash)?), None),
        Form::Full => {
            let parsed = cose::parse(&wire.body).map_err(|_| Refusal::RecordMalformed)?;
            let kind = Kind::of_content_type(parsed.content_type).ok_or(Refusal::RecordMalformed)?;
            (parsed.id(), KeyNotice::read(kind, &wire.body).map_err(|_| Refusal::RecordMalformed)?)
        }
    };
    Ok(Record { form: wire.form, statement, body: wire.body.into(), notice })
}

fn parse_cose(bytes: &[u8]) -> Result<cose::Parsed<'_>, Refusal> {
    cose::parse_within(bytes, limits::ENTRY_MAX).map_err(|error| match error {
        CoseError::TooLong => Refusal::TooLong,
        CoseError::Malformed | CoseError::WrongType | CoseError::WrongIssuer | CoseError::BadSignature => {
            Refusal::Malformed
        }
    })
}

/// The asset of this name at this issuer: the issuer's key is part of it, so nobody else issues it.
pub fn asset_id(symbol: &str, issuer: &PublicKey) -> AssetId {
    AssetId::new(format!("{symbol}@{issuer}"))
}

/// The id of the channel that this payer opens with this reference on this log.
pub fn channel_id(origin: &str, payer: &PublicKey, reference: &Bytes32) -> ChannelId {
    ChannelId(labelled("SDPP/2 ledger channel", &[origin.as_bytes(), payer.as_bytes(), &reference.0]))
}

/// An entry with its exact bytes. Its form is checked, its signatures are not until
/// [`verify`](Self::verify).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    id: StatementId,
    issuer: PublicKey,
    origin: String,
    body: Body,
    bytes: Arc<[u8]>,
}

impl Entry {
    /// Signs an entry for a log. Signing again gives the same entry.
    pub fn sign(key: &SigningKey, origin: &str, body: Body) -> Self {
        let (bytes, id) = cose::sign(key, &cose::content_type(body.name()), origin, &body.encode());
        Self { id, issuer: key.public(), origin: origin.to_owned(), body, bytes: bytes.into() }
    }

    /// The id of the entry by which somebody would say this on a log: to recognise it without having it.
    pub fn id_of(issuer: &PublicKey, origin: &str, body: &Body) -> StatementId {
        cose::id_of(issuer, &cose::content_type(body.name()), origin, &body.encode())
    }

    /// Takes an entry apart, strictly. Nothing is verified but its form.
    ///
    /// # Errors
    /// [`Refusal::TooLong`], [`Refusal::Malformed`], [`Refusal::VoucherMalformed`],
    /// [`Refusal::RecordMalformed`], [`Refusal::RecordNotAHash`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        Self::of_parsed(&parse_cose(bytes)?, bytes)
    }

    /// Takes an entry apart and verifies all its signatures, in one go.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse) and [`verify`](Self::verify).
    pub fn open(bytes: &[u8]) -> Result<Self, Refusal> {
        Self::open_unless(bytes, |_| false)
    }

    /// The same, but trusting the signatures of what `trusted` says of its body.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_unless(bytes: &[u8], trusted: impl FnOnce(&Body) -> bool) -> Result<Self, Refusal> {
        let parsed = parse_cose(bytes)?;
        let entry = Self::of_parsed(&parsed, bytes)?;
        if !trusted(&entry.body) {
            entry.verify_parsed(&parsed)?;
        }
        Ok(entry)
    }

    fn of_parsed(parsed: &cose::Parsed<'_>, bytes: &[u8]) -> Result<Self, Refusal> {
        Ok(Self {
            id: parsed.id(),
            issuer: parsed.issuer,
            origin: parsed.subject.to_owned(),
            body: Body::decode(parsed.content_type, parsed.payload)?,
            bytes: bytes.into(),
        })
    }

    /// Verifies all signatures: the entry's, and those of an embedded voucher or statement.
    ///
    /// # Errors
    /// [`Refusal::BadSignature`], [`Refusal::VoucherBadSignature`], [`Refusal::RecordBadSignature`].
    pub fn verify(&self) -> Result<(), Refusal> {
        self.verify_parsed(&parse_cose(&self.bytes)?)
    }

    fn verify_parsed(&self, parsed: &cose::Parsed<'_>) -> Result<(), Refusal> {
        parsed.verify().map_err(|_| Refusal::BadSignature)?;
        match &self.body {
            Body::Redeem { voucher, .. } => {
                voucher.verify(&voucher.issuer()).map_err(|_: StatementError| Refusal::VoucherBadSignature)
            }
            Body::Record(Record { notice: Some(notice), .. }) => {
                notice.verify().map_err(|_| Refusal::RecordBadSignature)
            }
            Body::Record(record) if record.form == Form::Full => {
                AnyStatement::parse(&record.body).map_err(|_| Refusal::RecordBadSignature).map(|_| ())
            }
            Body::Issue(_)
            | Body::Transfer(_)
            | Body::Open(_)
            | Body::TopUp(_)
            | Body::RequestClose(_)
            | Body::Close(_)
            | Body::Tick(_)
            | Body::Record(_) => Ok(()),
        }
    }

    /// Its id: the same for the same content by the same key, however often it is signed.
    pub const fn id(&self) -> StatementId {
        self.id
    }

    /// Who signed.
    pub const fn issuer(&self) -> PublicKey {
        self.issuer
    }

    /// The log that it is meant for.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What it says.
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// The exact bytes: the leaf of the tree.
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

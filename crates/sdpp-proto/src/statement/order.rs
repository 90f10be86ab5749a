//! What starts a sale and each of its connections: order, attach, acceptance.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::{Kind, Statement, order_subject};
use crate::codec::{Bytes32, ChannelId, Digest, StatementId};
use crate::identity::PublicKey;
use crate::limits;
use crate::money::Amount;
use crate::suite::Suite;
use crate::time::Timestamp;

/// The buyer's order: commercial terms, accepted once, by its id.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Order {
    /// The seller it is meant for.
    #[n(1)]
    pub seller: PublicKey,
    /// The menu whose terms it takes.
    #[n(2)]
    pub menu_id: StatementId,
    /// Number of the product.
    #[n(3)]
    pub product: u32,
    /// Number of the payment option.
    #[n(4)]
    pub option: u16,
    /// Messages wanted; none: open end.
    #[n(5)]
    pub quantity: Option<u64>,
    /// Outstanding windows asked for.
    #[n(6)]
    pub windows: u32,
    /// Most the seller may let the buyer owe.
    #[n(7)]
    pub exposure_max: Amount,
    /// Most the buyer spends.
    #[n(8)]
    pub limit: Amount,
    /// The channel whose deposit backs it.
    #[n(9)]
    pub channel: Option<ChannelId>,
    /// What is recorded.
    #[n(10)]
    pub record: RecordPolicy,
    /// Where invoices go outside the connection.
    #[n(11)]
    pub invoice_addr: Option<String>,
    /// Key that signs acks, payments and the settlement; the channel's signer.
    #[n(12)]
    pub sign_pk: PublicKey,
    /// Hides the content of hashed records and makes orders differ.
    #[n(13)]
    pub nonce: Bytes32,
    /// The order is not accepted after this.
    #[n(14)]
    pub until: Timestamp,
}

impl Statement for Order {
    const KIND: Kind = Kind::Order;

    fn subject(&self) -> String {
        self.seller.did()
    }

    fn is_within_limits(&self) -> bool {
        (1..=limits::WINDOWS_MAX).contains(&self.windows)
            && self.quantity != Some(0)
            && self.invoice_addr.as_ref().is_none_or(|text| text.len() <= limits::TEXT_MAX)
    }
}

/// What of a statement is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Form {
    /// The whole statement, as the paper posts it.
    #[n(0)]
    Full,
    /// Its id only.
    #[n(1)]
    Hash,
}

/// What is recorded, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Encode, Decode)]
#[cbor(map)]
pub struct RecordPolicy {
    /// Whole statements or ids.
    #[n(1)]
    pub form: Form,
    /// Every so many invoices, with their payments: 1 is `each`, 0 only both `ends` of the order.
    #[n(2)]
    pub every: u32,
}

/// The buyer's signed start of one connection, for a new order or a resumed one.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Attach {
    /// The order.
    #[n(1)]
    pub order_id: StatementId,
    /// Number of the connection; a higher one ends the one before it.
    #[n(2)]
    pub index: u32,
    /// Suite of this connection.
    #[n(3)]
    pub suite: Suite,
    /// Fresh key, used once and erased after opening the session.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub kem_pk: Vec<u8>,
    /// Hash of the transcript so far: both nonces are in it.
    #[n(5)]
    pub th1: Bytes32,
    /// What the buyer holds already.
    #[n(6)]
    pub have: Have,
}

/// What the buyer holds when it attaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Have {
    /// The first message it does not hold.
    #[n(1)]
    pub next: u64,
    /// Digest of the messages it holds behind the last span that ended; none where there are none.
    #[n(2)]
    pub prefix_digest: Option<Digest>,
    /// The last invoice it verified.
    #[n(3)]
    pub last_invoice: Option<StatementId>,
    /// The last payment it signed.
    #[n(4)]
    pub last_payment: Option<StatementId>,
    /// The first message behind that invoice, or behind messages forgiven since: the prefix begins
    /// here.
    #[n(5)]
    pub base: u64,
}

impl Statement for Attach {
    const KIND: Kind = Kind::Attach;

    fn subject(&self) -> String {
        order_subject(&self.order_id)
    }

    fn is_within_limits(&self) -> bool {
        self.kem_pk.len() == self.suite.public_key_len()
    }
}

/// The seller's answer: this connection may run, within these terms. Never wider than the order.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Acceptance {
    /// The order.
    #[n(1)]
    pub order_id: StatementId,
    /// The attach that it answers.
    #[n(2)]
    pub attach_id: StatementId,
    /// Number of the connection.
    #[n(3)]
    pub index: u32,
    /// Hash of the transcript up to the order.
    #[n(4)]
    pub th2: Bytes32,
    /// SHA-256 of the encapsulation that carries the session key.
    #[n(5)]
    pub enc_hash: Bytes32,
    /// First message that will be sent.
    #[n(6)]
    pub start: u64,
    /// Messages that both sides lost, uncharged.
    #[n(7)]
    pub forgiven: Option<Forgiven>,
    /// Most the seller lets the buyer owe.
    #[n(8)]
    pub exposure: Amount,
    /// Outstanding windows after the ramp.
    #[n(9)]
    pub windows: u32,
    /// Whether the buyer starts with a window of one message that doubles.
    #[n(10)]
    pub ramp: bool,
}

/// Messages that the seller no longer has and will not charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Forgiven {
    /// The first of them.
    #[n(1)]
    pub first: u64,
    /// How many the buyer holds.
    #[n(2)]
    pub count: u64,
    /// The first invoice that is void with them; those that follow it are void too.
    #[n(3)]
    pub invoice: Option<StatementId>,
    /// Number of the next invoice: numbers of void ones are not used again.
    #[n(4)]
    pub next_n: u64,
}

impl Statement for Acceptance {
    const KIND: Kind = Kind::Acceptance;

    fn subject(&self) -> String {
        order_subject(&self.order_id)
    }
}

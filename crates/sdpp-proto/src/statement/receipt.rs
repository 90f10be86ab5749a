//! What is owed and paid: invoice, ack, payment, settlement, default.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::{Kind, Statement, order_subject};
use crate::codec::{ChannelId, Digest, StatementId};
use crate::limits;
use crate::money::Amount;
use crate::time::Timestamp;

/// The seller's claim for one span of whole windows: which bytes, and the totals so far.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Invoice {
    /// The order.
    #[n(1)]
    pub order_id: StatementId,
    /// Number of the invoice within the order, from 0.
    #[n(2)]
    pub n: u64,
    /// Windows it covers.
    #[n(3)]
    pub windows: u32,
    /// The invoice before it that is not void; the order for the first.
    #[n(4)]
    pub prev: StatementId,
    /// Sequence number of the first message covered.
    #[n(5)]
    pub first: u64,
    /// Messages covered.
    #[n(6)]
    pub count: u64,
    /// Payload bytes covered.
    #[n(7)]
    pub bytes: u64,
    /// Start of the service billed, by the seller's clock; only where the price counts seconds.
    #[n(8)]
    pub t_start: Option<Timestamp>,
    /// End of the service billed.
    #[n(9)]
    pub t_end: Option<Timestamp>,
    /// Commits to every byte covered.
    #[n(10)]
    pub digest: Digest,
    /// Cumulative units: messages, bytes or milliseconds.
    #[n(11)]
    pub units_total: u64,
    /// Cumulative amount due.
    #[n(12)]
    pub due: Amount,
    /// Cumulative amount credited so far.
    #[n(13)]
    pub paid: Amount,
    /// The payment that `paid` was credited for.
    #[n(14)]
    pub paid_by: Option<StatementId>,
    /// The last invoice of the order.
    #[n(15)]
    pub last: bool,
}

impl Invoice {
    /// The first message behind the span; saturates, which no valid order reaches.
    pub const fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

impl Statement for Invoice {
    const KIND: Kind = Kind::Invoice;

    fn subject(&self) -> String {
        order_subject(&self.order_id)
    }
}

/// The buyer's word that an invoice's digest is right while its payment is still on the way.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Ack {
    /// The order.
    #[n(1)]
    pub order_id: StatementId,
    /// The invoice.
    #[n(2)]
    pub invoice_id: StatementId,
}

impl Statement for Ack {
    const KIND: Kind = Kind::Ack;

    fn subject(&self) -> String {
        order_subject(&self.order_id)
    }
}

/// The buyer's payment: which claim it answers, the cumulative total and the rail's proof.
///
/// With `channel` and without `proof` the signed payment is itself the voucher.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Payment {
    /// The order.
    #[n(1)]
    pub order_id: StatementId,
    /// The payment before it; the order for the first.
    #[n(2)]
    pub prev: StatementId,
    /// The invoice it answers.
    #[n(3)]
    pub invoice_id: StatementId,
    /// Cumulative amount paid.
    #[n(4)]
    pub total: Amount,
    /// The channel that the total may be taken from.
    #[n(5)]
    pub channel: Option<ChannelId>,
    /// What the rail needs to check it.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub proof: Option<Vec<u8>>,
}

impl Statement for Payment {
    const KIND: Kind = Kind::Payment;

    fn subject(&self) -> String {
        order_subject(&self.order_id)
    }

    fn is_within_limits(&self) -> bool {
        self.proof.as_ref().is_none_or(|proof| proof.len() <= limits::OPAQUE_MAX)
    }
}

/// One side's signed view of the end.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Settlement {
    /// The order.
    #[n(1)]
    pub order_id: StatementId,
    /// The last invoice.
    #[n(2)]
    pub invoice_id: StatementId,
    /// The last payment.
    #[n(3)]
    pub payment_id: Option<StatementId>,
    /// Cumulative amount due.
    #[n(4)]
    pub due: Amount,
    /// Cumulative amount paid.
    #[n(5)]
    pub paid: Amount,
}

impl Statement for Settlement {
    const KIND: Kind = Kind::Settlement;

    fn subject(&self) -> String {
        order_subject(&self.order_id)
    }
}

/// The seller's word that an invoice was not paid in time. A later payment supersedes it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Default {
    /// The order.
    #[n(1)]
    pub order_id: StatementId,
    /// The newest unpaid invoice.
    #[n(2)]
    pub invoice_id: StatementId,
    /// Cumulative amount due.
    #[n(3)]
    pub due: Amount,
    /// Cumulative amount credited.
    #[n(4)]
    pub paid: Amount,
    /// When it should have been paid, by the seller's clock.
    #[n(5)]
    pub deadline: Timestamp,
}

impl Statement for Default {
    const KIND: Kind = Kind::Default;

    fn subject(&self) -> String {
        order_subject(&self.order_id)
    }
}

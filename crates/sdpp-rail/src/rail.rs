//! Payment rails and records.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{AnyStatement, Form, Order, PayOption, Payment, Signed};

/// A boxed answer: rails are picked at run time.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, RailError>> + Send + 'a>>;

/// Why a rail did not do what it was asked, and what the caller may safely do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RailError {
    /// Nothing was sent: retry with the same id.
    Unavailable,
    /// Refused for good: do not retry, close the session. The reason is fixed text for people.
    Declined(&'static str),
    /// Money may have moved: never retry blindly, call [`Payer::status`].
    Unknown,
    /// The ledger behind the rail contradicts itself or its witnesses: stop, keep the evidence.
    Dishonest(&'static str),
}

impl fmt::Display for RailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("the rail cannot be reached; nothing was sent, trying again is safe"),
            Self::Declined(why) => write!(f, "the rail refused: {why}"),
            Self::Unknown => f.write_str("no answer; money may have moved, ask the rail for the payment's status"),
            Self::Dishonest(what) => write!(f, "the ledger is not to be trusted: {what}"),
        }
    }
}

impl std::error::Error for RailError {}

/// What a buyer asks a rail for before it orders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenRequest {
    /// Chosen by the buyer, fresh per order: asking twice with one reference opens once.
    pub reference: Bytes32,
    /// The option of the seller's menu.
    pub option: PayOption,
    /// Most that will be paid: the deposit, where there is one.
    pub limit: Amount,
    /// The key that will sign payments.
    pub signer: PublicKey,
    /// Whom the order is to go to: a channel may be bound to one seller, also where several share an account.
    pub seller: PublicKey,
}

/// What stands behind an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Funding {
    /// The channel opened for it; none where the rail pays directly.
    pub channel: Option<ChannelId>,
    /// What is locked.
    pub deposit: Amount,
}

/// One cumulative claim to be paid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bill {
    /// The order.
    pub order: StatementId,
    /// The invoice: the idempotency key from end to end.
    pub invoice: StatementId,
    /// Who is paid: the address of the menu's option.
    pub payee: String,
    /// What is paid.
    pub asset: AssetId,
    /// Cumulative amount after this payment.
    pub total: Amount,
    /// Cumulative amount before it.
    pub before: Amount,
    /// How many messages the total pays for: the number behind the last one of the invoice. None where a payee
    /// has lost the invoice.
    pub messages: Option<u64>,
    /// The order's channel.
    pub channel: Option<ChannelId>,
}

impl Bill {
    /// What must hold of the payment that answers this bill on every rail, before any ledger is asked.
    ///
    /// # Errors
    /// [`RailError::Declined`]: it answers another bill, or the bill is in another asset, for another payee or falls.
    pub fn check_answer(&self, payment: &Payment, asset: &AssetId, payee: &str) -> Result<(), RailError> {
        let same = payment.order_id == self.order
            && payment.invoice_id == self.invoice
            && payment.total == self.total
            && payment.channel == self.channel;
        if !same {
            return Err(RailError::Declined("the payment does not answer this bill"));
        }
        if self.asset != *asset || self.payee != payee {
            return Err(RailError::Declined("the bill is in another asset or for another payee"));
        }
        if self.before > self.total {
            return Err(RailError::Declined("the bill's total is below the one before"));
        }
        Ok(())
    }
}

/// What shows a payee that a bill was paid. Opaque to the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// The signed payment is the voucher.
    Voucher,
    /// The rail's own bytes.
    Bytes(Vec<u8>),
}

/// What a payer knows of a bill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PaymentStatus {
    /// Never sent, or refused: nothing moved and nothing will.
    NotPaid,
    /// On its way.
    Pending,
    /// Done.
    Paid(Proof),
}

/// How far the close of a channel is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseStatus {
    /// Asked for: the grace period runs, or what was done is not final yet. To be asked again.
    Pending,
    /// Over for good: what was left is the payer's again.
    Closed,
}

/// Whether a payment counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Final; the total was credited once.
    Settled,
    /// Not final yet: ask again.
    Pending,
}

/// What stands behind an order, by the payee's own look at the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backing {
    /// The locked deposit; none where the rail pays directly.
    pub deposit: Option<Amount>,
}

/// What a redemption brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redeemed {
    /// Cumulative amount that the order's vouchers have brought in so far.
    pub total: Amount,
}

/// An order whose channel is not closed, and its vouchers that are not money yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outstanding {
    /// The order.
    pub order: StatementId,
    /// What they are worth beyond what was redeemed.
    pub amount: Amount,
    /// The payer has asked for the close: what is not redeemed when the grace ends is lost, and no
    /// further voucher counts.
    pub closing: bool,
}

/// The buyer's half of a rail.
pub trait Payer: Send + Sync {
    /// Whether money moves at [`pay`](Self::pay): then the intent must be durable before the call.
    /// A voucher is only a signature.
    fn moves_money(&self) -> bool;

    /// Opens a channel and locks a deposit, or has nothing to do. Once per `reference`.
    fn open<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Funding>;

    /// What this request has opened, for a payer that died before it heard; none where nothing is there yet. By
    /// default it opens again, which opens once. A rail that can look first locks no deposit for nothing.
    fn opened<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Option<Funding>> {
        Box::pin(async move { self.open(request).await.map(Some) })
    }

    /// Pays at most once per `bill.invoice`, however often it is called; the same invoice with
    /// other terms is [`RailError::Declined`]. Where money does not move, `bill.before` is none of the terms.
    fn pay<'a>(&'a self, bill: &'a Bill) -> Reply<'a, Proof>;

    /// What became of an invoice.
    fn status<'a>(&'a self, invoice: &'a StatementId) -> Reply<'a, PaymentStatus>;

    /// Gives up the channel, alone if need be, and finishes a close whose grace period is over. What the payee redeems in
    /// time stays the payee's.
    fn close<'a>(&'a self, funding: &'a Funding) -> Reply<'a, CloseStatus>;
}

/// The seller's half of a rail.
pub trait Payee: Send + Sync {
    /// What the menu offers; the caller sets `id`.
    fn option(&self) -> PayOption;

    /// Looks at what stands behind an order: payee, asset, signer, grace, no pending close, and one
    /// channel for one order only.
    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing>;

    /// Proves that `payment` settles `bill` and was never used before. Idempotent per invoice; a used proof is
    /// [`RailError::Declined`]. A voucher for less than is settled is covered by that, and changes nothing; where each payment
    /// moves money, a lower total is [`RailError::Declined`]. Where money does not move, `bill.before` is none of the terms.
    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome>;

    /// Turns the order's vouchers into money. Harmless when there is nothing to redeem. With
    /// `finished`, the order is over and its channel may be closed for both.
    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed>;

    /// Whether a redemption is dear and slow, as a transaction on a chain is: then an order is redeemed when it ends or when its
    /// payer has asked for the close, beside the connections, and not whenever a connection is lost.
    fn is_dear(&self) -> bool {
        false
    }

    /// Redeems at once, where the rail can, what is lost if it is late: the vouchers of all orders whose payers have asked for
    /// the close. By default nothing: each of them is redeemed by itself.
    fn redeem_closing(&self) -> Reply<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Every order whose channel is not closed, with what its vouchers are still to bring (it may be nothing);
    /// what is in a hurry comes first. It rests on what the payee keeps durably and on a fresh look
    /// at the ledger, so it knows orders of an earlier life of the program too: who died before the channel of
    /// an order that was over could be closed finds it here. A rail without vouchers has none.
    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// Names a record on its ledger.
pub type RecordId = Bytes32;

/// A ledger that keeps statements.
pub trait Records: Send + Sync {
    /// Kind of records, from the registry of `spec/rails.md`.
    fn backend(&self) -> &'static str;

    /// Which one: the ledger's origin.
    fn origin(&self) -> String;

    /// Records a statement, whole or by its id. A known one gives the record it has already.
    fn append<'a>(&'a self, statement: &'a AnyStatement, form: Form) -> Reply<'a, RecordId>;

    /// The recorded bytes: the statement, or the 32 bytes of its id.
    fn fetch<'a>(&'a self, record: &'a RecordId) -> Reply<'a, Option<Vec<u8>>>;

    /// Whether this record holds this statement.
    fn verify<'a>(&'a self, record: &'a RecordId, statement: &'a AnyStatement) -> Reply<'a, bool>;
}

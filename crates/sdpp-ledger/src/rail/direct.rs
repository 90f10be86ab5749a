//! The rail `ledger-direct`: a transfer for every bill, named by its invoice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use minicbor::{Decode, Encode};
use sdpp_proto::codec::{self, Bytes32, StatementId};
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_rail::{
    Asked, Backing, Bill, Bills, CloseStatus, Funding, OpenRequest, Outcome, Payee, PayeeBook, Payer, PaymentStatus,
    Proof, RailError, Redeemed, Reply, Store,
};

use super::{BOOK, PayeeConfig, RAIL_DIRECT, account_of, payee_of};
use crate::client::LedgerClient;
use crate::entry::{Body, Entry, Transfer};
use crate::limits;
use crate::refusal::Place;

/// Where the transfer stands.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
struct DirectProof {
    #[n(1)]
    entry: StatementId,
    #[n(2)]
    index: u64,
}

fn proof_of(place: Place) -> Proof {
    Proof::Bytes(codec::encode(&DirectProof { entry: place.id, index: place.index }))
}

/// The reference of the transfer that pays an invoice.
const fn reference_of(invoice: &StatementId) -> Bytes32 {
    Bytes32(invoice.0)
}

/// Pays every bill by a transfer.
pub struct DirectPayer {
    client: Arc<LedgerClient>,
    key: SigningKey,
    bills: Mutex<Bills>,
    /// Invoices whose transfer was sent and not answered.
    in_doubt: Mutex<BTreeSet<StatementId>>,
}

impl DirectPayer {
    /// Pays from the account of this key, which is the buyer's identity: a payee credits only what
    /// came from whoever signed the order.
    pub fn new(client: Arc<LedgerClient>, key: SigningKey) -> Self {
        Self { client, key, bills: Mutex::new(Bills::default()), in_doubt: Mutex::new(BTreeSet::new()) }
    }

    async fn transfer(&self, bill: &Bill) -> Result<Proof, RailError> {
        if bill.channel.is_some() {
            return Err(RailError::Declined("the bill names a channel"));
        }
        let to = account_of(&bill.payee)?;
        let amount = bill.total.checked_sub(bill.before).filter(|amount| !amount.is_zero());
        let amount = amount.ok_or(RailError::Declined("the bill asks for nothing"))?;
        self.bills.lock().unwrap_or_else(PoisonError::into_inner).remember(bill)?;
        let transfer = Transfer { to, asset: bill.asset.clone(), amount, reference: reference_of(&bill.invoice) };
        let entry = Entry::sign(&self.key, self.client.origin(), Body::Transfer(transfer));
        if let Some(done) = self.done(&bill.invoice).await? {
            return if done.id == entry.id() {
                Ok(proof_of(done))
            } else {
                Err(RailError::Declined("the invoice was paid with other terms"))
            };
        }
        let answer = self.client.submit(&entry).await;
        let mut in_doubt = self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Err(RailError::Unknown) => in_doubt.insert(bill.invoice),
            // Nothing was sent this time; an earlier attempt may still be on its way.
            Err(RailError::Unavailable) => false,
            Ok(_) | Err(RailError::Declined(_) | RailError::Dishonest(_)) => in_doubt.remove(&bill.invoice),
        };
        answer.map(proof_of)
    }

    /// What the log says of an invoice.
    async fn done(&self, invoice: &StatementId) -> Result<Option<Place>, RailError> {
        let payer = self.key.public();
        self.client.fresh(|fold| fold.transfer_of(&payer, &reference_of(invoice))).await
    }

    /// What became of an invoice. One in doubt is sent again: the log takes one transfer per
    /// invoice, so that is the only question whose answer is certain.
    async fn find(&self, invoice: &StatementId) -> Result<PaymentStatus, RailError> {
        if let Some(done) = self.done(invoice).await? {
            return Ok(PaymentStatus::Paid(proof_of(done)));
        }
        let in_doubt = self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner).contains(invoice);
        let bill = self.bills.lock().unwrap_or_else(PoisonError::into_inner).get(invoice).cloned();
        let Some(bill) = bill.filter(|_| in_doubt) else { return Ok(PaymentStatus::NotPaid) };
        match self.transfer(&bill).await {
            Ok(proof) => Ok(PaymentStatus::Paid(proof)),
            Err(RailError::Declined(_)) => Ok(PaymentStatus::NotPaid),
            Err(error) => Err(error),
        }
    }
}

impl Payer for DirectPayer {
    fn moves_money(&self) -> bool {
        true
    }

    fn open<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Funding> {
        let payee = payee_of(&self.client, &request.option, RAIL_DIRECT);
        Box::pin(std::future::ready(payee.map(|_| Funding { channel: None, deposit: Amount::ZERO })))
    }

    fn pay<'a>(&'a self, bill: &'a Bill) -> Reply<'a, Proof> {
        Box::pin(self.transfer(bill))
    }

    fn status<'a>(&'a self, invoice: &'a StatementId) -> Reply<'a, PaymentStatus> {
        Box::pin(self.find(invoice))
    }

    fn close<'a>(&'a self, _: &'a Funding) -> Reply<'a, CloseStatus> {
        Box::pin(std::future::ready(Ok(CloseStatus::Closed)))
    }
}

/// Credits transfers that it finds in its own replica.
pub struct DirectPayee {
    client: Arc<LedgerClient>,
    config: PayeeConfig,
    book: PayeeBook,
}

impl DirectPayee {
    /// Takes payment into the account of the config's key. The store keeps what was settled.
    pub fn new(client: Arc<LedgerClient>, config: PayeeConfig, store: Box<dyn Store>) -> Self {
        Self { client, config, book: PayeeBook::new(store, BOOK) }
    }

    async fn credit(&self, bill: &Bill, payment: &Signed<Payment>) -> Result<Outcome, RailError> {
        self.config.compare(bill, payment)?;
        let Some(Asked { payer, amount }) = self.book.asked_of(bill, payment)? else { return Ok(Outcome::Settled) };
        match &payment.proof {
            None if amount.is_zero() => {}
            None => return Err(RailError::Declined("the payment has no proof")),
            Some(proof) => {
                let proof: DirectProof = codec::decode(proof, limits::PROOF_MAX)
                    .map_err(|_| RailError::Declined("the proof is not one of this rail"))?;
                let reference = reference_of(&bill.invoice);
                let look = self.client.fresh(|fold| Ok((fold.transfer_of(&payer, &reference)?, fold.size())));
                match look.await? {
                    (Some(done), _) => self.check(&done, &proof, (&payer, reference, amount))?,
                    (None, size) if proof.index >= size => return Ok(Outcome::Pending),
                    (None, _) => return Err(RailError::Declined("the proof is of no transfer for this invoice")),
                }
            }
        }
        self.book.settle(payment)?;
        Ok(Outcome::Settled)
    }

    /// The entry's id commits to payer, account, asset and amount.
    fn check(
        &self,
        done: &Place,
        proof: &DirectProof,
        (payer, reference, amount): (&PublicKey, Bytes32, Amount),
    ) -> Result<(), RailError> {
        if (done.id, done.index) != (proof.entry, proof.index) {
            return Err(RailError::Declined("the proof names another entry"));
        }
        let transfer = Transfer { to: self.config.account(), asset: self.config.asset.clone(), amount, reference };
        if Entry::id_of(payer, self.client.origin(), &Body::Transfer(transfer)) != done.id {
            return Err(RailError::Declined("the transfer paid another account, asset or amount"));
        }
        Ok(())
    }
}

impl Payee for DirectPayee {
    fn option(&self) -> PayOption {
        self.config.option(&self.client, false)
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        Box::pin(std::future::ready(self.book.admit_direct(order)))
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        Box::pin(self.credit(bill, payment))
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        Box::pin(std::future::ready(self.book.redeem_direct(order, finished)))
    }
}

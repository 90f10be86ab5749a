//! The seller's half: credits transactions that it has looked at itself.

use std::sync::Arc;

use iota_sdk_types::Address;
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_rail::{Asked, Backing, Bill, Outcome, Payee, PayeeBook, RailError, Redeemed, Reply, Store};

use crate::deed::{Deed, Window};
use crate::nodes::Nodes;
use crate::payer::TransferProof;
use crate::receipt::{NotDone, Receipt, verify};
use crate::record::Record;
use crate::terms::{IotaTerms, RAIL, asset};
use crate::witness::Committee;

/// What the book of a payee is kept under.
const BOOK: &str = "iota-payee";

/// What a payee takes, and under which terms.
pub struct PayeeConfig {
    /// Whose account is paid. No key is needed for that.
    pub account: Address,
    /// Time from an invoice to `default`, in milliseconds.
    pub pay_by_ms: u64,
    /// Who has to have signed the checkpoint of a payment; none: a node is believed.
    pub committee: Option<Arc<Committee>>,
}

/// Takes a transaction for each invoice.
pub struct IotaPayee {
    nodes: Arc<Nodes>,
    config: PayeeConfig,
    book: PayeeBook,
}

impl IotaPayee {
    /// Takes payment into the account of the config. The store keeps what was settled.
    pub fn new(nodes: Arc<Nodes>, config: PayeeConfig, store: Box<dyn Store>) -> Self {
        Self { nodes, config, book: PayeeBook::new(store, BOOK) }
    }

    async fn credit(&self, bill: &Bill, payment: &Signed<Payment>) -> Result<Outcome, RailError> {
        bill.check_answer(payment, &asset(self.nodes.chain()), &self.config.account.to_string())?;
        let Some(Asked { amount, .. }) = self.book.asked_of(bill, payment)? else { return Ok(Outcome::Settled) };
        match &payment.proof {
            None if amount.is_zero() => {}
            None => return Err(RailError::Declined("the payment has no proof")),
            Some(proof) => {
                if self.look(bill, amount, &TransferProof::decode(proof)?).await? == Outcome::Pending {
                    return Ok(Outcome::Pending);
                }
            }
        }
        self.book.settle(payment)?;
        Ok(Outcome::Settled)
    }

    /// Whether the transaction is there, is this payment, and is final, as one node at least can show. What a node makes of the
    /// right transaction says nothing of the payment.
    async fn look(&self, bill: &Bill, amount: Amount, proof: &TransferProof) -> Result<Outcome, RailError> {
        let amount = u64::try_from(amount.get()).map_err(|_| RailError::Declined("there is not so much IOTA"))?;
        let window = Window { payee: self.config.account, amount, record: Record::Paid(bill.invoice).encode() };
        let deed = Deed::Pay(window);
        let mut best: Option<Result<Outcome, RailError>> = None;
        for receipt in self.nodes.find_all(&proof.digest()).await? {
            let said = self.judge(&receipt, &deed, proof).await;
            if best.as_ref().is_none_or(|best| rank(&said) < rank(best)) {
                best = Some(said);
            }
        }
        best.unwrap_or(Ok(Outcome::Pending))
    }

    /// The same of what one node shows.
    async fn judge(&self, receipt: &Receipt, deed: &Deed, proof: &TransferProof) -> Result<Outcome, RailError> {
        let verdict = verify(receipt, proof.payer(), deed);
        match verdict {
            Ok(_) | Err(NotDone::Failed) => {}
            Err(NotDone::NoCheckpoint) => return Ok(Outcome::Pending),
            // None of these is in the digest: the node has changed it, or lies.
            Err(NotDone::Malformed | NotDone::OtherEffects | NotDone::Signature | NotDone::Signatures) => {
                return Err(RailError::Unavailable);
            }
            Err(_) => return Err(RailError::Declined("the transaction is not the payment of this invoice")),
        }
        if let Some(committee) = &self.config.committee {
            committee.confirm(&self.nodes, receipt, &proof.digest()).await?;
        }
        verdict.map(|_| Outcome::Settled).map_err(|_| RailError::Declined("the payment failed on the network"))
    }
}

/// Which word counts where nodes differ: what is shown to be paid, else what may still be, and a refusal last.
const fn rank(said: &Result<Outcome, RailError>) -> u8 {
    match said {
        Ok(Outcome::Settled) => 0,
        Ok(Outcome::Pending) => 1,
        Err(RailError::Unavailable | RailError::Unknown) => 2,
        Err(RailError::Declined(_)) => 3,
        Err(RailError::Dishonest(_)) => 4,
    }
}

impl Payee for IotaPayee {
    fn option(&self) -> PayOption {
        let chain = self.nodes.chain().to_owned();
        PayOption {
            id: 0,
            rail: RAIL.into(),
            asset: asset(&chain),
            address: self.config.account.to_string(),
            finality: 1,
            grace_min_ms: 0,
            pay_by_ms: self.config.pay_by_ms,
            channel: false,
            terms: IotaTerms { chain }.encode(),
        }
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

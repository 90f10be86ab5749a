//! The buyer's half: a transaction for each invoice.

use std::sync::{Arc, Mutex, PoisonError};

use iota_sdk_types::{Address, TransactionDigest};
use minicbor::{Decode, Encode};
use sdpp_proto::codec::{self, Bytes32, StatementId};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::PayOption;
use sdpp_rail::{Bill, Bills, CloseStatus, Funding, OpenRequest, Payer, PaymentStatus, Proof, RailError, Reply};

use crate::deed::{Deed, Window};
use crate::limits;
use crate::purse::{Purse, Spent};
use crate::record::Record;
use crate::terms::{IotaTerms, RAIL, address_of, asset};

/// The opaque proof of a payment: which transaction, and whose.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TransferProof {
    /// The transaction's digest.
    #[n(1)]
    pub digest: Bytes32,
    /// Who sent it: the buyer's signature of the payment covers this.
    #[n(2)]
    pub payer: Bytes32,
}

impl TransferProof {
    /// Reads it.
    ///
    /// # Errors
    /// [`RailError::Declined`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RailError> {
        codec::decode(bytes, limits::PROOF_BYTES_MAX)
            .map_err(|_| RailError::Declined("the proof is not one of this rail"))
    }

    /// The digest, as nodes name it.
    pub const fn digest(&self) -> TransactionDigest {
        TransactionDigest::new(self.digest.0)
    }

    /// The payer's address.
    pub const fn payer(&self) -> Address {
        Address::new(self.payer.0)
    }
}

/// Pays every bill by a transaction of its own.
pub struct IotaPayer {
    purse: Arc<Purse>,
    windows: u64,
    bills: Mutex<Bills>,
}

/// Under which name an invoice is paid.
fn name_of(invoice: &StatementId) -> String {
    format!("pay/{invoice}")
}

impl IotaPayer {
    /// Pays out of this purse; so many windows may be under way at once, each with a coin of its own.
    pub fn new(purse: Arc<Purse>, windows: u64) -> Self {
        Self { purse, windows, bills: Mutex::default() }
    }

    /// The purse.
    pub const fn purse(&self) -> &Arc<Purse> {
        &self.purse
    }

    /// The payee of an option that this payer can pay.
    fn read(&self, option: &PayOption) -> Result<Address, RailError> {
        if option.rail != RAIL || option.channel {
            return Err(RailError::Declined("the option is of another rail"));
        }
        let terms = IotaTerms::parse(&option.terms);
        let terms = terms.map_err(|_| RailError::Declined("the option's terms cannot be read"))?;
        if terms.chain != self.purse.nodes().chain() {
            return Err(RailError::Declined("the option is on another network"));
        }
        if asset(&terms.chain) != option.asset {
            return Err(RailError::Declined("the option's terms name another asset than the option"));
        }
        address_of(&option.address).ok_or(BAD_PAYEE)
    }

    async fn open_order(&self, request: &OpenRequest) -> Result<Funding, RailError> {
        let payee = self.read(&request.option)?;
        // What an earlier life has sent keeps its coins until its end is known.
        self.purse.resume().await;
        // What a payment takes: only a hint, for what cannot be estimated now may well be paid later.
        let record = Record::Paid(StatementId(request.reference.0)).encode();
        let _ = self.purse.estimate(&Deed::Pay(Window { payee, amount: 1, record })).await;
        if self.windows > 1 {
            let limit = u64::try_from(request.limit.get()).unwrap_or(u64::MAX);
            let each = limit.checked_div(self.windows).unwrap_or(limit);
            // Fewer coins only make it slower.
            if let Err(error) = self.purse.prepare(self.windows, each).await {
                tracing::warn!(%error, "coins could not be divided: windows are paid one after the other");
            }
        }
        Ok(Funding { channel: None, deposit: Amount::ZERO })
    }

    async fn transfer(&self, bill: &Bill) -> Result<Proof, RailError> {
        if bill.channel.is_some() {
            return Err(RailError::Declined("the bill names a channel"));
        }
        if bill.asset != asset(self.purse.nodes().chain()) {
            return Err(RailError::Declined("the bill is in another asset"));
        }
        let payee = address_of(&bill.payee).ok_or(BAD_PAYEE)?;
        let amount = bill.total.checked_sub(bill.before).filter(|amount| !amount.is_zero());
        let amount = amount.ok_or(RailError::Declined("the bill asks for nothing"))?;
        let amount = u64::try_from(amount.get()).map_err(|_| RailError::Declined("there is not so much IOTA"))?;
        self.bills.lock().unwrap_or_else(PoisonError::into_inner).remember(bill)?;
        let window = Window { payee, amount, record: Record::Paid(bill.invoice).encode() };
        match self.purse.spend(&name_of(&bill.invoice), &Deed::Pay(window)).await? {
            Spent::Done(digest) => Ok(self.proof_of(digest)),
            Spent::Void => Err(RailError::Unavailable),
            Spent::Failed => Err(RailError::Declined("a node says that the payment failed on the network")),
        }
    }

    fn proof_of(&self, digest: TransactionDigest) -> Proof {
        let proof = TransferProof { digest: Bytes32(digest.into()), payer: Bytes32(self.purse.address().into()) };
        Proof::Bytes(codec::encode(&proof))
    }

    async fn find(&self, invoice: &StatementId) -> Result<PaymentStatus, RailError> {
        match self.purse.look(&name_of(invoice)).await {
            Ok(None | Some(Spent::Void | Spent::Failed)) => Ok(PaymentStatus::NotPaid),
            Ok(Some(Spent::Done(digest))) => Ok(PaymentStatus::Paid(self.proof_of(digest))),
            Err(RailError::Unknown) => Ok(PaymentStatus::Pending),
            Err(error) => Err(error),
        }
    }
}

const BAD_PAYEE: RailError = RailError::Declined("the payee's address is not one of IOTA: 0x and 64 lower-case digits");

impl Payer for IotaPayer {
    fn moves_money(&self) -> bool {
        true
    }

    fn open<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Funding> {
        Box::pin(self.open_order(request))
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

//! A rail without a bank: what the fake one remembers of every payment would be measured as if it were a session's, and
//! seller and buyers may be in two processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sdpp::buyer::{self, Buyer};
use sdpp::seller;
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_rail::fake::{FakeBank, FakeMode, FakePayee, FakeWorld};
use sdpp_rail::{
    Backing, Bill, CloseStatus, Funding, OpenRequest, Outcome, Payee, Payer, PaymentStatus, Proof, RailError, Redeemed,
    Reply,
};

/// Where it pays to.
const ACCOUNT: &str = "seller";

/// What the fake rail offers, under whose name this one goes.
fn option() -> PayOption {
    FakePayee::new(&FakeBank::new(), ACCOUNT, FakeWorld::asset(), FakeMode::Voucher).option()
}

/// A seller of these settings that is paid by it.
pub(crate) fn selling(settings: seller::Settings) -> seller::Settings {
    seller::Settings { payees: vec![Arc::new(BelievingPayee::new(option()))], ..settings }
}

/// A buyer that pays by it.
pub(crate) fn buyer(key: SigningKey, journal: sdpp::journal::Journal, listener: buyer::Listener) -> Buyer {
    let settings = buyer::Settings::new(key, Arc::new(BelievingPayer), option().rail, journal);
    let reconnect = buyer::Reconnect { tries: Some(0), ..buyer::Reconnect::default() };
    Buyer::new(buyer::Settings { reconnect, listener, ..settings })
}

/// Locks nothing, and promises whatever it is asked for.
struct BelievingPayer;

impl Payer for BelievingPayer {
    fn moves_money(&self) -> bool {
        false
    }

    fn open<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Funding> {
        let funding = Funding { channel: Some(ChannelId(request.reference.0)), deposit: request.limit };
        Box::pin(std::future::ready(Ok(funding)))
    }

    fn pay<'a>(&'a self, _bill: &'a Bill) -> Reply<'a, Proof> {
        Box::pin(std::future::ready(Ok(Proof::Voucher)))
    }

    fn status<'a>(&'a self, _invoice: &'a StatementId) -> Reply<'a, PaymentStatus> {
        Box::pin(std::future::ready(Ok(PaymentStatus::NotPaid)))
    }

    fn close<'a>(&'a self, _funding: &'a Funding) -> Reply<'a, CloseStatus> {
        Box::pin(std::future::ready(Ok(CloseStatus::Closed)))
    }
}

/// What it believes to be locked for an order.
const DEPOSIT: Amount = Amount::new(1 << 60);

/// Takes every channel's word for its deposit. Vouchers are verified like anywhere else: their signer, their bill, and
/// that totals grow.
struct BelievingPayee {
    option: PayOption,
    orders: Mutex<HashMap<StatementId, (PublicKey, Amount)>>,
}

impl BelievingPayee {
    fn new(option: PayOption) -> Self {
        Self { option, orders: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StatementId, (PublicKey, Amount)>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, bill: &Bill, payment: &Signed<Payment>) -> Result<Outcome, RailError> {
        let (signer, before) =
            self.lock().get(&bill.order).copied().ok_or(RailError::Declined("the order was never admitted"))?;
        let answers = payment.order_id == bill.order
            && payment.invoice_id == bill.invoice
            && payment.total == bill.total
            && payment.channel == bill.channel;
        if !answers || bill.total < before || bill.total > DEPOSIT {
            return Err(RailError::Declined("the payment does not answer this bill"));
        }
        payment.verify(&signer).map_err(|_| RailError::Declined("not signed by the order's signer"))?;
        self.lock().insert(bill.order, (signer, bill.total));
        Ok(Outcome::Settled)
    }
}

impl Payee for BelievingPayee {
    fn option(&self) -> PayOption {
        self.option.clone()
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        self.lock().entry(order.id()).or_insert((order.sign_pk, Amount::ZERO));
        Box::pin(std::future::ready(Ok(Backing { deposit: Some(DEPOSIT) })))
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        Box::pin(async move { self.take(bill, payment) })
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        let mut orders = self.lock();
        let total = orders.get(order).map_or(Amount::ZERO, |(_, total)| *total);
        if finished {
            orders.remove(order);
        }
        Box::pin(std::future::ready(Ok(Redeemed { total })))
    }
}

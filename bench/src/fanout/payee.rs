//! A payee without a bank: seller and buyers are in two processes, and the fake bank is in the buyers'.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_rail::{Backing, Bill, Outcome, Payee, RailError, Redeemed, Reply};

/// What it believes to be locked for an order.
const DEPOSIT: Amount = Amount::new(1 << 60);

/// Takes every channel's word for its deposit. Vouchers are verified like anywhere else: their signer, their bill, and
/// that totals grow.
pub(super) struct Believing {
    option: PayOption,
    orders: Mutex<HashMap<StatementId, (PublicKey, Amount)>>,
}

impl Believing {
    pub(super) fn new(option: PayOption) -> Self {
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

impl Payee for Believing {
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

//! The fake seller's half.

use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};

use crate::rail::{Backing, Bill, Outcome, Outstanding, Payee, RailError, Redeemed, Reply};

use super::bank::{Admitted, Book, PayeeBook};
use super::{Call, FakeBank, FakeMode};

/// Name of the fake rail in menus.
const RAIL: &str = "fake";
/// Time from an invoice to `default` that the fake's option offers.
const PAY_BY_MS: u64 = 60_000;

/// A payee on a [`FakeBank`].
#[derive(Clone)]
pub struct FakePayee {
    bank: FakeBank,
    option: PayOption,
    mode: FakeMode,
}

impl FakePayee {
    /// Shortest grace of a channel that the fake takes.
    pub const GRACE_MIN_MS: u64 = 3_600_000;

    /// A payee that is paid in `asset` to this account.
    pub fn new(bank: &FakeBank, account: impl Into<String>, asset: AssetId, mode: FakeMode) -> Self {
        let channel = mode == FakeMode::Voucher;
        let option = PayOption {
            id: 0,
            rail: RAIL.to_owned(),
            asset,
            address: account.into(),
            finality: 0,
            grace_min_ms: if channel { Self::GRACE_MIN_MS } else { 0 },
            pay_by_ms: PAY_BY_MS,
            channel,
            terms: Vec::new(),
        };
        Self { bank: bank.clone(), option, mode }
    }

    fn mine<'a>(&self, book: &'a mut Book) -> &'a mut PayeeBook {
        book.payees.entry(self.option.address.clone()).or_default()
    }

    fn do_admit(&self, book: &mut Book, order: &Signed<Order>) -> Result<Backing, RailError> {
        let deposit = match self.mode {
            FakeMode::Direct if order.channel.is_some() => {
                return Err(RailError::Declined("this rail has no channels"));
            }
            FakeMode::Direct => None,
            FakeMode::Voucher => Some(self.look_at_channel(book, order)?),
        };
        let fresh = Admitted { channel: order.channel, signer: order.sign_pk, credited: Amount::ZERO };
        self.mine(book).orders.entry(order.id()).or_insert(fresh);
        Ok(Backing { deposit })
    }

    fn look_at_channel(&self, book: &mut Book, order: &Signed<Order>) -> Result<Amount, RailError> {
        let id = order.channel.ok_or(RailError::Declined("the order names no channel"))?;
        let channel = book.channels.get(&id).ok_or(RailError::Declined("no such channel"))?;
        let refusal = if channel.payee != self.option.address {
            Some("the channel is for another payee")
        } else if channel.asset != self.option.asset {
            Some("the channel holds another asset")
        } else if channel.signer != order.sign_pk {
            Some("the channel has another signer")
        } else if channel.grace_ms < self.option.grace_min_ms {
            Some("the channel's grace is too short")
        } else if !channel.is_open() {
            Some("the channel is closed or about to be")
        } else {
            None
        };
        if let Some(why) = refusal {
            return Err(RailError::Declined(why));
        }
        let deposit = channel.deposit;
        let others = self.mine(book).orders.iter().filter(|(order_id, _)| **order_id != order.id());
        if others.into_iter().any(|(_, admitted)| admitted.channel == Some(id)) {
            return Err(RailError::Declined("the channel serves another order"));
        }
        Ok(deposit)
    }

    fn do_settle(&self, book: &mut Book, bill: &Bill, payment: &Signed<Payment>) -> Result<Outcome, RailError> {
        let admitted = self.mine(book).orders.get(&bill.order).cloned();
        let admitted = admitted.ok_or(RailError::Declined("the order was never admitted"))?;
        self.compare(bill, payment, &admitted)?;
        if let Some(known) = self.mine(book).settled.get(&bill.invoice) {
            // As at the payer: a payee that lost what it had credited may come by another way to the same invoice.
            let before = if self.mode == FakeMode::Voucher { known.before } else { bill.before };
            let same = *known == Bill { before, messages: known.messages, ..bill.clone() };
            return if same { Ok(Outcome::Settled) } else { Err(RailError::Declined("one invoice, two bills")) };
        }
        if bill.total < admitted.credited && self.mode == FakeMode::Voucher {
            return Ok(Outcome::Settled);
        }
        if bill.total < admitted.credited {
            return Err(RailError::Declined("the total is below what is settled"));
        }
        let proof = match self.mode {
            FakeMode::Voucher => {
                check_voucher(book, bill)?;
                None
            }
            FakeMode::Direct => self.check_transfer(book, bill, payment)?,
        };
        let late = book.late;
        let mine = self.mine(book);
        let waits = mine.waits.entry(bill.invoice).or_insert(late);
        if let Some(left) = waits.checked_sub(1) {
            *waits = left;
            return Ok(Outcome::Pending);
        }
        if self.mode == FakeMode::Direct && bill.before > admitted.credited {
            // An earlier payment of this order is not settled yet: its total cannot count before it.
            return Ok(Outcome::Pending);
        }
        mine.waits.remove(&bill.invoice);
        mine.settled.insert(bill.invoice, bill.clone());
        mine.used.extend(proof.map(|proof| (proof, bill.invoice)));
        if let Some(admitted) = mine.orders.get_mut(&bill.order) {
            admitted.credited = bill.total;
        }
        Ok(Outcome::Settled)
    }

    /// Whether the payment answers this bill, this bill is for us, and the order's signer signed.
    fn compare(&self, bill: &Bill, payment: &Signed<Payment>, admitted: &Admitted) -> Result<(), RailError> {
        let for_us = bill.payee == self.option.address && bill.asset == self.option.asset;
        let answers = payment.order_id == bill.order
            && payment.invoice_id == bill.invoice
            && payment.total == bill.total
            && payment.channel == bill.channel;
        if !for_us || !answers || bill.channel != admitted.channel {
            return Err(RailError::Declined("the payment does not answer this bill"));
        }
        payment.verify(&admitted.signer).map_err(|_| RailError::Declined("not signed by the order's signer"))
    }

    /// Gives the proof that is used up, if money had to move.
    fn check_transfer(&self, book: &mut Book, bill: &Bill, payment: &Payment) -> Result<Option<Bytes32>, RailError> {
        if payment.proof.is_none() && bill.total == bill.before {
            return Ok(None);
        }
        let bytes = payment.proof.as_deref().and_then(|proof| <[u8; 32]>::try_from(proof).ok());
        let id = bytes.map(Bytes32).ok_or(RailError::Declined("no proof of a transfer"))?;
        let transfer = book.transfers.get(&id).ok_or(RailError::Declined("no such transfer"))?;
        let amount = bill.total.checked_sub(bill.before);
        let pays = transfer.payee == bill.payee
            && transfer.asset == bill.asset
            && transfer.order == bill.order
            && transfer.invoice == bill.invoice
            && Some(transfer.amount) == amount;
        if !pays {
            return Err(RailError::Declined("the transfer pays something else"));
        }
        if self.mine(book).used.contains_key(&id) {
            return Err(RailError::Declined("the proof was used before"));
        }
        Ok(Some(id))
    }

    fn do_redeem(&self, book: &mut Book, order: &StatementId, finished: bool) -> Result<Redeemed, RailError> {
        let admitted = self.mine(book).orders.get(order).cloned();
        let Some((id, credited)) = admitted.and_then(|admitted| Some((admitted.channel?, admitted.credited))) else {
            return Ok(Redeemed { total: Amount::ZERO });
        };
        let total = book.redeem(&id, credited)?;
        if finished {
            book.finish(&id)?;
        }
        Ok(Redeemed { total })
    }

    fn do_outstanding(&self, book: &mut Book) -> Vec<Outstanding> {
        let orders: Vec<_> =
            self.mine(book).orders.iter().map(|(order, one)| (*order, one.channel, one.credited)).collect();
        let mut found: Vec<Outstanding> = orders
            .into_iter()
            .filter_map(|(order, channel, credited)| {
                let channel = book.channels.get(&channel?).filter(|channel| !channel.closed)?;
                let amount = credited.min(channel.deposit).saturating_sub(channel.redeemed);
                let closing = channel.closes_at_ms.is_some();
                Some(Outstanding { order, amount, closing })
            })
            .collect();
        found.sort_by_key(|one| !one.closing);
        found
    }
}

/// Whether the deposit stands behind the total.
fn check_voucher(book: &Book, bill: &Bill) -> Result<(), RailError> {
    let channel = bill.channel.and_then(|id: ChannelId| book.channels.get(&id));
    let channel = channel.ok_or(RailError::Declined("no such channel"))?;
    if !channel.is_open() {
        return Err(RailError::Declined("the channel is closed or about to be"));
    }
    if bill.total > channel.deposit {
        return Err(RailError::Declined("more than the deposit"));
    }
    Ok(())
}

impl Payee for FakePayee {
    fn option(&self) -> PayOption {
        self.option.clone()
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        Box::pin(async move { self.bank.act(Call::Admit, |book| self.do_admit(book, order)) })
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        Box::pin(async move { self.bank.act(Call::Settle, |book| self.do_settle(book, bill, payment)) })
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        Box::pin(async move { self.bank.act(Call::Redeem, |book| self.do_redeem(book, order, finished)) })
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        Box::pin(async move { self.bank.act(Call::Outstanding, |book| Ok(self.do_outstanding(book))) })
    }
}

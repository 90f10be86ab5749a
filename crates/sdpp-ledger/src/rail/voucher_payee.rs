//! The seller's half of the rail `ledger`: vouchers are checked against the seller's own replica.

use std::sync::Arc;

use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_rail::{
    Admitted, Backing, Bill, NEVER_ADMITTED, Outcome, Outstanding, Payee, PayeeBook, RailError, Redeemed, Reply, Store,
};

use super::{BOOK, PayeeConfig, still_open};
use crate::channel::{Channel, ChannelState};
use crate::client::LedgerClient;
use crate::entry::{Body, Entry};

/// Takes vouchers and redeems the highest of each order.
pub struct VoucherPayee {
    client: Arc<LedgerClient>,
    config: PayeeConfig,
    book: PayeeBook,
}

impl VoucherPayee {
    /// Takes payment into the account of the config's key. The store keeps channels and vouchers;
    /// losing it is losing what was not redeemed.
    pub fn new(client: Arc<LedgerClient>, config: PayeeConfig, store: Box<dyn Store>) -> Self {
        Self { client, config, book: PayeeBook::new(store, BOOK) }
    }

    async fn channel(&self, id: &ChannelId) -> Result<Channel, RailError> {
        let channel = self.client.fresh(|fold| fold.channel(id)).await?;
        channel.ok_or(RailError::Declined("there is no such channel"))
    }

    async fn look_at(&self, order: &Signed<Order>) -> Result<Backing, RailError> {
        let id = order.channel.ok_or(RailError::Declined("the order names no channel"))?;
        let channel = self.channel(&id).await?;
        self.check(&channel, order)?;
        // Redeemed before this payee ever saw it: somebody holds vouchers of another order.
        if !channel.redeemed.is_zero() && !self.book.knows(&id)? {
            return Err(RailError::Declined("the channel has been used before"));
        }
        self.book.admit(&order.id(), &Admitted::of(order))?;
        Ok(Backing { deposit: Some(channel.deposit) })
    }

    fn check(&self, channel: &Channel, order: &Signed<Order>) -> Result<(), RailError> {
        if channel.payee != self.config.account() {
            return Err(RailError::Declined("the channel is for another payee"));
        }
        if channel.asset != self.config.asset {
            return Err(RailError::Declined("the channel holds another asset"));
        }
        // Else a stranger could name the buyer's channel in an order of its own, and so lock it.
        if channel.payer != order.issuer() {
            return Err(RailError::Declined("the channel is not the buyer's"));
        }
        if channel.signer != order.sign_pk {
            return Err(RailError::Declined("the channel has another signer than the order"));
        }
        if channel.deposit.is_zero() {
            return Err(RailError::Declined("nothing is locked in the channel"));
        }
        if channel.grace_ms < self.config.grace_min_ms {
            return Err(RailError::Declined("the channel's grace period is too short"));
        }
        still_open(channel)
    }

    async fn credit(&self, bill: &Bill, payment: &Signed<Payment>) -> Result<Outcome, RailError> {
        self.config.compare(bill, payment)?;
        if payment.proof.is_some() {
            return Err(RailError::Declined("a voucher carries no other proof"));
        }
        let state = self.book.order(&bill.order)?.ok_or(NEVER_ADMITTED)?;
        if state.judge(payment)? {
            return Ok(Outcome::Settled);
        }
        let id = state.admitted.channel.ok_or(RailError::Declined("the order names no channel"))?;
        let channel = self.channel(&id).await?;
        still_open(&channel)?;
        if payment.total > channel.deposit {
            return Err(RailError::Declined("the total is above the deposit"));
        }
        self.book.settle(payment)?;
        Ok(Outcome::Settled)
    }

    async fn cash(&self, order: &StatementId, finished: bool) -> Result<Redeemed, RailError> {
        let Some(state) = self.book.order(order)? else { return Ok(Redeemed { total: Amount::ZERO }) };
        let id = state.admitted.channel.ok_or(RailError::Declined("the order names no channel"))?;
        let mut channel = self.channel(&id).await?;
        if let Some(voucher) = state.best.filter(|voucher| voucher.total > channel.redeemed && is_alive(&channel)) {
            let total = voucher.total;
            let answer = self.enter(Body::Redeem { channel: id, voucher }).await;
            channel = self.known(&id).await?;
            // Somebody else may have redeemed the same voucher for us.
            if channel.redeemed < total {
                answer?;
            }
        }
        if finished && is_alive(&channel) {
            let answer = self.enter(Body::Close(id)).await;
            channel = self.known(&id).await?;
            if is_alive(&channel) {
                answer?;
            }
        }
        if finished {
            self.book.put_away(order);
        }
        Ok(Redeemed { total: channel.redeemed })
    }

    async fn unclosed(&self) -> Result<Vec<Outstanding>, RailError> {
        let served = self.book.served()?;
        let look = self.client.fresh(|fold| served.keys().map(|id| fold.channel(id)).collect::<Result<Vec<_>, _>>());
        let (mut found, mut closed) = (Vec::new(), Vec::new());
        for ((id, order), channel) in served.iter().zip(look.await?) {
            let Some(channel) = channel else { continue };
            if !is_alive(&channel) {
                closed.push(*id);
                continue;
            }
            let amount = self.book.total(order)?.saturating_sub(channel.redeemed);
            let closing = still_open(&channel).is_err();
            found.push(Outstanding { order: *order, amount, closing });
        }
        self.book.closed(&closed);
        found.sort_by_key(|one| !one.closing);
        Ok(found)
    }

    async fn known(&self, id: &ChannelId) -> Result<Channel, RailError> {
        let channel = self.client.look(|fold| fold.channel(id)).await?;
        channel.ok_or(RailError::Declined("there is no such channel"))
    }

    async fn enter(&self, body: Body) -> Result<(), RailError> {
        let entry = Entry::sign(&self.config.key, self.client.origin(), body);
        self.client.submit(&entry).await.map(|_| ())
    }
}

fn is_alive(channel: &Channel) -> bool {
    channel.state != ChannelState::Closed
}

impl Payee for VoucherPayee {
    fn option(&self) -> PayOption {
        self.config.option(&self.client, true)
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        Box::pin(self.look_at(order))
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        Box::pin(self.credit(bill, payment))
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        Box::pin(self.cash(order, finished))
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        Box::pin(self.unclosed())
    }
}

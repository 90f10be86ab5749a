//! The seller's half: looks at channels, takes vouchers, redeems them before a grace period ends.

use std::sync::Arc;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_rail::{
    Admitted, Backing, Bill, NEVER_ADMITTED, OrderState, Outcome, Outstanding, Payee, PayeeBook, RailError, Redeemed,
    Reply, Store,
};

use crate::abi::SdppChannels as c;
use crate::limits;
use crate::node::{Channel, ChannelState, Node};
use crate::payer::{grace_s, salt_of, still_open, token_of};
use crate::sender::{Call, Sender};
use crate::terms::{EvmTerms, RAIL, asset};
use crate::views::Views;
use crate::voucher::{Claim, VoucherProof};
use crate::watch::Watch;

mod many;
mod signed;

pub use many::RedeemedAll;

/// What the book of a payee is kept under.
const BOOK: &str = "evm-payee";

/// What a payee takes, and under which terms.
pub struct PayeeConfig {
    /// Whose account is paid; it also sends redemptions.
    pub account: PrivateKeySigner,
    /// The token; none for the native coin.
    pub token: Option<Address>,
    /// Shortest grace period of a channel, in milliseconds.
    pub grace_min_ms: u64,
    /// Time from an invoice to `default`, in milliseconds.
    pub pay_by_ms: u64,
}

impl PayeeConfig {
    /// The usual terms: a grace period of two hours, and a minute to pay.
    pub const fn new(account: PrivateKeySigner, token: Option<Address>) -> Self {
        Self { account, token, grace_min_ms: limits::GRACE_MIN_MS, pay_by_ms: limits::PAY_BY_MS }
    }
}

/// Takes vouchers and redeems the highest of each order.
pub struct EvmPayee {
    node: Arc<Node>,
    sender: Sender,
    account: PrivateKeySigner,
    token: Option<Address>,
    grace_min_ms: u64,
    pay_by_ms: u64,
    views: Arc<Views>,
    watch: Watch,
    book: PayeeBook,
}

impl EvmPayee {
    /// Takes payment into the account of the config's key. The store keeps channels and vouchers; losing it is losing what
    /// was not redeemed.
    pub fn new(node: Arc<Node>, config: PayeeConfig, store: Box<dyn Store>) -> Self {
        let PayeeConfig { account, token, grace_min_ms, pay_by_ms } = config;
        let (sender, views) = (Sender::new(node.clone(), account.clone()), Arc::new(Views::new(node.clone())));
        let watch = Watch::new(node.clone(), views.clone());
        Self { node, sender, account, token, grace_min_ms, pay_by_ms, views, watch, book: PayeeBook::new(store, BOOK) }
    }

    /// There is a new block, by any other source than this rail's own looks: channels are looked at again.
    pub fn look_again(&self) {
        self.views.look_again();
    }

    /// The account.
    pub const fn account(&self) -> Address {
        self.sender.account()
    }

    async fn look_at(&self, order: &Signed<Order>) -> Result<Backing, RailError> {
        let id = order.channel.ok_or(RailError::Declined("the order names no channel"))?;
        self.watch.keep_on();
        let newest = self.views.look(&id).await?;
        still_open(&newest)?;
        // What is not so deep yet may be dropped by a reorganisation; it comes to be so deep.
        let channel = self.node.channel_below(&id, self.node.finality()).await?;
        if channel.state == ChannelState::Unused {
            return Err(RailError::Unavailable);
        }
        self.check(&id, &channel, order)?;
        // Redeemed before this payee ever saw it: somebody holds vouchers of another order.
        if !newest.redeemed.is_zero() && !self.book.knows(&id)? {
            return Err(RailError::Declined("the channel has been used before"));
        }
        self.book.admit(&order.id(), &Admitted::of(order))?;
        Ok(Backing { deposit: Some(channel.deposit) })
    }

    fn check(&self, id: &ChannelId, channel: &Channel, order: &Signed<Order>) -> Result<(), RailError> {
        still_open(channel)?;
        if channel.payee != self.account() {
            return Err(RailError::Declined("the channel is for another payee"));
        }
        if token_of(channel) != self.token {
            return Err(RailError::Declined("the channel holds another asset"));
        }
        if channel.deposit.is_zero() {
            return Err(RailError::Declined("nothing is locked in the channel"));
        }
        if channel.grace_s < grace_s(self.grace_min_ms)? {
            return Err(RailError::Declined("the channel's grace period is too short"));
        }
        // Else a stranger could name the buyer's channel in an order of its own, and so lock it.
        let terms = c::Terms {
            payer: channel.payer,
            payee: channel.payee,
            token: channel.token,
            signer: channel.signer,
            grace: channel.grace_s,
            salt: salt_of(&order.nonce, &order.sign_pk, &order.seller),
        };
        if self.node.place().channel_id(&terms).0 != id.0 {
            return Err(RailError::Declined("the channel was opened for another order"));
        }
        Ok(())
    }

    fn address(&self) -> String {
        self.account().to_checksum(None)
    }

    async fn credit(&self, bill: &Bill, payment: &Signed<Payment>) -> Result<Outcome, RailError> {
        bill.check_answer(payment, &asset(self.node.place().chain, self.token), &self.address())?;
        let (claim, proof) = claim_of(payment)?;
        if bill.messages.is_some_and(|messages| messages != claim.messages) {
            return Err(RailError::Declined("the voucher is for another number of messages"));
        }
        let state = self.book.order(&bill.order)?.ok_or(NEVER_ADMITTED)?;
        if state.judge(payment)? {
            return Ok(Outcome::Settled);
        }
        self.watch.keep_on();
        let mut channel = self.views.recent(&claim.channel).await?;
        if payment.total > channel.deposit {
            // Topped up a moment ago, perhaps.
            channel = self.views.look(&claim.channel).await?;
        }
        still_open(&channel)?;
        if payment.total > channel.deposit {
            return Err(RailError::Declined("the total is above the deposit"));
        }
        if !claim.is_signed(&self.node.place(), &channel.signer, &proof) {
            return Err(RailError::Declined("the voucher is not signed by the channel's signer"));
        }
        self.book.settle(payment)?;
        Ok(Outcome::Settled)
    }

    async fn cash(&self, order: &StatementId, finished: bool) -> Result<Redeemed, RailError> {
        let Some(state) = self.book.order(order)? else { return Ok(Redeemed { total: Amount::ZERO }) };
        let id = state.admitted.channel.ok_or(RailError::Declined("the order names no channel"))?;
        let mut channel = self.views.look(&id).await?;
        if is_alive(&channel)
            && let Some(call) = redemption(&id, &channel, &state, finished)?
        {
            let answer = self.sender.send(Call::new(self.node.place().contract, call, U256::ZERO)).await;
            channel = self.views.look(&id).await?;
            // Somebody else may have redeemed the same voucher for us, or closed the channel.
            if channel.redeemed < state.total() || (finished && is_alive(&channel)) {
                answer?;
            }
        }
        if finished {
            self.views.forget(&id);
            self.book.put_away(order);
        }
        Ok(Redeemed { total: channel.redeemed })
    }

    /// Whether a closed channel stays closed.
    async fn is_final(&self, id: &ChannelId) -> Result<bool, RailError> {
        Ok(self.node.channel_below(id, self.node.finality()).await?.state == ChannelState::Closed)
    }

    async fn unclosed(&self) -> Result<Vec<Outstanding>, RailError> {
        let (mut found, mut closed) = (Vec::new(), Vec::new());
        let served = self.book.served()?;
        let follows = !served.is_empty() && self.watch.follow().await.is_ok();
        for (id, order) in served {
            // Whoever cannot follow the chain looks at each.
            let channel = if follows { self.views.recent(&id).await? } else { self.views.look(&id).await? };
            match channel.state {
                // Until the close is final a reorganisation may drop it, and what was redeemed with it.
                ChannelState::Closed if self.is_final(&id).await? => closed.push(id),
                ChannelState::Closed => {}
                // Dropped by a reorganisation.
                ChannelState::Unused => {}
                ChannelState::Open | ChannelState::Closing(_) => {
                    let amount = self.book.total(&order)?.saturating_sub(channel.redeemed);
                    let closing = channel.state != ChannelState::Open;
                    found.push(Outstanding { order, amount, closing });
                }
            }
        }
        self.book.closed(&closed);
        found.sort_by_key(|one| !one.closing);
        Ok(found)
    }
}

/// What a payment's voucher claims.
fn claim_of(payment: &Payment) -> Result<(Claim, VoucherProof), RailError> {
    let channel = payment.channel.ok_or(RailError::Declined("the payment names no channel"))?;
    let proof = payment.proof.as_deref().and_then(VoucherProof::parse);
    let proof = proof.ok_or(RailError::Declined("the payment carries no voucher"))?;
    let (total, messages, invoice) = (payment.total, proof.messages, payment.invoice_id);
    Ok((Claim { channel, total, messages, invoice }, proof))
}

/// The call that turns the best voucher into money, and closes the channel of an order that is over.
fn redemption(
    id: &ChannelId,
    channel: &Channel,
    state: &OrderState,
    finished: bool,
) -> Result<Option<Bytes>, RailError> {
    // What was redeemed a moment ago may be dropped by a reorganisation, and the close not: it brings all once more, of which the
    // contract takes what is new.
    let brings = |best: &Signed<Payment>| best.total > channel.redeemed || (finished && !best.total.is_zero());
    let best = state.best.as_ref().filter(|best| brings(best));
    let voucher = best.map(|best| claim_of(best).map(|(claim, proof)| claim.call(&proof))).transpose()?;
    Ok(match (voucher, finished) {
        (Some(last), true) => Some(c::closeCall { last }.abi_encode().into()),
        (Some(voucher), false) => Some(c::redeemCall { voucher }.abi_encode().into()),
        (None, true) => {
            let last = c::Voucher { channelId: B256::new(id.0), ..c::Voucher::default() };
            Some(c::closeCall { last }.abi_encode().into())
        }
        (None, false) => None,
    })
}

fn is_alive(channel: &Channel) -> bool {
    matches!(channel.state, ChannelState::Open | ChannelState::Closing(_))
}

impl Payee for EvmPayee {
    fn option(&self) -> PayOption {
        let place = self.node.place();
        PayOption {
            id: 0,
            rail: RAIL.to_owned(),
            asset: asset(place.chain, self.token),
            address: self.address(),
            finality: self.node.finality(),
            grace_min_ms: self.grace_min_ms,
            pay_by_ms: self.pay_by_ms,
            channel: true,
            terms: EvmTerms::new(place, self.token).encode(),
        }
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

    fn is_dear(&self) -> bool {
        true
    }

    fn redeem_closing(&self) -> Reply<'_, ()> {
        Box::pin(async move { Self::redeem_closing(self).await.map(drop) })
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        Box::pin(self.unclosed())
    }
}

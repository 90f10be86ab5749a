//! The buyer's half: opens a channel for an order, signs vouchers, has the rest back.

use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::PayOption;
use sdpp_rail::{Bill, Bills, CloseStatus, Funding, OpenRequest, Payer, PaymentStatus, Proof, RailError, Reply};
use tokio::time::{Instant, sleep};

use crate::abi::{Erc20, SdppChannels as c};
use crate::limits;
use crate::node::{Channel, ChannelState, Node};
use crate::relay::{Relay, Relayed};
use crate::sender::{Call, Sender};
use crate::terms::{EvmTerms, RAIL, address_of};
use crate::views::Views;
use crate::voucher::Claim;

mod signed;

pub use signed::Consent;

/// Keys of a payer.
pub struct PayerKeys {
    /// Whose money it is: signs transactions.
    pub account: PrivateKeySigner,
    /// Signs vouchers: a key that has no money, and can be where the program is.
    pub vouchers: PrivateKeySigner,
}

/// Pays by vouchers against a deposit locked for one order.
pub struct EvmPayer {
    node: Arc<Node>,
    sender: Sender,
    relay: Option<Arc<dyn Relay>>,
    account: PrivateKeySigner,
    vouchers: PrivateKeySigner,
    views: Views,
    bills: Mutex<Bills>,
}

/// What makes the id of an order's channel the order's own: a stranger cannot name it in an order with another key, and it
/// pays no other seller, also where two of them share an account.
pub(crate) fn salt_of(reference: &Bytes32, sign_pk: &PublicKey, seller: &PublicKey) -> B256 {
    keccak256([b"SDPP/2 evm channel".as_slice(), &reference.0, sign_pk.as_bytes(), seller.as_bytes()].concat())
}

/// Grace periods are seconds on the chain; a part of one counts as a whole one.
pub(crate) fn grace_s(ms: u64) -> Result<u32, RailError> {
    u32::try_from(ms.div_ceil(1000)).map_err(|_| RailError::Declined("the grace period is too long"))
}

impl EvmPayer {
    /// Pays from the account of these keys.
    pub fn new(node: Arc<Node>, keys: PayerKeys) -> Self {
        let PayerKeys { account, vouchers } = keys;
        let sender = Sender::new(node.clone(), account.clone());
        let views = Views::new(node.clone());
        Self { node, sender, relay: None, account, vouchers, views, bills: Mutex::default() }
    }

    /// The same for an account without coins for gas: it signs, and all its calls are sent by another one. Tokens only.
    #[must_use]
    pub fn relayed_by(mut self, relay: Arc<dyn Relay>) -> Self {
        self.relay = Some(relay);
        self
    }

    /// There is a new block, by any other source than this rail's own looks: channels are looked at again.
    pub fn look_again(&self) {
        self.views.look_again();
    }

    /// The account.
    pub const fn account(&self) -> Address {
        self.sender.account()
    }

    /// The channel that a request opens.
    fn terms_of(&self, request: &OpenRequest) -> Result<c::Terms, RailError> {
        let (token, payee) = self.read(&request.option)?;
        Ok(c::Terms {
            payer: self.account(),
            payee,
            token: token.unwrap_or_default(),
            signer: self.vouchers.address(),
            grace: grace_s(request.option.grace_min_ms)?,
            salt: salt_of(&request.reference, &request.signer, &request.seller),
        })
    }

    /// The token and the payee of an option that this payer can pay.
    fn read(&self, option: &PayOption) -> Result<(Option<Address>, Address), RailError> {
        if option.rail != RAIL || !option.channel {
            return Err(RailError::Declined("the option is of another rail"));
        }
        let terms = EvmTerms::parse(&option.terms);
        let terms = terms.map_err(|_| RailError::Declined("the option's terms cannot be read"))?;
        if terms.place() != self.node.place() {
            return Err(RailError::Declined("the option is on another chain, or in another contract"));
        }
        if terms.asset() != option.asset {
            return Err(RailError::Declined("the option's terms name another asset than the option"));
        }
        let payee = address_of(&option.address);
        let payee = payee.ok_or(RailError::Declined("the payee's address is not one with the checksum of EIP-55"))?;
        Ok((terms.token(), payee))
    }

    async fn open_channel(&self, request: &OpenRequest) -> Result<Funding, RailError> {
        let terms = self.terms_of(request)?;
        let id = ChannelId(self.node.place().channel_id(&terms).0);
        if self.views.look(&id).await?.state == ChannelState::Unused {
            self.deposit(terms.clone(), request.limit).await?;
        }
        let finality = self.node.finality().max(request.option.finality);
        self.await_final((&id, &terms), request.limit, finality).await
    }

    /// Locks the deposit, by whoever sends this payer's calls.
    async fn deposit(&self, terms: c::Terms, amount: Amount) -> Result<(), RailError> {
        let id = ChannelId(self.node.place().channel_id(&terms).0);
        let answer = match &self.relay {
            // All of it comes from the account: what is left in the contract is not moved by a signature.
            Some(relay) => match self.sign_open_of(&terms, U256::from(amount.get())).await {
                Ok(signed) => relay.relay(&signed).await,
                Err(error) => Err(error),
            },
            None => self.deposit_itself(terms, amount).await,
        };
        // Sent by an earlier life of the program, and mined meanwhile.
        if answer.is_err() && self.views.look(&id).await?.state != ChannelState::Unused {
            return Ok(());
        }
        answer
    }

    /// First what is left in the contract of channels before.
    async fn deposit_itself(&self, terms: c::Terms, deposit: Amount) -> Result<(), RailError> {
        let (amount, kept) = (U256::from(deposit.get()), self.kept_of(terms.token, deposit).await?);
        if !terms.token.is_zero() && kept.is_zero() && self.deposit_by_permit(&terms, amount).await? {
            return Ok(());
        }
        let value = self.make_up(terms.token, amount.saturating_sub(kept)).await?;
        self.call(&c::openCall { terms, amount, fromBalance: kept }, value).await
    }

    /// Opens with one transaction where the token takes signatures (ERC-2612); false where it does not.
    async fn deposit_by_permit(&self, terms: &c::Terms, amount: U256) -> Result<bool, RailError> {
        let erc20 = Erc20::new(terms.token, self.node.provider().clone());
        let spender = self.node.place().contract;
        let allowed = erc20.allowance(self.account(), spender).call().await.map_err(|_| RailError::Unavailable)?;
        if allowed >= amount {
            return Ok(false);
        }
        // The payer sends it itself: that is its consent.
        let opened = match self.permit_of(terms, amount).await {
            Ok(open) => self.call(&open, U256::ZERO).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(()) => Ok(true),
            // A token that has not these calls, or means something else by them; or opened meanwhile, which the next look tells.
            Err(RailError::Declined(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is left in the contract of channels before, up to this.
    async fn kept_of(&self, token: Address, amount: Amount) -> Result<U256, RailError> {
        let kept = self.node.balance(token, self.account()).await?;
        Ok(U256::from(kept.min(amount).get()))
    }

    /// Lets the contract have the rest of a deposit; how much of it to send along.
    async fn make_up(&self, token: Address, rest: U256) -> Result<U256, RailError> {
        if token.is_zero() {
            return Ok(rest);
        }
        if !rest.is_zero() {
            self.allow(token, rest).await?;
        }
        Ok(U256::ZERO)
    }

    /// Lets the contract take so much of a token.
    async fn allow(&self, token: Address, amount: U256) -> Result<(), RailError> {
        let spender = self.node.place().contract;
        let erc20 = Erc20::new(token, self.node.provider().clone());
        let allowed = erc20.allowance(self.account(), spender).call().await.map_err(|_| RailError::Unavailable)?;
        if allowed >= amount {
            return Ok(());
        }
        let call = Erc20::approveCall { spender, amount };
        self.sender.send(Call::new(token, call.abi_encode().into(), U256::ZERO)).await.map(|_| ())
    }

    /// Waits until the open is so deep that the payee takes it: until then a reorganisation may drop it.
    /// One that was dropped is opened again: its id is used once, so it is never opened twice.
    async fn await_final(
        &self,
        (id, terms): (&ChannelId, &c::Terms),
        deposit: Amount,
        depth: u32,
    ) -> Result<Funding, RailError> {
        let give_up = Instant::now().checked_add(limits::FINAL_TIMEOUT);
        let mut gone = 0;
        loop {
            let channel = match self.node.channel_below(id, depth).await {
                // One answer that fails does not end the wait: what was locked is locked.
                Err(RailError::Unavailable) if give_up.is_some_and(|give_up| Instant::now() < give_up) => {
                    sleep(limits::LOOK_EVERY).await;
                    continue;
                }
                answer => answer?,
            };
            match channel.state {
                ChannelState::Open if channel.deposit >= deposit => {
                    return Ok(Funding { channel: Some(*id), deposit: channel.deposit });
                }
                ChannelState::Open => {
                    return Err(RailError::Declined(
                        "the channel's deposit is below the order's limit: does its token keep a fee?",
                    ));
                }
                ChannelState::Closing(_) | ChannelState::Closed => {
                    return Err(RailError::Declined("the channel of this order was closed before"));
                }
                ChannelState::Unused if give_up.is_none_or(|give_up| Instant::now() >= give_up) => {
                    return Err(RailError::Unknown);
                }
                ChannelState::Unused => {
                    sleep(limits::LOOK_EVERY).await;
                    let is_gone = self.views.look(id).await?.state == ChannelState::Unused;
                    gone = if is_gone { u32::saturating_add(gone, 1) } else { 0 };
                    // Of several nodes behind one address one may be late.
                    if gone >= limits::LOOKS_WHEN_GONE {
                        tracing::warn!(channel = %id, "the opening of a channel is gone from the chain: it is opened again");
                        self.deposit(terms.clone(), deposit).await?;
                        gone = 0;
                    }
                }
            }
        }
    }

    async fn find(&self, request: &OpenRequest) -> Result<Option<Funding>, RailError> {
        let terms = self.terms_of(request)?;
        let id = ChannelId(self.node.place().channel_id(&terms).0);
        Ok(match self.views.look(&id).await? {
            Channel { state: ChannelState::Unused, .. } => None,
            channel => Some(Funding { channel: Some(id), deposit: channel.deposit }),
        })
    }

    async fn sign_off(&self, bill: &Bill) -> Result<Proof, RailError> {
        let id = bill.channel.ok_or(RailError::Declined("the bill names no channel"))?;
        let payee = address_of(&bill.payee);
        let payee = payee.ok_or(RailError::Declined("the payee's address is not one with the checksum of EIP-55"))?;
        let messages = bill.messages.ok_or(RailError::Declined("the bill does not say for how many messages it is"))?;
        if bill.total < bill.before {
            return Err(RailError::Declined("the bill's total is below the one before"));
        }
        // A voucher is worth its total, whatever was paid before.
        let bill = &Bill { before: Amount::ZERO, ..bill.clone() };
        if !self.bills.lock().unwrap_or_else(PoisonError::into_inner).compare(bill)? {
            // Whose it is never changes, and who else would ask for the close? So no payment waits for the node.
            let mut channel = self.views.known(&id).await?;
            if bill.total > channel.deposit {
                // Topped up a moment ago, perhaps.
                channel = self.views.look(&id).await?;
            }
            self.check(&channel, bill, payee)?;
            self.bills.lock().unwrap_or_else(PoisonError::into_inner).remember(bill)?;
        }
        let claim = Claim { channel: id, total: bill.total, messages, invoice: bill.invoice };
        let proof = claim.sign(&self.node.place(), &self.vouchers);
        proof.map(|proof| proof.encode()).map_err(|_| RailError::Declined("the voucher cannot be signed"))
    }

    fn check(&self, channel: &Channel, bill: &Bill, payee: Address) -> Result<(), RailError> {
        still_open(channel)?;
        let asset = crate::terms::asset(self.node.place().chain, token_of(channel));
        if channel.payer != self.account() || channel.payee != payee || asset != bill.asset {
            return Err(RailError::Declined("the channel is not for this payee and asset"));
        }
        if channel.signer != self.vouchers.address() {
            return Err(RailError::Declined("the channel's vouchers are signed by another key"));
        }
        if bill.total > channel.deposit {
            return Err(RailError::Declined("the total is above the deposit"));
        }
        Ok(())
    }

    /// Asks for the close, and finishes it where the grace period is over.
    async fn give_up(&self, id: &ChannelId) -> Result<CloseStatus, RailError> {
        let channel = self.views.look(id).await?;
        let id32 = B256::new(id.0);
        let done = match channel.state {
            ChannelState::Unused => Err(RailError::Declined("there is no such channel")),
            ChannelState::Closed => return self.how_closed(id).await,
            ChannelState::Open => match &self.relay {
                Some(relay) => relay.relay(&self.sign_request_close(id)?).await,
                None => self.call(&c::requestCloseCall { id: id32 }, U256::ZERO).await,
            },
            ChannelState::Closing(at) if self.node.now().await? < at => Ok(()),
            ChannelState::Closing(_) => self.call_by_anybody(&c::finishCloseCall { id: id32 }).await,
        };
        match done {
            Ok(()) => self.how_closed(id).await,
            // The payee closed it meanwhile.
            Err(_) if self.views.look(id).await?.state == ChannelState::Closed => self.how_closed(id).await,
            Err(error) => Err(error),
        }
    }

    /// A close that a reorganisation may still drop is none.
    async fn how_closed(&self, id: &ChannelId) -> Result<CloseStatus, RailError> {
        let below = self.node.channel_below(id, self.node.finality()).await?;
        Ok(if below.state == ChannelState::Closed { CloseStatus::Closed } else { CloseStatus::Pending })
    }

    /// Adds to a channel's deposit: first what is left in the contract of channels before.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn top_up(&self, id: &ChannelId, more: Amount) -> Result<(), RailError> {
        let channel = self.views.look(id).await?;
        still_open(&channel)?;
        let (amount, kept) = (U256::from(more.get()), self.kept_of(channel.token, more).await?);
        let value = self.make_up(channel.token, amount.saturating_sub(kept)).await?;
        self.call(&c::topUpCall { id: B256::new(id.0), amount, fromBalance: kept }, value).await
    }

    /// Finishes the close of those channels whose grace period is over; how many that were.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn finish(&self, channels: impl IntoIterator<Item = ChannelId>) -> Result<u64, RailError> {
        let (now, mut finished) = (self.node.now().await?, 0u64);
        for id in channels {
            if matches!(self.views.look(&id).await?.state, ChannelState::Closing(at) if at <= now) {
                self.give_up(&id).await?;
                finished = finished.saturating_add(1);
            }
        }
        Ok(finished)
    }

    /// Takes what channels have left back out of the contract.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn withdraw(&self, token: Option<Address>) -> Result<Amount, RailError> {
        let (token, account) = (token.unwrap_or_default(), self.account());
        let balance = self.node.balance(token, account).await?;
        if !balance.is_zero() {
            self.call_by_anybody(&c::withdrawCall { token, account }).await?;
        }
        Ok(balance)
    }

    /// A call that does the same whoever makes it.
    async fn call_by_anybody(&self, call: &impl SolCall) -> Result<(), RailError> {
        match &self.relay {
            Some(relay) => relay.relay(&Relayed::of(call)).await,
            None => self.call(call, U256::ZERO).await,
        }
    }

    async fn call(&self, call: &impl SolCall, value: U256) -> Result<(), RailError> {
        let to = self.node.place().contract;
        self.sender.send(Call::new(to, call.abi_encode().into(), value)).await.map(|_| ())
    }
}

/// The token of a channel.
pub(crate) fn token_of(channel: &Channel) -> Option<Address> {
    Some(channel.token).filter(|token| !token.is_zero())
}

/// No new voucher once a close is pending, on either side.
pub(crate) fn still_open(channel: &Channel) -> Result<(), RailError> {
    match channel.state {
        ChannelState::Open => Ok(()),
        ChannelState::Unused => Err(RailError::Declined("there is no such channel")),
        ChannelState::Closing(_) => Err(RailError::Declined("the channel is about to be closed")),
        ChannelState::Closed => Err(RailError::Declined("the channel is closed")),
    }
}

impl Payer for EvmPayer {
    fn moves_money(&self) -> bool {
        false
    }

    fn open<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Funding> {
        Box::pin(self.open_channel(request))
    }

    fn opened<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Option<Funding>> {
        Box::pin(self.find(request))
    }

    fn pay<'a>(&'a self, bill: &'a Bill) -> Reply<'a, Proof> {
        Box::pin(self.sign_off(bill))
    }

    fn status<'a>(&'a self, invoice: &'a StatementId) -> Reply<'a, PaymentStatus> {
        let known = self.bills.lock().unwrap_or_else(PoisonError::into_inner).get(invoice).cloned();
        Box::pin(async move {
            match known {
                // A signature: making it again moves nothing.
                Some(bill) => self.sign_off(&bill).await.map(PaymentStatus::Paid),
                None => Ok(PaymentStatus::NotPaid),
            }
        })
    }

    fn close<'a>(&'a self, funding: &'a Funding) -> Reply<'a, CloseStatus> {
        Box::pin(async move {
            match &funding.channel {
                Some(id) => self.give_up(id).await,
                None => Ok(CloseStatus::Closed),
            }
        })
    }
}

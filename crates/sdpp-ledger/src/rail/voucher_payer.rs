//! The buyer's half of the rail `ledger`: the signed payment is the voucher.

use std::sync::{Arc, Mutex, PoisonError};

use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::Amount;
use sdpp_rail::{Bill, Bills, CloseStatus, Funding, OpenRequest, Payer, PaymentStatus, Proof, RailError, Reply};

use super::{RAIL_VOUCHER, account_of, payee_of, still_open};
use crate::channel::{Channel, ChannelState};
use crate::client::LedgerClient;
use crate::entry::{Body, Entry, Open, channel_id};

/// Pays by vouchers against a deposit locked for one order.
pub struct VoucherPayer {
    client: Arc<LedgerClient>,
    key: SigningKey,
    bills: Mutex<Bills>,
}

impl VoucherPayer {
    /// Pays from the account of this key, which is the buyer's identity: a payee admits only a
    /// channel of whoever signed the order.
    pub fn new(client: Arc<LedgerClient>, key: SigningKey) -> Self {
        Self { client, key, bills: Mutex::new(Bills::default()) }
    }

    /// Adds to the deposit of a channel. Once per `reference`.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn top_up(&self, top_up: crate::entry::TopUp) -> Result<(), RailError> {
        self.enter(Body::TopUp(top_up)).await
    }

    /// Closes all channels of this account whose grace period is over, so that what is left comes
    /// back. To be called now and then; says how many are still waiting.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn tend(&self) -> Result<usize, RailError> {
        let payer = self.key.public();
        let closing = self.client.fresh(|fold| {
            let channels = fold.channels_of(&payer)?.into_iter();
            Ok(channels.filter(|(_, channel)| is_closing(channel)).map(|(id, _)| id).collect::<Vec<_>>())
        });
        let mut waiting = 0usize;
        for channel in closing.await? {
            match self.enter(Body::Close(channel)).await {
                Ok(()) => {}
                Err(RailError::Declined(_)) => waiting = waiting.saturating_add(1),
                Err(error) => return Err(error),
            }
        }
        Ok(waiting)
    }

    /// A channel as the ledger tells it now.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn channel(&self, id: &ChannelId) -> Result<Option<Channel>, RailError> {
        self.client.fresh(|fold| fold.channel(id)).await
    }

    async fn enter(&self, body: Body) -> Result<(), RailError> {
        let entry = Entry::sign(&self.key, self.client.origin(), body);
        self.client.submit(&entry).await.map(|_| ())
    }

    /// The channel that a request opens.
    fn channel_of(&self, request: &OpenRequest) -> ChannelId {
        channel_id(self.client.origin(), &self.key.public(), &request.reference)
    }

    async fn open_channel(&self, request: &OpenRequest) -> Result<Funding, RailError> {
        let payee = payee_of(&self.client, &request.option, RAIL_VOUCHER)?;
        let open = Open {
            payee,
            asset: request.option.asset.clone(),
            deposit: request.limit,
            signer: request.signer,
            grace_ms: request.option.grace_min_ms,
            reference: request.reference,
        };
        let id = self.channel_of(request);
        let wanted = open.clone();
        if self.client.fresh(|fold| Ok(fold.channel(&id)?.is_none())).await? {
            self.enter(Body::Open(open)).await?;
        }
        let opened = self.client.look(|fold| fold.channel(&id)).await?.ok_or(RailError::Unknown)?;
        let same = (opened.payee, &opened.asset, opened.signer, opened.grace_ms)
            == (wanted.payee, &wanted.asset, wanted.signer, wanted.grace_ms);
        if !same || opened.deposit < wanted.deposit {
            return Err(RailError::Declined("the reference was used for another channel"));
        }
        Ok(Funding { channel: Some(id), deposit: opened.deposit })
    }

    async fn sign_off(&self, bill: &Bill) -> Result<Proof, RailError> {
        let id = bill.channel.ok_or(RailError::Declined("the bill names no channel"))?;
        let payee = account_of(&bill.payee)?;
        if bill.total < bill.before {
            return Err(RailError::Declined("the bill's total is below the one before"));
        }
        // A voucher is worth its total, whatever was paid before: a buyer that lost a signature with its journal
        // may come by another way to the same invoice.
        let bill = &Bill { before: Amount::ZERO, ..bill.clone() };
        if self.bills.lock().unwrap_or_else(PoisonError::into_inner).compare(bill)? {
            return Ok(Proof::Voucher);
        }
        let covers = |channel: &Channel| bill.total <= channel.deposit;
        let mut channel = self.client.look(|fold| fold.channel(&id)).await?;
        if !channel.as_ref().is_some_and(covers) {
            // Opened or topped up a moment ago, perhaps.
            channel = self.channel(&id).await?;
        }
        let channel = channel.ok_or(RailError::Declined("there is no such channel"))?;
        self.check(&channel, bill, &payee)?;
        self.bills.lock().unwrap_or_else(PoisonError::into_inner).remember(bill)?;
        Ok(Proof::Voucher)
    }

    fn check(&self, channel: &Channel, bill: &Bill, payee: &PublicKey) -> Result<(), RailError> {
        if channel.payer != self.key.public() || channel.payee != *payee || channel.asset != bill.asset {
            return Err(RailError::Declined("the channel is not for this payee and asset"));
        }
        still_open(channel)?;
        if bill.total > channel.deposit {
            return Err(RailError::Declined("the total is above the deposit"));
        }
        Ok(())
    }

    async fn give_up(&self, id: &ChannelId) -> Result<CloseStatus, RailError> {
        let channel = self.channel(id).await?.ok_or(RailError::Declined("there is no such channel"))?;
        match channel.state {
            ChannelState::Closed => Ok(CloseStatus::Closed),
            ChannelState::Closing { .. } => self.try_close(id).await,
            ChannelState::Open => {
                match self.enter(Body::RequestClose(*id)).await {
                    // The payee closed it meanwhile.
                    Err(RailError::Declined(_)) if self.is_over(id).await? => return Ok(CloseStatus::Closed),
                    other => other?,
                }
                if channel.grace_ms == 0 { self.try_close(id).await } else { Ok(CloseStatus::Pending) }
            }
        }
    }

    /// Closes if the grace period is over; while it runs there is nothing to do but wait.
    async fn try_close(&self, id: &ChannelId) -> Result<CloseStatus, RailError> {
        match self.enter(Body::Close(*id)).await {
            Ok(()) => Ok(CloseStatus::Closed),
            Err(RailError::Declined(_)) => Ok(CloseStatus::Pending),
            Err(error) => Err(error),
        }
    }

    async fn is_over(&self, id: &ChannelId) -> Result<bool, RailError> {
        let over = |channel: &Channel| channel.state == ChannelState::Closed;
        self.client.look(|fold| Ok(fold.channel(id)?.as_ref().is_some_and(over))).await
    }
}

fn is_closing(channel: &Channel) -> bool {
    matches!(channel.state, ChannelState::Closing { .. })
}

impl Payer for VoucherPayer {
    fn moves_money(&self) -> bool {
        false
    }

    fn open<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Funding> {
        Box::pin(self.open_channel(request))
    }

    fn opened<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Option<Funding>> {
        Box::pin(async move {
            let id = self.channel_of(request);
            if self.channel(&id).await?.is_none() {
                return Ok(None);
            }
            self.open_channel(request).await.map(Some)
        })
    }

    fn pay<'a>(&'a self, bill: &'a Bill) -> Reply<'a, Proof> {
        Box::pin(self.sign_off(bill))
    }

    fn status<'a>(&'a self, invoice: &'a StatementId) -> Reply<'a, PaymentStatus> {
        let signed = self.bills.lock().unwrap_or_else(PoisonError::into_inner).get(invoice).is_some();
        let status = if signed { PaymentStatus::Paid(Proof::Voucher) } else { PaymentStatus::NotPaid };
        Box::pin(std::future::ready(Ok(status)))
    }

    /// Requests the close, or finishes one whose grace period is over. While it runs this answers
    /// too: call again later, or [`tend`](VoucherPayer::tend).
    fn close<'a>(&'a self, funding: &'a Funding) -> Reply<'a, CloseStatus> {
        Box::pin(async move {
            match &funding.channel {
                Some(channel) => self.give_up(channel).await,
                None => Ok(CloseStatus::Closed),
            }
        })
    }
}

//! Channels: deposits locked for one payee.

use minicbor::{Decode, Encode};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{Payment, Signed};
use sdpp_proto::time::Timestamp;

use crate::entry::{Open, TopUp};
use crate::limits;
use crate::refusal::{Place, Refusal};

/// Where a channel stands in its life: `Open → Closing → Closed`, or `Open → Closed` by its payee.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ChannelState {
    /// May be redeemed and topped up.
    #[n(0)]
    Open,
    /// Its payer wants it closed. May be redeemed until somebody closes it.
    #[n(1)]
    Closing {
        /// From this tick on anybody may close it.
        #[n(0)]
        ends: Timestamp,
    },
    /// Over. The channel stays known for ever, so that its id never opens again.
    #[n(2)]
    Closed,
}

/// A channel as the log tells it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Channel {
    /// The entry that opened it.
    #[n(9)]
    pub opened: Place,
    /// Whose deposit it is.
    #[n(1)]
    pub payer: PublicKey,
    /// Who redeems.
    #[n(2)]
    pub payee: PublicKey,
    /// What is locked.
    #[n(3)]
    pub asset: AssetId,
    /// Who signs vouchers.
    #[n(4)]
    pub signer: PublicKey,
    /// Time between the request to close and the close.
    #[n(5)]
    pub grace_ms: u64,
    /// All that was ever locked.
    #[n(6)]
    pub deposit: Amount,
    /// What the payee has redeemed of it.
    #[n(7)]
    pub redeemed: Amount,
    /// Where it stands.
    #[n(8)]
    pub state: ChannelState,
}

impl Channel {
    pub(crate) fn open(payer: PublicKey, open: &Open, opened: Place) -> Self {
        Self {
            opened,
            payer,
            payee: open.payee,
            asset: open.asset.clone(),
            signer: open.signer,
            grace_ms: open.grace_ms,
            deposit: open.deposit,
            redeemed: Amount::ZERO,
            state: ChannelState::Open,
        }
    }

    /// What is locked now: nothing once the channel is closed.
    pub fn locked(&self) -> Amount {
        match self.state {
            ChannelState::Open | ChannelState::Closing { .. } => self.deposit.saturating_sub(self.redeemed),
            ChannelState::Closed => Amount::ZERO,
        }
    }

    pub(crate) fn alive(&self) -> Result<&Self, Refusal> {
        match self.state {
            ChannelState::Open | ChannelState::Closing { .. } => Ok(self),
            ChannelState::Closed => Err(Refusal::ChannelClosed),
        }
    }

    fn quiet(&self) -> Result<(), Refusal> {
        match self.state {
            ChannelState::Open => Ok(()),
            ChannelState::Closing { .. } => Err(Refusal::ClosePending),
            ChannelState::Closed => Err(Refusal::ChannelClosed),
        }
    }

    /// The deposit after a top-up. Whether its reference was used is the caller's to look up.
    pub(crate) fn can_top_up(&self, issuer: &PublicKey, top_up: &TopUp) -> Result<Amount, Refusal> {
        self.quiet()?;
        if self.payer != *issuer {
            return Err(Refusal::NotThePayer);
        }
        if top_up.amount.is_zero() {
            return Err(Refusal::ZeroAmount);
        }
        // Both were issued, but redeemed money may have gone round and be locked again.
        self.deposit.checked_add(top_up.amount).ok_or(Refusal::SupplyOverflow)
    }

    /// What a voucher brings on top of what was redeemed before.
    pub(crate) fn can_redeem(&self, id: &ChannelId, voucher: &Signed<Payment>) -> Result<Amount, Refusal> {
        self.alive()?;
        if voucher.issuer() != self.signer {
            return Err(Refusal::VoucherWrongSigner);
        }
        if voucher.channel != Some(*id) {
            return Err(Refusal::VoucherWrongChannel);
        }
        if voucher.proof.is_some() {
            return Err(Refusal::VoucherHasProof);
        }
        if voucher.total > self.deposit {
            return Err(Refusal::VoucherAboveDeposit);
        }
        let more = voucher.total.checked_sub(self.redeemed).filter(|more| !more.is_zero());
        more.ok_or(Refusal::VoucherNotRising)
    }

    /// When the grace period would end.
    pub(crate) fn can_request(&self, issuer: &PublicKey, now: Option<Timestamp>) -> Result<Timestamp, Refusal> {
        self.quiet()?;
        if self.payer != *issuer {
            return Err(Refusal::NotThePayer);
        }
        Ok(now.ok_or(Refusal::NoTickYet)?.after_ms(self.grace_ms))
    }

    /// What goes back to the payer.
    pub(crate) fn can_close(&self, issuer: &PublicKey, now: Option<Timestamp>) -> Result<Amount, Refusal> {
        match self.state {
            ChannelState::Closed => Err(Refusal::ChannelClosed),
            ChannelState::Open | ChannelState::Closing { .. } if self.payee == *issuer => Ok(self.locked()),
            ChannelState::Open => Err(Refusal::CloseNotRequested),
            ChannelState::Closing { ends } if now.is_some_and(|now| now >= ends) => Ok(self.locked()),
            ChannelState::Closing { ends } => Err(Refusal::GraceRuns(ends)),
        }
    }
}

/// The rules of a new channel that need no state.
pub(crate) fn check_open(open: &Open) -> Result<(), Refusal> {
    if open.deposit.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    if open.grace_ms > limits::GRACE_MAX_MS {
        return Err(Refusal::GraceTooLong);
    }
    Ok(())
}

//! Redeems for many orders at once.

use alloy::primitives::U256;
use alloy::sol_types::{SolCall as _, SolEvent as _};
use sdpp_proto::codec::StatementId;
use sdpp_rail::{Outstanding, RailError};

use super::{EvmPayee, claim_of};
use crate::abi::SdppChannels as c;
use crate::limits;
use crate::sender::Call;

/// What a redemption of many orders came to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RedeemedAll {
    /// Orders whose best vouchers are money now.
    pub redeemed: Vec<StatementId>,
    /// Orders whose vouchers the contract refuses, or that somebody else has redeemed or closed meanwhile.
    pub left_out: Vec<StatementId>,
    /// Transactions that it took.
    pub transactions: u32,
}

/// An order and its best voucher.
#[derive(Clone)]
struct Waiting {
    order: StatementId,
    voucher: c::Voucher,
}

impl EvmPayee {
    /// Redeems the best vouchers of all orders that have something to redeem, in as few transactions as the gas of a block
    /// allows: at the end of a program, or where many closes are asked for. Those whose channels are about to be closed come first, and a
    /// voucher that the contract would refuse holds up no other one. Channels stay open.
    ///
    /// # Errors
    /// [`RailError`]; what was redeemed before is redeemed, and calling again goes on with the rest.
    pub async fn redeem_all(&self) -> Result<RedeemedAll, RailError> {
        self.redeem_those(|_| true).await
    }

    /// The same of those only whose payers have asked for the close: one transaction for many, before all others that wait
    /// for their turn. However many ask at once, all of it is redeemed in time.
    pub(super) async fn redeem_closing(&self) -> Result<RedeemedAll, RailError> {
        self.redeem_those(|one| one.closing).await
    }

    async fn redeem_those(&self, wanted: impl Fn(&Outstanding) -> bool) -> Result<RedeemedAll, RailError> {
        let mut all = RedeemedAll::default();
        let mut waiting = Vec::new();
        for one in self.unclosed().await?.into_iter().filter(|one| !one.amount.is_zero() && wanted(one)) {
            let best = self.book.order(&one.order)?.and_then(|state| state.best);
            match best.as_deref().map(claim_of) {
                Some(Ok((claim, proof))) => waiting.push(Waiting { order: one.order, voucher: claim.call(&proof) }),
                _ => all.left_out.push(one.order),
            }
        }
        for some in waiting.chunks(limits::REDEEMED_AT_ONCE_MAX) {
            let good = self.sift(some, &mut all).await?;
            self.send_all(good, &mut all).await?;
        }
        Ok(all)
    }

    /// Those that the contract takes, by trying halves of what it refuses.
    async fn sift(&self, some: &[Waiting], all: &mut RedeemedAll) -> Result<Vec<Waiting>, RailError> {
        let (mut good, mut untried) = (Vec::new(), vec![some]);
        while let Some(part) = untried.pop() {
            if part.is_empty() {
                continue;
            }
            match (self.sender.try_out(&self.call_of(part)).await?, part) {
                (Some(_), _) => good.extend_from_slice(part),
                (None, [one]) => {
                    tracing::warn!(order = %one.order, "the contract refuses this order's voucher");
                    all.left_out.push(one.order);
                }
                (None, _) => {
                    let (first, second) = part.split_at(part.len().div_ceil(2));
                    // The first half is tried first: what is in a hurry stays in front.
                    untried.extend([second, first]);
                }
            }
        }
        Ok(good)
    }

    /// Sends them, in halves where a block has not room for them.
    async fn send_all(&self, good: Vec<Waiting>, all: &mut RedeemedAll) -> Result<(), RailError> {
        let room =
            self.node.gas_of_a_block().await?.checked_div(2).unwrap_or_default().min(limits::TRANSACTION_GAS_MAX);
        let mut unsent = vec![good.as_slice()];
        while let Some(part) = unsent.pop() {
            if part.is_empty() {
                continue;
            }
            let call = self.call_of(part);
            let gas = self.sender.try_out(&call).await?;
            if part.len() > 1 && gas.is_some_and(|gas| gas > room) {
                let (first, second) = part.split_at(part.len().div_ceil(2));
                unsent.extend([second, first]);
                continue;
            }
            let receipt = self.sender.send_first(call).await?;
            all.transactions = all.transactions.saturating_add(1);
            let paid = receipt.inner.logs().iter().filter(|log| log.address() == self.node.place().contract);
            let paid = paid.filter_map(|log| c::Redeemed::decode_log(&log.inner).ok());
            let paid: Vec<_> = paid.map(|redeemed| redeemed.id).collect();
            for one in part {
                self.views.forget(&sdpp_proto::codec::ChannelId(one.voucher.channelId.0));
                let is_paid = paid.contains(&one.voucher.channelId);
                if is_paid { &mut all.redeemed } else { &mut all.left_out }.push(one.order);
            }
        }
        Ok(())
    }

    fn call_of(&self, part: &[Waiting]) -> Call {
        let vouchers = part.iter().map(|one| one.voucher.clone()).collect();
        let data = c::redeemManyCall { vouchers }.abi_encode().into();
        Call::new(self.node.place().contract, data, U256::ZERO).however_large()
    }
}

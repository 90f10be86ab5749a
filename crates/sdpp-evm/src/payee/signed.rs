//! What a payee signs for others to send.

use alloy::primitives::{B256, U256};
use alloy::signers::SignerSync as _;
use sdpp_proto::codec::StatementId;
use sdpp_rail::{NEVER_ADMITTED, RailError};

use super::{EvmPayee, claim_of};
use crate::abi::SdppChannels as c;
use crate::relay::Relayed;
use crate::typed;

impl EvmPayee {
    /// Signs the close of an order's channel with its best voucher, for an account without coins for gas: whoever sends it
    /// can only close the channel so that all of the voucher is paid.
    ///
    /// # Errors
    /// [`RailError`].
    pub fn sign_close(&self, order: &StatementId) -> Result<Relayed, RailError> {
        let state = self.book.order(order)?.ok_or(NEVER_ADMITTED)?;
        let id = state.admitted.channel.ok_or(RailError::Declined("the order names no channel"))?;
        let id = B256::new(id.0);
        let last = match &state.best {
            Some(best) => claim_of(best).map(|(claim, proof)| claim.call(&proof))?,
            None => c::Voucher { channelId: id, ..c::Voucher::default() },
        };
        let redeemed = U256::from(state.total().get());
        let digest = self.node.place().digest(&typed::Close { channelId: id, redeemed });
        let consent = self.account.sign_hash_sync(&digest);
        let consent = consent.map_err(|_| RailError::Declined("the account's key cannot sign"))?.as_bytes().into();
        Ok(Relayed::of(&c::closeForCall { last, redeemed, consent }))
    }
}

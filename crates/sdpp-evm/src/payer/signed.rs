//! What a payer signs for others to send.

use alloy::primitives::{B256, Bytes, Signature, U256};
use alloy::signers::SignerSync as _;
use sdpp_proto::codec::ChannelId;
use sdpp_rail::{OpenRequest, RailError};

use super::EvmPayer;
use crate::abi::{Erc20, SdppChannels as c};
use crate::limits;
use crate::relay::Relayed;
use crate::typed;

/// How a payer lets the contract take a token that it does not send itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consent {
    /// ERC-3009: the authorization names the channel.
    Authorization,
    /// ERC-2612, and a signature for the contract that names the channel.
    Permit,
}

impl EvmPayer {
    /// Signs the opening of a request's channel, in whichever way its token takes. Good for an hour, and once.
    ///
    /// # Errors
    /// [`RailError`]: `Declined` where the asset is the native coin or a token that takes no signatures.
    pub async fn sign_open(&self, request: &OpenRequest) -> Result<Relayed, RailError> {
        let terms = self.terms_of(request)?;
        self.sign_open_of(&terms, U256::from(request.limit.get())).await
    }

    /// The same, in this way.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn sign_open_by(&self, request: &OpenRequest, consent: Consent) -> Result<Relayed, RailError> {
        let (terms, amount) = (self.terms_of(request)?, U256::from(request.limit.get()));
        match consent {
            Consent::Authorization => self.sign_authorization(&terms, amount).await,
            Consent::Permit => self.sign_permit(&terms, amount).await,
        }
    }

    /// Signs the wish to close a channel.
    ///
    /// # Errors
    /// [`RailError::Declined`]: the library cannot sign.
    pub fn sign_request_close(&self, channel: &ChannelId) -> Result<Relayed, RailError> {
        let id = B256::new(channel.0);
        let signed = self.sign(self.node.place().digest(&typed::RequestClose { channelId: id }))?;
        Ok(Relayed::of(&c::requestCloseForCall { id, consent: signed.as_bytes().into() }))
    }

    pub(super) async fn sign_open_of(&self, terms: &c::Terms, amount: U256) -> Result<Relayed, RailError> {
        if terms.token.is_zero() {
            return Err(RailError::Declined("native coins cannot be locked by a signature: send them yourself"));
        }
        let erc20 = Erc20::new(terms.token, self.node.provider().clone());
        let nonce = self.node.place().channel_id(terms);
        if erc20.authorizationState(terms.payer, nonce).call().await.is_ok() {
            return self.sign_authorization(terms, amount).await;
        }
        self.sign_permit(terms, amount).await
    }

    async fn sign_authorization(&self, terms: &c::Terms, amount: U256) -> Result<Relayed, RailError> {
        let (from, to) = (terms.payer, self.node.place().contract);
        let nonce = self.node.place().channel_id(terms);
        let (separator, before) = (self.separator_of(terms).await?, self.deadline().await?);
        let word = typed::ReceiveWithAuthorization {
            from,
            to,
            value: amount,
            validAfter: U256::ZERO,
            validBefore: before,
            nonce,
        };
        let (v, r, s) = parts(&self.sign(typed::signing_hash(&separator, &word))?);
        let (terms, after) = (terms.clone(), U256::ZERO);
        Ok(Relayed::of(&c::openWithAuthorizationCall {
            terms,
            amount,
            validAfter: after,
            validBefore: before,
            v,
            r,
            s,
        }))
    }

    async fn sign_permit(&self, terms: &c::Terms, amount: U256) -> Result<Relayed, RailError> {
        let place = self.node.place();
        let open = typed::Open { channelId: place.channel_id(terms), amount };
        // Anybody may use a permit: this says for which channel it is.
        let consent = Bytes::from(self.sign(place.digest(&open))?.as_bytes());
        Ok(Relayed::of(&c::openWithPermitCall { consent, ..self.permit_of(terms, amount).await? }))
    }

    /// Opens a channel with a permit, without a consent.
    pub(super) async fn permit_of(&self, terms: &c::Terms, amount: U256) -> Result<c::openWithPermitCall, RailError> {
        let (owner, spender) = (terms.payer, self.node.place().contract);
        let nonce = Erc20::new(terms.token, self.node.provider().clone()).nonces(owner).call().await;
        let nonce = nonce.map_err(|error| no_signatures(&error))?;
        let (separator, deadline) = (self.separator_of(terms).await?, self.deadline().await?);
        let permit = typed::Permit { owner, spender, value: amount, nonce, deadline };
        let (v, r, s) = parts(&self.sign(typed::signing_hash(&separator, &permit))?);
        Ok(c::openWithPermitCall { terms: terms.clone(), amount, deadline, v, r, s, consent: Bytes::new() })
    }

    /// The hash of the token's domain, by its own word: another one makes the signature worth nothing.
    async fn separator_of(&self, terms: &c::Terms) -> Result<B256, RailError> {
        let erc20 = Erc20::new(terms.token, self.node.provider().clone());
        erc20.DOMAIN_SEPARATOR().call().await.map_err(|error| no_signatures(&error))
    }

    async fn deadline(&self) -> Result<U256, RailError> {
        Ok(U256::from(self.node.now().await?.saturating_add(limits::PERMIT_S)))
    }

    fn sign(&self, digest: B256) -> Result<Signature, RailError> {
        self.account.sign_hash_sync(&digest).map_err(|_| RailError::Declined("the account's key cannot sign"))
    }
}

fn parts(signature: &Signature) -> (u8, B256, B256) {
    (if signature.v() { 28 } else { 27 }, B256::from(signature.r()), B256::from(signature.s()))
}

fn no_signatures(error: &alloy::contract::Error) -> RailError {
    if let alloy::contract::Error::TransportError(error) = error
        && error.as_error_resp().is_none()
    {
        return RailError::Unavailable;
    }
    RailError::Declined("the token takes no signatures: send its deposit yourself")
}

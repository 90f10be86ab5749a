//! Calls that somebody else sends: a payer with tokens and no coins for gas signs what it wants, and whoever sends it pays
//! the gas and can change nothing of it.

use std::sync::Arc;

use alloy::primitives::{Address, Bytes, U256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use sdpp_rail::{RailError, Reply};

use crate::abi::SdppChannels as c;
use crate::limits;
use crate::node::Node;
use crate::sender::{Call, Sender};

/// A call of the contract of channels that anybody may send: one that its owner signed, or one that is everybody's to
/// make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relayed {
    call: Bytes,
}

impl Relayed {
    pub(crate) fn of(call: &impl SolCall) -> Self {
        Self { call: call.abi_encode().into() }
    }

    /// As it travels: the call's own bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.call
    }

    /// Reads one; none where it is no such call. Whether its signature is good the contract says.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let is_one = bytes.len() <= limits::RELAYED_BYTES_MAX
            && (reads::<c::openWithAuthorizationCall>(bytes)
                || reads::<c::openWithPermitCall>(bytes)
                || reads::<c::requestCloseForCall>(bytes)
                || reads::<c::closeForCall>(bytes)
                || reads::<c::finishCloseCall>(bytes)
                || reads::<c::withdrawCall>(bytes));
        is_one.then(|| Self { call: Bytes::copy_from_slice(bytes) })
    }
}

/// Whether these bytes are this call, and its only encoding.
fn reads<T: SolCall>(bytes: &[u8]) -> bool {
    T::abi_decode_validate(bytes).is_ok_and(|call| call.abi_encode() == bytes)
}

/// Whoever sends such calls: a [`Relayer`] in this process, or a line to one.
pub trait Relay: Send + Sync {
    /// Sends it, and answers when it is done. Harmless when it is asked for twice.
    fn relay<'a>(&'a self, request: &'a Relayed) -> Reply<'a, ()>;
}

/// Sends them by an account of its own, whose coins pay the gas. A call that the contract refuses costs nothing; whether one is
/// worth its gas, and for whom it is done, is for whoever takes requests to decide.
pub struct Relayer {
    sender: Sender,
    contract: Address,
}

impl Relayer {
    /// By the account of this key.
    pub fn new(node: Arc<Node>, account: PrivateKeySigner) -> Self {
        let contract = node.place().contract;
        Self { sender: Sender::new(node, account), contract }
    }

    /// The account.
    pub const fn account(&self) -> Address {
        self.sender.account()
    }

    async fn send(&self, request: &Relayed) -> Result<(), RailError> {
        let call = Call::new(self.contract, request.call.clone(), U256::ZERO);
        self.sender.send(call).await.map(|_| ())
    }
}

impl Relay for Relayer {
    fn relay<'a>(&'a self, request: &'a Relayed) -> Reply<'a, ()> {
        Box::pin(self.send(request))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    #[test]
    fn only_calls_that_anybody_may_send_are_taken() {
        let id = B256::repeat_byte(7);
        let good = Relayed::of(&c::requestCloseForCall { id, consent: vec![1; 65].into() });
        assert_eq!(Relayed::parse(good.bytes()), Some(good.clone()));
        assert!(Relayed::parse(&c::finishCloseCall { id }.abi_encode()).is_some());
        // These are the sender's own matter: whoever relays would do them in its own name.
        let (token, to, amount) = (Address::ZERO, Address::repeat_byte(8), U256::ONE);
        let own = [
            c::requestCloseCall { id }.abi_encode(),
            c::withdrawToCall { token, to, amount }.abi_encode(),
            c::openCall { terms: c::Terms::default(), amount, fromBalance: amount }.abi_encode(),
            c::topUpCall { id, amount, fromBalance: amount }.abi_encode(),
        ];
        assert!(own.iter().all(|call| Relayed::parse(call).is_none()));
        // Nothing is left over, and nothing is missing.
        let bytes = good.bytes();
        assert_eq!(Relayed::parse(&[bytes, &[0]].concat()), None);
        assert_eq!(Relayed::parse(bytes.split_last().unwrap().1), None);
        assert_eq!(Relayed::parse(&[]), None);
        let long = c::requestCloseForCall { id, consent: vec![1; limits::RELAYED_BYTES_MAX].into() };
        assert_eq!(Relayed::parse(&long.abi_encode()), None);
    }
}

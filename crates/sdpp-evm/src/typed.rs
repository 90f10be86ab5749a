//! What is signed for the contract of channels (EIP-712), and the ids that it gives.

use std::sync::LazyLock;

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::{Eip712Domain, SolStruct, SolValue as _};

use crate::abi::SdppChannels::Terms;

alloy::sol! {
    /// The total that is owed, what for, and how many messages that are: signed by the channel's signer.
    #[derive(Debug, PartialEq, Eq)]
    struct Voucher {
        bytes32 channelId;
        uint256 cumulative;
        uint64 messages;
        bytes32 commitment;
    }

    /// The payer's consent to a deposit by an ERC-2612 permit.
    #[derive(Debug, PartialEq, Eq)]
    struct Open {
        bytes32 channelId;
        uint256 amount;
    }

    /// The payer's word to a token (ERC-2612).
    #[derive(Debug, PartialEq, Eq)]
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }

    /// The payer's word to a token (ERC-3009).
    #[derive(Debug, PartialEq, Eq)]
    struct ReceiveWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    /// The payer's wish to close.
    #[derive(Debug, PartialEq, Eq)]
    struct RequestClose {
        bytes32 channelId;
    }

    /// The payee's consent to a close that brings it so much in all.
    #[derive(Debug, PartialEq, Eq)]
    struct Close {
        bytes32 channelId;
        uint256 redeemed;
    }
}

/// What the contract calls itself in its EIP-712 domain.
pub(crate) const NAME: &str = "SDPP Channels";
/// And which version of it this is.
pub(crate) const VERSION: &str = "1";

/// A contract of channels on a chain: a signature for one means nothing to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// The chain's id (EIP-155).
    pub chain: u64,
    /// The contract.
    pub contract: Address,
}

impl Place {
    /// The EIP-712 domain.
    pub fn domain(&self) -> Eip712Domain {
        let chain = U256::from(self.chain);
        Eip712Domain::new(Some(NAME.into()), Some(VERSION.into()), Some(chain), Some(self.contract), None)
    }

    /// What is signed of a typed statement.
    pub fn digest(&self, statement: &impl SolStruct) -> B256 {
        signing_hash(&self.separator(), statement)
    }

    /// The hash of the domain. What of it is the same everywhere is hashed once, since each voucher asks for it.
    fn separator(&self) -> B256 {
        static SAME: LazyLock<[B256; 3]> = LazyLock::new(|| {
            let domain = Place { chain: 0, contract: Address::ZERO }.domain();
            [domain.type_hash(), keccak256(NAME), keccak256(VERSION)]
        });
        let [kind, name, version] = *SAME;
        keccak256((kind, name, version, U256::from(self.chain), self.contract).abi_encode())
    }

    /// The id of a channel with these terms.
    pub fn channel_id(&self, terms: &Terms) -> B256 {
        keccak256((U256::from(self.chain), self.contract, terms.clone()).abi_encode())
    }
}

/// What is signed of a typed statement in the domain of this hash.
pub(crate) fn signing_hash(separator: &B256, statement: &impl SolStruct) -> B256 {
    let what = statement.eip712_hash_struct();
    keccak256([b"\x19\x01".as_slice(), separator.as_slice(), what.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hashed_once_gives_the_standards_digest() {
        for place in [
            Place { chain: 1, contract: Address::repeat_byte(4) },
            Place { chain: u64::MAX, contract: Address::repeat_byte(5) },
        ] {
            assert_eq!(place.separator(), place.domain().separator());
            let wish = RequestClose { channelId: B256::repeat_byte(7) };
            assert_eq!(place.digest(&wish), wish.eip712_signing_hash(&place.domain()));
        }
    }
}

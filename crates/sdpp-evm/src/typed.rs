//! What is signed for the contract of channels (EIP-712), and the ids that it gives.

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
        Eip712Domain::new(Some("SDPP Channels".into()), Some("1".into()), Some(chain), Some(self.contract), None)
    }

    /// What is signed of a typed statement.
    pub fn digest(&self, statement: &impl SolStruct) -> B256 {
        statement.eip712_signing_hash(&self.domain())
    }

    /// The id of a channel with these terms.
    pub fn channel_id(&self, terms: &Terms) -> B256 {
        keccak256((U256::from(self.chain), self.contract, terms.clone()).abi_encode())
    }
}

//! What a menu says of a chain: names of assets, addresses, terms.

use std::fmt;
use std::str::FromStr as _;

use alloy::primitives::Address;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use sdpp_proto::codec;
use sdpp_proto::limits::OPAQUE_MAX;
use sdpp_proto::money::AssetId;

use crate::typed::Place;

/// Name of the rail in the registry of `spec/rails.md`.
pub const RAIL: &str = "evm";

/// The opaque terms of an option: where its channels are. The chain itself is what buyers trust.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct EvmTerms {
    /// The chain's id (EIP-155).
    #[n(1)]
    pub chain: u64,
    /// The contract of channels.
    #[n(2)]
    pub contract: ByteArray<20>,
    /// The ERC-20 token; none for the native coin.
    #[n(3)]
    pub token: Option<ByteArray<20>>,
}

/// Why terms were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadTerms;

impl fmt::Display for BadTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the option's terms are not those of an EVM chain")
    }
}

impl std::error::Error for BadTerms {}

impl EvmTerms {
    /// Terms of channels in this contract.
    pub fn new(place: Place, token: Option<Address>) -> Self {
        let bytes = |address: Address| ByteArray::from(address.into_array());
        Self { chain: place.chain, contract: bytes(place.contract), token: token.map(bytes) }
    }

    /// Reads terms.
    ///
    /// # Errors
    /// [`BadTerms`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BadTerms> {
        codec::decode(bytes, OPAQUE_MAX).map_err(|_| BadTerms)
    }

    /// The bytes for [`PayOption::terms`](sdpp_proto::statement::PayOption).
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Where the channels are.
    pub fn place(&self) -> Place {
        Place { chain: self.chain, contract: Address::new(*self.contract) }
    }

    /// The token.
    pub fn token(&self) -> Option<Address> {
        self.token.map(|token| Address::new(*token))
    }

    /// The asset that is paid.
    pub fn asset(&self) -> AssetId {
        asset(self.chain, self.token())
    }
}

/// The name of an asset (CAIP-19): `eip155:1/slip44:60` for the native coin, `eip155:1/erc20:0x…` for a token.
pub fn asset(chain: u64, token: Option<Address>) -> AssetId {
    AssetId::new(match token {
        None => format!("eip155:{chain}/slip44:60"),
        Some(token) => format!("eip155:{chain}/erc20:{token}"),
    })
}

/// Reads an address in its one spelling: with the checksum of EIP-55.
pub fn address_of(text: &str) -> Option<Address> {
    Address::from_str(text).ok().filter(|address| address.to_checksum(None) == text)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::address;

    use super::*;

    const TOKEN: Address = address!("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48");

    #[test]
    fn terms_come_back_and_name_the_asset() {
        for (token, name) in [
            (None, "eip155:8453/slip44:60"),
            (Some(TOKEN), "eip155:8453/erc20:0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"),
        ] {
            let terms = EvmTerms::new(Place { chain: 8453, contract: Address::repeat_byte(7) }, token);
            assert_eq!(EvmTerms::parse(&terms.encode()), Ok(terms.clone()));
            assert_eq!(terms.asset().as_str(), name);
        }
        assert_eq!(EvmTerms::parse(b"\xa0"), Err(BadTerms));
    }

    #[test]
    fn an_address_has_one_spelling() {
        assert_eq!(address_of("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"), Some(TOKEN));
        for other in [
            "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48",
            "A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB4",
            "",
        ] {
            assert_eq!(address_of(other), None, "{other}");
        }
    }
}

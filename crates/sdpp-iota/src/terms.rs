//! What a menu says of IOTA: names of assets, addresses, terms.

use std::fmt;

use iota_sdk_types::Address;
use minicbor::{Decode, Encode};
use sdpp_proto::codec;
use sdpp_proto::limits::OPAQUE_MAX;
use sdpp_proto::money::AssetId;

/// Name of the rail in the registry of `spec/rails.md`.
pub const RAIL: &str = "iota";
/// Decimals of an IOTA: amounts are in nanos.
pub const DECIMALS: u8 = 9;

/// The opaque terms of an option: which network. The network itself is what buyers trust.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct IotaTerms {
    /// The network's identifier: the first four bytes of its genesis checkpoint's digest, in lower-case hex.
    #[n(1)]
    pub chain: String,
}

/// Why terms were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadTerms;

impl fmt::Display for BadTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the option's terms are not those of an IOTA network")
    }
}

impl std::error::Error for BadTerms {}

/// Whether this may be a network's identifier.
pub fn is_chain(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl IotaTerms {
    /// Reads terms.
    ///
    /// # Errors
    /// [`BadTerms`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BadTerms> {
        codec::decode(bytes, OPAQUE_MAX).ok().filter(|terms: &Self| is_chain(&terms.chain)).ok_or(BadTerms)
    }

    /// The bytes for [`PayOption::terms`](sdpp_proto::statement::PayOption).
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

/// The name of the coin of a network (CAIP-19): `iota:8d602a01/slip44:4218`.
pub fn asset(chain: &str) -> AssetId {
    AssetId::new(format!("iota:{chain}/slip44:4218"))
}

/// Reads an address in its one spelling: `0x` and 64 lower-case digits.
pub fn address_of(text: &str) -> Option<Address> {
    text.parse::<Address>().ok().filter(|address| address.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_come_back_and_name_the_asset() {
        let terms = IotaTerms { chain: "8d602a01".into() };
        assert_eq!(IotaTerms::parse(&terms.encode()), Ok(terms));
        for bad in ["", "8d602a0", "8D602A01", "8d602a0g"] {
            assert_eq!(IotaTerms::parse(&IotaTerms { chain: bad.into() }.encode()), Err(BadTerms), "{bad}");
        }
        assert_eq!(asset("8d602a01").as_str(), "iota:8d602a01/slip44:4218");
    }

    #[test]
    fn an_address_has_one_spelling() {
        let text = "0x8d2d1c260127c74476b27136c5e38c003b66b889f5c80032fb81ebc3f44f45a3";
        assert_eq!(address_of(text).map(|address| address.to_string()).as_deref(), Some(text));
        for other in [&text.to_uppercase(), &text[2..], "0x2", ""] {
            assert_eq!(address_of(other), None, "{other}");
        }
    }
}

//! Identities: Ed25519 keys, written as `did:key` (`spec/protocol.md` §3).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::crypto::{self, Signer};

/// Multicodec prefix of an Ed25519 public key.
const ED25519_PREFIX: [u8; 2] = [0xed, 0x01];
pub(crate) const DID_KEY: &str = "did:key:";

/// An Ed25519 public key: who somebody is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Text that is not the one spelling of an acceptable key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadKey;

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an Ed25519 key: expected z6Mk… or did:key:z6Mk…, copied whole")
    }
}

impl core::error::Error for BadKey {}

impl PublicKey {
    /// Takes the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// [`BadKey`] for an encoding that is not canonical or a point of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, BadKey> {
        if crypto::edwards::point_is_acceptable(&bytes) { Ok(Self(bytes)) } else { Err(BadKey) }
    }

    /// The 32 bytes of RFC 8032.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The `did:key` of this key.
    pub fn did(&self) -> String {
        let mut text = DID_KEY.to_owned();
        text.push_str(&self.multibase());
        text
    }

    /// The short form `z6Mk…`, as in addresses.
    pub fn multibase(&self) -> String {
        let mut bytes = Vec::from(ED25519_PREFIX);
        bytes.extend_from_slice(&self.0);
        let mut text = "z".to_owned();
        text.push_str(&bs58::encode(bytes).into_string());
        text
    }

    /// Verifies a signature strictly, see [`crypto`].
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        crypto::provider().verify(&self.0, message, signature)
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let short = text.strip_prefix(DID_KEY).unwrap_or(text);
        let base58 = short.strip_prefix('z').filter(|rest| rest.len() <= 64).ok_or(BadKey)?;
        let bytes = bs58::decode(base58).into_vec().map_err(|_| BadKey)?;
        let key = bytes.strip_prefix(&ED25519_PREFIX).ok_or(BadKey)?;
        // Base58 has one text for bytes that do not begin with zero, and these begin with the prefix.
        Self::from_bytes(key.try_into().map_err(|_| BadKey)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.multibase())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for PublicKey {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for PublicKey {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let bytes = <[u8; 32]>::try_from(d.bytes()?).map_err(|_| DecodeError::message("not 32 bytes"))?;
        Self::from_bytes(bytes).map_err(|_| DecodeError::message("not an acceptable Ed25519 key"))
    }
}

/// A secret key that signs statements. Cheap to clone; never printed.
#[derive(Clone)]
pub struct SigningKey {
    public: PublicKey,
    signer: Arc<dyn Signer>,
}

impl SigningKey {
    /// The key of a 32-byte seed. Entropy is the caller's: the core has none.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self::from_signer(Arc::from(crypto::provider().signer(seed)))
    }

    /// A key held elsewhere.
    pub fn from_signer(signer: Arc<dyn Signer>) -> Self {
        Self { public: PublicKey(signer.public()), signer }
    }

    /// The public half.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs bytes. Callers sign statements with [`crate::cose`], which separates domains.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signer.sign(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        let key = SigningKey::from_seed(&Zeroizing::new([7; 32])).public();
        let did = key.did();
        assert!(did.starts_with("did:key:z6Mk"), "{did}");
        assert_eq!(did.parse(), Ok(key));
        assert_eq!(key.multibase().parse(), Ok(key));
        for bad in ["", "z", "did:key:", "z6Mk", &did[..did.len() - 1], &alloc::format!("{did}1"), "did:web:x"] {
            assert_eq!(bad.parse::<PublicKey>(), Err(BadKey), "{bad}");
        }
        let text = key.multibase();
        for at in 0..=text.len() {
            for new in (0..=0x7f_u8).map(char::from) {
                let (before, after) = text.split_at(at);
                for changed in [
                    alloc::format!("{before}{new}{after}"),
                    alloc::format!("{before}{new}{}", after.get(1..).unwrap_or("")),
                ] {
                    let parsed = changed.parse::<PublicKey>();
                    assert!(parsed.is_err() || parsed.is_ok_and(|key| key.multibase() == changed), "{changed}");
                }
            }
        }
    }
}

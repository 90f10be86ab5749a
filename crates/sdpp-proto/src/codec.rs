//! Deterministic CBOR: integer keys, one encoding per value, nothing left over (`spec/protocol.md` §2).
//!
//! A value is decoded once, with its length checked first, then encoded again and compared: so an
//! unknown key, a longer integer, another order of keys or a trailing byte cannot pass.

use alloc::vec::Vec;

use minicbor::data::{IanaTag, Type};
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};

use crate::money::Amount;

/// Why bytes are not a value of this protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodecError {
    /// Longer than the limit of its kind.
    TooLong,
    /// Not the expected structure.
    Malformed,
    /// A second encoding of a value that has a shorter or differently ordered one, or unknown keys.
    NotCanonical,
}

impl core::fmt::Display for CodecError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than its limit",
            Self::Malformed => "not the expected structure",
            Self::NotCanonical => "not the one canonical encoding, or has unknown keys",
        })
    }
}

impl core::error::Error for CodecError {}

/// Encodes a value. Encoding into memory cannot fail.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    if minicbor::encode(value, &mut out).is_err() {
        // `Vec` is an infallible writer and no encoder here refuses a value; an empty vector is
        // refused by every decoder.
        out.clear();
    }
    out
}

/// Decodes the one canonical encoding of a value.
///
/// # Errors
/// [`CodecError`]: above `max` bytes, malformed, or not canonical.
pub fn decode<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong);
    }
    let value: T = minicbor::decode(bytes).map_err(|_| CodecError::Malformed)?;
    if encode(&value) != bytes {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}

impl<C> Encode<C> for Amount {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        if let Ok(small) = u64::try_from(self.get()) {
            return e.u64(small)?.ok();
        }
        let bytes = self.get().to_be_bytes();
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        e.tag(IanaTag::PosBignum)?.bytes(bytes.get(start..).unwrap_or(&[]))?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Amount {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        if d.datatype()? != Type::Tag {
            return Ok(Self::new(u128::from(d.u64()?)));
        }
        if d.tag()? != IanaTag::PosBignum.tag() {
            return Err(DecodeError::message("not a positive bignum"));
        }
        let bytes = d.bytes()?;
        if bytes.len() > 16 {
            return Err(DecodeError::message("amount above 128 bits"));
        }
        Ok(Self::new(bytes.iter().fold(0u128, |sum, b| (sum << 8) | u128::from(*b))))
    }
}

/// 32 bytes that stand for something: an id, a key, a nonce, a digest.
macro_rules! bytes32 {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let bytes = d.bytes()?;
                <[u8; 32]>::try_from(bytes).map(Self).map_err(|_| DecodeError::message("not 32 bytes"))
            }
        }
    )+};
}

bytes32! {
    /// Id of a signed statement: SHA-256 of its `Sig_structure`, so signing again gives the same id.
    StatementId,
    /// Id of a payment channel.
    ChannelId,
    /// BLAKE3 commitment to every byte of the messages that one invoice covers.
    Digest,
    /// A nonce or a salt.
    Bytes32,
}

/// An Ed25519 signature that stands inside a payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl core::fmt::Debug for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<C> Encode<C> for Signature {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Signature {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let bytes = d.bytes()?;
        <[u8; 64]>::try_from(bytes).map(Self).map_err(|_| DecodeError::message("not 64 bytes"))
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
    fn amounts_have_one_encoding() {
        for (units, hex) in [
            (0u128, "00"),
            (u128::from(u64::MAX), "1bffffffffffffffff"),
            (1 << 64, "c249010000000000000000"),
            (u128::MAX, "c250ffffffffffffffffffffffffffffffff"),
        ] {
            let bytes = encode(&Amount::new(units));
            let text: alloc::string::String = bytes.iter().map(|b| alloc::format!("{b:02x}")).collect();
            assert_eq!(text, hex);
            assert_eq!(decode::<Amount>(&bytes, 32), Ok(Amount::new(units)));
        }
        // 1 as a bignum, 1 in two bytes, a bignum with a leading zero, a trailing byte.
        for bad in [&[0xc2, 0x41, 1][..], &[0x18, 1], &[0xc2, 0x42, 0, 1], &[0x01, 0x00]] {
            assert!(decode::<Amount>(bad, 32).is_err(), "{bad:?}");
        }
        assert_eq!(decode::<Amount>(&[0], 0), Err(CodecError::TooLong));
        assert_eq!(decode::<Amount>(&[0], 1), Ok(Amount::ZERO), "the longest that may pass");
    }
}

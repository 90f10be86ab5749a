//! Verifier keys, and the two traits through which signatures enter this crate (C2SP signed-note, "Signatures").

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use sha2::{Digest, Sha256};

use crate::text::{decode_base64, encode_base64, is_key_name};

/// Makes Ed25519 signatures (RFC 8032) with one secret key.
pub trait NoteSigner {
    /// The signature of exactly these bytes.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// Checks Ed25519 signatures (RFC 8032).
pub trait NoteVerifier {
    /// Whether this is the signature of exactly these bytes by this public key. A malformed key verifies nothing.
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
}

/// What a key signs, and how (C2SP signed-note, "Signature types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureType {
    /// `0x01`: Ed25519 over the note's text. Logs sign so.
    Ed25519,
    /// `0x04`: a timestamped Ed25519 cosignature (C2SP tlog-cosignature, v1). Witnesses sign so.
    Cosignature,
}

impl SignatureType {
    /// The identifier byte.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// The first four bytes of a hash over name, type and public key: a hint for finding the key, not a commitment to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

/// Eight lower-case hexadecimal digits.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// Why a verifier key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not of the form `name+id+key`.
    Malformed,
    /// The name is empty, too long, or has a space, a plus or a control character.
    InvalidName,
    /// The third part is not the canonical base64 of a type and a key.
    InvalidBase64,
    /// The signature type is not one of [`SignatureType`].
    UnknownType,
    /// The public key does not have 32 bytes.
    WrongKeyLength,
    /// The key id is not the one of this name, type and key.
    WrongId,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "verifier key is not of the form name+id+key",
            Self::InvalidName => "invalid key name",
            Self::InvalidBase64 => "verifier key has invalid base64",
            Self::UnknownType => "unknown signature type",
            Self::WrongKeyLength => "public key does not have 32 bytes",
            Self::WrongId => "key id does not fit the key",
        })
    }
}

impl core::error::Error for KeyError {}

/// A named public key. Its text form is `name+id+base64(type || key)` (C2SP signed-note, "Verifier keys").
///
/// ```
/// let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// let key: sdpp_log::VerifierKey = text.parse()?;
/// assert_eq!(key.name(), "PeterNeumann");
/// assert_eq!(key.to_string(), text);
/// # Ok::<(), sdpp_log::KeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifierKey {
    name: String,
    signature_type: SignatureType,
    public: [u8; 32],
    id: KeyId,
}

impl VerifierKey {
    /// Names an Ed25519 public key.
    ///
    /// # Errors
    /// [`KeyError::InvalidName`].
    pub fn new(name: &str, signature_type: SignatureType, public: [u8; 32]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::InvalidName);
        }
        let digest: [u8; 32] = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', signature_type.byte()])
            .chain_update(public)
            .finalize()
            .into();
        let [a, b, c, d, ..] = digest;
        Ok(Self { name: name.to_string(), signature_type, public, id: KeyId([a, b, c, d]) })
    }

    /// The key's name, best a URL without schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key signs.
    pub const fn signature_type(&self) -> SignatureType {
        self.signature_type
    }

    /// The Ed25519 public key.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// `SHA-256(name || 0x0A || type || key)[..4]`.
    pub const fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = Vec::from([self.signature_type.byte()]);
        typed.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, self.id, encode_base64(&typed))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    /// Strict: `parse` then `to_string` gives the same text.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        // The base64 may have pluses of its own, the name may not.
        let (name, rest) = text.split_once('+').ok_or(KeyError::Malformed)?;
        let (id, typed) = rest.split_once('+').ok_or(KeyError::Malformed)?;
        let typed = decode_base64(typed).ok_or(KeyError::InvalidBase64)?;
        let (byte, public) = typed.split_first().ok_or(KeyError::WrongKeyLength)?;
        let signature_type = SignatureType::from_byte(*byte).ok_or(KeyError::UnknownType)?;
        let public = public.try_into().map_err(|_| KeyError::WrongKeyLength)?;
        let key = Self::new(name, signature_type, public)?;
        if key.id.to_string() == id { Ok(key) } else { Err(KeyError::WrongId) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "a panic is how a test fails"
    )]

    use super::*;

    /// From the documentation and tests of Go's `golang.org/x/mod/sumdb/note`, C2SP signed-note, and
    /// `transparency-dev/formats` (`note/note_cosigv1_test.go`).
    const KNOWN: [(&str, SignatureType); 5] = [
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", SignatureType::Ed25519),
        ("EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop", SignatureType::Ed25519),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", SignatureType::Ed25519),
        ("TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6", SignatureType::Ed25519),
        ("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2", SignatureType::Cosignature),
    ];

    #[test]
    fn known_keys_come_back_as_they_were() {
        for (text, signature_type) in KNOWN {
            let key: VerifierKey = text.parse().unwrap();
            assert_eq!(key.signature_type(), signature_type);
            assert_eq!(key.to_string(), text);
            assert_eq!(VerifierKey::new(key.name(), signature_type, *key.public()), Ok(key.clone()));
        }
    }

    #[test]
    fn no_part_and_no_mangling_of_a_key_is_a_key() {
        let (text, _) = KNOWN[0];
        for start in 0..text.len() {
            for end in start..=text.len() {
                let whole = start == 0 && end == text.len();
                assert_eq!(text[start..end].parse::<VerifierKey>().is_ok(), whole);
            }
        }
        for i in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[i] ^= 1;
            assert!(core::str::from_utf8(&bytes).unwrap().parse::<VerifierKey>().is_err(), "{i}");
        }
    }

    #[test]
    fn each_mistake_has_its_error() {
        let parse = |text: &str| text.parse::<VerifierKey>().unwrap_err();
        assert_eq!(parse(""), KeyError::Malformed);
        assert_eq!(parse("a+00000000"), KeyError::Malformed);
        assert_eq!(parse("a+00000000+!"), KeyError::InvalidBase64);
        assert_eq!(parse("a+00000000+"), KeyError::WrongKeyLength);
        assert_eq!(parse("a+00000000+AQ=="), KeyError::WrongKeyLength);
        assert_eq!(parse("PeterNeumann+c74f20a3+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"), KeyError::UnknownType);
        assert_eq!(parse("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"), KeyError::WrongId);
        assert_eq!(parse("Peter N+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"), KeyError::InvalidName);
        assert_eq!(parse("+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"), KeyError::InvalidName);
    }
}

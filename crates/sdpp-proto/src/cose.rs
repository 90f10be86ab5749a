//! Signed statements: COSE_Sign1 with deterministic CBOR (`spec/protocol.md` §2, RFC 9052).
//!
//! The protected header names the algorithm, the content type and who says what about what, so a
//! statement of one type never verifies as another. Unprotected is empty.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};

use crate::codec::StatementId;
use crate::hash::sha256;
use crate::identity::{self, PublicKey, SigningKey};
use crate::limits;

/// COSE tag of COSE_Sign1.
const SIGN1: Tag = Tag::new(18);
/// EdDSA in the COSE registry.
const EDDSA: i64 = -8;
const HEADER_ALG: u8 = 1;
const HEADER_CONTENT_TYPE: u8 = 3;
const HEADER_CWT_CLAIMS: u8 = 15;
const CLAIM_ISSUER: u8 = 1;
const CLAIM_SUBJECT: u8 = 2;

/// Why bytes are not a statement that somebody signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CoseError {
    /// Longer than allowed: [`limits::STATEMENT_MAX`] for a statement of a sale.
    TooLong,
    /// Not a COSE_Sign1 of this profile: tag, header fields, their order or trailing bytes.
    Malformed,
    /// A statement of another type.
    WrongType,
    /// The issuer is not an acceptable key, or not the one expected.
    WrongIssuer,
    /// The signature does not verify.
    BadSignature,
}

impl core::fmt::Display for CoseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a statement that is too long",
            Self::Malformed => "not a COSE_Sign1 of this profile",
            Self::WrongType => "a statement of another type",
            Self::WrongIssuer => "signed in another name",
            Self::BadSignature => "the signature does not verify",
        })
    }
}

impl core::error::Error for CoseError {}

/// A COSE_Sign1 taken apart; nothing is verified yet but its form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed<'a> {
    protected: &'a [u8],
    /// Media type, for example `application/sdpp-invoice+cbor`.
    pub content_type: &'a str,
    /// Who signed, by its own word.
    pub issuer: PublicKey,
    /// What it is about: the order, the seller or the log, as the type says.
    pub subject: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    signature: [u8; 64],
}

fn protected_header(content_type: &str, issuer: &str, subject: &str) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let done = (|| {
        e.map(3)?.u8(HEADER_ALG)?.i64(EDDSA)?;
        e.u8(HEADER_CONTENT_TYPE)?.str(content_type)?;
        e.u8(HEADER_CWT_CLAIMS)?.map(2)?;
        e.u8(CLAIM_ISSUER)?.str(issuer)?.u8(CLAIM_SUBJECT)?.str(subject)?.ok()
    })();
    debug_assert!(done.is_ok(), "writing to memory");
    e.into_writer()
}

/// The bytes that are signed, RFC 9052 §4.4: `["Signature1", protected, external_aad = '', payload]`.
pub fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::with_capacity(payload.len().saturating_add(192)));
    let done = (|| e.array(4)?.str("Signature1")?.bytes(protected)?.bytes(&[])?.bytes(payload)?.ok())();
    debug_assert!(done.is_ok(), "writing to memory");
    e.into_writer()
}

/// Signs a payload; gives the statement and its id.
pub fn sign(key: &SigningKey, content_type: &str, subject: &str, payload: &[u8]) -> (Vec<u8>, StatementId) {
    let protected = protected_header(content_type, &key.public().did(), subject);
    let to_sign = sig_structure(&protected, payload);
    let signature = key.sign(&to_sign);
    (whole(&protected, payload, &signature), StatementId(sha256(&to_sign)))
}

/// The id that a statement of these parts has, whoever holds the key: to recognise one without having it.
pub fn id_of(issuer: &PublicKey, content_type: &str, subject: &str, payload: &[u8]) -> StatementId {
    StatementId(sha256(&sig_structure(&protected_header(content_type, &issuer.did(), subject), payload)))
}

/// The COSE_Sign1 of these parts.
fn whole(protected: &[u8], payload: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::with_capacity(payload.len().saturating_add(256)));
    let done = (|| e.tag(SIGN1)?.array(4)?.bytes(protected)?.map(0)?.bytes(payload)?.bytes(signature)?.ok())();
    debug_assert!(done.is_ok(), "writing to memory");
    e.into_writer()
}

/// Takes a statement apart, strictly. Trailing bytes and other encodings are refused.
///
/// # Errors
/// [`CoseError::TooLong`], [`CoseError::Malformed`], [`CoseError::WrongIssuer`].
pub fn parse(statement: &[u8]) -> Result<Parsed<'_>, CoseError> {
    parse_within(statement, limits::STATEMENT_MAX)
}

/// The same for what may be longer, or must be shorter, than a statement of a sale: a ledger's entry
/// has room for a whole statement.
///
/// # Errors
/// Those of [`parse`], with `bytes_max` as the limit.
pub fn parse_within(statement: &[u8], bytes_max: usize) -> Result<Parsed<'_>, CoseError> {
    if statement.len() > bytes_max {
        return Err(CoseError::TooLong);
    }
    let mut d = Decoder::new(statement);
    let (protected, payload, signature) = parse_outer(&mut d).map_err(|_| CoseError::Malformed)?;
    let signature = <[u8; 64]>::try_from(signature).map_err(|_| CoseError::Malformed)?;
    let (content_type, issuer, subject) = parse_protected(protected).map_err(|_| CoseError::Malformed)?;
    // One spelling per statement: writing it again gives the same bytes. The issuer's text stands in
    // them as it came; a key has one text of each form (base58 of bytes that do not begin with zero).
    let spelled = protected_header(content_type, issuer, subject);
    if whole(&spelled, payload, &signature) != statement || !issuer.starts_with(identity::DID_KEY) {
        return Err(CoseError::Malformed);
    }
    let issuer = issuer.parse().map_err(|_| CoseError::WrongIssuer)?;
    Ok(Parsed { protected, content_type, issuer, subject, payload, signature })
}

type Outer<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn parse_outer<'a>(d: &mut Decoder<'a>) -> Result<Outer<'a>, minicbor::decode::Error> {
    let wrong = || minicbor::decode::Error::message("not this profile");
    if d.tag()? != SIGN1 || d.array()? != Some(4) {
        return Err(wrong());
    }
    let protected = d.bytes()?;
    if d.map()? != Some(0) {
        return Err(wrong());
    }
    let (payload, signature) = (d.bytes()?, d.bytes()?);
    if d.position() != d.input().len() {
        return Err(wrong());
    }
    Ok((protected, payload, signature))
}

fn parse_protected(protected: &[u8]) -> Result<(&str, &str, &str), minicbor::decode::Error> {
    let wrong = || minicbor::decode::Error::message("not this profile");
    let mut d = Decoder::new(protected);
    if d.map()? != Some(3) || d.u8()? != HEADER_ALG || d.i64()? != EDDSA || d.u8()? != HEADER_CONTENT_TYPE {
        return Err(wrong());
    }
    if d.datatype()? != Type::String {
        return Err(wrong());
    }
    let content_type = d.str()?;
    if d.u8()? != HEADER_CWT_CLAIMS || d.map()? != Some(2) || d.u8()? != CLAIM_ISSUER {
        return Err(wrong());
    }
    let issuer = d.str()?;
    if d.u8()? != CLAIM_SUBJECT {
        return Err(wrong());
    }
    Ok((content_type, issuer, d.str()?))
}

/// Verifies a statement that was taken apart before, by the issuer that was found in it then.
///
/// # Errors
/// [`CoseError::BadSignature`].
pub(crate) fn verify(statement: &[u8], issuer: &PublicKey) -> Result<(), CoseError> {
    let (protected, payload, signature) =
        parse_outer(&mut Decoder::new(statement)).map_err(|_| CoseError::Malformed)?;
    let signature = <[u8; 64]>::try_from(signature).map_err(|_| CoseError::Malformed)?;
    check(protected, payload, (issuer, &signature))
}

fn check(protected: &[u8], payload: &[u8], (issuer, signature): (&PublicKey, &[u8; 64])) -> Result<(), CoseError> {
    let signed = sig_structure(protected, payload);
    if issuer.verify(&signed, signature) { Ok(()) } else { Err(CoseError::BadSignature) }
}

impl Parsed<'_> {
    /// The statement's id: SHA-256 of what was signed.
    pub fn id(&self) -> StatementId {
        StatementId(sha256(&sig_structure(self.protected, self.payload)))
    }

    /// Verifies the signature of the issuer named inside.
    ///
    /// # Errors
    /// [`CoseError::BadSignature`].
    pub fn verify(&self) -> Result<(), CoseError> {
        check(self.protected, self.payload, (&self.issuer, &self.signature))
    }
}

const TYPE_PREFIX: &str = "application/sdpp-";
const TYPE_SUFFIX: &str = "+cbor";

/// `application/sdpp-NAME+cbor`.
pub fn content_type(name: &str) -> String {
    [TYPE_PREFIX, name, TYPE_SUFFIX].concat()
}

/// The name in a content type.
pub fn name_of(content_type: &str) -> Option<&str> {
    content_type.strip_prefix(TYPE_PREFIX)?.strip_suffix(TYPE_SUFFIX)
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
    use zeroize::Zeroizing;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    #[test]
    fn a_statement_verifies_and_every_changed_byte_is_refused() {
        let (statement, id) = sign(&key(1), "application/sdpp-test+cbor", "about", b"payload");
        let parsed = parse(&statement).unwrap();
        assert_eq!(parsed.verify(), Ok(()));
        assert_eq!((parsed.id(), parsed.payload, parsed.subject), (id, &b"payload"[..], "about"));
        for at in 0..statement.len() {
            let mut changed = statement.clone();
            changed[at] ^= 1;
            let passes = parse(&changed).is_ok_and(|p| p.verify().is_ok());
            assert!(!passes, "byte {at}");
        }
        let mut longer = statement.clone();
        longer.push(0);
        assert_eq!(parse(&longer), Err(CoseError::Malformed));
        assert_eq!(parse(&alloc::vec![0; limits::STATEMENT_MAX + 1]), Err(CoseError::TooLong));
        assert_eq!(parse(&alloc::vec![0; limits::STATEMENT_MAX]), Err(CoseError::Malformed));
    }

    #[test]
    fn signing_again_gives_the_same_id() {
        let (a, id_a) = sign(&key(1), "t", "s", b"p");
        let (b, id_b) = sign(&key(1), "t", "s", b"p");
        assert_eq!((a, id_a), (b, id_b));
        assert_eq!(id_of(&key(1).public(), "t", "s", b"p"), id_a, "known without the signature");
        assert_ne!(id_a, sign(&key(1), "t", "s2", b"p").1);
        assert_ne!(id_a, sign(&key(2), "t", "s", b"p").1);
    }

    #[test]
    fn a_longer_spelling_is_refused() {
        let (statement, _) = sign(&key(1), "t", "s", b"p");
        // The payload's header 0x41 spelled in two bytes, 0x58 0x01.
        let at = statement.windows(2).position(|w| w == [0x41, b'p']).unwrap();
        let mut longer = statement.clone();
        longer.splice(at..=at, [0x58, 0x01]);
        assert_eq!(parse(&longer), Err(CoseError::Malformed));
    }
}

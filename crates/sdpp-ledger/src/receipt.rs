//! COSE receipts: the log's signed word that an entry is in its tree, for readers of SCITT (RFC 9942, RFC 9943).
//!
//! A receipt is a COSE_Sign1 (tag 18) without payload:
//!
//! | header | label | value |
//! |---|---|---|
//! | protected | 1 `alg` | -8, EdDSA |
//! | | 4 `kid` | the log's public key, 32 bytes |
//! | | 15 CWT claims | `{1: iss, 2: sub}`: the log's `did:key`, and the subject of the entry itself |
//! | | 395 `vds` | 1, the tree of RFC 9162 with SHA-256 |
//! | unprotected | 396 `vdp` | `{-1: [proof]}`, where `proof` is the bytes of `[size, index, [hash…]]` |
//!
//! What is signed is the root, which the reader computes from the entry's complete bytes and the proof. So a receipt
//! shows *that* the entry is in the log. It does not show where: size and index are not signed, and some other pairs
//! lead from the same hashes to the same root. Whoever needs the place, or witnesses, asks for a `.tlog-proof`
//! ([`TlogProof`](sdpp_log::TlogProof)), where the log signs the size too.
//!
//! A receipt stands beside its entry: entries keep their unprotected header empty.

use std::fmt;

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};
use sdpp_log::limits::PROOF_HASHES_MAX;
use sdpp_log::{Hash, ProofError, inclusion_root, leaf_hash, verify_inclusion};
use sdpp_proto::cose;
use sdpp_proto::identity::{PublicKey, SigningKey};

use crate::entry::Entry;

/// Largest receipt, in bytes: the longest proof takes 2.2 KiB, subject and headers the rest.
pub const RECEIPT_MAX: usize = 4096;

/// COSE tag of COSE_Sign1.
const SIGN1: Tag = Tag::new(18);
const HEADER_ALG: i64 = 1;
const EDDSA: i64 = -8;
const HEADER_KID: i64 = 4;
const HEADER_CWT_CLAIMS: i64 = 15;
const CLAIM_ISSUER: i64 = 1;
const CLAIM_SUBJECT: i64 = 2;
const HEADER_VDS: i64 = 395;
const RFC9162_SHA256: i64 = 1;
const HEADER_VDP: i64 = 396;
const INCLUSION_PROOFS: i64 = -1;

/// Why there is no receipt, or why it shows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiptError {
    /// Longer than [`RECEIPT_MAX`].
    TooLong,
    /// Not a receipt of this profile: tag, headers, their order, another spelling or trailing bytes.
    Malformed,
    /// The issuer is not an acceptable key.
    WrongIssuer,
    /// The bytes are no [`Entry`].
    NotAnEntry,
    /// Another log signed it.
    OtherLog,
    /// It is about another subject than the entry.
    OtherSubject,
    /// The proof does not fit its size and index or, when signing, does not lead to the root.
    Proof(ProofError),
    /// The signature does not verify: another entry, another tree, or a forged receipt.
    BadSignature,
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "receipt longer than 4 KiB",
            Self::Malformed => "not a COSE receipt of this profile",
            Self::WrongIssuer => "the receipt's issuer is not an acceptable key",
            Self::NotAnEntry => "not an entry",
            Self::OtherLog => "receipt of another log",
            Self::OtherSubject => "receipt about another subject",
            Self::Proof(error) => return error.fmt(f),
            Self::BadSignature => "the receipt's signature does not verify",
        })
    }
}

impl std::error::Error for ReceiptError {}

/// That an entry is in a tree: what a log signs a receipt for.
#[derive(Clone, Copy, Debug)]
pub struct Inclusion<'a> {
    /// The complete bytes of the entry.
    pub entry: &'a [u8],
    /// Where it is.
    pub index: u64,
    /// Leaves of the tree.
    pub size: u64,
    /// From the leaf up.
    pub proof: &'a [Hash],
    /// The root of the tree.
    pub root: Hash,
}

/// A receipt taken apart. Nothing is verified but its form until [`verify`](Self::verify).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    issuer: PublicKey,
    subject: String,
    index: u64,
    size: u64,
    proof: Vec<Hash>,
    signature: [u8; 64],
}

impl Receipt {
    /// Signs a receipt with the log's key; signing again gives the same bytes.
    ///
    /// Sign only for a tree whose checkpoint is published: a receipt is as binding as a checkpoint, and one for a tree
    /// that nobody else ever sees is a fork. The proof is checked first.
    ///
    /// # Errors
    /// [`ReceiptError::NotAnEntry`], [`ReceiptError::Proof`], and [`ReceiptError::TooLong`] for an entry with an overlong
    /// subject.
    pub fn sign(key: &SigningKey, inclusion: &Inclusion<'_>) -> Result<Vec<u8>, ReceiptError> {
        let Inclusion { entry, index, size, proof, root } = *inclusion;
        let subject = subject_of(entry)?;
        if proof.len() > PROOF_HASHES_MAX {
            return Err(ReceiptError::Proof(ProofError::TooLong));
        }
        verify_inclusion(&leaf_hash(entry), index, size, proof, &root).map_err(ReceiptError::Proof)?;
        let issuer = key.public();
        let to_sign = cose::sig_structure(&protected_header(&issuer, &subject), &root.0);
        let receipt = Self { issuer, subject, index, size, proof: proof.to_vec(), signature: key.sign(&to_sign) };
        let bytes = receipt.to_bytes();
        if bytes.len() > RECEIPT_MAX { Err(ReceiptError::TooLong) } else { Ok(bytes) }
    }

    /// Takes a receipt apart, strictly: one spelling for each.
    ///
    /// # Errors
    /// [`ReceiptError::TooLong`], [`ReceiptError::Malformed`], [`ReceiptError::WrongIssuer`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_MAX {
            return Err(ReceiptError::TooLong);
        }
        let (protected, proof, signature) = parse_outer(bytes).map_err(|_| ReceiptError::Malformed)?;
        let (issuer, subject) = parse_protected(protected).map_err(|_| ReceiptError::Malformed)?;
        let (size, index, proof) = parse_proof(proof).map_err(|_| ReceiptError::Malformed)?;
        let receipt = Self {
            issuer: issuer.parse().map_err(|_| ReceiptError::WrongIssuer)?,
            subject: subject.to_owned(),
            index,
            size,
            proof,
            signature: <[u8; 64]>::try_from(signature).map_err(|_| ReceiptError::Malformed)?,
        };
        // Writing it again gives the same bytes, the key id and the spelling of the issuer included.
        if receipt.to_bytes() == bytes { Ok(receipt) } else { Err(ReceiptError::Malformed) }
    }

    /// Checks that the log with this key has the entry with these complete bytes, and gives the root that it signed.
    /// Whether the entry's own signature is right is for [`Entry::verify`] to say.
    ///
    /// # Errors
    /// [`ReceiptError::OtherLog`], [`ReceiptError::NotAnEntry`], [`ReceiptError::OtherSubject`],
    /// [`ReceiptError::Proof`], [`ReceiptError::BadSignature`].
    pub fn verify(&self, entry: &[u8], log: &PublicKey) -> Result<Hash, ReceiptError> {
        if self.issuer != *log {
            return Err(ReceiptError::OtherLog);
        }
        if subject_of(entry)? != self.subject {
            return Err(ReceiptError::OtherSubject);
        }
        let root = inclusion_root(&leaf_hash(entry), self.index, self.size, &self.proof);
        let root = root.map_err(ReceiptError::Proof)?;
        let signed = cose::sig_structure(&protected_header(&self.issuer, &self.subject), &root.0);
        if log.verify(&signed, &self.signature) { Ok(root) } else { Err(ReceiptError::BadSignature) }
    }

    /// The log's key, by the receipt's own word.
    pub const fn issuer(&self) -> PublicKey {
        self.issuer
    }

    /// What the entry is about, by its own word: the log's origin.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Where the entry is, for looking it up: nobody signed that.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Leaves of the tree: nobody signed that either.
    pub const fn size(&self) -> u64 {
        self.size
    }

    fn to_bytes(&self) -> Vec<u8> {
        let protected = protected_header(&self.issuer, &self.subject);
        let proof = encode_proof(self.size, self.index, &self.proof);
        let mut e = Encoder::new(Vec::new());
        let done = (|| {
            e.tag(SIGN1)?.array(4)?.bytes(&protected)?;
            e.map(1)?.i64(HEADER_VDP)?.map(1)?.i64(INCLUSION_PROOFS)?.array(1)?.bytes(&proof)?;
            e.null()?.bytes(&self.signature)?.ok()
        })();
        debug_assert!(done.is_ok(), "writing to memory");
        e.into_writer()
    }
}

fn subject_of(entry: &[u8]) -> Result<String, ReceiptError> {
    Entry::parse(entry).map(|entry| entry.origin().to_owned()).map_err(|_| ReceiptError::NotAnEntry)
}

fn protected_header(issuer: &PublicKey, subject: &str) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let done = (|| {
        e.map(4)?.i64(HEADER_ALG)?.i64(EDDSA)?;
        e.i64(HEADER_KID)?.bytes(issuer.as_bytes())?;
        e.i64(HEADER_CWT_CLAIMS)?.map(2)?;
        e.i64(CLAIM_ISSUER)?.str(&issuer.did())?.i64(CLAIM_SUBJECT)?.str(subject)?;
        e.i64(HEADER_VDS)?.i64(RFC9162_SHA256)?.ok()
    })();
    debug_assert!(done.is_ok(), "writing to memory");
    e.into_writer()
}

fn encode_proof(size: u64, index: u64, proof: &[Hash]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let done = (|| {
        // A proof has at most 63 hashes.
        e.array(3)?.u64(size)?.u64(index)?.array(u64::try_from(proof.len()).unwrap_or(u64::MAX))?;
        proof.iter().try_for_each(|hash| e.bytes(&hash.0)?.ok())
    })();
    debug_assert!(done.is_ok(), "writing to memory");
    e.into_writer()
}

type Decoded<T> = Result<T, minicbor::decode::Error>;

/// Fails unless the condition holds: another form than ours.
fn ensure(holds: bool) -> Decoded<()> {
    if holds { Ok(()) } else { Err(minicbor::decode::Error::message("not this profile")) }
}

/// Protected header, proof and signature.
fn parse_outer(bytes: &[u8]) -> Decoded<(&[u8], &[u8], &[u8])> {
    let mut d = Decoder::new(bytes);
    ensure(d.tag()? == SIGN1 && d.array()? == Some(4))?;
    let protected = d.bytes()?;
    ensure(d.map()? == Some(1) && d.i64()? == HEADER_VDP)?;
    ensure(d.map()? == Some(1) && d.i64()? == INCLUSION_PROOFS && d.array()? == Some(1))?;
    let proof = d.bytes()?;
    d.null()?;
    Ok((protected, proof, d.bytes()?))
}

/// Issuer and subject.
fn parse_protected(protected: &[u8]) -> Decoded<(&str, &str)> {
    let mut d = Decoder::new(protected);
    ensure(d.map()? == Some(4) && d.i64()? == HEADER_ALG && d.i64()? == EDDSA && d.i64()? == HEADER_KID)?;
    d.bytes()?;
    ensure(d.i64()? == HEADER_CWT_CLAIMS && d.map()? == Some(2) && d.i64()? == CLAIM_ISSUER)?;
    let issuer = d.str()?;
    ensure(d.i64()? == CLAIM_SUBJECT)?;
    let subject = d.str()?;
    ensure(d.i64()? == HEADER_VDS && d.i64()? == RFC9162_SHA256)?;
    Ok((issuer, subject))
}

/// Size, index and hashes.
fn parse_proof(proof: &[u8]) -> Decoded<(u64, u64, Vec<Hash>)> {
    let mut d = Decoder::new(proof);
    ensure(d.array()? == Some(3))?;
    let (size, index) = (d.u64()?, d.u64()?);
    let count = d.array()?.and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count <= PROOF_HASHES_MAX);
    ensure(count.is_some())?;
    let mut hashes = Vec::new();
    for _ in 0..count.unwrap_or(0) {
        let hash = <[u8; 32]>::try_from(d.bytes()?);
        hashes.push(Hash(hash.map_err(|_| minicbor::decode::Error::message("not a hash"))?));
    }
    Ok((size, index, hashes))
}

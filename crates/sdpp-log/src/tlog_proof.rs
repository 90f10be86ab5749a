//! A proof that travels: that an entry is in a log, checkable off line from one small text (C2SP tlog-proof, v1).

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use crate::hash::Hash;
use crate::key::NoteVerifier;
use crate::limits::{PROOF_HASHES_MAX, TLOG_PROOF_BYTES_MAX, TLOG_PROOF_EXTRA_BYTES_MAX, TREE_SIZE_MAX};
use crate::note::Note;
use crate::policy::{OpenError, Policy, SignedCheckpoint, TrustError, Trusted};
use crate::proof::{ProofError, verify_inclusion};
use crate::text::{decode_base64, decode_hash, encode_base64, parse_decimal};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why bytes are not a `.tlog-proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlogProofError {
    /// More than [`TLOG_PROOF_BYTES_MAX`] bytes.
    TooLarge,
    /// Not UTF-8.
    NotUtf8,
    /// The first line is another.
    WrongHeader,
    /// The extra data is empty, longer than [`TLOG_PROOF_EXTRA_BYTES_MAX`], or not canonical base64.
    InvalidExtra,
    /// No index line, or its number is not a decimal without leading zeros.
    InvalidIndex,
    /// A line of the inclusion proof is not the canonical base64 of 32 bytes.
    InvalidHash,
    /// More than [`PROOF_HASHES_MAX`] hashes.
    TooManyHashes,
    /// No empty line followed by a checkpoint.
    NoCheckpoint,
    /// What follows the empty line is no checkpoint note.
    Checkpoint(OpenError),
}

impl fmt::Display for TlogProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "proof file is too large",
            Self::NotUtf8 => "proof file is not UTF-8",
            Self::WrongHeader => "not a c2sp.org/tlog-proof@v1",
            Self::InvalidExtra => "invalid extra data",
            Self::InvalidIndex => "invalid index",
            Self::InvalidHash => "invalid hash in the proof",
            Self::TooManyHashes => "proof has too many hashes",
            Self::NoCheckpoint => "proof file has no checkpoint",
            Self::Checkpoint(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for TlogProofError {}

/// Why a `.tlog-proof` shows nothing about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlogProofRefusal {
    /// The checkpoint is not to be trusted.
    Trust(TrustError),
    /// The entry is not where the proof says.
    Inclusion(ProofError),
}

impl fmt::Display for TlogProofRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trust(error) => error.fmt(f),
            Self::Inclusion(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TlogProofRefusal {}

/// Where an entry is in a log, the way to the root, and the checkpoint with that root. Believe it after
/// [`verify`](Self::verify) only; `to_string` gives the text of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Empty for none.
    extra: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    note: Note,
}

impl TlogProof {
    /// Puts a proof together. Nothing is verified but the form.
    ///
    /// # Errors
    /// [`TlogProofError::InvalidIndex`], [`TlogProofError::TooManyHashes`], [`TlogProofError::Checkpoint`].
    pub fn new(index: u64, hashes: Vec<Hash>, note: &[u8]) -> Result<Self, TlogProofError> {
        if index >= TREE_SIZE_MAX {
            return Err(TlogProofError::InvalidIndex);
        }
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(TlogProofError::TooManyHashes);
        }
        let (note, _) = SignedCheckpoint::parse(note).map_err(TlogProofError::Checkpoint)?;
        Ok(Self { extra: Vec::new(), index, hashes, note })
    }

    /// Adds data whose meaning the application knows. Nothing protects it.
    ///
    /// # Errors
    /// [`TlogProofError::InvalidExtra`] for no data, which has no line, and above [`TLOG_PROOF_EXTRA_BYTES_MAX`].
    pub fn with_extra(mut self, extra: &[u8]) -> Result<Self, TlogProofError> {
        if extra.is_empty() || extra.len() > TLOG_PROOF_EXTRA_BYTES_MAX {
            return Err(TlogProofError::InvalidExtra);
        }
        self.extra = extra.to_vec();
        Ok(self)
    }

    /// Reads a whole file. Strict: `parse` then `to_string` gives the same text.
    ///
    /// # Errors
    /// All of [`TlogProofError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > TLOG_PROOF_BYTES_MAX {
            return Err(TlogProofError::TooLarge);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| TlogProofError::NotUtf8)?;
        let (head, note) = text.split_once("\n\n").ok_or(TlogProofError::NoCheckpoint)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(TlogProofError::WrongHeader);
        }
        let mut line = lines.next();
        let extra = line.and_then(|line| line.strip_prefix("extra "));
        if extra.is_some() {
            line = lines.next();
        }
        let index = line.and_then(|line| line.strip_prefix("index ")).ok_or(TlogProofError::InvalidIndex)?;
        let index = parse_decimal(index, TREE_SIZE_MAX).ok_or(TlogProofError::InvalidIndex)?;
        // One more than may be is enough to know.
        let hashes = lines.take(PROOF_HASHES_MAX.saturating_add(1)).map(decode_hash);
        let hashes: Option<Vec<Hash>> = hashes.collect();
        let proof = Self::new(index, hashes.ok_or(TlogProofError::InvalidHash)?, note.as_bytes())?;
        match extra {
            Some(extra) => proof.with_extra(&decode_base64(extra).ok_or(TlogProofError::InvalidExtra)?),
            None => Ok(proof),
        }
    }

    /// Checks that the entry with this [`leaf_hash`](crate::leaf_hash) is in the log that the policy names, in a tree
    /// that the policy trusts.
    ///
    /// # Errors
    /// All of [`TlogProofRefusal`].
    pub fn verify(
        &self,
        leaf: &Hash,
        policy: &Policy,
        verifier: &dyn NoteVerifier,
    ) -> Result<Trusted, TlogProofRefusal> {
        let note = self.note.to_string();
        let trusted = policy.check(note.as_bytes(), verifier).map_err(TlogProofRefusal::Trust)?;
        let (size, root) = (trusted.checkpoint.size(), trusted.checkpoint.root());
        verify_inclusion(leaf, self.index, size, &self.hashes, &root).map_err(TlogProofRefusal::Inclusion)?;
        Ok(trusted)
    }

    /// The data that nothing protects, if there is any.
    pub fn extra(&self) -> Option<&[u8]> {
        (!self.extra.is_empty()).then_some(&self.extra)
    }

    /// Where the entry is, from 0.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The siblings from the leaf up.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The checkpoint with all its signatures.
    pub const fn note(&self) -> &Note {
        &self.note
    }
}

/// The text of the file.
impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = self.extra() {
            writeln!(f, "extra {}", encode_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", encode_base64(&hash.0)))?;
        write!(f, "\n{}", self.note)
    }
}

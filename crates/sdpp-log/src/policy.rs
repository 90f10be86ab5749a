//! When to trust a checkpoint: signed by the log, and seen by enough witnesses.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::{Cosignature, cosignatures};
use crate::key::{NoteVerifier, SignatureType, VerifierKey};
use crate::limits::WITNESSES_MAX;
use crate::note::{Note, NoteError};

/// Why a signed checkpoint could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The note is malformed, not signed by the log, or badly signed.
    Note(NoteError),
    /// The note's text is not a checkpoint.
    Checkpoint(CheckpointError),
    /// It is the checkpoint of another log.
    WrongOrigin,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(error) => error.fmt(f),
            Self::Checkpoint(error) => error.fmt(f),
            Self::WrongOrigin => f.write_str("checkpoint of another log"),
        }
    }
}

impl core::error::Error for OpenError {}

/// A checkpoint whose signature by the log was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: Note,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Opens the note of a log with one of its keys ([`SignatureType::Ed25519`]; C2SP tlog-checkpoint, "Signatures").
    ///
    /// # Errors
    /// All of [`OpenError`].
    pub fn open(
        note: &[u8],
        origin: &str,
        keys: &[VerifierKey],
        verifier: &dyn NoteVerifier,
    ) -> Result<Self, OpenError> {
        let (note, checkpoint) = Self::parse(note)?;
        if checkpoint.origin() != origin {
            return Err(OpenError::WrongOrigin);
        }
        note.verify(keys, verifier).map_err(OpenError::Note)?;
        Ok(Self { note, checkpoint })
    }

    /// Both parts, nothing verified.
    pub(crate) fn parse(note: &[u8]) -> Result<(Note, Checkpoint), OpenError> {
        let note = Note::parse(note).map_err(OpenError::Note)?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(OpenError::Checkpoint)?;
        Ok((note, checkpoint))
    }

    /// From parts whose signature the caller has verified.
    pub(crate) const fn from_verified(note: Note, checkpoint: Checkpoint) -> Self {
        Self { note, checkpoint }
    }

    /// The note with all its signatures; `to_string` gives the bytes that were opened.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// What the log signed.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The valid cosignatures by these witnesses, see [`cosignatures`].
    ///
    /// # Errors
    /// Those of [`cosignatures`].
    pub fn cosignatures(
        &self,
        witnesses: &[VerifierKey],
        verifier: &dyn NoteVerifier,
    ) -> Result<Vec<Cosignature>, NoteError> {
        cosignatures(&self.note, witnesses, verifier)
    }
}

/// Why a policy makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// The log's key is not [`SignatureType::Ed25519`], or a witness's not [`SignatureType::Cosignature`].
    WrongKeyType,
    /// Two witnesses with one public key: one would count as two.
    DuplicateWitness,
    /// More than [`WITNESSES_MAX`] witnesses.
    TooManyWitnesses,
    /// The quorum is larger than the number of witnesses: nothing could ever be trusted.
    QuorumTooLarge,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongKeyType => "wrong type of key",
            Self::DuplicateWitness => "two witnesses with one public key",
            Self::TooManyWitnesses => "too many witnesses",
            Self::QuorumTooLarge => "quorum is larger than the number of witnesses",
        })
    }
}

impl core::error::Error for PolicyError {}

/// Why a checkpoint is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustError {
    /// It cannot be opened with the log's key.
    Open(OpenError),
    /// A witness's cosignature is bad.
    Cosignature(NoteError),
    /// Too few witnesses cosigned it.
    QuorumNotMet {
        /// Witnesses that did.
        valid: usize,
        /// Witnesses needed.
        quorum: usize,
    },
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Cosignature(error) => write!(f, "cosignature: {error}"),
            Self::QuorumNotMet { valid, quorum } => {
                write!(f, "{valid} of {quorum} needed witnesses cosigned")
            }
        }
    }
}

impl core::error::Error for TrustError {}

/// A checkpoint that a [`Policy`] accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The tree head.
    pub checkpoint: Checkpoint,
    /// Which witnesses cosigned it and when, in the policy's order.
    pub cosigned_at: Vec<Cosignature>,
}

/// Whom to believe about a log. The log's key name is its origin.
///
/// A quorum of 0 believes the log alone: it may then show different people different histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    log: VerifierKey,
    witnesses: Vec<VerifierKey>,
    quorum: usize,
}

impl Policy {
    /// A log, the witnesses, and how many of them must have cosigned.
    ///
    /// # Errors
    /// All of [`PolicyError`].
    pub fn new(log: VerifierKey, witnesses: Vec<VerifierKey>, quorum: usize) -> Result<Self, PolicyError> {
        let cosigns = |key: &VerifierKey| key.signature_type() == SignatureType::Cosignature;
        if cosigns(&log) || !witnesses.iter().all(cosigns) {
            return Err(PolicyError::WrongKeyType);
        }
        if witnesses.len() > WITNESSES_MAX {
            return Err(PolicyError::TooManyWitnesses);
        }
        let distinct: BTreeSet<_> = witnesses.iter().map(VerifierKey::public).collect();
        if distinct.len() != witnesses.len() {
            return Err(PolicyError::DuplicateWitness);
        }
        if quorum > witnesses.len() {
            return Err(PolicyError::QuorumTooLarge);
        }
        Ok(Self { log, witnesses, quorum })
    }

    /// The log's key; its name is the log's origin.
    pub const fn log(&self) -> &VerifierKey {
        &self.log
    }

    /// The witnesses' keys.
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// How many witnesses must have cosigned.
    pub const fn quorum(&self) -> usize {
        self.quorum
    }

    /// Checks a checkpoint note. How old it may be is for the caller to judge, by the times in the answer.
    ///
    /// # Errors
    /// All of [`TrustError`].
    pub fn check(&self, note: &[u8], verifier: &dyn NoteVerifier) -> Result<Trusted, TrustError> {
        let log = core::slice::from_ref(&self.log);
        let signed = SignedCheckpoint::open(note, self.log.name(), log, verifier).map_err(TrustError::Open)?;
        let cosigned_at = signed.cosignatures(&self.witnesses, verifier).map_err(TrustError::Cosignature)?;
        if cosigned_at.len() < self.quorum {
            return Err(TrustError::QuorumNotMet { valid: cosigned_at.len(), quorum: self.quorum });
        }
        Ok(Trusted { checkpoint: signed.checkpoint, cosigned_at })
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

    fn key(name: &str, signature_type: SignatureType, public: u8) -> VerifierKey {
        VerifierKey::new(name, signature_type, [public; 32]).unwrap()
    }

    fn witnesses(count: u8) -> Vec<VerifierKey> {
        (0..count).map(|i| key("w", SignatureType::Cosignature, i)).collect()
    }

    #[test]
    fn a_policy_says_what_it_was_made_of() {
        let log = key("l", SignatureType::Ed25519, 200);
        let policy = Policy::new(log.clone(), witnesses(5), 3).unwrap();
        assert_eq!((policy.log(), policy.witnesses(), policy.quorum()), (&log, &witnesses(5)[..], 3));
    }

    #[test]
    fn refuses_policies_that_make_no_sense() {
        let log = key("l", SignatureType::Ed25519, 200);
        let new = |witnesses, quorum| Policy::new(log.clone(), witnesses, quorum).map(|_| ());
        assert_eq!(new(witnesses(0), 0), Ok(()));
        assert_eq!(new(witnesses(64), 64), Ok(()));
        assert_eq!(new(witnesses(65), 1), Err(PolicyError::TooManyWitnesses));
        assert_eq!(new(witnesses(2), 3), Err(PolicyError::QuorumTooLarge));
        assert_eq!(new(Vec::from([log.clone()]), 1), Err(PolicyError::WrongKeyType));
        let one_key_two_names = ["a", "b"].map(|name| key(name, SignatureType::Cosignature, 1)).to_vec();
        assert_eq!(new(one_key_two_names, 2), Err(PolicyError::DuplicateWitness));
        let witness = key("l", SignatureType::Cosignature, 200);
        assert_eq!(Policy::new(witness, Vec::new(), 0), Err(PolicyError::WrongKeyType));
    }
}

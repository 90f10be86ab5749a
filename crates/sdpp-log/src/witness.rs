//! The witness: it remembers the largest tree it saw of each log and vouches only for what grows from it
//! (C2SP tlog-witness, "add-checkpoint").

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::checkpoint::CheckpointError;
use crate::cosignature;
use crate::hash::Hash;
use crate::key::{NoteSigner, NoteVerifier, SignatureType, VerifierKey};
use crate::limits::{LOG_KEYS_MAX, PROOF_HASHES_MAX};
use crate::note::{NoteError, Signature};
use crate::policy::{OpenError, PolicyError, SignedCheckpoint};
use crate::proof::{ProofError, verify_consistency};

/// Why a witness does not cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a checkpoint note.
    Malformed(OpenError),
    /// The witness does not follow this log.
    UnknownOrigin,
    /// No signature by a key of the log, or a bad one.
    BadSignature(NoteError),
    /// The request's old size is above the checkpoint's size.
    Rollback,
    /// The request's old size is not the size that the witness knows.
    Conflict {
        /// The size of the latest checkpoint that the witness accepted.
        known_size: u64,
    },
    /// The log signed two roots for the size that the witness knows. Keep the note: it is evidence.
    Fork {
        /// The size in question.
        known_size: u64,
    },
    /// The consistency proof does not verify.
    BadProof(ProofError),
}

impl Refusal {
    /// The status code of the HTTP answer. That of a [`Refusal::Conflict`] has the known size as its
    /// [body](crate::add_checkpoint::conflict_body).
    ///
    /// A wrong root of the empty tree is seen while the checkpoint is read, so it is 422 whoever signed it; the
    /// specification asks for that only after the other questions.
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::Malformed(OpenError::Checkpoint(CheckpointError::WrongEmptyRoot)) => 422,
            Self::Malformed(_) | Self::Rollback => 400,
            Self::BadSignature(_) => 403,
            Self::UnknownOrigin => 404,
            Self::Conflict { .. } => 409,
            Self::Fork { .. } | Self::BadProof(_) => 422,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::UnknownOrigin => f.write_str("unknown log"),
            Self::BadSignature(error) => error.fmt(f),
            Self::Rollback => f.write_str("old size is above the checkpoint's size"),
            Self::Conflict { known_size } => write!(f, "the latest size is {known_size}"),
            Self::Fork { known_size } => write!(f, "the log has two roots for size {known_size}"),
            Self::BadProof(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Refusal {}

/// The latest tree that a witness accepted of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Number of leaves.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
}

impl LogState {
    /// Nothing seen yet.
    pub const EMPTY: Self = Self { size: 0, root: Hash::EMPTY };
}

/// A step that passed all checks and is not taken yet: persist it, then [`Witness::apply`] it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextState {
    from: LogState,
    to: LogState,
    signed: SignedCheckpoint,
}

impl NextState {
    /// The log.
    pub fn origin(&self) -> &str {
        self.signed.checkpoint().origin()
    }

    /// The state that was checked against. Store the new one only in its place, in one transaction.
    pub const fn from(&self) -> LogState {
        self.from
    }

    /// The state to store.
    pub const fn to(&self) -> LogState {
        self.to
    }

    /// The checkpoint, as the log signed it.
    pub const fn signed(&self) -> &SignedCheckpoint {
        &self.signed
    }
}

/// A checkpoint that the witness has made its own: the only thing that [`cosign`] signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    signed: SignedCheckpoint,
}

impl Accepted {
    /// The checkpoint, as the log signed it.
    pub const fn signed(&self) -> &SignedCheckpoint {
        &self.signed
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    keys: Vec<VerifierKey>,
    state: LogState,
}

/// The witness rule, without storage, clock or secret key.
///
/// The order matters, and the types keep most of it:
/// 1. [`check`](Self::check) the request; nothing changes.
/// 2. Persist the [`NextState`] durably, in place of the state it came from.
/// 3. [`apply`](Self::apply) it. This fails if another step came between.
/// 4. [`cosign`], and answer.
///
/// A crash after 2 costs nothing: the log asks again and the same checkpoint is accepted. To sign before 2 could,
/// after a crash, vouch for two histories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    logs: BTreeMap<String, Log>,
}

impl Witness {
    /// A witness that follows no log.
    pub const fn new() -> Self {
        Self { logs: BTreeMap::new() }
    }

    /// Follows a log from a stored state on ([`LogState::EMPTY`] for a new one). Replaces an earlier entry of this
    /// origin.
    ///
    /// # Errors
    /// [`PolicyError::WrongKeyType`] unless there is at least one key, there are at most [`LOG_KEYS_MAX`], and all are
    /// [`SignatureType::Ed25519`].
    pub fn follow(&mut self, origin: &str, keys: Vec<VerifierKey>, state: LogState) -> Result<(), PolicyError> {
        let signs = |key: &VerifierKey| key.signature_type() == SignatureType::Ed25519;
        if keys.is_empty() || keys.len() > LOG_KEYS_MAX || !keys.iter().all(signs) {
            return Err(PolicyError::WrongKeyType);
        }
        self.logs.insert(origin.to_string(), Log { keys, state });
        Ok(())
    }

    /// The latest state of a log, if the witness follows it.
    pub fn state(&self, origin: &str) -> Option<LogState> {
        self.logs.get(origin).map(|log| log.state)
    }

    /// Checks a request to cosign: the size that the log believes known, the consistency proof from there, and the
    /// new checkpoint note. Changes nothing.
    ///
    /// # Errors
    /// All of [`Refusal`], in the order of the specification; a [`Refusal::Fork`] is reported before a bad proof.
    pub fn check(
        &self,
        old_size: u64,
        proof: &[Hash],
        note: &[u8],
        verifier: &dyn NoteVerifier,
    ) -> Result<NextState, Refusal> {
        let (note, checkpoint) = SignedCheckpoint::parse(note).map_err(Refusal::Malformed)?;
        let log = self.logs.get(checkpoint.origin()).ok_or(Refusal::UnknownOrigin)?;
        note.verify(&log.keys, verifier).map_err(Refusal::BadSignature)?;
        let from = log.state;
        let to = LogState { size: checkpoint.size(), root: checkpoint.root() };
        if old_size > to.size {
            return Err(Refusal::Rollback);
        }
        if old_size != from.size {
            return Err(Refusal::Conflict { known_size: from.size });
        }
        if to.size == from.size && to.root != from.root {
            return Err(Refusal::Fork { known_size: from.size });
        }
        if proof.len() > PROOF_HASHES_MAX {
            return Err(Refusal::BadProof(ProofError::TooLong));
        }
        verify_consistency(from.size, &from.root, to.size, &to.root, proof).map_err(Refusal::BadProof)?;
        Ok(NextState { from, to, signed: SignedCheckpoint::from_verified(note, checkpoint) })
    }

    /// Takes a step that was checked **and persisted**.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] if the log's state is no longer the one that was checked, [`Refusal::UnknownOrigin`] if
    /// the log is no longer followed; nothing changes.
    pub fn apply(&mut self, next: NextState) -> Result<Accepted, Refusal> {
        let log = self.logs.get_mut(next.origin()).ok_or(Refusal::UnknownOrigin)?;
        if log.state != next.from {
            return Err(Refusal::Conflict { known_size: log.state.size });
        }
        log.state = next.to;
        Ok(Accepted { signed: next.signed })
    }
}

/// Cosigns an accepted checkpoint at a time, in seconds since 1970: the line that the witness answers with, and that
/// the log [adds](crate::Note::add) to its note (C2SP tlog-cosignature). Call it last, see [`Witness`].
///
/// # Errors
/// [`NoteError::WrongKeyType`] unless the key is [`SignatureType::Cosignature`], [`NoteError::TimeOutOfRange`].
pub fn cosign(
    accepted: &Accepted,
    key: &VerifierKey,
    time_s: u64,
    signer: &dyn NoteSigner,
) -> Result<Signature, NoteError> {
    cosignature::make(accepted.signed.note().text(), key, time_s, signer)
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

    #[test]
    fn follows_only_with_fitting_keys() {
        let key = |signature_type| VerifierKey::new("k", signature_type, [1; 32]).unwrap();
        let log = key(SignatureType::Ed25519);
        let mut witness = Witness::new();
        let mut follow = |keys| witness.follow("o", keys, LogState::EMPTY);
        assert_eq!(follow(Vec::new()), Err(PolicyError::WrongKeyType));
        assert_eq!(follow(Vec::from([key(SignatureType::Cosignature)])), Err(PolicyError::WrongKeyType));
        assert_eq!(follow(alloc::vec![log.clone(); LOG_KEYS_MAX + 1]), Err(PolicyError::WrongKeyType));
        assert_eq!(follow(Vec::from([log])), Ok(()));
        assert_eq!(witness.state("o"), Some(LogState::EMPTY));
        assert_eq!(witness.state("p"), None);
    }

    #[test]
    fn each_refusal_has_its_status() {
        let bad = NoteError::NotSigned;
        for (refusal, status) in [
            (Refusal::Malformed(OpenError::Note(bad)), 400),
            (Refusal::Rollback, 400),
            (Refusal::BadSignature(bad), 403),
            (Refusal::UnknownOrigin, 404),
            (Refusal::Conflict { known_size: 1 }, 409),
            (Refusal::Fork { known_size: 1 }, 422),
            (Refusal::BadProof(ProofError::TooShort), 422),
            (Refusal::Malformed(OpenError::Checkpoint(CheckpointError::WrongEmptyRoot)), 422),
            (Refusal::Malformed(OpenError::Checkpoint(CheckpointError::InvalidSize)), 400),
        ] {
            assert_eq!(refusal.http_status(), status);
        }
    }
}

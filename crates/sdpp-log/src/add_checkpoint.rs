//! What a log sends to a witness and what comes back (C2SP tlog-witness, "add-checkpoint"): the bodies only, whoever
//! carries them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::hash::Hash;
use crate::limits::{ADD_CHECKPOINT_BYTES_MAX, NOTE_BYTES_MAX, PROOF_HASHES_MAX, TREE_SIZE_MAX};
use crate::note::{NoteError, Signature, check_characters, parse_lines};
use crate::text::{decode_hash, encode_base64, parse_decimal};

/// The content type of a [`conflict_body`].
pub const CONFLICT_CONTENT_TYPE: &str = "text/x.tlog.size";

/// Why bytes are not the body of a request. The answer to it has the status 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// More than [`ADD_CHECKPOINT_BYTES_MAX`] bytes.
    TooLarge,
    /// Not UTF-8.
    NotUtf8,
    /// The first line is not `old` and a decimal without leading zeros, or it is above [`TREE_SIZE_MAX`].
    InvalidOldSize,
    /// A line of the consistency proof is not the canonical base64 of 32 bytes.
    InvalidHash,
    /// More than [`PROOF_HASHES_MAX`] hashes.
    TooManyHashes,
    /// No empty line followed by a checkpoint.
    NoCheckpoint,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "request is too large",
            Self::NotUtf8 => "request is not UTF-8",
            Self::InvalidOldSize => "invalid old size",
            Self::InvalidHash => "invalid hash in the proof",
            Self::TooManyHashes => "proof has too many hashes",
            Self::NoCheckpoint => "request has no checkpoint",
        })
    }
}

impl core::error::Error for RequestError {}

/// The body of a request to cosign: the three arguments of [`Witness::check`](crate::Witness::check), which also looks
/// into the note. `to_string` gives the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    note: String,
}

impl AddCheckpoint {
    /// A request. The note is taken as it is.
    ///
    /// # Errors
    /// [`RequestError::InvalidOldSize`], [`RequestError::TooManyHashes`], [`RequestError::NoCheckpoint`] for an empty
    /// note, [`RequestError::TooLarge`] for one above [`NOTE_BYTES_MAX`].
    pub fn new(old_size: u64, proof: Vec<Hash>, note: &str) -> Result<Self, RequestError> {
        if old_size > TREE_SIZE_MAX {
            return Err(RequestError::InvalidOldSize);
        }
        if proof.len() > PROOF_HASHES_MAX {
            return Err(RequestError::TooManyHashes);
        }
        if note.is_empty() {
            return Err(RequestError::NoCheckpoint);
        }
        if note.len() > NOTE_BYTES_MAX {
            return Err(RequestError::TooLarge);
        }
        Ok(Self { old_size, proof, note: note.to_string() })
    }

    /// Reads a whole body. Strict: `parse` then `to_string` gives the same text.
    ///
    /// # Errors
    /// All of [`RequestError`].
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > ADD_CHECKPOINT_BYTES_MAX {
            return Err(RequestError::TooLarge);
        }
        let body = core::str::from_utf8(body).map_err(|_| RequestError::NotUtf8)?;
        let (head, note) = body.split_once("\n\n").ok_or(RequestError::NoCheckpoint)?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size = old_size.and_then(|size| parse_decimal(size, TREE_SIZE_MAX));
        // One more than may be is enough to know.
        let proof = lines.take(PROOF_HASHES_MAX.saturating_add(1)).map(decode_hash);
        let proof: Option<Vec<Hash>> = proof.collect();
        let old_size = old_size.ok_or(RequestError::InvalidOldSize)?;
        Self::new(old_size, proof.ok_or(RequestError::InvalidHash)?, note)
    }

    /// The size that the log believes the witness to know.
    pub const fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The consistency proof from there.
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The new checkpoint's note, unread.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// The body of the request.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", encode_base64(&hash.0)))?;
        write!(f, "\n{}", self.note)
    }
}

/// The body of the answer with status 200: the witness's lines.
pub fn cosigned_body(signatures: &[Signature]) -> String {
    signatures.iter().map(|signature| format!("{signature}\n")).collect()
}

/// The lines of an answer with status 200, at least one. Those by unknown keys are to be ignored:
/// [add](crate::Note::add) what you trust to the note.
///
/// # Errors
/// [`NoteError`], as for the signatures of a note.
pub fn parse_cosigned(body: &[u8]) -> Result<Vec<Signature>, NoteError> {
    if body.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLarge);
    }
    let body = core::str::from_utf8(body).map_err(|_| NoteError::NotUtf8)?;
    check_characters(body)?;
    if body.is_empty() { Err(NoteError::NoSignatures) } else { parse_lines(body) }
}

/// The body of the answer with status 409: the size that the witness knows.
pub fn conflict_body(known_size: u64) -> String {
    format!("{known_size}\n")
}

/// The size in an answer with status 409.
pub fn parse_conflict(body: &[u8]) -> Option<u64> {
    parse_decimal(core::str::from_utf8(body).ok()?.strip_suffix('\n')?, TREE_SIZE_MAX)
}

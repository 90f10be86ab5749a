//! Timestamped cosignatures by witnesses (C2SP tlog-cosignature, v1: Ed25519).

use alloc::format;
use alloc::vec::Vec;

use crate::key::{NoteSigner, NoteVerifier, SignatureType, VerifierKey};
use crate::limits::TIME_MAX_S;
use crate::note::{Note, NoteError, Signature};

/// A witness's verified statement: at this time, this checkpoint was the largest it had seen of the log, and
/// consistent with all before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness's key.
    pub witness: VerifierKey,
    /// When it signed, by its own clock, in seconds since 1970.
    pub time_s: u64,
}

/// The bytes that a witness signs (C2SP tlog-cosignature, "Ed25519 signed message").
fn message(text: &str, time_s: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time_s}\n{text}").into_bytes()
}

/// Signs a checkpoint's text as a witness.
pub(crate) fn make(
    text: &str,
    key: &VerifierKey,
    time_s: u64,
    signer: &dyn NoteSigner,
) -> Result<Signature, NoteError> {
    if key.signature_type() != SignatureType::Cosignature {
        return Err(NoteError::WrongKeyType);
    }
    if time_s > TIME_MAX_S {
        return Err(NoteError::TimeOutOfRange);
    }
    let signature = signer.sign(&message(text, time_s));
    Ok(Signature::new(key, [&time_s.to_be_bytes()[..], &signature].concat()))
}

/// The valid cosignatures of a note by these witnesses: at most one for each, with its latest time.
///
/// Signatures by other keys are ignored; a bad one by a known key spoils the note (C2SP signed-note, "Signatures").
/// Whether a time is too old, or in the future, is for the caller to judge.
///
/// # Errors
/// [`NoteError::BadSignature`], [`NoteError::TimeOutOfRange`], and [`NoteError::WrongKeyType`] unless all keys are
/// [`SignatureType::Cosignature`].
pub fn cosignatures(
    note: &Note,
    witnesses: &[VerifierKey],
    verifier: &dyn NoteVerifier,
) -> Result<Vec<Cosignature>, NoteError> {
    if witnesses.iter().any(|key| key.signature_type() != SignatureType::Cosignature) {
        return Err(NoteError::WrongKeyType);
    }
    let mut found = Vec::new();
    for witness in witnesses {
        let mut latest = None;
        for signature in note.signatures().iter().filter(|signature| signature.is_by(witness)) {
            latest = latest.max(Some(verify(note.text(), witness, signature, verifier)?));
        }
        if let Some(time_s) = latest {
            found.push(Cosignature { witness: witness.clone(), time_s });
        }
    }
    Ok(found)
}

/// The time of a valid cosignature.
fn verify(
    text: &str,
    witness: &VerifierKey,
    signature: &Signature,
    verifier: &dyn NoteVerifier,
) -> Result<u64, NoteError> {
    let (time, signature) = signature.bytes().split_first_chunk::<8>().ok_or(NoteError::BadSignature)?;
    let signature = signature.try_into().map_err(|_| NoteError::BadSignature)?;
    let time_s = u64::from_be_bytes(*time);
    if time_s > TIME_MAX_S {
        return Err(NoteError::TimeOutOfRange);
    }
    if verifier.verify(witness.public(), &message(text, time_s), signature) {
        Ok(time_s)
    } else {
        Err(NoteError::BadSignature)
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

    /// Signs with the message's length, so that the tests see what was signed.
    struct Length;

    impl NoteSigner for Length {
        fn sign(&self, message: &[u8]) -> [u8; 64] {
            [u8::try_from(message.len()).unwrap(); 64]
        }
    }

    impl NoteVerifier for Length {
        fn verify(&self, _: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
            *signature == self.sign(message)
        }
    }

    fn key(signature_type: SignatureType) -> VerifierKey {
        VerifierKey::new("w", signature_type, [7; 32]).unwrap()
    }

    #[test]
    fn the_message_is_the_one_of_the_specification() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let expected = format!("cosignature/v1\ntime 1679315147\n{text}");
        assert_eq!(message(text, 1_679_315_147), expected.as_bytes());
    }

    #[test]
    fn the_latest_time_of_a_witness_counts_once() {
        let witness = key(SignatureType::Cosignature);
        let mut note = Note::new("t\n").unwrap();
        assert_eq!(cosignatures(&note, core::slice::from_ref(&witness), &Length), Ok(Vec::new()));
        for time_s in [5, 9, 7] {
            note.add(make("t\n", &witness, time_s, &Length).unwrap()).unwrap();
        }
        assert_eq!(note.signatures()[0].bytes().len(), 72);
        let found = cosignatures(&note, core::slice::from_ref(&witness), &Length).unwrap();
        assert_eq!(found, [Cosignature { witness, time_s: 9 }]);
    }

    #[test]
    fn bad_cosignatures_spoil_the_note() {
        let witness = key(SignatureType::Cosignature);
        let with = |bytes: Vec<u8>| {
            let mut note = Note::new("t\n").unwrap();
            note.add(Signature::new(&witness, bytes)).unwrap();
            cosignatures(&note, core::slice::from_ref(&witness), &Length)
        };
        let good = make("t\n", &witness, 5, &Length).unwrap().bytes().to_vec();
        assert!(with(good.clone()).is_ok());
        for length in 1..good.len() {
            assert_eq!(with(good[..length].to_vec()), Err(NoteError::BadSignature));
        }
        assert_eq!(with([&good[..], &[0]].concat()), Err(NoteError::BadSignature));
        assert_eq!(with([&[0xff; 8], &good[8..]].concat()), Err(NoteError::TimeOutOfRange));
    }

    #[test]
    fn only_cosignature_keys_cosign() {
        let log = key(SignatureType::Ed25519);
        assert_eq!(make("t\n", &log, 5, &Length), Err(NoteError::WrongKeyType));
        assert_eq!(cosignatures(&Note::new("t\n").unwrap(), &[log], &Length), Err(NoteError::WrongKeyType));
        let witness = key(SignatureType::Cosignature);
        assert_eq!(make("t\n", &witness, TIME_MAX_S + 1, &Length), Err(NoteError::TimeOutOfRange));
    }

    #[test]
    fn the_latest_time_of_all_is_still_a_time() {
        let witness = key(SignatureType::Cosignature);
        let mut note = Note::new("t\n").unwrap();
        note.add(make("t\n", &witness, TIME_MAX_S, &Length).unwrap()).unwrap();
        let found = cosignatures(&note, core::slice::from_ref(&witness), &Length).unwrap();
        assert_eq!(found, [Cosignature { witness, time_s: TIME_MAX_S }]);
    }
}

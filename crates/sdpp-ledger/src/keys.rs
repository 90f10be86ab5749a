//! The keys of `sdpp-proto` behind the signature traits of `sdpp-log`.

use sdpp_log::{KeyError, NoteSigner, NoteVerifier, SignatureType, VerifierKey};
use sdpp_proto::crypto;
use sdpp_proto::identity::SigningKey;

/// Checks signatures of notes as strictly as those of statements.
pub struct Verifier;

impl NoteVerifier for Verifier {
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        crypto::provider().verify(public, message, signature)
    }
}

/// Signs notes.
pub(crate) struct Signer<'a>(pub(crate) &'a SigningKey);

impl NoteSigner for Signer<'_> {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

/// The verifier key of a log: its name is the log's origin.
///
/// # Errors
/// [`KeyError::InvalidName`] for an origin with a space, a plus or a control character.
pub fn log_key(origin: &str, key: &SigningKey) -> Result<VerifierKey, KeyError> {
    VerifierKey::new(origin, SignatureType::Ed25519, *key.public().as_bytes())
}

/// The verifier key of a witness.
///
/// # Errors
/// [`KeyError::InvalidName`].
pub fn witness_key(name: &str, key: &SigningKey) -> Result<VerifierKey, KeyError> {
    VerifierKey::new(name, SignatureType::Cosignature, *key.public().as_bytes())
}

//! Real keys for the tests.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "every test takes what it needs")]

use ed25519_dalek::{Signature as Ed25519Signature, Signer, SigningKey, VerifyingKey};
use sdpp_log::{NoteSigner, NoteVerifier, SignatureType, VerifierKey};

/// A secret key that signs notes.
pub struct Secret(pub SigningKey);

impl Secret {
    pub fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub fn key(&self, name: &str, signature_type: SignatureType) -> VerifierKey {
        VerifierKey::new(name, signature_type, self.0.verifying_key().to_bytes()).unwrap()
    }
}

impl NoteSigner for Secret {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Checks signatures of notes.
pub struct Dalek;

impl NoteVerifier for Dalek {
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Ed25519Signature::from_bytes(signature);
        VerifyingKey::from_bytes(public).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

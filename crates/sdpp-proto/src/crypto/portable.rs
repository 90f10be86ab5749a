//! RustCrypto: no libc, no operating system.

use alloc::boxed::Box;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key as AesKey, Nonce, Tag};
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier, VerifyingKey};

use super::{Aead, NotAuthentic, Provider, Signer};

pub(super) struct Portable;

struct Key(Aes256Gcm);

impl Aead for Key {
    fn seal(&self, nonce: [u8; 12], aad: &[u8], [first, rest]: [&[u8]; 2], out: &mut [u8]) {
        let (sealed, tag_out) = out.split_at_mut(first.len().saturating_add(rest.len()));
        let (to_first, to_rest) = sealed.split_at_mut(first.len());
        to_first.copy_from_slice(first);
        to_rest.copy_from_slice(rest);
        let tag = self
            .0
            .encrypt_inout_detached(&Nonce::from(nonce), aad, sealed.into())
            .expect("AES-GCM seals anything below 64 GiB, and a frame is at most 128 KiB");
        tag_out.copy_from_slice(&tag);
    }

    fn open(&self, nonce: [u8; 12], aad: &[u8], buffer: &mut [u8]) -> Result<usize, NotAuthentic> {
        let plain_len = buffer.len().checked_sub(16).ok_or(NotAuthentic)?;
        let (plain, tail) = buffer.split_at_mut(plain_len);
        let mut tag = [0; 16];
        tag.copy_from_slice(tail);
        self.0
            .decrypt_inout_detached(&Nonce::from(nonce), aad, plain.into(), &Tag::from(tag))
            .map_err(|_| NotAuthentic)?;
        Ok(plain_len)
    }
}

struct Pair(SigningKey);

impl Signer for Pair {
    fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl Provider for Portable {
    fn name(&self) -> &'static str {
        "RustCrypto"
    }

    fn signer(&self, seed: &[u8; 32]) -> Box<dyn Signer> {
        Box::new(Pair(SigningKey::from_bytes(seed)))
    }

    fn aead(&self, key: &[u8; 32]) -> Box<dyn Aead> {
        Box::new(Key(Aes256Gcm::new(&AesKey::<Aes256Gcm>::from(*key))))
    }

    fn verify_cofactorless(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(public).is_ok_and(|key| key.verify(message, &Signature::from_bytes(signature)).is_ok())
    }
}

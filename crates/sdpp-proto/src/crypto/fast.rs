//! aws-lc-rs.

use alloc::boxed::Box;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::{Aead, NotAuthentic, Provider, Signer};

pub(super) struct Fast;

struct Key(LessSafeKey);

impl Aead for Key {
    fn seal(&self, nonce: [u8; 12], aad: &[u8], [first, rest]: [&[u8]; 2], out: &mut [u8]) {
        let (sealed, tail) = out.split_at_mut(first.len());
        self.0
            .seal_out_of_place_scatter(Nonce::assume_unique_for_key(nonce), Aad::from(aad), first, sealed, rest, tail)
            .expect("AES-GCM seals anything below 64 GiB, and a frame is at most 128 KiB");
    }

    fn open(&self, nonce: [u8; 12], aad: &[u8], buffer: &mut [u8]) -> Result<usize, NotAuthentic> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), buffer)
            .map(|plain| plain.len())
            .map_err(|_| NotAuthentic)
    }
}

struct Pair(Ed25519KeyPair);

impl Signer for Pair {
    fn public(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.public_key().as_ref());
        out
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(self.0.sign(message).as_ref());
        out
    }
}

impl Provider for Fast {
    fn name(&self) -> &'static str {
        "aws-lc-rs"
    }

    fn signer(&self, seed: &[u8; 32]) -> Box<dyn Signer> {
        Box::new(Pair(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed")))
    }

    fn aead(&self, key: &[u8; 32]) -> Box<dyn Aead> {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the 32 bytes of AES-256");
        Box::new(Key(LessSafeKey::new(key)))
    }

    fn verify_cofactorless(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
    }
}

//! The seam to cryptography: two providers, one behaviour (`spec/protocol.md` §3).
//!
//! [`fast`](Provider) is aws-lc-rs, for native builds; `portable` is RustCrypto, which needs neither
//! libc nor an operating system. Both are held to one set of vectors. The checks that the two
//! libraries do differently (encodings of points, small orders) are done here, once, for both.

use alloc::boxed::Box;

pub mod edwards;
#[cfg(feature = "fast")]
mod fast;
mod portable;

/// The seal did not open: another key, another counter or changed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAuthentic;

/// AES-256-GCM under one key.
pub trait Aead: Send + Sync {
    /// Seals two slices, one behind the other, into `out`, which has room for both and the tag of 16 bytes, and for
    /// nothing more: the plaintext is read where it lies.
    fn seal(&self, nonce: [u8; 12], aad: &[u8], plain: [&[u8]; 2], out: &mut [u8]);
    /// Opens in place: the last 16 bytes of `buffer` are the tag; gives the length of the plaintext.
    ///
    /// # Errors
    /// [`NotAuthentic`]; the buffer then holds nothing of use.
    fn open(&self, nonce: [u8; 12], aad: &[u8], buffer: &mut [u8]) -> Result<usize, NotAuthentic>;
}

/// An Ed25519 secret key that signs.
pub trait Signer: Send + Sync {
    /// The public key.
    fn public(&self) -> [u8; 32];
    /// Signs.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// What a backend must offer.
pub trait Provider: Sync {
    /// Name, for `doctor` and the benchmark.
    fn name(&self) -> &'static str;
    /// Makes a signer from a 32-byte seed (RFC 8032 §5.1.5).
    fn signer(&self, seed: &[u8; 32]) -> Box<dyn Signer>;
    /// Prepares AES-256-GCM.
    fn aead(&self, key: &[u8; 32]) -> Box<dyn Aead>;
    /// Cofactorless Ed25519, after the shared strict checks have passed. Not for direct use: call
    /// `verify`, which makes them.
    fn verify_cofactorless(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
}

impl dyn Provider {
    /// Verifies strictly: canonical, non-small-order A and R, S < L, cofactorless equation
    /// (`spec/protocol.md` §3). Every provider gives the same answer for every input.
    pub fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        edwards::acceptable(public, signature) && self.verify_cofactorless(public, message, signature)
    }
}

/// aws-lc-rs.
#[cfg(feature = "fast")]
pub fn fast() -> &'static dyn Provider {
    &fast::Fast
}

/// RustCrypto.
pub fn portable() -> &'static dyn Provider {
    &portable::Portable
}

/// The provider of this build: [`fast`] where the feature is on, else [`portable`].
pub fn provider() -> &'static dyn Provider {
    #[cfg(feature = "fast")]
    {
        fast()
    }
    #[cfg(not(feature = "fast"))]
    {
        portable()
    }
}

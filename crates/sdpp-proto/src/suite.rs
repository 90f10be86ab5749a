//! The suites: HPKE (RFC 9180) to seal orders and session keys (`spec/protocol.md` §4).
//!
//! Suite 1 is X25519; suite 2 is X-Wing (X25519 and ML-KEM-768), which protects contents against a
//! later quantum computer. Both use HKDF-SHA256 and AES-256-GCM. Entropy is an argument.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use minicbor::{Decode, Encode};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::{Zeroize, Zeroizing};

/// A way to agree on keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Suite {
    /// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
    #[n(1)]
    X25519,
    /// X-Wing, HKDF-SHA256, AES-256-GCM.
    #[n(2)]
    XWing,
}

/// Sealing or opening failed: wrong key, wrong context or changed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealError;

/// What sealing gives: the encapsulation, the ciphertext and the exported secret.
pub struct Sealed {
    /// Encapsulated key.
    pub enc: Vec<u8>,
    /// Ciphertext with its tag.
    pub ct: Vec<u8>,
    /// Exported secret of the HPKE context.
    pub export: Zeroizing<[u8; 32]>,
}

/// The sender's HPKE context before its one message: the encapsulation can be signed first.
pub struct Sender {
    enc: Vec<u8>,
    context: SenderContext,
}

type Context<K> = hpke::aead::AeadCtxS<AesGcm256, HkdfSha256, K>;

enum SenderContext {
    X25519(Context<X25519HkdfSha256>),
    XWing(Context<XWing>),
}

/// Secret half of a sealing key; both kinds erase themselves when they are dropped. It is kept as the library has it:
/// deriving it from its seed costs as much as opening with it.
pub struct SealSecret(Secret);

enum Secret {
    X25519(<X25519HkdfSha256 as Kem>::PrivateKey),
    XWing(Box<<XWing as Kem>::PrivateKey>),
}

impl Suite {
    /// Both suites, the stronger one first.
    pub const ALL: [Self; 2] = [Self::XWing, Self::X25519];

    /// Number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::X25519 => 1,
            Self::XWing => 2,
        }
    }

    /// The suite of this number.
    pub const fn of_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::X25519),
            2 => Some(Self::XWing),
            _ => None,
        }
    }

    /// Length of a public key in bytes.
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1216,
        }
    }

    /// Starts sealing to a public key. `seed` is 32 fresh random bytes, used for nothing else.
    ///
    /// # Errors
    /// [`SealError`]: not a public key of this suite.
    pub fn sender(self, public: &[u8], info: &[u8], seed: &Zeroizing<[u8; 32]>) -> Result<Sender, SealError> {
        fn setup<K: Kem>(
            public: &[u8],
            info: &[u8],
            seed: &Zeroizing<[u8; 32]>,
        ) -> Result<(Vec<u8>, Context<K>), SealError> {
            let public = K::PublicKey::from_bytes(public).map_err(|_| SealError)?;
            let mut rng = ChaCha20Rng::from_seed(**seed);
            let (enc, context) =
                hpke::setup_sender_with_rng(&OpModeS::<K>::Base, &public, info, &mut rng).map_err(|_| SealError)?;
            Ok((enc.to_bytes().to_vec(), context))
        }
        Ok(match self {
            Self::X25519 => {
                let (enc, context) = setup::<X25519HkdfSha256>(public, info, seed)?;
                Sender { enc, context: SenderContext::X25519(context) }
            }
            Self::XWing => {
                let (enc, context) = setup::<XWing>(public, info, seed)?;
                Sender { enc, context: SenderContext::XWing(context) }
            }
        })
    }
}

impl Sender {
    /// The encapsulation.
    pub fn enc(&self) -> &[u8] {
        &self.enc
    }

    /// Seals the one message and exports 32 bytes under `label`.
    ///
    /// # Errors
    /// [`SealError`], never for messages of a handshake's size.
    pub fn seal(self, plain: &[u8], aad: &[u8], label: &[u8]) -> Result<Sealed, SealError> {
        fn finish<K: Kem>(
            mut context: Context<K>,
            plain: &[u8],
            aad: &[u8],
            label: &[u8],
        ) -> Result<(Vec<u8>, Zeroizing<[u8; 32]>), SealError> {
            let mut export = Zeroizing::new([0; 32]);
            context.export(label, &mut *export).map_err(|_| SealError)?;
            Ok((context.seal(plain, aad).map_err(|_| SealError)?, export))
        }
        let (ct, export) = match self.context {
            SenderContext::X25519(context) => finish(context, plain, aad, label)?,
            SenderContext::XWing(context) => finish(context, plain, aad, label)?,
        };
        Ok(Sealed { enc: self.enc, ct, export })
    }
}

impl SealSecret {
    /// The key pair of a 32-byte seed (RFC 9180 `DeriveKeyPair`); gives the public key too.
    pub fn derive(suite: Suite, seed: &Zeroizing<[u8; 32]>) -> (Self, Vec<u8>) {
        match suite {
            Suite::X25519 => {
                let (secret, public) = X25519HkdfSha256::derive_keypair(&**seed);
                (Self(Secret::X25519(secret)), public.to_bytes().to_vec())
            }
            Suite::XWing => {
                let (secret, public) = XWing::derive_keypair(&**seed);
                (Self(Secret::XWing(Box::new(secret))), public.to_bytes().to_vec())
            }
        }
    }

    /// The suite of this key.
    pub const fn suite(&self) -> Suite {
        match self.0 {
            Secret::X25519(_) => Suite::X25519,
            Secret::XWing(_) => Suite::XWing,
        }
    }

    /// Opens one message and exports 32 bytes under `label`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, enc: &[u8], info: &[u8], sealed: (&[u8], &[u8]), label: &[u8]) -> Result<Opened, SealError> {
        fn open<K: Kem>(
            secret: &K::PrivateKey,
            enc: &[u8],
            info: &[u8],
            (ct, aad): (&[u8], &[u8]),
            label: &[u8],
        ) -> Result<Opened, SealError> {
            let enc = K::EncappedKey::from_bytes(enc).map_err(|_| SealError)?;
            let mut context = hpke::setup_receiver::<AesGcm256, HkdfSha256, K>(&OpModeR::Base, secret, &enc, info)
                .map_err(|_| SealError)?;
            let plain = context.open(ct, aad).map_err(|_| SealError)?;
            let mut export = Zeroizing::new([0; 32]);
            context.export(label, &mut *export).map_err(|_| SealError)?;
            Ok(Opened { plain: Zeroizing::new(plain), export })
        }
        match &self.0 {
            Secret::X25519(secret) => open::<X25519HkdfSha256>(secret, enc, info, sealed, label),
            Secret::XWing(secret) => open::<XWing>(secret, enc, info, sealed, label),
        }
    }
}

/// What opening gives.
pub struct Opened {
    /// The plaintext.
    pub plain: Zeroizing<Vec<u8>>,
    /// Exported secret of the HPKE context.
    pub export: Zeroizing<[u8; 32]>,
}

/// A generator that hands out seeds from one seed: entropy as an argument, kept apart by use.
///
/// What it has given does not follow from what it keeps: every draw erases the seed that it was made from. A machine
/// keeps its generator as long as it lives, and the key of its session must not be found there.
pub struct Entropy {
    seed: Zeroizing<[u8; 32]>,
}

impl Entropy {
    /// From 32 random bytes.
    pub fn new(mut seed: [u8; 32]) -> Self {
        let kept = Self { seed: Zeroizing::new(seed) };
        seed.zeroize();
        kept
    }

    /// 32 fresh bytes.
    pub fn draw(&mut self) -> Zeroizing<[u8; 32]> {
        use rand_core::Rng as _;
        let mut stream = ChaCha20Rng::from_seed(*self.seed);
        stream.fill_bytes(&mut *self.seed);
        let mut out = Zeroizing::new([0; 32]);
        stream.fill_bytes(&mut *out);
        out
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use rand_core::Rng as _;

    use super::*;

    #[test]
    fn what_was_drawn_does_not_follow_from_what_is_left() {
        let mut entropy = Entropy::new([7; 32]);
        let drawn = [(); 3].map(|()| entropy.draw());
        assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2]);
        // Whoever finds the generator now finds nothing that it has given.
        let kept = *entropy.seed;
        let mut stream = ChaCha20Rng::from_seed(kept);
        for block in 0..4096 {
            let mut bytes = [0; 32];
            stream.fill_bytes(&mut bytes);
            assert!(drawn.iter().all(|one| **one != bytes && **one != kept), "block {block}");
        }
    }
}

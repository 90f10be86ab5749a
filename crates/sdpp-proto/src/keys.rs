//! The key schedule (`spec/protocol.md` §4) and sealed frames under it.

use alloc::boxed::Box;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::crypto::{self, Aead, NotAuthentic, Provider};
use crate::limits::EPOCH_SHIFT;

/// HPKE export label of the traffic secret.
pub const EXPORT_TRAFFIC: &[u8] = b"SDPP/2 traffic";
/// HPKE info prefix of an order.
pub const INFO_ORDER: &[u8] = b"SDPP/2 order";
/// HPKE info prefix of a session.
pub const INFO_SESSION: &[u8] = b"SDPP/2 session";

/// Which way a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Seller to buyer.
    ToBuyer,
    /// Buyer to seller.
    ToSeller,
}

impl Direction {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::ToBuyer => b"s2b",
            Self::ToSeller => b"b2s",
        }
    }
}

fn expand(secret: &[u8; 32], label: &[u8], out: &mut [u8]) {
    Hkdf::<Sha256>::from_prk(secret)
        .expect("32 bytes are a pseudorandom key of HKDF-SHA256")
        .expand(label, out)
        .expect("HKDF-SHA256 gives up to 8,160 bytes");
}

/// The two first traffic secrets: `prk = Extract(th3, export)`, `s[0][dir] = Expand(prk, dir)`.
pub struct Traffic {
    prk: Zeroizing<[u8; 32]>,
}

impl Traffic {
    /// From the transcript and the exported secret of the session's HPKE context.
    pub fn new(th3: &[u8; 32], export: &Zeroizing<[u8; 32]>) -> Self {
        let (prk, _) = Hkdf::<Sha256>::extract(Some(th3), &**export);
        Self { prk: Zeroizing::new(prk.into()) }
    }

    /// The key of one direction.
    pub fn direction(&self, direction: Direction) -> TrafficKey {
        self.direction_by(direction, crypto::provider())
    }

    /// The same with a named provider.
    pub fn direction_by(&self, direction: Direction, provider: &'static dyn Provider) -> TrafficKey {
        let mut secret = Zeroizing::new([0; 32]);
        expand(&self.prk, direction.label(), &mut *secret);
        TrafficKey::new(secret, provider)
    }
}

/// The key of one direction; moves on by itself every 2^20 frames and erases what it leaves.
pub struct TrafficKey {
    provider: &'static dyn Provider,
    secret: Zeroizing<[u8; 32]>,
    epoch: u64,
    aead: Box<dyn Aead>,
    iv: Zeroizing<[u8; 12]>,
    counter: u64,
}

impl TrafficKey {
    fn new(secret: Zeroizing<[u8; 32]>, provider: &'static dyn Provider) -> Self {
        let (aead, iv) = Self::derive(&secret, provider);
        Self { provider, secret, epoch: 0, aead, iv, counter: 0 }
    }

    fn derive(secret: &[u8; 32], provider: &'static dyn Provider) -> (Box<dyn Aead>, Zeroizing<[u8; 12]>) {
        let mut key = Zeroizing::new([0; 32]);
        expand(secret, b"key", &mut *key);
        let mut iv = Zeroizing::new([0; 12]);
        expand(secret, b"iv", &mut *iv);
        (provider.aead(&key), iv)
    }

    /// Number of the next frame.
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// Moves to a later frame: for vectors, which show an epoch's end without a million frames.
    #[doc(hidden)]
    pub fn skip_to(&mut self, counter: u64) {
        self.counter = counter;
        self.turn();
    }

    fn turn(&mut self) {
        while self.epoch < self.counter >> EPOCH_SHIFT {
            let mut next = Zeroizing::new([0; 32]);
            expand(&self.secret, b"next", &mut *next);
            self.secret = next;
            (self.aead, self.iv) = Self::derive(&self.secret, self.provider);
            self.epoch = self.epoch.saturating_add(1);
        }
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = *self.iv;
        for (byte, count) in nonce.iter_mut().skip(4).zip(self.counter.to_be_bytes()) {
            *byte ^= count;
        }
        nonce
    }

    /// Seals the next frame: two slices, one behind the other, into `out`, which has room for both and
    /// [`TAG_LEN`](crate::limits::TAG_LEN) bytes. `None` after 2^64 − 1 frames, which no connection reaches.
    ///
    /// # Panics
    /// If `out` is longer or shorter.
    pub fn seal(&mut self, aad: &[u8], plain: [&[u8]; 2], out: &mut [u8]) -> Option<()> {
        self.turn();
        self.aead.seal(self.nonce(), aad, plain, out);
        self.counter = self.counter.checked_add(1)?;
        Some(())
    }

    /// Opens the next frame in place; gives the plaintext's length.
    ///
    /// # Errors
    /// [`NotAuthentic`]; the connection must end.
    pub fn open(&mut self, aad: &[u8], sealed: &mut [u8]) -> Result<usize, NotAuthentic> {
        self.turn();
        let length = self.aead.open(self.nonce(), aad, sealed)?;
        self.counter = self.counter.checked_add(1).ok_or(NotAuthentic)?;
        Ok(length)
    }
}

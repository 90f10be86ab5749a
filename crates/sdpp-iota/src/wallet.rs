//! A payer's key.

use std::fmt;

use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_crypto::simple::SimpleKeypair;
use iota_sdk_crypto::{IotaSigner as _, ToFromBech32 as _, ToFromBytes as _};
use iota_sdk_types::{Address, SenderSignedTransaction, Transaction};
use zeroize::Zeroizing;

/// A key that signs transactions, in the form of wallets: `iotaprivkey1…`.
pub struct Wallet {
    key: SimpleKeypair,
}

/// A text that is no key. It is not repeated: it may be one with a digit too few.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadKey;

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not a key as IOTA's wallets export it: iotaprivkey1…")
    }
}

impl std::error::Error for BadKey {}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wallet({})", self.address())
    }
}

impl Wallet {
    /// Reads a key as wallets export it.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn import(text: &str) -> Result<Self, BadKey> {
        SimpleKeypair::from_bech32(text.trim()).map(|key| Self { key }).map_err(|_| BadKey)
    }

    /// The seed of an Ed25519 key as wallets export it.
    ///
    /// # Errors
    /// [`BadKey`]: also where it is a key of another kind.
    pub fn seed_of(text: &str) -> Result<Zeroizing<[u8; 32]>, BadKey> {
        let key = Ed25519PrivateKey::from_bech32(text.trim()).map_err(|_| BadKey)?;
        Ok(Zeroizing::new(key.to_bytes()))
    }

    /// The Ed25519 key of a seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: Ed25519PrivateKey::new(*seed).into() }
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.key.public_key().derive_address()
    }

    /// Signs a transaction.
    ///
    /// # Errors
    /// The library's, which no key gives.
    pub fn sign(&self, transaction: &Transaction) -> Result<SenderSignedTransaction, BadKey> {
        let signature = self.key.sign_transaction(transaction).map_err(|_| BadKey)?;
        Ok(SenderSignedTransaction::new(transaction.clone(), vec![signature]))
    }
}

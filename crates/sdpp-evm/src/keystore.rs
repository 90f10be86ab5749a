//! Keys in the encrypted format that wallets exchange (Web3 Secret Storage, version 3).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::signers::local::{LocalSignerError, PrivateKeySigner};
use serde::Deserialize;

use crate::limits;

/// A locked key in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keystore {
    path: PathBuf,
    address: Option<Address>,
}

/// Why a key cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadKeystore {
    /// The file is not an encrypted key, or asks for more work than one does.
    Malformed,
    /// Not the passphrase, or the file was changed.
    Refused,
    /// The file or its folder cannot be used.
    Storage(String),
}

impl fmt::Display for BadKeystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is not the encrypted key of a wallet (a JSON file, version 3)"),
            Self::Refused => f.write_str("the passphrase is not the right one, or the file was changed"),
            Self::Storage(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BadKeystore {}

/// What can be read without the passphrase.
#[derive(Deserialize)]
struct Outside {
    version: u8,
    address: Option<String>,
    crypto: Crypto,
}

#[derive(Deserialize)]
struct Crypto {
    cipherparams: CipherParams,
    kdfparams: KdfParams,
}

#[derive(Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Deserialize)]
struct KdfParams {
    dklen: u8,
    /// Of scrypt: its memory.
    n: Option<u64>,
    r: Option<u32>,
}

impl Outside {
    /// The library takes these as they come: a file from elsewhere must not bring the program down.
    fn is_sane(&self) -> bool {
        let Crypto { cipherparams, kdfparams } = &self.crypto;
        let memory = kdfparams.n.unwrap_or(2).saturating_mul(u64::from(kdfparams.r.unwrap_or(1)));
        self.version == 3
            && cipherparams.iv.len() == 32
            && kdfparams.dklen == 32
            && kdfparams.n.is_none_or(u64::is_power_of_two)
            && memory <= limits::SCRYPT_BLOCKS_MAX
    }
}

impl Keystore {
    /// Looks at a keystore's file without opening it.
    ///
    /// # Errors
    /// [`BadKeystore::Malformed`], or `Storage` where it cannot be read.
    pub fn look(path: &Path) -> Result<Self, BadKeystore> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| BadKeystore::Storage(format!("{}: {error}", path.display())))?;
        let outside: Outside = serde_json::from_str(&text).map_err(|_| BadKeystore::Malformed)?;
        if !outside.is_sane() {
            return Err(BadKeystore::Malformed);
        }
        let address = outside.address.map(|address| address.parse::<Address>());
        let address = address.transpose().map_err(|_| BadKeystore::Malformed)?;
        Ok(Self { path: path.to_owned(), address })
    }

    /// The text of a file that locks a key. It is made as a file in `folder`, for a moment.
    ///
    /// # Errors
    /// [`BadKeystore::Storage`].
    pub fn lock(key: &PrivateKeySigner, passphrase: &[u8], folder: &Path) -> Result<String, BadKeystore> {
        let name = format!("wallet.new-{}", std::process::id());
        let locked = PrivateKeySigner::encrypt_keystore(folder, &mut OsRng, key.to_bytes(), passphrase, Some(&name));
        let path = folder.join(name);
        let text = fs::read_to_string(&path);
        // It is locked: one that stays tells nobody anything.
        let _ = fs::remove_file(&path);
        let storage = |error: &dyn fmt::Display| BadKeystore::Storage(format!("{}: {error}", folder.display()));
        locked.map_err(|error| storage(&error))?;
        // The library leaves the address out; with it a wallet can be shown without its passphrase.
        let mut all: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text.map_err(|error| storage(&error))?).map_err(|error| storage(&error))?;
        all.insert("address".to_owned(), format!("{:x}", key.address()).into());
        serde_json::to_string(&all).map_err(|error| storage(&error))
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`BadKeystore`].
    pub fn open(&self, passphrase: &[u8]) -> Result<PrivateKeySigner, BadKeystore> {
        let opened = PrivateKeySigner::decrypt_keystore(&self.path, passphrase);
        let key = opened.map_err(|error| match error {
            LocalSignerError::IoError(error) => BadKeystore::Storage(error.to_string()),
            LocalSignerError::EcdsaError(_) | LocalSignerError::HexError(_) | LocalSignerError::EthKeystoreError(_) => {
                BadKeystore::Refused
            }
        })?;
        if self.address.is_some_and(|address| address != key.address()) {
            return Err(BadKeystore::Refused);
        }
        Ok(key)
    }

    /// The account, where the file says it.
    pub const fn address(&self) -> Option<Address> {
        self.address
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    /// The example of the format's description, with PBKDF2.
    const KNOWN: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
        "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256",
        "salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sdpp-keystore-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_key_that_is_locked_opens_with_its_passphrase_only() {
        let folder = folder("own");
        let key = PrivateKeySigner::random();
        let text = Keystore::lock(&key, b"correct horse", &folder).unwrap();
        assert!(!text.contains(&key.to_bytes().to_string()[2..]));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
        let path = folder.join("wallet.json");
        fs::write(&path, text).unwrap();
        let locked = Keystore::look(&path).unwrap();
        assert_eq!(locked.address(), Some(key.address()));
        assert_eq!(locked.open(b"correct horse").unwrap().to_bytes(), key.to_bytes());
        assert_eq!(locked.open(b"wrong").unwrap_err(), BadKeystore::Refused);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_key_of_another_wallet_opens_and_a_file_that_asks_for_too_much_does_not() {
        let folder = folder("other");
        let path = folder.join("known.json");
        fs::write(&path, KNOWN).unwrap();
        let key = Keystore::look(&path).unwrap().open(b"testpassword").unwrap();
        assert_eq!(format!("{:x}", key.to_bytes()), "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
        for (from, to) in [
            ("\"c\":262144", "\"n\":4611686018427387904,\"r\":8"),
            ("\"c\":262144", "\"n\":262143,\"r\":8"),
            ("\"dklen\":32", "\"dklen\":16"),
            ("6087dab2f9fdbbfaddc31a909735c1e6", "60"),
            ("\"version\":3", "\"version\":1"),
        ] {
            fs::write(&path, KNOWN.replace(from, to)).unwrap();
            assert_eq!(Keystore::look(&path), Err(BadKeystore::Malformed), "{to}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}

//! A key's file: one line, in clear or locked by a passphrase.
//!
//! ```text
//! SDPP-SECRET-KEY-1 SEED
//! SDPP-SECRET-KEY-2 z6Mk… argon2id m=65536,t=3,p=4 SALT SEALED
//! ```
//! Bytes are lower-case hexadecimal digits. `SEALED` is the seed under AES-256-GCM with the key that
//! Argon2id makes of the passphrase; everything before it is authenticated with it. The salt is fresh
//! in every file, so each such key seals one thing, with the nonce 0.

use std::fmt;

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use sdpp_proto::identity::{PublicKey, SigningKey};
use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use crate::text::{hex, unhex};

/// What a key file begins with, so that nobody takes it for anything but a secret.
const CLEAR: &str = sdpp::identity::CLEAR;
const LOCKED: &str = "SDPP-SECRET-KEY-2";
const KDF: &str = "argon2id";
/// The second choice of RFC 9106 §4, for machines that have not gigabytes to spare.
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
/// Most that a file may ask for: no file makes a program take all memory, or work for hours.
const COST_MAX: Cost = Cost { memory_kib: 1024 * 1024, passes: 64, lanes: 16 };
const SALT_LEN: usize = 16;
const SEALED_LEN: usize = 32 + 16;
/// Longer than any line of either form.
pub(crate) const LINE_MAX: usize = 512;

/// A secret key, as it comes from the system's randomness.
pub(crate) type Seed = Zeroizing<[u8; 32]>;

/// Why a file gives no key. None of these has anything of the file or the passphrase in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyFileError {
    /// Not a line of either form.
    NotAKey,
    /// A form of a later version.
    Newer,
    /// It asks for more memory or time than any version writes.
    TooCostly,
    /// The passphrase does not open it, or the line was changed.
    Refused,
    /// This machine has not the memory that it needs.
    NoMemory,
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAKey => "this is not a key: put it back from your copy, or name another --home",
            Self::Newer => "this key was written by a newer version of sdpp",
            Self::TooCostly => "this key asks for more memory or time than any version writes: it was changed",
            Self::Refused => "the passphrase is wrong, or the file was changed",
            Self::NoMemory => "there is not enough memory to open the key with its passphrase",
        })
    }
}

impl std::error::Error for KeyFileError {}

/// What Argon2id takes for one guess.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let mut number = |name: &str| parts.next()?.strip_prefix(name)?.parse().ok();
        let cost = Self { memory_kib: number("m=")?, passes: number("t=")?, lanes: number("p=")? };
        // One spelling: no plus, no zeros in front, nothing behind.
        (cost.to_string() == text).then_some(cost)
    }

    const fn is_sane(self) -> bool {
        let Self { memory_kib, passes, lanes } = COST_MAX;
        self.memory_kib <= memory_kib && self.passes <= passes && self.lanes <= lanes
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={},t={},p={}", self.memory_kib, self.passes, self.lanes)
    }
}

/// A key's file.
pub(crate) enum KeyFile {
    /// Whoever reads it has the key.
    Clear(Seed),
    /// Whoever reads it needs the passphrase too.
    Locked(Locked),
}

/// A key under a passphrase.
pub(crate) struct Locked {
    public: PublicKey,
    cost: Cost,
    salt: [u8; SALT_LEN],
    sealed: [u8; SEALED_LEN],
}

impl KeyFile {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Result<Self, KeyFileError> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let (form, rest) = line.split_once(' ').ok_or(KeyFileError::NotAKey)?;
        match form {
            CLEAR => {
                let seed = Zeroizing::new(unhex(rest).ok_or(KeyFileError::NotAKey)?);
                Ok(Self::Clear(seed))
            }
            LOCKED => Locked::parse(rest).map(Self::Locked),
            newer if newer.starts_with("SDPP-SECRET-KEY-") => Err(KeyFileError::Newer),
            _ => Err(KeyFileError::NotAKey),
        }
    }

    /// The public half; that of a locked key is what its file says until it is opened.
    pub(crate) fn public(&self) -> PublicKey {
        match self {
            Self::Clear(seed) => SigningKey::from_seed(seed).public(),
            Self::Locked(locked) => locked.public,
        }
    }

    /// Whether it has a passphrase.
    pub(crate) const fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }
}

/// The line of a key: locked if there is a passphrase. `salt` is fresh randomness.
pub(crate) fn line(seed: &Seed, passphrase: Option<(&Passphrase, &Seed)>) -> Result<Zeroizing<String>, KeyFileError> {
    let mut line = Zeroizing::new(String::with_capacity(LINE_MAX));
    match passphrase {
        None => {
            line.push_str(CLEAR);
            line.push(' ');
            // Digit by digit: a formatted copy would stay behind in memory.
            for byte in seed.iter() {
                for digit in [byte >> 4, byte & 15] {
                    line.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
                }
            }
        }
        Some((passphrase, entropy)) => line.push_str(&Locked::seal(seed, passphrase, entropy, COST)?.line()),
    }
    line.push('\n');
    Ok(line)
}

impl Locked {
    fn parse(rest: &str) -> Result<Self, KeyFileError> {
        let mut words = rest.split(' ');
        let mut word = || words.next().ok_or(KeyFileError::NotAKey);
        let public = word()?.parse().map_err(|_| KeyFileError::NotAKey)?;
        if word()? != KDF {
            return Err(KeyFileError::Newer);
        }
        let cost = Cost::parse(word()?).ok_or(KeyFileError::NotAKey)?;
        let salt = unhex(word()?).ok_or(KeyFileError::NotAKey)?;
        let sealed = unhex(word()?).ok_or(KeyFileError::NotAKey)?;
        let locked = Self { public, cost, salt, sealed };
        match words.next() {
            None if cost.is_sane() => Ok(locked),
            None => Err(KeyFileError::TooCostly),
            Some(_) => Err(KeyFileError::NotAKey),
        }
    }

    fn seal(seed: &Seed, passphrase: &Passphrase, entropy: &Seed, cost: Cost) -> Result<Self, KeyFileError> {
        let public = SigningKey::from_seed(seed).public();
        let mut locked = Self { public, cost, salt: [0; SALT_LEN], sealed: [0; SEALED_LEN] };
        locked.salt.iter_mut().zip(entropy.iter()).for_each(|(salt, fresh)| *salt = *fresh);
        let cipher = locked.cipher(passphrase)?;
        let mut secret = seed.clone();
        let tag = cipher.encrypt_inout_detached(&Nonce::default(), locked.head().as_bytes(), (&mut secret[..]).into());
        let tag = tag.map_err(|_| KeyFileError::Refused)?;
        let parts = secret.iter().chain(tag.iter());
        locked.sealed.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        Ok(locked)
    }

    /// The key, if this is its passphrase.
    pub(crate) fn open(&self, passphrase: &Passphrase) -> Result<Seed, KeyFileError> {
        let cipher = self.cipher(passphrase)?;
        let mut seed = Zeroizing::new([0; 32]);
        let mut tag = Tag::default();
        let parts = seed.iter_mut().chain(tag.iter_mut());
        parts.zip(self.sealed).for_each(|(to, from)| *to = from);
        let opened =
            cipher.decrypt_inout_detached(&Nonce::default(), self.head().as_bytes(), (&mut seed[..]).into(), &tag);
        opened.map_err(|_| KeyFileError::Refused)?;
        if SigningKey::from_seed(&seed).public() == self.public { Ok(seed) } else { Err(KeyFileError::Refused) }
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<Aes256Gcm, KeyFileError> {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| KeyFileError::TooCostly)?;
        let mut memory = Zeroizing::new(Vec::new());
        let blocks = params.block_count();
        memory.try_reserve_exact(blocks).map_err(|_| KeyFileError::NoMemory)?;
        memory.resize(blocks, Block::default());
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.as_bytes(), &self.salt, &mut key[..], &mut memory[..])
            .map_err(|_| KeyFileError::TooCostly)?;
        Aes256Gcm::new_from_slice(&key[..]).map_err(|_| KeyFileError::Refused)
    }

    /// All before the sealed seed.
    fn head(&self) -> String {
        format!("{LOCKED} {} {KDF} {} {}", self.public, self.cost, hex(&self.salt))
    }

    fn line(&self) -> String {
        format!("{} {}", self.head(), hex(&self.sealed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So cheap that a test can try every byte.
    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn seed(byte: u8) -> Seed {
        Zeroizing::new([byte; 32])
    }

    fn locked(text: &str) -> Result<Locked, KeyFileError> {
        match KeyFile::parse(text)? {
            KeyFile::Locked(locked) => Ok(locked),
            KeyFile::Clear(_) => panic!("in clear"),
        }
    }

    #[test]
    fn a_locked_key_opens_with_its_passphrase_only() {
        let right = Passphrase::new("correct horse".to_owned()).unwrap();
        let wrong = Passphrase::new("correct horsf".to_owned()).unwrap();
        let line = Locked::seal(&seed(7), &right, &seed(9), CHEAP).unwrap().line();
        assert!(!line.contains(&hex(&[7; 32])));
        let read = locked(&line).unwrap();
        assert_eq!(read.public, SigningKey::from_seed(&seed(7)).public());
        assert_eq!(*read.open(&right).unwrap(), [7; 32]);
        assert_eq!(read.open(&wrong).err(), Some(KeyFileError::Refused));
        // The whole line is authenticated.
        for at in 0..line.len() {
            let mut changed = line.clone().into_bytes();
            *changed.get_mut(at).unwrap() ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(locked(&changed).and_then(|locked| locked.open(&right)).is_err(), "{at}: {changed}");
        }
        // Sealed again, nothing but the public half is the same.
        let again = Locked::seal(&seed(7), &right, &seed(10), CHEAP).unwrap();
        assert!(again.salt != read.salt && again.sealed != read.sealed);
    }

    #[test]
    fn a_file_cannot_ask_for_all_memory() {
        let right = Passphrase::new("correct horse".to_owned()).unwrap();
        let line = Locked::seal(&seed(7), &right, &seed(9), CHEAP).unwrap().line();
        for costly in ["m=4294967295,t=1,p=1", "m=8,t=65,p=1", "m=8,t=1,p=17"] {
            let asked = line.replace("m=8,t=1,p=1", costly);
            assert_eq!(locked(&asked).err(), Some(KeyFileError::TooCostly), "{costly}");
        }
        for bad in ["m=8,t=1,p=01", "m=8,t=1", "m=8,t=1,p=1,x=1", "t=1,m=8,p=1", "m=+8,t=1,p=1"] {
            let asked = line.replace("m=8,t=1,p=1", bad);
            assert_eq!(locked(&asked).err(), Some(KeyFileError::NotAKey), "{bad}");
        }
        assert!(COST.is_sane());
        assert_eq!(locked(&line.replace(KDF, "scrypt")).err(), Some(KeyFileError::Newer));
        assert_eq!(KeyFile::parse("SDPP-SECRET-KEY-3 x").err(), Some(KeyFileError::Newer));
        assert_eq!(KeyFile::parse("hello world").err(), Some(KeyFileError::NotAKey));
    }

    #[test]
    fn both_forms_are_one_line_within_their_limit() {
        let passphrase = Passphrase::new("correct horse".to_owned()).unwrap();
        let clear = line(&seed(7), None).unwrap();
        assert_eq!(*clear, format!("SDPP-SECRET-KEY-1 {}\n", "07".repeat(32)));
        let shut = line(&seed(7), Some((&passphrase, &seed(9)))).unwrap();
        assert!(shut.contains(" argon2id m=65536,t=3,p=4 ") && shut.len() <= LINE_MAX);
        assert_eq!(*locked(&shut).unwrap().open(&passphrase).unwrap(), [7; 32]);
    }
}

//! The keys of a role: the one that it uses, the next one, and those that it had.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sdpp_proto::identity::SigningKey;
use sdpp_rail::failpoint::{self, Deed};

use super::file::{self, KeyFile, KeyFileError, LINE_MAX, Seed};
use super::passphrase::{self, Passphrase};
use crate::home::{Failure, RoleHome, create, failed, read_secret, replace, sync_folder_of};

/// The key in use.
pub(crate) const KEY: &str = "key";
/// The one that takes over.
const NEXT: &str = "key.next";
/// Those that were, with a number.
const OLD: &str = "key.old-";
/// Most old keys of a role.
const OLD_MAX: u32 = 10_000;
/// Names another key of the role for one command: an old one that still has to settle something.
const CHOICE: &str = "SDPP_KEY";

/// A key that is open, and what its file is locked with.
pub(crate) struct Unlocked {
    pub(crate) seed: Seed,
    pub(super) passphrase: Option<Passphrase>,
}

impl Unlocked {
    pub(crate) fn key(&self) -> SigningKey {
        SigningKey::from_seed(&self.seed)
    }
}

impl RoleHome {
    /// The role's key; made on first use, which is said.
    pub(crate) fn key(&self) -> Result<SigningKey, Failure> {
        Ok(self.unlocked()?.key())
    }

    /// The same, with what its file is locked with.
    pub(crate) fn unlocked(&self) -> Result<Unlocked, Failure> {
        let name = chosen()?;
        let path = self.file(&name);
        if let Some(file) = read(&path)? {
            return self.open(&path, file);
        }
        if name != KEY {
            return Err(format!("{CHOICE}={name}: there is no {}", path.display()).into());
        }
        let made = Unlocked { seed: sdpp::entropy::draw()?, passphrase: passphrase::given()? };
        if self.make(KEY, &made)? {
            eprintln!("made a key for the {}: {} (keep a copy in a safe place)", self.role(), path.display());
            return Ok(made);
        }
        // Another process was first: what is kept counts.
        let file = read(&path)?.ok_or_else(|| format!("{} is gone again", path.display()))?;
        self.open(&path, file)
    }

    /// The same, but only ever the key in use.
    pub(super) fn unlocked_current(&self) -> Result<Unlocked, Failure> {
        match chosen()?.as_str() {
            KEY => self.unlocked(),
            old => Err(format!("{CHOICE}={old}: only the key in use gives way to another").into()),
        }
    }

    /// What is in the file of a key, without opening it.
    pub(crate) fn key_file(&self, name: &str) -> Result<Option<KeyFile>, Failure> {
        read(&self.file(name))
    }

    /// Opens a key's file, which may need a passphrase.
    pub(crate) fn open(&self, path: &Path, file: KeyFile) -> Result<Unlocked, Failure> {
        match file {
            KeyFile::Clear(seed) => Ok(Unlocked { seed, passphrase: None }),
            KeyFile::Locked(locked) => {
                let whose = format!("the {}'s key {}", self.role(), path.display());
                let wrong = |error: &Named| error.what == KeyFileError::Refused;
                let open = |passphrase: &Passphrase| {
                    locked.open(passphrase).map_err(|what| Named { path: path.to_owned(), what })
                };
                let (seed, passphrase) = passphrase::open(&whose, wrong, open)?;
                Ok(Unlocked { seed, passphrase: Some(passphrase) })
            }
        }
    }

    /// Makes a key's file unless there is one; says whether it did.
    fn make(&self, name: &str, key: &Unlocked) -> Result<bool, Failure> {
        create(&self.file(name), line(&key.seed, key.passphrase.as_ref())?.as_bytes())
    }

    /// Locks a key's file anew, or leaves it in clear.
    pub(crate) fn lock(&self, name: &str, seed: &Seed, passphrase: Option<&Passphrase>) -> Result<(), Failure> {
        replace(&self.file(name), line(seed, passphrase)?.as_bytes())
    }

    /// The key that takes over, locked like the one in use; the same one until it has.
    pub(super) fn next(&self, like: &Unlocked) -> Result<SigningKey, Failure> {
        let path = self.file(NEXT);
        if read(&path)?.is_none() {
            let passphrase = like.passphrase.as_ref();
            create(&path, line(&sdpp::entropy::draw()?, passphrase)?.as_bytes())?;
        }
        match read(&path)?.ok_or_else(|| format!("{} is gone again", path.display()))? {
            KeyFile::Clear(seed) => Ok(SigningKey::from_seed(&seed)),
            // Whoever just opened the one in use need not be asked again.
            KeyFile::Locked(locked) => match like.passphrase.as_ref().map(|passphrase| locked.open(passphrase)) {
                Some(Ok(seed)) => Ok(SigningKey::from_seed(&seed)),
                Some(Err(_)) | None => Ok(self.open(&path, KeyFile::Locked(locked))?.key()),
            },
        }
    }

    /// The key that takes over does. Gives where the old one is.
    pub(super) fn switch(&self) -> Result<PathBuf, Failure> {
        let old = self.put_by()?;
        let (next, path) = (self.file(NEXT), self.file(KEY));
        failpoint::before(Deed::NextKey);
        fs::rename(&next, &path).map_err(|error| failed(&path, &error))?;
        failpoint::after(Deed::NextKey);
        sync_folder_of(&path)?;
        Ok(old)
    }

    /// Another key takes over: this line. Gives where the old one is.
    pub(super) fn switch_to(&self, line: &str) -> Result<PathBuf, Failure> {
        let old = self.put_by()?;
        replace(&self.file(KEY), line.as_bytes())?;
        Ok(old)
    }

    /// The role has no key any more, until it needs one. Gives where the old one is.
    pub(super) fn retire(&self) -> Result<PathBuf, Failure> {
        let old = self.put_by()?;
        let path = self.file(KEY);
        failpoint::before(Deed::RetireKey);
        fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
        failpoint::after(Deed::RetireKey);
        sync_folder_of(&path)?;
        Ok(old)
    }

    /// Keeps the key in use under an old key's name as well, before another takes its place.
    fn put_by(&self) -> Result<PathBuf, Failure> {
        let path = self.file(KEY);
        for number in 1..=OLD_MAX {
            let old = self.file(&format!("{OLD}{number}"));
            failpoint::before(Deed::OldKey);
            let kept = fs::hard_link(&path, &old);
            failpoint::after(Deed::OldKey);
            match kept {
                Ok(()) => {
                    sync_folder_of(&old)?;
                    return Ok(old);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&old, &error).into()),
            }
        }
        Err(format!("the {} has {OLD_MAX} old keys", self.role()).into())
    }

    /// The names of all files with keys: old ones, the next one, and at last the one in use.
    pub(super) fn key_names(&self) -> Result<Vec<String>, Failure> {
        let folder = self.file("");
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, &error))? {
            let name = entry.map_err(|error| failed(&folder, &error))?.file_name();
            names.extend(name.to_str().filter(|name| is_old(name)).map(str::to_owned));
        }
        names.sort();
        for name in [NEXT, KEY] {
            names.extend(self.file(name).exists().then(|| name.to_owned()));
        }
        Ok(names)
    }
}

/// What is wrong with which file.
struct Named {
    path: PathBuf,
    what: KeyFileError,
}

impl From<Named> for Failure {
    fn from(named: Named) -> Self {
        format!("{}: {}", named.path.display(), named.what).into()
    }
}

fn is_old(name: &str) -> bool {
    name.strip_prefix(OLD).is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn chosen() -> Result<String, Failure> {
    let Some(name) = std::env::var_os(CHOICE).filter(|name| !name.is_empty()) else { return Ok(KEY.to_owned()) };
    let name = name.to_str().filter(|name| *name == KEY || is_old(name)).map(str::to_owned);
    name.ok_or_else(|| format!("{CHOICE} names a key of the role: {KEY}, or {OLD}1 and so on").into())
}

/// Reads a file that has a key.
pub(super) fn read(path: &Path) -> Result<Option<KeyFile>, Failure> {
    let Some(text) = read_secret(path, LINE_MAX)? else { return Ok(None) };
    KeyFile::parse(&text).map(Some).map_err(|what| Named { path: path.to_owned(), what }.into())
}

/// The line of a key's file.
pub(super) fn line(seed: &Seed, passphrase: Option<&Passphrase>) -> Result<zeroize::Zeroizing<String>, Failure> {
    let salt = sdpp::entropy::draw()?;
    Ok(file::line(seed, passphrase.map(|passphrase| (passphrase, &salt)))?)
}

//! Where a passphrase comes from: the environment, a file, or somebody at a terminal.

use std::fmt;
use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::home::Failure;

/// Shortest passphrase that is taken for a new lock.
const CHARS_MIN: usize = 8;
/// Longest passphrase.
const BYTES_MAX: usize = 1024;
/// Times that somebody at a terminal may try.
const TRIES_MAX: usize = 3;

/// Opens a key that has one; it never leaves memory, and is erased from there.
pub(crate) struct Passphrase(Zeroizing<String>);

/// Two variables of the environment: the passphrase itself, or the file that has it.
#[derive(Clone, Copy)]
struct Variables {
    text: &'static str,
    file: &'static str,
}

const PRESENT: Variables = Variables { text: "SDPP_PASSPHRASE", file: "SDPP_PASSPHRASE_FILE" };
const NEW: Variables = Variables { text: "SDPP_NEW_PASSPHRASE", file: "SDPP_NEW_PASSPHRASE_FILE" };

/// Why there is no passphrase. Nothing of it is in here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoPassphrase {
    Empty,
    TooShort,
    TooLong,
    NotText,
    Differ,
}

impl fmt::Display for NoPassphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the passphrase is empty"),
            Self::TooShort => write!(f, "a new passphrase has at least {CHARS_MIN} characters, better several words"),
            Self::TooLong => write!(f, "a passphrase has at most {BYTES_MAX} bytes"),
            Self::NotText => f.write_str("the passphrase is not text in UTF-8"),
            Self::Differ => f.write_str("the two are not the same: nothing was changed"),
        }
    }
}

impl std::error::Error for NoPassphrase {}

impl Passphrase {
    pub(crate) fn new(text: String) -> Result<Self, NoPassphrase> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(NoPassphrase::Empty);
        }
        if text.len() > BYTES_MAX {
            return Err(NoPassphrase::TooLong);
        }
        Ok(Self(text))
    }

    /// One for a new lock.
    fn long_enough(self) -> Result<Self, NoPassphrase> {
        if self.0.chars().count() < CHARS_MIN { Err(NoPassphrase::TooShort) } else { Ok(self) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Variables {
    fn given(self) -> Result<Option<Passphrase>, Failure> {
        if let Some(text) = std::env::var_os(self.text).filter(|text| !text.is_empty()) {
            let text = text.into_string().map_err(|_| format!("{}: {}", self.text, NoPassphrase::NotText))?;
            return Ok(Some(Passphrase::new(text).map_err(|error| format!("{}: {error}", self.text))?));
        }
        let Some(path) = std::env::var_os(self.file).filter(|path| !path.is_empty()) else { return Ok(None) };
        let path = Path::new(&path);
        read(path).map(Some).map_err(|error| format!("{}={}: {error}", self.file, path.display()).into())
    }
}

/// The first line of a file.
fn read(path: &Path) -> Result<Passphrase, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MAX.saturating_add(3)));
    let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX).saturating_add(3);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| NoPassphrase::NotText)?;
    Ok(Passphrase::new(text.to_owned())?)
}

fn asked(prompt: &str) -> Result<Passphrase, Failure> {
    Ok(Passphrase::new(rpassword::prompt_password(prompt)?)?)
}

/// The passphrase that the environment gives, if it does: a key that is made is locked by it.
pub(crate) fn given() -> Result<Option<Passphrase>, Failure> {
    PRESENT.given()
}

/// Opens what has a passphrase: with the one of the environment, else with what somebody types.
pub(crate) fn open<T, E: Into<Failure>>(
    whose: &str,
    may_retry: impl Fn(&E) -> bool,
    mut open: impl FnMut(&Passphrase) -> Result<T, E>,
) -> Result<(T, Passphrase), Failure> {
    if let Some(passphrase) = given()? {
        return open(&passphrase).map(|opened| (opened, passphrase)).map_err(Into::into);
    }
    if !std::io::stdin().is_terminal() {
        return Err(format!(
            "{whose} has a passphrase, and nobody is here to type it: set {} to a file that has it (a credential of \
             systemd, for example), or {} to itself",
            PRESENT.file, PRESENT.text
        )
        .into());
    }
    let mut tries = 1;
    loop {
        let passphrase = asked(&format!("passphrase of {whose}: "))?;
        match open(&passphrase) {
            Ok(opened) => return Ok((opened, passphrase)),
            Err(error) if may_retry(&error) && tries < TRIES_MAX => {
                tries = tries.saturating_add(1);
                eprintln!("{}", error.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A passphrase for a new lock. Where a key has none yet, the usual variables name the new one.
pub(crate) fn fresh(whose: &str, has_one: bool) -> Result<Passphrase, Failure> {
    let given = match NEW.given()? {
        None if !has_one => PRESENT.given()?,
        given => given,
    };
    if let Some(given) = given {
        return Ok(given.long_enough()?);
    }
    if !std::io::stdin().is_terminal() {
        let Variables { text, file } = if has_one { NEW } else { PRESENT };
        let why =
            format!("nobody is here to type a new passphrase: set {file} to a file that has it, or {text} to itself");
        return Err(why.into());
    }
    let first = asked(&format!("new passphrase for {whose}: "))?.long_enough()?;
    let second = asked("the same again: ")?;
    if first.as_bytes() == second.as_bytes() { Ok(first) } else { Err(NoPassphrase::Differ.into()) }
}

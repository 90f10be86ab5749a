//! Where the public data of a ledger comes from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use sdpp_log::TilePath;
use sdpp_log::limits::{NOTE_BYTES_MAX, TILE_WIDTH};

use crate::limits::ENTRY_MAX;

/// Largest tile or bundle.
const TILE_BYTES_MAX: usize = TILE_WIDTH as usize * (ENTRY_MAX + 2);

/// Why something cannot be read. The text is for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceError {
    /// It is not there.
    NotThere,
    /// It is longer than such a thing may be.
    TooLong,
    /// Reading it failed.
    Failed(String),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere => f.write_str("it is not there"),
            Self::TooLong => f.write_str("it is longer than it may be"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SourceError {}

/// The public data of a ledger (C2SP tlog-tiles). Read by many threads at once.
pub trait Source: Sync {
    /// The checkpoint's note.
    ///
    /// # Errors
    /// [`SourceError`].
    fn checkpoint(&self) -> Result<Vec<u8>, SourceError>;

    /// A tile or an entry bundle.
    ///
    /// # Errors
    /// [`SourceError`].
    fn tile(&self, path: TilePath) -> Result<Vec<u8>, SourceError>;
}

/// A folder of published files.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder with the file `checkpoint`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn read(&self, name: &str, max: usize) -> Result<Vec<u8>, SourceError> {
        let path = self.0.join(name);
        let failed = |error: io::Error| {
            if error.kind() == io::ErrorKind::NotFound {
                SourceError::NotThere
            } else {
                SourceError::Failed(format!("{}: {error}", path.display()))
            }
        };
        let mut bytes = Vec::new();
        let most = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        File::open(&path).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > max { Err(SourceError::TooLong) } else { Ok(bytes) }
    }
}

impl Source for Folder {
    fn checkpoint(&self) -> Result<Vec<u8>, SourceError> {
        self.read("checkpoint", NOTE_BYTES_MAX)
    }

    fn tile(&self, path: TilePath) -> Result<Vec<u8>, SourceError> {
        self.read(&path.to_string(), TILE_BYTES_MAX)
    }
}

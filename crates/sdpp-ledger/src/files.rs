//! Checkpoint and tiles as files, for mirrors, auditors and any web server (C2SP tlog-tiles).
//!
//! They are derived from the store and may be deleted at any time: what is missing is written again
//! from where the published checkpoint stands. Each file is written beside its place, flushed and
//! renamed; the checkpoint comes last, so whoever reads it finds every tile that it needs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use sdpp_log::{Edge, SignedCheckpoint, TileKind, TilePath, VerifierKey, limits as log_limits};
use sdpp_rail::failpoint::{self, Deed};

use crate::keys::Verifier;
use crate::ledger::StartError;
use crate::limits;
use crate::public::{Public, Published};
use crate::sync::{Receiver, thread};

/// Name of the checkpoint's file.
const CHECKPOINT: &str = "checkpoint";

/// A folder of published files.
pub(crate) struct Files {
    folder: PathBuf,
    /// Size of the published checkpoint.
    size: u64,
    /// Its note.
    note: String,
}

impl Files {
    /// Opens a folder, or makes it. What it shows must be a part of the log: a larger checkpoint is
    /// a sign that the store is an old backup.
    pub(crate) fn open(folder: PathBuf, key: &VerifierKey, public: &Public, edge: &Edge) -> Result<Self, StartError> {
        let failed = |error: io::Error| StartError::Folder(format!("{}: {error}", folder.display()));
        fs::create_dir_all(&folder).map_err(failed)?;
        let note = match fs::read(folder.join(CHECKPOINT)) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { folder, size: 0, note: String::new() });
            }
            Err(error) => return Err(failed(error)),
        };
        let keys = std::slice::from_ref(key);
        let signed = SignedCheckpoint::open(&note, key.name(), keys, &Verifier).map_err(|error| {
            StartError::Folder(format!("{}: not a checkpoint of this log ({error})", folder.display()))
        })?;
        let (shown, size) = (signed.checkpoint(), edge.size());
        if shown.size() > size {
            return Err(StartError::RolledBack { size, witnessed: shown.size() });
        }
        if public.root(edge, shown.size()).map_err(|_| StartError::WrongCheckpoint)? != shown.root() {
            return Err(StartError::Forked);
        }
        let (size, note) = (shown.size(), signed.note().to_string());
        // Files that somebody removed, or a power cut took: then all are written again.
        if !tiles_of(size).all(|path| folder.join(path.to_string()).is_file()) {
            return Ok(Self { folder, size: 0, note: String::new() });
        }
        Ok(Self { folder, size, note })
    }

    /// Writes the newest published tree whenever it is told that there is one, now and then at most.
    pub(crate) fn run(mut self, public: &Public, nudges: &Receiver<()>) {
        let (mut going, mut behind) = (true, false);
        while going {
            going = if behind {
                // The store has everything: try again from the same place, also where nothing is new.
                let pause = Duration::from_millis(limits::FILES_RETRY_MS);
                nudges.recv_timeout(pause) != Err(RecvTimeoutError::Disconnected)
            } else {
                nudges.recv().is_ok()
            };
            let published = public.now();
            let outcome = self.publish(public, &published);
            if let Err(error) = &outcome {
                tracing::warn!(folder = %self.folder.display(), %error, "published files are behind");
            }
            behind = outcome.is_err();
            if going {
                thread::sleep(Duration::from_millis(limits::FILES_EVERY_MS));
            }
        }
    }

    /// Brings the folder to a published tree.
    pub(crate) fn publish(&mut self, public: &Public, published: &Published) -> io::Result<()> {
        let (old, new) = (self.size, published.edge.size());
        // Nothing is shown before a ledger has started.
        if published.note.is_empty() || self.note == *published.note {
            return Ok(());
        }
        let mut round = Round { folder: &self.folder, touched: BTreeSet::new() };
        for level in 0..=log_limits::TILE_LEVEL_MAX {
            let kind = TileKind::Hashes { level };
            if TilePath::last(kind, new).is_none() {
                break;
            }
            round.tiles(kind, old, new, public)?;
        }
        round.tiles(TileKind::Entries, old, new, public)?;
        round.sync()?;
        round.file(Path::new(CHECKPOINT), published.note.as_bytes())?;
        round.sync()?;
        (self.size, self.note) = (new, published.note.to_string());
        Ok(())
    }
}

/// All tiles and bundles that a tree of this size has.
fn tiles_of(size: u64) -> impl Iterator<Item = TilePath> {
    let hashes = (0..=log_limits::TILE_LEVEL_MAX).map(|level| TileKind::Hashes { level });
    let kinds = hashes.take_while(move |kind| TilePath::last(*kind, size).is_some()).chain([TileKind::Entries]);
    kinds.flat_map(move |kind| {
        let count = TilePath::last(kind, size).map_or(0, |last| last.index().saturating_add(1));
        (0..count).filter_map(move |index| TilePath::within(kind, index, size))
    })
}

/// One round of writing.
struct Round<'a> {
    folder: &'a Path,
    /// Folders with new names, to be flushed.
    touched: BTreeSet<PathBuf>,
}

impl Round<'_> {
    /// Writes the tiles of a kind that a tree of `new` leaves has and one of `old` leaves had not.
    fn tiles(&mut self, kind: TileKind, old: u64, new: u64, public: &Public) -> io::Result<()> {
        let Some(last) = TilePath::last(kind, new) else { return Ok(()) };
        let begun = TilePath::last(kind, old);
        let first = match begun {
            Some(tile) if tile.is_partial() => tile.index(),
            Some(tile) => tile.index().saturating_add(1),
            None => 0,
        };
        for index in first..=last.index() {
            let width = if index == last.index() { last.width() } else { log_limits::TILE_WIDTH };
            let path = TilePath::new(kind, index, width).map_err(|error| io::Error::other(error.to_string()))?;
            if begun == Some(path) {
                continue;
            }
            let bytes = public.tile(path).map_err(|error| io::Error::other(error.to_string()))?;
            let name = path.to_string();
            self.file(Path::new(&name), &bytes)?;
            if !path.is_partial() {
                self.forget_partials(&name)?;
            }
        }
        Ok(())
    }

    /// A full tile replaces its partial ones.
    fn forget_partials(&self, full: &str) -> io::Result<()> {
        failpoint::before(Deed::Partials);
        let removed = fs::remove_dir_all(self.folder.join(format!("{full}.p")));
        failpoint::after(Deed::Partials);
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes a file beside its place, flushes and renames it.
    fn file(&mut self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(self.folder).to_owned();
        fs::create_dir_all(&parent)?;
        let beside = parent.join(".new");
        failpoint::before(Deed::Tile);
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        failpoint::after(Deed::Tile);
        failpoint::before(Deed::PlaceTile);
        fs::rename(&beside, &path)?;
        failpoint::after(Deed::PlaceTile);
        // A folder that is new is a name in the one above it.
        self.touched.extend(parent.ancestors().take_while(|above| above.starts_with(self.folder)).map(Path::to_owned));
        Ok(())
    }

    /// Flushes the folders that have new names.
    fn sync(&mut self) -> io::Result<()> {
        failpoint::before(Deed::Tiles);
        let synced = std::mem::take(&mut self.touched).iter().try_for_each(|folder| File::open(folder)?.sync_all());
        failpoint::after(Deed::Tiles);
        synced
    }
}

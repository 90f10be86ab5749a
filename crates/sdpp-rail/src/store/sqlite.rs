//! The store for people: one SQLite file, which anyone can open with `sqlite3`.
//!
//! Tables: `row(stream, position, body)`, `head(key, value)`, `meta(key, value)`, and views for people;
//! `docs/journal.md` says how to read them. The file belongs to one process at a time, by a lock on the file beside it (`NAME.lock`), which a kill releases;
//! reading along with `sqlite3` is possible at any time.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension as _, params};

use super::{Durability, Head, Row, Store, StoreError, StoreReader};
use crate::failpoint::{self, Deed};

mod checkpoint;
mod db;

use checkpoint::Checkpointer;
use db::{Db, failed};

const APPEND: &str = "INSERT INTO row (stream, position, body) VALUES (?1, ?2, ?3)";
const LAST: &str = "SELECT max(position) FROM row WHERE stream = ?1";
const STREAM_FROM: &str = "SELECT stream FROM row WHERE stream >= ?1 ORDER BY stream LIMIT 1";
const STREAM_AFTER: &str = "SELECT stream FROM row WHERE stream > ?1 ORDER BY stream LIMIT 1";
const PUT: &str =
    "INSERT INTO head (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// What a store's file says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreInfo {
    /// The format: older ones are brought up to date when the store is opened.
    pub format: usize,
    /// What its flushes are worth; none if it was never opened since there are classes in it.
    pub durability: Option<Durability>,
}

/// A [`Store`] in an SQLite file.
///
/// All that is written between two flushes is one transaction. After an error of a write the store
/// takes the transaction back and refuses further writes until it is opened again; opening shows
/// whether a flush that failed became durable after all.
pub struct SqliteStore {
    // Fields are dropped in this order: the connections close before the lock is released.
    checkpointer: Checkpointer,
    db: Db,
    _lock: Lock,
    /// A transaction was begun and not ended by us. SQLite takes one back by itself after some errors, also
    /// of a read.
    open: bool,
    /// Next position of the streams appended to so far.
    next: BTreeMap<String, u64>,
    frozen: Option<StoreError>,
}

impl SqliteStore {
    /// Opens a store, or makes it where there is none (readable by its owner only). The folder must
    /// exist.
    ///
    /// # Errors
    /// [`StoreError::Failed`], naming the path: another process has it open, a newer version of this
    /// program wrote it, it is no SDPP store, it is kept in a stronger class, or the medium failed;
    /// [`StoreError::Full`]. A weaker class than asked for becomes the stronger one.
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        let given = path.as_ref();
        failpoint::before(Deed::Store);
        create_file(given).map_err(|error| failed(given, error))?;
        // Two names of one file must meet at one lock.
        let path = given.canonicalize().map_err(|error| failed(given, error))?;
        let lock = lock(&path)?;
        let db = Db::open_writer(path, durability)?;
        failpoint::after(Deed::Store);
        let checkpointer = Checkpointer::start(&db.path)?;
        Ok(Self { checkpointer, db, _lock: lock, open: false, next: BTreeMap::new(), frozen: None })
    }

    /// The same store with so much memory for pages, for one whose writes are spread over all of its keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn with_cache(self, kib: u32) -> Result<Self, StoreError> {
        self.db.set_cache(kib).map_err(|error| self.db.explain(&error))?;
        Ok(self)
    }

    /// What a file says of itself, whoever has it open.
    ///
    /// # Errors
    /// [`StoreError::Failed`]: there is no such file, or it is no SDPP store of a known format.
    pub fn look(path: impl AsRef<Path>) -> Result<StoreInfo, StoreError> {
        Db::open_reader(path.as_ref())?.info()
    }

    /// What a flush of this store is worth.
    pub const fn durability(&self) -> Durability {
        self.db.durability
    }

    /// Where the file is, with all links followed.
    pub fn path(&self) -> &Path {
        &self.db.path
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.frozen.clone().map_or(Ok(()), Err)
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if !self.open {
            self.db.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.open = true;
        }
        Ok(())
    }

    /// Freezes if what was written since the last flush is gone: then nothing may be added to it.
    fn whole(&mut self) -> Result<(), StoreError> {
        self.writable()?;
        if self.open && self.db.connection.is_autocommit() {
            let error = failed(&self.db.path, "the medium failed, and what was not flushed was taken back");
            self.freeze(&error);
            return Err(error);
        }
        Ok(())
    }

    fn freeze(&mut self, error: &StoreError) {
        self.open = false;
        self.next.clear();
        self.frozen = Some(error.clone());
    }

    /// Passes a good answer on; takes everything back and freezes on a bad one.
    fn settle<T>(&mut self, answer: rusqlite::Result<T>) -> Result<T, StoreError> {
        answer.map_err(|error| {
            let error = self.db.explain(&error);
            if !self.db.connection.is_autocommit() {
                // If even this fails, the transaction ends with the connection.
                drop(self.db.connection.execute_batch("ROLLBACK"));
            }
            self.freeze(&error);
            error
        })
    }

    fn next_position(&self, stream: &str) -> rusqlite::Result<u64> {
        if let Some(next) = self.next.get(stream) {
            return Ok(*next);
        }
        let last: Option<i64> = self.db.connection.prepare_cached(LAST)?.query_row([stream], |row| row.get(0))?;
        Ok(last.map_or(0, |last| last.unsigned_abs().saturating_add(1)))
    }

    fn try_append(&mut self, stream: &str, body: &[u8]) -> rusqlite::Result<u64> {
        self.begin()?;
        let position = self.next_position(stream)?;
        self.db.connection.prepare_cached(APPEND)?.execute(params![stream, signed(position), body])?;
        match self.next.get_mut(stream) {
            Some(next) => *next = position.saturating_add(1),
            None => drop(self.next.insert(stream.to_owned(), position.saturating_add(1))),
        }
        Ok(position)
    }

    fn try_put(&mut self, key: &str, value: &[u8]) -> rusqlite::Result<()> {
        self.begin()?;
        self.db.connection.prepare_cached(PUT)?.execute(params![key, value])?;
        Ok(())
    }

    /// Leaps from name to name: the cost is in streams, not in rows.
    fn try_streams(&self, prefix: &str) -> rusqlite::Result<Vec<String>> {
        let leap = |sql: &str, name: &str| {
            let mut statement = self.db.connection.prepare_cached(sql)?;
            statement.query_row([name], |row| row.get::<_, String>(0)).optional()
        };
        let mut names = Vec::new();
        let mut found = leap(STREAM_FROM, prefix)?;
        while let Some(name) = found.filter(|name| name.starts_with(prefix)) {
            found = leap(STREAM_AFTER, &name)?;
            names.push(name);
        }
        Ok(names)
    }
}

impl StoreReader for SqliteStore {
    fn read(&self, stream: &str, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.db.read(stream, from, rows_max)
    }

    fn head(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.head(key)
    }

    fn heads(&self, prefix: &str, after: Option<&str>, heads_max: usize) -> Result<Vec<Head>, StoreError> {
        self.db.heads(prefix, after, heads_max)
    }
}

impl Store for SqliteStore {
    fn append(&mut self, stream: &str, body: &[u8]) -> Result<u64, StoreError> {
        self.whole()?;
        self.checkpointer.wrote();
        let answer = self.try_append(stream, body);
        self.settle(answer)
    }

    fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.try_streams(prefix).map_err(|error| self.db.explain(&error))
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.whole()?;
        self.checkpointer.wrote();
        let answer = self.try_put(key, value);
        self.settle(answer)
    }

    fn swap(&mut self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError> {
        self.whole()?;
        let answer = db::head(&self.db.connection, key);
        if self.settle(answer)?.as_deref() != expected {
            return Ok(false);
        }
        self.put(key, value).map(|()| true)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.whole()?;
        if !self.open {
            return Ok(());
        }
        let answer = self.db.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]).map(drop));
        self.settle(answer)?;
        self.open = false;
        // Durable already: a log that could not be tidied is tidied later.
        let _ = self.checkpointer.committed(&self.db.connection);
        Ok(())
    }

    /// In class `process`, until the log is so long that the writer itself has to move it.
    fn is_quick(&self) -> bool {
        self.db.durability == Durability::Process && !self.checkpointer.is_long()
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(Box::new(Db::open_reader(&self.db.path)?))
    }
}

impl Drop for SqliteStore {
    /// Leaves a database without a log behind, also where a reader's connection outlives this one and
    /// could not do it. If it does not work out, opening again will.
    fn drop(&mut self) {
        self.checkpointer.stop();
        if self.db.connection.is_autocommit() {
            drop(self.db.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        }
    }
}

/// SQLite counts in signed integers; a stream never gets so long.
fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

fn create_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// The lock beside the file, held.
struct Lock(File);

impl Drop for Lock {
    /// By itself: closing the file is not enough while a child that was just forked still has it.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Takes the lock beside the file. It stays in place afterwards: deleting it would let two in.
fn lock(path: &Path) -> Result<Lock, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    create_file(&name).map_err(|error| failed(&name, error))?;
    let mut file = OpenOptions::new().read(true).write(true).open(&name).map_err(|error| failed(&name, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(failed(&name, error)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let who = if known { format!("process {}", holder.trim()) } else { "another process".to_owned() };
            return Err(failed(path, format!("{who} has it open; one at a time")));
        }
    }
    // A help for people: the lock holds without it.
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    drop(noted);
    Ok(Lock(file))
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;

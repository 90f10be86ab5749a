//! The store for people: one SQLite file, which anyone can open with `sqlite3`.
//!
//! Tables: `row(stream, position, body)`, `head(key, value)`, `meta(key, value)`. The file belongs to
//! one process at a time, by a lock on the file beside it (`NAME.lock`), which a kill releases;
//! reading along with `sqlite3` is possible at any time.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ffi;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{Durability, Head, Row, Store, StoreError, StoreReader};

/// How long another program (a person with `sqlite3`) may hold the file before we give up.
const BUSY_MS: u64 = 1_000;
/// The write-ahead log is cut back to this after a checkpoint.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Statements kept prepared: more than this file has.
const STATEMENTS_KEPT: usize = 16;
/// "SDPP" in the file's header, so that another program's database is not taken for ours.
const APPLICATION_ID: i32 = 0x5344_5050;

type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// Step `n` leads from format `n` to format `n + 1`; the file's `user_version` is its format.
const MIGRATIONS: &[Migration] = &[create];

const CREATE: &str = "
CREATE TABLE row (
    stream TEXT NOT NULL, position INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (stream, position)
) WITHOUT ROWID;
CREATE TABLE head (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('about', 'SDPP store: row = append-only streams, head = small values that change');
";

const APPEND: &str = "INSERT INTO row (stream, position, body) VALUES (?1, ?2, ?3)";
const LAST: &str = "SELECT max(position) FROM row WHERE stream = ?1";
const READ: &str = "SELECT position, body FROM row WHERE stream = ?1 AND position >= ?2 ORDER BY position LIMIT ?3";
const STREAM_FROM: &str = "SELECT stream FROM row WHERE stream >= ?1 ORDER BY stream LIMIT 1";
const STREAM_AFTER: &str = "SELECT stream FROM row WHERE stream > ?1 ORDER BY stream LIMIT 1";
const HEAD: &str = "SELECT value FROM head WHERE key = ?1";
const HEADS: &str = "SELECT key, value FROM head WHERE key > ?1 ORDER BY key LIMIT ?2";
const HEADS_FROM: &str = "SELECT key, value FROM head WHERE key >= ?1 ORDER BY key LIMIT ?2";
const PUT: &str =
    "INSERT INTO head (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(CREATE)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)
}

/// A [`Store`] in an SQLite file.
///
/// All that is written between two flushes is one transaction. After an error of a write the store
/// takes the transaction back and refuses further writes until it is opened again; opening shows
/// whether a flush that failed became durable after all.
pub struct SqliteStore {
    // Fields are dropped in this order: the connection closes before the lock is released.
    db: Db,
    _lock: File,
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
    /// program wrote it, it is no SDPP store, or the medium failed; [`StoreError::Full`].
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        let given = path.as_ref();
        create_file(given).map_err(|error| failed(given, error))?;
        // Two names of one file must meet at one lock.
        let path = given.canonicalize().map_err(|error| failed(given, error))?;
        let lock = lock(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(&path, flags)?;
        let mut store = Self { db: Db { connection, path }, _lock: lock, next: BTreeMap::new(), frozen: None };
        store.check_format()?;
        store.configure(durability).map_err(|error| explain(&store.db.path, &error))?;
        store.migrate().map_err(|error| explain(&store.db.path, &error))?;
        Ok(store)
    }

    /// Where the file is, with all links followed.
    pub fn path(&self) -> &Path {
        &self.db.path
    }

    fn format(&self) -> rusqlite::Result<usize> {
        let version: i64 = self.db.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(usize::try_from(version).unwrap_or(usize::MAX))
    }

    /// Looks before anything is changed: this may be another program's database.
    fn check_format(&self) -> Result<(), StoreError> {
        let look = || -> rusqlite::Result<(usize, i32, i64)> {
            let application = self.db.connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let tables = self.db.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            Ok((self.format()?, application, tables))
        };
        let (format, application, tables) = look().map_err(|error| explain(&self.db.path, &error))?;
        if application != APPLICATION_ID && (application != 0 || format != 0 || tables != 0) {
            return Err(failed(&self.db.path, "a database of another program; name another file"));
        }
        if format > MIGRATIONS.len() {
            let known = MIGRATIONS.len();
            let why = format!("written by a newer version (format {format}, known up to {known}): update first");
            return Err(failed(&self.db.path, why));
        }
        Ok(())
    }

    fn configure(&self, durability: Durability) -> rusqlite::Result<()> {
        let set = |name: &str, value: &str| self.db.connection.pragma_update(None, name, value);
        let mode: String = self.db.connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            let error = ffi::Error::new(ffi::SQLITE_CANTOPEN);
            let why = format!("this file system cannot hold a write-ahead log (mode {mode})");
            return Err(rusqlite::Error::SqliteFailure(error, Some(why)));
        }
        match durability {
            Durability::Power => {
                set("synchronous", "FULL")?;
                // On a Mac fsync alone stops at the disk's cache; elsewhere these do nothing.
                set("fullfsync", "ON")?;
                set("checkpoint_fullfsync", "ON")?;
            }
            Durability::Process => set("synchronous", "NORMAL")?,
        }
        self.db
            .connection
            .pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |row| row.get::<_, i64>(0))
            .map(drop)
    }

    fn migrate(&mut self) -> rusqlite::Result<()> {
        let format = self.format()?;
        for (done, step) in (1i64..).zip(MIGRATIONS).skip(format) {
            let transaction = self.db.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            step(&transaction)?;
            transaction.pragma_update(None, "user_version", done)?;
            transaction.commit()?;
        }
        Ok(())
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.frozen.clone().map_or(Ok(()), Err)
    }

    fn begin(&self) -> rusqlite::Result<()> {
        if self.db.connection.is_autocommit() {
            self.db.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        }
        Ok(())
    }

    /// Passes a good answer on; takes everything back and freezes on a bad one.
    fn settle<T>(&mut self, answer: rusqlite::Result<T>) -> Result<T, StoreError> {
        answer.map_err(|error| {
            let error = explain(&self.db.path, &error);
            if !self.db.connection.is_autocommit() {
                // If even this fails, the transaction ends with the connection.
                drop(self.db.connection.execute_batch("ROLLBACK"));
            }
            self.next.clear();
            self.frozen = Some(error.clone());
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

    fn try_put(&self, key: &str, value: &[u8]) -> rusqlite::Result<()> {
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
        self.writable()?;
        let answer = self.try_append(stream, body);
        self.settle(answer)
    }

    fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.try_streams(prefix).map_err(|error| explain(&self.db.path, &error))
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.writable()?;
        let answer = self.try_put(key, value);
        self.settle(answer)
    }

    fn swap(&mut self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError> {
        self.writable()?;
        if self.head(key)?.as_deref() != expected {
            return Ok(false);
        }
        self.put(key, value).map(|()| true)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.writable()?;
        if self.db.connection.is_autocommit() {
            return Ok(());
        }
        let answer = self.db.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]).map(drop));
        self.settle(answer)
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(Box::new(Db::open_reader(&self.db.path)?))
    }
}

/// A connection to the file. Beside the one of a [`SqliteStore`], the write-ahead log shows it what
/// is committed, which is what is flushed.
struct Db {
    connection: Connection,
    path: PathBuf,
}

impl Db {
    fn open_reader(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(path, flags)?;
        Ok(Self { connection, path: path.to_owned() })
    }
}

impl StoreReader for Db {
    fn read(&self, stream: &str, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        read(&self.connection, stream, from, rows_max).map_err(|error| explain(&self.path, &error))
    }

    fn head(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        head(&self.connection, key).map_err(|error| explain(&self.path, &error))
    }

    fn heads(&self, prefix: &str, after: Option<&str>, heads_max: usize) -> Result<Vec<Head>, StoreError> {
        heads(&self.connection, prefix, after, heads_max).map_err(|error| explain(&self.path, &error))
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.busy_timeout(Duration::from_millis(BUSY_MS)).map(|()| connection))
        .map_err(|error| explain(path, &error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

fn read(connection: &Connection, stream: &str, from: u64, rows_max: usize) -> rusqlite::Result<Vec<Row>> {
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let Ok(from) = i64::try_from(from) else {
        return Ok(Vec::new());
    };
    let mut statement = connection.prepare_cached(READ)?;
    let rows = statement.query_map(params![stream, from, limit], |row| {
        Ok(Row { position: row.get::<_, i64>(0)?.unsigned_abs(), body: row.get(1)? })
    })?;
    rows.collect()
}

fn head(connection: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.prepare_cached(HEAD)?.query_row([key], |row| row.get(0)).optional()
}

fn heads(connection: &Connection, prefix: &str, after: Option<&str>, max: usize) -> rusqlite::Result<Vec<Head>> {
    let limit = i64::try_from(max).unwrap_or(i64::MAX);
    let (sql, from) = match after {
        Some(after) if after >= prefix => (HEADS, after),
        Some(_) | None => (HEADS_FROM, prefix),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![from, limit], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    rows.take_while(|row: &rusqlite::Result<Head>| row.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
        .collect()
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

/// Takes the lock beside the file. It stays in place afterwards: deleting it would let two in.
fn lock(path: &Path) -> Result<File, StoreError> {
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
    Ok(file)
}

fn failed(path: &Path, why: impl Display) -> StoreError {
    StoreError::Failed(format!("{}: {why}", path.display()))
}

fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    let Some(code) = error.sqlite_error() else {
        return failed(path, error);
    };
    // The second one is how a full disk shows at the index of the write-ahead log.
    if code.code == ErrorCode::DiskFull || code.extended_code == ffi::SQLITE_IOERR_SHMSIZE {
        return StoreError::Full;
    }
    if matches!(code.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) {
        return failed(path, "another program is writing to it; close that program and start again");
    }
    failed(path, error)
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;

//! One connection to a store's file: how it is opened, what format it has, what its errors mean.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ffi;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::StoreInfo;
use crate::store::{Durability, Head, Row, StoreError, StoreReader};

/// How long another program (a person with `sqlite3`) may hold the file before we give up.
const BUSY_MS: u64 = 1_000;
/// The write-ahead log is cut back to this after a checkpoint.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Memory for pages, usually: a journal writes at the end of a few streams.
const CACHE_KIB: u32 = 2 * 1024;
/// Statements kept prepared: more than this file has.
const STATEMENTS_KEPT: usize = 16;
/// "SDPP" in the file's header, so that another program's database is not taken for ours.
const APPLICATION_ID: i32 = 0x5344_5050;

type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// Step `n` leads from format `n` to format `n + 1`; the file's `user_version` is its format.
const MIGRATIONS: &[Migration] = &[create, add_views];

const CREATE: &str = "
CREATE TABLE row (
    stream TEXT NOT NULL, position INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (stream, position)
) WITHOUT ROWID;
CREATE TABLE head (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('about', 'SDPP store: row = append-only streams, head = small values that change');
";

/// For people: what kind of row it is, by the content type of the statement in it or by the first
/// bytes of another row, and notes as text.
const VIEWS: &str = "
CREATE VIEW journal AS SELECT stream, position, CASE
    WHEN at > 0 THEN CAST(substr(name, 1, instr(name, CAST('+cbor' AS BLOB)) - 1) AS TEXT)
    WHEN substr(body, 1, 2) = x'a102' THEN 'salt'
    WHEN substr(body, 1, 2) = x'a103' THEN 'recorded'
    WHEN substr(body, 1, 2) = x'a104' THEN 'intent'
    END AS kind, length(body) AS bytes, body
FROM (SELECT *, substr(body, at + 17, 48) AS name
    FROM (SELECT *, instr(body, CAST('application/sdpp-' AS BLOB)) AS at FROM row));
CREATE VIEW note AS SELECT key, CAST(value AS TEXT) AS text FROM head WHERE key GLOB 'note/*' OR key GLOB 'restored/*';
";

const CLASS: &str = "SELECT value FROM meta WHERE key = 'durability'";
const SET_CLASS: &str =
    "INSERT INTO meta VALUES ('durability', ?1) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const READ: &str = "SELECT position, body FROM row WHERE stream = ?1 AND position >= ?2 ORDER BY position LIMIT ?3";
const HEAD: &str = "SELECT value FROM head WHERE key = ?1";
const HEADS: &str = "SELECT key, value FROM head WHERE key > ?1 ORDER BY key LIMIT ?2";
const HEADS_FROM: &str = "SELECT key, value FROM head WHERE key >= ?1 ORDER BY key LIMIT ?2";

fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(CREATE)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)
}

fn add_views(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(VIEWS)
}

/// A connection to the file. Beside the one of a [`SqliteStore`], the write-ahead log shows it what
/// is committed, which is what is flushed.
pub(super) struct Db {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
}

impl Db {
    pub(super) fn open_reader(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(path, flags)?;
        Ok(Self { connection, path: path.to_owned(), durability: Durability::default() })
    }

    /// Opens the file for its one writer, and brings it to the newest format.
    pub(super) fn open_writer(path: PathBuf, durability: Durability) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Self { connection: connect(&path, flags)?, path, durability };
        let recorded = db.info()?.durability;
        if recorded == Some(Durability::Power) && durability == Durability::Process {
            let why = "kept in the class `power`, which survives a power cut: open it in that class, or say in the file \
                       itself that you want the weaker one (docs/journal.md)";
            return Err(failed(&db.path, why));
        }
        let opened = db.configure(durability).and_then(|()| db.migrate()).and_then(|()| db.set_class(recorded));
        opened.map_err(|error| db.explain(&error))?;
        Ok(db)
    }

    /// What the file says of itself.
    pub(super) fn info(&self) -> Result<StoreInfo, StoreError> {
        self.check_format()?;
        let look = || -> rusqlite::Result<StoreInfo> {
            let format = self.format()?;
            let class = if format == 0 {
                None
            } else {
                self.connection.query_row(CLASS, [], |row| row.get::<_, String>(0)).optional()?
            };
            Ok(StoreInfo { format, durability: class.as_deref().and_then(Durability::of_name) })
        };
        look().map_err(|error| self.explain(&error))
    }

    pub(super) fn set_cache(&self, kib: u32) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "cache_size", i64::from(kib).saturating_neg())
    }

    fn set_class(&self, recorded: Option<Durability>) -> rusqlite::Result<()> {
        if recorded != Some(self.durability) {
            self.connection.execute(SET_CLASS, [self.durability.name()])?;
        }
        Ok(())
    }

    /// What an error of SQLite means for the owner of the file.
    pub(super) fn explain(&self, error: &rusqlite::Error) -> StoreError {
        explain(&self.path, error)
    }

    fn format(&self) -> rusqlite::Result<usize> {
        let version: i64 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(usize::try_from(version).unwrap_or(usize::MAX))
    }

    /// Looks before anything is changed: this may be another program's database.
    fn check_format(&self) -> Result<(), StoreError> {
        let look = || -> rusqlite::Result<(usize, i32, i64)> {
            let application = self.connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let tables = self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            Ok((self.format()?, application, tables))
        };
        let (format, application, tables) = look().map_err(|error| explain(&self.path, &error))?;
        if application != APPLICATION_ID && (application != 0 || format != 0 || tables != 0) {
            return Err(failed(&self.path, "a database of another program; name another file"));
        }
        if format > MIGRATIONS.len() {
            let known = MIGRATIONS.len();
            let why = format!("written by a newer version (format {format}, known up to {known}): update first");
            return Err(failed(&self.path, why));
        }
        Ok(())
    }

    fn configure(&self, durability: Durability) -> rusqlite::Result<()> {
        let set = |name: &str, value: &str| self.connection.pragma_update(None, name, value);
        let mode: String = self.connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
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
        self.set_cache(CACHE_KIB)?;
        // The checkpointer does it, beside the writer.
        self.connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |row| row.get::<_, i64>(0))?;
        self.connection
            .pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |row| row.get::<_, i64>(0))
            .map(drop)
    }

    fn migrate(&mut self) -> rusqlite::Result<()> {
        let format = self.format()?;
        for (done, step) in (1i64..).zip(MIGRATIONS).skip(format) {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            step(&transaction)?;
            transaction.pragma_update(None, "user_version", done)?;
            transaction.commit()?;
        }
        Ok(())
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

pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
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

pub(super) fn head(connection: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
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

pub(super) fn failed(path: &Path, why: impl Display) -> StoreError {
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

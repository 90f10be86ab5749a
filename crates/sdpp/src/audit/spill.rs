//! The temporary file of an audit: a private database of SQLite, which is gone when it is closed or the program ends.

use std::fmt::Display;
use std::hash::{BuildHasher as _, RandomState};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use sdpp_proto::codec::StatementId;

use super::limits;
use super::memory::{Lost, Packed};

const CREATE: &str = "CREATE TABLE kept (
    id BLOB NOT NULL PRIMARY KEY, kind INTEGER NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL
) WITHOUT ROWID";
const GET: &str = "SELECT kind, a, b FROM kept WHERE id = ?1";
const PUT: &str = "REPLACE INTO kept VALUES (?1, ?2, ?3, ?4)";
const ALL: &str = "SELECT kind, a, b, id FROM kept ORDER BY id";

/// What was too much for memory.
#[derive(Debug)]
pub(super) struct Spill {
    connection: Connection,
    absent: Filter,
}

/// Knows of most ids that are not in the file that they are not, so that a new statement needs no look into it. Of one that is
/// there it never says so.
///
/// A word of the filter stands for all ids with the same beginning of a keyed hash, and each sets [`Filter::MARKS`] of its bits.
/// A word that is full is of no use, and does no harm.
#[derive(Debug)]
struct Filter {
    key: RandomState,
    words: Box<[u64]>,
}

impl Filter {
    const MARKS: usize = 4;
    /// There are as many words as a number of bits can count.
    const WORD: u64 = limits::FILTER_WORDS as u64 - 1;

    fn new() -> Self {
        Self { key: RandomState::new(), words: vec![0; limits::FILTER_WORDS].into() }
    }

    /// The place of an id, and its bits there.
    fn place(&self, id: &StatementId) -> (usize, u64) {
        let (mut hash, mut marks) = (self.key.hash_one(id.0), 0);
        for _ in 0..Self::MARKS {
            marks |= 1 << (hash & 63);
            hash >>= 6;
        }
        (usize::try_from(hash & Self::WORD).unwrap_or_default(), marks)
    }

    fn add(&mut self, id: &StatementId) {
        let (at, marks) = self.place(id);
        if let Some(word) = self.words.get_mut(at) {
            *word |= marks;
        }
    }

    fn knows_absent(&self, id: &StatementId) -> bool {
        let (at, marks) = self.place(id);
        self.words.get(at).is_some_and(|word| word & marks != marks)
    }
}

impl Spill {
    /// None where no file can be made.
    pub(super) fn create() -> Option<Self> {
        let create = || -> rusqlite::Result<Self> {
            // No name: SQLite makes a file of its own and takes its name away at once.
            let flags =
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags("", flags)?;
            connection.pragma_update(None, "cache_size", i64::from(limits::SPILL_CACHE_KIB).saturating_neg())?;
            connection.execute(CREATE, [])?;
            Ok(Self { connection, absent: Filter::new() })
        };
        create().ok()
    }

    pub(super) fn get(&self, id: &StatementId) -> Result<Option<Packed>, Lost> {
        if self.absent.knows_absent(id) {
            return Ok(None);
        }
        let find = || self.connection.prepare_cached(GET)?.query_row([&id.0], packed).optional();
        find().map_err(lost)
    }

    /// Writes all or nothing, each in place of what was there; says whether it did.
    pub(super) fn write<'v>(&mut self, entries: impl Iterator<Item = (&'v StatementId, Packed)>) -> bool {
        let write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            let mut put = transaction.prepare_cached(PUT)?;
            for (id, (kind, a, b)) in entries {
                self.absent.add(id);
                put.execute(params![&id.0, kind, a.cast_signed(), b.cast_signed()])?;
            }
            drop(put);
            transaction.commit()
        };
        write().is_ok()
    }

    /// Every entry, in the order of ids.
    pub(super) fn each(&self, take: &mut dyn FnMut(&StatementId, Packed) -> Result<(), Lost>) -> Result<(), Lost> {
        let mut all = self.connection.prepare_cached(ALL).map_err(lost)?;
        let mut rows = all.query([]).map_err(lost)?;
        while let Some(row) = rows.next().map_err(lost)? {
            let id = StatementId(row.get(3).map_err(lost)?);
            take(&id, packed(row).map_err(lost)?)?;
        }
        Ok(())
    }
}

/// Faults, for tests.
#[cfg(test)]
impl Spill {
    /// From now on it takes no more.
    pub(super) fn fill(&self) {
        let pages = self.connection.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0)).unwrap();
        self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }

    /// Nothing can be read any more.
    pub(super) fn lose(&self) {
        self.connection.execute("DROP TABLE kept", []).unwrap();
    }

    /// Something else is read.
    pub(super) fn garble(&self) {
        self.connection.execute("UPDATE kept SET kind = 99", []).unwrap();
    }
}

fn packed(row: &Row<'_>) -> rusqlite::Result<Packed> {
    Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, i64>(2)?.cast_unsigned()))
}

fn lost(error: impl Display) -> Lost {
    Lost(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_knows_most_that_is_absent_and_nothing_that_is_not() {
        let id = |number: u64| StatementId(std::array::from_fn(|at| number.to_be_bytes()[at % 8]));
        let (mut filter, count) = (Filter::new(), 1_000_000);
        (0..count).for_each(|number| filter.add(&id(number)));
        assert!((0..count).all(|number| !filter.knows_absent(&id(number))));
        let looks = (count..count + 10_000).filter(|number| !filter.knows_absent(&id(*number))).count();
        assert!(looks < 300, "{looks} of 10000 looks for nothing");
    }
}

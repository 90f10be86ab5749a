//! What only the SQLite store can be asked: its file, its lock, its format.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use sdpp_proto::codec::Bytes32;
use sdpp_proto::journal::Entry;

use super::*;

/// A folder of its own per test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sdpp-rail-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("seller.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, Durability::Power)
}

fn why(result: Result<SqliteStore, StoreError>) -> String {
    result.err().expect("must not open").to_string()
}

#[test]
fn it_passes_the_suite() {
    for durability in [Durability::Power, Durability::Process] {
        let folder = Folder::new();
        let mut count = 0;
        let make = || {
            count += 1;
            SqliteStore::open(folder.0.join(format!("{count}.db")), durability).unwrap()
        };
        crate::suite::store(make, |store| {
            let path = store.path().to_owned();
            drop(store);
            SqliteStore::open(path, durability).unwrap()
        });
    }
}

#[test]
fn one_process_at_a_time_by_any_name() {
    let folder = Folder::new();
    let first = open(&folder.file()).unwrap();
    let text = why(open(&folder.file()));
    let holder = format!("process {} has it open", std::process::id());
    assert!(text.contains("seller.db") && text.contains(&holder), "{text}");
    std::fs::write(folder.0.join("seller.db.lock"), "").unwrap();
    let text = why(open(&folder.file()));
    assert!(text.contains("another process has it open"), "{text}");
    #[cfg(unix)]
    {
        let link = folder.0.join("link.db");
        std::os::unix::fs::symlink(folder.file(), &link).unwrap();
        assert!(why(open(&link)).contains("one at a time"));
    }
    drop(first);
    open(&folder.file()).unwrap();
}

#[test]
fn a_person_can_read_along_and_a_second_writer_does_not_hang_us() {
    let folder = Folder::new();
    let mut store = open(&folder.file()).unwrap();
    store.append("order/7f/invoices", b"one").unwrap();
    store.flush().unwrap();
    let person = Connection::open(folder.file()).unwrap();
    let name: String = person.query_row("SELECT stream FROM row", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "order/7f/invoices");
    person.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = std::time::Instant::now();
    let error = store.append("order/7f/invoices", b"two").unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(error.to_string().contains("seller.db"), "{error}");
    person.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.append("order/7f/invoices", b"two"), Err(error), "frozen");
    drop(store);
    assert_eq!(open(&folder.file()).unwrap().append("order/7f/invoices", b"two"), Ok(1));
}

#[test]
#[cfg(unix)]
fn only_the_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let mut store = open(&folder.file()).unwrap();
    store.append("s", b"x").unwrap();
    store.flush().unwrap();
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
}

#[test]
fn newer_and_foreign_files_are_refused_unchanged() {
    let folder = Folder::new();
    drop(open(&folder.file()).unwrap());
    let raw = Connection::open(folder.file()).unwrap();
    let version = raw.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(version, 2);
    raw.pragma_update(None, "user_version", 7).unwrap();
    drop(raw);
    let text = why(open(&folder.file()));
    assert!(text.contains("newer version (format 7") && text.contains("seller.db"), "{text}");
    assert!(text.contains("update first"), "{text}");

    let other = folder.0.join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE photos (x)").unwrap();
    let before = std::fs::read(&other).unwrap();
    assert!(why(open(&other)).contains("another program"));
    assert_eq!(std::fs::read(&other).unwrap(), before);

    // Also if it has nothing in it yet.
    for (name, mark) in [("application.db", "application_id"), ("version.db", "user_version")] {
        let marked = folder.0.join(name);
        Connection::open(&marked).unwrap().pragma_update(None, mark, 1).unwrap();
        assert!(why(open(&marked)).contains("another program"), "{mark}");
    }

    let text_file = folder.0.join("notes.txt");
    std::fs::write(&text_file, "not a database, only a long enough line of text to be one".repeat(9)).unwrap();
    assert!(why(open(&text_file)).contains("notes.txt"));
    assert!(why(open(&folder.0.join("nowhere/x.db"))).contains("nowhere"));
}

#[test]
fn a_full_disk_is_said_and_nothing_durable_is_lost() {
    let folder = Folder::new();
    let mut store = open(&folder.file()).unwrap();
    store.append("s", b"kept").unwrap();
    store.flush().unwrap();
    let pages: i64 = store.db.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = pages + 8;
    store.db.connection.pragma_update_and_check(None, "max_page_count", limit, |row| row.get::<_, i64>(0)).unwrap();
    let full = (0..100).find_map(|_| store.append("s", &[7; 4096]).err());
    assert_eq!(full, Some(StoreError::Full));
    assert_eq!(store.append("s", b"small"), Err(StoreError::Full), "frozen");
    assert_eq!(store.swap("h", None, b"v"), Err(StoreError::Full), "frozen");
    assert_eq!(store.flush(), Err(StoreError::Full), "frozen");
    assert_eq!(store.read("s", 0, 9).unwrap().len(), 1, "reads show what is durable");
    drop(store);
    let mut store = open(&folder.file()).unwrap();
    assert_eq!(store.append("s", b"next"), Ok(1));
    store.flush().unwrap();
}

#[test]
fn a_write_that_fails_takes_back_what_was_not_flushed() {
    let folder = Folder::new();
    let mut store = open(&folder.file()).unwrap();
    store.append("s", b"kept").unwrap();
    store.flush().unwrap();
    store.append("s", b"lost").unwrap();
    // Refuses the next write and leaves the transaction open: a full disk ends it by itself.
    store.db.connection.pragma_update(None, "query_only", true).unwrap();
    assert!(store.put("h", b"a head that rests on it").is_err());
    assert_eq!(store.read("s", 0, 9).unwrap().len(), 1, "reads show what is durable");
}

#[test]
fn settings_follow_the_class() {
    for (durability, synchronous) in [(Durability::Power, 2), (Durability::Process, 1)] {
        let folder = Folder::new();
        let store = SqliteStore::open(folder.file(), durability).unwrap();
        let get = |name: &str| {
            store.db.connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).unwrap()
        };
        assert_eq!(get("synchronous"), rusqlite::types::Value::Integer(synchronous));
        assert_eq!(get("journal_mode"), rusqlite::types::Value::Text("wal".to_owned()));
        let rusqlite::types::Value::Integer(cache) = get("cache_size") else { panic!("a number") };
        assert!(cache < 0, "in KiB: {cache} would be in pages");
    }
}

/// The test starts itself as another process, which writes more than fits its cache and dies.
#[test]
fn a_killed_process_leaves_what_it_flushed_and_nothing_else() {
    const VICTIM: &str = "SDPP_RAIL_VICTIM";
    if let Some(path) = std::env::var_os(VICTIM) {
        let mut store = SqliteStore::open(path, Durability::Process).unwrap();
        store.append("s", b"kept").unwrap();
        store.swap("h", None, b"kept").unwrap();
        store.flush().unwrap();
        for position in 1..1200 {
            assert_eq!(store.append("s", &[1; 65_536]), Ok(position));
        }
        store.swap("h", Some(b"kept"), b"lost").unwrap();
        std::process::abort();
    }
    let folder = Folder::new();
    let name = concat!(module_path!(), "::a_killed_process_leaves_what_it_flushed_and_nothing_else");
    let (_, name) = name.split_once("::").unwrap();
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap());
    let ended = victim.args(["--exact", name]).env(VICTIM, folder.file()).output().unwrap();
    assert!(!ended.status.success(), "it must die, not finish");
    let store = open(&folder.file()).expect("its lock died with it");
    assert_eq!(store.read("s", 0, 9).unwrap(), [Row { position: 0, body: b"kept".to_vec() }]);
    assert_eq!(store.head("h"), Ok(Some(b"kept".to_vec())));
}

#[test]
fn the_log_is_begun_anew_while_it_is_written() {
    let folder = Folder::new();
    let mut store = open(&folder.file()).unwrap();
    let body = vec![7; 4000];
    let log = || std::fs::metadata(folder.0.join("seller.db-wal")).unwrap().len();
    let mut longest = 0;
    for _ in 0..400 {
        for _ in 0..100 {
            store.append("s", &body).unwrap();
        }
        store.flush().unwrap();
        longest = longest.max(log());
    }
    // 160 MB went through it.
    assert!(longest < 120 << 20, "the log grew to {longest} bytes");
    let file = std::fs::metadata(folder.file()).unwrap().len();
    assert!(file > 40 << 20, "nothing was moved: the file has {file} bytes");
}

#[test]
fn a_closed_store_leaves_no_log_behind_whoever_still_reads() {
    let folder = Folder::new();
    let mut store = open(&folder.file()).unwrap();
    store.append("s", &[7; 100_000]).unwrap();
    store.flush().unwrap();
    let reader = store.reader().unwrap();
    assert_eq!(reader.read("s", 0, 9).unwrap().len(), 1);
    drop(store);
    let log = std::fs::metadata(folder.0.join("seller.db-wal")).map_or(0, |meta| meta.len());
    assert_eq!(log, 0);
    assert_eq!(reader.read("s", 0, 9).unwrap().len(), 1);
}

#[test]
fn a_transaction_that_was_taken_back_is_not_gone_on_with() {
    let folder = Folder::new();
    let mut store = open(&folder.file()).unwrap();
    store.append("s", b"kept").unwrap();
    store.flush().unwrap();
    store.append("s", b"lost").unwrap();
    // What SQLite does by itself when a read meets a bad medium.
    store.db.connection.execute_batch("ROLLBACK").unwrap();
    assert!(store.put("h", b"a head that rests on it").is_err());
    assert!(store.flush().is_err(), "nothing of it became durable");
    assert!(store.append("s", b"x").is_err(), "frozen");
    drop(store);
    let mut store = open(&folder.file()).unwrap();
    assert_eq!((store.read("s", 0, 9).unwrap().len(), store.head("h")), (1, Ok(None)));
    store.append("s", b"lost").unwrap();
    store.db.connection.execute_batch("ROLLBACK").unwrap();
    assert!(store.flush().is_err(), "also where nothing else is written");
}

/// What format 1 was, word for word: never change it.
const FORMAT_1: &str = "
CREATE TABLE row (
    stream TEXT NOT NULL, position INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (stream, position)
) WITHOUT ROWID;
CREATE TABLE head (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('about', 'SDPP store: row = append-only streams, head = small values that change');
PRAGMA application_id = 1396985936;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
INSERT INTO row VALUES ('order/a', 0, x'01'), ('order/a', 1, x'0202'), ('order/b', 0, x'');
INSERT INTO head VALUES ('size', x'2a');
";

/// A child has the files of its parent from the fork until it runs its own program.
#[test]
fn a_closed_store_can_be_opened_while_a_forked_child_still_has_its_lock() {
    let folder = Folder::new();
    let held = lock(&folder.file()).unwrap();
    assert!(lock(&folder.file()).is_err());
    let of_the_child = held.0.try_clone().unwrap();
    drop(held);
    open(&folder.file()).unwrap();
    drop(of_the_child);
}

#[test]
fn a_file_of_every_format_so_far_is_brought_up_to_date_with_all_it_holds() {
    let folder = Folder::new();
    Connection::open(folder.file()).unwrap().execute_batch(FORMAT_1).unwrap();
    assert_eq!(SqliteStore::look(folder.file()), Ok(StoreInfo { format: 1, durability: None }));
    for _ in 0..2 {
        let mut store = open(&folder.file()).unwrap();
        assert_eq!(SqliteStore::look(folder.file()).unwrap().format, 2, "also while it is open");
        let bodies = |stream: &str| -> Vec<Vec<u8>> {
            store.read(stream, 0, 9).unwrap().into_iter().map(|row| row.body).collect()
        };
        assert_eq!(bodies("order/a").get(..2).unwrap(), [vec![1], vec![2, 2]]);
        assert_eq!(bodies("order/b"), [Vec::<u8>::new()]);
        assert_eq!(store.head("size"), Ok(Some(vec![42])));
        let next = u64::try_from(bodies("order/a").len()).unwrap();
        assert_eq!(store.append("order/a", &[3]), Ok(next));
        store.flush().unwrap();
    }
}

#[test]
fn a_file_keeps_its_class() {
    let folder = Folder::new();
    let class = || SqliteStore::look(folder.file()).unwrap().durability;
    let open = |durability| SqliteStore::open(folder.file(), durability);
    assert!(SqliteStore::look(folder.file()).is_err(), "nothing is made by looking");
    assert_eq!(open(Durability::Process).unwrap().durability(), Durability::Process);
    assert_eq!(class(), Some(Durability::Process));
    assert_eq!(open(Durability::Power).unwrap().durability(), Durability::Power, "stronger is fine");
    assert_eq!(class(), Some(Durability::Power));
    let text = why(open(Durability::Process));
    assert!(text.contains("power") && text.contains("docs/journal.md"), "{text}");
    assert_eq!(class(), Some(Durability::Power));
    // As the documentation says.
    let raw = Connection::open(folder.file()).unwrap();
    raw.execute("UPDATE meta SET value = 'process' WHERE key = 'durability'", []).unwrap();
    drop(raw);
    assert_eq!(open(Durability::Process).unwrap().durability(), Durability::Process);
}

#[test]
fn a_person_reads_what_the_rows_are() {
    let folder = Folder::new();
    let mut store = open(&folder.file()).unwrap();
    let statement = [&b"\xa1\x01\x58\x40 \xffapplication/sdpp-invoice+cbor"[..], &[0xff; 9]].concat();
    let record = Entry::Record { statement: Bytes32([2; 32]), record: Bytes32([3; 32]) };
    let others = [Entry::Salt(Bytes32([1; 32])), record, Entry::Intent(Bytes32([4; 32]))];
    let others = others.iter().map(Entry::to_bytes);
    for body in [statement].into_iter().chain(others).chain([b"other".to_vec()]) {
        store.append("order/x", &body).unwrap();
    }
    store.put("note/x", b"host 127.0.0.1:1\n").unwrap();
    store.put("size", &[7]).unwrap();
    store.flush().unwrap();
    let raw = Connection::open(folder.file()).unwrap();
    let mut kinds = raw.prepare("SELECT kind, bytes FROM journal WHERE stream = 'order/x' ORDER BY position").unwrap();
    let kinds = kinds.query_map([], |row| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, i64>(1)?))).unwrap();
    let kinds: Vec<_> = kinds.map(Result::unwrap).map(|(kind, _)| kind.unwrap_or_default()).collect();
    assert_eq!(kinds, ["invoice", "salt", "recorded", "intent", ""]);
    let note: String = raw.query_row("SELECT text FROM note", [], |row| row.get(0)).unwrap();
    assert_eq!(note, "host 127.0.0.1:1\n", "and of the heads only notes");
}

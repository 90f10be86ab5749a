//! The journal of one role: rows of everybody who writes, committed for all at once.
//!
//! A flush of class `power` takes 0.3 to 3 ms, so it is never in series with messages: sessions hand rows over and go
//! on; a thread writes all that has gathered, flushes once and answers. A flush of class `process` takes 20 µs, less than
//! it takes to wake that thread: a session that alone writes makes it by itself.
//!
//! What must be durable before what stands in `spec/protocol.md` §9.1; what the files hold, and how to
//! read them with `sqlite3`, in `docs/journal.md`.
//!
//! ```no_run
//! use sdpp::journal::Journal;
//! use sdpp::rail::{Durability, SqliteStore};
//!
//! let journal = Journal::start(SqliteStore::open("buyer.db", Durability::Power)?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Once a write has failed, a journal is frozen: it answers [`Ack::Failed`] to everything, and sessions
//! on it sign nothing more. Open it again when the medium works.

use std::sync::{Arc, Weak};

use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::journal::{BadEntry, Entry, StoreId};
use sdpp_proto::statement::Kind;
use sdpp_rail::failpoint::Deed;
use sdpp_rail::{GroupCommit, GroupWrite, Head, Store, StoreError};
use tokio::sync::{OnceCell, mpsc, oneshot};

use crate::sync;

mod desk;

use desk::{Answer, AnyDesk, Desk, Write};
pub use sdpp_rail::{Barrier, Beside};

/// Writes that one commit gathers at most.
const GROUP_MAX: usize = 4096;
/// Rows read at once.
const READ_ROWS: usize = 1024;
/// Heads read at once.
const READ_HEADS: usize = 1024;

/// An answer of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ack {
    /// All writes of this session up to this one are durable.
    Durable(StoreId),
    /// The journal has failed: nothing more is written, and nothing more may be signed.
    Failed(StoreError),
}

enum Request {
    Write(Write),
    Read(String, oneshot::Sender<Result<Vec<Vec<u8>>, StoreError>>),
    Streams(String, oneshot::Sender<Result<Vec<String>, StoreError>>),
    Note(String, oneshot::Sender<Result<Option<Vec<u8>>, StoreError>>),
    Notes(&'static str, oneshot::Sender<Result<Vec<Head>, StoreError>>),
}

/// A journal; cheap to clone.
#[derive(Clone)]
pub struct Journal {
    requests: mpsc::UnboundedSender<Request>,
    /// The thread's: gone when it is.
    desk: Weak<dyn AnyDesk>,
    /// Set once the openings that earlier lives left were looked for.
    looked: Arc<OnceCell<()>>,
}

/// Why a journal could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// The store.
    Store(StoreError),
    /// A row that is not one.
    Entry(BadEntry),
    /// The journal's thread is gone.
    Gone,
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Entry(error) => error.fmt(f),
            Self::Gone => f.write_str("the journal's thread has ended: start the program again"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The stream of an order.
pub fn order_stream(order: &StatementId) -> String {
    format!("order/{order}")
}

/// The key of what a buyer notes beside an order (`docs/journal.md`).
pub fn note_key(order: &StatementId) -> String {
    format!("{NOTES}{order}")
}

/// The key of what a buyer notes before it asks its rail for a deposit (`docs/journal.md`).
pub(crate) fn opening_key(reference: &Bytes32) -> String {
    format!("{OPENINGS}{reference}")
}

/// The key under which an order is marked as restored from a backup.
fn restored_key(order: &str) -> String {
    format!("{RESTORED}{order}")
}

/// Prefix of all orders' streams.
pub const ORDERS: &str = "order/";
/// Prefix of the streams and heads of debts that were written off.
pub(crate) const WRITTEN_OFF: &str = "written-off/";
/// Prefixes of the heads of all notes, and of all marks of a backup.
const NOTES: &str = "note/";
const RESTORED: &str = "restored/";
/// Prefix of the notes of deposits that a rail was asked for.
const OPENINGS: &str = "opening/";

impl Journal {
    /// Starts the thread. It ends when the last handle is gone.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub fn start(store: impl Store + 'static) -> std::io::Result<Self> {
        let (requests, queue) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk::new(GroupCommit::telling(store, deeds_of)));
        let shared: Arc<dyn AnyDesk> = desk.clone();
        sync::spawn("sdpp-journal", move || run(&desk, queue))?;
        Ok(Self { requests, desk: Arc::downgrade(&shared), looked: Arc::default() })
    }

    /// Whether a write has failed, or the thread is gone: what sessions say of their orders may then be more
    /// than a restart will find. It is so before anybody is told.
    pub fn has_failed(&self) -> bool {
        self.requests.is_closed() || self.desk.upgrade().is_none_or(|desk| desk.has_failed())
    }

    /// Hands rows over. The answer comes to `done`; answers of one session come in order.
    pub fn write(&self, stream: String, entries: &[Entry], id: StoreId, done: &mpsc::UnboundedSender<Ack>) {
        self.write_with(stream, entries, (id, done), Beside::default());
    }

    /// The same, with what goes beside it.
    pub fn write_with(
        &self,
        stream: String,
        entries: &[Entry],
        (id, done): (StoreId, &mpsc::UnboundedSender<Ack>),
        beside: Beside,
    ) {
        let rows = entries.iter().map(Entry::to_bytes).collect();
        let write = Write { rows: GroupWrite { stream, rows, beside }, id, answer: Answer::to(done.clone()) };
        // Without a thread it comes back at once, and its answer is given where it is dropped.
        let Some(desk) = self.desk.upgrade() else { return };
        if let Some(write) = desk.take(write) {
            drop(self.requests.send(Request::Write(write)));
        }
    }

    /// All rows of a stream.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&self, stream: String) -> Result<Vec<Entry>, ReadError> {
        let (answer, rows) = oneshot::channel();
        self.requests.send(Request::Read(stream, answer)).map_err(|_| ReadError::Gone)?;
        let rows = rows.await.map_err(|_| ReadError::Gone)??;
        rows.iter().map(|row| Entry::from_bytes(row).map_err(ReadError::Entry)).collect()
    }

    /// The note under a key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn note(&self, key: String) -> Result<Option<String>, ReadError> {
        let (answer, note) = oneshot::channel();
        self.requests.send(Request::Note(key, answer)).map_err(|_| ReadError::Gone)?;
        let note = note.await.map_err(|_| ReadError::Gone)??;
        Ok(note.map(|note| String::from_utf8_lossy(&note).into_owned()))
    }

    /// Puts a note, and waits until it is durable.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn put_note(&self, key: String, text: String) -> Result<(), ReadError> {
        self.put_notes(vec![(key, text)]).await
    }

    /// Puts notes, all or none, and waits until they are durable.
    pub(crate) async fn put_notes(&self, notes: Vec<(String, String)>) -> Result<(), ReadError> {
        let (done, mut acks) = mpsc::unbounded_channel();
        let beside = Beside { barrier: None, notes };
        self.write_with(String::new(), &[], (StoreId(0), &done), beside);
        match acks.recv().await {
            Some(Ack::Durable(_)) => Ok(()),
            Some(Ack::Failed(error)) => Err(ReadError::Store(error)),
            None => Err(ReadError::Gone),
        }
    }

    /// Notes of deposits that an earlier life of the program asked for and that no order took: keys and texts.
    /// Only the first call finds any; whoever notes one calls this before, so that none of this life is among
    /// them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) async fn openings_left(&self) -> Result<Vec<(String, String)>, ReadError> {
        let mut left = Vec::new();
        let look = async || {
            let (answer, notes) = oneshot::channel();
            self.requests.send(Request::Notes(OPENINGS, answer)).map_err(|_| ReadError::Gone)?;
            left = notes.await.map_err(|_| ReadError::Gone)??;
            Ok::<_, ReadError>(())
        };
        self.looked.get_or_try_init(look).await?;
        let text = |(key, text): Head| (key, String::from_utf8_lossy(&text).into_owned());
        Ok(left.into_iter().filter(|(_, text)| !text.is_empty()).map(text).collect())
    }

    /// Puts a note behind what was handed over before. Nobody waits for it.
    pub(crate) fn note_later(&self, key: String, text: String) {
        let (unheard, _) = mpsc::unbounded_channel();
        let beside = Beside { barrier: None, notes: vec![(key, text)] };
        self.write_with(String::new(), &[], (StoreId(0), &unheard), beside);
    }

    /// Declares that this journal was put back from a backup: what was ordered so far can only be
    /// settled, from now on and after every restart. Gives how many orders that are.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn declare_restored(&self) -> Result<usize, ReadError> {
        let streams = self.streams(ORDERS).await?;
        for stream in &streams {
            let order = stream.strip_prefix(ORDERS).unwrap_or(stream);
            self.put_note(restored_key(order), "declared".into()).await?;
        }
        Ok(streams.len())
    }

    /// Whether an order's rows were declared as restored from a backup.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn is_restored(&self, order: &StatementId) -> Result<bool, ReadError> {
        Ok(self.note(restored_key(&order.to_string())).await?.is_some())
    }

    /// Names of the streams that begin so.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn streams(&self, prefix: &str) -> Result<Vec<String>, ReadError> {
        let (answer, names) = oneshot::channel();
        self.requests.send(Request::Streams(prefix.into(), answer)).map_err(|_| ReadError::Gone)?;
        Ok(names.await.map_err(|_| ReadError::Gone)??)
    }
}

fn run(desk: &Desk<impl Store>, mut queue: mpsc::UnboundedReceiver<Request>) {
    let mut group: Vec<Write> = Vec::new();
    while let Some(first) = sync::receive(&mut queue) {
        let mut next = Some(first);
        let Some(mut place) = desk.enter() else { return };
        while let Some(request) = next.take() {
            match request {
                Request::Write(write) => group.push(write),
                request @ (Request::Read(..) | Request::Streams(..) | Request::Note(..) | Request::Notes(..)) => {
                    // Whoever asks sees what was handed over before, or that it failed.
                    desk.commit_queued(&mut place, &mut group);
                    look(place.store(), request);
                }
            }
            if group.len() < GROUP_MAX {
                next = queue.try_recv().ok();
            }
        }
        desk.commit_queued(&mut place, &mut group);
    }
}

/// Answers a question. The asker may have gone; that is its business.
fn look(store: &impl Store, request: Request) {
    match request {
        Request::Write(_) => {}
        Request::Read(stream, answer) => drop(answer.send(read_all(store, &stream))),
        Request::Streams(prefix, answer) => drop(answer.send(store.streams(&prefix))),
        Request::Note(key, answer) => drop(answer.send(store.head(&key))),
        Request::Notes(prefix, answer) => drop(answer.send(all_heads(store, prefix))),
    }
}

/// What a commit of this write makes durable, as failpoints name it.
fn deeds_of(write: &GroupWrite) -> Vec<Deed> {
    if write.stream.starts_with(WRITTEN_OFF) {
        return vec![Deed::WrittenOff];
    }
    let mut deeds: Vec<Deed> = write.rows.iter().filter_map(|row| deed_of(row)).collect();
    // What goes beside rows is a part of them.
    if let (true, Some((key, _))) = (deeds.is_empty(), write.beside.notes.first()) {
        let alone = [
            (NOTES, Deed::Void),
            (OPENINGS, Deed::Opening),
            (RESTORED, Deed::Restored),
            (WRITTEN_OFF, Deed::WrittenOff),
        ];
        deeds.extend(alone.into_iter().filter(|(prefix, _)| key.starts_with(prefix)).map(|(_, deed)| deed));
    }
    deeds
}

fn deed_of(row: &[u8]) -> Option<Deed> {
    let statement = match Entry::from_bytes(row).ok()? {
        Entry::Statement(statement) => statement,
        Entry::Salt(_) => return Some(Deed::Salt),
        Entry::Intent(_) => return Some(Deed::Intent),
        Entry::Record { .. } => return Some(Deed::Recorded),
    };
    match statement.kind {
        Kind::Menu => Some(Deed::Menu),
        Kind::Order => Some(Deed::Order),
        Kind::Attach => Some(Deed::Attach),
        Kind::Acceptance => Some(Deed::Acceptance),
        Kind::Invoice => Some(Deed::Invoice),
        Kind::Payment => Some(Deed::Payment),
        Kind::Settlement => Some(Deed::Settlement),
        Kind::Default => Some(Deed::Default),
        // No journal has these; an ack is asked for by no product that the program sells.
        Kind::Ack | Kind::Sample | Kind::Quote | Kind::Rotation | Kind::Revocation => None,
    }
}

fn all_heads(store: &impl Store, prefix: &str) -> Result<Vec<Head>, StoreError> {
    let mut out: Vec<Head> = Vec::new();
    loop {
        let heads = store.heads(prefix, out.last().map(|(key, _)| key.as_str()), READ_HEADS)?;
        let last = heads.len() < READ_HEADS;
        out.extend(heads);
        if last {
            return Ok(out);
        }
    }
}

fn read_all(store: &impl Store, stream: &str) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut out = Vec::new();
    loop {
        let from = u64::try_from(out.len()).unwrap_or(u64::MAX);
        let rows = store.read(stream, from, READ_ROWS)?;
        let last = rows.len() < READ_ROWS;
        out.extend(rows.into_iter().map(|row| row.body));
        if last {
            return Ok(out);
        }
    }
}

#[cfg(test)]
mod interleaved;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]
mod tests {
    use sdpp_rail::MemoryDisk;

    use super::*;

    #[test]
    fn rows_and_heads_are_read_to_the_last_whatever_their_number() {
        for count in [0, 1, READ_ROWS - 1, READ_ROWS, READ_ROWS + 1, 2 * READ_ROWS] {
            let mut store = MemoryDisk::new().open();
            for number in 0..count {
                store.append("order/a", &[1]).unwrap();
                store.put(&format!("note/{number:06}"), &[2]).unwrap();
            }
            assert_eq!(read_all(&store, "order/a").unwrap().len(), count);
            assert_eq!(all_heads(&store, "note/").unwrap().len(), count);
        }
    }
}

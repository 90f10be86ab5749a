//! Commits of a journal: how many a sale makes, and how many a second there can be one after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sdpp::journal::Ack;
use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Settlement, Signed};
use sdpp_rail::fake::FakeMode;
use sdpp_rail::{Head, MemoryDisk, Row, SqliteStore, Store, StoreError, StoreReader};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::Failure;
use crate::clock::{Stopwatch, Took};
use crate::folder::Folder;
use crate::sale::{self, Journal};

/// Counts commits.
#[derive(Clone, Default)]
pub(crate) struct Commits(Arc<AtomicU64>);

impl Commits {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A store whose commits are counted.
pub(crate) struct Counted<S> {
    store: S,
    commits: Commits,
}

impl<S> Counted<S> {
    pub(crate) fn new(store: S, commits: &Commits) -> Self {
        Self { store, commits: commits.clone() }
    }
}

impl<S: StoreReader> StoreReader for Counted<S> {
    fn read(&self, stream: &str, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.store.read(stream, from, rows_max)
    }

    fn head(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.head(key)
    }

    fn heads(&self, prefix: &str, after: Option<&str>, heads_max: usize) -> Result<Vec<Head>, StoreError> {
        self.store.heads(prefix, after, heads_max)
    }
}

impl<S: Store> Store for Counted<S> {
    fn append(&mut self, stream: &str, body: &[u8]) -> Result<u64, StoreError> {
        self.store.append(stream, body)
    }

    fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.streams(prefix)
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.put(key, value)
    }

    fn swap(&mut self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError> {
        self.store.swap(key, expected, value)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.store.flush()?;
        self.commits.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn is_quick(&self) -> bool {
        self.store.is_quick()
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        self.store.reader()
    }
}

/// Commits that a message in lock step waits for, one after another (`spec/protocol.md` §9.1): the seller's invoice,
/// the buyer's invoice and payment, the seller's payment; before the buyer's the intent, where money moves at once.
pub(crate) const fn in_series(mode: FakeMode) -> u64 {
    match mode {
        FakeMode::Voucher => 3,
        FakeMode::Direct => 4,
    }
}

/// So many commits, each of one small row, each begun when the one before is durable: through a journal, as a
/// session makes them: with the hand-over to its thread and back where a flush waits for the disk.
pub(crate) fn by_journal(class: Journal, count: u64) -> Result<Took, Failure> {
    let folder = Folder::new("bench-commits")?;
    let journal = class.start(folder.path(), "journal")?;
    let (stream, row) = ("order/commits", [Entry::from(statement().erase())]);
    let took = sale::runtime()?.block_on(async move {
        let (done, mut acks) = mpsc::unbounded_channel();
        let watch = Stopwatch::start();
        for number in 0..count {
            journal.write(stream.into(), &row, StoreId(number), &done);
            match acks.recv().await {
                Some(Ack::Durable(_)) => {}
                Some(Ack::Failed(error)) => return Err(error.into()),
                None => return Err("the journal's thread is gone".into()),
            }
        }
        Ok(watch.stop())
    });
    sale::wait_for_journals(folder.path(), &["journal"]);
    took
}

/// The same, by the store alone in the caller's own thread: what the disk and `SQLite` allow.
pub(crate) fn by_store(class: Journal, count: u64) -> Result<Took, Failure> {
    let folder = Folder::new("bench-commits")?;
    match class.durability() {
        Some(durability) => commit_all(SqliteStore::open(folder.path().join("store.sqlite"), durability)?, count),
        None => commit_all(MemoryDisk::new().open(), count),
    }
}

fn commit_all(mut store: impl Store, count: u64) -> Result<Took, Failure> {
    let row = Entry::from(statement().erase()).to_bytes();
    let watch = Stopwatch::start();
    for _ in 0..count {
        store.append("order/commits", &row)?;
        store.flush()?;
    }
    Ok(watch.stop())
}

/// As long as an invoice or a payment, more or less.
fn statement() -> Signed<Settlement> {
    let id = |byte: u8| StatementId([byte; 32]);
    let (due, paid) = (Amount::new(1), Amount::new(1));
    let body = Settlement { order_id: id(1), invoice_id: id(2), payment_id: Some(id(3)), due, paid };
    Signed::sign(&SigningKey::from_seed(&Zeroizing::new([4; 32])), body)
}

#[cfg(test)]
mod tests {
    use sdpp_proto::suite::Suite;

    use super::*;
    use crate::sale::{Spec, Way};

    /// What the ratio in the table rests on.
    #[test]
    fn a_message_in_lock_step_takes_as_many_commits_as_is_said() {
        for mode in [FakeMode::Voucher, FakeMode::Direct] {
            let spec = Spec { size: 10, k: 1, windows: 1, messages: 100 };
            let way = Way { journal: Journal::Memory, suite: Suite::X25519, mode };
            let commits = sale::run(&spec, way).unwrap().commits;
            let least = spec.messages.saturating_mul(in_series(mode));
            // Order, attach, acceptance, settlements and the like are a few more, once.
            assert!((least..least.saturating_add(20)).contains(&commits), "{mode:?}: {commits}");
        }
    }

    #[test]
    fn commits_are_made_in_every_class() {
        for class in [Journal::Process, Journal::Power, Journal::Memory] {
            assert!(!by_journal(class, 2).unwrap().wall.is_zero() && !by_store(class, 2).unwrap().wall.is_zero());
        }
    }
}

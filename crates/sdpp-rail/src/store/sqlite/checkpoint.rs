//! Moving the write-ahead log into the database, beside the writer.
//!
//! SQLite does it by itself in the middle of a commit, every thousand pages: then that commit waits for
//! thousands of scattered writes. Here a thread with a connection of its own does it, which blocks
//! nobody. It cannot begin the log anew while somebody appends to it, so when the log has become long
//! the writer moves the short rest between two transactions.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OpenFlags};

use super::db::{connect, failed};
use crate::store::StoreError;

/// Writes after which the log is moved: about as many pages as SQLite's own default.
const WRITES: u32 = 1_000;
/// Pages in the log from which on the writer helps to begin it anew (64 MiB).
const PAGES_LONG: i64 = 16_384;

/// The thread, and what the writer tells it.
pub(super) struct Checkpointer {
    nudge: Option<SyncSender<()>>,
    /// The log is long: the writer moves the rest, so that the next transaction begins it anew.
    long: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    writes: u32,
}

/// What SQLite says of one move: pages in the log, and pages of them that are in the database.
fn move_pages(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))
}

impl Checkpointer {
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(path, flags)?;
        // On a Mac fsync alone stops at the disk's cache; elsewhere this does nothing.
        let set = connection.pragma_update(None, "checkpoint_fullfsync", "ON");
        set.and_then(|()| connection.pragma_update(None, "fullfsync", "ON")).map_err(|error| failed(path, error))?;
        let (nudge, nudges) = sync_channel(1);
        let long = Arc::new(AtomicBool::new(false));
        let tell = long.clone();
        let work = move || {
            while nudges.recv().is_ok() {
                // A failure shows at the writer, whose log does not end.
                if let Ok((pages, _)) = move_pages(&connection) {
                    tell.store(pages > PAGES_LONG, Ordering::Relaxed);
                }
            }
        };
        let thread = thread::Builder::new().name("sdpp-checkpoint".to_owned()).spawn(work);
        let thread = thread.map_err(|error| failed(path, format!("no thread to tidy the log: {error}")))?;
        Ok(Self { nudge: Some(nudge), long, thread: Some(thread), writes: 0 })
    }

    /// A row or a head was written.
    pub(super) const fn wrote(&mut self) {
        self.writes = self.writes.saturating_add(1);
    }

    /// Whether the next commit moves pages, which waits for the disk.
    pub(super) fn is_long(&self) -> bool {
        self.long.load(Ordering::Relaxed)
    }

    /// A transaction of the writer has ended, and no other has begun.
    pub(super) fn committed(&mut self, writer: &Connection) -> rusqlite::Result<()> {
        if self.long.load(Ordering::Relaxed) {
            // While the thread is still at it, both numbers are -1 or differ: again after the next commit.
            let (pages, moved) = move_pages(writer)?;
            self.long.store(pages < 0 || moved < pages, Ordering::Relaxed);
        } else if self.writes >= WRITES {
            self.writes = 0;
            if let Some(nudge) = &self.nudge {
                // Full: it knows already.
                let _ = nudge.try_send(());
            }
        }
        Ok(())
    }
}

impl Checkpointer {
    /// Ends the thread, with what it is doing.
    pub(super) fn stop(&mut self) {
        drop(self.nudge.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

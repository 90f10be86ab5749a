//! Who commits: the caller in its own thread where that is quick and nobody waits, else the journal's thread.
//!
//! A hand-over to another thread and back costs two wake-ups, 20 to 50 µs each: more than a commit of class `process`.
//! Answers of one session stay in order all the same, because nobody commits past a write that waits. Where many sessions
//! write, one flush for all of them is cheaper, so the next one to come in a row hands over.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sdpp_proto::journal::StoreId;
use sdpp_rail::{GroupCommit, GroupWrite, Store, StoreError};
use tokio::sync::mpsc;

use super::Ack;
use crate::sync::{self, AtomicBool, AtomicUsize, Mutex, MutexGuard};

/// A journal that nobody wrote to for so long is free for whoever comes.
const QUIET: Duration = Duration::from_micros(200);

/// A write, and who waits for it.
pub(super) struct Write {
    pub(super) rows: GroupWrite,
    pub(super) id: StoreId,
    pub(super) answer: Answer,
}

/// Owed to a session. Dropped without one, because the journal has ended over it, it says so: a session that waits for a
/// dead thread would wait for ever.
pub(super) struct Answer(Option<mpsc::UnboundedSender<Ack>>);

impl Answer {
    pub(super) const fn to(done: mpsc::UnboundedSender<Ack>) -> Self {
        Self(Some(done))
    }

    fn give(mut self, ack: Ack) {
        if let Some(done) = self.0.take() {
            // A session that has ended does not listen.
            let _ = done.send(ack);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            let _ = done.send(Ack::Failed(StoreError::Failed("the journal has ended over this write".into())));
        }
    }
}

/// Whoever holds this is at the store.
pub(super) struct Place<S> {
    commits: GroupCommit<S>,
    /// Who wrote last, and when that was done.
    last: (String, Instant),
}

/// The store, and what is on its way to it.
pub(super) struct Desk<S> {
    place: Mutex<Place<S>>,
    /// Writes that were handed to the thread and are not answered yet.
    queued: AtomicUsize,
    /// A write has failed. It is so before anybody is told.
    failed: AtomicBool,
}

/// Raised when it is dropped: also by a panic.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The desk of a store of any kind.
pub(super) trait AnyDesk: Send + Sync {
    /// Commits in the caller's thread, and answers; gives the write back, counted as queued, where the journal's thread is
    /// to do it.
    fn take(&self, write: Write) -> Option<Write>;
    /// Whether a write has failed.
    fn has_failed(&self) -> bool;
}

impl<S: Store> Place<S> {
    pub(super) const fn store(&self) -> &S {
        self.commits.store()
    }

    /// Whether one more write of this stream is best committed by whoever has it.
    fn is_free_for(&self, stream: &str) -> bool {
        let (last, done) = &self.last;
        self.store().is_quick() && (last == stream || sync::is_past(*done, QUIET))
    }

    /// Notes are of no stream: whoever puts one before its rows does not hand the rows over for that.
    fn left_by(&mut self, stream: &str) {
        if stream.is_empty() {
            return;
        }
        if self.last.0 != stream {
            stream.clone_into(&mut self.last.0);
        }
        self.last.1 = Instant::now();
    }
}

impl<S: Store> Desk<S> {
    pub(super) fn new(commits: GroupCommit<S>) -> Self {
        let place = Place { commits, last: (String::new(), Instant::now()) };
        Self { place: Mutex::new(place), queued: AtomicUsize::new(0), failed: AtomicBool::new(false) }
    }

    /// Waits for its turn at the store; none if somebody has panicked there: nobody knows what it holds.
    pub(super) fn enter(&self) -> Option<MutexGuard<'_, Place<S>>> {
        self.place.lock().ok()
    }

    /// Makes writes that were queued durable and answers all who wait for them.
    pub(super) fn commit_queued(&self, place: &mut Place<S>, group: &mut Vec<Write>) {
        let count = group.len();
        self.commit(place, group);
        self.queued.fetch_sub(count, Ordering::Release);
    }

    fn commit(&self, place: &mut Place<S>, group: &mut Vec<Write>) {
        let alarm = Alarm(&self.failed);
        let committed = place.commits.commit(group.iter().map(|write| &write.rows));
        match &committed {
            Ok(()) => mem::forget(alarm),
            Err(_) => drop(alarm),
        }
        if let Some(last) = group.last() {
            place.left_by(&last.rows.stream);
        }
        for write in group.drain(..) {
            write.answer.give(match &committed {
                Ok(()) => Ack::Durable(write.id),
                Err(error) => Ack::Failed(error.clone()),
            });
        }
    }

    fn commit_now(&self, write: Write) -> Option<Write> {
        // A sink's barrier waits for its disk, whatever the journal's class.
        if write.rows.beside.barrier.is_some() || self.queued.load(Ordering::Acquire) > 0 {
            return Some(write);
        }
        // Others may queue from here on; none of them is this session, which is here.
        let Ok(mut place) = self.place.try_lock() else { return Some(write) };
        if !place.is_free_for(&write.rows.stream) {
            return Some(write);
        }
        // A panic ends the journal, as it would in the journal's thread, and not the session: its answer says so when it is
        // dropped, and the place is nobody's any more.
        drop(catch_unwind(AssertUnwindSafe(move || self.commit(&mut place, &mut vec![write]))));
        None
    }
}

impl<S: Store> AnyDesk for Desk<S> {
    fn take(&self, write: Write) -> Option<Write> {
        let left = self.commit_now(write)?;
        self.queued.fetch_add(1, Ordering::AcqRel);
        Some(left)
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use sdpp_rail::MemoryDisk;

    use super::*;
    use crate::sync::once;

    #[test]
    fn a_note_takes_nobodys_turn_away() {
        let write = |stream: &str| {
            let (done, _) = mpsc::unbounded_channel();
            let rows = GroupWrite { stream: stream.into(), ..GroupWrite::default() };
            Write { rows, id: StoreId(0), answer: Answer::to(done) }
        };
        once(move || {
            let desk = Desk::new(GroupCommit::new(MemoryDisk::new().open()));
            let is_taken = |stream| {
                let back = desk.take(write(stream));
                desk.queued.store(0, Ordering::Release);
                back.is_none()
            };
            // Whether the last write is long ago is tossed: often enough for both.
            while !is_taken("order/a") {}
            for _ in 0..50 {
                is_taken("");
                assert!(is_taken("order/a"), "who wrote last goes on, however short ago somebody's note was");
            }
        });
    }
}

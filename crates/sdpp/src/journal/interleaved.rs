//! Writers that commit for themselves and writers that hand over, under many interleavings.
#![allow(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]

use sdpp_proto::codec::Bytes32;
use sdpp_rail::{FlushFault, MemoryStore};
use shuttle::future::block_on;
use shuttle::rand::Rng as _;
use shuttle::thread;

use super::*;
use crate::sync::interleave;

const WRITES: u64 = 3;

fn entry() -> Entry {
    Entry::Salt(Bytes32([1; 32]))
}

/// A sink's file.
struct File;

impl Barrier for File {
    fn sync(&self) -> std::io::Result<()> {
        assert_eq!(thread::current().name(), Some("sdpp-journal"), "it waits for its disk in no session's turn");
        Ok(())
    }
}

/// Writes some rows, waits between some of them, and looks at each answer: in order, and never before the row is
/// durable. Gives how many were.
fn session(journal: &Journal, store: &MemoryStore, (number, waits): (usize, bool)) -> u64 {
    let stream = format!("order/{number}");
    let (done, mut acks) = mpsc::unbounded_channel();
    let durable = store.reader().unwrap();
    let mut heard = 0;
    for id in 0..WRITES {
        // As one whose log becomes long, and short again. Where there is a barrier, the thread commits.
        store.disk().set_quick(shuttle::rand::thread_rng().gen_bool(0.7));
        let barrier = (id == 1 && waits).then(|| Arc::new(File) as Arc<dyn Barrier>);
        let beside = Beside { barrier, notes: Vec::new() };
        journal.write_with(stream.clone(), &[entry()], (StoreId(id), &done), beside);
        let wanted = if waits || id + 1 == WRITES { id + 1 } else { heard };
        while heard < wanted {
            match block_on(acks.recv()).unwrap() {
                Ack::Durable(id) => assert_eq!(id, StoreId(heard), "in order"),
                Ack::Failed(_) => {
                    assert!(journal.has_failed(), "before anybody is told");
                    return heard;
                }
            }
            heard += 1;
            let rows = durable.read(&stream, 0, 100).unwrap().len();
            assert!(u64::try_from(rows).unwrap() >= heard, "answered before it was durable");
        }
    }
    heard
}

fn sessions(journal: &Journal, store: &MemoryStore) -> Vec<u64> {
    let start = |number: usize| {
        let (journal, store) = (journal.clone(), store.clone());
        thread::spawn(move || session(&journal, &store, (number, number.is_multiple_of(2))))
    };
    let threads: Vec<_> = (0..3).map(start).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn whoever_commits_answers_come_in_order_and_when_rows_are_durable() {
    interleave(150, || {
        let store = MemoryStore::new();
        let journal = Journal::start(store.clone()).unwrap();
        assert_eq!(sessions(&journal, &store), [WRITES; 3]);
        let streams = block_on(journal.streams(ORDERS)).unwrap();
        assert_eq!(streams.len(), 3);
        for stream in streams {
            assert_eq!(block_on(journal.read(stream)).unwrap().len(), 3);
        }
        assert!(!journal.has_failed());
    });
}

#[test]
fn after_a_failed_commit_nobody_is_told_that_anything_is_durable() {
    interleave(100, || {
        let store = MemoryStore::new();
        let journal = Journal::start(store.clone()).unwrap();
        store.disk().fail_next_flush(FlushFault::Fails);
        assert_eq!(sessions(&journal, &store), [0; 3]);
        assert!(journal.has_failed());
    });
}

//! A group of writes is durable as a whole, or nobody is told that any of it is.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sdpp_rail::{Barrier, Beside, GroupCommit, GroupWrite, MemoryDisk, StoreReader as _};

/// A sink whose medium fails once.
struct FailsOnce(AtomicBool);

impl Barrier for FailsOnce {
    fn sync(&self) -> io::Result<()> {
        if self.0.swap(true, Ordering::Relaxed) { Ok(()) } else { Err(io::Error::other("the medium is tired")) }
    }
}

fn row(text: &str) -> GroupWrite {
    GroupWrite { stream: "order/1".into(), rows: vec![text.as_bytes().to_vec()], beside: Beside::default() }
}

fn rows(disk: &MemoryDisk) -> usize {
    disk.open().read("order/1", 0, 10).unwrap().len()
}

#[test]
fn what_is_acknowledged_survives_a_crash() {
    let disk = MemoryDisk::new();
    let mut commits = GroupCommit::new(disk.open());
    commits.commit([row("an invoice"), row("a payment")].iter()).unwrap();
    disk.crash();
    assert_eq!(rows(&disk), 2);
}

#[test]
fn behind_a_failed_sink_nothing_more_is_written() {
    let disk = MemoryDisk::new();
    let mut commits = GroupCommit::new(disk.open());
    let mut first = row("a payment for what the sink has lost");
    first.beside.barrier = Some(Arc::new(FailsOnce(AtomicBool::new(false))));
    let error = commits.commit(std::iter::once(&first)).unwrap_err();
    // The store itself is well, and the sink, too, would go on: what it lost would be paid for.
    let again = commits.commit(std::iter::once(&first)).unwrap_err();
    assert_eq!(again, error, "the same answer to everybody until it is opened again");
    assert_eq!(rows(&disk), 0);
}

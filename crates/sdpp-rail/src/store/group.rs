//! One flush for what many have written: the order of durability of a journal, without threads.
//!
//! ```text
//! barriers (sinks) ──► rows and notes ──► one flush ──► everybody is answered
//! ```

use std::io;
use std::sync::Arc;

use super::{Store, StoreError};
use crate::failpoint::{self, Deed};

/// Something that must be as durable as the rows before they are: a sink's file.
pub trait Barrier: Send + Sync {
    /// Makes what was written so far durable.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self) -> io::Result<()>;
}

/// What goes with a write.
#[derive(Default)]
pub struct Beside {
    /// Synced before.
    pub barrier: Option<Arc<dyn Barrier>>,
    /// Notes, durable together with the rows: their keys and texts, in place of those before.
    pub notes: Vec<(String, String)>,
}

/// Rows of one writer.
#[derive(Default)]
pub struct GroupWrite {
    /// The stream that they are appended to.
    pub stream: String,
    /// The rows.
    pub rows: Vec<Vec<u8>>,
    /// What goes with them.
    pub beside: Beside,
}

/// Writes groups to a [`Store`]. After a write that failed it is frozen: everything is answered with the
/// same error until the store is opened again.
pub struct GroupCommit<S> {
    store: S,
    frozen: Option<StoreError>,
    deeds: fn(&GroupWrite) -> Vec<Deed>,
}

impl<S: Store> GroupCommit<S> {
    /// Nothing has failed yet.
    pub const fn new(store: S) -> Self {
        Self { store, frozen: None, deeds: |_| Vec::new() }
    }

    /// The same, for a program that can be made to fail before and after what a write is.
    pub const fn telling(store: S, deeds: fn(&GroupWrite) -> Vec<Deed>) -> Self {
        Self { store, frozen: None, deeds }
    }

    /// The store, to read from.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Makes all writes of a group durable with one flush: barriers first, each once. An empty group
    /// is no flush.
    ///
    /// # Errors
    /// The error of this write, or of the one that froze the store: nobody may be told that anything
    /// of this group is durable, and nothing more may be signed on it.
    pub fn commit<'w>(&mut self, group: impl Iterator<Item = &'w GroupWrite> + Clone) -> Result<(), StoreError> {
        if let Some(error) = &self.frozen {
            return Err(error.clone());
        }
        if group.clone().next().is_none() {
            return Ok(());
        }
        let written = self.write(group);
        self.frozen = written.clone().err();
        written
    }

    fn write<'w>(&mut self, group: impl Iterator<Item = &'w GroupWrite> + Clone) -> Result<(), StoreError> {
        let mut synced: Vec<&Arc<dyn Barrier>> = Vec::new();
        for barrier in group.clone().filter_map(|write| write.beside.barrier.as_ref()) {
            if !synced.iter().any(|done| Arc::ptr_eq(done, barrier)) {
                failpoint::before(Deed::Sink);
                barrier.sync().map_err(|error| StoreError::Failed(format!("the sink cannot be flushed: {error}")))?;
                failpoint::after(Deed::Sink);
                synced.push(barrier);
            }
        }
        for write in group.clone() {
            for row in &write.rows {
                self.store.append(&write.stream, row)?;
            }
            for (key, text) in &write.beside.notes {
                self.store.put(key, text.as_bytes())?;
            }
        }
        let deeds: Vec<Deed> =
            if failpoint::is_armed() { group.flat_map(|write| (self.deeds)(write)).collect() } else { Vec::new() };
        deeds.iter().copied().for_each(failpoint::before);
        self.store.flush()?;
        deeds.into_iter().for_each(failpoint::after);
        Ok(())
    }
}

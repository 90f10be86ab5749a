//! A store in memory that tells *written* from *durable*, for tests and simulations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Row, Store, StoreError};

/// The disk under [`MemoryStore`]: it outlives a crash, and a test drives its faults from here.
///
/// Cheap to clone; all clones are one disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Disk>>,
}

/// An open handle of a [`MemoryDisk`]. Clones share what is written.
///
/// After an error of a write it refuses all writes until the disk is opened again, as the store for
/// people does; reads then show what the last good flush left.
#[derive(Clone)]
pub struct MemoryStore {
    disk: MemoryDisk,
    /// The start of the process it belongs to: handles from before a crash are dead.
    boot: u64,
}

/// What the next flush does instead of its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushFault {
    /// Fails, and nothing became durable.
    Fails,
    /// Fails, although everything became durable: only opening again shows it.
    FailsButDurable,
    /// Says that all is well, and nothing became durable until an honest flush follows.
    Lies,
    /// The disk is full; nothing became durable.
    Full,
}

#[derive(Default)]
struct Disk {
    streams: BTreeMap<String, Vec<Vec<u8>>>,
    heads: BTreeMap<String, Vec<u8>>,
    /// How to take back what is written and not durable, oldest first.
    undo: Vec<Undo>,
    /// How many of `undo` the process takes for durable, because a flush lied.
    believed: usize,
    boot: u64,
    frozen: Option<StoreError>,
    room_bytes: Option<u64>,
    next_flush: Option<FlushFault>,
    next_append: Option<StoreError>,
    next_swap: Option<StoreError>,
    flushes: u64,
    appends: u64,
}

enum Undo {
    Row { stream: String },
    Head { key: String, before: Option<Vec<u8>> },
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the process again: what was not durable is gone, older handles are dead, and writing
    /// is possible again. Room and faults that were set stay.
    pub fn open(&self) -> MemoryStore {
        self.crash();
        MemoryStore { disk: self.clone(), boot: self.lock().boot }
    }

    /// Cuts the power: takes back all rows and heads that no honest flush has made durable.
    pub fn crash(&self) {
        let mut disk = self.lock();
        disk.take_back(0);
        disk.believed = 0;
        disk.frozen = None;
        disk.boot = disk.boot.wrapping_add(1);
    }

    /// What the next flush does.
    pub fn fail_next_flush(&self, fault: FlushFault) {
        self.lock().next_flush = Some(fault);
    }

    /// The next append gives this error and writes nothing.
    pub fn fail_next_append(&self, error: StoreError) {
        self.lock().next_append = Some(error);
    }

    /// The next swap gives this error and writes nothing.
    pub fn fail_next_swap(&self, error: StoreError) {
        self.lock().next_swap = Some(error);
    }

    /// How many more bytes of rows and heads may be written before the disk is full; `None`: any.
    pub fn set_room(&self, room_bytes: Option<u64>) {
        self.lock().room_bytes = room_bytes;
    }

    /// Flushes that said that all is well, so far.
    pub fn flushes(&self) -> u64 {
        self.lock().flushes
    }

    /// Rows appended so far, those included that a crash took.
    pub fn appends(&self) -> u64 {
        self.lock().appends
    }

    /// Rows and heads that a crash would take now.
    pub fn unflushed(&self) -> usize {
        self.lock().undo.len()
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        // A test that panicked elsewhere leaves the data as it is: still worth reading.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    /// A store on a disk of its own.
    pub fn new() -> Self {
        MemoryDisk::new().open()
    }

    /// The disk below: crashes, faults, counters.
    pub fn disk(&self) -> MemoryDisk {
        self.disk.clone()
    }

    fn reading(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let disk = self.disk.lock();
        if disk.boot == self.boot {
            Ok(disk)
        } else {
            Err(StoreError::Failed("this handle is from before the crash: open the store again".to_owned()))
        }
    }

    fn writing(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let disk = self.reading()?;
        match &disk.frozen {
            Some(error) => Err(error.clone()),
            None => Ok(disk),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Disk {
    /// Takes back all but the oldest `keep` unflushed writes.
    fn take_back(&mut self, keep: usize) {
        while self.undo.len() > keep {
            match self.undo.pop() {
                Some(Undo::Row { stream }) => {
                    if let Some(rows) = self.streams.get_mut(&stream) {
                        rows.pop();
                        if rows.is_empty() {
                            self.streams.remove(&stream);
                        }
                    }
                }
                Some(Undo::Head { key, before: Some(value) }) => drop(self.heads.insert(key, value)),
                Some(Undo::Head { key, before: None }) => drop(self.heads.remove(&key)),
                None => return,
            }
        }
    }

    fn freeze(&mut self, error: StoreError) -> StoreError {
        self.take_back(self.believed);
        self.frozen = Some(error.clone());
        error
    }

    fn take_room(&mut self, bytes: usize) -> Result<(), StoreError> {
        if let Some(room) = self.room_bytes {
            let left = u64::try_from(bytes).ok().and_then(|bytes| room.checked_sub(bytes));
            self.room_bytes = Some(left.ok_or(StoreError::Full)?);
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn append(&mut self, stream: &str, body: &[u8]) -> Result<u64, StoreError> {
        let mut disk = self.writing()?;
        let fault = disk.next_append.take();
        if let Err(error) = fault.map_or_else(|| disk.take_room(body.len()), Err) {
            return Err(disk.freeze(error));
        }
        let rows = disk.streams.entry(stream.to_owned()).or_default();
        let position = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        rows.push(body.to_vec());
        disk.undo.push(Undo::Row { stream: stream.to_owned() });
        disk.appends = disk.appends.saturating_add(1);
        Ok(position)
    }

    fn read(&self, stream: &str, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let disk = self.reading()?;
        let rows = disk.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        let numbered = (0u64..).zip(rows).skip(skip).take(rows_max);
        Ok(numbered.map(|(position, body)| Row { position, body: body.clone() }).collect())
    }

    fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let disk = self.reading()?;
        let from_here = disk.streams.range(prefix.to_owned()..).map(|(name, _)| name);
        Ok(from_here.take_while(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn head(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.reading()?.heads.get(key).cloned())
    }

    fn swap(&mut self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError> {
        let mut disk = self.writing()?;
        if let Some(error) = disk.next_swap.take() {
            return Err(disk.freeze(error));
        }
        if disk.heads.get(key).map(Vec::as_slice) != expected {
            return Ok(false);
        }
        if let Err(error) = disk.take_room(value.len()) {
            return Err(disk.freeze(error));
        }
        let before = disk.heads.insert(key.to_owned(), value.to_vec());
        disk.undo.push(Undo::Head { key: key.to_owned(), before });
        Ok(true)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let mut disk = self.writing()?;
        match disk.next_flush.take() {
            None => disk.undo.clear(),
            Some(FlushFault::Lies) => {}
            Some(FlushFault::Fails) => {
                return Err(disk.freeze(StoreError::Failed("the flush failed".to_owned())));
            }
            Some(FlushFault::FailsButDurable) => {
                disk.undo.clear();
                disk.believed = 0;
                return Err(disk.freeze(StoreError::Failed("the flush gave no clear answer".to_owned())));
            }
            Some(FlushFault::Full) => return Err(disk.freeze(StoreError::Full)),
        }
        disk.believed = disk.undo.len();
        disk.flushes = disk.flushes.saturating_add(1);
        Ok(())
    }
}

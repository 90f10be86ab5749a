//! A store in memory that tells *written* from *durable*, for tests and simulations.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Head, Row, Store, StoreError, StoreReader};

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
    next_put: Option<StoreError>,
    next_read: Option<(u64, StoreError)>,
    flushes: u64,
    appends: u64,
    slow: bool,
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

    /// The next head that is put gives this error and is not written.
    pub fn fail_next_put(&self, error: StoreError) {
        self.lock().next_put = Some(error);
    }

    /// The next read of rows or of a head by the store itself gives this error, and takes back what is not
    /// flushed, as SQLite does when the medium fails.
    pub fn fail_next_read(&self, error: StoreError) {
        self.fail_read_after(0, error);
    }

    /// The same after so many reads that go well.
    pub fn fail_read_after(&self, reads: u64, error: StoreError) {
        self.lock().next_read = Some((reads, error));
    }

    /// Takes back all faults that were set and have not come yet.
    pub fn heal(&self) {
        let mut disk = self.lock();
        (disk.next_flush, disk.next_append, disk.next_put, disk.next_read) = (None, None, None, None);
        disk.room_bytes = None;
    }

    /// How many more bytes of rows and heads may be written before the disk is full; `None`: any.
    pub fn set_room(&self, room_bytes: Option<u64>) {
        self.lock().room_bytes = room_bytes;
    }

    /// Whether stores on it say that a flush is quick; they do unless told otherwise.
    pub fn set_quick(&self, quick: bool) {
        self.lock().slow = !quick;
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

    /// Those among them that a flush which lied has called durable.
    pub fn believed(&self) -> usize {
        self.lock().believed
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

    /// For the store's own reads: they may fail.
    fn sound(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let mut disk = self.reading()?;
        match disk.next_read.take() {
            Some((0, error)) => Err(disk.freeze(error)),
            Some((left, error)) => {
                disk.next_read = Some((left.saturating_sub(1), error));
                Ok(disk)
            }
            None => Ok(disk),
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
    /// What is written and that the process does not take for durable.
    fn unsure(&self) -> impl Iterator<Item = &Undo> {
        self.undo.iter().skip(self.believed)
    }

    /// The durable value of a head that has a newer one: the oldest that can be put back.
    fn durable_head(&self, wanted: &str) -> Option<&Option<Vec<u8>>> {
        self.unsure().find_map(|undo| match undo {
            Undo::Head { key, before } if key == wanted => Some(before),
            Undo::Head { .. } | Undo::Row { .. } => None,
        })
    }

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

impl StoreReader for MemoryStore {
    fn read(&self, stream: &str, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let disk = self.sound()?;
        let rows = disk.streams.get(stream).map_or(&[][..], Vec::as_slice);
        Ok(page(rows, from, rows_max))
    }

    fn head(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.sound()?.heads.get(key).cloned())
    }

    fn heads(&self, prefix: &str, after: Option<&str>, heads_max: usize) -> Result<Vec<Head>, StoreError> {
        let disk = self.reading()?;
        Ok(scan(&disk.heads, prefix, after).take(heads_max).map(|(key, value)| (key.clone(), value.clone())).collect())
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

    fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let disk = self.reading()?;
        let from_here = disk.streams.range(prefix.to_owned()..).map(|(name, _)| name);
        Ok(from_here.take_while(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let mut disk = self.writing()?;
        let fault = disk.next_put.take();
        if let Err(error) = fault.map_or_else(|| disk.take_room(value.len()), Err) {
            return Err(disk.freeze(error));
        }
        let before = disk.heads.insert(key.to_owned(), value.to_vec());
        disk.undo.push(Undo::Head { key: key.to_owned(), before });
        Ok(())
    }

    fn swap(&mut self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError> {
        drop(self.writing()?);
        if self.head(key)?.as_deref() != expected {
            return Ok(false);
        }
        self.put(key, value).map(|()| true)
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

    fn is_quick(&self) -> bool {
        !self.disk.lock().slow
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        drop(self.reading()?);
        Ok(Box::new(DurableReader(self.clone())))
    }
}

/// Reads a [`MemoryStore`] as if what no flush has covered were not there.
struct DurableReader(MemoryStore);

impl StoreReader for DurableReader {
    fn read(&self, stream: &str, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let disk = self.0.reading()?;
        let rows = disk.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let is_new = |undo: &&Undo| matches!(undo, Undo::Row { stream: name } if name == stream);
        let durable = rows.len().saturating_sub(disk.unsure().filter(is_new).count());
        Ok(page(rows.get(..durable).unwrap_or(rows), from, rows_max))
    }

    fn head(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let disk = self.0.reading()?;
        Ok(disk.durable_head(key).map_or_else(|| disk.heads.get(key).cloned(), Clone::clone))
    }

    fn heads(&self, prefix: &str, after: Option<&str>, heads_max: usize) -> Result<Vec<Head>, StoreError> {
        let disk = self.0.reading()?;
        let durable = scan(&disk.heads, prefix, after).filter_map(|(key, value)| match disk.durable_head(key) {
            Some(before) => before.clone().map(|before| (key.clone(), before)),
            None => Some((key.clone(), value.clone())),
        });
        Ok(durable.take(heads_max).collect())
    }
}

fn page(rows: &[Vec<u8>], from: u64, rows_max: usize) -> Vec<Row> {
    let skip = usize::try_from(from).unwrap_or(usize::MAX);
    let numbered = (0u64..).zip(rows).skip(skip).take(rows_max);
    numbered.map(|(position, body)| Row { position, body: body.clone() }).collect()
}

fn scan<'a>(
    heads: &'a BTreeMap<String, Vec<u8>>,
    prefix: &'a str,
    after: Option<&str>,
) -> impl Iterator<Item = (&'a String, &'a Vec<u8>)> {
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after.to_owned()),
        Some(_) | None => Bound::Included(prefix.to_owned()),
    };
    heads.range((from, Bound::Unbounded)).take_while(move |(key, _)| key.starts_with(prefix))
}

//! What an audit remembers of an order however long it is: the newest of it here, the rest in a temporary file.
//!
//! Whoever makes a bundle may repeat the first statement behind the millionth, so nothing may be forgotten, and nothing may be
//! answered by a guess. Both parts are trees ordered by the whole id: whoever chooses ids makes neither of them slow.

use std::collections::BTreeMap;

use sdpp_proto::codec::StatementId;

use super::case::Stop;
use super::limits;
use super::report::Missing;
use super::spill::Spill;

/// What can be remembered of a statement: a small number and two large ones.
pub(super) trait Kept: Copy {
    fn pack(self) -> Packed;
    fn unpack(packed: Packed) -> Option<Self>;
}

/// As it is written down.
pub(super) type Packed = (u8, u64, u64);

/// Something that was remembered cannot be read again, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lost(pub(super) String);

impl From<Lost> for Stop {
    fn from(Lost(why): Lost) -> Self {
        Self::Missing(Missing::Memory(why))
    }
}

/// A map from statements that may be as long as the disk has room.
///
/// Up to so many entries no disk is touched. Where a file cannot be made or takes no more, all that comes from then on
/// stays in memory: an audit that is too large for it is better than none. What is in the file and cannot be read is
/// [`Lost`], never absent.
#[derive(Debug)]
pub(super) struct Memory<V> {
    /// What is newest, and what stands in for the file's word.
    recent: BTreeMap<StatementId, V>,
    recent_max: usize,
    file: File,
}

#[derive(Debug)]
enum File {
    /// There was no need.
    None,
    Open(Spill),
    /// It takes no more; what is in it stays there.
    Full(Option<Spill>),
}

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Self { recent: BTreeMap::new(), recent_max: limits::RECENT_MAX, file: File::None }
    }
}

impl<V: Kept> Memory<V> {
    /// Keeps so many entries at most outside the file from now on.
    pub(super) fn keep(&mut self, recent_max: usize) {
        self.recent_max = recent_max;
    }

    pub(super) fn get(&self, id: &StatementId) -> Result<Option<V>, Lost> {
        if let Some(value) = self.recent.get(id) {
            return Ok(Some(*value));
        }
        match self.spill() {
            Some(spill) => spill.get(id)?.map(unpack).transpose(),
            None => Ok(None),
        }
    }

    pub(super) fn contains(&self, id: &StatementId) -> Result<bool, Lost> {
        Ok(self.get(id)?.is_some())
    }

    /// Remembers a value in place of the one before, if there was one.
    pub(super) fn insert(&mut self, id: StatementId, value: V) {
        self.recent.insert(id, value);
        if self.recent.len() > self.recent_max {
            self.write_down();
        }
    }

    /// Every entry once.
    pub(super) fn each(&self, mut take: impl FnMut(&StatementId, V) -> Result<(), Lost>) -> Result<(), Lost> {
        if let Some(spill) = self.spill() {
            spill.each(&mut |id, packed| match self.recent.contains_key(id) {
                true => Ok(()),
                false => take(id, unpack(packed)?),
            })?;
        }
        self.recent.iter().try_for_each(|(id, value)| take(id, *value))
    }

    fn spill(&self) -> Option<&Spill> {
        match &self.file {
            File::Open(spill) | File::Full(Some(spill)) => Some(spill),
            File::None | File::Full(None) => None,
        }
    }

    /// In the order of the file, so that each of its pages is touched once.
    fn write_down(&mut self) {
        self.file = match std::mem::replace(&mut self.file, File::Full(None)) {
            full @ File::Full(_) => full,
            File::None => Spill::create().map_or(File::Full(None), File::Open),
            open @ File::Open(_) => open,
        };
        let File::Open(spill) = &mut self.file else { return };
        if spill.write(self.recent.iter().map(|(id, value)| (id, value.pack()))) {
            self.recent.clear();
        } else if let File::Open(spill) = std::mem::replace(&mut self.file, File::Full(None)) {
            self.file = File::Full(Some(spill));
        }
    }
}

fn unpack<V: Kept>(packed: Packed) -> Result<V, Lost> {
    V::unpack(packed).ok_or_else(|| Lost("it holds something else than was written".to_owned()))
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
impl<V: Kept> Memory<V> {
    /// Writes all down, and loses what is written.
    pub(super) fn lose(&mut self) {
        self.write_down();
        if let Some(spill) = self.spill() {
            spill.lose();
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;

//! In place of the temporary file where SQLite is not built in: there is none, and all stays in memory.

use sdpp_proto::codec::StatementId;

use super::memory::{Lost, Packed};

/// Never there.
#[derive(Debug)]
pub(super) enum Spill {}

impl Spill {
    pub(super) const fn create() -> Option<Self> {
        None
    }

    pub(super) const fn get(&self, _: &StatementId) -> Result<Option<Packed>, Lost> {
        match *self {}
    }

    pub(super) fn write<'v>(&mut self, _: impl Iterator<Item = (&'v StatementId, Packed)>) -> bool {
        match *self {}
    }

    pub(super) fn each(&self, _: &mut dyn FnMut(&StatementId, Packed) -> Result<(), Lost>) -> Result<(), Lost> {
        match *self {}
    }
}

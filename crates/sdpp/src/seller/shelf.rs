//! Live sources of orders whose buyers are away: what comes meanwhile waits for them.
//!
//! A file is opened anew when its buyer comes back; a subscription has no past. So it is put on a shelf
//! with what was read from it, for a while, and an order that comes back in time misses nothing.

use std::collections::HashMap;
use std::sync::PoisonError;

use sdpp_proto::codec::StatementId;
use tokio::time::Instant;

use super::session::Supply;
use crate::sync::{Mutex, MutexGuard};

/// Supplies that wait at most: each may hold a full queue.
const SHELF_MAX: usize = 1024;

/// Supplies that wait for their buyers.
#[derive(Default)]
pub(crate) struct Shelf {
    waiting: Mutex<HashMap<StatementId, (Supply, Instant)>>,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, HashMap<StatementId, (Supply, Instant)>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a supply, if its source is live.
    pub(in crate::seller) fn put(&self, order: StatementId, supply: Supply) {
        let keeps = supply.source.as_ref().and_then(|source| source.keeps());
        let until = keeps.and_then(|keeps| Instant::now().checked_add(keeps));
        let Some(until) = until else { return };
        let mut waiting = self.lock();
        if waiting.len() < SHELF_MAX {
            waiting.insert(order, (supply, until));
        }
    }

    /// The supply of an order that came back in time.
    pub(in crate::seller) fn take(&self, order: &StatementId) -> Option<Supply> {
        let (supply, until) = self.lock().remove(order)?;
        (Instant::now() <= until).then_some(supply)
    }

    /// Lets go of those that have waited too long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.lock().retain(|_, (_, until)| now <= *until);
    }
}

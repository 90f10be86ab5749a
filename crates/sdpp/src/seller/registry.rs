//! Which orders there are, which are live, and how much exposure is out (`spec/protocol.md` §7).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::journal::Entry;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::SellerOrder;
use sdpp_proto::statement::{Attach, Kind, Menu, Signed};
use tokio::sync::Notify;

use super::StartError;
use crate::journal::{Journal, ORDERS};
use crate::now;

/// Time that an older connection has to let go of its order.
const TAKEOVER: Duration = Duration::from_secs(5);

/// Most that may be owed over all sessions, in base units; strangers have a pool of their own, so
/// that a crowd of fresh keys cannot lock proven buyers out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pools {
    /// Buyers that have not paid a full window yet.
    pub strangers: Amount,
    /// Buyers that have.
    pub proven: Amount,
}

enum Slot {
    Live { buyer: PublicKey, index: u32, stop: Arc<Notify> },
    Parked(Box<SellerOrder>),
    Ended,
}

#[derive(Default)]
struct Inner {
    orders: HashMap<StatementId, Slot>,
    proven: HashSet<PublicKey>,
    strangers_out: Amount,
    proven_out: Amount,
}

/// Exposure taken from a pool; given back when dropped.
pub(crate) struct Reserved {
    inner: Arc<Mutex<Inner>>,
    amount: Amount,
    stranger: bool,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut inner = lock(&self.inner);
        let out = if self.stranger { &mut inner.strangers_out } else { &mut inner.proven_out };
        *out = out.saturating_sub(self.amount);
    }
}

/// What a new connection found.
pub(crate) enum Found {
    /// A new order.
    New,
    /// A known one, now this connection's.
    Known(Box<SellerOrder>),
}

pub(crate) struct Registry {
    inner: Arc<Mutex<Inner>>,
    parked: Arc<Notify>,
    pools: Pools,
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // Nothing panics while it is held; a poisoned lock still guards whole values.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(crate) fn new(pools: Pools) -> Self {
        Self { inner: Arc::default(), parked: Arc::new(Notify::new()), pools }
    }

    /// Rebuilds all orders from the journal, by the code that normal work uses.
    pub(crate) async fn load(&self, journal: &Journal, key: &SigningKey) -> Result<(), StartError> {
        for stream in journal.streams(ORDERS).await.map_err(StartError::Journal)? {
            let entries = journal.read(stream).await.map_err(StartError::Journal)?;
            let Some((id, mut account)) = restore(&entries, key)? else { continue };
            if journal.is_restored(&id).await.map_err(StartError::Journal)? {
                account.declare_restored();
            }
            let mut inner = lock(&self.inner);
            if account.is_proven() {
                inner.proven.insert(account.buyer());
            }
            let slot = if account.is_over() { Slot::Ended } else { Slot::Parked(Box::new(account)) };
            inner.orders.insert(id, slot);
        }
        Ok(())
    }

    /// Takes an order for a new connection. A live older connection of it is ended first, if this
    /// attach is its buyer's and newer.
    pub(crate) async fn take(
        &self,
        attach: &Signed<Attach>,
        is_order: bool,
        stop: &Arc<Notify>,
    ) -> Result<Found, Reason> {
        let deadline = tokio::time::Instant::now().checked_add(TAKEOVER);
        loop {
            let parked = self.parked.notified();
            match self.try_take(attach, is_order, stop)? {
                Some(found) => return Ok(found),
                None => {
                    let deadline = deadline.unwrap_or_else(tokio::time::Instant::now);
                    tokio::time::timeout_at(deadline, parked).await.map_err(|_| Reason::Busy)?;
                }
            }
        }
    }

    fn try_take(&self, attach: &Signed<Attach>, is_order: bool, stop: &Arc<Notify>) -> Result<Option<Found>, Reason> {
        let mut inner = lock(&self.inner);
        let live = Slot::Live { buyer: attach.issuer(), index: attach.index, stop: stop.clone() };
        match inner.orders.remove(&attach.order_id) {
            None if is_order => {
                inner.orders.insert(attach.order_id, live);
                Ok(Some(Found::New))
            }
            // The machine names the offence.
            None => Ok(Some(Found::New)),
            Some(Slot::Parked(account)) => {
                inner.orders.insert(attach.order_id, live);
                Ok(Some(Found::Known(account)))
            }
            Some(Slot::Ended) => {
                inner.orders.insert(attach.order_id, Slot::Ended);
                Err(Reason::AlreadyEnded)
            }
            Some(Slot::Live { buyer, index, stop: older }) => {
                let newer = buyer == attach.issuer() && attach.index > index;
                if newer {
                    older.notify_one();
                }
                inner.orders.insert(attach.order_id, Slot::Live { buyer, index, stop: older });
                if newer { Ok(None) } else { Err(Reason::Busy) }
            }
        }
    }

    /// Reserves exposure for a buyer; says whether it is a stranger.
    pub(crate) fn reserve(&self, buyer: &PublicKey, exposure: Amount) -> Option<(Reserved, bool)> {
        let mut inner = lock(&self.inner);
        let stranger = !inner.proven.contains(buyer);
        let pool = if stranger { self.pools.strangers } else { self.pools.proven };
        let out = if stranger { &mut inner.strangers_out } else { &mut inner.proven_out };
        let after = out.checked_add(exposure).filter(|after| *after <= pool)?;
        *out = after;
        drop(inner);
        Some((Reserved { inner: self.inner.clone(), amount: exposure, stranger }, stranger))
    }

    /// A buyer has paid a full window.
    pub(crate) fn prove(&self, buyer: PublicKey) {
        lock(&self.inner).proven.insert(buyer);
    }

    /// A connection lets go of its order. Without an account, an order that never came to be.
    pub(crate) fn park(&self, order: StatementId, account: Option<Box<SellerOrder>>, stop: &Arc<Notify>) {
        let mut inner = lock(&self.inner);
        let own = matches!(inner.orders.get(&order), Some(Slot::Live { stop: owner, .. }) if Arc::ptr_eq(owner, stop));
        if own {
            match account {
                Some(account) if account.is_over() => inner.orders.insert(order, Slot::Ended),
                Some(account) => inner.orders.insert(order, Slot::Parked(account)),
                None => inner.orders.remove(&order),
            };
        }
        drop(inner);
        self.parked.notify_waiters();
    }
}

fn restore(entries: &[Entry], key: &SigningKey) -> Result<Option<(StatementId, SellerOrder)>, StartError> {
    let menu = entries.iter().find_map(|entry| match entry {
        Entry::Statement(statement) if statement.kind == Kind::Menu => Signed::<Menu>::parse(&statement.bytes).ok(),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    });
    let Some(menu) = menu else { return Ok(None) };
    let account =
        SellerOrder::restore(key, &menu, entries, now()).map_err(|error| StartError::Restore(menu.id(), error))?;
    Ok(Some((account.id(), account)))
}

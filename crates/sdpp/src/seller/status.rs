//! What a seller is doing, as a snapshot. Sessions publish at invoices, payments and their end, never
//! per message, so looking costs the data path nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId, Price};
use sdpp_proto::offence::{Offence, Reason};
use sdpp_proto::seller::{Ended, SellerOrder};
use sdpp_proto::time::Timestamp;

use crate::metrics::{self, Role};

/// What a seller is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// When it started.
    pub since: Timestamp,
    /// What is on the menu.
    pub products: Vec<ProductStatus>,
    /// Connections, those without a session among them.
    pub connections: usize,
    /// Connections that have not sent their order.
    pub silent: usize,
    /// Its orders, in no order.
    pub orders: Vec<OrderStatus>,
    /// What buyers that have not paid a full window owe, or may.
    pub strangers: PoolStatus,
    /// What the others owe, or may.
    pub proven: PoolStatus,
    /// Counted since the start.
    pub totals: Totals,
}

/// A product on the menu.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProductStatus {
    /// Its number, the same for its topic as long as the seller runs.
    pub id: u32,
    /// Its name.
    pub topic: String,
    /// What new orders pay.
    pub price: Price,
    /// Whether it takes no new orders.
    pub paused: bool,
}

/// How an order stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OrderState {
    /// A session is live.
    Live,
    /// It waits for its buyer.
    Parked,
    /// Both have signed the end.
    Over,
}

/// One order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderStatus {
    /// The order.
    pub order: StatementId,
    /// Who buys.
    pub buyer: PublicKey,
    /// What is bought.
    pub topic: String,
    /// What amounts count.
    pub asset: AssetId,
    /// How it stands.
    pub state: OrderState,
    /// Since when it stands so; orders from the journal since the start.
    pub since: Timestamp,
    /// Messages sent, as of the last invoice, payment or end.
    pub sent: u64,
    /// Cumulative amount due for them.
    pub due: Amount,
    /// Cumulative amount credited.
    pub paid: Amount,
    /// What is owed.
    pub owed: Amount,
    /// Live messages dropped while credit was used up, since the start of the seller.
    pub skipped: u64,
}

impl OrderStatus {
    pub(crate) fn of(account: &SellerOrder, (state, since): (OrderState, Timestamp), skipped: u64) -> Self {
        Self {
            order: account.id(),
            buyer: account.buyer(),
            topic: account.terms().product.topic.clone(),
            asset: account.terms().option.asset.clone(),
            state,
            since,
            sent: account.sent(),
            due: account.due(),
            paid: account.paid(),
            owed: owed(account),
            skipped,
        }
    }
}

/// What an account owes.
pub(crate) fn owed(account: &SellerOrder) -> Amount {
    account.due().saturating_sub(account.paid())
}

/// How full a pool is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolStatus {
    /// Reserved for live sessions, and owed by parked orders.
    pub used: Amount,
    /// Its size.
    pub limit: Amount,
}

/// Counted since the start.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    /// Messages invoiced.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Windows invoiced.
    pub windows: u64,
    /// Credited.
    pub paid: BTreeMap<AssetId, Amount>,
    /// Owed now, by all orders together, those of the journal too.
    pub owed: BTreeMap<AssetId, Amount>,
    /// Connections that this side ended without blame.
    pub refusals: BTreeMap<Reason, u64>,
    /// Offences of buyers; they ended their own connections.
    pub offences: BTreeMap<Offence, u64>,
    /// Live messages dropped while credit was used up.
    pub skipped: u64,
    /// Connections refused or dropped for want of room.
    pub connections_refused: u64,
}

/// Counts for the status, and tells the metrics.
#[derive(Default)]
pub(crate) struct Tally {
    totals: Mutex<Totals>,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Totals> {
        // Nothing panics while it is held.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.lock().clone()
    }

    pub(crate) fn invoiced(&self, messages: u64, bytes: u64, windows: u64) {
        let mut totals = self.lock();
        totals.messages = totals.messages.saturating_add(messages);
        totals.bytes = totals.bytes.saturating_add(bytes);
        totals.windows = totals.windows.saturating_add(windows);
        drop(totals);
        metrics::delivered(Role::Seller, (messages, bytes, windows));
    }

    pub(crate) fn paid(&self, asset: &AssetId, more: Amount) {
        let mut totals = self.lock();
        let paid = totals.paid.entry(asset.clone()).or_default();
        *paid = paid.checked_add(more).unwrap_or(Amount::MAX);
        drop(totals);
        metrics::paid(Role::Seller, asset, more);
    }

    /// An order owed `before` and owes `after`.
    pub(crate) fn owes(&self, asset: &AssetId, before: Amount, after: Amount) {
        if before == after {
            return;
        }
        let mut totals = self.lock();
        let owed = totals.owed.entry(asset.clone()).or_default();
        *owed = owed.saturating_sub(before).checked_add(after).unwrap_or(Amount::MAX);
        let now = *owed;
        drop(totals);
        metrics::exposure(Role::Seller, asset, now);
    }

    pub(crate) fn skipped(&self, messages: u64) {
        let mut totals = self.lock();
        totals.skipped = totals.skipped.saturating_add(messages);
        drop(totals);
        metrics::skipped(messages);
    }

    pub(crate) fn ended(&self, ended: &Ended) {
        match ended {
            Ended::Stopped(reason) => {
                count(&mut self.lock().refusals, *reason);
                metrics::refused(Role::Seller, *reason);
            }
            Ended::Offence(offence) => self.offended(*offence),
            Ended::Defaulted => self.offended(Offence::NotPaid),
            Ended::Settled { .. } | Ended::Told(_) => {}
        }
    }

    fn offended(&self, offence: Offence) {
        count(&mut self.lock().offences, offence);
        metrics::offended(Role::Seller, offence);
    }

    pub(crate) fn no_room(&self, limit: &'static str) {
        let mut totals = self.lock();
        totals.connections_refused = totals.connections_refused.saturating_add(1);
        drop(totals);
        tracing::debug!(limit, "no room for a connection");
        metrics::connection_refused(limit);
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
}

/// The row of a live order: its session writes, the status reads.
#[derive(Clone)]
pub(crate) struct Row(Arc<Mutex<OrderStatus>>);

impl Row {
    pub(crate) fn new(status: OrderStatus) -> Self {
        Self(Arc::new(Mutex::new(status)))
    }

    pub(crate) fn read(&self) -> OrderStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn write(&self, account: &SellerOrder, skipped: u64) {
        let mut row = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        row.sent = account.sent();
        row.due = account.due();
        row.paid = account.paid();
        row.owed = owed(account);
        row.skipped = skipped;
    }
}

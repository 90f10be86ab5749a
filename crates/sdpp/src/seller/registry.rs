//! Which orders there are, which are live, and how much exposure is out (`spec/protocol.md` §7).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::journal::Entry;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::seller::SellerOrder;
use sdpp_proto::statement::{AnyStatement, Attach, Kind, Menu, Signed};
use sdpp_proto::time::Timestamp;

use super::limits::{Limits, PROVEN, STRANGERS};
use super::reins::{Reins, Word};
use super::status::{OrderState, OrderStatus, PoolStatus, Row, owed};
use super::{Offer, StartError};
use crate::journal::{Journal, ORDERS, WRITTEN_OFF};
use crate::now;
use crate::sync::{Mutex, MutexGuard, Notify};

/// Time that an older connection has to let go of its order.
const TAKEOVER: Duration = Duration::from_secs(5);

/// Most that may be owed, in base units: reserved for live sessions, and what parked orders owe until
/// it is paid, forgiven or written off. Strangers have a pool of their own, so that a crowd of fresh
/// keys cannot lock proven buyers out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pools {
    /// Buyers that have not paid a full window yet.
    pub strangers: Amount,
    /// Buyers that have.
    pub proven: Amount,
}

impl Pools {
    /// The usual pools of a seller with these offers: what one buyer may owe for the dearest, times 16
    /// strangers and 1,024 proven buyers.
    pub fn of(offers: &[Offer]) -> Self {
        let most = offers.iter().map(|offer| offer.exposure_max).max().unwrap_or(Amount::ZERO);
        let pool = |buyers| most.checked_mul(buyers).unwrap_or(Amount::MAX);
        Self { strangers: pool(STRANGERS), proven: pool(PROVEN) }
    }
}

/// The stream that says that a debt was written off, and the key of the note that says up to which
/// cumulative amount. A mark without a note is older: all that is owed then.
pub(crate) fn written_off_stream(order: &StatementId) -> String {
    format!("{WRITTEN_OFF}{order}")
}

/// What of a pool an order holds.
#[derive(Clone, Copy, Default)]
struct Booked {
    amount: Amount,
    stranger: bool,
}

enum Slot {
    Live(Live),
    Parked(Parked),
    Over(OrderStatus),
}

struct Live {
    buyer: PublicKey,
    index: u32,
    reins: Arc<Reins>,
    booked: Booked,
    /// Once the session has an account.
    row: Option<Row>,
}

struct Parked {
    account: Box<SellerOrder>,
    since: Timestamp,
    skipped: u64,
    booked: Booked,
}

/// What a buyer has going on.
#[derive(Default)]
struct Standing {
    live: usize,
    out: Amount,
}

struct Inner {
    orders: HashMap<StatementId, Slot>,
    buyers: HashMap<PublicKey, Standing>,
    proven: HashSet<PublicKey>,
    /// Up to which cumulative amount debts were written off.
    written_off: HashMap<StatementId, Amount>,
    strangers_out: Amount,
    proven_out: Amount,
    pools: Pools,
    limits: Limits,
}

impl Inner {
    fn book(&mut self, buyer: PublicKey, amount: Amount) -> Booked {
        let booked = Booked { amount, stranger: !self.proven.contains(&buyer) };
        let out = if booked.stranger { &mut self.strangers_out } else { &mut self.proven_out };
        *out = out.checked_add(amount).unwrap_or(Amount::MAX);
        let standing = self.buyers.entry(buyer).or_default();
        standing.out = standing.out.checked_add(amount).unwrap_or(Amount::MAX);
        booked
    }

    fn unbook(&mut self, buyer: &PublicKey, booked: Booked) {
        let out = if booked.stranger { &mut self.strangers_out } else { &mut self.proven_out };
        *out = out.saturating_sub(booked.amount);
        if let Some(standing) = self.buyers.get_mut(buyer) {
            standing.out = standing.out.saturating_sub(booked.amount);
        }
    }

    /// What an order owes and what was not written off. What is paid, is paid for the oldest first.
    fn debt(&self, account: &SellerOrder) -> Amount {
        let written_off = self.written_off.get(&account.id()).and_then(|upto| upto.checked_sub(account.paid()));
        let counts = |written_off| owed(account).checked_sub(written_off).unwrap_or(Amount::ZERO);
        written_off.map_or_else(|| owed(account), counts)
    }

    /// What may still be booked for a buyer, by its pool and its own cap.
    fn room(&self, buyer: &PublicKey) -> (Amount, bool) {
        let stranger = !self.proven.contains(buyer);
        let (pool, out) = match stranger {
            true => (self.pools.strangers, self.strangers_out),
            false => (self.pools.proven, self.proven_out),
        };
        let own = self.buyers.get(buyer).map_or(Amount::ZERO, |standing| standing.out);
        let room = pool.saturating_sub(out).min(self.limits.exposure_per_buyer.saturating_sub(own));
        (room, stranger)
    }

    fn goes_live(&mut self, attach: &Signed<Attach>, reins: &Arc<Reins>, booked: Booked) {
        let buyer = attach.issuer();
        let standing = self.buyers.entry(buyer).or_default();
        standing.live = standing.live.saturating_add(1);
        let live = Live { buyer, index: attach.index, reins: reins.clone(), booked, row: None };
        self.orders.insert(attach.order_id, Slot::Live(live));
    }

    fn has_room_for_session(&self, buyer: &PublicKey) -> bool {
        self.buyers.get(buyer).is_none_or(|standing| standing.live < self.limits.sessions_per_buyer)
    }

    fn forget_idle(&mut self, buyer: &PublicKey) {
        if self.buyers.get(buyer).is_some_and(|standing| standing.live == 0 && standing.out.is_zero()) {
            self.buyers.remove(buyer);
        }
    }

    fn live_of(&mut self, order: &StatementId, reins: &Arc<Reins>) -> Option<&mut Live> {
        match self.orders.get_mut(order) {
            Some(Slot::Live(live)) if Arc::ptr_eq(&live.reins, reins) => Some(live),
            Some(Slot::Live(_) | Slot::Parked(_) | Slot::Over(_)) | None => None,
        }
    }
}

/// What a new connection found.
pub(crate) enum Found {
    /// A new order.
    New,
    /// A known one, now this connection's, and how many messages it has skipped.
    Known(Box<SellerOrder>, u64),
}

/// How an order stands, for who looks after its vouchers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standstill {
    Live,
    Parked,
    /// Nothing more will be sold or paid.
    Finished,
}

/// What may be owed, by what was granted.
pub(crate) struct Granted {
    pub(crate) exposure: Amount,
    pub(crate) stranger: bool,
}

pub(crate) struct Registry {
    inner: Mutex<Inner>,
    parked: Notify,
}

impl Registry {
    pub(crate) fn new(pools: Pools, limits: Limits) -> Self {
        let inner = Inner {
            orders: HashMap::new(),
            buyers: HashMap::new(),
            proven: HashSet::new(),
            written_off: HashMap::new(),
            strangers_out: Amount::ZERO,
            proven_out: Amount::ZERO,
            pools,
            limits,
        };
        Self { inner: Mutex::new(inner), parked: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held; a poisoned lock still guards whole values.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rebuilds all orders from the journal, by the code that normal work uses, and what they hold of
    /// the pools. Says what each owes.
    pub(crate) async fn load(&self, journal: &Journal, key: &SigningKey) -> Result<Vec<(AssetId, Amount)>, StartError> {
        let written_off = journal.streams(WRITTEN_OFF).await.map_err(StartError::Journal)?;
        let written_off: HashSet<String> = written_off.into_iter().collect();
        let (mut accounts, mut amounts) = (Vec::new(), Vec::new());
        for stream in journal.streams(ORDERS).await.map_err(StartError::Journal)? {
            let entries = journal.read(stream).await.map_err(StartError::Journal)?;
            let Some(mut account) = restore(&entries, key)? else { continue };
            if journal.is_restored(&account.id()).await.map_err(StartError::Journal)? {
                account.declare_restored();
            }
            let mark = written_off_stream(&account.id());
            if written_off.contains(&mark) {
                let upto = journal.note(mark).await.map_err(StartError::Journal)?;
                let upto = upto.and_then(|text| text.parse().ok()).map(Amount::new);
                amounts.push((account.id(), upto.unwrap_or_else(|| reached(&account))));
            }
            accounts.push(account);
        }
        let mut inner = self.lock();
        inner.written_off.extend(amounts);
        // Who is proven decides which pool a debt is booked in, whatever the order of the streams.
        inner.proven.extend(accounts.iter().filter(|account| account.is_proven()).map(SellerOrder::buyer));
        let mut debts = Vec::new();
        for account in accounts {
            let (id, debt) = (account.id(), owed(&account));
            debts.push((account.terms().option.asset.clone(), debt));
            let slot = if account.is_over() {
                Slot::Over(OrderStatus::of(&account, (OrderState::Over, now()), 0))
            } else {
                let debt = inner.debt(&account);
                let booked = inner.book(account.buyer(), debt);
                inner.forget_idle(&account.buyer());
                Slot::Parked(Parked { account: Box::new(account), since: now(), skipped: 0, booked })
            };
            inner.orders.insert(id, slot);
        }
        Ok(debts)
    }

    /// Takes an order for a new connection. A live older connection of it is ended first, if this
    /// attach is its buyer's and newer.
    pub(crate) async fn take(
        &self,
        attach: &Signed<Attach>,
        is_order: bool,
        reins: &Arc<Reins>,
    ) -> Result<Found, Fault> {
        let deadline = tokio::time::Instant::now().checked_add(TAKEOVER);
        loop {
            let parked = self.parked.notified();
            match self.try_take(attach, is_order, reins)? {
                Some(found) => return Ok(found),
                None => {
                    let deadline = deadline.unwrap_or_else(tokio::time::Instant::now);
                    tokio::time::timeout_at(deadline, parked).await.map_err(|_| Reason::Busy)?;
                }
            }
        }
    }

    fn try_take(&self, attach: &Signed<Attach>, is_order: bool, reins: &Arc<Reins>) -> Result<Option<Found>, Fault> {
        let mut inner = self.lock();
        let room = inner.has_room_for_session(&attach.issuer());
        match inner.orders.remove(&attach.order_id) {
            None if is_order && !room => Err(Reason::Busy.into()),
            None => {
                if is_order {
                    inner.goes_live(attach, reins, Booked::default());
                }
                // Without an order the machine names the offence.
                Ok(Some(Found::New))
            }
            Some(Slot::Parked(parked)) if parked.account.buyer() != attach.issuer() => {
                // Its id is in every public ledger: whoever is not its buyer touches nothing.
                inner.orders.insert(attach.order_id, Slot::Parked(parked));
                Err(Offence::BadAttach.into())
            }
            Some(Slot::Parked(parked)) if !room => {
                inner.orders.insert(attach.order_id, Slot::Parked(parked));
                Err(Reason::Busy.into())
            }
            Some(Slot::Parked(Parked { account, skipped, booked, .. })) => {
                inner.goes_live(attach, reins, booked);
                Ok(Some(Found::Known(account, skipped)))
            }
            Some(over @ Slot::Over(_)) => {
                inner.orders.insert(attach.order_id, over);
                Err(Reason::AlreadyEnded.into())
            }
            Some(Slot::Live(live)) => {
                let newer = live.buyer == attach.issuer() && attach.index > live.index;
                if newer {
                    live.reins.say(Word::Stop(Reason::Superseded));
                }
                inner.orders.insert(attach.order_id, Slot::Live(live));
                if newer { Ok(None) } else { Err(Reason::Busy.into()) }
            }
        }
    }

    /// Reserves exposure for an order that this connection has, at most `wanted`. All of it, or the
    /// answer is no; an order that owes gets at least that, because whoever comes back to pay is let
    /// in.
    pub(crate) fn reserve(
        &self,
        order: &StatementId,
        reins: &Arc<Reins>,
        (wanted, debt): (Amount, Amount),
    ) -> Option<Granted> {
        let mut inner = self.lock();
        let live = inner.live_of(order, reins)?;
        let (buyer, before) = (live.buyer, live.booked);
        inner.unbook(&buyer, before);
        let wanted = wanted.min(inner.limits.exposure_per_buyer).max(debt);
        let (room, stranger) = inner.room(&buyer);
        let exposure = wanted.min(room).max(debt);
        let enough = exposure == wanted || !debt.is_zero();
        let booked = inner.book(buyer, if enough { exposure } else { before.amount });
        inner.live_of(order, reins)?.booked = booked;
        enough.then_some(Granted { exposure, stranger })
    }

    /// A session has its account: its row is shown.
    pub(crate) fn show(&self, order: &StatementId, reins: &Arc<Reins>, row: &Row) {
        if let Some(live) = self.lock().live_of(order, reins) {
            live.row = Some(row.clone());
        }
    }

    /// A buyer has paid a full window.
    pub(crate) fn prove(&self, buyer: PublicKey) {
        self.lock().proven.insert(buyer);
    }

    /// A connection lets go of its order. Without an account, an order that never came to be. What it
    /// owes stays in its pool.
    pub(crate) fn park(
        &self,
        order: StatementId,
        (account, skipped): (Option<Box<SellerOrder>>, u64),
        reins: &Arc<Reins>,
    ) {
        let mut inner = self.lock();
        if let Some(live) = inner.live_of(&order, reins) {
            let (buyer, booked) = (live.buyer, live.booked);
            inner.unbook(&buyer, booked);
            if let Some(standing) = inner.buyers.get_mut(&buyer) {
                standing.live = standing.live.saturating_sub(1);
            }
            inner.orders.remove(&order);
            if let Some(account) = account {
                let slot = if account.is_over() {
                    Slot::Over(OrderStatus::of(&account, (OrderState::Over, now()), skipped))
                } else {
                    let debt = inner.debt(&account);
                    let booked = inner.book(buyer, debt);
                    Slot::Parked(Parked { account, since: now(), skipped, booked })
                };
                inner.orders.insert(order, slot);
            }
            inner.forget_idle(&buyer);
        }
        drop(inner);
        self.parked.notify_waiters();
    }

    /// From now on these bounds hold. What is out stays out.
    pub(crate) fn bound(&self, pools: Pools, limits: Limits) {
        let mut inner = self.lock();
        (inner.pools, inner.limits) = (pools, limits);
    }

    pub(crate) fn limits(&self) -> Limits {
        self.lock().limits
    }

    /// Buyers that something is kept of.
    #[cfg(test)]
    pub(crate) fn buyers(&self) -> usize {
        self.lock().buyers.len()
    }

    /// Takes a parked order's debt out of its pool; gives the order, and up to which cumulative amount.
    pub(crate) fn write_off(&self, order: &StatementId) -> Option<(AnyStatement, Amount)> {
        let mut inner = self.lock();
        let Some(Slot::Parked(parked)) = inner.orders.get_mut(order) else { return None };
        let booked = std::mem::take(&mut parked.booked);
        let (buyer, upto) = (parked.account.buyer(), reached(&parked.account));
        let statement = parked.account.order().erase();
        inner.written_off.insert(*order, upto);
        inner.unbook(&buyer, booked);
        inner.forget_idle(&buyer);
        Some((statement, upto))
    }

    /// Says a word to the session of an order; whether there is one.
    pub(crate) fn say(&self, order: &StatementId, word: Word) -> bool {
        match self.lock().orders.get(order) {
            Some(Slot::Live(live)) => {
                live.reins.say(word);
                true
            }
            Some(Slot::Parked(_) | Slot::Over(_)) | None => false,
        }
    }

    /// How an order stands; one that is not known never had a session.
    pub(crate) fn standstill(&self, order: &StatementId) -> Standstill {
        match self.lock().orders.get(order) {
            Some(Slot::Live(_)) => Standstill::Live,
            Some(Slot::Parked(parked)) if !parked.account.is_settled() => Standstill::Parked,
            Some(Slot::Parked(_) | Slot::Over(_)) => Standstill::Finished,
            None => Standstill::Parked,
        }
    }

    pub(crate) fn orders(&self) -> Vec<OrderStatus> {
        let inner = self.lock();
        let status = |slot: &Slot| match slot {
            Slot::Live(live) => live.row.as_ref().map(Row::read),
            Slot::Parked(parked) => {
                Some(OrderStatus::of(&parked.account, (OrderState::Parked, parked.since), parked.skipped))
            }
            Slot::Over(status) => Some(status.clone()),
        };
        inner.orders.values().filter_map(status).collect()
    }

    /// How full the pools of strangers and of proven buyers are.
    pub(crate) fn pools(&self) -> (PoolStatus, PoolStatus) {
        let inner = self.lock();
        (
            PoolStatus { used: inner.strangers_out, limit: inner.pools.strangers },
            PoolStatus { used: inner.proven_out, limit: inner.pools.proven },
        )
    }
}

/// What was paid and what is owed.
fn reached(account: &SellerOrder) -> Amount {
    account.paid().checked_add(owed(account)).unwrap_or(Amount::MAX)
}

fn restore(entries: &[Entry], key: &SigningKey) -> Result<Option<SellerOrder>, StartError> {
    let menu = entries.iter().find_map(|entry| match entry {
        Entry::Statement(statement) if statement.kind == Kind::Menu => Signed::<Menu>::parse(&statement.bytes).ok(),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    });
    let Some(menu) = menu else { return Ok(None) };
    let account =
        SellerOrder::restore(key, &menu, entries, now()).map_err(|error| StartError::Restore(menu.id(), error))?;
    Ok(Some(account))
}

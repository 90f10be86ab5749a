//! What a payee must not forget, whatever its rail: which order a channel serves, and what was settled.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failpoint::{self, Deed};
use crate::limits;
use crate::{Backing, Bill, RailError, Redeemed, Store, StoreError};
use minicbor::{Decode, Encode};
use sdpp_proto::codec::{self, ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::limits::STATEMENT_MAX;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Order, Payment, Signed};

/// What of an order matters to a rail.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Admitted {
    /// The buyer: who pays.
    #[n(1)]
    pub payer: PublicKey,
    /// Who signs payments.
    #[n(2)]
    pub signer: PublicKey,
    /// The channel that serves it; none where the rail pays directly.
    #[n(3)]
    pub channel: Option<ChannelId>,
}

impl Admitted {
    /// What an order says.
    pub fn of(order: &Signed<Order>) -> Self {
        Self { payer: order.issuer(), signer: order.sign_pk, channel: order.channel }
    }
}

/// What a payment has to have moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The buyer.
    pub payer: PublicKey,
    /// How much.
    pub amount: Amount,
}

/// An order that was admitted.
#[derive(Clone, Debug)]
pub struct OrderState {
    /// What was admitted.
    pub admitted: Admitted,
    /// The highest payment.
    pub best: Option<Signed<Payment>>,
    settled: BTreeMap<StatementId, (StatementId, Amount)>,
    oldest: VecDeque<StatementId>,
}

impl OrderState {
    fn new(admitted: Admitted) -> Self {
        Self { admitted, best: None, settled: BTreeMap::new(), oldest: VecDeque::new() }
    }

    /// The highest total settled.
    pub fn total(&self) -> Amount {
        self.best.as_ref().map_or(Amount::ZERO, |payment| payment.total)
    }

    /// Whether this payment's invoice is settled already: by itself, or by a voucher for more. A seller that had several vouchers
    /// at once has settled the last one alone, and after a crash may come to the others first.
    ///
    /// # Errors
    /// [`RailError::Declined`] where another payment settled the invoice, by a forged or misplaced payment, or, where each payment
    /// moves money, by a lower total.
    pub fn judge(&self, payment: &Signed<Payment>) -> Result<bool, RailError> {
        if payment.channel != self.admitted.channel {
            return Err(RailError::Declined("the payment names another channel than the order"));
        }
        payment
            .verify(&self.admitted.signer)
            .map_err(|_| RailError::Declined("the payment is not signed by the order's key"))?;
        if let Some((settled_by, _)) = self.settled.get(&payment.invoice_id) {
            return if *settled_by == payment.id() {
                Ok(true)
            } else {
                Err(RailError::Declined("the invoice was settled by another payment"))
            };
        }
        if payment.total < self.total() {
            if self.admitted.channel.is_some() {
                return Ok(true);
            }
            return Err(RailError::Declined("the total is below what was settled"));
        }
        Ok(false)
    }

    fn note(&mut self, payment: Signed<Payment>) {
        self.settled.insert(payment.invoice_id, (payment.id(), payment.total));
        self.oldest.push_back(payment.invoice_id);
        if self.oldest.len() > limits::SETTLED_REMEMBERED_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.settled.remove(&oldest);
        }
        if self.best.is_none() || payment.total > self.total() {
            self.best = Some(payment);
        }
    }
}

struct Pages {
    store: Box<dyn Store>,
    prefix: Prefix,
    orders: BTreeMap<StatementId, OrderState>,
    /// The order of every channel that was not seen closed; read when it is first asked for.
    served: Option<BTreeMap<ChannelId, StatementId>>,
    frozen: bool,
}

/// The durable memory of a payee: a stream per order, a head per channel.
pub struct PayeeBook {
    pages: Mutex<Pages>,
}

/// What its streams and heads begin with: several payees may keep their books in one store.
#[derive(Clone, Copy, Debug)]
struct Prefix(&'static str);

impl Prefix {
    fn stream_of(self, order: &StatementId) -> String {
        format!("{}/order/{order}", self.0)
    }

    /// Prefix of the heads that say which order a channel serves.
    fn channels(self) -> String {
        format!("{}/channel/", self.0)
    }

    fn channel_head(self, channel: &ChannelId) -> String {
        format!("{}{channel}", self.channels())
    }
}

/// Behind the order in the head of a channel that is closed for good.
const CLOSED: &[u8] = b"closed";

/// Reads an id as it stands in a head's key.
fn channel_of(text: &str) -> Option<ChannelId> {
    let digits = |at: usize| text.get(at..at.saturating_add(2)).filter(|digits| !digits.contains('+'));
    let bytes: Option<Vec<u8>> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(digits(at)?, 16).ok()).collect();
    <[u8; 32]>::try_from(bytes?).ok().map(ChannelId)
}

impl PayeeBook {
    /// In this store, under names that begin so.
    pub fn new(store: Box<dyn Store>, prefix: &'static str) -> Self {
        let (prefix, orders) = (Prefix(prefix), BTreeMap::new());
        Self { pages: Mutex::new(Pages { store, prefix, orders, served: None, frozen: false }) }
    }

    fn lock(&self) -> Result<MutexGuard<'_, Pages>, RailError> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.frozen { Err(RailError::Unavailable) } else { Ok(pages) }
    }

    /// Whether a channel serves an order of this book.
    pub fn knows(&self, channel: &ChannelId) -> Result<bool, RailError> {
        let pages = self.lock()?;
        let head = pages.store.head(&pages.prefix.channel_head(channel));
        Ok(head.map_err(|_| RailError::Unavailable)?.is_some())
    }

    /// An order that was admitted.
    pub fn order(&self, order: &StatementId) -> Result<Option<OrderState>, RailError> {
        self.lock()?.load(order).map(|state| state.cloned())
    }

    /// Admits an order, durably. Again is harmless.
    pub fn admit(&self, order: &StatementId, admitted: &Admitted) -> Result<(), RailError> {
        let mut pages = self.lock()?;
        if let Some(state) = pages.load(order)? {
            let same = state.admitted == *admitted;
            return if same { Ok(()) } else { Err(RailError::Declined("the order was admitted with other terms")) };
        }
        if let Some(channel) = &admitted.channel {
            let head = pages.prefix.channel_head(channel);
            if !pages.write(|store| store.swap(&head, None, &order.0))? {
                return Err(RailError::Declined("the channel serves another order"));
            }
        }
        let stream = pages.prefix.stream_of(order);
        pages.write(|store| {
            store.append(&stream, &codec::encode(admitted))?;
            failpoint::before(Deed::Admitted);
            store.flush()
        })?;
        failpoint::after(Deed::Admitted);
        pages.keep(*order, OrderState::new(admitted.clone()));
        if let (Some(served), Some(channel)) = (&mut pages.served, admitted.channel) {
            served.insert(channel, *order);
        }
        Ok(())
    }

    /// The channels of this book that were not seen closed, each with its order.
    pub fn served(&self) -> Result<BTreeMap<ChannelId, StatementId>, RailError> {
        let mut pages = self.lock()?;
        if pages.served.is_none() {
            let served = read_served(pages.store.as_ref(), pages.prefix).map_err(|_| RailError::Unavailable)?;
            pages.served = Some(served);
        }
        Ok(pages.served.clone().unwrap_or_default())
    }

    /// These channels are closed for good: nobody asks for them again, also after a restart.
    pub fn closed(&self, channels: &[ChannelId]) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in channels {
            let Some(order) = pages.served.as_mut().and_then(|served| served.remove(channel)) else { continue };
            let head = pages.prefix.channel_head(channel);
            // Not flushed: what is lost of it is only asked for once more.
            let _ = pages.write(|store| store.swap(&head, Some(&order.0), &[order.0.as_slice(), CLOSED].concat()));
        }
    }

    /// The highest total that an order's payments settled.
    pub fn total(&self, order: &StatementId) -> Result<Amount, RailError> {
        Ok(self.lock()?.load(order)?.map_or(Amount::ZERO, OrderState::total))
    }

    /// Settles by a payment, durably, if `judge` still allows it.
    pub fn settle(&self, payment: &Signed<Payment>) -> Result<(), RailError> {
        let mut pages = self.lock()?;
        let order = payment.order_id;
        let state = pages.load(&order)?.ok_or(NEVER_ADMITTED)?;
        if state.judge(payment)? {
            return Ok(());
        }
        let stream = pages.prefix.stream_of(&order);
        pages.write(|store| {
            store.append(&stream, payment.bytes())?;
            failpoint::before(Deed::Credited);
            store.flush()
        })?;
        failpoint::after(Deed::Credited);
        if let Some(state) = pages.orders.get_mut(&order) {
            state.note(payment.clone());
        }
        Ok(())
    }

    /// Admits an order that is paid without a channel.
    ///
    /// # Errors
    /// [`RailError`].
    pub fn admit_direct(&self, order: &Signed<Order>) -> Result<Backing, RailError> {
        if order.channel.is_some() {
            return Err(RailError::Declined("the order names a channel"));
        }
        self.admit(&order.id(), &Admitted::of(order)).map(|()| Backing { deposit: None })
    }

    /// What a payment that moves money by itself has to have moved for this bill; none where it was settled before.
    ///
    /// # Errors
    /// [`RailError::Declined`].
    pub fn asked_of(&self, bill: &Bill, payment: &Signed<Payment>) -> Result<Option<Asked>, RailError> {
        let state = self.order(&bill.order)?.ok_or(NEVER_ADMITTED)?;
        if state.judge(payment)? {
            return Ok(None);
        }
        if bill.before > state.total() {
            return Err(RailError::Declined("the bill starts above what was settled"));
        }
        let amount = bill.total.checked_sub(bill.before).ok_or(RailError::Declined("the totals fall"))?;
        Ok(Some(Asked { payer: state.admitted.payer, amount }))
    }

    /// What an order that is paid without a channel has brought: all that was settled.
    ///
    /// # Errors
    /// [`RailError`].
    pub fn redeem_direct(&self, order: &StatementId, finished: bool) -> Result<Redeemed, RailError> {
        let total = self.order(order)?.map_or(Amount::ZERO, |state| state.total());
        if finished {
            self.put_away(order);
        }
        Ok(Redeemed { total })
    }

    /// Lets go of the memory of an order; the store keeps it.
    pub fn put_away(&self, order: &StatementId) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).orders.remove(order);
    }
}

/// No money for orders that nobody looked at.
pub const NEVER_ADMITTED: RailError = RailError::Declined("the order was never admitted");

impl Pages {
    fn load(&mut self, order: &StatementId) -> Result<Option<&OrderState>, RailError> {
        if !self.orders.contains_key(order)
            && let Some(state) =
                read_order(self.store.as_ref(), &self.prefix.stream_of(order)).map_err(|_| RailError::Unavailable)?
        {
            self.keep(*order, state);
        }
        Ok(self.orders.get(order))
    }

    fn keep(&mut self, order: StatementId, state: OrderState) {
        if self.orders.len() >= limits::ORDERS_CACHED_MAX {
            // Ids are random, so this is anybody; it is read again when it is asked for.
            self.orders.pop_first();
        }
        self.orders.insert(order, state);
    }

    /// Writes; after an error nothing is written any more.
    fn write<T>(&mut self, write: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>) -> Result<T, RailError> {
        write(self.store.as_mut()).map_err(|_| {
            self.frozen = true;
            RailError::Unavailable
        })
    }
}

fn read_served(store: &dyn Store, prefix: Prefix) -> Result<BTreeMap<ChannelId, StatementId>, StoreError> {
    let broken = || StoreError::Failed("a channel's head cannot be read".to_owned());
    let (mut served, channels) = (BTreeMap::new(), prefix.channels());
    let mut after: Option<String> = None;
    loop {
        let heads = store.heads(&channels, after.as_deref(), limits::REPLAY_PAGE_MAX)?;
        let Some((last, _)) = heads.last() else { return Ok(served) };
        after = Some(last.clone());
        for (key, order) in heads {
            let channel = key.strip_prefix(channels.as_str()).and_then(channel_of).ok_or_else(broken)?;
            if order.ends_with(CLOSED) && order.len() > 32 {
                continue;
            }
            let order = <[u8; 32]>::try_from(order.as_slice()).map_err(|_| broken())?;
            served.insert(channel, StatementId(order));
        }
    }
}

fn read_order(store: &dyn Store, stream: &str) -> Result<Option<OrderState>, StoreError> {
    let broken = || StoreError::Failed("an order's stream cannot be read".to_owned());
    let mut state: Option<OrderState> = None;
    let mut next = 0;
    loop {
        let rows = store.read(stream, next, limits::REPLAY_PAGE_MAX)?;
        let Some(last) = rows.last() else { return Ok(state) };
        next = last.position.saturating_add(1);
        for row in rows {
            match &mut state {
                None => {
                    let admitted = codec::decode(&row.body, STATEMENT_MAX).map_err(|_| broken())?;
                    state = Some(OrderState::new(admitted));
                }
                // Its signature was verified before it was written.
                Some(state) => state.note(Signed::parse_unverified(&row.body).map_err(|_| broken())?),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::MemoryDisk;
    use crate::suite::test_key;

    #[test]
    fn a_closed_channel_is_not_asked_for_again_and_serves_no_other_order() {
        let disk = MemoryDisk::new();
        let (one, other) = (ChannelId([1; 32]), ChannelId([2; 32]));
        let order = |number: u8| StatementId([number; 32]);
        let admitted = |channel| {
            let key = test_key(1).public();
            Admitted { payer: key, signer: key, channel: Some(channel) }
        };
        let book = PayeeBook::new(Box::new(disk.open()), "test");
        book.admit(&order(1), &admitted(one)).unwrap();
        book.admit(&order(2), &admitted(other)).unwrap();
        assert_eq!(book.served().unwrap().len(), 2);
        book.closed(&[one]);
        book.admit(&order(3), &admitted(ChannelId([3; 32]))).unwrap();
        drop(book);
        let book = PayeeBook::new(Box::new(disk.open()), "test");
        assert_eq!(book.served().unwrap().into_values().collect::<Vec<_>>(), [order(2), order(3)]);
        assert!(book.knows(&one).unwrap());
        assert!(book.admit(&order(4), &admitted(one)).is_err());
        assert!(book.order(&order(1)).unwrap().is_some(), "what was settled is still known");
    }
}

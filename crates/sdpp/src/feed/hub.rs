//! One upstream for many orders.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::queue::{Overflow, Queue};
use super::segment::{Held, Log, Run};
use super::{HUB_BYTES, Item, Subscription, Take, Upstream};
use crate::source::{Filled, Pick};

/// When an upstream is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// At once; what comes before the first order is nobody's.
    Now,
    /// With the first order, which so gets the beginning. Then on, also without orders.
    FirstOrder,
}

/// How an upstream has ended.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    End,
    /// In parts, for every order its own error.
    Failed(io::ErrorKind, String),
}

/// What a hub did so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HubStatus {
    /// Messages of the upstream.
    pub received: u64,
    /// Orders that take part now.
    pub orders: usize,
    /// Bytes that are kept for them, once for all that pick the same.
    pub kept_bytes: usize,
    /// The upstream has ended; with an error, if that is why.
    pub ended: Option<Result<(), String>>,
}

/// One upstream, read by a task, for any number of orders. Clones are the same hub; the reading ends
/// when the last of them and the last subscription are gone: orders that run keep their source, also when
/// it is no longer on offer.
#[derive(Clone)]
pub struct Hub(Arc<Reader>);

/// Held by the hub and its subscriptions; the reading task holds only what is shared.
pub(super) struct Reader {
    pub(super) shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the reading task and the reader share.
pub(super) struct Shared {
    orders: Mutex<Orders>,
    received: AtomicU64,
    first: Notify,
    /// What is kept for the orders, and how much may be.
    held: Arc<Held>,
    bytes_max: usize,
}

#[derive(Default)]
struct Orders {
    groups: Vec<Group>,
    ended: Option<Ended>,
}

/// Orders that pick the same: a field is looked for once for all of them, and what they pick is kept once.
struct Group {
    pick: Pick,
    log: Log,
    queues: Vec<Arc<Queue>>,
}

/// An order for which the upstream has to wait, and what there is no room for.
type Full = (Arc<Queue>, (Run, usize));

impl Orders {
    fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.groups.iter().flat_map(|group| &group.queues)
    }

    /// Whether the upstream may have to wait for an order.
    fn may_wait(&self) -> bool {
        self.queues().any(|queue| queue.take.overflow == Overflow::Wait)
    }

    /// Whether at most one order still takes what comes: it holds nobody up.
    fn is_alone(&self) -> bool {
        self.queues().filter(|queue| queue.takes()).nth(1).is_none()
    }
}

impl Hub {
    /// Begins to read, on the runtime that this is called in.
    pub fn start(upstream: impl Upstream + 'static, start: Start) -> Self {
        Self::start_within(upstream, start, HUB_BYTES)
    }

    /// The same, where no more than so many bytes may be kept for all orders together, what has just come aside. Less than
    /// some MiB is of little use: messages are kept and let go by 256 KiB.
    pub fn start_within(upstream: impl Upstream + 'static, start: Start, bytes_max: usize) -> Self {
        let (orders, received, held) = (Mutex::default(), AtomicU64::new(0), Arc::default());
        let shared = Arc::new(Shared { orders, received, first: Notify::new(), held, bytes_max });
        let task = tokio::spawn(read(Stop(shared.clone()), upstream, start));
        Self(Arc::new(Reader { shared, task }))
    }

    /// The source of one order: what comes from now on.
    pub fn subscribe(&self, take: Take) -> Subscription {
        let shared = &self.0.shared;
        // No order drives out all others.
        let take = Take { queue_bytes: take.queue_bytes.min(shared.bytes_max / 2), ..take };
        let mut orders = shared.lock();
        let pick = take.pick.clone();
        let queue = Arc::new(Queue::new(take, orders.ended.clone()));
        // One for which the upstream waits is not alone any more.
        orders.queues().for_each(|other| other.room.notify_one());
        match orders.groups.iter_mut().find(|group| group.pick == pick) {
            Some(group) => group.queues.push(queue.clone()),
            None => orders.groups.push(Group { pick, log: Log::default(), queues: vec![queue.clone()] }),
        }
        drop(orders);
        shared.first.notify_one();
        Subscription { queue, reader: self.0.clone(), joined: Vec::new() }
    }

    /// What it did so far.
    pub fn status(&self) -> HubStatus {
        let orders = self.0.shared.lock();
        HubStatus {
            received: self.0.shared.received.load(Ordering::Relaxed),
            orders: orders.queues().count(),
            kept_bytes: self.0.shared.held.bytes(),
            ended: orders.ended.as_ref().map(|ended| match ended {
                Ended::End => Ok(()),
                Ended::Failed(_, text) => Err(text.clone()),
            }),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        // Nothing panics while it is held.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self, gone: &Arc<Queue>) {
        let mut orders = self.lock();
        for group in &mut orders.groups {
            group.queues.retain(|queue| !Arc::ptr_eq(queue, gone));
        }
        orders.groups.retain(|group| !group.queues.is_empty());
    }

    async fn deliver(&self, mut items: &[Item]) {
        while !items.is_empty() {
            let (count, full) = self.offer(items);
            items = items.get(count..).unwrap_or_default();
            if let Some((queue, what)) = full {
                self.wait_for(&queue, &what).await;
            }
        }
    }

    async fn wait_for(&self, queue: &Queue, what: &(Run, usize)) {
        loop {
            queue.room.notified().await;
            if queue.offer(what) {
                return;
            }
            if !self.lock().is_alone() {
                return queue.fall_behind();
            }
        }
    }

    /// Offers items to all that pick them. Gives how many were offered, and the order for which the upstream has to wait then.
    fn offer(&self, items: &[Item]) -> (usize, Option<Full>) {
        let mut orders = self.lock();
        // An order for which the upstream waits takes one at a time.
        let count = if orders.may_wait() { 1 } else { items.len() };
        self.received.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        let mut full: Vec<Full> = Vec::new();
        for Group { pick, log, queues } in &mut orders.groups {
            let picked = items.iter().take(count).filter(|item| pick.takes(item.topic.as_deref(), &item.payload));
            for what in log.write(picked, &self.held) {
                let refuses = queues.iter().filter(|queue| !queue.offer(&what));
                full.extend(refuses.map(|queue| (queue.clone(), what.clone())));
            }
        }
        self.make_room(&mut orders);
        if !full.is_empty() && orders.is_alone() {
            return (count, full.pop());
        }
        full.iter().for_each(|(queue, _)| queue.fall_behind());
        (count, None)
    }

    /// Where more is kept than may be, those that are furthest behind lose what is oldest.
    fn make_room(&self, orders: &mut Orders) {
        if self.held.bytes() <= self.bytes_max {
            return;
        }
        // One for which the upstream waits keeps no more than it may.
        let is_alone = orders.is_alone();
        let gives = |queue: &&Arc<Queue>| !(is_alone && queue.take.overflow == Overflow::Wait);
        while self.held.bytes() > self.bytes_max {
            let oldest = orders.queues().filter(gives).filter_map(|queue| queue.oldest()).min();
            let Some(oldest) = oldest else { return };
            orders.queues().filter(gives).for_each(|queue| queue.give_up(oldest));
            orders.groups.iter_mut().for_each(|group| group.log.let_go(oldest));
        }
    }

    fn end(&self, ended: Ended) {
        let mut orders = self.lock();
        let ended = orders.ended.get_or_insert(ended).clone();
        for queue in orders.queues() {
            queue.end(&ended);
        }
    }
}

/// Tells the orders when the reading stops for whatever reason, also before it began: none of them
/// waits for ever.
struct Stop(Arc<Shared>);

impl Drop for Stop {
    fn drop(&mut self) {
        // Changes nothing where an end was told before.
        self.0.end(Ended::Failed(io::ErrorKind::BrokenPipe, "the live source is not read any more".to_owned()));
    }
}

async fn read(stop: Stop, mut upstream: impl Upstream, start: Start) {
    if start == Start::FirstOrder {
        stop.0.first.notified().await;
    }
    let mut items = Vec::new();
    loop {
        let taken = upstream.take(&mut items).await;
        stop.0.deliver(&items).await;
        items.clear();
        match taken {
            // One that always has something must not keep the orders from taking it.
            Ok(Filled::Some) => tokio::task::yield_now().await,
            Ok(Filled::End) => return stop.0.end(Ended::End),
            Err(error) => {
                tracing::error!(%error, "a live source has failed");
                return stop.0.end(Ended::Failed(error.kind(), error.to_string()));
            }
        }
    }
}

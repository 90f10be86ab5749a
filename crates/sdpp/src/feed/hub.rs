//! One upstream for many orders.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::queue::Queue;
use super::{Item, Subscription, Take, Upstream};
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
}

#[derive(Default)]
struct Orders {
    /// Orders that pick the same: a field is looked for once for all of them.
    groups: Vec<(Pick, Vec<Arc<Queue>>)>,
    ended: Option<Ended>,
}

impl Orders {
    fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.groups.iter().flat_map(|(_, queues)| queues)
    }

    /// Whether at most one order still takes what comes: it holds nobody up.
    fn is_alone(&self) -> bool {
        self.queues().filter(|queue| queue.takes()).nth(1).is_none()
    }
}

impl Hub {
    /// Begins to read, on the runtime that this is called in.
    pub fn start(upstream: impl Upstream + 'static, start: Start) -> Self {
        let shared = Shared { orders: Mutex::default(), received: AtomicU64::new(0), first: Notify::new() };
        let shared = Arc::new(shared);
        let task = tokio::spawn(read(Stop(shared.clone()), upstream, start));
        Self(Arc::new(Reader { shared, task }))
    }

    /// The source of one order: what comes from now on.
    pub fn subscribe(&self, take: Take) -> Subscription {
        let shared = &self.0.shared;
        let mut orders = shared.lock();
        let pick = take.pick.clone();
        let queue = Arc::new(Queue::new(take, orders.ended.clone()));
        // One for which the upstream waits is not alone any more.
        orders.queues().for_each(|other| other.room.notify_one());
        match orders.groups.iter_mut().find(|(other, _)| *other == pick) {
            Some((_, queues)) => queues.push(queue.clone()),
            None => orders.groups.push((pick, vec![queue.clone()])),
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
        for (_, queues) in &mut orders.groups {
            queues.retain(|queue| !Arc::ptr_eq(queue, gone));
        }
        orders.groups.retain(|(_, queues)| !queues.is_empty());
    }

    async fn deliver(&self, item: Item) {
        self.received.fetch_add(1, Ordering::Relaxed);
        let Some(queue) = self.offer(&item) else { return };
        loop {
            queue.room.notified().await;
            if queue.offer(&item) {
                return;
            }
            if !self.lock().is_alone() {
                return queue.fall_behind();
            }
        }
    }

    /// Offers an item to all that pick it, and gives back the one for which the upstream has to wait.
    fn offer(&self, item: &Item) -> Option<Arc<Queue>> {
        let orders = self.lock();
        let picked = orders.groups.iter().filter(|(pick, _)| pick.takes(item.topic.as_deref(), &item.payload));
        let full: Vec<_> = picked.flat_map(|(_, queues)| queues.iter().filter(|queue| !queue.offer(item))).collect();
        if !full.is_empty() && orders.is_alone() {
            return full.first().map(|queue| (*queue).clone());
        }
        full.iter().for_each(|queue| queue.fall_behind());
        None
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
        for item in items.drain(..) {
            stop.0.deliver(item).await;
        }
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

//! What waits for one order.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sdpp_proto::limits;
use sdpp_proto::message::Batch;
use tokio::sync::Notify;

use super::hub::{Ended, Reader};
use super::{Item, QUEUE_BYTES, QUEUE_MESSAGES};
use crate::source::{Fill, Filled, Pick, Source, bad_data};
use crate::topic;

/// What comes is kept so long for an order whose buyer is away.
const KEPT: Duration = Duration::from_secs(10 * 60);
/// The same where the upstream waits for it.
const KEPT_WAITING: Duration = Duration::from_secs(60);

/// What happens when more waits for an order than may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// The order ends with an error, after what waits was sold: it is never left without something
    /// that it does not know of. For products that say `when_stalled = buffer`.
    #[default]
    End,
    /// The oldest that waits is dropped: the buyer goes on with what is new. For products that say
    /// `when_stalled = skip`.
    DropOldest,
    /// What comes is dropped until there is room.
    DropNewest,
    /// The upstream waits, as long as this is its only order: for one buyer at the end of a pipe. With
    /// other orders it is [`Overflow::End`], because nobody waits for anybody.
    Wait,
}

/// How an order takes part in a hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Take {
    /// Which messages.
    pub pick: Pick,
    /// Sold with their topic, in the form of [`crate::topic`].
    pub with_topic: bool,
    /// Longer ones are left out; the product's own limit.
    pub message_max: u32,
    /// What happens when more waits than may.
    pub overflow: Overflow,
    /// Messages that may wait.
    pub queue_messages: usize,
    /// Bytes that may wait.
    pub queue_bytes: usize,
}

impl Default for Take {
    fn default() -> Self {
        Self {
            pick: Pick::all(),
            with_topic: false,
            message_max: limits::MESSAGE_MAX,
            overflow: Overflow::End,
            queue_messages: QUEUE_MESSAGES,
            queue_bytes: QUEUE_BYTES,
        }
    }
}

/// What an item takes beside its bytes.
const ITEM_BYTES: usize = size_of::<Item>();

/// Counts what an order did not get. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// Messages that were dropped so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, why: &str) {
        let dropped = self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // Not one warning a message: whoever is too slow would fill the log.
        if dropped.is_power_of_two() {
            tracing::warn!(dropped, "an order does not get a message of its live source: {why}");
        }
    }
}

/// The queue between hub and subscription.
pub(super) struct Queue {
    pub(super) take: Take,
    pub(super) dropped: Dropped,
    waiting: Mutex<Waiting>,
    /// Something came, or the end.
    ready: Notify,
    /// Something was taken, or nobody takes any more.
    pub(super) room: Notify,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    ended: Option<Ended>,
    /// The subscription is gone.
    closed: bool,
}

impl Waiting {
    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(weight(&item));
        Some(item)
    }
}

fn weight(item: &Item) -> usize {
    let topic = item.topic.as_ref().map_or(0, |topic| topic.len());
    item.payload.len().saturating_add(topic).saturating_add(ITEM_BYTES)
}

impl Queue {
    pub(super) fn new(take: Take, ended: Option<Ended>) -> Self {
        let waiting = Mutex::new(Waiting { ended, ..Waiting::default() });
        Self { take, dropped: Dropped::default(), waiting, ready: Notify::new(), room: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item or drops one; false: there is no room, and this order wants the upstream to wait.
    pub(super) fn offer(&self, item: &Item) -> bool {
        let mut waiting = self.lock();
        if waiting.closed || waiting.ended.is_some() {
            return true;
        }
        let more = weight(item);
        let is_full = |waiting: &Waiting| {
            let bytes = waiting.bytes.saturating_add(more);
            let full = waiting.items.len() >= self.take.queue_messages || bytes > self.take.queue_bytes;
            full && !waiting.items.is_empty()
        };
        if is_full(&waiting) {
            match self.take.overflow {
                Overflow::Wait => return false,
                Overflow::DropNewest => {
                    self.dropped.add("more waits than may, and this one came last");
                    return true;
                }
                Overflow::DropOldest => {
                    while is_full(&waiting) && waiting.pop().is_some() {
                        self.dropped.add("more waits than may, and this one waited longest");
                    }
                }
                Overflow::End => {
                    drop(waiting);
                    self.fall_behind();
                    return true;
                }
            }
        }
        waiting.bytes = waiting.bytes.saturating_add(more);
        waiting.items.push_back(item.clone());
        drop(waiting);
        self.ready.notify_one();
        true
    }

    /// More waits than may: the order ends after what waits.
    pub(super) fn fall_behind(&self) {
        let waiting = self.lock();
        let (messages, bytes) = (waiting.items.len(), waiting.bytes);
        drop(waiting);
        let text = format!(
            "the buyer fell behind live data: {messages} messages ({bytes} bytes) wait for it, and no more may. Let \
             more wait, sell with when_stalled = skip, or slow the source down"
        );
        self.end(&Ended::Failed(io::ErrorKind::QuotaExceeded, text));
    }

    /// Whether it still takes what comes.
    pub(super) fn takes(&self) -> bool {
        let waiting = self.lock();
        !waiting.closed && waiting.ended.is_none()
    }

    pub(super) fn end(&self, ended: &Ended) {
        let mut waiting = self.lock();
        waiting.ended.get_or_insert_with(|| ended.clone());
        drop(waiting);
        self.ready.notify_one();
    }

    fn close(&self) {
        let mut waiting = self.lock();
        *waiting = Waiting { closed: true, ..Waiting::default() };
        drop(waiting);
        self.room.notify_one();
    }
}

/// What one order gets of a hub. It has no past: a resumed order goes on with what comes.
pub struct Subscription {
    pub(super) queue: Arc<Queue>,
    /// Whoever has an order has its upstream.
    pub(super) reader: Arc<Reader>,
    pub(super) joined: Vec<u8>,
}

impl Subscription {
    /// Counts what this order does not get.
    pub fn dropped(&self) -> Dropped {
        self.queue.dropped.clone()
    }

    /// Moves what waits into the batch; none: nothing waits.
    fn drain(&mut self, batch: &mut Batch) -> io::Result<Option<Filled>> {
        let mut waiting = self.queue.lock();
        let (before, mut moved) = (batch.len(), false);
        // A full batch takes nothing, and what was popped would be lost.
        while !batch.is_full()
            && let Some(item) = waiting.pop()
        {
            moved = true;
            let Some(message) = message_of(&self.queue, &item, &mut self.joined)? else { continue };
            batch.push(item.time_us, message).map_err(io::Error::other)?;
        }
        if moved {
            self.queue.room.notify_one();
        }
        match &waiting.ended {
            _ if batch.len() > before || batch.is_full() => Ok(Some(Filled::Some)),
            None => Ok(None),
            Some(Ended::End) => Ok(Some(Filled::End)),
            Some(Ended::Failed(kind, text)) => Err(io::Error::new(*kind, text.clone())),
        }
    }
}

/// What is sold of an item; none: nothing.
fn message_of<'a>(queue: &Queue, item: &'a Item, joined: &'a mut Vec<u8>) -> io::Result<Option<&'a [u8]>> {
    let message: &[u8] = match &item.topic {
        _ if !queue.take.with_topic => &item.payload,
        None => return Err(bad_data("this source has no topics: take the schema `mqtt` off its product")),
        Some(topic) => match topic::join(topic, &item.payload, joined) {
            Ok(()) => joined,
            Err(error) => {
                queue.dropped.add(&error.to_string());
                return Ok(None);
            }
        },
    };
    let fits =
        u32::try_from(message.len()).is_ok_and(|length| length <= queue.take.message_max.min(limits::MESSAGE_MAX));
    if !fits {
        queue.dropped.add("it is longer than the product allows");
    }
    Ok(fits.then_some(message))
}

impl Source for Subscription {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            loop {
                if let Some(filled) = self.drain(batch)? {
                    return Ok(filled);
                }
                self.queue.ready.notified().await;
            }
        })
    }

    fn seek(&mut self, _seq: u64) -> io::Result<()> {
        Ok(())
    }

    fn keeps(&self) -> Option<Duration> {
        Some(match self.queue.take.overflow {
            // The upstream may wait for it.
            Overflow::Wait => KEPT_WAITING,
            Overflow::End | Overflow::DropOldest | Overflow::DropNewest => KEPT,
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.close();
        self.reader.shared.forget(&self.queue);
    }
}

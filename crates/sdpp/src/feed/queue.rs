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
use super::segment::{Run, SEGMENT_BYTES, weight};
use super::{Item, QUEUE_BYTES, QUEUE_MESSAGES};
use crate::metrics;
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
    /// Bytes that may wait; no more than half of what all orders of the hub may keep.
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

/// Messages that a stretch of a queue has at least on an average, once there are many: who takes one and leaves one has many
/// short ones, and each costs.
const STRETCH_MESSAGES: usize = 16;

/// Counts what an order did not get. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// Messages that were dropped so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, count: u64, why: &str) {
        if count == 0 {
            return;
        }
        let before = self.0.fetch_add(count, Ordering::Relaxed);
        let dropped = before.saturating_add(count);
        metrics::dropped(count);
        // Not one warning a message: whoever is too slow would fill the log.
        if before.checked_ilog2() != dropped.checked_ilog2() {
            tracing::warn!(dropped, "an order does not get messages of its live source: {why}");
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
    /// What the order has not taken yet, of what the hub keeps for all.
    runs: VecDeque<Run>,
    messages: usize,
    bytes: usize,
    /// What comes is not for this order at the moment: how much has come so.
    passed: Option<u64>,
    ended: Option<Ended>,
    /// The subscription is gone.
    closed: bool,
}

impl Waiting {
    fn push(&mut self, run: &Run, bytes: usize) {
        self.messages = self.messages.saturating_add(run.len());
        self.bytes = self.bytes.saturating_add(bytes);
        if !self.runs.back_mut().is_some_and(|last| last.join(run)) {
            self.runs.push_back(run.clone());
        }
    }

    /// The oldest that waits.
    fn first(&self) -> Option<&Item> {
        self.runs.front()?.first()
    }

    /// Passes over the oldest; says whether there was one.
    fn pass(&mut self) -> bool {
        let Some(run) = self.runs.front_mut() else { return false };
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(run.first().map_or(0, weight));
        run.pass();
        if run.len() == 0 {
            self.runs.pop_front();
        }
        true
    }

    /// Drops all that waits, and gives how many messages that was.
    fn clear(&mut self) -> u64 {
        let messages = std::mem::take(&mut self.messages);
        (self.runs, self.bytes) = (VecDeque::new(), 0);
        u64::try_from(messages).unwrap_or(u64::MAX)
    }
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

    /// Adds what comes or drops of it; false: there is no room, and this order wants the upstream to wait. Only one message at a
    /// time may be offered to such an order.
    pub(super) fn offer(&self, (run, bytes): &(Run, usize)) -> bool {
        let mut waiting = self.lock();
        if waiting.closed || waiting.ended.is_some() {
            return true;
        }
        if let Some(passed) = &mut waiting.passed {
            *passed = passed.saturating_add(u64::try_from(run.len()).unwrap_or(u64::MAX));
            return true;
        }
        let is_taken = if self.has_room(&waiting, run.len(), *bytes) {
            waiting.push(run, *bytes);
            Some(true)
        } else {
            self.squeeze(&mut waiting, run)
        };
        drop(waiting);
        match is_taken {
            Some(true) => self.ready.notify_one(),
            Some(false) => self.fall_behind(),
            None => return false,
        }
        true
    }

    fn has_room(&self, waiting: &Waiting, messages: usize, bytes: usize) -> bool {
        let Take { queue_messages, queue_bytes, overflow, .. } = &self.take;
        let long = queue_messages.checked_div(STRETCH_MESSAGES).unwrap_or_default();
        let large = queue_bytes.checked_div(SEGMENT_BYTES).unwrap_or_default();
        let runs_max = long.saturating_add(large).saturating_add(STRETCH_MESSAGES);
        waiting.messages.saturating_add(messages) <= *queue_messages
            && waiting.bytes.saturating_add(bytes) <= *queue_bytes
            && (*overflow != Overflow::DropNewest || waiting.runs.len() < runs_max)
    }

    /// Adds one message after the other, and does what is to be done when there is no room for one. Some(false): the order ends.
    fn squeeze(&self, waiting: &mut Waiting, run: &Run) -> Option<bool> {
        let (mut oldest, mut newest) = (0_u64, 0_u64);
        let is_full = |waiting: &Waiting, bytes| waiting.messages > 0 && !self.has_room(waiting, 1, bytes);
        let mut goes_on = Some(true);
        for (one, bytes) in run.each() {
            if is_full(waiting, bytes) {
                match self.take.overflow {
                    Overflow::Wait => goes_on = None,
                    Overflow::End => goes_on = Some(false),
                    Overflow::DropNewest => {
                        newest = newest.saturating_add(1);
                        continue;
                    }
                    Overflow::DropOldest => {
                        while is_full(waiting, bytes) && waiting.pass() {
                            oldest = oldest.saturating_add(1);
                        }
                    }
                }
            }
            if goes_on != Some(true) {
                break;
            }
            waiting.push(&one, bytes);
        }
        self.dropped.add(newest, "more waits than may, and this came last");
        self.dropped.add(oldest, "more waits than may, and this waited longest");
        goes_on
    }

    /// More waits than may: the order ends after what waits.
    pub(super) fn fall_behind(&self) {
        let waiting = self.lock();
        let (messages, bytes) = (waiting.messages, waiting.bytes);
        drop(waiting);
        let text = format!(
            "the buyer fell behind live data: {messages} messages ({bytes} bytes) wait for it, and no more may. Let \
             more wait, sell with when_stalled = skip, or slow the source down"
        );
        self.end(&Ended::Failed(io::ErrorKind::QuotaExceeded, text));
    }

    /// How old the oldest is that waits.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.lock().runs.front().map(Run::number)
    }

    /// All orders together keep more than they may, and this one is furthest behind if it has something as old as that: an
    /// order that may miss something misses that; any other ends without what waits.
    pub(super) fn give_up(&self, number: u64) {
        let mut waiting = self.lock();
        if waiting.runs.front().is_none_or(|run| run.number() > number) {
            return;
        }
        let is_skipping = matches!(self.take.overflow, Overflow::DropOldest | Overflow::DropNewest);
        let mut dropped = 0_u64;
        if is_skipping {
            while waiting.runs.front().is_some_and(|run| run.number() <= number) && waiting.pass() {
                dropped = dropped.saturating_add(1);
            }
        } else {
            dropped = waiting.clear();
        }
        drop(waiting);
        self.dropped
            .add(dropped, "all orders of the source together keep more than they may, and this one is furthest behind");
        if !is_skipping {
            let text = format!(
                "the buyer is furthest behind of all who get this live data, and together they keep more than they may: \
                 {dropped} messages are not sold. Let the source keep more, sell with when_stalled = skip, or slow the source \
                 down"
            );
            self.end(&Ended::Failed(io::ErrorKind::QuotaExceeded, text));
        }
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
        // A full batch takes nothing, and what was passed over would be lost.
        while !batch.is_full()
            && let Some(item) = waiting.first()
        {
            let sold = match message_of(&self.queue, item, &mut self.joined) {
                Ok(Some(message)) => batch.push(item.time_us, message).map_err(io::Error::other),
                other => other.map(drop),
            };
            moved = waiting.pass();
            sold?;
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
                queue.dropped.add(1, &error.to_string());
                return Ok(None);
            }
        },
    };
    let fits =
        u32::try_from(message.len()).is_ok_and(|length| length <= queue.take.message_max.min(limits::MESSAGE_MAX));
    if !fits {
        queue.dropped.add(1, "it is longer than the product allows");
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

    fn let_pass(&mut self) -> bool {
        let mut waiting = self.queue.lock();
        let gone = waiting.clear();
        let passed = waiting.passed.get_or_insert(0);
        *passed = passed.saturating_add(gone);
        drop(waiting);
        self.queue.room.notify_one();
        true
    }

    fn passed(&mut self) -> u64 {
        self.queue.lock().passed.take().unwrap_or(0)
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

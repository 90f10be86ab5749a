//! What waits for the orders of a hub, kept once for all of them.
//!
//! A hub writes what a group of orders picks into segments, one behind the other; the queue of an order holds only which
//! stretches of which segments it has not taken yet. So an order that lags costs some bytes for each segment, not for each
//! message, and a segment is gone when the last order has passed it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::Item;

/// Messages of one segment.
pub(super) const SEGMENT_MESSAGES: usize = 256;
/// Bytes from which on a segment takes no more: an order keeps no more than that of what it has passed.
pub(super) const SEGMENT_BYTES: usize = 256 * 1024;
/// What an item takes beside its bytes.
const ITEM_BYTES: usize = size_of::<Item>();

/// What an item counts for in the queue of an order.
pub(super) fn weight(item: &Item) -> usize {
    payload_of(item).saturating_add(ITEM_BYTES)
}

fn payload_of(item: &Item) -> usize {
    item.payload.len().saturating_add(item.topic.as_ref().map_or(0, |topic| topic.len()))
}

/// What all segments of a hub keep.
#[derive(Default)]
pub(super) struct Held {
    bytes: AtomicUsize,
    /// The number of the next segment.
    next: AtomicU64,
}

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Messages, written once and then only read.
pub(super) struct Segment {
    /// Grows with time, over all groups of a hub.
    number: u64,
    places: Box<[OnceLock<Item>]>,
    bytes: AtomicUsize,
    held: Arc<Held>,
}

impl Segment {
    fn new(held: &Arc<Held>) -> Self {
        let number = held.next.fetch_add(1, Ordering::Relaxed);
        let places: Box<[_]> = (0..SEGMENT_MESSAGES).map(|_| OnceLock::new()).collect();
        let segment = Self { number, bytes: AtomicUsize::new(0), held: held.clone(), places };
        segment.grow(size_of_val(&*segment.places));
        segment
    }

    /// Gives what it holds now.
    fn grow(&self, bytes: usize) -> usize {
        self.held.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// Messages of one segment, one behind the other.
#[derive(Clone)]
pub(super) struct Run {
    segment: Arc<Segment>,
    from: usize,
    to: usize,
}

impl Run {
    pub(super) const fn len(&self) -> usize {
        self.to.saturating_sub(self.from)
    }

    /// The older, the lower.
    pub(super) fn number(&self) -> u64 {
        self.segment.number
    }

    /// What it begins with.
    pub(super) fn first(&self) -> Option<&Item> {
        self.segment.places.get(self.from..self.to)?.first()?.get()
    }

    /// Passes over what it begins with.
    pub(super) const fn pass(&mut self) {
        if self.from < self.to {
            self.from = self.from.saturating_add(1);
        }
    }

    /// The same, item by item.
    pub(super) fn each(&self) -> impl Iterator<Item = (Self, usize)> {
        let places = self.segment.places.get(self.from..self.to).unwrap_or_default();
        places.iter().enumerate().filter_map(|(at, place)| {
            let from = self.from.saturating_add(at);
            let one = Self { segment: self.segment.clone(), from, to: from.saturating_add(1) };
            place.get().map(|item| (one, weight(item)))
        })
    }

    /// Takes what follows it directly; false: this is something else.
    pub(super) fn join(&mut self, next: &Self) -> bool {
        let follows = self.to == next.from && Arc::ptr_eq(&self.segment, &next.segment);
        if follows {
            self.to = next.to;
        }
        follows
    }
}

/// Writes segments.
#[derive(Default)]
pub(super) struct Log {
    /// The newest, as long as it takes more, and how many messages it has.
    open: Option<(Arc<Segment>, usize)>,
}

impl Log {
    /// Writes items, and gives where they are, with what they count for.
    pub(super) fn write<'a>(&mut self, items: impl Iterator<Item = &'a Item>, held: &Arc<Held>) -> Vec<(Run, usize)> {
        let mut written: Vec<(Run, usize)> = Vec::new();
        for item in items {
            let run = self.put(item, held);
            if let Some((last, bytes)) = written.last_mut()
                && last.join(&run)
            {
                *bytes = bytes.saturating_add(weight(item));
            } else {
                written.push((run, weight(item)));
            }
        }
        written
    }

    /// Keeps nothing as old as that any more.
    pub(super) fn let_go(&mut self, number: u64) {
        self.open.take_if(|(segment, _)| segment.number <= number);
    }

    fn put(&mut self, item: &Item, held: &Arc<Held>) -> Run {
        let (segment, from) = self.open.take().unwrap_or_else(|| (Arc::new(Segment::new(held)), 0));
        let to = from.saturating_add(1);
        if let Some(place) = segment.places.get(from) {
            // Written here only.
            let _ = place.set(item.clone());
        }
        let bytes = segment.grow(payload_of(item));
        if to < SEGMENT_MESSAGES && bytes < SEGMENT_BYTES {
            self.open = Some((segment.clone(), to));
        }
        Run { segment, from, to }
    }
}

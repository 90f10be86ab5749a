//! A span at the seller: the plaintext it keeps until it is paid, its digest and its invoice.

use crate::codec::{Bytes32, Digest};
use crate::message::Messages;
use crate::pieces::Pieces;
use crate::span::{SpanHasher, SpanStart, span_salt};
use crate::statement::{Invoice, Signed, Signing};
use crate::time::Timestamp;

/// Bytes that wait before they are hashed, so that hashing works on large slices.
const HASH_SLICE: usize = 64 * 1024;

/// The messages that one invoice will cover, or covers.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) start: SpanStart,
    /// Canonical messages; empty after a restart, when the plaintext is lost.
    pub(super) data: Pieces,
    hashed: usize,
    hasher: SpanHasher,
    pub(super) count: u64,
    pub(super) bytes: u64,
    pub(super) windows: u32,
    /// Whether one of its windows had all K messages.
    pub(super) full: bool,
    /// Service time billed, where the price counts seconds.
    pub(super) time: Option<(Timestamp, Timestamp)>,
    pub(super) issued: Option<Issued>,
}

/// A signed invoice and how far it is.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    pub(super) invoice: Signed<Invoice>,
    /// Durable in the seller's journal: only then may it be sent.
    pub(super) durable: bool,
    /// Whether the buyer has acknowledged it: once is enough.
    pub(super) acked: bool,
    /// When it became durable: payment is due so long after.
    pub(super) since: Timestamp,
}

impl Span {
    pub(super) fn new(start: SpanStart, order_salt: &Bytes32) -> Self {
        Self {
            start,
            data: Pieces::default(),
            hashed: 0,
            hasher: SpanHasher::new(&start, &span_salt(order_salt, start.n)),
            count: 0,
            bytes: 0,
            windows: 0,
            full: false,
            time: None,
            issued: None,
        }
    }

    /// A span known only by its invoice, from the journal.
    pub(super) fn restored(invoice: Signed<Invoice>, order_salt: &Bytes32, now: Timestamp) -> Self {
        let start = SpanStart { order: invoice.order_id, n: invoice.n, first: invoice.first };
        let mut span = Self::new(start, order_salt);
        span.count = invoice.count;
        span.bytes = invoice.bytes;
        span.windows = invoice.windows;
        span.issued = Some(Issued { invoice, durable: true, acked: false, since: now });
        span
    }

    /// Whether its invoice is the order's last.
    pub(super) fn is_last(&self) -> bool {
        self.issued.as_ref().is_some_and(|issued| issued.invoice.last)
    }

    /// The first message behind it.
    pub(super) const fn end(&self) -> u64 {
        self.start.first.saturating_add(self.count)
    }

    /// Hashes what waits, if it is worth it, while it is still near.
    pub(super) fn hash_some(&mut self) {
        while self.data.len().saturating_sub(self.hashed) >= HASH_SLICE {
            let slice = self.data.at(self.hashed);
            let is_last = self.hashed.saturating_add(slice.len()) >= self.data.len();
            let length = if is_last { self.hasher.aligned(slice.len()) } else { slice.len() };
            if length == 0 {
                return;
            }
            self.hasher.update(slice.get(..length).unwrap_or_default());
            self.hashed = self.hashed.saturating_add(length);
        }
    }

    fn hash_all(&mut self) {
        while self.hashed < self.data.len() {
            let slice = self.data.at(self.hashed);
            self.hasher.update(slice);
            self.hashed = self.hashed.saturating_add(slice.len());
        }
    }

    /// Where a frame ends that begins at `start` and has room for so many bytes: with the piece; and where more follows,
    /// at a place from which the buyer hashes well, too.
    pub(super) fn frame_end(&self, start: usize, room: usize) -> usize {
        let piece = self.data.at(start).len();
        let end = start.saturating_add(piece.min(room));
        if end >= self.data.len() { end } else { crate::span::aligned(end).filter(|end| *end > start).unwrap_or(end) }
    }

    /// The digest of all its messages.
    pub(super) fn digest(&mut self) -> Digest {
        self.hash_all();
        self.hasher.digest(self.count)
    }

    /// The digest of its first `count` messages.
    pub(super) fn prefix_digest(&self, count: u64, order_salt: &Bytes32, signing: Signing) -> Digest {
        let mut hasher = SpanHasher::new(&self.start, &span_salt(order_salt, self.start.n));
        let mut left = count;
        for slice in self.data.slices() {
            let mut messages = Messages::new(slice, signing);
            while left > 0 && messages.next().is_some() {
                left = left.saturating_sub(1);
            }
            hasher.update(slice.get(..slice.len().saturating_sub(messages.rest().len())).unwrap_or_default());
        }
        hasher.digest(count)
    }
}

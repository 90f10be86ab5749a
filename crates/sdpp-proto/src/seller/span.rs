//! A span at the seller: the plaintext it keeps until it is paid, its digest and its invoice.

use alloc::vec::Vec;

use crate::codec::{Bytes32, Digest};
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
    pub(super) data: Vec<u8>,
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
            data: Vec::new(),
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

    /// Hashes what waits, if it is worth it.
    pub(super) fn hash_some(&mut self) {
        if self.data.len().saturating_sub(self.hashed) >= HASH_SLICE {
            self.hash_all();
        }
    }

    fn hash_all(&mut self) {
        self.hasher.update(self.data.get(self.hashed..).unwrap_or_default());
        self.hashed = self.data.len();
    }

    /// The digest of all its messages.
    pub(super) fn digest(&mut self) -> Digest {
        self.hash_all();
        self.hasher.digest(self.count)
    }

    /// The digest of its first `count` messages.
    pub(super) fn prefix_digest(&self, count: u64, order_salt: &Bytes32, signing: Signing) -> Digest {
        let mut hasher = SpanHasher::new(&self.start, &span_salt(order_salt, self.start.n));
        let mut rest = self.data.as_slice();
        for _ in 0..count {
            let Some((_, behind)) = crate::message::split_first(rest, signing) else { break };
            rest = behind;
        }
        let length = self.data.len().saturating_sub(rest.len());
        hasher.update(self.data.get(..length).unwrap_or_default());
        hasher.digest(count)
    }
}

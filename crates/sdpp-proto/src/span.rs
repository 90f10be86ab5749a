//! The digest of a span: the messages that one invoice covers (`spec/protocol.md` §6).
//!
//! `digest = BLAKE3(header{label, order, n, first, salt} || messages || count)`. It does not depend
//! on how frames were cut, and salts keep low-entropy readings from being guessed.

use alloc::vec::Vec;

use crate::codec::{Bytes32, Digest, StatementId};
use crate::hash::labelled;

/// So many bytes are hashed at once, side by side: slices that end elsewhere are gathered. Updates per message cost
/// seven times as much.
const GROUP: usize = 16 * 1024;
/// Bytes before the first message.
const HEADER: usize = 11 + 32 + 8 + 8 + 32;

/// The last place at or before byte `end` of a span up to which it is hashed without gathering.
pub(crate) fn aligned(end: usize) -> Option<usize> {
    let all = end.saturating_add(HEADER);
    end.checked_sub(all.checked_rem(GROUP).unwrap_or(0))
}

/// Where a span begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanStart {
    /// The order.
    pub order: StatementId,
    /// Number of the invoice that will cover it.
    pub n: u64,
    /// Sequence number of its first message.
    pub first: u64,
}

/// The salt of invoice `n`.
pub fn span_salt(order_salt: &Bytes32, n: u64) -> Bytes32 {
    Bytes32(labelled("SDPP/2 salt", &[order_salt.as_bytes(), &n.to_be_bytes()]))
}

/// Digest over what a buyer holds behind the last invoice it verified: the digests of the spans, or
/// parts of spans, one behind the other.
pub fn prefix_digest(digests: &[u8]) -> Digest {
    Digest(labelled("SDPP/2 prefix", &[digests]))
}

/// Hashes the messages of one span, in slices of any size.
#[derive(Clone)]
pub struct SpanHasher {
    hash: blake3::Hasher,
    /// Message bytes that came.
    length: usize,
    /// The newest of them, which are not hashed yet.
    carry: Vec<u8>,
}

impl SpanHasher {
    /// Begins a span with its own salt.
    pub fn new(start: &SpanStart, salt: &Bytes32) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(b"SDPP/2 span");
        hash.update(start.order.as_bytes());
        hash.update(&start.n.to_be_bytes());
        hash.update(&start.first.to_be_bytes());
        hash.update(salt.as_bytes());
        Self { hash, length: 0, carry: Vec::new() }
    }

    /// Adds message bytes.
    pub fn update(&mut self, mut data: &[u8]) {
        let aligned = self.aligned(data.len());
        self.length = self.length.saturating_add(data.len());
        if aligned > 0 {
            let (head, rest) = data.split_at(aligned);
            data = rest;
            self.hash_behind_carry(head);
        }
        self.carry.extend_from_slice(data);
    }

    /// How many of the next `length` bytes need not be gathered.
    pub(crate) fn aligned(&self, length: usize) -> usize {
        let end = aligned(self.length.saturating_add(length));
        end.and_then(|end| end.checked_sub(self.length)).unwrap_or(0)
    }

    /// Hashes what was gathered, and this, up to the end of a group.
    fn hash_behind_carry(&mut self, mut data: &[u8]) {
        if !self.carry.is_empty() {
            let rest = data.len().checked_rem(GROUP).unwrap_or(0);
            let (head, behind) = data.split_at(rest);
            self.carry.extend_from_slice(head);
            self.hash.update(&self.carry);
            self.carry.clear();
            data = behind;
        }
        self.hash.update(data);
    }

    /// The digest of `count` messages; the hasher may go on.
    pub fn digest(&self, count: u64) -> Digest {
        let mut hash = self.hash.clone();
        hash.update(&self.carry);
        hash.update(&count.to_be_bytes());
        Digest(*hash.finalize().as_bytes())
    }
}

impl core::fmt::Debug for SpanHasher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SpanHasher")
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_does_not_depend_on_the_cuts() {
        let data: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        let start = SpanStart { order: StatementId([1; 32]), n: 2, first: 3 };
        let whole = {
            let mut hasher = SpanHasher::new(&start, &Bytes32([4; 32]));
            hasher.update(&data);
            hasher.digest(5)
        };
        for size in [1, 7, 1000, GROUP - HEADER, GROUP - 1, GROUP, GROUP + 1, 50_000] {
            let mut hasher = SpanHasher::new(&start, &Bytes32([4; 32]));
            data.chunks(size).for_each(|chunk| hasher.update(chunk));
            assert_eq!(hasher.digest(5), whole, "{size}");
            assert_ne!(hasher.digest(6), whole);
        }
        let other = SpanHasher::new(&SpanStart { n: 3, ..start }, &Bytes32([4; 32])).digest(0);
        assert_ne!(other, SpanHasher::new(&start, &Bytes32([4; 32])).digest(0));
    }
}

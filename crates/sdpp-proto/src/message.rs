//! Messages and batches of them (`spec/protocol.md` §5).
//!
//! Canonical form, big-endian, fixed width: `time_us i64, length u32, bytes`, and under the signing
//! rule `message` a 64-byte signature behind them. Messages lie one behind the other, so hashing and
//! sealing work on whole slices. A sequence number is implied by a message's place.

use alloc::vec::Vec;

use crate::codec::StatementId;
use crate::hash::sha256;
use crate::identity::{PublicKey, SigningKey};
use crate::limits::{self, MESSAGE_HEADER_LEN, SIGNATURE_LEN};
use crate::pieces::{Block, Pieces};
use crate::statement::Signing;

/// One message, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// The seller's timestamp in microseconds since the Unix epoch.
    pub time_us: i64,
    /// The payload.
    pub bytes: &'a [u8],
    /// The seller's signature, under the signing rule `message`.
    pub signature: Option<&'a [u8; SIGNATURE_LEN]>,
}

/// What a signature of one message covers.
pub fn message_to_sign(order: &StatementId, seq: u64, time_us: i64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(b"SDPP/2 message");
    out.extend_from_slice(order.as_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&time_us.to_be_bytes());
    out.extend_from_slice(&sha256(bytes));
    out
}

impl Message<'_> {
    /// Verifies the message's own signature; false if it has none.
    pub fn verify(&self, seller: &PublicKey, order: &StatementId, seq: u64) -> bool {
        self.signature
            .is_some_and(|signature| seller.verify(&message_to_sign(order, seq, self.time_us, self.bytes), signature))
    }
}

/// Bytes that a message takes in its canonical form.
pub const fn encoded_len(payload: usize, signing: Signing) -> usize {
    let tail = match signing {
        Signing::Window => 0,
        Signing::Message => SIGNATURE_LEN,
    };
    MESSAGE_HEADER_LEN.saturating_add(payload).saturating_add(tail)
}

/// Splits the first whole message off a slice; `None` if it is not whole.
pub fn split_first(data: &[u8], signing: Signing) -> Option<(Message<'_>, &[u8])> {
    let (time, rest) = data.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    let time_us = i64::from_be_bytes(*time);
    match signing {
        Signing::Window => Some((Message { time_us, bytes, signature: None }, rest)),
        Signing::Message => {
            let (signature, rest) = rest.split_first_chunk::<SIGNATURE_LEN>()?;
            Some((Message { time_us, bytes, signature: Some(signature) }, rest))
        }
    }
}

/// The payload length that a message's header states, if the header is whole.
pub fn stated_length(data: &[u8]) -> Option<u32> {
    let header = data.first_chunk::<MESSAGE_HEADER_LEN>()?;
    header.last_chunk::<4>().map(|length| u32::from_be_bytes(*length))
}

/// Iterates over whole messages.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    data: &'a [u8],
    signing: Signing,
}

impl<'a> Messages<'a> {
    /// Over messages in canonical form.
    pub const fn new(data: &'a [u8], signing: Signing) -> Self {
        Self { data, signing }
    }

    /// What is left when the iterator has ended: empty if all messages were whole.
    pub const fn rest(&self) -> &'a [u8] {
        self.data
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let (message, rest) = split_first(self.data, self.signing)?;
        self.data = rest;
        Some(message)
    }
}

/// Messages on their way from a source to a seller, already in canonical form.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Longer than what it holds where it held more before: what is overwritten is not zeroed first.
    data: Vec<u8>,
    /// What it holds, in the place of `data`, once a span has a part of it.
    shared: Option<Block>,
    /// End of each message in `data`.
    ends: Vec<usize>,
    /// Messages taken already.
    taken: usize,
    messages_max: usize,
    /// What it holds is shared with spans where it is at least so many bytes, and copied otherwise.
    shared_min: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// A batch is full, or a message is longer than any product allows: nothing was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchError {
    /// Offer what it holds first.
    Full,
    /// Longer than [`limits::MESSAGE_MAX`].
    TooLong,
}

impl core::fmt::Display for BatchError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "the batch is full: offer what it holds first",
            Self::TooLong => "message longer than any product allows",
        })
    }
}

impl core::error::Error for BatchError {}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self::bounded(limits::BATCH_MESSAGES_MAX)
    }

    /// An empty batch for few messages, where each costs much: whoever fills it has to come back, and
    /// others have their turn. At least one, at most [`limits::BATCH_MESSAGES_MAX`].
    pub const fn bounded(messages_max: usize) -> Self {
        let messages_max = match messages_max {
            0 => 1,
            many if many > limits::BATCH_MESSAGES_MAX => limits::BATCH_MESSAGES_MAX,
            few => few,
        };
        Self {
            data: Vec::new(),
            shared: None,
            ends: Vec::new(),
            taken: 0,
            messages_max,
            shared_min: limits::BATCH_SHARED_MIN,
        }
    }

    /// The same batch, with another bound for what is kept where it is: for tests, whose messages are few.
    #[doc(hidden)]
    pub const fn sharing(mut self, bytes_min: usize) -> Self {
        self.shared_min = bytes_min;
        self
    }

    /// Adds a message by copying it.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn push(&mut self, time_us: i64, bytes: &[u8]) -> Result<(), BatchError> {
        self.room(time_us, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Bytes that it holds.
    fn used(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Adds a message and gives the place to write its payload into: zeros, until it is written.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn slot(&mut self, time_us: i64, length: usize) -> Result<&mut [u8], BatchError> {
        let room = self.room(time_us, length)?;
        room.fill(0);
        Ok(room)
    }

    /// A message's place, with whatever was there before.
    fn room(&mut self, time_us: i64, length: usize) -> Result<&mut [u8], BatchError> {
        let stated = u32::try_from(length).ok().filter(|length| *length <= limits::MESSAGE_MAX);
        let stated = stated.ok_or(BatchError::TooLong)?;
        if self.is_full() {
            return Err(BatchError::Full);
        }
        self.own();
        let start = self.used();
        let end = start.saturating_add(MESSAGE_HEADER_LEN).saturating_add(length);
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        let message = self.data.get_mut(start..end).unwrap_or_default();
        let (time, rest) = message.split_first_chunk_mut().ok_or(BatchError::Full)?;
        let (length, payload) = rest.split_first_chunk_mut().ok_or(BatchError::Full)?;
        (*time, *length) = (time_us.to_be_bytes(), stated.to_be_bytes());
        self.ends.push(end);
        Ok(payload)
    }

    /// Whether no further message is taken.
    pub fn is_full(&self) -> bool {
        self.ends.len() >= self.messages_max || self.used() >= limits::BATCH_BYTES_MAX
    }

    /// Messages not taken yet.
    pub fn len(&self) -> usize {
        self.ends.len().saturating_sub(self.taken)
    }

    /// Whether all are taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The messages not taken yet.
    pub fn messages(&self) -> Messages<'_> {
        Messages::new(self.peek(self.len()), Signing::Window)
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.shared = None;
        self.ends.clear();
        self.taken = 0;
    }

    /// Gives its memory back, if it is empty.
    pub fn rest(&mut self) {
        if self.is_empty() {
            (self.data, self.ends) = (Vec::new(), Vec::new());
            self.clear();
        }
    }

    fn end_of(&self, messages: usize) -> usize {
        match messages.checked_sub(1) {
            None => 0,
            Some(last) => self.ends.get(last).copied().unwrap_or(self.used()),
        }
    }

    /// What waits, in canonical form, without signatures: what a sample holds.
    pub fn canonical(&self) -> &[u8] {
        self.peek(self.len())
    }

    /// Encoded bytes of the next `count` messages.
    pub(crate) fn peek(&self, count: usize) -> &[u8] {
        let (start, end) = (self.end_of(self.taken), self.end_of(self.taken.saturating_add(count)));
        self.shared.as_deref().unwrap_or(&self.data).get(start..end).unwrap_or_default()
    }

    /// Adds the next `count` messages to a span's: without copying, where the memory is used well enough to be kept.
    pub(crate) fn give(&mut self, count: usize, to: &mut Pieces) {
        let used = self.used();
        if self.shared.is_none() && used >= self.shared_min && used.saturating_mul(2) >= self.data.capacity() {
            self.shared = Some(Block::new(core::mem::take(&mut self.data)));
        }
        match &self.shared {
            Some(block) => {
                to.share(block, self.end_of(self.taken)..self.end_of(self.taken.saturating_add(count)));
            }
            None => to.copy(self.peek(count)),
        }
    }

    /// Takes memory to write into, if it has none.
    pub(crate) fn write_into(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.is_empty()
            && self.data.capacity() == 0
            && let Some(memory) = spare.pop()
        {
            self.data = memory;
        }
    }

    /// Before it is written: what a span has a part of does not change any more, so what was not taken is copied.
    fn own(&mut self) {
        if let Some(block) = self.shared.take() {
            let start = self.end_of(self.taken);
            self.data = block.get(start..self.used()).unwrap_or_default().to_vec();
            self.ends.drain(..self.taken);
            self.ends.iter_mut().for_each(|end| *end = end.saturating_sub(start));
            self.taken = 0;
        }
    }

    /// How many of the next messages, at most `count`, have payloads of at most `bytes` in all.
    pub(crate) fn fitting_payload(&self, count: usize, bytes: u64) -> usize {
        let limit = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut headers = self.end_of(self.taken);
        let to = self.taken.saturating_add(count).min(self.ends.len());
        let ends = self.ends.get(self.taken..to).unwrap_or_default();
        if ends.last().is_some_and(|end| {
            let all = ends.len().saturating_mul(MESSAGE_HEADER_LEN);
            end.saturating_sub(headers).saturating_sub(all) <= limit
        }) {
            return ends.len();
        }
        let over = ends.iter().position(|end| {
            headers = headers.saturating_add(MESSAGE_HEADER_LEN);
            end.saturating_sub(headers) > limit
        });
        over.unwrap_or(ends.len())
    }

    /// The largest payload among the next `count` messages.
    pub(crate) fn payload_max(&self, count: usize) -> usize {
        let mut start = self.end_of(self.taken);
        let to = self.taken.saturating_add(count).min(self.ends.len());
        let mut max = 0;
        for end in self.ends.get(self.taken..to).unwrap_or_default() {
            max = max.max(end.saturating_sub(start));
            start = *end;
        }
        max.saturating_sub(MESSAGE_HEADER_LEN)
    }

    /// Marks messages as taken; an empty batch is cleared.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.ends.len());
        if self.is_empty() {
            self.clear();
        }
    }
}

/// Appends messages with a signature each (signing rule `message`).
pub(crate) fn append_signed(out: &mut Vec<u8>, encoded: &[u8], key: &SigningKey, (order, first): (&StatementId, u64)) {
    for (seq, message) in (first..).zip(Messages::new(encoded, Signing::Window)) {
        out.extend_from_slice(&message.time_us.to_be_bytes());
        let length = u32::try_from(message.bytes.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(message.bytes);
        out.extend_from_slice(&key.sign(&message_to_sign(order, seq, message.time_us, message.bytes)));
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
    fn a_batch_hands_out_what_was_put_in() {
        let mut batch = Batch::new();
        batch.push(1, b"one").unwrap();
        batch.push(-2, b"").unwrap();
        batch.slot(3, 5).unwrap().copy_from_slice(b"three");
        assert_eq!([2, 3, 7, 8].map(|bytes| batch.fitting_payload(3, bytes)), [0, 2, 2, 3]);
        assert_eq!((batch.len(), batch.payload_max(3)), (3, 5));
        let all: Vec<_> = batch.messages().map(|m| (m.time_us, m.bytes.to_vec())).collect();
        assert_eq!(all, [(1, b"one".to_vec()), (-2, b"".to_vec()), (3, b"three".to_vec())]);
        batch.take(2);
        assert_eq!(batch.messages().map(|m| m.time_us).collect::<Vec<_>>(), [3]);
        assert_eq!((batch.len(), batch.fitting_payload(1, 4), batch.fitting_payload(1, 5)), (1, 0, 1));
        batch.take(1);
        assert!(batch.is_empty());
    }

    #[test]
    fn a_bounded_batch_is_full_sooner() {
        for (asked, taken) in [(0, 1), (1, 1), (3, 3), (usize::MAX, limits::BATCH_MESSAGES_MAX)] {
            let mut batch = Batch::bounded(asked);
            let all = core::iter::from_fn(|| batch.push(0, b"").ok()).count();
            assert_eq!(all, taken);
            batch.clear();
            assert_eq!(batch.push(0, b""), Ok(()), "and takes more once it was emptied");
        }
    }

    /// What spans have is not written again, whatever happens to the batch.
    #[test]
    fn a_shared_batch_goes_on_beside_what_spans_have_of_it() {
        let mut batch = Batch::new().sharing(0);
        let mut spans = Pieces::default();
        for name in [b"one", b"two", b"six"] {
            batch.push(1, name).unwrap();
        }
        let whole = batch.canonical().to_vec();
        batch.give(1, &mut spans);
        batch.take(1);
        batch.give(1, &mut spans);
        batch.take(1);
        assert_eq!((spans.slices().next().unwrap(), batch.len()), (&whole[..30], 1));
        batch.push(2, b"new").unwrap();
        assert_eq!(batch.messages().map(|m| m.bytes).collect::<Vec<_>>(), [b"six", b"new"]);
        batch.give(2, &mut spans);
        batch.take(2);
        batch.push(3, b"end").unwrap();
        batch.give(1, &mut spans);
        let all = spans.slices().collect::<Vec<_>>().concat();
        let names = Messages::new(&all, Signing::Window).map(|m| m.bytes.to_vec()).collect::<Vec<_>>();
        assert_eq!(names, [b"one", b"two", b"six", b"new", b"end"]);
    }

    #[test]
    fn memory_that_comes_back_is_written_again_and_a_slot_in_it_is_zero() {
        let mut batch = Batch::new().sharing(0);
        batch.push(1, &[7; 100]).unwrap();
        let mut span = Pieces::default();
        batch.give(1, &mut span);
        batch.take(1);
        let mut spare: Vec<Vec<u8>> = span.into_memory().collect();
        assert_eq!(spare.len(), 1);
        batch.write_into(&mut spare);
        batch.write_into(&mut alloc::vec![alloc::vec![9; 9]]);
        assert!(spare.is_empty());
        assert_eq!(batch.slot(2, 50).unwrap(), [0; 50]);
        batch.push(3, b"x").unwrap();
        let all: Vec<_> = batch.messages().map(|m| (m.time_us, m.bytes.len())).collect();
        assert_eq!((all, batch.is_full()), ([(2, 50), (3, 1)].to_vec(), false));
    }

    /// A block that holds little is not kept for it.
    #[test]
    fn memory_that_is_hardly_used_is_copied_from() {
        let mut batch = Batch::new().sharing(0);
        batch.write_into(&mut alloc::vec![alloc::vec![0; 1000]]);
        batch.push(1, b"little").unwrap();
        let mut span = Pieces::default();
        batch.give(1, &mut span);
        assert_eq!((span.len(), span.into_memory().count()), (18, 0));
    }

    #[test]
    fn a_cut_message_is_not_a_message() {
        let mut batch = Batch::new();
        batch.push(1, b"payload").unwrap();
        let data = batch.peek(1);
        for cut in 0..data.len() {
            assert!(split_first(&data[..cut], Signing::Window).is_none());
        }
        assert!(split_first(data, Signing::Message).is_none());
        assert_eq!(stated_length(data), Some(7));
        assert_eq!(batch.slot(0, limits::MESSAGE_MAX as usize + 1).unwrap_err(), BatchError::TooLong);
    }
}

//! Message bytes that are kept where they were written: pieces of blocks, shared and not copied.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// Memory that batches and spans share. What is in it does not change any more.
pub(crate) type Block = Arc<Vec<u8>>;

/// Copied bytes are gathered to about so many before a new block is begun.
const TAIL: usize = 256 * 1024;

/// Whole messages, one behind the other, in as few pieces as they came in.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pieces: Vec<Piece>,
    /// What was copied, behind the pieces.
    tail: Vec<u8>,
    len: usize,
    /// Bytes of memory of all blocks; kept, because it is asked for with every window.
    blocks: usize,
}

#[derive(Debug)]
struct Piece {
    /// Bytes before it.
    start: usize,
    block: Block,
    range: Range<usize>,
    /// A batch's memory, and not a tail.
    is_shared: bool,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        self.block.get(self.range.clone()).unwrap_or_default()
    }
}

impl Pieces {
    /// Bytes in all.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds bytes by copying them.
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        self.write(|tail| tail.extend_from_slice(bytes));
    }

    /// Adds what is appended to the buffer.
    pub(crate) fn write(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        if self.tail.len() >= TAIL {
            self.end_tail();
        }
        let before = self.tail.len();
        append(&mut self.tail);
        self.len = self.len.saturating_add(self.tail.len().saturating_sub(before));
    }

    /// Adds a part of a block.
    pub(crate) fn share(&mut self, block: &Block, range: Range<usize>) {
        self.end_tail();
        let start = self.len;
        self.len = self.len.saturating_add(range.len());
        match self.pieces.last_mut() {
            Some(last) if Arc::ptr_eq(&last.block, block) && last.range.end == range.start => {
                last.range.end = range.end;
            }
            Some(_) | None => self.push(Piece { start, block: block.clone(), range, is_shared: true }),
        }
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = core::mem::take(&mut self.tail);
            let start = self.len.saturating_sub(tail.len());
            let range = 0..tail.len();
            self.push(Piece { start, block: Arc::new(tail), range, is_shared: false });
        }
    }

    fn push(&mut self, piece: Piece) {
        self.blocks = self.blocks.saturating_add(piece.block.capacity());
        self.pieces.push(piece);
    }

    /// The bytes behind the first `offset`, as far as they lie in one piece.
    pub(crate) fn at(&self, offset: usize) -> &[u8] {
        let tail_start = self.len.saturating_sub(self.tail.len());
        if offset >= tail_start {
            return self.tail.get(offset.saturating_sub(tail_start)..).unwrap_or_default();
        }
        let after = self.pieces.partition_point(|piece| piece.start <= offset);
        let piece = after.checked_sub(1).and_then(|at| self.pieces.get(at));
        piece.and_then(|piece| piece.bytes().get(offset.saturating_sub(piece.start)..)).unwrap_or_default()
    }

    /// All bytes, piece by piece.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(Piece::bytes).chain([self.tail.as_slice()])
    }

    /// Bytes of memory that it keeps from being used otherwise: blocks whole, however little of them it has.
    pub(crate) const fn memory(&self) -> usize {
        self.blocks.saturating_add(self.tail.capacity())
    }

    /// The memory of batches that nobody else holds, to be written anew.
    pub(crate) fn into_memory(self) -> impl Iterator<Item = Vec<u8>> {
        self.pieces.into_iter().filter(|piece| piece.is_shared).filter_map(|piece| Arc::try_unwrap(piece.block).ok())
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shared_and_what_was_copied_stand_in_their_order() {
        let block = |from: u8| Arc::new((from..from + 10).collect::<Vec<u8>>());
        let (first, second) = (block(0), block(10));
        let mut pieces = Pieces::default();
        pieces.share(&first, 0..4);
        pieces.share(&first, 4..10);
        pieces.share(&second, 0..3);
        pieces.copy(&[13, 14]);
        pieces.write(|tail| tail.push(15));
        pieces.share(&second, 6..10);
        pieces.copy(&[20]);
        let all: Vec<u8> = (0..=20).collect();
        assert_eq!((pieces.len(), pieces.slices().collect::<Vec<_>>().concat()), (21, all.clone()));
        let lengths: Vec<usize> = pieces.slices().map(<[u8]>::len).collect();
        assert_eq!(lengths, [10, 3, 3, 4, 1], "what lies together is one piece");
        for offset in 0..=21 {
            let slice = pieces.at(offset);
            assert_eq!(slice, &all[offset..offset + slice.len()], "{offset}");
            assert_eq!(slice.is_empty(), offset == 21, "{offset}");
        }
        assert_eq!(pieces.at(22), [0u8; 0]);
        drop((first, second));
        assert!(pieces.memory() > 10 + 10 + 3 + 10, "blocks count whole");
        // One block is in two pieces; the last one of them is alone when it comes. A tail is nobody's batch.
        assert_eq!(pieces.into_memory().map(|memory| memory.len()).collect::<Vec<_>>(), [10, 10]);
    }

    #[test]
    fn a_block_that_somebody_holds_is_not_written_anew() {
        let block = Arc::new(alloc::vec![1, 2, 3]);
        let mut pieces = Pieces::default();
        pieces.share(&block, 0..2);
        assert_eq!(pieces.into_memory().count(), 0);
        assert_eq!(*block, [1, 2, 3]);
    }

    #[test]
    fn copied_bytes_begin_a_new_block_when_there_are_many() {
        let mut pieces = Pieces::default();
        for part in 0..9u8 {
            pieces.copy(&alloc::vec![part; TAIL / 4]);
        }
        let lengths: Vec<usize> = pieces.slices().map(<[u8]>::len).collect();
        assert_eq!(lengths, [TAIL, TAIL, TAIL / 4]);
        assert_eq!(pieces.at(TAIL)[0], 4);
    }
}

//! The input's bytes as choices.

use arbitrary::Unstructured;

/// Takes choices off the front of the input. When the bytes are used up every choice is the first one, so that any
/// input is a whole program.
pub(crate) struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// Whether there is nothing more to choose by.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end.saturating_sub(1)).unwrap_or_default()
    }

    /// One of these.
    pub(crate) fn pick<'b, T>(&mut self, of: &'b [T]) -> &'b T {
        &of[self.below(of.len())]
    }

    pub(crate) fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// A number near this one, or any.
    pub(crate) fn near(&mut self, number: u64) -> u64 {
        match self.byte() {
            0 => number.wrapping_add(1),
            1 => number.wrapping_sub(1),
            2 => 0,
            3 => u64::MAX,
            4 => self.number(),
            more => number.wrapping_add(u64::from(more)),
        }
    }

    pub(crate) fn bytes32(&mut self) -> [u8; 32] {
        self.0.arbitrary().unwrap_or_default()
    }

    /// Up to 255 bytes: the first one says how many.
    pub(crate) fn some(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        self.0.bytes(length).unwrap_or_default()
    }

    /// Up to 64 KiB: the first two bytes say how many.
    pub(crate) fn many(&mut self) -> &'a [u8] {
        let length: u16 = self.0.arbitrary().unwrap_or_default();
        self.0.bytes(usize::from(length).min(self.0.len())).unwrap_or_default()
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.0.bytes(self.0.len()).unwrap_or_default()
    }
}

/// Flips one bit of `bytes`, which are not empty.
pub(crate) fn flip(bytes: &mut [u8], choices: &mut Choices<'_>) {
    let at = choices.below(bytes.len());
    bytes[at] ^= 1 << choices.below(8);
}

//! Where a simulation's choices come from: a seed, or bytes that a fuzzer has chosen.

/// Draws choices. The same source gives the same ones.
///
/// The lowest choice is always the tame one, so that bytes which have run out end every storm.
#[derive(Clone, Debug)]
pub struct Dice {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    Seed(u64),
    Bytes {
        bytes: Vec<u8>,
        at: usize,
    },
}

impl Dice {
    /// Choices by a seed.
    pub const fn seeded(seed: u64) -> Self {
        Self { source: Source::Seed(seed) }
    }

    /// Choices by bytes: few of them are read for each; when they run out all is calm.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { source: Source::Bytes { bytes: bytes.to_vec(), at: 0 } }
    }

    fn word(&mut self, bytes_wanted: usize) -> u64 {
        match &mut self.source {
            Source::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut word = *state;
                word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                word ^ (word >> 31)
            }
            Source::Bytes { bytes, at } => {
                let taken = bytes.iter().skip(*at).take(bytes_wanted);
                let word = taken.fold(0u64, |word, byte| (word << 8) | u64::from(*byte));
                *at = at.saturating_add(bytes_wanted);
                word
            }
        }
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        let bytes = if end <= 256 { 1 } else { 4 };
        self.word(bytes).checked_rem(end).unwrap_or(0)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub fn chance(&mut self, per_mille: u16) -> bool {
        if per_mille == 0 {
            return false;
        }
        match &self.source {
            // A quarter of all bytes say yes, whatever the odds: a fuzzer needs no odds.
            Source::Bytes { .. } => self.word(1) >= 192,
            Source::Seed(_) => self.below(1000) < u64::from(per_mille),
        }
    }

    /// One of some things, of which there is at least one; the first is the tame one.
    ///
    /// # Panics
    /// Of nothing.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        let at = self.below(u64::try_from(things.len()).unwrap_or(u64::MAX));
        let at = usize::try_from(at).unwrap_or(0);
        things.get(at).expect("there is something to pick from")
    }

    /// 32 bytes, for a machine.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&self.word(1).to_be_bytes());
        }
        seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_everything_and_bytes_that_run_out_are_tame() {
        let draw = |mut dice: Dice| (0..100).map(|_| dice.below(1000)).collect::<Vec<_>>();
        assert_eq!(draw(Dice::seeded(7)), draw(Dice::seeded(7)));
        assert_ne!(draw(Dice::seeded(7)), draw(Dice::seeded(8)));
        let mut short = Dice::of_bytes(&[1, 255]);
        assert_eq!((short.below(256), short.chance(1), short.chance(999), short.below(9)), (1, true, false, 0));
    }
}

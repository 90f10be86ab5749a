//! The memory against a plain map, with a file that fails, and what an auditor makes of that.

use std::collections::HashMap;

use super::*;
use crate::audit::case::Seen;

/// Repeatable chance: xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(end).unwrap()
    }
}

fn id(number: u64) -> StatementId {
    let mut id = StatementId([0; 32]);
    // Both ends of the id, so that order and equality need all of it.
    id.0[..8].copy_from_slice(&(number % 7).to_be_bytes());
    id.0[24..].copy_from_slice(&number.to_be_bytes());
    id
}

fn value(dice: &mut Dice) -> Seen {
    let word = |dice: &mut Dice| match dice.below(5) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << 63,
        _ => dice.below(1000),
    };
    let (a, b) = (word(dice), word(dice));
    match dice.below(5) {
        0 => Seen::Other,
        1 => Seen::Invoice { n: a, payments: b },
        2 => Seen::Void { n: a, payments: b },
        3 => Seen::Payment { index: a, invoice: b },
        _ => Seen::End { invoices: a, payments: b },
    }
}

fn keeping(recent_max: usize) -> Memory<Seen> {
    let mut memory = Memory::default();
    memory.keep(recent_max);
    memory
}

fn all(memory: &Memory<Seen>) -> Vec<(StatementId, Seen)> {
    let mut all = vec![];
    memory
        .each(|id, seen| {
            all.push((*id, seen));
            Ok(())
        })
        .unwrap();
    all
}

fn assert_same(memory: &Memory<Seen>, model: &HashMap<StatementId, Seen>) {
    let all = all(memory);
    assert_eq!(all.len(), model.len(), "each once");
    assert!(all.iter().all(|(id, seen)| model.get(id) == Some(seen)));
}

#[test]
fn it_is_a_map_however_little_of_it_is_kept() {
    for (seed, recent_max) in (1..).zip([0, 1, 2, 3, 7, 64, 500, usize::MAX]) {
        let (mut dice, mut memory, mut model) = (Dice(seed), keeping(recent_max), HashMap::new());
        for _ in 0..3000 {
            let id = id(dice.below(800));
            if dice.below(3) == 0 {
                let value = value(&mut dice);
                memory.insert(id, value);
                model.insert(id, value);
                assert!(memory.recent.len() <= recent_max);
            }
            assert_eq!(memory.get(&id), Ok(model.get(&id).copied()), "{recent_max}");
            assert_eq!(memory.contains(&id), Ok(model.contains_key(&id)), "{recent_max}");
        }
        assert_same(&memory, &model);
        // A file is there when it is needed, and not before.
        assert_eq!(memory.spill().is_some(), recent_max < model.len());
    }
}

#[test]
fn a_file_that_cannot_be_made_is_done_without() {
    let mut memory = Memory { file: File::Full(None), ..keeping(1) };
    (0..100).for_each(|number| memory.insert(id(number), Seen::Invoice { n: number, payments: 0 }));
    assert_eq!((memory.recent.len(), all(&memory).len()), (100, 100));
    assert_eq!(memory.get(&id(3)), Ok(Some(Seen::Invoice { n: 3, payments: 0 })));
}

#[cfg(feature = "sqlite")]
mod with_a_file {
    use super::*;

    /// With this many entries in a file.
    fn spilled(count: u64) -> (Memory<Seen>, HashMap<StatementId, Seen>) {
        let (mut memory, mut model) = (keeping(10), HashMap::new());
        for number in 0..count {
            memory.insert(id(number), Seen::Payment { index: number, invoice: 7 });
            model.insert(id(number), Seen::Payment { index: number, invoice: 7 });
        }
        (memory, model)
    }

    fn file(memory: &Memory<Seen>) -> &Spill {
        memory.spill().unwrap()
    }

    #[test]
    fn a_file_that_takes_no_more_keeps_what_it_has() {
        let (mut memory, mut model) = spilled(5000);
        file(&memory).fill();
        for number in 4000..9000 {
            memory.insert(id(number), Seen::Other);
            model.insert(id(number), Seen::Other);
        }
        assert!(matches!(memory.file, File::Full(Some(_))));
        assert!(memory.recent.len() > 100, "what has no room there stays here");
        assert_same(&memory, &model);
        model.iter().for_each(|(id, seen)| assert_eq!(memory.get(id), Ok(Some(*seen))));
        assert_eq!(memory.get(&id(9000)), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_lost_and_not_absent() {
        let (mut memory, _) = spilled(100);
        file(&memory).lose();
        (0..90).for_each(|number| assert!(matches!(memory.get(&id(number)), Err(Lost(why)) if why.contains("kept"))));
        assert_ne!(memory.contains(&id(100)), Ok(true), "it never was there");
        assert!(memory.each(|_, _| Ok(())).is_err());
        // What is still here is not lost.
        memory.insert(id(1), Seen::Other);
        assert_eq!(memory.get(&id(1)), Ok(Some(Seen::Other)));
    }

    #[test]
    fn what_nobody_wrote_is_lost() {
        let (memory, _) = spilled(100);
        file(&memory).garble();
        assert!(memory.get(&id(0)).is_err());
        assert!(memory.each(|_, _| Ok(())).is_err());
    }
}

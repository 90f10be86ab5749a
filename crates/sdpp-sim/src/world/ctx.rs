//! What everything in a world shares: the clock, the choices, the weather, what is to come.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sdpp_proto::time::Timestamp;

use super::call::{Answer, Call, Ticket};
use crate::coverage::Coverage;
use crate::dice::Dice;

/// When every world begins.
pub(crate) const START: Timestamp = Timestamp::from_ms(1_800_000_000_000);

/// Who acts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Party {
    Seller,
    Buyer(usize),
}

/// Names a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LinkId(pub u32);

/// What happens at a time.
#[derive(Debug)]
pub(crate) enum Event {
    /// A party does all that it can do.
    Turn(Party),
    /// A process dies.
    Crash(Party),
    /// A party's journal commits what has gathered.
    Commit(Party, u32),
    /// A call reaches the rail.
    Apply(Ticket, Call),
    /// Its answer comes back.
    Answer(Ticket, Answer),
    /// A process starts, again or for the first time.
    Start(Party),
    /// A buyer dials.
    Dial(usize, u32),
    /// A seller looks after its vouchers.
    Tend(u32),
    /// The ledger starts again.
    LedgerStart,
    /// An idle ledger looks at the clock.
    LedgerTick,
}

/// How much goes wrong, in a thousand.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Weather {
    /// That something happens to links, disks, processes or applications, per step.
    pub(crate) fault: u16,
    /// That a connection is cut after some bytes, per connection.
    pub(crate) cut: u16,
    /// That a call is not applied or not answered.
    pub(crate) call: u16,
    /// The same for what a replica asks of its ledger.
    pub(crate) ledger: u16,
    /// That a chunk on a link is late.
    pub(crate) late: u16,
    /// That an application does what it should not.
    pub(crate) rude: u16,
    /// That a journal answers within the turn that asked, as one whose commits are quick; no fault.
    pub(crate) prompt: u16,
}

impl Weather {
    /// Nothing goes wrong at all.
    pub(crate) const fn is_calm(&self) -> bool {
        self.fault == 0 && self.cut == 0 && self.call == 0 && self.ledger == 0 && self.late == 0 && self.rude == 0
    }
}

/// Shared with services that are asked from within rails.
pub(crate) struct Shared {
    dice: Mutex<Dice>,
    cover: Mutex<Coverage>,
    now_ms: AtomicU64,
    calm: AtomicBool,
    accused: AtomicBool,
    /// Time that rails have waited in calls since somebody asked.
    spent_ms: AtomicU64,
    pub(crate) weather: Weather,
}

impl Shared {
    pub(crate) fn new(dice: Dice, weather: Weather) -> Arc<Self> {
        Arc::new(Self {
            dice: Mutex::new(dice),
            cover: Mutex::new(Coverage::default()),
            now_ms: AtomicU64::new(START.as_ms()),
            calm: AtomicBool::new(false),
            accused: AtomicBool::new(false),
            spent_ms: AtomicU64::new(0),
            weather,
        })
    }

    pub(crate) fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hit(&self, point: &'static str) {
        self.cover.lock().unwrap_or_else(PoisonError::into_inner).hit(point);
    }

    pub(crate) fn coverage(&self) -> MutexGuard<'_, Coverage> {
        self.cover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.now_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Somebody says that the ledger contradicts itself.
    pub(crate) fn accuse(&self) {
        self.accused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_accused(&self) -> bool {
        self.accused.load(Ordering::Relaxed)
    }

    /// A rail has waited for something within a call.
    #[cfg(feature = "evm")]
    pub(crate) fn spend_ms(&self, ms: u64) {
        self.spent_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// What was waited since this was asked last: the answer of a call is late by it.
    pub(crate) fn spent_ms(&self) -> u64 {
        self.spent_ms.swap(0, Ordering::Relaxed)
    }

    pub(crate) fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Whether something bad happens; never once all is calm.
    pub(crate) fn chance(&self, per_mille: u16) -> bool {
        !self.is_calm() && self.dice().chance(per_mille)
    }
}

struct Due(Timestamp, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// The world's clock and diary.
pub(crate) struct Ctx {
    pub(crate) shared: Arc<Shared>,
    queue: BinaryHeap<Reverse<Due>>,
    count: u64,
    turns: BTreeMap<Party, Timestamp>,
    next_link: u32,
    /// Lines about what happens, where somebody wants to read them.
    pub(crate) trace: bool,
}

impl Ctx {
    pub(crate) fn new(shared: Arc<Shared>, trace: bool) -> Self {
        Self { shared, queue: BinaryHeap::new(), count: 0, turns: BTreeMap::new(), next_link: 0, trace }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.now()
    }

    pub(crate) fn hit(&self, point: &'static str) {
        self.shared.hit(point);
    }

    pub(crate) fn below(&self, end: u64) -> u64 {
        self.shared.dice().below(end)
    }

    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            let passed = self.now().since_ms(START);
            tell(&format!("{passed:>8} ms  {}", line()));
        }
    }

    /// Something will happen.
    pub(crate) fn at(&mut self, when: Timestamp, event: Event) {
        self.count += 1;
        self.queue.push(Reverse(Due(when.max(self.now()), self.count, event)));
    }

    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now().after_ms(ms), event);
    }

    /// A party has its turn at this time, or before.
    pub(crate) fn wake(&mut self, party: Party, when: Timestamp) {
        let when = when.max(self.now());
        if self.turns.get(&party).is_none_or(|planned| when < *planned) {
            self.turns.insert(party, when);
            self.at(when, Event::Turn(party));
        }
    }

    /// The next thing, at its time; none behind `until`.
    pub(crate) fn next(&mut self, until: Timestamp) -> Option<Event> {
        loop {
            if self.queue.peek().is_none_or(|Reverse(due)| due.0 > until) {
                return None;
            }
            let Reverse(Due(when, _, event)) = self.queue.pop()?;
            if let Event::Turn(party) = event {
                // A turn that was moved forward has been had.
                if self.turns.get(&party) != Some(&when) {
                    continue;
                }
                self.turns.remove(&party);
            }
            self.shared.now_ms.store(when.as_ms(), Ordering::Relaxed);
            return Some(event);
        }
    }

    pub(crate) fn link_id(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }
}

#[expect(clippy::print_stderr, reason = "a replay is read by a person")]
fn tell(line: &str) {
    eprintln!("{line}");
}

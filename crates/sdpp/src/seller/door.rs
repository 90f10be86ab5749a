//! Who may come in: caps on connections in all, per address, and on those that say nothing.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use sdpp_proto::offence::Reason;

use super::limits::{Limits, counted};
use super::reins::{Reins, Word};
use crate::sync::{Mutex, MutexGuard};

/// Which limit a connection met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    All,
    Address,
    Handshakes,
}

impl Full {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Address => "address",
            Self::Handshakes => "handshakes",
        }
    }
}

#[derive(Default)]
struct Inner {
    next: u64,
    inside: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Connections that have not sent their order, the oldest first.
    silent: BTreeMap<u64, (IpAddr, Arc<Reins>)>,
}

impl Inner {
    /// The oldest silent connection of the address that has most of them.
    fn victim(&self) -> Option<u64> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (address, _) in self.silent.values() {
            let count = counts.entry(*address).or_default();
            *count = count.saturating_add(1);
        }
        let most = counts.values().copied().max()?;
        let crowded = |address: &IpAddr| counts.get(address) == Some(&most);
        self.silent.iter().find(|(_, (address, _))| crowded(address)).map(|(number, _)| *number)
    }
}

/// Counts connections; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Door {
    inner: Arc<Mutex<Inner>>,
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // Nothing panics while it is held.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that is inside, until it is dropped.
pub(crate) struct Ticket {
    door: Door,
    number: u64,
    address: IpAddr,
}

/// A ticket, and whether another connection has to go for it.
type Entered = Result<(Ticket, Option<Full>), Full>;

impl Door {
    /// Lets a connection in; says whether another one has to go for it.
    pub(crate) fn enter(&self, address: IpAddr, reins: &Arc<Reins>, limits: &Limits) -> Entered {
        let mut inner = lock(&self.inner);
        let address = counted(address);
        if inner.inside >= limits.connections {
            return Err(Full::All);
        }
        let here = inner.by_address.get(&address).copied().unwrap_or(0);
        let exempt = limits.loopback_exempt && address.is_loopback();
        if here >= limits.connections_per_address && !exempt {
            return Err(Full::Address);
        }
        inner.inside = inner.inside.saturating_add(1);
        inner.by_address.insert(address, here.saturating_add(1));
        let number = inner.next;
        inner.next = number.saturating_add(1);
        inner.silent.insert(number, (address, reins.clone()));
        let crowded = inner.silent.len() > limits.handshakes;
        let gone = inner.victim().filter(|_| crowded).and_then(|victim| inner.silent.remove(&victim));
        drop(inner);
        if let Some((_, reins)) = &gone {
            reins.say(Word::Stop(Reason::Busy));
        }
        Ok((Ticket { door: self.clone(), number, address }, gone.map(|_| Full::Handshakes)))
    }

    /// Connections inside, and those of them that have not sent their order.
    pub(crate) fn count(&self) -> (usize, usize) {
        let inner = lock(&self.inner);
        (inner.inside, inner.silent.len())
    }
}

impl Ticket {
    /// The order is here: the connection is no longer one of those that say nothing.
    pub(crate) fn spoke(&self) {
        lock(&self.door.inner).silent.remove(&self.number);
    }
}

/// What is left of a connection that ended by an offence: one of its address, until it is dropped.
pub(crate) struct Penalty {
    door: Door,
    address: IpAddr,
}

impl Ticket {
    /// Leaves, and counts on for its address. Others have its place at once.
    pub(crate) fn penalty(&self) -> Penalty {
        let mut inner = lock(&self.door.inner);
        let here = inner.by_address.get(&self.address).copied().unwrap_or(0);
        inner.by_address.insert(self.address, here.saturating_add(1));
        drop(inner);
        Penalty { door: self.door.clone(), address: self.address }
    }
}

impl Inner {
    fn leaves(&mut self, address: IpAddr) {
        let left = self.by_address.get(&address).copied().unwrap_or(0).saturating_sub(1);
        if left == 0 {
            self.by_address.remove(&address);
        } else {
            self.by_address.insert(address, left);
        }
    }
}

impl Drop for Penalty {
    fn drop(&mut self) {
        lock(&self.door.inner).leaves(self.address);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = lock(&self.door.inner);
        inner.silent.remove(&self.number);
        inner.inside = inner.inside.saturating_sub(1);
        inner.leaves(self.address);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::sync::once;

    fn limits() -> Limits {
        Limits { connections: 6, connections_per_address: 4, handshakes: 5, ..Limits::default() }
    }

    fn at(host: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, host])
    }

    fn enter(door: &Door, address: IpAddr) -> (Entered, Arc<Reins>) {
        let reins = Arc::new(Reins::default());
        (door.enter(address, &reins, &limits()), reins)
    }

    #[test]
    fn connections_are_capped_in_all_and_per_address() {
        once(|| {
            let door = Door::default();
            let mut inside: Vec<_> = (0..4).map(|_| enter(&door, at(1)).0.unwrap()).collect();
            assert_eq!(enter(&door, at(1)).0.err(), Some(Full::Address));
            inside.extend((2..4).map(|host| enter(&door, at(host)).0.unwrap()));
            assert_eq!(enter(&door, at(9)).0.err(), Some(Full::All));
            assert_eq!(door.count().0, 6);
            inside.remove(0);
            assert!(enter(&door, at(9)).0.is_ok(), "who leaves makes room");
            inside.clear();
            assert_eq!(door.count(), (0, 0));
        });
    }

    #[test]
    fn an_offence_counts_on_for_its_address_and_for_no_other() {
        once(|| {
            let door = Door::default();
            let penalties: Vec<_> = (0..4).map(|_| enter(&door, at(1)).0.unwrap().0.penalty()).collect();
            assert_eq!(door.count(), (0, 0), "the places are free");
            assert_eq!(enter(&door, at(1)).0.err(), Some(Full::Address));
            assert!(enter(&door, at(2)).0.is_ok());
            drop(penalties);
            assert!(enter(&door, at(1)).0.is_ok());
        });
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_this_machine_may_be_left_out() {
        once(|| {
            let door = Door::default();
            let six = |tail: u16| IpAddr::from([0x2001, 0xdb8, 1, 2, tail, 0, 0, tail]);
            let _inside: Vec<_> = (0..4).map(|tail| enter(&door, six(tail)).0.unwrap()).collect();
            assert_eq!(enter(&door, six(7)).0.err(), Some(Full::Address));
            let door = Door::default();
            let _inside: Vec<_> = (0..6).map(|_| enter(&door, IpAddr::from([127, 0, 0, 1])).0.unwrap()).collect();
            let strict = Limits { loopback_exempt: false, ..limits() };
            let refused = Door::default();
            let reins = Arc::new(Reins::default());
            let _inside: Vec<_> =
                (0..4).map(|_| refused.enter(IpAddr::from([127, 0, 0, 1]), &reins, &strict).unwrap()).collect();
            let mapped = "::ffff:127.0.0.1".parse().unwrap();
            assert_eq!(refused.enter(mapped, &reins, &strict).err(), Some(Full::Address), "the same machine");
        });
    }

    #[test]
    fn the_silent_keep_out_only_their_own() {
        once(|| {
            let door = Door::default();
            let crowd: Vec<_> = (0..4).map(|_| enter(&door, at(1))).collect();
            let (honest, honest_reins) = enter(&door, at(2));
            let (newest, newest_reins) = enter(&door, at(3));
            let (honest, newest) = (honest.unwrap(), newest.unwrap());
            assert_eq!((honest.1, newest.1), (None, Some(Full::Handshakes)));
            let heard = |reins: &Reins| reins.hear().now_or_never();
            let told: Vec<_> = crowd.iter().map(|(_, reins)| heard(reins)).collect();
            assert_eq!(told, [Some(Word::Stop(Reason::Busy)), None, None, None], "the oldest of the crowd");
            assert_eq!((heard(&honest_reins), heard(&newest_reins)), (None, None));
            assert_eq!(door.count(), (6, 5));
            honest.0.spoke();
            assert_eq!(door.count(), (6, 4), "who sent an order is not silent");
        });
    }
}

//! Who may come in: connections and requests counted by address.
//!
//! Requests are limited by the time at which an address would have used up what it may (GCRA): one
//! number for each address, and no timer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::limits::{ADDRESSES_MAX, FORGET_EVERY_MS, Limits, Rate};

const US_PER_S: u64 = 1_000_000;

#[derive(Clone, Copy, Default)]
struct Visitor {
    connections: usize,
    /// From then on it has its full burst again.
    rested_us: u64,
}

#[derive(Default)]
struct Book {
    visitors: HashMap<IpAddr, Visitor>,
    connections: usize,
    swept_us: u64,
}

/// All visitors of one server.
pub(super) struct Visitors {
    limits: Limits,
    exempt: Vec<IpAddr>,
    since: Instant,
    book: Mutex<Book>,
}

/// A counted connection, until it is dropped.
pub(super) struct Visit {
    visitors: Arc<Visitors>,
    address: IpAddr,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visitors.leave(self.address);
    }
}

/// Who asks, as it is counted: goes with a request.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// What is counted as one: an IPv6 network of 64 bits belongs to one customer.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

impl Visitors {
    pub(super) fn new(limits: Limits, exempt: Vec<IpAddr>) -> Self {
        let exempt = exempt.iter().map(IpAddr::to_canonical).collect();
        Self { limits, exempt, since: Instant::now(), book: Mutex::default() }
    }

    /// Lets a connection in, or not.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Visit> {
        let key = counted(address);
        let now_us = self.now_us();
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.connections >= self.limits.connections_max {
            return None;
        }
        let per_address = if self.is_exempt(address) { usize::MAX } else { self.limits.connections_per_address_max };
        let visitor = book.visitor(key, now_us)?;
        if visitor.connections >= per_address {
            return None;
        }
        visitor.connections = visitor.connections.saturating_add(1);
        book.connections = book.connections.saturating_add(1);
        Some(Visit { visitors: self.clone(), address: key })
    }

    /// Takes a request.
    ///
    /// # Errors
    /// Seconds to wait.
    pub(super) fn ask(&self, address: IpAddr) -> Result<(), u64> {
        match self.limits.rate {
            Some(rate) if !self.is_exempt(address) => {
                let now_us = self.now_us();
                let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
                book.visitor(counted(address), now_us).ok_or(1_u64)?.ask(rate, now_us)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn leave(&self, key: IpAddr) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.connections = book.connections.saturating_sub(1);
        if let Some(visitor) = book.visitors.get_mut(&key) {
            visitor.connections = visitor.connections.saturating_sub(1);
        }
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.contains(&address.to_canonical())
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Book {
    /// The entry of an address; none if there are too many.
    fn visitor(&mut self, key: IpAddr, now_us: u64) -> Option<&mut Visitor> {
        let full = self.visitors.len() >= ADDRESSES_MAX;
        if full && !self.visitors.contains_key(&key) {
            // Seldom, so that a crowd of addresses does not buy a search with each request.
            if now_us.saturating_sub(self.swept_us) < FORGET_EVERY_MS.saturating_mul(1000) {
                return None;
            }
            self.swept_us = now_us;
            self.visitors.retain(|_, visitor| visitor.connections > 0 || visitor.rested_us > now_us);
            if self.visitors.len() >= ADDRESSES_MAX {
                return None;
            }
        }
        Some(self.visitors.entry(key).or_default())
    }
}

impl Visitor {
    fn ask(&mut self, rate: Rate, now_us: u64) -> Result<(), u64> {
        let each_us = US_PER_S.checked_div(u64::from(rate.per_second.max(1))).unwrap_or(US_PER_S).max(1);
        let burst_us = each_us.saturating_mul(u64::from(rate.burst.max(1)));
        let rested_us = self.rested_us.max(now_us).saturating_add(each_us);
        let over_us = rested_us.saturating_sub(now_us).saturating_sub(burst_us);
        if over_us > 0 {
            return Err(over_us.div_ceil(US_PER_S));
        }
        self.rested_us = rested_us;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_steady_rate() {
        let rate = Rate { per_second: 10, burst: 3 };
        let mut visitor = Visitor::default();
        for _ in 0..3 {
            assert_eq!(visitor.ask(rate, 0), Ok(()));
        }
        assert_eq!(visitor.ask(rate, 0), Err(1));
        assert_eq!(visitor.ask(rate, 99_999), Err(1));
        assert_eq!(visitor.ask(rate, 100_000), Ok(()));
        assert_eq!(visitor.ask(rate, 100_000), Err(1));
        for _ in 0..3 {
            assert_eq!(visitor.ask(rate, 10_000_000), Ok(()), "a pause gives the burst back, and no more");
        }
        assert_eq!(visitor.ask(rate, 10_000_000), Err(1));
        let slow = Rate { per_second: 0, burst: 0 };
        let mut visitor = Visitor::default();
        assert_eq!(visitor.ask(slow, 0), Ok(()));
        assert_eq!(visitor.ask(slow, 0), Err(1));
    }

    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let limits = Limits { connections_max: 3, connections_per_address_max: 2, ..Limits::default() };
        let visitors = Arc::new(Visitors::new(limits, Vec::new()));
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = visitors.enter(a).unwrap();
        let _second = visitors.enter(a).unwrap();
        assert!(visitors.enter(a).is_none());
        let _third = visitors.enter(b).unwrap();
        assert!(visitors.enter(b).is_none());
        drop(first);
        assert!(visitors.enter(b).is_some());
    }

    #[test]
    fn neighbours_in_one_network_count_as_one() {
        let address = |text: &str| counted(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }

    #[test]
    fn the_book_of_addresses_is_bounded() {
        let mut book = Book::default();
        let late = FORGET_EVERY_MS * 1000;
        for number in 0..u32::try_from(ADDRESSES_MAX).unwrap() {
            let address = IpAddr::from(number.to_be_bytes());
            book.visitor(address, 0).unwrap().rested_us = late + u64::from(number);
        }
        let new = IpAddr::from([255; 4]);
        assert!(book.visitor(new, late - 1).is_none());
        assert!(book.visitor(IpAddr::from([0; 4]), late - 1).is_some(), "a known one is still known");
        assert!(book.visitor(new, late).is_some(), "the first one is rested and forgotten");
        assert_eq!(book.visitors.len(), ADDRESSES_MAX);
    }
}

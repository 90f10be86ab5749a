//! Credit: "K messages, then pay" as flow control whose window updates are payments
//! (`spec/protocol.md` §7). The rule lives in this one type, so a seller cannot overrun it.

use crate::money::{Amount, Price, Unit};

/// What an order may owe, and how much of that is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credit {
    price: Price,
    /// Most that may be owed at any time.
    exposure_max: Amount,
    /// Most that may ever be due: the order's limit or the locked deposit.
    ceiling: Amount,
    /// Cumulative units sent: messages, bytes or milliseconds.
    units: u64,
    /// Cumulative amount paid.
    paid: Amount,
    windows: Windows,
}

/// Outstanding windows, and the ramp of a new buyer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Windows {
    k: u32,
    allowed: u32,
    started: u64,
    paid: u64,
    ramp: bool,
}

/// Terms of a credit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreditTerms {
    /// The product's price.
    pub price: Price,
    /// Most that may be owed at any time.
    pub exposure_max: Amount,
    /// Most that may ever be due.
    pub ceiling: Amount,
    /// Messages per window.
    pub k: u32,
    /// Outstanding windows.
    pub windows: u32,
    /// Whether the buyer is new: windows double from one message, one at a time.
    pub ramp: bool,
}

/// A booking that would break the credit: the caller has a bug, nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overdrawn;

impl Credit {
    /// A fresh credit.
    pub const fn new(terms: &CreditTerms) -> Self {
        Self {
            price: terms.price,
            exposure_max: terms.exposure_max,
            ceiling: terms.ceiling,
            units: 0,
            paid: Amount::ZERO,
            windows: Windows { k: terms.k, allowed: terms.windows, started: 0, paid: 0, ramp: terms.ramp },
        }
    }

    /// Takes the terms of a later connection. The ramp, once over, stays over.
    pub(crate) const fn renew(&mut self, exposure_max: Amount, ceiling: Amount, windows: u32) {
        self.exposure_max = exposure_max;
        self.ceiling = ceiling;
        self.windows.allowed = windows;
    }

    /// Says whether the buyer is on the ramp.
    pub(crate) const fn set_ramp(&mut self, ramp: bool) {
        self.windows.ramp = ramp;
    }

    /// Whether the buyer is on the ramp.
    pub const fn ramp(&self) -> bool {
        self.windows.ramp
    }

    /// Sets the cumulative units: after a restart, or when messages were forgiven.
    pub(crate) const fn set_units(&mut self, units: u64) {
        self.units = units;
    }

    /// Counts windows that a journal knows.
    pub(crate) const fn add_windows(&mut self, windows: u64) {
        self.windows.started = self.windows.started.saturating_add(windows);
    }

    /// Cumulative units sent.
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// Cumulative amount due for what was sent. An amount that no longer fits counts as the largest.
    pub fn due(&self) -> Amount {
        self.price.due(self.units).unwrap_or(Amount::MAX)
    }

    /// Cumulative amount paid.
    pub const fn paid(&self) -> Amount {
        self.paid
    }

    /// What is owed now.
    pub fn owed(&self) -> Amount {
        self.due().saturating_sub(self.paid)
    }

    /// Most that may be owed.
    pub const fn exposure_max(&self) -> Amount {
        self.exposure_max
    }

    fn budget(&self) -> Amount {
        self.paid.checked_add(self.exposure_max).unwrap_or(Amount::MAX).min(self.ceiling)
    }

    /// How many further units may be sent before a payment: nothing once the exposure, the order's
    /// limit or the deposit is used up.
    pub fn allowance(&self) -> u64 {
        self.price.affordable(self.budget()).saturating_sub(self.units)
    }

    /// Whether no payment can ever make room for `units` more: the limit or the deposit ends here.
    pub fn is_exhausted(&self, units: u64) -> bool {
        let after = self.units.saturating_add(units);
        self.price.affordable(self.ceiling) < after
            || (self.paid >= self.due() && self.price.affordable(self.budget()) < after)
    }

    /// Books units as sent.
    ///
    /// # Errors
    /// [`Overdrawn`] if they exceed [`allowance`](Self::allowance).
    pub fn spend(&mut self, units: u64) -> Result<(), Overdrawn> {
        if units > self.allowance() {
            return Err(Overdrawn);
        }
        self.units = self.units.checked_add(units).ok_or(Overdrawn)?;
        Ok(())
    }

    /// Books a cumulative payment and the windows it pays for. A lower total changes nothing.
    /// `full` says whether one of these windows had all K messages: that ends the ramp.
    pub fn grant(&mut self, total: Amount, windows: u64, full: bool) {
        self.paid = self.paid.max(total);
        self.windows.paid = self.windows.paid.saturating_add(windows);
        if full {
            self.windows.ramp = false;
        }
    }

    /// Whether another window may start.
    pub const fn may_start_window(&self) -> bool {
        let allowed = if self.windows.ramp { 1 } else { self.windows.allowed };
        self.outstanding_windows() < allowed as u64
    }

    /// Windows started and not paid.
    pub const fn outstanding_windows(&self) -> u64 {
        self.windows.started.saturating_sub(self.windows.paid)
    }

    /// Windows that may be outstanding now.
    pub const fn windows_allowed(&self) -> u32 {
        if self.windows.ramp { 1 } else { self.windows.allowed }
    }

    /// Starts a window; gives how many messages it takes: `min(K, 2^n)` for a new buyer, else K.
    pub fn start_window(&mut self) -> u32 {
        let n = self.windows.started;
        self.windows.started = n.saturating_add(1);
        match (self.windows.ramp, u32::try_from(n).ok().and_then(|n| 1u32.checked_shl(n))) {
            (true, Some(size)) => size.min(self.windows.k),
            (true, None) | (false, _) => self.windows.k,
        }
    }

    /// Forgets windows that will never be invoiced (forgiven messages).
    pub(crate) const fn drop_windows(&mut self, windows: u64) {
        self.windows.started = self.windows.started.saturating_sub(windows);
    }

    /// Units of a message.
    pub const fn units_of(&self, messages: u64, bytes: u64) -> u64 {
        match self.price.unit {
            Unit::Message => messages,
            Unit::Byte => bytes,
            Unit::Second => 0,
        }
    }

    /// What the price counts.
    pub const fn unit(&self) -> Unit {
        self.price.unit
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

    fn terms(amount: u128, per: u64, exposure: u128, ceiling: u128) -> CreditTerms {
        CreditTerms {
            price: Price { unit: Unit::Message, amount: Amount::new(amount), per },
            exposure_max: Amount::new(exposure),
            ceiling: Amount::new(ceiling),
            k: 100,
            windows: 4,
            ramp: true,
        }
    }

    #[test]
    fn nothing_is_sent_beyond_the_exposure_and_payments_make_room() {
        let mut credit = Credit::new(&terms(3, 1, 10, 1000));
        assert_eq!(credit.allowance(), 3);
        assert_eq!(credit.spend(4), Err(Overdrawn));
        assert_eq!(credit.spend(3), Ok(()));
        assert_eq!((credit.allowance(), credit.owed()), (0, Amount::new(9)));
        credit.grant(Amount::new(9), 1, false);
        assert_eq!((credit.allowance(), credit.owed()), (3, Amount::ZERO));
        credit.grant(Amount::new(8), 0, false);
        assert_eq!(credit.paid(), Amount::new(9), "a lower total changes nothing");
    }

    #[test]
    fn the_ceiling_ends_the_sale() {
        let mut credit = Credit::new(&terms(3, 1, 10, 10));
        assert!(!credit.is_exhausted(3));
        assert!(credit.is_exhausted(4));
        credit.spend(3).unwrap();
        credit.grant(Amount::new(9), 1, false);
        assert_eq!(credit.allowance(), 0);
        assert!(credit.is_exhausted(1));
    }

    #[test]
    fn a_sale_ends_where_not_even_a_payment_makes_room() {
        assert!(Credit::new(&terms(5, 1, 4, 1000)).is_exhausted(1), "one unit costs more than may be owed");
        let mut credit = Credit::new(&terms(3, 1, 4, 1000));
        assert_eq!(credit.exposure_max(), Amount::new(4));
        assert_eq!((credit.is_exhausted(1), credit.is_exhausted(2)), (false, true));
        credit.spend(1).unwrap();
        assert!(!credit.is_exhausted(1), "a payment makes room");
        credit.grant(Amount::new(3), 1, false);
        assert_eq!((credit.is_exhausted(1), credit.is_exhausted(2)), (false, true));
    }

    #[test]
    fn a_new_buyer_starts_with_one_message_and_doubles() {
        let mut credit = Credit::new(&terms(1, 1, 1000, 100_000));
        let mut sizes = alloc::vec::Vec::new();
        for n in 0..10u32 {
            assert!(credit.may_start_window());
            let size = credit.start_window();
            sizes.push(size);
            assert_eq!(credit.may_start_window(), n > 7, "window {n}");
            assert_eq!(credit.windows_allowed(), if n > 7 { 4 } else { 1 });
            if n < 8 {
                credit.grant(Amount::ZERO, 1, size == 100);
            }
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64, 100, 100, 100]);
        assert_eq!(credit.outstanding_windows(), 2);
    }
}

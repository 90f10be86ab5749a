//! Money: checked integers with an asset, and prices as rationals (`spec/protocol.md` §7).
//!
//! No floating point touches money, and nothing here wraps: an overflow is an answer (`None`).

use alloc::string::String;
use core::fmt;

use minicbor::{Decode, Encode};

/// An amount in base units of an asset that the context names (order, option, channel).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount that the wire carries.
    pub const MAX: Self = Self(u128::MAX);

    /// So many base units.
    pub const fn new(units: u128) -> Self {
        Self(units)
    }

    /// Base units.
    pub const fn get(self) -> u128 {
        self.0
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Sum, or `None` above the largest amount.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Difference, or `None` below zero.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// Difference, or nothing where `other` is larger. For displays and bounds, never for a booking.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Product, or `None` above the largest amount.
    #[must_use]
    pub const fn checked_mul(self, times: u64) -> Option<Self> {
        // A u64 always fits a u128.
        match self.0.checked_mul(times as u128) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Names what an amount counts, for example `usd-cent@z6Mk…`: the issuer's key is part of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct AssetId(#[n(0)] pub String);

impl AssetId {
    /// The asset of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a unit of it is called: the symbol of `SYMBOL@ISSUER`; of a name by CAIP-19 `wei` for a chain's own coin, `nano` for IOTA's, and
    /// the first digits of a token's address. For people: two assets may have one.
    pub fn unit(&self) -> &str {
        const TOKEN_DIGITS: usize = 10;
        let name = self.as_str();
        if name.starts_with("iota:") && name.ends_with("/slip44:4218") {
            return "nano";
        }
        let kind = name.strip_prefix("eip155:").and_then(|rest| rest.split_once('/')).map(|(_, kind)| kind);
        match kind.map(|kind| kind.strip_prefix("erc20:")) {
            None => name.split('@').next().unwrap_or_default(),
            Some(None) => "wei",
            Some(Some(token)) => token.get(..TOKEN_DIGITS).unwrap_or(token),
        }
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An amount together with its asset: what APIs above the wire speak.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Money {
    /// What is counted.
    pub asset: AssetId,
    /// How much of it.
    pub amount: Amount,
}

impl Money {
    /// Sum of two amounts of one asset; `None` on another asset or an overflow.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        if self.asset != other.asset {
            return None;
        }
        Some(Self { asset: self.asset.clone(), amount: self.amount.checked_add(other.amount)? })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.asset)
    }
}

/// What a price counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Unit {
    /// Messages, whatever their size.
    #[n(0)]
    Message,
    /// Payload bytes of messages, their headers not counted.
    #[n(1)]
    Byte,
    /// Seconds of service; units are counted in milliseconds.
    #[n(2)]
    Second,
}

/// A price: `amount` base units for every `per` messages, bytes or seconds.
///
/// What is owed for a cumulative count is `ceil(units × amount / per)`, so that coarse currencies
/// carry tiny prices without drift.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Price {
    /// What is counted.
    pub unit: Unit,
    /// Base units of the option's asset.
    pub amount: Amount,
    /// Number of messages, bytes or seconds that `amount` buys; never zero.
    pub per: u64,
}

impl Price {
    /// So many base units for every message.
    pub const fn per_message(amount: u128) -> Self {
        Self { unit: Unit::Message, amount: Amount::new(amount), per: 1 }
    }

    /// Divisor in counted units: seconds are counted in milliseconds.
    fn divisor(&self) -> u128 {
        let scale: u128 = match self.unit {
            Unit::Second => 1000,
            Unit::Message | Unit::Byte => 1,
        };
        u128::from(self.per).saturating_mul(scale)
    }

    /// What `units` cost in all (messages, bytes or milliseconds), or `None` on an overflow or a
    /// price `per` nothing.
    #[must_use]
    pub fn due(&self, units: u64) -> Option<Amount> {
        let product = self.amount.get().checked_mul(u128::from(units))?;
        let divisor = self.divisor();
        let whole = product.checked_div(divisor)?;
        let rest = product.checked_rem(divisor)?;
        whole.checked_add(u128::from(rest != 0)).map(Amount)
    }

    /// The largest cumulative number of units whose [`due`](Self::due) is within `budget`.
    /// The inverse of `due`: `due(n) <= budget` and `due(n + 1) > budget` (or overflows).
    #[must_use]
    pub fn affordable(&self, budget: Amount) -> u64 {
        if self.amount.is_zero() {
            return u64::MAX;
        }
        let exact = budget.get().checked_mul(self.divisor()).and_then(|product| product.checked_div(self.amount.get()));
        match exact {
            Some(units) => self.representable(u64::try_from(units).unwrap_or(u64::MAX)),
            None => self.search(budget),
        }
    }

    /// Lowers a count until its price can be written down at all.
    fn representable(&self, units: u64) -> u64 {
        if self.due(units).is_some() { units } else { self.search(Amount::MAX) }
    }

    /// The same by bisection, where the product needs more than 128 bits.
    fn search(&self, budget: Amount) -> u64 {
        let fits = |units: u64| self.due(units).is_some_and(|due| due <= budget);
        let (mut low, mut high) = (0u64, u64::MAX);
        while low < high {
            // Rounds up, so that the loop ends; the sum cannot overflow because low < high.
            let step = high.saturating_sub(low).saturating_add(1) / 2;
            let middle = low.saturating_add(step.max(1));
            if fits(middle) {
                low = middle;
            } else {
                high = middle.saturating_sub(1);
            }
        }
        low
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Message => "message",
            Unit::Byte => "byte",
            Unit::Second => "second",
        };
        match self.per {
            1 => write!(f, "{} per {unit}", self.amount),
            per => write!(f, "{} per {per} {unit}s", self.amount),
        }
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

    fn price(amount: u128, per: u64) -> Price {
        Price { unit: Unit::Message, amount: Amount::new(amount), per }
    }

    #[test]
    fn due_rounds_up_on_the_cumulative_count() {
        let p = price(3, 1000);
        let due: alloc::vec::Vec<u128> =
            [0, 1, 10, 333, 334, 1000, 1001].iter().map(|n| p.due(*n).unwrap().get()).collect();
        assert_eq!(due, [0, 1, 1, 1, 2, 3, 4]);
    }

    #[test]
    fn affordable_is_the_inverse_of_due() {
        let prices = [(3, 1000), (1, 1), (7, 3), (1000, 7), (u128::MAX / 3, 2), (u128::MAX, 1), (1 << 70, 1 << 40)];
        let budgets = [0, 1, 2, 3, 999, 1 << 64, u128::MAX / 2, u128::MAX - 1, u128::MAX];
        for (amount, per) in prices {
            for budget in budgets {
                let (p, budget) = (price(amount, per), Amount::new(budget));
                let n = p.affordable(budget);
                assert!(p.due(n).unwrap() <= budget, "{p:?} {budget} {n}");
                if n < u64::MAX {
                    assert!(p.due(n + 1).is_none_or(|due| due > budget), "{p:?} {budget} {n}");
                }
            }
        }
    }

    #[test]
    fn the_edge_of_128_bits_is_an_answer_not_a_wrap() {
        assert_eq!(price(u128::MAX, 1).due(2), None);
        assert_eq!(price(u128::MAX, 1).due(1), Some(Amount::MAX));
        assert_eq!(Amount::MAX.checked_add(Amount::new(1)), None);
        assert_eq!(Amount::ZERO.checked_sub(Amount::new(1)), None);
        assert_eq!(price(1, 0).due(1), None);
    }

    #[test]
    fn seconds_are_counted_in_milliseconds() {
        let p = Price { unit: Unit::Second, amount: Amount::new(5), per: 60 };
        assert_eq!(p.due(60_000), Some(Amount::new(5)));
        assert_eq!(p.due(60_001), Some(Amount::new(6)));
        assert_eq!(p.affordable(Amount::new(5)), 60_000);
    }

    #[test]
    fn a_free_price_costs_nothing() {
        assert_eq!(price(0, 1).due(u64::MAX), Some(Amount::ZERO));
        assert_eq!(price(0, 1).affordable(Amount::ZERO), u64::MAX);
    }

    #[test]
    fn an_asset_is_its_name() {
        assert_eq!(AssetId::new("usd-cent@z6Mk").as_str(), "usd-cent@z6Mk");
    }

    #[test]
    fn other_assets_do_not_add() {
        let money = |asset: &str| Money { asset: AssetId::new(asset), amount: Amount::new(1) };
        assert_eq!(money("a").checked_add(&money("b")), None);
        assert_eq!(money("a").checked_add(&money("a")).unwrap().amount, Amount::new(2));
    }
}

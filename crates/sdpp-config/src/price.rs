//! Prices as people write them: `3/1000`, `1/1MB`, `5/1h`.

use std::fmt;
use std::str::FromStr;

use sdpp_proto::money::{Price, Unit};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::AskedAmount;

/// What a price counts, by the name people use: unit and how many of it.
const NAMES: &[(&str, Unit, u64)] = &[
    ("", Unit::Message, 1),
    ("msg", Unit::Message, 1),
    ("messages", Unit::Message, 1),
    ("B", Unit::Byte, 1),
    ("kB", Unit::Byte, 1_000),
    ("MB", Unit::Byte, 1_000_000),
    ("GB", Unit::Byte, 1_000_000_000),
    ("s", Unit::Second, 1),
    ("m", Unit::Second, 60),
    ("h", Unit::Second, 3_600),
    ("d", Unit::Second, 86_400),
];

/// A price of the command line or a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AskedPrice {
    /// The price.
    pub price: Price,
    /// The money that it was named in. None: whatever is paid in.
    pub coin: Option<&'static str>,
}

impl AskedPrice {
    /// What is asked for so many units.
    pub const fn amount(&self) -> AskedAmount {
        AskedAmount { amount: self.price.amount, coin: self.coin }
    }
}

impl FromStr for AskedPrice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is not a price: write AMOUNT/MESSAGES like 3/1000 or 0.001IOTA/1, or AMOUNT per bytes or time like 1/1MB, 5/1h"
            )
        };
        let (amount, per) = text.split_once('/').unwrap_or((text, "1"));
        let digits = per.find(|c: char| !c.is_ascii_digit()).unwrap_or(per.len());
        let (number, name) = per.split_at_checked(digits).ok_or_else(wrong)?;
        let (_, unit, each) = NAMES.iter().find(|(known, ..)| *known == name).ok_or_else(wrong)?;
        let AskedAmount { amount, coin } = amount.parse().map_err(|_| wrong())?;
        let number: u64 = if number.is_empty() { 1 } else { number.parse().map_err(|_| wrong())? };
        let per = number.checked_mul(*each).filter(|per| *per > 0).ok_or_else(wrong)?;
        Ok(Self { price: Price { unit: *unit, amount, per }, coin })
    }
}

impl<'de> Deserialize<'de> for AskedPrice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for AskedPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.price.unit {
            Unit::Message => "",
            Unit::Byte => "B",
            Unit::Second => "s",
        };
        write!(f, "{}/{}{unit}", self.amount(), self.price.per)
    }
}

/// A price with the name of its money: `3 uUSD per 1000 messages`.
#[must_use]
pub fn told(price: &Price, unit: &str) -> String {
    let what = match price.unit {
        Unit::Message => "message",
        Unit::Byte => "byte",
        Unit::Second => "second",
    };
    match price.per {
        1 => format!("{} {unit} per {what}", price.amount),
        per => format!("{} {unit} per {per} {what}s", price.amount),
    }
}

#[cfg(test)]
mod tests {
    use sdpp_proto::money::Amount;

    use super::*;

    #[test]
    fn prices_are_read_as_people_write_them() {
        assert_eq!(told(&"3/1000".parse::<AskedPrice>().unwrap().price, "uUSD"), "3 uUSD per 1000 messages");
        let price =
            |unit, amount, per| Ok(AskedPrice { price: Price { unit, amount: Amount::new(amount), per }, coin: None });
        assert_eq!("3/1000".parse(), price(Unit::Message, 3, 1000));
        assert_eq!("25".parse(), price(Unit::Message, 25, 1));
        assert_eq!("1/1MB".parse(), price(Unit::Byte, 1, 1_000_000));
        assert_eq!("5/h".parse(), price(Unit::Second, 5, 3600));
        assert_eq!("0/1".parse(), price(Unit::Message, 0, 1));
        let named = AskedPrice { price: Price::per_message(1_000_000), coin: Some("IOTA") };
        assert_eq!("0.001IOTA/1".parse(), Ok(named));
        for text in ["3/1000", "1/1000000B", "5/3600s", "0.001IOTA/1", "2USDC/1000000B"] {
            assert_eq!(text.parse::<AskedPrice>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "/",
            "3/0",
            "-1/2",
            "+1/2",
            "1.5",
            "3/1000x",
            "a/b",
            "0.0000000001IOTA/1",
            "1DOGE/1",
            "1/99999999999999999999",
            "9999999999999999999999999999999999999999",
        ] {
            assert!(bad.parse::<AskedPrice>().is_err(), "{bad}");
        }
    }
}

//! Amounts as people write them: a whole number of the smallest units, or `0.5IOTA`.

use std::fmt;
use std::str::FromStr;

use sdpp_proto::money::Amount;

/// Money that people count in something larger than its smallest unit: its name, and how many decimals it has.
const COINS: [(&str, u32); 5] = [("IOTA", 9), ("USDC", 6), ("ETH", 18), ("POL", 18), ("xDAI", 18)];

/// An amount of the command line or a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AskedAmount {
    /// In smallest units.
    pub amount: Amount,
    /// The money that it was named in. None: whatever is paid in.
    pub coin: Option<&'static str>,
}

impl AskedAmount {
    /// Whether it is of this money, which people call so; of what has no name, no named amount is.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn check(&self, paid_in: Option<&str>, unit: &str) -> Result<(), String> {
        match self.coin {
            Some(coin) if paid_in != Some(coin) => {
                Err(format!("{self} is in {coin}, and what is paid in is counted in {unit}: write how many {unit}"))
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for AskedAmount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is not an amount: write a whole number of the smallest units, or one like 0.5IOTA");
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, name) = text.split_at_checked(end).ok_or_else(wrong)?;
        let name = name.trim_start();
        let coin = COINS.iter().find(|(known, _)| *known == name);
        if coin.is_none() && !name.is_empty() {
            return Err(wrong());
        }
        let decimals = coin.map_or(0, |(_, decimals)| *decimals);
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || rest.is_empty() || rest.contains('.') || (decimals == 0 && number.contains('.')) {
            return Err(wrong());
        }
        let places = u32::try_from(rest.len()).map_err(|_| wrong())?;
        let places = if number.contains('.') { places } else { 0 };
        let missing = decimals
            .checked_sub(places)
            .ok_or_else(|| format!("'{text}' is less than the smallest unit: {name} has {decimals} decimals"))?;
        let rest: u128 = rest.parse().map_err(|_| wrong())?;
        let whole: u128 = whole.parse().map_err(|_| wrong())?;
        let units = 10u128.checked_pow(decimals).and_then(|one| whole.checked_mul(one));
        let rest = 10u128.checked_pow(missing).and_then(|one| rest.checked_mul(one));
        let amount = units.zip(rest).and_then(|(units, rest)| units.checked_add(rest)).ok_or_else(wrong)?;
        Ok(Self { amount: Amount::new(amount), coin: coin.map(|(name, _)| *name) })
    }
}

impl fmt::Display for AskedAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coin = self.coin.and_then(|name| COINS.iter().find(|(known, _)| *known == name));
        let Some((name, decimals)) = coin else { return self.amount.fmt(f) };
        let width = usize::try_from(*decimals).unwrap_or(0);
        let digits = format!("{:0>width$}", self.amount.get(), width = width.saturating_add(1));
        let (whole, rest) = digits.split_at(digits.len().saturating_sub(width));
        match rest.trim_end_matches('0') {
            "" => write!(f, "{whole}{name}"),
            rest => write!(f, "{whole}.{rest}{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_the_money_that_they_name() {
        let read = |text: &str| text.parse::<AskedAmount>().map(|asked| (asked.amount.get(), asked.coin));
        assert_eq!(read("25"), Ok((25, None)));
        assert_eq!(read("0.001IOTA"), Ok((1_000_000, Some("IOTA"))));
        assert_eq!(read("2 IOTA"), Ok((2_000_000_000, Some("IOTA"))));
        assert_eq!(read("1.50USDC"), Ok((1_500_000, Some("USDC"))));
        assert_eq!(read("0.000000001IOTA"), Ok((1, Some("IOTA"))));
        for text in ["25", "0.001IOTA", "2IOTA", "1.5USDC", "0.00000001ETH", "0IOTA"] {
            assert_eq!(text.parse::<AskedAmount>().map(|asked| asked.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "1.5", ".5IOTA", "1.IOTA", "1.2.3IOTA", "-1IOTA", "1iota", "1DOGE", "1e3IOTA", "IOTA", " 1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("0.0000000001IOTA").is_err_and(|what| what.contains("9 decimals")));
        assert!(read("400000000000000000000000000000IOTA").is_err());
    }

    #[test]
    fn an_amount_of_another_money_is_refused() {
        let asked: AskedAmount = "0.5IOTA".parse().unwrap();
        assert_eq!(asked.check(Some("IOTA"), "nano"), Ok(()));
        let what = asked.check(None, "uUSD").unwrap_err();
        assert_eq!(what, "0.5IOTA is in IOTA, and what is paid in is counted in uUSD: write how many uUSD");
        let plain: AskedAmount = "5".parse().unwrap();
        assert_eq!(plain.check(None, "uUSD"), Ok(()));
    }
}

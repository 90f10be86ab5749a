//! Times that stand in the data.

use std::str::FromStr;

/// How a time is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimeForm {
    /// Text as in RFC 3339; a number is seconds, milliseconds, microseconds or nanoseconds since 1970,
    /// by its size. Right for all years from 1973 to 5138.
    #[default]
    Auto,
    /// Text as in RFC 3339: `2026-11-25T08:30:00.5Z`, `2026-11-25 09:30:00+01:00`. Without a zone it is
    /// taken for UTC.
    Rfc3339,
    /// Seconds since 1970, with a fraction if you like.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// Microseconds since 1970.
    Micros,
}

impl FromStr for TimeForm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "rfc3339" => Ok(Self::Rfc3339),
            "s" => Ok(Self::Seconds),
            "ms" => Ok(Self::Millis),
            "us" => Ok(Self::Micros),
            _ => Err("a time is one of auto, rfc3339, s, ms, us"),
        }
    }
}

/// Numbers below are seconds, then milliseconds, then microseconds, by `TimeForm::Auto`.
const SECONDS_BELOW: u64 = 100_000_000_000;
const MILLIS_BELOW: u64 = 100_000_000_000_000;
const MICROS_BELOW: u64 = 100_000_000_000_000_000;

impl TimeForm {
    /// Microseconds since 1970.
    pub(crate) fn parse(self, text: &str) -> Option<i64> {
        match self {
            Self::Auto if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.')) => {
                let whole = decimal(text, 0);
                whole.and_then(|whole| decimal(text, digits_of(whole))).or_else(|| rfc3339(text))
            }
            Self::Auto | Self::Rfc3339 => rfc3339(text),
            Self::Seconds => decimal(text, 6),
            Self::Millis => decimal(text, 3),
            Self::Micros => decimal(text, 0),
        }
    }
}

/// By how many decimal digits a number is moved to become microseconds.
const fn digits_of(whole: i64) -> i32 {
    match whole.unsigned_abs() {
        0..SECONDS_BELOW => 6,
        SECONDS_BELOW..MILLIS_BELOW => 3,
        MILLIS_BELOW..MICROS_BELOW => 0,
        MICROS_BELOW.. => -3,
    }
}

/// A decimal number times ten to the power of `digits`, what is behind the point then cut off. No
/// floating point: microseconds of today need more digits than it is sure of.
fn decimal(text: &str, digits: i32) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let mut value = 0i64;
    let moved = usize::try_from(digits).unwrap_or(0);
    let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(moved);
    for byte in whole.bytes().chain(fraction) {
        value = value.checked_mul(10)?.checked_add(i64::from(byte.checked_sub(b'0')?))?;
    }
    if digits < 0 {
        value = value.checked_div(10i64.checked_pow(digits.unsigned_abs())?)?;
    }
    if negative { value.checked_neg() } else { Some(value) }
}

/// Microseconds since 1970 of a time in RFC 3339.
fn rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (year, month_day) = (number(date.get(..4)?)?, date.get(4..)?);
    let (month, day) = month_day.strip_prefix('-')?.split_once('-')?;
    let (month, day) = (two(month)?, two(day)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let (hour, rest_of_clock) = clock.split_once(':')?;
    let (minute, second) = rest_of_clock.split_once(':')?;
    let (hour, minute, second) = (two(hour)?, two(minute)?, two(second)?);
    let (micros, zone) = fraction(rest)?;
    let days = days_since_1970(year, month, day)?;
    // A leap second, `:60`, is the first of the next minute, as clocks of computers have it.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let minutes = days.checked_mul(24)?.checked_add(hour)?.checked_mul(60)?.checked_add(minute)?;
    let seconds = minutes.checked_sub(offset_minutes(zone)?)?.checked_mul(60)?.checked_add(second)?;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn two(text: &str) -> Option<i64> {
    if text.len() == 2 { number(text) } else { None }
}

/// The fraction of a second in microseconds, and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, zone) = rest.split_at_checked(end)?;
    if digits.is_empty() {
        return None;
    }
    let six: String = digits.chars().chain(std::iter::repeat('0')).take(6).collect();
    Some((number(&six)?, zone))
}

fn offset_minutes(zone: &str) -> Option<i64> {
    // Much data leaves the zone out; it is taken for UTC, as docs/sources.md says.
    if matches!(zone, "Z" | "z" | "") {
        return Some(0);
    }
    let (sign, rest) = match zone.as_bytes().first()? {
        b'+' => (1, zone.get(1..)?),
        b'-' => (-1, zone.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(sign)
}

/// Days from 1970-01-01 by the Gregorian calendar, which is counted in eras of 400 years from March.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year.checked_rem(4)? == 0 && (year.checked_rem(100)? != 0 || year.checked_rem(400)? == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day < 1 || day > last {
        return None;
    }
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let from_march = month.checked_add(9)?.checked_rem(12)?;
    let era = year.div_euclid(400);
    let in_era = year.rem_euclid(400);
    let day_of_year = from_march.checked_mul(153)?.checked_add(2)?.checked_div(5)?.checked_add(day)?.checked_sub(1)?;
    let leaps = in_era.checked_div(4)?.checked_sub(in_era.checked_div(100)?)?;
    let day_of_era = in_era.checked_mul(365)?.checked_add(leaps)?.checked_add(day_of_year)?;
    era.checked_mul(146_097)?.checked_add(day_of_era)?.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_read() {
        let good = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000001z", 1),
            ("1969-12-31T23:59:59.5Z", -500_000),
            ("2000-02-29T12:00:00Z", 951_825_600_000_000),
            ("2026-11-25T08:30:00Z", 1_795_595_400_000_000),
            ("2026-11-25 09:30:00+01:00", 1_795_595_400_000_000),
            ("2026-11-25t00:30:00.123456789-08:00", 1_795_595_400_123_456),
            ("2026-11-25T08:30:00", 1_795_595_400_000_000),
            ("2026-11-25T08:30:00.5", 1_795_595_400_500_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("1600-03-01T00:00:00Z", -11_670_912_000_000_000),
        ];
        for (text, micros) in good {
            assert_eq!(TimeForm::Rfc3339.parse(text), Some(micros), "{text}");
            assert_eq!(TimeForm::Auto.parse(text), Some(micros), "{text}");
        }
        let bad = ["", "2026-11-25", "2026-11-25T08:30:00 Z", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z"];
        let worse = ["2026-11-25T24:00:00Z", "2026-11-25T08:30Z", "2026-11-25T08:30:00.Z", "2026-11-25T08:30:00+1:00"];
        for text in bad.into_iter().chain(worse).chain(["+026-11-25T08:30:00Z", "ü026-11-25T08:30:00Z"]) {
            assert_eq!(TimeForm::Rfc3339.parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_read_by_their_unit_or_their_size() {
        assert_eq!(TimeForm::Seconds.parse("1700000000.25"), Some(1_700_000_000_250_000));
        assert_eq!(TimeForm::Seconds.parse("-1.5"), Some(-1_500_000));
        assert_eq!(TimeForm::Millis.parse("1700000000123"), Some(1_700_000_000_123_000));
        assert_eq!(TimeForm::Micros.parse("1700000000123456.9"), Some(1_700_000_000_123_456));
        for text in ["1700000000", "1700000000000", "1700000000000000", "1700000000000000000", "1700000000.0"] {
            assert_eq!(TimeForm::Auto.parse(text), Some(1_700_000_000_000_000), "{text}");
        }
        for text in ["", "-", ".5", "1e9", "1,5", "99999999999999999999"] {
            assert_eq!(TimeForm::Seconds.parse(text), None, "{text}");
            assert_eq!(TimeForm::Auto.parse(text), None, "{text}");
        }
    }
}

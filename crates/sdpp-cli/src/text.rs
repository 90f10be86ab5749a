//! Small texts for people: ids, times, durations.

use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::AssetId;
use sdpp_proto::time::Timestamp;

/// First characters of an account that are shown where it need not be copied.
const SHORT: usize = 14;
/// The last second of the year 9999: later times are shown as numbers.
const LAST_S: u64 = 253_402_300_799;

/// 32 bytes as 64 lower-case hexadecimal digits.
pub(crate) fn hex32(text: &str) -> Option<[u8; 32]> {
    unhex(text)
}

/// So many bytes as lower-case hexadecimal digits.
pub(crate) fn unhex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte.checked_sub(b'0'),
        b'a'..=b'f' => byte.checked_sub(b'a')?.checked_add(10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != BYTES || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(any(feature = "evm", feature = "iota"))]
/// A whole number of the smallest units, with a point before so many decimals.
pub(crate) fn decimal(units: u128, decimals: usize) -> String {
    let digits = format!("{units:0>width$}", width = decimals.saturating_add(1));
    let (whole, rest) = digits.split_at(digits.len().saturating_sub(decimals));
    let rest = rest.trim_end_matches('0');
    if rest.is_empty() { whole.to_owned() } else { format!("{whole}.{rest}") }
}

/// An account, cut.
pub(crate) fn short_key(key: &PublicKey) -> String {
    let text: String = key.to_string().chars().take(SHORT).collect();
    format!("{text}…")
}

/// Name of an asset's unit, without its issuer or its place.
pub(crate) fn symbol(asset: &AssetId) -> &str {
    #[cfg(feature = "evm")]
    if crate::evm::is_usdc(asset) {
        return "uUSDC";
    }
    asset.unit()
}

/// What people call a large unit of an asset, where amounts may be written in it: `0.5IOTA`.
pub(crate) fn coin(asset: &AssetId) -> Option<&'static str> {
    match symbol(asset) {
        "nano" => Some("IOTA"),
        #[cfg(feature = "evm")]
        "uUSDC" => Some("USDC"),
        #[cfg(feature = "evm")]
        "wei" => Some(crate::evm::coin(asset)),
        _ => None,
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Takes whole years or months off a number of days: how many, and the days that are left.
fn take_whole(mut days: u64, lengths: impl Iterator<Item = u64>) -> (u64, u64) {
    let mut whole = 0u64;
    for length in lengths {
        let Some(rest) = days.checked_sub(length) else { break };
        (days, whole) = (rest, whole.saturating_add(1));
    }
    (whole, days)
}

/// A time as RFC 3339 has it, in UTC, to the second.
pub(crate) fn time(at: Timestamp) -> String {
    let seconds = at.as_ms() / 1000;
    if seconds > LAST_S {
        return at.to_string();
    }
    let (years, days) = take_whole(seconds / 86_400, (1970..).map(|year| if is_leap(year) { 366 } else { 365 }));
    let year = years.saturating_add(1970);
    let february = if is_leap(year) { 29 } else { 28 };
    let (months, days) = take_whole(days, [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter());
    let (month, day) = (months.saturating_add(1), days.saturating_add(1));
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_704_067_199, "2023-12-31T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST_S, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(time(Timestamp::from_ms(seconds * 1000 + 999)), text);
        }
        assert_eq!(time(Timestamp::NEVER), "18446744073709551615ms");
    }

    #[test]
    fn hexadecimal_has_one_spelling() {
        assert_eq!(hex32(&"0f".repeat(32)), Some([15; 32]));
        assert_eq!(hex(&[0, 255]), "00ff");
        for bad in ["", "0", &"0F".repeat(32), &"0f".repeat(31), &"0f".repeat(33), &"g0".repeat(32)] {
            assert_eq!(hex32(bad), None, "{bad}");
        }
    }
}

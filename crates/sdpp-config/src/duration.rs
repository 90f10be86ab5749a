//! Durations as people write them.

/// A duration like `500ms`, `90s`, `30m`, `1h`, `2d`, in milliseconds.
///
/// # Errors
/// What is wrong, in words for people.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a duration: write for example 90s, 30m, 1h or 2d");
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
    let each = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(each)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration_ms("1h"), Ok(3_600_000));
        assert_eq!(duration_ms("250ms"), Ok(250));
        for bad in ["", "1", "h", "1.5h", "-1s", "1w", "99999999999999999999s", "18446744073709551615d"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }
}

//! The small strict readers that the text formats share.

use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};

use crate::hash::Hash;
use crate::limits::NAME_BYTES_MAX;

/// A decimal number without sign, spaces or leading zeros, at most `max`.
pub(crate) fn parse_decimal(text: &str, max: u64) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= max)
}

/// Standard base64 with padding (RFC 4648 §4). Refuses spare bits, so that there is one text for each value.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).ok()
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// A hash as 44 characters of base64.
pub(crate) fn decode_hash(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    let length = Base64::decode(text, &mut hash).ok()?.len();
    (length == hash.len()).then_some(Hash(hash))
}

/// Whether this may be a key name: not empty, no Unicode space, no plus, no control character
/// (C2SP signed-note, "Format").
pub(crate) fn is_key_name(name: &str) -> bool {
    is_line(name) && name.len() <= NAME_BYTES_MAX && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

/// Whether this may stand alone in a line of a note: not empty, no control character.
pub(crate) fn is_line(line: &str) -> bool {
    !line.is_empty() && !line.bytes().any(|byte| byte < 0x20)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "a panic is how a test fails"
    )]

    use super::*;

    #[test]
    fn decimals_are_canonical() {
        assert_eq!(parse_decimal("0", 9), Some(0));
        assert_eq!(parse_decimal("9", 9), Some(9));
        assert_eq!(parse_decimal("18446744073709551615", u64::MAX), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "10", "18446744073709551616", "١"] {
            assert_eq!(parse_decimal(bad, 9), None, "{bad}");
        }
    }

    #[test]
    fn base64_has_one_text_for_each_value() {
        assert_eq!(decode_base64("AQ=="), Some(Vec::from([1])));
        for bad in ["AR==", "AQ", "AQ=", "AQ==\n", "AQ= =", "A Q==", "AQ==AQ==", "_-=="] {
            assert_eq!(decode_base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn hashes_have_32_bytes() {
        let text = encode_base64(&Hash::EMPTY.0);
        assert_eq!(decode_hash(&text), Some(Hash::EMPTY));
        assert_eq!(decode_hash(&encode_base64(&[0; 31])), None);
        assert_eq!(decode_hash(&encode_base64(&[0; 33])), None);
        assert_eq!(decode_hash(""), None);
    }

    #[test]
    fn key_names_have_no_space_and_no_plus() {
        assert!(is_key_name("example.com/log"));
        assert!(is_key_name("é"));
        assert!(is_key_name(&"a".repeat(NAME_BYTES_MAX)));
        for bad in ["", "a b", "a+b", "a\u{a0}b", "a\u{2003}", "a\tb", "a\n", "a\r", &"a".repeat(NAME_BYTES_MAX + 1)] {
            assert!(!is_key_name(bad), "{bad:?}");
        }
    }
}

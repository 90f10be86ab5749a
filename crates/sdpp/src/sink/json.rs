//! As much JSON as sinks need: numbers stay as they were written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members in their order, values as they were written.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The members of an object; none if the bytes are no JSON object.
pub(super) fn members(bytes: &[u8]) -> Option<Members<'_>> {
    serde_json::from_slice(bytes).ok()
}

/// A value as it was written; none if the bytes are no JSON.
pub(super) fn value(bytes: &[u8]) -> Option<&str> {
    serde_json::from_slice::<&RawValue>(bytes).ok().map(RawValue::get)
}

/// The text of a JSON string; none for another value.
pub(super) fn string(value: &str) -> Option<String> {
    if value.starts_with('"') { serde_json::from_str(value).ok() } else { None }
}

/// Appends a value without the white space between its parts, and so without line breaks.
pub(super) fn compact(value: &str, out: &mut Vec<u8>) {
    let (mut inside, mut escaped) = (false, false);
    for byte in value.bytes() {
        if !inside && matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            continue;
        }
        out.push(byte);
        match byte {
            b'"' if !escaped => inside = !inside,
            b'\\' if inside && !escaped => {
                escaped = true;
                continue;
            }
            _ => {}
        }
        escaped = false;
    }
}

/// Appends text as a JSON string.
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    // Writing text to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_digits_and_lose_their_white_space() {
        let mut out = Vec::new();
        compact("{ \"a b\\\" \\\\\" :\n 1.10 , \"c\" : [ 1e400, \"\\\\\" , 2 ] }", &mut out);
        assert_eq!(out, br#"{"a b\" \\":1.10,"c":[1e400,"\\",2]}"#);
        let found = members(br#"{"b": 1.10, "a": {"x": [1]}}"#).unwrap().0;
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
        assert_eq!(found, [("b", "1.10"), ("a", r#"{"x": [1]}"#)]);
        assert!(members(b"[1]").is_none() && members(b"{").is_none());
        assert_eq!(value(b" 7 "), Some("7"));
        assert_eq!(value(b"7 8"), None);
        assert_eq!((string(r#""a\n""#), string("7")), (Some("a\n".into()), None));
    }
}

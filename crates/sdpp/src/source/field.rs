//! One field of a JSON object, without building the rest of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Why a line has no such field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoField {
    /// It is not JSON.
    NotJson,
    /// The object does not have it, or it is no plain value.
    Missing,
}

/// The field of a JSON object as text: a string without its quotes, anything else plain as it is
/// written. A dot in `path` goes into an object: `properties.time`.
pub(crate) fn field(line: &[u8], path: &str) -> Result<String, NoField> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let found = Path(Some(path)).deserialize(&mut json).map_err(|_| NoField::NotJson)?;
    json.end().map_err(|_| NoField::NotJson)?;
    match found {
        Some(Value::String(text)) => Ok(text),
        Some(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => Ok(value.to_string()),
        Some(Value::Array(_) | Value::Object(_)) | None => Err(NoField::Missing),
    }
}

/// Whether a line is JSON as a whole.
pub(crate) fn is_json(line: &[u8]) -> bool {
    // What is ignored is not checked for UTF-8.
    std::str::from_utf8(line).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Whether a text is a number of JSON, and nothing else.
pub(crate) fn is_number(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let ends = text.ends_with(|c: char| c.is_ascii_digit());
    begins && ends && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// What is left of the path; none: the value is reached.
struct Path<'p>(Option<&'p str>);

impl<'de> DeserializeSeed<'de> for Path<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            None => serde::Deserialize::deserialize(from).map(Some),
            Some(_) => from.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Path<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let path = self.0.unwrap_or_default();
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let rest = path.strip_prefix(&*key).and_then(|rest| match rest.strip_prefix('.') {
                Some(inner) => Some(Some(inner)),
                None => rest.is_empty().then_some(None),
            });
            match rest {
                Some(rest) => found = map.next_value_seed(Path(rest))?.or(found),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_wherever_it_stands() {
        let line = br#"{"a":[1,{"t":9}],"t":"x\"y","n":1700000000123,"f":1.50,"o":{"t":true,"o":{"t":null}},"a.b":2}"#;
        let found = |path| field(line, path);
        assert_eq!(found("t").as_deref(), Ok("x\"y"));
        assert_eq!(found("n").as_deref(), Ok("1700000000123"));
        assert_eq!(found("f").as_deref(), Ok("1.5"));
        assert_eq!(found("o.t").as_deref(), Ok("true"));
        assert_eq!(found("o.o.t").as_deref(), Ok("null"));
        assert_eq!(found("a.b").as_deref(), Ok("2"), "a dot in a name is no harm");
        for missing in ["", "x", "o", "a", "a.t", "t.t", "o.", ".t"] {
            assert_eq!(found(missing), Err(NoField::Missing), "{missing}");
        }
    }

    #[test]
    fn what_is_no_json_has_no_fields() {
        for bad in [&b"{\"t\":1"[..], b"{\"t\":1}}", b"{\"t\":1} x", b"", b"t=1", b"{\"t\":1,}"] {
            assert_eq!(field(bad, "t"), Err(NoField::NotJson));
            assert!(!is_json(bad));
        }
        assert!(!is_json(b"{\"t\":\"\xff\"}"));
        assert!(is_json(b" {\"t\": [1, {}]} "));
        assert_eq!(field(b"[1]", "t"), Err(NoField::Missing));
        assert_eq!(field(b"7", "t"), Err(NoField::Missing));
    }

    #[test]
    fn numbers_are_those_of_json() {
        for good in ["0", "-1", "1.50", "2e3", "123456789012345678901234567890"] {
            assert!(is_number(good), "{good}");
        }
        for bad in ["", "007", "+1", ".5", "1.", " 1", "1 ", "0x1", "NaN", "1e999", "-", "1-2"] {
            assert!(!is_number(bad), "{bad}");
        }
    }
}

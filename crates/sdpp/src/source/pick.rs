//! Which messages of a source a product takes.

use std::fmt;

use super::field;
use crate::topic;

/// Which messages of a source belong to a product; all that were asked for must fit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pick {
    /// One of these filters; none: any topic.
    topics: Vec<String>,
    /// A field and its value.
    field: Option<(String, String)>,
}

/// Not a filter of topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PickError(String);

impl fmt::Display for PickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no filter of topics: `+` stands for a whole level, `#` only at the end", self.0)
    }
}

impl std::error::Error for PickError {}

impl Pick {
    /// Everything.
    pub const fn all() -> Self {
        Self { topics: Vec::new(), field: None }
    }

    /// Only messages whose topic fits one of these filters, as in MQTT.
    ///
    /// # Errors
    /// One is no filter.
    pub fn topics<T: Into<String>>(mut self, filters: impl IntoIterator<Item = T>) -> Result<Self, PickError> {
        for filter in filters {
            let filter = filter.into();
            if !topic::is_filter(&filter) {
                return Err(PickError(filter));
            }
            self.topics.push(filter);
        }
        Ok(self)
    }

    /// Only messages that are JSON objects (or CSV records) in which this field has this value. A dot
    /// goes into an object.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.field = Some((name.into(), value.into()));
        self
    }

    /// Whether a message is taken.
    pub fn takes(&self, topic: Option<&str>, payload: &[u8]) -> bool {
        self.takes_topic(topic)
            && self.field.as_ref().is_none_or(|(name, value)| field::field(payload, name).is_ok_and(|is| is == *value))
    }

    fn takes_topic(&self, topic: Option<&str>) -> bool {
        let fits = |topic| self.topics.iter().any(|filter| topic::matches(filter, topic));
        self.topics.is_empty() || topic.is_some_and(fits)
    }

    /// Whether no topic is asked for.
    pub(super) const fn is_of_fields(&self) -> bool {
        self.topics.is_empty()
    }

    /// The field that is compared, and with what.
    pub(super) fn wanted(&self) -> Option<(&str, &str)> {
        self.field.as_ref().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_fields_both_have_to_fit() {
        let pick = Pick::all().topics(["a/+", "b/#"]).unwrap().field("kind", "7");
        assert!(pick.takes(Some("a/x"), br#"{"kind":7}"#));
        assert!(pick.takes(Some("b/x/y"), br#"{"kind":"7"}"#));
        assert!(!pick.takes(Some("a/x"), br#"{"kind":8}"#));
        assert!(!pick.takes(Some("a/x/y"), br#"{"kind":7}"#));
        assert!(!pick.takes(None, br#"{"kind":7}"#), "what has no topic fits no filter");
        assert!(!pick.takes(Some("a/x"), b"kind=7"));
        assert!(Pick::all().takes(None, b""));
        assert!(Pick::all().topics(["a#"]).unwrap_err().to_string().contains("`a#`"));
    }
}

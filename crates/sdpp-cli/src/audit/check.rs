//! What a chain says of an own order, one check after the other.

use std::fmt;

use serde_json::{Value, json};

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum State {
    /// It holds.
    Good,
    /// Not all that should be there is, yet.
    Missing,
    /// It does not.
    False,
}

/// One check against a chain.
pub(crate) struct Check {
    what: &'static str,
    pub(crate) state: State,
    pub(crate) text: String,
}

impl Check {
    pub(crate) fn new(what: &'static str, state: State, text: impl Into<String>) -> Self {
        Self { what, state, text: text.into() }
    }

    /// 0 good, 1 something is missing, 2 false: as the auditor's verdicts.
    pub(crate) const fn how_bad(&self) -> u8 {
        match self.state {
            State::Good => 0,
            State::Missing => 1,
            State::False => 2,
        }
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let state = match self.state {
            State::Good => "clean",
            State::Missing => "incomplete",
            State::False => "false",
        };
        json!({ "check": self.what, "verdict": state, "text": self.text })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Good => "ok",
            State::Missing => "MISSING",
            State::False => "FALSE",
        };
        write!(f, "  chain: {state}: {}: {}", self.what, self.text)
    }
}

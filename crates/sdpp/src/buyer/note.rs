//! What a buyer notes beside an order's statements, as text that a person can read
//! (`docs/journal.md`): where the seller is, what the messages go to, and how far that is.

use sdpp_proto::identity::PublicKey;

use super::Address;
use crate::sink::{Mark, Position};

/// A note of an order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Note {
    /// Where the seller was reached last.
    pub host: String,
    /// Who it had to be.
    pub seller: Option<PublicKey>,
    /// What the sink says it is.
    pub sink: Option<String>,
    /// Where the sink stood when the order began.
    pub start: Position,
    /// How far the sink is durable.
    pub mark: Mark,
    /// The seller never took this order and never will: another one took its place, or nothing.
    pub void: bool,
}

impl Note {
    /// Of an order at this address.
    pub(super) fn at(address: &Address) -> Self {
        Self { host: address.host.clone(), seller: address.seller, ..Self::default() }
    }

    /// The address.
    pub fn address(&self) -> Address {
        Address { seller: self.seller, host: self.host.clone() }
    }

    pub(super) fn to_text(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        let mut line = |name: &str, value: &str| {
            let value = value.replace('\\', "\\\\").replace('\n', "\\n");
            // Writing to a string does not fail.
            let _ = writeln!(out, "{name} {value}");
        };
        line("host", &self.host);
        if let Some(seller) = &self.seller {
            line("seller", &seller.multibase());
        }
        if let Some(sink) = &self.sink {
            line("sink", sink);
        }
        line("start", &self.start.to_text());
        line("messages", &self.mark.messages.to_string());
        line("position", &self.mark.position.to_text());
        if self.void {
            line("void", "yes");
        }
        out
    }

    /// Reads a note. What it does not know it passes over; what it cannot read is as if not noted.
    pub(super) fn of_text(text: &str) -> Self {
        let mut note = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            let value = unescape(value);
            match name {
                "host" => note.host = value,
                "seller" => note.seller = value.parse().ok(),
                "sink" => note.sink = Some(value),
                "start" => note.start = Position::of_text(&value).unwrap_or_default(),
                "messages" => note.mark.messages = value.parse().unwrap_or_default(),
                "void" => note.void = true,
                "position" => note.mark.position = Position::of_text(&value).unwrap_or_default(),
                _ => {}
            }
        }
        note
    }
}

fn unescape(value: &str) -> String {
    let (mut out, mut letters) = (String::new(), value.chars());
    while let Some(letter) = letters.next() {
        out.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            letter => letter,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use sdpp_proto::identity::SigningKey;

    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let full = Note {
            host: "seller.example:7000".into(),
            seller: Some(SigningKey::from_seed(&zeroize::Zeroizing::new([1; 32])).public()),
            sink: Some("lines:/a\\n b\nc".into()),
            start: Position::at(17),
            mark: Mark { messages: 5, position: Position::at(90) },
            void: true,
        };
        for note in [full, Note::default()] {
            assert_eq!(Note::of_text(&format!("{}unknown thing\n", note.to_text())), note);
        }
    }
}

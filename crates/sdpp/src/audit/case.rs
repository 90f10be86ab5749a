//! What every rule needs: whose statement is judged, what was seen before, how a judgement ends.

use std::fmt::Display;

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::statement::Kind;

use super::limits;
use super::memory::{Kept, Lost, Memory, Packed};
use super::report::{Finding, Missing, Note, Party, Topic, Totals};
use super::rule::Rule;

/// Why the audit goes no further.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    False(Box<Finding>),
    Missing(Missing),
}

/// A verified statement without its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) id: StatementId,
    pub(super) kind: Kind,
    pub(super) issuer: PublicKey,
    pub(super) position: u64,
}

/// A statement before its judge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) head: &'a Head,
    by: Party,
}

impl<'a> Case<'a> {
    pub(super) const fn new(head: &'a Head, by: Party) -> Self {
        Self { head, by }
    }

    pub(super) fn breaks(&self, rule: Rule, text: impl Into<String>) -> Stop {
        Stop::False(Box::new(Finding {
            statement: Some(self.head.id),
            kind: Some(self.head.kind),
            position: Some(self.head.position),
            by: self.by,
            rule,
            conflicts_with: None,
            text: text.into(),
        }))
    }

    /// A statement that contradicts another one of the same side.
    pub(super) fn contradicts(&self, rule: Rule, other: Option<StatementId>, text: impl Into<String>) -> Stop {
        match self.breaks(rule, text) {
            Stop::False(mut finding) => {
                finding.conflicts_with = other;
                Stop::False(finding)
            }
            Stop::Missing(missing) => Stop::Missing(missing),
        }
    }

    pub(super) fn equal<T: PartialEq + Display>(
        &self,
        rule: Rule,
        what: &str,
        expected: T,
        found: T,
    ) -> Result<(), Stop> {
        if expected == found {
            return Ok(());
        }
        Err(self.breaks(rule, format!("{what}: expected {expected}, found {found}")))
    }

    pub(super) fn at_most<T: PartialOrd + Display>(
        &self,
        rule: Rule,
        what: &str,
        most: T,
        found: T,
    ) -> Result<(), Stop> {
        if found <= most {
            return Ok(());
        }
        Err(self.breaks(rule, format!("{what}: expected at most {most}, found {found}")))
    }

    /// A link to another statement. A wrong link to a statement of this bundle is false. A link to
    /// one that is not in the bundle is no lie by itself: whoever handed it over may have left it out.
    pub(super) fn links(&self, book: &Book, link: &Link) -> Result<(), Stop> {
        if link.found == link.expected {
            return Ok(());
        }
        Err(self.unlinked(book, link))
    }

    /// The same for a link that is known to be wrong.
    pub(super) fn unlinked(&self, book: &Book, link: &Link) -> Stop {
        let Link { rule, what, expected, found } = link;
        match book.seen.contains(found) {
            Ok(true) => self.breaks(*rule, format!("it names {found} as {what}, which is {expected}")),
            Ok(false) => Stop::Missing(Missing::Statement { id: *found, what, named_by: self.head.id }),
            Err(lost) => lost.into(),
        }
    }
}

/// One statement's word about another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) rule: Rule,
    pub(super) what: &'static str,
    pub(super) expected: StatementId,
    pub(super) found: StatementId,
}

/// What is remembered of every statement: enough to know it again and to say what a record of it
/// commits to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Commits to no charge.
    Other,
    /// An invoice, and how many payments it credits.
    Invoice { n: u64, payments: u64 },
    /// The same of one that is void.
    Void { n: u64, payments: u64 },
    /// A payment, and the number of its invoice.
    Payment { index: u64, invoice: u64 },
    /// A settlement or default, and how many invoices and payments it commits to.
    End { invoices: u64, payments: u64 },
}

impl Kept for Seen {
    fn pack(self) -> Packed {
        match self {
            Self::Other => (0, 0, 0),
            Self::Invoice { n, payments } => (1, n, payments),
            Self::Void { n, payments } => (2, n, payments),
            Self::Payment { index, invoice } => (3, index, invoice),
            Self::End { invoices, payments } => (4, invoices, payments),
        }
    }

    fn unpack(packed: Packed) -> Option<Self> {
        match packed {
            (0, 0, 0) => Some(Self::Other),
            (1, n, payments) => Some(Self::Invoice { n, payments }),
            (2, n, payments) => Some(Self::Void { n, payments }),
            (3, index, invoice) => Some(Self::Payment { index, invoice }),
            (4, invoices, payments) => Some(Self::End { invoices, payments }),
            _ => None,
        }
    }
}

/// What does not depend on the sale.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) seen: Memory<Seen>,
    pub(super) totals: Totals,
    pub(super) notes: Vec<Note>,
    pub(super) notes_left_out: u64,
}

impl Book {
    pub(super) fn note(&mut self, topic: Topic, statement: Option<StatementId>, text: impl Into<String>) {
        if self.notes.len() >= limits::NOTES_MAX {
            self.notes_left_out = self.notes_left_out.saturating_add(1);
            return;
        }
        self.notes.push(Note { topic, statement, text: text.into() });
    }

    /// The number of an invoice of this order.
    pub(super) fn invoice_number(&self, id: &StatementId) -> Result<Option<u64>, Lost> {
        Ok(match self.seen.get(id)? {
            Some(Seen::Invoice { n, .. } | Seen::Void { n, .. }) => Some(n),
            Some(Seen::Other | Seen::Payment { .. } | Seen::End { .. }) | None => None,
        })
    }

    /// Whether an invoice is void.
    pub(super) fn is_void(&self, id: &StatementId) -> Result<bool, Lost> {
        Ok(matches!(self.seen.get(id)?, Some(Seen::Void { .. })))
    }

    /// An invoice becomes void.
    pub(super) fn void(&mut self, id: StatementId) -> Result<(), Lost> {
        if let Some(Seen::Invoice { n, payments }) = self.seen.get(&id)? {
            self.seen.insert(id, Seen::Void { n, payments });
        }
        Ok(())
    }

    /// The place of a payment in its chain.
    pub(super) fn payment_index(&self, id: &StatementId) -> Result<Option<u64>, Lost> {
        Ok(match self.seen.get(id)? {
            Some(Seen::Payment { index, .. }) => Some(index),
            Some(Seen::Other | Seen::Invoice { .. } | Seen::Void { .. } | Seen::End { .. }) | None => None,
        })
    }

    /// The invoice of a number. Slow, and asked once: whoever uses a number again is not heard further.
    pub(super) fn invoice_of_number(&self, number: u64) -> Result<Option<StatementId>, Lost> {
        let mut found = None;
        self.seen.each(|id, seen| {
            if matches!(seen, Seen::Invoice { n, .. } | Seen::Void { n, .. } if n == number) {
                found = Some(*id);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

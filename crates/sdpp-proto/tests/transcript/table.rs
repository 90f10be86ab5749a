//! The table of `docs/security/handshake.md`: a row for every field, with what refuses another value of it.

use std::collections::BTreeSet;

use sdpp_proto::offence::Offence;

use crate::cbor::fields;

/// The structures of the handshake; those inside them come with them.
pub const ROOTS: [&str; 10] = [
    "hello",
    "menu-reply",
    "menu",
    "sealed-order",
    "order-plain",
    "order",
    "attach",
    "sealed-session",
    "session-plain",
    "acceptance",
];

/// What becomes of a conversation in which one field was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Refused(Offence),
    /// Nobody notices, and the page says why that is no harm.
    ComesAbout,
    /// It cannot be done: the field is inside a seal, or the keys do not help.
    Nothing,
}

pub struct Row {
    pub field: String,
    /// For somebody on the wire.
    pub anybody: Outcome,
    /// For who has the menu's sealing key, and the buyer's fresh key where the field is sealed to it.
    pub with_keys: Outcome,
    pub test: String,
}

const PAGE: &str = include_str!("../../../../docs/security/handshake.md");

/// Rows `` | `field` | needed for | anybody | with keys | `test` | ``.
pub fn rows() -> Vec<Row> {
    let rows = PAGE.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.trim_end_matches('|').split('|').map(str::trim).collect();
        let [field, _, anybody, with_keys, test] = cells.as_slice() else { return None };
        let test = test.trim_matches('`').to_owned();
        Some(Row {
            field: field.trim_end_matches('`').into(),
            anybody: outcome(anybody),
            with_keys: outcome(with_keys),
            test,
        })
    });
    rows.collect()
}

fn outcome(cell: &str) -> Outcome {
    match cell.trim_matches('`') {
        "sealed" | "—" => Outcome::Nothing,
        "comes about" => Outcome::ComesAbout,
        name => {
            let offence = Offence::ALL.iter().find(|offence| offence.name() == name);
            Outcome::Refused(*offence.unwrap_or_else(|| panic!("the table names {name}, which is no offence")))
        }
    }
}

pub fn row(field: &str) -> Row {
    let mut rows = rows().into_iter().filter(|row| row.field == field);
    let row = rows.next().unwrap_or_else(|| panic!("docs/security/handshake.md has no row for {field}"));
    assert!(rows.next().is_none(), "two rows for {field}");
    row
}

#[test]
fn the_table_has_every_field_of_the_handshake_and_no_other() {
    let wanted: BTreeSet<String> = ROOTS.iter().flat_map(|root| fields(root)).map(|field| field.name).collect();
    let wrapping = ["statement.protected", "statement.payload", "statement.signature"].map(str::to_owned);
    let header = fields("protected-header").into_iter().map(|field| field.name);
    let asked = fields("ask").into_iter().map(|field| field.name);
    let wanted: BTreeSet<String> = wanted.into_iter().chain(wrapping).chain(header).chain(asked).collect();
    let rows = rows();
    let written: BTreeSet<String> = rows.iter().map(|row| row.field.clone()).collect();
    let missing: Vec<_> = wanted.difference(&written).collect();
    let unknown: Vec<_> = written.difference(&wanted).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "rows missing: {missing:?}; rows of nothing: {unknown:?}");
    assert_eq!(rows.len(), written.len(), "one row for each field");
}

#[test]
fn every_row_names_a_test_of_these_files() {
    let sources = [include_str!("fields.rs"), include_str!("parties.rs"), include_str!("secrets.rs")];
    for row in rows() {
        let written = sources.iter().any(|source| source.contains(&format!("fn {}()", row.test)));
        assert!(written, "{}: there is no test {}", row.field, row.test);
        assert_ne!(
            (row.anybody, row.with_keys),
            (Outcome::Nothing, Outcome::Nothing),
            "{}: what refuses another value?",
            row.field
        );
    }
}

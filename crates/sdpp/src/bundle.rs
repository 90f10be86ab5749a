//! Bundles: everything that shows what became of an order, for the auditor.

use sdpp_proto::journal::Entry;
use sdpp_proto::statement::{Kind, Menu, Order, RecordOffer, Signed, Terms};

use crate::audit::Bundle;

/// The bundle of an order, from the rows of its journal: the statements and the salt. Whoever has them
/// adds the messages and the ledger's evidence.
pub fn of(entries: &[Entry]) -> Bundle {
    let mut bundle = Bundle::default();
    for entry in entries {
        match entry {
            Entry::Statement(statement) => bundle.statements.push(statement.bytes.clone()),
            Entry::Salt(salt) => bundle.order_salt = Some(*salt),
            Entry::Intent(_) | Entry::Record { .. } => {}
        }
    }
    bundle
}

/// The menu that an order's journal begins with.
pub fn menu_of(entries: &[Entry]) -> Option<Signed<Menu>> {
    entries.iter().find_map(|entry| match entry {
        Entry::Statement(statement) if statement.kind == Kind::Menu => Signed::parse(&statement.bytes).ok(),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    })
}

/// Where the seller of an order records, as its menu says.
pub fn records_of(entries: &[Entry]) -> Option<RecordOffer> {
    menu_of(entries).map(|menu| menu.records.clone())
}

/// The terms of the order of these entries of a journal, resolved against its menu.
pub fn terms_of(entries: &[Entry]) -> Option<Terms> {
    let order = entries.iter().find_map(|entry| match entry {
        Entry::Statement(statement) if statement.kind == Kind::Order => Signed::<Order>::parse(&statement.bytes).ok(),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    });
    let (menu, order) = (menu_of(entries)?, order?);
    Terms::resolve(&menu, &order)
}

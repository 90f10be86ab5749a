//! Bundles: everything that shows what became of an order, for the auditor.

use sdpp_proto::journal::Entry;
use sdpp_proto::statement::{Kind, Menu, Order, Signed, Terms};

/// The menu that an order's journal begins with.
pub fn menu_of(entries: &[Entry]) -> Option<Signed<Menu>> {
    entries.iter().find_map(|entry| match entry {
        Entry::Statement(statement) if statement.kind == Kind::Menu => Signed::parse(&statement.bytes).ok(),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    })
}

/// The terms of the order that a journal's rows belong to.
pub fn terms_of(entries: &[Entry]) -> Option<Terms> {
    let order = entries.iter().find_map(|entry| match entry {
        Entry::Statement(statement) if statement.kind == Kind::Order => Signed::<Order>::parse(&statement.bytes).ok(),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    });
    let (menu, order) = (menu_of(entries)?, order?);
    Terms::resolve(&menu, &order)
}

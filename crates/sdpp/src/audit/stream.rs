//! The audit of a bundle that is not held in memory: its file is read several times instead.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use super::auditor::{Auditor, Trust};
use super::bundle::{BundleError, Item, Items};
use super::report::Report;

/// Audits a bundle from a file that can be opened again: twice, and once more if it has messages. The
/// report is that of [`Bundle::audit`](super::Bundle::audit); a bundle as long as this is never whole
/// in memory.
///
/// The first reading finds out whether it is a bundle at all, before anything is judged. All readings must find
/// the same bytes: what is judged would else be a mixture.
///
/// # Errors
/// [`BundleError`], whatever stands before the place.
pub fn audit_from<R: Read>(open: impl Fn() -> io::Result<R>, trust: &Trust) -> Result<Report, BundleError> {
    let mut auditor = Auditor::new(trust);
    let (mut salt, mut has_messages) = (None, false);
    let mut items = Items::new(open()?);
    while let Some(item) = items.next_item()? {
        match item {
            Item::Header(found) => salt = found,
            Item::Statement(_) => {}
            Item::Checkpoint(note) => auditor.checkpoint(&note),
            Item::Record(record) => auditor.record(&record),
            Item::Messages(_) => has_messages = true,
        }
    }
    let failed = Rc::new(Cell::new(None));
    let auditor = match salt {
        _ if !has_messages => auditor,
        Some(salt) => auditor.with_data(salt, Pieces { items: Items::new(open()?), failed: failed.clone() }),
        None => auditor.without_salt(),
    };
    let report = feed(auditor, Items::new(open()?))?;
    failed.take().map_or(Ok(report), Err)
}

/// Statements stand before everything else.
fn feed(mut auditor: Auditor<'_>, mut items: Items<impl Read>) -> Result<Report, BundleError> {
    while let Some(item) = items.next_item()? {
        match item {
            Item::Header(_) => {}
            Item::Statement(statement) => {
                auditor.feed(&statement);
            }
            Item::Checkpoint(_) | Item::Record(_) | Item::Messages(_) => break,
        }
    }
    Ok(auditor.finish())
}

/// The messages of a bundle, piece by piece.
struct Pieces<R> {
    items: Items<R>,
    /// Why there are no more, if that is not the bundle's end: the file changed since it was read first.
    failed: Rc<Cell<Option<BundleError>>>,
}

impl<R: Read> Iterator for Pieces<R> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.items.next_item() {
                Ok(Some(Item::Messages(piece))) => return Some(piece),
                Ok(Some(Item::Header(_) | Item::Statement(_) | Item::Checkpoint(_) | Item::Record(_))) => {}
                Ok(None) => return None,
                Err(error) => {
                    self.failed.set(Some(error));
                    return None;
                }
            }
        }
    }
}

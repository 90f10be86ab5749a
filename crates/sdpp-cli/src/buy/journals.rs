//! The buyer's journals. Each running purchase has one to itself, so several may run at a time; all of
//! them together are what the buyer has ordered.

use sdpp::buyer::{OrderInfo, orders};
use sdpp::journal::Journal;
use sdpp_rail::{Durability, SqliteStore};

use crate::buy::args::Which;
use crate::buy::sinks;
use crate::config::Class;
use crate::exit::{Exit, failed};
use crate::home::{Home, Role, RoleHome, is_busy};
use crate::ledger::Failure;
use crate::sell::durability;

/// Purchases that may run at a time.
pub(crate) const JOURNALS: u32 = 64;

/// All journals of a buyer that nobody else uses at the moment.
pub(crate) struct Journals {
    pub(crate) free: Vec<(u32, Journal)>,
    /// Names of those that running purchases have.
    pub(crate) busy: Vec<String>,
}

/// An order and the journal that has it.
pub(crate) struct Found {
    pub(crate) journal: Journal,
    /// Its number: a running purchase is known by it.
    pub(crate) number: u32,
    pub(crate) order: OrderInfo,
}

fn name(number: u32) -> String {
    if number == 1 { "journal".to_owned() } else { format!("journal-{number}") }
}

/// Whether a purchase with this journal runs.
pub(crate) fn is_running(role: &RoleHome, number: u32) -> bool {
    is_busy(&role.file(&format!("{}.db", name(number))))
}

/// The class of a journal: its own, once it is there; else what was asked for.
fn class_of(role: &RoleHome, name: &str, asked: Durability) -> Durability {
    SqliteStore::look(role.file(&format!("{name}.db"))).ok().and_then(|info| info.durability).unwrap_or(asked)
}

fn open(role: &RoleHome, name: &str, durability: Durability) -> Result<Journal, Failure> {
    Ok(Journal::start(role.store(name, durability)?)?)
}

/// A journal for a new purchase, the first that nobody uses, and its number.
pub(crate) fn fresh(home: &Home, asked: Option<Class>) -> Result<(Journal, u32), Failure> {
    let (role, wanted) = (home.role(Role::Buyer)?, durability(asked.or(home.config()?.buyer.journal)));
    for number in 1..=JOURNALS {
        let name = name(number);
        // One of another class is left as it is, if somebody named a class.
        let class = class_of(&role, &name, wanted);
        if is_busy(&role.file(&format!("{name}.db"))) || (asked.is_some() && class != wanted) {
            continue;
        }
        match open(&role, &name, class) {
            // Another purchase began at the same moment.
            Err(_) if is_busy(&role.file(&format!("{name}.db"))) => {}
            opened => return Ok((opened?, number)),
        }
    }
    Err(failed(Exit::InUse, format!("{JOURNALS} purchases run already: end one, or name another --home")))
}

impl Journals {
    /// Opens all that are there and free, each in its own class.
    pub(crate) fn open(home: &Home) -> Result<Self, Failure> {
        let role = home.role(Role::Buyer)?;
        let (mut free, mut busy) = (Vec::new(), Vec::new());
        for number in 1..=JOURNALS {
            let name = name(number);
            let path = role.file(&format!("{name}.db"));
            if !path.exists() {
                continue;
            }
            if is_busy(&path) {
                busy.push(name);
            } else {
                let class = class_of(&role, &name, Durability::Power);
                match open(&role, &name, class) {
                    // A purchase began at the same moment.
                    Err(_) if is_busy(&path) => busy.push(name),
                    opened => free.push((number, opened?)),
                }
            }
        }
        Ok(Self { free, busy })
    }

    /// Says that all of them were put back from a backup; how many orders that are.
    pub(crate) async fn declare_restored(&self) -> Result<usize, Failure> {
        let mut orders = 0usize;
        for (_, journal) in &self.free {
            orders = orders.saturating_add(journal.declare_restored().await?);
        }
        Ok(orders)
    }

    /// Refuses to go on with an order into a file that another order has written to behind it: going
    /// back to where the order was would take away what the other one has paid for.
    pub(crate) async fn file_is_its_own(&self, home: &Home, found: &Found) -> Result<(), Failure> {
        let Some(file) = found.order.note.sink.as_deref().and_then(sinks::file_of) else { return Ok(()) };
        let own = found.order.note.mark.position.number();
        for Found { order: other, .. } in self.orders(home).await? {
            let same = other.note.sink.as_deref().and_then(sinks::file_of) == Some(file);
            let before = own.zip(other.note.start.number()).is_some_and(|(own, start)| start < own);
            if other.order != found.order.order && same && !before {
                let what = format!(
                    "{file} also has what order {} brought: say another file for the rest with --to, and put them together",
                    other.order
                );
                return Err(failed(Exit::Data, what));
            }
        }
        Ok(())
    }

    /// All orders, the newest of each journal last.
    pub(crate) async fn orders(&self, home: &Home) -> Result<Vec<Found>, Failure> {
        let key = home.role(Role::Buyer)?.key()?;
        let mut found = Vec::new();
        for (number, journal) in &self.free {
            for order in orders(journal, &key).await? {
                found.push(Found { journal: journal.clone(), number: *number, order });
            }
        }
        Ok(found)
    }

    /// The order that is meant; `open` counts only those that are not over.
    pub(crate) async fn find(&self, home: &Home, which: &Which, open: bool) -> Result<Found, Failure> {
        let all = self.orders(home).await?;
        let state = |found: &Found| !found.order.state.is_over();
        let mut same = all.into_iter().filter(|found| which.is(&found.order.order) && (!open || state(found)));
        match (same.next(), same.next(), which) {
            (Some(found), None, _) => Ok(found),
            (None, _, _) if !self.busy.is_empty() => Err(failed(
                Exit::InUse,
                format!("no such order, unless a purchase that runs now has it ({})", self.busy.join(", ")),
            )),
            (None, _, Which::Last) => Err(failed(Exit::Refused, "no order is unfinished; see `sdpp orders list`")),
            (None, _, Which::Begins(start)) => {
                Err(failed(Exit::Refused, format!("no order {start} can go on; see `sdpp orders list`")))
            }
            (Some(_), Some(_), _) => Err(failed(
                Exit::Usage,
                "several orders fit: say which one by the first characters of its id; see `sdpp orders list`",
            )),
        }
    }
}

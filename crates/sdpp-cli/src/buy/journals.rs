//! The buyer's journals. Each running purchase has one to itself, so several may run at a time; all of
//! them together are what the buyer has ordered.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use sdpp::buyer::{OrderInfo, orders};
use sdpp::journal::Journal;

use crate::buy::args::Which;
use crate::config::Class;
use crate::exit::{Exit, failed};
use crate::home::{Home, Role, RoleHome};
use crate::ledger::Failure;
use crate::sell::durability;

/// Purchases that may run at a time.
const JOURNALS: u32 = 64;

/// All journals of a buyer that nobody else uses at the moment.
pub(crate) struct Journals {
    pub(crate) free: Vec<Journal>,
    /// Names of those that running purchases have.
    pub(crate) busy: Vec<String>,
}

/// An order and the journal that has it.
pub(crate) struct Found {
    pub(crate) journal: Journal,
    pub(crate) order: OrderInfo,
}

fn name(number: u32) -> String {
    if number == 1 { "journal".to_owned() } else { format!("journal-{number}") }
}

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    PathBuf::from(name)
}

/// Whether a running program has this store.
pub(crate) fn is_busy(path: &Path) -> bool {
    File::open(lock_of(path)).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

fn class(home: &Home, asked: Option<Class>) -> Result<sdpp_rail::Durability, Failure> {
    Ok(durability(asked.or(home.config()?.buyer.journal)))
}

fn open(role: &RoleHome, name: &str, durability: sdpp_rail::Durability) -> Result<Journal, Failure> {
    let store = role.store(name, durability).map_err(|error| failed(Exit::Storage, error.to_string()))?;
    Ok(Journal::start(store)?)
}

/// A journal for a new purchase: the first that nobody uses.
pub(crate) fn fresh(home: &Home, asked: Option<Class>) -> Result<Journal, Failure> {
    let (role, durability) = (home.role(Role::Buyer)?, class(home, asked)?);
    for number in 1..=JOURNALS {
        let name = name(number);
        if is_busy(&role.file(&format!("{name}.db"))) {
            continue;
        }
        match open(&role, &name, durability) {
            // Another purchase began at the same moment.
            Err(_) if is_busy(&role.file(&format!("{name}.db"))) => {}
            opened => return opened,
        }
    }
    Err(failed(Exit::InUse, format!("{JOURNALS} purchases run already: end one, or name another --home")))
}

impl Journals {
    /// Opens all that are there and free.
    pub(crate) fn open(home: &Home, asked: Option<Class>) -> Result<Self, Failure> {
        let (role, durability) = (home.role(Role::Buyer)?, class(home, asked)?);
        let (mut free, mut busy) = (Vec::new(), Vec::new());
        for name in (1..=JOURNALS).map(name) {
            let path = role.file(&format!("{name}.db"));
            if !path.exists() {
                continue;
            }
            if is_busy(&path) {
                busy.push(name);
            } else {
                free.push(open(&role, &name, durability)?);
            }
        }
        Ok(Self { free, busy })
    }

    /// All orders, the newest of each journal last.
    pub(crate) async fn orders(&self, home: &Home) -> Result<Vec<Found>, Failure> {
        let key = home.role(Role::Buyer)?.key()?;
        let mut found = Vec::new();
        for journal in &self.free {
            for order in orders(journal, &key).await? {
                found.push(Found { journal: journal.clone(), order });
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

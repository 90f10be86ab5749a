//! Points where a program can be made to fail: before and after every durable write, send and call of a
//! rail. They are here because every crate that does such a thing can see this one.
//!
//! A library only says that it is at a point, for the price of one atomic load. What happens there is the
//! business of a program or a test that has set a hook; the program `sdpp` does so in debug builds only.
//!
//! | place | what | before or after |
//! |---|---|---|
//! | `sync` | `sink` | a sink's file is flushed to the disk, before the rows that vouch for it |
//! | `flush`, `flushed` | kind of the row: `order`, `invoice`, `payment`, … (`docs/journal.md`) | a commit of a journal |
//! | `send`, `sent` | `frames` | bytes of a session are written to its socket |
//! | `open`, `opened` | `channel` | a buyer asks its rail for what stands behind an order |
//! | `pay`, `paid` | `bill` | a buyer asks its rail to pay |
//! | `close`, `closed` | `channel` | a buyer asks its rail to close a channel |
//! | `settle`, `settled` | `bill` | a seller asks its rail whether it was paid |
//! | `redeem`, `redeemed` | `voucher` | a seller asks its rail for the money |
//! | `flush`, `flushed` | `entries` | a commit of a ledger, with something that somebody waits for |
//! | `answer` | `entries` | a ledger answers those who wait |

use std::sync::OnceLock;

/// What happens at a point, by place and what it is about.
pub type Hook = Box<dyn Fn(&str, &str) + Send + Sync>;

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Sets what happens at every point from now on. Says whether it was the first to do so: the others
/// change nothing.
pub fn arm(hook: Hook) -> bool {
    HOOK.set(hook).is_ok()
}

/// Whether somebody listens.
pub fn is_armed() -> bool {
    HOOK.get().is_some()
}

/// The program is at this point.
pub fn reach(place: &str, what: &str) {
    if let Some(hook) = HOOK.get() {
        hook(place, what);
    }
}

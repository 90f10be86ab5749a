//! What can be looked at without asking anybody: configuration, keys, disk, journals, port, clock.

use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use sdpp_proto::time::Timestamp;
use sdpp_rail::{Durability, SqliteStore, Store as _, StoreError};

use super::Finding;
use crate::config::{Config, FILE};
use crate::home::{Home, Role, is_busy};
use crate::sell::{LISTEN, durability};
use crate::text::time;

/// The clock of any machine that runs this program is past this: 2026-01-01.
const SANE_MS: u64 = 1_767_225_600_000;
/// A clock so far behind a ledger's own time is wrong.
const BEHIND_MS: u64 = 60_000;
/// A flush that takes longer slows small windows down.
const SLOW_FLUSH_MS: u128 = 20;

/// The configuration, and whether it can be read.
pub(super) fn configuration(home: &Home) -> (Config, Finding) {
    const CHECK: &str = "configuration";
    match home.config() {
        Ok(config) if config == Config::default() => {
            (config, Finding::good(CHECK, format!("none, or an empty one; it would be {}", home.file(FILE).display())))
        }
        Ok(config) => {
            let text = format!("{} products, {} sources", config.products.len(), config.sources.len());
            (config, Finding::good(CHECK, text))
        }
        Err(error) => (Config::default(), Finding::bad(CHECK, error.to_string())),
    }
}

/// The keys that are there.
pub(super) fn keys(home: &Home) -> Vec<Finding> {
    const CHECK: &str = "key";
    let mut found = Vec::new();
    for role in [Role::Seller, Role::Buyer] {
        if !home.file(&role.to_string()).join("key").exists() {
            found.push(Finding::good(CHECK, format!("{role}: none yet; it is made on first use")));
            continue;
        }
        found.push(match home.role(role).and_then(|home| home.key()) {
            Ok(key) => Finding::good(CHECK, format!("{role}: {}", key.public())),
            Err(error) => Finding::bad(CHECK, format!("{role}: {error}")),
        });
    }
    found
}

/// Room for journals.
pub(super) fn disk(home: &Home, free_mb: u64) -> Finding {
    const CHECK: &str = "disk";
    let folder = home.file("");
    // Before the first use the folder is not there; its nearest parent is on the same disk.
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    match fs4::available_space(there) {
        Ok(bytes) if bytes / 1_000_000 < free_mb => Finding::bad(
            CHECK,
            format!(
                "{} MB are free at {}, less than {free_mb}: a full disk stops sales; make room, or use another --home",
                bytes / 1_000_000,
                there.display()
            ),
        ),
        Ok(bytes) => Finding::good(CHECK, format!("{} MB are free at {}", bytes / 1_000_000, there.display())),
        Err(error) => Finding::bad(CHECK, format!("{}: {error}", there.display())),
    }
}

/// The journals: whether they open, and what a flush survives and costs.
pub(super) fn journals(home: &Home) -> Vec<Finding> {
    const CHECK: &str = "journal";
    let config = home.config().unwrap_or_default();
    let mut found = Vec::new();
    for (role, class) in [(Role::Seller, config.seller.journal), (Role::Buyer, config.buyer.journal)] {
        let path = home.file(&role.to_string()).join("journal.db");
        let class = durability(class);
        let survives = match class {
            Durability::Power => "class power: a flush survives a power cut",
            Durability::Process => "class process: a flush survives a kill; a power cut may take the last moments",
        };
        if !path.exists() {
            found.push(Finding::good(CHECK, format!("{role}: none yet; {survives}")));
            continue;
        }
        if is_busy(&path) {
            found.push(Finding::good(CHECK, format!("{role}: a running {role} has it; {survives}")));
            continue;
        }
        found.push(match probe(&path, class) {
            Ok(ms) if ms > SLOW_FLUSH_MS => Finding::warning(
                CHECK,
                format!("{role}: {survives}; it takes {ms} ms here, which slows small windows: more --windows help"),
            ),
            Ok(ms) => Finding::good(CHECK, format!("{role}: {survives}, and takes {ms} ms here")),
            Err(error) => Finding::bad(CHECK, format!("{role}: {error}")),
        });
    }
    found
}

/// Opens a journal, and flushes once into a store beside it; how many milliseconds that took.
fn probe(path: &Path, class: Durability) -> Result<u128, StoreError> {
    drop(SqliteStore::open(path, class)?);
    let beside = path.with_file_name("doctor.db");
    let mut store = SqliteStore::open(&beside, class)?;
    store.append("doctor", b"a row")?;
    let started = Instant::now();
    store.flush()?;
    let took = started.elapsed().as_millis();
    drop(store);
    for end in ["", "-wal", "-shm", ".lock"] {
        let mut name = beside.clone().into_os_string();
        name.push(end);
        // What stays is small and is used again.
        let _ = std::fs::remove_file(name);
    }
    Ok(took)
}

/// Whether the seller could listen.
pub(super) fn port(home: &Home, config: &Config) -> Finding {
    const CHECK: &str = "port";
    let listen = config.seller.listen.unwrap_or(LISTEN);
    match TcpListener::bind(listen) {
        Ok(_) => Finding::good(CHECK, format!("{listen} is free for the seller")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && is_busy(&home.file("seller/journal.db")) => {
            Finding::good(CHECK, format!("{listen} is in use, and a seller runs here: `sdpp status` looks at it"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::bad(
            CHECK,
            format!(
                "{listen} is in use by another program: stop it, or choose another with `listen` in {}",
                home.file(FILE).display()
            ),
        ),
        Err(error) => Finding::bad(CHECK, format!("{listen}: {error}; choose another with `listen`")),
    }
}

/// Whether the clock can be right. A ledger's last tick is a time that has passed.
pub(super) fn clock(last_tick: Option<Timestamp>) -> Finding {
    const CHECK: &str = "clock";
    let now = sdpp::now();
    if now.as_ms() < SANE_MS {
        return Finding::bad(CHECK, format!("it says {}: set it, menus and orders end by it", time(now)));
    }
    match last_tick.filter(|tick| tick.since_ms(now) > BEHIND_MS) {
        Some(tick) => Finding::bad(
            CHECK,
            format!("it says {}, and the ledger was at {} already: one of the two is wrong", time(now), time(tick)),
        ),
        None => Finding::good(CHECK, time(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_clock_behind_its_ledger_is_noticed() {
        assert_eq!(clock(None).state, State::Good);
        assert_eq!(clock(Some(sdpp::now())).state, State::Good);
        let ahead = sdpp::now().after_ms(2 * BEHIND_MS);
        assert_eq!(clock(Some(ahead)).state, State::Bad);
    }
}

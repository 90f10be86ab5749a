//! What must be true of a market and its orders, whoever was killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sdpp::journal::ORDERS;
use sdpp_proto::codec::{Digest, StatementId};
use sdpp_proto::journal::Entry;
use sdpp_proto::statement::{Invoice, Kind, Signed};
use sdpp_rail::{Durability, SqliteStore, Store as _, StoreReader as _};

use crate::files;
use crate::kit::*;
use crate::market::{Market, Who};
use crate::sale::Sale;

/// Digests by order and number of the invoice.
type Digests = BTreeMap<(StatementId, u64), Digest>;

/// The exported evidence satisfies an auditor that has nothing else.
pub(crate) fn bundle(sale: &Sale, market: &Market) {
    let order = sale.order(market).unwrap();
    let file = market.folder.text(&format!("{}.bundle", sale.home));
    let exported = market.run(&sale.home, &["orders", "export", text(&order["order"]), "--out", &file]);
    assert!(exported.status.success(), "{}: {}", sale.label, stderr(&exported));
    let mut args = vec!["audit", &file, "--seller", text(&order["seller"]), "--json"];
    if market.plan.witnessed {
        args.extend(["--ledger", &market.log, "--witness", &market.cosigner]);
    }
    let audited = market.run("auditor", &args);
    let report = String::from_utf8_lossy(&audited.stdout);
    assert_eq!(audited.status.code(), Some(0), "{}: {report}{}", sale.label, stderr(&audited));
}

/// The invoices of a journal that nobody has open: no number has two digests.
fn digests(journal: &Path, all: &mut Digests) {
    let store = SqliteStore::open(journal, Durability::Power).unwrap();
    for stream in store.streams(ORDERS).unwrap() {
        for row in store.read(&stream, 0, usize::MAX >> 1).unwrap() {
            let Entry::Statement(statement) = Entry::from_bytes(&row.body).unwrap() else { continue };
            if statement.kind != Kind::Invoice {
                continue;
            }
            let invoice = Signed::<Invoice>::parse_unverified(&statement.bytes).unwrap();
            let before = all.insert((invoice.order_id, invoice.n), invoice.digest);
            let same = before.is_none_or(|before| before == invoice.digest);
            assert!(same, "{}: two digests of invoice {} in {stream}", journal.display(), invoice.n);
        }
    }
}

/// The log is sound to whoever reads it: tree, rules, signatures, money.
pub(crate) fn sound(market: &Market) {
    let tiles = market.folder.text("tiles");
    for source in [market.url(Who::Ledger), tiles] {
        let args = ["ledger", "fsck", &source, "--log", &market.log, "--witness", &market.cosigner, "--json"];
        let start = Instant::now();
        // Files follow a moment later, and the last cosignature may be on its way.
        loop {
            let output = market.run("auditor", &args);
            if output.status.success() {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{source} is not sound: {}", stderr(&output));
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Ends a market in good order, and looks at what it leaves behind.
pub(crate) fn close(mut market: Market) {
    market.disarm();
    market.settled();
    sound(&market);
    for who in [Who::Seller, Who::Ledger, Who::Witness] {
        market.stop(who);
    }
    let published = files::check(&market.folder.path("tiles"), &market.log.parse().unwrap());
    assert!(published.is_some(), "nothing was published");
    // What a buyer and its seller have of one invoice is the same.
    let mut all = Digests::new();
    for home in std::fs::read_dir(market.folder.path("")).unwrap() {
        let home = home.unwrap().path();
        for role in ["buyer", "seller"] {
            let folder = home.join(role);
            let journal = folder.join("journal.db");
            if journal.exists() {
                digests(&journal, &mut all);
            }
            let names = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().file_name());
            for name in names.map(|name| name.to_string_lossy().into_owned()) {
                assert!(!name.starts_with("evidence"), "{}: the ledger was called a liar", folder.display());
            }
        }
    }
    assert!(!all.is_empty(), "there were invoices");
}

//! A hundred buyers at once, with other products, windows and prices, five of them killed and resumed: each
//! gets exactly its order, key and bill.
#![cfg(unix)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "ledger/house.rs"]
mod house;
#[path = "ledger/kit.rs"]
mod kit;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use house::*;
use kit::*;

const BUYERS: usize = 100;
/// Of those, so many are killed in mid-window and started again.
const KILLED: usize = 5;
/// Lines of each product's file.
const SOURCE_LINES: usize = 300;

/// A product: K, windows, price of so many units, in bytes or not, signing rule.
struct Product {
    k: usize,
    windows: usize,
    price: (u64, u64),
    bytes: bool,
    signed: bool,
}

const fn product(k: usize, windows: usize, price: (u64, u64), bytes: bool, signed: bool) -> Product {
    Product { k, windows, price, bytes, signed }
}

const PRODUCTS: [Product; 8] = [
    product(1, 1, (5, 1), false, false),
    product(3, 2, (3, 7), false, false),
    product(10, 1, (1, 1), false, true),
    product(10, 4, (3, 1000), false, false),
    product(25, 2, (1, 100), true, false),
    product(50, 8, (9, 4), false, false),
    product(100, 2, (7, 1000), true, true),
    product(7, 3, (11, 1), false, false),
];

/// A line of a product's file.
fn line(product: usize, number: usize) -> String {
    format!("{{\"product\":{product},\"number\":{number},\"pad\":\"{}\"}}", "x".repeat((number * 7 + product) % 40))
}

impl Product {
    fn config(&self, number: usize, file: &str) -> String {
        let Self { k, windows, price: (amount, per), bytes, signed } = self;
        let unit = if *bytes { "B" } else { "" };
        format!(
            "[sources.s{number}]\nfile = \"{file}\"\n[[products]]\ntopic = \"p{number}\"\nsource = \"s{number}\"\n\
             price = \"{amount}/{per}{unit}\"\nk = {k}\nwindows = {windows}\nsign_messages = {signed}\nmessage_max = 200\n"
        )
    }

    /// What so many of its messages cost, rounded up once.
    fn due(&self, lines: &[String]) -> u64 {
        let bytes: usize = lines.iter().map(String::len).sum();
        let units = if self.bytes { bytes } else { lines.len() };
        (u64::try_from(units).unwrap() * self.price.0).div_ceil(self.price.1)
    }
}

struct Order {
    product: usize,
    home: String,
    file: String,
    count: usize,
    buyer: Served,
    killed: bool,
}

/// Starts buyer `number` on its product, with windows of its own.
fn order(house: &House, addresses: &[String], number: usize) -> Order {
    let product = number % PRODUCTS.len();
    let most = PRODUCTS[product].windows;
    let (count, windows) = (40 + number * 2, (1 + number % most).to_string());
    let (home, file) = (format!("buyer-{number}"), house.folder.text(&format!("out-{number}")));
    let text = count.to_string();
    let mut args = vec!["buy", &addresses[product], "--count", &text, "--windows", &windows, "--to", &file];
    // Everybody's replica checks everybody's entries: a hundred that record each invoice are a test of patience.
    args.extend(["--record", "ends", "--journal", "process", "--quiet", "--json"]);
    let mut command = house.command(&home, &args);
    // Spread over products and windows, and each at another invoice.
    let killed = number % (BUYERS / KILLED) == 7;
    if killed {
        command.env("SDPP_FAILPOINT", format!("flushed/invoice:{}", 2 + number / 20));
    }
    Order { product, home, file, count, buyer: Served::spawn(command), killed }
}

impl Order {
    /// Waits for its end, over a kill; gives order, key and bill.
    fn end(mut self, house: &House) -> (String, String, u64) {
        let status = self.buyer.wait();
        let said = if self.killed {
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{}", self.buyer.said());
            let resumed = house.run(&self.home, &["buy", "--resume", "--quiet", "--json"]);
            assert!(resumed.status.success(), "{}: {}", self.home, stderr(&resumed));
            stderr(&resumed)
        } else {
            assert!(status.success(), "{}: {}", self.home, self.buyer.said());
            until(|| self.buyer.said().contains("\"settled\""));
            self.buyer.said()
        };
        let lines: Vec<String> = (0..self.count).map(|number| line(self.product, number)).collect();
        let got = std::fs::read_to_string(&self.file).unwrap();
        assert!(got.lines().eq(lines.iter().map(String::as_str)), "{}: not what was ordered", self.home);
        let (end, due) = (end_of(&said), PRODUCTS[self.product].due(&lines));
        let bill = due.to_string();
        assert_eq!((text(&end["due"]), text(&end["paid"])), (&*bill, &*bill), "{}", self.home);

        // The auditor checks who signed the order and every payment.
        let audited = house.run(&self.home, &["audit", "--offline", "--json"]);
        let report = String::from_utf8_lossy(&audited.stdout).into_owned();
        assert_eq!(audited.status.code(), Some(0), "{}: {report}", self.home);
        let report: serde_json::Value = serde_json::from_str(report.trim()).expect("one order");
        assert_eq!(report["order"], end["order"]);
        assert_eq!(text(&report["totals"]["paid"]), bill);
        (text(&end["order"]).to_owned(), text(&report["buyer"]).to_owned(), due)
    }
}

#[test]
fn a_hundred_buyers_each_get_their_order_key_and_bill() {
    let house = House::open("crowd");
    let mut config = String::new();
    for (number, product) in PRODUCTS.iter().enumerate() {
        let text: String = (0..SOURCE_LINES).map(|at| line(number, at) + "\n").collect();
        let file = house.folder.text(&format!("source-{number}"));
        std::fs::write(&file, text).unwrap();
        write!(config, "{}", product.config(number, &file)).unwrap();
    }
    // A hundred strangers at once owe more than the usual pool for sixteen.
    let (seller, addresses) = house.sell(&format!("[seller]\nstrangers = 100000000\n{config}"), PRODUCTS.len());
    let orders: Vec<Order> = (0..BUYERS).map(|number| order(&house, &addresses, number)).collect();
    assert_eq!(orders.iter().filter(|order| order.killed).count(), KILLED);
    let ends: Vec<_> = orders.into_iter().map(|order| order.end(&house)).collect();
    let (ids, keys): (BTreeSet<_>, BTreeSet<_>) = ends.iter().map(|(id, key, _)| (id, key)).unzip();
    assert_eq!((ids.len(), keys.len()), (BUYERS, BUYERS), "orders and keys of their own");

    let earned: u64 = ends.iter().map(|(.., due)| due).sum();
    until(|| house.balance("seller", "seller") >= earned);
    assert_eq!(house.balance("seller", "seller"), earned, "all bills, and no more");
    for (_, key, due) in &ends {
        // What was locked for the order is free again when the seller has closed its channel.
        until(|| {
            let has = house.lines("seller", &["ledger", "balance", key, "--as", "seller", "--json"]);
            text(&has[0]["amount"]) == (GRANT - due).to_string()
        });
    }
    let rows = house.lines("seller", &["status", "--json"]);
    let open: Vec<_> = rows.iter().filter(|row| row["kind"] == "order").collect();
    assert!(open.is_empty(), "{open:?}");
    assert!(rows.iter().filter(|row| row["kind"] == "pool").all(|row| row["used"] == "0"), "{rows:?}");
    seller.stop();
    house.close();
}

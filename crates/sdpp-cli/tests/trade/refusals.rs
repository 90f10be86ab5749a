//! What does not work gets one clear error with an exit code of its own, says what to do next, and
//! loses nothing.

use std::process::Command;

use crate::kit::*;
use crate::market::*;

/// A key that nobody here has.
const STRANGER: &str = "z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH";

#[test]
fn an_address_that_is_wrong_is_refused() {
    let market = Market::open("address");
    let (seller, address) = market.sell_weather();
    let place = address.split_once('@').unwrap().1;
    let nobody = fixed_address();
    let key = address.strip_prefix("sdpp://").unwrap().split_once('@').unwrap().0;
    for (address, code, why) in [
        (format!("sdpp://{place}"), 2, "--any-seller"),
        (address.replace("/weather", ""), 2, "sdpp menu"),
        ("weather".to_owned(), 2, "sdpp://KEY@HOST:PORT/TOPIC"),
        (format!("sdpp://{key}@{nobody}/weather"), 4, "that the seller runs"),
        (format!("sdpp://{STRANGER}@{place}"), 6, "another key than the address has"),
        (address.replace("/weather", "/wether"), 5, "it offers: weather"),
    ] {
        let said = fails(market.command(&["buy", &address, "--count", "10"]), code);
        assert!(said.contains(why), "{address}: {said}");
    }
    // Nothing was ordered, and nothing was asked of the ledger.
    assert!(market.rows(&["orders", "list"]).is_empty());
    assert_eq!(market.balance("buyer"), 0);
    let said = ends(market.command(&["buy", &format!("sdpp://{place}"), "--any-seller", "--count", "1"]), 0);
    assert!(said.contains("settled: 1 messages"), "{said}");
    seller.stop();
}

#[test]
fn money_that_is_not_there_is_not_spent() {
    let market = Market::open("money");
    market.on_sale("1000/1", 0);
    let (seller, address) = market.sell(&[]);
    let most = u128::MAX.to_string();
    let more = format!("{most}0");
    let count = u64::MAX.to_string();
    for (args, code, why) in [
        (&["--count", "0"][..], 2, "--count"),
        (&[], 2, "--budget"),
        (&["--count", "10", "--budget", "0"], 2, "--budget"),
        (&["--count", "10", "--budget", &more], 2, "not an amount"),
        (&["--count", "10", "--budget", &most], 8, "order less"),
        (&["--count", "1001"], 8, "has 1000000"),
        (&["--count", &count], 8, "order less"),
        (&["--count", "10", "--windows", "9"], 5, "--windows 2"),
        (&["--count", "10", "--rail", "direct"], 5, "it is paid by: ledger"),
    ] {
        let said = fails(market.command(&[&["buy", &address], args].concat()), code);
        assert!(said.contains(why), "{args:?}: {said}");
    }
    assert_eq!(market.balance("buyer"), GRANT, "no deposit is locked");

    // A budget that ends before the count is spent, and no more.
    let said = ends(market.command(&["buy", &address, "--count", "100", "--budget", "5500", "--quiet"]), 0);
    assert!(said.contains("settled: 5 messages") && said.contains("the budget is spent"), "{said}");
    // What is left of the deposit comes back when the seller has closed the channel.
    until(|| market.balance("buyer") == GRANT - 5000);
    seller.stop();

    // What a number of messages costs may be more than any amount.
    let data = market.data();
    let half = (u128::MAX / 2).to_string();
    let dear = ["--product", "dear", "--price", &half, "--k", "1", "--windows", "1", "--from", &data];
    let (seller, address) = market.sell(&dear);
    let said = ends(market.command(&["buy", &address, "--count", "3"]), 2);
    assert!(said.contains("does not fit an amount"), "{said}");
    seller.stop();
    let said = ends(market.command(&[&["sell"][..], &dear[..6], &["--windows", "4"], &dear[8..]].concat()), 2);
    assert!(said.contains("smaller price"), "{said}");
}

#[test]
fn a_price_that_was_raised_meanwhile_is_not_paid() {
    let market = Market::open("raised");
    market.on_sale("1/1", 0);
    let mut seller = market.command(&["sell"]);
    seller.env("SDPP_LOG", "info");
    let seller = Served::spawn(seller);
    let address = seller.url();
    // A buyer that has money, looks at the menu, and waits for a ledger that does not answer…
    ends(market.command(&["buy", &address, "--count", "1", "--to", &market.folder.text("one")]), 0);
    let looks = || seller.said().matches("a connection ended without an order").count();
    let before = looks();
    market.signal_ledger("STOP");
    let mut buyer = Served::spawn(market.command(&["buy", &address, "--count", "10"]));
    until(|| looks() > before);
    // …does not pay what it was not shown.
    market.rows(&["status", "price", "weather", "9/1"]);
    market.signal_ledger("CONT");
    assert_eq!(buyer.wait().code(), Some(5), "{}", buyer.said());
    until(|| buyer.said().contains("changed price or terms"));
    assert_eq!(market.balance("buyer"), GRANT - 1);
    assert_eq!(market.rows(&["orders", "list"]).len(), 1, "nothing was ordered");
    seller.stop();
}

#[test]
fn what_cannot_be_sold_says_why() {
    let market = Market::open("unsold");
    let data = market.data();
    let selling = ["--product", "weather", "--price", "3/1000", "--k", "10", "--from", &data];
    let empty = market.folder.path("empty");
    let url = market.url();
    let sell = |args: &[&str]| program(&empty, &[&["sell", "--ledger", &url], args].concat());
    for (args, code, why) in [
        (&[][..], 2, "nothing to sell"),
        (&["--product", "weather"], 2, "--price"),
        (&["--product", "w", "--price", "0.3", "--from", &data], 2, "not a price"),
        (&["--listen", "127.0.0.1:0", "--product", "w", "--price", "1/1", "--from", "/nowhere"], 12, "/nowhere"),
        (&["--listen", "127.0.0.1:0", "--product", "w", "--price", "1/1", "--from", "/tmp"], 12, "is no file"),
        (
            &["--listen", "127.0.0.1:0", "--asset", "peas", "--product", "w", "--price", "1/1", "--from", &data],
            2,
            "peas",
        ),
    ] {
        let said = fails(sell(args), code);
        assert!(said.contains(why), "{args:?}: {said}");
    }
    let listen = fixed_address();
    let (seller, _) = market.sell(&[&selling[..], &["--listen", &listen]].concat());
    // A port in use, and a second one in a home.
    let said = ends(sell(&[&selling[..], &["--listen", &listen]].concat()), 11);
    assert!(said.contains(&listen) && said.contains("--listen"), "{said}");
    let said = ends(market.command(&[&["sell"], &selling[..]].concat()), 11);
    assert!(said.contains("has it open") && said.contains("--home") && said.contains("sdpp status"), "{said}");
    seller.stop();
}

#[test]
fn a_ledger_that_is_down_or_another_is_said() {
    let market = Market::open("down");
    let (seller, address) = market.sell_weather();
    market.kill_ledger();
    let said = ends(market.command(&["buy", &address, "--count", "10"]), 4);
    assert!(said.contains(&market.url()) && said.contains("sdpp ledger serve"), "{said}");
    let data = market.data();
    let selling = ["sell", "--listen", "127.0.0.1:0", "--product", "w", "--price", "1/1", "--from", &data];
    let said = ends(program(&market.folder.path("other"), &[&selling[..], &["--ledger", &market.url()]].concat()), 4);
    assert!(said.contains(&market.url()), "{said}");

    // Another one in its place is not believed: money on it would be no money.
    let url = market.url();
    let serve = ["ledger", "serve", "--listen", url.strip_prefix("http://").unwrap(), "--dev-grant", "1000"];
    let other = Served::spawn(program(&market.folder.path("thief"), &serve));
    other.url();
    ends(market.command(&["buy", &address, "--count", "10"]), 7);
    seller.stop();
    other.stop();
}

/// The program behind a shell that limits the size of its files. Without the signal a write just fails.
fn limited(plain: &Command, blocks: u32) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    shell.arg("-c").arg(script).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

#[test]
fn a_full_disk_stops_a_purchase_that_then_goes_on() {
    let market = Market::open("full");
    market.on_sale("1/1000", 0);
    let (seller, address) = market.sell(&[]);
    // The replica is there already, and journals of this purchase stay small: it is the data that does not fit.
    market.balance("buyer");
    let out = market.folder.path("out");
    let buying = ["buy", &address, "--count", "3000", "--record", "ends", "--to", &out.display().to_string()];
    let said = fails(limited(&market.command(&buying), 300), 10);
    assert!(said.contains("is the disk full?") && said.contains("go on with: sdpp buy --resume"), "{said}");
    assert!(lines_of(&out) < 3000);
    // With room again it goes on.
    ends(market.command(&["buy", "--resume"]), 0);
    assert_holds(&out, 3000);
    assert_eq!(text(&market.order()["state"]), "settled");
    seller.stop();
}

#[test]
fn a_broken_line_ends_a_sale_that_is_settled() {
    let market = Market::open("broken");
    let table = market.folder.path("table.csv");
    let rows: String =
        (1..=50).map(|n| if n == 30 { "30,\"torn\n".to_owned() } else { format!("{n},{}\n", n * 7) }).collect();
    std::fs::write(&table, format!("number,value\n{rows}")).unwrap();
    let from = table.display().to_string();
    let selling = ["--product", "table", "--price", "1/1", "--k", "5", "--from", &from];
    let (seller, address) = market.sell(&selling);
    let out = market.folder.path("out");
    let said = ends(market.command(&["buy", &address, "--count", "50", "--to", &out.display().to_string()]), 0);
    assert!(said.contains("fewer than ordered"), "{said}");
    assert_eq!(lines_of(&out), 29, "what came before it");
    let order = market.order();
    assert_eq!((text(&order["state"]), text(&order["paid"])), ("settled", "29"));
    // Its owner hears where.
    until(|| seller.said().contains("table.csv, line 31"));
    seller.stop();

    let (seller, address) = market.sell(&[&selling[..], &["--skip-broken"]].concat());
    let out = market.folder.path("skipped");
    ends(market.command(&["buy", &address, "--count", "100", "--to", &out.display().to_string()]), 0);
    assert!(lines_of(&out) >= 29);
    seller.stop();
}

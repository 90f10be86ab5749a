//! What is stopped, killed and torn off goes on, and nothing is lost, repeated or paid twice.

use std::path::Path;

use crate::kit::*;
use crate::market::*;

/// Messages a second while something is to happen in the middle.
const SLOW: u32 = 50;
/// Lines after which it is the middle.
const MIDDLE: usize = 15;

/// A seller whose sale takes a while, at an address that stays its own.
fn slow_seller(market: &Market) -> (Served, String, String) {
    market.on_sale("1/1", SLOW);
    let listen = fixed_address();
    let (seller, address) = market.sell(&["--listen", &listen]);
    (seller, address, listen)
}

/// From now on the seller is fast: an order that goes on ends soon.
fn hurry(market: &Market, seller: &Served) {
    market.on_sale("1/1", 0);
    seller.signal("HUP");
    until(|| seller.said().contains("configuration read again"));
}

fn middle(out: &Path) {
    until(|| lines_of(out) >= MIDDLE);
}

/// What was ordered is there, once, and paid once.
fn whole(market: &Market, out: &Path, count: usize) {
    assert_holds(out, count);
    let order = market.order();
    assert_eq!((text(&order["state"]), text(&order["paid"])), ("settled", count.to_string().as_str()), "{order}");
    let audit = run(market.command(&["audit", "--offline"]));
    assert_eq!(audit.status.code(), Some(0), "{}", String::from_utf8_lossy(&audit.stdout));
}

#[test]
fn ctrl_c_settles() {
    let market = Market::open("interrupt");
    let (seller, address, _) = slow_seller(&market);
    let (mut buyer, out) = market.buying(&address, &["--budget", "100000"]);
    middle(&out);
    buyer.signal("INT");
    assert_eq!(buyer.wait().code(), Some(0), "{}", buyer.said());
    until(|| buyer.said().contains("settled: "));
    assert!(!buyer.said().contains("--resume"), "{}", buyer.said());
    whole(&market, &out, lines_of(&out));
    assert!(ends(market.command(&["buy", "--resume"]), 5).contains("no order is unfinished"));
    seller.stop();
}

#[test]
fn ctrl_c_twice_leaves_at_once_and_the_order_goes_on() {
    let market = Market::open("twice");
    let (seller, address, _) = slow_seller(&market);
    let (mut buyer, out) = market.buying(&address, &["--count", "400"]);
    middle(&out);
    // Nobody answers, so settling takes a while.
    seller.signal("STOP");
    buyer.signal("INT");
    until(|| buyer.said().contains("stopping"));
    buyer.signal("INT");
    assert_eq!(buyer.wait().code(), Some(130), "{}", buyer.said());
    seller.signal("CONT");
    hurry(&market, &seller);
    assert!(buyer.said().contains("go on with: sdpp buy --resume"), "{}", buyer.said());
    let order = market.order();
    assert_ne!(text(&order["state"]), "settled");
    // The seller has heard of the first one: what came until then is settled.
    ends(market.command(&["buy", "--resume", &text(&order["order"])[..8]]), 0);
    whole(&market, &out, lines_of(&out));
    seller.stop();
}

#[test]
fn a_killed_buyer_goes_on() {
    let market = Market::open("killed-buyer");
    let (seller, address, _) = slow_seller(&market);
    let (mut buyer, out) = market.buying(&address, &["--count", "400", "--keep"]);
    middle(&out);
    // Nobody else has this order meanwhile.
    let said = ends(market.command(&["buy", "--resume"]), 11);
    assert!(said.contains("runs now"), "{said}");
    buyer.kill();
    hurry(&market, &seller);
    ends(market.command(&["buy", "--resume"]), 0);
    whole(&market, &out, 400);
    seller.stop();
}

#[test]
fn a_killed_seller_comes_back_and_its_buyer_with_it() {
    let market = Market::open("killed-seller");
    let (mut seller, address, listen) = slow_seller(&market);
    let (mut buyer, out) = market.buying(&address, &["--count", "400"]);
    middle(&out);
    seller.kill();
    until(|| buyer.said().contains("connection lost; trying again"));
    market.on_sale("1/1", 0);
    let (seller, again) = market.sell(&["--listen", &listen]);
    assert_eq!(again, address);
    assert_eq!(buyer.wait().code(), Some(0), "{}", buyer.said());
    whole(&market, &out, 400);
    seller.stop();
}

#[test]
fn a_seller_that_is_stopped_settles_with_its_buyers() {
    for signal in ["TERM", "INT"] {
        let market = Market::open(&format!("stopped-{signal}"));
        let (mut seller, address, _) = slow_seller(&market);
        let (mut buyer, out) = market.buying(&address, &["--count", "3000"]);
        middle(&out);
        seller.signal(signal);
        assert_eq!(seller.wait().code(), Some(0), "{}", seller.said());
        assert_eq!(buyer.wait().code(), Some(0), "{}", buyer.said());
        until(|| buyer.said().contains("fewer than ordered"));
        whole(&market, &out, lines_of(&out));
        until(|| seller.said().contains("sold "));
        assert!(!seller.said().contains("still owes"), "{}", seller.said());
    }
}

#[test]
fn a_killed_ledger_comes_back_and_nothing_is_lost() {
    let market = Market::open("killed-ledger");
    let (seller, address, _) = slow_seller(&market);
    let (mut buyer, out) = market.buying(&address, &["--count", "400"]);
    middle(&out);
    market.kill_ledger();
    // No seller sells for long against a ledger that it cannot see: what is under way waits for it.
    assert_eq!(buyer.wait().code(), Some(9), "{}", buyer.said());
    until(|| buyer.said().contains("go on with: sdpp buy --resume"));
    assert!(buyer.said().contains("rail cannot be reached"), "{}", buyer.said());
    let said = ends(market.command(&["buy", "--resume"]), 4);
    assert!(said.contains(&market.url()), "{said}");
    market.start_ledger();
    hurry(&market, &seller);
    ends(market.command(&["buy", "--resume"]), 0);
    whole(&market, &out, 400);
    until(|| market.balance("seller") == 400);
    assert_eq!(market.balance("buyer"), GRANT - 400, "the deposit is back");
    let audit = run(market.command(&["audit"]));
    assert_eq!(audit.status.code(), Some(0), "{}", String::from_utf8_lossy(&audit.stdout));
    seller.stop();
}

#[test]
fn purchases_of_one_home_do_not_wait_for_each_other() {
    let market = Market::open("both");
    let (seller, address, _) = slow_seller(&market);
    let (mut first, out) = market.buying(&address, &["--budget", "1000"]);
    middle(&out);
    let second = market.folder.path("second");
    ends(market.command(&["buy", &address, "--count", "20", "--to", &second.display().to_string()]), 0);
    assert_holds(&second, 20);
    let listed = run(market.command(&["orders", "list"]));
    assert!(stderr(&listed).contains("sdpp status --as buyer"), "{}", stderr(&listed));
    first.signal("INT");
    assert_eq!(first.wait().code(), Some(0), "{}", first.said());
    assert_holds(&out, lines_of(&out));
    assert_eq!(market.rows(&["orders", "list"]).len(), 2);
    seller.stop();
}

#[test]
fn an_order_is_closed_instead_or_given_up() {
    let market = Market::open("closed");
    let (mut seller, address, _) = slow_seller(&market);
    let torn = |name: &str| {
        let out = market.folder.path(name);
        let buying = ["buy", &address, "--count", "3000", "--to", &out.display().to_string()];
        let mut buyer = Served::spawn(market.command(&buying));
        middle(&out);
        buyer.kill();
        out
    };
    let out = torn("first");
    let id = text(&market.order()["order"]).to_owned();
    ends(market.command(&["orders", "close", &id]), 0);
    whole(&market, &out, lines_of(&out));

    torn("second");
    seller.kill();
    let open = market.rows(&["orders", "list", "--open"]);
    assert_eq!(open.len(), 1);
    let id = text(&open[0]["order"]).to_owned();
    let said = fails(market.command(&["orders", "close", &id[..8]]), 4);
    assert!(said.contains("--give-up"), "{said}");
    // The deposit comes back after the grace period, without the seller.
    let said = ends(market.command(&["orders", "close", &id[..8], "--give-up"]), 0);
    assert!(said.contains("grace period") && !said.contains("--resume"), "{said}");
    let channels = market.rows(&["wallet"]);
    assert!(channels.iter().any(|row| row["state"] == "closing"), "{channels:?}");
}

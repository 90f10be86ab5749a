//! Looking at what runs, and telling it what to do.

use serde_json::Value;

use crate::kit::*;
use crate::market::*;

/// The row of a kind, of which there is one.
fn row<'a>(rows: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<_> = rows.iter().filter(|row| row["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}: {rows:?}");
    found[0]
}

#[test]
fn a_seller_is_told_while_it_sells() {
    let market = Market::open("told");
    market.on_sale("1/1", 50);
    let (seller, address) = market.sell(&[]);
    let (mut buyer, out) = market.buying(&address, &["--budget", "100000"]);
    until(|| lines_of(&out) > 20);
    let rows = market.rows(&["status"]);
    let order = row(&rows, "order");
    assert_eq!((text(&order["state"]), text(&order["topic"])), ("live", "weather"));
    assert!(order["sent"].as_u64().unwrap() > 0 && text(&order["due"]).parse::<u64>().unwrap() > 0, "{order}");
    assert_eq!(
        (&row(&rows, "product")["paused"], row(&rows, "seller")["connections"].as_u64()),
        (&false.into(), Some(1))
    );
    assert_eq!(rows.iter().filter(|row| row["kind"] == "pool").count(), 2);

    // Paused, it takes no new orders, and who asks for one locks no deposit.
    assert!(market.rows(&["status", "pause", "weather"]).is_empty());
    assert_eq!(row(&market.rows(&["status"]), "product")["paused"], true);
    assert_eq!(market.rows(&["menu", &address])[0]["available"], 0);
    let before = market.rows(&["wallet"]);
    let said = ends(market.command(&["buy", &address, "--count", "10"]), 5);
    assert!(said.contains("takes no new orders") && said.contains("weather"), "{said}");
    assert_eq!(market.rows(&["wallet"]).len(), before.len(), "no channel was opened");
    let then = lines_of(&out);
    until(|| lines_of(&out) > then);
    market.rows(&["status", "unpause", "weather"]);
    ends(market.command(&["buy", &address, "--count", "1", "--to", &market.folder.text("one")]), 0);

    // Another price is that of new orders.
    market.rows(&["status", "price", "weather", "7/1"]);
    assert_eq!(text(&market.rows(&["menu", &address])[0]["amount"]), "7");
    assert!(text(&row(&market.rows(&["status"]), "product")["price"]).contains("7 uUSD"));
    let now = market.rows(&["status"]);
    let same = now.iter().find(|row| row["order"] == order["order"]).unwrap();
    assert_eq!(text(&same["state"]), "live", "its session goes on");

    // An id is named by its first digits: one order of 256 begins with 00.
    let nobodys = if text(&order["order"]).starts_with("00") { "11" } else { "00" };
    let no_order = format!("no order {nobodys}");
    for (args, code, why) in [
        (&["status", "pause", "wether"][..], 5, "no such product"),
        (&["status", "price", "weather", "x"], 2, "not a price"),
        (&["status", "end", nobodys], 5, &no_order),
        (&["status", "--as", "witness"], 2, "--as seller"),
    ] {
        let said = fails(market.command(args), code);
        assert!(said.contains(why), "{args:?}: {said}");
    }

    // Ended by its seller, it is settled.
    market.rows(&["status", "end", text(&order["order"])]);
    assert_eq!(buyer.wait().code(), Some(0), "{}", buyer.said());
    assert_holds(&out, lines_of(&out));
    seller.stop();
    assert!(ends(market.command(&["status"]), 4).contains("nobody runs here"));
}

#[test]
fn a_reload_adds_a_product_and_drops_no_session() {
    let market = Market::open("reload");
    market.on_sale("1/1", 50);
    let (seller, address) = market.sell(&[]);
    let (mut buyer, out) = market.buying(&address, &["--budget", "100000"]);
    until(|| lines_of(&out) > 10);
    let kept = std::fs::read_to_string(market.home().join("sdpp.toml")).unwrap();
    let second = "[[products]]\ntopic = \"again\"\nprice = \"2/1\"\nk = 10\n";
    std::fs::write(market.home().join("sdpp.toml"), format!("{kept}{second}")).unwrap();
    seller.signal("HUP");
    until(|| seller.said().contains("configuration read again"));
    let topics: Vec<_> = market.rows(&["menu", &address]).iter().map(|row| text(&row["topic"]).to_owned()).collect();
    assert_eq!(topics, ["weather", "again"]);
    let other = address.replace("/weather", "/again");
    ends(market.command(&["buy", &other, "--count", "5", "--to", &market.folder.text("again")]), 0);

    // One that is wrong changes nothing.
    std::fs::write(market.home().join("sdpp.toml"), format!("{kept}[[products]]\ntopik = \"x\"\n")).unwrap();
    let said = ends(market.command(&["status", "reload"]), 5);
    assert!(said.contains("sdpp.toml"), "{said}");
    seller.signal("HUP");
    until(|| seller.said().contains("all stays as it was"));
    std::fs::write(market.home().join("sdpp.toml"), &kept).unwrap();
    assert_eq!(market.rows(&["menu", &address]).len(), 2);
    market.rows(&["status", "reload"]);
    assert_eq!(market.rows(&["menu", &address]).len(), 1);

    let then = lines_of(&out);
    until(|| lines_of(&out) > then);
    assert!(!buyer.said().contains("connection lost"), "{}", buyer.said());
    buyer.signal("TERM");
    assert_eq!(buyer.wait().code(), Some(0), "{}", buyer.said());
    assert_holds(&out, lines_of(&out));
    seller.stop();
}

#[test]
fn purchases_are_looked_at_and_ended() {
    let market = Market::open("purchases");
    assert!(ends(market.command(&["status", "--as", "buyer"]), 4).contains("no purchase runs here"));
    market.on_sale("1/1", 50);
    let listen = fixed_address();
    let (mut seller, address) = market.sell(&["--listen", &listen]);
    let (mut first, out) = market.buying(&address, &["--budget", "100000"]);
    let other = market.folder.text("other");
    let second = market.command(&["buy", &address, "--count", "3000", "--to", &other]);
    let mut second = Served::spawn(second);
    let purchases = || {
        let output = run(market.command(&["status", "--as", "buyer"]));
        assert!(matches!(output.status.code(), Some(0 | 4)), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let in_state = |state: &str| purchases().iter().filter(|row| row["state"] == state).count();
    until(|| in_state("live") == 2);
    until(|| lines_of(&out) > 20);
    let all = purchases();
    let ends_open = |row: &&Value| row["quantity"].is_null();
    let open = all.iter().find(ends_open).unwrap();
    assert!(open["messages"].as_u64().unwrap() > 20 && text(&open["paid"]).parse::<u64>().unwrap() > 0, "{open}");
    assert_eq!((text(&open["topic"]), text(&open["unit"])), ("weather", "uUSD"));
    assert!(text(&open["at_risk"]).parse::<u64>().unwrap() <= 20, "{open}");

    // Told to end, one settles; the other goes on.
    let id = text(&open["order"]);
    assert!(ends(market.command(&["status", "--as", "buyer", "end", "00ff"]), 5).contains("00ff"));
    assert!(ends(market.command(&["status", "--as", "buyer", "pause", "weather"]), 5).contains("for a seller"));
    ends(market.command(&["status", "--as", "buyer", "end", &id[..10]]), 0);
    assert_eq!(first.wait().code(), Some(0), "{}", first.said());
    until(|| first.said().contains("settled: "));
    assert_holds(&out, lines_of(&out));
    assert_eq!(in_state("live"), 1);

    seller.kill();
    until(|| in_state("reconnecting") == 1);
    second.kill();
    // Its socket is there, and nobody behind it.
    ends(market.command(&["status", "--as", "buyer"]), 4);
}

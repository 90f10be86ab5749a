//! Sides that are away, nodes that lie, hang and fail: nothing is paid twice, and everybody has what is its own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::kit::*;
use crate::market::*;
use crate::node::Node;

/// Buys, and is killed as soon as it has some messages. Gives its order.
fn abandoned(market: &Market, address: &str) -> String {
    let out = market.folder.text("bought");
    let args = ["buy", address, "--count", "1000", "--to", &out, "--quiet"];
    let mut buyer = Served::spawn(market.command("buyer", &args));
    until(|| std::fs::read_to_string(&out).is_ok_and(|got| got.lines().count() >= 60));
    buyer.kill();
    let order = market.lines("buyer", &["orders", "list", "--json"]).remove(0);
    text(&order["order"]).to_owned()
}

/// What the order of a buyer has paid.
fn paid(market: &Market) -> u64 {
    text(&market.lines("buyer", &["orders", "list", "--json"])[0]["paid"]).parse().unwrap()
}

#[test]
fn a_buyer_that_asks_for_the_close_behind_the_sellers_back_loses_to_its_watcher() {
    for restarted in [false, true] {
        let market = Market::open(&format!("watcher-{restarted}"), 1_000);
        let (mut seller, address) = market.sell(&["--rate", "400"]);
        let order = abandoned(&market, &address);
        if restarted {
            seller.kill();
        }
        // It gives up at a place where no seller is: the rail alone is asked.
        let nobody = address.replace(address.rsplit_once(':').unwrap().1, "1/feed");
        let args = ["orders", "close", &order, "--give-up", "--at", &nobody];
        market.done("buyer", &args);
        if restarted {
            let closing = market.channels("buyer", "buyer");
            assert!(closing[0]["state"] == "closing" && closing[0]["redeemed"] == "0", "{closing:?}");
            (seller, _) = market.sell(&[]);
        }
        // The grace period is not over: nobody has touched the clock.
        until(|| market.channels("buyer", "buyer")[0]["redeemed"] != "0");
        market.node.pass(GRACE_S + 1);
        let took = market.has("seller", "seller", &market.seller);
        let paid = paid(&market);
        // What it signed last may never have left the buyer: it was killed.
        assert!(took <= paid && took + 4 * 20 * PRICE >= paid, "the buyer has signed {paid}, the seller took {took}");
        assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT - took);
        assert!(market.channels("buyer", "buyer").is_empty());
        seller.stop();
    }
}

#[test]
fn a_seller_that_ends_for_long_redeems_what_it_has_and_the_order_goes_on_later() {
    let market = Market::open("redeem", 1_000);
    let (seller, address) = market.sell(&["--rate", "400"]);
    let order = abandoned(&market, &address);
    let said = market.fails("seller", &["wallet", "redeem", "--as", "seller"], 11);
    assert!(said.contains("sdpp status"), "{said}");
    seller.stop_saying("are not redeemed");
    assert_eq!(market.node.sent_by(&market.seller), 5, "only the contracts were put there");
    let done = market.lines("seller", &["wallet", "redeem", "--as", "seller", "--json"]).remove(0);
    assert!(done["redeemed"] == 1 && done["transactions"] == 1, "{done}");
    let took = market.has("seller", "seller", &market.seller);
    assert!(took > 0 && took <= paid(&market), "{took}");
    let (seller, _) = market.sell(&[]);
    market.done("buyer", &["buy", "--resume", &order]);
    until(|| market.channels("seller", "seller").is_empty());
    let paid = paid(&market);
    assert_eq!(market.has("seller", "seller", &market.seller), paid);
    assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT - paid);
    seller.stop();
}

#[test]
fn a_seller_that_ends_while_the_node_is_away_says_that_vouchers_may_wait() {
    let market = Market::open("silent", 1_000);
    let (seller, address) = market.sell(&["--rate", "400"]);
    abandoned(&market, &address);
    market.node.signal("STOP");
    seller.stop_saying("nobody answered what vouchers");
    market.node.signal("CONT");
    let done = market.lines("seller", &["wallet", "redeem", "--as", "seller", "--json"]).remove(0);
    assert_eq!(done["redeemed"], 1, "{done}");
}

#[test]
fn a_buyer_whose_seller_is_gone_has_the_rest_back_alone() {
    let market = Market::open("gone", 1_000);
    let (mut seller, address) = market.sell(&["--rate", "400"]);
    let order = abandoned(&market, &address);
    seller.kill();
    let channel = market.channels("buyer", "buyer").remove(0);
    let locked = |row: &serde_json::Value| text(&row["deposit"]).parse::<u64>().unwrap();
    let more = market.lines("buyer", &["wallet", "deposit", text(&channel["channel"]), "5", "--json"]).remove(0);
    assert_eq!(locked(&more), locked(&channel) + 5);
    market.done("buyer", &["orders", "close", &order, "--give-up"]);
    // Too early: nothing comes back.
    assert!(market.has("buyer", "buyer", &market.buyer) < GRANT - paid(&market));
    market.node.pass(GRACE_S + 1);
    assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT, "nobody has redeemed");
    // A seller that comes back too late finds nothing to redeem, and works on.
    let (seller, address) = market.sell(&[]);
    market.done("buyer", &["buy", &address, "--count", "10", "--to", &market.folder.text("again")]);
    until(|| market.channels("seller", "seller").is_empty());
    assert_eq!(market.has("seller", "seller", &market.seller), 10 * PRICE);
    seller.stop();
}

#[test]
fn what_is_locked_comes_back_however_many_blocks_later() {
    let market = Market::open("old", 1_000);
    let (mut seller, address) = market.sell(&["--rate", "400"]);
    let order = abandoned(&market, &address);
    seller.kill();
    let said = market.done("buyer", &["orders", "close", &order, "--give-up"]);
    assert!(said.contains("sdpp wallet withdraw --network local"), "{said}");
    let said = market.done("buyer", &["wallet", "withdraw"]);
    assert!(said.contains("later: ") && said.contains("can be had from 20"), "{said}");
    // No log that is looked through names the channel any more.
    market.node.pass(GRACE_S + 1);
    market.node.mine(2 * BLOCKS);
    let closing = market.channels("buyer", "buyer");
    assert!(closing.len() == 1 && closing[0]["state"] == "closing", "{closing:?}");
    // The token is that of the order: nobody has to name it.
    market.done("buyer", &["wallet", "withdraw"]);
    assert_eq!(market.node.tokens(market.token, &market.buyer), GRANT, "nobody has redeemed");
    assert!(market.channels("buyer", "buyer").is_empty());
    // A refusal of the contract is no want of money.
    let said = market.fails("buyer", &["wallet", "deposit", text(&closing[0]["channel"]), "5"], 5);
    assert!(said.contains("the chain refused: the channel is closed"), "{said}");
}

#[test]
fn the_rest_of_an_order_that_is_over_comes_back_from_a_seller_that_never_closes() {
    let market = Market::open("unclosing", 100);
    let mut command = market.selling(&[]);
    command.env("SDPP_FAILPOINT", "redeem/voucher:1");
    let mut seller = Served::spawn(command);
    let args = ["buy", &seller.url(), "--count", "40", "--budget", "200", "--to", &market.folder.text("bought")];
    let said = market.done("buyer", &args);
    assert!(said.contains("settled: 40 messages"), "{said}");
    seller.wait();
    assert_eq!(market.channels("buyer", "buyer")[0]["state"], "open");
    market.node.mine(2 * BLOCKS);
    let said = market.done("buyer", &["wallet", "withdraw"]);
    assert!(said.contains("asked for the close") && said.contains("later: "), "{said}");
    market.node.pass(GRACE_S + 1);
    assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT, "the seller came too late");
}

#[test]
fn a_seller_is_told_at_its_start_that_it_could_not_redeem() {
    let market = Market::open("poor", 10);
    let (seller, _) = market.sell(&[]);
    assert!(!seller.said().contains("cannot redeem"), "{}", seller.said());
    seller.stop();
    market.node.give_coins(&market.seller, 1_000);
    let (seller, _) = market.sell(&[]);
    assert!(seller.said().contains("cannot redeem"), "{}", seller.said());
    seller.stop();
    let config = market.folder.path("seller/sdpp.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("600s", "183s")).unwrap();
    let output = market.selling(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("grace = \"184s\""), "{}", stderr(&output));
}

/// Takes connections, and does the same with each.
fn endpoint(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if let Some(answer) = answer {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            } else {
                kept.push(stream);
            }
        }
    });
    url
}

#[test]
fn a_node_that_lies_hangs_or_fails_costs_nothing() {
    let market = Market::open("endpoints", 100);
    let (seller, address) = market.sell(&[]);
    let other = Node::start(5);
    let nobody = format!("http://{}", fixed_address());
    let broken = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for (url, code, why) in [
        (other.url(), 5, "the node serves chain 5"),
        (nobody, 4, "does not answer"),
        (endpoint(None), 4, "does not answer"),
        (endpoint(Some(broken)), 4, "does not answer"),
        ("ftp://x".to_owned(), 2, "URL"),
    ] {
        let said = market.fails("buyer", &["buy", &address, "--count", "10", "--rpc", &url], code);
        assert!(said.contains(why), "{url}: {said}");
        let said = market.fails("seller2", &["doctor", "--rpc", &url], 1);
        assert!(!said.contains("panic"), "{said}");
    }
    assert!(market.lines("buyer", &["orders", "list", "--json"]).is_empty());
    assert_eq!(market.node.tokens(market.token, &market.buyer), GRANT, "nothing is locked");
    seller.stop();
}

#[test]
fn what_is_secret_in_the_url_of_a_node_is_shown_to_nobody() {
    let market = Market::open("secret", 100);
    let host = market.node.url().replace("http://", "");
    let nobody = fixed_address();
    // The node of the tests has no paths.
    let live = format!("http://someone:hidden-word@{host}/?key=hidden-key");
    let secret = |host: &str| format!("http://someone:hidden-word@{host}/v3/hidden-path?key=hidden-key");
    let broken = endpoint(Some("HTTP/1.1 401 No\r\ncontent-length: 14\r\nconnection: close\r\n\r\nno hidden-path"));
    let run = |home: &str, args: &[&str], url: &str| {
        let output = market.command(home, args).env("SDPP_RPC", url).output().unwrap();
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!said.contains("hidden") && !said.contains("someone"), "{args:?}: {said}");
        said
    };
    let mut selling = market.selling(&["--metrics", "127.0.0.1:0"]);
    selling.env("SDPP_RPC", &live);
    let seller = Served::spawn(selling);
    let address = seller.url();
    for url in [live.clone(), secret(&nobody), secret(&broken.replace("http://", ""))] {
        for args in [
            ["buy", &address, "--count", "10"].as_slice(),
            &["quote", &address],
            &["menu", &address],
            &["wallet"],
            &["wallet", "withdraw"],
            &["wallet", "bump"],
            &["audit"],
            &["doctor"],
            &["doctor", "--json"],
            &["wallet", "--help"],
            &["buy", "--help"],
        ] {
            run("buyer", args, &url);
        }
    }
    assert!(run("buyer", &["doctor"], &live).contains(&format!("http://{host} serves local")));
    assert!(run("buyer", &["wallet"], &secret(&nobody)).contains(&format!("http://{nobody}")));
    assert!(!seller.said().contains("hidden"), "{}", seller.said());
    seller.stop();
}

#[test]
fn health_names_the_node_that_is_away() {
    let market = Market::open("health", 10);
    let mut selling = market.selling(&["--metrics", "127.0.0.1:0"]);
    selling.env("SDPP_WATCH_EVERY", "100ms").env("SDPP_RPC", format!("{}/?key=hidden-key", market.node.url()));
    let seller = Served::spawn(selling);
    seller.url();
    let said = seller.said();
    let at = said.split("metrics    http://").nth(1).unwrap().split('/').next().unwrap();
    let ready = || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    until(|| ready().starts_with("HTTP/1.1 200"));
    market.node.signal("STOP");
    until(|| ready().starts_with("HTTP/1.1 503"));
    let problem = ready();
    let place = format!("the node of local at {} has not answered", market.node.url());
    assert!(problem.contains(&place) && !problem.contains("hidden"), "{problem}");
    market.node.signal("CONT");
    until(|| ready().starts_with("HTTP/1.1 200"));
    seller.stop();
}

#[test]
fn a_buyer_that_is_stopped_before_its_channel_is_final_leaves_and_has_its_deposit_back() {
    let market = Market::open("stopped", 10);
    market.wait_for_blocks(3);
    let (seller, address) = market.sell(&[]);
    let args = ["buy", &address, "--count", "10", "--to", &market.folder.text("bought"), "--quiet"];
    let mut buyer = Served::spawn(market.command("buyer", &args));
    until(|| !market.channels("buyer", "buyer").is_empty());
    buyer.signal("INT");
    assert_eq!(buyer.wait().code(), Some(1), "{}", buyer.said());
    assert!(buyer.said().contains("nothing was ordered"), "{}", buyer.said());
    assert_eq!(market.node.tokens(market.token, &market.buyer), GRANT - 10 * PRICE, "it is locked");
    market.node.mine(3);
    // The close is asked for, and when the grace period is over the deposit is there.
    assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT - 10 * PRICE);
    market.node.pass(GRACE_S + 1);
    assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT);
    seller.stop();
}

#[test]
fn a_seller_that_wants_a_deposit_locked_for_too_long_gets_none() {
    let market = Market::open("patient", 10);
    let config = market.folder.path("seller/sdpp.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    for (config_text, why) in [
        (text.replace("600s", "25h"), "a grace period of 90000s"),
        (format!("{text}[evm.networks.local]\nfinality = 1000\n"), "1000 blocks deep"),
    ] {
        std::fs::write(&config, config_text).unwrap();
        let (seller, address) = market.sell(&[]);
        let said = market.fails("buyer", &["buy", &address, "--count", "10"], 5);
        assert!(said.contains(why), "{said}");
        seller.stop();
    }
    assert_eq!(market.node.tokens(market.token, &market.buyer), GRANT, "nothing is locked");
}

#[test]
fn a_channel_that_a_reorganisation_drops_is_opened_again_and_paid_once() {
    let market = Market::open("reorganisation", 100);
    market.wait_for_blocks(3);
    let (seller, address) = market.sell(&[]);
    let before = market.node.ask("evm_snapshot", serde_json::json!([]));
    let args = ["buy", &address, "--count", "100", "--to", &market.folder.text("bought"), "--quiet"];
    let mut buyer = Served::spawn(market.command("buyer", &args));
    until(|| !market.channels("buyer", "buyer").is_empty());
    assert_eq!(market.node.ask("evm_revert", serde_json::json!([before])), true);
    assert_eq!(market.node.tokens(market.token, &market.buyer), GRANT, "it never happened");
    until(|| !market.channels("buyer", "buyer").is_empty());
    market.node.mine(3);
    assert!(buyer.wait().success(), "{}", buyer.said());
    assert_eq!(market.delivered("bought"), 100);
    until(|| {
        market.node.mine(1);
        market.channels("seller", "seller").is_empty()
    });
    assert_eq!(market.has("seller", "seller", &market.seller), 100 * PRICE);
    assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT - 100 * PRICE);
    seller.stop();
}

#[test]
fn a_close_that_a_reorganisation_drops_is_made_again() {
    let market = Market::open("unclosed", 1_000);
    market.wait_for_blocks(3);
    let (seller, address) = market.sell(&["--rate", "400"]);
    let out = market.folder.text("bought");
    let args = ["buy", &address, "--count", "400", "--to", &out, "--quiet"];
    let mut buyer = Served::spawn(market.command("buyer", &args));
    until(|| !market.channels("buyer", "buyer").is_empty());
    market.node.mine(3);
    until(|| std::fs::read_to_string(&out).is_ok_and(|got| got.lines().count() >= 60));
    let before = market.node.ask("evm_snapshot", serde_json::json!([]));
    assert!(buyer.wait().success(), "{}", buyer.said());
    until(|| market.channels("seller", "seller").is_empty());
    // The seller looks after its channels meanwhile, and sees this one closed.
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(market.node.ask("evm_revert", serde_json::json!([before])), true);
    assert_eq!(market.channels("seller", "seller")[0]["redeemed"], "0", "it never happened");
    until(|| market.channels("seller", "seller").is_empty());
    assert_eq!(market.has("seller", "seller", &market.seller), 400 * PRICE);
    assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT - 400 * PRICE);
    seller.stop();
}

#[test]
fn no_money_goes_into_a_contract_that_only_a_menu_names() {
    let market = Market::open("contract", 10);
    let other = market.node.other_channels();
    let configure = |home: &str| {
        let config = market.folder.path(&format!("{home}/sdpp.toml"));
        let text = std::fs::read_to_string(&config).unwrap_or_default();
        std::fs::write(config, format!("{text}[evm.networks.local]\nchannels = \"{other}\"\n")).unwrap();
    };
    configure("seller");
    let (seller, address) = market.sell(&[]);
    for args in [vec!["buy", &address, "--count", "10"], vec!["quote", &address]] {
        let said = market.fails("buyer", &args, 5);
        assert!(said.contains(&other.to_string()) && said.contains("nobody knows"), "{said}");
    }
    assert_eq!(market.node.tokens(market.token, &market.buyer), GRANT, "nothing is locked");
    // Whoever knows it says so.
    configure("buyer");
    market.done("buyer", &["buy", &address, "--count", "10", "--to", &market.folder.text("bought")]);
    seller.stop();
}

#[test]
fn a_sale_outlives_a_node_that_is_away_for_a_while() {
    let market = Market::open("away", 1_000);
    let (seller, address) = market.sell(&["--rate", "500"]);
    let out = market.folder.text("bought");
    let args = ["buy", &address, "--count", "1000", "--to", &out, "--quiet"];
    let mut buyer = Served::spawn(market.command("buyer", &args));
    until(|| std::fs::read_to_string(&out).is_ok_and(|got| got.lines().count() >= 60));
    market.node.signal("STOP");
    thread::sleep(Duration::from_secs(3));
    market.node.signal("CONT");
    assert!(buyer.wait().success(), "{}", buyer.said());
    assert_eq!(market.delivered("bought"), 1_000);
    until(|| market.channels("seller", "seller").is_empty());
    assert_eq!(market.has("seller", "seller", &market.seller), 1_000 * PRICE);
    assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT - 1_000 * PRICE);
    seller.stop();
}

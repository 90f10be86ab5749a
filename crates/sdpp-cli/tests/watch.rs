//! Watching a seller and a buyer: the real program, scraped and asked as operators do it.
#![cfg(unix)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

#[path = "ledger/kit.rs"]
mod kit;
#[path = "watch/market.rs"]
mod market;

use kit::*;
use market::*;

/// An answer: its status, and its body.
fn get(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The one sample that begins so.
fn sample(metrics: &str, name: &str) -> f64 {
    let found: Vec<_> = metrics.lines().filter(|line| line.starts_with(name)).collect();
    assert_eq!(found.len(), 1, "{name}: {found:?} in\n{metrics}");
    found[0].rsplit(' ').next().unwrap().parse().unwrap()
}

fn scrape(address: &str) -> String {
    let (status, text) = get(address, "GET /metrics");
    assert_eq!(status, 200);
    text
}

fn ready(address: &str) -> bool {
    match get(address, "GET /readyz") {
        (200, body) => {
            assert_eq!(body, "ok\n");
            true
        }
        (status, body) => {
            assert_eq!(status, 503, "{body}");
            false
        }
    }
}

#[test]
fn a_sale_is_counted_and_health_follows_the_ledger() {
    let market = Market::open("watch");
    let (seller, address) = market.sell(&["--metrics", "127.0.0.1:0"]);
    let at = &market.watched(&seller);
    until(|| ready(at));
    assert_eq!(sample(&scrape(at), "sdpp_build_info{version=\"0."), 1.0);

    let bought = market.buy(&address, &[]);
    assert!(bought.status.success(), "{}", stderr(&bought));
    until(|| sample(&scrape(at), "sdpp_sessions{role=\"seller\"}") == 0.0);
    let metrics = scrape(at);
    assert_eq!(sample(&metrics, "sdpp_messages_total{role=\"seller\"}"), COUNT as f64);
    assert_eq!(sample(&metrics, "sdpp_bytes_total{role=\"seller\"}"), market.bytes() as f64);
    assert_eq!(sample(&metrics, "sdpp_paid_total{role=\"seller\""), (COUNT * PRICE) as f64);
    assert_eq!(sample(&metrics, "sdpp_unpaid_exposure{role=\"seller\""), 0.0);
    assert!(sample(&metrics, "sdpp_windows_total{role=\"seller\"}") > 0.0);
    for histogram in ["sdpp_settle_seconds", "sdpp_store_seconds"] {
        let count = sample(&metrics, &format!("{histogram}_count{{role=\"seller\"}}"));
        assert!(count > 0.0);
        let bucket = |end| sample(&metrics, &format!("{histogram}_bucket{{role=\"seller\",le=\"{end}\"}}"));
        assert_eq!(bucket("+Inf"), count);
        assert!(bucket("0.0001") <= bucket("10"));
    }
    assert!(!metrics.contains("offences"), "nobody broke a rule: {metrics}");
    assert!(metrics.contains("# HELP sdpp_messages_total"), "{metrics}");

    // The ledger goes, is missed, and comes back.
    let place = market.stop_ledger();
    until(|| !ready(at));
    let (_, problem) = get(at, "GET /readyz");
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert!(text(&problem["detail"]).contains(&place), "{problem}");
    assert_eq!(sample(&scrape(at), "sdpp_ready "), 0.0);
    assert_eq!(get(at, "GET /healthz"), (200, "ok\n".to_owned()), "it lives all the same");
    market.start_ledger();
    until(|| ready(at));
    assert_eq!(sample(&scrape(at), "sdpp_ready "), 1.0);

    // Somebody who says nothing does not keep it from ending.
    let _silent = TcpStream::connect(at).unwrap();
    seller.stop();
}

#[test]
fn whoever_watches_can_only_look() {
    let market = Market::open("look");
    let (seller, _) = market.sell(&["--metrics", "127.0.0.1:0"]);
    let at = &market.watched(&seller);
    assert_eq!(get(at, "POST /metrics").0, 405);
    let (status, body) = get(at, "GET /");
    assert_eq!(status, 404);
    assert!(body.contains("/readyz"), "{body}");
    assert_eq!(get(at, "HEAD /healthz"), (200, String::new()));
    let long = format!("GET /{}", "x".repeat(100_000));
    let mut stream = TcpStream::connect(at).unwrap();
    // It may be closed before all of it is taken.
    let _ = write!(stream, "{long} HTTP/1.1\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains(" 200 "), "{answer}");
    assert_eq!(get(at, "GET /healthz").0, 200, "it still answers");
    seller.stop();
}

#[test]
fn a_taken_port_is_said_with_its_own_exit_code() {
    let market = Market::open("taken");
    let (seller, address) = market.sell(&["--metrics", "127.0.0.1:0"]);
    let at = market.watched(&seller);
    // Whoever only looks takes no port.
    assert!(market.buy(&address, &["--metrics", &at, "--dry-run"]).status.success());
    let bought = market.buy(&address, &["--metrics", &at]);
    assert_eq!(bought.status.code(), Some(11), "{}", stderr(&bought));
    assert!(stderr(&bought).contains("--metrics"), "{}", stderr(&bought));
    let other = market.command("other", &[&market.selling(), &["--metrics", &at][..]].concat()).output().unwrap();
    assert_eq!(other.status.code(), Some(11), "{}", stderr(&other));
    assert!(stderr(&other).contains(&at) && stderr(&other).contains("choose another"), "{}", stderr(&other));
    seller.stop();
}

#[test]
fn a_buyer_is_watched_while_it_buys() {
    let market = Market::open("buyer");
    let mut feed = market.live_feed();
    let seller = Served::spawn(market.command("seller", &market.selling_live()));
    let address = seller.url();
    let command = market.command("buyer", &[&market.buying(&address), &["--metrics", "127.0.0.1:0"][..]].concat());
    let mut buyer = Served::spawn(command);
    let at = market.watched(&buyer);
    until(|| ready(&at));
    assert_eq!(get(&at, "GET /healthz").0, 200);
    until(|| scrape(&at).contains("sdpp_sessions{role=\"buyer\"} 1"));
    let text: String = (0..100).map(|number| format!("message {number}\n")).collect();
    feed.write_all(text.as_bytes()).unwrap();
    // What does not fill a window is not invoiced yet.
    let messages = |metrics: &str| sample(metrics, "sdpp_messages_total{role=\"buyer\"}");
    let settled = |metrics: &str| {
        metrics.contains("sdpp_paid_total")
            && messages(metrics) > 60.0
            && sample(metrics, "sdpp_paid_total{role=\"buyer\"") == messages(metrics) * PRICE as f64
            && sample(metrics, "sdpp_unpaid_exposure{role=\"buyer\"") == 0.0
    };
    until(|| settled(&scrape(&at)));
    let metrics = scrape(&at);
    assert!(sample(&metrics, "sdpp_bytes_total{role=\"buyer\"}") >= messages(&metrics) * 9.0);
    assert!(sample(&metrics, "sdpp_settle_seconds_count{role=\"buyer\"}") > 0.0);
    buyer.signal("TERM");
    assert_eq!(buyer.wait().code(), Some(0), "{}", buyer.said());
    seller.stop();
}

fn objects(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_line_of_json_logs_is_an_object() {
    let market = Market::open("json");
    let (mut seller, address) = market.sell(&["--log-format", "json", "--metrics", "127.0.0.1:0"]);
    let bought = market.buy(&address, &["--log-format", "json", "--json"]);
    assert!(bought.status.success(), "{}", stderr(&bought));
    let lines = objects(&stderr(&bought));
    assert_eq!(lines.last().unwrap()["delivered"], COUNT, "the line of --json stays as it is: {lines:?}");
    until(|| seller.said().contains("\"ended\""));
    seller.signal("TERM");
    assert_eq!(seller.wait().code(), Some(0));
    let said = seller.said();
    let lines = objects(&said);
    let sale = |message: &str| {
        let found: Vec<_> = lines.iter().filter(|line| line["fields"]["message"] == message).collect();
        assert_eq!(found.len(), 1, "{message}: {said}");
        assert_eq!(found[0]["target"], "sdpp::sale");
        found[0]["fields"].clone()
    };
    let (live, ended) = (sale("live"), sale("ended"));
    assert_eq!(live["order"], ended["order"]);
    assert_eq!(ended["sent"], json!(COUNT));
    assert_eq!(ended["paid"], json!((COUNT * PRICE).to_string()));
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()), "{said}");

    // An error is an object too.
    let wrong = market.command("other", &["sell", "--log-format", "json"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert_eq!(objects(&stderr(&wrong)).last().unwrap()["level"], "ERROR");
}

#[test]
fn the_most_talkative_logs_hold_no_secret() {
    let market = Market::open("secret");
    let mut command = market.command("seller", &market.selling());
    command.env("SDPP_LOG", "trace").env("SDPP_LOG_FORMAT", "json");
    let seller = Served::spawn(command);
    let bought = market.buy(&seller.url(), &[]);
    assert!(bought.status.success(), "{}", stderr(&bought));
    until(|| seller.said().contains("\"ended\""));
    let key = market.secret("seller");
    let said = seller.said();
    assert!(said.contains("\"TRACE\"") && !said.contains(&key));
    seller.stop();
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let market = Market::open("filter");
    let output = market.command("other", &["wallet"]).env("SDPP_LOG", "sdpp=loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("SDPP_LOG"), "{}", stderr(&output));
}

//! Three terminals, by hand, from the README.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use sdpp::audit::Bundle;
use serde_json::Value;

use crate::kit::*;
use crate::market::*;

/// What a thousand messages cost.
const COST: u64 = 3;

#[test]
fn three_terminals_sell_buy_and_audit() {
    let market = Market::open("story");
    let (seller, address) = market.sell_weather();
    assert!(seller.said().contains("made a key for the seller"), "{}", seller.said());
    assert!(address.starts_with("sdpp://z6Mk") && address.ends_with("/weather"), "{address}");

    // Who only looks orders nothing, and has nothing yet.
    let said = ends(market.command(&["buy", &address, "--count", "1000", "--dry-run"]), 0);
    assert!(said.contains("made a key for the buyer") && said.contains("nothing was ordered"), "{said}");
    assert!(market.rows(&["orders", "list"]).is_empty());
    assert_eq!(market.balance("buyer"), 0);

    let output = run(market.command(&["buy", &address, "--count", "1000", "--budget", "100"]));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), weather()[..1000].concat(), "what the seller's file has");
    assert!(!said.contains("made a key"), "it has one: {said}");
    let (bound, end) = (said.find("What can be lost at most").unwrap(), said.find("settled: 1000 messages").unwrap());
    assert!(bound < end, "the bound comes first: {said}");

    assert_eq!(market.balance("buyer"), GRANT - COST);
    until(|| market.balance("seller") == COST);
    audited(&market);
    seller.stop();
    evidence_travels(&market);
}

/// The one report of an audit that ends with this code.
fn report(market: &Market, args: &[&str], code: i32) -> Value {
    let output = run(market.command(&[&["audit", "--json"], args].concat()));
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn audited(market: &Market) {
    let with_records = report(market, &[], 0);
    assert_eq!(with_records["verdict"], "clean", "{with_records}");
    assert!(with_records["totals"]["records"].as_u64().unwrap() > 100, "{with_records}");
    let without = report(market, &["--offline"], 0);
    assert_eq!((&without["verdict"], &without["totals"]["records"]), (&"clean".into(), &0.into()), "{without}");
    assert_eq!(report(market, &["--order", &text(&market.order()["order"])[..8]], 0)["verdict"], "clean");
    let said = ends(market.command(&["audit", "--order", "0123456789"]), 2);
    assert!(said.contains("orders list"), "{said}");
}

/// An order's evidence is a file, which anybody can audit without the ledger and without the home.
fn evidence_travels(market: &Market) {
    let order = market.order();
    assert_eq!((text(&order["state"]), &order["verified"]), ("settled", &1000.into()));
    let (id, key) = (text(&order["order"]), text(&order["seller"]));
    let shown = market.rows(&["orders", "show", &id[..6]]);
    assert_eq!((shown.len(), &shown[0]), (1, &order));
    let bundle = market.folder.text("bundle");
    let said = ends(market.command(&["orders", "export", id, "--out", &bundle]), 0);
    assert!(said.contains(&format!("sdpp audit {bundle} --seller {key}")), "{said}");

    let elsewhere = market.folder.path("elsewhere");
    let audit = |key: &str| run(program(&elsewhere, &["audit", &bundle, "--seller", key]));
    assert_eq!(audit(key).status.code(), Some(0), "{}", stderr(&audit(key)));
    let other = market.rows(&["orders", "show", id])[0]["asset"].to_string();
    let other = other.trim_matches('"').split('@').nth(1).unwrap().to_owned();
    assert_eq!(audit(&other).status.code(), Some(1), "another seller is not believed");
    assert!(!elsewhere.exists(), "an auditor needs no home");
    a_pipe_is_copied_first(&elsewhere, (&bundle, key));
    a_file_that_changes_has_no_verdict(&elsewhere, (&bundle, key));
}

fn a_pipe_is_copied_first(home: &Path, (bundle, key): (&str, &str)) {
    let bytes = std::fs::read(bundle).unwrap();
    let piped = |bytes: &[u8], folder: Option<&str>| {
        let mut command = program(home, &["audit", "/dev/stdin", "--seller", key]);
        command.envs(folder.map(|folder| ("TMPDIR", folder)));
        let mut audit = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Whoever refuses a stream does not read it to its end.
        let _ = audit.stdin.take().unwrap().write_all(bytes);
        audit.wait_with_output().unwrap()
    };
    let (file, pipe) = (run(program(home, &["audit", bundle, "--seller", key])), piped(&bytes, None));
    assert_eq!((pipe.status.code(), &pipe.stdout), (Some(0), &file.stdout), "{}", stderr(&pipe));
    let cut = piped(&bytes[..bytes.len() - 1], None);
    assert!(cut.status.code() == Some(1) && stderr(&cut).contains("ends too early"), "{}", stderr(&cut));
    let nowhere = piped(&bytes, Some("/nowhere"));
    assert!(nowhere.status.code() == Some(10) && stderr(&nowhere).contains("TMPDIR"), "{}", stderr(&nowhere));
    // What is no bundle is noticed before it fills a disk.
    assert_eq!(run(program(home, &["audit", "/dev/zero", "--seller", key])).status.code(), Some(1));
}

fn a_file_that_changes_has_no_verdict(home: &Path, (bundle, key): (&str, &str)) {
    let mut long = Bundle::decode(&std::fs::read(bundle).unwrap()).unwrap();
    // Long enough to be touched many times while it is read; a repeated statement changes nothing.
    long.statements = long.statements.iter().cycle().take(100_000).cloned().collect();
    std::fs::write(bundle, long.encode().unwrap()).unwrap();
    let file = std::fs::File::options().write(true).open(bundle).unwrap();
    let mut audit = program(home, &["audit", bundle, "--seller", key]);
    let mut audit = audit.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for second in 1.. {
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        if audit.try_wait().unwrap().is_some() {
            break;
        }
    }
    let output = audit.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("changed while it was read"), "{}", stderr(&output));
    assert_eq!(run(program(home, &["audit", bundle, "--seller", key])).status.code(), Some(0), "now it is whole");
}

#[test]
fn kept_messages_are_checked_byte_by_byte() {
    let market = Market::open("kept");
    let (seller, address) = market.sell_weather();
    let out = market.folder.text("out");
    ends(market.command(&["buy", &address, "--count", "200", "--keep", "--to", &out]), 0);
    let checked = report(&market, &["--offline"], 0);
    assert!(checked["totals"]["digests"].as_u64().unwrap() > 0, "{checked}");

    // One that was changed afterwards is noticed.
    let folder = market.home().join("buyer/messages");
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let changed = report(&market, &["--offline"], 1);
    assert_ne!(changed["verdict"], "clean", "{changed}");
    seller.stop();
}

#[test]
fn a_seller_is_looked_at_before_anything_is_bought() {
    let market = Market::open("look");
    let data = market.data();
    let selling = ["--product", "weather", "--price", "3/1000", "--k", "10", "--from", &data];
    let more = ["--sample", "3", "--licence", "public domain", "--schema", "hourly"];
    let (seller, address) = market.sell(&[&selling[..], &more].concat());

    let menu = market.rows(&["menu", &address]);
    assert_eq!((menu.len(), text(&menu[0]["address"])), (1, address.as_str()));
    assert_eq!(
        (&menu[0]["k"], text(&menu[0]["licence"]), text(&menu[0]["schema"])),
        (&10.into(), "public domain", "hourly")
    );
    let quote = &market.rows(&["quote", &address, "--count", "1000"])[0];
    assert_eq!((text(&quote["due"]), text(&quote["fee"])), ("3", "0"), "{quote}");
    let sample = run(market.command(&["sample", &address]));
    assert_eq!(String::from_utf8(sample.stdout).unwrap(), weather()[..3].concat());
    // Whoever gives no key says so.
    let bare = format!("sdpp://{}", address.split_once('@').unwrap().1);
    for verb in ["menu", "quote", "sample"] {
        assert!(ends(market.command(&[verb, &bare]), 2).contains("--any-seller"), "{verb}");
        assert_eq!(run(market.command(&[verb, &bare, "--any-seller"])).status.code(), Some(0), "{verb}");
    }
    seller.stop();
    assert!(market.rows(&["orders", "list"]).is_empty(), "nobody has ordered");

    // What would be sold is said without a word to anybody.
    let said = ends(
        program(
            &market.folder.path("other"),
            &[&["sell", "--dry-run", "--listen", "127.0.0.1:0", "--ledger", &market.url()], &selling[..]].concat(),
        ),
        0,
    );
    assert!(said.contains("one buyer may owe"), "{said}");
}

//! Each check of `sdpp doctor`, where it fails.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::kit::*;
use crate::market::*;

/// What is found, with a small wish for room: the machine of a test may be full.
fn findings(market: &Market, args: &[&str], code: i32) -> Vec<Value> {
    let room: &[&str] = if args.contains(&"--free") { &[] } else { &["--free", "1"] };
    let output = run(market.command(&[&["doctor"], room, args].concat()));
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The only thing that is bad: what a check says of it.
fn bad(market: &Market, args: &[&str], check: &str) -> String {
    let all = findings(market, args, 1);
    let bad: Vec<_> = all.iter().filter(|finding| finding["state"] == "bad").collect();
    assert!(bad.iter().all(|finding| finding["check"] == check), "{bad:?}");
    assert_eq!(bad.len(), 1, "{bad:?}");
    text(&bad[0]["text"]).to_owned()
}

#[test]
fn what_is_in_order_is_said() {
    let market = Market::open("doctor");
    let all = findings(&market, &[], 0);
    let checks: Vec<&str> = all.iter().map(|finding| text(&finding["check"])).collect();
    let wanted = ["configuration", "key", "key", "disk", "journal", "journal", "port", "clock", "ledger", "witness"];
    assert_eq!(checks, wanted);
    // Nobody but the ledger stands for the ledger: that is a warning.
    assert_eq!(all[9]["state"], "warning", "{all:?}");

    // Beside a seller that runs, its port and journal are as they should be.
    let listen = fixed_address();
    market.configure(&format!(
        "[sources.file]\nfile = \"{}\"\n[[products]]\ntopic = \"weather\"\nprice = \"1/1\"",
        market.data()
    ));
    let config = market.home().join("sdpp.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("127.0.0.1:0", &listen);
    std::fs::write(&config, text).unwrap();
    let (seller, _) = market.sell(&[]);
    findings(&market, &["--offline"], 0);
    seller.stop();
}

#[test]
fn what_is_wrong_on_the_machine_is_found() {
    let market = Market::open("doctor-machine");
    assert!(bad(&market, &["--offline", "--free", "999999999"], "disk").contains("make room"));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let config = market.home().join("sdpp.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, before.replace("127.0.0.1:0", &listen)).unwrap();
    let said = bad(&market, &["--offline"], "port");
    assert!(said.contains(&listen) && said.contains("`listen`"), "{said}");

    std::fs::write(&config, format!("{before}[seler]\nlisten = \"127.0.0.1:0\"")).unwrap();
    let all = findings(&market, &["--offline"], 1);
    assert!(text(&all[0]["text"]).contains("seler"), "{all:?}");
    std::fs::write(&config, &before).unwrap();

    market.balance("buyer");
    let key = market.home().join("buyer/key");
    let mode = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    assert!(bad(&market, &["--offline"], "key").contains("chmod 600"));
    mode(0o600);
    std::fs::write(&key, "no key").unwrap();
    assert!(bad(&market, &["--offline"], "key").contains("not a key"));
    std::fs::remove_file(&key).unwrap();

    std::fs::write(
        market.home().join("buyer/journal.db"),
        "this is no database, but long enough to be one".repeat(100),
    )
    .unwrap();
    let said = bad(&market, &["--offline"], "journal");
    assert!(said.contains("journal.db"), "{said}");
    ends(market.command(&["orders", "list"]), 10);
}

#[test]
fn what_is_wrong_with_the_ledger_is_found() {
    let market = Market::open("doctor-ledger");
    findings(&market, &[], 0);
    let witness =
        rows(program(&market.folder.path("witness"), &["ledger", "key", "--as", "witness", "--name", "w.example"]));
    let witness = text(&witness[0]["verifier"]).to_owned();
    // In a home of its own, which then expects this witness.
    let careful = run(program(
        &market.folder.path("careful"),
        &["doctor", "--free", "1", "--json", "--ledger", &market.url(), "--witness", &witness],
    ));
    let said = String::from_utf8(careful.stdout).unwrap();
    assert_eq!(careful.status.code(), Some(1), "{said}");
    assert!(said.contains("witness") && said.contains("--quorum"), "{said}");

    market.kill_ledger();
    assert!(bad(&market, &[], "ledger").contains("sdpp ledger serve"));
    let url = market.url();
    let serve = ["ledger", "serve", "--listen", url.strip_prefix("http://").unwrap()];
    let other = Served::spawn(program(&market.folder.path("thief"), &serve));
    other.url();
    assert!(bad(&market, &[], "ledger").contains("is not the ledger that it was"));
    other.stop();
}

//! A sale as people make it.

use std::process::Stdio;

use crate::kit::*;
use crate::market::*;

#[test]
fn a_thousand_messages_are_bought_with_tokens_and_every_unit_is_accounted_for() {
    let market = Market::open("story", 1_000);
    let doctor = market.lines("seller", &["doctor", "--json"]);
    let found = |check: &str, said: &str| {
        doctor.iter().any(|row| row["check"] == check && row["state"] == "ok" && text(&row["text"]).contains(said))
    };
    assert!(found("chain", "31337") && found("contract", "domain") && found("contract", "records"), "{doctor:?}");
    let (seller, address) = market.sell(&[]);
    let quote = market.lines("buyer", &["quote", &address, "--count", "1000", "--json"]).remove(0);
    assert!(quote["due"] == "3000" && quote["rail"] == "evm", "{quote}");
    assert!(text(&quote["open_wei"]).parse::<u128>().unwrap() > 0, "{quote}");

    let out = market.folder.text("bought");
    let said = market.done("buyer", &["buy", &address, "--count", "1000", "--to", &out]);
    assert!(said.contains("settled: 1000 messages"), "{said}");
    assert!(said.contains("if it is away for 600 s") && !said.contains("thief"), "{said}");
    assert_eq!(market.delivered("bought"), 1_000);
    until(|| market.channels("seller", "seller").is_empty());
    // However many windows: one transaction opened the channel, one closed it. The seller's others put contracts there.
    let contracts = market.lines("seller", &["wallet", "deploy", "--as", "seller", "--json"]);
    assert!(contracts.iter().all(|row| row["sent"] == false), "{contracts:?}");
    assert_eq!(market.node.sent_by(&market.buyer), 1);
    assert_eq!(market.node.sent_by(&market.seller), contracts.len() as u64 + 1);
    let audit = market.lines("buyer", &["audit", "--json"]);
    assert!(audit.iter().all(|row| row["verdict"] == "clean"), "{audit:?}");
    for check in ["channel", "vouchers", "redeemed"] {
        assert!(audit.iter().any(|row| row["check"] == check), "{check}: {audit:?}");
    }
    assert_eq!(market.has("seller", "seller", &market.seller), 1_000 * PRICE);
    assert_eq!(market.has("buyer", "buyer", &market.buyer), GRANT - 1_000 * PRICE);
    assert!(market.folder.path("seller/seller/rail-evm-31337.db").exists(), "each chain has a book of its own");
    seller.stop();
}

#[test]
fn nothing_is_paid_in_another_asset_than_the_buyer_says() {
    let market = Market::open("asset", 10);
    let (seller, address) = market.sell(&[]);
    let token = market.token.to_string();
    for other in ["coin", "usdc", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "eip155:31337/slip44:60"] {
        let said = market.fails("buyer", &["buy", &address, "--count", "10", "--asset", other], 5);
        assert!(said.contains(&token), "{other}: {said}");
    }
    assert_eq!(market.node.sent_by(&market.buyer), 0);
    let whole = format!("eip155:31337/erc20:{token}");
    for (asset, number) in [(whole.as_str(), "1"), (&token, "2"), (&token.to_lowercase(), "3")] {
        let out = market.folder.text(number);
        let said = market.done("buyer", &["buy", &address, "--count", "10", "--asset", asset, "--to", &out]);
        let before = format!("paid in    {whole} on local (chain 31337), contract 0x");
        assert!(said.contains(&before) && said.contains("settled: 10 messages"), "{said}");
    }
    seller.stop();
}

#[test]
fn what_is_recorded_on_the_chain_is_found_there() {
    let market = Market::open("records", 100);
    let (seller, address) = market.sell(&["--records", "evm"]);
    let menu = market.lines("buyer", &["menu", &address, "--json"]).remove(0);
    assert!(menu["records"] == "evm" && text(&menu["records_origin"]).starts_with("eip155:31337:0x"), "{menu}");
    market.done("buyer", &["buy", &address, "--count", "100", "--to", &market.folder.text("bought")]);
    until(|| market.channels("seller", "seller").is_empty());
    let mut audit = Vec::new();
    // The seller's own last word is recorded behind the sale.
    until(|| {
        audit = market.lines("buyer", &["audit", "--json"]);
        audit.iter().any(|row| row["check"] == "records" && text(&row["text"]).starts_with("3 statements"))
    });
    assert!(audit.iter().all(|row| row["verdict"] == "clean"), "{audit:?}");
    seller.stop();
}

#[test]
fn every_way_to_pay_goes_with_every_way_to_record() {
    let market = Market::open("matrix", 100);
    let mut serving = market.command("ledger", &["ledger", "serve", "--listen", "127.0.0.1:0"]);
    serving.args(["--dev-grant", &GRANT.to_string()]);
    let ledger = Served::spawn(serving);
    let url = ledger.url();
    let token = market.token.to_string();
    for rail in ["voucher", "direct", "evm"] {
        for records in ["ledger", "evm", "none"] {
            let (label, home) = (format!("paid by {rail}, recorded by {records}"), format!("{rail}-{records}"));
            let mut args = vec!["--rail", rail, "--records", records, "--ledger", &url];
            if rail == "evm" {
                args.extend(["--asset", &token]);
            }
            let seller = Served::spawn(market.selling_by(&args));
            let address = seller.url();
            market.another_home(&home);
            let out = format!("{home}.ndjson");
            let path = market.folder.text(&out);
            let said = market.done(&home, &["buy", &address, "--count", "100", "--to", &path, "--ledger", &url]);
            assert!(said.contains("settled: 100 messages, due 300"), "{label}: {said}");
            assert_eq!(market.delivered(&out), 100, "{label}");
            seller.stop();
            let audit = market.lines(&home, &["audit", "--json", "--ledger", &url]);
            assert!(audit.iter().all(|row| row["verdict"] == "clean"), "{label}: {audit:?}");
            let on_log = audit[0]["totals"]["records"].as_u64().unwrap();
            let on_chain = audit.iter().any(|row| row["check"] == "records" && text(&row["text"]).starts_with("3 "));
            assert_eq!((on_log > 0, on_chain), (records == "ledger", records == "evm"), "{label}: {audit:?}");
        }
    }
    assert_eq!(market.has("seller", "seller", &market.seller), 3 * 100 * PRICE);
    ledger.stop();
}

/// The other ways with IOTA are in the tests of IOTA.
#[cfg(feature = "iota")]
#[test]
fn a_chain_pays_for_what_iota_records_and_the_other_way_round() {
    let mut market = Market::open("iota", 100);
    let iota = crate::fake::FakeNode::start();
    market.iota = Some(iota.url());
    for (rail, records) in [("evm", "iota"), ("iota", "evm")] {
        let (label, home) = (format!("paid by {rail}, recorded by {records}"), format!("{rail}-{records}"));
        market.another_home(&home);
        for (home, role) in [("seller", "seller"), (&home, "buyer")] {
            // The seller has one from the first time.
            if let Some(made) = market.run(home, &["wallet", "iota", "new", "--as", role, "--json"]).stdout.split_last()
            {
                let made: serde_json::Value = serde_json::from_slice(made.1).unwrap();
                iota.network.grant(text(&made["account"]).parse().unwrap(), 10_000_000_000);
            }
        }
        let token = market.token.to_string();
        let mut args = vec!["--rail", rail, "--records", records];
        if rail == "evm" {
            args.extend(["--asset", &token]);
        }
        let seller = Served::spawn(market.selling_by(&args));
        let (address, out) = (seller.url(), format!("{home}.ndjson"));
        let path = market.folder.text(&out);
        let said = market.done(&home, &["buy", &address, "--count", "100", "--to", &path]);
        assert!(said.contains("settled: 100 messages, due 300"), "{label}: {said}");
        assert_eq!(market.delivered(&out), 100, "{label}");
        seller.stop();
        let audit = market.lines(&home, &["audit", "--json"]);
        assert!(audit.iter().all(|row| row["verdict"] == "clean"), "{label}: {audit:?}");
        let is_there = |check: &str| audit.iter().any(|row| row["check"] == check);
        assert!(
            is_there("records") && is_there(if rail == "evm" { "vouchers" } else { "payments" }),
            "{label}: {audit:?}"
        );
    }
    assert!(iota.network.is_conserved() && iota.network.equivocations() == 0);
}

#[test]
fn a_wallet_is_kept_locked_and_can_be_had_from_elsewhere() {
    let market = Market::open("wallet", 10);
    let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    let clear = market.folder.path("clear");
    std::fs::write(&clear, key).unwrap();
    let clear = clear.display().to_string();
    market.fails("other", &["wallet", "import", &clear, "--as", "buyer"], 1);
    assert!(std::process::Command::new("chmod").args(["600", &clear]).status().unwrap().success());
    let taken = market.lines("other", &["wallet", "import", &clear, "--as", "buyer", "--json"]).remove(0);
    assert_eq!(taken["account"], "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "that of anvil's second key");
    let file = market.folder.path("other/buyer/wallet.json");
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&key[2..]));
    let locked = file.display().to_string();
    let again = market.lines("third", &["wallet", "import", &locked, "--as", "seller", "--json"]).remove(0);
    assert_eq!(again["account"], taken["account"]);
    let said = market.fails("other", &["wallet", "new"], 5);
    assert!(said.contains("has a wallet already"), "{said}");
    let mut command = market.command("other", &["wallet", "bump"]);
    let output = command.env("SDPP_PASSPHRASE", "another horse").output().unwrap();
    assert!(!output.status.success() && stderr(&output).contains("passphrase"), "{}", stderr(&output));
    // It has coins; what it sends arrives.
    let rows = market.lines("other", &["wallet", "send", &market.buyer, "7", "--json"]);
    assert_eq!(rows[0]["sent"], "7");
    assert_eq!(market.lines("other", &["wallet", "bump", "--json"])[0]["transactions"], 0);
}

#[test]
fn a_transaction_that_waits_is_sent_again_with_higher_fees_or_replaced() {
    let market = Market::open("bump", 10);
    let pending = |name: &str| market.lines("buyer", &["wallet", "--json"])[0][name].clone();
    for cancel in [false, true] {
        market.node.ask("evm_setAutomine", serde_json::json!([false]));
        let args = ["wallet", "send", &market.seller, "7", "--as", "buyer"];
        let sending = market.command("buyer", &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        until(|| pending("waiting") == 1);
        let verb = if cancel { vec!["wallet", "bump", "--cancel", "--json"] } else { vec!["wallet", "bump", "--json"] };
        assert_eq!(market.lines("buyer", &verb)[0]["transactions"], 1);
        assert_eq!(pending("waiting"), 1);
        let before = market.node.sent_by(&market.buyer);
        market.node.ask("evm_setAutomine", serde_json::json!([true]));
        market.node.mine(1);
        assert_eq!(market.node.sent_by(&market.buyer), before + 1);
        // The program that sent it finds none of its own, and says that it does not know.
        let output = sending.wait_with_output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(4), "cancelled: {cancel}: {said}");
        assert!(
            said.contains("paid twice") && said.contains("receiver") && !said.contains("nothing is done"),
            "{said}"
        );
    }
}

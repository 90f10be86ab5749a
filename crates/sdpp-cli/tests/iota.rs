//! The program on IOTA: a fake network behind a port, which speaks what a real node was recorded to speak.
#![cfg(all(unix, debug_assertions))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "iota/fake.rs"]
mod fake;
#[path = "ledger/kit.rs"]
mod kit;

use std::process::{Command, Output, Stdio};

use fake::{CHAIN, FakeNode, Fault, TOKEN};
use kit::*;
use serde_json::Value;

/// Nanos that a wallet begins with.
const FUNDS: u64 = 10_000_000_000;
/// Nanos for a message.
const PRICE: u64 = 1_000_000;
/// What a transaction of one coin takes, as a real network had it.
const FEE: u64 = 1_980_400;

struct Market {
    node: FakeNode,
    folder: Folder,
    seller: String,
    buyer: String,
    at: String,
}

impl Market {
    fn open(name: &str, messages: usize) -> Self {
        let folder = Folder::new(&format!("iota-{name}"));
        let lines: String = (0..messages).map(|number| format!("message {number}\n")).collect();
        std::fs::write(folder.path("data"), lines).unwrap();
        let (node, at) = (FakeNode::start(), fixed_address());
        let mut market = Self { node, folder, seller: String::new(), buyer: String::new(), at };
        market.seller = market.wallet("seller", "seller");
        market.buyer = market.wallet("buyer", "buyer");
        market
    }

    /// Makes a wallet with some IOTA.
    fn wallet(&self, home: &str, role: &str) -> String {
        let made = self.lines(home, &["wallet", "iota", "new", "--as", role, "--json"]);
        let account = text(&made[0]["account"]).to_owned();
        self.node.network.grant(account.parse().unwrap(), FUNDS);
        account
    }

    fn command(&self, home: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sdpp"));
        command.args(args).stdin(Stdio::null()).arg("--home").arg(self.folder.path(home));
        for name in ["SDPP_LOG", "SDPP_LOG_FORMAT", "SDPP_METRICS", "SDPP_CONFIG", "SDPP_FAILPOINT", "SDPP_LEDGER"] {
            command.env_remove(name);
        }
        command.envs([("SDPP_IOTA_RPC", self.node.url().as_str()), ("SDPP_PASSPHRASE", "correct horse")]);
        command
    }

    fn run(&self, home: &str, args: &[&str]) -> Output {
        self.command(home, args).output().unwrap()
    }

    fn done(&self, home: &str, args: &[&str]) -> String {
        let output = self.run(home, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stderr(&output)
    }

    fn lines(&self, home: &str, args: &[&str]) -> Vec<Value> {
        let output = self.run(home, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        let told = String::from_utf8(output.stdout).unwrap();
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn fails(&self, home: &str, args: &[&str], code: i32) -> String {
        let output = self.run(home, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        stderr(&output)
    }

    fn selling(&self, more: &[&str]) -> Served {
        let (price, data) = (format!("{PRICE}/1"), self.folder.text("data"));
        let mut args = vec!["sell", "--listen", &self.at, "--product", "feed"];
        args.extend(["--price", &price, "--k", "10", "--windows", "4", "--from", &data]);
        args.extend(more);
        Served::spawn(self.command("seller", &args))
    }

    fn has(&self, account: &str) -> u64 {
        self.node.network.balance(account.parse().unwrap())
    }

    fn is_sound(&self) {
        assert!(self.node.network.is_conserved());
        assert_eq!(self.node.network.equivocations(), 0);
    }

    /// All that a buyer got is what was sold, from the beginning.
    fn delivered(&self, out: &str) -> usize {
        let source = std::fs::read_to_string(self.folder.path("data")).unwrap();
        let got = std::fs::read_to_string(self.folder.path(out)).unwrap();
        assert!(source.starts_with(&got) && got.ends_with('\n'), "{out} is not what was sold");
        got.lines().count()
    }
}

#[test]
fn a_hundred_messages_are_bought_for_iota_and_recorded_there() {
    let market = Market::open("story", 100);
    let doctor = market.lines("seller", &["doctor", "--json"]);
    let is_found = |row: &Value| row["check"] == "iota" && row["state"] == "ok" && text(&row["text"]).contains(CHAIN);
    assert!(doctor.iter().any(is_found), "{doctor:?}");
    let seller = market.selling(&["--rail", "iota", "--records", "iota"]);
    let address = seller.url();
    let quote = market.lines("buyer", &["quote", &address, "--count", "100", "--json"]).remove(0);
    assert!(quote["rail"] == "iota" && quote["windows"] == 10, "{quote}");
    let out = market.folder.text("bought");
    let said = market.done("buyer", &["buy", &address, "--count", "100", "--to", &out]);
    assert!(said.contains("settled: 100 messages"), "{said}");
    assert_eq!(market.delivered("bought"), 100);
    seller.stop();
    market.is_sound();
    let audit = market.lines("buyer", &["audit", "--json"]);
    assert!(audit.iter().all(|row| row["verdict"] == "clean"), "{audit:?}");
    let said = |check: &str| {
        let row = audit.iter().find(|row| row["check"] == check).unwrap_or_else(|| panic!("{check}: {audit:?}"));
        text(&row["text"]).to_owned()
    };
    assert!(said("payments").ends_with(" transactions paid 100000000 nano"), "{audit:?}");
    assert!(said("records").contains(" statements are on IOTA") && !said("records").starts_with('0'), "{audit:?}");
    // What the seller got is the price, without the fee of its own record.
    let got = market.has(&market.seller) - FUNDS;
    assert!(got <= 100 * PRICE && got > 100 * PRICE - 3 * FEE, "{got}");
    assert!(FUNDS - market.has(&market.buyer) > 100 * PRICE + 2 * FEE);
    let shown = market.lines("buyer", &["wallet", "iota", "show", "--json"]).remove(0);
    assert_eq!(text(&shown["free"]).parse::<u64>().unwrap(), market.has(&market.buyer));
    // Nodes drop what is old, and what the buyer recorded it can still show.
    market.node.network.prune();
    let output = market.run("buyer", &["audit", "--json"]);
    let later = String::from_utf8(output.stdout).unwrap();
    let row = later.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let row = row.into_iter().find(|row| row["check"] == "records").unwrap();
    assert!(!text(&row["text"]).starts_with('0'), "{later}");
}

#[test]
fn a_seller_over_grpc_believes_the_validators_and_keeps_whom_it_has_believed() {
    let market = Market::open("grpc", 40);
    let grpc = market.node.grpc();
    let mut bought = 0;
    for (run, more) in ["; named by the nodes just now", ""].into_iter().enumerate() {
        let seller = market.selling(&["--rail", "iota", "--iota-rpc", &grpc]);
        let (address, out) = (seller.url(), format!("bought-{run}"));
        let said = seller.said();
        let of = format!("the validators of epoch {}, ", run.saturating_sub(1));
        assert!(said.contains(&of) && said.contains("named by the nodes") != more.is_empty(), "{said}");
        let to = market.folder.text(&out);
        market.done("buyer", &["buy", &address, "--count", "40", "--to", &to, "--iota-rpc", &grpc]);
        bought += market.delivered(&out) as u64;
        assert_eq!(market.has(&market.seller) - FUNDS, bought * PRICE);
        seller.stop();
        market.node.network.next_epoch(1_000);
    }
    let quote = market.fails("buyer", &["wallet", "iota", "show", "--iota-rpc", "ftp://127.0.0.1:1"], 2);
    assert!(quote.contains("grpcs://"), "{quote}");
    market.is_sound();
}

#[test]
fn every_way_to_pay_goes_with_iota_as_ledger_and_iota_with_every_ledger() {
    let market = Market::open("matrix", 100);
    let mut serving = market.command("ledger", &["ledger", "serve", "--listen", "127.0.0.1:0"]);
    serving.args(["--dev-grant", &(1_000 * PRICE).to_string()]);
    let ledger = Served::spawn(serving);
    let url = ledger.url();
    for rail in ["voucher", "direct", "iota"] {
        for records in ["ledger", "iota", "none"] {
            let (label, home) = (format!("paid by {rail}, recorded by {records}"), format!("{rail}-{records}"));
            market.wallet(&home, "buyer");
            let seller = market.selling(&["--rail", rail, "--records", records, "--ledger", &url]);
            let (address, out) = (seller.url(), format!("{home}.ndjson"));
            let path = market.folder.text(&out);
            let said = market.done(&home, &["buy", &address, "--count", "100", "--to", &path, "--ledger", &url]);
            assert!(said.contains("settled: 100 messages"), "{label}: {said}");
            assert_eq!(market.delivered(&out), 100, "{label}");
            seller.stop();
            let audit = market.lines(&home, &["audit", "--json", "--ledger", &url]);
            assert!(audit.iter().all(|row| row["verdict"] == "clean"), "{label}: {audit:?}");
            let on_log = audit[0]["totals"]["records"].as_u64().unwrap();
            // The order, and its end where the buyer was not gone before.
            let on_iota = audit.iter().any(|row| row["check"] == "records" && !text(&row["text"]).starts_with('0'));
            assert_eq!((on_log > 0, on_iota), (records == "ledger", records == "iota"), "{label}: {audit:?}");
        }
    }
    market.is_sound();
    ledger.stop();
}

#[test]
fn a_buyer_that_is_killed_in_mid_sale_goes_on_and_pays_each_invoice_once() {
    let market = Market::open("killed", 300);
    let seller = market.selling(&["--rail", "iota"]);
    let (address, out) = (seller.url(), market.folder.text("bought"));
    let paid = || market.has(&market.seller) - FUNDS;
    for share in [20, 60] {
        let args: &[&str] = if share == 20 {
            &["buy", &address, "--count", "300", "--to", &out]
        } else {
            &["buy", "--resume", "--to", &out]
        };
        let mut buyer = market.command("buyer", args).stderr(Stdio::null()).spawn().unwrap();
        until(|| paid() >= share * PRICE || buyer.try_wait().unwrap().is_some());
        buyer.kill().unwrap();
        buyer.wait().unwrap();
    }
    let output = market.run("buyer", &["buy", "--resume", "--to", &out]);
    let orders = market.lines("buyer", &["orders", "list", "--json"]);
    assert!(output.status.success() || orders[0]["state"] == "settled", "{}", stderr(&output));
    assert_eq!(market.delivered("bought"), 300);
    assert_eq!(paid(), 300 * PRICE);
    seller.stop();
    market.is_sound();
}

#[test]
fn what_goes_wrong_is_said_with_what_to_do_next() {
    let market = Market::open("wrong", 10);
    let said = market.fails("nobody", &["wallet", "iota", "show"], 2);
    assert!(said.contains("sdpp wallet iota new --as buyer"), "{said}");
    let said = market.fails("buyer", &["wallet", "iota", "new"], 5);
    assert!(said.contains("has an IOTA wallet already"), "{said}");
    let said = market.fails("buyer", &["wallet", "iota", "send", "0x2", "1"], 2);
    assert!(said.contains("64 lower-case digits"), "{said}");
    let too_much = (10 * FUNDS).to_string();
    let said = market.fails("buyer", &["wallet", "iota", "send", &market.seller, &too_much], 8);
    assert!(said.contains("not enough IOTA"), "{said}");
    market.done("buyer", &["wallet", "iota", "send", &market.seller, "5"]);
    assert_eq!(market.has(&market.seller), FUNDS + 5);

    let seller = market.selling(&["--rail", "iota"]);
    let address = seller.url();
    let mut poor = market.command("poor", &["wallet", "iota", "new", "--as", "buyer"]);
    assert!(poor.output().unwrap().status.success());
    let said = market.fails("poor", &["buy", &address, "--count", "10"], 8);
    assert!(said.contains("has 0 IOTA"), "{said}");
    // The price and a budget are not enough: each window takes a fee.
    let data = market.folder.text("data");
    let dear = fixed_address();
    let args = [
        "sell",
        "--listen",
        &dear,
        "--product",
        "dear",
        "--price",
        "1/1",
        "--k",
        "1",
        "--from",
        &data,
        "--rail",
        "iota",
    ];
    market.wallet("other", "seller");
    let other = Served::spawn(market.command("other", &args));
    let (dear, small) = (other.url(), market.wallet("small", "buyer"));
    market.done("small", &["wallet", "iota", "send", &market.seller, &(FUNDS - 70_000_000).to_string()]);
    let said = market.fails("small", &["buy", &dear, "--count", "100"], 8);
    assert!(said.contains("its 100 windows 0.19804 IOTA of fees, and 0.1 IOTA has to be there to the end"), "{said}");
    assert!(market.has(&small) > 50_000_000);
    other.stop();
    let mut unnamed = market.command("buyer", &["buy", &address, "--count", "10"]);
    let output = unnamed.env_remove("SDPP_IOTA_RPC").output().unwrap();
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--iota-network"), "{}", stderr(&output));
    market.node.has(Some(Fault::Silent));
    let said = market.fails("buyer", &["wallet", "iota", "show"], 4);
    assert!(said.contains("try another one with --iota-rpc"), "{said}");
    market.node.has(None);
    seller.stop();
    market.is_sound();
}

#[test]
fn what_was_sent_and_not_heard_of_is_not_sent_twice_by_the_same_command() {
    let market = Market::open("send", 1);
    let send = ["wallet", "iota", "send", &market.seller, "7"];
    for (times, fault) in [(1, Fault::ExecutionsLost), (2, Fault::EffectsLost)] {
        market.node.has(Some(fault));
        let said = market.fails("buyer", &send, 4);
        assert!(said.contains("run the same command again (nothing is done twice)"), "{fault:?}: {said}");
        let said = market.fails("buyer", &send, 4);
        assert!(said.contains("the same was begun before"), "{fault:?}: {said}");
        market.node.has(None);
        // Something else is not it.
        market.done("buyer", &["wallet", "iota", "send", &market.seller, "100"]);
        market.done("buyer", &send);
        assert_eq!(market.has(&market.seller), FUNDS + times * 107, "{fault:?}");
    }
    market.done("buyer", &send);
    assert_eq!(market.has(&market.seller), FUNDS + 2 * 107 + 7, "asked for again, it is another one");
    market.is_sound();
}

#[test]
fn a_seller_that_records_nothing_leaves_its_coins_to_be_sent() {
    let market = Market::open("free", 1);
    let send = ["wallet", "iota", "send", &market.buyer, "5", "--as", "seller"];
    let seller = market.selling(&["--rail", "iota"]);
    seller.url();
    market.done("seller", &send);
    assert_eq!(market.has(&market.buyer), FUNDS + 5);
    seller.stop();
    let seller = market.selling(&["--rail", "iota", "--records", "iota"]);
    seller.url();
    let said = market.fails("seller", &send, 11);
    assert!(said.contains("end it"), "{said}");
    seller.stop();
}

#[test]
fn a_node_of_another_network_is_not_taken_for_the_one_that_is_named() {
    let market = Market::open("named", 1);
    let show = ["wallet", "iota", "show", "--iota-network", "mainnet"];
    let said = market.fails("buyer", &show, 5);
    assert!(said.contains("of another IOTA network than mainnet, which is 6364aad5"), "{said}");
    let config = market.folder.path("buyer/sdpp.toml");
    let mine = ["wallet", "iota", "show", "--iota-network", "mine"];
    std::fs::write(&config, format!("[iota.networks.mine]\nchain = \"{}\"\n", CHAIN.to_uppercase())).unwrap();
    let said = market.fails("buyer", &mine, 2);
    assert!(said.contains("eight digits, a to f small"), "{said}");
    std::fs::write(&config, format!("[iota.networks.mine]\nchain = \"{CHAIN}\"\n")).unwrap();
    market.done("buyer", &mine);
    // What the configuration says of a known name counts, and a known name has an explorer.
    std::fs::write(&config, format!("[iota.networks.testnet]\nchain = \"{CHAIN}\"\n")).unwrap();
    let shown = market.lines("buyer", &["wallet", "iota", "show", "--iota-network", "testnet", "--json"]).remove(0);
    let page = format!("https://explorer.iota.org/address/{}?network=testnet", market.buyer);
    assert_eq!(shown["link"], page.as_str());
}

#[test]
fn prices_and_amounts_are_written_in_iota_and_in_no_other_money() {
    let market = Market::open("money", 20);
    let data = market.folder.text("data");
    let listen = ["sell", "--listen", &market.at, "--product", "feed", "--from", &data, "--rail", "iota", "--k", "10"];
    let said = market.fails("seller", &[&listen[..], &["--price", "1USDC/1"]].concat(), 2);
    assert!(said.contains("product 'feed': 1USDC is in USDC, and what is paid in is counted in nano"), "{said}");
    let seller = Served::spawn(market.command("seller", &[&listen[..], &["--price", "0.001IOTA/1"]].concat()));
    let address = seller.url();
    assert!(seller.said().contains("feed: 1000000 nano per message"), "{}", seller.said());
    let said = market.fails("buyer", &["buy", &address, "--budget", "1ETH"], 2);
    assert!(said.contains("write how many nano"), "{said}");
    let out = market.folder.text("bought");
    market.done("buyer", &["buy", &address, "--budget", "0.01IOTA", "--to", &out]);
    assert_eq!((market.delivered("bought"), market.has(&market.seller) - FUNDS), (10, 10 * PRICE));
    market.done("buyer", &["wallet", "iota", "send", &market.seller, "0.5IOTA"]);
    assert_eq!(market.has(&market.seller), FUNDS + 10 * PRICE + 500_000_000);
    market.done("seller", &["status", "price", "feed", "0.002IOTA/1"]);
    let said = market.fails("seller", &["status", "price", "feed", "1USDC/1"], 5);
    assert!(said.contains("write how many nano"), "{said}");
    seller.stop();
}

#[test]
fn where_a_gas_station_pays_the_fees_a_buyer_needs_no_more_than_the_price() {
    let market = Market::open("station", 40);
    (0..8).for_each(|_| market.node.network.grant(market.node.station.address(), FUNDS));
    let seller = market.selling(&["--rail", "iota"]);
    let (address, out) = (seller.url(), market.folder.text("bought"));
    let mut poor = market.command("poor", &["wallet", "iota", "new", "--as", "buyer", "--json"]);
    let made: Value = serde_json::from_slice(&poor.output().unwrap().stdout).unwrap();
    let account = text(&made["account"]);
    market.node.network.grant(account.parse().unwrap(), 40 * PRICE);
    let (config, url) = (market.folder.path("poor/sdpp.toml"), market.node.url());
    std::fs::write(&config, format!("[iota]\nnetwork = \"mine\"\n[iota.networks.mine]\ngas_station = \"{url}\"\n"))
        .unwrap();
    let quote = market.lines("poor", &["quote", &address, "--count", "40", "--json"]).remove(0);
    assert!(quote["fees_nano"] == "0", "{quote}");
    let mut buying = market.command("poor", &["buy", &address, "--count", "40", "--to", &out]);
    let bought = buying.env("SDPP_IOTA_GAS_TOKEN", TOKEN).output().unwrap();
    assert!(bought.status.success(), "{}", stderr(&bought));
    assert_eq!((market.delivered("bought"), market.has(account)), (40, 0));
    assert_eq!(market.has(&market.seller), FUNDS + 40 * PRICE);
    let audit = market.lines("poor", &["audit", "--json"]);
    assert!(audit.iter().all(|row| row["verdict"] == "clean"), "{audit:?}");
    seller.stop();
    market.is_sound();
}

#[test]
fn what_nobody_knows_to_be_sent_is_sent_again_only_by_who_says_so() {
    let market = Market::open("doubt", 1);
    let send = ["wallet", "iota", "send", &market.seller, "7"];
    market.node.has(Some(Fault::EffectsLost));
    market.fails("buyer", &send, 4);
    market.node.has(None);
    // Days later nodes have dropped it.
    (0..3).for_each(|_| market.node.network.next_epoch(1_000));
    market.node.network.prune();
    for _ in 0..2 {
        let said = market.fails("buyer", &send, 5);
        assert!(said.contains("nobody can say for sure that this was not sent") && said.contains("--again"), "{said}");
        assert_eq!(market.has(&market.seller), FUNDS + 7);
    }
    // Something else is not held up by it.
    market.done("buyer", &["wallet", "iota", "send", &market.seller, "100"]);
    market.done("buyer", &[&send[..], &["--again"]].concat());
    assert_eq!(market.has(&market.seller), FUNDS + 114);
    market.done("buyer", &send);
    assert_eq!(market.has(&market.seller), FUNDS + 121, "the doubt was settled");
    market.is_sound();
}

#[test]
fn a_quote_names_the_fee_and_the_k_from_which_it_does_not_eat_the_price() {
    let market = Market::open("quote", 10);
    let data = market.folder.text("data");
    let args = ["sell", "--listen", &market.at, "--product", "feed", "--price", "1000/1", "--k", "10", "--from", &data];
    let seller = Served::spawn(market.command("seller", &[&args[..], &["--rail", "iota"]].concat()));
    let address = seller.url();
    let quote = market.lines("buyer", &["quote", &address, "--count", "1000", "--json"]).remove(0);
    assert!(quote["least_k"] == "19804" && text(&quote["fee_nano"]).parse() == Ok(FEE), "{quote}");
    seller.stop();
}

#[test]
fn a_key_is_taken_in_the_form_of_wallets_and_kept_locked() {
    let market = Market::open("import", 1);
    // The seed of 32 bytes 0x07, as the recording's page says.
    let file = market.folder.path("exported");
    let exported = "iotaprivkey1qqrswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qursw6y8fr7";
    std::fs::write(&file, exported).unwrap();
    let file = file.display().to_string();
    assert!(Command::new("chmod").args(["600", &file]).status().unwrap().success());
    let taken = market.lines("other", &["wallet", "iota", "import", &file, "--json"]).remove(0);
    assert_eq!(taken["account"], "0x8d2d1c260127c74476b27136c5e38c003b66b889f5c80032fb81ebc3f44f45a3");
    let kept = std::fs::read_to_string(market.folder.path("other/buyer/iota.key")).unwrap();
    assert!(kept.starts_with("SDPP-SECRET-KEY-2 ") && !kept.contains("0707070707"), "{kept}");
    let mut show = market.command("other", &["wallet", "iota", "show"]);
    let output = show.env("SDPP_PASSPHRASE", "wrong horse").output().unwrap();
    assert!(!output.status.success() && stderr(&output).contains("passphrase"), "{}", stderr(&output));
    market.done("other", &["wallet", "iota", "show"]);
}

//! The examples are short, and they work: a first sale and a first purchase through a served ledger.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use sdpp::proto::identity::SigningKey;
use sdpp::proto::money::Amount;
use sdpp::rail::{Durability, MemoryStore, SqliteStore};
use sdpp_ledger::http::{ClientOptions, DevGrant, FirstSightError, HttpLedger, Server, ServerConfig, serve_ledger};
use sdpp_ledger::{LedgerClient, LedgerConfig, LocalLedger};
use zeroize::Zeroizing;

/// Lines that a first sale and a first purchase may have, imports and all.
const LINES_MAX: usize = 40;
/// What is sold: real measurements, one a line.
const DATA: &str = "seattle-weather-hourly.ndjson";

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sdpp-example-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(format!("{name}.rs"))
}

/// An example, as Cargo builds it beside the tests.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path =
        test.ancestors().nth(2).unwrap().join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.is_file(), "{} is missing: `cargo build -p sdpp --examples` builds it", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

/// A ledger with trial money, and its URL.
fn ledger(seed: u8) -> (LocalLedger, Server, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = LedgerConfig::new("example.test/ledger", key(seed), Arc::new(sdpp::now));
    let ledger = LocalLedger::start(config, Box::new(MemoryStore::new())).unwrap();
    let grant = DevGrant { key: key(2), symbol: "trial".into(), amount: Amount::new(10_000) };
    let config = ServerConfig { grant: Some(grant), ..ServerConfig::default() };
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let server = serve_ledger(Arc::new(ledger.clone()), listener, config).unwrap();
    (ledger, server, url)
}

#[test]
fn a_first_sale_and_a_first_purchase_are_short() {
    for name in ["first_sale", "first_purchase"] {
        let lines = fs::read_to_string(source(name)).unwrap().lines().count();
        assert!(lines < LINES_MAX, "{name} has {lines} lines");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_first_sale_sells_the_first_purchase_buys() {
    let (ledger, server, url) = ledger(1);
    let folder = Folder::new("sale");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data").join(DATA);
    let (sold, home) = (data.clone(), folder.0.clone());
    let bought = tokio::task::spawn_blocking(move || {
        let mut sale = example("first_sale");
        let mut sale = Running(sale.arg(&sold).args([&home]).arg(&url).stdout(Stdio::piped()).spawn().unwrap());
        let mut address = String::new();
        BufReader::new(sale.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let purchase = |count: &str| {
            let mut purchase = example("first_purchase");
            let output = purchase.args([address.trim_end(), count]).arg(&home).arg(&url).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && said.contains("settled: true"), "{address}{said}");
            output.stdout
        };
        let audit = || {
            let output = example("audit_purchases").arg(&home).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        // The second finds keys, journals and the ledger's key where the first has left them.
        (purchase("250"), purchase("7"), audit())
    });
    let (first, second, audited) = bought.await.unwrap();
    let lines = fs::read(data).unwrap();
    let lines = |count: usize| lines.split_inclusive(|byte| *byte == b'\n').take(count).collect::<Vec<_>>().concat();
    assert_eq!(first, lines(250));
    assert_eq!(second, lines(7));
    let clean = audited.lines().filter(|line| line.starts_with("CLEAN")).count();
    assert_eq!(clean, 2, "{audited}");
    server.stop().await;
    ledger.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_of_another_key_is_not_the_one_seen_first() {
    let folder = Folder::new("sight");
    let follow = async |seed| {
        let (ledger, server, url) = ledger(seed);
        let http = HttpLedger::new(&url, ClientOptions::new(tokio::runtime::Handle::current())).unwrap();
        let store = SqliteStore::open(folder.0.join("replica.db"), Durability::Power).unwrap();
        let client = LedgerClient::at_first_sight(http, Box::new(store)).await;
        let followed = match client {
            Ok(client) => Ok(client.follow().await.unwrap()),
            Err(error) => Err(error),
        };
        server.stop().await;
        ledger.stop();
        followed
    };
    follow(1).await.unwrap();
    let refused = follow(5).await;
    assert!(matches!(refused, Err(FirstSightError::AnotherLedger { .. })), "{refused:?}");
    follow(1).await.unwrap();
}

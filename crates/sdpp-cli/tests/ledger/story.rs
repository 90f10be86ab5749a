//! The whole story over two homes, and that its proofs outlive the servers.

use std::path::Path;

use base64ct::{Base64, Encoding as _};
use sdpp_ledger::entry::Record;
use sdpp_ledger::http::{ClientOptions, HttpLedger};
use sdpp_ledger::{Body, Entry, LedgerService as _};
use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Form, Payment, Signed};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::kit::*;

/// A ledger with its witness, and what people need to know of them.
struct World {
    folder: Folder,
    ledger: Served,
    witness: Served,
    url: String,
    log: String,
    cosigner: String,
}

/// The verifier key of a role.
fn verifier(home: &Path, role: &str) -> String {
    text(&line(home, &["key", "--as", role])["verifier"]).to_owned()
}

fn account(home: &Path, role: &str) -> String {
    text(&line(home, &["key", "--as", role])["account"]).to_owned()
}

impl World {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let home = folder.path("station");
        let log = verifier(&home, "ledger");
        let (witness, at) = Served::start(&home, &["witness", "--listen", "127.0.0.1:0", "--log", &log]);
        let cosigner = verifier(&home, "witness");
        let option = format!("{cosigner}={at}");
        let files = folder.text("tiles");
        let serve =
            ["serve", "--listen", "127.0.0.1:0", "--witness", &option, "--dev-grant", "1000", "--publish", &files];
        let (ledger, url) = Served::start(&home, &serve);
        // It says who it is; another pipe carries that than the one that said that it is ready.
        until(|| ledger.said().contains(&log));
        Self { folder, ledger, witness, url, log, cosigner }
    }

    fn home(&self) -> std::path::PathBuf {
        self.folder.path("people")
    }

    /// A command of somebody who knows nothing but where the ledger is.
    fn line(&self, args: &[&str]) -> Value {
        line(&self.home(), &[args, &["--ledger", &self.url]].concat())
    }

    fn lines(&self, args: &[&str]) -> Vec<Value> {
        lines(&self.home(), &[args, &["--ledger", &self.url]].concat())
    }

    fn refused(&self, args: &[&str]) -> String {
        refused(&self.home(), &[args, &["--ledger", &self.url]].concat())
    }

    fn amount(&self, role: &str) -> String {
        let found = self.lines(&["balance", "--as", role]);
        found.first().map_or_else(|| "0".to_owned(), |line| text(&line["amount"]).to_owned())
    }
}

fn money(world: &World) {
    let named = ["--trust-ledger", &world.log, "--witness", &world.cosigner];
    assert!(world.lines(&[&["balance"][..], &named].concat()).is_empty());
    let known = std::fs::read_to_string(world.folder.path("people/known-ledgers")).unwrap();
    assert!(known.contains(&format!("{} {} 1 {}", world.url, world.log, world.cosigner)), "{known}");

    let granted = world.line(&["grant"]);
    assert_eq!((&granted["amount"], &granted["again"]), (&Value::from("1000"), &Value::from(false)));
    assert_eq!(world.line(&["grant"])["again"], true);
    assert_eq!(world.amount("buyer"), "1000");

    let seller = account(&world.home(), "seller");
    let dry = world.line(&["transfer", "300", "uUSD", "--to", &seller, "--reference", "rent", "--dry-run"]);
    assert_eq!(dry["would_be"], "the ledger would take it");
    assert_eq!(world.amount("seller"), "0", "nothing was sent");
    let paid = world.line(&["transfer", "300", "uUSD", "--to", &seller, "--reference", "rent"]);
    assert_eq!((&paid["id"], &paid["again"]), (&dry["id"], &Value::from(false)));
    let again = world.line(&["transfer", "300", "uUSD", "--to", &seller, "--reference", "rent"]);
    assert_eq!((&again["index"], &again["again"]), (&paid["index"], &Value::from(true)));
    assert_eq!((world.amount("buyer"), world.amount("seller")), ("700".to_owned(), "300".to_owned()));
    assert!(world.refused(&["transfer", "9999", "uUSD", "--to", &seller]).contains("less than that"));
    assert!(world.refused(&["transfer", "1", "EUR", "--to", &seller]).contains("never had any EUR"));

    let made = world.line(&["issue", "beans", "7", "--to", &seller]);
    assert!(text(&made["asset"]).starts_with("beans@z6Mk"));
    assert_eq!(world.lines(&["balance", "--as", "seller"]).len(), 2);
    assert_eq!(world.line(&["balance", &seller, "--asset", text(&made["asset"])])["amount"], "7");
}

fn channels(world: &World) {
    let seller = account(&world.home(), "seller");
    let open = ["channel", "open", "--to", &seller, "--deposit", "100", "--asset", "uUSD", "--grace", "0s"];
    let id = text(&world.line(&open)["channel"]).to_owned();
    assert_eq!(world.line(&["channel", "top-up", &id, "20"])["channel"], id.as_str());
    assert_eq!(world.line(&["channel", "show", &id])["deposit"], "120");
    assert_eq!(world.line(&["channel", "list"])["state"], "open");
    assert_eq!(world.line(&["channel", "list", "--as", "seller"])["channel"], id.as_str());
    assert!(world.refused(&["channel", "close", &id, "--as", "issuer"]).contains("--as"));
    assert_eq!(world.amount("buyer"), "580");
    // The payer asks, then closes when it may; here the grace is over at the next tick.
    assert_eq!(world.line(&["channel", "close", &id])["state"], "closing");
    until(|| world.line(&["channel", "close", &id])["state"] == "closed");
    assert_eq!(world.line(&["channel", "close", &id])["state"], "closed", "nothing is left to do");
    assert_eq!(world.amount("buyer"), "700");

    // A payee closes at once.
    let second = text(&world.line(&open)["channel"]).to_owned();
    assert_ne!(second, id);
    assert_eq!(world.line(&["channel", "close", &second, "--as", "seller"])["state"], "closed");
    assert!(world.refused(&["channel", "show", &"0".repeat(64)]).contains("has no channel"));
}

fn the_log(world: &World) -> usize {
    let all = world.lines(&["log", "--from", "0", "--count", "1000"]);
    for (index, entry) in all.iter().enumerate() {
        assert_eq!(entry["index"], index);
    }
    let kinds: Vec<&str> = all.iter().map(|entry| text(&entry["kind"])).collect();
    for kind in ["tick", "issue", "transfer", "open", "top-up", "request-close", "close"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    let last = world.lines(&["log", "--count", "2"]);
    assert_eq!(last, all[all.len() - 2..]);
    assert!(world.refused(&["log", "--from", "100000"]).contains("entries"));
    all.len()
}

/// Records a statement as a seller's program does; gives its id and its bytes.
fn record(world: &World) -> (StatementId, Vec<u8>) {
    let key = SigningKey::from_seed(&Zeroizing::new([9; 32]));
    let (id, zero) = (StatementId([7; 32]), StatementId([8; 32]));
    let body = Payment { order_id: id, prev: id, invoice_id: zero, total: Amount::new(5), channel: None, proof: None };
    let statement = Signed::sign(&key, body).erase();
    let origin = world.log.split('+').next().unwrap();
    let entry = Entry::sign(&key, origin, Body::Record(Record::of(&statement, Form::Full)));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let http = HttpLedger::new(&world.url, ClientOptions::new(runtime.handle().clone())).unwrap();
    runtime.block_on(http.submit(entry.bytes())).unwrap();
    (statement.id, statement.bytes.to_vec())
}

#[test]
fn people_live_on_a_ledger_and_prove_it_when_it_is_gone() {
    let world = World::new("story");
    money(&world);
    channels(&world);
    let size = the_log(&world);
    let (statement, bytes) = record(&world);
    let stated = world.folder.text("payment.cose");
    std::fs::write(&stated, bytes).unwrap();

    let prefix = world.folder.text("first");
    let proved = world.line(&["prove", "1", "--out", &prefix]);
    assert_eq!((&proved["index"], &proved["cosigned_by"][0]), (&Value::from(1), &Value::from(world.cosigner.as_str())));
    let prefix = world.folder.text("record");
    let by_id = world.line(&["prove", &statement.to_string(), "--out", &prefix]);
    assert!(by_id["index"].as_u64() >= Some(size as u64), "{by_id}");
    for file in [stated, format!("{prefix}.cose")] {
        let copy = world.folder.text("copy");
        assert_eq!(world.line(&["prove", &file, "--out", &copy])["index"], by_id["index"]);
    }
    assert!(world.refused(&["prove", "100000"]).contains("none at 100000"));
    assert!(world.refused(&["prove", &"0".repeat(64)]).contains("no record"));
    assert!(world.refused(&["prove", "no-such-file"]).contains("no-such-file"));

    let World { folder, ledger, witness, log, cosigner, .. } = world;
    ledger.stop();
    witness.stop();
    let checkpoint = std::fs::read_to_string(folder.path("tiles/checkpoint")).unwrap();
    assert!(checkpoint.starts_with(log.split('+').next().unwrap()), "{checkpoint}");
    off_line(&folder, &log, &cosigner);
}

/// Verifies without a home, without a server.
fn verify(folder: &Folder, name: &str, args: &[&str]) -> Result<Value, String> {
    let file = folder.text(name);
    let output = sdpp(&folder.path("nowhere"), &[&["verify", &file][..], args].concat());
    if output.status.code() == Some(0) {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    Err(stderr(&output))
}

fn off_line(folder: &Folder, log: &str, cosigner: &str) {
    let trust = ["--log", log, "--witness", cosigner];
    let shown = verify(folder, "record.cose", &trust).unwrap();
    assert_eq!((&shown["kind"], &shown["record_of"]), (&Value::from("record"), &Value::from("payment")));
    assert_eq!((&shown["receipt"], &shown["cosigned"][0]["witness"]), (&Value::from(true), &Value::from(cosigner)));
    assert_eq!(verify(folder, "first.cose", &trust).unwrap()["index"], 1);
    assert!(!folder.path("nowhere").exists(), "it keeps nothing");

    // Any changed file is refused, and named.
    for end in ["cose", "tlog-proof", "receipt"] {
        let whole = std::fs::read(folder.path(&format!("first.{end}"))).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 23 + 1) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(folder.path(&format!("first.{end}")), changed).unwrap();
            let said = verify(folder, "first.cose", &trust).expect_err("a changed file");
            assert!(said.contains(&format!("first.{end}")) || end == "cose", "byte {at} of {end}: {said}");
        }
        std::fs::write(folder.path(&format!("first.{end}")), whole).unwrap();
    }
    assert!(verify(folder, "first.cose", &trust).is_ok());

    // Another entry's proofs, another log, another witness, too few of them.
    let (proof, receipt) = (folder.text("record.tlog-proof"), folder.text("record.receipt"));
    let with = |more: &[&str]| verify(folder, "first.cose", &[&trust[..], more].concat());
    assert!(with(&["--proof", &proof]).unwrap_err().contains("record.tlog-proof"));
    assert!(with(&["--receipt", &receipt]).unwrap_err().contains("record.receipt"));
    assert!(with(&["--receipt", "no-such-file"]).unwrap_err().contains("no-such-file"));
    let other = verifier(&folder.path("other"), "ledger");
    assert!(verify(folder, "first.cose", &["--log", &other]).is_err());
    let stranger = verifier(&folder.path("other"), "witness");
    let said = verify(folder, "first.cose", &["--log", log, "--witness", &stranger]).unwrap_err();
    assert!(said.contains("0 of 1"), "{said}");
    assert!(verify(folder, "first.cose", &["--log", cosigner]).unwrap_err().contains("--log takes"));

    // A receipt alone says less, and says so.
    std::fs::rename(folder.path("first.tlog-proof"), folder.path("away")).unwrap();
    assert!(verify(folder, "first.cose", &trust).unwrap_err().contains("shows no witnesses"));
    let alone = verify(folder, "first.cose", &["--log", log]).unwrap();
    assert_eq!((&alone["index"], &alone["size"], &alone["receipt"]), (&Value::Null, &Value::Null, &Value::from(true)));
    std::fs::remove_file(folder.path("first.receipt")).unwrap();
    assert!(verify(folder, "first.cose", &["--log", log]).unwrap_err().contains("no proof beside"));
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn a_ledger_is_served_with_tls() {
    let folder = Folder::new("tls");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.text("cert.pem"), folder.text("key.pem"));
    std::fs::write(&cert, pem("CERTIFICATE", made.cert.der())).unwrap();
    std::fs::write(&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key, "--dev-grant", "5"];
    let (ledger, url) = Served::start(&folder.path("station"), &serve);
    let url = url.replace("127.0.0.1", "localhost");
    assert!(url.starts_with("https://"), "{url}");
    let people = folder.path("people");
    assert_eq!(line(&people, &["grant", "--ledger", &url, "--ca", &cert])["amount"], "5");
    assert!(refused(&people, &["balance", "--ledger", &url]).contains("--ca"));
    ledger.stop();
}

#[test]
fn fsck_finds_a_served_and_a_published_ledger_sound_and_a_changed_one_not() {
    let world = World::new("fsck");
    world.line(&["grant"]);
    let home = world.home();
    let check = |source: &str| {
        let trust = ["--log", &world.log, "--witness", &world.cosigner];
        line(&home, &[&["fsck", source], &trust[..]].concat())
    };
    let served = check(&world.url);
    assert_eq!((&served["sound"], &served["witnesses"]), (&Value::Bool(true), &Value::from(1)));
    let World { folder, ledger, witness, log, .. } = world;
    ledger.stop();
    witness.stop();
    let tiles = folder.text("tiles");
    let offline = ["fsck", &tiles, "--log", &log];
    let published = line(&home, &[&offline[..], &["--sample", "2", "--seed", "9"]].concat());
    assert_eq!((&published["root"], &published["seed"]), (&served["root"], &Value::from(9)));
    let bundle = folder.path("tiles/tile/entries/000.p").join(published["size"].to_string());
    let mut bytes = std::fs::read(&bundle).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let said = refused(&home, &offline);
    assert!(said.contains("entry") && said.contains("leaf"), "{said}");
}

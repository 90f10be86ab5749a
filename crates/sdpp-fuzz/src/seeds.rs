//! The inputs that fuzzing begins with: from the test vectors of `spec/`, and from sales that are held here.

use std::fs;
use std::path::{Path, PathBuf};

use sdpp::audit::Bundle;
use sdpp_ledger::LedgerTerms;
use sdpp_ledger::entry::{Issue, asset_id};
use sdpp_ledger::{Body, Entry as LedgerEntry};
use sdpp_log::{Policy, bundle, tiled};
use sdpp_proto::codec::{self, Bytes32};
use sdpp_proto::cose;
use sdpp_proto::frame::FrameKind;
use sdpp_proto::journal::Entry;
use sdpp_proto::limits::FRAME_HEADER_LEN;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::Kind;
use serde_json::Value;

use crate::kit::{self, key};
use crate::log::{self, ORIGIN};
use crate::sale::sales;
use crate::{TARGETS, audit, ledger};

/// Inputs for each target, by its name.
///
/// # Panics
/// If a file of test vectors is missing or not as it should be.
#[must_use]
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    statements(&mut seeds);
    frames(&mut seeds);
    logs(&mut seeds);
    ledgers(&mut seeds);
    texts(&mut seeds);
    programs(&mut seeds);
    seeds
}

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn vectors(name: &str) -> Value {
    let text = fs::read_to_string(root().join("spec/vectors").join(name)).expect("a file of test vectors");
    serde_json::from_str(&text).expect("JSON")
}

/// All values of this key, wherever they are, as bytes.
fn hex_of(value: &Value, key: &str) -> Vec<Vec<u8>> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| hex_of(item, key)).collect(),
        Value::Object(fields) => {
            let own = fields.get(key).and_then(Value::as_str).and_then(unhex);
            own.into_iter().chain(fields.values().flat_map(|field| hex_of(field, key))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// The input's first byte chooses the kind.
fn with(first: usize, rest: &[u8]) -> Vec<u8> {
    [&[first as u8], rest].concat()
}

fn statements(seeds: &mut Seeds) {
    let file = vectors("statements.json");
    let of = |key| hex_of(&file, key);
    let codes: Vec<usize> = hex_of(&file, "statement").iter().map(|bytes| kind_of(bytes)).collect();
    for ((statement, payload), kind) in of("statement").iter().zip(&of("payload")).zip(codes) {
        seeds.push(("statement", with(kind, statement)));
        seeds.push(("statement", with(kind, payload)));
        seeds.push(("cose", statement.clone()));
        seeds.push(("diff_cose", statement.clone()));
        seeds.push(("diff_cbor", with(diff_kind(kind), payload)));
    }
    for (_, sale) in sales() {
        let mut rows: Vec<&Entry> = sale.rows.0.iter().chain(&sale.rows.1).collect();
        rows.truncate(8);
        seeds.extend(rows.iter().map(|row| ("journal_row", row.to_bytes())));
        seeds.extend(rows.iter().map(|row| ("diff_cose", row.to_bytes())));
    }
    for amount in [0, 23, 256, u128::from(u64::MAX), 1 << 64, u128::MAX] {
        seeds.push(("diff_cbor", with(15, &codec::encode(&Amount::new(amount)))));
    }
}

/// The place of a statement's kind among all.
fn kind_of(statement: &[u8]) -> usize {
    let parsed = cose::parse(statement).expect("a statement of the vectors");
    let kind = Kind::of_content_type(parsed.content_type);
    Kind::ALL.iter().position(|known| Some(*known) == kind).expect("a kind")
}

/// The number under which the differential target knows a kind.
fn diff_kind(place: usize) -> usize {
    match place {
        // Acks and samples have no number of their own.
        0..=4 => place,
        6 => 5,
        7 => 6,
        8 => 7,
        10 => 8,
        _ => 9,
    }
}

fn frames(seeds: &mut Seeds) {
    let file = vectors("frames.json");
    seeds.extend(hex_of(&file, "frame").into_iter().map(|frame| ("frame", frame)));
    seeds.extend(hex_of(&file, "longest").into_iter().map(|header| ("frame", header)));
    seeds.extend(hex_of(&file, "bytes").iter().map(|item| ("control", with(0, item))));
    for (_, sale) in sales() {
        for (_, frame) in sale.frames.iter().take(12) {
            let body = &frame[FRAME_HEADER_LEN..];
            seeds.push(("frame", frame.clone()));
            let kind = match frame[4] {
                code if code == FrameKind::Hello.code() => (1, 10),
                code if code == FrameKind::Menu.code() => (2, 11),
                code if code == FrameKind::Order.code() => (4, 12),
                _ => continue,
            };
            seeds.push(("control", with(kind.0, body)));
            seeds.push(("diff_cbor", with(kind.1, body)));
        }
    }
    let session = vectors("session-1.json");
    seeds.extend(hex_of(&session, "frame").into_iter().map(|frame| ("frame", frame)));
    for plain in hex_of(&session, "plain").iter().chain(&hex_of(&session, "plaintext")) {
        seeds.push(("frame", plain.clone()));
        seeds.extend([5, 7].map(|kind| ("control", with(kind, plain))));
        seeds.extend([13, 14].map(|kind| ("diff_cbor", with(kind, plain))));
    }
}

fn logs(seeds: &mut Seeds) {
    for size in [0, 1, 2, 255, 256, 300] {
        let note = log::checkpoint(size);
        seeds.push(("note", note.to_string().into_bytes()));
        seeds.push(("note", note.text().into()));
        seeds.push(("diff_tiles", note.text().into()));
        seeds.push(("note", note.signatures()[0].to_string().into_bytes()));
        let old = size / 2;
        seeds.push(("add_checkpoint", log::step(old, size).to_string().into_bytes()));
        if size > 0 {
            seeds.push(("tlog_proof", log::tlog_proof_of(size / 3, size).to_string().into_bytes()));
        }
    }
    let extra = log::tlog_proof_of(1, 3).with_extra(b"extra").expect("a few bytes");
    seeds.push(("tlog_proof", extra.to_string().into_bytes()));
    seeds.push(("note", log::log_vkey().to_string().into_bytes()));
    let lines = [log::cosignature(0, 5, 1_800_000_000), log::cosignature(1, 5, 7)];
    seeds.push(("add_checkpoint", sdpp_log::add_checkpoint::cosigned_body(&lines).into_bytes()));
    seeds.push(("add_checkpoint", sdpp_log::add_checkpoint::conflict_body(17).into_bytes()));
    for path in ["tile/0/000", "tile/0/x001/x234/067", "tile/entries/067.p/112", "tile/63/999", "tile/1/x036/000.p/1"] {
        seeds.push(("tile_path", path.into()));
        seeds.push(("diff_tiles", path.into()));
    }
    let entries = bundle::encode(&[&b"one"[..], b"", b"three"]).expect("a bundle");
    let tile = tiled::tile_bytes(&log::tlog_proof_of(0, 8).hashes()[..3]);
    for body in [entries, tile] {
        // Level, kind, index and size of a tile, then a width of three.
        seeds.push(("tile_path", [&[0, 0][..], &[0; 16], &[3, 0], &body].concat()));
        seeds.push(("tile_path", [&[0, 0][..], &[0; 16], &[0, 3], &body].concat()));
    }
}

fn ledgers(seeds: &mut Seeds) {
    let issue = Issue {
        symbol: "coin".into(),
        to: key(kit::BUYER).public(),
        amount: Amount::new(1000),
        reference: Bytes32([1; 32]),
    };
    let issue = LedgerEntry::sign(&key(kit::SELLER), ORIGIN, Body::Issue(issue));
    seeds.push(("ledger_entry", issue.bytes().to_vec()));
    let payload = cose::parse(issue.bytes()).expect("an entry").payload;
    seeds.push(("ledger_entry", [&[0, 1], payload].concat()));
    seeds.extend((0..5).map(|index| ("receipt", ledger::receipt_of(index))));
    let policy = Policy::new(log::log_vkey(), Vec::new(), 0).expect("a policy");
    for url in [None, Some("http://127.0.0.1:7420".to_owned())] {
        seeds.push(("rail_terms", LedgerTerms::of(&policy, url).encode()));
    }
    let asset = asset_id("coin", &key(kit::SELLER).public());
    seeds.push(("address", asset.as_str().into()));
}

fn texts(seeds: &mut Seeds) {
    let key = key(kit::SELLER).public();
    for text in [
        format!("sdpp://{key}@127.0.0.1:7400/weather"),
        format!("sdpp://{key}@[::1]:7400/a/b"),
        format!("sdpp://{key}@example.org/with%20space"),
        "sdpp://localhost:7400".to_owned(),
        "sensors/+/temperature\nsensors/7/temperature".to_owned(),
        "#\n$SYS/x".to_owned(),
        "\0\u{3}a/bpayload".to_owned(),
    ] {
        seeds.push(("address", text.into_bytes()));
    }
    for text in ["3/1000", "1/1MB", "5/1h", CONFIG, "[seller]\njournal = \"power\"\n"] {
        seeds.push(("config", text.into()));
    }
}

const CONFIG: &str = r#"
[ledger]
url = "http://127.0.0.1:7420"
quorum = 1
[seller]
listen = "0.0.0.0:7400"
rails = ["voucher", "direct"]
grace = "1h"
strangers = 1000
proven = "340282366920938463463374607431768211455"
[buyer]
windows = 4
[mqtt]
version = 5
[sources.broker]
mqtt = "mqtt://localhost"
topics = ["sensors/#"]
[sources.history]
file = "weather.csv"
format = "csv"
rate = 10.0
loop = true
[[products]]
topic = "temperature"
price = "3/1000"
k = 10
source = "broker"
select = "sensors/+/temperature"
window_time = "5s"
[[products]]
topic = "history"
price = "1/1MB"
source = "history"
"#;

/// Targets whose input is a program: an honest one, and some that follow from a few numbers.
fn programs(seeds: &mut Seeds) {
    for (_, sale) in sales() {
        let bundle: Bundle = audit::bundle_of(sale);
        seeds.push(("audit_bundle", bundle.encode().expect("a bundle")));
    }
    let chosen = [
        "ledger_fold",
        "policy",
        "audit_tampered",
        "resume",
        "seller_frames",
        "buyer_frames",
        "diff_merkle",
        "money_consistency",
    ];
    for target in TARGETS.iter().filter(|target| chosen.contains(&target.name)) {
        seeds.push((target.name, vec![0; 40]));
        for number in 1..12u64 {
            seeds.push((target.name, scatter(number)));
        }
    }
}

/// Bytes that look like chance and are the same on every run: mostly small numbers, some zeros, some 0xff.
fn scatter(number: u64) -> Vec<u8> {
    let mut state = number;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let length = 30 + usize::from(next());
    let byte = |value: u8| match value % 8 {
        0..3 => 0,
        3 => 0xff,
        4..7 => value / 8,
        _ => value,
    };
    (0..length).map(|_| byte(next())).collect()
}

//! Every bad input has one clear answer, and changes nothing.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;

use sdpp_ledger::limits::ENTRY_MAX;
use sdpp_ledger::{Body, Entry, LedgerService};
use sdpp_proto::crypto::Signer;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::Amount;

use crate::common::*;
use crate::kit::*;

const COSE: &str = "application/cose";

fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A key whose point has small order: anybody could sign for it.
struct SmallOrder;

impl Signer for SmallOrder {
    fn public(&self) -> [u8; 32] {
        let mut point = [0; 32];
        point[0] = 1;
        point
    }

    fn sign(&self, _: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature[0] = 1;
        signature
    }
}

#[test]
fn bad_entries_are_refused_and_leave_no_trace() {
    let world = World::new();
    submit(&world.ledger, &issue(PAYER, 100, 1)).unwrap();
    let before = block_on(world.ledger.checkpoint()).unwrap();
    let good = transfer(PAYER, PAYEE, 1, 1);
    let foreign = Entry::sign(&test_key(PAYER), "other.example", good.body().clone());
    let mut forged = good.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let nobody = SigningKey::from_signer(Arc::new(SmallOrder));
    let weak = Entry::parse(&sdpp_proto::cose::sign(&nobody, "application/sdpp-ledger-tick+cbor", ORIGIN, &[0xa0]).0);
    assert!(weak.is_err(), "not even in process");
    let weak = sdpp_proto::cose::sign(&nobody, "application/sdpp-ledger-transfer+cbor", ORIGIN, &[0xa0]).0;
    let trailing = [&good.bytes()[..], &[0]].concat();
    for (bytes, code) in [
        (&[][..], "malformed"),
        (b"garbage", "malformed"),
        (&[0xff; 1000], "malformed"),
        (&trailing, "malformed"),
        (&good.bytes()[..good.bytes().len() - 1], "malformed"),
        (&weak, "malformed"),
        (&forged, "bad-signature"),
        (foreign.bytes(), "other-log"),
        (tick(1).bytes(), "tick-backward"),
        (entry(STRANGER, Body::Tick(sdpp_proto::time::Timestamp::from_ms(u64::MAX))).bytes(), "not-the-log"),
    ] {
        let told = world.post(COSE, bytes);
        assert_eq!(told.problem(), problem(422, code), "{told:?}");
        assert_eq!(told.header("cache-control"), Some("no-store"));
    }
    assert_eq!(block_on(world.ledger.checkpoint()).unwrap(), before);
    assert_eq!(world.post(COSE, good.bytes()).status, 200);
}

#[test]
fn another_type_of_body_is_refused() {
    let world = World::new();
    let good = issue(PAYER, 100, 1);
    for kind in ["application/json", "application/cosey", "text/plain", "", "application/cbor;application/cose"] {
        assert_eq!(world.post(kind, good.bytes()).problem(), problem(415, "bad-media-type"), "{kind}");
    }
    for kind in ["application/cose", "APPLICATION/COSE", "application/cose; cose-type=\"cose-sign1\""] {
        assert_eq!(world.post(kind, good.bytes()).status, 200, "{kind}");
    }
}

#[test]
fn a_body_that_is_too_long_is_not_read() {
    let world = World::new();
    // Announced, and not one byte of it sent.
    let head = |length: &str| {
        format!("POST /v1/entries HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {COSE}\r\n{length}\r\n\r\n")
    };
    let announced = format!("content-length: {}", ENTRY_MAX + 1);
    let told = raw(world.address(), head(&announced).as_bytes()).unwrap();
    assert_eq!(told.problem(), problem(413, "body-too-long"));
    // In pieces of unknown number.
    let mut stream = connect(world.address());
    stream.write_all(head("transfer-encoding: chunked").as_bytes()).unwrap();
    let piece = [b"1000\r\n".as_slice(), &[0; 0x1000], b"\r\n"].concat();
    for _ in 0..=ENTRY_MAX / 0x1000 {
        stream.write_all(&piece).unwrap();
    }
    assert_eq!(told_of(&mut stream).problem(), problem(413, "body-too-long"));
    // As long as it may be, it is read and looked at.
    assert_eq!(world.post(COSE, &vec![0; ENTRY_MAX]).problem().0, 422);
}

fn told_of(stream: &mut std::net::TcpStream) -> Told {
    told(&read_all(stream)).expect("an answer")
}

#[test]
fn a_body_that_ends_too_early_is_nothing() {
    let world = World::new();
    let good = issue(PAYER, 100, 1);
    let length = good.bytes().len();
    let head =
        format!("POST /v1/entries HTTP/1.1\r\nhost: x\r\ncontent-type: {COSE}\r\ncontent-length: {length}\r\n\r\n");
    let mut stream = connect(world.address());
    stream.write_all(&[head.as_bytes(), &good.bytes()[..length - 1]].concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    if let Some(told) = told(&read_all(&mut stream)) {
        assert_eq!(told.problem(), problem(400, "bad-request"));
    }
    assert_eq!(block_on(world.http().balance(&coin(), &public(PAYER))), Ok(Amount::ZERO));
    // The same, gone without a word.
    let mut stream = connect(world.address());
    stream.write_all(&[head.as_bytes(), &good.bytes()[..length - 1]].concat()).unwrap();
    drop(stream);
    assert_eq!(world.get("/healthz").status, 200);
    assert_eq!(block_on(world.http().balance(&coin(), &public(PAYER))), Ok(Amount::ZERO));
}

#[test]
fn what_is_no_http_ends_the_connection() {
    let world = World::new();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        many.as_bytes(),
    ] {
        let told = raw(world.address(), bytes);
        assert!(told.as_ref().is_none_or(|told| (400..=431).contains(&told.status)), "{told:?}");
    }
    // The server may close before all of it is written.
    let mut stream = connect(world.address());
    let _ = stream.write_all(long.as_bytes());
    assert!(told(&read_all(&mut stream)).is_none_or(|told| told.status >= 400));
    assert_eq!(world.get("/healthz").status, 200);
}

#[test]
fn bad_tile_paths_are_not_found() {
    let world = World::new();
    for number in 1..300 {
        submit(&world.ledger, &issue(PAYER, 1, number)).unwrap();
    }
    for bad in [
        "/tile/64/000",
        "/tile/00/000",
        "/tile/-1/000",
        "/tile/0/0",
        "/tile/0/0000",
        "/tile/0/x000/000",
        "/tile/0/001/000",
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/0/000.p/01",
        "/tile/0/000.p/1/",
        "/tile/0/000.p/",
        "/tile/entries/000.q/1",
        "/tile/entries/..%2f..",
        "/tile/entries/../0/000",
        "/tile/entries/%30%30%30",
        "/tile/entries/",
        "/tile/other/000",
        "/tile",
        "//checkpoint",
        "/checkpoint/",
        "/checkpoint.txt",
    ] {
        assert_eq!(world.get(bad).problem(), problem(404, "not-found"), "{bad}");
    }
    for behind in
        ["/tile/0/002", "/tile/0/001", "/tile/0/001.p/45", "/tile/1/000", "/tile/1/000.p/2", "/tile/2/000.p/1"]
    {
        assert_eq!(world.get(behind).problem(), problem(404, "out-of-range"), "{behind}");
    }
    for (there, bytes) in
        [("/tile/0/000", 8192), ("/tile/0/001.p/44", 44 * 32), ("/tile/0/000.p/7", 224), ("/tile/1/000.p/1", 32)]
    {
        let told = world.get(there);
        assert_eq!((told.status, told.body.len()), (200, bytes), "{there}");
        assert_eq!(told.header("content-type"), Some("application/octet-stream"));
        assert!(told.header("cache-control").unwrap().contains("immutable"));
    }
}

#[test]
fn bundles_are_compressed_for_those_who_can() {
    let world = World::new();
    for number in 1..50 {
        submit(&world.ledger, &issue(PAYER, 1, number)).unwrap();
    }
    let ask = |more: &str| {
        let request = format!("GET /tile/entries/000.p/50 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
        raw(world.address(), request.as_bytes()).unwrap()
    };
    let plain = ask("");
    assert_eq!(plain.header("content-encoding"), None);
    let packed = ask("accept-encoding: gzip, identity\r\n");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < plain.body.len());
    assert_eq!(ask("accept-encoding: identity\r\n").body, plain.body);
}

#[test]
fn parameters_stand_once_in_any_order() {
    let world = World::new();
    for number in 1..5 {
        submit(&world.ledger, &issue(PAYER, 1, number)).unwrap();
    }
    let asset = coin().to_string().replace('@', "%40");
    let account = public(PAYER);
    for good in [
        format!("/v1/balance?asset={}&account={account}", coin()),
        format!("/v1/balance?account={account}&asset={asset}"),
        format!("/v1/balance?account=did:key:{account}&asset={asset}"),
        "/v1/proof/inclusion?index=0&size=5".to_owned(),
        "/v1/proof/inclusion?size=5&index=0".to_owned(),
        "/v1/proof/consistency?new=5&old=1".to_owned(),
    ] {
        assert_eq!(world.get(&good).status, 200, "{good}");
    }
    assert_eq!(world.get(&format!("/v1/balance?account={account}&asset={asset}")).json()["amount"], "4");
    for bad in [
        "/v1/proof/inclusion",
        "/v1/proof/inclusion?",
        "/v1/proof/inclusion?index=0",
        "/v1/proof/inclusion?index=0&size=5&index=0",
        "/v1/proof/inclusion?index=0&index=0&size=5",
        "/v1/proof/inclusion?index=0&size=5&more=1",
        "/v1/proof/inclusion?index=0&size=05",
        "/v1/proof/inclusion?index=+0&size=5",
        "/v1/proof/inclusion?index=-1&size=5",
        "/v1/proof/inclusion?index=0&size=9223372036854775808",
        "/v1/proof/inclusion?index=0&size=99999999999999999999999",
        "/v1/proof/inclusion?index=0;size=5",
        "/v1/balance?asset=x",
        "/v1/balance?asset=x&account=y",
        "/v1/balance?asset=%ff&account=y",
        "/v1/channels/00",
        "/v1/channels/zz",
        "/v1/records/ABCDEF",
        "/v1/entries/-1",
        "/v1/entries/01",
        "/v1/entries/18446744073709551615",
        "/v1/entries/99999999999999999999999",
    ] {
        assert_eq!(world.get(bad).problem(), problem(400, "bad-request"), "{bad}");
    }
    for out in [
        "/v1/proof/inclusion?index=5&size=5",
        "/v1/proof/inclusion?index=0&size=6",
        "/v1/proof/inclusion?index=9223372036854775807&size=9223372036854775807",
        "/v1/proof/consistency?old=5&new=4",
        "/v1/proof/consistency?old=0&new=9223372036854775807",
        "/v1/entries/5",
        "/v1/entries/9223372036854775807",
    ] {
        assert_eq!(world.get(out).problem(), problem(404, "out-of-range"), "{out}");
    }
}

#[test]
fn a_resource_has_its_methods_and_no_others() {
    let world = World::new();
    let ask = |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        raw(world.address(), request.as_bytes()).unwrap()
    };
    for (method, path) in [("POST", "/checkpoint"), ("GET", "/v1/entries"), ("DELETE", "/v1/entries/0"), ("PUT", "/")] {
        assert_eq!(ask(method, path).problem(), problem(405, "bad-method"), "{method} {path}");
    }
    assert_eq!(ask("HEAD", "/checkpoint").status, 200);
    assert_eq!(world.get("/nothing").problem(), problem(404, "not-found"));
}

#[test]
fn the_public_pages_are_what_they_say() {
    let world = World::new();
    submit(&world.ledger, &issue(PAYER, 1, 1)).unwrap();
    let about = world.get("/").json();
    assert_eq!((about["origin"].as_str(), about["size"].as_u64()), (Some(ORIGIN), Some(2)));
    assert_eq!(about["key"], log_vkey().to_string());
    let checkpoint = world.get("/checkpoint");
    assert_eq!(checkpoint.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(checkpoint.text(), &*block_on(world.ledger.checkpoint()).unwrap());
    assert_eq!(world.get("/healthz").text(), "ok\n");
    assert_eq!(world.get("/openapi.json").json()["openapi"], "3.1.0");
    let told = world.get("/v1/entries/1");
    assert_eq!(told.header("content-type"), Some("application/cose"));
    assert_eq!(told.body, issue(PAYER, 1, 1).bytes().to_vec());
}

//! Servers that answer wrongly, or not: what a client makes of it.

use std::io::Write;
use std::sync::Arc;

use sdpp_ledger::http::{ClientOptions, HttpClientError, HttpLedger, ServerConfig};
use sdpp_ledger::{Channel, LedgerHost, LedgerService, LocalLedger, Recorded, Refusal, ServiceError, Submitted};
use sdpp_log::{Hash, TilePath, TlogProof, VerifierKey};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_rail::RailError;
use tokio::runtime::Runtime;

use crate::common::*;
use crate::kit::*;

type Answer<'a, T> = sdpp_ledger::Answer<'a, T>;

/// A ledger that fails in one way.
struct Failing(LocalLedger, ServiceError);

impl Failing {
    fn fail<T: Send + 'static>(&self) -> Answer<'_, T> {
        Box::pin(std::future::ready(Err(self.1)))
    }
}

impl LedgerService for Failing {
    fn submit<'a>(&'a self, _: &'a [u8]) -> Answer<'a, Submitted> {
        self.fail()
    }

    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        self.fail()
    }

    fn entries(&self, _: u64, _: usize) -> Answer<'_, Vec<Vec<u8>>> {
        self.fail()
    }

    fn inclusion(&self, _: u64, _: u64) -> Answer<'_, Vec<Hash>> {
        self.fail()
    }

    fn consistency(&self, _: u64, _: u64) -> Answer<'_, Vec<Hash>> {
        self.fail()
    }
}

impl LedgerHost for Failing {
    fn key(&self) -> &VerifierKey {
        self.0.key()
    }

    fn health(&self) -> Answer<'_, ()> {
        self.fail()
    }

    fn tile(&self, _: TilePath) -> Answer<'_, Vec<u8>> {
        self.fail()
    }

    fn balance<'a>(&'a self, _: &'a AssetId, _: &'a PublicKey) -> Answer<'a, Amount> {
        self.fail()
    }

    fn channel(&self, _: ChannelId) -> Answer<'_, Option<Channel>> {
        self.fail()
    }

    fn proof(&self, _: u64) -> Answer<'_, TlogProof> {
        self.fail()
    }

    fn receipt(&self, _: u64) -> Answer<'_, Vec<u8>> {
        self.fail()
    }

    fn record(&self, _: StatementId) -> Answer<'_, Option<Recorded>> {
        self.fail()
    }
}

#[test]
fn every_failure_of_a_ledger_comes_back() {
    for (error, status, code) in [
        (ServiceError::Unavailable, 503, "unavailable"),
        (ServiceError::Frozen, 503, "frozen"),
        (ServiceError::Unknown, 504, "unknown"),
        (ServiceError::OutOfRange, 404, "out-of-range"),
        (ServiceError::Refused(Refusal::NotTheLog), 422, "not-the-log"),
    ] {
        let runtime = runtime();
        let server = serve(&runtime, Arc::new(Failing(fresh_ledger(), error)), ServerConfig::default());
        let told = post(server.local_addr(), "/v1/entries", "application/cose", b"x");
        assert_eq!(told.problem(), (status, code.to_owned()));
        assert_eq!(told.header("retry-after").is_some(), error == ServiceError::Unavailable);
        assert_eq!(get(server.local_addr(), "/healthz").status, status);
        let http = http(&runtime, server.local_addr());
        assert_eq!(block_on(http.submit(b"x")), Err(error));
        let read = block_on(http.entries(0, 9));
        let expected = match error {
            ServiceError::Unknown | ServiceError::Refused(_) => ServiceError::Unavailable,
            error => error,
        };
        assert_eq!(read, Err(expected), "reading is never half done");
    }
}

#[test]
fn where_nobody_listens_nothing_was_done() {
    let runtime = runtime();
    let free = listener(&runtime).local_addr().unwrap();
    let http = http(&runtime, free);
    assert_eq!(block_on(http.submit(b"x")), Err(ServiceError::Unavailable));
    assert_eq!(block_on(http.checkpoint()), Err(ServiceError::Unavailable));
    let client = client(http);
    assert_eq!(block_on(client.follow()), Err(RailError::Unavailable));
}

fn everything(runtime: &Runtime, answer: Vec<u8>) -> (Result<Submitted, ServiceError>, Vec<ServiceError>) {
    let http = http(runtime, parrot(answer));
    let mut reads = Vec::new();
    reads.extend(block_on(http.checkpoint()).err());
    reads.extend(block_on(http.entries(0, 2)).err());
    reads.extend(block_on(http.inclusion(0, 1)).err());
    reads.extend(block_on(http.consistency(0, 1)).err());
    reads.extend(block_on(http.balance(&coin(), &public(PAYER))).err());
    reads.extend(block_on(http.channel(channel(1))).err());
    reads.extend(block_on(http.proof_of(0)).err());
    reads.extend(block_on(http.receipt_of(0)).err());
    reads.extend(block_on(http.record(StatementId([1; 32]))).err());
    (block_on(http.submit(b"x")), reads)
}

#[test]
fn a_lost_or_senseless_answer_is_unknown_after_a_submit() {
    let runtime = runtime();
    let zeros = vec![0; 1 << 20];
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
    for wrong in [
        Vec::new(),
        b"SSH-2.0-x\r\n".to_vec(),
        cut.to_vec(),
        answer("200 OK", "", b""),
        answer("200 OK", "", b"{}"),
        answer("200 OK", "", b"\xff\xfe"),
        answer("200 OK", "", br#"{"index":-1,"id":"x","checkpoint":1}"#),
        answer("200 OK", "", br#"{"index":1,"id":"00","checkpoint":""}"#),
        answer("200 OK", "content-encoding: gzip\r\n", b"no gzip"),
        answer("200 OK", "", &zeros),
        answer("302 Found", "location: /elsewhere\r\n", b""),
        answer("500 Internal Server Error", "", b"<html>"),
        answer("502 Bad Gateway", "", b"{}"),
        answer("503 Service Unavailable", "", br#"{"code":"unavailable"}"#),
        answer("408 Request Timeout", "", b""),
    ] {
        let shown = String::from_utf8_lossy(&wrong[..wrong.len().min(80)]).into_owned();
        let (submitted, reads) = everything(&runtime, wrong);
        assert_eq!(submitted, Err(ServiceError::Unknown), "{shown}");
        assert!(reads.iter().all(|error| *error == ServiceError::Unavailable), "{shown}: {reads:?}");
        // A note may be any text; whoever follows it finds out.
        assert!(reads.len() >= 7, "{shown}: {reads:?}");
    }
}

#[test]
fn what_was_turned_away_was_not_done() {
    let runtime = runtime();
    for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "413 Too Large", "429 Too Many Requests"] {
        let (submitted, reads) = everything(&runtime, answer(status, "", b"<html>"));
        assert_eq!(submitted, Err(ServiceError::Unavailable), "{status}");
        assert_eq!(
            reads,
            [ServiceError::Unavailable; 9],
            "{status}: only the ledger itself says that nothing is there"
        );
    }
}

#[test]
fn a_small_answer_does_not_become_a_large_one() {
    let runtime = runtime();
    let bomb = gzip_of_zeros(64 << 20);
    assert!(bomb.len() < 1 << 20);
    let (submitted, reads) = everything(&runtime, answer("200 OK", "content-encoding: gzip\r\n", &bomb));
    assert_eq!(submitted, Err(ServiceError::Unknown));
    assert_eq!(reads, [ServiceError::Unavailable; 9]);
}

fn gzip_of_zeros(count: usize) -> Vec<u8> {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let piece = vec![0; 1 << 20];
    for _ in 0..count >> 20 {
        encoder.write_all(&piece).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn a_client_needs_a_url_and_roots() {
    let runtime = runtime();
    let new = |url: &str, roots| {
        let options = ClientOptions { roots, ..ClientOptions::new(runtime.handle().clone()) };
        HttpLedger::new(url, options).err()
    };
    let none = sdpp_ledger::http::Roots::Pem(Vec::new());
    assert_eq!(new("ledger.example", none.clone()), Some(HttpClientError::BadUrl));
    assert_eq!(new("https://ledger.example", none.clone()), Some(HttpClientError::NoRoots));
    assert_eq!(new("http://ledger.example/a/b", none), None);
}

//! Limits: those who are slow, too many or too eager, and the end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use sdpp_ledger::entry::Record;
use sdpp_ledger::http::{Limits, Rate, ServerConfig};
use sdpp_ledger::{Answer, Body, Channel, LedgerHost, LedgerService, LocalLedger, Recorded, ServiceError, Submitted};
use sdpp_log::{Hash, TilePath, TlogProof, VerifierKey};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::Form;
use tokio::sync::Semaphore;

use crate::common::*;
use crate::kit::*;

#[test]
fn who_sends_a_head_too_slowly_is_cut_off() {
    let world = World::limited(Limits { header_ms: 200, ..Limits::default() });
    let mut slow = connect(world.address());
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").unwrap();
    assert!(told(&read_all(&mut slow)).is_none_or(|told| told.status == 408));
    // A drop now and then does not help.
    let mut dripping = connect(world.address());
    dripping.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut writer = dripping.try_clone().unwrap();
    let drip = thread::spawn(move || {
        while writer.write_all(b"a: b\r\n").is_ok() {
            thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    read_all(&mut dripping);
    drop(dripping);
    drip.join().unwrap();
    // An idle connection, also after a request.
    let mut idle = connect(world.address());
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(told(&read_all(&mut idle)).unwrap().status, 200);
}

#[test]
fn who_sends_a_body_too_slowly_is_told_so() {
    let world = World::limited(Limits { body_ms: 200, ..Limits::default() });
    let head =
        "POST /v1/entries HTTP/1.1\r\nhost: x\r\ncontent-type: application/cose\r\ncontent-length: 100\r\n\r\nxy";
    let told = raw(world.address(), head.as_bytes()).unwrap();
    assert_eq!(told.problem(), (408, "body-too-slow".to_owned()));
}

#[test]
fn one_connection_too_many_is_told_so() {
    for limits in [
        Limits { connections_max: 2, ..Limits::default() },
        Limits { connections_per_address_max: 2, ..Limits::default() },
    ] {
        let world = World::limited(limits);
        let held: Vec<TcpStream> = (0..2)
            .map(|_| {
                let mut stream = connect(world.address());
                // Answered, so surely counted.
                stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
                let mut first = [0; 12];
                stream.read_exact(&mut first).unwrap();
                assert_eq!(&first, b"HTTP/1.1 200");
                stream
            })
            .collect();
        let told = world.get("/healthz");
        assert_eq!(told.problem(), (503, "too-many-connections".to_owned()));
        assert!(told.header("retry-after").is_some());
        assert_eq!(block_on(world.http().submit(b"x")), Err(ServiceError::Unavailable), "nothing was done");
        drop(held);
        // The server sees the end of a connection a little later.
        until(|| world.get("/healthz").status == 200);
    }
}

#[test]
fn who_asks_too_often_has_to_wait() {
    let rate = Some(Rate { per_second: 1, burst: 5 });
    let world = World::limited(Limits { rate, ..Limits::default() });
    let asked: Vec<Told> = (0..30).map(|_| world.get("/healthz")).collect();
    assert_eq!(asked[0].status, 200);
    let refused = asked.iter().find(|told| told.status == 429).expect("30 requests do not take 25 seconds");
    assert_eq!(refused.problem(), (429, "too-many-requests".to_owned()));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);

    let exempt = vec!["127.0.0.1".parse().unwrap()];
    let limits = Limits { rate, ..Limits::default() };
    let world = World::with(ServerConfig { limits, exempt, ..ServerConfig::default() });
    assert!((0..30).all(|_| world.get("/healthz").status == 200));
    let world = World::limited(Limits { rate: None, ..Limits::default() });
    assert!((0..30).all(|_| world.get("/healthz").status == 200));
}

#[test]
fn slow_readers_of_bundles_do_not_fill_the_memory() {
    let world = World::limited(Limits { bundles_per_address_max: 1, stall_ms: 1000, ..Limits::default() });
    // More than the buffers of two sockets hold: the ledger looks only at the form of what it records.
    let filler = "f".repeat(28_000);
    for number in 0..255 {
        let (bytes, _) = sdpp_proto::cose::sign(
            &test_key(PAYER),
            &sdpp_proto::cose::content_type("invoice"),
            &format!("{number}{filler}"),
            &[0xa0],
        );
        let statement = sdpp_proto::statement::AnyStatement::parse(&bytes).expect("a statement");
        submit(&world.ledger, &entry(PAYER, Body::Record(Record::of(&statement, Form::Full)))).unwrap();
    }
    let path = "/tile/entries/000";
    let mut slow = connect(world.address());
    slow.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
    let mut first = [0; 12];
    slow.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let told = world.get(path);
    assert_eq!(told.problem(), (503, "unavailable".to_owned()), "{} bytes", told.body.len());
    assert_eq!(world.get("/tile/0/000").status, 200, "hashes are small");
    // It need not go away by itself: who takes nothing is cut off.
    until(|| world.get(path).status == 200);
    drop(slow);
}

/// A ledger that tells when an entry has come, and holds it until it may go on.
struct Gated {
    inner: LocalLedger,
    entered: mpsc::Sender<()>,
    gate: Arc<Semaphore>,
}

impl LedgerService for Gated {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        Box::pin(async move {
            self.entered.send(()).unwrap();
            self.gate.acquire().await.unwrap().forget();
            self.inner.submit(entry).await
        })
    }

    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        self.inner.checkpoint()
    }

    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        self.inner.entries(from, max)
    }

    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        self.inner.inclusion(index, size)
    }

    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        self.inner.consistency(old, new)
    }
}

impl LedgerHost for Gated {
    fn key(&self) -> &VerifierKey {
        self.inner.key()
    }

    fn health(&self) -> Answer<'_, ()> {
        self.inner.health()
    }

    fn tile(&self, path: TilePath) -> Answer<'_, Vec<u8>> {
        self.inner.tile(path)
    }

    fn balance<'a>(&'a self, asset: &'a AssetId, account: &'a PublicKey) -> Answer<'a, Amount> {
        self.inner.balance(asset, account)
    }

    fn channel(&self, id: ChannelId) -> Answer<'_, Option<Channel>> {
        self.inner.channel(id)
    }

    fn proof(&self, index: u64) -> Answer<'_, TlogProof> {
        self.inner.proof(index)
    }

    fn receipt(&self, index: u64) -> Answer<'_, Vec<u8>> {
        self.inner.receipt(index)
    }

    fn record(&self, statement: StatementId) -> Answer<'_, Option<Recorded>> {
        self.inner.record(statement)
    }
}

fn gated() -> (Gated, mpsc::Receiver<()>, Arc<Semaphore>) {
    let (entered, came) = mpsc::channel();
    let gate = Arc::new(Semaphore::new(0));
    (Gated { inner: fresh_ledger(), entered, gate: gate.clone() }, came, gate)
}

#[test]
fn stopping_finishes_what_runs() {
    let runtime = runtime();
    let (host, came, gate) = gated();
    let limits = Limits { stop_ms: 600_000, header_ms: 600_000, ..Limits::default() };
    let server = serve(&runtime, Arc::new(host), ServerConfig { limits, ..ServerConfig::default() });
    let address = server.local_addr();
    let mut idle = connect(address);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let running = http(&runtime, address);
    let running = thread::spawn(move || submit(&running, &issue(PAYER, 1, 1)));
    came.recv_timeout(PATIENCE).unwrap();
    let stopped = runtime.spawn(server.stop());
    // Idle connections end at once, and nobody new comes in.
    assert_eq!(told(&read_all(&mut idle)).unwrap().status, 200);
    until(|| TcpStream::connect(address).is_err());
    assert!(!stopped.is_finished(), "a request still runs");
    gate.add_permits(1);
    assert!(running.join().unwrap().is_ok());
    runtime.block_on(async { tokio::time::timeout(PATIENCE, stopped).await }).unwrap().unwrap();
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let runtime = runtime();
    let (host, came, _gate) = gated();
    let limits = Limits { stop_ms: 100, ..Limits::default() };
    let server = serve(&runtime, Arc::new(host), ServerConfig { limits, ..ServerConfig::default() });
    let running = http(&runtime, server.local_addr());
    let running = thread::spawn(move || submit(&running, &issue(PAYER, 1, 1)));
    came.recv_timeout(PATIENCE).unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, server.stop()).await }).unwrap();
    assert_eq!(running.join().unwrap(), Err(ServiceError::Unknown), "sent, and no answer");
}

#[test]
fn an_answer_that_takes_too_long_is_unknown() {
    let runtime = runtime();
    let (host, _came, _gate) = gated();
    let limits = Limits { answer_ms: 200, ..Limits::default() };
    let server = serve(&runtime, Arc::new(host), ServerConfig { limits, ..ServerConfig::default() });
    let told = post(server.local_addr(), "/v1/entries", "application/cose", b"x");
    assert_eq!(told.problem(), (504, "unknown".to_owned()));
}

#[test]
fn an_old_connection_ends_between_two_requests() {
    let world =
        World::limited(Limits { connection_age_ms: 200, stop_ms: 600_000, header_ms: 600_000, ..Limits::default() });
    let mut stream = connect(world.address());
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(told(&read_all(&mut stream)).unwrap().status, 200);
}

#[test]
fn a_dropped_server_is_gone() {
    let World { ledger: _ledger, server, runtime } = World::new();
    let address = server.local_addr();
    drop(server);
    until(|| TcpStream::connect(address).is_err());
    drop(runtime);
}

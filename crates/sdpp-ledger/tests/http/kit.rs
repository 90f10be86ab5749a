//! A served ledger, clients of it, and requests byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener as Parrot, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sdpp_ledger::http::{ClientOptions, HttpLedger, Limits, Server, ServerConfig, serve_ledger};
use sdpp_ledger::{LedgerClient, LedgerHost, LocalLedger};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::common::*;

/// Long enough for any machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that comes soon; what never comes is a failure.
pub(crate) fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < PATIENCE, "it did not come");
        thread::yield_now();
    }
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn listener(runtime: &Runtime) -> TcpListener {
    runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap()
}

/// A ledger and its server.
pub(crate) struct World {
    pub(crate) ledger: LocalLedger,
    pub(crate) server: Server,
    // Last, so that it ends last.
    pub(crate) runtime: Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(ServerConfig::default())
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        Self::with(ServerConfig { limits, ..ServerConfig::default() })
    }

    pub(crate) fn with(config: ServerConfig) -> Self {
        let runtime = runtime();
        let ledger = fresh_ledger();
        let server = serve(&runtime, Arc::new(ledger.clone()), config);
        Self { ledger, server, runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) fn http(&self) -> HttpLedger {
        http(&self.runtime, self.address())
    }

    pub(crate) fn client(&self) -> Arc<LedgerClient> {
        client(self.http())
    }

    pub(crate) fn get(&self, path: &str) -> Told {
        get(self.address(), path)
    }

    pub(crate) fn post(&self, kind: &str, body: &[u8]) -> Told {
        post(self.address(), "/v1/entries", kind, body)
    }
}

pub(crate) fn serve(runtime: &Runtime, host: Arc<dyn LedgerHost>, config: ServerConfig) -> Server {
    let listener = listener(runtime);
    let _inside = runtime.enter();
    serve_ledger(host, listener, config).unwrap()
}

pub(crate) fn http(runtime: &Runtime, address: SocketAddr) -> HttpLedger {
    HttpLedger::new(&format!("http://{address}"), ClientOptions::new(runtime.handle().clone())).unwrap()
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Told {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Status and code of a refused request.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status);
        (self.status, json["code"].as_str().unwrap().to_owned())
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the other side closes. A reset counts as a close, a silence does not.
pub(crate) fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("{error}; so far {:?}", String::from_utf8_lossy(&all)),
        }
    }
}

/// Sends bytes, then reads until the other side closes. None if nothing came.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Told> {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    told(&read_all(&mut stream))
}

pub(crate) fn told(bytes: &[u8]) -> Option<Told> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Told { status, head, body: bytes[end + 4..].to_vec() })
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Told {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    raw(address, request.as_bytes()).expect("an answer")
}

pub(crate) fn post(address: SocketAddr, path: &str, kind: &str, body: &[u8]) -> Told {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    raw(address, &[head.as_bytes(), body].concat()).expect("an answer")
}

/// A server that reads the head of a request and answers with these bytes, each time.
pub(crate) fn parrot(answer: Vec<u8>) -> SocketAddr {
    let listener = Parrot::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let mut seen = Vec::new();
                let mut piece = [0; 1024];
                while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(count) if count > 0 => seen.extend_from_slice(&piece[..count]),
                        _ => return,
                    }
                }
                // The client may have gone before the end of a long answer.
                let _ = stream.write_all(&answer).and_then(|()| stream.shutdown(Shutdown::Write));
                // What was not read would become a reset, which may overtake the answer.
                while stream.read(&mut piece).is_ok_and(|count| count > 0) {}
            });
        }
    });
    address
}

/// An answer with its length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

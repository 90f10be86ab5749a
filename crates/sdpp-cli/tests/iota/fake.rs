//! The fake IOTA network behind a port, as a node has it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sdpp_iota::fake::FakeNetwork;

/// The identifier of the network.
pub(crate) const CHAIN: &str = "8d602a01";

/// A port that answers for the fake network, for as long as the test runs.
pub(crate) struct FakeNode {
    pub(crate) network: Arc<FakeNetwork>,
    address: SocketAddr,
    /// It takes questions and answers none.
    pub(crate) is_silent: Arc<AtomicBool>,
}

impl FakeNode {
    pub(crate) fn start() -> Self {
        let (network, listener) = (FakeNetwork::new(CHAIN), TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, is_silent) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (served, silent) = (network.clone(), is_silent.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (served, silent) = (served.clone(), silent.clone());
                std::thread::spawn(move || serve(&served, &silent, &stream));
            }
        });
        Self { network, address, is_silent }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Answers one connection, request after request.
fn serve(network: &FakeNetwork, is_silent: &AtomicBool, stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let mut length = 0usize;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(told) = line.to_lowercase().strip_prefix("content-length:") {
                length = told.trim().parse().ok()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).ok()?;
        if is_silent.load(Ordering::SeqCst) {
            return None;
        }
        let answer = network.answer(&body);
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        let mut to = stream;
        to.write_all(&[head.as_bytes(), &answer].concat()).ok()?;
    }
}

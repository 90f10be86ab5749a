//! The fake IOTA network behind a port, as a node has it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};

use sdpp_iota::fake::{FakeGrpc, FakeNetwork, FakeSigned, FakeStation, FakeValidators, Fate};

/// The identifier of the network.
pub(crate) const CHAIN: &str = "8d602a01";

/// What the gas station knows its users by.
pub(crate) const TOKEN: &str = "sesame";

/// What goes wrong between a program and the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It takes questions and answers none.
    Silent,
    /// Nothing that is to be executed arrives.
    ExecutionsLost,
    /// What is to be executed is, and nobody hears of it.
    EffectsLost,
}

/// A port that answers for the fake network, for as long as the test runs.
pub(crate) struct FakeNode {
    pub(crate) network: Arc<FakeNetwork>,
    pub(crate) station: Arc<FakeStation>,
    address: SocketAddr,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl FakeNode {
    pub(crate) fn start() -> Self {
        let (network, listener) = (FakeNetwork::new(CHAIN), TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, fault) = (listener.local_addr().unwrap(), Arc::<Mutex<Option<Fault>>>::default());
        let station = FakeStation::new(&network, [9; 32]);
        let (served, paying, faults) = (network.clone(), station.clone(), Arc::clone(&fault));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (served, paying, faults) = (served.clone(), paying.clone(), faults.clone());
                std::thread::spawn(move || serve(&served, &paying, &faults, &stream));
            }
        });
        Self { network, station, address, fault }
    }

    /// From now on this goes wrong, or nothing does.
    pub(crate) fn has(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// The same over gRPC, with the signatures of its validators, for as long as the test runs.
    pub(crate) fn grpc(&self) -> String {
        let (network, (said, heard)) = (self.network.clone(), mpsc::channel());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let node = FakeSigned::new(&network, FakeValidators::new(1));
                said.send(FakeGrpc::serve(node, Arc::new(|_| Fate::Answered)).await.unwrap()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        format!("grpc://{}", heard.recv().unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Answers one connection, request after request.
fn serve(
    network: &FakeNetwork,
    station: &FakeStation,
    faults: &Mutex<Option<Fault>>,
    stream: &TcpStream,
) -> Option<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let (mut length, mut path, mut is_known) = (0usize, String::new(), false);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(asked) = line.strip_prefix("POST ") {
                path = asked.split(' ').next().unwrap_or_default().to_owned();
            }
            is_known |= line.to_lowercase() == format!("authorization: bearer {TOKEN}\r\n");
            if let Some(told) = line.to_lowercase().strip_prefix("content-length:") {
                length = told.trim().parse().ok()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).ok()?;
        let is_to_execute = String::from_utf8_lossy(&body).contains("iota_executeTransactionBlock");
        let fault = faults.lock().unwrap().filter(|fault| *fault == Fault::Silent || is_to_execute);
        if matches!(fault, Some(Fault::Silent | Fault::ExecutionsLost)) {
            return None;
        }
        let is_paid_for = path.starts_with("/v1/");
        let answer = if is_paid_for { station.answer(&path, &body) } else { network.answer(&body) };
        let status = if is_paid_for && !is_known { "401 Unauthorized" } else { "200 OK" };
        if fault == Some(Fault::EffectsLost) {
            return None;
        }
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        let mut to = stream;
        to.write_all(&[head.as_bytes(), &answer].concat()).ok()?;
    }
}

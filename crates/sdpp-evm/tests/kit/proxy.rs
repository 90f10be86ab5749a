//! A line to a node that does what it is told: passes, hangs, refuses, loses answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the line does with connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Pass,
    /// Takes what comes and says nothing.
    Hang,
    /// Ends each connection at once.
    Refuse,
    /// Answers everything with an error of HTTP.
    Broken,
    /// The node hears each request, and its answer is lost.
    LoseAnswers,
    /// Sometimes one, sometimes the other.
    Storm(u64),
}

/// What was asked over a line that passes, by method.
type Asked = Arc<Mutex<BTreeMap<String, u64>>>;

/// Such a line; gone with its value.
pub struct Proxy {
    pub url: String,
    asked: Asked,
    mode: watch::Sender<Mode>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// To the node at this URL.
    pub async fn to(url: &str) -> Self {
        let upstream = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mode, seen) = watch::channel(Mode::Pass);
        let asked = Asked::default();
        let counted = asked.clone();
        let task = tokio::spawn(async move {
            let mut count = 0u64;
            while let Ok((client, _)) = listener.accept().await {
                count += 1;
                let (upstream, counted, mut seen) = (upstream.clone(), counted.clone(), seen.clone());
                tokio::spawn(async move {
                    let mode = *seen.borrow_and_update();
                    let mode = if let Mode::Storm(seed) = mode { drawn(seed, count) } else { mode };
                    tokio::select! {
                        () = serve(client, &upstream, (mode, &counted)) => {}
                        // What was promised before holds no more.
                        _ = seen.changed() => {}
                    }
                });
            }
        });
        Self { url, asked, mode, task }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How often a method was asked for.
    pub fn asked(&self, method: &str) -> u64 {
        self.asked.lock().unwrap().get(method).copied().unwrap_or_default()
    }
}

fn drawn(seed: u64, count: u64) -> Mode {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    rng.set_stream(count);
    match rng.next_u32() % 40 {
        0 => Mode::Refuse,
        1 => Mode::Broken,
        2 => Mode::LoseAnswers,
        // One exchange, so that the next one is drawn again.
        _ => Mode::Storm(0),
    }
}

async fn serve(mut client: TcpStream, upstream: &str, (mode, asked): (Mode, &Asked)) {
    match mode {
        Mode::Refuse => {}
        Mode::Hang => std::future::pending().await,
        Mode::Broken => {
            let mut request = [0; 65_536];
            let _ = client.read(&mut request).await;
            let _ = client
                .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await;
        }
        Mode::Pass => {
            let Ok(node) = TcpStream::connect(upstream).await else { return };
            let ((mut from_client, mut to_client), (mut from_node, mut to_node)) =
                (client.into_split(), node.into_split());
            tokio::select! {
                () = count(&mut from_client, &mut to_node, asked) => {}
                _ = copy(&mut from_node, &mut to_client) => {}
            }
        }
        Mode::LoseAnswers => {
            let _ = exchange(&mut client, upstream).await;
        }
        Mode::Storm(_) => {
            if let Some(answer) = exchange(&mut client, upstream).await {
                let _ = client.write_all(&answer).await;
            }
        }
    }
}

/// Passes requests on, and counts them by their methods.
async fn count(client: &mut OwnedReadHalf, node: &mut OwnedWriteHalf, asked: &Asked) {
    const NAME: &str = "\"method\":\"";
    let (mut seen, mut buffer) = (String::new(), vec![0; 65_536]);
    while let Ok(length @ 1..) = client.read(&mut buffer).await {
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        while let Some((method, rest)) = seen.split_once(NAME).and_then(|(_, rest)| rest.split_once('"')) {
            *asked.lock().unwrap().entry(method.to_owned()).or_default() += 1;
            seen = rest.to_owned();
        }
        if node.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// One request and its answer: what comes until nothing more does for a moment.
async fn exchange(client: &mut TcpStream, upstream: &str) -> Option<Vec<u8>> {
    let mut node = TcpStream::connect(upstream).await.ok()?;
    let request = gather(client).await?;
    node.write_all(&request).await.ok()?;
    gather(&mut node).await
}

async fn gather(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let patience = if all.is_empty() { Duration::from_secs(10) } else { Duration::from_millis(3) };
        match tokio::time::timeout(patience, from.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(length)) => all.extend_from_slice(&buffer[..length]),
            Err(_) => break,
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

//! A line to a node that does what it is told: passes, hangs, refuses, loses answers.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
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

/// Such a line; gone with its value.
pub struct Proxy {
    pub url: String,
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
        let task = tokio::spawn(async move {
            let mut count = 0u64;
            while let Ok((client, _)) = listener.accept().await {
                count += 1;
                let (upstream, mut seen) = (upstream.clone(), seen.clone());
                tokio::spawn(async move {
                    let mode = *seen.borrow_and_update();
                    let mode = if let Mode::Storm(seed) = mode { drawn(seed, count) } else { mode };
                    tokio::select! {
                        () = serve(client, &upstream, mode) => {}
                        // What was promised before holds no more.
                        _ = seen.changed() => {}
                    }
                });
            }
        });
        Self { url, mode, task }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
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

async fn serve(mut client: TcpStream, upstream: &str, mode: Mode) {
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
            let Ok(mut node) = TcpStream::connect(upstream).await else { return };
            let _ = copy_bidirectional(&mut client, &mut node).await;
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

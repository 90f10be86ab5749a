//! The small HTTP server of those who watch. An answer ends its connection, and a conversation has a
//! time limit as a whole: nobody holds it up, however slowly he speaks or listens.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;

use super::numbers::Numbers;
use super::ready::Readiness;
use crate::exit::{Exit, failed};
use crate::ledger::Failure;

/// Conversations at the same time; others wait to be accepted.
const CONVERSATIONS_MAX: usize = 16;
/// Time of a conversation, from the connection to the last byte of the answer.
const CONVERSATION: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// Pause after the system could not accept a connection, for instance for lack of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time to finish what runs at the end.
const STOP: Duration = Duration::from_secs(1);

/// Takes the port.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            let what = "another program listens there; stop it, or choose another with --metrics";
            return failed(Exit::InUse, format!("--metrics {address}: {what}"));
        }
        failed(Exit::Usage, format!("--metrics {address}: {error}; choose another address of this machine"))
    })
}

/// A server that runs. Dropped, it ends at once.
pub(super) struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves from now on. Inside a runtime.
    pub(super) fn start(listener: TcpListener, ready: Readiness, numbers: Numbers) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept_all(listener, Arc::new(Shown { ready, numbers }), stopped));
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more and finishes what runs.
    pub(super) async fn stop(&mut self) {
        self.stop.send_replace(true);
        // It fails only if the task panicked, and then it has ended too.
        let _ = (&mut self.task).await;
    }
}

/// What there is to see.
struct Shown {
    ready: Readiness,
    numbers: Numbers,
}

async fn accept_all(listener: TcpListener, shown: Arc<Shown>, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
    let mut conversations = JoinSet::new();
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("nobody closes it");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        while conversations.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let shown = shown.clone();
                conversations.spawn(async move {
                    // Whoever is too slow is cut off.
                    let _ = time::timeout(CONVERSATION, converse(stream, &shown)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = time::timeout(STOP, async { while conversations.join_next().await.is_some() {} }).await;
}

async fn converse(stream: TcpStream, shown: &Shown) {
    let answer = service_fn(|request| async move { Ok::<_, Infallible>(shown.answer(&request)) });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX).keep_alive(false);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a conversation with somebody who watches ended early");
    }
}

impl Shown {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "there is nothing to change here: use GET");
            response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => {
                let text = self.numbers.render(self.ready.problems().is_empty());
                response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            "/healthz" => ok(),
            "/readyz" => match self.ready.problems().as_slice() {
                [] => ok(),
                problems => problem(StatusCode::SERVICE_UNAVAILABLE, &problems.join("\n")),
            },
            _ => problem(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz"),
        }
    }
}

fn ok() -> Response<Full<Bytes>> {
    response(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

/// Problem details (RFC 9457).
fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    response(status, "application/problem+json", format!("{body}\n"))
}

fn response(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let builder =
        Response::builder().status(status).header(CONTENT_TYPE, content_type).header(CACHE_CONTROL, "no-store");
    builder.body(Full::from(text)).expect("all its parts are constants")
}

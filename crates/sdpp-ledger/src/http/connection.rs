//! One connection: TLS, HTTP/1.1, and an end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Response};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sdpp_rail::failpoint::{self, Deed};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use tracing::debug;

use super::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use super::problem::{Code, Problem};
use super::server::{Shared, stopping};
use super::visitors::{Peer, Visit, counted};
use crate::service::ServiceError;

/// How a connection is met.
pub(super) enum Welcome {
    /// With answers.
    Served(#[expect(dead_code, reason = "counts the connection until it is dropped")] Visit),
    /// With one answer: too many connections.
    TurnedAway(#[expect(dead_code, reason = "counts the connection until it is dropped")] OwnedSemaphorePermit),
}

/// A connection and all that it needs.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: IpAddr,
    pub(super) welcome: Welcome,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Connection {
    /// Serves it to its end.
    pub(super) async fn run(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        // Who takes nothing of its answer for a while holds memory for nothing.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(Duration::from_millis(self.shared.limits.stall_ms)));
        let stream = Box::pin(stream);
        let Some(tls) = self.shared.tls.clone() else { return self.talk(stream).await };
        let mut stopped = self.stopped.clone();
        let limit = Duration::from_millis(self.shared.limits.handshake_ms);
        tokio::select! {
            shaken = time::timeout(limit, tls.0.accept(stream)) => match shaken {
                Ok(Ok(stream)) => self.talk(stream).await,
                Ok(Err(error)) => debug!(peer = %self.peer, %error, "no TLS"),
                Err(_) => debug!(peer = %self.peer, "no TLS in time"),
            },
            () = stopping(&mut stopped) => {}
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut self, stream: S) {
        let limits = self.shared.limits;
        let served = matches!(self.welcome, Welcome::Served(_));
        let shared = &self.shared;
        let peer = self.peer;
        let answer = service_fn(move |request| async move {
            Ok::<_, Infallible>(if served { answered(shared, peer, request).await } else { turned_away() })
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(limits.header_ms))
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .keep_alive(served);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answer));
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%peer, %error, "connection ended");
                }
                return;
            }
            () = stopping(&mut self.stopped) => {}
            () = time::sleep(Duration::from_millis(limits.connection_age_ms)) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = time::timeout(Duration::from_millis(limits.stop_ms), connection).await;
    }
}

fn turned_away() -> Response<Body> {
    Problem(Code::TooManyConnections).into_response()
}

async fn answered(shared: &Shared, peer: IpAddr, mut request: Request<Incoming>) -> Response<Body> {
    request.extensions_mut().insert(Peer(counted(peer)));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = match shared.visitors.ask(peer) {
        Ok(()) => in_time(shared, request.map(Body::new)).await,
        Err(after_s) => Problem(Code::TooManyRequests { after_s }).into_response(),
    };
    failpoint::before(Deed::Answer);
    debug!(%peer, %method, path, status = response.status().as_u16(), "answered");
    response
}

async fn in_time(shared: &Shared, request: Request<Body>) -> Response<Body> {
    // Whoever changes something must look what became of it; whoever reads may just ask again.
    let late = if request.method() == Method::POST { ServiceError::Unknown } else { ServiceError::Unavailable };
    let answer = shared.router.clone().oneshot(request);
    match time::timeout(Duration::from_millis(shared.limits.answer_ms), answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => Problem::from(late).into_response(),
    }
}

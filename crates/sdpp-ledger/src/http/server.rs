//! A server: its listener, its connections and its end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;
use tracing::debug;

use super::connection::{Connection, Welcome};
use super::grant::DevGrant;
use super::limits::{ACCEPT_PAUSE_MS, Limits, TURNED_AWAY_MAX};
use super::tls::TlsIdentity;
use super::visitors::Visitors;

/// How to serve.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// TLS; none for plain text, on a loopback address or behind a proxy.
    pub tls: Option<TlsIdentity>,
    /// What it bears.
    pub limits: Limits,
    /// Addresses whose requests and connections are not counted one by one, for instance a proxy's
    /// or a monitor's. What a proxy says about its clients' addresses is not read.
    pub exempt: Vec<IpAddr>,
    /// Money for trials, at a ledger; none: the route does not exist.
    pub grant: Option<DevGrant>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) visitors: Arc<Visitors>,
    pub(super) tls: Option<TlsIdentity>,
    turned_away: Arc<Semaphore>,
}

/// A running server. Dropped, it ends as with [`stop`](Self::stop), but nobody waits for it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) fn start(listener: TcpListener, router: Router, config: ServerConfig) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let ServerConfig { tls, limits, exempt, grant: _ } = config;
        let visitors = Arc::new(Visitors::new(limits, exempt));
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
        let shared = Arc::new(Shared { router, limits, visitors, tls, turned_away });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept_all(listener, shared, stopped));
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, finishes the requests that run, at most for
    /// [`Limits::stop_ms`], and returns when all connections are closed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // It fails only if the task panicked, and then it has ended too.
        let _ = self.task.await;
    }
}

/// Resolves when the server is to stop, or its handle is gone.
pub(super) async fn stopping(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let on_stop = stopped.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping(&mut stopped) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => admit(&mut connections, &shared, (stream, peer.ip()), &on_stop),
            Err(error) => {
                debug!(%error, "cannot accept");
                time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Connections know the limit too; this is for those that do not keep it.
    if time::timeout(Duration::from_millis(shared.limits.stop_ms), all).await.is_err() {
        connections.shutdown().await;
    }
}

/// Starts to serve a connection, or to turn it away.
fn admit(
    connections: &mut JoinSet<()>,
    shared: &Arc<Shared>,
    (stream, peer): (TcpStream, IpAddr),
    stopped: &watch::Receiver<bool>,
) {
    let welcome = match shared.visitors.enter(peer) {
        Some(visit) => Welcome::Served(visit),
        None => match shared.turned_away.clone().try_acquire_owned() {
            Ok(permit) => Welcome::TurnedAway(permit),
            Err(_) => return,
        },
    };
    let connection = Connection { shared: shared.clone(), peer, welcome, stopped: stopped.clone() };
    connections.spawn(connection.run(stream));
}

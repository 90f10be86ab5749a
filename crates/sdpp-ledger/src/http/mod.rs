//! The ledger and the witness over HTTP (`spec/ledger-http.md`), behind the feature `http`.
//!
//! ```text
//!  LedgerClient ── HttpLedger ──► routes ──► LedgerHost          tiles, proofs, entries, look-ups
//!  LocalLedger  ── HttpWitness ─► witness_routes ──► Witness     C2SP tlog-witness
//!                  caller            server, connection          sockets, TLS, limits
//! ```
//! What travels is no more believed than in process: [`LedgerClient`](crate::LedgerClient) checks
//! whatever [`HttpLedger`] gives it, and a ledger verifies a cosignature before it shows it.

mod bundle;
mod caller;
mod connection;
mod first_sight;
mod grant;
mod json;
mod ledger_client;
pub mod limits;
mod problem;
mod query;
mod routes;
mod server;
mod tls;
mod visitors;
mod witness_client;
mod witness_routes;

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::host::LedgerHost;
use crate::witness::Witness;

pub use caller::{ClientOptions, HttpClientError, Roots};
pub use first_sight::FirstSightError;
pub use grant::DevGrant;
pub use ledger_client::HttpLedger;
pub use limits::{Limits, Rate};
pub use server::{Server, ServerConfig};
pub use tls::{TlsError, TlsIdentity};
pub use witness_client::HttpWitness;

/// Serves a ledger on a listener until the [`Server`] is stopped or dropped.
///
/// # Errors
/// The listener has no address.
///
/// # Panics
/// Outside a tokio runtime.
pub fn serve_ledger(host: Arc<dyn LedgerHost>, listener: TcpListener, config: ServerConfig) -> io::Result<Server> {
    let router = routes::router(host, &config.limits, config.grant.clone());
    Server::start(listener, router, config)
}

/// Serves a witness on a listener until the [`Server`] is stopped or dropped.
///
/// # Errors
/// The listener has no address.
///
/// # Panics
/// Outside a tokio runtime.
pub fn serve_witness(witness: Arc<Witness>, listener: TcpListener, config: ServerConfig) -> io::Result<Server> {
    Server::start(listener, witness_routes::router(witness, &config.limits), config)
}

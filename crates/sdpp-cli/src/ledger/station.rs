//! What a served ledger and a served witness have in common: where they listen, what they are
//! called, and how they end.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use sdpp_ledger::http::{ServerConfig, TlsIdentity};
use sdpp_ledger::{log_key, witness_key};
use sdpp_log::{KeyError, VerifierKey};
use sdpp_proto::identity::SigningKey;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::Failure;
use crate::exit::{Exit, failed};
use crate::home::{Role, RoleHome};

/// Where a ledger listens unless it is told otherwise.
pub(crate) const LEDGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7420);
/// Where a witness listens unless it is told otherwise.
pub(crate) const WITNESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7421);
/// The file with the name of a ledger or a witness.
const NAME: &str = "name";

/// TLS of a server.
#[derive(clap::Args, Clone)]
pub(crate) struct Tls {
    /// The server's certificate chain, as PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of its certificate, as PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Tls {
    /// How to serve: loopback callers are not counted.
    pub(crate) fn config(&self) -> Result<ServerConfig, Failure> {
        let exempt = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => {
                let (chain, key) = (read(chain)?, Zeroizing::new(read(key)?));
                Some(TlsIdentity::from_pem(&chain, &key)?)
            }
            _ => None,
        };
        Ok(ServerConfig { tls, exempt, ..ServerConfig::default() })
    }
}

/// Reads a file, or says which one it could not.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The runtime of a server, and of the witnesses that a ledger asks.
pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Takes a port.
pub(crate) fn bind(runtime: &Runtime, listen: SocketAddr) -> Result<TcpListener, Failure> {
    runtime.block_on(TcpListener::bind(listen)).map_err(|error| {
        let kind = error.kind();
        if kind == io::ErrorKind::AddrInUse {
            let what = format!("{listen}: another program listens there; stop it, or choose another with --listen");
            return failed(Exit::InUse, what);
        }
        format!("{listen}: {error}; choose another with --listen").into()
    })
}

/// The URL of a server.
pub(crate) fn url(address: SocketAddr, config: &ServerConfig) -> String {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

/// Warns of a server that others reach without TLS.
pub(crate) fn warn_if_open(address: SocketAddr, config: &ServerConfig) {
    if !address.ip().is_loopback() && config.tls.is_none() {
        eprintln!("warning    others reach it without TLS: give --tls-cert and --tls-key, or put a proxy before it");
    }
}

/// The verifier key of a ledger or a witness of this name.
pub(crate) fn verifier_key(role: Role, name: &str, key: &SigningKey) -> Result<VerifierKey, KeyError> {
    if role == Role::Witness { witness_key(name, key) } else { log_key(name, key) }
}

/// The name under which a ledger or a witness signs: the one that it has, else the one asked for,
/// else one after its address. It is chosen once, for all that was signed names it.
pub(crate) fn name(
    (role, home, key): (Role, &RoleHome, &SigningKey),
    asked: Option<&str>,
    address: SocketAddr,
) -> Result<VerifierKey, Failure> {
    let kept = home.kept(NAME)?.map(|name| name.trim_end().to_owned());
    if let (Some(kept), Some(asked)) = (&kept, asked)
        && kept != asked
    {
        return Err(
            format!("this {role} is called {kept} for ever, not {asked}: name another --home for another").into()
        );
    }
    if let Some(kept) = kept {
        return Ok(verifier_key(role, &kept, key)?);
    }
    let name = match asked {
        Some(asked) => asked.to_owned(),
        None if address.ip().is_unspecified() => {
            let flag = if role == Role::Witness { "--name" } else { "--origin" };
            return Err(
                format!("{address} is no good name for ever: say {flag} NAME, best a URL without http://").into()
            );
        }
        None => format!("{address}/{role}"),
    };
    // A name that cannot stand in a key is refused before it is kept.
    verifier_key(role, &name, key)
        .map_err(|_| format!("'{name}' cannot be a name: no spaces, no plus, no control characters"))?;
    let name = home.keep(NAME, &name)?;
    Ok(verifier_key(role, &name, key)?)
}

/// Ctrl-C, and what a supervisor sends.
pub(crate) struct Ending {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Ending {
    /// Listens from now on. Inside a runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Ending {
    /// Listens from now on.
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn come(&mut self) {
        // Without a handler the system ends the program itself.
        let _ = tokio::signal::ctrl_c().await;
    }
}

impl Ending {
    /// Waits to be told; from then on a second time leaves at once.
    pub(crate) async fn wait(mut self) {
        self.come().await;
        eprintln!("stopping: what runs is finished; Ctrl-C again leaves at once");
        tokio::spawn(async move {
            self.come().await;
            eprintln!("sdpp: left at once; nothing that was answered is lost");
            std::process::exit(130);
        });
    }
}

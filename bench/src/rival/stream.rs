//! TCP, and TLS 1.3 over it: bytes without messages, with one thread on each side.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::Failure;
use crate::clock::{Stopwatch, Took};

pub(crate) const HOST: &str = "localhost";
/// As much as SDPP's own connection reads at once.
const READ_BYTES: usize = 256 * 1024;

/// How bytes are written.
#[derive(Clone, Copy)]
pub(crate) struct Writes {
    /// So many at once.
    pub(crate) bytes: usize,
    /// Through TLS.
    pub(crate) tls: bool,
}

/// Everything that is made once.
pub(crate) struct Streams {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Streams {
    /// Makes a certificate that signs itself; the client trusts it alone.
    pub(crate) fn new() -> Result<Self, Failure> {
        let (server, client) = tls(rustls::crypto::aws_lc_rs::default_provider())?;
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }

    /// Moves so many bytes; from the connection to the last byte read.
    pub(crate) fn run(&self, writes: Writes, bytes: u64) -> Result<Took, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let at = listener.local_addr()?;
        thread::scope(|scope| {
            let sending = scope.spawn(move || {
                let (stream, _) = listener.accept()?;
                self.send(writes, stream, bytes)
            });
            let watch = Stopwatch::start();
            let stream = TcpStream::connect(at)?;
            stream.set_nodelay(true)?;
            let received = if writes.tls {
                let name = ServerName::try_from(HOST)?;
                receive(StreamOwned::new(ClientConnection::new(self.client.clone(), name)?, stream), bytes)
            } else {
                receive(stream, bytes)
            };
            let took = watch.stop();
            sending.join().map_err(|_| "the sending thread panicked")??;
            received?;
            Ok(took)
        })
    }

    fn send(&self, writes: Writes, stream: TcpStream, bytes: u64) -> Result<(), Failure> {
        stream.set_nodelay(true)?;
        if writes.tls {
            let connection = ServerConnection::new(self.server.clone())?;
            send(StreamOwned::new(connection, stream), writes.bytes, bytes)?;
        } else {
            send(stream, writes.bytes, bytes)?;
        }
        Ok(())
    }
}

/// Both ends of TLS 1.3 with AES-256-GCM and this provider's ways to agree on keys. The server has a certificate
/// (ECDSA, P-256) that signs itself; the client trusts it alone.
pub(crate) fn tls(mut provider: CryptoProvider) -> Result<(ServerConfig, ClientConfig), Failure> {
    let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    let provider = Arc::new(provider);
    let versions = &[&rustls::version::TLS13];
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((server, client))
}

fn send(mut to: impl Write, write_bytes: usize, bytes: u64) -> io::Result<()> {
    let data: Vec<u8> = (0..=u8::MAX).cycle().take(write_bytes).collect();
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        to.write_all(data.get(..length).unwrap_or_default())?;
        left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
    }
    to.flush()
}

fn receive(mut from: impl Read, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(())
}

//! One connection to a broker.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sdpp::rail::failpoint::{self, Deed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::limits::{
    CONNECT, PACKET_MAX, READ_BYTES, RECEIVE_MAX, RETRY_FIRST, RETRY_LAST, SESSION_S, TEXT_MAX, WRITE,
};
use crate::packet::{ConnAck, Connect, Decoder, Packet, Version, write_connect, write_disconnect, write_ping};
use crate::{Options, Roots};

/// Why a broker does not let us in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It does not speak this version of MQTT.
    Version,
    /// It does not like the client id.
    ClientId,
    /// User or password are wrong.
    Login,
    /// It may not, whoever it is.
    NotAuthorised,
    /// It has no time or place now.
    Unavailable,
    /// Another reason, by its code in MQTT 5.
    Other(u8),
}

impl Refusal {
    const fn of(reason: u8) -> Self {
        match reason {
            0x84 => Self::Version,
            0x85 => Self::ClientId,
            0x86 => Self::Login,
            0x87 => Self::NotAuthorised,
            0x88 | 0x89 | 0x97 | 0x9f => Self::Unavailable,
            other => Self::Other(other),
        }
    }

    /// Whether it makes sense to ask again.
    const fn is_for_good(self) -> bool {
        !matches!(self, Self::Unavailable)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("it does not speak this version of MQTT: choose version 3, or 5"),
            Self::ClientId => f.write_str("it does not like the client id: choose another session name"),
            Self::Login => {
                f.write_str("user or password are wrong: set SDPP_MQTT_USER and SDPP_MQTT_PASSWORD, or their file")
            }
            Self::NotAuthorised => {
                f.write_str("this user may not: give it the right at the broker, or log in as another")
            }
            Self::Unavailable => f.write_str("it has no time or place now"),
            Self::Other(code) => write!(f, "reason {code:#04x} of MQTT"),
        }
    }
}

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// No certificates to believe: the system has none, or the PEM.
    NoRoots,
    /// The client id, or a filter, is nothing that MQTT can say.
    BadOptions(&'static str),
    /// The broker is not reached.
    Unreachable {
        /// Where.
        address: String,
        /// What the system says.
        why: String,
        /// Its certificate is not believed; else it may help to wait.
        for_good: bool,
    },
    /// The broker refuses.
    Refused {
        /// Where.
        address: String,
        /// Why.
        why: Refusal,
    },
    /// The broker refuses a subscription.
    NoSubscription {
        /// Where.
        address: String,
        /// Which.
        filter: String,
        /// Why.
        why: Refusal,
    },
}

impl ConnectError {
    /// Whether it makes no sense to try again.
    pub const fn is_for_good(&self) -> bool {
        match self {
            Self::NoRoots | Self::BadOptions(_) | Self::NoSubscription { .. } => true,
            Self::Unreachable { for_good, .. } => *for_good,
            Self::Refused { why, .. } => why.is_for_good(),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoots => {
                f.write_str("no certificates to believe: give the broker's own as PEM, or install the system's")
            }
            Self::BadOptions(what) => f.write_str(what),
            Self::Unreachable { address, why, .. } => write!(f, "{address} is not reached: {why}"),
            Self::Refused { address, why } => write!(f, "{address} refuses: {why}"),
            Self::NoSubscription { address, filter, why } => {
                write!(f, "{address} refuses the subscription to `{filter}`: {why}")
            }
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::NoRoots | ConnectError::BadOptions(_) => io::ErrorKind::InvalidInput,
            ConnectError::Unreachable { .. } => io::ErrorKind::NotConnected,
            ConnectError::Refused { .. } | ConnectError::NoSubscription { .. } => io::ErrorKind::PermissionDenied,
        };
        Self::new(kind, error)
    }
}

/// Makes connections to one broker, with what does not change from one to the next.
pub(crate) struct Dialer {
    pub(crate) options: Options,
    tls: Option<TlsConnector>,
    client_id: String,
}

impl Dialer {
    pub(crate) fn new(options: Options) -> Result<Self, ConnectError> {
        let tls = if options.address.secure { Some(connector(&options.roots)?) } else { None };
        let client_id = match &options.session {
            Some(name) if name.is_empty() || name.len() > TEXT_MAX || name.contains('\0') => {
                return Err(ConnectError::BadOptions("the name of a session is 1 to 65,535 bytes without zeros"));
            }
            Some(name) => name.clone(),
            None => random_id()?,
        };
        Ok(Self { options, tls, client_id })
    }

    /// Connects once.
    pub(crate) async fn dial(&self) -> Result<Line, ConnectError> {
        let address = self.options.address.to_string();
        match timeout(CONNECT, self.connect()).await {
            Ok(Ok(line)) if line.connack.reason < 0x80 => Ok(line),
            Ok(Ok(line)) => Err(ConnectError::Refused { address, why: Refusal::of(line.connack.reason) }),
            Ok(Err(error)) => {
                // Of TLS, that the broker is not who it should be.
                let for_good = error.kind() == io::ErrorKind::InvalidData;
                Err(ConnectError::Unreachable { address, why: error.to_string(), for_good })
            }
            Err(_) => {
                let why = format!("no answer within {} s", CONNECT.as_secs());
                Err(ConnectError::Unreachable { address, why, for_good: false })
            }
        }
    }

    /// Connects, and tries again for a while if that may help.
    pub(crate) async fn dial_first(&self) -> Result<Line, ConnectError> {
        let last = Instant::now().checked_add(Duration::from_millis(self.options.patience_ms));
        let mut pause = RETRY_FIRST;
        loop {
            match self.dial().await {
                Err(error) if !error.is_for_good() && last.is_some_and(|last| Instant::now() < last) => {
                    sleep(pause).await;
                    pause = longer(pause);
                }
                done => return done,
            }
        }
    }

    async fn connect(&self) -> io::Result<Line> {
        let address = &self.options.address;
        let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(connector) => {
                let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
                Box::new(connector.connect(name, tcp).await?)
            }
        };
        let mut line = Line::new(stream, self.options.version, self.options.keep_alive_s);
        let connect = Connect {
            client_id: &self.client_id,
            login: self.options.login(),
            keep_alive_s: self.options.keep_alive_s,
            clean: self.options.session.is_none(),
            session_s: if self.options.session.is_some() { SESSION_S } else { 0 },
            receive_max: RECEIVE_MAX,
            packet_max: u32::try_from(PACKET_MAX).unwrap_or(u32::MAX),
        };
        line.stream.write_all(&write_connect(self.options.version, &connect)).await?;
        line.stream.flush().await?;
        if let Packet::ConnAck(connack) = line.next().await? {
            line.welcome(connack);
            return Ok(line);
        }
        Err(io::Error::other("it answers, but not as a broker of MQTT does"))
    }
}

/// The next pause between two attempts.
pub(crate) fn longer(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(RETRY_LAST)
}

/// An id that nobody else has.
fn random_id() -> Result<String, ConnectError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| ConnectError::BadOptions("the system gives no randomness"))?;
    Ok(format!("sdpp-{:016x}", u64::from_be_bytes(bytes)))
}

fn connector(roots: &Roots) -> Result<TlsConnector, ConnectError> {
    let found: Vec<CertificateDer<'static>> = match roots {
        Roots::System => rustls_native_certs::load_native_certs().certs,
        Roots::Pem(pem) => {
            let found: Result<_, _> = CertificateDer::pem_slice_iter(pem).collect();
            found.map_err(|_| ConnectError::NoRoots)?
        }
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found);
    if store.is_empty() {
        return Err(ConnectError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|_| ConnectError::NoRoots)?.with_root_certificates(store).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub(crate) struct Line {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    input: BytesMut,
    /// What is to be written.
    pub(crate) out: BytesMut,
    /// Packets that came while another was waited for.
    pub(crate) early: VecDeque<Packet>,
    pub(crate) connack: ConnAck,
    /// A ping leaves after so long; none: never.
    ping_every: Option<Duration>,
    ping_at: Option<Instant>,
    /// A ping was sent, and nothing came since.
    silent: bool,
}

impl Line {
    fn new(stream: Box<dyn Stream>, version: Version, keep_alive_s: u16) -> Self {
        let connack = ConnAck::of(false, 0);
        let decoder = Decoder::new(version, PACKET_MAX);
        let (input, out) = (BytesMut::with_capacity(READ_BYTES), BytesMut::new());
        let (early, ping_every, ping_at) = (VecDeque::new(), None, None);
        let mut line = Self { stream, decoder, input, out, early, connack, ping_every, ping_at, silent: false };
        line.ping_by(keep_alive_s);
        line
    }

    /// Twice within the time that both sides allow.
    fn ping_by(&mut self, keep_alive_s: u16) {
        let half = Duration::from_millis(u64::from(keep_alive_s).saturating_mul(500));
        self.ping_every = Some(half).filter(|half| !half.is_zero());
        self.ping_at = self.ping_every.and_then(|every| Instant::now().checked_add(every));
    }

    fn welcome(&mut self, connack: ConnAck) {
        self.connack = connack;
        if let Some(keep_alive_s) = connack.keep_alive_s {
            self.ping_by(keep_alive_s);
        }
    }

    /// A packet that has arrived already.
    pub(crate) fn next_now(&mut self) -> io::Result<Option<Packet>> {
        if let Some(packet) = self.early.pop_front() {
            return Ok(Some(packet));
        }
        let packet = self.decoder.next(&mut self.input);
        packet.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    }

    /// The next packet; pings meanwhile. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> io::Result<Packet> {
        loop {
            match self.next_now()? {
                Some(Packet::PingResp) => continue,
                Some(packet) => return Ok(packet),
                None => {}
            }
            self.input.reserve(READ_BYTES);
            let ping_at = self.ping_at;
            tokio::select! {
                read = self.stream.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has closed the connection"));
                    }
                    self.silent = false;
                }
                () = due(ping_at) => {
                    if self.silent {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer any more"));
                    }
                    self.silent = true;
                    self.ping_at = self.ping_every.and_then(|every| Instant::now().checked_add(every));
                    write_ping(&mut self.out);
                    self.flush().await?;
                }
            }
        }
    }

    /// Writes what is to be written. May be dropped at any time, and goes on the next time.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let late = io::Error::new(io::ErrorKind::TimedOut, "it takes nothing any more");
        timeout(WRITE, async {
            while !self.out.is_empty() {
                failpoint::before(Deed::Packets);
                let written = self.stream.write(&self.out).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.out.advance(written);
                failpoint::after(Deed::Packets);
            }
            self.stream.flush().await
        })
        .await
        .unwrap_or(Err(late))
    }

    /// Takes leave, so that nobody thinks we were lost.
    pub(crate) async fn close(mut self) {
        write_disconnect(&mut self.out);
        let _ = self.flush().await;
        let _ = timeout(WRITE, self.stream.shutdown()).await;
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What a broker says of one subscription or message that it refuses.
pub(crate) const fn refusal(reason: u8) -> Refusal {
    Refusal::of(reason)
}

//! How clients ask: one request, bounded in time and size, on a runtime of the caller's choice, so
//! that a thread without a runtime can wait for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::time;
use tower::ServiceExt;
use tower_http::decompression::Decompression;

use super::limits::{CALL_MS, CONNECT_MS, HEAD_BYTES_MAX, HEADERS_MAX, IDLE_MAX, IDLE_MS};

/// Whose certificates a client believes, where the URL is `https`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Roots {
    /// Those of the system.
    System,
    /// Only these, as PEM: for a server with a certificate of its own.
    Pem(Vec<u8>),
}

/// How a client asks.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where its requests run. Whoever blocks on an answer must not block this runtime's only thread.
    pub runtime: Handle,
    /// Whom it believes.
    pub roots: Roots,
    /// Time to connect.
    pub connect_ms: u64,
    /// Time for a whole request.
    pub call_ms: u64,
}

impl ClientOptions {
    /// The usual times, and the roots of the system.
    pub const fn new(runtime: Handle) -> Self {
        Self { runtime, roots: Roots::System, connect_ms: CONNECT_MS, call_ms: CALL_MS }
    }
}

/// Why there is no client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpClientError {
    /// Not `http://HOST[:PORT][/PATH]` or `https://…`, without user, query and fragment.
    BadUrl,
    /// The system has no certificates, or the PEM has none.
    NoRoots,
    /// The key is not a witness's.
    NotAWitness,
}

impl fmt::Display for HttpClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadUrl => "not a URL of the form http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]",
            Self::NoRoots => "no certificates to believe: give the server's own as PEM, or install the system's",
            Self::NotAWitness => "the key does not cosign: give the witness's verifier key",
        })
    }
}

impl std::error::Error for HttpClientError {}

/// Why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failed {
    /// There was no connection, so nothing was sent.
    NotSent,
    /// It may have been sent, and acted upon.
    Lost,
}

/// An answer, whole.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A request to be made.
pub(super) struct Call {
    method: Method,
    path: String,
    kind: Option<&'static str>,
    body: Bytes,
    max: usize,
}

impl Call {
    /// Asks for at most `max` bytes.
    pub(super) fn get(path: impl Into<String>, max: usize) -> Self {
        Self { method: Method::GET, path: path.into(), kind: None, body: Bytes::new(), max }
    }

    /// Sends something and asks for at most `max` bytes.
    pub(super) fn post(path: &str, kind: &'static str, body: Vec<u8>, max: usize) -> Self {
        Self { method: Method::POST, path: path.to_owned(), kind: Some(kind), body: body.into(), max }
    }
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client of one server, with its idle connections.
pub(super) struct Caller {
    client: HttpClient,
    base: String,
    options: ClientOptions,
}

impl Caller {
    pub(super) fn new(url: &str, options: ClientOptions) -> Result<Self, HttpClientError> {
        let (base, secure) = base_of(url).ok_or(HttpClientError::BadUrl)?;
        let roots = if secure { roots_of(&options.roots)? } else { RootCertStore::empty() };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(Duration::from_millis(options.connect_ms)));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.map_err(|_| HttpClientError::NoRoots)?.with_root_certificates(roots).with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(IDLE_MS))
            .pool_max_idle_per_host(IDLE_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(https.wrap_connector(http));
        Ok(Self { client, base, options })
    }

    /// Asks, on the runtime, and waits anywhere.
    pub(super) async fn call(&self, call: Call) -> Result<Reply, Failed> {
        let uri: Uri = [&self.base, &call.path].map(String::as_str).concat().parse().map_err(|_| Failed::NotSent)?;
        let mut request = Request::new(Full::new(call.body));
        *request.method_mut() = call.method;
        *request.uri_mut() = uri;
        if let Some(kind) = call.kind {
            request.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(kind));
        }
        let limit = Duration::from_millis(self.options.call_ms);
        let answer = exchange(self.client.clone(), request, call.max);
        let task = self.options.runtime.spawn(async move { time::timeout(limit, answer).await });
        match task.await {
            Ok(Ok(answer)) => answer,
            // Too late, or the runtime is gone.
            Ok(Err(_)) | Err(_) => Err(Failed::Lost),
        }
    }
}

async fn exchange(client: HttpClient, request: Request<Full<Bytes>>, max: usize) -> Result<Reply, Failed> {
    let response = Decompression::new(client).oneshot(request).await;
    let response = response.map_err(|error| if error.is_connect() { Failed::NotSent } else { Failed::Lost })?;
    let (head, body) = response.into_parts();
    // Counted behind the decompression, so a small answer cannot become a large one.
    let body = Limited::new(body, max).collect().await.map_err(|_| Failed::Lost)?.to_bytes();
    Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
}

/// The URL without a slash at its end, and whether it is `https`.
fn base_of(url: &str) -> Option<(String, bool)> {
    let uri: Uri = url.parse().ok()?;
    let secure = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = uri.authority()?.as_str();
    if authority.contains('@') || uri.query().is_some() || url.contains('#') {
        return None;
    }
    let scheme = if secure { "https" } else { "http" };
    Some((format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')), secure))
}

fn roots_of(roots: &Roots) -> Result<RootCertStore, HttpClientError> {
    let found: Vec<CertificateDer<'static>> = match roots {
        Roots::System => rustls_native_certs::load_native_certs().certs,
        Roots::Pem(pem) => {
            let found: Result<_, _> = CertificateDer::pem_slice_iter(pem).collect();
            found.map_err(|_| HttpClientError::NoRoots)?
        }
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found);
    if store.is_empty() { Err(HttpClientError::NoRoots) } else { Ok(store) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_plain() {
        let base = |url| base_of(url).map(|(base, _)| base);
        assert_eq!(base("http://ledger.example").as_deref(), Some("http://ledger.example"));
        assert_eq!(base("https://ledger.example:8/a/b/").as_deref(), Some("https://ledger.example:8/a/b"));
        for bad in ["", "ledger.example", "/x", "ftp://x", "http://a@x", "http://x?y=1", "http://x/#y", "http://"] {
            assert_eq!(base(bad), None, "{bad}");
        }
    }
}

//! Traces for OpenTelemetry (feature `otel`): spans of sessions, redemptions and reloads, sent to a
//! collector over OTLP, as Protobuf over HTTP. A thread of its own sends them; nothing waits for it but
//! the end of the program, and that for some seconds at most.
//!
//! The collector is on this machine or in its network: there is no TLS.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tokio::time;
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use crate::exit::{Exit, failed};
use crate::ledger::Failure;

/// Where a collector takes traces, below the URL that is given.
const PATH: &str = "v1/traces";
/// Time for the collector to take them.
const SEND: Duration = Duration::from_secs(3);
/// Bytes of its answer.
const ANSWER_MAX: usize = 64 * 1024;

/// Sends spans until it is dropped; those that are finished by then are sent too.
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends to the collector at this URL.
    pub(super) fn start(url: &str) -> Result<Self, Failure> {
        let uri = url.parse::<Uri>().ok();
        if uri.and_then(|uri| uri.scheme_str().map(str::to_owned)).as_deref() != Some("http") {
            return Err(failed(
                Exit::Usage,
                format!("--otlp {url}: write http://HOST:PORT of a collector in your own network; there is no TLS"),
            ));
        }
        let endpoint = format!("{}/{PATH}", url.trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_http_client(Collector::new()?).with_endpoint(endpoint);
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.build()?).with_resource(resource());
        Ok(Self(provider.build()))
    }

    /// What turns our spans, and warnings inside them, into traces.
    pub(super) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let ours =
            filter_fn(|meta| meta.target().starts_with("sdpp") && (meta.is_span() || *meta.level() <= Level::WARN));
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("sdpp")).with_filter(ours).boxed()
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is away was complained of already.
        let _ = self.0.shutdown();
    }
}

/// Who is traced; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say it otherwise.
fn resource() -> Resource {
    let resource =
        Resource::builder().with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if std::env::var_os("OTEL_SERVICE_NAME").is_some() { resource } else { resource.with_service_name("sdpp") }.build()
}

/// The way to the collector. The thread that sends has no runtime, so there is one here.
#[derive(Debug)]
struct Collector {
    runtime: Runtime,
    client: Client<HttpConnector, Full<Bytes>>,
    /// The last one did not arrive.
    lost: AtomicBool,
}

impl Collector {
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { runtime, client, lost: AtomicBool::new(false) })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.request(request.map(Full::new)).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let uri = request.uri().clone();
        let sent = self.runtime.block_on(async { time::timeout(SEND, self.send(request)).await });
        let sent = sent.unwrap_or_else(|_| Err("no answer in time".into()));
        let status = sent.as_ref().map(|answer| answer.status());
        let lost = !matches!(status, Ok(status) if status.is_success());
        if lost && !self.lost.swap(true, Ordering::Relaxed) {
            match status {
                Ok(status) => tracing::warn!(%uri, %status, "the collector does not take traces"),
                Err(error) => tracing::warn!(%uri, error, "traces are lost: the collector is away"),
            }
        }
        if !lost {
            self.lost.store(false, Ordering::Relaxed);
        }
        Box::pin(std::future::ready(sent))
    }
}

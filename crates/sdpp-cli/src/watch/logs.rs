//! What the program says while it works: lines for people, or an object of JSON per line. Always on
//! standard error; standard output is for data and scripts.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::exit::{Exit, failed};

/// The variable with the filter, like `info` or `sdpp::seller=debug`.
const FILTER: &str = "SDPP_LOG";

/// Whether [`tell`] writes JSON. Set once, at the start.
static JSON: AtomicBool = AtomicBool::new(false);

type Layers = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// How standard error is written.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// An object per line, for collectors of logs.
    Json,
}

/// How the program reports about itself, whatever it does.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How standard error is written: lines for people, or an object of JSON per line.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "SDPP_LOG_FORMAT",
        default_value_t,
        display_order = 902
    )]
    log_format: Format,
    /// Send traces to the OpenTelemetry collector there, like http://127.0.0.1:4318.
    #[cfg(feature = "otel")]
    #[arg(long, global = true, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", display_order = 903)]
    otlp: Option<String>,
}

/// Keeps what reports going; to be dropped when all is done.
#[must_use]
pub(crate) struct Logs {
    #[cfg(feature = "otel")]
    _traces: Option<super::traces::Traces>,
}

/// Sets the logs up. A program that `serves` tells its operator of warnings; one for people says itself
/// what is wrong. `SDPP_LOG` says otherwise.
pub(crate) fn start(args: &Args, serves: bool) -> Result<Logs, Box<dyn Error>> {
    let json = args.log_format == Format::Json;
    JSON.store(json, Ordering::Relaxed);
    let filter = filter(match (json, serves) {
        (true, true) => "warn,sdpp=info",
        (false, false) => "off",
        (true, false) | (false, true) => "warn",
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if json { lines.json().boxed() } else { lines.boxed() };
    #[cfg_attr(not(feature = "otel"), expect(unused_mut, reason = "traces are one more layer"))]
    let mut layers: Layers = vec![lines.with_filter(filter).boxed()];
    #[cfg(feature = "otel")]
    let traces = args.otlp.as_deref().filter(|url| !url.is_empty()).map(super::traces::Traces::start).transpose()?;
    #[cfg(feature = "otel")]
    layers.extend(traces.as_ref().map(super::traces::Traces::layer));
    Registry::default().with(layers).init();
    Ok(Logs {
        #[cfg(feature = "otel")]
        _traces: traces,
    })
}

fn filter(usual: &str) -> Result<EnvFilter, Box<dyn Error>> {
    let asked = std::env::var(FILTER).ok().filter(|asked| !asked.is_empty());
    EnvFilter::try_new(asked.as_deref().unwrap_or(usual)).map_err(|error| {
        failed(Exit::Usage, format!("{FILTER}: {error}; write for example info, or warn,sdpp::seller=debug"))
    })
}

/// Whether lines are for people.
pub(crate) fn for_people() -> bool {
    !JSON.load(Ordering::Relaxed)
}

/// Says something to people, or to whoever collects the logs. One write, so lines of several threads
/// stay whole.
pub(crate) fn tell(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let line = if for_people() { text } else { object(&text) };
    // Whoever closed standard error does not want to hear.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// In the form of the other log lines. What is an object already stays as it is.
fn object(text: &str) -> String {
    if text.starts_with('{') && serde_json::from_str::<Value>(text).is_ok() {
        return text.to_owned();
    }
    let mut timestamp = String::new();
    // A `String` takes everything.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let level = match text.split([' ', ':']).next() {
        Some("sdpp") => "ERROR",
        Some("warning") => "WARN",
        Some(_) | None => "INFO",
    };
    json!({ "timestamp": timestamp, "level": level, "fields": { "message": text }, "target": "sdpp" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        let line = object(text);
        assert!(!line.contains('\n'));
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_line_for_people_becomes_an_object() {
        let line = read("seller     z6Mk \"x\"\n  more");
        assert_eq!((&line["level"], &line["target"]), (&json!("INFO"), &json!("sdpp")));
        assert_eq!(line["fields"]["message"], "seller     z6Mk \"x\"\n  more");
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }

    #[test]
    fn errors_and_warnings_are_told_apart() {
        assert_eq!(read("sdpp: no")["level"], "ERROR");
        assert_eq!(read("warning    take care")["level"], "WARN");
        assert_eq!(read("warning: take care")["level"], "WARN");
        assert_eq!(read("")["level"], "INFO");
    }

    #[test]
    fn an_object_stays_one() {
        assert_eq!(object(r#"{"order":"1"}"#), r#"{"order":"1"}"#);
        assert_eq!(read("{not an object")["fields"]["message"], "{not an object");
    }
}

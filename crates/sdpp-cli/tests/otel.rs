//! Traces reach a collector: the real program, and a collector that keeps what it is sent.
#![cfg(unix)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

#[path = "ledger/kit.rs"]
mod kit;
#[path = "watch/market.rs"]
mod market;

use kit::*;
use market::*;

/// What a collector was sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<u8>>>);

impl Sent {
    /// Whether a text stands in it: Protobuf has texts as they are.
    fn holds(&self, text: &str) -> bool {
        self.0.lock().unwrap().windows(text.len()).any(|piece| piece == text.as_bytes())
    }
}

/// Takes requests of one connection until it ends.
fn take(stream: TcpStream, sent: &Sent) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        reader.read_line(&mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        assert!(line.starts_with("POST /v1/traces "), "{line}");
        while !line.trim_end().is_empty() {
            line.clear();
            reader.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        sent.0.lock().unwrap().extend(body);
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// A collector, and what it is sent.
fn collector() -> (String, Sent) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, sent) = (format!("http://{}", listener.local_addr().unwrap()), Sent::default());
    let kept = sent.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let kept = kept.clone();
            thread::spawn(move || take(stream, &kept));
        }
    });
    (url, sent)
}

#[test]
fn a_session_is_traced_on_both_sides() {
    let market = Market::open("otel");
    let (url, sold) = collector();
    let (seller, address) = market.sell(&["--otlp", &url]);
    let (url, bought) = collector();
    let output = market.command("buyer", &market.buying(&address)).env("OTEL_EXPORTER_OTLP_ENDPOINT", url).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    // All that was finished is sent before the program ends.
    for text in ["buyer_session", "feed", "service.version"] {
        assert!(bought.holds(text), "{text}");
    }
    until(|| seller.said().contains("settled"));
    seller.signal("HUP");
    until(|| seller.said().contains("read again"));
    let said = seller.said();
    let order = said.split("order ").nth(1).unwrap().split(':').next().unwrap().to_owned();
    seller.stop();
    for text in ["seller_session", "redeem", "reload", "feed", order.as_str()] {
        assert!(sold.holds(text), "{text}");
    }
    assert!(bought.holds(&order));
}

#[test]
fn a_collector_that_is_away_holds_nobody_up() {
    let market = Market::open("away");
    let (seller, address) = market.sell(&["--otlp", "http://127.0.0.1:1"]);
    let output = market.buy(&address, &["--otlp", "http://127.0.0.1:1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    seller.stop();
    let output = market.buy(&address, &["--otlp", "https://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no TLS"), "{}", stderr(&output));
}

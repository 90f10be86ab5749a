//! TLS with a certificate of our own.

use std::io::Write;

use base64ct::{Base64, Encoding};
use sdpp_ledger::http::{ClientOptions, HttpLedger, Limits, Roots, ServerConfig, TlsError, TlsIdentity};
use sdpp_ledger::{LedgerService, ServiceError};

use crate::common::*;
use crate::kit::*;

fn pem(label: &str, der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A certificate for `localhost`, and its key.
fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (pem("CERTIFICATE", made.cert.der()), pem("PRIVATE KEY", &made.signing_key.serialize_der()))
}

fn world(chain: &str, key: &str) -> World {
    let tls = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let limits = Limits { handshake_ms: 500, ..Limits::default() };
    World::with(ServerConfig { tls: Some(tls), limits, ..ServerConfig::default() })
}

fn secure(world: &World, host: &str, roots: &str) -> HttpLedger {
    let roots = Roots::Pem(roots.as_bytes().to_vec());
    let options = ClientOptions { roots, ..ClientOptions::new(world.runtime.handle().clone()) };
    HttpLedger::new(&format!("https://{host}:{}", world.address().port()), options).unwrap()
}

#[test]
fn a_client_that_knows_the_certificate_is_served() {
    let (chain, key) = made();
    let world = world(&chain, &key);
    let http = secure(&world, "localhost", &chain);
    submit(&http, &issue(PAYER, 100, 1)).unwrap();
    assert_eq!(balance(&client(http), PAYER), 100);
}

#[test]
fn a_strange_certificate_is_nobody() {
    let (chain, key) = made();
    let world = world(&chain, &key);
    let (other, _) = made();
    for http in [secure(&world, "localhost", &other), secure(&world, "127.0.0.1", &chain)] {
        assert_eq!(block_on(http.submit(b"x")), Err(ServiceError::Unavailable), "nothing was sent");
    }
}

#[test]
fn plain_text_to_a_tls_port_does_not_hang() {
    let (chain, key) = made();
    let world = world(&chain, &key);
    assert!(raw(world.address(), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").is_none());
    // Nothing at all, too.
    let mut silent = connect(world.address());
    read_all(&mut silent);
    // And half a handshake.
    let mut half = connect(world.address());
    half.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    read_all(&mut half);
    assert!(block_on(secure(&world, "localhost", &chain).checkpoint()).is_ok());
}

#[test]
fn tls_to_a_plain_port_does_not_hang() {
    let world = World::new();
    let (chain, _) = made();
    assert_eq!(block_on(secure(&world, "localhost", &chain).submit(b"x")), Err(ServiceError::Unavailable));
}

#[test]
fn bad_certificates_and_keys_are_told_apart() {
    let ((chain, key), (_, other)) = (made(), made());
    let new = |chain: &str, key: &str| TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).err();
    assert_eq!(new(&chain, &key), None);
    assert_eq!(new("", &key), Some(TlsError::BadChain));
    assert_eq!(new("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &key), Some(TlsError::BadChain));
    assert_eq!(new(&chain, &chain), Some(TlsError::BadKey));
    assert_eq!(new(&chain, &other), Some(TlsError::Mismatch));
}

//! The test vectors of `spec/vectors`: made from fixed seeds, by either provider, they are always the
//! same bytes. `SDPP_WRITE_VECTORS=1` writes them anew; `spec/vectors/replay.py` checks them without
//! any code of ours.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

mod basics;
mod cddl;
mod frames;
mod json;
mod sealing;
mod session;
mod spans;
mod statements;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cddl::Cddl;
use json::{Json, object, text};
use sdpp_proto::crypto::{self, Provider};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::statement::Kind;
use sdpp_proto::suite::Suite;
use zeroize::Zeroizing;

type AnyProvider = &'static dyn Provider;

/// The backends of this build.
fn providers() -> Vec<AnyProvider> {
    vec![
        #[cfg(feature = "fast")]
        crypto::fast(),
        crypto::portable(),
    ]
}

/// A signing key held by a named provider.
fn key(provider: AnyProvider, seed: u8) -> SigningKey {
    SigningKey::from_signer(Arc::from(provider.signer(&[seed; 32])))
}

fn seed(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

fn spec(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec").join(file)
}

/// Compares a file of vectors with what each provider makes; or writes it.
#[track_caller]
fn hold(file: &str, about: &str, make: impl Fn(AnyProvider) -> Json) {
    let path = spec("vectors").join(file);
    for provider in providers() {
        let made = object([("about", text(about)), ("vectors", make(provider))]).to_file();
        if std::env::var_os("SDPP_WRITE_VECTORS").is_some_and(|value| value == "1") {
            std::fs::write(&path, made).unwrap();
            continue;
        }
        let held = std::fs::read_to_string(&path).unwrap_or_default();
        let other = held.lines().zip(made.lines()).position(|(held, made)| held != made);
        let line = other.unwrap_or_else(|| held.lines().count().min(made.lines().count())) + 1;
        let how = "if the protocol was meant to change, run again with SDPP_WRITE_VECTORS=1";
        assert!(held == made, "spec/vectors/{file}:{line} is not what {} makes; {how}", provider.name());
    }
}

#[test]
fn keys_have_one_spelling_in_the_vectors() {
    hold("keys.json", "Ed25519 keys and their text; what is not the text of a key", basics::keys);
}

#[test]
fn ed25519_edge_cases_have_one_answer_from_every_provider() {
    hold("ed25519.json", "Signatures on which libraries differ, and the one answer of this protocol", basics::ed25519);
}

#[test]
fn prices_follow_the_vectors() {
    hold("prices.json", "due = ceil(units * amount / divisor), and its inverse; null: above 128 bits", basics::prices);
}

#[test]
fn statements_follow_the_vectors() {
    hold("statements.json", "Every kind of statement, with all fields and with the fewest", statements::all);
}

#[test]
fn sealing_follows_the_vectors() {
    hold("sealing.json", "HPKE of both suites: key pairs, encapsulation, ciphertext, export", sealing::all);
}

#[test]
fn the_key_schedule_follows_the_vectors() {
    hold("schedule.json", "Transcript hashes, traffic secrets, sealed frames across epochs", sealing::schedule);
}

#[test]
fn spans_follow_the_vectors() {
    hold("spans.json", "Messages in canonical form, salts, digests of spans and prefixes", spans::all);
}

#[test]
fn frames_follow_the_vectors() {
    hold("frames.json", "Clear frames, control items, and bytes that are neither", frames::all);
}

#[test]
fn a_whole_session_follows_the_vectors_in_both_suites() {
    let about = "A whole sale, every byte in both directions, with all its secrets; K = 2, five messages";
    hold("session-1.json", about, |provider| session::run(provider, Suite::X25519));
    hold("session-2.json", about, |provider| session::run(provider, Suite::XWing));
}

/// Every file that may hold structures of the wire.
const SOURCES: [&str; 12] = [
    "sdpp-proto/src/statement/key.rs",
    "sdpp-proto/src/statement/menu.rs",
    "sdpp-proto/src/statement/order.rs",
    "sdpp-proto/src/statement/receipt.rs",
    "sdpp-proto/src/wire.rs",
    "sdpp-ledger/src/entry.rs",
    "sdpp-ledger/src/rail/terms.rs",
    "sdpp-ledger/src/rail/direct.rs",
    "sdpp-evm/src/terms.rs",
    "sdpp-evm/src/voucher.rs",
    "sdpp-iota/src/terms.rs",
    "sdpp-iota/src/payer.rs",
];

#[test]
fn the_cddl_has_the_keys_of_the_code() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = SOURCES.iter().map(|file| std::fs::read_to_string(crates.join(file)).unwrap());
    let code: BTreeMap<_, _> = sources.flat_map(|source| cddl::maps_of_source(&source)).collect();
    let mut spec = Cddl::read().0;
    // The wrapping is written by hand in the code.
    ["protected-header", "cwt-claims"].iter().for_each(|rule| drop(spec.remove(*rule)));
    assert_eq!(code.keys().collect::<Vec<_>>(), spec.keys().collect::<Vec<_>>());
    for (name, fields) in &code {
        assert_eq!(fields, &spec[name], "{name}");
    }
    assert!(Kind::ALL.iter().all(|kind| spec.contains_key(kind.name())), "every kind of statement has a rule");
}

#[test]
fn the_error_table_lists_every_code() {
    let page = std::fs::read_to_string(spec("errors.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")).filter_map(|row| row.split_once(" | "));
    let listed: Vec<(u16, String, String)> = rows
        .filter_map(|(code, rest)| {
            let mut cells = rest.split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned());
            Some((code.trim().parse().ok()?, cells.next()?, cells.next()?))
        })
        .collect();
    let offences = Offence::ALL.iter().map(|one| (one.code(), one.name(), one.to_string()));
    let reasons = Reason::ALL.iter().map(|one| (one.code(), one.name(), one.to_string()));
    let all: Vec<_> = offences.chain(reasons).map(|(code, name, text)| (code, name.to_owned(), text)).collect();
    for (listed, known) in listed.iter().zip(&all) {
        assert_eq!((listed.0, &listed.1), (known.0, &known.1));
        assert_eq!(listed.2.replace('`', ""), known.2.replace('`', ""), "meaning of {}", known.1);
    }
    assert_eq!(listed.len(), all.len());
    assert!(listed.iter().all(|(code, ..)| Fault::of_code(*code).is_some()));
}

//! Messages and the digests of spans.

use sdpp_proto::codec::{Bytes32, Digest, StatementId};
use sdpp_proto::message::{Messages, message_to_sign};
use sdpp_proto::span::{SpanHasher, SpanStart, prefix_digest, span_salt};
use sdpp_proto::statement::Signing;

use crate::json::{Json, hex, large, list, object, text};
use crate::{AnyProvider, key};

const SELLER: u8 = 1;
const ORDER: StatementId = StatementId([0x10; 32]);
const SALT: Bytes32 = Bytes32([0x5a; 32]);

struct Case {
    name: &'static str,
    signing: Signing,
    n: u64,
    first: u64,
    messages: Vec<(i64, Vec<u8>)>,
}

fn case(name: &'static str, signing: Signing, (n, first): (u64, u64), messages: Vec<(i64, Vec<u8>)>) -> Case {
    Case { name, signing, n, first, messages }
}

fn cases() -> Vec<Case> {
    let reading = |n: i64| (1_800_000_000_000_000 + n, format!("{{\"t\":{n}}}").into_bytes());
    vec![
        case("no message at all", Signing::Window, (3, 9), Vec::new()),
        case("one message", Signing::Window, (0, 0), vec![reading(0)]),
        case("three messages", Signing::Window, (1, 1), (0..3).map(reading).collect()),
        case("empty, before 1970, binary", Signing::Window, (2, 4), vec![(-1, Vec::new()), (0, vec![0, 0xff, 0x80])]),
        case("above one chunk of BLAKE3", Signing::Window, (7, 100), vec![(5, vec![0xa5; 1500]), (6, vec![7; 700])]),
        case("signed one by one", Signing::Message, (0, 0), (0..2).map(reading).collect()),
        case("signed one by one, later", Signing::Message, (9, 1 << 33), (0..2).map(reading).collect()),
    ]
}

pub(crate) fn all(provider: AnyProvider) -> Json {
    let mut digests = Vec::new();
    let spans: Vec<Json> = cases()
        .iter()
        .map(|case| {
            let (shown, digest) = span(provider, case);
            digests.push(digest);
            shown
        })
        .collect();
    let all: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
    let prefixes = [32, 64, all.len()].map(|length| {
        let digest = prefix_digest(&all[..length]);
        object([("digests", hex(&all[..length])), ("prefix_digest", hex(digest.0))])
    });
    object([("spans", list(spans)), ("prefixes", list(prefixes))])
}

fn span(provider: AnyProvider, case: &Case) -> (Json, Digest) {
    let key = key(provider, SELLER);
    let mut canonical = Vec::new();
    let mut shown = Vec::new();
    for (seq, (time_us, payload)) in (case.first..).zip(&case.messages) {
        canonical.extend_from_slice(&time_us.to_be_bytes());
        canonical.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        canonical.extend_from_slice(payload);
        let signature = match case.signing {
            Signing::Window => Json::Null,
            Signing::Message => {
                let to_sign = message_to_sign(&ORDER, seq, *time_us, payload);
                let signature = key.sign(&to_sign);
                assert!(provider.verify(key.public().as_bytes(), &to_sign, &signature));
                canonical.extend_from_slice(&signature);
                hex(signature)
            }
        };
        let time_us = large(time_us);
        shown.push(object([("time_us", time_us), ("payload", hex(payload)), ("signature", signature)]));
    }
    let mut read = Messages::new(&canonical, case.signing);
    let verified = (case.first..)
        .zip(read.by_ref())
        .all(|(seq, message)| case.signing == Signing::Window || message.verify(&key.public(), &ORDER, seq));
    assert!(verified && read.rest().is_empty(), "{}", case.name);
    let salt = span_salt(&SALT, case.n);
    let mut hasher = SpanHasher::new(&SpanStart { order: ORDER, n: case.n, first: case.first }, &salt);
    canonical.chunks(100).for_each(|chunk| hasher.update(chunk));
    let digest = hasher.digest(u64::try_from(case.messages.len()).unwrap());
    let signing = match case.signing {
        Signing::Window => "window",
        Signing::Message => "message",
    };
    let shown = object([
        ("name", text(case.name)),
        ("signing", text(signing)),
        ("seller_seed", hex([SELLER; 32])),
        ("order_id", hex(ORDER.0)),
        ("order_salt", hex(SALT.0)),
        ("n", large(case.n)),
        ("first", large(case.first)),
        ("messages", list(shown)),
        ("canonical", hex(&canonical)),
        ("salt", hex(salt.0)),
        ("digest", hex(digest.0)),
    ]);
    (shown, digest)
}

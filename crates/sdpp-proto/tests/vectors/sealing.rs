//! HPKE, the key schedule and sealed frames.

use hkdf::Hkdf;
use sdpp_proto::frame::{open_sealed, write_sealed};
use sdpp_proto::keys::{Direction, EXPORT_TRAFFIC, INFO_ORDER, INFO_SESSION, Traffic, TrafficKey};
use sdpp_proto::limits::EPOCH_SHIFT;
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::wire::{hpke_info, th1, th2, th3};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::json::{Json, hex, large, list, object, text};
use crate::{AnyProvider, seed};

pub(crate) fn all(_: AnyProvider) -> Json {
    let plains = [&b"one message"[..], b"", &[0xc3; 300]];
    let cases =
        Suite::ALL.into_iter().flat_map(|suite| (1u8..).zip(plains).map(move |(at, plain)| sealed(suite, at, plain)));
    list(cases)
}

fn sealed(suite: Suite, at: u8, plain: &[u8]) -> Json {
    let (key_seed, sender_seed) = (seed(at), seed(0x40 + at));
    let (secret, public) = SealSecret::derive(suite, &key_seed);
    let info = [b"SDPP/2 vector ", &[at][..]].concat();
    let aad = vec![at; usize::from(at)];
    let sealed = suite.sender(&public, &info, &sender_seed).unwrap().seal(plain, &aad, EXPORT_TRAFFIC).unwrap();
    let opened = secret.open(&sealed.enc, &info, (&sealed.ct, &aad), EXPORT_TRAFFIC).unwrap();
    assert_eq!((&opened.plain[..], &opened.export[..]), (plain, &sealed.export[..]));
    assert!(secret.open(&sealed.enc, b"other", (&sealed.ct, &aad), EXPORT_TRAFFIC).is_err());
    object([
        ("suite", Json::Number(suite.code().into())),
        ("key_seed", hex(*key_seed)),
        ("public", hex(&public)),
        ("sender_seed", hex(*sender_seed)),
        ("info", hex(&info)),
        ("aad", hex(&aad)),
        ("plain", hex(plain)),
        ("enc", hex(&sealed.enc)),
        ("ct", hex(&sealed.ct)),
        ("label", hex(EXPORT_TRAFFIC)),
        ("export", hex(*sealed.export)),
    ])
}

pub(crate) fn schedule(provider: AnyProvider) -> Json {
    let [hello, menu, order, session] = [&b"hello"[..], b"menu'", &[0x0d; 70], &[0x5e; 40]];
    let one = th1(hello, menu);
    let two = th2(&one, order);
    let three = th3(&two, session);
    let export = [0xee; 32];
    let traffic = Traffic::new(&three.0, &Zeroizing::new(export));
    object([
        ("hello", hex(hello)),
        ("menu_reply", hex(menu)),
        ("order", hex(order)),
        ("session", hex(session)),
        ("th1", hex(one.0)),
        ("th2", hex(two.0)),
        ("th3", hex(three.0)),
        ("order_info", hex(hpke_info(INFO_ORDER, &one))),
        ("session_info", hex(hpke_info(INFO_SESSION, &two))),
        ("export", hex(export)),
        ("s2b", direction(provider, &traffic, Direction::ToBuyer, secret(&three.0, &export, "s2b"))),
        ("b2s", direction(provider, &traffic, Direction::ToSeller, secret(&three.0, &export, "b2s"))),
    ])
}

/// The first secret of a direction, by HKDF itself.
pub(crate) fn secret(th3: &[u8; 32], export: &[u8; 32], label: &str) -> [u8; 32] {
    let (prk, _) = Hkdf::<Sha256>::extract(Some(th3), export);
    expand(&prk.into(), label)
}

fn expand<const N: usize>(secret: &[u8; 32], label: &str) -> [u8; N] {
    let mut out = [0; N];
    Hkdf::<Sha256>::from_prk(secret).unwrap().expand(label.as_bytes(), &mut out).unwrap();
    out
}

/// Secret, key and initialization vector of an epoch.
pub(crate) fn epoch(number: u64, secret: &[u8; 32]) -> Json {
    let (key, iv): ([u8; 32], [u8; 12]) = (expand(secret, "key"), expand(secret, "iv"));
    object([("epoch", Json::Number(number)), ("secret", hex(secret)), ("key", hex(key)), ("iv", hex(iv))])
}

fn direction(provider: AnyProvider, traffic: &Traffic, direction: Direction, first: [u8; 32]) -> Json {
    let mut secrets = vec![first];
    (1..3).for_each(|at| secrets.push(expand(&secrets[at - 1], "next")));
    let epochs = (0..).zip(&secrets).map(|(number, secret)| epoch(number, secret));
    let turn = 1u64 << EPOCH_SHIFT;
    let mut keys = [traffic.direction_by(direction, provider), traffic.direction_by(direction, provider)];
    let counters = [0, 1, 2, turn - 1, turn, turn + 1, 2 * turn + 5];
    let frames: Vec<Json> = counters.iter().map(|counter| frame(&mut keys, *counter)).collect();
    object([("epochs", list(epochs)), ("frames", list(frames))])
}

fn frame([seals, opens]: &mut [TrafficKey; 2], counter: u64) -> Json {
    let (messages, control) = match counter % 4 {
        0 => (vec![0x11; 40], vec![0x81, 0x18, 0x21]),
        1 => (Vec::new(), Vec::new()),
        2 => (Vec::new(), vec![0x82, 0x18, 0x20, 0x07]),
        _ => (vec![0x33; 200], Vec::new()),
    };
    seals.skip_to(counter);
    opens.skip_to(counter);
    let mut frame = Vec::new();
    write_sealed(&mut frame, seals, &messages, &control).unwrap();
    let mut copy = frame.clone();
    let opened = open_sealed(opens, &mut copy).unwrap();
    assert_eq!((opened.messages, opened.control), (&messages[..], &control[..]));
    object([
        ("counter", large(counter)),
        ("messages", hex(&messages)),
        ("control", hex(&control)),
        ("frame", hex(&frame)),
    ])
}

/// What a text says about a suite.
pub(crate) fn name(suite: Suite) -> Json {
    text(match suite {
        Suite::X25519 => "X25519",
        Suite::XWing => "X-Wing",
    })
}

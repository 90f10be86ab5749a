//! Keys, signatures on which libraries differ, prices.

use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, Price, Unit};

use crate::json::{Json, from_hex, hex, large, list, object, text};
use crate::{AnyProvider, key};

pub(crate) fn keys(provider: AnyProvider) -> Json {
    let good = [0u8, 1, 7, 0xff].map(|seed| {
        let public = key(provider, seed).public();
        assert_eq!(public.did().parse(), Ok(public));
        object([
            ("seed", hex([seed; 32])),
            ("public", hex(public.as_bytes())),
            ("did", text(public.did())),
            ("multibase", text(public.multibase())),
        ])
    });
    let right = key(provider, 7).public();
    let base58 = |bytes: &[u8]| format!("did:key:z{}", bs58::encode(bytes).into_string());
    let with = |prefix: [u8; 2], bytes: &[u8]| base58(&[&prefix, bytes].concat());
    let identity = [&[1u8][..], &[0; 31]].concat();
    let not_canonical = [&[0xeeu8][..], &[0xff; 30], &[0x7f]].concat();
    let bad = [
        ("another method", right.did().replace("did:key", "did:web")),
        ("another base", right.did().replace(":z", ":f")),
        ("one digit more", right.did() + "1"),
        ("one digit less", right.did()[..right.did().len() - 1].to_owned()),
        ("a digit that base58 does not have", right.did().replace("z6Mk", "z6Ml")),
        ("a leading zero byte", right.did().replace(":z", ":z1")),
        ("31 bytes", with([0xed, 0x01], &right.as_bytes()[..31])),
        ("an X25519 key", with([0xec, 0x01], right.as_bytes())),
        ("the identity, of small order", with([0xed, 0x01], &identity)),
        ("y above p", with([0xed, 0x01], &not_canonical)),
    ];
    let bad = bad.map(|(why, did)| {
        assert!(did.parse::<PublicKey>().is_err(), "{why}");
        object([("why", text(why)), ("did", text(did))])
    });
    object([("keys", list(good)), ("refused", list(bad))])
}

pub(crate) fn ed25519(provider: AnyProvider) -> Json {
    let cases = include_str!("ed25519.txt").lines().map(|line| {
        let [answer, name, public, message, signature] = line.split('|').collect::<Vec<_>>()[..] else {
            panic!("a line of five parts: {line}");
        };
        let public: [u8; 32] = from_hex(public).try_into().unwrap();
        let signature: [u8; 64] = from_hex(signature).try_into().unwrap();
        let message = from_hex(message);
        let accepted = provider.verify(&public, &message, &signature);
        assert_eq!(accepted, answer == "accept", "{name} by {}", provider.name());
        object([
            ("name", text(name)),
            ("public", hex(public)),
            ("message", hex(message)),
            ("signature", hex(signature)),
            ("accept", Json::Bool(accepted)),
        ])
    });
    list(cases)
}

pub(crate) fn prices(_: AnyProvider) -> Json {
    let most = u64::MAX;
    let cases: [(Unit, u128, u64, &[u64]); 9] = [
        (Unit::Message, 3, 1000, &[0, 1, 10, 333, 334, 1000, 1001, most]),
        (Unit::Message, 1, 1, &[0, 1, 2, most]),
        (Unit::Byte, 1, 1_048_576, &[0, 1, 1_048_576, 1_048_577]),
        (Unit::Second, 5, 60, &[0, 1, 60_000, 60_001, 3_600_000]),
        (Unit::Second, u128::MAX, most, &[0, 1, 1000]),
        (Unit::Message, 0, 1, &[0, most]),
        (Unit::Message, u128::MAX, 1, &[0, 1, 2]),
        (Unit::Message, u128::MAX / 3, 2, &[1, 3, 4]),
        (Unit::Message, 1 << 64, 1 << 63, &[1, 1 << 62, most]),
    ];
    let budgets = [0, 1, 2, 3, 999, 1 << 64, u128::MAX / 2, u128::MAX - 1, u128::MAX];
    list(cases.map(|(unit, amount, per, counts)| {
        let price = Price { unit, amount: Amount::new(amount), per };
        let due = counts.iter().map(|units| {
            let due = price.due(*units).map_or(Json::Null, |due| large(due.get()));
            object([("units", large(units)), ("due", due)])
        });
        let affordable = budgets.map(|budget| {
            let units = price.affordable(Amount::new(budget));
            object([("budget", large(budget)), ("units", large(units))])
        });
        let unit = match unit {
            Unit::Message => "message",
            Unit::Byte => "byte",
            Unit::Second => "second",
        };
        object([
            ("unit", text(unit)),
            ("amount", large(amount)),
            ("per", large(per)),
            ("due", list(due)),
            ("affordable", list(affordable)),
        ])
    }))
}

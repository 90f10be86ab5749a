//! CBOR and COSE, against `ciborium` and `coset`.
#![allow(clippy::wildcard_enum_match_arm, reason = "the other library's values may grow kinds")]

use ciborium::value::{CanonicalValue, Value};
use coset::{CborSerializable, ContentType, CoseSign1, CoseSign1Builder, HeaderBuilder, Label, TaggedCborSerializable};
use minicbor::{Decode, Encode};
use sdpp_proto::codec::{self, CodecError, StatementId};
use sdpp_proto::cose;
use sdpp_proto::hash::sha256;
use sdpp_proto::journal::Entry;
use sdpp_proto::limits;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{
    Acceptance, Attach, Default as Unpaid, Invoice, Kind, Menu, Order, Payment, Quote, Rotation, Settlement,
};
use sdpp_proto::wire::{Hello, MenuReply, OrderPlain, SealedOrder, SessionPlain};

use crate::choices::Choices;
use crate::kit::key;

/// CBOR of any kind of value: the first byte says of which.
///
/// What ours accepts is whole and canonical for `ciborium` too, and says the same. What means the same to `ciborium`
/// as something that ours writes, and is canonical, is that.
pub(crate) fn diff_cbor(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 16 {
        0 => agree::<Menu>(bytes),
        1 => agree::<Order>(bytes),
        2 => agree::<Attach>(bytes),
        3 => agree::<Acceptance>(bytes),
        4 => invoice(bytes),
        5 => payment(bytes),
        6 => agree::<Settlement>(bytes),
        7 => agree::<Unpaid>(bytes),
        8 => agree::<Quote>(bytes),
        9 => agree::<Rotation>(bytes),
        10 => agree::<Hello>(bytes),
        11 => agree::<MenuReply>(bytes),
        12 => agree::<SealedOrder>(bytes),
        13 => agree::<OrderPlain>(bytes),
        14 => agree::<SessionPlain>(bytes),
        _ => amount(bytes),
    }
}

/// All of the bytes as one value of `ciborium`.
fn theirs(mut bytes: &[u8]) -> Option<Value> {
    let value = ciborium::from_reader::<Value, _>(&mut bytes).ok()?;
    bytes.is_empty().then_some(value)
}

/// The shortest encoding with sorted keys.
fn canonical(value: &Value) -> Vec<u8> {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            Value::Map(pairs) => {
                let mut pairs: Vec<_> = pairs.iter().map(|(key, value)| (sorted(key), sorted(value))).collect();
                pairs.sort_by_key(|(key, _)| CanonicalValue::from(key.clone()));
                Value::Map(pairs)
            }
            Value::Tag(tag, inner) => Value::Tag(*tag, Box::new(sorted(inner))),
            other => other.clone(),
        }
    }
    let mut out = Vec::new();
    ciborium::into_writer(&sorted(value), &mut out).expect("memory takes everything");
    out
}

fn both<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Option<(T, Value)> {
    match codec::decode::<T>(bytes, limits::SEALED_HANDSHAKE_MAX) {
        Ok(ours) => {
            let value = theirs(bytes).expect("ciborium reads what ours reads");
            assert_eq!(canonical(&value), bytes, "and finds it canonical");
            Some((ours, value))
        }
        Err(CodecError::NotCanonical) => {
            let written =
                minicbor::decode::<T>(bytes).map(|value| codec::encode(&value)).expect("only its form is bad");
            let same = theirs(bytes).is_some_and(|value| theirs(&written).as_ref() == Some(&value));
            assert!(!same || canonical(&theirs(bytes).expect("it was read")) != bytes, "a canonical value was refused");
            None
        }
        Err(CodecError::Malformed | CodecError::TooLong) => None,
    }
}

fn agree<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) {
    let _ = both::<T>(bytes);
}

/// The value of a key, as a number.
fn number(value: &Value, key: u64) -> Option<u128> {
    let found = value.as_map()?.iter().find(|(known, _)| *known == Value::from(key))?;
    whole(&found.1)
}

fn whole(value: &Value) -> Option<u128> {
    match value {
        Value::Integer(number) => u128::try_from(*number).ok(),
        Value::Tag(2, bytes) => bytes.as_bytes().map(|bytes| bytes.iter().fold(0, |n, b| n << 8 | u128::from(*b))),
        _ => None,
    }
}

fn bytes32(value: &Value, key: u64) -> Option<[u8; 32]> {
    let found = value.as_map()?.iter().find(|(known, _)| *known == Value::from(key))?;
    found.1.as_bytes()?.as_slice().try_into().ok()
}

fn invoice(bytes: &[u8]) {
    let Some((invoice, value)) = both::<Invoice>(bytes) else { return };
    let counts = [invoice.n, u64::from(invoice.windows), invoice.first, invoice.count, invoice.bytes];
    for (key, count) in [2, 3, 5, 6, 7].into_iter().zip(counts) {
        assert_eq!(number(&value, key), Some(count.into()), "key {key}");
    }
    assert_eq!(bytes32(&value, 1), Some(invoice.order_id.0));
    assert_eq!(number(&value, 11), Some(invoice.units_total.into()));
    assert_eq!((number(&value, 12), number(&value, 13)), (Some(invoice.due.get()), Some(invoice.paid.get())));
    assert_eq!(bytes32(&value, 14).map(StatementId), invoice.paid_by);
}

fn payment(bytes: &[u8]) {
    let Some((payment, value)) = both::<Payment>(bytes) else { return };
    assert_eq!(bytes32(&value, 1), Some(payment.order_id.0));
    assert_eq!(bytes32(&value, 3), Some(payment.invoice_id.0));
    assert_eq!(number(&value, 4), Some(payment.total.get()));
}

fn amount(bytes: &[u8]) {
    let Some((amount, value)) = both::<Amount>(bytes) else { return };
    assert_eq!(whole(&value), Some(amount.get()));
}

/// COSE as it comes, and statements that both write from the same parts.
///
/// What ours accepts theirs accepts with the same meaning: algorithm, content type, issuer, subject, payload, and the
/// bytes that were signed. From the same parts both write the same statement.
pub(crate) fn diff_cose(data: &[u8]) {
    read(data);
    if let Ok(Entry::Statement(statement)) = Entry::from_bytes(data) {
        read(&statement.bytes);
    }
    let mut choices = Choices::new(data);
    let kind = choices.pick(&Kind::ALL).name();
    let subject = String::from_utf8_lossy(choices.some()).into_owned();
    let signer = key(choices.byte());
    let payload = choices.rest();
    let (ours, _) = cose::sign(&signer, &cose::content_type(kind), &subject, payload);
    let claims = [(1, signer.public().did()), (2, subject)];
    let claims = claims.map(|(key, text)| (Value::from(key), Value::from(text)));
    let header = HeaderBuilder::new()
        .algorithm(coset::iana::Algorithm::EdDSA)
        .content_type(cose::content_type(kind))
        .value(15, Value::Map(claims.into()))
        .build();
    let theirs = CoseSign1Builder::new()
        .protected(header)
        .payload(payload.to_vec())
        .create_signature(&[], |bytes| signer.sign(bytes).to_vec())
        .build();
    assert_eq!(theirs.to_tagged_vec().ok(), Some(ours.clone()), "one statement from these parts");
    read(&ours);
}

fn read(bytes: &[u8]) {
    let ours = cose::parse(bytes);
    let Ok(parsed) = ours else { return };
    if Kind::of_content_type(parsed.content_type).is_none() {
        // Theirs insists on the form of a media type, ours on its own names, one layer above.
        return;
    }
    let theirs = CoseSign1::from_tagged_slice(bytes).expect("coset reads what ours reads");
    let header = &theirs.protected.header;
    assert_eq!(header.alg, Some(coset::Algorithm::Assigned(coset::iana::Algorithm::EdDSA)));
    assert_eq!(header.content_type, Some(ContentType::Text(parsed.content_type.to_owned())));
    assert!(theirs.unprotected.is_empty());
    assert_eq!(theirs.payload.as_deref(), Some(parsed.payload));
    assert_eq!(StatementId(sha256(&theirs.tbs_data(&[]))), parsed.id(), "the same bytes are signed");
    let [(Label::Int(15), Value::Map(claims))] = header.rest.as_slice() else { panic!("other headers: {header:?}") };
    let (issuer, subject) = (Value::from(parsed.issuer.did()), Value::from(parsed.subject));
    assert_eq!(claims.as_slice(), [(Value::from(1), issuer), (Value::from(2), subject)]);
    let signature = <[u8; 64]>::try_from(theirs.signature.as_slice()).expect("64 bytes");
    let verified = parsed.issuer.verify(&theirs.tbs_data(&[]), &signature);
    assert_eq!(verified, parsed.verify().is_ok());
    assert!(CoseSign1::from_slice(bytes).is_err(), "the tag belongs to it");
}

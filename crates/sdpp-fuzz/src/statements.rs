//! Statements: their payloads, their COSE, and the rows of journals.

use sdpp_proto::codec::{self, Bytes32};
use sdpp_proto::cose;
use sdpp_proto::journal::Entry;
use sdpp_proto::limits;
use sdpp_proto::statement::{
    Acceptance, Ack, AnyStatement, Attach, Default as Unpaid, Invoice, KeyNotice, Kind, Menu, Order, Payment, Product,
    Quote, Revocation, Rotation, Sample, Settlement, Signed, Statement,
};

use crate::choices::{Choices, flip};
use crate::kit::{self, key};

/// Every kind of statement: the first byte says which kind the rest is, as a whole statement or as a payload that is
/// signed here.
///
/// What is accepted has one encoding, says again what it said, and verifies for its signer and for nobody else.
pub(crate) fn statement(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match Kind::ALL[usize::from(*kind) % Kind::ALL.len()] {
        Kind::Menu => {
            whole::<Menu>(rest);
            if let Some(menu) = payload::<Menu>(rest) {
                menu.products.iter().for_each(product);
            }
        }
        Kind::Order => both::<Order>(rest),
        Kind::Attach => both::<Attach>(rest),
        Kind::Acceptance => both::<Acceptance>(rest),
        Kind::Invoice => both::<Invoice>(rest),
        Kind::Ack => both::<Ack>(rest),
        Kind::Payment => both::<Payment>(rest),
        Kind::Settlement => both::<Settlement>(rest),
        Kind::Default => both::<Unpaid>(rest),
        Kind::Sample => both::<Sample>(rest),
        Kind::Quote => both::<Quote>(rest),
        Kind::Rotation => both::<Rotation>(rest),
        Kind::Revocation => both::<Revocation>(rest),
    }
}

fn both<T: Statement>(bytes: &[u8]) {
    whole::<T>(bytes);
    drop(payload::<T>(bytes));
}

/// As it came: the signature is whatever stands there.
fn whole<T: Statement>(bytes: &[u8]) {
    let Ok(signed) = Signed::<T>::parse_unverified(bytes) else { return };
    assert_eq!(**signed.bytes(), *bytes);
    assert!(signed.is_within_limits() && bytes.len() <= limits::STATEMENT_MAX);
    let parsed = cose::parse(bytes).expect("it was taken apart before");
    assert_eq!(codec::encode(signed.body()), parsed.payload, "one encoding for this payload");
    assert_eq!((signed.subject().as_str(), signed.id()), (parsed.subject, parsed.id()));
    let verified = Signed::<T>::parse(bytes).is_ok();
    assert_eq!(verified, AnyStatement::parse(bytes).is_ok(), "two ways to take it apart");
    if let Ok(Some(notice)) = KeyNotice::read(T::KIND, bytes) {
        assert_eq!(*notice.key(), signed.issuer(), "only the key itself says that it is over");
        assert!(verified || notice.verify().is_err());
    }
}

/// As a payload; gives it if it is one within limits.
fn payload<T: Statement>(bytes: &[u8]) -> Option<T> {
    let body: T = codec::decode(bytes, limits::STATEMENT_MAX).ok()?;
    assert_eq!(codec::encode(&body), bytes, "one encoding for this payload");
    let signed = Signed::sign(&key(kit::SELLER), body.clone());
    match Signed::<T>::parse_unverified(signed.bytes()) {
        Ok(read) => assert_eq!(read, signed, "what was signed is what is read"),
        Err(_) => {
            assert!(!body.is_within_limits() || signed.bytes().len() > limits::STATEMENT_MAX);
            return None;
        }
    }
    assert!(signed.verify(&key(kit::SELLER).public()).is_ok());
    assert!(signed.verify(&key(kit::BUYER).public()).is_err());
    Some(body)
}

/// More never costs less, and a price is never beaten by cutting a sale into pieces.
fn product(product: &Product) {
    let price = product.price();
    for units in [0, 1, product.per.saturating_sub(1), product.per, u64::from(product.k), u64::MAX - 1] {
        let (due, next) = (price.due(units), price.due(units.saturating_add(1)));
        assert!(next.is_none() || due.is_some_and(|due| Some(due) <= next), "more costs less");
        if let Some(due) = due {
            let affordable = price.affordable(due);
            assert!(affordable >= units && price.due(affordable).is_some_and(|all| all <= due));
        }
    }
    if let Some(two) = product.exposure(2) {
        assert!(product.exposure(1).is_some_and(|one| one <= two));
    }
    let _ = (product.cost(1), product.cost(u64::MAX), product.exposure(u32::MAX));
}

/// COSE as it came, and statements of any content type, subject and payload that are signed here.
///
/// A statement names its signer, its parts come back as they were signed, and a statement with one bit changed
/// is not accepted: so nobody can make a second one out of it.
pub(crate) fn cose(data: &[u8]) {
    if let Ok(parsed) = cose::parse(data) {
        let id = cose::id_of(&parsed.issuer, parsed.content_type, parsed.subject, parsed.payload);
        assert_eq!(id, parsed.id(), "the id follows from the parts");
        let _ = parsed.verify();
    }
    let mut choices = Choices::new(data);
    let content_type = String::from_utf8_lossy(choices.some()).into_owned();
    let subject = String::from_utf8_lossy(choices.some()).into_owned();
    let payload = choices.many();
    let signer = key(choices.byte());
    let (mut bytes, id) = cose::sign(&signer, &content_type, &subject, payload);
    let Ok(parsed) = cose::parse(&bytes) else {
        assert!(bytes.len() > limits::STATEMENT_MAX, "what was signed can be read");
        return;
    };
    assert_eq!((parsed.content_type, parsed.subject), (content_type.as_str(), subject.as_str()));
    assert_eq!((parsed.payload, parsed.issuer, parsed.id()), (payload, signer.public(), id));
    assert!(parsed.verify().is_ok());
    flip(&mut bytes, &mut choices);
    assert!(cose::parse(&bytes).is_err() || cose::parse(&bytes).is_ok_and(|parsed| parsed.verify().is_err()));
}

/// Rows of a journal as they come, and rows whose statement is signed here.
pub(crate) fn journal_row(data: &[u8]) {
    if let Ok(entry) = Entry::from_bytes(data) {
        assert_eq!(entry.to_bytes(), data, "one encoding for this row");
    }
    let mut choices = Choices::new(data);
    let row = match choices.below(4) {
        0 => Entry::Salt(Bytes32(choices.bytes32())),
        1 => Entry::Intent(Bytes32(choices.bytes32())),
        2 => Entry::Record { statement: Bytes32(choices.bytes32()), record: Bytes32(choices.bytes32()) },
        _ => return signed_row(&mut choices),
    };
    assert_eq!(Entry::from_bytes(&row.to_bytes()), Ok(row));
}

/// A row may hold a statement of any contents: it is parsed when the account is restored.
fn signed_row(choices: &mut Choices<'_>) {
    let kind = *choices.pick(&Kind::ALL);
    let subject = String::from_utf8_lossy(choices.some()).into_owned();
    let (bytes, id) = cose::sign(&key(choices.byte()), &cose::content_type(kind.name()), &subject, choices.many());
    let row = Entry::Statement(AnyStatement { kind, id, bytes: bytes.as_slice().into() });
    let mut written = row.to_bytes();
    if bytes.len() > limits::STATEMENT_MAX {
        assert!(Entry::from_bytes(&written).is_err());
        return;
    }
    assert_eq!(Entry::from_bytes(&written).as_ref(), Ok(&row));
    flip(&mut written, choices);
    assert!(Entry::from_bytes(&written).is_err(), "every bit of it is signed");
}

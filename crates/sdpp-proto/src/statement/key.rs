//! The end of a key, in its own words: rotation and revocation (`spec/records.md` §5).

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::{AnyStatement, Kind, Signed, Statement, StatementError};
use crate::codec::{Signature, StatementId};
use crate::cose::CoseError;
use crate::identity::{PublicKey, SigningKey};
use crate::time::Timestamp;

/// What the successor signs begins with this.
const LABEL: &[u8] = b"SDPP/2 succession";

/// A key gives way to another. The old key signs the statement, the new one is signed into it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Rotation {
    /// The key that gives way, and signs.
    #[n(1)]
    pub key: PublicKey,
    /// The key that takes over.
    #[n(2)]
    pub successor: PublicKey,
    /// When, by the clock of whoever holds both.
    #[n(3)]
    pub at: Timestamp,
    /// The successor's signature over [`Rotation::to_consent`].
    #[n(4)]
    pub consent: Signature,
}

impl Rotation {
    /// Signs a rotation with both keys.
    pub fn sign(key: &SigningKey, successor: &SigningKey, at: Timestamp) -> Signed<Self> {
        let consent = Signature(successor.sign(&Self::to_consent(&key.public(), &successor.public(), at)));
        Signed::sign(key, Self { key: key.public(), successor: successor.public(), at, consent })
    }

    /// What a successor signs: without it a key could name one that its holder never had.
    pub fn to_consent(key: &PublicKey, successor: &PublicKey, at: Timestamp) -> Vec<u8> {
        [LABEL, key.as_bytes(), successor.as_bytes(), &at.as_ms().to_be_bytes()].concat()
    }
}

impl Statement for Rotation {
    const KIND: Kind = Kind::Rotation;

    fn subject(&self) -> String {
        self.key.did()
    }

    fn is_within_limits(&self) -> bool {
        self.key != self.successor
    }
}

/// Why a key is revoked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum RevokeReason {
    /// Not said.
    #[n(0)]
    Unspecified,
    /// It is not used any more.
    #[n(1)]
    Retired,
    /// Somebody else has it, or may have it.
    #[n(2)]
    Exposed,
}

impl RevokeReason {
    /// The reason in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Retired => "retired",
            Self::Exposed => "exposed",
        }
    }
}

/// A key is over: nothing that it signs from then on is to be believed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Revocation {
    /// The key, which signs its own end.
    #[n(1)]
    pub key: PublicKey,
    /// From when on, by the signer's clock.
    #[n(2)]
    pub at: Timestamp,
    /// Why.
    #[n(3)]
    pub reason: RevokeReason,
}

impl Revocation {
    /// Signs the end of a key.
    pub fn sign(key: &SigningKey, at: Timestamp, reason: RevokeReason) -> Signed<Self> {
        Signed::sign(key, Self { key: key.public(), at, reason })
    }
}

impl Statement for Revocation {
    const KIND: Kind = Kind::Revocation;

    fn subject(&self) -> String {
        self.key.did()
    }
}

/// A rotation or a revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyNotice {
    /// The key gave way to another.
    Rotation(Signed<Rotation>),
    /// The key is over.
    Revocation(Signed<Revocation>),
}

impl KeyNotice {
    /// Takes a statement apart, if it is of one of these kinds: strictly, with the key that it is
    /// about as its issuer. No signature is verified yet.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn read(kind: Kind, bytes: &[u8]) -> Result<Option<Self>, StatementError> {
        let notice = match kind {
            Kind::Rotation => Self::Rotation(Signed::parse_unverified(bytes)?),
            Kind::Revocation => Self::Revocation(Signed::parse_unverified(bytes)?),
            Kind::Menu
            | Kind::Order
            | Kind::Attach
            | Kind::Acceptance
            | Kind::Invoice
            | Kind::Ack
            | Kind::Payment
            | Kind::Settlement
            | Kind::Default
            | Kind::Sample
            | Kind::Quote => return Ok(None),
        };
        let issuer = match &notice {
            Self::Rotation(rotation) => rotation.issuer(),
            Self::Revocation(revocation) => revocation.issuer(),
        };
        if issuer == *notice.key() { Ok(Some(notice)) } else { Err(CoseError::WrongIssuer.into()) }
    }

    /// Verifies all its signatures: the key's, and a successor's.
    ///
    /// # Errors
    /// [`CoseError::BadSignature`].
    pub fn verify(&self) -> Result<(), StatementError> {
        match self {
            Self::Rotation(rotation) => {
                let Rotation { key, successor, at, consent } = rotation.body();
                rotation.verify(key)?;
                let consented = successor.verify(&Rotation::to_consent(key, successor, *at), &consent.0);
                if consented { Ok(()) } else { Err(CoseError::BadSignature.into()) }
            }
            Self::Revocation(revocation) => revocation.verify(&revocation.key),
        }
    }

    /// Takes a rotation or a revocation apart and verifies all its signatures.
    ///
    /// # Errors
    /// [`StatementError`]; [`CoseError::WrongType`] for a statement of another kind.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let notice = Self::read(AnyStatement::parse(bytes)?.kind, bytes)?.ok_or(CoseError::WrongType)?;
        notice.verify()?;
        Ok(notice)
    }

    /// The key that it is about.
    pub fn key(&self) -> &PublicKey {
        match self {
            Self::Rotation(rotation) => &rotation.body().key,
            Self::Revocation(revocation) => &revocation.body().key,
        }
    }

    /// When, by its signer.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Rotation(rotation) => rotation.at,
            Self::Revocation(revocation) => revocation.at,
        }
    }

    /// The statement's id.
    pub fn id(&self) -> StatementId {
        match self {
            Self::Rotation(rotation) => rotation.id(),
            Self::Revocation(revocation) => revocation.id(),
        }
    }

    /// The statement without its type, for records.
    pub fn erase(&self) -> AnyStatement {
        match self {
            Self::Rotation(rotation) => rotation.erase(),
            Self::Revocation(revocation) => revocation.erase(),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    fn refused(statement: &[u8]) -> StatementError {
        KeyNotice::parse(statement).unwrap_err()
    }

    #[test]
    fn a_rotation_needs_both_keys() {
        let rotation = Rotation::sign(&key(1), &key(2), NOW);
        let notice = KeyNotice::parse(rotation.bytes()).unwrap();
        assert_eq!(notice, KeyNotice::Rotation(rotation.clone()));
        assert_eq!((*notice.key(), notice.at(), notice.id()), (key(1).public(), NOW, rotation.id()));
        assert_eq!(notice.erase(), rotation.erase());

        // A successor that was never asked; consent to another key, to another time, by another label.
        let consents = [
            key(1).sign(&Rotation::to_consent(&key(1).public(), &key(2).public(), NOW)),
            key(2).sign(&Rotation::to_consent(&key(3).public(), &key(2).public(), NOW)),
            key(2).sign(&Rotation::to_consent(&key(1).public(), &key(2).public(), NOW.after_ms(1))),
            key(2).sign(&Rotation::to_consent(&key(1).public(), &key(2).public(), NOW)[1..]),
        ];
        for consent in consents {
            let body = Rotation { consent: Signature(consent), ..rotation.body().clone() };
            assert_eq!(refused(Signed::sign(&key(1), body).bytes()), CoseError::BadSignature.into());
        }
        // Signed by the successor alone, and by a stranger.
        for other in [2, 3] {
            let theirs = Signed::sign(&key(other), rotation.body().clone());
            assert_eq!(refused(theirs.bytes()), CoseError::WrongIssuer.into());
        }
        assert_eq!(refused(Rotation::sign(&key(1), &key(1), NOW).bytes()), StatementError::OutOfLimits);
        for at in 0..rotation.bytes().len() {
            let mut changed = rotation.bytes().to_vec();
            changed[at] ^= 1;
            assert!(KeyNotice::parse(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_key_revokes_itself_and_no_other() {
        let revocation = Revocation::sign(&key(1), NOW, RevokeReason::Exposed);
        let notice = KeyNotice::parse(revocation.bytes()).unwrap();
        assert_eq!(notice, KeyNotice::Revocation(revocation.clone()));
        let theirs = Signed::sign(&key(2), revocation.body().clone());
        assert_eq!(refused(theirs.bytes()), CoseError::WrongIssuer.into());
        for at in 0..revocation.bytes().len() {
            let mut changed = revocation.bytes().to_vec();
            changed[at] ^= 1;
            assert!(KeyNotice::parse(&changed).is_err(), "byte {at}");
        }
        let ack = super::super::Ack { order_id: revocation.id(), invoice_id: revocation.id() };
        assert_eq!(refused(Signed::sign(&key(1), ack).bytes()), CoseError::WrongType.into());
    }
}

//! The statements of a sale: what is signed, and by whom (`spec/protocol.md` §2, `spec/records.md`).

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use minicbor::{Decode, Encode};

use crate::codec::{self, CodecError, StatementId};
use crate::cose::{self, CoseError};
use crate::identity::{PublicKey, SigningKey};
use crate::limits;

mod key;
mod menu;
mod order;
mod receipt;

pub use key::{KeyNotice, Revocation, RevokeReason, Rotation};
pub use menu::{Menu, PayOption, Product, Quote, RecordOffer, Sample, SealKey, Signing, Stalled, Terms};
pub use order::{Acceptance, Attach, Forgiven, Form, Have, Order, RecordPolicy};
pub use receipt::{Ack, Default, Invoice, Payment, Settlement};

/// Every kind of statement, with its code in envelopes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// The seller's offer.
    #[n(1)]
    Menu,
    /// The buyer's order.
    #[n(2)]
    Order,
    /// The buyer's start of one connection.
    #[n(3)]
    Attach,
    /// The seller's answer to an attach.
    #[n(4)]
    Acceptance,
    /// The seller's claim.
    #[n(5)]
    Invoice,
    /// The buyer's word that a digest is right and the payment on its way.
    #[n(6)]
    Ack,
    /// The buyer's payment.
    #[n(7)]
    Payment,
    /// One side's view of the end.
    #[n(8)]
    Settlement,
    /// The seller's word that it was not paid in time.
    #[n(9)]
    Default,
    /// Free messages.
    #[n(10)]
    Sample,
    /// What an order would cost.
    #[n(11)]
    Quote,
    /// A key gives way to another.
    #[n(12)]
    Rotation,
    /// A key is over.
    #[n(13)]
    Revocation,
}

impl Kind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 13] = [
        Self::Menu,
        Self::Order,
        Self::Attach,
        Self::Acceptance,
        Self::Invoice,
        Self::Ack,
        Self::Payment,
        Self::Settlement,
        Self::Default,
        Self::Sample,
        Self::Quote,
        Self::Rotation,
        Self::Revocation,
    ];

    /// Name inside the content type `application/sdpp-NAME+cbor`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Menu => "menu",
            Self::Order => "order",
            Self::Attach => "attach",
            Self::Acceptance => "acceptance",
            Self::Invoice => "invoice",
            Self::Ack => "ack",
            Self::Payment => "payment",
            Self::Settlement => "settlement",
            Self::Default => "default",
            Self::Sample => "sample",
            Self::Quote => "quote",
            Self::Rotation => "rotation",
            Self::Revocation => "revocation",
        }
    }

    /// The kind that a content type names.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let name = cose::name_of(content_type)?;
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The payload of one kind of statement.
pub trait Statement: Encode<()> + for<'b> Decode<'b, ()> + Clone + PartialEq + fmt::Debug {
    /// Its kind.
    const KIND: Kind;

    /// What the statement is about, for its protected header: the order for all that belongs to
    /// one, the key for its own end, else the seller.
    fn subject(&self) -> String;

    /// Whether all fields are within the limits. Form only: no state.
    fn is_within_limits(&self) -> bool {
        true
    }
}

/// Why bytes are not an acceptable statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatementError {
    /// The COSE wrapping.
    Cose(CoseError),
    /// The payload.
    Codec(CodecError),
    /// The subject does not follow from the payload.
    WrongSubject,
    /// A field outside its limits.
    OutOfLimits,
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cose(error) => error.fmt(f),
            Self::Codec(error) => error.fmt(f),
            Self::WrongSubject => f.write_str("the statement's subject is not what its payload is about"),
            Self::OutOfLimits => f.write_str("a field is outside its limits"),
        }
    }
}

impl core::error::Error for StatementError {}

impl From<CoseError> for StatementError {
    fn from(error: CoseError) -> Self {
        Self::Cose(error)
    }
}

impl From<CodecError> for StatementError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

/// A statement with its exact bytes, id and issuer. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed<T> {
    body: T,
    bytes: Arc<[u8]>,
    id: StatementId,
    issuer: PublicKey,
    verified: Verified,
}

/// That the issuer's signature was verified. Nothing of a [`Signed`] ever changes, so it is verified once, however many
/// rooms ask: the machine, the rail and the ledger's client each do.
struct Verified(AtomicBool);

impl Verified {
    const fn not_yet() -> Self {
        Self(AtomicBool::new(false))
    }
}

impl Clone for Verified {
    fn clone(&self) -> Self {
        Self(AtomicBool::new(self.0.load(Ordering::Relaxed)))
    }
}

impl PartialEq for Verified {
    /// Statements are the same, whoever has looked at them.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Verified {}

impl<T: Statement> Signed<T> {
    /// Signs a payload.
    pub fn sign(key: &SigningKey, body: T) -> Self {
        let payload = codec::encode(&body);
        let (bytes, id) = cose::sign(key, &cose::content_type(T::KIND.name()), &body.subject(), &payload);
        Self { body, bytes: bytes.into(), id, issuer: key.public(), verified: Verified::not_yet() }
    }

    /// Takes a statement apart **without** verifying its signature: for chains in which the newest
    /// signature covers this one by hash. All else is checked.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse_unverified(bytes: &[u8]) -> Result<Self, StatementError> {
        let parsed = cose::parse(bytes)?;
        if Kind::of_content_type(parsed.content_type) != Some(T::KIND) {
            return Err(CoseError::WrongType.into());
        }
        let body: T = codec::decode(parsed.payload, limits::STATEMENT_MAX)?;
        if body.subject() != parsed.subject {
            return Err(StatementError::WrongSubject);
        }
        if !body.is_within_limits() {
            return Err(StatementError::OutOfLimits);
        }
        let (id, issuer) = (parsed.id(), parsed.issuer);
        Ok(Self { body, id, issuer, bytes: bytes.into(), verified: Verified::not_yet() })
    }

    /// Verifies the issuer's signature, if that was not done yet.
    ///
    /// # Errors
    /// [`CoseError::BadSignature`], [`CoseError::WrongIssuer`] if somebody else signed.
    pub fn verify(&self, issuer: &PublicKey) -> Result<(), StatementError> {
        if self.issuer != *issuer {
            return Err(CoseError::WrongIssuer.into());
        }
        if !self.verified.0.load(Ordering::Relaxed) {
            cose::verify(&self.bytes, issuer)?;
            self.verified.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes a statement apart and verifies the signature of whoever it names.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let signed = Self::parse_unverified(bytes)?;
        signed.verify(&signed.issuer)?;
        Ok(signed)
    }

    /// The payload.
    pub const fn body(&self) -> &T {
        &self.body
    }

    /// The exact bytes that travel and are recorded.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The id.
    pub const fn id(&self) -> StatementId {
        self.id
    }

    /// Who signed.
    pub const fn issuer(&self) -> PublicKey {
        self.issuer
    }

    /// The statement without its type, for journals and records.
    pub fn erase(&self) -> AnyStatement {
        AnyStatement { kind: T::KIND, id: self.id, bytes: self.bytes.clone() }
    }
}

impl<T: Statement> core::ops::Deref for Signed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.body
    }
}

impl<T: fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("id", &self.id).field("issuer", &self.issuer).field("body", &self.body).finish()
    }
}

/// A statement of any kind: what journals keep and ledgers record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnyStatement {
    /// Its kind.
    pub kind: Kind,
    /// Its id.
    pub id: StatementId,
    /// Its exact bytes.
    pub bytes: Arc<[u8]>,
}

impl AnyStatement {
    /// Takes bytes apart far enough to know kind and id. The signature is verified.
    ///
    /// # Errors
    /// [`CoseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CoseError> {
        let parsed = cose::parse(bytes)?;
        let kind = Kind::of_content_type(parsed.content_type).ok_or(CoseError::WrongType)?;
        parsed.verify()?;
        Ok(Self { kind, id: parsed.id(), bytes: bytes.into() })
    }
}

/// The subject of everything that belongs to an order.
fn order_subject(order: &StatementId) -> String {
    alloc::format!("order:{order}")
}

/// Text within its limit.
fn text_ok(text: &str) -> bool {
    !text.is_empty() && text.len() <= limits::TEXT_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    #[test]
    fn a_signature_is_verified_once_and_for_its_issuer_only() {
        let [key, other] = [1, 2].map(|seed| SigningKey::from_seed(&Zeroizing::new([seed; 32])));
        let order_id = StatementId([3; 32]);
        let signed = Signed::sign(&key, Ack { order_id, invoice_id: order_id });
        let mut forged = signed.bytes().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        let forged = Signed::<Ack>::parse_unverified(&forged).unwrap();
        let fresh = Signed::<Ack>::parse_unverified(signed.bytes()).unwrap();
        for _ in 0..2 {
            assert_eq!(forged.verify(&key.public()), Err(CoseError::BadSignature.into()), "never believed");
            assert_eq!(forged.clone().verify(&key.public()), Err(CoseError::BadSignature.into()));
            assert_eq!(fresh.verify(&other.public()), Err(CoseError::WrongIssuer.into()), "whoever asked before");
            assert_eq!(fresh.verify(&key.public()), Ok(()));
        }
        assert!(fresh.verified.0.load(Ordering::Relaxed) && fresh.clone().verified.0.load(Ordering::Relaxed));
        assert!(!forged.verified.0.load(Ordering::Relaxed));
        assert_eq!(fresh, signed, "one that nobody has verified is the same statement");
    }

    #[test]
    fn a_kind_is_known_by_its_content_type_only() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_content_type(&cose::content_type(kind.name())), Some(kind));
            assert_eq!(Kind::of_content_type(kind.name()), None);
        }
        for text in ["", "application/sdpp-", "application/sdpp-+cbor", "application/sdpp-order", "order+cbor"] {
            assert_eq!(Kind::of_content_type(text), None, "{text}");
        }
    }
}

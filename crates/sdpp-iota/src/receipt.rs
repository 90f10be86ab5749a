//! What a node hands out about a transaction, and what has to hold of it before it counts.

use std::fmt;

use iota_sdk_crypto::IotaVerifier as _;
use iota_sdk_crypto::simple::SimpleVerifier;
use iota_sdk_types::{
    Address, ExecutionStatus, SenderSignedTransaction, Transaction, TransactionDigest, TransactionEffects,
    UserSignature,
};
use minicbor::{Decode, Encode};

use crate::deed::{Deed, NoDeed, Window, matched};
use crate::limits;

/// A transaction and what became of it, as bytes that anybody can keep and check again.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// The signed transaction (BCS of `SenderSignedTransaction`).
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub transaction: Vec<u8>,
    /// Its effects (BCS of `TransactionEffects`).
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub effects: Vec<u8>,
    /// The checkpoint that has it; none while it is in none.
    #[n(3)]
    pub checkpoint: Option<u64>,
}

impl Receipt {
    /// The digest of its transaction, if it is one.
    pub fn digest(&self) -> Option<TransactionDigest> {
        let signed: SenderSignedTransaction = read(&self.transaction, limits::TRANSACTION_BYTES_MAX).ok()?;
        Some(signed.signed_transaction().transaction().digest())
    }
}

/// Why a receipt is not that of a deed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotDone {
    /// Its bytes are not those of a signed transaction and its effects.
    Malformed,
    /// The transaction does something else than pay and record.
    NoDeed(NoDeed),
    /// Another sender.
    Payer,
    /// It does something of another kind.
    Kind,
    /// Another payee.
    Payee,
    /// Another amount.
    Amount,
    /// Another record.
    Record,
    /// Not one signature, or two where somebody else pays the gas, or one that nobody here can check.
    Signatures,
    /// The signature is not the sender's.
    Signature,
    /// The effects are of another transaction.
    OtherEffects,
    /// It was executed and failed: nothing moved but gas.
    Failed,
    /// No checkpoint has it yet.
    NoCheckpoint,
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is no signed transaction with its effects",
            Self::NoDeed(error) => return error.fmt(f),
            Self::Payer => "it is sent by somebody else",
            Self::Kind => "it does something else",
            Self::Payee => "it is paid to somebody else",
            Self::Amount => "it is for another amount",
            Self::Record => "it is for another invoice or statement",
            Self::Signatures => "it has not the signatures of its sender and of whoever pays its gas",
            Self::Signature => "its signature is not the sender's, or not that of whoever pays its gas",
            Self::OtherEffects => "its effects are those of another transaction",
            Self::Failed => "it failed on the network: nothing was paid",
            Self::NoCheckpoint => "no checkpoint has it yet",
        })
    }
}

impl std::error::Error for NotDone {}

/// Reads one value and nothing behind it.
pub(crate) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, NotDone> {
    if bytes.len() > bytes_max {
        return Err(NotDone::Malformed);
    }
    bcs::from_bytes(bytes).map_err(|_| NotDone::Malformed)
}

/// Whether a receipt is that of this deed by this payer; gives the digest of its transaction, which counts once.
///
/// # Errors
/// [`NotDone`].
pub fn verify(receipt: &Receipt, payer: Address, deed: &Deed) -> Result<TransactionDigest, NotDone> {
    let (sender, done, digest) = executed(receipt)?;
    if sender != payer {
        return Err(NotDone::Payer);
    }
    compare(&done, deed)?;
    Ok(digest)
}

/// What the transaction of a receipt did, and who sent it: signed by that, executed with success, in a checkpoint.
///
/// # Errors
/// [`NotDone`].
pub fn executed(receipt: &Receipt) -> Result<(Address, Deed, TransactionDigest), NotDone> {
    let signed: SenderSignedTransaction = read(&receipt.transaction, limits::TRANSACTION_BYTES_MAX)?;
    let signed = signed.into_signed_transaction();
    let (sender, deed, gas) = matched(&signed.transaction).map_err(NotDone::NoDeed)?;
    match (signed.signatures.as_slice(), gas.sponsor.map(|sponsor| sponsor.by)) {
        ([signature], None) => check(&signed.transaction, signature, sender)?,
        // In whichever order they were put.
        ([one, other], Some(sponsor)) => {
            check(&signed.transaction, one, sender).and_then(|()| check(&signed.transaction, other, sponsor)).or_else(
                |_| check(&signed.transaction, other, sender).and_then(|()| check(&signed.transaction, one, sponsor)),
            )?
        }
        _ => return Err(NotDone::Signatures),
    }
    let digest = signed.transaction.digest();
    let effects: TransactionEffects = read(&receipt.effects, limits::EFFECTS_BYTES_MAX)?;
    let TransactionEffects::V1(effects) = effects else { return Err(NotDone::Malformed) };
    if effects.transaction_digest != digest {
        return Err(NotDone::OtherEffects);
    }
    if receipt.checkpoint.is_none() {
        return Err(NotDone::NoCheckpoint);
    }
    if effects.status == ExecutionStatus::Success { Ok((sender, deed, digest)) } else { Err(NotDone::Failed) }
}

fn compare(done: &Deed, expected: &Deed) -> Result<(), NotDone> {
    let (Deed::Pay(done), Deed::Pay(expected)) = (done, expected) else {
        let is_same_kind = std::mem::discriminant(done) == std::mem::discriminant(expected);
        return match (done == expected, is_same_kind) {
            (true, _) => Ok(()),
            (false, true) => Err(NotDone::Record),
            (false, false) => Err(NotDone::Kind),
        };
    };
    let Window { payee, amount, record } = expected;
    for (is_so, otherwise) in [
        (done.payee == *payee, NotDone::Payee),
        (done.amount == *amount, NotDone::Amount),
        (done.record == *record, NotDone::Record),
    ] {
        if !is_so {
            return Err(otherwise);
        }
    }
    Ok(())
}

/// Whether this address signed it.
fn check(transaction: &Transaction, signature: &UserSignature, signer: Address) -> Result<(), NotDone> {
    let UserSignature::Simple(simple) = signature else { return Err(NotDone::Signatures) };
    if simple.to_public_key().derive_address() != signer {
        return Err(NotDone::Signature);
    }
    SimpleVerifier.verify_transaction(transaction, signature).map_err(|_| NotDone::Signature)
}

//! What a node hands out about a transaction, and what has to hold of it before it counts as money.

use std::fmt;

use iota_sdk_crypto::IotaVerifier as _;
use iota_sdk_crypto::simple::SimpleVerifier;
use iota_sdk_types::{
    Address, ExecutionStatus, SenderSignedTransaction, TransactionDigest, TransactionEffects, UserSignature,
};

use crate::limits;
use crate::window::{NoWindow, matched};

/// A transaction and what became of it, as bytes that anybody can keep and check again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The signed transaction (BCS of `SenderSignedTransaction`).
    pub transaction: Vec<u8>,
    /// Its effects (BCS of `TransactionEffects`).
    pub effects: Vec<u8>,
    /// The checkpoint that has it; none while it is in none.
    pub checkpoint: Option<u64>,
}

/// What a payee wants to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// Nanos.
    pub amount: u64,
    /// The invoice's reference.
    pub record: Vec<u8>,
}

/// Why a receipt is no payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotPaid {
    /// Its bytes are not those of a signed transaction and its effects.
    Malformed,
    /// The transaction does something else than pay and record.
    NoWindow(NoWindow),
    /// Another payer.
    Payer,
    /// Another payee.
    Payee,
    /// Another amount.
    Amount,
    /// Another record.
    Record,
    /// Not one signature, or one that nobody here can check.
    Signatures,
    /// The signature is not the payer's.
    Signature,
    /// The effects are of another transaction.
    OtherEffects,
    /// It was executed and failed: nothing moved but gas.
    Failed,
    /// No checkpoint has it yet.
    NoCheckpoint,
}

impl fmt::Display for NotPaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is no signed transaction with its effects"),
            Self::NoWindow(error) => error.fmt(f),
            Self::Payer => f.write_str("it is paid by somebody else"),
            Self::Payee => f.write_str("it is paid to somebody else"),
            Self::Amount => f.write_str("it is for another amount"),
            Self::Record => f.write_str("it is for another invoice"),
            Self::Signatures => f.write_str("it has not the one signature of its payer"),
            Self::Signature => f.write_str("its signature is not the payer's"),
            Self::OtherEffects => f.write_str("its effects are those of another transaction"),
            Self::Failed => f.write_str("it failed on the network: nothing was paid"),
            Self::NoCheckpoint => f.write_str("no checkpoint has it yet"),
        }
    }
}

impl std::error::Error for NotPaid {}

/// Reads one value and nothing behind it.
fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, NotPaid> {
    if bytes.len() > bytes_max {
        return Err(NotPaid::Malformed);
    }
    bcs::from_bytes(bytes).map_err(|_| NotPaid::Malformed)
}

/// Whether a receipt pays what is expected; gives the digest of its transaction, which counts once.
///
/// # Errors
/// [`NotPaid`].
pub fn verify(receipt: &Receipt, expected: &Expected) -> Result<TransactionDigest, NotPaid> {
    let signed: SenderSignedTransaction = read(&receipt.transaction, limits::TRANSACTION_BYTES_MAX)?;
    let signed = signed.into_signed_transaction();
    let (window, gas) = matched(&signed.transaction).map_err(NotPaid::NoWindow)?;
    for (is_so, otherwise) in [
        (window.payer == expected.payer, NotPaid::Payer),
        (window.payee == expected.payee, NotPaid::Payee),
        (window.amount == expected.amount, NotPaid::Amount),
        (window.record == expected.record, NotPaid::Record),
        // One with a sponsor has two.
        (signed.signatures.len() == 1 + usize::from(gas.owner != window.payer), NotPaid::Signatures),
    ] {
        if !is_so {
            return Err(otherwise);
        }
    }
    for (signature, signer) in signed.signatures.iter().zip([window.payer, gas.owner]) {
        check(&signed.transaction, signature, signer)?;
    }
    let digest = signed.transaction.digest();
    let effects: TransactionEffects = read(&receipt.effects, limits::EFFECTS_BYTES_MAX)?;
    let TransactionEffects::V1(effects) = effects else { return Err(NotPaid::Malformed) };
    if effects.transaction_digest != digest {
        return Err(NotPaid::OtherEffects);
    }
    if effects.status != ExecutionStatus::Success {
        return Err(NotPaid::Failed);
    }
    receipt.checkpoint.map(|_| digest).ok_or(NotPaid::NoCheckpoint)
}

/// Whether this address signed it.
fn check(transaction: &iota_sdk_types::Transaction, signature: &UserSignature, signer: Address) -> Result<(), NotPaid> {
    let UserSignature::Simple(simple) = signature else { return Err(NotPaid::Signatures) };
    if simple.to_public_key().derive_address() != signer {
        return Err(NotPaid::Signature);
    }
    SimpleVerifier.verify_transaction(transaction, signature).map_err(|_| NotPaid::Signature)
}

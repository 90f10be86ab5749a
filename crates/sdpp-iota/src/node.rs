//! What a node is asked, whatever the wire to it.

use std::fmt;
use std::pin::Pin;

use iota_sdk_types::{
    Address, CheckpointContents, ObjectReference, SenderSignedTransaction, SignedCheckpointSummary, Transaction,
    TransactionDigest, ValidatorCommittee,
};

use crate::receipt::Receipt;

/// Why a node gave no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallError {
    /// It was not reached: nothing was done.
    Unreachable,
    /// It has too much to do: nothing was done, and later it may.
    Busy,
    /// It was asked, and there is no answer: what was asked for may be done.
    Lost,
    /// Its answer makes no sense; what was asked for may be done.
    Malformed(&'static str),
    /// It says no, and why: nothing was done now.
    Refused(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("the node cannot be reached"),
            Self::Busy => f.write_str("the node has too much to do"),
            Self::Lost => f.write_str("the node does not answer"),
            Self::Malformed(what) => write!(f, "the node's answer is not one: {what}"),
            Self::Refused(why) => write!(f, "the node refuses: {why}"),
        }
    }
}

impl std::error::Error for CallError {}

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send + 'a>>;

/// A coin of IOTA, as a node lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coin {
    /// Which one, and at which version.
    pub reference: ObjectReference,
    /// Nanos.
    pub balance: u64,
}

/// A page of coins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coins {
    /// The coins.
    pub coins: Vec<Coin>,
    /// Where the next page begins; none behind the last one.
    pub next: Option<String>,
}

/// What a transaction would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Estimate {
    /// Nanos that a budget has to cover: computation and storage.
    pub budget: u64,
    /// Nanos that it costs, with what is given back for old storage.
    pub cost: u64,
}

/// A checkpoint with the signatures of its validators, and what is in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Certified {
    /// What the validators signed.
    pub summary: SignedCheckpointSummary,
    /// The transactions and their effects, by digest.
    pub contents: CheckpointContents,
}

/// A way to a node. Nothing that it says is believed where money depends on it.
pub trait Transport: Send + Sync {
    /// For people.
    fn name(&self) -> String;

    /// Which network it is of: the first four bytes of the genesis checkpoint's digest, in hex.
    fn chain(&self) -> Answer<'_, String>;

    /// The epoch of the newest checkpoint that it has.
    fn epoch(&self) -> Answer<'_, u64>;

    /// Nanos for a unit of gas in this epoch.
    fn gas_price(&self) -> Answer<'_, u64>;

    /// Coins of IOTA of an account, a page of them.
    fn coins<'a>(&'a self, owner: &'a Address, page: Option<String>) -> Answer<'a, Coins>;

    /// What a transaction would cost now.
    fn estimate<'a>(&'a self, transaction: &'a Transaction) -> Answer<'a, Estimate>;

    /// Has a transaction executed; gives its effects (BCS). The same one again is harmless.
    fn execute<'a>(&'a self, signed: &'a SenderSignedTransaction) -> Answer<'a, Vec<u8>>;

    /// A transaction that was executed, by its digest.
    fn transaction<'a>(&'a self, digest: &'a TransactionDigest) -> Answer<'a, Option<Receipt>>;

    /// Whether this wire carries the validators' signatures.
    fn carries_signatures(&self) -> bool {
        false
    }

    /// A checkpoint with its signatures; none where this wire does not carry them.
    fn certified(&self, _checkpoint: u64) -> Answer<'_, Option<Certified>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The committee of validators of the current epoch, as the node has it; none where this wire does not carry signatures.
    fn committee(&self) -> Answer<'_, Option<ValidatorCommittee>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The last checkpoint of an epoch with its signatures; none where this wire does not carry them.
    fn epoch_end(&self, _epoch: u64) -> Answer<'_, Option<SignedCheckpointSummary>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

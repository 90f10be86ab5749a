//! The validators' own word, so that a lying node cannot make anybody believe in money that is not there.

use std::sync::{Mutex, PoisonError};

use iota_sdk_crypto::validator::{CommitteeChainVerifier, ValidatorCommitteeSignatureVerifier};
use iota_sdk_types::{TransactionDigest, TransactionEffects, ValidatorCommittee};
use sdpp_rail::RailError;

use crate::limits;
use crate::node::Certified;
use crate::nodes::Nodes;
use crate::receipt::{Receipt, read};

/// The committee of validators that is trusted, and those that it has elected since.
pub struct Committee {
    /// Of the newest epoch that was reached.
    chain: Mutex<CommitteeChainVerifier>,
    /// Committees that were passed on the way, by epoch: what they signed counts.
    passed: Mutex<std::collections::BTreeMap<u64, ValidatorCommittee>>,
}

/// A committee that signs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadCommittee;

impl std::fmt::Display for BadCommittee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the committee's members have no keys that could sign")
    }
}

impl std::error::Error for BadCommittee {}

const DISHONEST: RailError = RailError::Dishonest("a node shows a checkpoint that the validators have not signed so");

impl Committee {
    /// Begins with a committee that is trusted: usually that of the genesis.
    ///
    /// # Errors
    /// [`BadCommittee`].
    pub fn trusted(committee: ValidatorCommittee) -> Result<Self, BadCommittee> {
        let chain = CommitteeChainVerifier::new(committee).map_err(|_| BadCommittee)?;
        Ok(Self { chain: Mutex::new(chain), passed: Mutex::default() })
    }

    fn of_epoch(&self, epoch: u64) -> Option<ValidatorCommittee> {
        let chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        if chain.epoch() == epoch {
            return Some(chain.committee().clone());
        }
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).get(&epoch).cloned()
    }

    /// Follows the elections up to an epoch.
    async fn reach(&self, nodes: &Nodes, epoch: u64) -> Result<ValidatorCommittee, RailError> {
        loop {
            if let Some(committee) = self.of_epoch(epoch) {
                return Ok(committee);
            }
            let at = self.chain.lock().unwrap_or_else(PoisonError::into_inner).epoch();
            if at > epoch {
                return Err(RailError::Declined("the payment is older than the committee that is trusted"));
            }
            let end = nodes.signed(|node| node.epoch_end(at)).await?.ok_or(RailError::Unavailable)?;
            let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
            if chain.epoch() != at {
                continue;
            }
            let before = chain.committee().clone();
            chain.verify_epoch_close(&end).map_err(|_| DISHONEST)?;
            let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
            passed.insert(at, before);
            if passed.len() > limits::COMMITTEES_MAX {
                passed.pop_first();
            }
        }
    }

    /// Whether the validators have signed the checkpoint of a receipt, and it holds this transaction with these effects.
    ///
    /// # Errors
    /// [`RailError`]: `Dishonest` where a node lies, `Unavailable` where no node shows signatures.
    pub async fn confirm(&self, nodes: &Nodes, receipt: &Receipt, digest: &TransactionDigest) -> Result<(), RailError> {
        let number = receipt.checkpoint.ok_or(RailError::Unavailable)?;
        let Some(certified) = nodes.signed(|node| node.certified(number)).await? else {
            tracing::error!("no node shows the validators' signatures: JSON-RPC does not carry them");
            return Err(RailError::Unavailable);
        };
        let committee = self.reach(nodes, certified.summary.checkpoint.epoch).await?;
        if certified.summary.checkpoint.sequence_number != number {
            return Err(DISHONEST);
        }
        holds(committee, &certified, receipt, digest)
    }
}

/// Whether this committee has signed that this transaction had these effects.
fn holds(
    committee: ValidatorCommittee,
    certified: &Certified,
    receipt: &Receipt,
    digest: &TransactionDigest,
) -> Result<(), RailError> {
    let verifier = ValidatorCommitteeSignatureVerifier::new(committee).map_err(|_| DISHONEST)?;
    let Certified { summary, contents } = certified;
    verifier.verify_checkpoint_summary(&summary.checkpoint, &summary.signature).map_err(|_| DISHONEST)?;
    if contents.digest() != summary.checkpoint.contents_digest {
        return Err(DISHONEST);
    }
    let effects: TransactionEffects = read(&receipt.effects, limits::EFFECTS_BYTES_MAX).map_err(|_| DISHONEST)?;
    let effects = effects.digest();
    let is_in = contents.transactions().iter().any(|one| one.transaction == *digest && one.effects == effects);
    if is_in { Ok(()) } else { Err(DISHONEST) }
}

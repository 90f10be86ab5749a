//! The validators' own word, so that a lying node cannot make anybody believe in money that is not there.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use iota_sdk_crypto::validator::{CommitteeChainVerifier, ValidatorCommitteeSignatureVerifier};
use iota_sdk_types::{TransactionDigest, TransactionEffects, ValidatorCommittee};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::hash::labelled;
use sdpp_rail::{RailError, Store};

use crate::limits;
use crate::node::Certified;
use crate::nodes::Nodes;
use crate::receipt::{Receipt, read};

/// Prefix of the committees that are kept.
const KEPT: &str = "iota/committee/";

/// The committee of validators that is trusted, and those that it has elected since.
pub struct Committee {
    /// Of the newest epoch that was reached.
    chain: Mutex<CommitteeChainVerifier>,
    /// Committees that were passed on the way, by epoch: what they signed counts.
    passed: Mutex<BTreeMap<u64, ValidatorCommittee>>,
    /// Where they are kept, so that trust is given once.
    store: Option<Mutex<Box<dyn Store>>>,
    is_first: bool,
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

const NO_SIGNATURES: RailError = RailError::Declined(
    "validators were trusted here before, and no node that is named shows their signatures: name one over gRPC (grpcs://…), or move \
     the committee's file away to believe nodes from here on",
);
const BAD_STORE: RailError = RailError::Dishonest("the store of committees holds something else");

/// Each epoch takes the place of one that is long over.
fn slot_of(epoch: u64) -> String {
    let slot = epoch.checked_rem(limits::COMMITTEES_MAX as u64).unwrap_or(0);
    format!("{KEPT}{slot}")
}

impl Committee {
    /// Begins with a committee that is trusted: usually that of the genesis.
    ///
    /// # Errors
    /// [`BadCommittee`].
    pub fn trusted(committee: ValidatorCommittee) -> Result<Self, BadCommittee> {
        let chain = CommitteeChainVerifier::new(committee).map_err(|_| BadCommittee)?;
        Ok(Self { chain: Mutex::new(chain), passed: Mutex::default(), store: None, is_first: false })
    }

    /// The committees that this store has; where it has none, the one that the nodes name now, which is trusted from then on.
    /// None where no wire to the nodes carries signatures, and none ever did.
    ///
    /// # Errors
    /// [`RailError`]: `Unavailable` where such a node does not answer; `Declined` where there was one and is none any more; `Dishonest`
    /// where the nodes name different ones, or the store holds something else.
    pub async fn of_nodes(nodes: &Nodes, store: Box<dyn Store>) -> Result<Option<Self>, RailError> {
        let kept = store.heads(KEPT, None, limits::COMMITTEES_MAX);
        let kept = kept.map_err(|_| RailError::Unavailable)?;
        let read = |(_, value): &(String, Vec<u8>)| read::<ValidatorCommittee>(value, limits::COMMITTEE_BYTES_MAX);
        let mut kept: Vec<ValidatorCommittee> =
            kept.iter().map(read).collect::<Result<_, _>>().map_err(|_| BAD_STORE)?;
        kept.sort_by_key(|committee| committee.epoch);
        let is_first = kept.is_empty();
        if is_first {
            let Some(named) = nodes.committee().await? else { return Ok(None) };
            kept.push(named);
        } else if !nodes.carry_signatures() {
            return Err(NO_SIGNATURES);
        }
        let newest = kept.pop().ok_or(BAD_STORE)?;
        let passed = kept.into_iter().map(|committee| (committee.epoch, committee)).collect();
        let chain = CommitteeChainVerifier::new(newest.clone()).map_err(|_| BAD_STORE)?;
        let (chain, passed) = (Mutex::new(chain), Mutex::new(passed));
        let committee = Self { chain, passed, store: Some(Mutex::new(store)), is_first };
        if is_first {
            committee.keep(&newest)?;
        }
        Ok(Some(committee))
    }

    /// Whether nobody vouches for it but the nodes that named it just now.
    pub const fn is_first(&self) -> bool {
        self.is_first
    }

    /// The newest epoch that was reached, and a digest of its committee that people can compare.
    pub fn fingerprint(&self) -> (u64, String) {
        let chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let committee = bcs::to_bytes(chain.committee()).unwrap_or_default();
        (chain.epoch(), Bytes32(labelled("SDPP/2 iota committee", &[&committee])).to_string())
    }

    /// Keeps a committee durably.
    fn keep(&self, committee: &ValidatorCommittee) -> Result<(), RailError> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = bcs::to_bytes(committee).map_err(|_| BAD_STORE)?;
        let written = store.put(&slot_of(committee.epoch), &bytes).and_then(|()| store.flush());
        written.map_err(|_| RailError::Unavailable)
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
                // Whoever has trusted a later one cannot tell.
                return Err(RailError::Unavailable);
            }
            let ends = nodes.signed(|node| node.epoch_end(at)).await;
            if ends.is_empty() {
                return Err(RailError::Unavailable);
            }
            let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
            if chain.epoch() != at {
                continue;
            }
            let before = chain.committee().clone();
            if !ends.iter().any(|end| chain.verify_epoch_close(end).is_ok()) {
                return Err(DISHONEST);
            }
            let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
            passed.insert(at, before);
            if passed.len() >= limits::COMMITTEES_MAX {
                passed.pop_first();
            }
            self.keep(chain.committee())?;
        }
    }

    /// Whether the validators have signed the checkpoint of a receipt, and it holds this transaction with these effects. One node
    /// that shows so is enough, whatever the others show.
    ///
    /// # Errors
    /// [`RailError`]: `Dishonest` where all that nodes show is a lie, `Unavailable` where no node shows signatures.
    pub async fn confirm(&self, nodes: &Nodes, receipt: &Receipt, digest: &TransactionDigest) -> Result<(), RailError> {
        let number = receipt.checkpoint.ok_or(RailError::Unavailable)?;
        let shown = nodes.signed(|node| node.certified(number)).await;
        if shown.is_empty() {
            tracing::error!("no node shows the validators' signatures: JSON-RPC does not carry them");
        }
        let mut worst = None;
        for certified in shown {
            match self.confirm_by(nodes, &certified, (number, receipt, digest)).await {
                Ok(()) => return Ok(()),
                Err(error) if worst.is_none() || error == RailError::Unavailable => worst = Some(error),
                Err(_) => {}
            }
        }
        Err(worst.unwrap_or(RailError::Unavailable))
    }

    async fn confirm_by(
        &self,
        nodes: &Nodes,
        certified: &Certified,
        (number, receipt, digest): (u64, &Receipt, &TransactionDigest),
    ) -> Result<(), RailError> {
        let committee = self.reach(nodes, certified.summary.checkpoint.epoch).await?;
        if certified.summary.checkpoint.sequence_number != number {
            return Err(DISHONEST);
        }
        holds(committee, certified, receipt, digest)
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

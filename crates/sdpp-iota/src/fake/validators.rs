//! Validators of the fake network, which sign what is in it, and the wire that carries their signatures.

use std::sync::Arc;

use iota_sdk_crypto::bls12381::Bls12381PrivateKey;
use iota_sdk_crypto::validator::ValidatorCommitteeSignatureAggregator;
use iota_sdk_types::{
    Address, CheckpointContents, CheckpointContentsV1, CheckpointSummary, CheckpointTransactionInfo, EndOfEpochData,
    GasCostSummary, SenderSignedTransaction, SignedCheckpointSummary, Transaction, TransactionDigest,
    ValidatorCommittee, ValidatorCommitteeMember,
};

use super::FakeNetwork;
use crate::json::JsonRpc;
use crate::node::{Answer, CallError, Certified, Coins, Estimate, Transport};
use crate::receipt::Receipt;

/// Keys of validators, of equal weight.
#[derive(Clone)]
pub struct FakeValidators {
    keys: Arc<Vec<Bls12381PrivateKey>>,
}

impl FakeValidators {
    /// Four of them, whose keys begin with this byte.
    pub fn new(seed: u8) -> Self {
        let key = |number: u8| {
            Bls12381PrivateKey::new([seed, number, 1, 2, 3, 4, 5, 6].repeat(4).try_into().unwrap_or([1; 32]))
        };
        Self { keys: Arc::new((0..4).filter_map(|number| key(number).ok()).collect()) }
    }

    /// The committee that they are in an epoch.
    pub fn committee(&self, epoch: u64) -> ValidatorCommittee {
        let member = |key: &Bls12381PrivateKey| ValidatorCommitteeMember { public_key: key.public_key(), stake: 1 };
        ValidatorCommittee { epoch, members: self.keys.iter().map(member).collect() }
    }

    /// Signed by so many of them.
    fn certify(&self, checkpoint: CheckpointSummary, signers: usize) -> Option<SignedCheckpointSummary> {
        let committee = self.committee(checkpoint.epoch);
        let mut signatures =
            ValidatorCommitteeSignatureAggregator::new_checkpoint_summary(committee, &checkpoint).ok()?;
        for key in self.keys.iter().take(signers) {
            signatures.add_signature(key.sign_checkpoint_summary(&checkpoint)).ok()?;
        }
        Some(SignedCheckpointSummary { signature: signatures.finish().ok()?, checkpoint })
    }
}

/// A wire to the fake network that carries signatures: those of `validators`, whoever really decides there.
pub struct FakeSigned {
    rpc: JsonRpc,
    network: Arc<FakeNetwork>,
    validators: FakeValidators,
}

impl FakeSigned {
    /// Over the recorded JSON-RPC, and with the word of these validators.
    pub fn new(network: &Arc<FakeNetwork>, validators: FakeValidators) -> Self {
        Self { rpc: JsonRpc::new(network.line()), network: network.clone(), validators }
    }

    /// The network.
    pub(super) const fn network(&self) -> &Arc<FakeNetwork> {
        &self.network
    }

    /// The committee of an epoch.
    pub(super) fn committee_of(&self, epoch: u64) -> ValidatorCommittee {
        self.validators.committee(epoch)
    }

    /// The last checkpoint that an epoch has so far.
    pub(super) fn last_of(&self, epoch: u64) -> Option<u64> {
        let of = |one: &(u64, Vec<TransactionDigest>)| one.0 == epoch;
        self.network.lock().checkpoints.iter().rposition(of).map(|last| last as u64)
    }

    /// Whether a checkpoint is the last one of an epoch that is over.
    pub(super) fn is_epoch_end(&self, number: u64) -> bool {
        let (now, epoch) = {
            let ledger = self.network.lock();
            let of = usize::try_from(number).ok().and_then(|number| ledger.checkpoints.get(number));
            (ledger.epoch, of.map(|of| of.0))
        };
        epoch.is_some_and(|epoch| epoch < now && self.last_of(epoch) == Some(number))
    }

    /// A checkpoint that ends its epoch.
    pub(super) fn ended(&self, number: u64) -> Option<Certified> {
        let (summary, contents) = self.summary(number, true)?;
        self.validators.certify(summary, 3).map(|summary| Certified { summary, contents })
    }

    fn summary(&self, number: u64, next: bool) -> Option<(CheckpointSummary, CheckpointContents)> {
        let ledger = self.network.lock();
        let (epoch, digests) = ledger.checkpoints.get(usize::try_from(number).ok()?)?;
        let infos = digests.iter().filter_map(|digest| {
            let done = ledger.done.get(digest)?;
            Some(CheckpointTransactionInfo {
                transaction: *digest,
                effects: done.effects.digest(),
                signatures: done.signed.signed_transaction().signatures().to_vec(),
            })
        });
        let contents = CheckpointContents::new_v1(CheckpointContentsV1::new(infos.collect()));
        let end = next.then(|| EndOfEpochData {
            next_epoch_committee: self.validators.committee(*epoch).members,
            next_epoch_protocol_version: 1,
            epoch_commitments: Vec::new(),
            epoch_supply_change: 0,
        });
        let (gas, at) = (GasCostSummary::default(), 1_000_u64.saturating_mul(number));
        let (count, digest) = (digests.len() as u64, contents.digest());
        Some((
            CheckpointSummary::new(*epoch, number, count, digest, None, gas, at, Vec::new(), end, Vec::new()),
            contents,
        ))
    }
}

impl Transport for FakeSigned {
    fn name(&self) -> String {
        self.rpc.name()
    }

    fn chain(&self) -> Answer<'_, String> {
        self.rpc.chain()
    }

    fn epoch(&self) -> Answer<'_, u64> {
        self.rpc.epoch()
    }

    fn gas_price(&self) -> Answer<'_, u64> {
        self.rpc.gas_price()
    }

    fn coins<'a>(&'a self, owner: &'a Address, page: Option<String>) -> Answer<'a, Coins> {
        self.rpc.coins(owner, page)
    }

    fn estimate<'a>(&'a self, transaction: &'a Transaction) -> Answer<'a, Estimate> {
        self.rpc.estimate(transaction)
    }

    fn execute<'a>(&'a self, signed: &'a SenderSignedTransaction) -> Answer<'a, Vec<u8>> {
        self.rpc.execute(signed)
    }

    fn transaction<'a>(&'a self, digest: &'a TransactionDigest) -> Answer<'a, Option<Receipt>> {
        self.rpc.transaction(digest)
    }

    fn carries_signatures(&self) -> bool {
        true
    }

    fn certified(&self, checkpoint: u64) -> Answer<'_, Option<Certified>> {
        Box::pin(async move {
            let (summary, contents) = self.summary(checkpoint, false).ok_or(CallError::Lost)?;
            let summary = self.validators.certify(summary, 3).ok_or(CallError::Malformed("no quorum"))?;
            Ok(Some(Certified { summary, contents }))
        })
    }

    fn epoch_end(&self, epoch: u64) -> Answer<'_, Option<SignedCheckpointSummary>> {
        Box::pin(async move {
            let last = self.last_of(epoch).ok_or(CallError::Lost)?;
            Ok(Some(self.ended(last).ok_or(CallError::Malformed("no quorum"))?.summary))
        })
    }
}

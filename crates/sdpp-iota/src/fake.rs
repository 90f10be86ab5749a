//! A fake: a network of one node in memory that speaks the recorded JSON-RPC. It decodes and verifies transactions with the
//! SDK's types and keeps coins and their versions; everything else of a network it has not. Nothing on it is worth anything.
//!
//! ```text
//! FakeNetwork ◄── FakeLine (what becomes of each question) ◄── JsonRpc, as to a real node
//! ```

mod answer;
mod execute;
mod grpc;
mod station;
mod validators;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iota_sdk_types::{Address, ObjectDigest, ObjectId, SenderSignedTransaction, TransactionDigest, TransactionEffects};

pub use grpc::FakeGrpc;
pub use station::FakeStation;
pub use validators::{FakeSigned, FakeValidators};

use crate::json::{Body, Line};
use crate::node::CallError;

/// Nanos of storage that a coin takes, as a real network has it.
pub(crate) const STORAGE: u64 = 980_400;

/// What becomes of a question.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// Nobody is there.
    Refused,
    /// The node has too much to do.
    Busy,
    /// It gets lost on the way.
    RequestLost,
    /// Its answer gets lost on the way.
    AnswerLost,
    /// Its answer is changed.
    Lied(fn(&mut serde_json::Value)),
    /// Its result is this.
    Replaced(serde_json::Value),
}

/// Decides what becomes of a question, by its method.
pub type Way = Arc<dyn Fn(&str) -> Fate + Send + Sync>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FakeCoin {
    pub(crate) owner: Address,
    pub(crate) version: u64,
    pub(crate) digest: ObjectDigest,
    pub(crate) balance: u64,
}

pub(crate) struct FakeDone {
    pub(crate) signed: SenderSignedTransaction,
    pub(crate) effects: TransactionEffects,
    pub(crate) checkpoint: Option<u64>,
    /// Looks until it is in a checkpoint.
    pub(crate) waits: u32,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) chain: String,
    pub(crate) epoch: u64,
    pub(crate) gas_price: u64,
    pub(crate) coins: BTreeMap<ObjectId, FakeCoin>,
    pub(crate) done: BTreeMap<TransactionDigest, FakeDone>,
    /// What is in each checkpoint, with its epoch.
    pub(crate) checkpoints: Vec<(u64, Vec<TransactionDigest>)>,
    /// Which transaction each version of a coin is locked by, in which epoch.
    pub(crate) locked: BTreeMap<(ObjectId, u64, u64), TransactionDigest>,
    pub(crate) equivocations: usize,
    pub(crate) late: u32,
    pub(crate) burned: u64,
    pub(crate) issued: u64,
    pub(crate) pruned: BTreeSet<TransactionDigest>,
    pub(crate) granted: Vec<(ObjectId, u64)>,
}

/// The network.
pub struct FakeNetwork {
    ledger: Mutex<Ledger>,
}

impl FakeNetwork {
    /// With this identifier.
    pub fn new(chain: &str) -> Arc<Self> {
        let mut ledger = Ledger { chain: chain.into(), gas_price: 1000, ..Ledger::default() };
        ledger.checkpoints.push((0, Vec::new()));
        Arc::new(Self { ledger: Mutex::new(ledger) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request's body, as a node does over HTTP.
    pub fn answer(&self, body: &[u8]) -> Vec<u8> {
        answer::answer(&mut self.lock(), body).to_string().into_bytes()
    }

    /// A line to it on which nothing happens.
    pub fn line(self: &Arc<Self>) -> Arc<dyn Line> {
        self.line_with(Arc::new(|_| Fate::Answered))
    }

    /// A line to it.
    pub fn line_with(self: &Arc<Self>, way: Way) -> Arc<dyn Line> {
        Arc::new(FakeLine { network: self.clone(), way })
    }

    /// Gives an account a coin out of nothing.
    pub fn grant(&self, owner: Address, balance: u64) {
        let mut ledger = self.lock();
        let count = ledger.coins.len() as u64;
        let id = execute::fresh_id(b"grant", count);
        ledger.put(id, FakeCoin { owner, version: 1, digest: ObjectDigest::ZERO, balance });
        ledger.issued = ledger.issued.saturating_add(balance);
        ledger.granted.push((id, balance));
    }

    /// What a node lists of an account that was only granted something: the coins as they were then.
    pub fn coins_at_first(&self, owner: Address) -> serde_json::Value {
        let ledger = self.lock();
        let listed = |(id, balance): &(ObjectId, u64)| {
            let coin = FakeCoin { owner, version: 1, digest: ObjectDigest::ZERO, balance: *balance };
            answer::listed(id, &coin.stamped(id))
        };
        let data: Vec<_> = ledger.granted.iter().map(listed).collect();
        serde_json::json!({ "data": data, "nextCursor": null, "hasNextPage": false })
    }

    /// Nanos that an account has.
    pub fn balance(&self, owner: Address) -> u64 {
        self.lock().coins.values().filter(|coin| coin.owner == owner).map(|coin| coin.balance).sum()
    }

    /// Coins that an account has.
    pub fn coins(&self, owner: Address) -> usize {
        self.lock().coins.values().filter(|coin| coin.owner == owner).count()
    }

    /// Whether all that was issued is there, or was spent for gas.
    pub fn is_conserved(&self) -> bool {
        let ledger = self.lock();
        let held: u64 = ledger.coins.values().map(|coin| coin.balance).sum();
        held.checked_add(ledger.burned) == Some(ledger.issued)
    }

    /// Transactions that were executed.
    pub fn executed(&self) -> usize {
        self.lock().done.len()
    }

    /// How often a second transaction came with a version of a coin that another one had locked in the same epoch.
    pub fn equivocations(&self) -> usize {
        self.lock().equivocations
    }

    /// From now on a transaction is in a checkpoint after so many looks at it.
    pub fn set_lateness(&self, looks: u32) {
        self.lock().late = looks;
    }

    /// The next epoch begins; with this price of gas.
    pub fn next_epoch(&self, gas_price: u64) {
        let mut ledger = self.lock();
        ledger.epoch = ledger.epoch.saturating_add(1);
        ledger.gas_price = gas_price;
        let epoch = ledger.epoch;
        ledger.checkpoints.push((epoch, Vec::new()));
    }

    /// Forgets all transactions, as nodes do after some epochs.
    pub fn prune(&self) {
        let mut ledger = self.lock();
        let all: Vec<_> = ledger.done.keys().copied().collect();
        ledger.pruned.extend(all);
    }

    /// Everything is in a checkpoint.
    pub fn finalise(&self) {
        let mut ledger = self.lock();
        let late: Vec<_> =
            ledger.done.iter().filter(|(_, done)| done.checkpoint.is_none()).map(|(digest, _)| *digest).collect();
        for digest in late {
            ledger.checkpoint(digest);
        }
    }
}

struct FakeLine {
    network: Arc<FakeNetwork>,
    way: Way,
}

impl Line for FakeLine {
    fn name(&self) -> String {
        "a fake network".into()
    }

    fn post(&self, body: Vec<u8>, _: bool) -> Body<'_> {
        let answer = || answer::answer(&mut self.network.lock(), &body);
        let method = answer::method_of(&body);
        let answered = match (self.way)(&method) {
            Fate::Answered => Ok(answer()),
            Fate::Refused => Err(CallError::Unreachable),
            Fate::Busy => Err(CallError::Busy),
            Fate::RequestLost => Err(CallError::Lost),
            Fate::AnswerLost => {
                drop(answer());
                Err(CallError::Lost)
            }
            Fate::Replaced(result) => {
                let mut told = answer();
                if let Some(told) = told.as_object_mut() {
                    told.insert("result".into(), result);
                }
                Ok(told)
            }
            Fate::Lied(change) => {
                let mut told = answer();
                change(&mut told);
                Ok(told)
            }
        };
        Box::pin(std::future::ready(answered.map(|told| told.to_string().into_bytes())))
    }
}

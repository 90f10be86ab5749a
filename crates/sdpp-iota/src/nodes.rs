//! Several nodes of one network as one: whoever answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use iota_sdk_types::{Address, SenderSignedTransaction, Transaction, TransactionDigest, ValidatorCommittee};
use sdpp_rail::RailError;
use tokio::time::{sleep, timeout};

use crate::limits;
use crate::node::{Answer, CallError, Coin, Estimate, Transport};
use crate::receipt::Receipt;

struct Endpoint {
    transport: Arc<dyn Transport>,
    /// It has said of which network it is, and that was the right one.
    is_checked: AtomicBool,
}

/// The nodes of a network, asked one after another until one answers.
pub struct Nodes {
    chain: String,
    endpoints: Vec<Endpoint>,
    /// The one that answered last.
    current: AtomicUsize,
}

/// What became of a request to execute a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Executed {
    /// Its effects (BCS). They are one node's word.
    Effects(Vec<u8>),
    /// A node refuses it now, and says why.
    Refused(String),
}

impl Nodes {
    /// These nodes, each of which has to be of this network.
    pub fn new(chain: &str, transports: Vec<Arc<dyn Transport>>) -> Self {
        let endpoint = |transport| Endpoint { transport, is_checked: AtomicBool::new(false) };
        let endpoints = transports.into_iter().map(endpoint).collect();
        Self { chain: chain.to_owned(), endpoints, current: AtomicUsize::new(0) }
    }

    /// Nodes of one network, which the first that answers names; or `wanted`.
    ///
    /// # Errors
    /// [`RailError::Unavailable`] where no node answers, [`RailError::Declined`] where those that do are of another network.
    pub async fn connect(wanted: Option<&str>, transports: Vec<Arc<dyn Transport>>) -> Result<Self, RailError> {
        let mut error = RailError::Unavailable;
        for transport in &transports {
            match transport.chain().await {
                Ok(chain) if wanted.is_none_or(|wanted| wanted == chain) => return Ok(Self::new(&chain, transports)),
                Ok(_) => error = RailError::Declined("the node is of another network"),
                Err(silent) => tracing::debug!(error = %silent, node = transport.name(), "no answer"),
            }
        }
        Err(error)
    }

    /// The network's identifier.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Whether a node is of this network. What is of another one is not asked.
    async fn check(&self, endpoint: &Endpoint) -> Result<(), CallError> {
        if endpoint.is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let chain = endpoint.transport.chain().await?;
        if chain != self.chain {
            let (name, wanted) = (endpoint.transport.name(), &self.chain);
            tracing::error!("{name} is of the network {chain}, not of {wanted}: it is left out");
            return Err(CallError::Unreachable);
        }
        endpoint.is_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Asks one after another until one answers. One that says no has said so only for itself: the others are asked, too. The
    /// error is the worst that was seen: an answer that got lost outweighs a refusal, and that nodes that were not reached.
    async fn ask<'a, T>(&'a self, question: impl Fn(&'a dyn Transport) -> Answer<'a, T>) -> Result<T, CallError> {
        let (mut worst, mut pause) = (CallError::Unreachable, limits::BACK_OFF);
        for round in 0..limits::ROUNDS_MAX {
            if round > 0 {
                sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
            let first = self.current.load(Ordering::Relaxed);
            for step in 0..self.endpoints.len() {
                let index = first.wrapping_add(step).checked_rem(self.endpoints.len()).unwrap_or(0);
                let Some(endpoint) = self.endpoints.get(index) else { continue };
                let answer = match self.check(endpoint).await {
                    Ok(()) => question(endpoint.transport.as_ref()).await,
                    // Nothing was asked but which network it is of.
                    Err(_) => Err(CallError::Unreachable),
                };
                match answer {
                    Ok(answer) => {
                        self.current.store(index, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(error) => {
                        tracing::debug!(%error, node = endpoint.transport.name(), "no answer");
                        if weight(&error) > weight(&worst) {
                            worst = error;
                        }
                    }
                }
            }
            // Asked again it says the same.
            if matches!(worst, CallError::Refused(_)) {
                break;
            }
        }
        Err(worst)
    }

    /// The same of what changes nothing, so that whatever goes wrong is an outage.
    async fn look<'a, T>(&'a self, question: impl Fn(&'a dyn Transport) -> Answer<'a, T>) -> Result<T, RailError> {
        self.ask(question).await.map_err(|error| {
            tracing::debug!(%error, "the nodes do not answer");
            RailError::Unavailable
        })
    }

    /// Makes sure that some node of this network answers.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn reach(&self) -> Result<(), RailError> {
        self.look(|node| node.chain()).await.map(drop)
    }

    /// The epoch, and the price of gas in it: those that most nodes say, so that one alone is not believed where there are more.
    /// Who is slow is not waited for once another one has answered.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn prices(&self) -> Result<(u64, u64), RailError> {
        let mut asked: FuturesUnordered<_> = self.endpoints.iter().map(|endpoint| self.prices_by(endpoint)).collect();
        let (mut said, mut patience): (Vec<(u64, u64)>, _) = (Vec::new(), limits::CALL_TIMEOUT.saturating_mul(4));
        while let Ok(Some(next)) = timeout(patience, asked.next()).await {
            if let Some(next) = next {
                said.push(next);
                patience = limits::OTHERS_WAIT;
            }
        }
        if said.is_empty() {
            return self.look(|node| Box::pin(prices_of(node))).await;
        }
        let epoch = newest(&most(said.iter().map(|(epoch, _)| *epoch)));
        let prices = most(said.iter().filter(|(of, _)| *of == epoch).map(|(_, price)| *price));
        Ok((epoch, prices.first().copied().unwrap_or(0)))
    }

    async fn prices_by(&self, endpoint: &Endpoint) -> Option<(u64, u64)> {
        self.check(endpoint).await.ok()?;
        prices_of(endpoint.transport.as_ref()).await.ok()
    }

    /// All coins of an account, as one node lists them.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn coins(&self, owner: &Address) -> Result<Vec<Coin>, RailError> {
        self.look(|node| Box::pin(all_coins(node, owner))).await
    }

    /// What each node that answers sees of a transaction and of its sender's coins.
    pub(crate) async fn views(&self, digest: &TransactionDigest, owner: &Address) -> Vec<View> {
        let asked = self.endpoints.iter().map(|endpoint| async move {
            self.check(endpoint).await.ok()?;
            let node = endpoint.transport.as_ref();
            // The epoch first: what was executed in an earlier one is known to who has come so far.
            let epoch = node.epoch().await.ok()?;
            let found = node.transaction(digest).await.ok()?;
            let found = found.filter(|receipt| receipt.digest() == Some(*digest));
            Some(View { epoch, found, coins: all_coins(node, owner).await.ok()? })
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// What a transaction would cost.
    ///
    /// # Errors
    /// [`CallError`]: `Refused` where it would fail.
    pub async fn estimate(&self, transaction: &Transaction) -> Result<Estimate, CallError> {
        self.ask(|node| node.estimate(transaction)).await
    }

    /// Has a transaction executed. Safe to ask again.
    ///
    /// # Errors
    /// [`RailError::Unavailable`] where no node was asked, [`RailError::Unknown`] where the answer got lost.
    pub async fn execute(&self, signed: &SenderSignedTransaction) -> Result<Executed, RailError> {
        match self.ask(|node| node.execute(signed)).await {
            Ok(effects) => Ok(Executed::Effects(effects)),
            Err(CallError::Refused(why)) => Ok(Executed::Refused(why)),
            Err(CallError::Unreachable | CallError::Busy) => Err(RailError::Unavailable),
            Err(CallError::Lost | CallError::Malformed(_)) => Err(RailError::Unknown),
        }
    }

    /// A transaction that was executed, as the first node has it that knows its checkpoint, else as one that does not; none
    /// where a node does not know it and no other one does.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn find(&self, digest: &TransactionDigest) -> Result<Option<Receipt>, RailError> {
        let found = self.find_all(digest).await?;
        let is_final = |receipt: &&Receipt| receipt.checkpoint.is_some();
        Ok(found.iter().find(is_final).or(found.first()).cloned())
    }

    /// The same as each node has it, where they differ: who verifies them takes the one that holds. What is of another
    /// transaction is no answer.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn find_all(&self, digest: &TransactionDigest) -> Result<Vec<Receipt>, RailError> {
        let (mut found, mut was_answered): (Vec<Receipt>, _) = (Vec::new(), false);
        for endpoint in &self.endpoints {
            if self.check(endpoint).await.is_err() {
                continue;
            }
            let node = endpoint.transport.as_ref();
            match node.transaction(digest).await {
                Ok(Some(receipt)) if receipt.digest() != Some(*digest) => {
                    tracing::error!(node = node.name(), "a node answers with another transaction");
                }
                Ok(Some(receipt)) if found.contains(&receipt) => {}
                Ok(Some(receipt)) => found.push(receipt),
                Ok(None) => was_answered = true,
                Err(error) => tracing::debug!(%error, node = node.name(), "no answer"),
            }
        }
        if found.is_empty() && !was_answered { Err(RailError::Unavailable) } else { Ok(found) }
    }

    /// The committee of the current epoch, as all nodes name it whose wire carries signatures; none where there is no such one.
    ///
    /// # Errors
    /// [`RailError`]: `Unavailable` where none of these answers, or an epoch ends just now; `Dishonest` where two name different
    /// ones.
    pub(crate) async fn committee(&self) -> Result<Option<ValidatorCommittee>, RailError> {
        if !self.carry_signatures() {
            return Ok(None);
        }
        let named = self.signed(|node| node.committee()).await;
        let (first, rest) = named.split_first().ok_or(RailError::Unavailable)?;
        match rest.iter().find(|other| *other != first) {
            None => Ok(Some(first.clone())),
            Some(other) if other.epoch == first.epoch => {
                Err(RailError::Dishonest("two nodes name different validators"))
            }
            Some(_) => Err(RailError::Unavailable),
        }
    }

    /// Whether the wire to a node carries the validators' signatures.
    pub fn carry_signatures(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.transport.carries_signatures())
    }

    /// What all nodes show whose wire carries signatures: who looks at these needs no trust in any of them.
    pub(crate) async fn signed<'a, T>(
        &'a self,
        question: impl Fn(&'a dyn Transport) -> Answer<'a, Option<T>>,
    ) -> Vec<T> {
        let mut shown = Vec::new();
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.transport.carries_signatures()) {
            if self.check(endpoint).await.is_err() {
                continue;
            }
            match question(endpoint.transport.as_ref()).await {
                Ok(found) => shown.extend(found),
                Err(error) => tracing::debug!(%error, node = endpoint.transport.name(), "no answer"),
            }
        }
        shown
    }
}

/// What one node sees, all of it the same node's, so that it belongs together.
pub(crate) struct View {
    /// Its epoch, before it said the rest.
    pub(crate) epoch: u64,
    /// The transaction, if it knows it.
    pub(crate) found: Option<Receipt>,
    /// Its sender's coins.
    pub(crate) coins: Vec<Coin>,
}

async fn prices_of(node: &dyn Transport) -> Result<(u64, u64), CallError> {
    Ok((node.epoch().await?, node.gas_price().await?))
}

/// The values that come most often, from the smallest on.
fn most(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
    for value in values {
        let count = counts.entry(value).or_default();
        *count = count.saturating_add(1);
    }
    let most = counts.values().copied().max().unwrap_or(0);
    counts.into_iter().filter(|(_, count)| *count == most).map(|(value, _)| value).collect()
}

/// The newest of these epochs, for nodes fall behind; but not one that is far ahead of the others, for no node comes from the future.
fn newest(epochs: &[u64]) -> u64 {
    let first = epochs.first().copied().unwrap_or(0);
    let near = |epoch: &&u64| epoch.saturating_sub(first) <= limits::EPOCHS_BEHIND_MAX;
    epochs.iter().rev().find(near).copied().unwrap_or(first)
}

async fn all_coins(node: &dyn Transport, owner: &Address) -> Result<Vec<Coin>, CallError> {
    let (mut all, mut page) = (Vec::new(), None);
    while all.len() < limits::COINS_MAX {
        let found = node.coins(owner, page).await?;
        // A node that has nothing more to say, and says that it goes on, does not.
        let is_last = found.coins.is_empty() || found.next.is_none();
        all.extend(found.coins);
        page = found.next;
        if is_last {
            break;
        }
    }
    Ok(all)
}

/// How much a failure says of what may be done.
const fn weight(error: &CallError) -> u8 {
    match error {
        CallError::Unreachable => 0,
        CallError::Busy => 1,
        CallError::Refused(_) => 2,
        CallError::Lost | CallError::Malformed(_) => 3,
    }
}

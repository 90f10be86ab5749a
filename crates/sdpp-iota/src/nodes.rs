//! Several nodes of one network as one: whoever answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use iota_sdk_types::{Address, SenderSignedTransaction, Transaction, TransactionDigest};
use sdpp_rail::RailError;
use tokio::time::sleep;

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
    /// [`RailError::Unavailable`] where no node answers.
    pub async fn connect(wanted: Option<&str>, transports: Vec<Arc<dyn Transport>>) -> Result<Self, RailError> {
        for transport in &transports {
            let named = match wanted {
                Some(wanted) => Ok(wanted.to_owned()),
                None => transport.chain().await,
            };
            if let Ok(chain) = named {
                let nodes = Self::new(&chain, transports);
                nodes.reach().await?;
                return Ok(nodes);
            }
        }
        Err(RailError::Unavailable)
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

    /// Asks one after another until one answers, or says no. The error is the worst that was seen: an answer that got lost
    /// outweighs nodes that were not reached.
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
                let error = match answer {
                    Err(error @ (CallError::Unreachable | CallError::Busy | CallError::Lost)) => error,
                    Err(error @ CallError::Malformed(_)) => error,
                    clear => {
                        self.current.store(index, Ordering::Relaxed);
                        return clear;
                    }
                };
                tracing::debug!(%error, node = endpoint.transport.name(), "no answer");
                if matches!(worst, CallError::Unreachable | CallError::Busy) {
                    worst = error;
                }
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

    /// The epoch, and the price of gas in it. Of one node, so that they belong together.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn prices(&self) -> Result<(u64, u64), RailError> {
        self.look(|node| Box::pin(async move { Ok((node.epoch().await?, node.gas_price().await?)) })).await
    }

    /// All coins of an account.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn coins(&self, owner: &Address) -> Result<Vec<Coin>, RailError> {
        let (mut all, mut page) = (Vec::new(), None);
        loop {
            let next = page.clone();
            let found = self.look(|node| node.coins(owner, next.clone())).await?;
            all.extend(found.coins);
            page = found.next;
            if page.is_none() || all.len() >= limits::COINS_MAX {
                return Ok(all);
            }
        }
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

    /// A transaction that was executed; none where a node does not know it and no other one does.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn find(&self, digest: &TransactionDigest) -> Result<Option<Receipt>, RailError> {
        let mut was_answered = false;
        for endpoint in &self.endpoints {
            if self.check(endpoint).await.is_err() {
                continue;
            }
            match endpoint.transport.transaction(digest).await {
                Ok(Some(receipt)) => return Ok(Some(receipt)),
                Ok(None) => was_answered = true,
                Err(error) => tracing::debug!(%error, node = endpoint.transport.name(), "no answer"),
            }
        }
        if was_answered { Ok(None) } else { Err(RailError::Unavailable) }
    }

    /// The same, and where nobody knows it the newest epoch that a node has seen which does not.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn transaction(&self, digest: &TransactionDigest) -> Result<Result<Receipt, u64>, RailError> {
        let mut newest = None;
        for endpoint in &self.endpoints {
            if self.check(endpoint).await.is_err() {
                continue;
            }
            let node = endpoint.transport.as_ref();
            // The epoch first: what was executed in an earlier one is known to a node that has come so far.
            let Ok(epoch) = node.epoch().await else { continue };
            match node.transaction(digest).await {
                Ok(Some(receipt)) => return Ok(Ok(receipt)),
                Ok(None) => newest = newest.max(Some(epoch)),
                Err(_) => {}
            }
        }
        newest.map(Err).ok_or(RailError::Unavailable)
    }

    /// Asks all nodes in turn for what carries signatures, which needs no trust in any of them.
    pub(crate) async fn signed<'a, T>(
        &'a self,
        question: impl Fn(&'a dyn Transport) -> Answer<'a, Option<T>>,
    ) -> Result<Option<T>, RailError> {
        let mut was_answered = false;
        for endpoint in &self.endpoints {
            match question(endpoint.transport.as_ref()).await {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => was_answered = true,
                Err(error) => tracing::debug!(%error, node = endpoint.transport.name(), "no answer"),
            }
        }
        if was_answered { Ok(None) } else { Err(RailError::Unavailable) }
    }
}

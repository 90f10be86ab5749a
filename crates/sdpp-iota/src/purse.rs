//! An account's money: which coin pays what, once.
//!
//! A version of a coin is signed away once, durably, before the transaction leaves; after that the same bytes are sent again
//! until their end is known. A transaction is good in the epoch in which it was signed and in no other: behind that, and
//! unknown to a node that has come so far, it is void for sure, and what it was for may be done by another one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iota_sdk_types::{
    Address, ExecutionStatus, ObjectId, ObjectReference, Transaction, TransactionDigest, TransactionEffects,
};
use sdpp_proto::codec::Bytes32;
use sdpp_rail::{RailError, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::coins::{Picked, Pool};
use crate::deed::{Deed, Gas, build, gas_of};
use crate::limits;
use crate::node::{CallError, Coin, Estimate};
use crate::nodes::{Executed, Nodes};
use crate::receipt::{Receipt, executed, read};
use crate::sent::{Fate, Sent, Sheets, what};
use crate::wallet::Wallet;

/// The epoch, and the price of gas in it.
#[derive(Clone, Copy)]
struct Prices {
    epoch: u64,
    gas: u64,
    until: Option<Instant>,
}

struct Inside {
    sheets: Sheets,
    pool: Pool,
    prices: Option<Prices>,
    /// What a window's budget has to be, by a dry run.
    budget: Option<u64>,
}

/// Spends an account's coins. There is one at a time for a key: its store is its own.
pub struct Purse {
    nodes: Arc<Nodes>,
    wallet: Wallet,
    inside: Mutex<Inside>,
    /// A coin came free.
    freed: Notify,
    /// What an earlier life has sent was looked after.
    is_resumed: AtomicBool,
}

/// What became of a deed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spent {
    /// It was done by this transaction.
    Done(TransactionDigest),
    /// It was not done, and what was sent for it never will be; so often it failed on the network, which costs gas.
    Failed(u8),
}

impl Purse {
    /// Of this key. The store keeps what was signed; without it an invoice could be paid twice.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(nodes: Arc<Nodes>, wallet: Wallet, store: Box<dyn Store>) -> Result<Self, StoreError> {
        let sheets = Sheets::open(store)?;
        let pool = Pool::resumed(sheets.coins());
        let inside = Mutex::new(Inside { sheets, pool, prices: None, budget: None });
        Ok(Self { nodes, wallet, inside, freed: Notify::new(), is_resumed: AtomicBool::new(false) })
    }

    /// The account.
    pub fn address(&self) -> Address {
        self.wallet.address()
    }

    /// The nodes that it asks.
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something once, however often it is asked for by this name.
    ///
    /// # Errors
    /// [`RailError`]: `Unknown` where it may be done, and is found by [`look`](Self::look).
    pub async fn spend(&self, name: &str, deed: &Deed) -> Result<Spent, RailError> {
        let known = self.lock().sheets.get(name)?;
        if known.as_ref().is_some_and(|sent| sent.what != what(deed)) {
            return Err(RailError::Declined("the same was paid with other terms"));
        }
        match known {
            Some(Sent { fate: Fate::Done, digest, .. }) => Ok(Spent::Done(TransactionDigest::new(digest.0))),
            Some(Sent { fate: Fate::Void, failed, .. }) if failed >= limits::FAILED_MAX => Ok(Spent::Failed(failed)),
            Some(Sent { fate: Fate::Void, failed, .. }) => self.sign_and_push(name, deed, failed).await,
            Some(sent) => self.push((name, Some(deed)), &sent, true).await,
            None => self.sign_and_push(name, deed, 0).await,
        }
    }

    /// What became of something; none where it was never asked for. What may still be under way is sent again.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn look(&self, name: &str) -> Result<Option<Spent>, RailError> {
        let Some(sent) = self.lock().sheets.get(name)? else { return Ok(None) };
        match sent.fate {
            Fate::Open => self.push((name, None), &sent, true).await.map(Some),
            Fate::Done => Ok(Some(Spent::Done(sent.digest()))),
            Fate::Void => Ok(Some(Spent::Failed(sent.failed))),
        }
    }

    /// Brings to an end what an earlier life has sent.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn resume(&self) -> Result<(), RailError> {
        let names = self.lock().sheets.names();
        for name in names {
            self.look(&name).await?;
        }
        Ok(())
    }

    /// Divides the largest coin, so that as many windows of this amount can be paid at once; nothing where there are so many.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn prepare(&self, windows: u64, amount: u64) -> Result<(), RailError> {
        self.refresh().await?;
        let needed = amount.saturating_add(self.budget(&Deed::Divide(0)));
        let (have, largest) = {
            let inside = self.lock();
            (inside.pool.count(needed) as u64, inside.pool.largest().cloned())
        };
        let Some(largest) = largest.filter(|_| have < windows) else { return Ok(()) };
        // Each part is enough for a window, and the gas of this comes out of it, too.
        let room = largest.balance.saturating_sub(self.budget(&Deed::Divide(0))).checked_div(needed).unwrap_or(0);
        let parts = windows.saturating_sub(have).saturating_add(1).min(room).min(limits::PARTS_MAX);
        if parts < 2 {
            return Ok(());
        }
        let ObjectReference { object_id, version, .. } = largest.reference;
        self.spend(&format!("divide/{object_id}/{}", version.as_u64()), &Deed::Divide(parts)).await.map(drop)
    }

    /// What a window costs now, by a dry run of one with an account's first coin.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn estimate(&self, deed: &Deed) -> Result<Estimate, RailError> {
        let prices = self.prices().await?;
        self.refresh().await?;
        let needed = deed.amount().saturating_add(self.budget(deed));
        let picked = self.lock().pool.pick(needed);
        let Picked::Coins(coins) = picked else { return Err(NOT_ENOUGH) };
        let transaction = self.transaction(deed, &coins, prices)?;
        let found = self.nodes.estimate(&transaction).await;
        let found = found.map_err(|error| match error {
            CallError::Refused(_) => RailError::Declined("a node says that a payment would fail: is the account new?"),
            CallError::Unreachable | CallError::Busy | CallError::Lost | CallError::Malformed(_) => {
                RailError::Unavailable
            }
        })?;
        if matches!(deed, Deed::Pay(_)) {
            self.lock().budget = Some(found.budget.saturating_mul(2).min(limits::BUDGET));
        }
        Ok(found)
    }

    /// All that the account has and this purse knows of, free.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub async fn refresh(&self) -> Result<(), RailError> {
        let coins = self.nodes.coins(&self.address()).await?;
        let mut inside = self.lock();
        let Inside { sheets, pool, .. } = &mut *inside;
        pool.list(coins, |id, version| sheets.is_spent(id, version));
        Ok(())
    }

    /// What is known of a transaction that was executed: what is kept, or what a node has. Once it is in a checkpoint and of
    /// one of our templates it is kept, for nodes drop theirs.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn receipt(&self, digest: &TransactionDigest) -> Result<Option<Receipt>, RailError> {
        let key = Bytes32((*digest).into());
        if let Some(kept) = self.lock().sheets.proof(&key)? {
            return Ok(Some(kept));
        }
        let found = self.nodes.find(digest).await?;
        if let Some(found) = &found
            && executed(found).is_ok_and(|(_, _, of)| of == *digest)
        {
            self.lock().sheets.keep_proof(&key, found)?;
        }
        Ok(found)
    }

    async fn prices(&self) -> Result<Prices, RailError> {
        let known = self.lock().prices;
        if let Some(known) = known.filter(|known| known.until.is_some_and(|until| Instant::now() < until)) {
            return Ok(known);
        }
        let (epoch, gas) = self.nodes.prices().await?;
        let prices = Prices { epoch, gas, until: Instant::now().checked_add(limits::PRICES_FOR) };
        self.lock().prices = Some(prices);
        Ok(prices)
    }

    fn budget(&self, deed: &Deed) -> u64 {
        let known = self.lock().budget;
        match deed {
            Deed::Keep(record) => {
                let bytes = limits::BUDGET_PER_KEPT_BYTE.saturating_mul(record.len() as u64);
                limits::BUDGET.saturating_add(bytes)
            }
            Deed::Divide(parts) => limits::BUDGET.max(limits::BUDGET_PER_PART.saturating_mul(*parts)),
            Deed::Pay(_) => known.unwrap_or(limits::BUDGET),
            Deed::Record(_) | Deed::Send { .. } => limits::BUDGET,
        }
    }

    fn transaction(&self, deed: &Deed, coins: &[Coin], prices: Prices) -> Result<Transaction, RailError> {
        let gas = Gas {
            coins: coins.iter().map(|coin| coin.reference).collect(),
            price: prices.gas,
            budget: self.budget(deed),
            expires: Some(prices.epoch),
        };
        build(self.address(), deed, &gas)
            .map_err(|_| RailError::Declined("the payment cannot be put into a transaction"))
    }

    async fn sign_and_push(&self, name: &str, deed: &Deed, failed: u8) -> Result<Spent, RailError> {
        let sent = self.sign(name, deed, failed).await?;
        self.push((name, Some(deed)), &sent, false).await
    }

    /// Signs a transaction with coins that nothing else has, and keeps it before anybody sees it.
    async fn sign(&self, name: &str, deed: &Deed, failed: u8) -> Result<Sent, RailError> {
        let prices = self.prices().await?;
        let is_division = matches!(deed, Deed::Divide(_));
        let needed = if is_division { 0 } else { deed.amount().saturating_add(self.budget(deed)) };
        let mut has_looked = false;
        loop {
            let freed = self.freed.notified();
            if let Some(sent) = self.try_sign(name, (deed, failed), (needed, prices))? {
                return Ok(sent);
            }
            let picked = self.lock().pool.pick(needed);
            match picked {
                Picked::Coins(_) => {}
                // The account may have more than is known here.
                _ if !has_looked => {
                    has_looked = true;
                    if !self.is_resumed.swap(true, Ordering::SeqCst) {
                        // What is still under way keeps its coins.
                        let _ = self.resume().await;
                    }
                    self.refresh().await?;
                }
                Picked::Wait => timeout(limits::COIN_WAIT, freed).await.map_err(|_| RailError::Unavailable)?,
                Picked::Short => return Err(NOT_ENOUGH),
            }
        }
    }

    fn try_sign(
        &self,
        name: &str,
        (deed, failed): (&Deed, u8),
        (needed, prices): (u64, Prices),
    ) -> Result<Option<Sent>, RailError> {
        let budget = self.budget(deed);
        let mut inside = self.lock();
        // Somebody else has asked for the same meanwhile.
        if let Some(sent) = inside.sheets.get(name)?.filter(|sent| sent.fate != Fate::Void) {
            return Ok(Some(sent));
        }
        let coins = match (deed, inside.pool.pick(needed)) {
            (Deed::Divide(_), _) => inside.pool.largest().cloned().into_iter().collect(),
            (_, Picked::Coins(coins)) => coins,
            _ => Vec::new(),
        };
        if coins.is_empty() {
            return Ok(None);
        }
        let references: Vec<_> = coins.iter().map(|coin| coin.reference).collect();
        let gas = Gas { coins: references, price: prices.gas, budget, expires: Some(prices.epoch) };
        let transaction = build(self.address(), deed, &gas);
        let transaction =
            transaction.map_err(|_| RailError::Declined("the payment cannot be put into a transaction"))?;
        let signed = self.wallet.sign(&transaction).map_err(|_| RailError::Declined("the wallet's key cannot sign"))?;
        let bytes = bcs::to_bytes(&signed).map_err(|_| RailError::Declined("the payment cannot be written"))?;
        let digest = Bytes32(transaction.digest().into());
        let sent = Sent { what: what(deed), digest, fate: Fate::Open, failed, signed: Some(bytes) };
        inside.sheets.sign(name, &sent, &versions_of(&gas))?;
        inside.pool.take(&coins);
        Ok(Some(sent))
    }

    /// Sends what was signed; `again`: it may have been sent before.
    async fn push(&self, task: (&str, Option<&Deed>), sent: &Sent, again: bool) -> Result<Spent, RailError> {
        if sent.fate != Fate::Open {
            return Ok(if sent.fate == Fate::Done { Spent::Done(sent.digest()) } else { Spent::Failed(sent.failed) });
        }
        let signed = sent.transaction()?;
        match self.nodes.execute(&signed).await {
            Ok(Executed::Effects(effects)) => self.settle(task, sent, &effects),
            Ok(Executed::Refused(why)) => self.refused(task, sent, &why).await,
            Err(RailError::Unavailable) if !again => Err(RailError::Unavailable),
            Err(_) => Err(RailError::Unknown),
        }
    }

    /// What a node refuses was perhaps executed before, or will be by another one.
    async fn refused(&self, task: (&str, Option<&Deed>), sent: &Sent, why: &str) -> Result<Spent, RailError> {
        let transaction = sent.transaction()?;
        let gas = gas_of(transaction.signed_transaction().transaction());
        let expires = gas.as_ref().and_then(|gas| gas.expires);
        match self.nodes.transaction(&sent.digest()).await.map_err(|_| RailError::Unknown)? {
            Ok(receipt) => self.settle(task, sent, &receipt.effects),
            Err(epoch) if expires.is_some_and(|expires| epoch > expires) => {
                let gas = gas.ok_or(RailError::Unknown)?;
                // Nodes drop old transactions: only where all its coins are as they were did it never happen.
                if !self.are_untouched(&gas).await? {
                    tracing::error!(digest = %sent.digest(), "a transaction's coins were spent, and no node knows by what: it is not made anew");
                    return Err(RailError::Unknown);
                }
                tracing::warn!(why, "a transaction was not executed in its epoch, and never will be: it is made anew");
                let mut inside = self.lock();
                inside.sheets.void(task.0, &versions_of(&gas))?;
                inside.prices = None;
                inside.pool.give_back(&gas);
                drop(inside);
                self.freed.notify_waiters();
                Ok(Spent::Failed(sent.failed))
            }
            Err(_) => {
                tracing::warn!(why, digest = %sent.digest(), "a node refuses a transaction: it is asked for again later");
                Err(RailError::Unknown)
            }
        }
    }

    /// Whether coins are still at the versions that a transaction was signed with.
    async fn are_untouched(&self, gas: &Gas) -> Result<bool, RailError> {
        let listed = self.nodes.coins(&self.address()).await.map_err(|_| RailError::Unknown)?;
        Ok(gas.coins.iter().all(|coin| listed.iter().any(|listed| listed.reference == *coin)))
    }

    /// Takes in what a transaction did.
    fn settle(&self, (name, deed): (&str, Option<&Deed>), sent: &Sent, effects: &[u8]) -> Result<Spent, RailError> {
        let effects: TransactionEffects = read(effects, limits::EFFECTS_BYTES_MAX).map_err(|_| RailError::Unknown)?;
        let TransactionEffects::V1(effects) = effects else { return Err(RailError::Unknown) };
        if effects.transaction_digest != sent.digest() {
            tracing::error!("a node answers with the effects of another transaction");
            return Err(RailError::Unknown);
        }
        let is_done = effects.status == ExecutionStatus::Success;
        let transaction = sent.transaction()?;
        let transaction = transaction.signed_transaction().transaction().clone();
        let mut inside = self.lock();
        inside.sheets.end(name, if is_done { Fate::Done } else { Fate::Void }, u8::from(!is_done))?;
        if let Some(gas) = gas_of(&transaction) {
            inside.pool.settle(self.address(), (deed, &gas), &effects);
        }
        if let Some(prices) = &mut inside.prices
            && prices.epoch != effects.epoch
        {
            prices.until = None;
        }
        drop(inside);
        self.freed.notify_waiters();
        if is_done {
            return Ok(Spent::Done(sent.digest()));
        }
        tracing::warn!(digest = %sent.digest(), status = ?effects.status, "a transaction failed on the network");
        Ok(Spent::Failed(sent.failed.saturating_add(1)))
    }
}

fn versions_of(gas: &Gas) -> Vec<(ObjectId, u64)> {
    gas.coins.iter().map(|coin| (coin.object_id, coin.version.as_u64())).collect()
}

/// What people are told who have too little.
const NOT_ENOUGH: RailError = RailError::Declined(
    "the account has not enough IOTA for the payment and its gas: send it some, and see it with `sdpp wallet`",
);

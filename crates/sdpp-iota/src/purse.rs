//! An account's money: which coin pays what, once.
//!
//! A version of a coin is signed away once in its epoch, durably, before the transaction leaves; after that the same bytes are
//! sent again until their end is known. A transaction is good in the epoch in which it was signed and in no other: behind
//! that it is void, and another one takes its place, with the same coins at the same versions. So of the two one is executed
//! at most, whatever nodes say. What failed, and what nobody knows, is never done anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iota_sdk_types::{Address, ExecutionStatus, ObjectReference, Transaction, TransactionDigest, TransactionEffects};
use sdpp_proto::codec::Bytes32;
use sdpp_rail::{RailError, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::coins::{Picked, Pool};
use crate::deed::{Deed, Gas, Sponsored, Window, build, matched};
use crate::limits;
use crate::node::{CallError, Coin, Estimate};
use crate::nodes::{Executed, Nodes};
use crate::receipt::{Receipt, executed, read};
use crate::sent::{Fate, RECORD, Sent, Sheets, what};
use crate::station::{GasStation, Reserved};
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
    /// What a window's budget has to be by a dry run, and at which price of gas that was.
    budget: Option<(u64, u64)>,
}

/// Spends an account's coins. There is one at a time for a key: its store is its own.
pub struct Purse {
    nodes: Arc<Nodes>,
    wallet: Wallet,
    /// Who pays the gas.
    station: Option<Arc<dyn GasStation>>,
    inside: Mutex<Inside>,
    /// A coin came free.
    freed: Notify,
}

/// What became of a deed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spent {
    /// It was done by this transaction.
    Done(TransactionDigest),
    /// It was not done. Asked for again, another transaction takes the place of what was signed for it.
    Void,
    /// A node says that it was executed and failed. It is never done anew.
    Failed,
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
        Ok(Self { nodes, wallet, station: None, inside, freed: Notify::new() })
    }

    /// The same, with a station that pays the gas. Where it does not, the account does.
    #[must_use]
    pub fn sponsored_by(self, station: Arc<dyn GasStation>) -> Self {
        Self { station: Some(station), ..self }
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
        // What was never recorded may be so in another form.
        let is_free = |sent: &Sent| sent.fate == Fate::Void && name.starts_with(RECORD);
        if known.as_ref().is_some_and(|sent| sent.what != what(deed) && !is_free(sent)) {
            return Err(RailError::Declined("the same was paid with other terms"));
        }
        match known {
            Some(sent) if sent.fate != Fate::Void => self.end_of(name, &sent, true).await,
            _ => {
                let sent = self.sign(name, deed).await?;
                self.end_of(name, &sent, false).await
            }
        }
    }

    /// What became of something; none where it was never asked for. What may still be under way is sent again.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn look(&self, name: &str) -> Result<Option<Spent>, RailError> {
        let Some(sent) = self.lock().sheets.get(name)? else { return Ok(None) };
        self.end_of(name, &sent, true).await.map(Some)
    }

    /// Names of what was asked for, begins so, and is done and not [closed](Self::close) or still can be: asked for again, it is
    /// the same, and nothing is done twice.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: the store cannot be read.
    pub fn pending(&self, prefix: &str) -> Result<Vec<String>, RailError> {
        self.lock().sheets.pending(prefix)
    }

    /// Whoever asked for something has heard that it is done, and would mean another one next time.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    pub fn close(&self, name: &str) -> Result<(), RailError> {
        self.lock().sheets.close(name)
    }

    /// Brings to an end what an earlier life has left open, as far as that can be done now, and keeps proofs of what was
    /// recorded. What cannot be done keeps its coins, and nothing else waits for it.
    pub async fn resume(&self) {
        let left = {
            let mut inside = self.lock();
            inside.pool.release();
            inside.sheets.take_left()
        };
        for name in left {
            if let Err(error) = self.look(&name).await {
                tracing::warn!(%error, name, "what was sent before has no end yet");
            }
        }
        self.prove(limits::PROVEN_AT_ONCE).await;
    }

    /// Keeps proofs of so many records, for nodes drop theirs. What is in no checkpoint yet is asked for again later.
    pub async fn prove(&self, max: usize) {
        let next = self.lock().sheets.next_unproven(max);
        for digest in next {
            let _ = self.receipt(&digest).await;
        }
    }

    /// Divides the largest coin, so that as many windows of this amount can be paid at once; nothing where there are so many.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn prepare(&self, windows: u64, amount: u64) -> Result<(), RailError> {
        let prices = self.prices().await?;
        self.refresh().await?;
        let own = |deed| if self.station.is_some() { 0 } else { self.budget(deed, prices) };
        let budget = own(&Deed::Divide(limits::PARTS_MAX));
        let needed = amount.saturating_add(own(&Deed::Pay(Window::nothing())));
        let (have, largest) = {
            let inside = self.lock();
            (inside.pool.count(needed) as u64, inside.pool.largest(budget).cloned())
        };
        let Some(largest) = largest.filter(|_| have < windows) else { return Ok(()) };
        // Each part is enough for a window, and the gas of this comes out of it, too.
        let room = largest.balance.saturating_sub(budget).checked_div(needed).unwrap_or(0);
        let parts = windows.saturating_sub(have).saturating_add(1).min(room).min(limits::PARTS_MAX);
        if parts < 2 {
            return Ok(());
        }
        let ObjectReference { object_id, version, .. } = largest.reference;
        let name = format!("divide/{object_id}/{}/{parts}", version.as_u64());
        self.spend(&name, &Deed::Divide(parts)).await.map(drop)
    }

    /// What a window costs now, by a dry run of one with an account's first coin.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn estimate(&self, deed: &Deed) -> Result<Estimate, RailError> {
        let prices = self.prices().await?;
        self.refresh().await?;
        let budget = self.budget(deed, prices);
        let picked = self.lock().pool.pick(deed.amount().saturating_add(budget));
        let Picked::Coins(coins) = picked else { return Err(NOT_ENOUGH) };
        let transaction = self.transaction(deed, &coins, ((prices, budget), None))?;
        let found = self.nodes.estimate(&transaction).await;
        let found = found.map_err(|error| match error {
            CallError::Refused(_) => RailError::Declined("a node says that a payment would fail: is the account new?"),
            CallError::Unreachable | CallError::Busy | CallError::Lost | CallError::Malformed(_) => {
                RailError::Unavailable
            }
        })?;
        if matches!(deed, Deed::Pay(_)) {
            let budget = found.budget.saturating_mul(2).clamp(limits::BUDGET_MIN, limits::BUDGET);
            self.lock().budget = Some((budget, prices.gas));
        }
        Ok(found)
    }

    /// Asks which coins there are. Says whether the node has not heard of all that was done here.
    ///
    /// # Errors
    /// [`RailError::Unavailable`].
    async fn refresh(&self) -> Result<bool, RailError> {
        let coins = self.nodes.coins(&self.address()).await?;
        let mut inside = self.lock();
        let Inside { sheets, pool, .. } = &mut *inside;
        Ok(pool.list(coins, |id, version| sheets.is_spent(id, version)))
    }

    /// What is known of a transaction that was executed: what is kept, or what a node has. Once it is in a checkpoint and of
    /// one of our templates it is kept, for nodes drop theirs.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn receipt(&self, digest: &TransactionDigest) -> Result<Option<Receipt>, RailError> {
        if let Some(kept) = self.lock().sheets.proof(digest)? {
            return Ok(Some(kept));
        }
        let found = self.nodes.find(digest).await?;
        if let Some(found) = &found
            && executed(found).is_ok_and(|(_, _, of)| of == *digest)
        {
            self.lock().sheets.keep_proof(digest, found)?;
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

    fn budget(&self, deed: &Deed, prices: Prices) -> u64 {
        let known = self.lock().budget;
        match deed {
            Deed::Keep(record) => {
                let bytes = limits::BUDGET_PER_KEPT_BYTE.saturating_mul(record.len() as u64);
                limits::BUDGET.saturating_add(bytes)
            }
            Deed::Divide(parts) => limits::BUDGET.max(limits::BUDGET_PER_PART.saturating_mul(*parts)),
            // What was estimated at another price of gas is no estimate.
            Deed::Pay(_) => known.filter(|(_, at)| *at == prices.gas).map_or(limits::BUDGET, |(budget, _)| budget),
            Deed::Record(_) | Deed::Send { .. } => limits::BUDGET,
        }
    }

    fn transaction(
        &self,
        deed: &Deed,
        coins: &[Coin],
        ((prices, budget), reserved): ((Prices, u64), Option<&Reserved>),
    ) -> Result<Transaction, RailError> {
        let own = coins.iter().map(|coin| coin.reference).collect();
        let (coins, sponsor) = match reserved {
            Some(gas) => (gas.coins.clone(), Some(Sponsored { by: gas.sponsor, money: own })),
            None => (own, None),
        };
        let gas = Gas { coins, sponsor, price: prices.gas, budget, expires: Some(prices.epoch) };
        build(self.address(), deed, &gas)
            .map_err(|_| RailError::Declined("the payment cannot be put into a transaction"))
    }

    /// Signs a transaction with coins that nothing else has, and keeps it before anybody sees it.
    async fn sign(&self, name: &str, deed: &Deed) -> Result<Sent, RailError> {
        let give_up = Instant::now().checked_add(limits::COIN_WAIT);
        let reserved = self.reserve(deed).await?;
        loop {
            let prices = self.prices().await?;
            let budget = self.budget(deed, prices);
            let freed = self.freed.notified();
            let gas = ((prices, budget), reserved.as_ref());
            if let Some(sent) = self.try_sign(name, deed, gas)? {
                return Ok(sent);
            }
            // The account may have more than is known here.
            let lags = self.refresh().await?;
            if let Some(sent) = self.try_sign(name, deed, gas)? {
                return Ok(sent);
            }
            let needed = if reserved.is_some() { deed.amount() } else { deed.amount().saturating_add(budget) };
            let picked = self.lock().pool.pick(needed);
            if picked == Picked::Short && !lags {
                return Err(NOT_ENOUGH);
            }
            if give_up.is_none_or(|give_up| Instant::now() >= give_up) {
                return Err(RailError::Unavailable);
            }
            let _ = timeout(limits::COIN_LOOK, freed).await;
        }
    }

    /// Has a station set gas aside; none where there is none, or it does not.
    async fn reserve(&self, deed: &Deed) -> Result<Option<Reserved>, RailError> {
        let Some(station) = &self.station else { return Ok(None) };
        let budget = self.budget(deed, self.prices().await?);
        let reserved = station.reserve(budget).await;
        let reserved = reserved.inspect_err(|error| {
            tracing::warn!(%error, station = station.name(), "the gas station does not pay: the account does, if it can");
        });
        Ok(reserved.ok().filter(|reserved| reserved.sponsor != self.address() && !reserved.coins.is_empty()))
    }

    fn try_sign(
        &self,
        name: &str,
        deed: &Deed,
        (prices, reserved): ((Prices, u64), Option<&Reserved>),
    ) -> Result<Option<Sent>, RailError> {
        let needed = deed.amount().saturating_add(if reserved.is_some() { 0 } else { prices.1 });
        let mut inside = self.lock();
        let coins = match inside.sheets.get(name)? {
            // Somebody else has asked for the same meanwhile.
            Some(sent) if sent.fate != Fate::Void => return Ok(Some(sent)),
            // What is recorded twice costs a fee and no more: any coin will do.
            Some(void) if !name.starts_with(RECORD) => inside.pool.exactly(void.gas()?.own(), needed),
            _ if matches!(deed, Deed::Divide(_)) => inside.pool.largest(needed).map(|coin| vec![coin.clone()]),
            // Somebody else pays for what moves no money.
            _ if needed == 0 => Some(Vec::new()),
            _ => match inside.pool.pick(needed) {
                Picked::Coins(coins) => Some(coins),
                Picked::Wait | Picked::Short => None,
            },
        };
        let Some(coins) = coins else { return Ok(None) };
        let transaction = self.transaction(deed, &coins, (prices, reserved))?;
        let signed = self.wallet.sign(&transaction).map_err(|_| RailError::Declined("the wallet's key cannot sign"))?;
        let bytes = bcs::to_bytes(&signed).map_err(|_| RailError::Declined("the payment cannot be written"))?;
        let digest = Bytes32(transaction.digest().into());
        let reservation = reserved.map(|reserved| reserved.reservation);
        let sent = Sent { what: what(deed), digest, fate: Fate::Open, signed: Some(bytes), reservation };
        let versions = sent.gas()?.versions();
        inside.sheets.sign(name, &sent, &versions)?;
        inside.pool.take(&coins);
        Ok(Some(sent))
    }

    /// How a transaction ended. One that is not over is sent; `again`: it may have been sent before.
    async fn end_of(&self, name: &str, sent: &Sent, again: bool) -> Result<Spent, RailError> {
        match sent.fate {
            Fate::Open => {}
            Fate::Done | Fate::Closed => return Ok(Spent::Done(sent.digest())),
            Fate::Void => return Ok(Spent::Void),
            Fate::Failed => return Ok(Spent::Failed),
            // A node may come to know it after all.
            Fate::Lost => {
                let found = self.nodes.find(&sent.digest()).await.map_err(|_| RailError::Unknown)?;
                return self.settle(name, sent, &found.ok_or(RailError::Unknown)?.effects);
            }
        }
        if let Some(reservation) = sent.reservation {
            return self.end_of_sponsored(name, sent, (reservation, again)).await;
        }
        match self.nodes.execute(&sent.transaction()?).await {
            Ok(Executed::Effects(effects)) => self.settle(name, sent, &effects),
            Ok(Executed::Refused(why)) => self.refused(name, sent, &why).await,
            Err(RailError::Unavailable) if !again => Err(RailError::Unavailable),
            Err(_) => Err(RailError::Unknown),
        }
    }

    /// The same of one whose gas a station pays: only that can have it executed, and once; what it did is looked up.
    async fn end_of_sponsored(
        &self,
        name: &str,
        sent: &Sent,
        (reservation, again): (u64, bool),
    ) -> Result<Spent, RailError> {
        let asked = match &self.station {
            Some(station) => station.execute(reservation, &sent.transaction()?).await,
            None => Err(CallError::Unreachable),
        };
        let looks = if asked.is_ok() { limits::LOOKS_MAX } else { 1 };
        for look in 0..looks {
            if look > 0 {
                sleep(limits::COIN_LOOK).await;
            }
            let found = self.nodes.find(&sent.digest()).await.map_err(|_| RailError::Unknown)?;
            if let Some(receipt) = found {
                return self.settle(name, sent, &receipt.effects);
            }
        }
        match asked {
            Ok(()) => Err(RailError::Unknown),
            Err(CallError::Unreachable | CallError::Busy) if !again => Err(RailError::Unavailable),
            Err(error) => self.refused(name, sent, &error.to_string()).await,
        }
    }

    /// What nodes refuse was perhaps executed before, or will be.
    async fn refused(&self, name: &str, sent: &Sent, why: &str) -> Result<Spent, RailError> {
        let (digest, gas) = (sent.digest(), sent.gas()?);
        // The epoch first: what was executed in an earlier one is known to who has come so far.
        let (epoch, _) = self.nodes.prices().await.map_err(|_| RailError::Unknown)?;
        if let Some(receipt) = self.nodes.find(&digest).await.map_err(|_| RailError::Unknown)? {
            return self.settle(name, sent, &receipt.effects);
        }
        if gas.expires.is_none_or(|expires| epoch <= expires) {
            tracing::warn!(why, %digest, "a transaction is refused: it is sent again later");
            return Err(RailError::Unknown);
        }
        let listed = self.nodes.coins(&self.address()).await.map_err(|_| RailError::Unknown)?;
        let own = |coin: &ObjectReference| listed.iter().find(|listed| listed.reference == *coin).cloned();
        let untouched: Option<Vec<Coin>> = gas.own().iter().map(own).collect();
        let fate = if untouched.is_some() { Fate::Void } else { Fate::Lost };
        let is_payment = matches!(self.deed_of(sent)?, Deed::Pay(_) | Deed::Send { .. });
        let mut inside = self.lock();
        inside.prices = None;
        if inside.sheets.end(name, &digest, fate)? {
            match untouched.filter(|_| is_payment) {
                Some(coins) => inside.pool.hold(coins),
                None => inside.pool.give_back(&gas),
            }
        }
        drop(inside);
        self.freed.notify_waiters();
        if fate == Fate::Lost {
            tracing::error!(%digest, name, "the coins of a transaction went elsewhere, and no node knows by what: it is not made anew");
            return Err(RailError::Unknown);
        }
        tracing::warn!(why, %digest, "a transaction was not executed in its epoch: another one takes its place");
        Ok(Spent::Void)
    }

    fn deed_of(&self, sent: &Sent) -> Result<Deed, RailError> {
        let transaction = sent.transaction()?;
        let read = matched(transaction.signed_transaction().transaction());
        read.map(|(_, deed, _)| deed).map_err(|_| RailError::Dishonest("the purse holds a transaction of another kind"))
    }

    /// Takes in what a transaction did.
    fn settle(&self, name: &str, sent: &Sent, effects: &[u8]) -> Result<Spent, RailError> {
        let effects: TransactionEffects = read(effects, limits::EFFECTS_BYTES_MAX).map_err(|_| RailError::Unknown)?;
        let TransactionEffects::V1(effects) = effects else { return Err(RailError::Unknown) };
        if effects.transaction_digest != sent.digest() {
            tracing::error!("a node answers with the effects of another transaction");
            return Err(RailError::Unknown);
        }
        let (deed, gas) = (self.deed_of(sent)?, sent.gas()?);
        let is_done = effects.status == ExecutionStatus::Success;
        let mut inside = self.lock();
        if inside.sheets.end(name, &sent.digest(), if is_done { Fate::Done } else { Fate::Failed })? {
            inside.pool.settle(self.address(), (&deed, &gas), &effects);
        }
        inside.prices = inside.prices.filter(|prices| prices.epoch == effects.epoch);
        drop(inside);
        self.freed.notify_waiters();
        if is_done {
            return Ok(Spent::Done(sent.digest()));
        }
        tracing::warn!(digest = %sent.digest(), status = ?effects.status, "a transaction failed on the network");
        Ok(Spent::Failed)
    }
}

/// What people are told who have too little.
const NOT_ENOUGH: RailError = RailError::Declined(
    "the account has not enough IOTA for the payment and its gas: send it some, and see it with `sdpp wallet iota show`",
);

//! An account's money: which coin pays what, once.
//!
//! A version of a coin is signed away once in its epoch, durably, before the transaction leaves; after that the same bytes are
//! sent again until their end is known. A transaction is good in the epoch in which it was signed and in no other: behind
//! that it is void, and another one takes its place, with the same coins at the same versions. So of the two one is executed
//! at most, whatever nodes say. What failed, and what nobody knows, is never done anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iota_sdk_types::{Address, ObjectReference, Transaction, TransactionDigest};
use sdpp_proto::codec::Bytes32;
use sdpp_rail::{RailError, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::coins::{Picked, Pool};
use crate::deed::{Deed, Gas, Sponsored, Window, build};
use crate::limits;
use crate::node::{CallError, Coin, Estimate};
use crate::nodes::Nodes;
use crate::receipt::{Receipt, executed};
use crate::sent::{Begun, Fate, RECORD, Sent, Sheets, what};
use crate::station::{GasStation, Reserved};
use crate::wallet::Wallet;

mod ending;

use ending::Asked;

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
    /// What somebody is bringing to its end just now, and how many are.
    driven: BTreeMap<String, u32>,
}

/// Somebody brings something to its end, until this is dropped.
struct Driving<'a> {
    purse: &'a Purse,
    name: &'a str,
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        let mut inside = self.purse.lock();
        if let Some(count) = inside.driven.get_mut(self.name) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                inside.driven.remove(self.name);
            }
        }
    }
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
        let inside = Mutex::new(Inside { sheets, pool, prices: None, budget: None, driven: BTreeMap::new() });
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
        let _driving = self.driving(name);
        let known = self.lock().sheets.get(name)?;
        // What was never recorded may be so in another form.
        let is_free = |sent: &Sent| sent.fate == Fate::Void && name.starts_with(RECORD);
        if known.as_ref().is_some_and(|sent| sent.what != what(deed) && !is_free(sent)) {
            return Err(RailError::Declined("the same was paid with other terms"));
        }
        match known {
            Some(sent) if sent.fate != Fate::Void => self.end_of(name, &sent, Asked::Again).await,
            known => {
                // What was called void is looked for once more before another one takes its place.
                if let Some(void) = known
                    && let Some(receipt) = self.nodes.find(&void.digest()).await?
                {
                    return self.settle(name, &void, &receipt.effects);
                }
                let sent = self.sign(name, deed).await?;
                self.end_of(name, &sent, Asked::First).await
            }
        }
    }

    /// What became of something; none where it was never asked for. What may still be under way is sent again.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn look(&self, name: &str) -> Result<Option<Spent>, RailError> {
        self.look_at(name, Asked::Again).await
    }

    async fn look_at(&self, name: &str, asked: Asked) -> Result<Option<Spent>, RailError> {
        let _driving = self.driving(name);
        let Some(sent) = self.lock().sheets.get(name)? else { return Ok(None) };
        self.end_of(name, &sent, asked).await.map(Some)
    }

    fn driving<'a>(&'a self, name: &'a str) -> Driving<'a> {
        let mut inside = self.lock();
        let count = inside.driven.entry(name.to_owned()).or_default();
        *count = count.saturating_add(1);
        drop(inside);
        Driving { purse: self, name }
    }

    /// Brings to an end what nobody is bringing to its end: its coins are wanted.
    async fn drive(&self) {
        let left: Vec<String> = {
            let inside = self.lock();
            inside.sheets.open_names().filter(|name| !inside.driven.contains_key(*name)).cloned().collect()
        };
        for name in left {
            if let Err(error) = self.look_at(&name, Asked::InPassing).await {
                tracing::debug!(%error, name, "it has no end yet");
            }
        }
    }

    /// What was asked for under names that begin so, and is not [closed](Self::close): what is done or still can be is the same
    /// when it is asked for again.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: the store cannot be read.
    pub fn begun(&self, prefix: &str) -> Result<Vec<Begun>, RailError> {
        self.lock().sheets.begun(prefix)
    }

    /// Whoever asked for something has heard what became of it, and would mean another one next time.
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
            if let Err(error) = self.look_at(&name, Asked::InPassing).await {
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
        // Less will do to try it with.
        let tried = [budget, limits::BUDGET_MIN].into_iter().find_map(|budget| {
            let picked = self.lock().pool.pick(deed.amount().saturating_add(budget));
            if let Picked::Coins(coins) = picked { Some((coins, budget)) } else { None }
        });
        let (coins, budget) = tried.ok_or(NOT_ENOUGH)?;
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
        let (epoch, coins) = (self.prices().await?.epoch, self.nodes.coins(&self.address()).await?);
        let mut inside = self.lock();
        let Inside { sheets, pool, .. } = &mut *inside;
        Ok(pool.list(coins, |id, version| sheets.is_spent(id, version, epoch)))
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
        let mut is_estimated = !matches!(deed, Deed::Pay(_)) || reserved.is_some();
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
            // Less gas may do than nobody has asked for.
            if !is_estimated && budget == limits::BUDGET {
                is_estimated = true;
                if self.estimate(deed).await.is_ok() {
                    continue;
                }
            }
            if !lags && self.is_gone(name)? {
                return Err(RailError::Unknown);
            }
            let needed = if reserved.is_some() { deed.amount() } else { deed.amount().saturating_add(budget) };
            let picked = self.lock().pool.pick(needed);
            if picked == Picked::Short && !lags {
                return Err(NOT_ENOUGH);
            }
            self.drive().await;
            if give_up.is_none_or(|give_up| Instant::now() >= give_up) {
                return Err(RailError::Unavailable);
            }
            let _ = timeout(limits::COIN_LOOK, freed).await;
        }
    }

    /// Whether the coins of what is void went elsewhere since, so that nothing can take its place; then it is lost.
    fn is_gone(&self, name: &str) -> Result<bool, RailError> {
        let mut inside = self.lock();
        let void = inside.sheets.get(name)?.filter(|sent| sent.fate == Fate::Void && !name.starts_with(RECORD));
        let Some(void) = void else { return Ok(false) };
        let is_gone = void.gas()?.own().iter().any(|coin| !inside.pool.may_have(coin));
        if is_gone {
            tracing::error!(name, "the coins of a void payment went elsewhere: it is not made anew");
            inside.sheets.end(name, &void.digest(), Fate::Lost)?;
        }
        Ok(is_gone)
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
        let known = inside.sheets.get(name)?;
        let earlier = known.as_ref().map(Sent::with_earlier).unwrap_or_default();
        let coins = match known {
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
        let sent = Sent { what: what(deed), digest, fate: Fate::Open, signed: Some(bytes), reservation, earlier };
        let versions = sent.gas()?.versions();
        inside.sheets.sign(name, &sent, (&versions, prices.0.epoch))?;
        inside.pool.take(&coins);
        Ok(Some(sent))
    }
}

/// What people are told who have too little.
const NOT_ENOUGH: RailError = RailError::Declined(
    "the account has not enough IOTA for the payment and its gas: send it some, and see it with `sdpp wallet iota show`",
);

//! How transactions end: by what nodes say of them, as far as that is believed.

use iota_sdk_types::{ExecutionStatus, ObjectReference, TransactionEffects};
use sdpp_rail::RailError;
use tokio::time::sleep;

use super::{Purse, Spent};
use crate::deed::{Deed, matched};
use crate::limits;
use crate::node::{CallError, Coin};
use crate::nodes::{Executed, View};
use crate::receipt::{executed, read};
use crate::sent::{Fate, Sent};

/// Who asks how a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// Whoever has just signed it: nobody has seen it before.
    First,
    /// Whoever wants it done.
    Again,
    /// Nobody who would do it anew: its coins are wanted for something else.
    InPassing,
}

impl Purse {
    /// How a transaction ended. One that is not over is sent.
    pub(super) async fn end_of(&self, name: &str, sent: &Sent, asked: Asked) -> Result<Spent, RailError> {
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
            return self.end_of_sponsored(name, sent, (reservation, asked)).await;
        }
        match self.nodes.execute(&sent.transaction()?).await {
            Ok(Executed::Effects(effects)) => self.settle(name, sent, &effects),
            Ok(Executed::Refused(why)) => self.refused(name, sent, (&why, asked)).await,
            Err(RailError::Unavailable) if asked == Asked::First => Err(RailError::Unavailable),
            // A node that never answers keeps nobody from seeing that its epoch is over.
            Err(_) if asked != Asked::First && self.is_overdue(sent).await => {
                self.refused(name, sent, ("no node answers", asked)).await
            }
            Err(_) => Err(RailError::Unknown),
        }
    }

    /// Whether the epoch is over in which it could be executed.
    async fn is_overdue(&self, sent: &Sent) -> bool {
        let expires = sent.gas().ok().and_then(|gas| gas.expires);
        self.nodes.prices().await.is_ok_and(|(epoch, _)| expires.is_some_and(|expires| epoch > expires))
    }

    /// The same of one whose gas a station pays: only that can have it executed, and once; what it did is looked up.
    async fn end_of_sponsored(
        &self,
        name: &str,
        sent: &Sent,
        (reservation, asked): (u64, Asked),
    ) -> Result<Spent, RailError> {
        let said = match &self.station {
            Some(station) => station.execute(reservation, &sent.transaction()?).await,
            None => Err(CallError::Unreachable),
        };
        let looks = if said.is_ok() { limits::LOOKS_MAX } else { 1 };
        for look in 0..looks {
            if look > 0 {
                sleep(limits::COIN_LOOK).await;
            }
            let found = self.nodes.find(&sent.digest()).await.map_err(|_| RailError::Unknown)?;
            if let Some(receipt) = found {
                return self.settle(name, sent, &receipt.effects);
            }
        }
        match said {
            Ok(()) => Err(RailError::Unknown),
            Err(CallError::Unreachable | CallError::Busy) if asked == Asked::First => Err(RailError::Unavailable),
            Err(error) => self.refused(name, sent, (&error.to_string(), asked)).await,
        }
    }

    /// What nodes refuse was perhaps executed before, or will be. What each says of the epoch, the transaction and its coins
    /// belongs together.
    async fn refused(&self, name: &str, sent: &Sent, (why, asked): (&str, Asked)) -> Result<Spent, RailError> {
        let (digest, gas) = (sent.digest(), sent.gas()?);
        if let Some(spent) = self.earlier(name, sent).await? {
            return Ok(spent);
        }
        let views = self.nodes.views(&digest, &self.address()).await;
        if let Some(receipt) = views.iter().find_map(|view| view.found.as_ref()) {
            return self.settle(name, sent, &receipt.effects);
        }
        let Some((fate, coins)) = fate_of(&views, gas.expires, gas.own()) else {
            tracing::warn!(why, %digest, "a transaction is refused: it is sent again later");
            return Err(RailError::Unknown);
        };
        // Coins of what will be asked for again are kept for it.
        let is_kept = asked != Asked::InPassing && matches!(self.deed_of(sent)?, Deed::Pay(_) | Deed::Send { .. });
        let mut inside = self.lock();
        inside.prices = None;
        if inside.sheets.end(name, &digest, fate)? {
            if fate == Fate::Void && is_kept {
                inside.pool.hold(coins);
            } else {
                inside.pool.give_back(&gas);
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

    /// What was called void before may have been executed all the same, where nodes were wrong or lied.
    async fn earlier(&self, name: &str, sent: &Sent) -> Result<Option<Spent>, RailError> {
        for digest in sent.earlier() {
            let found = self.nodes.find(&digest).await.map_err(|_| RailError::Unknown)?;
            let Some(found) = found else { continue };
            if executed(&found).is_ok_and(|(_, _, of)| of == digest) {
                let mut inside = self.lock();
                if inside.sheets.end(name, &digest, Fate::Done)? {
                    inside.pool.give_back(&sent.gas()?);
                }
                drop(inside);
                self.freed.notify_waiters();
                return Ok(Some(Spent::Done(digest)));
            }
        }
        Ok(None)
    }

    fn deed_of(&self, sent: &Sent) -> Result<Deed, RailError> {
        let transaction = sent.transaction()?;
        let read = matched(transaction.signed_transaction().transaction());
        read.map(|(_, deed, _)| deed).map_err(|_| RailError::Dishonest("the purse holds a transaction of another kind"))
    }

    /// Takes in what a transaction did.
    pub(super) fn settle(&self, name: &str, sent: &Sent, effects: &[u8]) -> Result<Spent, RailError> {
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

/// What a transaction came to that no node knows, by what nodes see: void, with its coins as they were signed away; lost, where they
/// are not there any more; none where that cannot be told yet.
///
/// Void may be wrong and costs nothing, for what takes its place takes the same coins. Lost is for good, so all have to say so.
fn fate_of(views: &[View], expires: Option<u64>, own: &[ObjectReference]) -> Option<(Fate, Vec<Coin>)> {
    let over: Vec<&View> = views.iter().filter(|view| expires.is_some_and(|expires| view.epoch > expires)).collect();
    let there = |view: &&View| -> Option<Vec<Coin>> {
        own.iter().map(|coin| view.coins.iter().find(|listed| listed.reference == *coin).cloned()).collect()
    };
    let untouched: Vec<Vec<Coin>> = over.iter().filter_map(there).collect();
    if let Some(coins) = untouched.first().filter(|_| untouched.len().saturating_mul(2) >= views.len()) {
        return Some((Fate::Void, coins.clone()));
    }
    let is_gone = untouched.is_empty() && !over.is_empty() && over.len() == views.len();
    let is_whole = |view: &View| view.coins.len() < limits::COINS_MAX;
    (is_gone && views.iter().all(is_whole)).then(|| (Fate::Lost, Vec::new()))
}

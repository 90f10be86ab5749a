//! The coins of a purse: which are free, which are under way.

use std::collections::{BTreeMap, BTreeSet};

use iota_sdk_types::{
    Address, ExecutionStatus, GasCostSummary, ObjectId, ObjectOut, ObjectReference, Owner, TransactionEffectsV1,
    Version,
};

use crate::deed::{Deed, Gas};
use crate::limits;
use crate::node::Coin;

/// What was found for a deed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Picked {
    /// These coins are enough.
    Coins(Vec<Coin>),
    /// They would be, with those that are under way.
    Wait,
    /// There is not so much.
    Short,
}

/// Coins by their ids, each at the newest version that is known.
#[derive(Default)]
pub(crate) struct Pool {
    free: BTreeMap<ObjectId, Coin>,
    /// What is under way, with what it had.
    busy: BTreeMap<ObjectId, u64>,
    /// What is known by what a transaction did, and was not listed yet.
    fresh: BTreeSet<ObjectId>,
    /// What a payment that is void had: it is for the one that takes its place.
    held: BTreeMap<ObjectId, Coin>,
}

impl Pool {
    /// Coins of what an earlier life has sent: what they had is not known.
    pub(crate) fn resumed(busy: BTreeSet<ObjectId>) -> Self {
        Self { busy: busy.into_iter().map(|id| (id, 0)).collect(), ..Self::default() }
    }

    /// What nodes list, without what is under way and what `is_spent`. Of a coin that is known at a newer version than the
    /// node has heard of, nothing new is learnt. Says whether the node has not heard of all that was done here: then there
    /// may be more than is known.
    pub(crate) fn list(&mut self, listed: Vec<Coin>, is_spent: impl Fn(&ObjectId, u64) -> bool) -> bool {
        let ids: BTreeSet<ObjectId> = listed.iter().map(|coin| coin.reference.object_id).collect();
        self.free.retain(|id, _| ids.contains(id) || self.fresh.contains(id));
        let mut lags = self.fresh.iter().any(|id| !ids.contains(id));
        for coin in listed {
            let (id, version) = (coin.reference.object_id, coin.reference.version.as_u64());
            if self.busy.contains_key(&id) || self.held.contains_key(&id) {
                continue;
            }
            if is_spent(&id, version) {
                lags = true;
                continue;
            }
            let is_older = |known: &Coin| known.reference.version.as_u64() > version;
            if !self.free.get(&id).is_some_and(is_older) {
                self.fresh.remove(&id);
                self.free.insert(id, coin);
            }
        }
        lags
    }

    /// Finds coins for so much: the smallest one that is enough, else as few as are, the largest first.
    pub(crate) fn pick(&self, needed: u64) -> Picked {
        if let Some(coin) = self.free.values().filter(|coin| coin.balance >= needed).min_by_key(|coin| coin.balance) {
            return Picked::Coins(vec![coin.clone()]);
        }
        let mut largest: Vec<&Coin> = self.free.values().collect();
        largest.sort_by_key(|coin| std::cmp::Reverse(coin.balance));
        let (mut picked, mut sum) = (Vec::new(), 0u64);
        for coin in largest.into_iter().take(limits::GAS_COINS_MAX) {
            picked.push(coin.clone());
            sum = sum.saturating_add(coin.balance);
            if sum >= needed {
                return Picked::Coins(picked);
            }
        }
        // Of what an earlier life has sent nobody knows how much it had.
        let is_unknown = self.busy.values().any(|had| *had == 0);
        let held = self.held.values().map(|coin| coin.balance);
        let all = self.free.values().map(|coin| coin.balance).chain(self.busy.values().copied()).chain(held);
        if is_unknown || all.fold(0, u64::saturating_add) >= needed { Picked::Wait } else { Picked::Short }
    }

    /// Whether a coin is there at this version, or is under way.
    pub(crate) fn may_have(&self, coin: &ObjectReference) -> bool {
        let known = self.held.get(&coin.object_id).or_else(|| self.free.get(&coin.object_id));
        self.busy.contains_key(&coin.object_id) || known.is_some_and(|known| known.reference == *coin)
    }

    /// The largest free coin, if it has so much.
    pub(crate) fn largest(&self, needed: u64) -> Option<&Coin> {
        self.free.values().max_by_key(|coin| coin.balance).filter(|coin| coin.balance >= needed)
    }

    /// These very coins, if they are held or free; with more where they have not so much together.
    pub(crate) fn exactly(&self, references: &[ObjectReference], needed: u64) -> Option<Vec<Coin>> {
        let found = references.iter().map(|coin| {
            let known = self.held.get(&coin.object_id).or_else(|| self.free.get(&coin.object_id));
            known.filter(|known| known.reference == *coin).cloned()
        });
        let mut coins: Vec<Coin> = found.collect::<Option<_>>()?;
        let mut sum: u64 = coins.iter().map(|coin| coin.balance).fold(0, u64::saturating_add);
        let others = self.free.values().filter(|coin| !references.contains(&coin.reference));
        for coin in others {
            if sum >= needed || coins.len() >= limits::GAS_COINS_MAX {
                break;
            }
            sum = sum.saturating_add(coin.balance);
            coins.push(coin.clone());
        }
        Some(coins).filter(|_| sum >= needed)
    }

    /// How many free coins have so much.
    pub(crate) fn count(&self, needed: u64) -> usize {
        self.free.values().filter(|coin| coin.balance >= needed).count()
    }

    /// These are under way.
    pub(crate) fn take(&mut self, coins: &[Coin]) {
        for coin in coins {
            self.fresh.remove(&coin.reference.object_id);
            self.held.remove(&coin.reference.object_id);
            self.free.remove(&coin.reference.object_id);
            self.busy.insert(coin.reference.object_id, coin.balance);
        }
    }

    /// Nothing is known of these coins any more: they are looked for again.
    pub(crate) fn give_back(&mut self, gas: &Gas) {
        for coin in gas.own() {
            self.busy.remove(&coin.object_id);
        }
    }

    /// These were under way and are not any more; they are for what takes the place of what had them.
    pub(crate) fn hold(&mut self, coins: Vec<Coin>) {
        for coin in coins {
            self.busy.remove(&coin.reference.object_id);
            self.held.insert(coin.reference.object_id, coin);
        }
    }

    /// What is held is for anybody: whoever it was for has had its time.
    pub(crate) fn release(&mut self) {
        self.free.append(&mut self.held);
    }

    /// A transaction was executed: what is left of its coins, and new ones.
    pub(crate) fn settle(&mut self, owner: Address, (deed, gas): (&Deed, &Gas), effects: &TransactionEffectsV1) {
        for coin in gas.own() {
            self.held.remove(&coin.object_id);
        }
        let had: Vec<Option<u64>> = gas.own().iter().map(|coin| self.busy.remove(&coin.object_id)).collect();
        // What an earlier life has sent had nobody knows how much: it is listed again.
        let sum = had.into_iter().try_fold(0u64, |sum, had| sum.checked_add(had.filter(|had| *had > 0)?));
        let Some(sum) = sum else { return };
        // Somebody else's gas takes nothing from these coins.
        let (cost, budget) = match gas.sponsor {
            Some(_) => (GasCostSummary::default(), 0),
            None => (effects.gas_cost_summary.clone(), gas.budget),
        };
        let (mut left, mut each) = (sum, 0);
        if effects.status == ExecutionStatus::Success {
            if let Deed::Divide(parts) = deed {
                // Its budget is no part of the gas coin while a transaction runs.
                each = sum.saturating_sub(budget).checked_div(*parts).unwrap_or(0);
                left = left.saturating_sub(each.saturating_mul(parts.saturating_sub(1)));
            }
            left = left.saturating_sub(deed.amount());
        }
        let spent = cost.computation_cost.saturating_add(cost.storage_cost);
        left = left.saturating_add(cost.storage_rebate).saturating_sub(spent);
        let first = gas.own().first().map(|coin| coin.object_id);
        let own = effects.changed_objects.iter().filter_map(|changed| {
            let ObjectOut::ObjectWrite { digest, owner: Owner::Address(to) } = changed.output_state else {
                return None;
            };
            (to == owner).then_some((changed.object_id, digest))
        });
        for (id, digest) in own {
            let balance = if Some(id) == first { left } else { each };
            let reference = ObjectReference::new(id, Version::from_u64(effects.lamport_version.as_u64()), digest);
            if balance > 0 {
                self.fresh.insert(id);
                self.free.insert(id, Coin { reference, balance });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use iota_sdk_types::ObjectDigest;

    use super::*;

    fn coin(id: u8, version: u64, balance: u64) -> Coin {
        let (id, digest) = (ObjectId::new([id; 32]), ObjectDigest::new([id; 32]));
        Coin { reference: ObjectReference::new(id, Version::from_u64(version), digest), balance }
    }

    fn pool(coins: Vec<Coin>) -> Pool {
        let mut pool = Pool::default();
        pool.list(coins, |_, _| false);
        pool
    }

    #[test]
    fn the_smallest_coin_that_is_enough_is_picked_and_else_they_are_put_together() {
        let pool = pool(vec![coin(1, 1, 10), coin(2, 1, 30), coin(3, 1, 20)]);
        assert_eq!(pool.pick(15), Picked::Coins(vec![coin(3, 1, 20)]));
        assert_eq!(pool.pick(45), Picked::Coins(vec![coin(2, 1, 30), coin(3, 1, 20)]));
        assert_eq!(pool.pick(61), Picked::Short);
    }

    #[test]
    fn what_is_under_way_is_waited_for_and_not_listed() {
        let mut pool = pool(vec![coin(1, 1, 10)]);
        pool.take(&[coin(1, 1, 10)]);
        assert_eq!(pool.pick(5), Picked::Wait);
        pool.list(vec![coin(1, 2, 10)], |_, _| false);
        assert_eq!(pool.pick(5), Picked::Wait);
    }

    #[test]
    fn a_version_that_was_spent_and_one_that_is_old_are_not_picked() {
        let mut pool = pool(vec![coin(1, 3, 10)]);
        pool.list(vec![coin(1, 2, 99), coin(2, 7, 99)], |id, version| *id == ObjectId::new([2; 32]) && version <= 7);
        assert_eq!(pool.pick(5), Picked::Coins(vec![coin(1, 3, 10)]));
        assert_eq!(pool.pick(50), Picked::Short);
    }
}

//! Who has how much: balances and what was issued, per asset.

use std::collections::BTreeMap;

use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};

use crate::refusal::Refusal;

/// One asset.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Asset {
    issued: Amount,
    balances: BTreeMap<PublicKey, Amount>,
}

/// The accounts of all assets. No balance of nothing is kept.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Accounts {
    assets: BTreeMap<AssetId, Asset>,
}

impl Accounts {
    pub(crate) fn balance(&self, asset: &AssetId, account: &PublicKey) -> Amount {
        self.assets.get(asset).and_then(|asset| asset.balances.get(account)).copied().unwrap_or(Amount::ZERO)
    }

    pub(crate) fn issued(&self, asset: &AssetId) -> Amount {
        self.assets.get(asset).map_or(Amount::ZERO, |asset| asset.issued)
    }

    /// All assets, with what was issued and the sum of all balances (`None` if it overflows).
    pub(crate) fn sums(&self) -> impl Iterator<Item = (&AssetId, Amount, Option<Amount>)> {
        self.assets.iter().map(|(id, asset)| {
            let sum = asset.balances.values().try_fold(Amount::ZERO, |sum, balance| sum.checked_add(*balance));
            (id, asset.issued, sum)
        })
    }

    pub(crate) fn can_issue(&self, asset: &AssetId, amount: Amount) -> Result<(), Refusal> {
        self.issued(asset).checked_add(amount).map(|_| ()).ok_or(Refusal::SupplyOverflow)
    }

    pub(crate) fn can_take(&self, asset: &AssetId, account: &PublicKey, amount: Amount) -> Result<(), Refusal> {
        self.balance(asset, account).checked_sub(amount).map(|_| ()).ok_or(Refusal::InsufficientFunds)
    }

    /// After [`can_issue`](Self::can_issue).
    pub(crate) fn issue(&mut self, asset: &AssetId, to: &PublicKey, amount: Amount) {
        let entry = self.assets.entry(asset.clone()).or_default();
        entry.issued = entry.issued.checked_add(amount).expect("the caller has asked can_issue");
        self.give(asset, to, amount);
    }

    /// What is given was issued and then taken, so it fits.
    pub(crate) fn give(&mut self, asset: &AssetId, account: &PublicKey, amount: Amount) {
        if amount.is_zero() {
            return;
        }
        let balance = self.assets.entry(asset.clone()).or_default().balances.entry(*account).or_default();
        *balance = balance.checked_add(amount).expect("no balance is above what was issued, which fits");
    }

    /// After [`can_take`](Self::can_take).
    pub(crate) fn take(&mut self, asset: &AssetId, account: &PublicKey, amount: Amount) {
        let rest = self.balance(asset, account).checked_sub(amount).expect("the caller has asked can_take");
        let balances = &mut self.assets.entry(asset.clone()).or_default().balances;
        if rest.is_zero() {
            balances.remove(account);
        } else {
            balances.insert(*account, rest);
        }
    }
}

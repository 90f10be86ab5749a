//! Room for debts, as a seller shares it out (`spec/protocol.md` §7).

use std::collections::{BTreeMap, BTreeSet};

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;

/// What is booked: reserved for live orders, owed by parked ones.
pub(crate) struct Pools {
    pub(crate) strangers: Amount,
    pub(crate) proven: Amount,
    booked: BTreeMap<StatementId, (bool, Amount)>,
    pub(crate) known: BTreeSet<PublicKey>,
}

impl Pools {
    pub(crate) const fn new(strangers: Amount, proven: Amount) -> Self {
        Self { strangers, proven, booked: BTreeMap::new(), known: BTreeSet::new() }
    }

    fn out(&self, stranger: bool, without: &StatementId) -> Amount {
        let same = self.booked.iter().filter(|(order, (kind, _))| *kind == stranger && *order != without);
        same.fold(Amount::ZERO, |sum, (_, (_, amount))| sum.checked_add(*amount).unwrap_or(Amount::MAX))
    }

    /// Reserves for an order; who owes is let in with at least that.
    pub(crate) fn reserve(
        &mut self,
        (order, buyer): (&StatementId, &PublicKey),
        (wanted, debt): (Amount, Amount),
    ) -> Option<(Amount, bool)> {
        let stranger = !self.known.contains(buyer);
        let pool = if stranger { self.strangers } else { self.proven };
        let room = pool.saturating_sub(self.out(stranger, order));
        let wanted = wanted.max(debt);
        let exposure = wanted.min(room).max(debt);
        if exposure != wanted && debt.is_zero() {
            return None;
        }
        self.booked.insert(*order, (stranger, exposure));
        Some((exposure, stranger))
    }

    /// An order that is not live holds what it owes.
    pub(crate) fn park(&mut self, order: &StatementId, buyer: &PublicKey, debt: Amount) {
        let stranger = !self.known.contains(buyer);
        self.booked.insert(*order, (stranger, debt));
    }

    /// What is booked of the strangers' pool and of the other.
    pub(crate) fn all_out(&self) -> (Amount, Amount) {
        let nobody = StatementId([0; 32]);
        (self.out(true, &nobody), self.out(false, &nobody))
    }
}

//! The reference: what the accounts of an order may say, in a few lines that share no code with the machines.

use std::collections::BTreeMap;

use sdpp_proto::codec::StatementId;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::Terms;

/// One order, as somebody would keep its accounts by hand.
#[derive(Clone, Default)]
pub(crate) struct Account {
    /// Highest total that the buyer has signed a payment for.
    pub(crate) signed: u128,
    /// Highest total that the seller has credited.
    pub(crate) credited: u128,
    /// What the buyer's rail was asked to pay for each invoice.
    pub(crate) asked: BTreeMap<StatementId, u128>,
}

impl Account {
    /// The price of so many units, rounded up as a whole: never window by window.
    pub(crate) fn due(terms: &Terms, units: u64) -> u128 {
        let per = u128::from(terms.product.per) * if terms.product.unit == Unit::Second { 1000 } else { 1 };
        (terms.product.amount.get() * u128::from(units)).div_ceil(per)
    }

    /// What the messages that a buyer holds are worth at most; time is not held.
    pub(crate) fn worth(terms: &Terms, sink: &[(u64, Vec<u8>)]) -> Option<u128> {
        let units = match terms.product.unit {
            Unit::Message => sink.len() as u64,
            Unit::Byte => sink.iter().map(|(_, message)| message.len() as u64).sum(),
            Unit::Second => return None,
        };
        Some(Self::due(terms, units))
    }

    /// The buyer's rail is asked to pay.
    pub(crate) fn pays(&mut self, invoice: StatementId, total: Amount) -> Result<(), String> {
        let total = total.get();
        let known = *self.asked.entry(invoice).or_insert(total);
        if known == total { Ok(()) } else { Err(format!("one invoice was paid with two totals, {known} and {total}")) }
    }

    /// The seller has credited; less than before only where a disk forgot.
    pub(crate) fn credits(&mut self, total: Amount, forgot: bool) -> Result<(), String> {
        let total = total.get();
        if total > self.signed {
            return Err(format!("{total} were credited, and {} signed", self.signed));
        }
        if total < self.credited && !forgot {
            return Err(format!("credit fell from {} to {total}", self.credited));
        }
        self.credited = self.credited.max(total);
        Ok(())
    }
}

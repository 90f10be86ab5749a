//! The reference: what the accounts of an order may say, in a few lines that share no code with the machines.

use std::collections::BTreeMap;

use sdpp_proto::buyer::BuyerOrder;
use sdpp_proto::codec::{Digest, StatementId};
use sdpp_proto::message::Batch;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::span::{SpanHasher, SpanStart, span_salt};
use sdpp_proto::statement::{Invoice, Signed, Signing, Terms};

use super::buyer::House;

/// One order, as somebody would keep its accounts by hand.
#[derive(Clone, Default)]
pub(crate) struct Account {
    /// Highest total that the buyer has signed a payment for.
    pub(crate) signed: u128,
    /// Highest total that the seller has credited.
    pub(crate) credited: u128,
    /// What the seller's account says is paid: it may know of a payment a moment before the world hears of it.
    pub(crate) booked: u128,
    /// What the buyer's rail was asked to pay for each invoice.
    pub(crate) asked: BTreeMap<StatementId, u128>,
    /// Which invoice of each number it was.
    numbers: BTreeMap<u64, StatementId>,
    /// What the seller's invoices ask for, and the message behind each.
    invoices: BTreeMap<StatementId, (u128, u64)>,
    /// The message behind all that was forgiven.
    pub(crate) forgiven: u64,
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
    pub(crate) fn pays(&mut self, invoice: &Signed<Invoice>, total: Amount) -> Result<(), String> {
        let (id, total) = (invoice.id(), total.get());
        if *self.numbers.entry(invoice.n).or_insert(id) != id {
            return Err(format!("two invoices of the number {} were paid", invoice.n));
        }
        let known = *self.asked.entry(id).or_insert(total);
        if known == total { Ok(()) } else { Err(format!("one invoice was paid with two totals, {known} and {total}")) }
    }

    /// Holds an invoice that is paid against what the buyer has in its hands.
    pub(crate) fn is_earned(order: &BuyerOrder, invoice: &Invoice, house: &House) -> Result<(), String> {
        let terms = order.terms();
        let held = house.sink.iter().filter(|(seq, _)| *seq < invoice.end());
        let units = match terms.product.unit {
            Unit::Message => Some(held.count() as u64),
            Unit::Byte => Some(held.map(|(_, message)| message.len() as u64).sum()),
            Unit::Second => None,
        };
        // What was forgiven is held and costs nothing.
        if let Some(worth) = units.filter(|_| house.forgiven.is_empty()).map(|units| Self::due(terms, units))
            && worth != invoice.due.get()
        {
            return Err(format!("a buyer pays {} for what is worth {worth}", invoice.due));
        }
        if terms.product.signing == Signing::Window && digest(order, invoice, house) != invoice.digest {
            return Err(format!("a buyer pays invoice {}, and holds other bytes", invoice.n));
        }
        Ok(())
    }

    /// The seller's account says that so much is paid. That lets messages flow, so it has to survive a crash.
    pub(crate) fn books(&mut self, total: Amount, forgot: bool) -> Result<(), String> {
        let total = total.get();
        if total > self.signed {
            return Err(format!("{total} count as paid, and {} were signed", self.signed));
        }
        if total < self.booked && !forgot {
            return Err(format!("what counts as paid fell from {} to {total}", self.booked));
        }
        self.booked = self.booked.max(total);
        Ok(())
    }

    /// The seller has made an invoice.
    pub(crate) fn invoiced(&mut self, invoice: &Signed<Invoice>) {
        self.invoices.insert(invoice.id(), (invoice.due.get(), invoice.end()));
    }

    /// The seller has credited what an invoice asks for, no more and no less.
    pub(crate) fn answers(&self, invoice: &StatementId, total: Amount) -> Result<(), String> {
        match self.invoices.get(invoice) {
            Some((due, _)) if *due != total.get() => {
                Err(format!("{total} were credited for an invoice that asks for {due}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The message behind all that is paid or forgiven.
    pub(crate) fn behind(&self) -> u64 {
        let paid = self.invoices.values().filter(|(due, _)| *due <= self.booked).map(|(_, end)| *end);
        paid.max().unwrap_or(0).max(self.forgiven)
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

/// The digest of an invoice's messages, of those that a buyer holds.
fn digest(order: &BuyerOrder, invoice: &Invoice, house: &House) -> Digest {
    let start = SpanStart { order: invoice.order_id, n: invoice.n, first: invoice.first };
    let mut hasher = SpanHasher::new(&start, &span_salt(&order.salt().unwrap_or_default(), invoice.n));
    let mut count = 0;
    for (seq, bytes) in house.sink.iter().filter(|(seq, _)| (invoice.first..invoice.end()).contains(seq)) {
        let mut batch = Batch::new();
        let time_us = house.times.get(seq).copied().unwrap_or_default();
        batch.push(time_us, bytes).expect("a message that came fits into a batch");
        hasher.update(batch.canonical());
        count += 1;
    }
    hasher.digest(count)
}

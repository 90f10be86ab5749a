//! What a payer remembers of what it has paid.

use std::collections::{BTreeMap, VecDeque};

use sdpp_proto::codec::StatementId;

use crate::limits;
use crate::{Bill, RailError};

/// Bills of a process, so that one invoice never has two meanings. Forgetting an old one is
/// harmless: a total stays within its deposit.
#[derive(Default)]
pub struct Bills {
    known: BTreeMap<StatementId, Bill>,
    oldest: VecDeque<StatementId>,
}

impl Bills {
    /// Remembers a bill.
    ///
    /// # Errors
    /// [`RailError::Declined`] if its invoice is remembered with other terms.
    pub fn remember(&mut self, bill: &Bill) -> Result<(), RailError> {
        self.compare(bill)?;
        if self.known.insert(bill.invoice, bill.clone()).is_none() {
            self.oldest.push_back(bill.invoice);
        }
        if self.oldest.len() > limits::INVOICES_REMEMBERED_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.known.remove(&oldest);
        }
        Ok(())
    }

    /// Whether this very bill is remembered.
    ///
    /// # Errors
    /// [`RailError::Declined`] if its invoice is remembered with other terms.
    pub fn compare(&self, bill: &Bill) -> Result<bool, RailError> {
        match self.known.get(&bill.invoice) {
            Some(known) if known == bill => Ok(true),
            Some(_) => Err(RailError::Declined("the invoice was paid with other terms")),
            None => Ok(false),
        }
    }

    /// The bill of an invoice, if it is remembered.
    pub fn get(&self, invoice: &StatementId) -> Option<&Bill> {
        self.known.get(invoice)
    }
}

//! Where an order goes on after a cut, and what a restart cost (`spec/protocol.md` §9).

use alloc::vec::Vec;

use super::order::{Ending, SellerOrder};
use super::span::Span;
use crate::codec::Bytes32;
use crate::identity::SigningKey;
use crate::journal::Entry;
use crate::limits;
use crate::offence::Offence;
use crate::statement::{
    Acceptance, Attach, Forgiven, Have, Invoice, Kind, Menu, Order, Payment, Settlement, Signed, StatementError, Terms,
};
use crate::time::Timestamp;

/// Where a connection begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Resumption {
    /// First message to send.
    pub(super) start: u64,
    /// Number of the first invoice to send.
    pub(super) first_n: u64,
    /// What both sides lost.
    pub(super) forgiven: Option<Forgiven>,
    /// The buyer does not hold what it has paid for: it is shown the last pair.
    pub(super) behind: bool,
}

/// Why an attach is not gone on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Offence(Offence),
    /// The own journal is older than what was signed on it, and nobody has said so.
    OldJournal,
}

impl From<Offence> for Refusal {
    fn from(offence: Offence) -> Self {
        Self::Offence(offence)
    }
}

/// What the buyer's newest invoice is to this journal.
enum Evidence {
    /// It is held, or the buyer has none, as far as is known here.
    Held,
    /// The journal is older.
    Newer,
    /// The buyer is older: it has paid for more.
    Older,
}

/// Why a journal does not make an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// A statement that does not verify.
    Statement(StatementError),
    /// The order, its salt or its menu is missing, or rows contradict each other.
    Incomplete,
}

impl core::fmt::Display for RestoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Statement(error) => write!(f, "the journal holds a bad statement: {error}"),
            Self::Incomplete => f.write_str("the journal of this order is incomplete"),
        }
    }
}

impl core::error::Error for RestoreError {}

impl From<StatementError> for RestoreError {
    fn from(error: StatementError) -> Self {
        Self::Statement(error)
    }
}

impl SellerOrder {
    /// The journal was restored from a backup: the order can only settle.
    pub const fn declare_restored(&mut self) {
        self.chain.restored = true;
    }

    /// Whether the order can only settle, because its journal was restored from a backup.
    pub const fn is_restored(&self) -> bool {
        self.chain.restored
    }

    /// Decides where to go on with a buyer that holds `have`, and shows the last invoice it has.
    ///
    /// # Errors
    /// [`Offence::BadAttach`] for what the buyer cannot hold; [`Refusal::OldJournal`].
    pub(super) fn resume(&mut self, have: &Have, shown: Option<&Signed<Invoice>>) -> Result<Resumption, Refusal> {
        let shown = shown.filter(|invoice| Some(invoice.id()) == have.last_invoice);
        match (self.judge(have, shown), shown) {
            (Evidence::Newer, Some(_)) if !self.chain.restored => Err(Refusal::OldJournal),
            (Evidence::Newer, Some(invoice)) => {
                self.adopt(invoice);
                Ok(self.resume_held(have)?)
            }
            (Evidence::Older, _) => {
                let end = self.last_paid.as_ref().map_or(0, |invoice| invoice.end());
                let paid = Have {
                    next: end,
                    prefix_digest: None,
                    last_invoice: self.last_paid.as_ref().map(Signed::id),
                    last_payment: self.credited(),
                    base: end,
                };
                Ok(Resumption { behind: true, ..self.resume_held(&paid)? })
            }
            (Evidence::Held | Evidence::Newer, _) => Ok(self.resume_held(have)?),
        }
    }

    fn judge(&self, have: &Have, shown: Option<&Signed<Invoice>>) -> Evidence {
        let paid = self.last_paid.as_ref();
        if have.last_invoice.is_none() && have.base == 0 && have.next == 0 && paid.is_some() {
            return Evidence::Older;
        }
        let own =
            |invoice: &&Signed<Invoice>| invoice.order_id == self.id() && invoice.verify(&self.key.public()).is_ok();
        let known = |invoice: &Signed<Invoice>| {
            self.waiting(&invoice.id()).is_some() || paid.is_some_and(|paid| paid.id() == invoice.id())
        };
        let Some(invoice) = shown.filter(|invoice| !known(invoice)).filter(own) else { return Evidence::Held };
        // A number below the next one was used here: what it named is void, by what this buyer itself has said. After
        // a restore the numbers that were left out may have been used, too.
        let unused = self.chain.restored || invoice.n >= self.chain.next_n;
        if unused && self.last_invoice().is_none_or(|newest| invoice.n > newest.n) {
            Evidence::Newer
        } else if paid.is_some_and(|paid| invoice.n < paid.n) {
            Evidence::Older
        } else {
            Evidence::Held
        }
    }

    /// Takes over an invoice that was signed and is lost here, with all that it says.
    fn adopt(&mut self, invoice: &Signed<Invoice>) {
        self.chain.restored = true;
        self.closed.clear();
        self.open = None;
        self.credit.drop_windows(self.credit.outstanding_windows());
        self.credit.add_windows(u64::from(invoice.windows));
        self.credit.set_units(invoice.units_total);
        self.credit.grant(invoice.paid, 0, false);
        self.chain.credited = invoice.paid_by;
        self.chain.prev = invoice.id();
        self.chain.next_n = self.chain.next_n.max(invoice.n.saturating_add(1));
        self.chain.next_seq = invoice.end();
        self.chain.forgiven = None;
        self.chain.anchor = invoice.id();
        self.ending = invoice.last.then_some(Ending::Last);
        // Its payment waits only while this connection does: nobody is in default after a restore.
        self.closed.push_back(Span::restored(invoice.clone(), &self.salt, Timestamp::NEVER));
    }

    /// What was signed behind `base` is not known: it is forgiven, and its numbers are left out.
    fn settle_only(&mut self, have: &Have, base: Option<&Signed<Invoice>>) -> Result<Resumption, Offence> {
        let end = base.map_or(0, |invoice| invoice.end());
        let count = have.next.checked_sub(have.base).ok_or(Offence::BadAttach)?;
        if have.base < end || count > self.forgiven_max() {
            return Err(Offence::BadAttach);
        }
        let first_n = base.map_or(0, |invoice| invoice.n.saturating_add(1));
        let void = self.closed.iter().filter(|span| span.start.n >= first_n).find_map(|span| span.issued.as_ref());
        let forgiven = Forgiven {
            first: have.base,
            count,
            invoice: void.map(|issued| issued.invoice.id()),
            next_n: self.chain.next_n.max(first_n).saturating_add(limits::RESTORED_NUMBERS),
        };
        self.forgive(base, &forgiven);
        self.chain.next_n = forgiven.next_n;
        self.chain.plaintext_lost = false;
        Ok(Resumption { start: have.next, first_n: forgiven.next_n, forgiven: Some(forgiven), behind: false })
    }

    /// Most that may be forgiven at once.
    fn forgiven_max(&self) -> u64 {
        u64::from(self.terms.product.k).saturating_mul(u64::from(self.terms.order.windows))
    }

    fn resume_held(&mut self, have: &Have) -> Result<Resumption, Offence> {
        let base = self.base(have)?;
        if self.chain.restored && !self.has_last_invoice() {
            return self.settle_only(have, base.as_ref());
        }
        let (end, after_n) = base.as_ref().map_or((0, 0), |i| (i.end(), i.n.saturating_add(1)));
        let anchor = base.as_ref().map_or(self.order.id(), Signed::id);
        // What was forgiven last, behind that invoice; the buyer may not have heard of it yet.
        let newest = self.chain.forgiven.filter(|_| self.chain.anchor == anchor);
        let reached = newest.as_ref().map_or(end, forgiven_end);
        let first_n = newest.map_or(after_n, |forgiven| forgiven.next_n);
        let unheard = newest.filter(|forgiven| forgiven.first == have.base && have.next <= reached);
        if (have.base != reached && unheard.is_none()) || have.next < have.base {
            return Err(Offence::BadAttach);
        }
        if self.chain.plaintext_lost {
            return self.resume_after_loss(have, base.as_ref(), (first_n, unheard));
        }
        match unheard {
            // Where the buyer holds less than it did, it lost the rest, and that is forgiven, too.
            Some(forgiven) => Ok(Resumption { start: reached, first_n, forgiven: Some(forgiven), behind: false }),
            None if have.next > self.chain.next_seq => Err(Offence::BadAttach),
            None if have.prefix_digest != self.prefix_digest(have.base, have.next) => Err(Offence::BadAttach),
            None => Ok(Resumption { start: have.base, first_n, forgiven: None, behind: false }),
        }
    }

    /// After a restart the plaintext of unpaid messages is gone: what the buyer holds of it is
    /// forgiven, and never signed again with another digest.
    fn resume_after_loss(
        &mut self,
        have: &Have,
        base: Option<&Signed<Invoice>>,
        (first_n, unheard): (u64, Option<Forgiven>),
    ) -> Result<Resumption, Offence> {
        let mut behind = self.closed.iter().filter(|span| span.start.n >= first_n);
        let void = unheard.and_then(|forgiven| forgiven.invoice);
        let void = void.or(behind.clone().find_map(|span| span.issued.as_ref()).map(|issued| issued.invoice.id()));
        if have.next == unheard.as_ref().map_or(have.base, forgiven_end) && behind.all(|span| span.count == 0) {
            self.chain.plaintext_lost = false;
            return Ok(Resumption { start: have.next, first_n, forgiven: unheard, behind: false });
        }
        let count = have.next.saturating_sub(have.base);
        if count > self.forgiven_max() {
            return Err(Offence::BadAttach);
        }
        let forgiven = Forgiven { first: have.base, count, invoice: void, next_n: self.chain.next_n };
        self.forgive(base, &forgiven);
        self.chain.plaintext_lost = false;
        Ok(Resumption { start: have.next, first_n: self.chain.next_n, forgiven: Some(forgiven), behind: false })
    }

    /// The last invoice that both sides hold.
    fn base(&self, have: &Have) -> Result<Option<Signed<Invoice>>, Offence> {
        let Some(id) = have.last_invoice else { return Ok(self.last_paid.clone()) };
        if let Some(issued) = self.waiting(&id) {
            return Ok(Some(issued.invoice.clone()));
        }
        let paid = self.last_paid.as_ref().filter(|invoice| invoice.id() == id);
        paid.cloned().map(Some).ok_or(Offence::BadAttach)
    }

    /// Drops what was sent or invoiced behind `base`: it is not charged, and not signed again.
    fn forgive(&mut self, base: Option<&Signed<Invoice>>, forgiven: &Forgiven) {
        let first_n = base.map_or(0, |invoice| invoice.n.saturating_add(1));
        let units = base.map_or(0, |invoice| invoice.units_total);
        let dropped: u64 =
            self.closed.iter().filter(|span| span.start.n >= first_n).map(|span| u64::from(span.windows)).sum();
        self.closed.retain(|span| span.start.n < first_n);
        self.open = None;
        self.credit.drop_windows(dropped);
        self.credit.set_units(units);
        self.chain.prev = base.map_or(self.order.id(), Signed::id);
        self.chain.next_seq = forgiven_end(forgiven);
        self.chain.anchor = base.map_or(self.order.id(), Signed::id);
        self.chain.forgiven = Some(*forgiven);
        if self.ending == Some(Ending::Last) && !self.has_last_invoice() {
            self.ending = None;
        }
    }

    fn has_last_invoice(&self) -> bool {
        self.closed.iter().any(Span::is_last) || self.last_paid.as_ref().is_some_and(|invoice| invoice.last)
    }

    /// Rebuilds an account from its journal. The plaintext of unpaid messages is lost.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(
        key: &SigningKey,
        menu: &Signed<Menu>,
        entries: &[Entry],
        now: Timestamp,
    ) -> Result<Self, RestoreError> {
        let salt = entries.iter().find_map(|entry| match entry {
            Entry::Salt(salt) => Some(*salt),
            Entry::Statement(_) | Entry::Intent(_) | Entry::Record { .. } => None,
        });
        let order = first::<Order>(entries)?.ok_or(RestoreError::Incomplete)?;
        let terms = Terms::resolve(menu, &order).ok_or(RestoreError::Incomplete)?;
        let mut account = Self::new(key.clone(), order, terms, salt.ok_or(RestoreError::Incomplete)?);
        account.chain.plaintext_lost = true;
        account.chain.opened = true;
        for entry in entries {
            if let Entry::Statement(statement) = entry {
                account.replay(statement.kind, &statement.bytes, now)?;
            }
        }
        Ok(account)
    }

    fn replay(&mut self, kind: Kind, bytes: &[u8], now: Timestamp) -> Result<(), RestoreError> {
        match kind {
            Kind::Attach => self.index = self.index.max(Signed::<Attach>::parse(bytes)?.index),
            Kind::Acceptance => self.replay_acceptance(&Signed::<Acceptance>::parse(bytes)?),
            Kind::Invoice => self.replay_invoice(Signed::parse(bytes)?, now),
            Kind::Payment => self.credit_payment(Signed::<Payment>::parse(bytes)?),
            Kind::Settlement => {
                let own = Signed::<Settlement>::parse(bytes)?.issuer() == self.key.public();
                self.ending = Some(if own { Ending::Settled } else { Ending::Countersigned });
            }
            Kind::Default => self.ending = Some(Ending::Defaulted),
            Kind::Menu | Kind::Order | Kind::Ack | Kind::Sample | Kind::Quote | Kind::Rotation | Kind::Revocation => {}
        }
        Ok(())
    }

    fn replay_acceptance(&mut self, acceptance: &Signed<Acceptance>) {
        if let Some(forgiven) = acceptance.forgiven.filter(|forgiven| self.chain.forgiven.as_ref() != Some(forgiven)) {
            let issued = self.closed.iter().filter_map(|span| span.issued.as_ref()).map(|issued| &issued.invoice);
            let void = issued.clone().find(|invoice| Some(invoice.id()) == forgiven.invoice);
            let void_n = void.map_or(u64::MAX, |invoice| invoice.n);
            let held = |invoice: &&Signed<Invoice>| invoice.n < void_n && invoice.end() <= forgiven.first;
            let base = issued.chain(&self.last_paid).filter(held).max_by_key(|invoice| invoice.n).cloned();
            self.forgive(base.as_ref(), &forgiven);
            self.chain.next_n = self.chain.next_n.max(forgiven.next_n);
        }
        self.credit.set_ramp(acceptance.ramp);
    }

    fn replay_invoice(&mut self, invoice: Signed<Invoice>, now: Timestamp) {
        if invoice.n < self.chain.next_n {
            // Written twice, because a connection ended while the first write was under way.
            return;
        }
        if invoice.prev != self.chain.prev {
            // Only an adopted one does not follow the one before it.
            return self.adopt(&invoice);
        }
        self.chain.prev = invoice.id();
        self.chain.next_n = invoice.n.saturating_add(1);
        self.chain.next_seq = invoice.end();
        self.credit.set_units(invoice.units_total);
        self.credit.add_windows(u64::from(invoice.windows));
        if invoice.last {
            self.ending = Some(Ending::Last);
        }
        let mut span = Span::restored(invoice, &self.salt, now);
        span.full = span.count >= u64::from(self.terms.product.k);
        self.closed.push_back(span);
    }
}

/// The first message behind the forgiven ones.
const fn forgiven_end(forgiven: &Forgiven) -> u64 {
    forgiven.first.saturating_add(forgiven.count)
}

fn first<T: crate::statement::Statement>(entries: &[Entry]) -> Result<Option<Signed<T>>, StatementError> {
    let found = entries.iter().find_map(|entry| match entry {
        Entry::Statement(statement) if statement.kind == T::KIND => Some(&statement.bytes),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    });
    found.map(|bytes| Signed::parse(bytes)).transpose()
}

/// Statements of an account that its journal must hold before an acceptance is sent.
pub(super) fn opening(order: Option<&Signed<Order>>, salt: Bytes32, attach: &Signed<Attach>) -> Vec<Entry> {
    let mut entries = Vec::new();
    if let Some(order) = order {
        entries.push(order.erase().into());
        entries.push(Entry::Salt(salt));
    }
    entries.push(attach.erase().into());
    entries
}

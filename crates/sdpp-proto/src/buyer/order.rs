//! One order's account at the buyer: what was received, verified and paid. Survives its connections.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::codec::{Bytes32, Digest, StatementId};
use crate::identity::{PublicKey, SigningKey};
use crate::journal::Entry;
use crate::limits;
use crate::money::{Amount, Unit};
use crate::offence::Offence;
use crate::seller::RestoreError;
use crate::span::{SpanHasher, SpanStart, prefix_digest, span_salt};
use crate::statement::{
    Acceptance, Attach, Forgiven, Have, Invoice, Kind, Menu, Order, Payment, Settlement, Signed, Terms,
};
use crate::time::Timestamp;

/// The span that is being received.
#[derive(Debug)]
struct Open {
    start: SpanStart,
    hasher: SpanHasher,
    count: u64,
    bytes: u64,
}

/// A span that has ended and waits for its invoice.
#[derive(Clone, Debug)]
struct Received {
    start: SpanStart,
    count: u64,
    bytes: u64,
    digest: Digest,
}

/// What was delivered behind the last verified invoice when the connection began, and is now sent
/// again. Kept whole until all of it was compared, however often connections break.
#[derive(Debug, Default)]
struct Repeat {
    /// Digests that repeated messages must have, by the sequence number behind them.
    digests: Vec<(u64, Digest)>,
    /// How many of them were compared on this connection.
    compared: usize,
}

/// One order's account at the buyer.
#[derive(Debug)]
pub struct BuyerOrder {
    key: SigningKey,
    pub(super) order: Signed<Order>,
    pub(super) terms: Terms,
    pub(super) salt: Option<Bytes32>,
    /// Index of the newest attach.
    pub(super) index: u32,
    /// First message not received yet.
    next: u64,
    /// First message never delivered: behind a resume, `next` runs up to it again.
    delivered: u64,
    receiving: Option<Open>,
    cuts: VecDeque<Received>,
    repeat: Repeat,
    chain: Chain,
    /// Invoices verified and not yet paid, oldest first.
    pub(super) unpaid: VecDeque<Signed<Invoice>>,
    pub(super) last_invoice: Option<Signed<Invoice>>,
    pub(super) payments: Payments,
    /// The own settlement was signed.
    pub(super) settled: bool,
}

/// Where the seller's chain of invoices goes on.
#[derive(Debug)]
struct Chain {
    prev: StatementId,
    next_n: u64,
    /// First message behind the last verified invoice, or behind messages forgiven since.
    base: u64,
    units: u64,
    /// End of the service billed so far.
    billed_to: Timestamp,
    /// Time billed since `since`, in ms.
    billed_ms: u64,
    /// Since when service time is counted, by the own clock: the first order' of this life.
    since: Option<Timestamp>,
    /// Windows that may have been billed before this life: their time is not counted.
    uncounted: u64,
    /// Windows invoiced.
    windows: u64,
    /// The journal was restored from a backup: the order can only settle.
    restored: bool,
    told: Told,
}

/// What the journal holds of the seller's word that no invoice bounds.
#[derive(Debug, Default)]
struct Told {
    /// Places of records.
    records: u64,
    /// Its default.
    unpaid: bool,
}

/// Payments signed so far.
#[derive(Debug, Default)]
pub(super) struct Payments {
    pub(super) last: Option<Signed<Payment>>,
    /// Signed, and not yet credited by an invoice.
    unconfirmed: VecDeque<Sent>,
    /// How many of these the seller held when the session began.
    heard: usize,
    /// The invoice that the rail was asked to pay, until its payment is signed.
    pub(super) intent: Option<StatementId>,
    /// The newest that an invoice credits.
    credited: Option<Credited>,
}

/// A payment and how many windows were paid with it in all.
#[derive(Debug)]
struct Sent {
    payment: Signed<Payment>,
    windows: u64,
}

#[derive(Clone, Copy, Debug)]
struct Credited {
    id: StatementId,
    total: Amount,
    windows: u64,
}

impl BuyerOrder {
    pub(super) fn new(key: SigningKey, order: Signed<Order>, terms: Terms) -> Self {
        let chain = Chain {
            prev: order.id(),
            next_n: 0,
            base: 0,
            units: 0,
            billed_to: Timestamp::ZERO,
            billed_ms: 0,
            since: None,
            uncounted: 0,
            windows: 0,
            restored: false,
            told: Told::default(),
        };
        Self {
            key,
            order,
            terms,
            salt: None,
            index: 0,
            next: 0,
            delivered: 0,
            receiving: None,
            cuts: VecDeque::new(),
            repeat: Repeat::default(),
            chain,
            unpaid: VecDeque::new(),
            last_invoice: None,
            payments: Payments::default(),
            settled: false,
        }
    }

    /// The order's id.
    pub fn id(&self) -> StatementId {
        self.order.id()
    }

    /// The signed order.
    pub const fn order(&self) -> &Signed<Order> {
        &self.order
    }

    /// The seller.
    pub const fn seller(&self) -> PublicKey {
        self.terms.order.seller
    }

    /// The terms.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Messages delivered.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The first message behind the last verified invoice, or behind messages forgiven since: what a
    /// sink must hold after a crash.
    pub const fn verified(&self) -> u64 {
        self.chain.base
    }

    /// Cumulative amount paid.
    pub fn paid(&self) -> Amount {
        self.payments.last.as_ref().map_or(Amount::ZERO, |payment| payment.total)
    }

    /// Cumulative amount due by verified invoices.
    pub fn due(&self) -> Amount {
        self.last_invoice.as_ref().map_or(Amount::ZERO, |invoice| invoice.due)
    }

    /// Whether the order has ended with the own settlement.
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    /// The order's salt, once a session was had.
    pub const fn salt(&self) -> Option<Bytes32> {
        self.salt
    }

    /// The key that signs payments.
    pub(super) const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// What to say in an attach.
    pub(super) fn have(&self) -> Have {
        let digests: Vec<u8> = self.held().into_iter().flat_map(|(_, digest)| digest.0).collect();
        Have {
            next: self.next.max(self.delivered),
            prefix_digest: (!digests.is_empty()).then(|| prefix_digest(&digests)),
            last_invoice: self.last_invoice.as_ref().map(Signed::id),
            last_payment: self.payments.last.as_ref().map(Signed::id),
            base: self.chain.base,
        }
    }

    /// What is held behind the last verified invoice, span by span.
    fn held(&self) -> Vec<(u64, Digest)> {
        if self.next < self.delivered {
            // Not all was repeated yet.
            let behind = self.repeat.digests.iter().filter(|(end, _)| *end > self.chain.base);
            return behind.copied().collect();
        }
        let end = |start: &SpanStart, count: u64| start.first.saturating_add(count);
        let mut held: Vec<_> =
            self.cuts.iter().filter(|cut| cut.count > 0).map(|cut| (end(&cut.start, cut.count), cut.digest)).collect();
        if let Some(open) = self.receiving.as_ref().filter(|open| open.count > 0) {
            held.push((end(&open.start, open.count), open.hasher.digest(open.count)));
        }
        held
    }

    /// Takes a connection's acceptance: where messages and invoices go on.
    ///
    /// # Errors
    /// [`Offence::WrongStart`], [`Offence::WrongForgiven`].
    pub(super) fn attach(&mut self, acceptance: &Signed<Acceptance>) -> Result<(), Offence> {
        match &acceptance.forgiven {
            None if acceptance.start == self.chain.base => {
                self.repeat = Repeat { digests: self.held(), compared: 0 };
            }
            None => return Err(Offence::WrongStart),
            Some(forgiven) => {
                self.check_forgiven(forgiven, acceptance.start)?;
                self.chain.next_n = forgiven.next_n;
                self.chain.base = acceptance.start;
                self.repeat = Repeat::default();
            }
        }
        self.delivered = self.delivered.max(self.next);
        self.next = acceptance.start;
        self.receiving = None;
        self.cuts.clear();
        Ok(())
    }

    fn check_forgiven(&self, forgiven: &Forgiven, start: u64) -> Result<(), Offence> {
        // More than is held may be forgiven: this side may have lost some of it in a restart since.
        // None of it is charged, and it is never more than may be outstanding.
        let held = self.next.max(self.delivered).saturating_sub(self.chain.base);
        let most = u64::from(self.terms.product.k).saturating_mul(u64::from(self.terms.order.windows));
        let right = forgiven.first == self.chain.base
            && (held..=most.max(held)).contains(&forgiven.count)
            && start == forgiven.first.saturating_add(forgiven.count)
            && forgiven.next_n >= self.chain.next_n;
        if right { Ok(()) } else { Err(Offence::WrongForgiven) }
    }

    /// Takes whole messages of a frame in. `slices` are the same bytes in their canonical form.
    ///
    /// # Errors
    /// [`Offence::QuantityExceeded`], [`Offence::InvoiceAfterLast`].
    pub(super) fn absorb(&mut self, slices: [&[u8]; 2], count: u64, bytes: u64) -> Result<(), Offence> {
        if count == 0 {
            return Ok(());
        }
        if self.last_invoice.as_ref().is_some_and(|invoice| invoice.last) {
            return Err(Offence::InvoiceAfterLast);
        }
        let after = self.next.saturating_add(count);
        if self.terms.order.quantity.is_some_and(|quantity| after > quantity) {
            return Err(Offence::QuantityExceeded);
        }
        let open = self.opened();
        slices.iter().for_each(|slice| open.hasher.update(slice));
        open.count = open.count.saturating_add(count);
        open.bytes = open.bytes.saturating_add(bytes);
        self.next = after;
        Ok(())
    }

    /// How many messages may be absorbed before repeated ones must be compared.
    pub(super) fn until_check(&self) -> u64 {
        let next = self.repeat.digests.get(self.repeat.compared);
        next.map_or(u64::MAX, |(end, _)| end.saturating_sub(self.next))
    }

    /// Compares repeated messages with what was delivered before.
    ///
    /// # Errors
    /// [`Offence::PrefixChanged`].
    pub(super) fn check_repeated(&mut self) -> Result<(), Offence> {
        while let Some((end, expected)) = self.repeat.digests.get(self.repeat.compared) {
            if *end > self.next {
                break;
            }
            let open = self.receiving.as_ref().map(|open| open.hasher.digest(open.count));
            if open != Some(*expected) {
                // What came in its place was never held: the digests of what was delivered stay, for the next attach.
                self.next = self.chain.base;
                self.receiving = None;
                return Err(Offence::PrefixChanged);
            }
            self.repeat.compared = self.repeat.compared.saturating_add(1);
        }
        self.delivered = self.delivered.max(self.next);
        Ok(())
    }

    fn opened(&mut self) -> &mut Open {
        let start = SpanStart { order: self.order.id(), n: self.next_span(), first: self.next };
        let salt = span_salt(&self.salt.unwrap_or_default(), start.n);
        self.receiving.get_or_insert_with(|| Open { start, hasher: SpanHasher::new(&start, &salt), count: 0, bytes: 0 })
    }

    fn next_span(&self) -> u64 {
        self.cuts.back().map_or(self.chain.next_n, |cut| cut.start.n.saturating_add(1))
    }

    /// First message not received.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// The span of invoice `n` ends here.
    ///
    /// # Errors
    /// [`Offence::WrongCut`].
    pub(super) fn cut(&mut self, n: u64) -> Result<(), Offence> {
        if n != self.next_span() || self.cuts.len() >= limits::INVOICES_WAITING_MAX {
            return Err(Offence::WrongCut);
        }
        self.opened();
        let Some(open) = self.receiving.take() else { return Err(Offence::WrongCut) };
        let digest = open.hasher.digest(open.count);
        self.cuts.push_back(Received { start: open.start, count: open.count, bytes: open.bytes, digest });
        Ok(())
    }

    /// Checks an invoice against what was received, all but its signature, and books it.
    ///
    /// # Errors
    /// The offence: the seller's.
    pub(super) fn take_invoice(&mut self, now: Timestamp, invoice: &Signed<Invoice>) -> Result<(), Offence> {
        if invoice.order_id != self.order.id() {
            return Err(Offence::InvoiceForAnother);
        }
        if self.last_invoice.as_ref().is_some_and(|before| before.last) {
            return Err(Offence::InvoiceAfterLast);
        }
        if invoice.n != self.chain.next_n || invoice.prev != self.chain.prev {
            return Err(Offence::InvoiceChain);
        }
        let Some(cut) = self.cuts.front() else { return Err(Offence::InvoiceWithoutCut) };
        if (invoice.first, invoice.count, invoice.bytes) != (cut.start.first, cut.count, cut.bytes) {
            return Err(Offence::InvoiceRange);
        }
        if invoice.digest != cut.digest {
            return Err(Offence::InvoiceDigest);
        }
        self.check_windows(invoice)?;
        let units = self.check_units(now, invoice)?;
        if self.terms.price().due(units) != Some(invoice.due) {
            return Err(Offence::InvoiceDue);
        }
        let owed = invoice.due.saturating_sub(invoice.paid);
        if invoice.due > self.terms.order.limit || owed > self.terms.order.exposure_max {
            return Err(Offence::InvoiceOverLimit);
        }
        self.check_credit(invoice)?;
        // Only now: an invoice that is refused for something else bills no time, and may come again put right.
        self.book_time(invoice);
        self.cuts.pop_front();
        self.chain.prev = invoice.id();
        self.chain.next_n = invoice.n.saturating_add(1);
        self.chain.units = units;
        self.chain.windows = self.chain.windows.saturating_add(u64::from(invoice.windows));
        self.chain.base = invoice.end();
        self.unpaid.push_back(invoice.clone());
        self.last_invoice = Some(invoice.clone());
        Ok(())
    }

    fn check_windows(&self, invoice: &Invoice) -> Result<(), Offence> {
        let most = u64::from(self.terms.product.k).saturating_mul(u64::from(invoice.windows));
        let empty = invoice.windows == 0 && !invoice.last;
        // Windows without messages happen only where time is sold: else a seller could have any number
        // of invoices paid that cost it nothing.
        let timed = self.terms.product.unit == Unit::Second;
        let hollow = !timed && !invoice.last && u64::from(invoice.windows) > invoice.count;
        if empty || hollow || invoice.count > most || invoice.windows > self.terms.order.windows {
            return Err(Offence::InvoiceWindows);
        }
        Ok(())
    }

    fn check_units(&self, now: Timestamp, invoice: &Invoice) -> Result<u64, Offence> {
        let new = match self.terms.product.unit {
            Unit::Message => invoice.count,
            Unit::Byte => invoice.bytes,
            Unit::Second => self.check_time(now, invoice)?,
        };
        let timed = self.terms.product.unit == Unit::Second;
        if !timed && (invoice.t_start.is_some() || invoice.t_end.is_some()) {
            return Err(Offence::InvoiceTime);
        }
        let units = self.chain.units.checked_add(new).ok_or(Offence::InvoiceUnits)?;
        if units == invoice.units_total { Ok(units) } else { Err(Offence::InvoiceUnits) }
    }

    /// Seconds are billed by the seller's clock, and never more of them than passed here since the
    /// first one was asked for, breaks included: an invoice may bill time before a break and come behind it.
    fn check_time(&self, now: Timestamp, invoice: &Invoice) -> Result<u64, Offence> {
        let (Some(start), Some(end)) = (invoice.t_start, invoice.t_end) else {
            // A last invoice may bill no time at all.
            return if invoice.last && invoice.count == 0 { Ok(0) } else { Err(Offence::InvoiceTime) };
        };
        let billed = self.chain.billed_ms.saturating_add(end.since_ms(start));
        let since = self.chain.since.unwrap_or(now);
        let passed = now.since_ms(since).saturating_add(limits::CLOCK_TOLERANCE_MS);
        let too_much = billed > passed && self.chain.uncounted == 0;
        if start < self.chain.billed_to || end < start || too_much {
            return Err(Offence::InvoiceTime);
        }
        Ok(end.since_ms(start))
    }

    /// Books the time that an invoice bills, all of it checked.
    fn book_time(&mut self, invoice: &Invoice) {
        let (Some(start), Some(end)) = (invoice.t_start, invoice.t_end) else { return };
        self.chain.billed_to = end;
        if self.chain.uncounted == 0 {
            self.chain.billed_ms = self.chain.billed_ms.saturating_add(end.since_ms(start));
        }
        self.chain.uncounted = self.chain.uncounted.saturating_sub(u64::from(invoice.windows));
    }

    /// What the seller says was credited must be a payment of ours, and never less than before.
    fn check_credit(&mut self, invoice: &Invoice) -> Result<(), Offence> {
        match invoice.paid_by {
            // Payments before the one that was adopted are lost.
            Some(id) if self.chain.restored && invoice.paid <= self.paid() => {
                let _ = self.payments.confirm(&id, invoice.paid);
            }
            None if self.chain.restored && invoice.paid.is_zero() => {}
            Some(id) => self.payments.confirm(&id, invoice.paid)?,
            None if self.payments.credited.is_some() || !invoice.paid.is_zero() => return Err(Offence::InvoiceCredit),
            None => {}
        }
        // A seller sends no more windows than may be outstanding: that many invoices later it must
        // have credited what it was paid for.
        let windows = self.chain.windows.saturating_add(u64::from(invoice.windows));
        let credited = self.payments.credited.map_or(0, |credited| credited.windows);
        let outstanding = windows.saturating_sub(credited);
        if outstanding > u64::from(self.terms.order.windows) { Err(Offence::InvoiceCredit) } else { Ok(()) }
    }

    /// Signs the payment of an invoice. `proof`: the rail's, none where the payment is the voucher.
    pub(super) fn sign_payment(&mut self, invoice: &Signed<Invoice>, proof: Option<Vec<u8>>) -> Signed<Payment> {
        let body = Payment {
            order_id: self.order.id(),
            prev: self.payments.last.as_ref().map_or(self.order.id(), Signed::id),
            invoice_id: invoice.id(),
            total: invoice.due,
            channel: self.terms.order.channel,
            proof,
        };
        let payment = Signed::sign(&self.key, body);
        self.book(payment.clone());
        payment
    }

    /// Books a payment that was signed.
    fn book(&mut self, payment: Signed<Payment>) {
        if let Some(paid) = self.unpaid.iter().position(|invoice| invoice.id() == payment.invoice_id) {
            self.unpaid.drain(..=paid);
        }
        let windows = self.chain.windows.saturating_sub(self.unpaid_windows());
        self.payments.last = Some(payment.clone());
        self.payments.unconfirmed.push_back(Sent { payment, windows });
        self.payments.intent = None;
    }

    fn unpaid_windows(&self) -> u64 {
        self.unpaid.iter().map(|invoice| u64::from(invoice.windows)).sum()
    }

    /// The journal was restored from a backup: the order can only settle.
    pub const fn declare_restored(&mut self) {
        self.chain.restored = true;
        self.index = self.index.saturating_add(limits::RESTORED_CONNECTIONS);
    }

    /// Whether the order can only settle, because its journal was restored from a backup.
    pub const fn is_restored(&self) -> bool {
        self.chain.restored
    }

    /// Whether the pair that the seller shows has a payment of ours that this journal lacks. One of less than was paid
    /// is old, whatever the order of the journal's rows: nothing is taken back.
    pub(super) fn is_lost(&self, (invoice, payment): (&Signed<Invoice>, &Signed<Payment>)) -> bool {
        let known = |id: StatementId| {
            self.payments.last.as_ref().is_some_and(|last| last.id() == id)
                || self.payments.credited.is_some_and(|credited| credited.id == id)
                || self.payments.unconfirmed.iter().any(|sent| sent.payment.id() == id)
        };
        let answered = payment.invoice_id;
        let newer = invoice.id() == answered && invoice.n >= self.chain.next_n;
        (newer || self.unpaid.iter().any(|invoice| invoice.id() == answered))
            && !known(payment.id())
            && payment.total >= self.paid()
            && (payment.order_id, invoice.order_id) == (self.id(), self.id())
            && payment.verify(&self.key.public()).is_ok()
            && invoice.verify(&self.seller()).is_ok()
    }

    /// Takes over a payment that the seller shows and this journal lacks, and its invoice, if the
    /// journal lacks that too. Gives what the journal needs.
    pub(super) fn adopt(&mut self, (invoice, payment): (&Signed<Invoice>, &Signed<Payment>)) -> Vec<Entry> {
        self.chain.restored = true;
        let mut entries: Vec<Entry> = Vec::new();
        if invoice.id() == payment.invoice_id && invoice.n >= self.chain.next_n {
            entries.push(invoice.erase().into());
            self.replay_invoice(invoice.clone());
            (self.receiving, self.repeat) = (None, Repeat::default());
            self.cuts.clear();
            (self.next, self.delivered) = (self.chain.base, self.delivered.max(self.chain.base));
        }
        self.book(payment.clone());
        self.payments.unconfirmed.clear();
        self.payments.heard = 0;
        let windows = self.chain.windows.saturating_sub(self.unpaid_windows());
        self.payments.credited = Some(Credited { id: payment.id(), total: payment.total, windows });
        entries.push(payment.erase().into());
        entries
    }

    /// Whether the journal has room for one more place of a record: one for each window that was
    /// invoiced, and for so many that may be recorded before their invoice is here. So a seller that
    /// says it again and again does not fill it.
    pub(super) fn takes_record(&mut self) -> bool {
        let ahead = u64::try_from(limits::INVOICES_WAITING_MAX).unwrap_or(u64::MAX);
        let room = self.chain.told.records < self.chain.windows.saturating_add(ahead);
        self.chain.told.records = self.chain.told.records.saturating_add(u64::from(room));
        room
    }

    /// Whether the seller's default is known: it signs one per order.
    pub(super) const fn is_defaulted(&self) -> bool {
        self.chain.told.unpaid
    }

    /// The seller's default is here.
    pub(super) const fn set_defaulted(&mut self) {
        self.chain.told.unpaid = true;
    }

    /// A session is asked for. The seller's may begin and run for a while before its acceptance is here, or without
    /// one that ever comes.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.chain.since.get_or_insert(now);
    }

    /// Whether the last invoice is paid.
    pub(super) fn is_paid_up(&self) -> bool {
        let last = self.last_invoice.as_ref().filter(|invoice| invoice.last);
        let paid = self.payments.last.as_ref().map(|payment| payment.invoice_id);
        last.is_some_and(|invoice| Some(invoice.id()) == paid)
    }

    /// The end as this side sees it.
    pub(super) fn settlement(&self) -> Option<Settlement> {
        let invoice = self.last_invoice.as_ref()?;
        Some(Settlement {
            order_id: self.order.id(),
            invoice_id: invoice.id(),
            payment_id: self.payments.last.as_ref().map(Signed::id),
            due: invoice.due,
            paid: self.paid(),
        })
    }

    /// Rebuilds an account from its journal. The sink must hold exactly the messages below
    /// [`verified`](Self::verified).
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(key: &SigningKey, menu: &Signed<Menu>, entries: &[Entry]) -> Result<Self, RestoreError> {
        let mut account: Option<Self> = None;
        for entry in entries {
            match (entry, &mut account) {
                (Entry::Statement(statement), None) if statement.kind == Kind::Order => {
                    let order = Signed::<Order>::parse(&statement.bytes)?;
                    let terms = Terms::resolve(menu, &order).ok_or(RestoreError::Incomplete)?;
                    account = Some(Self::new(key.clone(), order, terms));
                }
                (Entry::Statement(statement), Some(account)) => account.replay(statement.kind, &statement.bytes)?,
                (Entry::Salt(salt), Some(account)) => account.salt = Some(*salt),
                (Entry::Intent(invoice), Some(account)) => account.payments.intent = Some(StatementId(invoice.0)),
                (Entry::Record { .. }, Some(account)) => {
                    account.chain.told.records = account.chain.told.records.saturating_add(1);
                }
                (Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. }, _) => {}
            }
        }
        let mut account = account.ok_or(RestoreError::Incomplete)?;
        account.next = account.chain.base;
        account.delivered = account.next;
        // What passed before the restart nobody knows here; no more than the outstanding windows is of then.
        account.chain.uncounted = u64::from(account.terms.order.windows);
        Ok(account)
    }

    fn replay(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), RestoreError> {
        match kind {
            Kind::Attach => self.index = self.index.max(Signed::<Attach>::parse(bytes)?.index),
            Kind::Acceptance => self.replay_acceptance(Signed::<Acceptance>::parse(bytes)?.body()),
            Kind::Invoice => self.replay_invoice(Signed::parse(bytes)?),
            Kind::Payment => self.replay_payment(Signed::parse(bytes)?),
            Kind::Settlement => self.settled |= Signed::<Settlement>::parse(bytes)?.issuer() == self.key.public(),
            Kind::Default => self.chain.told.unpaid = true,
            Kind::Menu | Kind::Order | Kind::Ack | Kind::Sample | Kind::Quote | Kind::Rotation | Kind::Revocation => {}
        }
        Ok(())
    }

    const fn replay_acceptance(&mut self, acceptance: &Acceptance) {
        if let Some(forgiven) = &acceptance.forgiven {
            self.chain.next_n = forgiven.next_n;
            self.chain.base = acceptance.start;
        }
    }

    fn replay_invoice(&mut self, invoice: Signed<Invoice>) {
        // The journal has only what was verified.
        let _ = invoice.paid_by.map(|id| self.payments.confirm(&id, invoice.paid));
        self.chain.windows = self.chain.windows.saturating_add(u64::from(invoice.windows));
        self.chain.prev = invoice.id();
        self.chain.next_n = invoice.n.saturating_add(1);
        self.chain.units = invoice.units_total;
        self.chain.billed_to = invoice.t_end.unwrap_or(self.chain.billed_to);
        self.chain.base = invoice.end();
        self.unpaid.push_back(invoice.clone());
        self.last_invoice = Some(invoice);
    }

    fn replay_payment(&mut self, payment: Signed<Payment>) {
        // Written twice where a connection ended while the first write was under way: then its invoice
        // does not wait any more. One that does not follow and whose invoice waits was adopted.
        let waiting = self.unpaid.iter().find(|invoice| invoice.id() == payment.invoice_id).cloned();
        if payment.prev == self.payments.last.as_ref().map_or(self.order.id(), Signed::id) {
            self.book(payment);
        } else if let Some(invoice) = waiting.filter(|_| payment.total >= self.paid()) {
            // The journal has both already.
            drop(self.adopt((&invoice, &payment)));
        }
    }

    /// The invoice to pay next: one the rail was asked for already, else the newest. Never less than was paid: only a
    /// journal whose rows are not as they were written asks for that.
    pub(super) fn next_to_pay(&self) -> Option<&Signed<Invoice>> {
        let asked = self.payments.intent.and_then(|id| self.unpaid.iter().find(|invoice| invoice.id() == id));
        asked.or(self.unpaid.back()).filter(|invoice| invoice.due >= self.paid())
    }
}

impl Payments {
    /// The seller holds all payments up to this one, by its word at the start of a session. Invoices
    /// that were signed before may still come and name an older one.
    pub(super) fn set_heard(&mut self, id: Option<StatementId>) {
        let at = id.and_then(|id| self.unconfirmed.iter().position(|sent| sent.payment.id() == id));
        self.heard = at.map_or(0, |at| at.saturating_add(1));
    }

    /// Payments to send again.
    pub(super) fn unheard(&self) -> impl Iterator<Item = &Signed<Payment>> {
        self.unconfirmed.iter().skip(self.heard).map(|sent| &sent.payment)
    }

    /// An invoice credits a payment: those before it need not be kept.
    ///
    /// # Errors
    /// [`Offence::InvoiceCredit`] for a payment that was never sent, one before the last one
    /// credited, or another total.
    fn confirm(&mut self, id: &StatementId, total: Amount) -> Result<(), Offence> {
        if let Some(known) = self.credited.filter(|known| known.id == *id) {
            return if known.total == total { Ok(()) } else { Err(Offence::InvoiceCredit) };
        }
        let right = |sent: &Sent| sent.payment.id() == *id && sent.payment.total == total;
        let at = self.unconfirmed.iter().position(right).ok_or(Offence::InvoiceCredit)?;
        self.heard = self.heard.saturating_sub(at.saturating_add(1));
        let windows = self.unconfirmed.drain(..=at).next_back().map_or(0, |sent| sent.windows);
        self.credited = Some(Credited { id: *id, total, windows });
        Ok(())
    }
}

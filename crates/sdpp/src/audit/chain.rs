//! The chain of invoices: what stands, what is unpaid, what is void.

use std::collections::VecDeque;

use sdpp_proto::codec::{Digest, StatementId};
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Forgiven, Invoice, Product};
use sdpp_proto::time::Timestamp;

use super::case::{Book, Case, Head, Link, Seen, Stop};
use super::memory::Lost;
use super::report::{Missing, Party, Topic};
use super::rule::Rule;
use super::sale::Sale;

/// An invoice that stands, with totals up to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) head: Head,
    pub(super) n: u64,
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) bytes: u64,
    pub(super) digest: Digest,
    pub(super) is_last: bool,
    pub(super) due: Amount,
    pub(super) totals: Sums,
}

/// Totals of invoices that stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// The first message behind them.
    pub(super) end: u64,
    pub(super) invoices: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) windows: u64,
    pub(super) units: u64,
    pub(super) due: Amount,
    time: Timestamp,
}

/// Where the chain of invoices is.
#[derive(Debug)]
pub(super) struct Chain {
    order: StatementId,
    /// The acceptance behind which the chain begins or goes on, until the next invoice: a
    /// predecessor that may be named instead of the invoice or order before it.
    restart: Option<StatementId>,
    next_n: u64,
    next_first: u64,
    /// The newest invoice that is paid.
    paid: Option<Standing>,
    /// Invoices that stand and are not paid, oldest first.
    waiting: VecDeque<Standing>,
    /// What was forgiven last.
    forgiven: Option<Forgiven>,
    /// The first of the messages that were forgiven one behind the other, the last one of them last.
    forgiven_from: u64,
}

impl Chain {
    pub(super) fn new(order: StatementId) -> Self {
        Self {
            order,
            restart: None,
            next_n: 0,
            next_first: 0,
            paid: None,
            waiting: VecDeque::new(),
            forgiven: None,
            forgiven_from: 0,
        }
    }

    /// A connection was accepted: the first one begins the chain.
    pub(super) fn accepted(&mut self, acceptance: StatementId) {
        if self.next_n == 0 {
            self.restart.get_or_insert(acceptance);
        }
    }

    /// What was forgiven last.
    pub(super) const fn forgiven(&self) -> Option<Forgiven> {
        self.forgiven
    }

    /// How many messages from `first` on were forgiven before, without a gap.
    pub(super) fn forgiven_since(&self, first: u64) -> u64 {
        let end = self.forgiven.map_or(0, |before| before.first.saturating_add(before.count));
        end.saturating_sub(first.max(self.forgiven_from))
    }

    /// The chain goes on behind messages that are forgiven.
    pub(super) fn forgive(&mut self, acceptance: StatementId, start: u64, forgiven: &Forgiven) {
        let goes_on = self.forgiven.is_some_and(|before| {
            (self.forgiven_from..=before.first.saturating_add(before.count)).contains(&forgiven.first)
        });
        if !goes_on {
            self.forgiven_from = forgiven.first;
        }
        self.restart = Some(acceptance);
        self.next_n = forgiven.next_n;
        self.next_first = start;
        self.forgiven = Some(*forgiven);
    }

    /// What the next invoice names as its predecessor.
    fn prev(&self) -> StatementId {
        self.newest().map_or(self.order, |newest| newest.head.id)
    }

    /// The newest invoice that stands.
    pub(super) fn newest(&self) -> Option<&Standing> {
        self.waiting.back().or(self.paid.as_ref())
    }

    /// Totals of all that stands.
    pub(super) fn standing(&self) -> Sums {
        self.newest().map_or_else(Sums::default, |standing| standing.totals)
    }

    /// The first message that is not paid.
    pub(super) fn paid_end(&self) -> u64 {
        self.paid.map_or(0, |standing| standing.totals.end)
    }

    /// The number of the next invoice: all below it were made, void ones among them.
    pub(super) const fn made(&self) -> u64 {
        self.next_n
    }

    /// Totals up to an invoice behind which all may be void, because nothing behind it is paid; up to
    /// the order, if nothing at all is paid. Nothing follows on a last invoice.
    fn base(&self, id: &StatementId, book: &Book) -> Result<Option<Sums>, Lost> {
        if *id == self.order {
            return Ok(self.paid.is_none().then(Sums::default));
        }
        let waiting = book.invoice_number(id)?.and_then(|n| self.waiting.get(self.position(id, n)?));
        let paid = self.paid.as_ref().filter(|paid| paid.head.id == *id);
        Ok(waiting.or(paid).filter(|base| !base.is_last).map(|base| base.totals))
    }

    /// Whether all behind this invoice may be void, and something is.
    pub(super) fn may_end_at(&self, id: &StatementId, book: &Book) -> Result<bool, Lost> {
        Ok(self.prev() != *id && self.base(id, book)?.is_some())
    }

    fn position(&self, id: &StatementId, n: u64) -> Option<usize> {
        let at = self.waiting.binary_search_by_key(&n, |standing| standing.n).ok()?;
        self.waiting.get(at).filter(|standing| standing.head.id == *id).map(|_| at)
    }

    /// Takes an unpaid invoice and all behind it out of what stands.
    pub(super) fn void_from(&mut self, id: &StatementId, n: u64) -> Option<VecDeque<Standing>> {
        self.position(id, n).map(|at| self.waiting.split_off(at))
    }

    /// The unpaid invoices up to this one, oldest first; none if it does not wait for a payment.
    pub(super) fn unpaid_through(&self, id: &StatementId, n: u64) -> Option<impl Iterator<Item = &Standing>> {
        let at = self.position(id, n)?;
        Some(self.waiting.iter().take(at.saturating_add(1)))
    }

    /// All unpaid invoices, oldest first.
    pub(super) fn unpaid(&self) -> impl Iterator<Item = &Standing> {
        self.waiting.iter()
    }

    /// Takes an invoice and all before it as paid.
    pub(super) fn pay_through(&mut self, id: &StatementId, n: u64) {
        if let Some(at) = self.position(id, n) {
            self.paid = self.waiting.drain(..=at).next_back();
        }
    }

    fn push(&mut self, standing: Standing) {
        self.restart = None;
        self.next_n = self.next_n.saturating_add(1);
        self.next_first = standing.totals.end;
        self.waiting.push_back(standing);
    }
}

impl Sale {
    /// Checks an invoice from its place in the chain to the money it claims.
    pub(super) fn invoice(&mut self, head: &Head, invoice: &Invoice, book: &mut Book) -> Result<Seen, Stop> {
        let ties = [Some(invoice.prev), invoice.paid_by];
        self.belongs(head, (&self.seller, &invoice.order_id), &ties, book)?;
        let case = Case::new(head, Party::Seller);
        self.check_place(&case, invoice, book)?;
        self.check_first(&case, invoice)?;
        let end = self.check_span(&case, invoice)?;
        let (units, time) = self.check_units(&case, invoice)?;
        self.check_due(&case, invoice, units)?;
        let payments = self.money.credit(&case, (invoice.paid_by, invoice.paid), book)?;
        self.note_exposure(head, invoice, book);
        let before = self.chain.standing();
        let totals = Sums {
            end,
            invoices: before.invoices.saturating_add(1),
            messages: before.messages.saturating_add(invoice.count),
            bytes: before.bytes.saturating_add(invoice.bytes),
            windows: before.windows.saturating_add(u64::from(invoice.windows)),
            units,
            due: invoice.due,
            time,
        };
        let Invoice { n, first, count, bytes, digest, last, due, .. } = *invoice;
        self.chain.push(Standing { head: *head, n, first, count, bytes, digest, is_last: last, due, totals });
        Ok(Seen::Invoice { n, payments })
    }

    /// Number and predecessor.
    fn check_place(&self, case: &Case<'_>, invoice: &Invoice, book: &Book) -> Result<(), Stop> {
        if self.exposure.is_none() {
            return Err(Stop::Missing(Missing::Acceptance));
        }
        let next = self.chain.next_n;
        let other = if invoice.n < next { book.invoice_of_number(invoice.n)? } else { None };
        if let Some(other) = other {
            let text = format!("two different invoices have number {}", invoice.n);
            return Err(case.contradicts(Rule::Equivocation, Some(other), text));
        }
        if invoice.n > next && !book.seen.contains(&invoice.prev)? {
            return Err(Stop::Missing(Missing::Invoice(next)));
        }
        if self.follows_on_forgiven(invoice, book)? {
            return Err(Stop::Missing(Missing::Forgiveness(case.head.id)));
        }
        case.equal(Rule::InvoiceNumber, "number", next, invoice.n)?;
        if let Some(last) = self.chain.newest().filter(|newest| newest.is_last) {
            let text = format!("invoice {} was the last", last.n);
            return Err(case.contradicts(Rule::AfterLast, Some(last.head.id), text));
        }
        if self.chain.restart == Some(invoice.prev) {
            return Ok(());
        }
        let (what, expected) = ("the statement before it", self.chain.prev());
        case.links(book, &Link { rule: Rule::InvoicePrev, what, expected, found: invoice.prev })
    }

    /// Whether an acceptance that is not in the bundle would put an invoice right: one that forgives
    /// all behind the invoice it names as its predecessor, as much as may be forgiven.
    fn follows_on_forgiven(&self, invoice: &Invoice, book: &Book) -> Result<bool, Lost> {
        let Some(base) = self.chain.base(&invoice.prev, book)? else { return Ok(false) };
        let expected = (self.chain.prev(), self.chain.next_n, self.chain.next_first);
        // What the seller forgave once it cannot charge.
        let forgiven = self.chain.forgiven.filter(|forgiven| forgiven.first >= base.end);
        let from = forgiven.map_or(base.end, |forgiven| forgiven.first);
        let floor = forgiven.map_or(base.end, |forgiven| forgiven.first.saturating_add(forgiven.count));
        let product = &self.terms.product;
        let most = u64::from(product.k).saturating_mul(u64::from(self.terms.order.windows));
        let added = match (product.unit, invoice.t_start, invoice.t_end) {
            (Unit::Message, _, _) => invoice.count,
            (Unit::Byte, _, _) => invoice.bytes,
            (Unit::Second, Some(start), Some(end)) => end.since_ms(start),
            (Unit::Second, _, _) => 0,
        };
        Ok((invoice.prev, invoice.n, invoice.first) != expected
            && invoice.n >= self.chain.next_n
            && (floor..=from.saturating_add(most)).contains(&invoice.first)
            && base.units.checked_add(added) == Some(invoice.units_total))
    }

    fn check_first(&self, case: &Case<'_>, invoice: &Invoice) -> Result<(), Stop> {
        let (standing, expected) = (self.chain.standing().end, self.chain.next_first);
        if invoice.first < standing {
            let text = format!("it begins at message {}; up to {standing} all is invoiced already", invoice.first);
            let other = self.chain.newest().map(|newest| newest.head.id);
            return Err(case.contradicts(Rule::Equivocation, other, text));
        }
        if invoice.first < expected {
            let text = format!("it begins at message {}; up to {expected} all was forgiven", invoice.first);
            return Err(case.breaks(Rule::Forgiven, text));
        }
        case.equal(Rule::InvoiceFirst, "first message", expected, invoice.first)
    }

    /// Windows, messages and bytes; gives the first message behind.
    fn check_span(&self, case: &Case<'_>, invoice: &Invoice) -> Result<u64, Stop> {
        let Invoice { windows, first, count, bytes, last, .. } = *invoice;
        let product = &self.terms.product;
        if windows == 0 && !last {
            return Err(case.breaks(Rule::InvoiceWindows, "it covers no window and is not the last"));
        }
        case.at_most(Rule::InvoiceWindows, "windows", self.terms.order.windows, windows)?;
        let most = u64::from(windows).saturating_mul(u64::from(product.k));
        case.at_most(Rule::InvoiceCount, "messages", most, count)?;
        let most = count.saturating_mul(u64::from(product.message_max));
        case.at_most(Rule::InvoiceBytes, "bytes", most, bytes)?;
        let quantity = self.terms.order.quantity.unwrap_or(u64::MAX);
        let end = first.checked_add(count);
        let end = end.ok_or_else(|| case.breaks(Rule::InvoiceQuantity, "the number of messages overflows"))?;
        case.at_most(Rule::InvoiceQuantity, "messages in all", quantity, end)?;
        Ok(end)
    }

    /// Units in all, and the end of the time billed.
    fn check_units(&self, case: &Case<'_>, invoice: &Invoice) -> Result<(u64, Timestamp), Stop> {
        let before = self.chain.standing();
        let (ms, time) = check_time(case, &self.terms.product, invoice, before.time)?;
        let added = match self.terms.product.unit {
            Unit::Message => invoice.count,
            Unit::Byte => invoice.bytes,
            Unit::Second => ms,
        };
        let units = before.units.checked_add(added);
        let units = units.ok_or_else(|| case.breaks(Rule::InvoiceUnits, "the cumulative units overflow"))?;
        case.equal(Rule::InvoiceUnits, "cumulative units", units, invoice.units_total)?;
        Ok((units, time))
    }

    fn check_due(&self, case: &Case<'_>, invoice: &Invoice, units: u64) -> Result<(), Stop> {
        let due = self.terms.price().due(units);
        let due = due.ok_or_else(|| case.breaks(Rule::InvoiceDue, "the amount due needs more than 128 bits"))?;
        let what = format!("amount due for {units} units at {}", self.terms.price());
        case.equal(Rule::InvoiceDue, &what, due, invoice.due)?;
        case.at_most(Rule::InvoiceLimit, "amount due", self.terms.order.limit, invoice.due)
    }

    fn note_exposure(&self, head: &Head, invoice: &Invoice, book: &mut Book) {
        let owed = invoice.due.saturating_sub(invoice.paid);
        if let Some(exposure) = self.exposure.filter(|exposure| owed > *exposure) {
            let text = format!(
                "invoice {}: {owed} were owed, more than the {exposure} that the seller had agreed to lend; \
                 that is the seller's own risk",
                invoice.n
            );
            book.note(Topic::Exposure, Some(head.id), text);
        }
    }
}

/// Milliseconds billed and where they end.
fn check_time(
    case: &Case<'_>,
    product: &Product,
    invoice: &Invoice,
    before: Timestamp,
) -> Result<(u64, Timestamp), Stop> {
    let breaks = |text: String| Err(case.breaks(Rule::InvoiceTime, text));
    match (product.unit, invoice.t_start, invoice.t_end) {
        (Unit::Message | Unit::Byte, None, None) => Ok((0, before)),
        (Unit::Message | Unit::Byte, _, _) => breaks("it bills time, and the price does not count seconds".into()),
        (Unit::Second, None, None) if invoice.last && invoice.count == 0 => Ok((0, before)),
        (Unit::Second, Some(start), Some(end)) if before <= start && start <= end => Ok((end.since_ms(start), end)),
        (Unit::Second, Some(start), Some(end)) => {
            breaks(format!("it bills {start} to {end}; expected a time behind {before}"))
        }
        (Unit::Second, _, _) => breaks("it does not say which time it bills".into()),
    }
}

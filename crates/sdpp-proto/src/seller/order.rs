//! One order's account at the seller: what was sent, invoiced and paid. Survives its connections.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::span::{Issued, Span};
use crate::codec::{Bytes32, Digest, StatementId};
use crate::credit::{Credit, CreditTerms};
use crate::identity::{PublicKey, SigningKey};
use crate::limits;
use crate::message::{self, Batch};
use crate::money::{Amount, Unit};
use crate::offence::Offence;
use crate::span::SpanStart;
use crate::statement::{AnyStatement, Attach, Forgiven, Invoice, Order, Payment, Signed, Signing, Terms};
use crate::time::Timestamp;

/// How an offer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offered {
    /// All was taken; more is welcome.
    Taken,
    /// Credit, windows or memory are used up: offer the rest after the next payment.
    Stalled,
    /// The next message is longer than the product allows: drop it or give up.
    TooLong,
    /// The order takes no more: its quantity, limit or deposit is reached, or it is ending.
    Done,
    /// There is no live session.
    NotLive,
}

/// A window that is being filled.
#[derive(Debug)]
struct Window {
    size: u32,
    count: u32,
    bytes: u64,
    opened: Timestamp,
}

/// One order's account at the seller.
#[derive(Debug)]
pub struct SellerOrder {
    pub(super) key: SigningKey,
    pub(super) order: Signed<Order>,
    pub(super) terms: Terms,
    pub(super) salt: Bytes32,
    /// Index of the newest attach.
    pub(super) index: u32,
    pub(super) credit: Credit,
    pub(super) chain: Chain,
    window: Option<Window>,
    pub(super) open: Option<Span>,
    /// Spans with an invoice, oldest first, until they are paid.
    pub(super) closed: VecDeque<Span>,
    /// Memory of spans that were paid, for the next batches: fresh memory costs as much as hashing it. Never more than
    /// what is unpaid, and none between connections.
    spare: Vec<Vec<u8>>,
    /// The last payment credited.
    pub(super) last_payment: Option<Signed<Payment>>,
    /// The last invoice that was paid.
    pub(super) last_paid: Option<Signed<Invoice>>,
    /// Invoices signed and not yet handed to the journal.
    pub(super) fresh: Vec<AnyStatement>,
    /// Set once the order can only be settled.
    pub(super) ending: Option<Ending>,
}

/// Where the chain of invoices goes on.
#[derive(Debug)]
pub(super) struct Chain {
    /// What the next invoice names as its predecessor: the order, then the last valid invoice.
    pub(super) prev: StatementId,
    pub(super) next_n: u64,
    pub(super) next_seq: u64,
    /// What was forgiven last, behind `anchor`.
    pub(super) forgiven: Option<Forgiven>,
    /// The last invoice (or the order) that both sides held when something was forgiven.
    pub(super) anchor: StatementId,
    /// The journal holds the order.
    pub(super) opened: bool,
    /// The journal was restored from a backup: the order can only settle.
    pub(super) restored: bool,
    /// The payment credited last, where only an own invoice names it: the payment is lost.
    pub(super) credited: Option<StatementId>,
    /// After a restart: unpaid messages are known by their invoices only.
    pub(super) plaintext_lost: bool,
}

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The last invoice is to be made, or was made.
    Last,
    /// The own settlement was signed.
    Settled,
    /// The buyer's, too.
    Countersigned,
    /// The own default was signed: only a late payment is awaited.
    Defaulted,
}

impl SellerOrder {
    pub(super) fn new(key: SigningKey, order: Signed<Order>, terms: Terms, salt: Bytes32) -> Self {
        let credit = Credit::new(&CreditTerms {
            price: terms.price(),
            exposure_max: Amount::ZERO,
            ceiling: Amount::ZERO,
            k: terms.product.k,
            windows: 1,
            ramp: true,
        });
        let chain = Chain {
            prev: order.id(),
            next_n: 0,
            next_seq: 0,
            forgiven: None,
            anchor: order.id(),
            opened: false,
            restored: false,
            credited: None,
            plaintext_lost: false,
        };
        Self {
            key,
            order,
            terms,
            salt,
            index: 0,
            credit,
            chain,
            window: None,
            open: None,
            closed: VecDeque::new(),
            spare: Vec::new(),
            last_payment: None,
            last_paid: None,
            fresh: Vec::new(),
            ending: None,
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

    /// The buyer's identity.
    pub fn buyer(&self) -> PublicKey {
        self.order.issuer()
    }

    /// The terms.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Cumulative amount due for what was sent.
    pub fn due(&self) -> Amount {
        self.credit.due()
    }

    /// Cumulative amount credited.
    pub const fn paid(&self) -> Amount {
        self.credit.paid()
    }

    /// Messages sent, forgiven ones among them.
    pub const fn sent(&self) -> u64 {
        self.chain.next_seq
    }

    /// Whether the own settlement was signed.
    pub fn is_settled(&self) -> bool {
        matches!(self.ending, Some(Ending::Settled | Ending::Countersigned))
    }

    /// Whether both have signed the end: nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.ending == Some(Ending::Countersigned)
    }

    /// Whether anything was ever paid.
    pub const fn has_paid(&self) -> bool {
        self.last_payment.is_some()
    }

    /// The payment credited last.
    pub(super) fn credited(&self) -> Option<StatementId> {
        self.chain.credited.or(self.last_payment.as_ref().map(Signed::id))
    }

    /// Whether the buyer has paid a full window: the ramp is over.
    pub const fn is_proven(&self) -> bool {
        self.last_payment.is_some() && !self.credit.ramp()
    }

    /// Index of the newest attach.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Takes messages as far as credit goes. They stay in the batch's memory, or few are copied, whole slices once.
    pub(super) fn offer(&mut self, now: Timestamp, batch: &mut Batch) -> Offered {
        self.advance_time(now);
        loop {
            if self.ending.is_some() || self.remaining() == 0 {
                return Offered::Done;
            }
            if batch.is_empty() {
                return Offered::Taken;
            }
            if self.kept_bytes() >= limits::KEPT_BYTES_MAX || !self.ensure_window(now) {
                return Offered::Stalled;
            }
            let fitting = self.fitting(batch);
            if fitting == 0 {
                return self.no_room(now, batch);
            }
            let message_max = usize::try_from(self.terms.product.message_max).unwrap_or(usize::MAX);
            if batch.payload_max(fitting) > message_max {
                if batch.payload_max(1) > message_max {
                    return Offered::TooLong;
                }
                // Only the slow path looks message by message.
                self.append(now, batch, 1);
                continue;
            }
            self.append(now, batch, fitting);
        }
    }

    /// How many of the next messages window, quantity and credit have room for.
    fn fitting(&self, batch: &Batch) -> usize {
        let Some(window) = &self.window else { return 0 };
        let left = u64::from(window.size.saturating_sub(window.count)).min(self.remaining());
        let mut count = batch.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let allowance = self.credit.allowance();
        match self.credit.unit() {
            Unit::Message => count = count.min(usize::try_from(allowance).unwrap_or(usize::MAX)),
            Unit::Byte => count = batch.fitting_payload(count, allowance),
            Unit::Second => {}
        }
        let room = self.window_bytes().saturating_sub(window.bytes);
        // A window ends with the message that reaches its bytes.
        let below = batch.fitting_payload(count, room.saturating_sub(1));
        count.min(below.saturating_add(1))
    }

    fn window_bytes(&self) -> u64 {
        let hard = u64::try_from(limits::SPAN_BYTES_MAX).unwrap_or(u64::MAX);
        match self.terms.product.window_bytes {
            0 => hard,
            bytes => bytes.min(hard),
        }
    }

    /// Nothing fits although a window is open: credit is used up.
    fn no_room(&mut self, now: Timestamp, batch: &Batch) -> Offered {
        let payload = u64::try_from(batch.payload_max(1)).unwrap_or(u64::MAX);
        let exhausted = self.credit.is_exhausted(self.credit.units_of(1, payload));
        self.close_window(false);
        self.cut(now, false);
        if exhausted { Offered::Done } else { Offered::Stalled }
    }

    fn append(&mut self, now: Timestamp, batch: &mut Batch, count: usize) {
        let order = self.order.id();
        let signing = self.terms.product.signing;
        let (Some(window), Some(span)) = (&mut self.window, &mut self.open) else { return };
        let headers = count.saturating_mul(limits::MESSAGE_HEADER_LEN);
        let payload = u64::try_from(batch.peek(count).len().saturating_sub(headers)).unwrap_or(u64::MAX);
        let messages = u64::try_from(count).unwrap_or(u64::MAX);
        if self.credit.spend(self.credit.units_of(messages, payload)).is_err() {
            return;
        }
        match signing {
            Signing::Window => batch.give(count, &mut span.data),
            Signing::Message => {
                let (encoded, from) = (batch.peek(count), (&order, self.chain.next_seq));
                span.data.write(|out| message::append_signed(out, encoded, &self.key, from));
            }
        }
        batch.take(count);
        if batch.is_empty() {
            batch.write_into(&mut self.spare);
        }
        span.hash_some();
        span.count = span.count.saturating_add(messages);
        span.bytes = span.bytes.saturating_add(payload);
        self.chain.next_seq = self.chain.next_seq.saturating_add(messages);
        window.count = window.count.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        window.bytes = window.bytes.saturating_add(payload);
        if window.count >= window.size || window.bytes >= self.window_bytes() {
            self.close_window(true);
            self.cut_if_due(now);
        }
    }

    /// Messages that the order still wants.
    pub(super) fn remaining(&self) -> u64 {
        self.terms.order.quantity.unwrap_or(u64::MAX).saturating_sub(self.chain.next_seq)
    }

    /// Memory that unpaid messages take.
    fn kept_bytes(&self) -> u64 {
        let spans = self.closed.iter().chain(&self.open);
        spans.map(|span| u64::try_from(span.data.memory()).unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
    }

    /// Starts a window if there is none and one may start.
    fn ensure_window(&mut self, now: Timestamp) -> bool {
        if self.window.is_some() {
            return true;
        }
        if !self.credit.may_start_window() {
            self.cut(now, false);
            return false;
        }
        let size = self.credit.start_window();
        self.window = Some(Window { size, count: 0, bytes: 0, opened: now });
        let span = self.open.get_or_insert_with(|| {
            let start = SpanStart { order: self.order.id(), n: self.chain.next_n, first: self.chain.next_seq };
            Span::new(start, &self.salt)
        });
        if self.credit.unit() == Unit::Second && span.time.is_none() {
            span.time = Some((now, now));
        }
        true
    }

    /// Ends the window that is being filled. One without messages or billed time did not happen.
    fn close_window(&mut self, full: bool) {
        let Some(window) = self.window.take() else { return };
        let billed = self.open.as_ref().and_then(|span| span.time).is_some_and(|(start, end)| end > start);
        if window.count == 0 && !billed {
            self.credit.drop_windows(1);
            // Nor did time begin with it: the next window may come behind a break, which nobody pays for.
            if let Some(span) = self.open.as_mut().filter(|span| span.windows == 0) {
                span.time = None;
            }
            return;
        }
        if let Some(span) = &mut self.open {
            span.windows = span.windows.saturating_add(1);
            span.full |= full && window.size >= self.terms.product.k;
        }
    }

    /// Windows that one invoice covers: one in lock step, else up to a quarter of the outstanding.
    fn span_windows(&self) -> u32 {
        (self.credit.windows_allowed() / 4).max(1)
    }

    fn cut_if_due(&mut self, now: Timestamp) {
        let Some(span) = &self.open else { return };
        let long = span.data.len() >= limits::SPAN_BYTES_MAX / 2;
        let used_up = !self.credit.may_start_window() || (self.credit.allowance() == 0 && !self.is_timed());
        if span.windows >= self.span_windows() || long || used_up {
            self.cut(now, false);
        }
    }

    fn is_timed(&self) -> bool {
        self.credit.unit() == Unit::Second
    }

    /// The source has nothing at the moment: whole windows need not wait for more.
    pub(super) fn idle(&mut self, now: Timestamp) {
        if self.window.is_none() {
            self.cut(now, false);
        }
    }

    /// Bills time that has passed, closes windows whose time is over.
    pub(super) fn advance_time(&mut self, now: Timestamp) {
        if self.ending.is_some() {
            return;
        }
        if self.is_timed() {
            self.bill_time(now);
        }
        let window_ms = self.terms.product.window_ms;
        let over = |window: &Window| window_ms > 0 && now >= window.opened.after_ms(window_ms);
        if self.window.as_ref().is_some_and(over) {
            self.close_window(false);
            self.cut(now, false);
            if self.is_timed() {
                self.ensure_window(now);
            }
        }
    }

    fn bill_time(&mut self, now: Timestamp) {
        if !self.ensure_window(now) {
            return;
        }
        let allowance = self.credit.allowance();
        let Some((_, end)) = self.open.as_mut().and_then(|span| span.time.as_mut()) else { return };
        let passed = now.since_ms(*end).min(allowance);
        *end = end.after_ms(passed);
        let spent = self.credit.spend(passed).is_ok();
        if !spent || passed == allowance {
            // The service pauses here; time is billed again when a payment has made room.
            self.close_window(false);
            self.cut(now, false);
        }
    }

    /// When [`advance_time`](Self::advance_time) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        if self.ending.is_some() {
            return None;
        }
        let window = self.window.as_ref()?;
        let by_window = match self.terms.product.window_ms {
            0 => None,
            ms => Some(window.opened.after_ms(ms)),
        };
        let by_credit = match self.open.as_ref().and_then(|span| span.time) {
            Some((_, end)) if self.is_timed() => Some(end.after_ms(self.credit.allowance())),
            _ => None,
        };
        by_window.into_iter().chain(by_credit).min()
    }

    /// Ends the open span and signs its invoice. Without `last`, an empty span is left alone.
    fn cut(&mut self, now: Timestamp, last: bool) {
        debug_assert!(self.window.is_none(), "a span ends between windows");
        let ready = self.open.as_ref().is_some_and(|span| span.windows > 0);
        if !ready && !last {
            return;
        }
        let start = SpanStart { order: self.order.id(), n: self.chain.next_n, first: self.chain.next_seq };
        let mut span = self.open.take().unwrap_or_else(|| Span::new(start, &self.salt));
        let invoice = Invoice {
            order_id: self.order.id(),
            n: span.start.n,
            windows: span.windows,
            prev: self.chain.prev,
            first: span.start.first,
            count: span.count,
            bytes: span.bytes,
            t_start: span.time.map(|(start, _)| start),
            t_end: span.time.map(|(_, end)| end),
            digest: span.digest(),
            units_total: self.credit.units(),
            due: self.credit.due(),
            paid: self.credit.paid(),
            paid_by: self.credited(),
            last,
        };
        let invoice = Signed::sign(&self.key, invoice);
        self.chain.prev = invoice.id();
        self.chain.next_n = self.chain.next_n.saturating_add(1);
        self.fresh.push(invoice.erase());
        span.issued = Some(Issued { invoice, durable: false, acked: false, since: now });
        self.closed.push_back(span);
    }

    /// Stops sending and makes the last invoice, once.
    pub(super) fn finish(&mut self, now: Timestamp) {
        if self.ending.is_some() {
            return;
        }
        if self.is_timed() && self.window.is_some() {
            self.bill_time(now);
        }
        self.close_window(false);
        self.cut(now, true);
        self.ending = Some(Ending::Last);
    }

    /// A connection has ended: time that passes until the next one is not billed.
    pub(super) fn detach(&mut self, now: Timestamp) {
        self.spare = Vec::new();
        if self.is_timed() && self.ending.is_none() {
            self.bill_time(now);
            self.close_window(false);
            self.cut(now, false);
        }
    }

    /// Invoices whose write was under way when the last connection ended go to the journal again.
    pub(super) fn refresh(&mut self) {
        let issued = self.closed.iter().filter_map(|span| span.issued.as_ref());
        self.fresh = issued.filter(|issued| !issued.durable).map(|issued| issued.invoice.erase()).collect();
    }

    /// Marks invoices as durable, in the order in which they were signed.
    pub(super) fn invoice_stored(&mut self, id: &StatementId, now: Timestamp) {
        for issued in self.closed.iter_mut().filter_map(|span| span.issued.as_mut()) {
            if issued.invoice.id() == *id {
                issued.durable = true;
                issued.since = now;
            }
        }
    }

    /// The newest invoice, paid or not.
    pub(super) fn last_invoice(&self) -> Option<&Signed<Invoice>> {
        let newest = self.closed.iter().rev().find_map(|span| span.issued.as_ref());
        newest.map(|issued| &issued.invoice).or(self.last_paid.as_ref())
    }

    /// An invoice that waits for its payment.
    pub(super) fn waiting(&self, id: &StatementId) -> Option<&Issued> {
        self.closed.iter().filter_map(|span| span.issued.as_ref()).find(|issued| issued.invoice.id() == *id)
    }

    /// Whether an invoice waits for its payment and was not acknowledged yet.
    pub(super) fn awaits_ack(&self, id: &StatementId) -> bool {
        self.waiting(id).is_some_and(|issued| !issued.acked)
    }

    /// The buyer has acknowledged an invoice.
    pub(super) fn acknowledged(&mut self, id: &StatementId) {
        let issued = self.closed.iter_mut().filter_map(|span| span.issued.as_mut());
        issued.filter(|issued| issued.invoice.id() == *id).for_each(|issued| issued.acked = true);
    }

    /// Checks a payment against the account, all but its signature and its place in the chain.
    ///
    /// # Errors
    /// The offence.
    pub(super) fn check_payment(&self, payment: &Signed<Payment>) -> Result<(), Offence> {
        if payment.order_id != self.order.id() {
            return Err(Offence::PaymentForAnother);
        }
        let issued = self.waiting(&payment.invoice_id).filter(|issued| issued.durable);
        let right = match issued {
            Some(issued) => payment.total == issued.invoice.due,
            // The invoice is lost; what follows it is not, and no payment is above that.
            None if self.chain.restored => (self.paid()..=self.due()).contains(&payment.total),
            None => return Err(Offence::PaymentInvoice),
        };
        if !right {
            return Err(Offence::PaymentTotal);
        }
        if payment.channel != self.terms.order.channel {
            return Err(Offence::PaymentChannel);
        }
        Ok(())
    }

    /// Books a payment that is settled and durable: credit for all windows up to its invoice.
    pub(super) fn credit_payment(&mut self, payment: Signed<Payment>) {
        if self.waiting(&payment.invoice_id).is_none() {
            if self.chain.restored && payment.total >= self.paid() {
                self.credit.grant(payment.total, 0, false);
                self.chain.credited = None;
                self.last_payment = Some(payment);
            }
            return;
        }
        let (mut windows, mut full) = (0u64, false);
        while let Some(span) = self.closed.pop_front() {
            windows = windows.saturating_add(u64::from(span.windows));
            full |= span.full;
            self.spare.extend(span.data.into_memory());
            let Some(issued) = span.issued else { continue };
            let found = issued.invoice.id() == payment.invoice_id;
            self.last_paid = Some(issued.invoice);
            if found {
                break;
            }
        }
        self.trim_spare();
        self.credit.grant(payment.total, windows, full);
        self.chain.credited = None;
        self.last_payment = Some(payment);
    }

    /// Lets go of memory beyond what is unpaid.
    fn trim_spare(&mut self) {
        let mut room = self.kept_bytes();
        self.spare.retain(|memory| {
            let bytes = u64::try_from(memory.capacity()).unwrap_or(u64::MAX);
            let rest = room.checked_sub(bytes);
            room = rest.unwrap_or(room);
            rest.is_some()
        });
    }

    /// The oldest durable invoice without a payment: since when it waits.
    pub(super) fn oldest_unpaid(&self) -> Option<&Issued> {
        self.closed.iter().filter_map(|span| span.issued.as_ref()).find(|issued| issued.durable)
    }

    /// Digest over what the buyer says it holds behind the span that ends at `from`.
    pub(super) fn prefix_digest(&self, from: u64, next: u64) -> Option<Digest> {
        let signing = self.terms.product.signing;
        let mut digests = Vec::new();
        // Spans without messages (time was sold) are not part of it.
        for span in self.closed.iter().chain(&self.open).filter(|span| span.count > 0 && span.end() > from) {
            if next <= span.start.first {
                break;
            }
            let count = next.min(span.end()).saturating_sub(span.start.first);
            digests.extend_from_slice(span.prefix_digest(count, &self.salt, signing).as_bytes());
        }
        (!digests.is_empty()).then(|| crate::span::prefix_digest(&digests))
    }

    /// Whether `attach` is newer than every one before it.
    pub(super) fn accepts_index(&self, attach: &Attach) -> bool {
        attach.index > self.index
    }
}

//! The books of a lying seller: what an honest one would have sent, invoiced and been paid.

use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::limits;
use sdpp_proto::message::message_to_sign;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::span::{SpanHasher, SpanStart, span_salt};
use sdpp_proto::statement::{Have, Invoice, Menu, Order, Payment, Settlement, Signed, Signing, Terms};
use sdpp_proto::time::Timestamp;

/// One window: its messages in canonical form, and its invoice.
#[derive(Clone)]
pub(super) struct Span {
    pub(super) data: Vec<u8>,
    pub(super) invoice: Signed<Invoice>,
}

/// One order's account.
pub(super) struct Books {
    pub(super) order: Signed<Order>,
    pub(super) terms: Terms,
    pub(super) salt: Bytes32,
    /// All of them, oldest first: a buyer may have lost what it has not paid for.
    pub(super) spans: Vec<Span>,
    pub(super) last_payment: Option<Signed<Payment>>,
    /// Spans that are paid.
    paid_spans: usize,
    /// Service billed up to here, where the price counts seconds.
    billed_to: Timestamp,
    key: SigningKey,
    source: fn(u64) -> Vec<u8>,
}

impl Books {
    /// `None` for an order that the menu does not have.
    pub(super) fn new(
        key: &SigningKey,
        menu: &Menu,
        order: &Signed<Order>,
        salt: Bytes32,
        source: fn(u64) -> Vec<u8>,
    ) -> Option<Self> {
        let terms = Terms::resolve(menu, order)?;
        Some(Self {
            order: order.clone(),
            terms,
            salt,
            spans: Vec::new(),
            last_payment: None,
            paid_spans: 0,
            billed_to: Timestamp::ZERO,
            key: key.clone(),
            source,
        })
    }

    /// A connection begins: time before it is not billed.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.billed_to = self.billed_to.max(now);
    }

    /// The first span to send to a buyer that holds `have`; `None` if it cannot hold that. It may hold
    /// messages of a window that was taken back.
    pub(super) fn resume(&self, have: &Have) -> Option<usize> {
        let at = match have.last_invoice {
            Some(id) => self.spans.iter().position(|span| span.invoice.id() == id)?.saturating_add(1),
            None => 0,
        };
        let base = at.checked_sub(1).and_then(|before| self.spans.get(before)).map_or(0, |span| span.invoice.end());
        (base == have.base && have.next >= base).then_some(at)
    }

    /// The first message that was never sent.
    pub(super) fn next(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.invoice.end())
    }

    /// Messages that the order still wants.
    pub(super) fn remaining(&self) -> u64 {
        self.terms.order.quantity.unwrap_or(u64::MAX).saturating_sub(self.next())
    }

    pub(super) fn paid(&self) -> Amount {
        self.last_payment.as_ref().map_or(Amount::ZERO, |payment| payment.total)
    }

    fn units(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.invoice.units_total)
    }

    pub(super) fn has_last(&self) -> bool {
        self.spans.last().is_some_and(|span| span.invoice.last)
    }

    /// The last invoice, once it is paid.
    pub(super) fn paid_last(&self) -> Option<&Signed<Invoice>> {
        let last = self.spans.last().filter(|span| span.invoice.last && self.paid_spans >= self.spans.len());
        last.map(|span| &span.invoice)
    }

    pub(super) fn settlement(&self, invoice: &Signed<Invoice>) -> Settlement {
        Settlement {
            order_id: invoice.order_id,
            invoice_id: invoice.id(),
            payment_id: self.last_payment.as_ref().map(Signed::id),
            due: invoice.due,
            paid: self.paid(),
        }
    }

    /// Credits a payment that answers an invoice of this order and was not credited before.
    pub(super) fn credit(&mut self, payment: &Signed<Payment>) -> bool {
        let tip = self.last_payment.as_ref().map_or(self.order.id(), Signed::id);
        let found = self.spans.iter().position(|span| span.invoice.id() == payment.invoice_id);
        let Some((at, span)) = found.and_then(|at| Some((at, self.spans.get(at)?))) else { return false };
        let right = payment.prev == tip
            && payment.total == span.invoice.due
            && payment.issuer() == self.terms.order.sign_pk
            && at >= self.paid_spans;
        if right {
            self.paid_spans = at.saturating_add(1);
            self.last_payment = Some(payment.clone());
        }
        right
    }

    /// Units that exposure and limit leave room for.
    fn allowance(&self) -> u64 {
        let order = &self.terms.order;
        let budget = self.paid().checked_add(order.exposure_max).unwrap_or(Amount::MAX).min(order.limit);
        self.terms.price().affordable(budget).saturating_sub(self.units())
    }

    fn owes_nothing(&self) -> bool {
        self.paid_spans >= self.spans.len()
    }

    /// Makes the next window, if there is room for one. Once nothing can follow, the last invoice.
    pub(super) fn grow(&mut self, now: Timestamp) -> bool {
        if self.has_last() {
            return false;
        }
        let outstanding = self.spans.len().saturating_sub(self.paid_spans);
        if u64::try_from(outstanding).unwrap_or(u64::MAX) >= u64::from(self.terms.order.windows) {
            return false;
        }
        let allowance = self.allowance();
        let timed = self.terms.product.unit == Unit::Second;
        let ms = if timed { now.since_ms(self.billed_to).min(allowance) } else { 0 };
        if timed && ms == 0 && allowance > 0 {
            // Nothing has been served yet.
            return false;
        }
        let payloads = self.payloads(if timed { u64::MAX } else { allowance });
        let nothing = if timed { allowance == 0 } else { payloads.is_empty() };
        match (nothing, self.owes_nothing()) {
            (true, true) => self.finish(),
            (true, false) => return false,
            (false, _) => self.add(&payloads, ms),
        }
        true
    }

    /// One more window, whatever was agreed.
    pub(super) fn overgrow(&mut self) {
        self.add(&self.payloads(u64::MAX), 0);
    }

    /// Whether the newest window is more than was agreed.
    pub(super) fn is_overgrown(&self) -> bool {
        let order = &self.terms.order;
        let due = self.spans.last().map_or(Amount::ZERO, |span| span.invoice.due);
        let outstanding = self.spans.len().saturating_sub(self.paid_spans);
        due > order.limit
            || due.saturating_sub(self.paid()) > order.exposure_max
            || u64::try_from(outstanding).unwrap_or(u64::MAX) > u64::from(order.windows)
    }

    /// Whether enough is left to sell for more than was agreed.
    pub(super) fn can_overgrow(&self) -> bool {
        let most = u64::from(self.terms.order.windows).saturating_add(2);
        !self.has_last() && self.remaining() > most.saturating_mul(u64::from(self.terms.product.k))
    }

    /// The payloads of one window.
    fn payloads(&self, allowance: u64) -> Vec<Vec<u8>> {
        let product = &self.terms.product;
        let most = usize::try_from(product.message_max).unwrap_or(usize::MAX);
        let (mut payloads, mut bytes): (Vec<Vec<u8>>, u64) = (Vec::new(), 0);
        let count = u64::from(product.k).min(self.remaining());
        let room = |bytes: u64| product.window_bytes == 0 || bytes < product.window_bytes;
        for seq in (self.next()..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
            let mut payload = (self.source)(seq);
            payload.truncate(most);
            bytes = bytes.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
            let units = match product.unit {
                Unit::Message => u64::try_from(payloads.len()).unwrap_or(u64::MAX).saturating_add(1),
                Unit::Byte => bytes,
                Unit::Second => 0,
            };
            if units > allowance {
                break;
            }
            payloads.push(payload);
            if !room(bytes) {
                break;
            }
        }
        payloads
    }

    fn add(&mut self, payloads: &[Vec<u8>], ms: u64) {
        let mut data = Vec::new();
        let mut bytes = 0u64;
        for (seq, payload) in (self.next()..).zip(payloads) {
            data.extend_from_slice(&self.encode(seq, payload));
            bytes = bytes.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
        }
        let count = u64::try_from(payloads.len()).unwrap_or(u64::MAX);
        let last = self.remaining() == count;
        let new = match self.terms.product.unit {
            Unit::Message => count,
            Unit::Byte => bytes,
            Unit::Second => ms,
        };
        let time = (self.terms.product.unit == Unit::Second).then(|| (self.billed_to, self.billed_to.after_ms(ms)));
        self.billed_to = time.map_or(self.billed_to, |(_, end)| end);
        let body = Invoice { windows: 1, count, bytes, last, ..self.blank(&data, count) };
        let body = self.priced(body, new);
        let body = Invoice { t_start: time.map(|(start, _)| start), t_end: time.map(|(_, end)| end), ..body };
        self.spans.push(Span { invoice: Signed::sign(&self.key, body), data });
    }

    /// The last invoice, without messages.
    pub(super) fn finish(&mut self) {
        if !self.has_last() {
            let body = Invoice { last: true, ..self.blank(&[], 0) };
            let body = self.priced(body, 0);
            self.spans.push(Span { invoice: Signed::sign(&self.key, body), data: Vec::new() });
        }
    }

    /// An invoice behind the newest one, over `data`, that claims nothing yet.
    pub(super) fn blank(&self, data: &[u8], count: u64) -> Invoice {
        let n = u64::try_from(self.spans.len()).unwrap_or(u64::MAX);
        let start = SpanStart { order: self.order.id(), n, first: self.next() };
        let mut hasher = SpanHasher::new(&start, &span_salt(&self.salt, n));
        hasher.update(data);
        Invoice {
            order_id: start.order,
            n,
            windows: 0,
            prev: self.spans.last().map_or(self.order.id(), |span| span.invoice.id()),
            first: start.first,
            count,
            bytes: 0,
            t_start: None,
            t_end: None,
            digest: hasher.digest(count),
            units_total: self.units(),
            due: Amount::ZERO,
            paid: self.paid(),
            paid_by: self.last_payment.as_ref().map(Signed::id),
            last: false,
        }
    }

    /// The same invoice over so many further units.
    pub(super) fn priced(&self, invoice: Invoice, new: u64) -> Invoice {
        let units_total = invoice.units_total.saturating_add(new);
        let due = self.terms.price().due(units_total).unwrap_or(Amount::MAX);
        Invoice { units_total, due, ..invoice }
    }

    /// A message in its canonical form.
    pub(super) fn encode(&self, seq: u64, payload: &[u8]) -> Vec<u8> {
        let time_us = i64::try_from(seq).unwrap_or(i64::MAX);
        let mut out = time_us.to_be_bytes().to_vec();
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(payload);
        if self.terms.product.signing == Signing::Message {
            out.extend_from_slice(&self.key.sign(&message_to_sign(&self.order.id(), seq, time_us, payload)));
        }
        out
    }
}

/// Most bytes of messages that one frame of a lying seller takes.
pub(super) const FRAME_BYTES: usize = limits::FRAME_PLAIN_MAX / 4;

//! A seller made by hand.

use sdpp_proto::codec::{self, Bytes32, StatementId};
use sdpp_proto::frame::FrameKind;
use sdpp_proto::hash::sha256;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::keys::{Direction, EXPORT_TRAFFIC, INFO_ORDER, INFO_SESSION, Traffic};
use sdpp_proto::limits;
use sdpp_proto::message::message_to_sign;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::span::{SpanHasher, SpanStart, span_salt};
use sdpp_proto::statement::{
    Acceptance, Attach, Default as Unpaid, Invoice, Menu, Order, Payment, Settlement, Signed, Signing, Terms,
};
use sdpp_proto::suite::{Entropy, SealSecret, Sender, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{self, Ask, Control, Hello, MenuReply, OrderPlain, SealedOrder, SealedSession, SessionPlain};

use super::line::{Heard, Line, body, clear_error, fresh};

/// Where the books stand: what the next honest invoice continues.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// The invoice before; the order for the first.
    pub prev: StatementId,
    /// Number of the next invoice.
    pub n: u64,
    /// The next message.
    pub next: u64,
    /// Cumulative units.
    pub units: u64,
    /// Cumulative amount credited.
    pub paid: Amount,
    /// The payment that was credited last.
    pub paid_by: Option<StatementId>,
    /// End of the service billed, where the price counts seconds.
    pub billed_to: Timestamp,
}

struct Span {
    start: SpanStart,
    hasher: SpanHasher,
    count: u64,
    bytes: u64,
}

/// A seller made by hand: one connection.
pub struct RawSeller {
    /// Its identity.
    pub key: SigningKey,
    /// Its menu.
    pub menu: Signed<Menu>,
    /// The wire.
    pub line: Line,
    /// The order, once heard.
    pub order: Option<Signed<Order>>,
    /// The attach, once heard.
    pub attach: Option<Signed<Attach>>,
    /// Salts the digests of the order.
    pub salt: Bytes32,
    /// The books.
    pub totals: Totals,
    seals: Vec<SealSecret>,
    entropy: Entropy,
    hello: Vec<u8>,
    th1: Bytes32,
    th2: Bytes32,
    sender: Option<Sender>,
    span: Option<Span>,
}

impl RawSeller {
    /// A fresh connection; nothing is sent yet. `seals` are the secrets of the menu's sealing keys.
    pub fn new(key: SigningKey, menu: Signed<Menu>, seals: Vec<SealSecret>, seed: [u8; 32]) -> Self {
        let mut entropy = Entropy::new(seed);
        let salt = fresh(&mut entropy);
        let totals = Totals {
            prev: StatementId::default(),
            n: 0,
            next: 0,
            units: 0,
            paid: Amount::ZERO,
            paid_by: None,
            billed_to: Timestamp::ZERO,
        };
        Self {
            key,
            menu,
            line: Line::default(),
            order: None,
            attach: None,
            salt,
            totals,
            seals,
            entropy,
            hello: Vec::new(),
            th1: Bytes32::default(),
            th2: Bytes32::default(),
            sender: None,
            span: None,
        }
    }

    /// Begins a new connection: who it is, its menu and its keys stay, all else is as in [`new`](Self::new).
    pub fn reconnect(&mut self, seed: [u8; 32]) {
        let seals = std::mem::take(&mut self.seals);
        *self = Self::new(self.key.clone(), self.menu.clone(), seals, seed);
    }

    /// An honest menu'.
    pub fn menu_reply(&mut self) -> MenuReply {
        let nonce = fresh(&mut self.entropy);
        MenuReply { version: limits::VERSION, nonce, menu: self.menu.bytes().to_vec() }
    }

    /// Sends a menu'.
    pub fn send_menu(&mut self, reply: &MenuReply) {
        let body = codec::encode(reply);
        self.line.clear(FrameKind::Menu, &body);
        self.th1 = wire::th1(&self.hello, &body);
    }

    /// An honest acceptance of the attach that was heard; encapsulates the session's key.
    ///
    /// # Panics
    /// Before an order was heard.
    pub fn acceptance(&mut self) -> Acceptance {
        let attach = self.attach.as_ref().expect("an acceptance answers an attach: receive it first");
        let order = self.order.as_ref().expect("an acceptance is about an order");
        let info = wire::hpke_info(INFO_SESSION, &self.th2);
        let sender = attach.suite.sender(&attach.kem_pk, &info, &self.entropy.draw());
        let sender = sender.expect("the attach brings a key of its suite");
        let acceptance = Acceptance {
            order_id: attach.order_id,
            attach_id: attach.id(),
            index: attach.index,
            th2: self.th2,
            enc_hash: Bytes32(sha256(sender.enc())),
            start: attach.have.base,
            forgiven: None,
            exposure: order.exposure_max,
            windows: order.windows,
            ramp: false,
        };
        self.sender = Some(sender);
        acceptance
    }

    /// Signs an acceptance and sends the session.
    pub fn send_acceptance(&mut self, acceptance: Acceptance) {
        let acceptance = Signed::sign(&self.key, acceptance);
        self.send_session(&SessionPlain {
            acceptance: acceptance.bytes().to_vec(),
            order_salt: self.salt,
            last_invoice: None,
            last_payment: None,
        });
    }

    /// Seals and sends a session, whatever it says. Needs [`acceptance`](Self::acceptance) first.
    pub fn send_session(&mut self, plain: &SessionPlain) {
        self.send_session_bytes(&codec::encode(plain));
    }

    /// The same for any bytes.
    pub fn send_session_bytes(&mut self, plain: &[u8]) {
        let Some(sender) = self.sender.take() else { return };
        let Ok(sealed) = sender.seal(plain, &[], EXPORT_TRAFFIC) else { return };
        let body = codec::encode(&SealedSession { enc: sealed.enc, ct: sealed.ct });
        self.line.clear(FrameKind::Session, &body);
        let traffic = Traffic::new(wire::th3(&self.th2, &body).as_bytes(), &sealed.export);
        self.line.agree(&traffic, Direction::ToBuyer);
    }

    /// The order's terms.
    ///
    /// # Panics
    /// Before an order was heard.
    pub fn terms(&self) -> Terms {
        let order = self.order.as_ref().expect("terms need an order");
        Terms::resolve(&self.menu, order).expect("the order names what the menu has")
    }

    /// A message in its canonical form, signed if the product says so. It is not counted.
    pub fn encode(&self, seq: u64, time_us: i64, payload: &[u8]) -> Vec<u8> {
        let mut out = time_us.to_be_bytes().to_vec();
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(payload);
        let terms = self.terms();
        if terms.product.signing == Signing::Message {
            let order = self.order.as_ref().map(Signed::id).unwrap_or_default();
            out.extend_from_slice(&self.key.sign(&message_to_sign(&order, seq, time_us, payload)));
        }
        out
    }

    /// Counts messages as sent and gives their bytes: the open span grows.
    pub fn count(&mut self, payloads: &[&[u8]]) -> Vec<u8> {
        let mut all = Vec::new();
        for payload in payloads {
            let seq = self.totals.next;
            let time = i64::try_from(seq).unwrap_or(i64::MAX);
            let encoded = self.encode(seq, time, payload);
            let span = self.open_span();
            span.hasher.update(&encoded);
            span.count = span.count.saturating_add(1);
            span.bytes = span.bytes.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
            self.totals.next = seq.saturating_add(1);
            all.extend_from_slice(&encoded);
        }
        all
    }

    fn open_span(&mut self) -> &mut Span {
        let order = self.order.as_ref().map(Signed::id).unwrap_or_default();
        let start = SpanStart { order, n: self.totals.n, first: self.totals.next };
        let salt = span_salt(&self.salt, start.n);
        self.span.get_or_insert_with(|| Span { start, hasher: SpanHasher::new(&start, &salt), count: 0, bytes: 0 })
    }

    /// Sends messages honestly.
    pub fn send_messages(&mut self, payloads: &[&[u8]]) {
        let bytes = self.count(payloads);
        self.line.sealed(&bytes, &[]);
    }

    /// Ends the open span, honestly.
    pub fn send_cut(&mut self) {
        let n = self.totals.n;
        self.line.control(&Control::Cut(n));
    }

    /// The honest invoice of the open span, as one window. Where seconds are sold it bills `ms`.
    pub fn invoice_for(&mut self, ms: u64) -> Invoice {
        let terms = self.terms();
        let totals = self.totals;
        let span = self.open_span();
        let (start, count, bytes, digest) = (span.start, span.count, span.bytes, span.hasher.digest(span.count));
        let timed = terms.product.unit == Unit::Second;
        let new = match terms.product.unit {
            Unit::Message => count,
            Unit::Byte => bytes,
            Unit::Second => ms,
        };
        let units_total = totals.units.saturating_add(new);
        Invoice {
            order_id: start.order,
            n: start.n,
            windows: 1,
            prev: totals.prev,
            first: start.first,
            count,
            bytes,
            t_start: timed.then_some(totals.billed_to),
            t_end: timed.then_some(totals.billed_to.after_ms(ms)),
            digest,
            units_total,
            due: terms.price().due(units_total).unwrap_or(Amount::MAX),
            paid: totals.paid,
            paid_by: totals.paid_by,
            last: false,
        }
    }

    /// The honest invoice of the open span.
    pub fn invoice(&mut self) -> Invoice {
        self.invoice_for(0)
    }

    /// Signs an invoice, sends it and goes on behind it.
    pub fn send_invoice(&mut self, invoice: Invoice) -> Signed<Invoice> {
        let invoice = self.sign_invoice(invoice);
        self.line.statement(&invoice);
        invoice
    }

    /// Signs an invoice and goes on behind it; nothing is sent.
    pub fn sign_invoice(&mut self, invoice: Invoice) -> Signed<Invoice> {
        let invoice = Signed::sign(&self.key, invoice);
        self.totals.prev = invoice.id();
        self.totals.n = invoice.n.saturating_add(1);
        self.totals.units = invoice.units_total;
        self.totals.billed_to = invoice.t_end.unwrap_or(self.totals.billed_to);
        self.span = None;
        invoice
    }

    /// One honest window: messages, cut and invoice.
    pub fn deliver(&mut self, payloads: &[&[u8]], last: bool) -> Signed<Invoice> {
        self.send_messages(payloads);
        self.send_cut();
        let invoice = Invoice { last, ..self.invoice() };
        self.send_invoice(invoice)
    }

    /// Credits a payment: later invoices say so.
    pub fn credit(&mut self, payment: &Signed<Payment>) {
        self.totals.paid = payment.total;
        self.totals.paid_by = Some(payment.id());
    }

    /// The end as an honest seller sees it.
    pub fn settlement(&self, invoice: &Signed<Invoice>) -> Settlement {
        Settlement {
            order_id: invoice.order_id,
            invoice_id: invoice.id(),
            payment_id: self.totals.paid_by,
            due: invoice.due,
            paid: self.totals.paid,
        }
    }

    /// A default over an invoice.
    pub fn unpaid(&self, invoice: &Signed<Invoice>, deadline: Timestamp) -> Unpaid {
        let (order_id, invoice_id) = (invoice.order_id, invoice.id());
        Unpaid { order_id, invoice_id, due: invoice.due, paid: self.totals.paid, deadline }
    }

    /// Takes bytes of any length; gives what they say.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.line.feed(bytes);
        let mut heard = Vec::new();
        while let Some((kind, mut frame)) = self.line.next_frame() {
            match kind {
                FrameKind::Hello => heard.push(self.hear_hello(body(&frame)).unwrap_or(Heard::Noise(kind))),
                FrameKind::Ask => {
                    let ask = codec::decode::<Ask>(body(&frame), limits::HELLO_MAX);
                    heard.push(ask.map_or(Heard::Noise(kind), Heard::Ask));
                }
                FrameKind::Order => heard.push(self.hear_order(body(&frame)).unwrap_or(Heard::Noise(kind))),
                FrameKind::Sealed => {
                    if self.line.open(&mut frame, &mut heard).is_none() {
                        heard.push(Heard::Noise(kind));
                    }
                }
                FrameKind::Error => heard.push(clear_error(&frame)),
                FrameKind::Menu | FrameKind::Answer | FrameKind::Session => heard.push(Heard::Noise(kind)),
            }
        }
        heard
    }

    fn hear_hello(&mut self, body: &[u8]) -> Option<Heard> {
        let hello: Hello = codec::decode(body, limits::HELLO_MAX).ok()?;
        self.hello = body.to_vec();
        Some(Heard::Hello(hello))
    }

    fn hear_order(&mut self, body: &[u8]) -> Option<Heard> {
        let sealed: SealedOrder = codec::decode(body, limits::SEALED_HANDSHAKE_MAX).ok()?;
        let suite = Suite::of_code(sealed.suite)?;
        let seal = self.seals.iter().find(|seal| seal.suite() == suite)?;
        let info = wire::hpke_info(INFO_ORDER, &self.th1);
        let opened = seal.open(&sealed.enc, &info, (&sealed.ct, &[]), EXPORT_TRAFFIC).ok()?;
        let plain: OrderPlain = codec::decode(&opened.plain, limits::SEALED_HANDSHAKE_MAX).ok()?;
        let attach = Signed::<Attach>::parse(&plain.attach).ok()?;
        if let Some(order) = plain.order.as_ref() {
            let order = Signed::<Order>::parse(order).ok()?;
            self.totals.prev = order.id();
            self.order = Some(order);
        }
        self.attach = Some(attach);
        self.th2 = wire::th2(&self.th1, body);
        Some(Heard::Order(Box::new(plain)))
    }
}

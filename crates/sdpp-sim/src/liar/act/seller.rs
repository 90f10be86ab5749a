//! A seller that lies once.

use sdpp_proto::codec::StatementId;
use sdpp_proto::frame::FrameKind;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::limits;
use sdpp_proto::message;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{
    Default as Unpaid, Invoice, Menu, Payment, Quote, Sample, Settlement, Signed, Signing, Statement,
};
use sdpp_proto::suite::{Entropy, SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{self, Ask, AskQuote, Control, Hello, SessionPlain};

use super::books::{Books, FRAME_BYTES, Span};
use super::seller_lie::{ACCEPTANCE, INVOICE, MENU, SETTLEMENT, SellerLie, WIRE};
use super::{Plot, Talk, find};
use crate::liar::{Heard, RawSeller};

/// A seller of one order that is honest, one connection after another, but for one lie.
pub struct LyingSeller {
    menu: Signed<Menu>,
    lie: SellerLie,
    plot: Plot,
    source: fn(u64) -> Vec<u8>,
    raw: RawSeller,
    entropy: Entropy,
    books: Option<Books>,
    talk: Talk,
    /// The next span to send on this connection.
    sent: usize,
    /// Messages that the buyer said it holds when it attached.
    held: u64,
    /// The session of an earlier connection.
    old_session: Option<Vec<u8>>,
    session: Option<Vec<u8>>,
    settled: bool,
    /// Spans before it ran ahead.
    ahead_from: usize,
}

impl LyingSeller {
    /// `seals` are the secrets of the menu's sealing keys. `at`: how many chances to tell the lie it lets
    /// go by. `source` gives the payload of each message; what the product does not allow is cut off.
    pub fn new(
        (key, menu): (SigningKey, Signed<Menu>),
        seals: Vec<SealSecret>,
        lie: SellerLie,
        at: u32,
        source: fn(u64) -> Vec<u8>,
    ) -> Self {
        Self {
            menu: menu.clone(),
            lie,
            plot: Plot::new(at),
            source,
            raw: RawSeller::new(key, menu, seals, [0; 32]),
            entropy: Entropy::new([0; 32]),
            books: None,
            talk: Talk { stopped: true, ..Talk::default() },
            sent: 0,
            held: 0,
            old_session: None,
            session: None,
            settled: false,
            ahead_from: 0,
        }
    }

    /// A new connection: waits for a hello.
    pub fn connect(&mut self, seed: [u8; 32]) {
        if self.plot.cut() && self.lie == SellerLie::RunsAhead {
            // Nothing of it was handed out: it did not happen.
            self.books.iter_mut().for_each(|books| books.spans.truncate(self.ahead_from));
        }
        self.entropy = Entropy::new(seed);
        let seed = *self.entropy.draw();
        self.raw.menu = self.menu.clone();
        self.raw.reconnect(seed);
        self.talk = Talk { spoke: self.talk.spoke, ..Talk::default() };
        self.old_session = self.session.take().or(self.old_session.take());
    }

    /// Takes bytes of the other side, in pieces of any length, and reacts. No bytes at all let it notice
    /// that time has passed.
    pub fn hear(&mut self, now: Timestamp, bytes: &[u8]) {
        for heard in self.raw.receive(bytes) {
            if let Heard::Error(code) = heard {
                self.talk.told(code);
            } else if !self.talk.stopped {
                let went_on = self.react(now, &heard);
                self.talk.stopped |= went_on.is_none();
            }
        }
        self.deliver(now);
        self.talk.keep_alive(now, &mut self.raw.line);
    }

    /// Bytes to send.
    pub fn say(&mut self) -> Vec<u8> {
        self.plot.said();
        self.raw.line.take()
    }

    /// Whether the lie was told: its bytes were handed out.
    pub fn has_lied(&self) -> bool {
        self.plot.is_told()
    }

    /// The order that it serves.
    pub fn order_id(&self) -> Option<StatementId> {
        self.books.as_ref().map(|books| books.order.id())
    }

    /// What it has credited.
    pub fn credited(&self) -> Amount {
        self.books.as_ref().map_or(Amount::ZERO, Books::paid)
    }

    /// What it is honestly due: the buyer should pay no more.
    pub fn due(&self) -> Amount {
        let newest = self.books.as_ref().and_then(|books| books.spans.last());
        newest.map_or(Amount::ZERO, |span| span.invoice.due)
    }

    /// Whether the honest end was reached, or this connection was told an error.
    pub const fn is_over(&self) -> bool {
        self.settled || self.talk.told.is_some()
    }

    /// The code that this connection was told.
    pub const fn told_code(&self) -> Option<u16> {
        self.talk.told
    }

    /// Whether this is the moment. A lie that is an offence is the last word of its connection.
    fn tells(&mut self, lie: SellerLie) -> bool {
        let tells = self.lie == lie && self.plot.chance();
        self.talk.stopped |= tells && !lie.offences().is_empty();
        tells
    }

    /// A key that nobody knows.
    fn stranger(&mut self) -> SigningKey {
        SigningKey::from_seed(&self.entropy.draw())
    }

    /// `None`: it cannot follow.
    fn react(&mut self, now: Timestamp, heard: &Heard) -> Option<()> {
        match heard {
            Heard::Hello(hello) => self.greet(now, hello),
            Heard::Ask(ask) => self.answer(ask),
            // A buyer sends its order again until it has had a session.
            Heard::Order(plain) => self.begin(now, plain.order.is_none()),
            Heard::Statement(..) => {
                if let Some(payment) = heard.statement::<Payment>() {
                    self.paid(&payment);
                } else if heard.statement::<Settlement>().is_some() {
                    self.settled = self.books.as_ref().is_some_and(|books| books.paid_last().is_some());
                }
                Some(())
            }
            Heard::Exit => {
                self.books.as_mut()?.finish();
                Some(())
            }
            Heard::Recorded(_) | Heard::Error(_) => Some(()),
            Heard::Menu(_)
            | Heard::Answer(_)
            | Heard::Session(_)
            | Heard::Message(..)
            | Heard::Cut(_)
            | Heard::Noise(_) => None,
        }
    }

    fn greet(&mut self, now: Timestamp, hello: &Hello) -> Option<()> {
        if self.tells(SellerLie::SilentAtHello) {
            return Some(());
        }
        if self.tells(SellerLie::MalformedMenu) {
            self.raw.line.clear(FrameKind::Menu, &[0xa0]);
            return Some(());
        }
        let offered = |suite: Suite| hello.suites.contains(&suite.code());
        let mut menu = self.menu.body().clone();
        let mut signer = self.raw.key.clone();
        if let Some(change) = find(MENU, self.lie).filter(|_| self.plot.chance()) {
            change(&mut menu, now);
            self.talk.stopped = true;
        } else if menu.seal.iter().any(|key| !offered(key.suite)) && self.tells(SellerLie::NoSuite) {
            menu.seal.retain(|key| !offered(key.suite));
        } else if self.tells(SellerLie::MenuOfAnother) {
            signer = self.stranger();
            menu.seller = signer.public();
        }
        if menu != *self.menu.body() {
            self.raw.menu = Signed::sign(&signer, menu);
        }
        let mut reply = self.raw.menu_reply();
        if self.tells(SellerLie::OtherVersion) {
            reply.version = reply.version.saturating_add(1);
        } else if self.tells(SellerLie::MenuForged) {
            reply.menu.last_mut().into_iter().for_each(|byte| *byte ^= 1);
        }
        self.raw.send_menu(&reply);
        if self.tells(SellerLie::AnswersUnasked) {
            self.raw.line.clear(FrameKind::Answer, &[]);
        }
        Some(())
    }

    fn answer(&mut self, ask: &Ask) -> Option<()> {
        let wrong = self.tells(SellerLie::AnswersWrong);
        let key = self.raw.key.clone();
        let product = self.menu.product(ask.product)?;
        let answer = match ask.quote {
            None => {
                let topic = if wrong { "something else".into() } else { product.topic.clone() };
                let sample = Sample { seller: key.public(), topic, messages: Vec::new() };
                Signed::sign(&key, sample).bytes().to_vec()
            }
            Some(AskQuote { option, quantity }) => {
                let units = if product.unit == Unit::Second { quantity.saturating_mul(1000) } else { quantity };
                let quote = Quote {
                    seller: key.public(),
                    menu_id: self.menu.id(),
                    product: ask.product,
                    option,
                    quantity: if wrong { quantity.saturating_add(1) } else { quantity },
                    due: product.price().due(units)?,
                    exposure_max: product.exposure(product.windows_max)?,
                    fee: Amount::ZERO,
                };
                Signed::sign(&key, quote).bytes().to_vec()
            }
        };
        self.raw.line.clear(FrameKind::Answer, &answer);
        Some(())
    }

    /// Ends the connection as an honest seller does that cannot go on.
    fn refuse(&mut self, offence: Offence) -> Option<()> {
        self.raw.line.clear(FrameKind::Error, &wire::error_body(offence.code()));
        None
    }

    /// An order or an attach was heard: accepts it.
    fn begin(&mut self, now: Timestamp, acquainted: bool) -> Option<()> {
        let attach = self.raw.attach.clone()?;
        if self.tells(SellerLie::SilentAtOrder) {
            return Some(());
        }
        if self.order_id() != Some(attach.order_id) {
            let order = self.raw.order.clone().filter(|order| order.id() == attach.order_id);
            let Some(order) = order else { return self.refuse(Offence::UnknownOrder) };
            let books = Books::new(&self.raw.key, &self.menu, &order, self.raw.salt, self.source);
            let Some(books) = books else { return self.refuse(Offence::UnknownProduct) };
            self.books = Some(books);
            self.old_session = None;
        }
        let books = self.books.as_mut()?;
        let Some(sent) = books.resume(&attach.have) else { return self.refuse(Offence::BadAttach) };
        books.begin(now);
        (self.sent, self.held) = (sent, attach.have.next);
        (self.raw.order, self.raw.salt) = (Some(books.order.clone()), books.salt);
        attach.suite.sender(&attach.kem_pk, &[], &self.entropy.draw()).ok()?;
        self.accept(acquainted)
    }

    /// Answers with a session, honest or not.
    fn accept(&mut self, acquainted: bool) -> Option<()> {
        let drawn = *self.entropy.draw();
        let mut acceptance = self.raw.acceptance();
        let mut signer = self.raw.key.clone();
        let mut order_salt = self.raw.salt;
        if let Some(old) = self.old_session.clone()
            && self.tells(SellerLie::SessionReplayed)
        {
            self.raw.line.raw(&old);
            return Some(());
        }
        if self.tells(SellerLie::SessionUnsealed) {
            self.raw.line.clear(FrameKind::Session, &drawn);
            return Some(());
        }
        if let Some(change) = find(ACCEPTANCE, self.lie).filter(|_| self.plot.chance()) {
            change(&mut acceptance, drawn);
            self.talk.stopped = true;
        } else if self.tells(SellerLie::AcceptanceForged) {
            signer = self.stranger();
        } else if acquainted && self.tells(SellerLie::ChangesSalt) {
            order_salt.0 = drawn;
        }
        let books = self.books.as_ref()?;
        let plain = SessionPlain {
            acceptance: Signed::sign(&signer, acceptance).bytes().to_vec(),
            order_salt,
            last_invoice: None,
            last_payment: books.last_payment.as_ref().map(|payment| payment.bytes().to_vec()),
        };
        let mark = self.raw.line.outbox().len();
        self.raw.send_session(&plain);
        self.session = self.raw.line.outbox().get(mark..).map(<[u8]>::to_vec);
        if books.paid_last().is_some() && !self.talk.stopped {
            // The connection before ended between the last payment and the two settlements.
            self.settle();
        }
        Some(())
    }

    fn paid(&mut self, payment: &Signed<Payment>) {
        let Some(books) = &mut self.books else { return };
        if books.credit(payment) && books.paid_last().is_some() {
            self.settle();
        }
    }

    fn sign<T: Statement>(&mut self, key: &SigningKey, body: T) {
        self.raw.line.statement(&Signed::sign(key, body));
    }

    /// The last invoice is paid: signs the end, or goes on behind it.
    fn settle(&mut self) {
        let Some(books) = &self.books else { return };
        let Some(last) = books.paid_last().cloned() else { return };
        let mut settlement = books.settlement(&last);
        let (more, again) = (books.encode(books.next(), b"more"), books.blank(&[], 0));
        let again = books.priced(again, 0);
        let mut signer = self.raw.key.clone();
        if self.tells(SellerLie::SendsAfterLast) {
            return self.raw.line.sealed(&more, &[]);
        }
        if self.tells(SellerLie::InvoicesAfterLast) {
            self.raw.line.control(&Control::Cut(again.n));
            return self.sign(&signer, Invoice { windows: 1, ..again });
        }
        if self.tells(SellerLie::SettlementWithheld) {
            self.settled = true;
            return;
        }
        if let Some(change) = find(SETTLEMENT, self.lie).filter(|_| self.plot.chance()) {
            change(&mut settlement);
            self.talk.stopped = true;
        } else if self.tells(SellerLie::SettlementForged) {
            signer = self.stranger();
        }
        self.sign(&signer, settlement);
    }

    /// Sends what credit has room for.
    fn deliver(&mut self, now: Timestamp) {
        while !self.talk.stopped && self.raw.line.is_live() {
            let Some(books) = &self.books else { return };
            if self.sent >= books.spans.len() {
                if books.can_overgrow() && self.tells(SellerLie::RunsAhead) {
                    return self.run_ahead();
                }
                let Some(books) = &mut self.books else { return };
                if !books.grow(now) {
                    return;
                }
            }
            let Some(span) = self.books.as_ref().and_then(|books| books.spans.get(self.sent)).cloned() else { return };
            self.sent = self.sent.saturating_add(1);
            if let Some(lie) = find(WIRE, self.lie).filter(|_| self.plot.chance()) {
                lie.before(&mut self.raw.line);
                let mark = self.raw.line.outbox().len();
                self.send(&span);
                lie.after(&mut self.raw.line, mark, &mut self.entropy);
                self.talk.stopped = true;
            } else if !self.lies_beside(now, &span) && !self.lies_in_data(&span) && !self.lies_in_invoice(&span) {
                self.send(&span);
                if self.tells(SellerLie::Equivocates) {
                    let (key, digest) = (self.raw.key.clone(), sdpp_proto::codec::Digest(*self.entropy.draw()));
                    self.sign(&key, Invoice { digest, ..span.invoice.body().clone() });
                }
            }
        }
    }

    /// Sends windows that nobody has room for, until one is more than was agreed.
    fn run_ahead(&mut self) {
        self.ahead_from = self.sent;
        loop {
            let Some(books) = &mut self.books else { return };
            books.overgrow();
            let (Some(span), over) = (books.spans.last().cloned(), books.is_overgrown()) else { return };
            if over {
                // It is taken back and never charged: the order ends behind what is honest.
                books.spans.pop();
                books.finish();
            }
            self.send(&span);
            if over {
                return;
            }
        }
    }

    /// Sends a window honestly.
    fn send(&mut self, span: &Span) {
        self.send_data(&span.data, Some(span.invoice.n));
        self.raw.line.statement(&span.invoice);
    }

    /// Sends messages, and behind them a cut.
    fn send_data(&mut self, data: &[u8], cut: Option<u64>) {
        data.chunks(FRAME_BYTES).for_each(|chunk| self.raw.line.sealed(chunk, &[]));
        cut.into_iter().for_each(|n| self.raw.line.control(&Control::Cut(n)));
    }

    /// Lies that are told in place of a window. Whether this one was.
    fn lies_beside(&mut self, now: Timestamp, span: &Span) -> bool {
        let key = self.raw.key.clone();
        let invoice = &span.invoice;
        let (order_id, invoice_id) = (invoice.order_id, invoice.id());
        let unpaid = Unpaid { order_id, invoice_id, due: invoice.due, paid: invoice.paid, deadline: now };
        if self.tells(SellerLie::Exits) {
            self.raw.line.control(&Control::Exit);
        } else if self.tells(SellerLie::SettlesEarly) {
            let (due, paid) = (invoice.due, invoice.paid);
            self.sign(&key, Settlement { order_id, invoice_id, payment_id: invoice.paid_by, due, paid });
        } else if self.tells(SellerLie::DefaultForged) {
            let stranger = self.stranger();
            self.sign(&stranger, unpaid);
        } else if self.tells(SellerLie::DefaultsOtherOrder) {
            let order_id = StatementId(*self.entropy.draw());
            self.sign(&key, Unpaid { order_id, ..unpaid });
        } else if self.tells(SellerLie::CutsWithoutEnd) {
            let end = invoice.n.saturating_add(u64::try_from(limits::INVOICES_WAITING_MAX).unwrap_or(u64::MAX));
            let cuts: Vec<u64> = (invoice.n..=end).collect();
            for some in cuts.chunks(limits::CONTROL_ITEMS_MAX) {
                let mut items = Vec::new();
                some.iter().for_each(|n| Control::Cut(*n).write(&mut items));
                self.raw.line.sealed(&[], &items);
            }
        } else {
            self.tells(SellerLie::FallsSilent);
        }
        self.talk.stopped
    }

    /// Lies about messages and cuts. Whether one was told in place of the window.
    fn lies_in_data(&mut self, span: &Span) -> bool {
        let Some(books) = &self.books else { return true };
        let product = &books.terms.product;
        let (signing, message_max) = (product.signing, product.message_max);
        let (n, first) = (span.invoice.n, span.invoice.first);
        let full = books.terms.order.quantity.is_some() && books.remaining() == 0 && self.sent == books.spans.len();
        let over = books.encode(books.next(), b"one too many");
        let changed = books.encode(first, b"another message");
        let mut data = span.data.clone();
        let repeats = first < self.held && !data.is_empty();
        if self.tells(SellerLie::MessageTooLong) {
            data = 0i64.to_be_bytes().to_vec();
            data.extend_from_slice(&message_max.saturating_add(1).to_be_bytes());
            self.send_data(&data, None);
        } else if full && self.tells(SellerLie::TooManyMessages) {
            data.extend_from_slice(&over);
            self.send_data(&data, Some(n));
        } else if signing == Signing::Message && !data.is_empty() && self.tells(SellerLie::MessageForged) {
            data.last_mut().into_iter().for_each(|byte| *byte ^= 1);
            self.send_data(&data, Some(n));
        } else if repeats && self.tells(SellerLie::ChangesRepeated) {
            let rest = message::split_first(&data, signing).map_or(&[][..], |(_, rest)| rest);
            self.send_data(&[&changed, rest].concat(), Some(n));
        } else if self.tells(SellerLie::CutsWrong) {
            self.send_data(&data, Some(n.saturating_add(1)));
        } else if !data.is_empty() && self.tells(SellerLie::CutsInside) {
            data.pop();
            self.send_data(&data, Some(n));
        } else if self.tells(SellerLie::InvoiceWithoutCut) {
            self.send_data(&data, None);
            self.raw.line.statement(&span.invoice);
        }
        self.talk.stopped
    }

    /// Lies about the invoice of an honest window. Whether one was told.
    fn lies_in_invoice(&mut self, span: &Span) -> bool {
        let drawn = *self.entropy.draw();
        let Some(books) = &self.books else { return true };
        let before = books.spans.iter().take(self.sent.saturating_sub(1));
        let credited = before.into_iter().any(|before| before.invoice.paid_by.is_some());
        let mut invoice = span.invoice.body().clone();
        let mut signer = self.raw.key.clone();
        if let Some(change) = find(INVOICE, self.lie).filter(|_| self.plot.chance()) {
            change(&mut invoice, books, drawn);
            self.talk.stopped = true;
        } else if credited && self.tells(SellerLie::Denies) {
            (invoice.paid, invoice.paid_by) = (Amount::ZERO, None);
        } else if self.tells(SellerLie::InvoiceForged) {
            signer = self.stranger();
        }
        if self.talk.stopped {
            self.send_data(&span.data, Some(span.invoice.n));
            self.sign(&signer, invoice);
        }
        self.talk.stopped
    }
}

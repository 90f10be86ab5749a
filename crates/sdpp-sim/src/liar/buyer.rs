//! A buyer made by hand.

use sdpp_proto::codec::{self, Bytes32, StatementId};
use sdpp_proto::frame::FrameKind;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::keys::{Direction, EXPORT_TRAFFIC, INFO_ORDER, INFO_SESSION, Traffic};
use sdpp_proto::limits;
use sdpp_proto::message;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{
    Attach, Form, Have, Invoice, Menu, Order, Payment, RecordPolicy, Settlement, Signed, Signing,
};
use sdpp_proto::suite::{Entropy, SealSecret, Suite};
use sdpp_proto::wire::{self, Ask, Hello, MenuReply, OrderPlain, SealedOrder, SealedSession, SessionPlain};

use super::line::{Heard, Line, body, clear_error, fresh};

/// Who a buyer is.
#[derive(Clone)]
pub struct BuyerKeys {
    /// Signs orders and attaches.
    pub identity: SigningKey,
    /// Signs acks, payments and the settlement.
    pub pays: SigningKey,
}

/// A buyer made by hand: one connection.
pub struct RawBuyer {
    /// Its keys.
    pub keys: BuyerKeys,
    /// Suite of the connection.
    pub suite: Suite,
    /// The wire.
    pub line: Line,
    /// The menu, once heard.
    pub menu: Option<Signed<Menu>>,
    /// The order that was sent or is resumed.
    pub order: Option<Signed<Order>>,
    /// Hash of the transcript after menu'.
    pub th1: Bytes32,
    /// Hash of the transcript after order'.
    pub th2: Bytes32,
    /// Messages heard on this connection start here; moves on with them.
    pub next: u64,
    /// The last payment that was signed honestly.
    pub last_payment: Option<Signed<Payment>>,
    entropy: Entropy,
    hello: Vec<u8>,
    kem: Option<SealSecret>,
    carry: Vec<u8>,
}

impl RawBuyer {
    /// A fresh connection; nothing is sent yet.
    pub fn new(keys: BuyerKeys, suite: Suite, seed: [u8; 32]) -> Self {
        Self {
            keys,
            suite,
            line: Line::default(),
            menu: None,
            order: None,
            th1: Bytes32::default(),
            th2: Bytes32::default(),
            next: 0,
            last_payment: None,
            entropy: Entropy::new(seed),
            hello: Vec::new(),
            kem: None,
            carry: Vec::new(),
        }
    }

    /// An honest hello.
    pub fn hello(&mut self) -> Hello {
        let nonce = fresh(&mut self.entropy);
        Hello { versions: vec![limits::VERSION], suites: vec![self.suite.code()], nonce }
    }

    /// Sends a hello.
    pub fn send_hello(&mut self, hello: &Hello) {
        self.send_hello_bytes(codec::encode(hello));
    }

    /// Sends any bytes as a hello.
    pub fn send_hello_bytes(&mut self, hello: Vec<u8>) {
        self.line.clear(FrameKind::Hello, &hello);
        self.hello = hello;
    }

    /// Sends an ask.
    pub fn send_ask(&mut self, ask: &Ask) {
        self.line.clear(FrameKind::Ask, &codec::encode(ask));
    }

    /// An honest order for the first product by the first option, open end, one window.
    ///
    /// # Panics
    /// Before the menu was heard: there is nothing to order from.
    pub fn order(&mut self) -> Order {
        let nonce = fresh(&mut self.entropy);
        let menu = self.menu.as_ref().expect("an order needs a menu: receive it first");
        Order {
            seller: menu.seller,
            menu_id: menu.id(),
            product: menu.products.first().map_or(0, |product| product.id),
            option: menu.options.first().map_or(0, |option| option.id),
            quantity: None,
            windows: 1,
            exposure_max: Amount::new(1_000_000),
            limit: Amount::new(1_000_000_000),
            channel: None,
            record: RecordPolicy { form: Form::Full, every: 1 },
            invoice_addr: None,
            sign_pk: self.keys.pays.public(),
            nonce,
            until: menu.until,
        }
    }

    /// An honest attach to an order, as its connection number `index`.
    pub fn attach(&mut self, order_id: StatementId, index: u32) -> Attach {
        let (kem, kem_pk) = SealSecret::derive(self.suite, &self.entropy.draw());
        self.kem = Some(kem);
        Attach { order_id, index, suite: self.suite, kem_pk, th1: self.th1, have: Have::default() }
    }

    /// Signs an order, attaches to it and sends both.
    pub fn send_order(&mut self, order: Order) {
        let order = Signed::sign(&self.keys.identity, order);
        let attach = self.attach(order.id(), 1);
        let attach = Signed::sign(&self.keys.identity, attach);
        self.send_signed(Some(order), &attach);
    }

    /// Sends an attach, with the order or without it.
    pub fn send_signed(&mut self, order: Option<Signed<Order>>, attach: &Signed<Attach>) {
        let plain = OrderPlain {
            order: order.as_ref().map(|order| order.bytes().to_vec()),
            attach: attach.bytes().to_vec(),
            ..OrderPlain::default()
        };
        self.order = order.or(self.order.take());
        let sealed = self.seal(&codec::encode(&plain));
        self.send_sealed(&sealed);
    }

    /// Seals what stands for an [`OrderPlain`] to the menu's key.
    ///
    /// # Panics
    /// Before the menu was heard.
    pub fn seal(&mut self, plain: &[u8]) -> SealedOrder {
        let menu = self.menu.as_ref().expect("sealing needs the menu's key: receive it first");
        let info = wire::hpke_info(INFO_ORDER, &self.th1);
        let public = menu.seal_key(self.suite).unwrap_or_default();
        let sealed = self.suite.sender(public, &info, &self.entropy.draw());
        let sealed = sealed.and_then(|sender| sender.seal(plain, &[], EXPORT_TRAFFIC));
        let sealed = sealed.expect("the menu has a key of this suite");
        SealedOrder { suite: self.suite.code(), enc: sealed.enc, ct: sealed.ct }
    }

    /// Sends an order'.
    pub fn send_sealed(&mut self, order: &SealedOrder) {
        let body = codec::encode(order);
        self.line.clear(FrameKind::Order, &body);
        self.th2 = wire::th2(&self.th1, &body);
    }

    /// An honest payment of an invoice.
    ///
    /// # Panics
    /// Before an order.
    pub fn payment(&self, invoice: &Signed<Invoice>) -> Payment {
        let order = self.order.as_ref().expect("a payment needs an order");
        Payment {
            order_id: order.id(),
            prev: self.last_payment.as_ref().map_or(order.id(), Signed::id),
            invoice_id: invoice.id(),
            total: invoice.due,
            channel: order.channel,
            proof: None,
        }
    }

    /// Pays honestly.
    pub fn pay(&mut self, invoice: &Signed<Invoice>) {
        let payment = self.payment(invoice);
        self.send_payment(payment);
    }

    /// Signs a payment and sends it.
    pub fn send_payment(&mut self, payment: Payment) {
        let payment = Signed::sign(&self.keys.pays, payment);
        self.line.statement(&payment);
        self.last_payment = Some(payment);
    }

    /// The end as an honest buyer sees it after paying `invoice`.
    pub fn settlement(&self, invoice: &Signed<Invoice>) -> Settlement {
        Settlement {
            order_id: invoice.order_id,
            invoice_id: invoice.id(),
            payment_id: self.last_payment.as_ref().map(Signed::id),
            due: invoice.due,
            paid: self.last_payment.as_ref().map_or(Amount::ZERO, |payment| payment.total),
        }
    }

    /// Takes bytes of any length; gives what they say.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.line.feed(bytes);
        let mut heard = Vec::new();
        while let Some((kind, mut frame)) = self.line.next_frame() {
            match kind {
                FrameKind::Menu => heard.push(self.hear_menu(body(&frame)).unwrap_or(Heard::Noise(kind))),
                FrameKind::Answer => heard.push(Heard::Answer(body(&frame).to_vec())),
                FrameKind::Session => heard.push(self.hear_session(body(&frame)).unwrap_or(Heard::Noise(kind))),
                FrameKind::Sealed => match self.line.open(&mut frame, &mut heard) {
                    Some(messages) => self.hear_messages(&messages, &mut heard),
                    None => heard.push(Heard::Noise(kind)),
                },
                FrameKind::Error => heard.push(clear_error(&frame)),
                FrameKind::Hello | FrameKind::Ask | FrameKind::Order => heard.push(Heard::Noise(kind)),
            }
        }
        heard
    }

    fn hear_menu(&mut self, body: &[u8]) -> Option<Heard> {
        let reply: MenuReply = codec::decode(body, limits::MENU_BODY_MAX).ok()?;
        let menu = Signed::<Menu>::parse(&reply.menu).ok()?;
        self.th1 = wire::th1(&self.hello, body);
        self.menu = Some(menu.clone());
        Some(Heard::Menu(Box::new(menu)))
    }

    fn hear_session(&mut self, body: &[u8]) -> Option<Heard> {
        let sealed: SealedSession = codec::decode(body, limits::SEALED_HANDSHAKE_MAX).ok()?;
        let info = wire::hpke_info(INFO_SESSION, &self.th2);
        let opened = self.kem.as_ref()?.open(&sealed.enc, &info, (&sealed.ct, &[]), EXPORT_TRAFFIC).ok()?;
        let plain: SessionPlain = codec::decode(&opened.plain, limits::SEALED_HANDSHAKE_MAX).ok()?;
        let traffic = Traffic::new(wire::th3(&self.th2, body).as_bytes(), &opened.export);
        self.line.agree(&traffic, Direction::ToSeller);
        Some(Heard::Session(Box::new(plain)))
    }

    fn signing(&self) -> Signing {
        let product = self.order.as_ref().map_or(0, |order| order.product);
        let menu = self.menu.as_ref().and_then(|menu| menu.product(product));
        menu.map_or(Signing::Window, |product| product.signing)
    }

    /// Messages come before the control items of their frame, but are put behind them here: a liar
    /// does not care.
    fn hear_messages(&mut self, bytes: &[u8], heard: &mut Vec<Heard>) {
        self.carry.extend_from_slice(bytes);
        let data = std::mem::take(&mut self.carry);
        let mut rest = data.as_slice();
        while let Some((message, behind)) = message::split_first(rest, self.signing()) {
            heard.push(Heard::Message(self.next, message.bytes.to_vec()));
            self.next = self.next.saturating_add(1);
            rest = behind;
        }
        self.carry.extend_from_slice(rest);
    }
}

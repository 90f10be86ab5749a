//! A buyer that lies once.

use sdpp_proto::codec::{self, StatementId};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::keys::{EXPORT_TRAFFIC, INFO_ORDER};
use sdpp_proto::limits;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{
    Acceptance, Ack, Attach, Have, Invoice, Menu, Order, Payment, Settlement, Signed, Statement,
};
use sdpp_proto::suite::{Entropy, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{self, Ask, AskQuote, Control, OrderPlain, SealedOrder, SessionPlain};

use super::buyer_lie::{ATTACH, BuyerLie, HELLO, ORDER, PAYMENT, SEALED, SETTLEMENT, WIRE};
use super::{Plot, Talk, find};
use crate::liar::{BuyerKeys, Heard, RawBuyer};

/// Acks and exits of a flood.
const FLOOD: usize = 200;

/// What it knows of its order; survives connections.
#[derive(Default)]
struct Account {
    order: Option<Signed<Order>>,
    /// There was a session: the seller knows the order.
    acquainted: bool,
    /// The order itself was a lie: the next connection orders anew.
    spoilt: bool,
    index: u32,
    /// Number of the next invoice, and where its messages begin.
    next_n: u64,
    base: u64,
    last_invoice: Option<Signed<Invoice>>,
    /// Honest payments, oldest first.
    payments: Vec<Signed<Payment>>,
    /// The newest invoice, as long as it is not paid.
    owed: Option<Signed<Invoice>>,
    settled: bool,
}

/// What an earlier connection said, to be said again.
#[derive(Default)]
struct Memory {
    attach: Option<Signed<Attach>>,
    order_frame: Option<Vec<u8>>,
}

/// A buyer that is honest, one connection after another, but for one lie.
pub struct LyingBuyer {
    /// Asks for the end once it has heard so many messages of the order. None: never.
    pub exit_after: Option<u64>,
    keys: BuyerKeys,
    suite: Suite,
    lie: BuyerLie,
    plot: Plot,
    change: Box<dyn Fn(&mut Order)>,
    raw: RawBuyer,
    entropy: Entropy,
    account: Account,
    memory: Memory,
    talk: Talk,
    exit_asked: bool,
    withholds: bool,
}

impl LyingBuyer {
    /// `at`: how many chances to tell the lie it lets go by. `order` changes the honest order before it
    /// is signed: channel, limits, quantity, windows.
    pub fn new(keys: BuyerKeys, suite: Suite, lie: BuyerLie, at: u32, order: Box<dyn Fn(&mut Order)>) -> Self {
        let raw = RawBuyer::new(keys.clone(), suite, [0; 32]);
        Self {
            exit_after: None,
            keys,
            suite,
            lie,
            plot: Plot::new(at),
            change: order,
            raw,
            entropy: Entropy::new([0; 32]),
            account: Account::default(),
            memory: Memory::default(),
            talk: Talk { stopped: true, ..Talk::default() },
            exit_asked: false,
            withholds: false,
        }
    }

    /// A new connection: says hello, and goes on with its order if it has one.
    pub fn connect(&mut self, seed: [u8; 32]) {
        self.plot.cut();
        self.entropy = Entropy::new(seed);
        let seed = *self.entropy.draw();
        if self.account.spoilt {
            self.account = Account::default();
        }
        self.raw = RawBuyer::new(self.keys.clone(), self.suite, seed);
        self.raw.order.clone_from(&self.account.order);
        self.raw.last_payment = self.account.payments.last().cloned();
        self.talk = Talk { spoke: self.talk.spoke, ..Talk::default() };
        (self.exit_asked, self.withholds) = (false, false);
        if self.tells(BuyerLie::SaysNothing) {
            return;
        }
        if self.tells(BuyerLie::MalformedHello) {
            return self.raw.send_hello_bytes(vec![0xff]);
        }
        let mut hello = self.raw.hello();
        if let Some(change) = find(HELLO, self.lie).filter(|_| self.plot.chance()) {
            change(&mut hello);
            self.talk.stopped = true;
        }
        self.raw.send_hello(&hello);
    }

    /// Takes bytes of the other side, in pieces of any length, and reacts. No bytes at all let it notice
    /// that time has passed.
    pub fn hear(&mut self, now: Timestamp, bytes: &[u8]) {
        for heard in self.raw.receive(bytes) {
            if let Heard::Error(code) = heard {
                self.told(code);
            } else if !self.talk.stopped {
                self.react(&heard);
            }
        }
        self.exit_in_time();
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

    /// The order that it sent last.
    pub fn order_id(&self) -> Option<StatementId> {
        self.account.order.as_ref().map(Signed::id)
    }

    /// The highest total that it honestly signed a payment for: what the seller may credit at most.
    pub fn signed_total(&self) -> Amount {
        self.account.payments.last().map_or(Amount::ZERO, |payment| payment.total)
    }

    /// Whether the honest end was reached, or this connection was told an error.
    pub const fn is_over(&self) -> bool {
        self.account.settled || self.talk.told.is_some()
    }

    /// The code that this connection was told.
    pub const fn told_code(&self) -> Option<u16> {
        self.talk.told
    }

    /// Whether the world must close its channel before it takes what [`say`](Self::say) gives.
    pub fn closes_channel(&self) -> bool {
        self.lie == BuyerLie::ClosesChannel && self.plot.is_due()
    }

    /// Whether this is the moment. A lie that is an offence is the last word of its connection.
    fn tells(&mut self, lie: BuyerLie) -> bool {
        let tells = self.lie == lie && self.plot.chance();
        self.talk.stopped |= tells && !lie.offences().is_empty();
        tells
    }

    fn told(&mut self, code: u16) {
        self.talk.told(code);
        // The seller does not know the order: it may be ordered anew.
        let stale = [Offence::WrongMenu.code(), Offence::OrderExpired.code()].contains(&code);
        self.account.spoilt |= stale && !self.account.acquainted;
    }

    fn react(&mut self, heard: &Heard) {
        let went_on = match heard {
            Heard::Menu(menu) => self.choose(menu),
            Heard::Session(plain) => self.begin(plain),
            Heard::Statement(..) => {
                if let Some(invoice) = heard.statement::<Invoice>() {
                    self.invoiced(invoice);
                } else if let Some(theirs) = heard.statement::<Settlement>() {
                    self.settle(&theirs);
                }
                Some(())
            }
            Heard::Message(..) | Heard::Cut(_) | Heard::Recorded(_) | Heard::Answer(_) | Heard::Error(_) => Some(()),
            Heard::Hello(_) | Heard::Ask(_) | Heard::Order(_) | Heard::Exit | Heard::Noise(_) => None,
        };
        // It cannot follow: the other side is heard no more, and waits for nothing but its time out.
        self.talk.stopped |= went_on.is_none();
    }

    fn choose(&mut self, menu: &Signed<Menu>) -> Option<()> {
        if self.tells(BuyerLie::SecondHello) {
            let hello = self.raw.hello();
            self.raw.send_hello(&hello);
            return Some(());
        }
        if self.tells(BuyerLie::AsksForNothing) {
            let product = (0..=u32::MAX).find(|id| menu.product(*id).is_none())?;
            self.raw.send_ask(&Ask { product, quote: None });
            return Some(());
        }
        if self.tells(BuyerLie::AsksTooOften) {
            let (product, option) = (menu.products.first()?.id, menu.options.first()?.id);
            let ask = Ask { product, quote: Some(AskQuote { option, quantity: 1 }) };
            (0..=limits::ASKS_MAX).for_each(|_| self.raw.send_ask(&ask));
            return Some(());
        }
        if self.tells(BuyerLie::SilentChoosing) {
            return Some(());
        }
        match self.account.order.clone() {
            Some(order) => self.attach(&order),
            None => self.order(menu),
        }
    }

    /// A new order, honest or not.
    fn order(&mut self, menu: &Menu) -> Option<()> {
        let drawn = *self.entropy.draw();
        let mut order = self.raw.order();
        (self.change)(&mut order);
        if let Some(change) = find(ORDER, self.lie).filter(|_| self.plot.chance()) {
            change(&mut order, menu, drawn);
            (self.account.spoilt, self.talk.stopped) = (true, true);
        }
        let order = Signed::sign(&self.keys.identity, order);
        self.account.order = Some(order.clone());
        (self.account.next_n, self.account.base) = (0, 0);
        self.attach(&order)
    }

    fn have(&self) -> Have {
        Have {
            next: self.account.base,
            prefix_digest: None,
            last_invoice: self.account.last_invoice.as_ref().map(Signed::id),
            last_payment: self.account.payments.last().map(Signed::id),
            base: self.account.base,
        }
    }

    /// Attaches to its order, with what it holds.
    fn attach(&mut self, order: &Signed<Order>) -> Option<()> {
        let drawn = *self.entropy.draw();
        let known = self.account.acquainted;
        self.account.index = self.account.index.saturating_add(1);
        let mut attach = Attach { have: self.have(), ..self.raw.attach(order.id(), self.account.index) };
        let mut sent = (!known).then(|| order.bytes().to_vec());
        let mut signer = self.keys.identity.clone();
        if let Some(change) = find(ATTACH, self.lie).filter(|_| self.plot.chance()) {
            change(&mut attach, drawn);
            self.talk.stopped = true;
        } else if known && self.tells(BuyerLie::AttachUnderclaims) {
            attach.have = Have::default();
        } else if known && self.tells(BuyerLie::AttachStale) {
            attach.index = attach.index.saturating_sub(1);
        } else if !known && self.tells(BuyerLie::AttachOtherOrder) {
            attach.order_id = StatementId(drawn);
        } else if self.tells(BuyerLie::AttachUnknown) {
            (attach.order_id, sent) = (StatementId(drawn), None);
        } else if self.tells(BuyerLie::AttachForged) {
            signer = SigningKey::from_seed(&drawn.into());
        } else if !known && self.tells(BuyerLie::OrderForged) {
            sent.iter_mut().filter_map(|bytes| bytes.last_mut()).for_each(|byte| *byte ^= 1);
        }
        let mut attach = Signed::sign(&signer, attach);
        match self.memory.attach.clone() {
            Some(first) if first.order_id == order.id() && self.tells(BuyerLie::AttachReplayed) => attach = first,
            Some(_) => {}
            None => self.memory.attach = Some(attach.clone()),
        }
        self.send_order(sent, &attach)
    }

    fn send_order(&mut self, order: Option<Vec<u8>>, attach: &Signed<Attach>) -> Option<()> {
        let plain = OrderPlain {
            order,
            verification: None,
            attach: attach.bytes().to_vec(),
            last_invoice: self.account.last_invoice.as_ref().map(|invoice| invoice.bytes().to_vec()),
            last_payment: self.account.payments.last().map(|payment| payment.bytes().to_vec()),
        };
        let mut sealed = self.seal(&codec::encode(&plain))?;
        if let Some(change) = find(SEALED, self.lie).filter(|_| self.plot.chance()) {
            change(&mut sealed, *self.entropy.draw());
            self.talk.stopped = true;
        }
        if let Some(frame) = self.memory.order_frame.clone()
            && self.tells(BuyerLie::OrderReplayed)
        {
            self.raw.line.raw(&frame);
            return Some(());
        }
        let mark = self.raw.line.outbox().len();
        self.raw.order.clone_from(&self.account.order);
        self.raw.send_sealed(&sealed);
        let frame = self.raw.line.outbox().get(mark..).unwrap_or_default().to_vec();
        self.memory.order_frame.get_or_insert(frame);
        Some(())
    }

    /// Seals to the menu's key; `None` if it has none that can be used.
    fn seal(&mut self, plain: &[u8]) -> Option<SealedOrder> {
        let menu = self.raw.menu.as_ref()?;
        let info = wire::hpke_info(INFO_ORDER, &self.raw.th1);
        let sender = self.suite.sender(menu.seal_key(self.suite)?, &info, &self.entropy.draw()).ok()?;
        let sealed = sender.seal(plain, &[], EXPORT_TRAFFIC).ok()?;
        Some(SealedOrder { suite: self.suite.code(), enc: sealed.enc, ct: sealed.ct })
    }

    /// The session is live: pays again what the seller does not hold.
    fn begin(&mut self, plain: &SessionPlain) -> Option<()> {
        let acceptance = Signed::<Acceptance>::parse(&plain.acceptance).ok()?;
        if Some(acceptance.order_id) != self.order_id() {
            return None;
        }
        self.account.acquainted = true;
        self.raw.next = acceptance.start;
        if let Some(forgiven) = acceptance.forgiven {
            (self.account.base, self.account.next_n) = (acceptance.start, forgiven.next_n);
        }
        let held = plain.last_payment.as_deref().and_then(|bytes| Signed::<Payment>::parse_unverified(bytes).ok());
        let heard = held.and_then(|held| self.account.payments.iter().position(|payment| payment.id() == held.id()));
        let unheard = heard.map_or(0, |at| at.saturating_add(1));
        self.account.payments.iter().skip(unheard).for_each(|payment| self.raw.line.statement(payment));
        self.pay();
        Some(())
    }

    fn invoiced(&mut self, invoice: Signed<Invoice>) {
        let ours = Some(invoice.order_id) == self.order_id() && invoice.n >= self.account.next_n;
        // One that is repeated was heard before.
        if self.raw.line.is_live() && ours {
            (self.account.base, self.account.next_n) = (invoice.end(), invoice.n.saturating_add(1));
            self.account.last_invoice = Some(invoice.clone());
            self.account.owed = Some(invoice);
            self.pay();
        }
    }

    /// Pays what is owed, unless this is the moment.
    fn pay(&mut self) {
        let ready = !self.withholds && self.raw.order.is_some();
        let Some(invoice) = self.account.owed.clone().filter(|_| ready) else { return };
        let acks = self.raw.menu.as_ref().and_then(|menu| menu.product(self.raw.order.as_ref()?.product)).cloned();
        // A second one would not be looked at.
        if acks.is_some_and(|product| product.acks) && self.lie != BuyerLie::AckForged {
            self.ack(&invoice, None);
        }
        if let Some(lie) = find(WIRE, self.lie).filter(|_| self.plot.chance()) {
            lie.before(&mut self.raw.line);
            let mark = self.raw.line.outbox().len();
            self.pay_honestly(&invoice);
            lie.after(&mut self.raw.line, mark, &mut self.entropy);
            self.talk.stopped = true;
        } else if !self.lies_in_session(&invoice) && !self.lies_in_payment(&invoice) {
            self.pay_honestly(&invoice);
            if self.lie == BuyerLie::RepeatsPayment && self.plot.chance() {
                self.account.payments.last().into_iter().for_each(|payment| self.raw.line.statement(payment));
            }
        }
    }

    fn pay_honestly(&mut self, invoice: &Signed<Invoice>) {
        let payment = Signed::sign(&self.keys.pays, self.raw.payment(invoice));
        self.raw.line.statement(&payment);
        self.raw.last_payment = Some(payment.clone());
        self.account.payments.push(payment);
        self.account.owed = None;
    }

    fn ack(&mut self, invoice: &Signed<Invoice>, signer: Option<SigningKey>) {
        let ack = Ack { order_id: invoice.order_id, invoice_id: invoice.id() };
        self.sign(&signer.unwrap_or_else(|| self.keys.pays.clone()), ack);
    }

    fn sign<T: Statement>(&mut self, key: &SigningKey, body: T) {
        self.raw.line.statement(&Signed::sign(key, body));
    }

    /// Lies about anything but payments. Whether this one took the payment's place.
    fn lies_in_session(&mut self, invoice: &Signed<Invoice>) -> bool {
        let (drawn, pays) = (*self.entropy.draw(), self.keys.pays.clone());
        if self.tells(BuyerLie::SendsMessages) {
            self.raw.line.sealed(&drawn, &[]);
        } else if self.tells(BuyerLie::Cuts) {
            self.raw.line.control(&Control::Cut(invoice.n));
        } else if !invoice.last && self.tells(BuyerLie::SettlesEarly) {
            let settlement = self.raw.settlement(invoice);
            self.sign(&pays, settlement);
        } else if self.tells(BuyerLie::AckForged) {
            self.ack(invoice, Some(SigningKey::from_seed(&drawn.into())));
        } else if self.tells(BuyerLie::AcksOtherOrder) {
            self.sign(&pays, Ack { order_id: StatementId(drawn), invoice_id: invoice.id() });
        } else if self.tells(BuyerLie::FloodsAcks) {
            (0..FLOOD).for_each(|_| self.ack(invoice, None));
        } else if self.tells(BuyerLie::FloodsExits) {
            (0..FLOOD).for_each(|_| self.raw.line.control(&Control::Exit));
        }
        self.talk.stopped
    }

    /// Lies about payments. Whether this one took the payment's place.
    fn lies_in_payment(&mut self, invoice: &Signed<Invoice>) -> bool {
        let (drawn, pays) = (*self.entropy.draw(), self.keys.pays.clone());
        let honest = self.raw.payment(invoice);
        if let Some(change) = find(PAYMENT, self.lie).filter(|_| self.plot.chance()) {
            let mut payment = honest;
            change(&mut payment, drawn);
            self.sign(&pays, payment);
            self.talk.stopped = true;
        } else if self.tells(BuyerLie::PaymentForged) {
            self.sign(&SigningKey::from_seed(&drawn.into()), honest);
        } else if self.tells(BuyerLie::PaysOutOfOrder) {
            let kept_back = Signed::sign(&pays, honest.clone());
            self.sign(&pays, Payment { prev: kept_back.id(), ..honest });
        } else if let [.., old, _] = self.account.payments.as_slice()
            && self.lie == BuyerLie::ReplaysPayment
        {
            let old = old.clone();
            if self.tells(BuyerLie::ReplaysPayment) {
                self.raw.line.statement(&old);
            }
        } else if let Some(credited) = self.credited(invoice)
            && self.tells(BuyerLie::PaysTwice)
        {
            self.sign(&pays, Payment { invoice_id: credited.invoice_id, total: credited.total, ..honest });
        } else if invoice.due > self.signed_total() && self.tells(BuyerLie::ClosesChannel) {
            // Something new is due, so the rail is asked.
            self.sign(&pays, honest);
        } else if self.tells(BuyerLie::Withholds) {
            // It stays awake: nothing but the payment is missing.
            (self.withholds, self.talk.stopped) = (true, false);
            return true;
        } else {
            self.tells(BuyerLie::FallsSilent);
        }
        self.talk.stopped
    }

    /// The payment that the seller says it has credited.
    fn credited(&self, invoice: &Invoice) -> Option<Payment> {
        let payment = self.account.payments.iter().find(|payment| Some(payment.id()) == invoice.paid_by)?;
        Some(payment.body().clone())
    }

    fn exit_in_time(&mut self) {
        let enough = self.exit_after.is_some_and(|after| self.raw.next >= after);
        if enough && !self.exit_asked && !self.talk.stopped && self.raw.line.is_live() {
            self.exit_asked = true;
            self.raw.line.control(&Control::Exit);
        }
    }

    /// The seller signed the end: signs it, too.
    fn settle(&mut self, theirs: &Settlement) {
        let last = self.account.last_invoice.clone();
        let Some(last) = last.filter(|last| last.last && last.id() == theirs.invoice_id) else { return };
        let mut settlement = self.raw.settlement(&last);
        let mut signer = self.keys.pays.clone();
        if let Some(change) = find(SETTLEMENT, self.lie).filter(|_| self.plot.chance()) {
            change(&mut settlement);
            self.talk.stopped = true;
        } else if self.tells(BuyerLie::SettlementForged) {
            signer = SigningKey::from_seed(&(*self.entropy.draw()).into());
        } else if self.tells(BuyerLie::SettlementWithheld) {
            self.account.settled = true;
            return;
        }
        self.account.settled = !self.talk.stopped;
        self.sign(&signer, settlement);
    }
}

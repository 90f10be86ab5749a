//! The shipped seller against a buyer whose every word is chosen by the input, before it is signed and sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use sdpp_proto::codec::{Bytes32, Digest, StatementId};
use sdpp_proto::frame::{FrameHeader, FrameKind};
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::message::Batch;
use sdpp_proto::money::Amount;
use sdpp_proto::seller::{Admission, Ended, Output, Seller, SellerConfig, SellerOrder};
use sdpp_proto::statement::{Ack, Attach, Invoice, Order, Payment, Signed};
use sdpp_proto::suite::Suite;
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{Ask, AskQuote, Control, Hello};
use sdpp_sim::liar::{BuyerKeys, Heard, RawBuyer};

use crate::choices::Choices;
use crate::kit::{self, START, key};
use crate::sale::frames;

/// Things that one input does.
const STEPS_MAX: usize = 60;
/// Rounds after which an exchange must have come to rest.
const ROUNDS_MAX: usize = 500;

/// A buyer that follows the protocol where the input's bytes are zero, and does what they say elsewhere: other fields in
/// its hello, order, attach, payments, acks and settlement, bytes of its own in sealed and clear frames, repetitions,
/// silence, new connections. The bytes also choose when writes become durable and what the rail says.
///
/// Whatever it does: it is never lent more than was agreed, no credit comes from a payment that the rail refused or
/// that is not durable, no number is invoiced with two digests, a connection closes once, and a buyer that did nothing
/// wrong is not accused.
pub(crate) fn seller_frames(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut shop = Shop::new(&mut choices);
    shop.open(&mut choices);
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        shop.act(&mut choices);
        shop.pump();
        shop.check();
    }
    shop.write_through();
    shop.pump();
    shop.check();
}

struct Shop {
    now: Timestamp,
    config: Arc<SellerConfig>,
    admission: Admission,
    seller: Seller,
    liar: RawBuyer,
    known: Option<Box<SellerOrder>>,
    /// What is for sale, and the number of the next message.
    source: (Batch, u64),
    /// As they came, each verified once.
    invoices: Vec<Signed<Invoice>>,
    disk: Disk,
    rail_says: bool,
    money: Money,
    digests: BTreeMap<u64, Digest>,
    ended: Option<Ended>,
    honest: bool,
    seed: u8,
}

/// Writes that are not durable yet, and whether they are kept waiting.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) waiting: Vec<(StoreId, Vec<Entry>)>,
    pub(crate) held: bool,
}

/// Totals of the largest payments: that the rail accepted, that is durable, that was credited.
#[derive(Default)]
struct Money {
    settled: Amount,
    durable: Amount,
    paid: Amount,
}

impl Shop {
    fn new(choices: &mut Choices<'_>) -> Self {
        let config = choices.pick(kit::sellers()).clone();
        let draft = kit::draft(&config.menu.products[0]);
        Self {
            now: START,
            admission: kit::admission(&draft, choices.yes()),
            seller: Seller::new(config.clone(), [1; 32], START),
            config,
            liar: raw([2; 32]),
            known: None,
            source: (Batch::new(), 0),
            invoices: Vec::new(),
            disk: Disk::default(),
            rail_says: true,
            money: Money::default(),
            digests: BTreeMap::new(),
            ended: None,
            honest: true,
            seed: 10,
        }
    }

    /// Hello and order: as they should be, or with fields that the input chooses.
    fn open(&mut self, choices: &mut Choices<'_>) {
        self.greet(choices);
        if self.liar.menu.is_none() {
            return;
        }
        if choices.byte() == 0xff {
            self.ask(choices);
        }
        let mut order = self.liar.order();
        let draft = kit::draft(&self.config.menu.products[0]);
        (order.windows, order.exposure_max, order.limit) = (draft.windows, draft.exposure_max, draft.limit);
        order.until = draft.until;
        if choices.byte() == 0xff {
            self.honest = false;
            change_order(choices, &mut order);
        }
        if choices.byte() == 0xff {
            return self.attach(choices, Some(order));
        }
        self.liar.send_order(order);
        self.pump();
    }

    fn greet(&mut self, choices: &mut Choices<'_>) {
        let mut hello = self.liar.hello();
        if choices.byte() == 0xff {
            self.honest = false;
            hello = Hello { versions: vec![choices.byte().into(), 2], suites: choices.some().to_vec(), ..hello };
        }
        self.liar.send_hello(&hello);
        self.pump();
    }

    fn ask(&mut self, choices: &mut Choices<'_>) {
        self.honest = false;
        let quote = choices.yes().then(|| AskQuote { option: choices.byte().into(), quantity: choices.number() });
        for _ in 0..=choices.below(20) {
            self.liar.send_ask(&Ask { product: choices.below(3) as u32, quote });
        }
        self.pump();
    }

    /// An attach whose fields the input chooses, to the order given or to the one before.
    fn attach(&mut self, choices: &mut Choices<'_>, order: Option<Order>) {
        self.honest = false;
        let order = order.map(|order| Signed::sign(&self.liar.keys.identity, order));
        let id = order.as_ref().or(self.liar.order.as_ref()).map(Signed::id).unwrap_or_default();
        let mut attach = self.liar.attach(id, u32::from(choices.byte()));
        self.change_attach(choices, &mut attach);
        let signer = if choices.byte() == 0xff { key(kit::STRANGER) } else { self.liar.keys.identity.clone() };
        self.liar.send_signed(order, &Signed::sign(&signer, attach));
        self.pump();
    }

    fn change_attach(&self, choices: &mut Choices<'_>, attach: &mut Attach) {
        for _ in 0..choices.below(4) {
            match choices.below(8) {
                0 => attach.order_id = StatementId(choices.bytes32()),
                1 => attach.th1 = Bytes32(choices.bytes32()),
                2 => attach.have.next = choices.near(self.liar.next),
                3 => attach.have.base = choices.near(attach.have.next),
                4 => attach.have.prefix_digest = Some(Digest(choices.bytes32())),
                5 => attach.have.last_invoice = self.some_invoice(choices).map(|invoice| invoice.id()),
                6 => attach.have.last_payment = self.liar.last_payment.as_ref().map(Signed::id),
                _ => attach.kem_pk.truncate(choices.below(40)),
            }
        }
    }

    /// Any of the invoices heard, the newest where the input says nothing.
    fn some_invoice(&self, choices: &mut Choices<'_>) -> Option<Signed<Invoice>> {
        let back = choices.below(self.invoices.len().max(1));
        self.invoices.iter().nth_back(back).cloned()
    }

    /// One thing that the buyer, the rail, the disk or the clock does.
    fn act(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0..4 => self.pay(),
            4 => self.pay_otherwise(choices),
            5 => self.say(choices),
            6 => self.raw(choices),
            7 => self.settle(choices),
            8 => self.disk.held = !self.disk.held,
            9 => self.write_through(),
            10 => self.rail_says = choices.yes(),
            11 | 12 => self.pass(choices),
            13 => self.seller.finish(self.now),
            14 => self.seller.idle(self.now),
            _ => self.again(choices),
        }
    }

    fn pay(&mut self) {
        if let Some(invoice) = self.invoices.last()
            && self.liar.last_payment.as_ref().is_none_or(|last| last.invoice_id != invoice.id())
        {
            self.liar.pay(invoice);
        }
    }

    fn pay_otherwise(&mut self, choices: &mut Choices<'_>) {
        let Some(invoice) = self.some_invoice(choices) else { return };
        self.honest = false;
        let mut payment = self.liar.payment(&invoice);
        for _ in 0..choices.below(3) {
            match choices.below(6) {
                0 => payment.order_id = StatementId(choices.bytes32()),
                1 => payment.prev = StatementId(choices.bytes32()),
                2 => payment.invoice_id = StatementId(choices.bytes32()),
                3 => payment.total = near(choices, payment.total),
                4 => payment.channel = Some(sdpp_proto::codec::ChannelId(choices.bytes32())),
                _ => payment.proof = Some(choices.some().to_vec()),
            }
        }
        self.send_payment(choices, payment);
    }

    fn send_payment(&mut self, choices: &mut Choices<'_>, payment: Payment) {
        match choices.byte() {
            0xff => self.liar.line.statement(&Signed::sign(&key(kit::STRANGER), payment)),
            // The chain of payments goes on behind it, or does not.
            0xfe => self.liar.line.statement(&Signed::sign(&self.liar.keys.pays, payment)),
            _ => self.liar.send_payment(payment),
        }
    }

    /// A control item that may have its place here, or not.
    fn say(&mut self, choices: &mut Choices<'_>) {
        self.honest = false;
        let invoice = self.some_invoice(choices);
        match choices.below(6) {
            0 => self.liar.line.control(&Control::Exit),
            1 => self.liar.line.control(&Control::Cut(choices.number())),
            2 => self.liar.line.control(&Control::Error(choices.near(100) as u16)),
            3 => {
                let statement = invoice.map_or(StatementId(choices.bytes32()), |invoice| invoice.id());
                self.liar.line.control(&Control::Recorded { statement, record: Bytes32(choices.bytes32()) });
            }
            4 => {
                let Some(invoice) = invoice else { return };
                let ack = Ack { order_id: invoice.order_id, invoice_id: invoice.id() };
                self.liar.line.statement(&Signed::sign(&self.liar.keys.pays, ack));
            }
            _ => {
                // Its own words back to the seller.
                let Some(invoice) = invoice else { return };
                self.liar.line.statement(&invoice);
            }
        }
    }

    /// Bytes that mean whatever they mean: under the session's key, or as a clear frame.
    fn raw(&mut self, choices: &mut Choices<'_>) {
        self.honest = false;
        let (messages, control) = (choices.some(), choices.some());
        if choices.yes() {
            self.liar.line.sealed(messages, control);
        } else {
            let kinds = [FrameKind::Hello, FrameKind::Ask, FrameKind::Order, FrameKind::Session, FrameKind::Error];
            self.liar.line.clear(*choices.pick(&kinds), control);
        }
        self.liar.line.skip(u64::from(choices.byte() == 0xff));
    }

    fn settle(&mut self, choices: &mut Choices<'_>) {
        let Some(invoice) = self.some_invoice(choices) else { return };
        self.honest = false;
        let mut settlement = self.liar.settlement(&invoice);
        match choices.below(6) {
            0 => settlement.due = near(choices, settlement.due),
            1 => settlement.paid = near(choices, settlement.paid),
            2 => settlement.payment_id = None,
            3 => settlement.invoice_id = StatementId(choices.bytes32()),
            _ => {}
        }
        let signer = choices.pick(&[self.liar.keys.pays.clone(), self.liar.keys.identity.clone()]).clone();
        self.liar.line.statement(&Signed::sign(&signer, settlement));
    }

    /// Time passes, up to some minutes: silence is for the timeouts to judge.
    fn pass(&mut self, choices: &mut Choices<'_>) {
        self.honest = false;
        self.now = self.now.after_ms(u64::from(choices.byte()) << choices.below(11));
        self.seller.handle_timeout(self.now);
    }

    /// A new connection of the same order; the account goes with it.
    fn again(&mut self, choices: &mut Choices<'_>) {
        if self.seed > 20 {
            return;
        }
        self.write_through();
        self.pump();
        self.seed += 2;
        let fresh = Seller::new(self.config.clone(), [self.seed; 32], self.now);
        self.known = std::mem::replace(&mut self.seller, fresh).into_order(self.now);
        let before = std::mem::replace(&mut self.liar, raw([self.seed + 1; 32]));
        self.liar.order = before.order;
        self.liar.last_payment = before.last_payment;
        self.liar.next = before.next;
        self.ended = None;
        self.greet(choices);
        if self.liar.menu.is_some() {
            self.attach(choices, None);
        }
    }

    fn write_through(&mut self) {
        self.disk.held = false;
        for (id, entries) in std::mem::take(&mut self.disk.waiting) {
            for payment in entries.iter().filter_map(as_payment) {
                self.money.durable = self.money.durable.max(payment);
            }
            self.seller.stored(self.now, id);
        }
    }

    /// Moves everything until nothing moves.
    fn pump(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.drive();
            let mut out = Vec::new();
            self.seller.poll_transmit(self.now, &mut out, usize::MAX);
            moved |= !out.is_empty();
            let heard = self.liar.receive(&out);
            self.invoices.extend(heard.iter().filter_map(Heard::statement::<Invoice>));
            let mut back = self.liar.line.take();
            moved |= !back.is_empty();
            match FrameHeader::peek(&back) {
                Err(offence) => self.seller.offend(self.now, offence),
                Ok(_) => frames(&mut back).into_iter().for_each(|frame| {
                    // An offence shows in the output.
                    let _ = self.seller.handle_frame(self.now, frame);
                }),
            }
            if !moved {
                return;
            }
        }
        panic!("the conversation does not come to rest");
    }

    fn drive(&mut self) -> bool {
        let before = self.source.0.len();
        if self.seller.is_live() {
            let (batch, next) = &mut self.source;
            while batch.len() < 20 {
                batch.push(*next as i64, &kit::message(*next)).expect("a small message");
                *next += 1;
            }
            self.seller.offer(self.now, batch);
        }
        let mut moved = self.source.0.len() != before;
        while let Some(output) = self.seller.poll_output(self.now) {
            moved = true;
            self.answer(output);
        }
        if !self.disk.held && !self.disk.waiting.is_empty() {
            self.write_through();
            moved = true;
        }
        moved
    }

    fn answer(&mut self, output: Output) {
        match output {
            Output::Admit(_) => match self.known.take() {
                Some(account) => assert!(self.seller.readmit(self.now, account, &self.admission)),
                None => assert!(self.seller.admit(self.now, &self.admission)),
            },
            Output::Store { id, entries } => self.disk.waiting.push((id, entries)),
            Output::Settle(settle) => {
                if self.rail_says {
                    self.money.settled = self.money.settled.max(settle.payment.total);
                }
                self.honest &= self.rail_says;
                self.seller.settled(self.now, &settle.payment.id(), self.rail_says);
            }
            Output::Closed(ended) => {
                assert_eq!(self.ended.replace(ended), None, "a connection closes once");
            }
            Output::Record(_) | Output::Event(_) => {}
        }
    }

    fn check(&mut self) {
        for invoice in &self.invoices {
            let first = *self.digests.entry(invoice.n).or_insert(invoice.digest);
            assert_eq!(first, invoice.digest, "invoice {} was signed twice", invoice.n);
        }
        if self.honest {
            assert!(!matches!(self.ended, Some(Ended::Offence(_))), "{:?}", self.ended);
        }
        let Some(account) = self.seller.order() else { return };
        let owed = account.due().checked_sub(account.paid()).expect("nobody pays more than is due");
        assert!(owed <= self.admission.exposure, "{owed} is owed");
        assert!(account.paid() >= self.money.paid && account.paid() <= self.money.settled.min(self.money.durable));
        self.money.paid = account.paid();
    }
}

fn raw(seed: [u8; 32]) -> RawBuyer {
    let keys = BuyerKeys { identity: key(kit::BUYER), pays: key(kit::PAYER) };
    RawBuyer::new(keys, Suite::X25519, seed)
}

fn as_payment(entry: &Entry) -> Option<Amount> {
    let Entry::Statement(statement) = entry else { return None };
    Signed::<Payment>::parse_unverified(&statement.bytes).ok().map(|payment| payment.total)
}

/// An amount near this one, or any.
pub(crate) fn near(choices: &mut Choices<'_>, amount: Amount) -> Amount {
    let low = choices.near(amount.get() as u64);
    Amount::new(if choices.byte() == 0xff { u128::MAX } else { u128::from(low) })
}

fn change_order(choices: &mut Choices<'_>, order: &mut Order) {
    for _ in 0..=choices.below(4) {
        match choices.below(12) {
            0 => order.seller = key(choices.byte()).public(),
            1 => order.menu_id = StatementId(choices.bytes32()),
            2 => order.product = choices.near(1) as u32,
            3 => order.option = choices.near(1) as u16,
            4 => order.quantity = Some(choices.number()),
            5 => order.windows = choices.near(1) as u32,
            6 => order.exposure_max = near(choices, order.exposure_max),
            7 => order.limit = near(choices, order.limit),
            8 => order.channel = Some(sdpp_proto::codec::ChannelId(choices.bytes32())),
            9 => order.sign_pk = key(choices.byte()).public(),
            10 => order.until = Timestamp::from_ms(choices.near(START.as_ms())),
            _ => order.quantity = Some(u64::from(choices.byte())),
        }
    }
}

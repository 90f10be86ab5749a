//! The shipped buyer against a seller whose every word is chosen by the input, before it is signed and sealed.

use std::sync::Arc;

use sdpp_proto::buyer::{Buyer, BuyerOrder, Ended, Output};
use sdpp_proto::codec::{Bytes32, Digest, StatementId};
use sdpp_proto::frame::{FrameHeader, FrameKind};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::SellerConfig;
use sdpp_proto::statement::{Acceptance, Forgiven, Invoice, Payment, Product, Quote, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{Ask, AskQuote, Control, SessionPlain};
use sdpp_sim::liar::{Heard, RawSeller};

use crate::choices::{Choices, flip};
use crate::kit::{self, START, key};
use crate::sale::frames;
use crate::seller_frames::{Disk, near};

/// Things that one input does.
const STEPS_MAX: usize = 60;
/// Rounds after which an exchange must have come to rest.
const ROUNDS_MAX: usize = 500;

/// A seller that follows the protocol where the input's bytes are zero, and does what they say elsewhere: other fields in
/// its menu', acceptance, invoices and settlement, messages that were never counted, bytes of its own, repetitions,
/// silence, new connections. The bytes also choose when the buyer's writes become durable.
///
/// Whatever it does: the buyer pays only for bytes that it holds, at the price, within its limit and exposure, never
/// less than before; its rail is asked only for what it owes; messages come in order; a connection closes once; a
/// seller that did nothing wrong is not accused.
pub(crate) fn buyer_frames(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut desk = Desk::new(&mut choices);
    desk.open(&mut choices);
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        desk.act(&mut choices);
        desk.pump();
        desk.check();
    }
    desk.write_through();
    desk.pump();
    desk.check();
}

struct Desk {
    now: Timestamp,
    config: Arc<SellerConfig>,
    buyer: Buyer,
    liar: RawSeller,
    resuming: Option<Box<BuyerOrder>>,
    moves: bool,
    disk: Disk,
    pays: bool,
    heard: Vec<Heard>,
    invoices: Vec<Signed<Invoice>>,
    /// The next message, and payload bytes so far.
    sink: (u64, u64),
    /// Cumulative: what the rail was asked for, and what was paid.
    money: (Amount, Amount),
    ended: Option<Ended>,
    honest: bool,
    seed: u8,
}

impl Desk {
    fn new(choices: &mut Choices<'_>) -> Self {
        let config = choices.pick(kit::sellers()).clone();
        let moves = choices.yes();
        Self {
            now: START,
            buyer: Buyer::new(kit::buyer(moves), [20; 32], START),
            liar: raw(&config, [21; 32]),
            config,
            resuming: None,
            moves,
            disk: Disk::default(),
            pays: true,
            heard: Vec::new(),
            invoices: Vec::new(),
            sink: (0, 0),
            money: (Amount::ZERO, Amount::ZERO),
            ended: None,
            honest: true,
            seed: 20,
        }
    }

    fn product(&self) -> &Product {
        &self.config.menu.products[0]
    }

    /// Menu' and session: as they should be, or with fields that the input chooses.
    fn open(&mut self, choices: &mut Choices<'_>) {
        self.pump();
        let mut reply = self.liar.menu_reply();
        if choices.byte() == 0xff {
            self.honest = false;
            match choices.below(3) {
                0 => reply.version = choices.near(2) as u16,
                1 => flip(&mut reply.menu, choices),
                _ => reply.menu = choices.some().to_vec(),
            }
        }
        self.liar.send_menu(&reply);
        self.pump();
        self.accept(choices);
    }

    fn accept(&mut self, choices: &mut Choices<'_>) {
        if self.liar.attach.is_none() || self.liar.order.is_none() || self.ended.is_some() {
            return;
        }
        let mut acceptance = self.liar.acceptance();
        let mut plain = None;
        if choices.byte() == 0xff {
            self.honest = false;
            change_acceptance(choices, &mut acceptance);
            plain = choices.yes().then(|| self.session(choices, &acceptance));
        }
        match plain {
            Some(plain) => self.liar.send_session(&plain),
            None => self.liar.send_acceptance(acceptance),
        }
        self.pump();
    }

    /// A session that shows pairs of an earlier connection, or none, or bytes.
    fn session(&self, choices: &mut Choices<'_>, acceptance: &Acceptance) -> SessionPlain {
        let shown = |choices: &mut Choices<'_>, of: Option<Vec<u8>>| match choices.below(3) {
            0 => None,
            1 => of,
            _ => Some(choices.some().to_vec()),
        };
        let payment = self.heard.iter().rev().find_map(Heard::statement::<Payment>);
        let invoice = self.some_invoice(choices).map(|invoice| invoice.bytes().to_vec());
        SessionPlain {
            acceptance: Signed::sign(&self.signer(choices), acceptance.clone()).bytes().to_vec(),
            order_salt: self.liar.salt,
            last_invoice: shown(choices, invoice),
            last_payment: shown(choices, payment.map(|payment| payment.bytes().to_vec())),
        }
    }

    fn signer(&self, choices: &mut Choices<'_>) -> SigningKey {
        if choices.byte() == 0xff { key(kit::STRANGER) } else { self.liar.key.clone() }
    }

    fn some_invoice(&self, choices: &mut Choices<'_>) -> Option<Signed<Invoice>> {
        let back = choices.below(self.invoices.len().max(1));
        self.invoices.iter().nth_back(back).cloned()
    }

    /// One thing that the seller, the rail, the disk or the clock does.
    fn act(&mut self, choices: &mut Choices<'_>) {
        if self.liar.order.is_none() {
            return self.raw(choices);
        }
        match choices.below(16) {
            0..4 => self.deliver(choices),
            4 | 5 => self.credit(),
            6 => self.deliver_otherwise(choices),
            7 => self.send(choices),
            8 => self.say(choices),
            9 => self.raw(choices),
            10 => self.disk.held = !self.disk.held,
            11 => self.write_through(),
            12 => self.pays = !self.pays,
            13 => self.pass(choices),
            14 => self.leave(choices),
            _ => self.again(choices),
        }
    }

    /// An honest window of up to K messages, if one may be outstanding.
    fn deliver(&mut self, choices: &mut Choices<'_>) {
        self.credit();
        let most = self.product().k as usize;
        let mut invoice = self.fill(1 + choices.below(most));
        // A seller that keeps within what it may leave outstanding is this one's honest case.
        let owed = invoice.due.saturating_sub(invoice.paid);
        let draft = kit::draft(self.product());
        self.honest &= owed <= draft.exposure_max && self.outstanding() < 4 && invoice.due <= draft.limit;
        self.honest &= draft.quantity.is_none_or(|most| invoice.end() <= most) && self.product().unit != Unit::Second;
        self.honest &= self.product().window_bytes == 0 && !self.invoices.iter().any(|invoice| invoice.last);
        invoice.last = choices.byte() == 0xff;
        self.send_invoice(invoice);
    }

    /// Invoices that the books do not count as paid.
    fn outstanding(&self) -> usize {
        self.invoices.iter().filter(|invoice| invoice.due > self.liar.totals.paid).count()
    }

    fn send_invoice(&mut self, invoice: Invoice) {
        let invoice = self.liar.send_invoice(invoice);
        self.invoices.push(invoice);
    }

    /// Messages and their cut; gives the honest invoice.
    fn fill(&mut self, count: usize) -> Invoice {
        let first = self.liar.totals.next;
        let payloads: Vec<Vec<u8>> = (first..).take(count).map(kit::message).collect();
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        self.liar.send_messages(&slices);
        self.liar.send_cut();
        let billed = if self.product().unit == Unit::Second { 100 } else { 0 };
        self.liar.invoice_for(billed)
    }

    /// An invoice with other fields than it should have.
    fn deliver_otherwise(&mut self, choices: &mut Choices<'_>) {
        self.honest = false;
        let mut invoice = self.fill(choices.below(5));
        for _ in 0..=choices.below(3) {
            self.change_invoice(choices, &mut invoice);
        }
        match choices.byte() {
            0xff => self.liar.line.statement(&Signed::sign(&key(kit::STRANGER), invoice)),
            _ => self.send_invoice(invoice),
        }
    }

    fn change_invoice(&self, choices: &mut Choices<'_>, invoice: &mut Invoice) {
        match choices.below(16) {
            0 => invoice.order_id = StatementId(choices.bytes32()),
            1 => invoice.n = choices.near(invoice.n),
            2 => invoice.windows = choices.near(1) as u32,
            3 => invoice.prev = StatementId(choices.bytes32()),
            4 => invoice.first = choices.near(invoice.first),
            5 => invoice.count = choices.near(invoice.count),
            6 => invoice.bytes = choices.near(invoice.bytes),
            7 => invoice.t_start = Some(self.now.after_ms(u64::from(choices.byte()) << choices.below(20))),
            8 => invoice.t_end = Some(Timestamp::from_ms(choices.near(self.now.as_ms()))),
            9 => invoice.digest = Digest(choices.bytes32()),
            10 => invoice.units_total = choices.near(invoice.units_total),
            11 => invoice.due = near(choices, invoice.due),
            12 => invoice.paid = near(choices, invoice.paid),
            13 => invoice.paid_by = self.some_payment().filter(|_| choices.yes()),
            14 => invoice.paid_by = Some(StatementId(choices.bytes32())),
            _ => invoice.last = true,
        }
    }

    fn some_payment(&self) -> Option<StatementId> {
        self.heard.iter().rev().find_map(Heard::statement::<Payment>).map(|payment| payment.id())
    }

    /// The books credit the newest payment heard.
    fn credit(&mut self) {
        if let Some(payment) = self.heard.iter().rev().find_map(Heard::statement::<Payment>) {
            self.liar.credit(&payment);
        }
    }

    /// Messages without what belongs to them: no cut, no invoice, cut into pieces, too long, of a form of their own.
    fn send(&mut self, choices: &mut Choices<'_>) {
        self.honest = false;
        match choices.below(5) {
            0 => self.liar.send_messages(&[choices.some()]),
            1 => self.liar.send_cut(),
            2 => {
                let bytes = self.liar.count(&[choices.some()]);
                let (first, second) = bytes.split_at(choices.below(bytes.len()));
                self.liar.line.sealed(first, &[]);
                self.liar.line.sealed(second, &[]);
            }
            3 => self.liar.send_messages(&[&vec![7; self.product().message_max as usize + choices.below(2)]]),
            _ => {
                let bytes = self.liar.encode(self.liar.totals.next, choices.number() as i64, choices.some());
                self.liar.line.sealed(&bytes, &[]);
            }
        }
    }

    /// A control item that may have its place here, or not.
    fn say(&mut self, choices: &mut Choices<'_>) {
        self.honest = false;
        let Some(invoice) = self.some_invoice(choices) else {
            return self.liar.line.control(&Control::Cut(choices.number()));
        };
        match choices.below(7) {
            0 => self.liar.line.control(&Control::Exit),
            1 => self.liar.line.control(&Control::Cut(choices.near(self.liar.totals.n))),
            2 => self.liar.line.control(&Control::Error(choices.near(100) as u16)),
            3 => self.liar.line.statement(&invoice),
            4 => {
                let mut settlement = self.liar.settlement(&invoice);
                match choices.below(4) {
                    0 => settlement.due = near(choices, settlement.due),
                    1 => settlement.paid = near(choices, settlement.paid),
                    2 => settlement.payment_id = self.some_payment(),
                    _ => {}
                }
                self.liar.line.statement(&Signed::sign(&self.signer(choices), settlement));
            }
            5 => {
                let deadline = Timestamp::from_ms(choices.near(self.now.as_ms()));
                let unpaid = self.liar.unpaid(&invoice, deadline);
                self.liar.line.statement(&Signed::sign(&self.signer(choices), unpaid));
            }
            _ => {
                let record = Bytes32(choices.bytes32());
                self.liar.line.control(&Control::Recorded { statement: invoice.id(), record });
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
            let kinds = [FrameKind::Menu, FrameKind::Answer, FrameKind::Session, FrameKind::Hello, FrameKind::Error];
            self.liar.line.clear(*choices.pick(&kinds), control);
        }
        self.liar.line.skip(u64::from(choices.byte() == 0xff));
    }

    fn pass(&mut self, choices: &mut Choices<'_>) {
        self.honest = false;
        self.now = self.now.after_ms(u64::from(choices.byte()) << choices.below(11));
        self.buyer.handle_timeout(self.now);
    }

    /// What the buyer's own side may do at any time.
    fn leave(&mut self, choices: &mut Choices<'_>) {
        self.honest = false;
        match choices.below(4) {
            0 => self.buyer.exit(self.now),
            1 => self.buyer.stop(Reason::Busy),
            2 => self.buyer.recorded(StatementId(choices.bytes32()), None),
            _ => {
                let quote = Some(AskQuote { option: 1, quantity: choices.number() });
                assert!(!self.buyer.ask(Ask { product: 1, quote }) || !self.buyer.is_live());
            }
        }
    }

    /// A new connection of the same order; both accounts go with it.
    fn again(&mut self, choices: &mut Choices<'_>) {
        if self.seed > 28 {
            return;
        }
        self.honest = false;
        self.write_through();
        self.pump();
        self.seed += 2;
        let fresh = Buyer::new(kit::buyer(self.moves), [self.seed; 32], self.now);
        self.resuming = std::mem::replace(&mut self.buyer, fresh).into_order();
        let before = std::mem::replace(&mut self.liar, raw(&self.config, [self.seed + 1; 32]));
        (self.liar.order, self.liar.salt) = (before.order, before.salt);
        self.liar.totals = before.totals;
        self.ended = None;
        self.pump();
        let reply = self.liar.menu_reply();
        self.liar.send_menu(&reply);
        self.pump();
        self.accept(choices);
    }

    fn write_through(&mut self) {
        self.disk.held = false;
        for (id, _) in std::mem::take(&mut self.disk.waiting) {
            self.buyer.stored(self.now, id);
        }
    }

    /// Moves everything until nothing moves.
    fn pump(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            while let Some(output) = self.buyer.poll_output(self.now) {
                moved = true;
                self.answer(output);
            }
            if !self.disk.held && !self.disk.waiting.is_empty() {
                self.write_through();
                moved = true;
            }
            let mut out = Vec::new();
            moved |= self.buyer.poll_transmit(self.now, &mut out);
            self.heard.extend(self.liar.receive(&out));
            let mut back = self.liar.line.take();
            moved |= !back.is_empty();
            match FrameHeader::peek(&back) {
                Err(offence) => self.buyer.offend(offence),
                Ok(_) => self.hear(&mut back),
            }
            if !moved {
                return;
            }
        }
        panic!("the conversation does not come to rest");
    }

    fn hear(&mut self, bytes: &mut [u8]) {
        for frame in frames(bytes) {
            // An offence shows in the output.
            let Ok(delivery) = self.buyer.handle_frame(self.now, frame) else { continue };
            for (seq, message) in delivery.messages() {
                assert!(seq >= self.sink.0, "messages come once and in order");
                assert!(message.bytes.len() <= self.config.menu.products[0].message_max as usize);
                self.sink = (seq + 1, self.sink.1 + message.bytes.len() as u64);
            }
        }
    }

    fn answer(&mut self, output: Output) {
        match output {
            Output::Menu(_) => match self.resuming.take() {
                Some(account) => assert!(self.buyer.resume(self.now, account).is_ok()),
                None => {
                    self.buyer.place(self.now, kit::draft(self.product())).expect("an order that can be had");
                }
            },
            Output::Store { id, entries, delivered_through } => {
                assert!(delivered_through <= self.sink.0, "the sink has what it vouches for");
                self.disk.waiting.push((id, entries));
            }
            Output::RecordOrder(order) => self.buyer.recorded(order.id, Some(Bytes32([6; 32]))),
            Output::Pay { invoice, before } => self.pay(&invoice, before),
            Output::Recall(_) => self.buyer.recalled(self.now, None),
            Output::Quote(quote) => assert_quote(&quote, self.product()),
            Output::Closed(ended) => assert_eq!(self.ended.replace(ended), None, "a connection closes once"),
            Output::Record(_) | Output::Event(_) | Output::Sample(_) => {}
        }
    }

    /// The rail is asked: for no more than what the buyer holds is worth.
    fn pay(&mut self, invoice: &Signed<Invoice>, before: Amount) {
        let draft = kit::draft(self.product());
        let price = self.product().price();
        let worth = match self.product().unit {
            Unit::Message => price.due(self.sink.0),
            Unit::Byte => price.due(self.sink.1),
            Unit::Second => price.due(self.now.since_ms(START) + sdpp_proto::limits::CLOCK_TOLERANCE_MS),
        };
        assert!(Some(invoice.due) <= worth, "{} is paid for what is worth {worth:?}", invoice.due);
        assert!(invoice.due <= draft.limit && invoice.due.saturating_sub(invoice.paid) <= draft.exposure_max);
        assert!(before >= self.money.1 && invoice.due >= self.money.0, "totals only rise");
        self.money.0 = invoice.due;
        self.honest &= self.pays;
        if self.pays {
            let proof = self.moves.then(|| invoice.id().0.to_vec());
            self.buyer.paid(&invoice.id(), proof);
        }
    }

    fn check(&mut self) {
        if self.honest {
            assert!(!matches!(self.ended, Some(Ended::Offence(_))), "{:?}", self.ended);
        }
        let Some(account) = self.buyer.order() else { return };
        assert!(account.paid() >= self.money.1 && account.paid() <= self.money.0, "only what the rail was asked for");
        assert!(account.delivered() <= self.sink.0, "messages are counted that were not handed out");
        self.money.1 = account.paid();
    }
}

fn raw(config: &SellerConfig, seed: [u8; 32]) -> RawSeller {
    RawSeller::new(key(kit::SELLER), config.menu.clone(), kit::seals(), seed)
}

fn assert_quote(quote: &Quote, product: &Product) {
    assert_eq!(quote.product, product.id, "an answer to what was asked");
}

fn change_acceptance(choices: &mut Choices<'_>, acceptance: &mut Acceptance) {
    for _ in 0..=choices.below(3) {
        match choices.below(10) {
            0 => acceptance.order_id = StatementId(choices.bytes32()),
            1 => acceptance.attach_id = StatementId(choices.bytes32()),
            2 => acceptance.index = choices.near(acceptance.index.into()) as u32,
            3 => acceptance.th2 = Bytes32(choices.bytes32()),
            4 => acceptance.enc_hash = Bytes32(choices.bytes32()),
            5 => acceptance.start = choices.near(acceptance.start),
            6 => {
                acceptance.forgiven = Some(Forgiven {
                    first: choices.near(acceptance.start),
                    count: choices.near(0),
                    invoice: choices.yes().then(|| StatementId(choices.bytes32())),
                    next_n: choices.near(1),
                });
            }
            7 => acceptance.exposure = near(choices, acceptance.exposure),
            8 => acceptance.windows = choices.near(acceptance.windows.into()) as u32,
            _ => acceptance.ramp = choices.yes(),
        }
    }
}

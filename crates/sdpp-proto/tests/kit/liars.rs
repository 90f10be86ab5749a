//! One shipped machine against one hand-made peer.

use std::sync::Arc;

use sdpp_proto::buyer::{self, Buyer, BuyerConfig, OrderDraft};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::message::Batch;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::seller::{self, Admission, Seller, SellerConfig, SellerOrder};
use sdpp_proto::statement::{AnyStatement, Invoice, Menu, Payment, Product, Signed};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_sim::liar::{BuyerKeys, Heard, RawBuyer, RawSeller};
use zeroize::Zeroizing;

use super::{Journal, START, admission, buyer_config, draft, frames, key, message, seller_config};

pub fn buyer_keys() -> BuyerKeys {
    BuyerKeys { identity: key(2), pays: key(3) }
}

/// The same statement, of the same id, with a signature that does not verify.
pub fn spoilt(statement: &AnyStatement) -> AnyStatement {
    let mut bytes = statement.bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    AnyStatement { bytes: bytes.into(), ..statement.clone() }
}

fn errors(heard: &[Heard]) -> Vec<u16> {
    let code = |heard: &Heard| if let Heard::Error(code) = heard { Some(*code) } else { None };
    heard.iter().filter_map(code).collect()
}

/// The shipped seller and a liar that buys.
pub struct AgainstSeller {
    pub now: Timestamp,
    pub config: Arc<SellerConfig>,
    pub seller: Seller,
    pub liar: RawBuyer,
    pub journal: Journal,
    pub ended: Option<seller::Ended>,
    pub known: Option<Box<SellerOrder>>,
    pub admission: Admission,
    /// Messages that the source has.
    pub source: u64,
    pub batch: Batch,
    pub accepts_payments: bool,
    pub settled_calls: u64,
    pub heard: Vec<Heard>,
    seed: u8,
}

impl AgainstSeller {
    pub fn new(config: Arc<SellerConfig>) -> Self {
        Self {
            now: START,
            seller: Seller::new(config.clone(), [1; 32], START),
            config,
            liar: RawBuyer::new(buyer_keys(), Suite::X25519, [2; 32]),
            journal: Journal::default(),
            ended: None,
            known: None,
            admission: Admission { ramp: false, ..admission() },
            source: u64::MAX,
            batch: Batch::new(),
            accepts_payments: true,
            settled_calls: 0,
            heard: Vec::new(),
            seed: 10,
        }
    }

    /// With a menu heard.
    pub fn choosing(product: Product) -> Self {
        let mut world = Self::new(seller_config(product));
        world.greet();
        world
    }

    /// With a live session of an order for one window at a time.
    pub fn live(product: Product) -> Self {
        Self::live_with(seller_config(product))
    }

    pub fn live_with(config: Arc<SellerConfig>) -> Self {
        let mut world = Self::new(config);
        world.greet();
        let order = world.liar.order();
        world.liar.send_order(order);
        world.pump();
        assert!(world.seller.is_live());
        world
    }

    pub fn greet(&mut self) {
        let hello = self.liar.hello();
        self.liar.send_hello(&hello);
        self.pump();
    }

    /// The same liar on a new connection; the seller's account goes with it.
    pub fn again(&mut self) {
        self.seed += 2;
        let fresh = Seller::new(self.config.clone(), [self.seed; 32], self.now);
        self.known = std::mem::replace(&mut self.seller, fresh).into_order(self.now);
        let liar = RawBuyer::new(buyer_keys(), Suite::X25519, [self.seed + 1; 32]);
        let before = std::mem::replace(&mut self.liar, liar);
        self.liar.order = before.order;
        self.liar.last_payment = before.last_payment;
        self.ended = None;
        self.heard.clear();
        self.greet();
    }

    /// Moves everything until nothing moves.
    pub fn pump(&mut self) {
        for _ in 0..10_000 {
            let mut moved = self.drive();
            let mut out = Vec::new();
            self.seller.poll_transmit(self.now, &mut out, usize::MAX);
            self.heard.extend(self.liar.receive(&out));
            let mut back = self.liar.line.take();
            moved |= !out.is_empty() || !back.is_empty();
            self.give(&mut back);
            if !moved {
                return;
            }
        }
        panic!("the conversation does not come to rest");
    }

    /// Feeds bytes as a driver does: whole frames, and offences of a header at once.
    pub fn give(&mut self, bytes: &mut [u8]) {
        match sdpp_proto::frame::FrameHeader::peek(bytes) {
            Err(offence) => self.seller.offend(self.now, offence),
            Ok(_) => {
                for frame in frames(bytes) {
                    let _ = self.seller.handle_frame(self.now, frame);
                }
            }
        }
    }

    fn drive(&mut self) -> bool {
        let mut moved = false;
        if self.seller.is_live() {
            while self.batch.len() < 50 && self.source > 0 {
                self.source -= 1;
                let seq = u64::MAX - self.source - 1;
                self.batch.push(seq as i64, &message(seq)).unwrap();
            }
            let before = self.batch.len();
            self.seller.offer(self.now, &mut self.batch);
            moved |= self.batch.len() != before;
        }
        while let Some(output) = self.seller.poll_output(self.now) {
            moved = true;
            self.answer(output);
        }
        if let Some(id) = self.journal.ready() {
            self.seller.stored(self.now, id);
            moved = true;
        }
        moved
    }

    fn answer(&mut self, output: seller::Output) {
        let admission = self.admission;
        match output {
            seller::Output::Admit(_) => match self.known.take() {
                Some(account) => assert!(self.seller.readmit(self.now, account, &admission)),
                None => assert!(self.seller.admit(self.now, &admission)),
            },
            seller::Output::Store { id, entries } => self.journal.take(id, entries),
            seller::Output::Settle(settle) => {
                self.settled_calls += 1;
                self.seller.settled(self.now, &settle.payment.id(), self.accepts_payments);
            }
            seller::Output::Closed(ended) => {
                assert!(self.ended.is_none(), "a connection closes once");
                self.ended = Some(ended);
            }
            seller::Output::Record(_) | seller::Output::Event(_) => {}
        }
    }

    /// The newest invoice heard.
    pub fn invoice(&self) -> Signed<Invoice> {
        self.heard.iter().rev().find_map(Heard::statement::<Invoice>).expect("an invoice was heard")
    }

    pub fn invoices(&self) -> Vec<Signed<Invoice>> {
        self.heard.iter().filter_map(Heard::statement::<Invoice>).collect()
    }

    pub fn messages_heard(&self) -> u64 {
        self.heard.iter().filter(|heard| matches!(heard, Heard::Message(..))).count() as u64
    }

    /// Pays the newest invoice honestly.
    pub fn pay(&mut self) {
        let invoice = self.invoice();
        self.liar.pay(&invoice);
        self.pump();
    }

    /// Asks for the end and gives the last invoice.
    pub fn last_invoice(&mut self) -> Signed<Invoice> {
        self.pay();
        self.liar.line.control(&sdpp_proto::wire::Control::Exit);
        self.pump();
        while !self.invoice().last {
            self.pay();
        }
        self.invoice()
    }

    /// The offence was seen, told, and cost the seller nothing but the agreed exposure.
    pub fn is_refused_with(&mut self, offence: Offence) {
        self.refused_with_paid(offence, None);
    }

    pub fn refused_with_paid(&mut self, offence: Offence, paid: Option<Amount>) {
        self.pump();
        let ended = match offence {
            Offence::NotPaid => seller::Ended::Defaulted,
            offence => seller::Ended::Offence(offence),
        };
        assert_eq!(self.ended, Some(ended));
        self.was_told(offence);
        let Some(account) = self.seller.order() else { return };
        let owed = account.due().saturating_sub(account.paid());
        assert!(owed <= self.admission.exposure, "more than the exposure is lost");
        let paid = paid.or_else(|| self.honest_total()).unwrap_or(Amount::ZERO);
        assert_eq!(account.paid(), paid, "credit without a payment, or a payment without credit");
    }

    pub fn was_told(&self, offence: Offence) {
        assert_eq!(errors(&self.heard), [offence.code()], "the wire code");
    }

    /// What the journal says was paid.
    fn honest_total(&self) -> Option<Amount> {
        let payments = self.journal.statements();
        payments.iter().rev().find_map(|s| Signed::<Payment>::parse(&s.bytes).ok()).map(|payment| payment.total)
    }
}

/// The shipped buyer and a liar that sells.
pub struct AgainstBuyer {
    pub now: Timestamp,
    pub buyer: Buyer,
    pub liar: RawSeller,
    pub journal: Journal,
    pub ended: Option<buyer::Ended>,
    pub draft: OrderDraft,
    pub resuming: Option<Box<buyer::BuyerOrder>>,
    pub places: bool,
    pub pays: bool,
    /// What the rail was asked to pay, cumulative.
    pub paid: Vec<Amount>,
    pub sink: Vec<(u64, Vec<u8>)>,
    pub heard: Vec<Heard>,
    pub outputs: Vec<buyer::Output>,
    moves: bool,
    seed: u8,
}

pub fn seals(seed: u8) -> Vec<SealSecret> {
    Suite::ALL.map(|suite| SealSecret::derive(suite, &Zeroizing::new([seed; 32])).0).into()
}

impl AgainstBuyer {
    pub fn new(config: BuyerConfig, menu: Signed<Menu>) -> Self {
        let seed = 20;
        Self {
            now: START,
            moves: config.pay_moves_money,
            buyer: Buyer::new(config, [seed; 32], START),
            liar: RawSeller::new(key(1), menu, seals(9), [21; 32]),
            journal: Journal::default(),
            ended: None,
            draft: OrderDraft { quantity: None, ..draft() },
            resuming: None,
            places: true,
            pays: true,
            paid: Vec::new(),
            sink: Vec::new(),
            heard: Vec::new(),
            outputs: Vec::new(),
            seed,
        }
    }

    /// Before the menu; its hello was heard.
    pub fn greeted(product: Product) -> Self {
        let menu = seller_config(product).menu.clone();
        let mut world = Self::new(buyer_config(Suite::X25519), menu);
        world.pump();
        world
    }

    /// The order was heard.
    pub fn ordered(product: Product) -> Self {
        let mut world = Self::greeted(product);
        let reply = world.liar.menu_reply();
        world.liar.send_menu(&reply);
        world.pump();
        assert!(world.liar.order.is_some());
        world
    }

    /// A live session.
    pub fn live(product: Product) -> Self {
        let mut world = Self::ordered(product);
        world.accept();
        world
    }

    /// A live session where money moves when the buyer pays.
    pub fn live_that_moves(product: Product) -> Self {
        let menu = seller_config(product).menu.clone();
        let mut world = Self::new(BuyerConfig { pay_moves_money: true, ..buyer_config(Suite::X25519) }, menu);
        world.pump();
        let reply = world.liar.menu_reply();
        world.liar.send_menu(&reply);
        world.pump();
        world.accept();
        world
    }

    pub fn accept(&mut self) {
        let acceptance = self.liar.acceptance();
        self.liar.send_acceptance(acceptance);
        self.pump();
        assert!(self.buyer.is_live());
    }

    /// A new connection of the same order, up to the order'.
    pub fn again(&mut self) {
        let account = self.buyer_gone();
        self.again_with(account);
    }

    /// The same after a restart of the buyer: its account is what its journal holds.
    pub fn restarted(&mut self) {
        let account = self.reread_journal();
        self.again_with(Some(Box::new(account)));
    }

    /// The same where the journal is declared to come from a backup.
    pub fn restored(&mut self) {
        let mut account = self.reread_journal();
        account.declare_restored();
        self.again_with(Some(Box::new(account)));
    }

    fn reread_journal(&mut self) -> buyer::BuyerOrder {
        drop(self.buyer_gone());
        buyer::BuyerOrder::restore(&self.draft.sign_key, &self.liar.menu, &self.journal.entries).unwrap()
    }

    fn buyer_gone(&mut self) -> Option<Box<buyer::BuyerOrder>> {
        self.seed += 2;
        let config = BuyerConfig { pay_moves_money: self.moves, ..buyer_config(Suite::X25519) };
        let fresh = Buyer::new(config, [self.seed; 32], self.now);
        std::mem::replace(&mut self.buyer, fresh).into_order()
    }

    fn again_with(&mut self, account: Option<Box<buyer::BuyerOrder>>) {
        self.resuming = account;
        let seller = RawSeller::new(key(1), self.liar.menu.clone(), seals(9), [self.seed + 1; 32]);
        let before = std::mem::replace(&mut self.liar, seller);
        self.liar.order = before.order;
        self.liar.salt = before.salt;
        self.liar.totals = before.totals;
        self.ended = None;
        self.heard.clear();
        self.pump();
        let reply = self.liar.menu_reply();
        self.liar.send_menu(&reply);
        self.pump();
    }

    pub fn pump(&mut self) {
        for _ in 0..10_000 {
            let mut moved = self.drive();
            let mut out = Vec::new();
            self.buyer.poll_transmit(self.now, &mut out);
            self.heard.extend(self.liar.receive(&out));
            let mut back = self.liar.line.take();
            moved |= !out.is_empty() || !back.is_empty();
            self.give(&mut back);
            if !moved {
                return;
            }
        }
        panic!("the conversation does not come to rest");
    }

    pub fn give(&mut self, bytes: &mut [u8]) {
        match sdpp_proto::frame::FrameHeader::peek(bytes) {
            Err(offence) => self.buyer.offend(offence),
            Ok(_) => {
                for frame in frames(bytes) {
                    let Ok(delivery) = self.buyer.handle_frame(self.now, frame) else { continue };
                    self.sink.extend(delivery.messages().map(|(seq, message)| (seq, message.bytes.to_vec())));
                }
            }
        }
    }

    fn drive(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.buyer.poll_output(self.now) {
            moved = true;
            self.answer(output);
        }
        if let Some(id) = self.journal.ready() {
            self.buyer.stored(self.now, id);
            moved = true;
        }
        moved
    }

    fn answer(&mut self, output: buyer::Output) {
        match output {
            buyer::Output::Menu(_) => match self.resuming.take() {
                Some(account) => assert!(self.buyer.resume(self.now, account).is_ok()),
                None if self.places => {
                    self.buyer.place(self.now, self.draft.clone()).unwrap();
                }
                None => {}
            },
            buyer::Output::Store { id, entries, .. } => self.journal.take(id, entries),
            buyer::Output::RecordOrder(order) => self.buyer.recorded(order.id, Some(Bytes32([6; 32]))),
            buyer::Output::Pay { invoice, .. } => {
                if self.pays {
                    self.paid.push(invoice.due);
                    self.buyer.paid(&invoice.id(), None);
                }
            }
            buyer::Output::Closed(ended) => {
                assert!(self.ended.is_none(), "a connection closes once");
                self.ended = Some(ended);
            }
            other => self.outputs.push(other),
        }
    }

    /// The newest payment heard; the books credit it.
    pub fn credit(&mut self) -> Signed<Payment> {
        let payment = self.heard.iter().rev().find_map(Heard::statement::<Payment>).expect("a payment was heard");
        self.liar.credit(&payment);
        payment
    }

    /// One honest window of these messages, paid and credited.
    pub fn sell(&mut self, count: u64) -> Signed<Invoice> {
        let invoice = self.deliver(count, false);
        self.credit();
        invoice
    }

    /// One honest window.
    pub fn deliver(&mut self, count: u64, last: bool) -> Signed<Invoice> {
        let payloads = self.payloads(count);
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let invoice = self.liar.deliver(&slices, last);
        self.pump();
        invoice
    }

    /// Messages without their invoice, but cut.
    pub fn send(&mut self, count: u64) {
        let payloads = self.payloads(count);
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        self.liar.send_messages(&slices);
        self.liar.send_cut();
    }

    fn payloads(&self, count: u64) -> Vec<Vec<u8>> {
        (0..count).map(|at| message(self.liar.totals.next + at)).collect()
    }

    /// The offence was seen, told, and the buyer paid for nothing but what it holds.
    pub fn is_refused_with(&mut self, offence: Offence) {
        let before = self.paid.last().copied();
        self.pump();
        assert_eq!(self.ended, Some(buyer::Ended::Offence(offence)));
        assert_eq!(errors(&self.heard), [offence.code()], "the wire code");
        assert_eq!(self.paid.last().copied(), before, "the false claim was paid");
        let Some(account) = self.buyer.order() else { return };
        assert_eq!(account.paid(), before.unwrap_or(Amount::ZERO), "a payment without the rail");
        assert!(account.delivered() <= self.sink.len() as u64, "messages are counted that were not handed out");
    }
}

//! Two machines and a wire between them, in one thread, under a clock that the test holds.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the kit")]

pub mod liars;

use std::sync::Arc;

use sdpp_proto::buyer::{self, Buyer, BuyerConfig, OrderDraft};
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::frame::FrameHeader;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::message::Batch;
use sdpp_proto::money::{Amount, AssetId, Unit};
use sdpp_proto::offence::{Offence, Reason};
use sdpp_proto::seller::{self, Admission, Offered, Seller, SellerConfig};
use sdpp_proto::statement::{
    AnyStatement, Form, Invoice, Kind, Menu, PayOption, Product, RecordOffer, RecordPolicy, Sample, SealKey, Signed,
    Signing, Stalled,
};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use zeroize::Zeroizing;

pub const START: Timestamp = Timestamp::from_ms(1_800_000_000_000);

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

pub fn product() -> Product {
    Product {
        id: 1,
        topic: "weather".into(),
        schema: "json".into(),
        unit: Unit::Message,
        amount: Amount::new(3),
        per: 1,
        available: None,
        k: 10,
        window_ms: 0,
        window_bytes: 0,
        message_max: 100_000,
        windows_max: 64,
        signing: Signing::Window,
        acks: false,
        when_stalled: Stalled::Buffer,
        sample: true,
        cadence_ms: None,
        licence: None,
    }
}

pub fn option() -> PayOption {
    PayOption {
        id: 1,
        rail: "test".into(),
        asset: AssetId::new("unit@test"),
        address: "seller".into(),
        finality: 0,
        grace_min_ms: 0,
        pay_by_ms: 20_000,
        channel: false,
        terms: Vec::new(),
    }
}

pub fn seller_config_of(product: Product, option: PayOption, seal_seed: u8) -> Arc<SellerConfig> {
    let key = key(1);
    let pairs = Suite::ALL.map(|suite| (suite, SealSecret::derive(suite, &Zeroizing::new([seal_seed; 32]))));
    let seal = pairs.iter().map(|(suite, (_, public))| SealKey { suite: *suite, public: public.clone() }).collect();
    let mut sample = Batch::new();
    sample.push(1, b"a free one").unwrap();
    let menu = Menu {
        seller: key.public(),
        until: START.after_ms(12 * 60 * 60 * 1000),
        seal,
        records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
        default_currency: AssetId::new("unit@test"),
        options: vec![option],
        products: vec![product],
    };
    let sample = Sample { seller: key.public(), topic: "weather".into(), messages: Vec::new() };
    let sample = Signed::sign(&key, sample);
    let menu = Signed::sign(&key, menu);
    let seals = pairs.into_iter().map(|(_, (secret, _))| secret).collect();
    Arc::new(SellerConfig { key, menu, seals, samples: vec![sample] })
}

pub fn seller_config(product: Product) -> Arc<SellerConfig> {
    seller_config_of(product, option(), 9)
}

pub fn buyer_config(suite: Suite) -> BuyerConfig {
    BuyerConfig { key: key(2), seller: Some(key(1).public()), suites: vec![suite], pay_moves_money: false }
}

pub fn draft() -> OrderDraft {
    OrderDraft {
        product: 1,
        option: 1,
        quantity: Some(100),
        windows: 4,
        exposure_max: Amount::new(1000),
        limit: Amount::new(1_000_000),
        channel: None,
        record: RecordPolicy { form: Form::Full, every: 1 },
        sign_key: key(3),
        nonce: Bytes32([5; 32]),
        until: START.after_ms(60_000),
    }
}

pub fn admission() -> Admission {
    Admission { exposure: Amount::new(1000), windows: 4, ramp: true, ceiling: Amount::MAX }
}

/// A message whose content follows from its number.
pub fn message(seq: u64) -> Vec<u8> {
    format!("reading {seq} {}", "x".repeat((seq % 37) as usize)).into_bytes()
}

/// One side's journal, and which writes are withheld.
#[derive(Default)]
pub struct Journal {
    pub entries: Vec<Entry>,
    pub acked: Option<StoreId>,
    pub waiting: Vec<(StoreId, Vec<Entry>)>,
    pub hold: bool,
    /// Writes asked for, over all connections and restarts.
    pub writes: u64,
    /// The process dies with this write, before (`false`) or after (`true`) it is durable.
    pub dies_at: Option<(u64, bool)>,
    pub dead: bool,
}

impl Journal {
    fn take(&mut self, id: StoreId, entries: Vec<Entry>) {
        self.waiting.push((id, entries));
        self.writes += 1;
        if let Some((at, durable)) = self.dies_at.filter(|(at, _)| *at == self.writes) {
            self.dies_at = None;
            self.dead = true;
            if !durable {
                self.waiting.pop();
            }
            self.entries.extend(self.waiting.drain(..).flat_map(|(_, entries)| entries));
            assert_eq!(at, self.writes);
        }
    }

    fn ready(&mut self) -> Option<StoreId> {
        if self.hold || self.dead || self.waiting.is_empty() {
            return None;
        }
        let mut last = None;
        for (id, entries) in self.waiting.drain(..) {
            self.entries.extend(entries);
            last = Some(id);
        }
        last
    }

    pub fn statements(&self) -> Vec<AnyStatement> {
        let statement = |entry: &Entry| match entry {
            Entry::Statement(statement) => Some(statement.clone()),
            _ => None,
        };
        self.entries.iter().filter_map(statement).collect()
    }
}

/// The world of one sale.
pub struct World {
    pub now: Timestamp,
    pub config: Arc<SellerConfig>,
    pub seller: Seller,
    pub buyer: Buyer,
    pub seller_journal: Journal,
    pub buyer_journal: Journal,
    /// What the source offers next.
    pub source: u64,
    /// Where the source ends.
    pub source_end: u64,
    /// The source may have more later: its end does not end the sale.
    pub endless: bool,
    pub batch: Batch,
    pub offering: bool,
    pub draft: OrderDraft,
    pub admission: Admission,
    /// Account for a connection of a known order.
    pub known: Option<Box<seller::SellerOrder>>,
    /// A connection that the seller believes to be alive: a newer attach takes its order over.
    pub old: Option<Seller>,
    pub resuming: Option<Box<buyer::BuyerOrder>>,
    pub sink: Vec<(u64, Vec<u8>)>,
    pub pay: bool,
    pub settle: bool,
    pub exposure_seen: Amount,
    pub seller_ended: Option<seller::Ended>,
    pub buyer_ended: Option<buyer::Ended>,
    pub invoices_seen: Vec<(u64, u32, u64)>,
    pub to_buyer: Vec<u8>,
    pub to_seller: Vec<u8>,
    pub exit_at: Option<u64>,
    pub time_us: fn(u64) -> i64,
    pub payload: fn(u64) -> Vec<u8>,
    /// The connection breaks after so many bytes to the buyer, or to the seller.
    pub break_at: [Option<u64>; 2],
    /// Bytes carried on this connection, to the buyer and to the seller.
    pub carried: [u64; 2],
    pub broken: bool,
    /// Machines are given up without looking at what they still ask for.
    pub abrupt: bool,
    /// The source has gone on since: numbers of messages are no longer those of the source.
    pub seller_died: bool,
    pub rail: Rail,
    /// Seller and buyer declare their journals as restored when they start again.
    pub restored: [bool; 2],
    pub suite: Suite,
    connection: u16,
}

/// Where money moves when the buyer pays, if `moves`. Knows each invoice once.
#[derive(Default)]
pub struct Rail {
    pub moves: bool,
    pub transfers: std::collections::BTreeMap<Vec<u8>, Amount>,
    pub moved: Amount,
}

impl Rail {
    /// Pays at most once per invoice, however often it is called.
    fn pay(&mut self, invoice: &Signed<Invoice>, before: Amount) -> Option<Vec<u8>> {
        let id = invoice.id().0.to_vec();
        if !self.moves {
            return None;
        }
        if !self.transfers.contains_key(&id) {
            let amount = invoice.due.checked_sub(before).unwrap();
            self.moved = self.moved.checked_add(amount).unwrap();
            self.transfers.insert(id.clone(), amount);
        }
        Some(id)
    }

    fn settles(&self, settle: &seller::Settle) -> bool {
        let Some(proof) = &settle.payment.proof else { return !self.moves };
        let moved = self.transfers.get(proof).copied().unwrap_or_default();
        *proof == settle.payment.invoice_id.0 && settle.before.checked_add(moved) == Some(settle.payment.total)
    }
}

impl World {
    pub fn new(product: Product, suite: Suite) -> Self {
        Self::with(seller_config(product), buyer_config(suite), draft())
    }

    pub fn with(config: Arc<SellerConfig>, buyer: BuyerConfig, draft: OrderDraft) -> Self {
        Self {
            now: START,
            seller: Seller::new(config.clone(), [1; 32], START),
            buyer: Buyer::new(buyer, [2; 32], START),
            config,
            seller_journal: Journal::default(),
            buyer_journal: Journal::default(),
            source: 0,
            source_end: u64::MAX,
            endless: false,
            batch: Batch::new().sharing(0),
            offering: true,
            draft,
            admission: admission(),
            known: None,
            old: None,
            resuming: None,
            sink: Vec::new(),
            pay: true,
            settle: true,
            exposure_seen: Amount::ZERO,
            seller_ended: None,
            buyer_ended: None,
            invoices_seen: Vec::new(),
            to_buyer: Vec::new(),
            to_seller: Vec::new(),
            exit_at: None,
            time_us: |seq| 1_000_000 * seq as i64,
            payload: message,
            break_at: [None; 2],
            carried: [0; 2],
            broken: false,
            abrupt: false,
            seller_died: false,
            rail: Rail::default(),
            restored: [false; 2],
            suite: Suite::X25519,
            connection: 2,
        }
    }

    /// Runs until nothing moves any more.
    pub fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the conversation does not come to rest");
    }

    /// Runs until a condition holds; says whether it does.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> bool {
        for _ in 0..100_000 {
            if done(self) {
                return true;
            }
            if !self.step() {
                return done(self);
            }
        }
        panic!("the conversation does not come to rest");
    }

    pub fn step(&mut self) -> bool {
        let mut moved = false;
        moved |= self.drive_seller();
        moved |= self.drive_buyer();
        if self.seller_journal.dead || self.buyer_journal.dead {
            self.broken = true;
        }
        if self.broken {
            return false;
        }
        moved |= self.seller.poll_transmit(self.now, &mut self.to_buyer, 64 * 1024);
        moved |= self.buyer.poll_transmit(self.now, &mut self.to_seller);
        moved |= self.carry();
        if let Some(order) = self.seller.order() {
            let owed = order.due().saturating_sub(order.paid());
            self.exposure_seen = self.exposure_seen.max(owed);
        }
        moved
    }

    fn carry(&mut self) -> bool {
        let (mut to_buyer, mut to_seller) = (std::mem::take(&mut self.to_buyer), std::mem::take(&mut self.to_seller));
        let moved = !to_buyer.is_empty() || !to_seller.is_empty();
        self.break_off(0, &mut to_buyer);
        if self.broken {
            to_seller.clear();
        }
        self.break_off(1, &mut to_seller);
        for frame in frames(&mut to_buyer) {
            let Ok(delivery) = self.buyer.handle_frame(self.now, frame) else { continue };
            assert_eq!(delivery.is_empty(), delivery.messages().count() == 0);
            for (seq, message) in delivery.messages() {
                assert!(self.seller_died || message.time_us == (self.time_us)(seq), "the time of message {seq}");
                self.sink.push((seq, message.bytes.to_vec()));
            }
        }
        for frame in frames(&mut to_seller) {
            // The offence shows in the output.
            let _ = self.seller.handle_frame(self.now, frame);
        }
        moved
    }

    /// Lets through what comes before the break; of a torn frame, nothing is seen.
    fn break_off(&mut self, direction: usize, bytes: &mut Vec<u8>) {
        let room = self.break_at[direction].unwrap_or(u64::MAX).saturating_sub(self.carried[direction]);
        self.carried[direction] += bytes.len() as u64;
        if bytes.len() as u64 > room {
            self.broken = true;
            bytes.truncate(room as usize);
            let whole: usize = frames_and_rest(bytes).0.iter().map(|frame| frame.len()).sum();
            bytes.truncate(whole);
        }
    }

    pub fn drive_seller(&mut self) -> bool {
        let mut moved = false;
        if self.seller_journal.dead {
            return false;
        }
        if self.offering && self.seller.is_live() {
            if self.batch.is_empty() {
                for _ in 0..50 {
                    if self.source < self.source_end && !self.batch.is_full() {
                        self.batch.push((self.time_us)(self.source), &(self.payload)(self.source)).unwrap();
                        self.source += 1;
                    }
                }
            }
            let before = self.batch.len();
            let offered = self.seller.offer(self.now, &mut self.batch);
            moved |= self.batch.len() != before;
            if !self.endless && offered == Offered::Taken && self.source >= self.source_end && self.batch.is_empty() {
                self.seller.finish(self.now);
            }
        }
        while let Some(output) = self.seller.poll_output(self.now) {
            moved = true;
            self.seller_output(output);
            if self.seller_journal.dead {
                return true;
            }
        }
        if let Some(id) = self.seller_journal.ready() {
            self.seller.stored(self.now, id);
            moved = true;
        }
        moved
    }

    fn seller_output(&mut self, output: seller::Output) {
        match output {
            seller::Output::Admit(admit) => {
                let admission = self.admission;
                self.take_over(&admit);
                match self.known.take() {
                    Some(account) => assert!(self.seller.readmit(self.now, account, &admission)),
                    None => assert!(self.seller.admit(self.now, &admission)),
                }
            }
            seller::Output::Store { id, entries } => self.seller_journal.take(id, entries),
            seller::Output::Settle(settle) => {
                if self.settle {
                    let right = self.rail.settles(&settle);
                    self.seller.settled(self.now, &settle.payment.id(), right);
                }
            }
            seller::Output::Record(statement) => self.seller.recorded(statement.id, Bytes32([7; 32])),
            seller::Output::Event(_) => {}
            seller::Output::Closed(ended) => self.seller_ended = Some(ended),
        }
    }

    /// As a driver does it: the newer attach of the right buyer ends the older connection.
    fn take_over(&mut self, admit: &seller::Admit) {
        let newer = |old: &Seller| {
            let account = old.order().unwrap();
            account.buyer() == admit.attach.issuer() && account.index() < admit.attach.index
        };
        if self.old.as_ref().is_some_and(newer) {
            let mut old = self.old.take().unwrap();
            old.refuse(self.now, Reason::Superseded);
            while let Some(output) = old.poll_output(self.now) {
                if let seller::Output::Store { entries, .. } = output {
                    self.seller_journal.entries.extend(entries);
                }
            }
            self.known = old.into_order(self.now);
        }
    }

    pub fn drive_buyer(&mut self) -> bool {
        let mut moved = false;
        if self.buyer_journal.dead {
            return false;
        }
        while let Some(output) = self.buyer.poll_output(self.now) {
            moved = true;
            self.buyer_output(output);
            if self.buyer_journal.dead {
                return true;
            }
        }
        if let Some(id) = self.buyer_journal.ready() {
            self.buyer.stored(self.now, id);
            moved = true;
        }
        if self.exit_at.is_some_and(|at| self.sink.len() as u64 >= at) {
            self.exit_at = None;
            self.buyer.exit(self.now);
            moved = true;
        }
        moved
    }

    fn buyer_output(&mut self, output: buyer::Output) {
        match output {
            buyer::Output::Menu(_) => match self.resuming.take() {
                Some(account) => assert!(self.buyer.resume(self.now, account).is_ok()),
                None => {
                    self.buyer.place(self.now, self.draft.clone()).unwrap();
                }
            },
            buyer::Output::Sample(_) | buyer::Output::Quote(_) | buyer::Output::Record(_) => {}
            buyer::Output::Store { id, entries, delivered_through } => {
                for entry in &entries {
                    if let Entry::Statement(statement) = entry
                        && statement.kind == Kind::Invoice
                    {
                        let invoice = Signed::<Invoice>::parse_unverified(&statement.bytes).unwrap();
                        assert!(invoice.end() <= delivered_through, "an invoice is kept with the messages it is for");
                    }
                }
                self.buyer_journal.take(id, entries);
            }
            buyer::Output::RecordOrder(order) => self.buyer.recorded(order.id, Some(Bytes32([6; 32]))),
            buyer::Output::Pay { invoice, before } => {
                if self.pay {
                    let proof = self.rail.pay(&invoice, before);
                    self.buyer.paid(&invoice.id(), proof);
                }
            }
            buyer::Output::Recall(invoices) => {
                let paid = invoices.into_iter().find(|id| self.rail.transfers.contains_key(id.0.as_slice()));
                self.buyer.recalled(self.now, paid);
            }
            buyer::Output::Event(buyer::Event::Invoiced { n, windows, messages, .. }) => {
                self.invoices_seen.push((n, windows, messages));
            }
            buyer::Output::Event(_) => {}
            buyer::Output::Closed(ended) => self.buyer_ended = Some(ended),
        }
    }

    /// Cuts the connection and starts another one for the same order; both processes live on.
    pub fn reconnect(&mut self) {
        let (seller, buyer) = self.fresh_machines();
        let seller_order = std::mem::replace(&mut self.seller, seller).into_order(self.now);
        let buyer_order = std::mem::replace(&mut self.buyer, buyer).into_order();
        self.known = seller_order.or(self.known.take());
        self.resuming = buyer_order.or(self.resuming.take());
    }

    /// Reconnects after every break and restarts who died, until both have settled.
    pub fn run_through(&mut self) {
        for _ in 0..100 {
            self.run_until(|w| w.broken);
            if !self.broken {
                break;
            }
            self.go_on();
        }
    }

    /// After a break: a new connection; processes that died are restarted.
    pub fn go_on(&mut self) {
        let dead = (self.seller_journal.dead, self.buyer_journal.dead);
        match dead {
            (false, false) => self.reconnect(),
            (true, false) => self.restart_seller(),
            (false, true) => self.restart_buyer(),
            (true, true) => {
                self.restart_seller();
                self.restart_buyer();
            }
        }
        self.broken = false;
    }

    /// Kills the seller: only its journal is left.
    pub fn restart_seller(&mut self) {
        self.seller_journal.dead = true;
        self.reconnect();
        self.seller_journal.dead = false;
        self.seller_journal.waiting.clear();
        self.known = None;
        self.seller_died = true;
        // What was read from the source and not sold is lost with the process.
        self.batch.clear();
        let entries = &self.seller_journal.entries;
        if entries.is_empty() {
            return;
        }
        let mut account = seller::SellerOrder::restore(&self.config.key, &self.config.menu, entries, self.now).unwrap();
        if self.restored[0] {
            account.declare_restored();
        }
        self.known = Some(Box::new(account));
    }

    /// Kills the buyer: only its journal is left, and its sink is cut to what it vouches for.
    pub fn restart_buyer(&mut self) {
        self.buyer_journal.dead = true;
        self.reconnect();
        self.buyer_journal.dead = false;
        self.buyer_journal.waiting.clear();
        self.resuming = None;
        if self.buyer_journal.entries.is_empty() {
            self.sink.clear();
            return;
        }
        let mut account = buyer::BuyerOrder::restore(&key(3), &self.config.menu, &self.buyer_journal.entries).unwrap();
        if self.restored[1] {
            account.declare_restored();
        }
        self.sink.retain(|(seq, _)| *seq < account.verified());
        self.resuming = Some(Box::new(account));
    }

    fn fresh_machines(&mut self) -> (Seller, Buyer) {
        self.connection += 2;
        self.to_buyer.clear();
        self.to_seller.clear();
        self.seller_ended = None;
        self.buyer_ended = None;
        self.carried = [0; 2];
        if self.abrupt {
            self.seller_journal.waiting.clear();
            self.buyer_journal.waiting.clear();
        } else {
            // The wire is cut: what was under way in the journals comes to rest first.
            self.drive_seller();
            self.drive_buyer();
            if !self.seller_journal.dead {
                self.seller.hang_up(self.now);
            }
            if !self.buyer_journal.dead {
                self.buyer.hang_up();
            }
            self.drive_seller();
            self.drive_buyer();
            self.seller_ended = None;
            self.buyer_ended = None;
        }
        let seller = Seller::new(self.config.clone(), seed(self.connection), self.now);
        let config = BuyerConfig { pay_moves_money: self.rail.moves, ..buyer_config(self.suite) };
        let buyer = Buyer::new(config, seed(self.connection + 1), self.now);
        (seller, buyer)
    }

    pub fn both_settled(&self) {
        assert_eq!(self.buyer_ended, Some(buyer::Ended::Settled));
        assert_eq!(self.seller_ended, Some(seller::Ended::Settled { countersigned: true }));
    }

    pub fn order_id(&self) -> StatementId {
        self.buyer.order().unwrap().id()
    }

    pub fn delivered_is_whole(&self, count: u64) {
        assert_eq!(self.sink.len() as u64, count, "messages delivered");
        for (at, (seq, bytes)) in self.sink.iter().enumerate() {
            assert_eq!((*seq, bytes), (at as u64, &(self.payload)(*seq)), "message {at}");
        }
    }

    pub fn refused(&self) -> Option<Offence> {
        match (&self.seller_ended, &self.buyer_ended) {
            (Some(seller::Ended::Offence(offence)), _) | (_, Some(buyer::Ended::Offence(offence))) => Some(*offence),
            _ => None,
        }
    }

    pub fn refuse(&mut self) {
        self.seller.refuse(self.now, Reason::Busy);
    }
}

fn seed(number: u16) -> [u8; 32] {
    let mut seed = [0xab; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    seed
}

/// Splits a stream of whole frames.
pub fn frames(bytes: &mut [u8]) -> Vec<&mut [u8]> {
    let (frames, rest) = frames_and_rest(bytes);
    assert!(rest.is_empty(), "machines write whole frames");
    frames
}

/// Splits the whole frames off a stream.
fn frames_and_rest(bytes: &mut [u8]) -> (Vec<&mut [u8]>, &mut [u8]) {
    let mut rest = bytes;
    let mut out = Vec::new();
    while let Ok(Some(header)) = FrameHeader::peek(rest) {
        if rest.len() < header.frame_len() {
            break;
        }
        let (frame, behind) = rest.split_at_mut(header.frame_len());
        out.push(frame);
        rest = behind;
    }
    (out, rest)
}

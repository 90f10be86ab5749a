//! A shipped machine and a liar, with everything that a driver does between them.

use std::sync::Arc;

use sdpp_proto::buyer::{self, Buyer, BuyerConfig, BuyerOrder, OrderDraft};
use sdpp_proto::codec::{Bytes32, ChannelId};
use sdpp_proto::frame::FrameHeader;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::message::Batch;
use sdpp_proto::money::{Amount, AssetId, Price, Unit};
use sdpp_proto::offence::Offence;
use sdpp_proto::seller::{self, Admission, Seller, SellerConfig, SellerOrder};
use sdpp_proto::statement::{
    Form, Menu, Order, PayOption, Product, RecordOffer, RecordPolicy, SealKey, Signed, Signing,
};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{Ask, AskQuote};
use sdpp_sim::liar::BuyerKeys;
use sdpp_sim::liar::act::{BuyerLie, LyingBuyer, LyingSeller, SellerLie};
use zeroize::Zeroizing;

const START: Timestamp = Timestamp::from_ms(1_800_000_000_000);
const QUANTITY: u64 = 60;
const WINDOWS: u32 = 2;
const CONNECTIONS: u8 = 12;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn payload(seq: u64) -> Vec<u8> {
    format!("message {seq}: forty bytes or somewhat more").into_bytes()
}

fn seals() -> Vec<SealSecret> {
    Suite::ALL.map(|suite| SealSecret::derive(suite, &Zeroizing::new([9; 32])).0).into()
}

/// What is sold, and how the link behaves.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) suite: Suite,
    pub(crate) product: Product,
    pub(crate) exposure: Amount,
    pub(crate) pay_by_ms: u64,
    /// The first connections are cut after a few steps, in the middle of what is said.
    pub(crate) cuts: bool,
    /// After how many steps the first one is cut.
    pub(crate) cut_from: usize,
    pub(crate) asks: bool,
    /// On the first connection, the byte with this number is changed on its way to the liar.
    pub(crate) garbles: Option<usize>,
}

impl Setup {
    pub(crate) fn new(at: u32, signing: Signing, cuts: bool) -> Self {
        let (suite, price, exposure, pay_by_ms) = match at {
            0 => (Suite::X25519, Price::per_message(3), 60, 20_000),
            1 => (Suite::XWing, Price { unit: Unit::Byte, amount: Amount::new(1), per: 7 }, 10_000, 90_000),
            _ => (Suite::X25519, Price { unit: Unit::Second, amount: Amount::new(5), per: 1 }, 10_000, 90_000),
        };
        let mut product = Product::new("weather", price);
        (product.k, product.windows_max, product.signing, product.acks) = (10, WINDOWS, signing, at == 3);
        Self {
            suite,
            product,
            exposure: Amount::new(exposure),
            pay_by_ms,
            cuts,
            cut_from: 1,
            asks: false,
            garbles: None,
        }
    }

    fn menu(&self) -> Signed<Menu> {
        let public = |suite| SealSecret::derive(suite, &Zeroizing::new([9; 32])).1;
        let option = PayOption {
            id: 1,
            rail: "voucher".into(),
            asset: AssetId::new("unit@test"),
            address: String::new(),
            finality: 0,
            grace_min_ms: 0,
            pay_by_ms: self.pay_by_ms,
            channel: true,
            terms: Vec::new(),
        };
        let menu = Menu {
            seller: key(1).public(),
            until: START.after_ms(12 * 3_600_000),
            seal: Suite::ALL.map(|suite| SealKey { suite, public: public(suite) }).into(),
            records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
            default_currency: AssetId::new("unit@test"),
            options: vec![option],
            products: vec![self.product.clone()],
        };
        Signed::sign(&key(1), menu)
    }

    /// Changes the byte that is to be changed, if it is among these.
    fn garble(&mut self, bytes: &mut [u8]) {
        let Some(at) = self.garbles else { return };
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x10;
        }
        self.garbles = at.checked_sub(bytes.len());
    }

    /// After how many steps connection `number` is cut.
    fn cut(&self, number: u8) -> Option<usize> {
        (self.cuts && number < 6).then(|| self.cut_from + usize::from(number % 3))
    }
}

/// How it went.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) lied: bool,
    /// What was named, and whether the lie was told by then.
    pub(crate) named: Vec<(Offence, bool)>,
    pub(crate) settled: bool,
    pub(crate) connections: u8,
}

/// Whole frames of a stream; what is refused by its header alone.
fn split(inbox: &mut Vec<u8>) -> (Vec<Vec<u8>>, Option<Offence>) {
    let mut frames = Vec::new();
    loop {
        match FrameHeader::peek(inbox) {
            Err(offence) => return (frames, Some(offence)),
            Ok(Some(header)) if inbox.len() >= header.frame_len() => {
                frames.push(inbox.drain(..header.frame_len()).collect());
            }
            Ok(_) => return (frames, None),
        }
    }
}

fn seed(number: u8, side: u8) -> [u8; 32] {
    let mut seed = [side; 32];
    seed[0] = number;
    seed
}

/// The shipped seller and a lying buyer.
pub(crate) struct SellerWorld {
    setup: Setup,
    config: Arc<SellerConfig>,
    now: Timestamp,
    seller: Seller,
    pub(crate) liar: LyingBuyer,
    known: Option<Box<SellerOrder>>,
    inbox: Vec<u8>,
    batch: Batch,
    source: u64,
    story: Story,
}

impl SellerWorld {
    pub(crate) fn new(setup: Setup, lie: BuyerLie, at: u32) -> Self {
        let config = SellerConfig { key: key(1), menu: setup.menu(), seals: seals(), samples: Vec::new() };
        let config = Arc::new(config);
        let (windows, exposure_max) = (setup.product.windows_max, setup.exposure);
        let change = move |order: &mut Order| {
            (order.quantity, order.windows, order.exposure_max) = (Some(QUANTITY), windows, exposure_max);
            order.channel = Some(ChannelId([7; 32]));
        };
        let keys = BuyerKeys { identity: key(2), pays: key(3) };
        Self {
            seller: Seller::new(config.clone(), [0; 32], START),
            liar: LyingBuyer::new(keys, setup.suite, lie, at, Box::new(change)),
            config,
            now: START,
            known: None,
            inbox: Vec::new(),
            batch: Batch::new(),
            source: 0,
            story: Story::default(),
            setup,
        }
    }

    pub(crate) fn run(mut self) -> Story {
        for number in 0..CONNECTIONS {
            self.now = self.now.after_ms(1_000);
            self.inbox.clear();
            self.seller = Seller::new(self.config.clone(), seed(number, 1), self.now);
            self.liar.connect(seed(number, 2));
            self.connection(self.setup.cut(number));
            self.seller.hang_up(self.now);
            self.drive();
            let fresh = Seller::new(self.config.clone(), [0; 32], self.now);
            self.known = std::mem::replace(&mut self.seller, fresh).into_order(self.now).or(self.known.take());
            self.source = self.known.as_ref().map_or(0, |account| account.sent());
            self.batch.clear();
            if let Some(account) = &self.known {
                assert!(account.paid() <= self.liar.signed_total(), "credit without a payment");
                let owed = account.due().saturating_sub(account.paid());
                assert!(owed <= self.setup.exposure, "more than the exposure is lost");
            }
            self.story.connections = number + 1;
            if self.story.settled {
                break;
            }
        }
        self.story.lied = self.liar.has_lied();
        if self.story.settled {
            let account = self.known.as_ref().unwrap();
            assert_eq!((account.paid(), account.due()), (self.liar.signed_total(), self.liar.signed_total()));
            assert_eq!(Some(account.id()), self.liar.order_id());
        }
        self.story
    }

    fn connection(&mut self, cut: Option<usize>) {
        let lied = self.liar.has_lied();
        for step in 0..1_000 {
            let said = self.liar.say();
            let mut moved = !said.is_empty();
            // In two pieces, to split frames.
            for piece in said.chunks(said.len() / 2 + 1) {
                self.feed(piece);
            }
            moved |= self.drive();
            let mut out = Vec::new();
            self.seller.poll_transmit(self.now, &mut out, usize::MAX);
            moved |= !out.is_empty();
            if cut == Some(step) && self.liar.has_lied() == lied {
                self.liar.hear(self.now, &out[..out.len() * 7 / 10]);
                return;
            }
            self.setup.garble(&mut out);
            self.liar.hear(self.now, &out);
            if self.seller.is_closed() {
                return;
            }
            if !moved {
                let next = self.seller.poll_timeout().unwrap().min(self.now.after_ms(1_000));
                self.now = next.max(self.now.after_ms(1));
                self.seller.handle_timeout(self.now);
                self.liar.hear(self.now, &[]);
            }
        }
        panic!("the connection does not end");
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        let (frames, offence) = split(&mut self.inbox);
        for mut frame in frames {
            let _ = self.seller.handle_frame(self.now, &mut frame);
            self.drive();
        }
        if let Some(offence) = offence {
            self.seller.offend(self.now, offence);
        }
    }

    fn drive(&mut self) -> bool {
        let mut moved = false;
        if self.seller.is_live() {
            while self.batch.len() < 20 && self.source < QUANTITY {
                self.batch.push(self.source as i64, &payload(self.source)).unwrap();
                self.source += 1;
            }
            let before = self.batch.len();
            self.seller.offer(self.now, &mut self.batch);
            moved = before != self.batch.len();
        }
        while let Some(output) = self.seller.poll_output(self.now) {
            moved = true;
            self.answer(output);
        }
        moved
    }

    fn answer(&mut self, output: seller::Output) {
        let ceiling = Amount::new(1_000_000);
        let admission =
            Admission { exposure: self.setup.exposure, windows: self.setup.product.windows_max, ramp: false, ceiling };
        match output {
            seller::Output::Admit(admit) => match self.known.take() {
                Some(account) if account.id() == admit.order_id => {
                    assert!(self.seller.readmit(self.now, account, &admission));
                }
                known => {
                    self.known = known;
                    assert!(self.seller.admit(self.now, &admission));
                }
            },
            seller::Output::Store { id, .. } => self.seller.stored(self.now, id),
            seller::Output::Settle(settle) => {
                let covered = !self.liar.closes_channel();
                self.seller.settled(self.now, &settle.payment.id(), covered);
            }
            seller::Output::Record(_) | seller::Output::Event(_) => {}
            seller::Output::Closed(ended) => {
                let offence = match ended {
                    seller::Ended::Offence(offence) => Some(offence),
                    seller::Ended::Defaulted => Some(Offence::NotPaid),
                    seller::Ended::Settled { .. } => {
                        self.story.settled = true;
                        None
                    }
                    seller::Ended::Stopped(_) | seller::Ended::Told(_) => None,
                };
                self.story.named.extend(offence.map(|offence| (offence, self.liar.has_lied())));
            }
        }
    }
}

/// The shipped buyer and a lying seller.
pub(crate) struct BuyerWorld {
    setup: Setup,
    now: Timestamp,
    buyer: Buyer,
    liar: LyingSeller,
    known: Option<Box<BuyerOrder>>,
    inbox: Vec<u8>,
    delivered: u64,
    story: Story,
}

impl BuyerWorld {
    pub(crate) fn new(setup: Setup, lie: SellerLie, at: u32) -> Self {
        Self {
            now: START,
            buyer: Buyer::new(Self::config(&setup), [0; 32], START),
            liar: LyingSeller::new((key(1), setup.menu()), seals(), lie, at, payload),
            known: None,
            inbox: Vec::new(),
            delivered: 0,
            story: Story::default(),
            setup,
        }
    }

    fn config(setup: &Setup) -> BuyerConfig {
        let seller = Some(key(1).public());
        BuyerConfig { key: key(2), seller, suites: vec![setup.suite], pay_moves_money: false }
    }

    fn draft(&self) -> OrderDraft {
        OrderDraft {
            product: 1,
            option: 1,
            quantity: Some(QUANTITY),
            windows: self.setup.product.windows_max,
            exposure_max: self.setup.exposure,
            limit: Amount::new(1_000_000),
            channel: Some(ChannelId([7; 32])),
            record: RecordPolicy { form: Form::Full, every: 1 },
            sign_key: key(3),
            nonce: Bytes32([5; 32]),
            until: self.now.after_ms(3_600_000),
        }
    }

    pub(crate) fn run(mut self) -> Story {
        for number in 0..CONNECTIONS {
            self.now = self.now.after_ms(1_000);
            self.inbox.clear();
            self.buyer = Buyer::new(Self::config(&self.setup), seed(number, 1), self.now);
            self.liar.connect(seed(number, 2));
            self.connection(self.setup.cut(number));
            self.buyer.hang_up();
            self.drive();
            let fresh = Buyer::new(Self::config(&self.setup), [0; 32], self.now);
            self.known = std::mem::replace(&mut self.buyer, fresh).into_order().or(self.known.take());
            if let Some(account) = &self.known {
                assert!(account.paid() <= self.liar.due(), "paid for what was not delivered");
                assert!(account.verified() <= self.delivered, "verified and not delivered");
            }
            self.story.connections = number + 1;
            if self.story.settled {
                break;
            }
        }
        self.story.lied = self.liar.has_lied();
        if self.story.settled {
            let account = self.known.as_ref().unwrap();
            assert_eq!((account.paid(), account.due()), (self.liar.due(), self.liar.due()));
            // A liar that went deaf did not hear of the last payment.
            let heard = if self.liar.is_over() { account.paid() } else { self.liar.credited() };
            assert_eq!((heard, heard <= account.paid()), (self.liar.credited(), true));
            assert_eq!(Some(account.id()), self.liar.order_id());
            assert!(self.story.lied || account.verified() == QUANTITY, "{} messages", account.verified());
        }
        self.story
    }

    fn connection(&mut self, cut: Option<usize>) {
        let lied = self.liar.has_lied();
        for step in 0..1_000 {
            let mut moved = self.drive();
            let mut out = Vec::new();
            self.buyer.poll_transmit(self.now, &mut out);
            moved |= !out.is_empty();
            self.setup.garble(&mut out);
            self.liar.hear(self.now, &out);
            let mut said = self.liar.say();
            moved |= !said.is_empty();
            // Not before the lie was heard.
            let cut = cut == Some(step) && self.liar.has_lied() == lied;
            if cut {
                said.truncate(said.len() * 9 / 10);
            }
            for piece in said.chunks(said.len() / 2 + 1) {
                self.feed(piece);
            }
            if cut || self.buyer.is_closed() {
                self.drive();
                let mut out = Vec::new();
                self.buyer.poll_transmit(self.now, &mut out);
                self.liar.hear(self.now, &out);
                return;
            }
            if !moved {
                let next = self.buyer.poll_timeout().unwrap().min(self.now.after_ms(1_000));
                self.now = next.max(self.now.after_ms(1));
                self.buyer.handle_timeout(self.now);
            }
        }
        panic!("the connection does not end");
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        let (frames, offence) = split(&mut self.inbox);
        for mut frame in frames {
            if let Ok(delivery) = self.buyer.handle_frame(self.now, &mut frame) {
                for (seq, message) in delivery.messages() {
                    assert_eq!((seq, message.bytes), (self.delivered, payload(self.delivered).as_slice()));
                    self.delivered += 1;
                }
            }
            self.drive();
        }
        if let Some(offence) = offence {
            self.buyer.offend(offence);
        }
    }

    fn drive(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.buyer.poll_output(self.now) {
            moved = true;
            self.answer(output);
        }
        moved
    }

    fn order(&mut self) {
        match self.known.take() {
            Some(account) => assert!(self.buyer.resume(self.now, account).is_ok()),
            None => drop(self.buyer.place(self.now, self.draft()).unwrap()),
        }
    }

    fn answer(&mut self, output: buyer::Output) {
        match output {
            buyer::Output::Menu(_) if self.setup.asks => {
                assert!(self.buyer.ask(Ask { product: 1, quote: Some(AskQuote { option: 1, quantity: 5 }) }));
            }
            buyer::Output::Menu(_) | buyer::Output::Quote(_) => self.order(),
            buyer::Output::Store { id, .. } => self.buyer.stored(self.now, id),
            buyer::Output::RecordOrder(order) => self.buyer.recorded(order.id, None),
            buyer::Output::Pay { invoice, .. } => self.buyer.paid(&invoice.id(), None),
            buyer::Output::Sample(_)
            | buyer::Output::Record(_)
            | buyer::Output::Recall(_)
            | buyer::Output::Event(_) => {}
            buyer::Output::Closed(ended) => {
                let offence = match ended {
                    buyer::Ended::Offence(offence) => Some(offence),
                    buyer::Ended::Settled | buyer::Ended::Withheld => {
                        self.story.settled = true;
                        None
                    }
                    buyer::Ended::Stopped(_) | buyer::Ended::Told(_) => None,
                };
                self.story.named.extend(offence.map(|offence| (offence, self.liar.has_lied())));
            }
        }
    }
}

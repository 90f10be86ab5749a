//! A seller and a buyer over TCP on a fake bank.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the kit")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sdpp::buyer::{self, Address, Buyer, Reconnect, Request};
use sdpp::journal::Journal;
use sdpp::seller::{self, Limits, Offer, Pools, Seller};
use sdpp::sink::{Mark, Sink};
use sdpp::source::Repeat;
use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::message::Message;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{
    Form, Order, PayOption, Payment, Product, RecordOffer, RecordPolicy, Signed, Signing, Stalled,
};
use sdpp_proto::suite::Suite;
use sdpp_rail::fake::{FakeBank, FakeMode, FakePayee, FakePayer, FakeRecords, FakeWorld};
use sdpp_rail::{
    Backing, Bill, MemoryDisk, Outcome, Outstanding, Payee, RailError, Records, Redeemed, Reply, Standings,
};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Connects again at once.
pub fn quick(tries: u32) -> Reconnect {
    let first = std::time::Duration::from_millis(20);
    Reconnect { tries: Some(tries), first, longest: std::time::Duration::from_secs(1), ..Reconnect::default() }
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

pub fn product(k: u32) -> Product {
    Product {
        id: 1,
        topic: "weather".into(),
        schema: "json".into(),
        unit: Unit::Message,
        amount: Amount::new(3),
        per: 1,
        available: None,
        k,
        window_ms: 0,
        window_bytes: 0,
        message_max: 100_000,
        windows_max: 64,
        signing: Signing::Window,
        acks: false,
        when_stalled: Stalled::Buffer,
        sample: false,
        cadence_ms: None,
        licence: None,
    }
}

/// A message with its number.
type Held = (u64, Vec<u8>);

#[derive(Clone, Default)]
pub struct Kept(pub Arc<Mutex<Vec<Held>>>);

impl Sink for Kept {
    fn write(&mut self, seq: u64, message: &Message<'_>) -> std::io::Result<()> {
        self.0.lock().unwrap().push((seq, message.bytes.to_vec()));
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<Option<Arc<dyn sdpp::journal::Barrier>>> {
        Ok(None)
    }

    fn go_back(&mut self, mark: &Mark) -> std::io::Result<bool> {
        self.0.lock().unwrap().truncate(usize::try_from(mark.messages).unwrap());
        Ok(true)
    }
}

pub struct World {
    pub bank: FakeBank,
    pub mode: FakeMode,
    pub records: Option<Arc<dyn Records>>,
    pub product: Product,
    pub seller_disk: MemoryDisk,
    pub messages: u64,
    pub pools: Pools,
    pub limits: Limits,
    pub tend_every: Duration,
    pub stop: watch::Sender<bool>,
    pub seller_events: Arc<Mutex<Vec<seller::Event>>>,
    /// Who knows which keys stand.
    pub standings: Option<Arc<dyn Standings>>,
    /// What stands between the seller and its rail.
    pub payee: fn(Hasty) -> Arc<dyn Payee>,
    /// Other ways to pay, behind this world's.
    pub more_payees: Vec<Arc<dyn Payee>>,
    /// Time that the seller gives for a payment, in place of the rail's.
    pub pay_by_ms: Option<u64>,
}

/// A payee with another patience.
pub struct Hasty {
    payee: FakePayee,
    pay_by_ms: Option<u64>,
}

impl Payee for Hasty {
    fn option(&self) -> PayOption {
        let option = self.payee.option();
        PayOption { pay_by_ms: self.pay_by_ms.unwrap_or(option.pay_by_ms), ..option }
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        self.payee.admit(order)
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        self.payee.settle(bill, payment)
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        self.payee.redeem(order, finished)
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        self.payee.outstanding()
    }
}

/// A rail that does one thing after the other, first come first served, and redeems slowly.
pub struct Narrow {
    inner: Hasty,
    door: tokio::sync::Mutex<()>,
}

impl Narrow {
    pub fn wrap(inner: Hasty) -> Arc<dyn Payee> {
        Arc::new(Self { inner, door: tokio::sync::Mutex::new(()) })
    }
}

impl Payee for Narrow {
    fn option(&self) -> PayOption {
        self.inner.option()
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        self.inner.admit(order)
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        Box::pin(async move {
            let _inside = self.door.lock().await;
            self.inner.settle(bill, payment).await
        })
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        Box::pin(async move {
            let _inside = self.door.lock().await;
            // Long enough for the order to end meanwhile.
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.inner.redeem(order, finished).await
        })
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        self.inner.outstanding()
    }
}

/// A rail that thinks about each order for a while, and never says what is outstanding.
pub struct Stuck(pub Hasty);

impl Payee for Stuck {
    fn option(&self) -> PayOption {
        self.0.option()
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.0.admit(order).await
        })
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        self.0.settle(bill, payment)
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        self.0.redeem(order, finished)
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        Box::pin(std::future::pending())
    }
}

/// A rail on which redeeming is dear, and which may be away.
pub struct Dear {
    payee: FakePayee,
    pub away: AtomicBool,
    pub redemptions: AtomicU32,
    pub looks: AtomicU32,
}

impl Dear {
    /// More than this many redemptions is asking for ever.
    const FOR_EVER: u32 = 1000;

    pub fn new(world: &World) -> Arc<Self> {
        let payee = FakePayee::new(&world.bank, "seller", FakeWorld::asset(), FakeMode::Voucher);
        Arc::new(Self { payee, away: AtomicBool::new(false), redemptions: AtomicU32::new(0), looks: AtomicU32::new(0) })
    }

    /// A seller that is paid by it, and by nothing else.
    pub async fn seller(self: &Arc<Self>, world: &World, offers: Vec<Offer>) -> Seller {
        let payees: Vec<Arc<dyn Payee>> = vec![self.clone()];
        let settings = world.seller_settings(offers);
        Seller::start(seller::Settings { payees, redeem_every: 0, ..settings }).await.unwrap()
    }
}

impl Payee for Dear {
    fn option(&self) -> PayOption {
        self.payee.option()
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        self.payee.admit(order)
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        self.payee.settle(bill, payment)
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        if self.away.load(Ordering::SeqCst) {
            return Box::pin(async { Err(RailError::Unavailable) });
        }
        assert!(self.redemptions.fetch_add(1, Ordering::SeqCst) < Self::FOR_EVER, "it redeems for ever");
        self.payee.redeem(order, finished)
    }

    fn is_dear(&self) -> bool {
        true
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.payee.outstanding()
    }
}

/// Keeps what a buyer says.
#[derive(Clone, Default)]
pub struct Heard(pub Arc<Mutex<Vec<buyer::Event>>>);

impl Heard {
    pub fn listener(&self) -> buyer::Listener {
        let events = self.0.clone();
        Arc::new(move |event| events.lock().unwrap().push(event.clone()))
    }

    pub fn any(&self, which: impl Fn(&buyer::Event) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(which)
    }

    /// Waits for an event.
    pub async fn until(&self, which: impl Fn(&buyer::Event) -> bool) {
        while !self.any(&which) {
            tokio::task::yield_now().await;
        }
    }
}

impl World {
    pub fn new(mode: FakeMode, product: Product, messages: u64) -> Self {
        let bank = FakeBank::new();
        let records: Arc<dyn Records> = Arc::new(FakeRecords::new(&bank));
        Self {
            bank,
            mode,
            records: Some(records),
            product,
            seller_disk: MemoryDisk::new(),
            messages,
            pools: Pools { strangers: Amount::new(1 << 40), proven: Amount::new(1 << 40) },
            limits: Limits::default(),
            tend_every: seller::TEND_EVERY,
            stop: watch::channel(false).0,
            seller_events: Arc::default(),
            standings: None,
            payee: |payee| Arc::new(payee),
            more_payees: Vec::new(),
            pay_by_ms: None,
        }
    }

    pub async fn serve(&self) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        self.serve_from(self.repeated()).await
    }

    /// Serves where somebody listened before.
    pub async fn serve_at(&self, listener: tokio::net::TcpListener) -> tokio::task::JoinHandle<()> {
        self.serve_with(self.repeated(), listener).await
    }

    fn repeated(&self) -> seller::MakeSource {
        let messages = self.messages;
        let payload: Vec<u8> = (0..100u8).collect();
        Arc::new(move |_| Ok(Box::new(Repeat::new(payload.clone(), messages))))
    }

    pub async fn serve_from(&self, source: seller::MakeSource) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap(), self.serve_with(source, listener).await)
    }

    async fn serve_with(
        &self,
        source: seller::MakeSource,
        listener: tokio::net::TcpListener,
    ) -> tokio::task::JoinHandle<()> {
        let offer =
            Offer { product: self.product.clone(), source, exposure_max: Amount::new(1_000_000), sample: Vec::new() };
        let seller = self.seller(vec![offer]).await;
        self.listen_on(&seller, listener)
    }

    /// A seller on this world's journal and bank.
    pub async fn seller(&self, offers: Vec<Offer>) -> Seller {
        Seller::start(self.seller_settings(offers)).await.unwrap()
    }

    /// What that seller is made of.
    pub fn seller_settings(&self, offers: Vec<Offer>) -> seller::Settings {
        let events = self.seller_events.clone();
        let payee = FakePayee::new(&self.bank, "seller", FakeWorld::asset(), self.mode);
        let mut payees = vec![(self.payee)(Hasty { payee, pay_by_ms: self.pay_by_ms })];
        payees.extend(self.more_payees.iter().cloned());
        seller::Settings {
            key: key(1),
            offers,
            payees,
            records: self.records.clone(),
            record_offer: RecordOffer { backend: "fake".into(), origin: "fake".into(), form: Form::Full },
            standings: self.standings.clone(),
            journal: Journal::start(self.seller_disk.open()).unwrap(),
            pools: self.pools,
            limits: self.limits,
            redeem_every: 4,
            tend_every: self.tend_every,
            listener: Arc::new(move |event| events.lock().unwrap().push(event.clone())),
        }
    }

    pub async fn listen(&self, seller: &Seller) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap(), self.listen_on(seller, listener))
    }

    fn listen_on(&self, seller: &Seller, listener: tokio::net::TcpListener) -> tokio::task::JoinHandle<()> {
        let seller = seller.clone();
        let stop = self.stop.subscribe();
        tokio::spawn(async move { seller.serve(listener, stop).await })
    }

    pub fn buyer(&self, seed: u8) -> Buyer {
        self.buyer_on(seed, &MemoryDisk::new())
    }

    /// The seller's way to be paid.
    pub fn option(&self) -> PayOption {
        let payee = FakePayee::new(&self.bank, "seller", FakeWorld::asset(), self.mode);
        Hasty { payee, pay_by_ms: self.pay_by_ms }.option()
    }

    /// A buyer with a journal on this disk.
    pub fn buyer_on(&self, seed: u8, disk: &MemoryDisk) -> Buyer {
        Buyer::new(self.buyer_settings(seed, disk))
    }

    pub fn buyer_settings(&self, seed: u8, disk: &MemoryDisk) -> buyer::Settings {
        let key = key(seed);
        let account = key.public().multibase();
        self.bank.fund(&account, &FakeWorld::asset(), Amount::new(1 << 50)).unwrap();
        let rail = FakePayee::new(&self.bank, "seller", FakeWorld::asset(), self.mode);
        buyer::Settings {
            suites: vec![Suite::X25519],
            payer: Arc::new(FakePayer::new(&self.bank, account, self.mode)),
            rail: sdpp_rail::Payee::option(&rail).rail,
            records: self.records.clone(),
            standings: None,
            journal: Journal::start(disk.open()).unwrap(),
            reconnect: quick(5),
            progress: Arc::default(),
            listener: Arc::new(|_| {}),
            key,
        }
    }

    pub fn address(&self, at: SocketAddr) -> Address {
        Address { seller: Some(key(1).public()), host: at.to_string() }
    }

    pub fn request(&self, quantity: u64, windows: u32) -> Request {
        Request {
            topic: "weather".into(),
            quantity: Some(quantity),
            windows,
            exposure_max: None,
            limit: None,
            record: RecordPolicy { form: Form::Full, every: 1 },
            agreed: None,
        }
    }
}

pub fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/data").join(name)
}

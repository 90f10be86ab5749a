//! One sale from the connection to both settlements, by crate `sdpp`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sdpp::buyer::{self, Address, Buyer, Purchase, Request};
use sdpp::seller::{self, Offer, Pools, Seller};
use sdpp::sink::{Discard, Sink};
use sdpp::source::Repeat;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Form, Product, RecordOffer, RecordPolicy, Signing, Stalled};
use sdpp_proto::suite::Suite;
use sdpp_rail::fake::{FakeBank, FakeMode, FakePayee, FakePayer, FakeWorld};
use sdpp_rail::{Durability, MemoryDisk, Payee, Payer, SqliteStore, Store};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::Failure;
use crate::clock::{Stopwatch, Took};
use crate::commits::{Commits, Counted};
use crate::folder::Folder;

const TOPIC: &str = "bench";
const ACCOUNT: &str = "seller";
/// More than any round costs.
const PLENTY: Amount = Amount::new(1 << 60);
/// How long a journal may take to close after its sale.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How durable journals are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Journal {
    /// `SQLite`, written to the system: survives a kill.
    Process,
    /// `SQLite`, flushed to the disk: survives a power cut.
    Power,
    /// In memory: shows what journals cost.
    Memory,
}

/// How a sale is made: all that its shape does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// How durable the journals of both sides are.
    pub journal: Journal,
    /// How both sides agree on keys.
    pub suite: Suite,
    /// How the buyer pays.
    pub mode: FakeMode,
}

impl From<Journal> for Way {
    /// The usual one: suite 1, vouchers.
    fn from(journal: Journal) -> Self {
        Self { journal, suite: Suite::X25519, mode: FakeMode::Voucher }
    }
}

/// One sale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Bytes of one message.
    pub size: usize,
    /// Messages per window.
    pub k: u32,
    /// Outstanding windows.
    pub windows: u32,
    /// Messages.
    pub messages: u64,
}

impl Spec {
    /// Messages that may be outstanding: its credit.
    pub fn outstanding(&self) -> u64 {
        u64::from(self.k).saturating_mul(u64::from(self.windows))
    }

    /// Whether it differs in its count of messages at most.
    pub fn is_shaped_as(&self, other: &Self) -> bool {
        *self == Self { messages: self.messages, ..*other }
    }

    /// Whether each message waits until the one before is paid.
    pub const fn is_lock_step(&self) -> bool {
        self.k == 1 && self.windows == 1
    }

    /// Bytes of all messages.
    pub fn payload_bytes(&self) -> u64 {
        self.messages.saturating_mul(u64::try_from(self.size).unwrap_or(u64::MAX))
    }
}

/// How long a sale took.
pub(crate) struct Sold {
    /// From the connection to both settlements.
    pub(crate) whole: Took,
    /// What it consists of; none for a sale that was all ramp.
    pub(crate) parts: Option<Parts>,
    /// Commits of both journals.
    pub(crate) commits: u64,
}

/// The parts of a sale, by what its buyer sees.
pub(crate) struct Parts {
    /// From the connection until the session is live.
    pub(crate) handshake: Duration,
    /// Until the first invoice after the ramp.
    pub(crate) ramp: Duration,
    /// Messages and time from there to the last invoice for any.
    pub(crate) steady: (u64, Duration),
    /// From there to both settlements.
    pub(crate) end: Duration,
}

/// Who is paid, who pays, and what their rail is called.
pub(crate) struct Money {
    pub(crate) payee: Arc<dyn Payee>,
    pub(crate) payer: Arc<dyn Payer>,
    pub(crate) rail: String,
}

/// Runs one sale. What comes before the connection and after the settlements is not timed.
pub(crate) fn run(spec: &Spec, way: impl Into<Way>) -> Result<Sold, Failure> {
    let way = way.into();
    let bank = FakeBank::new();
    let account = buyer_key_of_one().public().multibase();
    bank.fund(&account, &FakeWorld::asset(), PLENTY)?;
    let payee = FakePayee::new(&bank, ACCOUNT, FakeWorld::asset(), way.mode);
    let rail = payee.option().rail;
    let payer = Arc::new(FakePayer::new(&bank, account, way.mode));
    run_paid(spec, way, &Money { payee: Arc::new(payee), payer, rail })
}

/// The same on any rail.
pub(crate) fn run_paid(spec: &Spec, way: Way, money: &Money) -> Result<Sold, Failure> {
    let folder = Folder::new("bench-journals")?;
    let commits = Commits::default();
    let journal = |role| way.journal.start_counted(folder.path(), role, &commits);
    let bank = FakeBank::new();
    let marks = Arc::new(Marks::new(spec.k));
    let selling = settings_by(spec, &bank, (journal("seller")?, way.mode));
    let selling = seller::Settings { payees: vec![money.payee.clone()], ..selling };
    let (start, whole) = with_seller(selling, |at| {
        let hears = marks.clone();
        let listener = Arc::new(move |event: &_| hears.event(event));
        let buying = buyer_settings(&bank, (journal("buyer")?, way), &buyer_key_of_one(), listener)?;
        let (payer, rail) = (money.payer.clone(), money.rail.clone());
        let purchaser = Buyer::new(buyer::Settings { payer, rail, ..buying });
        let request = request(spec);
        let mut sink = Discard::default();
        let (purchase, start, whole) = in_thread(|| buy(&purchaser, at, &request, &mut sink))?;
        check(spec, &purchase, &sink)?;
        Ok((start, whole))
    })?;
    wait_for_journals(folder.path(), &["seller", "buyer"]);
    Ok(Sold { whole, parts: marks.parts(start, whole.wall), commits: commits.count() })
}

/// Sells in a thread of its own as long as something is bought.
pub(crate) fn with_seller<T>(
    settings: seller::Settings,
    bought: impl FnOnce(SocketAddr) -> Result<T, Failure>,
) -> Result<T, Failure> {
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let selling = named("bench-seller").spawn_scoped(scope, move || serve(settings, tell, stopped))?;
        let bought = told.recv().map_err(Failure::from).and_then(bought);
        // Without a receiver the seller has ended already; its own error says why.
        let _ = stop.send(true);
        selling.join().map_err(|_| "the seller's thread panicked")??;
        bought
    })
}

/// Buys in a thread of its own.
pub(crate) fn in_thread<T: Send>(buy: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    thread::scope(|scope| {
        let buying = named("bench-buyer").spawn_scoped(scope, buy)?;
        buying.join().map_err(|_| "the buyer's thread panicked")?
    })
}

/// A journal's thread closes its file after the sale: the next round must not pay for that.
pub(crate) fn wait_for_journals(folder: &Path, roles: &[&str]) {
    let start = Instant::now();
    let open = || roles.iter().any(|role| folder.join(format!("{role}.sqlite-wal")).exists());
    while open() && crate::since(start) < CLOSE_WAIT {
        thread::sleep(Duration::from_millis(1));
    }
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.into())
}

pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The seller's thread.
fn serve(
    settings: seller::Settings,
    tell: mpsc::Sender<SocketAddr>,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let seller = Seller::start(settings).await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        tell.send(listener.local_addr()?)?;
        seller.serve(listener, stop).await;
        Ok(())
    })
}

pub(crate) fn settings(spec: &Spec, bank: &FakeBank, journal: sdpp::journal::Journal) -> seller::Settings {
    settings_by(spec, bank, (journal, FakeMode::Voucher))
}

pub(crate) fn settings_by(
    spec: &Spec,
    bank: &FakeBank,
    (journal, mode): (sdpp::journal::Journal, FakeMode),
) -> seller::Settings {
    let (size, messages) = (spec.size, spec.messages);
    let offer = Offer {
        product: product(spec),
        source: Arc::new(move |_| Ok(Box::new(Repeat::new(payload(size), messages)))),
        exposure_max: PLENTY,
        sample: Vec::new(),
    };
    seller::Settings {
        key: key(1),
        offers: vec![offer],
        payees: vec![Arc::new(FakePayee::new(bank, ACCOUNT, FakeWorld::asset(), mode))],
        records: None,
        record_offer: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
        standings: None,
        journal,
        pools: Pools { strangers: PLENTY, proven: PLENTY },
        limits: seller::Limits::default(),
        redeem_every: 0,
        tend_every: seller::TEND_EVERY,
        listener: Arc::new(|_| {}),
    }
}

fn product(spec: &Spec) -> Product {
    Product {
        id: 1,
        topic: TOPIC.into(),
        schema: "bytes".into(),
        unit: Unit::Message,
        amount: Amount::new(1),
        per: 1,
        available: None,
        k: spec.k,
        window_ms: 0,
        window_bytes: 0,
        message_max: u32::try_from(spec.size).unwrap_or(u32::MAX),
        windows_max: spec.windows,
        signing: Signing::Window,
        acks: false,
        when_stalled: Stalled::Buffer,
        sample: false,
        cadence_ms: None,
        licence: None,
    }
}

pub(crate) fn purchaser(
    bank: &FakeBank,
    journal: sdpp::journal::Journal,
    key: &SigningKey,
    listener: buyer::Listener,
) -> Result<Buyer, Failure> {
    // Its class was chosen when it was started.
    Ok(Buyer::new(buyer_settings(bank, (journal, Journal::Memory.into()), key, listener)?))
}

pub(crate) fn buyer_settings(
    bank: &FakeBank,
    (journal, way): (sdpp::journal::Journal, Way),
    key: &SigningKey,
    listener: buyer::Listener,
) -> Result<buyer::Settings, Failure> {
    let account = key.public().multibase();
    bank.fund(&account, &FakeWorld::asset(), PLENTY)?;
    Ok(buyer::Settings {
        suites: vec![way.suite],
        payer: Arc::new(FakePayer::new(bank, account, way.mode)),
        rail: FakePayee::new(bank, ACCOUNT, FakeWorld::asset(), way.mode).option().rail,
        records: None,
        standings: None,
        journal,
        reconnect: buyer::Reconnect { tries: Some(0), ..buyer::Reconnect::default() },
        progress: Arc::default(),
        listener,
        key: key.clone(),
    })
}

/// One purchase, from the connection to both settlements.
pub(crate) fn buy(
    buyer: &Buyer,
    at: SocketAddr,
    request: &Request,
    sink: &mut dyn Sink,
) -> Result<(Purchase, Instant, Took), Failure> {
    let address = address(at);
    let (_stop, stopped) = watch::channel(false);
    let runtime = runtime()?;
    let watch = Stopwatch::start();
    let purchase = runtime.block_on(buyer.buy(&address, request, sink, stopped))?;
    let whole = watch.stop();
    Ok((purchase, watch.started(), whole))
}

pub(crate) fn address(at: SocketAddr) -> Address {
    Address { seller: Some(seller_key()), host: at.to_string() }
}

pub(crate) fn request(spec: &Spec) -> Request {
    Request {
        topic: TOPIC.into(),
        quantity: Some(spec.messages),
        windows: spec.windows,
        exposure_max: None,
        limit: None,
        record: RecordPolicy { form: Form::Full, every: 0 },
        agreed: None,
    }
}

/// A sale counts only when all was delivered, paid and settled.
fn check(spec: &Spec, purchase: &Purchase, sink: &Discard) -> Result<(), Failure> {
    let due = Amount::new(u128::from(spec.messages));
    let complete = purchase.is_settled()
        && purchase.delivered == spec.messages
        && purchase.paid == due
        && sink.messages == spec.messages
        && sink.bytes == spec.payload_bytes();
    if complete { Ok(()) } else { Err(format!("{spec:?} did not settle in full: {purchase:?}, {sink:?}").into()) }
}

/// One of many buyers.
pub(crate) fn buyer_key(number: usize) -> SigningKey {
    let mut seed = Zeroizing::new([2; 32]);
    seed.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    SigningKey::from_seed(&seed)
}

/// The buyer of a sale that has one.
pub(crate) fn buyer_key_of_one() -> SigningKey {
    key(2)
}

/// Who sells.
pub(crate) fn seller_key() -> PublicKey {
    key(1).public()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

pub(crate) fn payload(size: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(size).collect()
}

impl Journal {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Power => "power",
            Self::Memory => "memory",
        }
    }

    /// The class of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Process, Self::Power, Self::Memory].into_iter().find(|class| class.name() == name)
    }

    pub(crate) fn start(self, folder: &Path, role: &str) -> Result<sdpp::journal::Journal, Failure> {
        self.start_counted(folder, role, &Commits::default())
    }

    pub(crate) fn start_counted(
        self,
        folder: &Path,
        role: &str,
        commits: &Commits,
    ) -> Result<sdpp::journal::Journal, Failure> {
        Ok(match self.durability() {
            Some(class) => journal_in(SqliteStore::open(folder.join(format!("{role}.sqlite")), class)?, commits)?,
            None => journal_in(MemoryDisk::new().open(), commits)?,
        })
    }

    /// What a file of this class is worth; none for one in memory.
    pub(crate) const fn durability(self) -> Option<Durability> {
        match self {
            Self::Process => Some(Durability::Process),
            Self::Power => Some(Durability::Power),
            Self::Memory => None,
        }
    }
}

fn journal_in(store: impl Store + 'static, commits: &Commits) -> std::io::Result<sdpp::journal::Journal> {
    sdpp::journal::Journal::start(Counted::new(store, commits))
}

/// When a sale's parts begin, by what its buyer hears.
struct Marks {
    k: u64,
    inner: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    live: Option<Instant>,
    messages: u64,
    /// A full window was invoiced: paying it ends the ramp.
    ramped: bool,
    first: Option<(u64, Instant)>,
    last: Option<(u64, Instant)>,
}

impl Marks {
    fn new(k: u32) -> Self {
        Self { k: u64::from(k), inner: Mutex::default() }
    }

    fn event(&self, event: &buyer::Event) {
        let now = Instant::now();
        let mut seen = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let buyer::Event::Live { .. } = event {
            seen.live.get_or_insert(now);
        }
        if let buyer::Event::Invoiced { messages, .. } = event {
            seen.invoiced(now, *messages, self.k);
        }
    }

    fn parts(&self, start: Instant, whole: Duration) -> Option<Parts> {
        let seen = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (live, (first, from), (last, to)) = (seen.live?, seen.first?, seen.last?);
        let messages = last.checked_sub(first).filter(|messages| *messages > 0)?;
        Some(Parts {
            handshake: live.saturating_duration_since(start),
            ramp: from.saturating_duration_since(live),
            steady: (messages, to.saturating_duration_since(from)),
            end: whole.saturating_sub(to.saturating_duration_since(start)),
        })
    }
}

impl Seen {
    fn invoiced(&mut self, now: Instant, messages: u64, k: u64) {
        if self.ramped {
            self.first.get_or_insert((messages, now));
            // The last invoice may be an empty one.
            if messages > self.messages {
                self.last = Some((messages, now));
            }
        }
        self.ramped |= messages.saturating_sub(self.messages) >= k;
        self.messages = messages;
    }
}

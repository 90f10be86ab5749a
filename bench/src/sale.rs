//! One sale from the connection to both settlements, by crate `sdpp`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sdpp::buyer::{self, Address, Buyer, Purchase, Request};
use sdpp::seller::{self, Offer, Pools, Seller};
use sdpp::sink::Discard;
use sdpp::source::Repeat;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Form, Product, RecordOffer, RecordPolicy, Signing, Stalled};
use sdpp_proto::suite::Suite;
use sdpp_rail::fake::{FakeBank, FakeMode, FakePayee, FakePayer, FakeWorld};
use sdpp_rail::{Durability, MemoryDisk, Payee as _, SqliteStore};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::Failure;
use crate::clock::{Stopwatch, Took};
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

/// Runs one sale. What comes before the connection and after the settlements is not timed.
pub(crate) fn run(spec: &Spec, journal: Journal) -> Result<Sold, Failure> {
    let folder = Folder::new("bench-journals")?;
    let bank = FakeBank::new();
    let marks = Arc::new(Marks::new(spec.k));
    let (start, whole) = thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let selling = named("bench-seller").spawn_scoped(scope, {
            let seller_journal = journal.start(folder.path(), "seller")?;
            let bank = &bank;
            move || serve(spec, bank, seller_journal, (tell, stopped))
        })?;
        let bought = told.recv().map_err(Failure::from).and_then(|at| {
            let hears = marks.clone();
            let listener = Arc::new(move |event: &_| hears.event(event));
            let purchaser = purchaser(&bank, journal.start(folder.path(), "buyer")?, &key(2), listener)?;
            let buying = named("bench-buyer").spawn_scoped(scope, move || buy(spec, &purchaser, at))?;
            buying.join().map_err(|_| "the buyer's thread panicked")?
        });
        // Without a receiver the seller has ended already; its own error says why.
        let _ = stop.send(true);
        selling.join().map_err(|_| "the seller's thread panicked")??;
        bought
    })?;
    wait_for_journals(folder.path());
    Ok(Sold { whole, parts: marks.parts(start, whole.wall) })
}

/// A journal's thread closes its file after the sale: the next round must not pay for that.
fn wait_for_journals(folder: &Path) {
    let start = Instant::now();
    let open = || ["seller", "buyer"].iter().any(|role| folder.join(format!("{role}.sqlite-wal")).exists());
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
    spec: &Spec,
    bank: &FakeBank,
    journal: sdpp::journal::Journal,
    (tell, stop): (mpsc::Sender<SocketAddr>, watch::Receiver<bool>),
) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let seller = Seller::start(settings(spec, bank, journal)).await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        tell.send(listener.local_addr()?)?;
        seller.serve(listener, stop).await;
        Ok(())
    })
}

pub(crate) fn settings(spec: &Spec, bank: &FakeBank, journal: sdpp::journal::Journal) -> seller::Settings {
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
        payees: vec![Arc::new(FakePayee::new(bank, ACCOUNT, FakeWorld::asset(), FakeMode::Voucher))],
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
    let account = key.public().multibase();
    bank.fund(&account, &FakeWorld::asset(), PLENTY)?;
    Ok(Buyer::new(buyer::Settings {
        suites: vec![Suite::X25519],
        payer: Arc::new(FakePayer::new(bank, account, FakeMode::Voucher)),
        rail: FakePayee::new(bank, ACCOUNT, FakeWorld::asset(), FakeMode::Voucher).option().rail,
        records: None,
        standings: None,
        journal,
        reconnect: buyer::Reconnect { tries: Some(0), ..buyer::Reconnect::default() },
        progress: Arc::default(),
        listener,
        key: key.clone(),
    }))
}

/// The buyer's thread.
fn buy(spec: &Spec, buyer: &Buyer, at: SocketAddr) -> Result<(Instant, Took), Failure> {
    let (address, request) = (address(at), request(spec));
    let mut sink = Discard::default();
    let (_stop, stopped) = watch::channel(false);
    let runtime = runtime()?;
    let watch = Stopwatch::start();
    let purchase = runtime.block_on(buyer.buy(&address, &request, &mut sink, stopped))?;
    let whole = watch.stop();
    check(spec, &purchase, &sink)?;
    Ok((watch.started(), whole))
}

pub(crate) fn address(at: SocketAddr) -> Address {
    Address { seller: Some(key(1).public()), host: at.to_string() }
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
        let path = folder.join(format!("{role}.sqlite"));
        Ok(match self {
            Self::Process => sdpp::journal::Journal::start(SqliteStore::open(path, Durability::Process)?)?,
            Self::Power => sdpp::journal::Journal::start(SqliteStore::open(path, Durability::Power)?)?,
            Self::Memory => sdpp::journal::Journal::start(MemoryDisk::new().open())?,
        })
    }
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

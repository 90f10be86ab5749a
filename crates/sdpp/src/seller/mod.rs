//! The seller: serves products to many buyers over TCP, each isolated from the others.
//!
//! ```text
//!  Settings { key, offers, payees, journal, … } ──► Seller::start ──► Seller::serve (until `stop`)
//!                                                        │                 a task per connection
//!                     reload, pause, end, write_off ◄────┴────► status, menu, Event
//! ```
//! Amounts are base units of the asset of the order's option; those of [`Pools`] and [`Limits`] are
//! compared across options, so sell for assets of like units, or run a seller for each.
//!
//! What is on sale can change while it runs ([`Seller::reload`], [`Seller::pause`]); orders that were
//! accepted go on by the menu they were placed with. What it is doing can be looked at
//! ([`Seller::status`]).

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::journal::StoreId;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller as core;
use sdpp_proto::statement::{Form, Menu, Order, Product, RecordOffer, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire;
use sdpp_rail::{Payee, RailError, Records, Standings};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::entropy::NoEntropy;
use crate::journal::{Ack, Journal, ReadError};
use crate::now;
use crate::source::Source;

mod door;
#[cfg(test)]
mod interleaved;
mod keeper;
mod limits;
mod registry;
mod reins;
mod session;
mod shelf;
mod status;
mod stock;

pub use limits::{Limits, REDEEM_EVERY, TEND_EVERY};
pub use registry::Pools;
pub use status::{OrderState, OrderStatus, PoolStatus, ProductStatus, Status, Totals};

use door::{Door, Ticket};
use registry::Registry;
use reins::{Reins, Word};
use shelf::Shelf;
use status::Tally;
use stock::{House, Stock};

/// Makes the source of one order.
pub type MakeSource = Arc<dyn Fn(&Order) -> io::Result<Box<dyn Source>> + Send + Sync>;

/// Hears of everything that happens.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// A product and where it comes from.
#[derive(Clone)]
pub struct Offer {
    /// What the menu says. The seller may give it another number than it asks for: a topic keeps its
    /// number as long as the seller runs.
    pub product: Product,
    /// Its source, fresh for every order.
    pub source: MakeSource,
    /// Most that one buyer may owe for it.
    pub exposure_max: Amount,
    /// Free messages in canonical form; empty: no sample.
    pub sample: Vec<u8>,
}

impl Offer {
    /// Offers a product. `source` makes the source of each order; one buyer may owe what the product's
    /// windows cost, and there is no sample.
    ///
    /// # Errors
    /// [`StartError::Settings`], if what the windows cost does not fit an amount.
    pub fn new<S: Source + 'static>(
        product: Product,
        source: impl Fn(&Order) -> io::Result<S> + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let exposure_max = product.exposure(product.windows_max).ok_or(StartError::Settings(
            "what a product's windows cost does not fit an amount: a smaller price, k or windows",
        ))?;
        let source: MakeSource = Arc::new(move |order| Ok(Box::new(source(order)?)));
        Ok(Self { product, source, exposure_max, sample: Vec::new() })
    }
}

/// What a seller is made of.
pub struct Settings {
    /// Identity.
    pub key: SigningKey,
    /// Products, each with a topic of its own.
    pub offers: Vec<Offer>,
    /// Ways to be paid; their options are numbered from 1 in this order.
    pub payees: Vec<Arc<dyn Payee>>,
    /// Where statements are recorded.
    pub records: Option<Arc<dyn Records>>,
    /// What is recorded.
    pub record_offer: RecordOffer,
    /// Who knows which keys still stand: no new order is taken from one that was rotated or revoked.
    pub standings: Option<Arc<dyn Standings>>,
    /// The journal.
    pub journal: Journal,
    /// Exposure over all orders.
    pub pools: Pools,
    /// What is taken at one time.
    pub limits: Limits,
    /// Vouchers are redeemed after every so many invoices paid; 0: not while a sale goes on.
    pub redeem_every: u64,
    /// How often vouchers of buyers that are away, and closes that were requested, are looked after:
    /// well below the shortest grace period.
    pub tend_every: Duration,
    /// Hears of everything that happens.
    pub listener: Listener,
}

impl Settings {
    /// The usual settings: the pools of [`Pools::of`], the default [`Limits`], vouchers redeemed every
    /// [`REDEEM_EVERY`] invoices and looked after every [`TEND_EVERY`]. Nothing is recorded, no key is
    /// looked up, and nobody listens: set what you need, for all fields are public.
    pub fn new(key: SigningKey, offers: Vec<Offer>, payees: Vec<Arc<dyn Payee>>, journal: Journal) -> Self {
        Self {
            key,
            pools: Pools::of(&offers),
            offers,
            payees,
            records: None,
            record_offer: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
            standings: None,
            journal,
            limits: Limits::default(),
            redeem_every: REDEEM_EVERY,
            tend_every: TEND_EVERY,
            listener: Arc::new(|_| {}),
        }
    }

    /// The same, but statements are recorded there, whole, and the menu says so.
    #[must_use]
    pub fn record_in(mut self, records: Arc<dyn Records>) -> Self {
        self.record_offer =
            RecordOffer { backend: records.backend().to_owned(), origin: records.origin(), form: Form::Full };
        self.records = Some(records);
        self
    }
}

/// Something that happened at the seller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A buyer's session is live.
    Live {
        /// The order.
        order: StatementId,
        /// The buyer.
        buyer: PublicKey,
        /// First message that will be sent.
        start: u64,
    },
    /// A payment was credited.
    Paid {
        /// The order.
        order: StatementId,
        /// Cumulative messages paid.
        messages: u64,
        /// Cumulative amount.
        total: Amount,
        /// What is owed for data sent and not paid.
        owed: Amount,
    },
    /// Credit is there again, or the order ended; live data was dropped in between.
    Skipped {
        /// The order.
        order: StatementId,
        /// Messages dropped.
        messages: u64,
    },
    /// Vouchers became money.
    Redeemed {
        /// The order.
        order: StatementId,
        /// Cumulative amount.
        total: Amount,
    },
    /// A statement was recorded.
    Recorded(StatementId),
    /// The ledger behind rail or records is not to be trusted: nothing more is sold against it.
    Dishonest(&'static str),
    /// A connection ended.
    Ended {
        /// The order, if there was one.
        order: Option<StatementId>,
        /// How.
        ended: core::Ended,
        /// Messages sent.
        sent: u64,
        /// Cumulative amount due.
        due: Amount,
        /// Cumulative amount paid.
        paid: Amount,
    },
}

/// Why a seller cannot start.
#[derive(Debug)]
pub enum StartError {
    /// No randomness.
    NoEntropy(NoEntropy),
    /// The journal.
    Journal(ReadError),
    /// An order in the journal cannot be rebuilt.
    Restore(StatementId, core::RestoreError),
    /// No product or no way to be paid, or one outside its limits.
    Settings(&'static str),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoEntropy(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Restore(order, error) => write!(f, "order {order}: {error}"),
            Self::Settings(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for StartError {}

/// What all sessions of a seller share.
pub(crate) struct Shared {
    pub(crate) settings: Kept,
    pub(crate) house: House,
    pub(crate) stock: Stock,
    pub(crate) registry: Registry,
    pub(crate) tally: Tally,
    pub(crate) shelf: Shelf,
    door: Door,
    since: Timestamp,
    /// Held by whoever looks after vouchers: one at a time, however many listeners there are.
    pub(crate) tending: tokio::sync::Mutex<()>,
    /// An order has ended whose vouchers are to be redeemed beside the sales.
    pub(crate) over: tokio::sync::Notify,
}

/// What stays of the settings.
pub(crate) struct Kept {
    pub(crate) records: Option<Arc<dyn Records>>,
    pub(crate) standings: Option<Arc<dyn Standings>>,
    pub(crate) journal: Journal,
    pub(crate) redeem_every: u64,
    pub(crate) tend_every: Duration,
    pub(crate) listener: Listener,
}

/// A seller; cheap to clone.
#[derive(Clone)]
pub struct Seller {
    shared: Arc<Shared>,
}

impl Seller {
    /// Reads the journal, makes fresh sealing keys and signs the menu.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let Settings { key, offers, payees, records, record_offer, standings, journal, pools, limits, .. } = settings;
        let (redeem_every, tend_every, listener) = (settings.redeem_every, settings.tend_every, settings.listener);
        let house = House { key, payees, records: record_offer };
        let stock = Stock::new(&house, offers, now())?;
        let (registry, tally) = (Registry::new(pools, limits), Tally::default());
        for (asset, debt) in registry.load(&journal, &house.key).await? {
            tally.owes(&asset, Amount::ZERO, debt);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                settings: Kept { records, standings, journal, redeem_every, tend_every, listener },
                house,
                stock,
                registry,
                tally,
                shelf: Shelf::default(),
                door: Door::default(),
                since: now(),
                tending: tokio::sync::Mutex::new(()),
                over: tokio::sync::Notify::new(),
            }),
        })
    }

    /// The menu of new connections.
    ///
    /// # Errors
    /// [`StartError`], if a new one is due and cannot be made.
    pub fn menu(&self) -> Result<Signed<Menu>, StartError> {
        Ok(self.shared.stock.config(&self.shared.house, now())?.menu.clone())
    }

    /// Puts other offers on sale and sets other bounds, at once and without ending a session. New
    /// connections get a new menu. Orders that were accepted go on by their own terms, also those of
    /// a product that is no longer offered; after a restart such an order is refused, because nobody
    /// knows its source. A topic keeps its number, and stays paused if it was.
    ///
    /// # Errors
    /// [`StartError`]; all is as before then.
    pub fn reload(&self, offers: Vec<Offer>, pools: Pools, limits: Limits) -> Result<Signed<Menu>, StartError> {
        let _span = tracing::info_span!("reload", offers = offers.len()).entered();
        self.shared.stock.reload(&self.shared.house, offers, now())?;
        self.shared.registry.bound(pools, limits);
        self.menu()
    }

    /// Takes no new orders of a topic: they are told `Paused`. It stays on the menu, and orders that
    /// run or come back go on. Says whether the topic is on the menu.
    pub fn pause(&self, topic: &str) -> bool {
        self.shared.stock.set_paused(topic, true)
    }

    /// Takes new orders of a topic again. Says whether the topic is on the menu.
    pub fn unpause(&self, topic: &str) -> bool {
        self.shared.stock.set_paused(topic, false)
    }

    /// Asks a live order to settle and end: its last invoice is made, the buyer pays it, both sign.
    /// Says whether it has a session.
    pub fn end(&self, order: &StatementId) -> bool {
        self.shared.registry.say(order, Word::Finish)
    }

    /// Takes what a parked order owes out of its pool, durably. The debt itself stays: a later payment
    /// still counts, and so does what it owes anew. Says whether the order is parked.
    ///
    /// # Errors
    /// [`ReadError`], if the journal cannot hold it; after a restart it counts again then.
    pub async fn write_off(&self, order: &StatementId) -> Result<bool, ReadError> {
        let Some((statement, upto)) = self.shared.registry.write_off(order) else { return Ok(false) };
        let (done, mut acks) = mpsc::unbounded_channel();
        let stream = registry::written_off_stream(order);
        self.shared.settings.journal.put_note(stream.clone(), upto.get().to_string()).await?;
        self.shared.settings.journal.write(stream, &[statement.into()], StoreId(0), &done);
        match acks.recv().await {
            Some(Ack::Durable(_)) => Ok(true),
            Some(Ack::Failed(error)) => Err(ReadError::Store(error)),
            None => Err(ReadError::Gone),
        }
    }

    /// What it is doing now.
    pub fn status(&self) -> Status {
        let (connections, silent) = self.shared.door.count();
        let (strangers, proven) = self.shared.registry.pools();
        Status {
            since: self.shared.since,
            products: self.shared.stock.products(),
            connections,
            silent,
            orders: self.shared.registry.orders(),
            strangers,
            proven,
            totals: self.shared.tally.totals(),
        }
    }

    /// Serves buyers until `stop` turns true; then the live sessions settle and end. Beside it vouchers
    /// are looked after, those of earlier lives of the program at once.
    pub async fn serve(&self, listener: TcpListener, stop: watch::Receiver<bool>) {
        let mut sessions = tokio::task::JoinSet::new();
        sessions.spawn(keeper::run(self.shared.clone(), stop.clone()));
        let mut stopped = stop.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        if let Some((ticket, reins)) = self.shared.let_in(&stream, address.ip()) {
                            sessions.spawn(session::run(self.shared.clone(), stream, (ticket, reins), stop.clone()));
                        }
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: sessions that end give some back.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                // Sessions report by events; what a finished task returns is nothing.
                Some(_) = sessions.join_next() => {}
                () = crate::stopped(&mut stopped) => break,
            }
        }
        while sessions.join_next().await.is_some() {}
        keeper::close_what_is_over(&self.shared).await;
    }
}

impl Shared {
    /// Decides whether a connection may come in. One that may not is told so, if it listens.
    fn let_in(&self, stream: &TcpStream, address: IpAddr) -> Option<(Ticket, Arc<Reins>)> {
        let reins = Arc::new(Reins::default());
        match self.door.enter(address, &reins, &self.registry.limits()) {
            Ok((ticket, dropped)) => {
                if let Some(limit) = dropped {
                    self.tally.no_room(limit.name());
                }
                Some((ticket, reins))
            }
            Err(limit) => {
                self.tally.no_room(limit.name());
                let mut frame = Vec::new();
                let body = wire::error_body(Reason::Busy.code());
                sdpp_proto::frame::write_clear(&mut frame, sdpp_proto::frame::FrameKind::Error, &body);
                // Nobody waits for one that has no place; a fresh socket has room for these bytes.
                let _ = stream.try_write(&frame);
                None
            }
        }
    }
}

/// Turns a rail's refusal into a reason for the other side.
pub(crate) const fn reason_of(error: &RailError) -> sdpp_proto::offence::Reason {
    use sdpp_proto::offence::Reason;
    match error {
        RailError::Unavailable | RailError::Unknown => Reason::RailDown,
        RailError::Declined(_) => Reason::Refused,
        RailError::Dishonest(_) => Reason::LedgerDishonest,
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]
mod tests {
    use sdpp_proto::money::{Price, Unit};
    use sdpp_rail::MemoryDisk;
    use sdpp_rail::fake::{FakeBank, FakeMode, FakePayee, FakeRecords, FakeWorld};
    use zeroize::Zeroizing;

    use super::*;
    use crate::source::Repeat;

    fn settings() -> Settings {
        let product = Product::new("t", Price::per_message(1));
        let offer = Offer::new(product, |_| Ok(Repeat::new(Vec::new(), 1))).unwrap();
        let payee = FakePayee::new(&FakeBank::new(), "seller", FakeWorld::asset(), FakeMode::Voucher);
        let journal = Journal::start(MemoryDisk::new().open()).unwrap();
        Settings::new(SigningKey::from_seed(&Zeroizing::new([1; 32])), vec![offer], vec![Arc::new(payee)], journal)
    }

    #[test]
    fn what_one_buyer_may_owe_is_what_its_windows_cost() {
        let offer = |price, windows_max| {
            let product = Product { windows_max, ..Product::new("t", price) };
            Offer::new(product, |_| Ok(Repeat::new(Vec::new(), 1)))
        };
        let cheap = offer(Price { per: 1000, ..Price::per_message(3) }, 2).unwrap();
        let dear = offer(Price::per_message(7), 3).unwrap();
        assert_eq!((cheap.exposure_max, dear.exposure_max), (Amount::new(1), Amount::new(2_100)));
        let pools = Pools::of(&[cheap, dear]);
        assert_eq!((pools.strangers, pools.proven), (Amount::new(33_600), Amount::new(2_150_400)));
        let by = |unit| offer(Price { unit, ..Price::per_message(1) }, 2).unwrap().exposure_max;
        assert_eq!(by(Unit::Byte), Amount::new(2 * 100 * 64 * 1024), "messages may be as large as allowed");
        assert_eq!(by(Unit::Second), Amount::new(2), "windows of a second");
        let endless = offer(Price::per_message(u128::MAX), 1);
        assert!(matches!(endless, Err(StartError::Settings(_))), "nobody knows what could be lost");
    }

    #[test]
    fn a_seller_that_records_says_where() {
        crate::sync::once(|| {
            let records: Arc<dyn Records> = Arc::new(FakeRecords::new(&FakeBank::new()));
            let settings = settings().record_in(records.clone());
            assert_eq!(settings.record_offer.backend, records.backend());
            assert_eq!(settings.record_offer.origin, records.origin());
            assert!(settings.records.is_some());
        });
    }

    #[test]
    fn a_menu_gives_way_to_one_with_fresh_keys_before_it_ends() {
        crate::sync::once(|| {
            let Settings { key, offers, payees, record_offer, .. } = settings();
            let house = House { key, payees, records: record_offer };
            let stock = Stock::new(&house, offers, now()).unwrap();
            let at = |hours: u64| stock.config(&house, now().after_ms(hours * 3_600_000)).unwrap().menu.clone();
            let (first, later) = (at(0), at(11));
            assert_eq!(first.id(), later.id());
            let next = at(13);
            assert_ne!(first.id(), next.id());
            let fresh = |menu: &Menu, old: &Menu| menu.seal.iter().all(|key| !old.seal.contains(key));
            assert!(fresh(&next, &first), "sealing keys rotate with the menu");
            assert!(next.until > first.until);
            assert_eq!(at(13).id(), next.id());
        });
    }
}

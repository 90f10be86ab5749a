//! The seller: serves products to many buyers over TCP, each isolated from the others.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::limits;
use sdpp_proto::money::Amount;
use sdpp_proto::seller::{self as core, SellerConfig};
use sdpp_proto::statement::{Menu, Order, PayOption, Product, RecordOffer, Sample, SealKey, Signed, Stalled};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{Payee, RailError, Records};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::entropy::{self, NoEntropy};
use crate::journal::{Journal, ReadError};
use crate::now;
use crate::source::Source;

mod registry;
mod session;

pub use registry::Pools;
use registry::Registry;

/// Makes the source of one order.
pub type MakeSource = Arc<dyn Fn(&Order) -> io::Result<Box<dyn Source>> + Send + Sync>;

/// Hears of everything that happens.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// A product and where it comes from.
#[derive(Clone)]
pub struct Offer {
    /// What the menu says.
    pub product: Product,
    /// Its source, fresh for every order.
    pub source: MakeSource,
    /// Most that one buyer may owe for it.
    pub exposure_max: Amount,
    /// Free messages in canonical form; empty: no sample.
    pub sample: Vec<u8>,
}

/// What a seller is made of.
pub struct Settings {
    /// Identity.
    pub key: SigningKey,
    /// Products.
    pub offers: Vec<Offer>,
    /// Ways to be paid; their options are numbered from 1 in this order.
    pub payees: Vec<Arc<dyn Payee>>,
    /// Where statements are recorded.
    pub records: Option<Arc<dyn Records>>,
    /// What is recorded.
    pub record_offer: RecordOffer,
    /// The journal.
    pub journal: Journal,
    /// Exposure over all sessions.
    pub pools: Pools,
    /// Vouchers are redeemed after every so many invoices paid; 0: at the end of an order only.
    pub redeem_every: u64,
    /// Hears of everything that happens.
    pub listener: Listener,
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
    pub(crate) settings: Settings,
    /// The menu of new connections and its sealing keys. Sessions keep the one they began with.
    config: Mutex<Arc<SellerConfig>>,
    pub(crate) registry: Registry,
}

impl Shared {
    /// The menu for a new connection. One that has lived half its time gives way to a new one with
    /// fresh sealing keys; the old keys are erased with the last session that has them.
    fn config(&self, now: Timestamp) -> Result<Arc<SellerConfig>, StartError> {
        // Nothing panics while it is held.
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if config.menu.until.since_ms(now) < limits::MENU_LIFE_MS / 2 {
            *config = Arc::new(make_config(&self.settings, now)?);
        }
        Ok(config.clone())
    }
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
        if settings.offers.is_empty() || settings.payees.is_empty() {
            return Err(StartError::Settings("a seller needs a product and a way to be paid"));
        }
        if settings.offers.iter().any(|offer| offer.product.when_stalled == Stalled::Skip) {
            return Err(StartError::Settings("when_stalled = skip is not there yet: use buffer"));
        }
        let config = Arc::new(make_config(&settings, now())?);
        let registry = Registry::new(settings.pools);
        registry.load(&settings.journal, &settings.key).await?;
        Ok(Self { shared: Arc::new(Shared { settings, config: Mutex::new(config), registry }) })
    }

    /// The menu of new connections.
    ///
    /// # Errors
    /// [`StartError`], if a new one is due and cannot be made.
    pub fn menu(&self) -> Result<Signed<Menu>, StartError> {
        Ok(self.shared.config(now())?.menu.clone())
    }

    /// Serves buyers until `stop` turns true; then the live sessions settle and end.
    pub async fn serve(&self, listener: TcpListener, stop: watch::Receiver<bool>) {
        let mut sessions = tokio::task::JoinSet::new();
        let mut stopped = stop.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(sessions.spawn(session::run(self.shared.clone(), stream, stop.clone()))),
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
    }
}

fn make_config(settings: &Settings, now: Timestamp) -> Result<SellerConfig, StartError> {
    let mut seal = Vec::new();
    let mut seals = Vec::new();
    for suite in Suite::ALL {
        let (secret, public) = SealSecret::derive(suite, &entropy::draw().map_err(StartError::NoEntropy)?);
        seals.push(secret);
        seal.push(SealKey { suite, public });
    }
    let seller = settings.key.public();
    let options: Vec<PayOption> =
        (1u16..).zip(&settings.payees).map(|(id, payee)| PayOption { id, ..payee.option() }).collect();
    let asset = options.first().map(|option| option.asset.clone());
    let menu = Menu {
        seller,
        until: now.after_ms(limits::MENU_LIFE_MS),
        seal,
        records: settings.record_offer.clone(),
        default_currency: asset.ok_or(StartError::Settings("a seller needs a way to be paid"))?,
        options,
        products: settings.offers.iter().map(|offer| offer.product.clone()).collect(),
    };
    let menu = Signed::sign(&settings.key, menu);
    // What this seller would refuse from others, it does not say itself.
    let menu = Signed::parse(menu.bytes())
        .map_err(|_| StartError::Settings("a product or payment option is outside its limits"))?;
    let sampled = settings.offers.iter().filter(|offer| offer.product.sample);
    let samples = sampled.map(|offer| {
        let topic = offer.product.topic.clone();
        Signed::sign(&settings.key, Sample { seller, topic, messages: offer.sample.clone() })
    });
    Ok(SellerConfig { key: settings.key.clone(), samples: samples.collect(), menu, seals })
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
    use sdpp_proto::money::Unit;
    use sdpp_proto::statement::{Form, Signing};
    use sdpp_rail::MemoryDisk;
    use sdpp_rail::fake::{FakeBank, FakeMode, FakePayee, FakeWorld};
    use zeroize::Zeroizing;

    use super::*;
    use crate::source::Repeat;

    fn settings(when_stalled: Stalled) -> Settings {
        let product = Product {
            id: 1,
            topic: "t".into(),
            schema: String::new(),
            unit: Unit::Message,
            amount: Amount::new(1),
            per: 1,
            available: None,
            k: 10,
            window_ms: 0,
            window_bytes: 0,
            message_max: 100,
            windows_max: 1,
            signing: Signing::Window,
            acks: false,
            when_stalled,
            sample: false,
            cadence_ms: None,
            licence: None,
        };
        let source: MakeSource = Arc::new(|_| Ok(Box::new(Repeat::new(Vec::new(), 1))));
        let payee = FakePayee::new(&FakeBank::new(), "seller", FakeWorld::asset(), FakeMode::Voucher);
        Settings {
            key: SigningKey::from_seed(&Zeroizing::new([1; 32])),
            offers: vec![Offer { product, source, exposure_max: Amount::new(1), sample: Vec::new() }],
            payees: vec![Arc::new(payee)],
            records: None,
            record_offer: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
            journal: Journal::start(MemoryDisk::new().open()).unwrap(),
            pools: Pools { strangers: Amount::MAX, proven: Amount::MAX },
            redeem_every: 0,
            listener: Arc::new(|_| {}),
        }
    }

    #[tokio::test]
    async fn a_menu_gives_way_to_one_with_fresh_keys_before_it_ends() {
        let seller = Seller::start(settings(Stalled::Buffer)).await.unwrap();
        let at = |hours: u64| seller.shared.config(now().after_ms(hours * 3_600_000)).unwrap().menu.clone();
        let (first, later) = (at(0), at(11));
        assert_eq!(first.id(), later.id());
        let next = at(13);
        assert_ne!(first.id(), next.id());
        let fresh = |menu: &Menu, old: &Menu| menu.seal.iter().all(|key| !old.seal.contains(key));
        assert!(fresh(&next, &first), "sealing keys rotate with the menu");
        assert!(next.until > first.until);
        assert_eq!(at(13).id(), next.id());
    }

    #[tokio::test]
    async fn what_the_driver_cannot_do_is_not_offered() {
        let error = Seller::start(settings(Stalled::Skip)).await.err().unwrap();
        assert!(error.to_string().contains("skip"), "{error}");
    }
}

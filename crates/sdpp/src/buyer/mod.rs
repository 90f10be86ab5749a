//! The buyer: places one order and sees it through, reconnecting by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sdpp_proto::buyer::{self as core, BuyerConfig, BuyerOrder, OrderDraft, PlaceError};
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::statement::{Menu, PayOption, Product, RecordPolicy, Signed};
use sdpp_proto::suite::Suite;
use sdpp_rail::{Funding, OpenRequest, Payer, RailError, Records};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::bound::Bound;
use crate::entropy::{self, NoEntropy};
use crate::journal::{Journal, ReadError, order_stream};
use crate::now;
use crate::sink::Sink;

mod session;

pub use session::{Asked, ask};

/// Hears of everything that happens.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// Time after which an order that was not sent is void.
const ORDER_LIFE_MS: u64 = 60_000;

/// What a buyer is made of.
pub struct Settings {
    /// Identity.
    pub key: SigningKey,
    /// Suites, the preferred one first.
    pub suites: Vec<Suite>,
    /// The rail it pays with; its name picks the menu's option.
    pub payer: Arc<dyn Payer>,
    /// Name of that rail.
    pub rail: String,
    /// Where it records.
    pub records: Option<Arc<dyn Records>>,
    /// The journal.
    pub journal: Journal,
    /// How often it connects again after a connection was lost, without progress in between.
    pub reconnects: u32,
    /// Hears of everything that happens.
    pub listener: Listener,
}

/// What to buy.
#[derive(Clone, Debug)]
pub struct Request {
    /// Topic of the product.
    pub topic: String,
    /// Messages; none: open end.
    pub quantity: Option<u64>,
    /// Outstanding windows.
    pub windows: u32,
    /// Most to owe; none: what the outstanding windows cost.
    pub exposure_max: Option<Amount>,
    /// Most to spend; none: what the quantity costs.
    pub limit: Option<Amount>,
    /// What is recorded.
    pub record: RecordPolicy,
}

/// Where a seller is, and who it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The seller's key; none accepts anybody.
    pub seller: Option<PublicKey>,
    /// Host and port.
    pub host: String,
}

/// Something that happened at the buyer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The menu is here and the order is about to be placed: this is what is at risk.
    Ordering {
        /// The product.
        product: Box<Product>,
        /// The bound on loss.
        bound: Box<Bound>,
    },
    /// The session is live.
    Live {
        /// The order.
        order: StatementId,
        /// First message that comes.
        start: u64,
        /// Most that the seller lets this buyer owe.
        exposure: Amount,
    },
    /// An invoice was verified.
    Invoiced {
        /// Cumulative invoices.
        n: u64,
        /// Windows it covers.
        windows: u32,
        /// Cumulative messages.
        messages: u64,
        /// Cumulative amount due.
        due: Amount,
    },
    /// A payment left.
    Paid {
        /// Cumulative amount.
        total: Amount,
    },
    /// A statement was recorded.
    Recorded(StatementId),
    /// The ledger is not to be trusted.
    Dishonest(&'static str),
    /// The connection was lost; another one follows.
    Reconnecting {
        /// Tries since the last progress.
        attempt: u32,
    },
}

/// How a purchase ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Purchase {
    /// The order.
    pub order: StatementId,
    /// How the last connection ended.
    pub ended: core::Ended,
    /// Messages delivered.
    pub delivered: u64,
    /// Cumulative amount due by verified invoices.
    pub due: Amount,
    /// Cumulative amount paid.
    pub paid: Amount,
    /// What stood behind the order.
    pub funding: Option<Funding>,
}

impl Purchase {
    /// Whether both sides have what they were owed.
    pub const fn is_settled(&self) -> bool {
        matches!(self.ended, core::Ended::Settled | core::Ended::Withheld)
    }
}

/// Why a purchase did not come to be, or was given up.
#[derive(Debug)]
pub enum BuyError {
    /// The seller cannot be reached, or the connection was lost for good.
    Connection(io::Error),
    /// No randomness.
    NoEntropy(NoEntropy),
    /// The journal.
    Journal(ReadError),
    /// The journal's order cannot be rebuilt.
    Restore(sdpp_proto::seller::RestoreError),
    /// The rail.
    Rail(RailError),
    /// The menu has no such product, or no option of this rail.
    NotOffered(String),
    /// The order makes no sense against the menu.
    Place(PlaceError),
    /// The connection ended before there was an order.
    Ended(core::Ended),
    /// The price of the quantity does not fit an amount.
    Overflow,
}

impl std::fmt::Display for BuyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection(error) => {
                write!(f, "cannot talk to the seller: {error}; check the address, and that the seller runs")
            }
            Self::NoEntropy(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Restore(error) => error.fmt(f),
            Self::Rail(error) => error.fmt(f),
            Self::NotOffered(what) => write!(f, "the seller's menu does not offer {what}: see `sdpp menu`"),
            Self::Place(error) => error.fmt(f),
            Self::Ended(core::Ended::Offence(offence)) => write!(f, "the seller broke a rule: {offence}"),
            Self::Ended(core::Ended::Told(Some(fault))) => write!(f, "the seller refused: {fault}"),
            Self::Ended(_) => f.write_str("the connection ended before there was an order: try again"),
            Self::Overflow => f.write_str("the price of this quantity does not fit: order less, or set a limit"),
        }
    }
}

impl std::error::Error for BuyError {}

/// A buyer.
pub struct Buyer {
    settings: Settings,
}

impl Buyer {
    /// A buyer of these settings.
    pub const fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Places an order and sees it through. When `stop` turns true, what was delivered is settled
    /// and the order ends.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn buy(
        &self,
        address: &Address,
        request: &Request,
        sink: &mut dyn Sink,
        stop: watch::Receiver<bool>,
    ) -> Result<Purchase, BuyError> {
        let plan = session::Plan::Place(request);
        self.see_through(address, plan, sink, stop).await
    }

    /// Goes on with an order of the journal, after a crash.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn resume(
        &self,
        address: &Address,
        order: StatementId,
        sink: &mut dyn Sink,
        stop: watch::Receiver<bool>,
    ) -> Result<Purchase, BuyError> {
        let entries = self.settings.journal.read(order_stream(&order)).await.map_err(BuyError::Journal)?;
        let menu =
            crate::bundle::menu_of(&entries).ok_or(BuyError::Restore(sdpp_proto::seller::RestoreError::Incomplete))?;
        let account = BuyerOrder::restore(&self.settings.key, &menu, &entries).map_err(BuyError::Restore)?;
        sink.truncate(account.verified()).map_err(BuyError::Connection)?;
        self.see_through(address, session::Plan::Resume(Box::new(account)), sink, stop).await
    }

    async fn see_through(
        &self,
        address: &Address,
        plan: session::Plan<'_>,
        sink: &mut dyn Sink,
        stop: watch::Receiver<bool>,
    ) -> Result<Purchase, BuyError> {
        let mut plan = plan;
        let mut funding = match &plan {
            session::Plan::Place(_) => None,
            session::Plan::Resume(account) => {
                let order = &account.terms().order;
                Some(Funding { channel: order.channel, deposit: order.limit })
            }
        };
        let (mut attempt, mut progress) = (0u32, (0, Amount::ZERO));
        loop {
            let outcome = match self.connect(address).await {
                Ok(stream) => session::run(self, address, stream, (plan, sink, stop.clone())).await?,
                Err(error) => match plan {
                    session::Plan::Place(_) => return Err(BuyError::Connection(error)),
                    session::Plan::Resume(account) => session::Outcome::lost(account),
                },
            };
            funding = outcome.funding.or(funding);
            let Some(account) = outcome.account else { return Err(BuyError::Ended(outcome.ended)) };
            let now_at = (account.delivered(), account.paid());
            attempt = if now_at == progress { attempt.saturating_add(1) } else { 0 };
            progress = now_at;
            let lost = is_lost(&outcome.ended) && !account.is_settled();
            if !lost || attempt > self.settings.reconnects {
                let settled = account.is_settled() && outcome.ended == core::Ended::Settled;
                // A buyer that froze goes on later, with the channel it has.
                let frozen = outcome.ended == core::Ended::Stopped(Reason::Frozen);
                if !settled && !frozen {
                    self.close_funding(funding.as_ref()).await;
                }
                return Ok(purchase(&account, outcome.ended, funding));
            }
            (self.settings.listener)(&Event::Reconnecting { attempt });
            tokio::time::sleep(Duration::from_millis(50u64.saturating_mul(1 << attempt.min(7)))).await;
            plan = session::Plan::Resume(account);
        }
    }

    /// Asks for the channel's end where the seller will not: it closes it itself after a settled one.
    async fn close_funding(&self, funding: Option<&Funding>) {
        if let Some(funding) = funding.filter(|funding| funding.channel.is_some())
            && let Err(error) = self.settings.payer.close(funding).await
        {
            tracing::warn!(%error, "the channel could not be closed: its deposit stays locked for now");
        }
    }

    async fn connect(&self, address: &Address) -> io::Result<TcpStream> {
        let connect = TcpStream::connect(&address.host);
        let connected = tokio::time::timeout(Duration::from_secs(10), connect).await;
        connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    fn config(&self, address: &Address) -> BuyerConfig {
        BuyerConfig {
            key: self.settings.key.clone(),
            seller: address.seller,
            suites: self.settings.suites.clone(),
            pay_moves_money: self.settings.payer.moves_money(),
        }
    }

    /// Opens what must stand behind an order, and drafts it.
    async fn draft(&self, menu: &Signed<Menu>, request: &Request) -> Result<(OrderDraft, Funding), BuyError> {
        let product = menu.product_by_topic(&request.topic);
        let product = product.ok_or_else(|| BuyError::NotOffered(format!("the product '{}'", request.topic)))?;
        let option = menu.options.iter().find(|option| option.rail == self.settings.rail);
        let option = option.ok_or_else(|| BuyError::NotOffered(format!("the rail '{}'", self.settings.rail)))?;
        let (exposure_max, limit) = money_of(product, request)?;
        let nonce = Bytes32(*entropy::draw().map_err(BuyError::NoEntropy)?);
        let bound = Bound::of(product, option, (exposure_max, limit), request.windows);
        (self.settings.listener)(&Event::Ordering { product: Box::new(product.clone()), bound: Box::new(bound) });
        let funding = self.open(option, limit, nonce).await?;
        let draft = OrderDraft {
            product: product.id,
            option: option.id,
            quantity: request.quantity,
            windows: request.windows,
            exposure_max,
            limit,
            channel: funding.channel,
            record: request.record,
            sign_key: self.settings.key.clone(),
            nonce,
            until: now().after_ms(ORDER_LIFE_MS),
        };
        Ok((draft, funding))
    }

    async fn open(&self, option: &PayOption, limit: Amount, reference: Bytes32) -> Result<Funding, BuyError> {
        let signer = self.settings.key.public();
        let request = OpenRequest { reference, option: option.clone(), limit, signer };
        for attempt in 0..10u32 {
            match self.settings.payer.open(&request).await {
                // Opening twice with one reference opens once.
                Err(RailError::Unavailable | RailError::Unknown) => {
                    tokio::time::sleep(Duration::from_millis(20u64.saturating_mul(1 << attempt.min(7)))).await;
                }
                answer => return answer.map_err(BuyError::Rail),
            }
        }
        Err(BuyError::Rail(RailError::Unavailable))
    }
}

/// Whether a connection was only lost, so that another one may go on with the order.
const fn is_lost(ended: &core::Ended) -> bool {
    use sdpp_proto::offence::{Fault, Offence};
    match ended {
        core::Ended::Told(None) => true,
        core::Ended::Offence(offence) | core::Ended::Told(Some(Fault::Offence(offence))) => {
            matches!(offence, Offence::IdleTimeout | Offence::HandshakeTimeout)
        }
        core::Ended::Settled
        | core::Ended::Withheld
        | core::Ended::Stopped(_)
        | core::Ended::Told(Some(Fault::Reason(_))) => false,
    }
}

fn purchase(account: &BuyerOrder, ended: core::Ended, funding: Option<Funding>) -> Purchase {
    let ended = if account.is_settled() { core::Ended::Settled } else { ended };
    Purchase {
        order: account.id(),
        ended,
        delivered: account.delivered(),
        due: account.due(),
        paid: account.paid(),
        funding,
    }
}

/// Exposure and limit of a request, by the product's price where the request names none.
fn money_of(product: &Product, request: &Request) -> Result<(Amount, Amount), BuyError> {
    let messages = u64::from(product.k).saturating_mul(u64::from(request.windows));
    let worst = |messages: u64| {
        use sdpp_proto::money::Unit;
        let units = match product.unit {
            Unit::Message => messages,
            Unit::Byte => messages.saturating_mul(u64::from(product.message_max)),
            Unit::Second => product.window_ms.saturating_mul(u64::from(request.windows)),
        };
        product.price().due(units)
    };
    let exposure = request.exposure_max.or_else(|| worst(messages)).ok_or(BuyError::Overflow)?;
    let limit = match (request.limit, request.quantity) {
        (Some(limit), _) => limit,
        (None, Some(quantity)) => worst(quantity).ok_or(BuyError::Overflow)?,
        (None, None) => return Err(BuyError::NotOffered("an open end without a spend limit".into())),
    };
    Ok((exposure, limit))
}

#[cfg(test)]
mod tests {
    use sdpp_proto::offence::Offence;

    use super::*;

    #[test]
    fn silence_is_a_lost_connection_and_a_broken_rule_is_not() {
        for lost in [
            core::Ended::Told(None),
            core::Ended::Offence(Offence::IdleTimeout),
            core::Ended::Told(Some(Offence::IdleTimeout.into())),
            core::Ended::Offence(Offence::HandshakeTimeout),
        ] {
            assert!(is_lost(&lost), "{lost:?}");
        }
        for ended in [
            core::Ended::Settled,
            core::Ended::Withheld,
            core::Ended::Offence(Offence::InvoiceDigest),
            core::Ended::Told(Some(Reason::Busy.into())),
            core::Ended::Stopped(Reason::ShuttingDown),
        ] {
            assert!(!is_lost(&ended), "{ended:?}");
        }
    }
}

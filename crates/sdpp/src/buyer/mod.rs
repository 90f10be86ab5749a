//! The buyer: places one order and sees it through, reconnecting by itself (`spec/protocol.md` §4, §7
//! to §9).
//!
//! ```text
//!  Buyer::buy ──► menu ──► Event::Ordering ──► Payer::open ──► order ──► live ──► Purchase
//!                          (what is at risk)   (a deposit)                 ▲
//!  Buyer::resume ──────────────────────────────────────────────────────────┘   after a crash
//!  Buyer::close ──► settles what was delivered; gives up the channel of a seller that is gone
//! ```
//! Amounts are cumulative base units of the option's asset; messages are counted from the order's
//! beginning, also over its connections. The future of a call may be dropped at any time: like a
//! crash, that leaves an order which can be resumed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sdpp_proto::buyer::{self as core, BuyerConfig, BuyerOrder, OrderDraft};
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Offence, Reason};
use sdpp_proto::statement::{Menu, PayOption, Product, Signed};
use sdpp_proto::suite::Suite;
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{CloseStatus, Funding, OpenRequest, Payer, RailError, Records, Standings};
use tokio::sync::watch;

use crate::bound::Bound;
use crate::entropy;
use crate::journal::{Journal, ReadError};
use crate::now;
use crate::sink::{Sink, Stream};

mod ask;
mod count;
mod error;
mod keeper;
mod note;
mod opening;
mod orders;
mod pursuit;
mod request;
mod session;

pub use ask::{Asked, ask};
pub use error::BuyError;
pub use note::Note;
pub use opening::reclaim;
pub use orders::{OrderInfo, OrderState, orders};
pub use pursuit::Reconnect;
pub use request::{Agreed, Request};

use keeper::Keeper;
use pursuit::{Plan, Pursuit, Stop};
use request::money_of;

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
    /// Who knows which keys still stand: nothing is ordered from one that was rotated or revoked.
    pub standings: Option<Arc<dyn Standings>>,
    /// The journal.
    pub journal: Journal,
    /// How it connects again.
    pub reconnect: Reconnect,
    /// Counts what comes.
    pub progress: Arc<Progress>,
    /// Hears of everything that happens.
    pub listener: Listener,
}

impl Settings {
    /// The usual settings: the suite [`Suite::X25519`], the default [`Reconnect`]. `rail` is the name
    /// by which menus know what `payer` pays with. Nothing is recorded, no key is looked up, and nobody
    /// listens: set what you need, for all fields are public.
    pub fn new(key: SigningKey, payer: Arc<dyn Payer>, rail: impl Into<String>, journal: Journal) -> Self {
        Self {
            key,
            suites: vec![Suite::X25519],
            payer,
            rail: rail.into(),
            records: None,
            standings: None,
            journal,
            reconnect: Reconnect::default(),
            progress: Arc::default(),
            listener: Arc::new(|_| {}),
        }
    }
}

/// Counts what comes in, for whoever looks now and then: once per frame, without a lock.
#[derive(Debug, Default)]
pub struct Progress {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Messages delivered since the process began.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Their payload bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
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
        /// What is owed: due and not paid.
        owed: Amount,
    },
    /// A payment left.
    Paid {
        /// Cumulative amount.
        total: Amount,
        /// What is owed: due and not paid.
        owed: Amount,
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
    /// The sink takes nothing for a long time: the connection was closed, and another one follows
    /// when it does. An invoice that the sink keeps from being paid would end in a default otherwise.
    Waiting,
    /// The sink's reader has enough: what came is settled, and the order ends.
    Enough,
}

/// How a purchase ended.
#[must_use = "an order may end without being settled, and may go on later"]
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
    /// See [`is_parked`](Self::is_parked).
    pub parked: bool,
    /// The rail was asked to close the channel without the seller: its deposit comes back after the
    /// grace period.
    pub closing: bool,
}

impl Purchase {
    /// Whether the order can go on later: [`Buyer::resume`] or [`Buyer::close`] it.
    pub const fn is_parked(&self) -> bool {
        self.parked
    }

    /// Whether both sides have what they were owed.
    pub const fn is_settled(&self) -> bool {
        matches!(self.ended, core::Ended::Settled | core::Ended::Withheld)
    }
}

/// A buyer.
pub struct Buyer {
    settings: Settings,
}

impl Buyer {
    /// A buyer of these settings.
    pub const fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// The seller's menu as it is now: products, prices, ways to pay. Nothing is ordered by looking.
    ///
    /// # Errors
    /// [`BuyError::Connection`], [`BuyError::Ended`].
    pub async fn menu(&self, address: &Address) -> Result<Signed<Menu>, BuyError> {
        let stream = pursuit::connect(&address.host).await.map_err(BuyError::Connection)?;
        Ok(ask(self.config(address), stream, |_| None).await?.menu)
    }

    /// Places an order and sees it through. When `stop` turns true, or the sink's reader has enough,
    /// what was delivered is settled and the order ends.
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
        self.reclaim().await?;
        let keeper = Keeper::new(sink, self.settings.journal.clone(), Note::at(address));
        let pursuit = Pursuit { buyer: self, address, keeper, stop: Stop::new(stop) };
        pursuit.run(Plan::Place(Box::new(request.clone()))).await
    }

    /// Goes on with an order of the journal, after a crash. The sink goes back to what the journal
    /// vouches for; one that the order did not have before gets what follows.
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
        self.reclaim().await?;
        let (account, before) = self.restore(order).await?;
        let mut keeper = Keeper::new(sink, self.settings.journal.clone(), Note::at(address));
        if account.is_settled() {
            return Ok(purchase(&account, core::Ended::Settled, None));
        }
        keeper.go_on(&account, &before).map_err(BuyError::Sink)?;
        let pursuit = Pursuit { buyer: self, address, keeper, stop: Stop::new(stop) };
        pursuit.run(Plan::Resume(account)).await
    }

    /// Ends an order of the journal: settles what was delivered with the seller. What the seller had
    /// under way is delivered and paid for, so the sink matters. If the seller cannot be reached or
    /// will not settle, and `give_up` says that it is gone for good, the rail is asked to close the
    /// channel; the order can then not go on.
    ///
    /// # Errors
    /// [`BuyError`]; [`BuyError::Connection`] where the seller cannot be reached and is not given up.
    pub async fn close(
        &self,
        address: &Address,
        order: StatementId,
        (sink, give_up): (&mut dyn Sink, bool),
    ) -> Result<Purchase, BuyError> {
        let (account, _) = self.restore(order).await?;
        let stop = watch::channel(true).1;
        let ended = match self.resume(address, order, sink, stop).await {
            Err(error @ BuyError::Connection(_)) if !give_up => return Err(error),
            Err(BuyError::Connection(_)) => purchase(&account, core::Ended::Told(None), None),
            result => result?,
        };
        if ended.is_settled() || ended.closing || !give_up {
            return Ok(ended);
        }
        let funding = pursuit::funding_of(&account);
        let closing = self.close_funding(Some(&funding)).await.is_some();
        Ok(Purchase { funding: Some(funding), closing, parked: !closing && ended.parked, ..ended })
    }

    /// The orders of the journal.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn orders(&self) -> Result<Vec<OrderInfo>, ReadError> {
        orders(&self.settings.journal, &self.settings.key).await
    }

    /// See [`reclaim`].
    async fn reclaim(&self) -> Result<(), BuyError> {
        let Settings { journal, payer, rail, key, .. } = &self.settings;
        reclaim(journal, rail, payer.as_ref(), &key.public()).await.map_err(BuyError::Journal)
    }

    async fn restore(&self, order: StatementId) -> Result<(Box<BuyerOrder>, Note), BuyError> {
        let (entries, note) = orders::read(&self.settings.journal, &order).await.map_err(BuyError::Journal)?;
        if entries.is_empty() {
            return Err(BuyError::UnknownOrder(order));
        }
        let incomplete = BuyError::Restore(sdpp_proto::seller::RestoreError::Incomplete);
        let menu = crate::bundle::menu_of(&entries).ok_or(incomplete)?;
        let mut account = BuyerOrder::restore(&self.settings.key, &menu, &entries).map_err(BuyError::Restore)?;
        if self.settings.journal.is_restored(&order).await.map_err(BuyError::Journal)? {
            account.declare_restored();
        }
        Ok((Box::new(account), note))
    }

    /// Asks for the channel's end where the seller will not: it closes it itself after a settled one.
    /// None where there is none, or where it could not be asked.
    async fn close_funding(&self, funding: Option<&Funding>) -> Option<CloseStatus> {
        let funding = funding.filter(|funding| funding.channel.is_some())?;
        failpoint::before(Deed::Close);
        let closed = self.settings.payer.close(funding).await;
        failpoint::after(Deed::Close);
        let warn = |error: &RailError| {
            tracing::warn!(%error, "the channel could not be closed: its deposit stays locked for now");
        };
        closed.inspect_err(warn).ok()
    }

    /// The same for an order that needs its channel no more; whether it is about to be closed.
    async fn give_back(&self, account: &BuyerOrder, funding: Option<&Funding>) -> bool {
        let closed = self.close_funding(funding).await;
        if closed == Some(CloseStatus::Closed) {
            self.settings.journal.note_later(opening::key_of(&opening::of_order(account)), String::new());
        }
        closed.is_some()
    }

    fn config(&self, address: &Address) -> BuyerConfig {
        BuyerConfig {
            key: self.settings.key.clone(),
            seller: address.seller,
            suites: self.settings.suites.clone(),
            pay_moves_money: self.settings.payer.moves_money(),
        }
    }

    /// A seller's key must still stand (`spec/records.md` §5). Whether it does must be known.
    async fn trusts_key_of(&self, menu: &Menu) -> Result<(), BuyError> {
        let Some(standings) = &self.settings.standings else { return Ok(()) };
        let standing = standings.standing(&menu.seller).await.map_err(BuyError::Rail)?;
        if standing.is_good() { Ok(()) } else { Err(BuyError::KeyEnded(Box::new(standing))) }
    }

    /// Opens what must stand behind an order, and drafts it.
    async fn draft(
        &self,
        menu: &Signed<Menu>,
        request: &Request,
        keeper: &mut Keeper<'_>,
    ) -> Result<(OrderDraft, Funding), BuyError> {
        let product = menu.product_by_topic(&request.topic);
        let product = product.ok_or_else(|| BuyError::NotOffered(format!("the product '{}'", request.topic)))?;
        let option = menu.options.iter().find(|option| option.rail == self.settings.rail);
        let option = option.ok_or_else(|| BuyError::NotOffered(format!("the rail '{}'", self.settings.rail)))?;
        if request.agreed.as_ref().is_some_and(|agreed| !agreed.holds(product, option)) {
            return Err(BuyError::TermsChanged);
        }
        self.trusts_key_of(menu).await?;
        let windows = request.windows.min(product.windows_max);
        let (exposure_max, limit) = money_of(product, request, windows)?;
        keeper.begin(&Stream::of(product)).map_err(BuyError::Sink)?;
        let nonce = Bytes32(*entropy::draw().map_err(BuyError::NoEntropy)?);
        let bound = Bound::of(product, option, (exposure_max, limit), windows);
        (self.settings.listener)(&Event::Ordering { product: Box::new(product.clone()), bound: Box::new(bound) });
        let funding = self.open((option, limit, nonce), menu.seller, keeper).await?;
        let draft = OrderDraft {
            product: product.id,
            option: option.id,
            quantity: request.quantity,
            windows,
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

    /// Opens what stands behind an order. The journal knows of it before the rail does.
    async fn open(
        &self,
        (option, limit, reference): (&PayOption, Amount, Bytes32),
        seller: PublicKey,
        keeper: &mut Keeper<'_>,
    ) -> Result<Funding, BuyError> {
        let signer = self.settings.key.public();
        let request = OpenRequest { reference, option: option.clone(), limit, signer, seller };
        if option.channel {
            let key = opening::key_of(&request);
            self.settings.journal.put_note(key.clone(), opening::to_text(&request)).await.map_err(BuyError::Journal)?;
            keeper.opening(key);
        }
        for attempt in 0..10u32 {
            failpoint::before(Deed::Open);
            let opened = self.settings.payer.open(&request).await;
            failpoint::after(Deed::Open);
            match opened {
                // Opening twice with one reference opens once.
                Err(RailError::Unavailable | RailError::Unknown) => {
                    tokio::time::sleep(Duration::from_millis(20u64.saturating_mul(1 << attempt.min(7)))).await;
                }
                answer => {
                    if matches!(answer, Err(RailError::Declined(_))) && option.channel {
                        self.settings.journal.note_later(opening::key_of(&request), String::new());
                    }
                    return answer.map_err(BuyError::Rail);
                }
            }
        }
        Err(BuyError::Rail(RailError::Unavailable))
    }
}

/// Whether the seller says that it does not know the order, and cannot take it any more: it was started again,
/// or has changed its menu, before it had heard of it.
const fn is_void(account: &BuyerOrder, ended: &core::Ended) -> bool {
    use sdpp_proto::offence::Fault;
    let late = matches!(ended, core::Ended::Told(Some(Fault::Offence(Offence::WrongMenu | Offence::OrderExpired))));
    late && account.salt().is_none()
}

/// Whether an order that ended so can go on later, with the channel it has.
fn is_parked(account: &BuyerOrder, ended: &core::Ended) -> bool {
    use sdpp_proto::offence::Fault;
    let by_seller = |reason: &Reason| match reason {
        // An order that was refused before it had a session needs no channel.
        Reason::Busy
        | Reason::Frozen
        | Reason::ShuttingDown
        | Reason::Superseded
        | Reason::RailDown
        | Reason::Paused => account.salt().is_some(),
        Reason::Refused | Reason::LedgerDishonest | Reason::AlreadyEnded => false,
    };
    match ended {
        core::Ended::Settled => false,
        // A rail that is away for long: what is owed is paid when it is back, from the channel that stands.
        core::Ended::Stopped(Reason::RailDown) => account.salt().is_some(),
        core::Ended::Stopped(reason) => matches!(reason, Reason::Frozen | Reason::ShuttingDown),
        core::Ended::Told(Some(Fault::Reason(reason))) => by_seller(reason),
        core::Ended::Withheld | core::Ended::Offence(_) | core::Ended::Told(_) => {
            // An old journal: once that is declared, the order can be settled.
            let old = blamed(ended) == Some(Offence::StaleAttach);
            is_lost(ended) || ((old || is_anybodys(ended)) && account.salt().is_some())
        }
    }
}

/// Whether a connection was only lost, so that another one may go on with the order. So it is after a payment
/// that came too late: it still counts (spec §8), and a channel that is closed now would take it from the seller.
fn is_lost(ended: &core::Ended) -> bool {
    *ended == core::Ended::Told(None) || blamed(ended).is_some_and(Offence::is_lateness)
}

/// Whether somebody on the way, who has no key, can make a connection end so.
fn is_anybodys(ended: &core::Ended) -> bool {
    blamed(ended).is_some_and(Offence::needs_no_key)
}

/// The offence that one side has named.
const fn blamed(ended: &core::Ended) -> Option<Offence> {
    use sdpp_proto::offence::Fault;
    match ended {
        core::Ended::Offence(offence) | core::Ended::Told(Some(Fault::Offence(offence))) => Some(*offence),
        core::Ended::Settled
        | core::Ended::Withheld
        | core::Ended::Stopped(_)
        | core::Ended::Told(None | Some(Fault::Reason(_))) => None,
    }
}

fn purchase(account: &BuyerOrder, ended: core::Ended, funding: Option<Funding>) -> Purchase {
    // Of a frozen one the last signature may not be durable, and was not sent: it comes back for the end.
    let settled = account.is_settled() && ended != core::Ended::Stopped(Reason::Frozen);
    let ended = if settled { core::Ended::Settled } else { ended };
    Purchase {
        order: account.id(),
        ended,
        delivered: account.delivered(),
        due: account.due(),
        paid: account.paid(),
        funding,
        parked: false,
        closing: false,
    }
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
            core::Ended::Told(Some(Offence::NotPaid.into())),
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

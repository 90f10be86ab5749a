//! One order seen through over all its connections.

use std::io;
use std::time::Duration;

use sdpp_proto::buyer::{self as core, BuyerOrder};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Reason};
use sdpp_rail::Funding;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::keeper::Keeper;
use super::{
    Address, BuyError, Buyer, Event, Purchase, Request, is_anybodys, is_lost, is_parked, is_void, purchase, session,
};
use crate::entropy;

/// Time that a connection has to come to be.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Tries in a row at a seller that has no room, after a connection to it was lost.
const BUSY_TRIES: u32 = 10;
/// Connections in a row, without progress, that may end by what anybody on the way can cause.
const SPOILT_TRIES: u32 = 5;
/// Orders of one purchase that a seller may say it never took. Each costs a deposit for the grace period.
const VOIDED_MAX: u32 = 3;

/// How a buyer connects again after a connection was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reconnect {
    /// Tries without progress in between; none: without end. Then the order is parked.
    pub tries: Option<u32>,
    /// Pause before the first try, at most; it doubles with every one.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// Whether the first connection is tried again, too. Otherwise a seller that cannot be reached is
    /// an error at once.
    pub wait_for_seller: bool,
    /// Time to settle, after the wish to stop, where the seller cannot be reached. Then the order is
    /// parked.
    pub stop_wait: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            tries: None,
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
            wait_for_seller: false,
            stop_wait: Duration::from_secs(10),
        }
    }
}

impl Reconnect {
    /// The pause before a try: doubling, with a cap, and drawn from its upper half, so that the
    /// buyers of a seller that comes back do not come all at once.
    fn pause(&self, attempt: u32, draw: u16) -> Duration {
        let doubled = self.first.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        let half = u64::try_from(doubled.min(self.longest).as_millis()).unwrap_or(u64::MAX) / 2;
        let drawn = half.saturating_mul(u64::from(draw).saturating_add(1)) >> 16;
        Duration::from_millis(half.saturating_add(drawn))
    }

    fn allows(&self, attempt: u32) -> bool {
        self.tries.is_none_or(|tries| attempt <= tries)
    }
}

/// How long a channel that is being opened is waited for when the buyer is to stop: on a chain it may take minutes.
pub(super) const OPENING_WAIT: Duration = Duration::from_secs(2);

/// The wish to end: the user's, or that of a reader that has enough.
pub(super) struct Stop {
    wish: watch::Receiver<bool>,
    since: Option<Instant>,
}

impl Stop {
    pub(super) const fn new(wish: watch::Receiver<bool>) -> Self {
        Self { wish, since: None }
    }

    /// Wishes it; says whether that is new.
    pub(super) fn wish(&mut self) -> bool {
        let new = self.since.is_none();
        self.since.get_or_insert_with(Instant::now);
        new
    }

    pub(super) fn is_wished(&mut self) -> bool {
        if *self.wish.borrow() {
            self.wish();
        }
        self.since.is_some()
    }

    /// Ends with the wish; `late`: when its time is over.
    pub(super) async fn heard(&mut self, wait: Option<Duration>) {
        match (self.since, wait) {
            (Some(since), Some(wait)) => {
                tokio::time::sleep_until(since.checked_add(wait).unwrap_or(since)).await;
            }
            (Some(_), None) => std::future::pending().await,
            (None, _) => {
                crate::stopped(&mut self.wish).await;
                self.wish();
            }
        }
    }

    /// Ends when it is wished and its time is over, too.
    pub(super) async fn over(&mut self, wait: Duration) {
        if !self.is_wished() {
            self.heard(None).await;
        }
        self.heard(Some(wait)).await;
    }

    fn is_late(&mut self, wait: Duration) -> bool {
        self.is_wished() && self.since.is_some_and(|since| since.elapsed() >= wait)
    }
}

/// What a connection is for.
pub(super) enum Plan {
    Place(Box<Request>),
    Resume(Box<BuyerOrder>),
}

/// What is left of a connection.
pub(super) struct Outcome {
    pub(super) account: Option<Box<BuyerOrder>>,
    pub(super) ended: core::Ended,
    pub(super) funding: Option<Funding>,
}

/// What stands behind an order.
pub(super) fn funding_of(account: &BuyerOrder) -> Funding {
    let order = &account.terms().order;
    Funding { channel: order.channel, deposit: order.limit }
}

/// An order that is seen through.
pub(super) struct Pursuit<'a> {
    pub(super) buyer: &'a Buyer,
    pub(super) address: &'a Address,
    pub(super) keeper: Keeper<'a>,
    pub(super) stop: Stop,
}

/// How far it is.
#[derive(Default)]
struct Course {
    /// Tries since the last progress.
    attempt: u32,
    /// Messages delivered and money paid when last looked at.
    progress: (u64, Amount),
    funding: Option<Funding>,
    /// Orders that the seller never took.
    voided: u32,
    /// Connections without progress that somebody on the way may have spoilt.
    spoilt: u32,
}

impl Course {
    /// Somebody on the way, or a fault there, may have ended the connection: it is made again a few times
    /// before the order is parked.
    fn was_spoilt(&mut self, account: &BuyerOrder, ended: &core::Ended) -> bool {
        if (account.delivered(), account.paid()) != self.progress {
            self.spoilt = 0;
        }
        self.spoilt = self.spoilt.saturating_add(u32::from(is_anybodys(ended)));
        is_anybodys(ended) && self.spoilt <= SPOILT_TRIES
    }

    /// A connection was lost, and the seller may still be at it: it has no room for the next one until it has
    /// noticed. Else the order would be given up for its own older connection. One that the seller has
    /// accepted is tried as often as any lost one; another only a few times.
    fn waits_for_room(&self, account: &BuyerOrder, ended: &core::Ended) -> bool {
        let busy = matches!(ended, core::Ended::Told(Some(Fault::Reason(Reason::Busy))));
        busy && (account.salt().is_some() || (1..=BUSY_TRIES).contains(&self.attempt))
    }
}

impl Pursuit<'_> {
    pub(super) async fn run(mut self, mut plan: Plan) -> Result<Purchase, BuyError> {
        let mut course = Course::default();
        if let Plan::Resume(account) = &plan {
            course.funding = Some(funding_of(account));
            course.progress = (account.delivered(), account.paid());
        }
        let mut stream = Some(self.first_connection(&mut course).await?);
        loop {
            let outcome = match (stream.take(), plan) {
                (Some(stream), plan) => session::run(&mut self, stream, plan).await?,
                (None, Plan::Resume(account)) => {
                    Outcome { account: Some(account), ended: core::Ended::Told(None), funding: None }
                }
                (None, Plan::Place(_)) => return Err(BuyError::Connection(io::ErrorKind::NotConnected.into())),
            };
            course.funding = outcome.funding.or(course.funding);
            let Some(account) = outcome.account else { return Err(BuyError::Ended(outcome.ended)) };
            if is_void(&account, &outcome.ended) {
                self.keeper.void(&account).await.map_err(BuyError::Journal)?;
                if course.voided < VOIDED_MAX && !self.stop.is_wished() {
                    plan = self.order_anew(&account, &mut course).await;
                    stream = Some(self.first_connection(&mut course).await?);
                    continue;
                }
            }
            let again = course.waits_for_room(&account, &outcome.ended) || course.was_spoilt(&account, &outcome.ended);
            let lost = (is_lost(&outcome.ended) || again) && !account.is_settled();
            if !lost {
                return Ok(self.conclude(&account, outcome.ended, course.funding).await);
            }
            if !self.go_on(&account, &mut course).await? {
                let ended =
                    if self.stop.is_wished() { core::Ended::Stopped(Reason::ShuttingDown) } else { outcome.ended };
                return Ok(self.conclude(&account, ended, course.funding).await);
            }
            stream = connect(&self.address.host).await.ok();
            plan = Plan::Resume(account);
        }
    }

    /// The seller was started again before it had taken the order: the same is ordered by its new menu, if the
    /// terms are the same. Each order has a channel of its own; the old one's deposit comes back after grace.
    async fn order_anew(&mut self, account: &BuyerOrder, course: &mut Course) -> Plan {
        tracing::info!(order = %account.id(), "the seller has another menu by now and never took the order: ordering anew");
        self.buyer.give_back(account, course.funding.take().as_ref()).await;
        course.voided = course.voided.saturating_add(1);
        Plan::Place(Box::new(Request::again(account.terms())))
    }

    async fn first_connection(&mut self, course: &mut Course) -> Result<TcpStream, BuyError> {
        loop {
            let error = match connect(&self.address.host).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            course.attempt = course.attempt.saturating_add(1);
            let reconnect = self.buyer.settings.reconnect;
            let again = reconnect.wait_for_seller && reconnect.allows(course.attempt) && !self.stop.is_wished();
            if !again {
                return Err(BuyError::Connection(error));
            }
            self.pause(course.attempt).await?;
        }
    }

    /// Waits for the sink, then for the next try; false when the order is parked.
    async fn go_on(&mut self, account: &BuyerOrder, course: &mut Course) -> Result<bool, BuyError> {
        let reconnect = self.buyer.settings.reconnect;
        let now_at = (account.delivered(), account.paid());
        course.attempt = if now_at == course.progress { course.attempt.saturating_add(1) } else { 0 };
        course.progress = now_at;
        if self.keeper.stuck_since().is_some() {
            (self.buyer.settings.listener)(&Event::Waiting);
            course.attempt = 0;
            loop {
                let wait = self.stop.is_wished().then_some(reconnect.stop_wait);
                tokio::select! {
                    free = self.keeper.unstuck() => {
                        free.map_err(BuyError::Sink)?;
                        break;
                    }
                    () = self.stop.heard(wait) => if wait.is_some() { return Ok(false) },
                }
            }
        }
        if !reconnect.allows(course.attempt) || self.stop.is_late(reconnect.stop_wait) {
            return Ok(false);
        }
        (self.buyer.settings.listener)(&Event::Reconnecting { attempt: course.attempt });
        self.pause(course.attempt).await?;
        Ok(true)
    }

    /// A wish to stop ends a pause: there is something to settle, and little time for it.
    async fn pause(&mut self, attempt: u32) -> Result<(), BuyError> {
        let draw = entropy::draw().map_err(BuyError::NoEntropy)?;
        let draw = draw.first_chunk::<2>().map_or(0, |draw| u16::from_be_bytes(*draw));
        let reconnect = &self.buyer.settings.reconnect;
        let pause = reconnect.pause(attempt, draw);
        let pause = if self.stop.is_wished() { pause.min(reconnect.first) } else { pause };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.heard(None) => {}
        }
        Ok(())
    }

    /// An order that is neither settled nor can go on needs its channel no more.
    async fn conclude(&mut self, account: &BuyerOrder, ended: core::Ended, funding: Option<Funding>) -> Purchase {
        let mut purchase = purchase(account, ended, funding);
        let settled = purchase.ended == core::Ended::Settled;
        purchase.parked = is_parked(account, &purchase.ended);
        if !settled && !purchase.parked {
            purchase.closing = self.buyer.give_back(account, purchase.funding.as_ref()).await;
        }
        purchase
    }
}

pub(super) async fn connect(host: &str) -> io::Result<TcpStream> {
    let connected = tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(host)).await;
    connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_cap_and_differ() {
        let reconnect = Reconnect {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(2),
            tries: Some(3),
            ..Reconnect::default()
        };
        let longest = |attempt| reconnect.pause(attempt, u16::MAX).as_millis();
        assert_eq!([0, 1, 2, 3, 5, 6, 60, u32::MAX].map(longest), [100, 100, 200, 400, 1600, 2000, 2000, 2000]);
        assert_eq!(reconnect.pause(3, 0).as_millis(), 200, "at least half");
        assert!(reconnect.allows(3) && !reconnect.allows(4));
        assert!(Reconnect::default().allows(u32::MAX));
    }
}

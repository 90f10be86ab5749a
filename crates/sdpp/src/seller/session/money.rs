//! What a session asks its rail: to settle payments and to redeem vouchers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::Settle;
use sdpp_proto::statement::{PayOption, Terms};
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{Bill, Outcome, Payee, RailError, Redeemed};
use tracing::Instrument as _;

use super::{Session, spawned};
use crate::metrics::{self, Role};
use crate::now;
use crate::seller::{Event, Shared, reason_of};

/// Pauses between two questions to a rail.
pub(super) const RAIL_RETRY: Duration = Duration::from_millis(20);
/// Questions to a rail about one payment that get no answer.
const RAIL_TRIES: u32 = 150;

/// What a rail said about a payment.
pub(super) enum Settled {
    Yes,
    No,
    Down(RailError),
}

impl Session {
    pub(super) fn settle(&mut self, settle: Settle) {
        let Some(account) = self.machine.order() else { return };
        let terms = account.terms();
        let id = settle.payment.id();
        let Some(payee) = payee_of(&self.shared, terms) else { return };
        let bill = bill_of(terms, &settle);
        self.settling = Some((id, spawned(ask_rail(payee, bill, settle))));
    }

    pub(super) fn settled(&mut self, id: &StatementId, settled: &Settled) {
        match settled {
            Settled::Yes => self.machine.settled(now(), id, true),
            Settled::No => self.machine.settled(now(), id, false),
            Settled::Down(error) => {
                if let RailError::Dishonest(what) = error {
                    (self.shared.settings.listener)(&Event::Dishonest(what));
                }
                self.machine.refuse(now(), reason_of(error));
            }
        }
    }

    pub(super) fn redeem(&mut self, finished: bool) {
        let Some(account) = self.machine.order() else { return };
        let Some(payee) = payee_of(&self.shared, account.terms()) else { return };
        let order = account.id();
        let shared = self.shared.clone();
        let redeem = async move { redeem_once(&shared, &payee, (&order, finished)).await.map(|done| done.total) };
        self.redeeming = Some(spawned(redeem.instrument(redeem_span(&order))));
    }

    pub(super) fn redeemed(&mut self, result: Result<Amount, RailError>) {
        let Some(order) = self.order else { return };
        match result {
            Ok(total) => (self.shared.settings.listener)(&Event::Redeemed { order, total }),
            Err(RailError::Dishonest(what)) => {
                (self.shared.settings.listener)(&Event::Dishonest(what));
                self.machine.refuse(now(), Reason::LedgerDishonest);
            }
            // Tried again after the next windows, at the end, and beside the sales.
            Err(error) => tracing::warn!(%error, "vouchers could not be redeemed yet"),
        }
    }

    /// Redeems what the order has brought, after whatever was asked of the rail before: a rail may do one
    /// thing at a time. Says whether that is left to the keeper.
    pub(super) async fn redeem_at_end(&mut self) -> bool {
        self.settling = None;
        if let Some(redeeming) = self.redeeming.take() {
            let result = redeeming.await;
            self.redeemed(result);
        }
        let Some(account) = self.machine.order() else { return false };
        let (order, finished, has_paid) = (account.id(), account.is_settled(), account.has_paid());
        let payee = payee_of(&self.shared, account.terms());
        // Where redeeming is dear and slow, that is for the end of the order, and no connection waits for it.
        let is_dear = payee.as_ref().is_some_and(|payee| payee.is_dear());
        if is_dear && finished && !self.halt.stopped {
            return true;
        }
        let is_time = finished || (has_paid && !is_dear);
        if let Some(payee) = payee.filter(|_| is_time) {
            let result = redeem_finally(&self.shared, &payee, (order, finished)).instrument(redeem_span(&order)).await;
            self.redeemed(result);
        }
        false
    }
}

/// Inside the span of its session, if there is one.
pub(in crate::seller) fn redeem_span(order: &StatementId) -> tracing::Span {
    tracing::info_span!("redeem", %order)
}

/// The payee of an order's option: by rail, asset and address, so that an order finds it again after
/// a restart with other settings.
pub(super) fn payee_of(shared: &Shared, terms: &Terms) -> Option<Arc<dyn Payee>> {
    let of = |option: &PayOption| (option.rail.clone(), option.asset.clone(), option.address.clone());
    let same = |payee: &&Arc<dyn Payee>| of(&payee.option()) == of(&terms.option);
    shared.house.payees.iter().find(same).cloned()
}

fn bill_of(terms: &Terms, settle: &Settle) -> Bill {
    Bill {
        order: settle.payment.order_id,
        invoice: settle.payment.invoice_id,
        payee: terms.option.address.clone(),
        asset: terms.option.asset.clone(),
        total: settle.payment.total,
        before: settle.before,
        messages: settle.messages,
        channel: terms.order.channel,
    }
}

/// Asks until the rail has an answer: `settle` is idempotent.
async fn ask_rail(payee: Arc<dyn Payee>, bill: Bill, settle: Settle) -> Settled {
    let asked = Instant::now();
    let settled = ask_until_answered(payee, bill, settle).await;
    metrics::settled(Role::Seller, asked.elapsed());
    settled
}

async fn ask_until_answered(payee: Arc<dyn Payee>, bill: Bill, settle: Settle) -> Settled {
    for _ in 0..RAIL_TRIES {
        failpoint::before(Deed::Settle);
        let answer = payee.settle(&bill, &settle.payment).await;
        failpoint::after(Deed::Settle);
        match answer {
            Ok(Outcome::Settled) => return Settled::Yes,
            Err(RailError::Declined(why)) => {
                tracing::warn!(why, "the rail refuses a payment");
                return Settled::No;
            }
            Err(error @ RailError::Dishonest(_)) => return Settled::Down(error),
            Ok(Outcome::Pending) | Err(RailError::Unavailable | RailError::Unknown) => {
                tokio::time::sleep(RAIL_RETRY).await;
            }
        }
    }
    Settled::Down(RailError::Unavailable)
}

/// Asks the rail for the money. An end that is not durable is none yet: the channel stays open for the buyer
/// that comes back after a restart.
pub(in crate::seller) async fn redeem_once(
    shared: &Shared,
    payee: &Arc<dyn Payee>,
    (order, finished): (&StatementId, bool),
) -> Result<Redeemed, RailError> {
    let finished = finished && !shared.settings.journal.has_failed();
    failpoint::before(Deed::Redeem);
    let answer = payee.redeem(order, finished).await;
    failpoint::after(Deed::Redeem);
    answer
}

async fn redeem_finally(
    shared: &Shared,
    payee: &Arc<dyn Payee>,
    (order, finished): (StatementId, bool),
) -> Result<Amount, RailError> {
    let mut result = redeem_once(shared, payee, (&order, finished)).await;
    for _ in 0..RAIL_TRIES {
        if !matches!(result, Err(RailError::Unavailable | RailError::Unknown)) {
            break;
        }
        tokio::time::sleep(RAIL_RETRY).await;
        result = redeem_once(shared, payee, (&order, finished)).await;
    }
    result.map(|done| done.total)
}

//! Decides about an order: who is it, what stands behind it, is there room.

use std::sync::Arc;

use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Reason};
use sdpp_proto::seller::{self as core, Admission, Admit, SellerOrder};
use sdpp_proto::statement::{Order, Signed, Terms};
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{Backing, Payee, RailError};

use super::money::{RAIL_RETRY, payee_of};
use super::{Session, spawned};
use crate::now;
use crate::seller::registry::Found;
use crate::seller::reins::Reins;
use crate::seller::status::owed;
use crate::seller::stock::Stock;
use crate::seller::{Event, Offer, Shared, reason_of};

/// Questions to a rail about one order that get no answer: the buyer waits for ten seconds at most.
const ADMIT_TRIES: u32 = 100;

/// What was decided about an order.
pub(super) struct Decision {
    pub(super) account: Option<Box<SellerOrder>>,
    /// Messages that the order skipped on connections before.
    pub(super) skipped: u64,
    pub(super) admission: Admission,
}

impl Session {
    /// Starts to decide about an order: who is it, what stands behind it, is there room.
    pub(super) fn admit(&mut self, admit: Admit) {
        let (shared, config, reins) = (self.shared.clone(), self.config.clone(), self.halt.reins.clone());
        self.order = Some(admit.order_id);
        self.halt.ticket.spoke();
        self.admitting = Some(spawned(decide((shared, config), admit, reins)));
    }

    pub(super) fn decided(&mut self, decision: Result<Decision, Fault>) {
        let decision = match decision {
            Ok(decision) => decision,
            Err(Fault::Offence(offence)) => return self.machine.offend(now(), offence),
            Err(Fault::Reason(reason)) => return self.machine.refuse(now(), reason),
        };
        self.figures.skipped = decision.skipped;
        self.figures.counted = decision.account.as_ref().map_or(Amount::ZERO, |account| owed(account));
        match decision.account {
            Some(account) => self.machine.readmit(now(), account, &decision.admission),
            None => self.machine.admit(now(), &decision.admission),
        };
    }
}

async fn decide(
    (shared, config): (Arc<Shared>, Arc<core::SellerConfig>),
    admit: Admit,
    reins: Arc<Reins>,
) -> Result<Decision, Fault> {
    let is_order = admit.order.is_some() && admit.unfit.is_none();
    let found = shared.registry.take(&admit.attach, is_order, &reins).await?;
    let (account, skipped) = match found {
        Found::Known(account, skipped) => (Some(account), skipped),
        Found::New => (None, 0),
    };
    let decided = if account.is_none() && !is_order {
        // The machine names the offence: an attach to nothing, or an order that cannot be taken any more.
        Ok(Admission::nothing())
    } else {
        admission((&shared, &config), (&admit, account.as_deref()), &reins).await
    };
    match decided {
        Ok(admission) => Ok(Decision { account, skipped, admission }),
        Err(reason) => {
            shared.registry.park(admit.order_id, (account, skipped), &reins);
            Err(reason.into())
        }
    }
}

async fn admission(
    (shared, config): (&Shared, &core::SellerConfig),
    (admit, account): (&Admit, Option<&SellerOrder>),
    reins: &Arc<Reins>,
) -> Result<Admission, Reason> {
    let resolved;
    let (order, terms) = match account {
        Some(account) => (account.order(), account.terms()),
        None => {
            let order = admit.order.as_ref().ok_or(Reason::Refused)?;
            resolved = Terms::resolve(&config.menu, order).ok_or(Reason::Refused)?;
            (order, &resolved)
        }
    };
    let topic = &terms.product.topic;
    let offer = offer_for(&shared.stock, topic, account.is_some())?;
    if account.is_none() {
        stands(shared, &order.issuer()).await?;
    }
    let payee = payee_of(shared, terms).ok_or(Reason::Refused)?;
    let backing = match account {
        // All is paid, and its channel may be closed already: the buyer comes for the last signature.
        Some(account) if account.is_settled() => Ok(Backing { deposit: None }),
        Some(_) | None => look_at(payee.as_ref(), order).await,
    };
    let backing = backing.map_err(|error| {
        if let RailError::Dishonest(what) = error {
            (shared.settings.listener)(&Event::Dishonest(what));
        }
        tracing::warn!(%error, "an order is refused");
        reason_of(&error)
    })?;
    let wanted = offer.exposure_max.min(order.exposure_max);
    let debt = account.map_or(Amount::ZERO, owed);
    let granted = shared.registry.reserve(&order.id(), reins, (wanted, debt)).ok_or(Reason::Busy)?;
    Ok(Admission {
        exposure: granted.exposure,
        windows: order.windows.min(terms.product.windows_max),
        ramp: granted.stranger,
        ceiling: backing.deposit.unwrap_or(Amount::MAX),
    })
}

/// A new order needs a key that still stands (`spec/records.md` §5). Whether it does must be known.
async fn stands(shared: &Shared, buyer: &PublicKey) -> Result<(), Reason> {
    let Some(standings) = &shared.settings.standings else { return Ok(()) };
    match standings.standing(buyer).await {
        Ok(standing) if standing.is_good() => Ok(()),
        Ok(standing) => {
            tracing::warn!(%buyer, ?standing, "an order is refused: its key was ended");
            Err(Reason::Refused)
        }
        Err(error) => {
            tracing::warn!(%error, "an order is refused: nobody knows whether its key stands");
            Err(reason_of(&error))
        }
    }
}

/// Asks the rail what stands behind an order; one that is away for a moment is asked again.
async fn look_at(payee: &dyn Payee, order: &Signed<Order>) -> Result<Backing, RailError> {
    let mut answer = look_once(payee, order).await;
    for _ in 0..ADMIT_TRIES {
        if !matches!(answer, Err(RailError::Unavailable | RailError::Unknown)) {
            break;
        }
        tokio::time::sleep(RAIL_RETRY).await;
        answer = look_once(payee, order).await;
    }
    answer
}

async fn look_once(payee: &dyn Payee, order: &Signed<Order>) -> Result<Backing, RailError> {
    failpoint::before(Deed::Admit);
    let answer = payee.admit(order).await;
    failpoint::after(Deed::Admit);
    answer
}

/// A new order needs a product on the menu that is not paused; one that was accepted goes on as long
/// as its source is known.
fn offer_for(stock: &Stock, topic: &str, accepted: bool) -> Result<Arc<Offer>, Reason> {
    if accepted {
        return stock.known(topic).ok_or_else(|| {
            tracing::warn!(
                topic,
                "an order of a product that is no longer offered cannot go on: its source is not known"
            );
            Reason::Refused
        });
    }
    match stock.offered(topic) {
        Some((offer, false)) => Ok(offer),
        Some((_, true)) => Err(Reason::Paused),
        None => Err(Reason::Refused),
    }
}

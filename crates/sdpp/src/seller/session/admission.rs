//! Decides about an order: who is it, what stands behind it, is there room.

use std::sync::Arc;

use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::{self as core, Admission, Admit, SellerOrder};
use sdpp_proto::statement::{Order, Signed, Terms};
use sdpp_rail::RailError;
use tokio::sync::Notify;

use super::Session;
use super::money::payee_of;
use crate::now;
use crate::seller::registry::{Found, Reserved};
use crate::seller::{Event, Shared, reason_of};

/// What was decided about an order.
pub(super) struct Decision {
    pub(super) account: Option<Box<SellerOrder>>,
    pub(super) admission: Admission,
    pub(super) reserved: Reserved,
}

impl Session {
    /// Starts to decide about an order: who is it, what stands behind it, is there room.
    pub(super) fn admit(&mut self, admit: Admit) {
        let (shared, menu, stop) = (self.shared.clone(), self.config.clone(), self.halt.superseded.clone());
        self.order = Some(admit.order_id);
        self.admitting = Some(Box::pin(decide((shared, menu), admit, stop)));
    }

    pub(super) fn decided(&mut self, decision: Result<Decision, Reason>) {
        let decision = match decision {
            Ok(decision) => decision,
            Err(reason) => return self.machine.refuse(now(), reason),
        };
        self.reserved = Some(decision.reserved);
        match decision.account {
            Some(account) => self.machine.readmit(now(), account, &decision.admission),
            None => self.machine.admit(now(), &decision.admission),
        };
    }
}

async fn decide(
    (shared, config): (Arc<Shared>, Arc<core::SellerConfig>),
    admit: Admit,
    stop: Arc<Notify>,
) -> Result<Decision, Reason> {
    let found = shared.registry.take(&admit.attach, admit.order.is_some(), &stop).await?;
    let account = match found {
        Found::Known(account) => Some(account),
        Found::New => None,
    };
    let order = account.as_ref().map(|account| account.order().clone()).or_else(|| admit.order.clone());
    let decided = match order {
        Some(order) => {
            let terms = match &account {
                Some(account) => Some(account.terms().clone()),
                None => Terms::resolve(&config.menu, &order),
            };
            admission(&shared, terms, &order).await
        }
        // The machine names the offence: an attach to nothing.
        None => reserve(&shared, &admit, Amount::ZERO).map(|reserved| (Admission::nothing(), reserved)),
    };
    match decided {
        Ok((admission, reserved)) => Ok(Decision { account, admission, reserved }),
        Err(reason) => {
            shared.registry.park(admit.order_id, account, &stop);
            Err(reason)
        }
    }
}

fn reserve(shared: &Shared, admit: &Admit, exposure: Amount) -> Result<Reserved, Reason> {
    let reserved = shared.registry.reserve(&admit.attach.issuer(), exposure);
    reserved.map(|(reserved, _)| reserved).ok_or(Reason::Busy)
}

async fn admission(
    shared: &Shared,
    terms: Option<Terms>,
    order: &Signed<Order>,
) -> Result<(Admission, Reserved), Reason> {
    let terms = terms.ok_or(Reason::Refused)?;
    let payee = payee_of(shared, &terms).ok_or(Reason::Refused)?;
    let backing = payee.admit(order).await.map_err(|error| {
        if let RailError::Dishonest(what) = error {
            (shared.settings.listener)(&Event::Dishonest(what));
        }
        tracing::warn!(%error, "an order is refused");
        reason_of(&error)
    })?;
    let offers = &shared.settings.offers;
    let offer = offers.iter().find(|offer| offer.product.id == order.product).ok_or(Reason::Refused)?;
    let exposure = offer.exposure_max.min(order.exposure_max);
    let (reserved, stranger) = shared.registry.reserve(&order.issuer(), exposure).ok_or(Reason::Busy)?;
    let admission = Admission {
        exposure,
        windows: order.windows.min(offer.product.windows_max),
        ramp: stranger,
        ceiling: backing.deposit.unwrap_or(Amount::MAX),
    };
    Ok((admission, reserved))
}

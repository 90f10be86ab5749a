//! Looks after vouchers beside the sales: of orders whose buyers never return, of those that ended
//! while the rail was away, and of channels that are about to be closed. It asks the payees what is
//! outstanding, so it goes on where an earlier life of the program stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sdpp_proto::codec::StatementId;
use sdpp_proto::statement::PayOption;
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{Payee, RailError};
use tokio::sync::watch;
use tracing::Instrument as _;

use super::registry::Standstill;
use super::reins::Word;
use super::session::{is_same, redeem_once, redeem_span};
use super::{Event, Shared};

/// How often supplies whose buyers stay away are let go.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Orders that are over and whose last redemption did not come through, so that their channel could
/// not be closed, each with the option of the payee that must do it: others know nothing of it. After a restart the buyer closes it, when the grace period is over.
#[derive(Default)]
pub(crate) struct Unfinished(Mutex<HashMap<StatementId, PayOption>>);

impl Unfinished {
    pub(crate) fn add(&self, order: StatementId, payee: &Arc<dyn Payee>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(order, payee.option());
    }

    fn remove(&self, order: &StatementId, payee: &Arc<dyn Payee>) {
        let option = payee.option();
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        orders.retain(|other, own| other != order || !is_same(own, &option));
    }

    fn of(&self, payee: &Arc<dyn Payee>) -> Vec<StatementId> {
        let option = payee.option();
        let orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        orders.iter().filter(|(_, own)| is_same(own, &option)).map(|(order, _)| *order).collect()
    }
}

/// Looks at once, and then every so often until `stop`.
pub(super) async fn run(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let _alone = tokio::select! {
        alone = shared.tending.lock() => alone,
        () = crate::stopped(&mut stop) => return,
    };
    // A rail that does not answer keeps neither the end of the program nor the shelf waiting.
    tokio::select! {
        () = tend_for_ever(&shared) => {}
        () = sweep_for_ever(&shared) => {}
        () = crate::stopped(&mut stop) => {}
    }
}

async fn tend_for_ever(shared: &Shared) {
    loop {
        tend(shared).await;
        tokio::time::sleep(shared.settings.tend_every).await;
    }
}

async fn sweep_for_ever(shared: &Shared) {
    loop {
        shared.shelf.sweep();
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// One look. What cannot be done now is tried at the next one.
async fn tend(shared: &Shared) {
    for payee in &shared.house.payees {
        failpoint::before(Deed::Outstanding);
        let found = payee.outstanding().await;
        failpoint::after(Deed::Outstanding);
        match found {
            Ok(found) => {
                for one in found {
                    match shared.registry.standstill(&one.order) {
                        Standstill::Live if one.closing => {
                            // No further voucher counts: redeem what there is, and send no more.
                            redeem(shared, payee, one.order, false).await;
                            shared.registry.say(&one.order, Word::Closing);
                        }
                        // Its own session redeems.
                        Standstill::Live => {}
                        Standstill::Parked => redeem(shared, payee, one.order, false).await,
                        Standstill::Finished => redeem(shared, payee, one.order, true).await,
                    }
                }
            }
            Err(error) => say(shared, &error),
        }
        for order in shared.unfinished.of(payee) {
            redeem(shared, payee, order, true).await;
        }
    }
}

/// Harmless where there is nothing to redeem.
async fn redeem(shared: &Shared, payee: &Arc<dyn Payee>, order: StatementId, finished: bool) {
    match redeem_once(shared, payee, (&order, finished)).instrument(redeem_span(&order)).await {
        Ok(done) => {
            if finished {
                shared.unfinished.remove(&order, payee);
            }
            if !done.total.is_zero() {
                (shared.settings.listener)(&Event::Redeemed { order, total: done.total });
            }
        }
        Err(error) => say(shared, &error),
    }
}

fn say(shared: &Shared, error: &RailError) {
    if let RailError::Dishonest(what) = error {
        (shared.settings.listener)(&Event::Dishonest(what));
    }
    tracing::warn!(%error, "vouchers could not be looked after; tried again soon");
}

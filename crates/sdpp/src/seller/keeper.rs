//! Looks after vouchers beside the sales: of orders whose buyers never return, of those that ended
//! while the rail was away and whose channels are still open, and of channels that are about to be closed. It
//! asks the payees what is outstanding, so it goes on where an earlier life of the program stopped.

use std::sync::Arc;
use std::time::Duration;

use sdpp_proto::codec::StatementId;
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{Payee, RailError};
use tokio::sync::watch;
use tracing::Instrument as _;

use super::registry::Standstill;
use super::reins::Word;
use super::session::{redeem_once, redeem_span};
use super::{Event, Shared};

/// How often supplies whose buyers stay away are let go.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

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
                        // Its buyer may still come back. Where redeeming is dear, only what is in a hurry is redeemed before
                        // an order ends.
                        Standstill::Parked if one.amount.is_zero() => {}
                        Standstill::Parked if shared.settings.redeem_every == 0 && !one.closing => {}
                        Standstill::Parked => redeem(shared, payee, one.order, false).await,
                        Standstill::Finished => redeem(shared, payee, one.order, true).await,
                    }
                }
            }
            Err(error) => say(shared, &error),
        }
    }
}

/// Harmless where there is nothing to redeem.
async fn redeem(shared: &Shared, payee: &Arc<dyn Payee>, order: StatementId, finished: bool) {
    match redeem_once(shared, payee, (&order, finished)).instrument(redeem_span(&order)).await {
        Ok(done) if done.total.is_zero() => {}
        Ok(done) => (shared.settings.listener)(&Event::Redeemed { order, total: done.total }),
        Err(error) => say(shared, &error),
    }
}

fn say(shared: &Shared, error: &RailError) {
    if let RailError::Dishonest(what) = error {
        (shared.settings.listener)(&Event::Dishonest(what));
    }
    tracing::warn!(%error, "vouchers could not be looked after; tried again soon");
}

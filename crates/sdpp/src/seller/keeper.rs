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

/// Before the next look where orders that are over are left.
const NEXT_LOOK: Duration = Duration::from_millis(100);

/// Channels of orders that are over that are closed between two looks at what is in a hurry: on a chain each takes a block.
const CLOSED_AT_ONCE: usize = 8;

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

/// Closes the channels of orders that are over, at the end: sessions leave that to the keeper where redeeming is dear.
pub(super) async fn close_what_is_over(shared: &Shared) {
    if shared.house.payees.iter().any(|payee| payee.is_dear()) {
        let _alone = shared.tending.lock().await;
        while tend(shared).await {}
    }
}

async fn tend_for_ever(shared: &Shared) {
    loop {
        if tend(shared).await {
            // What is in a hurry by now comes before the rest.
            tokio::time::sleep(NEXT_LOOK).await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(shared.settings.tend_every) => {}
            () = shared.over.notified() => {}
        }
    }
}

async fn sweep_for_ever(shared: &Shared) {
    loop {
        shared.shelf.sweep();
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// One look. What cannot be done now is tried at the next one. Says whether orders that are over are left.
async fn tend(shared: &Shared) -> bool {
    let (mut closed, mut left) = (0usize, false);
    // Then channels stay open, and come up at each look.
    let closes_none = shared.settings.journal.has_failed();
    for payee in &shared.house.payees {
        failpoint::before(Deed::Outstanding);
        let found = payee.outstanding().await;
        failpoint::after(Deed::Outstanding);
        match found {
            Ok(found) => {
                if found.iter().filter(|one| one.closing && !one.amount.is_zero()).count() > 1 {
                    redeem_closing(shared, payee).await;
                }
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
                        Standstill::Parked if payee.is_dear() && !one.closing => {}
                        Standstill::Parked => drop(redeem(shared, payee, one.order, false).await),
                        Standstill::Finished if closes_none && one.amount.is_zero() => {}
                        Standstill::Finished if closed >= CLOSED_AT_ONCE => left = true,
                        Standstill::Finished => {
                            closed = closed.saturating_add(usize::from(redeem(shared, payee, one.order, true).await));
                        }
                    }
                }
            }
            Err(error) => say(shared, &error),
        }
    }
    left
}

/// All that is in a hurry, before anything else.
async fn redeem_closing(shared: &Shared, payee: &Arc<dyn Payee>) {
    failpoint::before(Deed::Redeem);
    let done = payee.redeem_closing().await;
    failpoint::after(Deed::Redeem);
    if let Err(error) = done {
        say(shared, &error);
    }
}

/// Harmless where there is nothing to redeem. Says whether the rail did it.
async fn redeem(shared: &Shared, payee: &Arc<dyn Payee>, order: StatementId, finished: bool) -> bool {
    let done = redeem_once(shared, payee, (&order, finished)).instrument(redeem_span(&order)).await;
    match &done {
        Ok(done) if done.total.is_zero() => {}
        Ok(done) => (shared.settings.listener)(&Event::Redeemed { order, total: done.total }),
        Err(error) => say(shared, error),
    }
    done.is_ok()
}

fn say(shared: &Shared, error: &RailError) {
    if let RailError::Dishonest(what) = error {
        (shared.settings.listener)(&Event::Dishonest(what));
    }
    tracing::warn!(%error, "vouchers could not be looked after; tried again soon");
}

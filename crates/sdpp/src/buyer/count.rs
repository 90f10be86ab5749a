//! What a session of a buyer tells the metrics.

use sdpp_proto::buyer::{BuyerOrder, Ended, Event};
use sdpp_proto::money::Amount;

use crate::metrics::{self, Role};

/// What was told of this session.
#[derive(Default)]
pub(super) struct Count {
    live: bool,
    paid: Amount,
}

impl Count {
    pub(super) fn event(&mut self, event: &Event, account: &BuyerOrder) {
        match event {
            Event::Live { .. } => {
                // What earlier connections paid was told by them.
                self.paid = account.paid();
                self.live = true;
                metrics::session_begins(Role::Buyer);
            }
            Event::Invoiced { windows, count, bytes, .. } => {
                metrics::delivered(Role::Buyer, (*count, *bytes, u64::from(*windows)));
            }
            Event::Paid { total, .. } => {
                metrics::paid(Role::Buyer, &account.terms().option.asset, total.saturating_sub(self.paid));
                self.paid = *total;
            }
            Event::Defaulted(_) | Event::Recorded(_) => return,
        }
        let owed = account.due().saturating_sub(account.paid());
        metrics::exposure(Role::Buyer, &account.terms().option.asset, owed);
    }

    pub(super) fn ended(&self, ended: &Ended) {
        if self.live {
            metrics::session_ends(Role::Buyer);
        }
        match ended {
            Ended::Stopped(reason) => metrics::refused(Role::Buyer, *reason),
            Ended::Offence(offence) => metrics::offended(Role::Buyer, *offence),
            Ended::Settled | Ended::Withheld | Ended::Told(_) => {}
        }
    }
}

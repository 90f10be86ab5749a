//! What a running seller says, on standard error: standard output is for scripts.

use std::sync::Arc;

use sdpp::seller::{Event, Listener};
use sdpp_proto::money::AssetId;

use crate::text::{short_key, symbol};

/// Says who comes and goes. On standard error: standard output is for scripts.
pub(super) fn listener(asset: &AssetId) -> Listener {
    let unit = symbol(asset).to_owned();
    Arc::new(move |event| match event {
        Event::Live { order, buyer, start } => {
            let from = if *start == 0 { String::new() } else { format!(", goes on with message {start}") };
            eprintln!("order {order}: {} buys{from}", short_key(buyer));
        }
        Event::Ended { order: Some(order), ended, sent, due, paid } => {
            eprintln!("order {order}: {}; sent {sent} messages, due {due}, paid {paid} {unit}", how(ended));
        }
        Event::Ended { order: None, ended, .. } => tracing::info!(?ended, "a connection ended without an order"),
        Event::Skipped { order, messages } => eprintln!("order {order}: {messages} live messages went by unpaid"),
        Event::Dishonest(what) => eprintln!("warning: the ledger is not to be trusted: {what}"),
        Event::Paid { .. } | Event::Redeemed { .. } | Event::Recorded(_) => {}
    })
}

/// How a connection of a seller ended, in words.
fn how(ended: &sdpp_proto::seller::Ended) -> String {
    use sdpp_proto::seller::Ended as How;
    match ended {
        How::Settled { countersigned: true } => "settled".to_owned(),
        How::Settled { countersigned: false } => "paid in full, without the buyer's last signature".to_owned(),
        How::Defaulted => "the buyer did not pay in time".to_owned(),
        How::Offence(offence) => format!("the buyer broke a rule: {offence}"),
        How::Stopped(reason) => format!("stopped: {reason}"),
        How::Told(Some(fault)) => format!("the buyer stopped: {fault}"),
        How::Told(None) => "connection lost, it may come back".to_owned(),
    }
}

#![doc = include_str!("../guide.md")]
//! # A first sale
//!
//! Against a ledger that gives trial money: `sdpp ledger serve --dev-grant 1000000`.
//! ```no_run
#![doc = include_str!("../examples/first_sale.rs")]
//! ```
//! # A first purchase
//! ```no_run
#![doc = include_str!("../examples/first_purchase.rs")]
//! ```

pub mod address;
pub mod audit;
pub mod bound;
pub mod bundle;
pub mod buyer;
pub mod entropy;
pub mod feed;
pub mod identity;
pub mod journal;
mod link;
pub mod metrics;
mod recorder;
pub mod seller;
pub mod sink;
pub mod source;
mod sync;
#[cfg(test)]
extern crate self as sdpp;
#[cfg(test)]
mod testing;
pub mod topic;

pub use sdpp_proto as proto;
pub use sdpp_rail as rail;

use std::time::{SystemTime, UNIX_EPOCH};

use sdpp_proto::time::Timestamp;
use tokio::sync::watch;

/// The system's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Microseconds since the Unix epoch, for messages that carry no time of their own.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A wish to stop that never comes, for [`seller::Seller::serve`] and [`buyer::Buyer::buy`]. Whoever
/// wants to stop makes a [`watch::channel`] of `false` and sends `true`.
pub fn never() -> watch::Receiver<bool> {
    watch::channel(false).1
}

/// Sleeps until a time of the system's clock.
async fn sleep_until(time: Option<Timestamp>) {
    match time {
        Some(time) if time != Timestamp::NEVER => {
            tokio::time::sleep(std::time::Duration::from_millis(time.since_ms(now()))).await;
        }
        Some(_) | None => std::future::pending().await,
    }
}

/// Waits until `stop` turns true; for ever if nobody can turn it any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let gone = stop.wait_for(|stop| *stop).await.is_err();
    if gone {
        std::future::pending().await
    }
}

//! Live data: read once, sold to many.
//!
//! An [`Upstream`] is what cannot be read twice: standard input, a child process, a file that grows, a
//! broker. A [`Hub`] reads it and hands each message to every order that subscribed to it; orders of
//! several products may each [`crate::source::Pick`] their own. What waits is kept once for all orders that pick
//! the same, and all of it has a limit. Nobody waits for anybody: an order that takes too slowly loses what its [`Take`] says, and no other does.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::source::Filled;

mod child;
mod follow;
mod hub;
mod input;
mod queue;
mod segment;
mod splitter;

pub use child::Child;
pub use follow::{Begin, Follow};
pub use hub::{Hub, HubStatus, Start};
pub use input::Input;
pub use queue::{Dropped, Overflow, Subscription, Take};

/// Messages that may wait for one order, unless its [`Take`] says otherwise.
pub const QUEUE_MESSAGES: usize = 65_536;
/// Bytes that may wait for one order, unless its [`Take`] says otherwise; a single larger message
/// aside. They are shared with the other orders of the same hub.
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that a hub keeps for all its orders together, unless [`Hub::start_within`] says otherwise. Orders that keep up with each
/// other share what waits for them; only what those far behind have not taken yet comes on top. When there is too much, what is
/// oldest goes: an order that may miss something misses it, any other that waits for it ends.
pub const HUB_BYTES: usize = 256 * 1024 * 1024;
/// Read from a live source at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// One live message. Clones share its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its topic, where the upstream has topics.
    pub topic: Option<Arc<str>>,
    /// Microseconds since 1970.
    pub time_us: i64,
    /// What it says.
    pub payload: Bytes,
}

/// The answer of an upstream.
pub type Taken<'a> = Pin<Box<dyn Future<Output = io::Result<Filled>> + Send + 'a>>;

/// Something live, read by one [`Hub`].
pub trait Upstream: Send {
    /// Adds what is there to the items, waiting until there is at least one or the end is reached.
    /// What was added before an error is still sold.
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a>;
}

impl Upstream for Box<dyn Upstream> {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        (**self).take(items)
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]
mod tests;

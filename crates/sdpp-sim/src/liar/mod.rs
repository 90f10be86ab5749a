//! Peers made by hand from the protocol's public blocks. By default they are honest; every message
//! can be changed before it is signed, sealed or sent, because each step is the caller's.
//!
//! ```text
//! let mut order = liar.order();      // an honest one
//! order.windows = 65;                // more than the menu offers
//! liar.send_order(order);            // signed, attached, sealed, in liar.line
//! ```
//! Both are sans-IO: bytes go in through `receive` and come out of `line.take()`, so they talk to a
//! machine in memory as well as over [`tcp`]. In [`act`] they act by themselves, and lie once.

pub mod act;
mod buyer;
mod line;
mod seller;
pub mod tcp;

pub use buyer::{BuyerKeys, RawBuyer};
pub use line::{Heard, Line};
pub use seller::{RawSeller, Totals};

//! The seams of SDPP: what a payment rail, a records backend and a store must do.
//!
//! - [`Payer`] and [`Payee`] are the two halves of a rail. A buyer never settles and a seller never
//!   pays. Both speak cumulative totals, so a retry is harmless.
//! - [`Standings`] knows which keys were rotated or revoked.
//! - [`Records`] keeps statements where they cannot be changed unseen.
//! - [`Store`] is the storage under journals and ledgers.
//!
//! - [`fake`] holds a bank, a rail and records in memory, with faults on demand, for tests and
//!   simulations. Nothing in it is worth anything.
//! - [`failpoint`] names the points where a program can be made to fail.
//!
//! The traits say which calls exist; the suites in [`suite`] say what they mean. An adapter is
//! accepted when it passes them.
//!
//! # A rail of your own
//!
//! 1. Take a name from the registry of `spec/rails.md`, or add a line to it; say in [`Payee::option`]
//!    what a menu offers. What only your rail understands goes into the option's opaque terms.
//! 2. The invoice is the idempotency key. [`Payer::pay`] pays it once, however often it is called, also
//!    after a crash: keep what was paid in a [`Store`], flushed before the answer.
//! 3. [`Payee::admit`] looks at what stands behind an order, and [`Payee::settle`] believes nothing but
//!    its own look at the ledger and the signature of the order's signer.
//! 4. Answer errors by what the caller may do next: [`RailError`]. A time-out after something was sent
//!    is [`RailError::Unknown`], never [`RailError::Unavailable`].
//! 5. Implement [`suite::RailWorld`] in a test and run [`suite::payer_payee`] on it.
//!
//! ```
//! use sdpp_rail::fake::{FakeMode, FakeWorld};
//! use sdpp_rail::suite::{block_on, payer_payee};
//!
//! block_on(payer_payee(&FakeWorld::new(FakeMode::Direct)));
//! ```
//! The example `custom_rail` of the crate `sdpp` is a whole one: debts between people who know each
//! other, with its suite and a sale.

mod bills;
mod book;
pub mod failpoint;
pub mod fake;
mod limits;
mod rail;
mod standing;
mod store;
pub mod suite;

pub use bills::Bills;
pub use book::{Admitted, Asked, NEVER_ADMITTED, OrderState, PayeeBook};
pub use rail::{
    Backing, Bill, CloseStatus, Funding, OpenRequest, Outcome, Outstanding, Payee, Payer, PaymentStatus, Proof,
    RailError, RecordId, Records, Redeemed, Reply,
};
pub use standing::{Standing, Standings};
pub use store::{
    Barrier, Beside, Durability, FlushFault, GroupCommit, GroupWrite, Head, MemoryDisk, MemoryStore, Row, Store,
    StoreError, StoreReader,
};
#[cfg(feature = "sqlite")]
pub use store::{SqliteStore, StoreInfo};

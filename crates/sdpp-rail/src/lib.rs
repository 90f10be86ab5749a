//! The seams of SDPP: what a payment rail, a records backend and a store must do.
//!
//! - [`Payer`] and [`Payee`] are the two halves of a rail. A buyer never settles and a seller never
//!   pays. Both speak cumulative totals, so a retry is harmless.
//! - [`Standings`] knows which keys were rotated or revoked.
//! - [`Records`] keeps statements where they cannot be changed unseen.
//! - [`Store`] is the storage under journals and ledgers.
//!
//! The traits say which calls exist; the suites in [`suite`] say what they mean. An adapter is
//! accepted when it passes them.
//! - [`fake`] holds a bank, a rail and records in memory, with faults on demand, for tests and
//!   simulations. Nothing in it is worth anything.
//! - [`failpoint`] names the points where a program can be made to fail.

pub mod failpoint;
pub mod fake;
mod rail;
mod standing;
mod store;
pub mod suite;

pub use rail::{
    Backing, Bill, Funding, OpenRequest, Outcome, Outstanding, Payee, Payer, PaymentStatus, Proof, RailError, RecordId,
    Records, Redeemed, Reply,
};
pub use standing::{Standing, Standings};
pub use store::{Durability, FlushFault, Head, MemoryDisk, MemoryStore, Row, Store, StoreError, StoreReader};
#[cfg(feature = "sqlite")]
pub use store::{SqliteStore, StoreInfo};

//! Fakes: a bank, a rail and records in memory. Nothing here is worth anything; it is for tests, the
//! simulator and the first look at a new machine.
//!
//! A [`FakeBank`] holds accounts, channels and transfers, and the memory of its payers and payees: a
//! role that crashes makes a new [`FakePayer`] or [`FakePayee`] on the same account and finds what it
//! did. Every call can be made to fail in four ways, see [`Fault`].

mod bank;
mod fault;
mod payee;
mod payer;
mod records;
mod world;

pub use bank::FakeBank;
pub use fault::{Call, Fault};
pub use payee::FakePayee;
pub use payer::FakePayer;
pub use records::FakeRecords;
pub use world::FakeWorld;

/// How a fake rail pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FakeMode {
    /// Cumulative vouchers against a channel's deposit: the signed payment is the voucher.
    Voucher,
    /// A transfer per bill, final at once or after some looks.
    Direct,
}

//! The embedded ledger of SDPP: accounts, channels and records as entries of a transparency log,
//! with its two rails and its records.
//!
//! ```text
//!  VoucherPayer  VoucherPayee  DirectPayer  DirectPayee  LedgerRecords      what buyers and sellers use
//!        └────────────┴────── LedgerClient ──────┴────────────┘             believes nothing, folds itself
//!                                  │ LedgerService                          the seam: five questions
//!                             LocalLedger ── writer ── Store                one thread, group commit
//!                                  │             │                          (readers beside it)
//!                                  │         publisher ── files             cosigned, shown, answered
//!                                  │             │ WitnessService
//!                                  │          Witness                       remembers, against forks
//!                             LedgerHost ── http                            what is served beside
//! ```
//!
//! - [`entry`] is what may stand in the log, [`Fold`] what it means: without a clock, the same at the
//!   operator, at every client and at an auditor; its state lies in a store.
//! - [`LocalLedger`] persists before it answers; [`LedgerClient`] checks every answer and keeps the
//!   [`Evidence`] of a ledger that contradicts itself.
//! - [`fsck`] checks all of it from what is published, [`receipt`] proves an entry to strangers.
//! - It is a log, not consensus: an operator can refuse service, but cannot rewrite or fork unseen
//!   where one honest witness stands in every quorum.

mod channel;
mod client;
pub mod entry;
mod evidence;
mod files;
mod fold;
pub mod fsck;
mod host;
#[cfg(feature = "http")]
pub mod http;
mod keys;
mod ledger;
pub mod limits;
mod public;
mod publisher;
mod rail;
pub mod receipt;
mod records;
mod refusal;
mod service;
mod state;
mod wait;
mod witness;
mod writer;

pub use channel::{Channel, ChannelState};
pub use client::{ClientError, LedgerClient};
pub use entry::{Body, Entry};
pub use evidence::{Contradiction, Evidence};
pub use fold::{Effect, Fold, FoldError, NotConserved, Recorded};
pub use host::LedgerHost;
pub use keys::{Verifier, log_key, witness_key};
pub use ledger::{Clock, LedgerConfig, StartError};
pub use rail::{
    DirectPayee, DirectPayer, LedgerTerms, PayeeConfig, RAIL_DIRECT, RAIL_VOUCHER, TermsError, VoucherPayee,
    VoucherPayer,
};
pub use receipt::{Inclusion, Receipt, ReceiptError};
pub use records::LedgerRecords;
pub use refusal::{Place, Refusal};
pub use service::{Answer, LedgerService, ServiceError, Submitted};
pub use witness::{Cosigning, Witness, WitnessError, WitnessService, WitnessStartError};
pub use writer::LocalLedger;

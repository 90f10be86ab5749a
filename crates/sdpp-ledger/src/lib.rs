//! The embedded ledger.

mod accounts;
mod channel;
mod client;
pub mod entry;
mod evidence;
mod fold;
mod keys;
mod ledger;
pub mod limits;
mod rail;
mod records;
mod refusal;
mod service;
mod wait;
mod witness;
mod writer;

pub use channel::{Channel, ChannelState};
pub use client::{ClientError, LedgerClient};
pub use entry::{Body, Entry};
pub use evidence::{Contradiction, Evidence};
pub use fold::{Effect, Fold, NotConserved, Recorded, Transferred};
pub use keys::{Verifier, log_key, witness_key};
pub use ledger::{Clock, LedgerConfig, StartError};
pub use rail::{
    DirectPayee, DirectPayer, LedgerTerms, PayeeConfig, RAIL_DIRECT, RAIL_VOUCHER, TermsError, VoucherPayee,
    VoucherPayer,
};
pub use records::LedgerRecords;
pub use refusal::{Place, Refusal};
pub use service::{Answer, LedgerService, ServiceError, Submitted};
pub use witness::{Cosigning, Witness, WitnessError, WitnessService, WitnessStartError};
pub use writer::LocalLedger;

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
//!
//! A ledger in this process, an account with money on it, and a client that checks:
//!
//! ```
//! use std::sync::Arc;
//!
//! use sdpp_ledger::entry::{Body, Entry, Issue, asset_id};
//! use sdpp_ledger::{LedgerClient, LedgerConfig, LedgerHost as _, LocalLedger};
//! use sdpp_log::Policy;
//! use sdpp_proto::codec::Bytes32;
//! use sdpp_proto::money::Amount;
//! use sdpp_proto::time::Timestamp;
//! use sdpp_rail::MemoryStore;
//! use sdpp_rail::suite::{block_on, test_key};
//!
//! let (operator, issuer, account) = (test_key(1), test_key(2), test_key(3).public());
//! let clock = Arc::new(|| Timestamp::from_ms(1_764_000_000_000));
//! let ledger = LocalLedger::start(LedgerConfig::new("example.org/ledger", operator, clock), Box::new(MemoryStore::new()))?;
//!
//! // Nobody is believed but the log's key; with witnesses, a quorum of them has to have seen the same log.
//! let policy = Policy::new(ledger.key().clone(), Vec::new(), 0)?;
//! let client = LedgerClient::new(Arc::new(ledger.clone()), policy, None)?;
//! let (asset, amount) = (asset_id("point", &issuer.public()), Amount::new(500));
//! let issue = Issue { symbol: "point".into(), to: account, amount, reference: Bytes32([7; 32]) };
//! block_on(client.submit(&Entry::sign(&issuer, client.origin(), Body::Issue(issue))))?;
//! assert_eq!(block_on(client.fresh(|fold| fold.balance(&asset, &account)))?, amount);
//! ledger.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! Served over HTTP (feature `http`) it is the same: `http::serve_ledger` at the operator, and
//! `http::HttpLedger` behind the client. `docs/ledger.md` is for operators.

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
mod inline;
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
mod sync;
mod wait;
mod witness;
mod writer;

pub use channel::{Channel, ChannelState};
pub use client::{ClientError, LedgerClient};
pub use entry::{Body, Entry};
pub use evidence::{Contradiction, Evidence};
pub use fold::{Effect, Fold, FoldError, NotConserved, Recorded};
pub use host::LedgerHost;
pub use inline::InlineLedger;
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

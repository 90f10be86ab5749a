//! SDPP on IOTA: each window is one transaction, which moves the money and carries the invoice's reference, as in the paper
//! that SDPP comes from. Records are transactions, too.
//!
//! ```text
//! deed (what is done) ──► build ──► sign ──► node ──► receipt ──► verify ──► paid, recorded
//!        purse: coins, and what was signed with which    │
//!                                                        └─ witness: the validators' own word
//! ```
//!
//! `deed`, `receipt`, `record` and `wallet` need no node: nothing in them reads a clock, a file or a socket.

mod coins;
mod deed;
#[cfg(feature = "fake")]
pub mod fake;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod json;
pub mod limits;
mod node;
mod nodes;
mod payee;
mod payer;
mod purse;
mod receipt;
mod record;
mod records;
mod sent;
mod station;
mod terms;
mod wallet;
mod witness;

pub use iota_sdk_types::Address as IotaAddress;

pub use deed::{BadDeed, Deed, Gas, NoDeed, Sponsored, Window, build, matched};
#[cfg(feature = "grpc")]
pub use grpc::Grpc;
pub use http::{BadUrl, HttpLine};
pub use json::{Body, JsonRpc, Line};
pub use node::{Answer, CallError, Certified, Coin, Coins, Estimate, Transport};
pub use nodes::{Executed, Nodes};
pub use payee::{IotaPayee, PayeeConfig};
pub use payer::{IotaPayer, TransferProof};
pub use purse::{Purse, Spent};
pub use receipt::{NotDone, Receipt, executed, verify};
pub use record::Record;
pub use records::{IotaRecords, Lasting, digest_of};
pub use sent::{Begun, kept_proof};
pub use station::{GasStation, HttpStation, Reserved};
pub use terms::{BadTerms, DECIMALS, IotaTerms, RAIL, address_of, asset, is_chain};
pub use wallet::{BadKey, Wallet};
pub use witness::{BadCommittee, Committee};

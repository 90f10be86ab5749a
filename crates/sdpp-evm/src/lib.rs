//! SDPP on EVM chains: payment channels in a contract, and records as events of another one.
//!
//! ```text
//! contracts/src/*.sol ──► contracts/artifacts/*.json ──► abi ──► typed (what is signed)
//!                                                                  │
//! node (a chain over JSON-RPC) ──► sender (nonces, fees) ──► payer ─┴─ payee
//! ```

pub mod abi;
#[cfg(feature = "keystore")]
mod keystore;
pub mod limits;
mod look;
mod network;
mod node;
mod payee;
mod payer;
mod records;
mod revert;
mod sender;
mod terms;
pub mod typed;
mod views;
mod voucher;

#[cfg(feature = "keystore")]
pub use keystore::{BadKeystore, Keystore};
pub use look::{Opening, Token};
pub use network::{Contract, DEPLOYER, NETWORKS, Network, usual_place};
pub use node::{Channel, ChannelState, Node, NodeConfig, NodeError};
pub use payee::{EvmPayee, PayeeConfig};
pub use payer::{EvmPayer, PayerKeys};
pub use records::EvmRecords;
pub use sender::Sender;
pub use terms::{BadTerms, EvmTerms, RAIL, address_of, asset};
pub use voucher::{Claim, VoucherProof};

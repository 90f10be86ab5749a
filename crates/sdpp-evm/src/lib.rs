//! SDPP on EVM chains: payment channels in a contract, and records as events of another one.
//!
//! ```text
//! contracts/src/*.sol ──► contracts/artifacts/*.json ──► abi ──► typed (what is signed)
//!                                                                  │
//! node (a chain over JSON-RPC) ──► sender (nonces, fees) ──► payer ─┴─ payee
//! ```
//!
//! A seller that is paid so, in a chain's own coin:
//!
//! ```no_run
//! # use std::sync::Arc;
//! use sdpp_evm::{EvmPayee, Node, NodeConfig, PayeeConfig, PrivateKeySigner, usual_place};
//! use sdpp_rail::{Durability, SqliteStore};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = NodeConfig { url: "http://127.0.0.1:8545".to_owned(), place: usual_place(31_337), finality: 1 };
//! let node = Arc::new(Node::connect(&config).await?);
//! let account: PrivateKeySigner = "0x…".parse()?;
//! let store = Box::new(SqliteStore::open("payee.db", Durability::Power)?);
//! let payee = EvmPayee::new(node, PayeeConfig::new(account, None), store);
//! // …one of the `payees` of `sdpp::seller::Settings`, with `redeem_every: 0`: each redemption costs gas.
//! # let _ = payee;
//! # Ok(())
//! # }
//! ```

pub mod abi;
pub mod bond;
mod curve;
#[cfg(feature = "inline")]
pub mod inline;
#[cfg(feature = "keystore")]
mod keystore;
pub mod limits;
mod look;
mod network;
mod node;
mod payee;
mod payer;
mod records;
mod relay;
mod revert;
mod sender;
mod terms;
mod turn;
pub mod typed;
mod views;
mod voucher;
mod watch;

pub use alloy::primitives::Address;
pub use alloy::signers::local::PrivateKeySigner;
#[cfg(feature = "keystore")]
pub use keystore::{BadKeystore, Keystore};
pub use look::{Opening, Token};
pub use network::{Contract, DEPLOYER, NETWORKS, Network, usual_place};
pub use node::{Channel, ChannelState, Node, NodeConfig, NodeError};
pub use payee::{EvmPayee, PayeeConfig, RedeemedAll};
pub use payer::{Consent, EvmPayer, PayerKeys};
pub use records::EvmRecords;
pub use relay::{Relay, Relayed, Relayer};
pub use sender::Sender;
pub use terms::{BadTerms, EvmTerms, RAIL, address_of, asset};
pub use voucher::{Claim, VoucherProof};

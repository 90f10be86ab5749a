//! SDPP on EVM chains: payment channels in a contract, and records as events of another one.
//!
//! ```text
//! contracts/src/*.sol ──► contracts/artifacts/*.json ──► abi ──► typed (what is signed)
//!                                                                  │
//! node (a chain over JSON-RPC) ──► sender (nonces, fees) ──► payer ─┴─ payee
//! ```

pub mod abi;
pub mod limits;
mod terms;
pub mod typed;
mod voucher;

pub use terms::{BadTerms, EvmTerms, RAIL, address_of, asset};
pub use voucher::{Claim, VoucherProof};

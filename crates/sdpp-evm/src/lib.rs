//! SDPP on EVM chains: payment channels in a contract, and records as events of another one.
//!
//! ```text
//! contracts/src/*.sol ──► contracts/artifacts/*.json ──► abi ──► typed (what is signed) ──► ...
//! ```

pub mod abi;
pub mod typed;

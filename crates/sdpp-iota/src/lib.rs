//! SDPP on IOTA: each window is one transaction, which moves the money and carries the invoice's reference, as in the paper
//! that SDPP comes from.
//!
//! ```text
//! window (what is paid, and for what) ──► build ──► sign ──► (a node) ──► receipt ──► verify ──► paid
//! ```
//!
//! Here is what needs no node: nothing in this part reads a clock, a file or a socket.

pub mod limits;
mod receipt;
mod wallet;
mod window;

pub use receipt::{Expected, NotPaid, Receipt, verify};
pub use wallet::{BadKey, Wallet};
pub use window::{BadWindow, Gas, NoWindow, Window, build, matched};

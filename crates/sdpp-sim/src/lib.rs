//! Made-up worlds, for tests and demos.
//!
//! - [`liar`]: hand-made peers of one connection, with every right to write nonsense.
//! - [`world`]: buyers, a seller, a rail and a ledger in one thread under virtual time, with everything that
//!   can go wrong, drawn from a seed. The program `sdpp-sim` runs many of them.

mod coverage;
mod dice;
pub mod liar;
pub mod world;

pub use coverage::{CHAIN_POINTS, Coverage, POINTS};
pub use dice::Dice;

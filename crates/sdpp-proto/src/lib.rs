//! The Streaming Data Payment Protocol, SDPP/2, as pure state machines.
//!
//! A seller streams messages to a buyer; every K messages it states what is due, and the buyer pays
//! before it gets more. Nothing here reads a clock, a socket, a disk or a rail: time and randomness
//! are arguments, and everything else is asked for as an output ([`seller::Output`],
//! [`buyer::Output`]).
//!
//! - [`seller::Seller`] and [`buyer::Buyer`]: one connection each; the accounts
//!   [`seller::SellerOrder`] and [`buyer::BuyerOrder`] survive connections.
//! - [`statement`]: everything that is signed; [`cose`], [`codec`]: how it is written.
//! - [`credit`], [`money`]: what may be owed.
//! - [`offence`]: what a peer can do wrong, one name per MUST of `spec/`.
//! - [`crypto`]: two providers behind one seam.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod buyer;
pub mod codec;
pub mod cose;
pub mod credit;
pub mod crypto;
pub mod frame;
pub mod hash;
pub mod identity;
pub mod journal;
pub mod keys;
pub mod limits;
pub mod message;
pub mod money;
pub mod offence;
mod pieces;
pub mod seller;
pub mod span;
pub mod statement;
pub mod suite;
pub mod time;
pub mod wire;

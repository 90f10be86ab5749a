//! x
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod codec;
pub mod cose;
pub mod crypto;
pub mod frame;
pub mod hash;
pub mod identity;
pub mod keys;
pub mod limits;
pub mod message;
pub mod money;
pub mod offence;
pub mod span;
pub mod statement;
pub mod suite;
pub mod time;
pub mod wire;

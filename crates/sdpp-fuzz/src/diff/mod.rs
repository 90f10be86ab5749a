//! Ours against programs of other people: the bytes choose what both are asked.

mod cbor;
mod merkle;
mod tiles;

pub(crate) use cbor::{diff_cbor, diff_cose};
pub(crate) use merkle::diff_merkle;
pub(crate) use tiles::diff_tiles;

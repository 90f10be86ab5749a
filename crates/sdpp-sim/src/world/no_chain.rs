//! In place of `chain.rs` where worlds have no EVM chain: nobody makes one.

use std::sync::Arc;

use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_rail::{MemoryStore, Payee, Payer};

use super::ctx::Shared;

pub(crate) enum Chain {}

impl Chain {
    pub(crate) fn new(_: &Arc<Shared>) -> Self {
        unreachable!("the feature `evm` is off, and no world asks for a chain")
    }

    pub(crate) fn fund(&self, _: &PublicKey, _: Amount) {
        match *self {}
    }

    pub(crate) fn payer(&self, _: &PublicKey) -> Arc<dyn Payer> {
        match *self {}
    }

    pub(crate) fn payee(&self, _: &PublicKey, _: MemoryStore, _: (u64, u64)) -> Arc<dyn Payee> {
        match *self {}
    }

    pub(crate) fn balance(&self, _: &PublicKey) -> Amount {
        match *self {}
    }

    pub(crate) fn locked(&self, _: &PublicKey) -> Amount {
        match *self {}
    }

    pub(crate) fn has_moved(&mut self) -> bool {
        match *self {}
    }

    pub(crate) fn supply(&self) -> Amount {
        match *self {}
    }

    pub(crate) fn unsettle(&self, _: bool) {
        match *self {}
    }

    pub(crate) fn suffer(&self) {
        match *self {}
    }
}

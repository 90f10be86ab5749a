//! A fake rail ready for its suite.

use std::sync::atomic::{AtomicU64, Ordering};

use sdpp_proto::codec::Bytes32;
use sdpp_proto::hash::labelled;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId};

use crate::rail::{Payee, Payer};
use crate::suite::{RailWorld, Step, test_key};

use super::{FakeBank, FakeMode, FakePayee, FakePayer};

const PAYER: &str = "fake-buyer";
const PAYEE: &str = "fake-seller";
const OTHER_PAYEE: &str = "fake-stranger";
/// What the payer starts with, of each of two assets.
const FUNDS: Amount = Amount::new(1_000_000);

/// A [`FakeBank`] with one funded payer and one payee.
pub struct FakeWorld {
    bank: FakeBank,
    payer: FakePayer,
    payee: FakePayee,
    buyer: SigningKey,
    signer: SigningKey,
    count: AtomicU64,
}

impl FakeWorld {
    /// A new bank; the payer holds a million of each of two assets.
    pub fn new(mode: FakeMode) -> Self {
        let bank = FakeBank::new();
        for asset in [Self::asset(), other_asset()] {
            // A new account holds so much easily.
            drop(bank.fund(PAYER, &asset, FUNDS));
        }
        Self {
            payer: FakePayer::new(&bank, PAYER, mode),
            payee: FakePayee::new(&bank, PAYEE, Self::asset(), mode),
            bank,
            buyer: test_key(205),
            signer: test_key(206),
            count: AtomicU64::new(0),
        }
    }

    /// The asset in which the payee is paid.
    pub fn asset() -> AssetId {
        AssetId::new("fake-coin")
    }

    /// The bank: faults, lateness, balances.
    pub const fn bank(&self) -> &FakeBank {
        &self.bank
    }
}

fn other_asset() -> AssetId {
    AssetId::new("fake-shell")
}

impl RailWorld for FakeWorld {
    fn payer(&self) -> &dyn Payer {
        &self.payer
    }

    fn payee(&self) -> &dyn Payee {
        &self.payee
    }

    fn buyer(&self) -> &SigningKey {
        &self.buyer
    }

    fn signer(&self) -> &SigningKey {
        &self.signer
    }

    fn fresh(&self) -> Bytes32 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Bytes32(labelled("fake fresh", &[&count.to_be_bytes()]))
    }

    fn other_address(&self) -> String {
        OTHER_PAYEE.to_owned()
    }

    fn other_asset(&self) -> Option<AssetId> {
        Some(other_asset())
    }

    fn received(&self) -> Step<'_, Amount> {
        Box::pin(async { self.bank.balance(PAYEE, &Self::asset()) })
    }

    fn locked(&self) -> Step<'_, Amount> {
        Box::pin(async { self.bank.locked(PAYER, &Self::asset()) })
    }

    fn finalise(&self) -> Step<'_, ()> {
        // Payments become final by being looked at.
        Box::pin(async {})
    }

    fn pass_ms(&self, ms: u64) -> Step<'_, ()> {
        Box::pin(async move { self.bank.advance_ms(ms) })
    }
}

//! The rails of the embedded ledger: `ledger` pays by vouchers against a locked deposit, and
//! `ledger-direct` by a transfer for every bill.

mod direct;
mod terms;
mod voucher_payee;
mod voucher_payer;

use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::money::AssetId;
use sdpp_proto::statement::{PayOption, Payment, Signed};
use sdpp_rail::{Bill, RailError};

use crate::channel::{Channel, ChannelState};
use crate::client::LedgerClient;

pub use direct::{DirectPayee, DirectPayer};
pub use terms::{LedgerTerms, TermsError};
pub use voucher_payee::VoucherPayee;
pub use voucher_payer::VoucherPayer;

/// Name of the voucher rail in the registry of `spec/rails.md`.
pub const RAIL_VOUCHER: &str = "ledger";
/// Name of the direct rail in the registry of `spec/rails.md`.
pub const RAIL_DIRECT: &str = "ledger-direct";

/// What the book of a payee is kept under.
const BOOK: &str = "ledger-payee";
/// Shortest grace period of a channel by [`PayeeConfig::new`]: an hour to notice and redeem.
const GRACE_MS: u64 = 60 * 60 * 1000;
/// Time from an invoice to `default` by [`PayeeConfig::new`].
const PAY_BY_MS: u64 = 60_000;

/// What a payee takes, and under which terms.
#[derive(Clone, Debug)]
pub struct PayeeConfig {
    /// The payee's account: its key signs redemptions.
    pub key: SigningKey,
    /// What is paid.
    pub asset: AssetId,
    /// Shortest grace period of a channel.
    pub grace_min_ms: u64,
    /// Time from an invoice to `default`.
    pub pay_by_ms: u64,
    /// Where the ledger is found, if buyers have to ask for it over a network.
    pub url: Option<String>,
}

impl PayeeConfig {
    /// The usual terms: a grace period of an hour, and a minute to pay. `url` is where buyers find the
    /// ledger.
    pub const fn new(key: SigningKey, asset: AssetId, url: Option<String>) -> Self {
        Self { key, asset, grace_min_ms: GRACE_MS, pay_by_ms: PAY_BY_MS, url }
    }

    fn account(&self) -> PublicKey {
        self.key.public()
    }

    fn option(&self, client: &LedgerClient, channel: bool) -> PayOption {
        PayOption {
            id: 0,
            rail: if channel { RAIL_VOUCHER } else { RAIL_DIRECT }.to_owned(),
            asset: self.asset.clone(),
            address: self.account().multibase(),
            finality: 0,
            grace_min_ms: self.grace_min_ms,
            pay_by_ms: self.pay_by_ms,
            channel,
            terms: LedgerTerms::of(client.policy(), self.url.clone()).encode(),
        }
    }

    /// What must hold of any payment, before the ledger is asked.
    fn compare(&self, bill: &Bill, payment: &Signed<Payment>) -> Result<(), RailError> {
        bill.check_answer(payment, &self.asset, &self.account().multibase())
    }
}

/// The payee of an option that this client's ledger can pay.
fn payee_of(client: &LedgerClient, option: &PayOption, rail: &str) -> Result<PublicKey, RailError> {
    if option.rail != rail || option.channel != (rail == RAIL_VOUCHER) {
        return Err(RailError::Declined("the option is of another rail"));
    }
    let terms = LedgerTerms::parse(&option.terms);
    let terms = terms.map_err(|_| RailError::Declined("the option's terms cannot be read"))?;
    if !terms.is_of(client.policy()) {
        return Err(RailError::Declined("the option is on another ledger"));
    }
    account_of(&option.address)
}

fn account_of(address: &str) -> Result<PublicKey, RailError> {
    let key: Result<PublicKey, _> = address.parse();
    // One spelling: a payee compares addresses as text.
    let key = key.ok().filter(|key| key.multibase() == address);
    key.ok_or(RailError::Declined("the payee's address is not a key of the form z6Mk…"))
}

/// No new voucher once a close is pending, on either side.
fn still_open(channel: &Channel) -> Result<(), RailError> {
    match channel.state {
        ChannelState::Open => Ok(()),
        ChannelState::Closing { .. } => Err(RailError::Declined("the channel is about to be closed")),
        ChannelState::Closed => Err(RailError::Declined("the channel is closed")),
    }
}

//! What the seller is paid in, by which rails, and where it records.

use std::sync::Arc;

use sdpp::seller::REDEEM_EVERY;
use sdpp_ledger::{DirectPayee, LedgerRecords, PayeeConfig, VoucherPayee};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::AssetId;
use sdpp_rail::{Durability, Payee, Records};

use crate::config::{self, Config, Rail};
use crate::exit::{Exit, failed};
use crate::home::{Home, Role, RoleHome};
use crate::ledger::Failure;
use crate::ledger::reach::Remote;
use crate::text::symbol;
use crate::watch::Followed;
use crate::ways::Ways;

/// How a seller is paid, and where it records.
pub(super) struct Till {
    pub(super) asset: AssetId,
    pub(super) payees: Vec<Arc<dyn Payee>>,
    pub(super) records: Option<Arc<dyn Records>>,
    /// The ledger, where money or records are there.
    pub(super) remote: Option<Remote>,
    /// Where money and records are, for people.
    pub(super) places: Vec<(&'static str, String)>,
    /// Paid invoices between two redemptions.
    pub(super) redeem_every: u64,
    followed: Option<Followed>,
}

impl Till {
    /// Reaches the places of money and records.
    pub(super) async fn open(
        home: &Home,
        (role, key): (&RoleHome, &SigningKey),
        ways: &Ways,
        config: &Config,
    ) -> Result<Self, Failure> {
        let rails = config.seller.rails.clone().unwrap_or_else(|| vec![Rail::Voucher]);
        let elsewhere = rails.iter().find(|rail| matches!(rail, Rail::Evm | Rail::Iota)).copied();
        if elsewhere.is_some_and(|elsewhere| rails.iter().any(|rail| *rail != elsewhere)) {
            let what = "money on a chain, on IOTA and on the ledger are not the same: run a seller for each";
            return Err(failed(Exit::Usage, what));
        }
        let usual = if elsewhere.is_some() { config::Records::None } else { config::Records::Ledger };
        let records = config.seller.records.unwrap_or(usual);
        let mut till = if elsewhere == Some(Rail::Evm) {
            on_a_chain(home, role, ways, (&config.seller, records)).await?
        } else if elsewhere == Some(Rail::Iota) {
            on_iota(home, role, ways, (&config.seller, records)).await?
        } else {
            let remote = follow(home, key, ways).await?;
            let asset = asset(&remote, config.seller.asset.as_deref()).await?;
            let payees = payees(&remote, &config.seller, &rails, &asset)?;
            let (places, followed) = (vec![place_of(&remote)], Some(remote.followed()));
            let redeem_every = config.seller.redeem_every.unwrap_or(REDEEM_EVERY);
            Self { asset, payees, records: None, remote: Some(remote), places, redeem_every, followed }
        };
        match records {
            config::Records::None => {
                till.places.push(("records", "none: both sides keep them in their journals".into()))
            }
            config::Records::Ledger => {
                if till.remote.is_none() {
                    let remote = follow(home, key, ways).await?;
                    till.places.push(place_of(&remote));
                    till.remote = Some(remote);
                }
                till.records = till.remote.as_ref().map(|remote| -> Arc<dyn Records> {
                    Arc::new(LedgerRecords::new(remote.client.clone(), key.clone()))
                });
            }
            // By the account that is paid: it was opened with its passphrase.
            config::Records::Evm | config::Records::Iota if till.records.is_some() => {}
            config::Records::Evm => {
                let (records, place) = records_on_a_chain(home, role, ways).await?;
                till.places.push(place);
                till.records = Some(records);
            }
            config::Records::Iota => {
                let (records, place) = records_on_iota(home, role, ways).await?;
                till.places.push(place);
                till.records = Some(records);
            }
        }
        Ok(till)
    }

    /// The place whose silence keeps the seller from selling.
    pub(super) fn followed(&mut self) -> Option<Followed> {
        self.followed.take()
    }
}

/// Where it is recorded, for programs and for people.
type Recording = (Arc<dyn Records>, (&'static str, String));

#[cfg(feature = "evm")]
async fn recording(account: &crate::evm::Account) -> Result<Recording, Failure> {
    // Buyers say what is recorded; on a chain that would be the seller's gas.
    let records = account.records().await?.ends_only();
    let place = format!("{} by {}", records.origin(), account.address());
    Ok((Arc::new(records), ("records", place)))
}

#[cfg(feature = "evm")]
async fn records_on_a_chain(home: &Home, role: &RoleHome, ways: &Ways) -> Result<Recording, Failure> {
    recording(&crate::evm::Account::open(home, role, &ways.chain).await?).await
}

#[cfg(not(feature = "evm"))]
async fn records_on_a_chain(_: &Home, _: &RoleHome, _: &Ways) -> Result<Recording, Failure> {
    Err(crate::ways::no_chains())
}

#[cfg(feature = "evm")]
async fn on_a_chain(
    home: &Home,
    role: &RoleHome,
    ways: &Ways,
    (config, records): (&config::Seller, config::Records),
) -> Result<Till, Failure> {
    crate::evm::check_grace(config)?;
    let account = crate::evm::Account::open(home, role, &ways.chain).await?;
    account.warn_if_poor().await?;
    let payee = account.payee(role, account.token(config)?, config)?;
    let mut till = Till {
        asset: payee.option().asset,
        payees: vec![Arc::new(payee)],
        records: None,
        remote: None,
        places: vec![("chain", account.place())],
        // Each redemption is a transaction: once, when the channel is closed, unless somebody wants to pay for more.
        redeem_every: config.redeem_every.unwrap_or(0),
        followed: Some(account.followed()),
    };
    if records == config::Records::Evm {
        let (records, place) = recording(&account).await?;
        till.places.push(place);
        till.records = Some(records);
    }
    Ok(till)
}

#[cfg(not(feature = "evm"))]
async fn on_a_chain(_: &Home, _: &RoleHome, _: &Ways, _: (&config::Seller, config::Records)) -> Result<Till, Failure> {
    Err(crate::ways::no_chains())
}

#[cfg(feature = "iota")]
fn recording_on_iota(spender: &crate::iota::Spender) -> Recording {
    // As on a chain.
    let records = spender.records().ends_only();
    let place = format!("{} by {}", records.origin(), spender.account().address());
    (Arc::new(records), ("records", place))
}

#[cfg(feature = "iota")]
async fn records_on_iota(home: &Home, role: &RoleHome, ways: &Ways) -> Result<Recording, Failure> {
    Ok(recording_on_iota(&crate::iota::Spender::open(home, role, &ways.tangle).await?))
}

#[cfg(not(feature = "iota"))]
async fn records_on_iota(_: &Home, _: &RoleHome, _: &Ways) -> Result<Recording, Failure> {
    Err(crate::ways::no_iota())
}

#[cfg(feature = "iota")]
async fn on_iota(
    home: &Home,
    role: &RoleHome,
    ways: &Ways,
    (config, records): (&config::Seller, config::Records),
) -> Result<Till, Failure> {
    // Only who records pays fees: else the account's coins stay free for `sdpp wallet iota send`.
    let (account, recording) = if records == config::Records::Iota {
        let spender = crate::iota::Spender::open(home, role, &ways.tangle).await?;
        let recording = recording_on_iota(&spender);
        (spender.into_account(), Some(recording))
    } else {
        (crate::iota::Account::open(home, role, &ways.tangle).await?, None)
    };
    let (payee, witness) = account.payee(role, config).await?;
    let mut till = Till {
        asset: payee.option().asset,
        payees: vec![Arc::new(payee)],
        records: None,
        remote: None,
        places: vec![("iota", account.place()), ("believes", witness)],
        // Each invoice is money when it is paid.
        redeem_every: 0,
        followed: Some(account.followed()),
    };
    if let Some((records, place)) = recording {
        till.places.push(place);
        till.records = Some(records);
    }
    Ok(till)
}

#[cfg(not(feature = "iota"))]
async fn on_iota(_: &Home, _: &RoleHome, _: &Ways, _: (&config::Seller, config::Records)) -> Result<Till, Failure> {
    Err(crate::ways::no_iota())
}

async fn follow(home: &Home, key: &SigningKey, ways: &Ways) -> Result<Remote, Failure> {
    let remote = Remote::open_as(home, Role::Seller, &ways.reach, key.clone()).await?;
    remote.follow().await?;
    Ok(remote)
}

fn place_of(remote: &Remote) -> (&'static str, String) {
    ("ledger", format!("{} at {}", remote.client.origin(), remote.url))
}

/// What the seller is paid in: what was said, else the ledger's trial money, else its only asset.
async fn asset(remote: &Remote, said: Option<&str>) -> Result<AssetId, Failure> {
    let issued = remote.look(sdpp_ledger::Fold::all_issued).await?;
    let of = |name: &str| issued.iter().map(|(asset, _)| asset).filter(|asset| symbol(asset) == name).count();
    if let Some(said) = said {
        if said.contains('@') {
            return Ok(AssetId::new(said));
        }
        if of(said) == 1 {
            let found = issued.iter().find(|(asset, _)| symbol(asset) == said);
            return Ok(found.map(|(asset, _)| asset.clone()).unwrap_or_else(|| AssetId::new(said)));
        }
        let what = format!("{} issuers of this ledger have a '{said}': write SYMBOL@ISSUER", of(said));
        return Err(failed(Exit::Usage, what));
    }
    // Only a hint: whoever pays in something else is refused.
    if let Ok(Some((asset, _))) = remote.http().trial().await {
        return Ok(asset);
    }
    match issued.as_slice() {
        [(asset, _)] => Ok(asset.clone()),
        _ => Err(failed(
            Exit::Usage,
            "say what you are paid in: --asset SYMBOL@ISSUER; `sdpp ledger balance` shows the assets of an account",
        )),
    }
}

/// The ways to be paid.
fn payees(
    remote: &Remote,
    config: &config::Seller,
    rails: &[Rail],
    asset: &AssetId,
) -> Result<Vec<Arc<dyn Payee>>, Failure> {
    let usual = PayeeConfig::new(remote.key.clone(), asset.clone(), Some(remote.url.clone()));
    let terms = PayeeConfig {
        grace_min_ms: config.grace.unwrap_or(usual.grace_min_ms),
        pay_by_ms: config.pay_by.unwrap_or(usual.pay_by_ms),
        ..usual
    };
    let mut payees: Vec<Arc<dyn Payee>> = Vec::new();
    // What is not redeemed yet is nowhere else: the books survive what the money must survive.
    if rails.contains(&Rail::Voucher) {
        let store = Box::new(remote.role.store("rail", Durability::Power)?);
        payees.push(Arc::new(VoucherPayee::new(remote.client.clone(), terms.clone(), store)));
    }
    if rails.contains(&Rail::Direct) {
        let store = Box::new(remote.role.store("rail-direct", Durability::Power)?);
        payees.push(Arc::new(DirectPayee::new(remote.client.clone(), terms, store)));
    }
    Ok(payees)
}

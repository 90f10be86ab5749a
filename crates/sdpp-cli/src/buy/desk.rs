//! What a purchase needs: the place that the menu names for money, money there, a way to pay, records, a journal.

use std::sync::Arc;

use sdpp::buyer::{Listener, Progress as Counter, Reconnect, Settings};
use sdpp::journal::Journal;
use sdpp_ledger::{DirectPayer, LedgerRecords, LedgerTerms, RAIL_VOUCHER, VoucherPayer};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{PayOption, RecordOffer};
use sdpp_proto::suite::Suite;
use sdpp_rail::{Payer, Records};

use super::Args;
use super::journals::Journals;
use crate::config::{self, Rail};
use crate::exit::{Exit, failed};
use crate::home::{Home, Role, RoleHome};
use crate::ledger::Failure;
use crate::ledger::reach::{Reach, Remote};
use crate::text::symbol;
use crate::watch::Followed;
use crate::ways::{Ways, rail_of, records_of};

/// A buyer's places: of its money, and of its records.
pub(crate) struct Desk {
    pub(crate) role: RoleHome,
    key: SigningKey,
    money: Money,
    /// The ledger, where money or records are there.
    pub(crate) remote: Option<Remote>,
    records: Option<Arc<dyn Records>>,
    option: PayOption,
    pub(crate) asset: AssetId,
}

/// Where the money is.
enum Money {
    /// On the ledger that was reached.
    Ledger,
    #[cfg(feature = "evm")]
    Evm(Box<crate::evm::Account>),
    #[cfg(feature = "iota")]
    Iota(Box<crate::iota::Spender>),
}

/// What a desk is opened for.
pub(crate) struct Wanted<'a> {
    /// How it is paid.
    pub(crate) option: &'a PayOption,
    /// Where the seller records.
    pub(crate) offer: &'a RecordOffer,
    /// Where the buyer wants to, if it said so.
    pub(crate) records: Option<config::Records>,
}

impl Wanted<'_> {
    /// Where is recorded: as was said, else as configured, else where the seller does.
    pub(crate) fn records(&self, config: &config::Buyer) -> Result<config::Records, Failure> {
        self.records.or(config.records).map_or_else(|| records_of(&self.offer.backend), Ok)
    }
}

impl Desk {
    /// Reaches the places of an order.
    pub(crate) async fn open(home: &Home, ways: &Ways, wanted: &Wanted<'_>) -> Result<Self, Failure> {
        let role = home.role(Role::Buyer)?;
        let (key, option) = (role.key()?, wanted.option);
        let (mut remote, money) = match rail_of(option) {
            Some(Rail::Voucher | Rail::Direct) => {
                let remote = open_ledger(home, &ways.reach, option, key.clone()).await?;
                fetch_deposits(&remote).await;
                (Some(remote), Money::Ledger)
            }
            #[cfg(feature = "evm")]
            Some(Rail::Evm) => {
                let account = crate::evm::Account::for_option(home, &role, &ways.chain, option).await?;
                (None, Money::Evm(Box::new(account)))
            }
            #[cfg(feature = "iota")]
            Some(Rail::Iota) => {
                let account = crate::iota::Spender::for_option(home, &role, &ways.tangle, option).await?;
                (None, Money::Iota(Box::new(account)))
            }
            _ => return Err(failed(Exit::Refused, format!("this program cannot pay by '{}'", option.rail))),
        };
        let records: Option<Arc<dyn Records>> = match wanted.records(&home.config()?.buyer)? {
            config::Records::None => None,
            config::Records::Ledger => {
                if remote.is_none() {
                    let opened = Remote::open_as(home, Role::Buyer, &ways.reach, key.clone()).await?;
                    opened.follow().await?;
                    remote = Some(opened);
                }
                remote.as_ref().map(|remote| -> Arc<dyn Records> {
                    Arc::new(LedgerRecords::new(remote.client.clone(), key.clone()))
                })
            }
            config::Records::Evm => Some(records_on_chain(home, &role, ways, (&money, wanted.offer)).await?),
            config::Records::Iota => Some(records_on_iota(home, &role, ways, &money).await?),
        };
        Ok(Self { role, key, money, remote, records, option: option.clone(), asset: option.asset.clone() })
    }

    /// Makes sure that the buyer can pay so much, in so many windows.
    #[cfg_attr(not(feature = "iota"), expect(unused_variables, reason = "only IOTA takes a fee for each window"))]
    pub(super) async fn fund(&self, needed: Amount, windows: u128) -> Result<(), Failure> {
        match (&self.money, &self.remote) {
            #[cfg(feature = "evm")]
            (Money::Evm(account), _) => account.fund(&self.option, needed).await,
            #[cfg(feature = "iota")]
            (Money::Iota(account), _) => account.fund(needed, windows).await,
            (Money::Ledger, Some(remote)) => fund(remote, &self.asset, needed).await,
            (Money::Ledger, None) => Ok(()),
        }
    }

    fn payer(&self) -> Result<Arc<dyn Payer>, Failure> {
        Ok(match (&self.money, &self.remote) {
            #[cfg(feature = "evm")]
            (Money::Evm(account), _) => account.payer(),
            #[cfg(feature = "iota")]
            (Money::Iota(account), _) => account.payer(),
            (Money::Ledger, Some(remote)) if self.option.rail == RAIL_VOUCHER => {
                Arc::new(VoucherPayer::new(remote.client.clone(), remote.key.clone()))
            }
            (Money::Ledger, Some(remote)) => Arc::new(DirectPayer::new(remote.client.clone(), remote.key.clone())),
            (Money::Ledger, None) => return Err("the ledger was not reached".into()),
        })
    }

    /// The library's settings.
    pub(crate) fn settings(
        &self,
        suite: Suite,
        journal: Journal,
        (progress, listener): (Arc<Counter>, Listener),
        reconnect: Reconnect,
    ) -> Result<Settings, Failure> {
        let standings = self.remote.as_ref().map(|remote| remote.client.clone());
        Ok(Settings {
            key: self.key.clone(),
            suites: vec![suite],
            payer: self.payer()?,
            rail: self.option.rail.clone(),
            records: self.records.clone(),
            standings: standings.map(|client| client as _),
            journal,
            reconnect,
            progress,
            listener,
        })
    }

    /// What brings a deposit back when the grace period of its channel is over.
    pub(crate) fn way_back(&self) -> String {
        match &self.money {
            #[cfg(feature = "evm")]
            Money::Evm(account) => account.way_back(),
            // Nothing is locked there.
            #[cfg(feature = "iota")]
            Money::Iota(_) => "nothing".to_owned(),
            Money::Ledger => "the next `sdpp wallet` or purchase".to_owned(),
        }
    }

    /// The place whose silence keeps the buyer from paying.
    pub(crate) fn followed(&self) -> Option<Followed> {
        match &self.money {
            #[cfg(feature = "evm")]
            Money::Evm(account) => Some(account.followed()),
            #[cfg(feature = "iota")]
            Money::Iota(spender) => Some(spender.account().followed()),
            Money::Ledger => self.remote.as_ref().map(Remote::followed),
        }
    }
}

/// The ledger that an order is recorded on; none where it is recorded elsewhere, or nowhere.
pub(crate) async fn ledger_of(
    home: &Home,
    reach: &Reach,
    (option, offer): (&PayOption, &RecordOffer),
) -> Result<Option<Remote>, Failure> {
    if records_of(&offer.backend)? != config::Records::Ledger {
        return Ok(None);
    }
    let key = home.role(Role::Buyer)?.key()?;
    if matches!(rail_of(option), Some(Rail::Voucher | Rail::Direct)) {
        return open_ledger(home, reach, option, key).await.map(Some);
    }
    let remote = Remote::open_as(home, Role::Buyer, reach, key).await?;
    remote.follow().await?;
    Ok(Some(remote))
}

/// Reaches the ledger of a payment option: the one that was named, else the one of the menu.
async fn open_ledger(home: &Home, reach: &Reach, option: &PayOption, key: SigningKey) -> Result<Remote, Failure> {
    let terms = LedgerTerms::parse(&option.terms)?;
    let named = reach.clone().or(&home.config()?.ledger);
    let reach = match (&terms.url, named.named()) {
        (_, Some(_)) => named,
        (Some(url), None) => named.or_menu(url),
        (None, None) => {
            return Err(failed(Exit::Usage, "the menu does not say where the ledger is: name it with --ledger"));
        }
    };
    let remote = Remote::open_as(home, Role::Buyer, &reach, key).await?;
    if !terms.is_of(remote.client.policy()) {
        let (asked, found) = (&terms.log, remote.client.policy().log());
        return Err(failed(
            Exit::Refused,
            format!("the seller is paid on another ledger\n  its menu  {asked}\n  {}  {found}", remote.url),
        ));
    }
    remote.follow().await?;
    Ok(remote)
}

/// Records on a chain: in the seller's contract if it has one, else in the usual one of the buyer's own chain.
#[cfg(feature = "evm")]
async fn records_on_chain(
    home: &Home,
    role: &RoleHome,
    ways: &Ways,
    (money, offer): (&Money, &RecordOffer),
) -> Result<Arc<dyn Records>, Failure> {
    use crate::evm::{Account, RECORDS};
    let (chain, is_sellers) = (&ways.chain, offer.backend == RECORDS);
    let records = match money {
        Money::Evm(account) if is_sellers => {
            account.for_records_too(home, chain, &offer.origin).await?.records().await?
        }
        Money::Evm(account) => account.records().await?,
        #[cfg(feature = "iota")]
        Money::Iota(_) if is_sellers => Account::for_records(home, role, chain, &offer.origin).await?.records().await?,
        #[cfg(feature = "iota")]
        Money::Iota(_) => Account::open(home, role, chain).await?.records().await?,
        Money::Ledger if is_sellers => Account::for_records(home, role, chain, &offer.origin).await?.records().await?,
        Money::Ledger => Account::open(home, role, chain).await?.records().await?,
    };
    Ok(Arc::new(records))
}

#[cfg(not(feature = "evm"))]
async fn records_on_chain(
    _: &Home,
    _: &RoleHome,
    _: &Ways,
    _: (&Money, &RecordOffer),
) -> Result<Arc<dyn Records>, Failure> {
    Err(crate::ways::no_chains())
}

/// Records on IOTA: by the account that pays there, where one does.
#[cfg(feature = "iota")]
async fn records_on_iota(
    home: &Home,
    role: &RoleHome,
    ways: &Ways,
    money: &Money,
) -> Result<Arc<dyn Records>, Failure> {
    let records = match money {
        Money::Iota(account) => account.records(),
        #[cfg(feature = "evm")]
        Money::Evm(_) => crate::iota::Spender::open(home, role, &ways.tangle).await?.records(),
        Money::Ledger => crate::iota::Spender::open(home, role, &ways.tangle).await?.records(),
    };
    Ok(Arc::new(records))
}

#[cfg(not(feature = "iota"))]
async fn records_on_iota(_: &Home, _: &RoleHome, _: &Ways, _: &Money) -> Result<Arc<dyn Records>, Failure> {
    Err(crate::ways::no_iota())
}

/// Makes sure that the buyer can pay on a ledger; asks one on trial for its trial money.
async fn fund(remote: &Remote, asset: &AssetId, needed: Amount) -> Result<(), Failure> {
    let (unit, account) = (symbol(asset), remote.key.public());
    let balance = async || remote.look(|fold| fold.balance(asset, &account)).await;
    let mut has = balance().await?;
    let trial = if has < needed { remote.http().trial().await.ok().flatten() } else { None };
    if trial.is_some_and(|(trial, _)| trial == *asset) {
        // Given once; whoever had it already gets no more, and is told so below.
        let _ = remote.http().grant(&account).await;
        remote.follow().await?;
        let before = has;
        has = balance().await?;
        if has > before {
            eprintln!("trial money: the ledger gave {} {unit}", has.saturating_sub(before));
        }
    }
    if has >= needed {
        return Ok(());
    }
    let what = format!(
        "the order may cost {needed} {unit}, and {account} has {has}: order less with --count or --budget, or have \
         somebody send you {asset}"
    );
    Err(failed(Exit::Money, what))
}

/// Has the deposits of older orders come back, and those of purchases that died before their order was written. A
/// running purchase keeps its journal, and looks itself.
pub(crate) async fn fetch_deposits_of(home: &Home, role: Role, remote: &Remote) -> Result<(), Failure> {
    if role == Role::Buyer {
        let payer = VoucherPayer::new(remote.client.clone(), remote.key.clone());
        for (_, journal) in &Journals::open(home)?.free {
            sdpp::buyer::reclaim(journal, RAIL_VOUCHER, &payer, &remote.key.public()).await?;
        }
    }
    fetch_deposits(remote).await;
    Ok(())
}

/// Has the deposits of older orders come back, where a seller is gone and the grace period is over.
async fn fetch_deposits(remote: &Remote) {
    if let Err(error) = VoucherPayer::new(remote.client.clone(), remote.key.clone()).tend().await {
        // The next command tries again.
        tracing::warn!(%error, "deposits of older orders could not be fetched");
    }
}

/// How to connect again, by the command line.
pub(super) fn reconnect(args: &Args) -> Reconnect {
    Reconnect { wait_for_seller: args.how.wait, ..Reconnect::default() }
}

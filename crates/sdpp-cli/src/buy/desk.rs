//! What a purchase needs: the ledger that the menu names, money on it, a way to pay, a journal.

use std::sync::Arc;

use sdpp::buyer::{Listener, Progress as Counter, Reconnect, Settings};
use sdpp::journal::Journal;
use sdpp_ledger::{DirectPayer, LedgerRecords, LedgerTerms, RAIL_VOUCHER, VoucherPayer};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::PayOption;
use sdpp_proto::suite::Suite;
use sdpp_rail::Payer;

use super::Args;
use super::journals::Journals;
use crate::exit::{Exit, failed};
use crate::home::{Home, Role};
use crate::ledger::Failure;
use crate::ledger::reach::{Reach, Remote};
use crate::text::symbol;

/// A buyer's place at one ledger.
pub(crate) struct Desk {
    pub(crate) remote: Remote,
    pub(super) rail: String,
    pub(crate) asset: AssetId,
}

impl Desk {
    /// Reaches the ledger of a payment option: the one that was named, else the one of the menu.
    pub(crate) async fn open(home: &Home, reach: &Reach, option: &PayOption) -> Result<Self, Failure> {
        let terms = LedgerTerms::parse(&option.terms)?;
        let named = reach.clone().or(&home.config()?.ledger);
        let reach = match (&terms.url, named.named()) {
            (_, Some(_)) => named,
            (Some(url), None) => named.or_menu(url),
            (None, None) => {
                return Err(failed(Exit::Usage, "the menu does not say where the ledger is: name it with --ledger"));
            }
        };
        let remote = Remote::open(home, Role::Buyer, &reach).await?;
        if !terms.is_of(remote.client.policy()) {
            let (asked, found) = (&terms.log, remote.client.policy().log());
            return Err(failed(
                Exit::Refused,
                format!("the seller is paid on another ledger\n  its menu  {asked}\n  {}  {found}", remote.url),
            ));
        }
        remote.follow().await?;
        fetch_deposits(&remote).await;
        Ok(Self { remote, rail: option.rail.clone(), asset: option.asset.clone() })
    }

    /// What the buyer has.
    async fn balance(&self) -> Result<Amount, Failure> {
        let account = self.remote.key.public();
        self.remote.look(|fold| fold.balance(&self.asset, &account)).await
    }

    /// Makes sure that the buyer can pay; asks a ledger on trial for its trial money.
    pub(super) async fn fund(&self, needed: Amount) -> Result<(), Failure> {
        let unit = symbol(&self.asset);
        let mut has = self.balance().await?;
        let trial = if has < needed { self.remote.http().trial().await.ok().flatten() } else { None };
        if trial.is_some_and(|(asset, _)| asset == self.asset) {
            // Given once; whoever had it already gets no more, and is told so below.
            let _ = self.remote.http().grant(&self.remote.key.public()).await;
            self.remote.follow().await?;
            let before = has;
            has = self.balance().await?;
            if has > before {
                eprintln!("trial money: the ledger gave {} {unit}", has.saturating_sub(before));
            }
        }
        if has >= needed {
            return Ok(());
        }
        let account = self.remote.key.public();
        Err(failed(
            Exit::Money,
            format!(
                "the order may cost {needed} {unit}, and {account} has {has}: order less with --count or --budget, or \
                 have somebody send you {}",
                self.asset
            ),
        ))
    }

    fn payer(&self) -> Arc<dyn Payer> {
        let (client, key) = (self.remote.client.clone(), self.remote.key.clone());
        if self.rail == RAIL_VOUCHER {
            Arc::new(VoucherPayer::new(client, key))
        } else {
            Arc::new(DirectPayer::new(client, key))
        }
    }

    /// The library's settings.
    pub(crate) fn settings(
        &self,
        suite: Suite,
        journal: Journal,
        (progress, listener): (Arc<Counter>, Listener),
        reconnect: Reconnect,
    ) -> Settings {
        let Remote { client, key, .. } = &self.remote;
        Settings {
            key: key.clone(),
            suites: vec![suite],
            payer: self.payer(),
            rail: self.rail.clone(),
            records: Some(Arc::new(LedgerRecords::new(client.clone(), key.clone()))),
            standings: Some(client.clone()),
            journal,
            reconnect,
            progress,
            listener,
        }
    }
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

//! Money and records on IOTA: which network, whose key, who is paid.

use std::sync::Arc;

use sdpp_iota::{IotaPayee, IotaPayer, IotaRecords, IotaTerms, PayeeConfig, Purse, limits};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::PayOption;
use sdpp_rail::{Durability, RailError};

use crate::config;
use crate::exit::{Exit, failed};
use crate::home::{Home, RoleHome};
use crate::ledger::Failure;
use crate::text::decimal;
use crate::visit::exit_of_rail;
use crate::watch::Followed;

mod audit;
mod cost;
mod key;
mod network;
pub(crate) mod wallet;

pub(crate) use audit::check as audit;
pub(crate) use cost::{Bought, cost};
pub(crate) use network::Tangle;

use self::network::Network;

/// Name of the rail.
pub(crate) const RAIL: &str = sdpp_iota::RAIL;
/// Name of its records.
pub(crate) const RECORDS: &str = "iota";
/// Windows that are paid at once, each with a coin of its own.
const WINDOWS: u64 = 8;

/// Nanos as people count them.
pub(crate) fn human(nanos: u128) -> String {
    format!("{} IOTA", decimal(nanos, sdpp_iota::DECIMALS.into()))
}

/// A key of a role on a network, and its coins.
pub(crate) struct Account {
    purse: Arc<Purse>,
    network: Network,
}

impl Account {
    /// The role's account on the network that is named, or configured.
    pub(crate) async fn open(home: &Home, role: &RoleHome, tangle: &Tangle) -> Result<Self, Failure> {
        Self::on(role, tangle.reach(&home.config()?).await?)
    }

    /// The same for an option of a menu: the network is the menu's.
    pub(crate) async fn for_option(
        home: &Home,
        role: &RoleHome,
        tangle: &Tangle,
        option: &PayOption,
    ) -> Result<Self, Failure> {
        let terms = IotaTerms::parse(&option.terms).map_err(|error| failed(Exit::Refused, error.to_string()))?;
        Self::on(role, tangle.reach_of(&home.config()?, &terms.chain).await?)
    }

    fn on(role: &RoleHome, network: Network) -> Result<Self, Failure> {
        let wallet = key::open(role)?;
        // What was signed is nowhere else, and signed twice it locks coins: it survives what the money must survive.
        let store = Box::new(role.store(&format!("wallet-iota-{}", network.nodes.chain()), Durability::Power)?);
        let purse = Purse::open(network.nodes.clone(), wallet, store);
        let purse = purse.map_err(|error| failed(Exit::Storage, error.to_string()))?;
        Ok(Self { purse: Arc::new(purse), network })
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        self.purse.address().to_string()
    }

    /// Where its money is, for people.
    pub(crate) fn place(&self) -> String {
        let Network { name, nodes, place, .. } = &self.network;
        format!("{name} (IOTA network {}) at {place}, account {}", nodes.chain(), self.address())
    }

    /// Pays by it.
    pub(crate) fn payer(&self) -> Arc<IotaPayer> {
        Arc::new(IotaPayer::new(self.purse.clone(), WINDOWS))
    }

    /// Is paid into it.
    pub(crate) fn payee(&self, role: &RoleHome, config: &config::Seller) -> Result<IotaPayee, Failure> {
        let terms = PayeeConfig {
            account: self.purse.address(),
            pay_by_ms: config.pay_by.unwrap_or(limits::PAY_BY_MS),
            committee: None,
        };
        let store = Box::new(role.store(&format!("rail-iota-{}", self.network.nodes.chain()), Durability::Power)?);
        Ok(IotaPayee::new(self.network.nodes.clone(), terms, store))
    }

    /// Records in its name.
    pub(crate) fn records(&self) -> IotaRecords {
        IotaRecords::new(self.purse.clone(), self.network.lasting)
    }

    /// Makes sure that it can pay so much, and for the gas.
    pub(crate) async fn fund(&self, needed: Amount) -> Result<(), Failure> {
        let coins = self.network.nodes.coins(&self.purse.address()).await.map_err(|error| self.explain(error))?;
        let has: u128 = coins.iter().map(|coin| u128::from(coin.balance)).sum();
        let wants = needed.get().saturating_add(limits::BUDGET.into());
        if has < wants {
            let (address, name) = (self.address(), &self.network.name);
            let what = format!(
                "the order may cost {} with its first gas, and {address} has {}: order less with --count or --budget, or send \
                 it some IOTA on {name}",
                human(wants),
                human(has)
            );
            return Err(failed(Exit::Money, what));
        }
        Ok(())
    }

    /// What is wrong, and what to do next.
    pub(crate) fn explain(&self, error: RailError) -> Failure {
        let place = &self.network.place;
        let text = match error {
            RailError::Unavailable => format!("{place} does not answer as a node: try another one with --iota-rpc"),
            RailError::Unknown => format!(
                "nobody knows yet whether the transaction was executed: run the same command again (nothing is done twice). The \
                 node is {place}"
            ),
            RailError::Declined(why) | RailError::Dishonest(why) => format!("IOTA: {why}"),
        };
        failed(exit_of_rail(&error), text)
    }

    /// For whoever watches whether it is there.
    pub(crate) fn followed(&self) -> Followed {
        let nodes = self.network.nodes.clone();
        let Network { name, place, .. } = &self.network;
        Followed::new(format!("the node of {name} at {place}"), move || {
            let nodes = nodes.clone();
            Box::pin(async move { nodes.reach().await })
        })
    }
}

/// How an option of IOTA is shown: on which network.
pub(crate) fn place_of(option: &PayOption) -> Option<String> {
    IotaTerms::parse(&option.terms).ok().map(|terms| format!("IOTA network {}", terms.chain))
}

/// What is found where a network is named: its nodes, and its identifier.
pub(crate) async fn look(tangle: &Tangle, config: &config::Config) -> Result<String, Failure> {
    let network = tangle.reach(config).await?;
    let Network { name, nodes, place, .. } = &network;
    let prices = nodes.prices().await;
    let (epoch, price) = prices.map_err(|_| failed(Exit::Unreachable, format!("{place} does not say its epoch")))?;
    Ok(format!("{place} serves {name} (IOTA network {}), epoch {epoch}, gas price {price} nano", nodes.chain()))
}

//! Money and records on EVM chains: which chain, whose key, who is paid.
//!
//! ```text
//! --network, --rpc, [evm] ──► network (a chain and its node) ──► Account (a key there) ──► payer, payee, records
//! ```

use std::sync::Arc;

use sdpp_evm::{
    Address, EvmPayee, EvmPayer, EvmRecords, EvmTerms, Network as Known, Node, NodeConfig, NodeError, PayeeConfig,
    PayerKeys, PrivateKeySigner, address_of,
};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::PayOption;
use sdpp_rail::{Durability, Payer, RailError};

use crate::config;
use crate::exit::{Exit, failed};
use crate::home::{Home, RoleHome};
use crate::ledger::Failure;
use crate::text::{decimal, symbol};
use crate::visit::exit_of_rail;
use crate::watch::Followed;

mod audit;
mod channels;
mod cost;
mod grace;
mod key;
mod network;
mod rpc;
mod unit;
pub(crate) mod wallet;

pub(crate) use audit::check as audit;
pub(crate) use cost::costs;
pub(crate) use grace::check as check_grace;
pub(crate) use network::Chain;
pub(crate) use unit::{coin, is_meant, is_usdc};

use self::network::Network;

/// Name of the rail.
pub(crate) const RAIL: &str = sdpp_evm::RAIL;
/// Name of its records.
pub(crate) const RECORDS: &str = "evm";

/// Closes that a seller's coins should pay for.
const CLOSES: u64 = 3;

/// A key of a role on a chain.
pub(crate) struct Account {
    pub(crate) node: Arc<Node>,
    key: PrivateKeySigner,
    network: Network,
}

impl Account {
    /// The role's account on the network that is named, or configured.
    pub(crate) async fn open(home: &Home, role: &RoleHome, chain: &Chain) -> Result<Self, Failure> {
        Self::on(role, chain.usual(&home.config()?)?).await
    }

    /// The same for an option of a menu: the chain is the menu's, and its contract one that is known or configured.
    pub(crate) async fn for_option(
        home: &Home,
        role: &RoleHome,
        chain: &Chain,
        option: &PayOption,
    ) -> Result<Self, Failure> {
        let terms = EvmTerms::parse(&option.terms).map_err(|error| failed(Exit::Refused, error.to_string()))?;
        Self::on(role, chain.of_terms(&home.config()?, &terms)?).await
    }

    /// The same for the records of a menu.
    pub(crate) async fn for_records(
        home: &Home,
        role: &RoleHome,
        chain: &Chain,
        origin: &str,
    ) -> Result<Self, Failure> {
        Self::on(role, records_place(home, chain, origin)?).await
    }

    /// The same key at the contract of a menu's records: nobody types a passphrase twice.
    pub(crate) async fn for_records_too(&self, home: &Home, chain: &Chain, origin: &str) -> Result<Self, Failure> {
        let network = records_place(home, chain, origin)?;
        let is_here = (network.chain, &network.rpc) == (self.network.chain, &self.network.rpc);
        let node = if is_here { self.node.clone() } else { connect(&network).await?.into() };
        Ok(Self { node, key: self.key.clone(), network })
    }

    async fn on(role: &RoleHome, network: Network) -> Result<Self, Failure> {
        let key = key::open(role)?;
        let node = Arc::new(connect(&network).await?);
        Ok(Self { node, key, network })
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        self.key.address().to_checksum(None)
    }

    /// Where its money is, for people.
    pub(crate) fn place(&self) -> String {
        let Network { name, chain, rpc, .. } = &self.network;
        format!("{name} (chain {chain}) at {rpc}, account {}", self.address())
    }

    /// How what is left of a deposit is had back when a channel's grace period is over: nobody does it by itself.
    pub(crate) fn way_back(&self) -> String {
        format!("`sdpp wallet withdraw --network {}`", self.network.name)
    }

    /// Pays by it.
    pub(crate) fn payer(&self) -> Arc<EvmPayer> {
        let keys = PayerKeys { account: self.key.clone(), vouchers: self.key.clone() };
        Arc::new(EvmPayer::new(self.node.clone(), keys))
    }

    /// The token that a seller is paid in; none for the chain's coin.
    pub(crate) fn token(&self, config: &config::Seller) -> Result<Option<Address>, Failure> {
        self.network.token(config.asset.as_deref())
    }

    /// Is paid into it.
    pub(crate) fn payee(
        &self,
        role: &RoleHome,
        token: Option<Address>,
        config: &config::Seller,
    ) -> Result<EvmPayee, Failure> {
        let usual = PayeeConfig::new(self.key.clone(), token);
        let terms = PayeeConfig {
            grace_min_ms: config.grace.unwrap_or(usual.grace_min_ms),
            pay_by_ms: config.pay_by.unwrap_or(usual.pay_by_ms),
            ..usual
        };
        // What is not redeemed yet is nowhere else: the book survives what the money must survive. Each chain has its own:
        // on another one its channels look as if they were dropped.
        let store = Box::new(role.store(&format!("rail-evm-{}", self.network.chain), Durability::Power)?);
        Ok(EvmPayee::new(self.node.clone(), terms, store))
    }

    /// Warns where it has no coins for gas: what buyers sign for it is then never turned into money.
    pub(crate) async fn warn_if_poor(&self) -> Result<(), Failure> {
        let asked = async { Ok((self.node.coins(self.key.address()).await?, cost::gas_of_closing(&self.node).await?)) };
        let (has, close) = asked.await.map_err(|error| self.explain(error))?;
        if has < close.checked_mul(CLOSES).unwrap_or(Amount::MAX) {
            let (address, Network { name, coin, .. }) = (self.address(), &self.network);
            let coins = |amount: Amount| format!("{} {coin}", decimal(amount.get(), 18));
            eprintln!(
                "warning    {address} has {}, and closing a channel costs some {} of gas now: without more it cannot redeem \
                 what it is paid. Send it some {coin} on {name}",
                coins(has),
                coins(close)
            );
        }
        Ok(())
    }

    /// Records in its name.
    pub(crate) async fn records(&self) -> Result<EvmRecords, Failure> {
        let contract = self.network.records;
        if !self.node.is_records(contract).await.map_err(|error| self.explain(error))? {
            let what = format!("at {contract} on {} is no contract of records: say --records none", self.network.name);
            return Err(failed(Exit::Refused, what));
        }
        Ok(EvmRecords::new(self.node.clone(), self.key.clone(), contract))
    }

    /// Makes sure that it can lock so much of an asset, and pay for the gas.
    pub(crate) async fn fund(&self, option: &PayOption, needed: Amount) -> Result<(), Failure> {
        grace::bearable(option, self.network.finality)?;
        let terms = EvmTerms::parse(&option.terms).map_err(|error| failed(Exit::Refused, error.to_string()))?;
        let (account, unit) = (self.key.address(), symbol(&option.asset));
        let asked = async {
            let kept = self.node.balance(terms.token().unwrap_or_default(), account).await?;
            let coins = self.node.coins(account).await?;
            let free = match terms.token() {
                Some(token) => self.node.tokens(token, account).await?,
                None => coins,
            };
            let gas = cost::gas_of_opening(&self.node, terms.token()).await?;
            Ok((plus(kept, free), coins, gas))
        };
        let (has, coins, gas) = asked.await.map_err(|error| self.explain(error))?;
        let native = if terms.token().is_none() { needed } else { Amount::ZERO };
        let address = self.address();
        if has < needed {
            let what = format!(
                "the order may cost {needed} {unit}, and {address} has {has}: order less with --count or --budget, or \
                 send it some on {}",
                self.network.name
            );
            return Err(failed(Exit::Money, what));
        }
        if coins < plus(native, gas) {
            let coin = &self.network.coin;
            let what = format!(
                "{address} has {coins} wei of {coin}, and opening a channel costs some {gas} wei of gas beside what \
                 is locked: send it some {coin} on {}",
                self.network.name
            );
            return Err(failed(Exit::Money, what));
        }
        let depth = self.network.finality.max(option.finality);
        if depth > 0 {
            let name = &self.network.name;
            eprintln!("note: a channel is opened on {name}, and the order goes out when it is {depth} blocks deep");
        }
        Ok(())
    }

    /// What is wrong, and what to do next.
    pub(crate) fn explain(&self, error: RailError) -> Failure {
        let rpc = &self.network.rpc;
        let text = match error {
            RailError::Unavailable => format!("{rpc} does not answer as a node: try another one with --rpc"),
            RailError::Unknown => format!(
                "nobody knows yet whether the transaction was mined: look with `sdpp wallet`, raise its fee with `sdpp wallet bump`, or \
                 run the same command again (nothing is done twice). The node is {rpc}"
            ),
            RailError::Declined(why) | RailError::Dishonest(why) => format!("the chain refused: {why}"),
        };
        failed(exit_of_rail(&error), text)
    }

    /// The same of a payment that is no order's: made again it is a second one.
    pub(crate) fn explain_payment(&self, error: RailError) -> Failure {
        if error != RailError::Unknown {
            return self.explain(error);
        }
        let rpc = &self.network.rpc;
        let text = format!(
            "nobody knows yet whether the transaction was mined, and sent again it would be paid twice: look with `sdpp \
             wallet` and at the receiver first. `sdpp wallet bump` raises the fee of what waits. The node is {rpc}"
        );
        failed(exit_of_rail(&error), text)
    }

    /// For whoever watches whether it is there.
    pub(crate) fn followed(&self) -> Followed {
        let node = self.node.clone();
        let Network { name, rpc, .. } = &self.network;
        Followed::new(format!("the node of {name} at {rpc}"), move || {
            let node = node.clone();
            Box::pin(async move { node.now().await.map(drop) })
        })
    }
}

/// Has the rest of older orders come back, where the grace period of a close that was asked for is over.
pub(crate) async fn reclaim(
    payer: &dyn Payer,
    journal: &sdpp::journal::Journal,
    key: &sdpp_proto::identity::PublicKey,
) {
    if let Err(error) = sdpp::buyer::reclaim(journal, RAIL, payer, key).await {
        // The next command tries again.
        tracing::warn!(%error, "deposits of older orders could not be fetched");
    }
}

fn node_config(network: &Network) -> NodeConfig {
    NodeConfig { url: network.rpc.url().to_owned(), place: network.place(), finality: network.finality }
}

async fn connect(network: &Network) -> Result<Node, Failure> {
    Node::connect(&node_config(network)).await.map_err(|error| unusable(network, &error))
}

fn unusable(network: &Network, error: &NodeError) -> Failure {
    let exit = match error {
        NodeError::BadUrl => Exit::Usage,
        NodeError::Silent(_) => Exit::Unreachable,
        NodeError::OtherChain { .. } | NodeError::NoContract | NodeError::OtherCode | NodeError::OtherDomain => {
            Exit::Refused
        }
    };
    let why = network.rpc.hide(&error.to_string());
    failed(exit, format!("{} at {}: {why}", network.name, network.rpc))
}

/// What was found of a chain.
pub(crate) enum Looked {
    Good(String),
    Bad(String),
}

/// Looks at the chain that is named: its node, its id, the code of its contracts, their EIP-712 domain.
pub(crate) async fn look(chain: &Chain, config: &config::Config) -> Vec<(&'static str, Looked)> {
    const CHAIN: &str = "chain";
    let network = match chain.usual(config) {
        Ok(network) => network,
        Err(error) => return vec![(CHAIN, Looked::Bad(error.to_string()))],
    };
    let node = match Node::reach(&node_config(&network)).await {
        Ok(node) => node,
        Err(error) => return vec![(CHAIN, Looked::Bad(unusable(&network, &error).to_string()))],
    };
    let height = node.height().await.map_or_else(|error| error.to_string(), |height| format!("block {height}"));
    let text = format!("{} serves {} (chain {}), {height}", network.rpc, network.name, network.chain);
    let mut found = vec![(CHAIN, Looked::Good(text))];
    found.push(match node.check_contract().await {
        Ok(()) => {
            let text = format!("channels at {}: the code and the domain of signatures are right", network.channels);
            ("contract", Looked::Good(text))
        }
        Err(error) => {
            let why = network.rpc.hide(&error.to_string());
            ("contract", Looked::Bad(format!("{}: {why}", network.channels)))
        }
    });
    found.push(match node.is_records(network.records).await {
        Ok(true) => ("contract", Looked::Good(format!("records at {}: the code is right", network.records))),
        Ok(false) => {
            let text = format!("no contract of records at {}: `sdpp wallet deploy` puts it there", network.records);
            ("contract", Looked::Bad(text))
        }
        Err(error) => ("contract", Looked::Bad(error.to_string())),
    });
    found
}

/// How an option of a chain is shown: where its contract is.
pub(crate) fn place_of(option: &PayOption) -> Option<String> {
    let place = EvmTerms::parse(&option.terms).ok()?.place();
    let chain = place.chain.to_string();
    let known =
        Known::find(&chain).map_or_else(|| format!("chain {chain}"), |known| format!("{} (chain {chain})", known.name));
    Some(format!("{known}, contract {}", place.contract))
}

/// The chain of a menu's records, and their contract there.
fn records_place(home: &Home, chain: &Chain, origin: &str) -> Result<Network, Failure> {
    let place = origin.strip_prefix("eip155:").and_then(|rest| rest.split_once(':'));
    let place = place.and_then(|(chain, contract)| Some((chain.parse::<u64>().ok()?, address_of(contract)?)));
    let no_place = || failed(Exit::Refused, format!("'{origin}' is no contract of records on a chain"));
    let (id, records) = place.ok_or_else(no_place)?;
    let mut network = chain.of(&home.config()?, id)?;
    network.records = records;
    Ok(network)
}

/// The sum, or the most that there is.
fn plus(one: Amount, other: Amount) -> Amount {
    one.checked_add(other).unwrap_or(Amount::MAX)
}

/// An address as people write it: with its checksum, or all of one case.
fn address(text: &str) -> Result<Address, Failure> {
    let read = text.parse::<Address>().ok().filter(|address| {
        let digits = text.trim_start_matches("0x");
        let one_case = digits == digits.to_lowercase() || digits == digits.to_uppercase();
        one_case || address.to_checksum(None) == text
    });
    read.ok_or_else(|| {
        failed(Exit::Usage, format!("'{text}' is no address: 0x and 40 digits, with its checksum or all of one case"))
    })
}

//! Which chain is meant, and how it is reached.

use sdpp_evm::typed::Place;
use sdpp_evm::{Address, Contract, EvmTerms, Network as Known};

use super::address;
use super::rpc::Rpc;
use crate::config::Config;
use crate::exit::{Exit, failed};
use crate::ledger::Failure;

/// Finality of a chain of which nothing is known.
const FINALITY: u32 = 12;

/// Which chain, and how it is reached.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Chain {
    /// The chain of the rail and the records `evm`: base, ethereum, … or a chain id.
    #[arg(long, value_name = "NETWORK", env = "SDPP_NETWORK", global = true)]
    network: Option<String>,
    /// Its node, JSON-RPC over HTTP; else the configuration says it, else its operators' public one.
    #[arg(long, value_name = "URL", env = "SDPP_RPC", hide_env_values = true, global = true)]
    rpc: Option<String>,
}

/// A chain with all that is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) chain: u64,
    pub(crate) rpc: Rpc,
    pub(crate) finality: u32,
    pub(crate) coin: String,
    pub(crate) channels: Address,
    pub(crate) records: Address,
    usdc: Option<Address>,
}

impl Chain {
    /// Whether one was named, here or in the configuration.
    pub(crate) fn is_named(&self, config: &Config) -> bool {
        self.network.is_some() || self.rpc.is_some() || config.evm.network.is_some()
    }

    /// The chain that is named, or configured.
    pub(crate) fn usual(&self, config: &Config) -> Result<Network, Failure> {
        let name = self.network.as_ref().or(config.evm.network.as_ref()).ok_or_else(|| {
            let known: Vec<&str> = sdpp_evm::NETWORKS.iter().map(|network| network.name).collect();
            failed(Exit::Usage, format!("say on which chain: --network {}, or its chain id", known.join(", ")))
        })?;
        self.named(config, name)
    }

    /// The chain of this id: somebody else has chosen it.
    pub(crate) fn of(&self, config: &Config, chain: u64) -> Result<Network, Failure> {
        if let Some(name) = &self.network {
            let network = self.named(config, name)?;
            if network.chain != chain {
                let what = format!("the seller is on chain {chain}, and --network says {name}: leave it out");
                return Err(failed(Exit::Refused, what));
            }
            return Ok(network);
        }
        let mut own = config.evm.networks.iter();
        let own = own.find(|(name, network)| {
            network.chain.or_else(|| Known::find(name).map(|known| known.chain)) == Some(chain)
        });
        match own {
            Some((name, _)) => self.named(config, name),
            None => self.named(config, &chain.to_string()),
        }
    }

    /// The chain of an option of a menu. Money goes into no contract but the one at its own place there, or the one that is
    /// configured: the same code at another address may have been given other contents when it was made.
    pub(crate) fn of_terms(&self, config: &Config, terms: &EvmTerms) -> Result<Network, Failure> {
        let network = self.of(config, terms.chain)?;
        let asked = terms.place().contract;
        if asked != network.channels {
            let what = format!(
                "the seller's menu names the contract {asked}, and on {} it is {}: nobody knows what the other one does. If \
                 you do, set `channels` in [evm.networks.{}]",
                network.name, network.channels, network.name
            );
            return Err(failed(Exit::Refused, what));
        }
        Ok(network)
    }

    fn named(&self, config: &Config, name: &str) -> Result<Network, Failure> {
        let own = config.evm.networks.get(name).cloned().unwrap_or_default();
        let known = Known::find(&own.chain.map_or_else(|| name.to_owned(), |chain| chain.to_string()));
        let chain = own.chain.or(known.map(|known| known.chain)).or_else(|| name.parse().ok());
        let chain = chain.ok_or_else(|| {
            failed(Exit::Usage, format!("'{name}' is no known network: say its chain id in [evm.networks.{name}]"))
        })?;
        let rpc = self.rpc.clone().or(own.rpc).or_else(|| known.and_then(|known| known.rpc).map(str::to_owned));
        let rpc = rpc.ok_or_else(|| {
            let what = format!("{name} has no public node of its operators: say how to reach it with --rpc URL");
            failed(Exit::Usage, what)
        })?;
        let contract = |said: Option<String>, usual: Contract| match said {
            Some(said) => address(&said),
            None => Ok(usual.usual_address()),
        };
        Ok(Network {
            name: known.map_or(name, |known| known.name).to_owned(),
            chain,
            rpc: Rpc::new(rpc),
            finality: own.finality.or(known.map(|known| known.finality)).unwrap_or(FINALITY),
            coin: known.map_or("coins", |known| known.coin).to_owned(),
            channels: contract(own.channels, Contract::channels())?,
            records: contract(own.records, Contract::records())?,
            usdc: known.and_then(|known| known.usdc),
        })
    }
}

impl Network {
    /// The chain and the contract of channels.
    pub(super) const fn place(&self) -> Place {
        Place { chain: self.chain, contract: self.channels }
    }

    /// The token that is meant; none for the native coin.
    pub(super) fn token(&self, said: Option<&str>) -> Result<Option<Address>, Failure> {
        match said.map(str::to_lowercase).as_deref() {
            Some("coin") => Ok(None),
            Some(name) if name == self.coin.to_lowercase() => Ok(None),
            Some("usdc") | None => self.usdc.map(Some).ok_or_else(|| {
                let what = format!(
                    "say what is paid on {}: --asset coin for its own coin, or the address of a token: Circle issues no \
                     USDC there",
                    self.name
                );
                failed(Exit::Usage, what)
            }),
            Some(_) => address(said.unwrap_or_default()).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(network: Option<&str>, rpc: Option<&str>) -> Chain {
        Chain { network: network.map(str::to_owned), rpc: rpc.map(str::to_owned) }
    }

    fn configured() -> Config {
        let text = "[evm]\nnetwork = \"mine\"\n[evm.networks.mine]\nchain = 777\nrpc = \"http://mine\"\nfinality = 2\n\
                    [evm.networks.base]\nrpc = \"http://own-base\"";
        Config::parse(text).unwrap()
    }

    #[test]
    fn a_network_is_the_one_that_was_named_and_what_is_said_of_it_counts() {
        let config = configured();
        let found = chain(None, None).usual(&config).unwrap();
        assert_eq!((found.chain, found.rpc.url(), found.finality), (777, "http://mine", 2));
        let found = chain(Some("base"), None).usual(&config).unwrap();
        assert_eq!((found.chain, found.rpc.url(), found.finality), (8453, "http://own-base", 5));
        let found = chain(Some("8453"), Some("http://said")).usual(&Config::default()).unwrap();
        assert_eq!((found.name.as_str(), found.rpc.url()), ("base", "http://said"));
        assert!(chain(Some("nowhere"), None).usual(&config).unwrap_err().to_string().contains("chain id"));
        assert!(chain(None, None).usual(&Config::default()).unwrap_err().to_string().contains("--network"));
        assert!(chain(Some("ethereum"), None).usual(&config).unwrap_err().to_string().contains("--rpc"));
    }

    #[test]
    fn the_chain_of_a_menu_is_found_and_another_one_is_no_answer() {
        let config = configured();
        assert_eq!(chain(None, None).of(&config, 777).unwrap().rpc.url(), "http://mine");
        assert_eq!(chain(None, None).of(&config, 8453).unwrap().rpc.url(), "http://own-base");
        assert_eq!(chain(None, None).of(&config, 100).unwrap().name, "gnosis");
        assert!(chain(Some("base"), None).of(&config, 777).unwrap_err().to_string().contains("777"));
        assert!(chain(None, None).of(&config, 5).unwrap_err().to_string().contains("--rpc"));
    }

    #[test]
    fn money_is_usdc_unless_something_else_is_said() {
        let base = chain(Some("base"), None).usual(&Config::default()).unwrap();
        let usdc = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".parse().unwrap();
        for said in [None, Some("usdc"), Some("USDC"), Some("0x833589fcd6edb6e08f4c7c32d4f71b54bda02913")] {
            assert_eq!(base.token(said).unwrap(), Some(usdc));
        }
        for said in ["coin", "ETH", "eth"] {
            assert_eq!(base.token(Some(said)).unwrap(), None);
        }
        // Its checksum is wrong: somebody has mistyped a digit.
        assert!(base.token(Some("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02914")).is_err());
        let gnosis = chain(Some("gnosis"), None).usual(&Config::default()).unwrap();
        assert!(gnosis.token(None).unwrap_err().to_string().contains("--asset"));
    }
}

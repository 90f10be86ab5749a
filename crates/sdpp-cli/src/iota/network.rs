//! Which IOTA network is meant, and how it is reached.

use std::sync::Arc;

use sdpp_iota::{BadUrl, GasStation, Grpc, HttpLine, HttpStation, JsonRpc, Lasting, Nodes, Transport, is_chain};
use sdpp_rail::RailError;
use zeroize::Zeroizing;

use crate::config::{Config, IotaNetwork};
use crate::exit::{Exit, failed};
use crate::ledger::Failure;

/// Networks whose names are known, with a node of their operators, and their identifiers where these stay: a devnet begins anew
/// now and then. See docs.iota.org/developer/network-overview, and `ChainIdentifier` in `iota_types`.
const KNOWN: [(&str, &str, Option<&str>); 4] = [
    ("mainnet", "https://api.mainnet.iota.cafe", Some("6364aad5")),
    ("testnet", "https://api.testnet.iota.cafe", Some("2304aa97")),
    ("devnet", "https://api.devnet.iota.cafe", None),
    ("local", "http://127.0.0.1:9000", None),
];
/// Networks that the explorer shows.
const EXPLORED: [&str; 3] = ["mainnet", "testnet", "devnet"];

fn known(name: &str) -> Option<&'static (&'static str, &'static str, Option<&'static str>)> {
    KNOWN.iter().find(|(known, ..)| *known == name)
}

/// Which IOTA network, and how it is reached.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Tangle {
    /// The network of the rail and the records `iota`: mainnet, testnet, devnet, local, or a name of the configuration.
    #[arg(long, value_name = "NETWORK", env = "SDPP_IOTA_NETWORK", global = true)]
    iota_network: Option<String>,
    /// Its nodes, with commas between them: https://… is JSON-RPC, grpcs://… is gRPC, by which a seller verifies the
    /// validators' signatures. Else the configuration says them, else its operators' one.
    #[arg(
        long,
        value_name = "URL",
        env = "SDPP_IOTA_RPC",
        hide_env_values = true,
        value_delimiter = ',',
        global = true
    )]
    iota_rpc: Vec<String>,
}

/// A network and its nodes.
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) nodes: Arc<Nodes>,
    /// Where they are, for people.
    pub(crate) place: String,
    pub(crate) lasting: Lasting,
    /// Who pays the gas, where that is not the account.
    pub(crate) station: Option<Arc<dyn GasStation>>,
}

/// What a gas station knows this user by.
const TOKEN: &str = "SDPP_IOTA_GAS_TOKEN";

/// The gas station of a network, if one is configured.
fn station(own: &IotaNetwork) -> Result<Option<Arc<dyn GasStation>>, Failure> {
    let Some(url) = &own.gas_station else { return Ok(None) };
    let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).map(Zeroizing::new);
    let wrong = |_| failed(Exit::Usage, "gas_station is no URL of a gas station: it begins with https:// or http://");
    Ok(Some(Arc::new(HttpStation::new(url, token).map_err(wrong)?)))
}

impl Tangle {
    /// Whether one was named, here or in the configuration.
    pub(crate) fn is_named(&self, config: &Config) -> bool {
        self.iota_network.is_some() || !self.iota_rpc.is_empty() || config.iota.network.is_some()
    }

    /// Reaches the network that is named, or configured.
    pub(crate) async fn reach(&self, config: &Config) -> Result<Network, Failure> {
        let name = self.iota_network.clone().or_else(|| config.iota.network.clone());
        let name = match (name, self.iota_rpc.is_empty()) {
            (Some(name), _) => name,
            (None, false) => "local".to_owned(),
            (None, true) => {
                let names: Vec<&str> = KNOWN.iter().map(|(name, ..)| *name).collect();
                let what = format!("say on which IOTA network: --iota-network {}", names.join(", "));
                return Err(failed(Exit::Usage, what));
            }
        };
        let own = config.iota.networks.get(&name).cloned().unwrap_or_default();
        let urls = self.urls(&name, &own)?;
        let mut transports: Vec<Arc<dyn Transport>> = Vec::new();
        let mut places = Vec::new();
        for url in &urls {
            let wrong = |error: BadUrl| failed(Exit::Usage, error.to_string());
            let node: Arc<dyn Transport> = if Grpc::is_for(url) {
                Arc::new(Grpc::new(url).map_err(wrong)?)
            } else {
                Arc::new(JsonRpc::new(Arc::new(HttpLine::new(url).map_err(wrong)?)))
            };
            places.push(node.name());
            transports.push(node);
        }
        let place = places.join(", ");
        let chain = own.chain.as_deref().or_else(|| known(&name).and_then(|(_, _, chain)| *chain));
        if let Some(chain) = chain.filter(|chain| !is_chain(chain)) {
            let what = format!(
                "'{chain}' is no identifier of an IOTA network: eight digits, a to f small, as `sdpp wallet iota show` has it"
            );
            return Err(failed(Exit::Usage, format!("{what} (chain, in [iota.networks.{name}])")));
        }
        let nodes = Nodes::connect(chain, transports).await.map_err(|error| match (error, chain) {
            (RailError::Declined(_), Some(chain)) => failed(
                Exit::Refused,
                format!("{place} is of another IOTA network than {name}, which is {chain}: name a node of that one"),
            ),
            _ => failed(
                Exit::Unreachable,
                format!("{place} does not answer as a node of {name}: try another one with --iota-rpc"),
            ),
        })?;
        let lasting = if own.keep_records { Lasting::Object } else { Lasting::Transaction };
        Ok(Network { name, nodes: Arc::new(nodes), place, lasting, station: station(&own)? })
    }

    fn urls(&self, name: &str, own: &IotaNetwork) -> Result<Vec<String>, Failure> {
        if !self.iota_rpc.is_empty() {
            return Ok(self.iota_rpc.clone());
        }
        if !own.rpc.is_empty() {
            return Ok(own.rpc.clone());
        }
        known(name).map(|(_, url, _)| vec![(*url).to_owned()]).ok_or_else(|| {
            failed(Exit::Usage, format!("'{name}' is no known network: say its nodes in [iota.networks.{name}]"))
        })
    }

    /// The same, where somebody else has chosen the network.
    pub(crate) async fn reach_of(&self, config: &Config, chain: &str) -> Result<Network, Failure> {
        if !self.is_named(config) {
            let what = format!(
                "the seller is on the IOTA network {chain}: say which of yours that is with --iota-network, or in sdpp.toml"
            );
            return Err(failed(Exit::Usage, what));
        }
        let network = self.reach(config).await?;
        if network.nodes.chain() != chain {
            let (name, own) = (&network.name, network.nodes.chain());
            let what = format!("the seller is on the IOTA network {chain}, and {name} is {own}: name another one");
            return Err(failed(Exit::Refused, what));
        }
        Ok(network)
    }
}

impl Network {
    /// Where a transaction can be seen, for networks that have an explorer.
    pub(crate) fn explorer(&self, digest: &str) -> Option<String> {
        self.page(&format!("txblock/{digest}"))
    }

    /// The same of an account.
    pub(crate) fn account_page(&self, address: &str) -> Option<String> {
        self.page(&format!("address/{address}"))
    }

    fn page(&self, of: &str) -> Option<String> {
        EXPLORED.contains(&self.name.as_str()).then(|| format!("https://explorer.iota.org/{of}?network={}", self.name))
    }
}

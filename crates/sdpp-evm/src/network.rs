//! Networks by name, and where the contracts are on each.

use alloy::primitives::{Address, B256, Bytes, address, keccak256};
use alloy::sol_types::SolConstructor as _;

use crate::abi::registry::SdppRegistry;
use crate::abi::{SdppBond, SdppChannels, SdppDualDeposit, SdppRecords};
use crate::limits;
use crate::typed::Place;

/// A chain that is known by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its id (EIP-155).
    pub chain: u64,
    /// The public node of its operators; none where there is no such one.
    pub rpc: Option<&'static str>,
    /// Blocks on top of the one that makes something final enough for a channel.
    pub finality: u32,
    /// Most wei for a unit of gas that is paid there.
    pub fee_max: u128,
    /// How old its newest block may be by a right clock, in seconds; none where it makes blocks only when there is something
    /// in them.
    pub lag_max_s: Option<u64>,
    /// Its native coin.
    pub coin: &'static str,
    /// USDC as Circle issues it there.
    pub usdc: Option<Address>,
}

/// A block of all of these comes within seconds; clocks are off by some.
const LAG_MAX_S: u64 = 90;
/// In wei.
const GWEI: u128 = 1_000_000_000;

/// The networks that are known by name. Any other one is named by its chain id and a node.
pub const NETWORKS: [Network; 9] = [
    Network {
        name: "ethereum",
        chain: 1,
        rpc: None,
        finality: 12,
        fee_max: 1000 * GWEI,
        lag_max_s: Some(LAG_MAX_S),
        coin: "ETH",
        usdc: Some(address!("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48")),
    },
    Network {
        name: "base",
        chain: 8453,
        rpc: Some("https://mainnet.base.org"),
        finality: 5,
        fee_max: 50 * GWEI,
        lag_max_s: Some(LAG_MAX_S),
        coin: "ETH",
        usdc: Some(address!("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")),
    },
    Network {
        name: "optimism",
        chain: 10,
        rpc: Some("https://mainnet.optimism.io"),
        finality: 5,
        fee_max: 50 * GWEI,
        lag_max_s: Some(LAG_MAX_S),
        coin: "ETH",
        usdc: Some(address!("0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85")),
    },
    Network {
        name: "arbitrum",
        chain: 42_161,
        rpc: Some("https://arb1.arbitrum.io/rpc"),
        finality: 20,
        fee_max: 50 * GWEI,
        lag_max_s: Some(LAG_MAX_S),
        coin: "ETH",
        usdc: Some(address!("0xaf88d065e77c8cC2239327C5EDb3A432268e5831")),
    },
    Network {
        name: "polygon",
        chain: 137,
        rpc: Some("https://polygon-rpc.com"),
        finality: 16,
        fee_max: 20000 * GWEI,
        lag_max_s: Some(LAG_MAX_S),
        coin: "POL",
        usdc: Some(address!("0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359")),
    },
    Network {
        name: "gnosis",
        chain: 100,
        rpc: Some("https://rpc.gnosischain.com"),
        finality: 12,
        fee_max: 1000 * GWEI,
        lag_max_s: Some(LAG_MAX_S),
        coin: "xDAI",
        usdc: None,
    },
    Network {
        name: "sepolia",
        chain: 11_155_111,
        rpc: None,
        finality: 6,
        fee_max: 1000 * GWEI,
        lag_max_s: Some(LAG_MAX_S),
        coin: "ETH",
        usdc: Some(address!("0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238")),
    },
    Network {
        name: "base-sepolia",
        chain: 84_532,
        rpc: Some("https://sepolia.base.org"),
        finality: 3,
        fee_max: 50 * GWEI,
        lag_max_s: Some(LAG_MAX_S),
        coin: "ETH",
        usdc: Some(address!("0x036CbD53842c5426634e7929541eC2318f3dCF7e")),
    },
    // What anvil and hardhat serve.
    Network {
        name: "local",
        chain: 31_337,
        rpc: Some("http://127.0.0.1:8545"),
        finality: 0,
        fee_max: limits::FEE_MAX,
        lag_max_s: None,
        coin: "ETH",
        usdc: None,
    },
];

impl Network {
    /// The network of a name or of a chain's id.
    pub fn find(name: &str) -> Option<&'static Self> {
        let chain = name.parse::<u64>().ok();
        NETWORKS.iter().find(|network| network.name == name || Some(network.chain) == chain)
    }

    /// The network of this chain, if it is known.
    pub fn of_chain(chain: u64) -> Option<&'static Self> {
        NETWORKS.iter().find(|network| network.chain == chain)
    }
}

/// The contract that puts others at addresses which depend on their code only: the same one on all usual chains
/// (<https://github.com/Arachnid/deterministic-deployment-proxy>).
pub const DEPLOYER: Address = address!("0x4e59b44847b379578588920cA78FbF26c0B4956C");

/// A contract of SDPP, and what makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contract {
    /// Its name.
    pub name: &'static str,
    /// The code that runs once and leaves the contract there.
    pub init: Bytes,
}

impl Contract {
    fn new(name: &'static str, code: &Bytes, arguments: &[u8]) -> Self {
        Self { name, init: [code.as_ref(), arguments].concat().into() }
    }

    /// All of them, each behind those that it needs.
    pub fn all() -> [Self; 5] {
        let channels = Self::channels();
        let registry = SdppRegistry::constructorCall { channels_: channels.usual_address() }.abi_encode();
        [
            channels,
            Self::records(),
            Self::new("SdppDualDeposit", &SdppDualDeposit::BYTECODE, &[]),
            Self::new("SdppRegistry", &SdppRegistry::BYTECODE, &registry),
            Self::new("SdppBond", &SdppBond::BYTECODE, &[]),
        ]
    }

    /// The contract of channels.
    pub fn channels() -> Self {
        Self::new("SdppChannels", &SdppChannels::BYTECODE, &[])
    }

    /// The contract of records.
    pub fn records() -> Self {
        Self::new("SdppRecords", &SdppRecords::BYTECODE, &[])
    }

    /// Makes the address the contract's own, and SDPP's.
    fn salt() -> B256 {
        keccak256(b"SDPP/2")
    }

    /// Where it is on every chain, if it was put there by [`DEPLOYER`]: nobody can put anything else there.
    pub fn usual_address(&self) -> Address {
        DEPLOYER.create2_from_code(Self::salt(), &self.init)
    }

    /// What the deployer is sent.
    pub(crate) fn call(&self) -> Bytes {
        [Self::salt().as_slice(), &self.init].concat().into()
    }
}

/// Where channels are on a chain unless something else is said.
pub fn usual_place(chain: u64) -> Place {
    Place { chain, contract: Contract::channels().usual_address() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_found_by_its_name_and_by_its_id() {
        for network in &NETWORKS {
            assert_eq!(Network::find(network.name), Some(network));
            assert_eq!(Network::find(&network.chain.to_string()), Some(network));
        }
        for none in ["", "Base", "2", "-1", "ethereum "] {
            assert_eq!(Network::find(none), None, "{none}");
        }
    }

    #[test]
    fn each_contract_has_a_place_of_its_own() {
        let mut places = Contract::all().map(|contract| contract.usual_address());
        places.sort_unstable();
        assert!(places.is_sorted_by(|one, other| one < other), "{places:?}");
    }
}

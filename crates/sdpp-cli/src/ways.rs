//! The ways to pay and to record: by which names they go, and what is said of each on the command line.

use sdpp_proto::statement::PayOption;

use crate::config::{self, Rail};
use crate::exit::{Exit, failed};
use crate::ledger::Failure;
use crate::ledger::reach::Reach;
use crate::text::symbol;

#[cfg(feature = "evm")]
pub(crate) use crate::evm::Chain;

/// Where this program knows no chains, there is nothing to say of them.
#[cfg(not(feature = "evm"))]
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Chain {}

#[cfg(not(feature = "evm"))]
impl Chain {
    pub(crate) const fn is_named(&self, _: &config::Config) -> bool {
        false
    }
}

#[cfg(feature = "iota")]
pub(crate) use crate::iota::Tangle;

/// Where this program knows no IOTA, there is nothing to say of it.
#[cfg(not(feature = "iota"))]
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Tangle {}

#[cfg(not(feature = "iota"))]
impl Tangle {
    pub(crate) const fn is_named(&self, _: &config::Config) -> bool {
        false
    }
}

/// The places of money and records: the ledger, the chain, and IOTA.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Ways {
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(flatten)]
    pub(crate) chain: Chain,
    #[command(flatten)]
    pub(crate) tangle: Tangle,
}

/// Which of the rails of this program an option is of.
pub(crate) fn rail_of(option: &PayOption) -> Option<Rail> {
    match option.rail.as_str() {
        sdpp_ledger::RAIL_VOUCHER => Some(Rail::Voucher),
        sdpp_ledger::RAIL_DIRECT => Some(Rail::Direct),
        #[cfg(feature = "evm")]
        crate::evm::RAIL => Some(Rail::Evm),
        #[cfg(feature = "iota")]
        crate::iota::RAIL => Some(Rail::Iota),
        _ => None,
    }
}

/// Whether an option is in the asset that people mean.
pub(crate) fn is_in(option: &PayOption, said: &str) -> bool {
    #[cfg(feature = "evm")]
    if option.rail == crate::evm::RAIL {
        return crate::evm::is_meant(&option.asset, said);
    }
    #[cfg(feature = "iota")]
    if option.rail == crate::iota::RAIL {
        return said.eq_ignore_ascii_case("iota") || option.asset.as_str() == said;
    }
    option.asset.as_str() == said || symbol(&option.asset) == said
}

/// The chain of an option and the contract there, for people; none of one on a ledger.
pub(crate) fn chain_of(option: &PayOption) -> Option<String> {
    #[cfg(feature = "evm")]
    if option.rail == crate::evm::RAIL {
        return crate::evm::place_of(option);
    }
    #[cfg(feature = "iota")]
    if option.rail == crate::iota::RAIL {
        return crate::iota::place_of(option);
    }
    let _ = option;
    None
}

/// The records that a backend of a menu names.
pub(crate) fn records_of(backend: &str) -> Result<config::Records, Failure> {
    match backend {
        "none" => Ok(config::Records::None),
        "ledger" => Ok(config::Records::Ledger),
        "evm" => Ok(config::Records::Evm),
        "iota" => Ok(config::Records::Iota),
        other => {
            let what = format!("the seller records on '{other}', which this program does not know: say --records none");
            Err(failed(Exit::Refused, what))
        }
    }
}

/// What to say where the program was built without chains.
#[cfg(not(feature = "evm"))]
pub(crate) fn no_chains() -> Failure {
    failed(Exit::Usage, "this sdpp was built without EVM chains: build it with --features evm")
}

/// What to say where the program was built without IOTA.
#[cfg(not(feature = "iota"))]
pub(crate) fn no_iota() -> Failure {
    failed(Exit::Usage, "this sdpp was built without IOTA: build it with --features iota")
}

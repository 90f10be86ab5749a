//! Money and records on IOTA: which network, whose key, who is paid.

use std::sync::Arc;

use sdpp_iota::{Committee, IotaAddress, IotaPayee, IotaPayer, IotaRecords, IotaTerms, PayeeConfig, Purse, limits};
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

/// An account of a role on a network: all that it takes to be paid.
pub(crate) struct Account {
    address: IotaAddress,
    network: Network,
}

/// An account and its coins: whoever has it spends them, and nobody else does meanwhile.
pub(crate) struct Spender {
    account: Account,
    purse: Arc<Purse>,
}

impl Account {
    /// The role's account on the network that is named, or configured.
    pub(crate) async fn open(home: &Home, role: &RoleHome, tangle: &Tangle) -> Result<Self, Failure> {
        let address = key::open(role)?.address();
        Ok(Self { address, network: tangle.reach(&home.config()?).await? })
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Where its money is, for people.
    pub(crate) fn place(&self) -> String {
        let Network { name, nodes, place, .. } = &self.network;
        format!("{name} (IOTA network {}) at {place}, account {}", nodes.chain(), self.address())
    }

    /// Is paid into it. Also says whom it believes about a payment.
    pub(crate) async fn payee(&self, role: &RoleHome, config: &config::Seller) -> Result<(IotaPayee, String), Failure> {
        let Network { nodes, .. } = &self.network;
        let store = Box::new(role.store(&format!("committee-iota-{}", nodes.chain()), Durability::Power)?);
        let committee = Committee::of_nodes(nodes, store).await.map_err(|error| self.explain(error))?;
        let witness = committee.as_ref().map_or_else(
            || "its nodes, whose word is all there is (name one over gRPC, grpcs://…, and the validators' signatures count)".into(),
            |committee| {
                let ((epoch, fingerprint), is_first) = (committee.fingerprint(), committee.is_first());
                let first = if is_first { "; named by the nodes just now, and trusted from here on" } else { "" };
                format!("the validators of epoch {epoch}, {fingerprint}{first}")
            },
        );
        let terms = PayeeConfig {
            account: self.address,
            pay_by_ms: config.pay_by.unwrap_or(limits::PAY_BY_MS),
            committee: committee.map(Arc::new),
        };
        let store = Box::new(role.store(&format!("rail-iota-{}", nodes.chain()), Durability::Power)?);
        Ok((IotaPayee::new(nodes.clone(), terms, store), witness))
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

/// Name of the store that says what was signed with which coin.
fn purse_of(chain: &str) -> String {
    format!("wallet-iota-{chain}")
}

impl Spender {
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
        let store = Box::new(role.store(&purse_of(network.nodes.chain()), Durability::Power)?);
        let purse = Purse::open(network.nodes.clone(), wallet, store);
        let mut purse = purse.map_err(|error| failed(Exit::Storage, error.to_string()))?;
        if let Some(station) = &network.station {
            purse = purse.sponsored_by(station.clone());
        }
        Ok(Self { account: Account { address: purse.address(), network }, purse: Arc::new(purse) })
    }

    /// The account.
    pub(crate) const fn account(&self) -> &Account {
        &self.account
    }

    /// The account alone; what records in its name goes on spending.
    pub(crate) fn into_account(self) -> Account {
        self.account
    }

    /// Pays by it.
    pub(crate) fn payer(&self) -> Arc<IotaPayer> {
        Arc::new(IotaPayer::new(self.purse.clone(), WINDOWS))
    }

    /// Records in its name.
    pub(crate) fn records(&self) -> IotaRecords {
        IotaRecords::new(self.purse.clone(), self.account.network.lasting)
    }

    /// Makes sure that it can pay so much in so many windows, and the fees of all.
    pub(crate) async fn fund(&self, needed: Amount, windows: u128) -> Result<(), Failure> {
        let Network { name, nodes, .. } = &self.account.network;
        let coins = nodes.coins(&self.account.address).await.map_err(|error| self.account.explain(error))?;
        let has: u128 = coins.iter().map(|coin| u128::from(coin.balance)).sum();
        let fees = cost::fee(&self.account.network).await?.saturating_mul(windows);
        // A transaction has to have its budget, though it takes less: the last payment, and a division or a record beside it.
        let spare = if fees == 0 { 0 } else { u128::from(limits::BUDGET).saturating_mul(2) };
        if has < needed.get().saturating_add(fees).saturating_add(spare) {
            let what = format!(
                "the order may cost {}, its {windows} windows {} of fees, and {} has to be there to the end; {} has {}: order \
                 less with --count or --budget, or send it some IOTA on {name}",
                human(needed.get()),
                human(fees),
                human(spare),
                self.account.address(),
                human(has)
            );
            return Err(failed(Exit::Money, what));
        }
        Ok(())
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
    let signed = if nodes.carry_signatures() {
        "a seller verifies its validators' signatures"
    } else {
        "a seller believes it: over gRPC (grpcs://…) it would verify signatures"
    };
    Ok(format!(
        "{place} serves {name} (IOTA network {}), epoch {epoch}, gas price {price} nano; {signed}",
        nodes.chain()
    ))
}

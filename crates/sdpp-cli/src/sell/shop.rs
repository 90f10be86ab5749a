//! What a seller has: its ledger, its ways to be paid, its products.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sdpp::address::Address;
use sdpp::journal::Journal;
use sdpp::seller::{Offer, Pools, REDEEM_EVERY, Settings};
use sdpp_ledger::LedgerRecords;
use sdpp_proto::money::AssetId;
use sdpp_rail::Payee;

use super::sources::Sources;
use super::{Args, durability, money, offers, told};
use crate::config::Config;
use crate::home::{Home, Role};
use crate::ledger::Failure;
use crate::ledger::reach::Remote;
use crate::text::symbol;
use sdpp_config::{AskedPrice, told as price};

/// A seller's things, and the configuration that they were made from.
pub(super) struct Shop {
    home: Home,
    args: Args,
    pub(super) remote: Remote,
    pub(super) asset: AssetId,
    payees: Vec<Arc<dyn Payee>>,
    bound: SocketAddr,
    config: Config,
    sources: Sources,
    /// Products that take no new orders: the menu offers none of their messages.
    paused: BTreeSet<String>,
}

/// What a shop sells by.
pub(super) struct Plan {
    config: Config,
    paused: BTreeSet<String>,
}

impl Shop {
    /// Reaches the ledger and follows it to its end.
    pub(super) async fn open(home: &Home, args: &Args, config: Config, bound: SocketAddr) -> Result<Self, Failure> {
        let remote = Remote::open(home, Role::Seller, &args.reach).await?;
        remote.follow().await?;
        let asset = money::asset(&remote, config.seller.asset.as_deref()).await?;
        let payees = money::payees(&remote, &config.seller, &asset)?;
        let (home, args, sources) = (home.clone(), args.clone(), Sources::new(config.mqtt.clone()));
        Ok(Self { home, args, remote, asset, payees, bound, config, sources, paused: BTreeSet::new() })
    }

    /// What is on sale.
    pub(super) fn offers(&mut self) -> Result<Vec<Offer>, Failure> {
        self.sell_by(self.config.clone())
    }

    /// What a configuration has on sale; from now on it counts.
    fn sell_by(&mut self, config: Config) -> Result<Vec<Offer>, Failure> {
        let mut offers = offers::offers(&config, &mut self.sources)?;
        for offer in offers.iter_mut().filter(|offer| self.paused.contains(&offer.product.topic)) {
            // Whoever reads it there locks no deposit for an order that is refused.
            offer.product.available = Some(0);
        }
        self.config = config;
        Ok(offers)
    }

    /// What it sells by.
    pub(super) fn plan(&self) -> Plan {
        Plan { config: self.config.clone(), paused: self.paused.clone() }
    }

    /// Sells by this again: what was tried instead could not be put on sale.
    pub(super) fn go_back(&mut self, plan: Plan) {
        (self.config, self.paused) = (plan.config, plan.paused);
    }

    /// Reads the configuration again. What the command line said still counts most; where it listens, its
    /// ledger and its money stay until a restart.
    pub(super) fn reread(&mut self) -> Result<Vec<Offer>, Failure> {
        let config = self.args.over(self.home.config()?)?;
        self.sell_by(config)
    }

    /// The same with a product that takes no new orders, or takes them again.
    pub(super) fn pause(&mut self, topic: &str, paused: bool) -> Result<Vec<Offer>, Failure> {
        if paused {
            self.paused.insert(topic.to_owned());
        } else {
            self.paused.remove(topic);
        }
        self.offers()
    }

    /// Another price for new orders, until the configuration is read again.
    pub(super) fn reprice(&mut self, topic: &str, price: AskedPrice) -> Result<Vec<Offer>, Failure> {
        let mut config = self.config.clone();
        let product = config.products.iter_mut().find(|product| product.topic == topic);
        product.ok_or_else(|| format!("there is no product '{topic}'"))?.price = price;
        self.sell_by(config)
    }

    /// The bounds over all buyers: what the configuration says, else the usual ones.
    pub(super) fn pools(&self, offers: &[Offer]) -> Pools {
        let (config, usual) = (&self.config.seller, Pools::of(offers));
        Pools { strangers: config.strangers.unwrap_or(usual.strangers), proven: config.proven.unwrap_or(usual.proven) }
    }

    /// The library's settings.
    pub(super) fn settings(&self, offers: Vec<Offer>) -> Result<Settings, Failure> {
        let Remote { client, key, role, .. } = &self.remote;
        let config = &self.config.seller;
        let journal = Journal::start(role.store("journal", durability(config.journal))?)?;
        let settings = Settings {
            pools: self.pools(&offers),
            standings: Some(client.clone()),
            redeem_every: config.redeem_every.unwrap_or(REDEEM_EVERY),
            listener: told::listener(&self.asset),
            ..Settings::new(key.clone(), offers, self.payees.clone(), journal)
        };
        Ok(settings.record_in(Arc::new(LedgerRecords::new(client.clone(), key.clone()))))
    }

    /// The addresses of all products, as buyers use them.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let (host, port) = self.reached_at();
        let seller = Some(self.remote.key.public());
        let address = |topic: &String| Address { seller, host: host.clone(), port, topic: Some(topic.clone()) };
        self.config.products.iter().map(|product| address(&product.topic)).collect()
    }

    fn reached_at(&self) -> (String, u16) {
        let port = self.bound.port();
        match (self.config.seller.public.as_deref(), self.bound.ip()) {
            (Some(public), _) => {
                match public.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
                    Some((host, port)) => (host.to_owned(), port),
                    None => (public.to_owned(), port),
                }
            }
            (None, IpAddr::V6(ip)) => (format!("[{ip}]"), port),
            (None, IpAddr::V4(ip)) => (ip.to_string(), port),
        }
    }

    /// Says who sells what, for what, and what can be lost.
    pub(super) fn introduce(&self, offers: &[Offer]) {
        let unit = symbol(&self.asset);
        eprintln!("seller     {}", self.remote.key.public());
        eprintln!("listens    {}", self.bound);
        eprintln!("ledger     {} at {}", self.remote.client.origin(), self.remote.url);
        eprintln!("paid in    {}", self.asset);
        for offer in offers {
            let product = &offer.product;
            let (k, windows) = (product.k, product.windows_max);
            let cost = price(&product.price(), unit);
            eprintln!("product    {}: {cost}, K = {k}, {windows} outstanding windows", product.topic);
            eprintln!("           one buyer may owe {} {unit}", offer.exposure_max);
        }
        let Pools { strangers, proven } = self.pools(offers);
        eprintln!("at risk    {strangers} {unit} with all strangers together, {proven} {unit} with proven buyers");
        if self.bound.ip().is_unspecified() && self.config.seller.public.is_none() {
            eprintln!("warning    buyers cannot use {}: say by which name they reach you with --public", self.bound);
        }
    }
}

//! What a seller has: its key, its ways to be paid, its products.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sdpp::address::Address;
use sdpp::journal::Journal;
use sdpp::seller::{Offer, Pools, Settings, TEND_EVERY};
use sdpp_proto::identity::SigningKey;

use super::money::Till;
use super::sources::Sources;
use super::{Args, durability, offers, told};
use crate::config::Config;
use crate::exit::{Exit, failed};
use crate::home::{Home, Role, RoleHome};
use crate::ledger::Failure;
use crate::text::{coin, symbol};
use sdpp_config::{AskedPrice, told as price};

/// A seller's things, and the configuration that they were made from.
pub(super) struct Shop {
    home: Home,
    args: Args,
    pub(super) role: RoleHome,
    key: SigningKey,
    pub(super) till: Till,
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
    /// Reaches the places of its money and its records.
    pub(super) async fn open(home: &Home, args: &Args, config: Config, bound: SocketAddr) -> Result<Self, Failure> {
        let role = home.role(Role::Seller)?;
        let key = role.key()?;
        let till = Till::open(home, (&role, &key), &args.ways, &config).await?;
        let (home, args, sources) = (home.clone(), args.clone(), Sources::new(config.mqtt.clone()));
        Ok(Self { home, args, role, key, till, bound, config, sources, paused: BTreeSet::new() })
    }

    /// What is on sale.
    pub(super) fn offers(&mut self) -> Result<Vec<Offer>, Failure> {
        self.sell_by(self.config.clone())
    }

    /// What a configuration has on sale; from now on it counts.
    fn sell_by(&mut self, config: Config) -> Result<Vec<Offer>, Failure> {
        let (coin, unit) = (coin(&self.till.asset), symbol(&self.till.asset));
        for product in &config.products {
            let checked = product.price.amount().check(coin, unit);
            checked.map_err(|what| failed(Exit::Usage, format!("product '{}': {what}", product.topic)))?;
        }
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
        let (config, till) = (&self.config.seller, &self.till);
        let journal = Journal::start(self.role.store("journal", durability(config.journal))?)?;
        let standings = till.remote.as_ref().map(|remote| remote.client.clone());
        let settings = Settings {
            pools: self.pools(&offers),
            standings: standings.map(|client| client as _),
            redeem_every: till.redeem_every,
            tend_every: config.tend_every.map_or(TEND_EVERY, Duration::from_millis),
            listener: told::listener(&till.asset),
            ..Settings::new(self.key.clone(), offers, till.payees.clone(), journal)
        };
        Ok(till.records.iter().fold(settings, |settings, records| settings.record_in(records.clone())))
    }

    /// The addresses of all products, as buyers use them.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let (host, port) = self.reached_at();
        let seller = Some(self.key.public());
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
        let unit = symbol(&self.till.asset);
        eprintln!("seller     {}", self.key.public());
        eprintln!("listens    {}", self.bound);
        for (name, place) in &self.till.places {
            eprintln!("{name:<10} {place}");
        }
        eprintln!("paid in    {}", self.till.asset);
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

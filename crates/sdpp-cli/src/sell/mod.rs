//! `sdpp sell`: sells products until it is told to end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use sdpp::journal::Journal;
use sdpp::seller::{Event, Limits, Listener, Offer, Pools, Seller, Settings, StartError, TEND_EVERY};
use sdpp_ledger::{DirectPayee, LedgerRecords, PayeeConfig, VoucherPayee};
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::{Form, RecordOffer};
use sdpp_rail::{Durability, Payee};
use tokio::sync::watch;

mod args;
mod offers;

pub(crate) use args::Args;

use crate::address::{Address, PORT};
use crate::config::{self, Class, Config, Pay};
use crate::exit::{Exit, failed};
use crate::home::{Home, Role};
use crate::ledger::Failure;
use crate::ledger::reach::Remote;
use crate::ledger::station::{self, Ending};
use crate::price::told;
use crate::text::{short_key, symbol};

/// Where it listens if nothing is said.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
/// Shortest grace period of a channel if nothing is said: an hour to notice and redeem.
const GRACE_MS: u64 = 60 * 60 * 1000;
/// Time from an invoice to `default` if nothing is said.
const PAY_BY_MS: u64 = 60_000;
/// Invoices between two redemptions if nothing is said.
const REDEEM_EVERY: u64 = 100;
/// So many buyers with all their credit used fit into the strangers' pool if nothing is said…
const STRANGERS: u128 = 16;
/// …and so many into that of proven buyers.
const PROVEN: u128 = 1024;

/// Runs it.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let config = args.over(home.config()?)?;
    let offers = offers::offers(&config)?;
    let runtime = station::runtime()?;
    let listener = station::bind(&runtime, config.seller.listen.unwrap_or(LISTEN))?;
    let address = listener.local_addr()?;
    runtime.block_on(async {
        let remote = Remote::open(home, Role::Seller, &args.reach).await?;
        remote.follow().await?;
        let shop = Shop::open(&remote, &config, offers).await?;
        shop.introduce(&config, address);
        if args.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let ending = Ending::listen()?;
        let seller = Seller::start(shop.settings(&config)?).await.map_err(explain)?;
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(async move { seller.serve(listener, stopped).await });
        for topic in config.products.iter().map(|product| &product.topic) {
            crate::say(&format!("ready {}", shop.address(&config, address, topic)));
        }
        ending.wait().await;
        stop.send_replace(true);
        // A session that panicked has said so itself.
        let _ = serving.await;
        Ok(ExitCode::SUCCESS)
    })
}

/// What a seller has when it opens.
struct Shop<'a> {
    remote: &'a Remote,
    asset: AssetId,
    offers: Vec<Offer>,
    pools: Pools,
    payees: Vec<Arc<dyn Payee>>,
}

impl<'a> Shop<'a> {
    async fn open(remote: &'a Remote, config: &Config, offers: Vec<Offer>) -> Result<Self, Failure> {
        let asset = asset(remote, config.seller.asset.as_deref()).await?;
        let most = offers.iter().map(|offer| offer.exposure_max).max().unwrap_or(Amount::ZERO);
        let pool =
            |given: Option<Amount>, times: u128| given.unwrap_or_else(|| Amount::new(most.get().saturating_mul(times)));
        let pools =
            Pools { strangers: pool(config.seller.strangers, STRANGERS), proven: pool(config.seller.proven, PROVEN) };
        let payees = payees(remote, &config.seller, &asset)?;
        Ok(Self { remote, asset, offers, pools, payees })
    }

    fn settings(&self, config: &Config) -> Result<Settings, Failure> {
        let Remote { client, key, role, .. } = self.remote;
        let durability = durability(config.seller.journal);
        Ok(Settings {
            key: key.clone(),
            offers: self.offers.clone(),
            payees: self.payees.clone(),
            records: Some(Arc::new(LedgerRecords::new(client.clone(), key.clone()))),
            record_offer: RecordOffer {
                backend: "ledger".to_owned(),
                origin: client.origin().to_owned(),
                form: Form::Full,
            },
            journal: Journal::start(role.store("journal", durability)?)?,
            pools: self.pools,
            limits: Limits::default(),
            redeem_every: config.seller.redeem_every.unwrap_or(REDEEM_EVERY),
            tend_every: TEND_EVERY,
            listener: listener(&self.asset),
        })
    }

    /// The address of a product, as buyers use it.
    fn address(&self, config: &Config, bound: SocketAddr, topic: &str) -> Address {
        let (host, port) = match config.seller.public.as_deref() {
            Some(public) => match public.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
                Some((host, port)) => (host.to_owned(), port),
                None => (public.to_owned(), bound.port()),
            },
            None => match bound.ip() {
                IpAddr::V6(ip) => (format!("[{ip}]"), bound.port()),
                IpAddr::V4(ip) => (ip.to_string(), bound.port()),
            },
        };
        Address { seller: Some(self.remote.key.public()), host, port, topic: Some(topic.to_owned()) }
    }

    fn introduce(&self, config: &Config, bound: SocketAddr) {
        let unit = symbol(&self.asset);
        eprintln!("seller     {}", self.remote.key.public());
        eprintln!("listens    {bound}");
        eprintln!("ledger     {} at {}", self.remote.client.origin(), self.remote.url);
        eprintln!("paid in    {}", self.asset);
        for offer in &self.offers {
            let product = &offer.product;
            eprintln!(
                "product    {}: {}, K = {}, {} outstanding windows",
                product.topic,
                told(&product.price(), unit),
                product.k,
                product.windows_max
            );
            eprintln!("           one buyer may owe {} {unit}", offer.exposure_max);
        }
        let Pools { strangers, proven } = self.pools;
        eprintln!("at risk    {strangers} {unit} with all strangers together, {proven} {unit} with proven buyers");
        if bound.ip().is_unspecified() && config.seller.public.is_none() {
            eprintln!("warning    buyers cannot use {bound}: say by which name they reach you with --public");
        }
    }
}

/// What a journal's flush survives.
pub(crate) fn durability(class: Option<Class>) -> Durability {
    match class {
        Some(Class::Process) => Durability::Process,
        Some(Class::Power) | None => Durability::Power,
    }
}

/// What the seller is paid in: what was said, else the ledger's trial money, else its only asset.
async fn asset(remote: &Remote, said: Option<&str>) -> Result<AssetId, Failure> {
    let issued = remote.look(sdpp_ledger::Fold::all_issued).await?;
    let of = |name: &str| issued.iter().map(|(asset, _)| asset).filter(|asset| symbol(asset) == name).count();
    if let Some(said) = said {
        if said.contains('@') {
            return Ok(AssetId::new(said));
        }
        if of(said) == 1 {
            let found = issued.iter().find(|(asset, _)| symbol(asset) == said);
            return Ok(found.map(|(asset, _)| asset.clone()).unwrap_or_else(|| AssetId::new(said)));
        }
        let what = format!("{} issuers of this ledger have a '{said}': write SYMBOL@ISSUER", of(said));
        return Err(failed(Exit::Usage, what));
    }
    // Only a hint: whoever pays in something else is refused.
    if let Ok(Some((asset, _))) = remote.http().trial().await {
        return Ok(asset);
    }
    match issued.as_slice() {
        [(asset, _)] => Ok(asset.clone()),
        _ => Err(failed(
            Exit::Usage,
            "say what you are paid in: --asset SYMBOL@ISSUER; `sdpp ledger balance` shows the assets of an account",
        )),
    }
}

fn payees(remote: &Remote, config: &config::Seller, asset: &AssetId) -> Result<Vec<Arc<dyn Payee>>, Failure> {
    let terms = PayeeConfig {
        key: remote.key.clone(),
        asset: asset.clone(),
        grace_min_ms: config.grace.unwrap_or(GRACE_MS),
        pay_by_ms: config.pay_by.unwrap_or(PAY_BY_MS),
        url: Some(remote.url.clone()),
    };
    let ways = config.pay.clone().unwrap_or_else(|| vec![Pay::Voucher]);
    let mut payees: Vec<Arc<dyn Payee>> = Vec::new();
    for way in [Pay::Voucher, Pay::Direct].into_iter().filter(|way| ways.contains(way)) {
        let client = remote.client.clone();
        // The journal holds every payment too; this book need not survive a power cut.
        payees.push(match way {
            Pay::Voucher => {
                let store = Box::new(remote.role.store("rail", Durability::Process)?);
                Arc::new(VoucherPayee::new(client, terms.clone(), store))
            }
            Pay::Direct => {
                let store = Box::new(remote.role.store("rail-direct", Durability::Process)?);
                Arc::new(DirectPayee::new(client, terms.clone(), store))
            }
        });
    }
    Ok(payees)
}

/// Says who comes and goes. On standard error: standard output is for scripts.
fn listener(asset: &AssetId) -> Listener {
    let unit = symbol(asset).to_owned();
    Arc::new(move |event| match event {
        Event::Live { order, buyer, start } => {
            let from = if *start == 0 { String::new() } else { format!(", goes on with message {start}") };
            eprintln!("order {order}: {} buys{from}", short_key(buyer));
        }
        Event::Ended { order: Some(order), ended, sent, due, paid } => {
            eprintln!("order {order}: {}; sent {sent} messages, due {due}, paid {paid} {unit}", how(ended));
        }
        Event::Ended { order: None, ended, .. } => tracing::info!(?ended, "a connection ended without an order"),
        Event::Skipped { order, messages } => eprintln!("order {order}: {messages} live messages went by unpaid"),
        Event::Dishonest(what) => eprintln!("warning: the ledger is not to be trusted: {what}"),
        Event::Paid { .. } | Event::Redeemed { .. } | Event::Recorded(_) => {}
    })
}

/// How a connection of a seller ended, in words.
fn how(ended: &sdpp_proto::seller::Ended) -> String {
    use sdpp_proto::seller::Ended as How;
    match ended {
        How::Settled { countersigned: true } => "settled".to_owned(),
        How::Settled { countersigned: false } => "paid in full, without the buyer's last signature".to_owned(),
        How::Defaulted => "the buyer did not pay in time".to_owned(),
        How::Offence(offence) => format!("the buyer broke a rule: {offence}"),
        How::Stopped(reason) => format!("stopped: {reason}"),
        How::Told(Some(fault)) => format!("the buyer stopped: {fault}"),
        How::Told(None) => "connection lost, it may come back".to_owned(),
    }
}

fn explain(error: StartError) -> Failure {
    match error {
        StartError::Settings(what) => failed(Exit::Usage, what),
        StartError::Journal(_) | StartError::Restore(..) | StartError::NoEntropy(_) => {
            failed(Exit::Storage, error.to_string())
        }
    }
}

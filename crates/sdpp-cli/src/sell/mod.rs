//! `sdpp sell`: sells products until it is told to end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use sdpp::address::PORT;
use sdpp::seller::{Seller, StartError};
use sdpp_rail::Durability;
use tokio::net::TcpListener;

mod args;
mod money;
mod offers;
mod running;
mod shop;
mod sources;
mod told;

pub(crate) use args::Args;

use self::running::Running;
use self::shop::Shop;
use crate::config::Class;
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::station::{self, Ending};
use crate::watch::Watch;

/// Where it listens if nothing is said.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);

/// Runs it.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let config = args.over(home.config()?)?;
    let runtime = station::runtime()?;
    let listener = station::bind(&runtime, config.seller.listen.unwrap_or(LISTEN))?;
    let metrics = config.seller.metrics;
    runtime.block_on(async {
        let mut shop = Shop::open(home, args, config, listener.local_addr()?).await?;
        let offers = shop.offers()?;
        shop.introduce(&offers);
        if args.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let mut watch = Watch::open(metrics).await?;
        watch.follow(shop.till.followed());
        let mut settings = shop.settings(offers)?;
        settings.listener = watch.seller(settings.listener);
        let seller = Seller::start(settings).await.map_err(explain)?;
        sell(shop, seller, listener, watch).await
    })
}

/// Sells until it is told to end; then what runs is settled.
async fn sell(shop: Shop, seller: Seller, listener: TcpListener, watch: Watch) -> Result<ExitCode, Failure> {
    let ending = Ending::listen()?;
    let ready = shop.addresses();
    let running = Arc::new(Running::new(shop, seller.clone()));
    let _control = running.clone().listen()?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(async move { seller.serve(listener, stopped).await });
    for address in ready {
        crate::say(&format!("ready {address}"));
    }
    ending.wait(station::LEFT).await;
    watch.ending();
    stop.send_replace(true);
    // A session that panicked has said so itself.
    let _ = serving.await;
    running.farewell();
    running.unredeemed().await;
    watch.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// What a journal's flush survives.
pub(crate) fn durability(class: Option<Class>) -> Durability {
    match class {
        Some(Class::Process) => Durability::Process,
        Some(Class::Power) | None => Durability::Power,
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

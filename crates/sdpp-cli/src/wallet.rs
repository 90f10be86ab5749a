//! `sdpp wallet`: what a role has at a ledger and on a chain, free and locked.

use std::process::ExitCode;

use sdpp_ledger::{Channel, ChannelState};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::money::Amount;
use serde_json::json;

use crate::buy::fetch_deposits_of;
use crate::home::{Home, Role};
use crate::ledger::Failure;
use crate::ledger::reach::Remote;
use crate::ledger::show::{self, Out};
use crate::text::{short_key, symbol};
use crate::visit::wait;
use crate::ways::Ways;

/// Shows what you have: balances, deposits locked in channels, and what sellers may still redeem. Where a chain is named or
/// configured, there; else on the ledger.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE", global = true)]
    role: Role,
    #[command(flatten)]
    ways: Ways,
    #[command(flatten)]
    out: Out,
    #[cfg(any(feature = "evm", feature = "iota"))]
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[cfg(any(feature = "evm", feature = "iota"))]
#[derive(clap::Subcommand)]
enum Verb {
    #[cfg(feature = "evm")]
    #[command(flatten)]
    Evm(crate::evm::wallet::Verb),
    /// The wallet on IOTA.
    #[cfg(feature = "iota")]
    #[command(subcommand)]
    Iota(crate::iota::wallet::Verb),
}

/// Runs it.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    wait(shown(home, args))
}

async fn shown(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    #[cfg(feature = "evm")]
    let chain = crate::evm::wallet::At { home, role: args.role, chain: &args.ways.chain, out: args.out };
    #[cfg(feature = "iota")]
    let iota = crate::iota::wallet::At { home, role: args.role, tangle: &args.ways.tangle, out: args.out };
    #[cfg(any(feature = "evm", feature = "iota"))]
    match &args.verb {
        #[cfg(feature = "evm")]
        Some(Verb::Evm(verb)) => return chain.run(verb).await,
        #[cfg(feature = "iota")]
        Some(Verb::Iota(verb)) => return iota.run(verb).await,
        None => {}
    }
    let config = home.config()?;
    let (on_chain, on_iota) = (args.ways.chain.is_named(&config), args.ways.tangle.is_named(&config));
    if !(on_chain || on_iota) || args.ways.reach.named().is_some() || config.ledger.url.is_some() {
        on_the_ledger(home, args).await?;
    }
    #[cfg(feature = "evm")]
    if on_chain {
        chain.show().await?;
    }
    #[cfg(feature = "iota")]
    if on_iota {
        iota.show().await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn on_the_ledger(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let remote = Remote::open(home, args.role, &args.ways.reach).await?;
    remote.follow().await?;
    fetch_deposits_of(home, args.role, &remote).await?;
    let size = remote.follow().await?;
    let account = remote.key.public();
    let (balances, paying, paid) = remote
        .look(|fold| Ok((fold.balances_of(&account)?, fold.channels_of(&account)?, fold.channels_for(&account)?)))
        .await?;
    let alive =
        |all: Vec<(ChannelId, Channel)>| all.into_iter().filter(|(_, channel)| channel.state != ChannelState::Closed);
    let (paying, paid): (Vec<_>, Vec<_>) = (alive(paying).collect(), alive(paid).collect());
    if args.out.is_json() {
        for (asset, amount) in &balances {
            let (asset, amount) = (asset.as_str(), amount.to_string());
            crate::say(
                &json!({ "account": account.to_string(), "asset": asset, "free": amount, "size": size }).to_string(),
            );
        }
        for (id, channel) in paying.iter().chain(&paid) {
            crate::say(&show::channel_json(id, channel).to_string());
        }
        return Ok(ExitCode::SUCCESS);
    }
    crate::say(&format!("account   {account}\nledger    {} at {}", remote.client.origin(), remote.url));
    for (asset, amount) in &balances {
        let own = paying.iter().filter(|(_, channel)| channel.asset == *asset);
        let locked =
            own.fold(Amount::ZERO, |sum, (_, channel)| sum.checked_add(channel.locked()).unwrap_or(Amount::MAX));
        crate::say(&format!("{:<9} {amount} free, {locked} locked in channels", symbol(asset)));
    }
    if balances.is_empty() {
        crate::say("          nothing yet");
    }
    for (id, channel) in &paying {
        crate::say(&line(id, channel, "to", &short_key(&channel.payee)));
    }
    for (id, channel) in &paid {
        crate::say(&line(id, channel, "from", &short_key(&channel.payer)));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(id: &ChannelId, channel: &Channel, way: &str, whom: &str) -> String {
    let short: String = id.to_string().chars().take(12).collect();
    let unit = symbol(&channel.asset);
    let (locked, redeemed, state) = (channel.locked(), channel.redeemed, show::state(channel));
    format!("channel   {short}… {state}, {way} {whom}: {locked} {unit} locked, {redeemed} redeemed")
}

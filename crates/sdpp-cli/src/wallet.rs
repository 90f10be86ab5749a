//! `sdpp wallet`: what a role has at a ledger, free and locked.

use std::process::ExitCode;

use sdpp_ledger::{Channel, ChannelState};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::money::Amount;
use serde_json::json;

use crate::buy::fetch_deposits_of;
use crate::home::{Home, Role};
use crate::ledger::Failure;
use crate::ledger::reach::{Reach, Remote};
use crate::ledger::show::{self, Out};
use crate::text::{short_key, symbol};
use crate::visit::wait;

/// Shows what you have: balances, deposits locked in channels, and what sellers may still redeem.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    out: Out,
}

/// Runs it.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    wait(shown(home, args))
}

async fn shown(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let remote = Remote::open(home, args.role, &args.reach).await?;
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

//! `sdpp ledger channel`: deposits locked for one payee.

use sdpp_config::duration_ms;
use sdpp_ledger::entry::{Open, TopUp, channel_id};
use sdpp_ledger::{Body, Channel, ChannelState, Entry};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::time::Timestamp;
use serde_json::json;

use super::Failure;
use super::money::{Sending, Sent, asset_of};
use super::reach::{Reach, Remote};
use super::show::{self, Out};
use crate::home::{Home, Role};
use crate::text::{hex32, short_key, symbol, time};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Shows a channel.
    Show(ShowArgs),
    /// Lists the channels that a role pays into or is paid from.
    List(ListArgs),
    /// Locks a deposit for a payee.
    Open(OpenArgs),
    /// Locks more.
    TopUp(TopUpArgs),
    /// Closes a channel: at once by its payee; by its payer with a grace period, in two steps.
    Close(CloseArgs),
}

#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// The channel's id.
    #[arg(value_parser = channel)]
    id: ChannelId,
    /// Who asks, with its own replica.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    out: Out,
}

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Whose channels.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    out: Out,
}

#[derive(clap::Args)]
pub(crate) struct OpenArgs {
    /// Who may redeem (z6Mk… or did:key:…).
    #[arg(long, value_name = "PAYEE")]
    to: PublicKey,
    /// How much is locked, in whole units.
    #[arg(long, value_parser = show::amount)]
    deposit: Amount,
    /// Of what: SYMBOL@ISSUER, or SYMBOL if the account has one such.
    #[arg(long)]
    asset: String,
    /// Time for the payee to redeem after the payer wants it closed, for example 90s, 30m, 1h, 2d.
    #[arg(long, default_value = "1h", value_parser = duration_ms)]
    grace: u64,
    /// The key that signs vouchers; the payer's own if not given.
    #[arg(long, value_name = "KEY")]
    signer: Option<PublicKey>,
    /// Who pays.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    sending: Sending,
}

#[derive(clap::Args)]
pub(crate) struct TopUpArgs {
    /// The channel's id.
    #[arg(value_parser = channel)]
    id: ChannelId,
    /// How much more, in whole units.
    #[arg(value_parser = show::amount)]
    amount: Amount,
    /// Who pays.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    sending: Sending,
}

#[derive(clap::Args)]
pub(crate) struct CloseArgs {
    /// The channel's id.
    #[arg(value_parser = channel)]
    id: ChannelId,
    /// Who wants it closed: its payer, or its payee.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    out: Out,
}

fn channel(text: &str) -> Result<ChannelId, String> {
    hex32(text).map(ChannelId).ok_or_else(|| "not a channel's id: 64 digits 0-9 a-f, see `channel list`".to_owned())
}

/// Runs one of them.
pub(super) async fn run(home: &Home, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Show(args) => show_one(home, args).await,
        Verb::List(args) => list(home, args).await,
        Verb::Open(args) => open(home, args).await,
        Verb::TopUp(args) => top_up(home, args).await,
        Verb::Close(args) => close(home, args).await,
    }
}

async fn known(remote: &Remote, id: ChannelId) -> Result<Channel, Failure> {
    let found = remote.look(|fold| fold.channel(&id)).await?;
    found.ok_or_else(|| format!("{} has no channel {id}; see `channel list`", remote.client.origin()).into())
}

async fn show_one(home: &Home, args: &ShowArgs) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.reach).await?;
    remote.follow().await?;
    let channel = known(&remote, args.id).await?;
    args.out.tell(&show::channel(&args.id, &channel), &show::channel_json(&args.id, &channel));
    Ok(())
}

async fn list(home: &Home, args: &ListArgs) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.reach).await?;
    let size = remote.follow().await?;
    let own = remote.key.public();
    let mut found = remote.look(|fold| Ok((fold.channels_of(&own)?, fold.channels_for(&own)?))).await?;
    found.1.retain(|(_, channel)| channel.payer != own);
    let all: Vec<(ChannelId, Channel)> = found.0.into_iter().chain(found.1).collect();
    if args.out.is_json() {
        all.iter().for_each(|(id, channel)| crate::say(&show::channel_json(id, channel).to_string()));
        return Ok(());
    }
    for (id, channel) in &all {
        let (way, other) = if channel.payer == own { ("to", channel.payee) } else { ("from", channel.payer) };
        let (state, locked, symbol) = (show::state(channel), channel.locked(), symbol(&channel.asset));
        crate::say(&format!("{id}  {state:<7}  {locked} {symbol} locked, {way} {}", short_key(&other)));
    }
    let count = all.len();
    crate::say(&format!(
        "channels of {own}: {count}, after {size} entries of {}, checked here",
        remote.client.origin()
    ));
    Ok(())
}

async fn open(home: &Home, args: &OpenArgs) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.sending.reach).await?;
    remote.follow().await?;
    let payer = remote.key.public();
    let asset = asset_of(&remote, &payer, &args.asset).await?;
    let reference = args.sending.reference()?;
    let signer = args.signer.unwrap_or(payer);
    let body = Open {
        payee: args.to,
        asset: asset.clone(),
        deposit: args.deposit,
        signer,
        grace_ms: args.grace,
        reference: reference.bytes,
    };
    let entry = Entry::sign(&remote.key, remote.client.origin(), Body::Open(body));
    let id = channel_id(remote.client.origin(), &payer, &reference.bytes);
    let people = format!("channel   {id}\nopen      {} {} for {}", args.deposit, symbol(&asset), args.to);
    let sent = Sent { entry: &entry, reference: &reference.text, asset: &asset, people };
    args.sending.send_about(&remote, sent, json!({ "channel": id.to_string() })).await
}

async fn top_up(home: &Home, args: &TopUpArgs) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.sending.reach).await?;
    remote.follow().await?;
    let channel = known(&remote, args.id).await?;
    let reference = args.sending.reference()?;
    let body = TopUp { channel: args.id, amount: args.amount, reference: reference.bytes };
    let entry = Entry::sign(&remote.key, remote.client.origin(), Body::TopUp(body));
    let people = format!("channel   {}\ntop-up    {} {}", args.id, args.amount, symbol(&channel.asset));
    let sent = Sent { entry: &entry, reference: &reference.text, asset: &channel.asset, people };
    args.sending.send(&remote, sent).await
}

/// What to send so that a channel closes; nothing where there is only to wait.
fn next(id: ChannelId, channel: &Channel, own: &PublicKey, now: Timestamp) -> Result<Option<Body>, Failure> {
    Ok(match channel.state {
        ChannelState::Closed => None,
        ChannelState::Open | ChannelState::Closing { .. } if channel.payee == *own => Some(Body::Close(id)),
        ChannelState::Closing { ends } => (now >= ends).then_some(Body::Close(id)),
        ChannelState::Open if channel.payer == *own => Some(Body::RequestClose(id)),
        ChannelState::Open => {
            return Err(format!("{own} is neither payer nor payee of this channel: choose with --as").into());
        }
    })
}

async fn close(home: &Home, args: &CloseArgs) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.reach).await?;
    remote.follow().await?;
    let before = known(&remote, args.id).await?;
    if let Some(body) = next(args.id, &before, &remote.key.public(), sdpp::now())? {
        remote.submit(&Entry::sign(&remote.key, remote.client.origin(), body)).await?;
    }
    let channel = known(&remote, args.id).await?;
    let (locked, symbol) = (before.locked(), symbol(&channel.asset));
    let what = match channel.state {
        ChannelState::Closing { ends } => format!(
            "its payee may redeem until somebody closes it, which anybody may from {} on;\nrun this again then",
            time(ends)
        ),
        ChannelState::Closed if locked.is_zero() => "nothing is locked in it any more".to_owned(),
        ChannelState::Closed => format!("{locked} {symbol} went back to {}", channel.payer),
        ChannelState::Open => "it is open".to_owned(),
    };
    let people = format!("channel   {}\nstate     {}\n{what}", args.id, show::state(&channel));
    args.out.tell(&people, &show::channel_json(&args.id, &channel));
    Ok(())
}

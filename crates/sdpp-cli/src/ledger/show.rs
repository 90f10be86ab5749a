//! What is shown: lines for people on a terminal, JSON lines for programs.

use std::io::IsTerminal as _;

use sdpp_config::AskedAmount;
use sdpp_ledger::entry::{Record, asset_id};
use sdpp_ledger::{Body, Channel, ChannelState, Entry};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::Form;
use serde_json::{Value, json};

use crate::text::{short_key, symbol, time};

/// How to show.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Out {
    /// Print JSON lines; so it does when standard output is not a terminal.
    #[arg(long, global = true)]
    json: bool,
}

impl Out {
    /// Says the same to people or to programs.
    pub(crate) fn tell(self, people: &str, programs: &Value) {
        if self.is_json() {
            crate::say(&programs.to_string());
        } else {
            crate::say(people);
        }
    }

    /// Whether a program reads.
    pub(crate) fn is_json(self) -> bool {
        self.json || !std::io::stdout().is_terminal()
    }
}

/// A whole number of units, at least one.
pub(crate) fn amount(text: &str) -> Result<Amount, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let amount = text.parse().ok().filter(|amount| digits && *amount > 0).map(Amount::new);
    amount.ok_or_else(|| format!("'{text}' is not an amount: write a whole number of units, for example 1000000"))
}

/// More than nothing, in smallest units or in what people count in.
pub(crate) fn asked(text: &str) -> Result<AskedAmount, String> {
    let asked: AskedAmount = text.parse()?;
    if asked.amount.is_zero() { Err(format!("'{text}' is nothing: write more")) } else { Ok(asked) }
}

/// The kind of an entry.
pub(crate) fn kind(body: &Body) -> &'static str {
    body.name().trim_start_matches("ledger-")
}

/// What an entry says, for people: accounts and assets whole, or cut for a list.
pub(crate) fn what(entry: &Entry, whole: bool) -> String {
    let who = |key: &PublicKey| if whole { key.to_string() } else { short_key(key) };
    let of = |asset: &AssetId| if whole { asset.to_string() } else { symbol(asset).to_owned() };
    match entry.body() {
        Body::Issue(issue) => {
            let asset = asset_id(&issue.symbol, &entry.issuer());
            format!("{} {} to {}", issue.amount, of(&asset), who(&issue.to))
        }
        Body::Transfer(transfer) => format!("{} {} to {}", transfer.amount, of(&transfer.asset), who(&transfer.to)),
        Body::Open(open) => {
            let grace_s = open.grace_ms / 1000;
            format!("{} {} for {}, grace {grace_s} s", open.deposit, of(&open.asset), who(&open.payee))
        }
        Body::TopUp(top_up) => format!("{} more for channel {}", top_up.amount, top_up.channel),
        Body::Redeem { channel, voucher } => format!("{} in all of channel {channel}", voucher.total),
        Body::RequestClose(channel) | Body::Close(channel) => format!("channel {channel}"),
        Body::Tick(at) => time(*at),
        Body::Record(Record { notice: Some(notice), .. }) => {
            format!("{} of the key {}", notice.erase().kind.name(), who(notice.key()))
        }
        Body::Record(record) => format!("{} of statement {}", form(record.form), record.statement),
    }
}

const fn form(form: Form) -> &'static str {
    match form {
        Form::Full => "all",
        Form::Hash => "hash",
    }
}

/// An object with the fields of another; those of the other count.
pub(crate) fn with(mut all: Value, more: Value) -> Value {
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

/// An entry, for programs.
pub(crate) fn entry_json(index: u64, entry: &Entry) -> Value {
    let (id, issuer) = (entry.id().to_string(), entry.issuer().to_string());
    with(json!({ "index": index, "id": id, "kind": kind(entry.body()), "issuer": issuer }), body_json(entry.body()))
}

fn body_json(body: &Body) -> Value {
    match body {
        Body::Issue(issue) => json!({
            "symbol": issue.symbol, "amount": issue.amount.to_string(), "to": issue.to.to_string(),
            "reference": issue.reference.to_string(),
        }),
        Body::Transfer(transfer) => json!({
            "asset": transfer.asset.as_str(), "amount": transfer.amount.to_string(), "to": transfer.to.to_string(),
            "reference": transfer.reference.to_string(),
        }),
        Body::Open(open) => json!({
            "payee": open.payee.to_string(), "asset": open.asset.as_str(), "deposit": open.deposit.to_string(),
            "signer": open.signer.to_string(), "grace_ms": open.grace_ms, "reference": open.reference.to_string(),
        }),
        Body::TopUp(top_up) => json!({
            "channel": top_up.channel.to_string(), "amount": top_up.amount.to_string(),
            "reference": top_up.reference.to_string(),
        }),
        Body::Redeem { channel, voucher } => {
            json!({ "channel": channel.to_string(), "total": voucher.total.to_string() })
        }
        Body::RequestClose(channel) | Body::Close(channel) => json!({ "channel": channel.to_string() }),
        Body::Tick(at) => json!({ "time_ms": at.as_ms() }),
        Body::Record(Record { notice: Some(notice), form: how, statement, .. }) => json!({
            "statement": statement.to_string(), "form": form(*how), "statement_kind": notice.erase().kind.name(),
            "ends": notice.key().to_string(),
        }),
        Body::Record(record) => json!({ "statement": record.statement.to_string(), "form": form(record.form) }),
    }
}

/// Where a channel stands.
pub(crate) const fn state(channel: &Channel) -> &'static str {
    match channel.state {
        ChannelState::Open => "open",
        ChannelState::Closing { .. } => "closing",
        ChannelState::Closed => "closed",
    }
}

/// A channel, for programs.
pub(crate) fn channel_json(id: &ChannelId, channel: &Channel) -> Value {
    let ends_ms = match channel.state {
        ChannelState::Closing { ends } => Some(ends.as_ms()),
        ChannelState::Open | ChannelState::Closed => None,
    };
    json!({
        "channel": id.to_string(), "state": state(channel), "ends_ms": ends_ms, "asset": channel.asset.as_str(),
        "deposit": channel.deposit.to_string(), "redeemed": channel.redeemed.to_string(),
        "locked": channel.locked().to_string(), "payer": channel.payer.to_string(), "payee": channel.payee.to_string(),
        "signer": channel.signer.to_string(), "grace_ms": channel.grace_ms, "opened": channel.opened.index,
    })
}

/// A channel, for people.
pub(crate) fn channel(id: &ChannelId, channel: &Channel) -> String {
    let state = match channel.state {
        ChannelState::Open => "open".to_owned(),
        ChannelState::Closing { ends } => format!("closing, may be closed from {} on", time(ends)),
        ChannelState::Closed => "closed".to_owned(),
    };
    let Channel { payer, payee, asset, deposit, redeemed, signer, grace_ms, opened, .. } = channel;
    let (locked, grace_s) = (channel.locked(), grace_ms / 1000);
    let mut lines = format!(
        "channel   {id}\nstate     {state}\npayer     {payer}\npayee     {payee}\nasset     {asset}\n\
         deposit   {deposit}, of which {redeemed} are redeemed and {locked} locked\ngrace     {grace_s} s\n\
         opened    by entry {}",
        opened.index
    );
    if signer != payer {
        lines.push_str(&format!("\nsigner    {signer}"));
    }
    lines
}

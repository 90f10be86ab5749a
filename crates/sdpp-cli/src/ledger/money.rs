//! `sdpp ledger balance`, `issue`, `transfer`, `grant`.

use sdpp_ledger::entry::{Issue, Transfer, asset_id};
use sdpp_ledger::{Body, Entry, Fold, FoldError, ServiceError};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::hash::labelled;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use serde_json::{Value, json};

use super::Failure;
use super::reach::{Reach, Remote};
use super::show::{self, Out};
use crate::home::{Home, Role};
use crate::text::{hex, symbol};

#[derive(clap::Args)]
pub(crate) struct BalanceArgs {
    /// Whose; the role's own if not given.
    account: Option<PublicKey>,
    /// Only this asset: SYMBOL@ISSUER, or SYMBOL if the account has one such.
    #[arg(long)]
    asset: Option<String>,
    /// Who asks, with its own replica.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    out: Out,
}

#[derive(clap::Args)]
pub(crate) struct IssueArgs {
    /// Name of the asset at its issuer: 1 to 32 letters, digits, - _ .
    symbol: String,
    /// How much, in whole units.
    #[arg(value_parser = show::amount)]
    amount: Amount,
    /// Who gets it (z6Mk… or did:key:…).
    #[arg(long)]
    to: PublicKey,
    /// Who signs: the asset is this role's.
    #[arg(long = "as", value_enum, default_value = "issuer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    sending: Sending,
}

#[derive(clap::Args)]
pub(crate) struct TransferArgs {
    /// How much, in whole units.
    #[arg(value_parser = show::amount)]
    amount: Amount,
    /// Of what: SYMBOL@ISSUER, or SYMBOL if the account has one such.
    asset: String,
    /// Who gets it (z6Mk… or did:key:…).
    #[arg(long)]
    to: PublicKey,
    /// Who pays.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    sending: Sending,
}

#[derive(clap::Args)]
pub(crate) struct GrantArgs {
    /// Who gets it; the role's own account if not given.
    account: Option<PublicKey>,
    /// Who asks.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    out: Out,
}

/// How an entry is sent.
#[derive(clap::Args)]
pub(super) struct Sending {
    /// What it is for. The same command with the same reference is taken once; a random one if not given.
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// Show what would be signed, and whether the ledger would take it; sign nothing away.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) reach: Reach,
    #[command(flatten)]
    pub(super) out: Out,
}

/// A reference for people, and the 32 bytes that stand for it.
pub(super) struct Reference {
    pub(super) text: String,
    pub(super) bytes: Bytes32,
}

impl Sending {
    /// The reference that was given, or a random one, which is said before anything is sent.
    pub(super) fn reference(&self) -> Result<Reference, Failure> {
        let text = match &self.reference {
            Some(text) => text.clone(),
            None => {
                let drawn = sdpp::entropy::draw()?;
                let text: String = hex(&*drawn).chars().take(32).collect();
                if !self.dry_run {
                    eprintln!("reference {text}: if there is no answer, run this again with --reference {text}");
                }
                text
            }
        };
        let bytes = Bytes32(labelled("SDPP/2 reference", &[text.as_bytes()]));
        Ok(Reference { text, bytes })
    }

    /// Sends an entry, or only shows it.
    pub(super) async fn send(&self, remote: &Remote, sent: Sent<'_>) -> Result<(), Failure> {
        self.send_about(remote, sent, Value::Null).await
    }

    /// The same, with more to tell programs.
    pub(super) async fn send_about(&self, remote: &Remote, sent: Sent<'_>, more: Value) -> Result<(), Failure> {
        let Sent { entry, reference, asset, people } = sent;
        if self.dry_run {
            let size = remote.follow().await?;
            let checked = remote.look(|fold| checked(fold, entry)).await?;
            let line = format!(
                "{people}\nsigned by {}\nfor log   {}\nid        {}\nat size   {size}: {checked}\nnothing was sent",
                entry.issuer(),
                entry.origin(),
                entry.id()
            );
            let json = show::with(show::entry_json(size, entry), json!({ "dry_run": true, "would_be": checked }));
            self.out.tell(&line, &show::with(json, more));
            return Ok(());
        }
        let done = remote.submit(entry).await?;
        let again = if done.again { ", which was there already" } else { "" };
        let line = format!(
            "{people}\nentry     {} of {}{again}\nid        {}\nasset     {asset}",
            done.index, done.size, done.id
        );
        let own = json!({
            "size": done.size, "again": done.again, "asset": asset.as_str(), "reference_text": reference,
        });
        let json = show::with(show::entry_json(done.index, entry), own);
        self.out.tell(&line, &show::with(json, more));
        Ok(())
    }
}

/// An entry on its way, and how to speak of it.
pub(super) struct Sent<'a> {
    pub(super) entry: &'a Entry,
    pub(super) reference: &'a str,
    pub(super) asset: &'a AssetId,
    pub(super) people: String,
}

/// What the rules say of an entry now.
fn checked(fold: &Fold, entry: &Entry) -> Result<String, sdpp_rail::StoreError> {
    match fold.check(entry) {
        Ok(_) => Ok("the ledger would take it".to_owned()),
        Err(FoldError::Refused(refusal)) => Ok(match refusal.known() {
            Some(place) => format!("in the log already, as entry {}", place.index),
            None => format!("the ledger would refuse it: {refusal}"),
        }),
        Err(FoldError::Store(error)) => Err(error),
    }
}

/// The asset of this name: whole, or by its symbol if the account has just one of that symbol.
pub(super) async fn asset_of(remote: &Remote, account: &PublicKey, name: &str) -> Result<AssetId, Failure> {
    if name.contains('@') {
        return Ok(AssetId::new(name));
    }
    let held = remote.look(|fold| fold.balances_of(account)).await?;
    let same: Vec<AssetId> = held.into_iter().map(|(asset, _)| asset).filter(|asset| symbol(asset) == name).collect();
    match same.as_slice() {
        [asset] => Ok(asset.clone()),
        [] => Err(format!("{account} never had any {name}: write SYMBOL@ISSUER, or see `sdpp ledger balance`").into()),
        several => {
            let all: Vec<&str> = several.iter().map(AssetId::as_str).collect();
            Err(format!("several issuers have a {name}; write which one:\n  {}", all.join("\n  ")).into())
        }
    }
}

/// Shows what an account has.
pub(super) async fn balance(home: &Home, args: &BalanceArgs) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.reach).await?;
    let account = args.account.unwrap_or(remote.key.public());
    let size = remote.follow().await?;
    let found = match &args.asset {
        Some(name) => {
            let asset = asset_of(&remote, &account, name).await?;
            let amount = remote.look(|fold| fold.balance(&asset, &account)).await?;
            vec![(asset, amount)]
        }
        None => remote.look(|fold| fold.balances_of(&account)).await?,
    };
    if args.out.is_json() {
        for (asset, amount) in &found {
            let (asset, amount, account) = (asset.as_str(), amount.to_string(), account.to_string());
            crate::say(&json!({ "account": account, "asset": asset, "amount": amount, "size": size }).to_string());
        }
        return Ok(());
    }
    crate::say(&format!("account   {account}"));
    for (asset, amount) in &found {
        crate::say(&format!("{amount:>15}  {asset}"));
    }
    if found.is_empty() {
        crate::say("          nothing yet");
    }
    crate::say(&format!("after {size} entries of {}, checked here", remote.client.origin()));
    Ok(())
}

/// Makes money.
pub(super) async fn issue(home: &Home, args: &IssueArgs) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.sending.reach).await?;
    let reference = args.sending.reference()?;
    let IssueArgs { symbol, amount, to, .. } = args;
    let issue = Issue { symbol: symbol.clone(), to: *to, amount: *amount, reference: reference.bytes };
    let entry = Entry::sign(&remote.key, remote.client.origin(), Body::Issue(issue));
    let asset = asset_id(symbol, &remote.key.public());
    let people = format!("issue     {amount} {symbol} to {to}");
    let sent = Sent { entry: &entry, reference: &reference.text, asset: &asset, people };
    args.sending.send(&remote, sent).await
}

/// Sends money.
pub(super) async fn transfer(home: &Home, args: &TransferArgs) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.sending.reach).await?;
    remote.follow().await?;
    let asset = asset_of(&remote, &remote.key.public(), &args.asset).await?;
    let reference = args.sending.reference()?;
    let TransferArgs { amount, to, .. } = args;
    let transfer = Transfer { to: *to, asset: asset.clone(), amount: *amount, reference: reference.bytes };
    let entry = Entry::sign(&remote.key, remote.client.origin(), Body::Transfer(transfer));
    let people = format!("transfer  {amount} {} to {to}", symbol(&asset));
    let sent = Sent { entry: &entry, reference: &reference.text, asset: &asset, people };
    args.sending.send(&remote, sent).await
}

/// Asks for trial money, and looks whether it came.
pub(super) async fn grant(home: &Home, args: &GrantArgs) -> Result<(), Failure> {
    let remote = Remote::open(home, args.role, &args.reach).await?;
    let account = args.account.unwrap_or(remote.key.public());
    let before = remote.follow().await?;
    let granted = match remote.http().grant(&account).await {
        Ok(Some(granted)) => granted,
        Ok(None) => return Err("this ledger gives no trial money: it is served without --dev-grant".into()),
        Err(ServiceError::Refused(sdpp_ledger::Refusal::IssueReferenceUsed)) => {
            return Err("the account had its trial money already, of another amount".into());
        }
        Err(error) => return Err(error.to_string().into()),
    };
    let size = remote.follow().await?;
    let entry = remote.client.entry(granted.index).await.map_err(|error| remote.explain(error))?;
    let entry =
        entry.filter(|entry| entry.id() == granted.id).ok_or("the grant is not in the log: ask the operator")?;
    let Body::Issue(issue) = entry.body() else { return Err("the ledger shows something else as a grant".into()) };
    if issue.to != account {
        return Err("the ledger shows the grant of another account".into());
    }
    let (asset, again) = (asset_id(&issue.symbol, &entry.issuer()), granted.index < before);
    let already = if again { ", which was there already" } else { "" };
    let line = format!(
        "grant     {} {} to {account}\nentry     {} of {size}{already}\nid        {}\nasset     {asset}",
        issue.amount, issue.symbol, granted.index, granted.id
    );
    let own = json!({ "size": size, "again": again, "asset": asset.as_str() });
    args.out.tell(&line, &show::with(show::entry_json(granted.index, &entry), own));
    Ok(())
}

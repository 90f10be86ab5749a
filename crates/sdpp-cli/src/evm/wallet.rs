//! `sdpp wallet` on a chain: an account, what it has, its channels, what waits to be mined.

use std::path::PathBuf;
use std::process::ExitCode;

use sdpp_evm::{Address, Channel, ChannelState, Contract, Node, RedeemedAll, Sender, address_of, asset};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::time::Timestamp;
use serde_json::{Value, json};

use super::channels::Known;
use super::network::Network;
use super::unit::human;
use super::{Account, Chain, RAIL, address, key, reclaim};
use crate::buy::journals::Journals;
use crate::config::{self, Config};
use crate::exit::{Exit, failed};
use crate::home::{Home, Role, RoleHome};
use crate::ledger::Failure;
use crate::ledger::show::{self, Out};
use crate::text::{hex32, symbol, time};

/// What to do with a wallet on a chain; without it, it is shown.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Makes a wallet: a key in the encrypted format that other wallets read too.
    New,
    /// Takes a wallet from a file: an encrypted key (JSON), or the 64 digits of one in clear.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Adds to the deposit of an open channel.
    Deposit {
        /// The channel's id.
        channel: String,
        /// How much, in base units.
        #[arg(value_parser = show::amount)]
        amount: Amount,
    },
    /// Takes what closed channels have left out of the contract, and closes those whose grace period is over.
    Withdraw(Which),
    /// Redeems the vouchers of all orders that are not over, many in one transaction. A running seller does that by itself
    /// when an order ends, or when its buyer asks for the close.
    Redeem,
    /// Sends coins or tokens to somebody.
    Send {
        /// To whom.
        to: String,
        /// How much, in base units.
        #[arg(value_parser = show::amount)]
        amount: Amount,
        #[command(flatten)]
        which: Which,
    },
    /// Raises the fees of transactions that wait to be mined.
    Bump {
        /// Replace them by payments of nothing to oneself.
        #[arg(long)]
        cancel: bool,
    },
    /// Puts SDPP's contracts on the chain, where everybody looks for them. Whoever does it first does it for all.
    Deploy,
}

/// Of which asset.
#[derive(clap::Args)]
pub(crate) struct Which {
    /// coin, usdc or the address of a token; the coin and USDC if not given.
    #[arg(long)]
    asset: Option<String>,
}

impl Which {
    /// The tokens that are meant; none for the coin.
    fn tokens(&self, network: &Network) -> Result<Vec<Option<Address>>, Failure> {
        match &self.asset {
            Some(said) => Ok(vec![network.token(Some(said))?]),
            None => Ok(usual_tokens(network)),
        }
    }
}

/// The coin, and USDC where there is some.
fn usual_tokens(network: &Network) -> Vec<Option<Address>> {
    let usdc = network.token(Some("usdc")).ok().flatten();
    std::iter::once(None).chain(usdc.map(Some)).collect()
}

/// Whose wallet, on which chain, and how it is told.
pub(crate) struct At<'a> {
    pub(crate) home: &'a Home,
    pub(crate) role: Role,
    pub(crate) chain: &'a Chain,
    pub(crate) out: Out,
}

impl At<'_> {
    fn folder(&self) -> Result<RoleHome, Failure> {
        self.home.role(self.role)
    }

    async fn account(&self) -> Result<Account, Failure> {
        Account::open(self.home, &self.folder()?, self.chain).await
    }

    /// Does it.
    pub(crate) async fn run(&self, verb: &Verb) -> Result<ExitCode, Failure> {
        match verb {
            Verb::New => self.made(&key::make(&self.folder()?)?.address(), "made"),
            Verb::Import { file } => self.made(&key::import(&self.folder()?, file)?.address(), "taken"),
            Verb::Deposit { channel, amount } => self.deposit(channel, *amount).await?,
            Verb::Withdraw(which) => self.withdraw(which).await?,
            Verb::Redeem => self.redeem().await?,
            Verb::Send { to, amount, which } => self.send(to, *amount, which).await?,
            Verb::Bump { cancel } => self.bump(*cancel).await?,
            Verb::Deploy => self.deploy().await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn made(&self, account: &Address, how: &str) {
        let (role, file) = (self.role, self.home.file(&self.role.to_string()).join(key::WALLET));
        let people = format!(
            "{how}: the {role}'s account is {account}\nkeep a copy of {}, and the passphrase: without them what it has is \
             lost\nsend it some coins for gas, and see it with `sdpp wallet --as {role} --network NETWORK`",
            file.display()
        );
        self.out.tell(&people, &json!({ "role": role.to_string(), "account": account.to_checksum(None) }));
    }

    async fn deposit(&self, channel: &str, amount: Amount) -> Result<(), Failure> {
        let id = hex32(channel.trim_start_matches("0x"));
        let id = ChannelId(id.ok_or_else(|| failed(Exit::Usage, format!("'{channel}' is no id of a channel")))?);
        let account = self.account().await?;
        account.payer().top_up(&id, amount).await.map_err(|error| account.explain_payment(error))?;
        let now = account.node.channel(&id).await.map_err(|error| account.explain(error))?;
        self.out.tell(&line(&account.network, &id, &now), &json_of(&account.network, &id, &now));
        Ok(())
    }

    async fn withdraw(&self, which: &Which) -> Result<(), Failure> {
        let account = self.account().await?;
        let payer = account.payer();
        let explain = |error| account.explain(error);
        let mut known = Known::default();
        if self.role == Role::Buyer {
            let (journals, key) = (Journals::open(self.home)?, self.folder()?.key()?.public());
            for (_, journal) in &journals.free {
                reclaim(payer.as_ref(), journal, &key).await;
            }
            known = Known::of(&journals, account.network.place()).await?;
            account.end_what_is_over(self.home, (&journals, &known), &payer).await?;
        }
        let channels = known.channels(&account.node, payer.account()).await.map_err(explain)?;
        let closed = payer.finish(channels.iter().map(|(id, _)| *id)).await.map_err(explain)?;
        if closed > 0 {
            eprintln!("closed {closed} channels whose grace period was over");
        }
        let mut tokens = which.tokens(&account.network)?;
        if which.asset.is_none() {
            tokens.extend(known.tokens().into_iter().filter(|token| !usual_tokens(&account.network).contains(token)));
        }
        for token in tokens {
            let asset = asset(account.network.chain, token);
            let amount = payer.withdraw(token).await.map_err(explain)?;
            let people = format!("withdrawn {}", told(&asset, amount));
            self.out.tell(&people, &json!({ "asset": asset.as_str(), "withdrawn": amount.to_string() }));
        }
        for (id, _) in &channels {
            let now = account.node.channel(id).await.map_err(explain)?;
            self.say_later(&account, &known, (id, &now));
        }
        for (contract, orders) in &known.elsewhere {
            let name = &account.network.name;
            eprintln!(
                "note: not looked at: channels of {orders} orders in another contract. Say channels = \"{contract}\" in \
                 [evm.networks.{name}] for those"
            );
        }
        Ok(())
    }

    /// Says what of the account's own is still locked in a channel, and what brings it back when.
    fn say_later(&self, account: &Account, known: &Known, (id, channel): (&ChannelId, &Channel)) {
        if channel.payer != account.key.address() {
            return;
        }
        let asset = asset_of(&account.network, channel);
        let locked = told(&asset, channel.deposit.saturating_sub(channel.redeemed));
        let order = known.ordered.iter().find(|one| one.channel == *id).map(|one| one.order);
        match (channel.state, order) {
            (ChannelState::Closing(_), _) => {
                eprintln!("later: {locked} of channel {id}, {}: run this again then", state(channel));
            }
            (ChannelState::Open, Some(order)) => eprintln!(
                "locked: {locked} of channel {id}: its order is not over. Settle it with `sdpp buy --resume {order}`, or \
                 where the seller is gone say `sdpp orders close {order} --give-up`"
            ),
            (ChannelState::Open, None) => {
                eprintln!("locked: {locked} of channel {id}: a purchase that runs may have it")
            }
            (ChannelState::Unused | ChannelState::Closed, _) => {}
        }
    }

    async fn redeem(&self) -> Result<(), Failure> {
        if self.role != Role::Seller {
            return Err(failed(Exit::Usage, "a seller redeems vouchers: say --as seller"));
        }
        let account = self.account().await?;
        let payee = account.payee(&self.folder()?, None, &config::Seller::default())?;
        let done = payee.redeem_all().await.map_err(|error| account.explain(error))?;
        let RedeemedAll { redeemed, left_out, transactions } = done;
        let (orders, refused) = (redeemed.len(), left_out.len());
        let mut people = format!("redeemed the vouchers of {orders} orders in {transactions} transactions");
        if refused > 0 {
            people.push_str(&format!("; the contract would refuse those of {refused} more"));
        }
        people.push_str("\n`sdpp wallet withdraw --as seller` takes the money out of the contract");
        let programs = json!({ "redeemed": orders, "refused": refused, "transactions": transactions });
        self.out.tell(&people, &programs);
        Ok(())
    }

    async fn send(&self, to: &str, amount: Amount, which: &Which) -> Result<(), Failure> {
        let account = self.account().await?;
        let token = account.network.token(Some(which.asset.as_deref().unwrap_or("coin")))?;
        let asset = asset(account.network.chain, token);
        let sender = Sender::new(account.node.clone(), account.key.clone());
        let hash = sender.pay(token, address(to)?, amount).await.map_err(|error| account.explain_payment(error))?;
        let people = format!("sent {} to {to}: transaction {hash}", told(&asset, amount));
        self.out.tell(&people, &json!({ "asset": asset.as_str(), "sent": amount.to_string(), "transaction": hash }));
        Ok(())
    }

    async fn bump(&self, cancel: bool) -> Result<(), Failure> {
        let account = self.account().await?;
        let sender = Sender::new(account.node.clone(), account.key.clone());
        let count = sender.hurry(cancel).await.map_err(|error| account.explain(error))?;
        let people = match (count, cancel) {
            (0, _) => "nothing waits to be mined".to_owned(),
            (_, false) => format!("{count} transactions were sent again with higher fees"),
            (_, true) => format!("{count} transactions are replaced by payments of nothing"),
        };
        self.out.tell(&people, &json!({ "transactions": count, "cancelled": cancel }));
        Ok(())
    }

    async fn deploy(&self) -> Result<(), Failure> {
        let network = self.chain.usual(&self.home.config()?)?;
        let node =
            Node::reach(&super::node_config(&network)).await.map_err(|error| super::unusable(&network, &error))?;
        let account = Account { node: node.into(), key: key::open(&self.folder()?)?, network };
        let sender = Sender::new(account.node.clone(), account.key.clone());
        for contract in Contract::all() {
            let sent = sender.deploy(&contract).await.map_err(|error| account.explain(error))?;
            let (name, place) = (contract.name, contract.usual_address());
            let people = format!("{name:<16} {place} {}", if sent { "put there" } else { "was there" });
            self.out.tell(&people, &json!({ "contract": name, "address": place.to_checksum(None), "sent": sent }));
        }
        Ok(())
    }

    /// Shows it. No passphrase is needed where the key's file says the account.
    pub(crate) async fn show(&self) -> Result<ExitCode, Failure> {
        let (folder, network) = (self.folder()?, self.chain.usual(&self.home.config()?)?);
        let account = match key::look(&folder)? {
            Some(account) => address_of(&account).unwrap_or_default(),
            None => key::open(&folder)?.address(),
        };
        let node =
            Node::reach(&super::node_config(&network)).await.map_err(|error| super::unusable(&network, &error))?;
        let contract = node.check_contract().await;
        let unreachable = |error| failed(Exit::Unreachable, format!("{}: {error}", network.rpc));
        let holdings = holdings(&node, &network, account, contract.is_ok()).await.map_err(unreachable)?;
        let channels = match &contract {
            Ok(()) => {
                let known = match self.role {
                    Role::Buyer => Known::of(&Journals::open(self.home)?, network.place()).await?,
                    Role::Seller | Role::Ledger | Role::Witness | Role::Issuer => Known::default(),
                };
                known.channels(&node, account).await.map_err(unreachable)?
            }
            Err(error) => {
                eprintln!("note: no channels on {}: {}", network.name, network.rpc.hide(&error.to_string()));
                Vec::new()
            }
        };
        let (mined, known) = node.nonces(account).await.map_err(unreachable)?;
        let channels: Vec<_> =
            channels.into_iter().filter(|(_, channel)| channel.state != ChannelState::Closed).collect();
        if self.out.is_json() {
            for Holding { asset, free, kept } in &holdings {
                let row = json!({
                    "rail": RAIL, "account": account.to_checksum(None), "network": network.name, "chain": network.chain,
                    "asset": asset.as_str(), "free": free.to_string(), "in_contract": kept.to_string(),
                    "waiting": known.saturating_sub(mined),
                });
                crate::say(&row.to_string());
            }
            channels.iter().for_each(|(id, channel)| crate::say(&json_of(&network, id, channel).to_string()));
            return Ok(ExitCode::SUCCESS);
        }
        crate::say(&format!("account   {account}\nchain     {} ({}) at {}", network.name, network.chain, network.rpc));
        for Holding { asset, free, kept } in &holdings {
            let kept = if kept.is_zero() { String::new() } else { format!(", {} in the contract", told(asset, *kept)) };
            crate::say(&format!("          {}{kept}", told(asset, *free)));
        }
        if known > mined {
            let waiting = known.saturating_sub(mined);
            crate::say(&format!(
                "waiting   {waiting} transactions are not mined yet: `sdpp wallet bump` raises their fees"
            ));
        }
        channels.iter().for_each(|(id, channel)| crate::say(&line(&network, id, channel)));
        Ok(ExitCode::SUCCESS)
    }
}

/// What an account has of an asset.
struct Holding {
    asset: AssetId,
    free: Amount,
    /// Left by channels, in the contract.
    kept: Amount,
}

async fn holdings(
    node: &Node,
    network: &Network,
    account: Address,
    has_contract: bool,
) -> Result<Vec<Holding>, sdpp_rail::RailError> {
    let mut found = Vec::new();
    for token in usual_tokens(network) {
        let free = match token {
            None => node.coins(account).await?,
            Some(token) => node.tokens(token, account).await?,
        };
        let kept = if has_contract { node.balance(token.unwrap_or_default(), account).await? } else { Amount::ZERO };
        found.push(Holding { asset: asset(network.chain, token), free, kept });
    }
    Ok(found)
}

/// The account of a role, where it has a wallet and its file says it.
pub(crate) fn account_of(home: &Home, role: Role) -> Result<Option<String>, Failure> {
    // Looking makes no folder.
    if !home.file(&role.to_string()).exists() {
        return Ok(None);
    }
    key::look(&home.role(role)?)
}

/// The coins of an account, in words; none where it has none.
pub(crate) async fn coins(chain: &Chain, config: &Config, account: &str) -> Result<Option<String>, Failure> {
    let network = chain.usual(config)?;
    let node = Node::reach(&super::node_config(&network)).await.map_err(|error| super::unusable(&network, &error))?;
    let coins = node.coins(address(account)?).await;
    let coins = coins.map_err(|error| failed(Exit::Unreachable, format!("{}: {error}", network.rpc)))?;
    Ok((!coins.is_zero()).then(|| told(&asset(network.chain, None), coins)))
}

/// An amount for people.
fn told(asset: &AssetId, amount: Amount) -> String {
    human(asset, amount.get()).unwrap_or_else(|| format!("{amount} {}", symbol(asset)))
}

fn asset_of(network: &Network, channel: &Channel) -> AssetId {
    asset(network.chain, Some(channel.token).filter(|token| !token.is_zero()))
}

fn state(channel: &Channel) -> String {
    match channel.state {
        ChannelState::Unused => "gone".to_owned(),
        ChannelState::Open => "open".to_owned(),
        ChannelState::Closing(at) => {
            format!("closing, its rest can be had from {} on", time(Timestamp::from_ms(at.saturating_mul(1000))))
        }
        ChannelState::Closed => "closed".to_owned(),
    }
}

fn line(network: &Network, id: &ChannelId, channel: &Channel) -> String {
    let asset = asset_of(network, channel);
    let locked = channel.deposit.saturating_sub(channel.redeemed);
    let (locked, redeemed) = (told(&asset, locked), told(&asset, channel.redeemed));
    let (payer, payee) = (channel.payer, channel.payee);
    format!(
        "channel   {id} {}\n          {locked} locked, {redeemed} redeemed; from {payer} to {payee}",
        state(channel)
    )
}

fn json_of(network: &Network, id: &ChannelId, channel: &Channel) -> Value {
    let close_at = match channel.state {
        ChannelState::Closing(at) => Some(at),
        ChannelState::Unused | ChannelState::Open | ChannelState::Closed => None,
    };
    json!({
        "rail": RAIL, "channel": id.to_string(), "state": state(channel).split(',').next(), "close_at_s": close_at,
        "asset": asset_of(network, channel).as_str(), "deposit": channel.deposit.to_string(),
        "redeemed": channel.redeemed.to_string(), "payer": channel.payer.to_checksum(None),
        "payee": channel.payee.to_checksum(None), "grace_s": channel.grace_s,
    })
}

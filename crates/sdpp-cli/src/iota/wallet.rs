//! `sdpp wallet iota`: a role's account on IOTA.

use std::path::PathBuf;
use std::process::ExitCode;

use sdpp_config::AskedAmount;
use sdpp_iota::{Begun, Deed, Spent, Wallet, address_of};
use sdpp_proto::money::Amount;
use sdpp_rail::RailError;
use serde_json::json;

use super::{Spender, Tangle, human, key};
use crate::exit::{Exit, failed};
use crate::home::{Home, Role};
use crate::ledger::Failure;
use crate::ledger::show::{self, Out};

/// What to do with the IOTA wallet.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Makes a wallet: a key under a passphrase.
    New,
    /// Takes a key from a file that has it as IOTA's wallets export it: iotaprivkey1…
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Shows the account: its address, what it has, and in how many coins.
    Show,
    /// Sends IOTA to somebody.
    Send {
        /// To whom: 0x and 64 digits.
        to: String,
        /// How much: 0.5IOTA, or in nanos, of which 1 000 000 000 are one IOTA.
        #[arg(value_parser = show::asked)]
        amount: AskedAmount,
        /// Sends it although nobody knows what became of the same that was sent before.
        #[arg(long)]
        again: bool,
    },
}

/// Whose wallet, on which network, and how it is told.
pub(crate) struct At<'a> {
    pub(crate) home: &'a Home,
    pub(crate) role: Role,
    pub(crate) tangle: &'a Tangle,
    pub(crate) out: Out,
}

impl At<'_> {
    /// Does it.
    pub(crate) async fn run(&self, verb: &Verb) -> Result<ExitCode, Failure> {
        let folder = self.home.role(self.role)?;
        match verb {
            Verb::New => self.made(&key::make(&folder)?, "made"),
            Verb::Import { file } => self.made(&key::import(&folder, file)?, "taken"),
            Verb::Show => return self.show().await,
            Verb::Send { to, amount, again } => {
                amount.check(Some("IOTA"), "nano").map_err(|what| failed(Exit::Usage, what))?;
                self.send(to, amount.amount, *again).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn made(&self, wallet: &Wallet, how: &str) {
        let (role, address) = (self.role, wallet.address());
        let file = self.home.file(&role.to_string()).join(key::FILE);
        let people = format!(
            "{how}: the {role}'s account is {address}\nkeep a copy of {}, and the passphrase: without them what it has is \
             lost\nsend it some IOTA, and see it with `sdpp wallet iota show --as {role} --iota-network NETWORK`",
            file.display()
        );
        self.out.tell(&people, &json!({ "role": role.to_string(), "account": address.to_string() }));
    }

    /// What it has. The purse stays closed: somebody may be paying out of it.
    pub(crate) async fn show(&self) -> Result<ExitCode, Failure> {
        let wallet = key::open(&self.home.role(self.role)?)?;
        let network = self.tangle.reach(&self.home.config()?).await?;
        let address = wallet.address();
        let coins = network.nodes.coins(&address).await;
        let coins = coins.map_err(|_| failed(Exit::Unreachable, format!("{} does not answer", network.place)))?;
        let has: u128 = coins.iter().map(|coin| u128::from(coin.balance)).sum();
        let (name, chain) = (&network.name, network.nodes.chain());
        let page = network.account_page(&address.to_string());
        let link = page.as_ref().map(|page| format!("\nseen at   {page}")).unwrap_or_default();
        let people = format!(
            "account   {address}\nnetwork   {name} (IOTA network {chain}) at {}\nIOTA      {} ({has} nano) in {} coins{link}",
            network.place,
            human(has),
            coins.len()
        );
        let programs = json!({
            "account": address.to_string(), "network": name, "chain": chain, "asset": sdpp_iota::asset(chain).as_str(),
            "free": has.to_string(), "coins": coins.len(), "link": page,
        });
        self.out.tell(&people, &programs);
        Ok(ExitCode::SUCCESS)
    }

    async fn send(&self, to: &str, amount: Amount, again: bool) -> Result<(), Failure> {
        let wrong = || failed(Exit::Usage, format!("'{to}' is no address of IOTA: 0x and 64 lower-case digits"));
        let address = address_of(to).ok_or_else(wrong)?;
        let nanos = u64::try_from(amount.get()).map_err(|_| failed(Exit::Usage, "there is not so much IOTA"))?;
        let spender = Spender::open(self.home, &self.home.role(self.role)?, self.tangle).await?;
        let name = name_for(&spender, &format!("send/{to}/{nanos}/"), again)?;
        spender.purse.resume().await;
        let deed = Deed::Send { to: address, amount: nanos };
        let mut sent = spender.purse.spend(&name, &deed).await;
        if sent == Ok(Spent::Void) {
            sent = spender.purse.spend(&name, &deed).await;
        }
        match sent.map_err(|error| unsent(&spender, &name, error))? {
            Spent::Done(digest) => {
                let digest = digest.to_string();
                let link =
                    spender.account.network.explorer(&digest).map(|link| format!("\n{link}")).unwrap_or_default();
                let people = format!("sent {} to {to} by {digest}{link}", human(amount.get()));
                self.out.tell(&people, &json!({ "sent": amount.to_string(), "to": to, "transaction": digest }));
                spender.purse.close(&name).map_err(|error| spender.account.explain(error))
            }
            Spent::Void => Err(spender.account.explain(RailError::Unknown)),
            Spent::Failed => Err(doubtful(&spender, &begun(&spender, &name)?)),
        }
    }
}

fn begun(spender: &Spender, prefix: &str) -> Result<Vec<Begun>, Failure> {
    spender.purse.begun(prefix).map_err(|error| spender.account.explain(error))
}

/// Under which name something is sent. What was begun and never told to be done is what is asked for again: by the same command
/// nothing is sent twice.
fn name_for(spender: &Spender, prefix: &str, again: bool) -> Result<String, Failure> {
    let begun = begun(spender, prefix)?;
    if let Some(earlier) = begun.iter().find(|begun| begun.can_be) {
        eprintln!(
            "note: the same was begun before, and nobody knew how it ended: that is finished now, and no other one is sent"
        );
        return Ok(earlier.name.clone());
    }
    if !begun.is_empty() && !again {
        return Err(doubtful(spender, &begun));
    }
    for doubtful in begun {
        spender.purse.close(&doubtful.name).map_err(|error| spender.account.explain(error))?;
    }
    Ok(format!("{prefix}{}", crate::text::hex(sdpp::entropy::draw()?.as_slice())))
}

/// What people are told of what nodes call failed, or nobody knows.
fn doubtful(spender: &Spender, begun: &[Begun]) -> Failure {
    let digests: Vec<String> = begun.iter().map(|begun| begun.digest.to_string()).collect();
    let link = digests.first().and_then(|digest| spender.account.network.explorer(digest)).unwrap_or_default();
    let what = format!(
        "nobody can say for sure that this was not sent: transaction {} failed by a node's word, or its coins went elsewhere. Look \
         whether it has arrived {link}; if it has not, `--again` sends another one",
        digests.join(", ")
    );
    failed(Exit::Refused, what)
}

/// Why it has no end yet; what was signed leaves later.
fn unsent(spender: &Spender, name: &str, error: RailError) -> Failure {
    let begun = spender.purse.begun(name).unwrap_or_default();
    if begun.iter().any(|begun| !begun.can_be) {
        return doubtful(spender, &begun);
    }
    let is_signed = error == RailError::Unavailable && !begun.is_empty();
    spender.account.explain(if is_signed { RailError::Unknown } else { error })
}

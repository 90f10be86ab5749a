//! `sdpp ledger`: runs a ledger or its witness, and does what people do with them.

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;

use crate::home::Home;

mod channel;
mod fsck;
mod key;
mod log;
mod money;
mod prove;
pub(crate) mod reach;
mod serve;
pub(crate) mod show;
pub(crate) mod station;
mod trust;
mod verify;
mod witness;

pub(crate) type Failure = Box<dyn Error>;

/// Runs a ledger or its witness, and looks after the money on one.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Serves a ledger over HTTP until Ctrl-C.
    Serve(serve::Args),
    /// Serves a witness over HTTP until Ctrl-C: it remembers a ledger's history, against forks.
    Witness(witness::Args),
    /// Shows an account, and the verifier key of a ledger or a witness.
    Key(key::Args),
    /// Shows what an account has, by the own replica.
    Balance(money::BalanceArgs),
    /// Makes money of an issuer's own.
    Issue(money::IssueArgs),
    /// Sends money.
    Transfer(money::TransferArgs),
    /// Asks a ledger on trial for its trial money.
    Grant(money::GrantArgs),
    /// Shows, opens, tops up and closes channels.
    #[command(subcommand)]
    Channel(channel::Verb),
    /// Shows entries of the log, each proved to be in it.
    Log(log::Args),
    /// Fetches an entry with its proofs, for `verify` and for others.
    Prove(prove::Args),
    /// Checks an entry by its proofs, off line.
    Verify(verify::Args),
    /// Checks a whole ledger from what it publishes: tree, rules, balances, channels.
    Fsck(fsck::Args),
}

impl Args {
    /// Whether it runs until it is stopped: then warnings are for its operator.
    pub(crate) const fn serves(&self) -> bool {
        matches!(self.verb, Verb::Serve(_) | Verb::Witness(_))
    }
}

/// Runs it.
pub(crate) fn run(home: impl Fn() -> Result<Home, Failure>, args: &Args) -> Result<ExitCode, Failure> {
    match &args.verb {
        Verb::Serve(args) => serve::run(&home()?, args),
        Verb::Witness(args) => witness::run(&home()?, args),
        Verb::Key(args) => key::run(&home()?, args),
        Verb::Balance(args) => wait(money::balance(&home()?, args)),
        Verb::Issue(args) => wait(money::issue(&home()?, args)),
        Verb::Transfer(args) => wait(money::transfer(&home()?, args)),
        Verb::Grant(args) => wait(money::grant(&home()?, args)),
        Verb::Channel(verb) => wait(channel::run(&home()?, verb)),
        Verb::Log(args) => wait(log::run(&home()?, args)),
        Verb::Prove(args) => wait(prove::run(&home()?, args)),
        Verb::Verify(args) => verify::run(args),
        Verb::Fsck(args) => fsck::run(args),
    }
}

fn wait(work: impl Future<Output = Result<(), Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)?;
    Ok(ExitCode::SUCCESS)
}

//! `sdpp key`: who a role is, and how its key is kept, handed on and ended.

use std::process::ExitCode;

use crate::exit::{Exit, failed};
use crate::home::{Failure, Home, Role};
use crate::ledger::show::Out;

mod end;
pub(crate) mod file;
mod lock;
pub(crate) mod passphrase;
mod qr;
mod ring;
mod show;

/// Looks after identity keys.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Shows the keys of all roles, or of one, also as a QR code.
    Show(show::Args),
    /// Locks a role's keys with a passphrase, or with another one.
    Passphrase(lock::Args),
    /// Takes a key from a copy.
    Import(lock::ImportArgs),
    /// Makes a new key and has the old one say so on the ledger.
    Rotate(end::RotateArgs),
    /// Has a key say that it is over.
    Revoke(end::RevokeArgs),
    /// Records the end of a key from its file, also of somebody else's.
    Record(end::RecordArgs),
    /// Asks a ledger whether a key still stands. Exit code: 0 it does, 3 rotated, 4 revoked, 1 nobody knows.
    Check(end::CheckArgs),
}

/// Whose key, and how to show.
#[derive(clap::Args)]
struct Whose {
    /// Whose key.
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    out: Out,
}

/// Runs it.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    match &args.verb {
        Verb::Show(args) => show::run(home, args),
        Verb::Passphrase(args) => lock::run(home, args),
        Verb::Import(args) => lock::import(home, args),
        Verb::Rotate(args) => wait(end::rotate(home, args)),
        Verb::Revoke(args) => wait(end::revoke(home, args)),
        Verb::Record(args) => wait(end::record(home, args)),
        // Its codes mean something else: what went wrong must not look like a key that was revoked.
        Verb::Check(args) => wait(end::check(home, args)).map_err(|error| failed(Exit::Failed, error.to_string())),
    }
}

fn wait(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

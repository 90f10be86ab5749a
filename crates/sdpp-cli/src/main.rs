//! The program `sdpp`: the only place where rails, records and stores are chosen.

#![allow(clippy::print_stderr, reason = "a program speaks to people")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod audit;
mod demo;
mod export;
mod home;
mod key;
mod ledger;
mod text;

/// Sell and buy live data, paid message by message.
#[derive(Parser)]
#[command(name = "sdpp", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A whole sale on this machine: a ledger with a witness, a seller of real weather, a buyer.
    Demo(demo::Args),
    /// Checks the bundle of an order, off line: who is owed what, and who lied first.
    Audit(audit::Args),
    /// Looks after identity keys: passphrase, copies, rotation, revocation.
    Key(Box<key::Args>),
    /// Runs a ledger or its witness, and looks after the money on one.
    Ledger(Box<ledger::Args>),
}

/// Says a line on standard output. A reader that has gone away does not end the program in the
/// middle of a sale: it goes on and settles.
fn say(line: &str) {
    use std::io::Write as _;
    // Whoever closed the pipe has heard enough.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // What serves has an operator, who has to hear when a disk or a witness fails.
    let usual = if matches!(&command, Command::Ledger(args) if args.serves()) { "warn" } else { "off" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SDPP_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match command {
        Command::Demo(args) => demo::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Ledger(args) => ledger::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sdpp: {error}");
            ExitCode::FAILURE
        }
    }
}

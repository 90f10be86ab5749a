//! The program `sdpp`: the only place where rails, records and stores are chosen.

#![allow(clippy::print_stderr, reason = "a program speaks to people")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Takes the place of std's macro in the whole program: what is said to people goes the way of the logs,
/// so that with `--log-format json` every line of standard error is an object.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::watch::logs::tell(format_args!($($text)*)) };
}

mod audit;
#[cfg(feature = "mqtt")]
mod broker;
mod buy;
mod config;
mod control;
mod demo;
mod doctor;
#[cfg(feature = "evm")]
mod evm;
mod exit;
mod export;
#[cfg(all(debug_assertions, unix))]
mod failpoint;
mod home;
#[cfg(feature = "iota")]
mod iota;
mod key;
mod ledger;
mod manual;
mod orders;
mod sell;
mod text;
mod validate;
mod visit;
mod wallet;
mod watch;
mod ways;

use crate::home::Home;

/// Sell and buy live data, paid message by message.
#[derive(Parser)]
#[command(name = "sdpp", version, about, max_term_width = 100)]
struct Cli {
    /// Folder of keys, journals and trusted ledgers; else SDPP_HOME, else the platform's folder for data.
    #[arg(long, global = true, value_name = "DIR", display_order = 900)]
    home: Option<PathBuf>,
    /// Configuration file; else SDPP_CONFIG, else sdpp.toml in the home.
    #[arg(long, global = true, value_name = "FILE", display_order = 901)]
    config: Option<PathBuf>,
    #[command(flatten)]
    logs: watch::logs::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A whole sale on this machine: a ledger with a witness, a seller of real weather, a buyer.
    Demo(demo::Args),
    /// How fast this machine sells.
    Bench(demo::BenchArgs),
    /// Sells products until Ctrl-C.
    Sell(Box<sell::Args>),
    /// Shows what a seller has.
    Menu(visit::MenuArgs),
    /// Shows what a purchase costs and what is at risk.
    Quote(visit::QuoteArgs),
    /// Prints a product's free sample.
    Sample(visit::SampleArgs),
    /// Buys a product: data on standard output, all else on standard error.
    Buy(Box<buy::Args>),
    /// Shows what you have ordered, hands its evidence on, ends what is unfinished.
    Orders(orders::Args),
    /// Looks at a running seller or buyer, and tells it what to do.
    Status(control::Args),
    /// Shows what you have: balances, and deposits locked in channels.
    Wallet(wallet::Args),
    /// Looks at what a sale or a purchase on this machine will need, and says what to do.
    Doctor(doctor::Args),
    /// Checks a configuration.
    Validate(validate::Args),
    /// Prints the completions of a shell.
    Completions(manual::CompletionArgs),
    /// Writes the manual pages into a folder.
    Man(manual::ManArgs),
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

impl Command {
    /// Whether it runs until it is stopped: then warnings are for its operator.
    const fn serves(&self) -> bool {
        if let Self::Ledger(args) = self {
            return args.serves();
        }
        matches!(self, Self::Sell(_))
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(all(debug_assertions, unix))]
    failpoint::arm();
    let logs = watch::logs::start(&cli.logs, cli.command.serves());
    match logs.and_then(|_logs| run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sdpp: {error}");
            exit::code_of(error.as_ref())
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let Cli { home: folder, config, command, .. } = cli;
    let home = || Home::find(folder.as_deref()).map(|home| home.with_config(config.clone()));
    match command {
        // The demo keeps nothing unless it is told where: never in the user's own home.
        Command::Demo(args) => demo::run(&args.within(folder)),
        Command::Bench(args) => demo::bench(&args),
        Command::Sell(args) => sell::run(&home()?, &args),
        Command::Menu(args) => visit::menu(&home()?, &args),
        Command::Quote(args) => visit::quote(&home()?, &args),
        Command::Sample(args) => visit::sample(&home()?, &args),
        Command::Buy(args) => buy::run(&home()?, &args),
        Command::Orders(args) => orders::run(&home()?, &args),
        Command::Status(args) => control::run(&home()?, &args),
        Command::Wallet(args) => wallet::run(&home()?, &args),
        Command::Doctor(args) => doctor::run(&home()?, &args),
        Command::Validate(args) => validate::run(&home()?, &args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::pages(&args),
        Command::Audit(args) => audit::run(home, &args),
        Command::Key(args) => key::run(&home()?, &args),
        Command::Ledger(args) => ledger::run(home, &args),
    }
}

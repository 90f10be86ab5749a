//! `sdpp demo`: a whole sale on this machine, over real TCP, with real journals and signatures.
//! Nothing below this module knows that it is a demo.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use sdpp_proto::money::Amount;
use sdpp_proto::statement::Signing;
use sdpp_proto::suite::Suite;
use sdpp_rail::Durability;

mod bench;
mod cheat;
mod house;
mod sale;
mod screen;
mod table;

pub(crate) use bench::{BenchArgs, run as bench};

/// Real Seattle weather: NOAA climate normals, public domain (`examples/data/README.md`).
const WEATHER: &[u8] = include_bytes!("../../../../examples/data/seattle-weather-hourly.ndjson");

/// A whole sale on this machine. With --home, keys, journals, data and bundle are kept in that new folder.
#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    /// Messages to buy; all of the data if not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Messages per window: the buyer pays after every K.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    k: u32,
    /// Windows that may be outstanding after the first ones are paid.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    windows: u32,
    /// Messages per second; 0: as fast as they are paid for.
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// A file to sell, one message a line; real Seattle weather if not given.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Price as AMOUNT/MESSAGES, in millionths of a demo dollar.
    #[arg(long, default_value = "25/1", value_parser = parse_price)]
    price: (u128, u64),
    /// How windows are paid: by voucher against a deposit, or by a transfer each.
    #[arg(long = "rail", alias = "pay", value_enum, default_value = "voucher")]
    pay: Pay,
    /// Key agreement: 1 is X25519, 2 is X-Wing (X25519 and ML-KEM-768).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    suite: u8,
    /// What the seller signs: every window, or every message too.
    #[arg(long, value_enum, default_value = "window")]
    signing: Sign,
    /// What is recorded on the ledger: each invoice and payment, or both ends of the order.
    #[arg(long, value_enum, default_value = "each")]
    record: Record,
    /// What a journal's flush survives: a power cut, or a killed process.
    #[arg(long, value_enum, default_value = "power")]
    journal: Class,
    /// A new folder that keeps keys, journals, data and bundle; the program's `--home`.
    #[arg(skip)]
    home: Option<PathBuf>,
    /// Let somebody steal, and see what becomes of it.
    #[arg(long, value_enum)]
    cheat: Option<Thief>,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Pay {
    Voucher,
    Direct,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Sign {
    Window,
    Message,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    Each,
    Ends,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Power,
    Process,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Thief {
    /// Takes data and does not pay.
    Buyer,
    /// Bills data that it did not send.
    Seller,
    /// Rewrites history.
    Ledger,
}

fn parse_price(text: &str) -> Result<(u128, u64), String> {
    let wrong = || format!("'{text}' is not a price: write AMOUNT/MESSAGES, for example 3/1000");
    let (amount, per) = text.split_once('/').unwrap_or((text, "1"));
    let price: (u128, u64) = (amount.parse().map_err(|_| wrong())?, per.parse().map_err(|_| wrong())?);
    if price.0 == 0 || price.1 == 0 { Err(wrong()) } else { Ok(price) }
}

impl Args {
    /// The same, with all that it makes kept in a new folder.
    pub(crate) fn within(self, home: Option<PathBuf>) -> Self {
        Self { home, ..self }
    }

    const fn durability(&self) -> Durability {
        match self.journal {
            Class::Power => Durability::Power,
            Class::Process => Durability::Process,
        }
    }

    const fn suite(&self) -> Suite {
        match self.suite {
            1 => Suite::X25519,
            _ => Suite::XWing,
        }
    }

    const fn signing(&self) -> Signing {
        match self.signing {
            Sign::Window => Signing::Window,
            Sign::Message => Signing::Message,
        }
    }

    const fn amount(&self) -> Amount {
        Amount::new(self.price.0)
    }
}

/// Runs the demo; exits with 0 when everything ended as it must: a clean verdict, or a thief that was
/// stopped, named and bounded.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let good = runtime.block_on(async {
        match args.cheat {
            None => sale::run(args).await,
            Some(Thief::Buyer) => cheat::buyer::run(args).await,
            Some(Thief::Seller) => cheat::seller::run(args).await,
            Some(Thief::Ledger) => cheat::ledger::run(args).await,
        }
    })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

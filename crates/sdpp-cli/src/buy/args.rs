//! The command line of `sdpp buy`.

use std::str::FromStr;

use sdpp::address::Address;
use sdpp_config::AskedAmount;
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::suite::Suite;

use crate::config::{Class, Rail, Records};
use crate::ledger::show;
use crate::ways::Ways;

/// Buys a product: what comes is written to standard output, a message a line.
#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    /// Where it is sold, and by whom: sdpp://KEY@HOST:PORT/TOPIC.
    #[arg(required_unless_present = "resume")]
    pub(super) address: Option<Address>,
    #[command(flatten)]
    pub(super) want: Want,
    #[command(flatten)]
    pub(super) how: How,
    /// Go on with an order: the one of this id (its first characters are enough), or the last one that is not over.
    #[arg(long, value_name = "ORDER", num_args = 0..=1, default_missing_value = "last", conflicts_with_all = ["count", "budget"])]
    pub(super) resume: Option<Which>,
    #[command(flatten)]
    pub(super) ways: Ways,
    /// Show what would be ordered, what it costs and what is at risk; order nothing.
    #[arg(long, conflicts_with = "resume")]
    pub(super) dry_run: bool,
    /// Tell the end as a line of JSON, on standard error.
    #[arg(long)]
    pub(super) json: bool,
}

impl Args {
    /// The suite that was asked for.
    pub(super) const fn suite(&self) -> Suite {
        match self.how.suite {
            2 => Suite::XWing,
            _ => Suite::X25519,
        }
    }
}

/// How much of it.
#[derive(clap::Args, Clone)]
pub(super) struct Want {
    /// How many messages; until Ctrl-C or the end of the budget if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// Most to spend, in the seller's units or like 0.5IOTA; what the count costs if not given.
    #[arg(long, value_name = "AMOUNT", value_parser = show::asked)]
    pub(super) budget: Option<AskedAmount>,
    /// Outstanding windows to ask for; as many as the product allows if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) windows: Option<u32>,
    /// Most to owe at a time; what the outstanding windows cost if not given.
    #[arg(long, value_name = "AMOUNT", value_parser = show::amount)]
    pub(super) owe: Option<Amount>,
}

/// How it is bought.
#[derive(clap::Args, Clone)]
pub(super) struct How {
    /// Where messages go: - (standard output, the default), FILE, FILE.csv, exec:COMMAND, mqtt://HOST/PREFIX.
    #[arg(long, value_name = "SINK")]
    pub(super) to: Option<String>,
    /// Keep the exact messages too, so that the auditor can check every byte later.
    #[arg(long)]
    pub(super) keep: bool,
    /// How to pay; the seller's first way that can be used here if not given.
    #[arg(long, alias = "pay", value_enum)]
    pub(super) rail: Option<Rail>,
    /// What to pay in: nothing else is paid. The whole name of an asset; on a ledger its symbol; on a chain usdc, coin or the
    /// address of a token.
    #[arg(long, value_name = "ASSET", conflicts_with = "resume")]
    pub(super) asset: Option<String>,
    /// Where to record; where the seller does if not given.
    #[arg(long, value_enum)]
    pub(super) records: Option<Records>,
    /// What is recorded: each invoice and payment, every so many, or only the ends. Each if not given; on a chain, where
    /// each record costs gas, the ends.
    #[arg(long, value_name = "each|N|ends")]
    pub(super) record: Option<Cadence>,
    /// Key agreement: 1 is X25519, 2 is X-Wing, against later quantum computers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(super) suite: u8,
    /// What a flush of the journal survives: a power cut, or a killed process.
    #[arg(long, value_enum)]
    pub(super) journal: Option<Class>,
    /// Take an address without a key, and with it whoever answers there.
    #[arg(long)]
    pub(super) any_seller: bool,
    /// Wait for a seller that is not there yet.
    #[arg(long)]
    pub(super) wait: bool,
    /// Serve metrics and health over HTTP here.
    #[arg(long, value_name = "ADDRESS", env = "SDPP_METRICS")]
    pub(super) metrics: Option<std::net::SocketAddr>,
    /// Draw no progress bar.
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// How often invoices and payments are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cadence(pub(super) u32);

impl FromStr for Cadence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "each" => Ok(Self(1)),
            "ends" => Ok(Self(0)),
            number => number
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .map(Self)
                .ok_or_else(|| format!("'{text}' is not a cadence: write each, ends, or a number like 10")),
        }
    }
}

/// An order of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// The last one that is not over.
    Last,
    /// By the first characters of its id.
    Begins(String),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text {
            "last" => Ok(Self::Last),
            text if hex => Ok(Self::Begins(text.to_ascii_lowercase())),
            _ => Err(format!("'{text}' is no order: write the first characters of its id; see `sdpp orders list`")),
        }
    }
}

impl Which {
    /// Whether this is it.
    pub(crate) fn is(&self, order: &StatementId) -> bool {
        match self {
            Self::Last => true,
            Self::Begins(start) => order.to_string().starts_with(start),
        }
    }
}

//! The command line of `sdpp sell`, and how it is laid over the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use sdpp_proto::money::Amount;
use sdpp_proto::statement::Product as Sold;

use crate::config::{self, Class, Config, Format, Product, Rail, Records, Source};
use crate::exit::{Exit, failed};
use crate::ledger::Failure;
use crate::ledger::show;
use crate::ways::Ways;
use sdpp_config::AskedPrice;

/// Sells products until Ctrl-C.
#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) one: One,
    #[command(flatten)]
    pub(super) house: House,
    #[command(flatten)]
    pub(super) ways: Ways,
    /// Show what would be sold, for what, and what can be lost; sell nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// A single product, instead of those of the configuration.
#[derive(clap::Args, Clone)]
pub(super) struct One {
    /// Name of the product in addresses; those of the configuration if not given.
    #[arg(long, value_name = "TOPIC", requires_all = ["price", "from"])]
    product: Option<String>,
    /// Its price: AMOUNT/MESSAGES like 3/1000, or per bytes or time like 1/1MB, 5/1h.
    #[arg(long, requires = "product")]
    price: Option<AskedPrice>,
    /// Messages per window: buyers pay after every K.
    #[arg(long, default_value_t = Sold::K, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    k: u32,
    /// Windows that a proven buyer may have outstanding.
    #[arg(long, default_value_t = Sold::WINDOWS, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    windows: u32,
    /// Where its messages come from: FILE, - (standard input), follow:FILE, exec:COMMAND, mqtt://HOST.
    #[arg(long, value_name = "SOURCE", requires = "product")]
    from: Option<String>,
    /// Topic filter of the broker, like sensors/#; may be given several times.
    #[arg(long = "topic", value_name = "FILTER", requires = "from")]
    topics: Vec<String>,
    #[command(flatten)]
    read: Read,
    /// What a message looks like, for people and programs.
    #[arg(long, value_name = "TEXT")]
    schema: Option<String>,
    /// Licence of the data.
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Give so many messages of the file as a free sample.
    #[arg(long, value_name = "N", default_value_t = 0)]
    sample: u32,
    /// Most that one buyer may owe; what its outstanding windows cost if not given.
    #[arg(long, value_name = "AMOUNT", value_parser = show::amount)]
    exposure: Option<Amount>,
}

/// How a source is read.
#[derive(clap::Args, Clone)]
struct Read {
    /// How bytes become messages; csv for a file of that name, else lines.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Messages per second, for a file.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Begin the file again at its end.
    #[arg(long = "loop")]
    looped: bool,
    /// Pace the file by the data's own times, in this field.
    #[arg(long, value_name = "FIELD")]
    time: Option<String>,
    /// How many times as fast as the data's own times.
    #[arg(long, value_name = "FACTOR", requires = "time")]
    speed: Option<f64>,
    /// Leave broken lines out instead of ending the sale.
    #[arg(long)]
    skip_broken: bool,
}

/// How the seller works, whatever it sells.
#[derive(clap::Args, Clone)]
pub(super) struct House {
    /// Where it listens; port 0 takes a free one. 127.0.0.1:7400 if nothing is said.
    #[arg(long, value_name = "ADDRESS", env = "SDPP_LISTEN")]
    listen: Option<SocketAddr>,
    /// The name that buyers reach it by, HOST or HOST:PORT, for the address that is shown.
    #[arg(long, value_name = "HOST", env = "SDPP_PUBLIC")]
    public: Option<String>,
    /// What it is paid in: SYMBOL@ISSUER; the ledger's trial money, or its only asset, if not given. On a chain: usdc
    /// (if nothing is said), coin for the chain's own, or the address of a token.
    #[arg(long, value_name = "ASSET", env = "SDPP_ASSET")]
    asset: Option<String>,
    /// Ways to be paid; voucher if not given. Voucher and direct, both on the ledger, may be given together.
    #[arg(long, alias = "pay", value_enum)]
    rail: Vec<Rail>,
    /// Where it records; on the ledger if it is paid there, else nowhere.
    #[arg(long, value_enum)]
    records: Option<Records>,
    /// What a flush of the journal survives: a power cut, or a killed process.
    #[arg(long, value_enum)]
    journal: Option<Class>,
    /// Most that all strangers together may owe.
    #[arg(long, value_name = "AMOUNT", value_parser = show::amount)]
    strangers: Option<Amount>,
    /// Most that all proven buyers together may owe.
    #[arg(long, value_name = "AMOUNT", value_parser = show::amount)]
    proven: Option<Amount>,
    /// Serve metrics and health over HTTP here.
    #[arg(long, value_name = "ADDRESS", env = "SDPP_METRICS")]
    metrics: Option<SocketAddr>,
}

impl Args {
    /// The configuration with what the command line and the environment say.
    pub(super) fn over(&self, mut config: Config) -> Result<Config, Failure> {
        self.house.over(&mut config.seller);
        if let (Some(topic), Some(price), Some(from)) = (&self.one.product, self.one.price, &self.one.from) {
            config.sources = [(topic.clone(), self.one.source(from))].into();
            config.products = vec![self.one.product(topic, price)];
        }
        if config.products.is_empty() {
            return Err(failed(
                Exit::Usage,
                "nothing to sell: say --product NAME --price 3/1000 --from FILE, or list [[products]] in the configuration",
            ));
        }
        config.check().map_err(|what| failed(Exit::Usage, what))?;
        Ok(config)
    }
}

impl One {
    fn source(&self, from: &str) -> Source {
        let Read { format, rate, looped, ref time, speed, skip_broken } = self.read;
        let mut source = Source {
            topics: self.topics.clone(),
            format,
            rate,
            looped,
            time: time.clone(),
            speed,
            skip_broken,
            ..Source::default()
        };
        if from == "-" {
            source.stdin = true;
        } else if let Some(path) = from.strip_prefix("follow:") {
            source.follow = Some(PathBuf::from(path));
        } else if let Some(command) = from.strip_prefix("exec:") {
            source.command = Some(["sh", "-c", command].map(str::to_owned).to_vec());
        } else if from.starts_with("mqtt://") || from.starts_with("mqtts://") {
            source.mqtt = Some(from.to_owned());
        } else {
            source.file = Some(PathBuf::from(from));
        }
        source
    }

    fn product(&self, topic: &str, price: AskedPrice) -> Product {
        let limits = config::Limits { exposure: self.exposure, ..config::Limits::default() };
        Product {
            topic: topic.to_owned(),
            price,
            k: self.k,
            windows: self.windows,
            source: Some(topic.to_owned()),
            select: None,
            field: None,
            schema: self.schema.clone(),
            licence: self.licence.clone(),
            sample: self.sample,
            sign_messages: false,
            skip_when_stalled: false,
            limits,
        }
    }
}

impl House {
    fn over(&self, seller: &mut config::Seller) {
        seller.listen = self.listen.or(seller.listen);
        seller.public = self.public.clone().or_else(|| seller.public.take());
        seller.asset = self.asset.clone().or_else(|| seller.asset.take());
        seller.journal = self.journal.or(seller.journal);
        seller.strangers = self.strangers.or(seller.strangers);
        seller.proven = self.proven.or(seller.proven);
        seller.metrics = self.metrics.or(seller.metrics);
        seller.records = self.records.or(seller.records);
        if !self.rail.is_empty() {
            seller.rails = Some(self.rail.clone());
        }
    }
}

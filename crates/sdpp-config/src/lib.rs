//! What may stand in the configuration file of the program `sdpp`, and prices and durations as people write them.
//!
//! A word that is not known is an error: a typo in a price must not sell at another. It is a crate of its own so that it
//! can be fuzzed without the program.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sdpp_log::VerifierKey;
use sdpp_proto::money::Amount;
use serde::{Deserialize, Deserializer};

mod amount;
mod duration;
mod price;

pub use amount::AskedAmount;
pub use duration::duration_ms;
pub use price::{AskedPrice, told};

/// Name of the file in the home.
pub const FILE: &str = "sdpp.toml";

/// All of it. Every part may be missing.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The ledger that is used.
    pub ledger: Ledger,
    /// How this machine sells.
    pub seller: Seller,
    /// How this machine buys.
    pub buyer: Buyer,
    /// The chains that the rail and the records `evm` use.
    pub evm: Evm,
    /// The networks that the rail and the records `iota` use.
    pub iota: Iota,
    /// How brokers are spoken to.
    pub mqtt: Mqtt,
    /// Where messages come from, by a name of one's own.
    pub sources: BTreeMap<String, Source>,
    /// What is sold.
    pub products: Vec<Product>,
}

/// Which ledger, and whom to believe about it.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// Where it is.
    pub url: Option<String>,
    /// Its verifier key.
    #[serde(deserialize_with = "parsed")]
    pub trust: Option<VerifierKey>,
    /// Verifier keys of witnesses.
    #[serde(deserialize_with = "all_parsed")]
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned.
    pub quorum: Option<usize>,
    /// Certificates to believe, as PEM.
    pub ca: Option<PathBuf>,
}

/// What a flush of the journal survives.
#[derive(Deserialize, clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A power cut.
    Power,
    /// A killed process.
    Process,
}

/// How windows are paid.
#[derive(Deserialize, clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Rail {
    /// On the ledger, by voucher against a deposit.
    Voucher,
    /// On the ledger, by a transfer each.
    Direct,
    /// On an EVM chain, by voucher against a deposit in a contract.
    Evm,
    /// On IOTA, by a transaction for each invoice.
    Iota,
}

/// Where orders, invoices and payments are recorded.
#[derive(Deserialize, clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Records {
    /// On the ledger.
    Ledger,
    /// On an EVM chain, as events of a contract; each costs gas.
    Evm,
    /// On IOTA, in a transaction each.
    Iota,
    /// Nowhere: both sides have them in their journals.
    None,
}

/// The chains that are used.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Evm {
    /// The usual one, by its name or its chain id.
    pub network: Option<String>,
    /// What is said of networks, by their names: of known ones only what differs.
    pub networks: BTreeMap<String, Network>,
}

/// A chain, or what differs from what is known of it.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Its id (EIP-155); needed where the name is not a known one.
    pub chain: Option<u64>,
    /// Its node: JSON-RPC over HTTP.
    pub rpc: Option<String>,
    /// Blocks on top of the one that makes something final.
    pub finality: Option<u32>,
    /// Address of the contract of channels; where `sdpp wallet deploy` puts it if not given.
    pub channels: Option<String>,
    /// Address of the contract of records.
    pub records: Option<String>,
}

/// The IOTA networks that are used.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Iota {
    /// The usual one: mainnet, testnet, devnet, local, or a name of one's own.
    pub network: Option<String>,
    /// What is said of networks, by their names: of known ones only what differs.
    pub networks: BTreeMap<String, IotaNetwork>,
}

/// An IOTA network, or what differs from what is known of it.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct IotaNetwork {
    /// Its identifier, eight digits: a node of another network is not asked. Its nodes are believed about it if not given.
    pub chain: Option<String>,
    /// Its nodes: JSON-RPC over HTTP. The next one is asked where one does not answer.
    pub rpc: Vec<String>,
    /// A gas station, which pays the gas: its URL. `SDPP_IOTA_GAS_TOKEN` is what it knows its users by.
    pub gas_station: Option<String>,
    /// Records are kept in objects that no node drops, whose storage is paid for good.
    pub keep_records: bool,
}

/// How a seller works.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Seller {
    /// Where it listens: ADDRESS:PORT.
    pub listen: Option<std::net::SocketAddr>,
    /// The name or address that buyers reach it by, for the address that is shown.
    pub public: Option<String>,
    /// The asset it is paid in: SYMBOL@ISSUER; on a chain usdc, the address of a token, or coin.
    pub asset: Option<String>,
    /// Ways to be paid.
    pub rails: Option<Vec<Rail>>,
    /// Where it records.
    pub records: Option<Records>,
    /// What a journal's flush survives.
    pub journal: Option<Class>,
    /// Shortest grace period of a channel, like `1h`.
    #[serde(deserialize_with = "duration")]
    pub grace: Option<u64>,
    /// Time from an invoice to `default`, like `60s`.
    #[serde(deserialize_with = "duration")]
    pub pay_by: Option<u64>,
    /// Most that all strangers together may owe.
    #[serde(deserialize_with = "amount")]
    pub strangers: Option<Amount>,
    /// Most that all proven buyers together may owe.
    #[serde(deserialize_with = "amount")]
    pub proven: Option<Amount>,
    /// Vouchers of buyers that are away, and closes that buyers asked for, are looked after every so often, like `30s`.
    #[serde(deserialize_with = "duration")]
    pub tend_every: Option<u64>,
    /// Vouchers are redeemed after every so many paid invoices.
    pub redeem_every: Option<u64>,
    /// Where metrics and health are served: ADDRESS:PORT.
    pub metrics: Option<std::net::SocketAddr>,
}

/// How a buyer works.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Buyer {
    /// What a journal's flush survives.
    pub journal: Option<Class>,
    /// How to pay.
    pub rail: Option<Rail>,
    /// Where it records; where the seller does if not given.
    pub records: Option<Records>,
    /// Outstanding windows to ask for.
    pub windows: Option<u32>,
    /// Quality of service towards a broker that what was bought is published to: 0, 1, 2.
    pub qos: Option<u8>,
    /// Where metrics and health are served: ADDRESS:PORT.
    pub metrics: Option<std::net::SocketAddr>,
}

/// How MQTT brokers are spoken to, as a source and as a sink.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// 5, or 3 for MQTT 3.1.1.
    pub version: Option<u8>,
    /// A file with USER:PASSWORD; else SDPP_MQTT_USER and SDPP_MQTT_PASSWORD.
    pub login: Option<PathBuf>,
    /// Certificates to believe, as PEM; else the system's.
    pub ca: Option<PathBuf>,
}

/// Where messages come from. Exactly one of `file`, `follow`, `stdin`, `command` and `mqtt`.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// A file, from its beginning for each order.
    pub file: Option<PathBuf>,
    /// A file that grows, like `tail -F`.
    pub follow: Option<PathBuf>,
    /// Standard input.
    pub stdin: bool,
    /// A program and its arguments: each line that it prints.
    pub command: Option<Vec<String>>,
    /// A broker: mqtt://HOST:PORT or mqtts://.
    pub mqtt: Option<String>,
    /// Topic filters to subscribe to.
    pub topics: Vec<String>,
    /// Quality of service: 0, 1, 2.
    pub qos: Option<u8>,
    /// A client id that stays, so that the broker keeps what comes while this program is away.
    pub session: Option<String>,
    /// How the bytes are read: lines, json, csv.
    pub format: Option<Format>,
    /// Messages per second.
    pub rate: Option<f64>,
    /// From the beginning again at the end of the file.
    #[serde(rename = "loop")]
    pub looped: bool,
    /// The field with the data's own time, by which it is paced.
    pub time: Option<String>,
    /// How many times as fast as the data's own time.
    pub speed: Option<f64>,
    /// Broken lines are left out and counted, instead of ending the sale.
    pub skip_broken: bool,
}

/// How the bytes of a source become messages.
#[derive(Deserialize, clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A message a line, whatever it is.
    Lines,
    /// A JSON value a line; anything else is broken.
    Json,
    /// CSV with a header: each record becomes a JSON object.
    Csv,
}

/// A stream for sale.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its name in addresses.
    pub topic: String,
    /// Its price.
    pub price: AskedPrice,
    /// Messages per window.
    #[serde(default = "usual_k")]
    pub k: u32,
    /// Outstanding windows.
    #[serde(default = "usual_windows")]
    pub windows: u32,
    /// Name of its source; the only one if there is one.
    #[serde(default)]
    pub source: Option<String>,
    /// Which messages of the source: a topic filter.
    #[serde(default)]
    pub select: Option<String>,
    /// Which messages of the source: FIELD=VALUE of a JSON message.
    #[serde(default, rename = "where")]
    pub field: Option<String>,
    /// What a message looks like, for people and programs.
    #[serde(default)]
    pub schema: Option<String>,
    /// Licence of the data.
    #[serde(default)]
    pub licence: Option<String>,
    /// So many free messages from the source's file as a sample.
    #[serde(default)]
    pub sample: u32,
    /// Sign every message, so that a wrong one is proof to others.
    #[serde(default)]
    pub sign_messages: bool,
    /// Drop live data while a buyer has no credit, instead of keeping it.
    #[serde(default)]
    pub skip_when_stalled: bool,
    /// Rarer settings.
    #[serde(default, flatten)]
    pub limits: Limits,
}

/// Limits of a product that few people change.
#[derive(Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Limits {
    /// Most that one buyer may owe.
    #[serde(deserialize_with = "amount")]
    pub exposure: Option<Amount>,
    /// A window ends after so long too, like `1s`.
    #[serde(deserialize_with = "duration")]
    pub window_time: Option<u64>,
    /// A window ends after so many bytes too.
    pub window_bytes: Option<u64>,
    /// Largest message in bytes.
    pub message_max: Option<u32>,
    /// Usual time between two messages, like `10s`.
    #[serde(deserialize_with = "duration")]
    pub cadence: Option<u64>,
}

const fn usual_k() -> u32 {
    sdpp_proto::statement::Product::K
}

const fn usual_windows() -> u32 {
    sdpp_proto::statement::Product::WINDOWS
}

impl Config {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    /// Checks what no type says.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    pub fn check(&self) -> Result<(), String> {
        for (name, source) in &self.sources {
            source.check().map_err(|what| format!("[sources.{name}]: {what}"))?;
        }
        for product in &self.products {
            let topic = &product.topic;
            let same = self.products.iter().filter(|other| other.topic == *topic).count();
            if same > 1 {
                return Err(format!("two products have the topic '{topic}': give each its own"));
            }
            self.source_of(product).map_err(|what| format!("product '{topic}': {what}"))?;
        }
        Ok(())
    }

    /// The source of a product, with its name.
    ///
    /// # Errors
    /// Why it has none, in words for people.
    pub fn source_of(&self, product: &Product) -> Result<(&str, &Source), String> {
        let known = || self.sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut all = self.sources.iter();
        let found = match (&product.source, all.next(), all.next()) {
            (Some(name), ..) => self.sources.get_key_value(name),
            (None, only, None) => only,
            (None, ..) => return Err(format!("say which source it has: source = one of {}", known())),
        };
        let found = found.map(|(name, source)| (name.as_str(), source));
        found.ok_or_else(|| match &product.source {
            Some(name) => format!("there is no [sources.{name}]; there are: {}", known()),
            None => "it has no source: add [sources.NAME] with file, follow, stdin, command or mqtt".to_owned(),
        })
    }
}

impl Source {
    fn check(&self) -> Result<(), String> {
        let kinds =
            [self.file.is_some(), self.follow.is_some(), self.stdin, self.command.is_some(), self.mqtt.is_some()];
        if kinds.iter().filter(|kind| **kind).count() != 1 {
            return Err("give exactly one of file, follow, stdin, command and mqtt".to_owned());
        }
        if self.command.as_ref().is_some_and(Vec::is_empty) {
            return Err("command names no program: write command = [\"PROGRAM\", \"ARGUMENT\"]".to_owned());
        }
        let named = |url: &String| url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        if self.topics.is_empty() && self.mqtt.as_ref().is_some_and(|url| !named(url)) {
            return Err("say what to subscribe to: topics = [\"sensors/#\"]".to_owned());
        }
        let finite = |number: Option<f64>| number.is_none_or(|number| number.is_finite() && number >= 0.0);
        if !finite(self.rate) || !finite(self.speed) {
            return Err("rate and speed are numbers from 0 on".to_owned());
        }
        if self.file.is_none() && (self.rate.is_some() || self.looped || self.time.is_some()) {
            return Err("only a file is paced or looped: rate, loop and time need file".to_owned());
        }
        Ok(())
    }

    /// What kind of source it is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self { file: Some(_), .. } => "file",
            Self { follow: Some(_), .. } => "follow",
            Self { stdin: true, .. } => "stdin",
            Self { command: Some(_), .. } => "command",
            Self { mqtt: Some(_), .. } => "mqtt",
            _ => "nothing",
        }
    }
}

fn text<'de, D: Deserializer<'de>, T>(
    from: D,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    read(&text).map(Some).map_err(serde::de::Error::custom)
}

fn parsed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<VerifierKey>, D::Error> {
    text(from, |text| text.parse().map_err(|error| format!("{text}: {error}")))
}

fn all_parsed<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<VerifierKey>, D::Error> {
    let all = Vec::<String>::deserialize(from)?;
    let read = |text: &String| text.parse().map_err(|error| serde::de::Error::custom(format!("{text}: {error}")));
    all.iter().map(read).collect()
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    text(from, duration_ms)
}

/// A whole number, or one in quotes where it does not fit into 63 bits.
fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Amount>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    let wrong = |text: &str| serde::de::Error::custom(format!("'{text}' is not an amount: a whole number of units"));
    match Written::deserialize(from)? {
        Written::Number(number) => Ok(Some(Amount::new(u128::from(number)))),
        Written::Text(text) => {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).map(|units| Some(Amount::new(units))).ok_or_else(|| wrong(&text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        [ledger]
        url = "http://127.0.0.1:7420"
        [seller]
        listen = "0.0.0.0:7400"
        rails = ["voucher", "direct"]
        grace = "1h"
        strangers = 1000
        proven = "340282366920938463463374607431768211455"
        records = "none"
        [evm]
        network = "mine"
        [evm.networks.mine]
        chain = 31337
        rpc = "http://127.0.0.1:8545"
        [iota]
        network = "testnet"
        [iota.networks.mine]
        chain = "8d602a01"
        rpc = ["http://127.0.0.1:9000"]
        [sources.broker]
        mqtt = "mqtt://localhost"
        topics = ["sensors/#"]
        [sources.history]
        file = "weather.csv"
        format = "csv"
        rate = 10.0
        loop = true
        [[products]]
        topic = "temperature"
        price = "3/1000"
        k = 10
        source = "broker"
        select = "sensors/+/temperature"
        window_time = "5s"
        [[products]]
        topic = "history"
        price = "1/1MB"
        source = "history"
    "#;

    #[test]
    fn a_whole_configuration_is_read() {
        let config = Config::parse(WHOLE).unwrap();
        assert_eq!(config.seller.proven, Some(Amount::MAX));
        assert_eq!(config.seller.grace, Some(3_600_000));
        assert_eq!(config.products[0].limits.window_time, Some(5000));
        assert_eq!(config.source_of(&config.products[1]).unwrap().0, "history");
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let product = "[sources.s]\nstdin = true\n[[products]]\ntopic = \"t\"\n";
        for (text, why) in [
            ("[seler]\n", "seler"),
            ("[seller]\nlisten = \"nowhere\"", "listen"),
            ("[seller]\ngrace = \"1 hour\"", "duration"),
            ("[seller]\nstrangers = -1", "strangers"),
            ("[ledger]\ntrust = \"abc\"", "abc"),
            ("[sources.s]\n", "exactly one"),
            ("[sources.s]\nmqtt = \"mqtt://h\"", "topics"),
            ("[sources.s]\nstdin = true\nrate = 3.0", "only a file"),
            (&format!("{product}price = \"free\""), "free"),
            (product, "price"),
            (&format!("{product}price = \"1\"\nprise = \"1\""), "prise"),
            (&format!("{product}price = \"1\"\nsource = \"other\""), "other"),
            (&format!("{product}price = \"1\"\n[[products]]\ntopic = \"t\"\nprice = \"1\""), "two products"),
            ("[[products]]\ntopic = \"t\"\nprice = \"1\"", "no source"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}\n{error}");
        }
    }
}

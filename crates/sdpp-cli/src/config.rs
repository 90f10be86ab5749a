//! The configuration file: `sdpp.toml` in the home, or the one named by `--config` or `SDPP_CONFIG`.
//!
//! What the command line says counts most, then the environment, then this file, then the default.

use std::fs;
use std::io;
use std::path::Path;

#[cfg(feature = "iota")]
pub(crate) use sdpp_config::IotaNetwork;
pub(crate) use sdpp_config::{
    Buyer, Class, Config, FILE, Format, Ledger, Limits, Mqtt, Product, Rail, Records, Seller, Source,
};

use crate::exit::{Exit, failed};

type Failure = Box<dyn std::error::Error>;

/// Reads the file that was named, or the one in the home if there is one.
pub(crate) fn read(named: Option<&Path>, home: &Path) -> Result<Config, Failure> {
    let usual = home.join(FILE);
    let path = named.unwrap_or(&usual);
    match fs::read_to_string(path) {
        Ok(text) => Config::parse(&text).map_err(|error| wrong(path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(Config::default()),
        Err(error) => Err(wrong(path, &error.to_string())),
    }
}

fn wrong(path: &Path, what: &str) -> Failure {
    failed(Exit::Usage, format!("{}: {}", path.display(), what.trim_end()))
}

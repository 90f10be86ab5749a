//! `sdpp validate`: reads a configuration as `sdpp sell` would, and says what it means.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::config;
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::show::Out;

/// Checks a configuration: words, types, products and their sources. Sells nothing, asks nobody.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file; else the one that `sdpp sell` would read.
    file: Option<PathBuf>,
    #[command(flatten)]
    out: Out,
}

/// Runs it.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let config = match &args.file {
        Some(file) => config::read(Some(file), &home.file(""))?,
        None => home.config()?,
    };
    for product in &config.products {
        let (name, source) = config.source_of(product).map_err(|what| failed(Exit::Usage, what))?;
        let (topic, k, windows) = (&product.topic, product.k, product.windows);
        let price = product.price.price;
        let kind = source.kind();
        let line = format!("{topic}: {price}, K = {k}, {windows} windows; from {name} ({kind})");
        let own = json!({ "topic": topic, "price": price.to_string(), "k": k, "windows": windows, "source": name, "kind": kind });
        args.out.tell(&line, &own);
    }
    if config.products.is_empty() {
        args.out.tell("nothing is wrong, and nothing is for sale", &json!({ "products": 0 }));
    }
    Ok(ExitCode::SUCCESS)
}

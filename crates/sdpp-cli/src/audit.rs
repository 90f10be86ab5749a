//! `sdpp audit`: the verdict on a bundle. The exit code is the verdict.

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use sdpp::audit::{Bundle, Trust, Verdict};
use sdpp_log::{Policy, VerifierKey};
use sdpp_proto::identity::PublicKey;

use crate::exit::Exit;

/// Checks the bundle of an order, off line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle, as a demo or an export wrote it.
    bundle: PathBuf,
    /// The seller's key, as you got it with its address (z6Mk…).
    #[arg(long)]
    seller: PublicKey,
    /// The ledger's verifier key, if records are to be checked.
    #[arg(long)]
    ledger: Option<String>,
    /// Verifier keys of witnesses; every one of them must have cosigned.
    #[arg(long)]
    witness: Vec<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it: 0 clean, 1 false, 3 incomplete.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let file = File::open(&args.bundle).map_err(|error| format!("{}: {error}", args.bundle.display()))?;
    let bundle = Bundle::read(BufReader::new(file))?;
    let log = match &args.ledger {
        None => None,
        Some(key) => {
            let parse = |key: &String| key.parse::<VerifierKey>().map_err(|error| format!("{key}: {error}"));
            let witnesses = args.witness.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
            let quorum = witnesses.len();
            Some(Policy::new(parse(key)?, witnesses, quorum)?)
        }
    };
    let report = bundle.audit(&Trust { seller: args.seller, log });
    if args.json {
        crate::say(&report.to_json());
    } else {
        crate::say(&report.to_string());
    }
    Ok(match report.verdict {
        Verdict::Clean => ExitCode::SUCCESS,
        Verdict::False(_) => ExitCode::FAILURE,
        Verdict::Incomplete(_) => Exit::Incomplete.into(),
    })
}

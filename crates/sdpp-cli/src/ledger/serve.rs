//! `sdpp ledger serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use sdpp_ledger::http::{ClientOptions, DevGrant, HttpWitness, Roots, ServerConfig, limits, serve_ledger};
use sdpp_ledger::{LedgerConfig, LedgerHost as _, LedgerService as _, LocalLedger, StartError, Verifier};
use sdpp_log::{Policy, VerifierKey};
use sdpp_proto::money::Amount;
use sdpp_rail::Durability;
use tokio::runtime::Runtime;

use super::station::{self, Ending, Tls};
use super::{Failure, show};
use crate::home::{Home, Role, RoleHome};

/// Name of the money of `--dev-grant`: millionths of a trial dollar.
const SYMBOL: &str = "uUSD";

/// The file with the witnesses of a ledger, a line each. Remove the line of one that is gone for good.
const WITNESSES: &str = "witnesses";

/// A witness and where it is.
#[derive(Clone, Debug)]
struct WitnessAt {
    key: VerifierKey,
    url: String,
}

impl FromStr for WitnessAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find("=http://").or_else(|| text.find("=https://"));
        let (key, url) =
            at.and_then(|at| text.split_at_checked(at)).ok_or("write VKEY=URL, with http:// or https://")?;
        let key = key.parse().map_err(|error| format!("{key}: {error}"))?;
        Ok(Self { key, url: url.trim_start_matches('=').to_owned() })
    }
}

#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", env = "SDPP_LEDGER_LISTEN", default_value_t = station::LEDGER)]
    listen: SocketAddr,
    /// The log's name for ever, best a URL without http://; after its address if not given at the first start.
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// A witness that is asked to cosign; remembered, may be given several times.
    #[arg(long, value_name = "VKEY=URL")]
    witness: Vec<WitnessAt>,
    /// Start although a witness does not answer: only if it is gone for good.
    #[arg(long)]
    without_witness: bool,
    /// Certificates to believe of witnesses, as PEM; else the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Publish the checkpoint and the tiles as files too (C2SP tlog-tiles).
    #[arg(long, value_name = "DIR")]
    publish: Option<PathBuf>,
    /// For trials, on a loopback address only: give each account that asks so much uUSD, once.
    #[arg(long, value_name = "AMOUNT", value_parser = show::amount)]
    dev_grant: Option<Amount>,
    #[command(flatten)]
    tls: Tls,
}

/// Serves until it is told to end.
pub(super) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    if args.dev_grant.is_some() && !args.listen.ip().is_loopback() {
        let listen = args.listen;
        return Err(
            format!("--dev-grant gives money to whoever asks: not on {listen}, only on a loopback address").into()
        );
    }
    let mut serving = args.tls.config()?;
    let runtime = station::runtime()?;
    let listener = station::bind(&runtime, args.listen)?;
    let address = listener.local_addr()?;
    let role = home.role(Role::Ledger)?;
    // Who was asked once may know more of this log than the store: it is not to be forgotten.
    let args = &Args { witness: remember(&role, &args.witness)?, ..args.clone() };
    let key = role.key()?;
    let store = role.store("ledger", Durability::Power)?.with_cache(sdpp_ledger::limits::STORE_CACHE_KIB)?;
    let vkey = station::name((Role::Ledger, &role, &key), args.origin.as_deref(), address)?;
    if let Some(amount) = args.dev_grant {
        let key = home.role(Role::Issuer)?.key()?;
        serving.grant = Some(DevGrant { key, symbol: SYMBOL.to_owned(), amount });
    }

    let mut config = LedgerConfig::new(vkey.name(), key, Arc::new(sdpp::now));
    config.without_witness = args.without_witness;
    config.folder.clone_from(&args.publish);
    for WitnessAt { key, url } in &args.witness {
        let witness = HttpWitness::new(url, key.clone(), args.asking(&runtime)?);
        config.witnesses.push(Arc::new(witness.map_err(|error| format!("--witness {key}={url}: {error}"))?));
    }
    let ledger = LocalLedger::start(config, Box::new(store)).map_err(|error| explain(&error, args))?;
    let url = station::url(address, &serving);
    let (server, ending) = {
        let _inside = runtime.enter();
        (serve_ledger(Arc::new(ledger.clone()), listener, serving.clone())?, Ending::listen()?)
    };
    runtime.block_on(introduce(&ledger, args, &url, &serving))?;
    station::warn_if_open(address, &serving);
    crate::say(&format!("ready {url}"));
    runtime.block_on(ending.wait(station::LEFT));
    runtime.block_on(server.stop());
    ledger.stop();
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn asking(&self, runtime: &Runtime) -> Result<ClientOptions, Failure> {
        let mut options = ClientOptions::new(runtime.handle().clone());
        (options.connect_ms, options.call_ms) = (limits::WITNESS_CONNECT_MS, limits::WITNESS_CALL_MS);
        if let Some(ca) = &self.ca {
            options.roots = Roots::Pem(station::read(ca)?);
        }
        Ok(options)
    }
}

/// All witnesses that were ever given, each where it was said to be last.
fn remember(role: &RoleHome, given: &[WitnessAt]) -> Result<Vec<WitnessAt>, Failure> {
    let mut witnesses: Vec<WitnessAt> = Vec::new();
    let mut put = |witness: WitnessAt| match witnesses.iter_mut().find(|known| known.key == witness.key) {
        Some(known) if known.url == witness.url => false,
        Some(known) => {
            known.url = witness.url;
            true
        }
        None => {
            witnesses.push(witness);
            true
        }
    };
    for line in role.kept(WITNESSES)?.unwrap_or_default().lines() {
        put(line.parse().map_err(|error| format!("{}: {error}", role.file(WITNESSES).display()))?);
    }
    for witness in given {
        if put(witness.clone()) {
            role.add_line(WITNESSES, &format!("{}={}", witness.key, witness.url))?;
        }
    }
    Ok(witnesses)
}

/// Why it does not start, and by which option it might.
fn explain(error: &StartError, args: &Args) -> Failure {
    match error {
        StartError::WitnessSilent => {
            let urls: Vec<&str> = args.witness.iter().map(|witness| witness.url.as_str()).collect();
            let urls = urls.join(", ");
            format!("{error} (--without-witness); asked: {urls}, as remembered in the ledger's folder").into()
        }
        StartError::BadOrigin
        | StartError::TooManyWitnesses
        | StartError::Store(_)
        | StartError::WrongCheckpoint
        | StartError::RolledBack { .. }
        | StartError::Forked
        | StartError::Folder(_) => error.to_string().into(),
    }
}

/// Says who it is and how to use it.
async fn introduce(ledger: &LocalLedger, args: &Args, url: &str, config: &ServerConfig) -> Result<(), Failure> {
    let key = ledger.key();
    let note = ledger.checkpoint().await?;
    let witnesses: Vec<VerifierKey> = args.witness.iter().map(|witness| witness.key.clone()).collect();
    let trusted = Policy::new(key.clone(), witnesses, 0)?.check(note.as_bytes(), &Verifier)?;
    eprintln!("origin     {}", key.name());
    eprintln!("key        {key}");
    eprintln!("url        {url}");
    eprintln!("log        {} entries", trusted.checkpoint.size());
    if args.witness.is_empty() {
        eprintln!("witnesses  none: clients have only this ledger's word that all see the same log (quorum 0)");
    }
    for WitnessAt { key, url } in &args.witness {
        if trusted.cosigned_at.iter().any(|cosigned| cosigned.witness == *key) {
            eprintln!("witness    {key} at {url}: cosigned");
        } else {
            eprintln!(
                "warning    the witness at {url} did not cosign: is its key {key}, and was it started with this ledger's key as --log?"
            );
        }
    }
    let named: String = args.witness.iter().map(|witness| format!(" --witness {}", witness.key)).collect();
    eprintln!("clients    sdpp ledger balance --ledger {url} --trust-ledger {key}{named}");
    if args.witness.len() > 1 {
        let (count, half) = (args.witness.len(), args.witness.len() / 2);
        eprintln!(
            "quorum     {count} if clients do not say; --quorum {} goes on when others are away",
            half.saturating_add(1)
        );
    }
    if let Some(folder) = &args.publish {
        eprintln!("files      checkpoint and tiles in {}", folder.display());
    }
    if let Some(grant) = &config.grant {
        eprintln!("trial      `sdpp ledger grant` gives an account {} {}, once", grant.amount, grant.asset());
    }
    Ok(())
}

//! `sdpp ledger witness`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use sdpp_ledger::Witness;
use sdpp_ledger::http::serve_witness;
use sdpp_log::{SignatureType, VerifierKey};

use super::Failure;
use sdpp_rail::Durability;

use super::station::{self, Ending, Tls};
use crate::home::{Home, Role, RoleHome};

/// The file with the keys of the followed logs.
const LOGS: &str = "logs";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value_t = station::WITNESS)]
    listen: SocketAddr,
    /// The witness's name for ever, best a URL without http://; after its address if not given at the first start.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Verifier key of a ledger to follow; remembered, may be given several times.
    #[arg(long, value_name = "VKEY")]
    log: Vec<VerifierKey>,
    #[command(flatten)]
    tls: Tls,
}

/// Serves until it is told to end.
pub(super) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let serving = args.tls.config()?;
    let runtime = station::runtime()?;
    let listener = station::bind(&runtime, args.listen)?;
    let address = listener.local_addr()?;
    let role = home.role(Role::Witness)?;
    let key = role.key()?;
    let store = role.store("witness", Durability::Power)?;
    let vkey = station::name((Role::Witness, &role, &key), args.name.as_deref(), address)?;
    let logs = remember(&role, &args.log)?;
    let witness = Arc::new(Witness::start(vkey.name(), key, Arc::new(sdpp::now), Box::new(store), &logs)?);
    let url = station::url(address, &serving);
    eprintln!("name       {}", vkey.name());
    eprintln!("key        {vkey}");
    eprintln!("url        {url}");
    for log in &logs {
        eprintln!("follows    {log}");
        for (accepted, shown) in witness.forks(log.name())? {
            eprintln!("warning    {} signed two histories; both notes prove it:\n{accepted}\n{shown}", log.name());
        }
    }
    eprintln!("ledger     sdpp ledger serve --witness '{vkey}={url}'");
    station::warn_if_open(address, &serving);
    let (server, ending) = {
        let _inside = runtime.enter();
        (serve_witness(witness, listener, serving)?, Ending::listen()?)
    };
    crate::say(&format!("ready {url}"));
    runtime.block_on(ending.wait(station::LEFT));
    runtime.block_on(server.stop());
    Ok(ExitCode::SUCCESS)
}

/// All logs that were ever given. One name has one key for ever: another one is another log.
fn remember(role: &RoleHome, given: &[VerifierKey]) -> Result<Vec<VerifierKey>, Failure> {
    let file = role.file(LOGS);
    let mut logs = Vec::new();
    for line in role.kept(LOGS)?.unwrap_or_default().lines() {
        logs.push(line.parse::<VerifierKey>().map_err(|error| format!("{}: {line}: {error}", file.display()))?);
    }
    for log in given {
        if log.signature_type() != SignatureType::Ed25519 {
            return Err(format!("--log {log}: the key of a witness, not of a ledger").into());
        }
        match logs.iter().find(|known| known.name() == log.name()) {
            Some(known) if known != log => {
                let name = log.name();
                return Err(format!("--log {log}: {name} is followed with another key, {known}").into());
            }
            Some(_) => {}
            None => {
                role.add_line(LOGS, &log.to_string())?;
                logs.push(log.clone());
            }
        }
    }
    if logs.is_empty() {
        return Err(
            "which ledger should it follow? Give its key with --log; `sdpp ledger key --as ledger` shows it".into()
        );
    }
    Ok(logs)
}

//! `sdpp audit`: the verdict on a bundle, or on the own orders. The exit code is the verdict.

#[cfg(any(feature = "evm", feature = "iota"))]
mod check;
mod file;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use sdpp::audit::{Report, Trust, Verdict};
use sdpp_log::{Policy, VerifierKey};
use sdpp_proto::identity::PublicKey;

#[cfg(any(feature = "evm", feature = "iota"))]
pub(crate) use self::check::{Check, State};
use crate::buy::Which;
#[cfg(any(feature = "evm", feature = "iota"))]
use crate::buy::journals::Found;
use crate::buy::journals::Journals;
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::reach::Reach;
use crate::ledger::show::Out;
use crate::orders::bundle_of;
use crate::visit::wait;

/// Checks the bundle of an order, off line; without one, the own orders, their records on the ledger, and their channels on
/// a chain.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle, as an export wrote it; the own orders if not given.
    #[arg(requires = "seller")]
    bundle: Option<PathBuf>,
    /// The seller's key, as you got it with its address (z6Mk…).
    #[arg(long, requires = "bundle")]
    seller: Option<PublicKey>,
    /// The ledger's verifier key for a bundle, if records are to be checked; a URL for own orders.
    #[arg(long, value_name = "VKEY")]
    ledger: Option<String>,
    /// Verifier keys of witnesses; every one of them must have cosigned.
    #[arg(long)]
    witness: Vec<String>,
    /// Only the own order of this id, or of these first characters.
    #[arg(long, conflicts_with = "bundle")]
    order: Option<Which>,
    /// Ask neither the ledger nor a chain about own orders.
    #[arg(long, conflicts_with = "bundle")]
    offline: bool,
    #[cfg(feature = "evm")]
    #[command(flatten)]
    chain: crate::evm::Chain,
    #[cfg(feature = "iota")]
    #[command(flatten)]
    tangle: crate::iota::Tangle,
    #[command(flatten)]
    out: Out,
}

/// Runs it: 0 clean, 1 false, 3 incomplete.
pub(crate) fn run(home: impl Fn() -> Result<Home, Box<dyn Error>>, args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match (&args.bundle, args.seller) {
        (Some(path), Some(seller)) => {
            let report = file::audit(path, &Trust { seller, log: args.policy()? })?;
            Ok(args.tell(&report))
        }
        _ => wait(own(&home()?, args)),
    }
}

async fn own(home: &Home, args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let journals = Journals::open(home)?;
    let all = journals.orders(home).await?;
    let wanted = |order: &sdpp_proto::codec::StatementId| args.order.as_ref().is_none_or(|which| which.is(order));
    let (mut worst, mut count) = (0u8, 0u64);
    for found in all.iter().filter(|found| wanted(&found.order.order)) {
        let reach = args.reach();
        let (bundle, trust) = bundle_of(home, found, (!args.offline).then_some(&reach)).await?;
        let report = bundle.audit(&trust);
        if !args.out.is_json() {
            crate::say(&format!("order {} ({})", found.order.order, found.order.topic));
        }
        worst = worst.max(args.shown(&report));
        #[cfg(any(feature = "evm", feature = "iota"))]
        if !args.offline {
            worst = worst.max(args.chain_shown(home, found).await?);
        }
        count = count.saturating_add(1);
    }
    if count == 0 {
        return Err(failed(Exit::Usage, "there is no such order in the journal: see `sdpp orders list`"));
    }
    if !journals.busy.is_empty() {
        eprintln!("not checked: orders of purchases that run now");
    }
    // False is worse than incomplete, whatever the numbers of their exit codes.
    Ok(match worst {
        0 => ExitCode::SUCCESS,
        1 => Exit::Incomplete.into(),
        _ => Exit::Failed.into(),
    })
}

impl Args {
    /// Where the ledger of own orders is, if it is said; else their terms say it.
    fn reach(&self) -> Reach {
        self.ledger.as_deref().map_or_else(Reach::of_environment, Reach::at)
    }

    /// Shows what the chain of an order says of it; how bad that is.
    #[cfg(any(feature = "evm", feature = "iota"))]
    async fn chain_shown(&self, home: &Home, found: &Found) -> Result<u8, Box<dyn Error>> {
        let mut seen = Vec::new();
        #[cfg(feature = "evm")]
        seen.extend(crate::evm::audit(home, &self.chain, found).await?);
        #[cfg(feature = "iota")]
        seen.extend(crate::iota::audit(home, &self.tangle, found).await?);
        for check in &seen {
            self.out.tell(&check.to_string(), &check.to_json());
        }
        Ok(seen.iter().map(Check::how_bad).max().unwrap_or(0))
    }

    fn policy(&self) -> Result<Option<Policy>, Box<dyn Error>> {
        let Some(key) = &self.ledger else { return Ok(None) };
        let parse = |key: &String| key.parse::<VerifierKey>().map_err(|error| format!("{key}: {error}"));
        let witnesses = self.witness.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let quorum = witnesses.len();
        Ok(Some(Policy::new(parse(key)?, witnesses, quorum)?))
    }

    /// Shows a report; how bad it is.
    fn shown(&self, report: &Report) -> u8 {
        crate::say(&if self.out.is_json() { report.to_json() } else { report.to_string() });
        match report.verdict {
            Verdict::Clean => 0,
            Verdict::Incomplete(_) => 1,
            Verdict::False(_) => 2,
        }
    }

    fn tell(&self, report: &Report) -> ExitCode {
        match self.shown(report) {
            0 => ExitCode::SUCCESS,
            1 => Exit::Incomplete.into(),
            _ => Exit::Failed.into(),
        }
    }
}

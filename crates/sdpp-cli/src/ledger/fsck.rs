//! `sdpp ledger fsck`: checks a whole ledger from what it publishes.

use std::io::{IsTerminal as _, Write as _};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sdpp::entropy;
use sdpp_ledger::fsck::{Folder, Options, Report, Signatures, Source, fsck};
use sdpp_ledger::http::{ClientOptions, HttpLedger, Roots};
use sdpp_log::{Policy, VerifierKey};
use serde_json::json;
use tokio::runtime::Runtime;

use super::show::Out;
use super::{Failure, station};

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// URL of a ledger or of a mirror, or a folder of published files.
    #[arg(value_name = "URL|FOLDER")]
    source: String,
    /// Verifier key of the log.
    #[arg(long, value_name = "VKEY")]
    log: VerifierKey,
    /// Verifier key of a witness; may be given several times.
    #[arg(long, value_name = "VKEY")]
    witness: Vec<VerifierKey>,
    /// How many witnesses must have cosigned; all that are given if not said.
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
    /// Verify the signatures of one entry in N, drawn anew each time; everything else is checked in full.
    #[arg(long, value_name = "N")]
    sample: Option<NonZero<u64>>,
    /// Draw the same sample again.
    #[arg(long, value_name = "NUMBER", requires = "sample")]
    seed: Option<u64>,
    /// Threads; as many as there are cores if not said.
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Certificates to believe, as PEM; else the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    out: Out,
}

/// Checks it; the first thing that is wrong is the error.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let quorum = args.quorum.unwrap_or(args.witness.len());
    let policy = Policy::new(args.log.clone(), args.witness.clone(), quorum).map_err(|error| {
        format!("{error}: --log takes a ledger's key, --witness and --quorum those of its witnesses")
    })?;
    let options = Options { policy, signatures: args.signatures()?, threads: args.threads() };
    let runtime = station::runtime()?;
    let source = args.source(&runtime)?;
    let (start, mut shown) = (Instant::now(), Instant::now());
    let mut progress = |entries: u64| {
        if std::io::stderr().is_terminal() && shown.elapsed() >= PROGRESS {
            shown = Instant::now();
            eprint!("\r{entries} entries checked");
            // Only a display.
            let _ = std::io::stderr().flush();
        }
    };
    let report = fsck(source.as_ref(), &options, &mut progress);
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let report = report.map_err(|fault| format!("{}: {fault}", args.source))?;
    args.tell(&report, start.elapsed(), options.signatures);
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        self.threads.map_or_else(cores, NonZero::get)
    }

    fn signatures(&self) -> Result<Signatures, Failure> {
        let Some(many) = self.sample else { return Ok(Signatures::All) };
        let seed = match self.seed {
            Some(seed) => seed,
            None => {
                let drawn = entropy::draw()?;
                drawn.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
            }
        };
        Ok(Signatures::OneIn { many: many.get(), seed })
    }

    fn source(&self, runtime: &Runtime) -> Result<Box<dyn Source>, Failure> {
        if !self.source.starts_with("http://") && !self.source.starts_with("https://") {
            return Ok(Box::new(Folder::new(&self.source)));
        }
        let mut options = ClientOptions::new(runtime.handle().clone());
        if let Some(ca) = &self.ca {
            options.roots = Roots::Pem(station::read(ca)?);
        }
        Ok(Box::new(HttpLedger::new(&self.source, options)?))
    }

    fn tell(&self, report: &Report, took: Duration, signatures: Signatures) {
        let Report { checkpoint, witnesses, verified, tiles, issued, channels_alive } = report;
        let (size, seconds) = (checkpoint.size(), took.as_secs_f64());
        let seed = match signatures {
            Signatures::All => None,
            Signatures::OneIn { seed, .. } => Some(seed),
        };
        let mut people = vec![
            format!(
                "sound      {size} entries of {}, {tiles} tiles and bundles, in {seconds:.1} s",
                checkpoint.origin()
            ),
            format!("root       {}", checkpoint.root()),
            match seed {
                None => format!("signatures all {verified} verified"),
                Some(seed) => format!("signatures {verified} verified, drawn by --seed {seed}"),
            },
            format!("witnesses  {witnesses} of those you named have cosigned"),
            format!("channels   {channels_alive} not closed"),
        ];
        for (asset, amount) in issued {
            people.push(format!("issued     {amount} {asset}, all of it accounted for"));
        }
        let assets: Vec<_> = issued.iter().map(|(asset, amount)| (asset.to_string(), amount.to_string())).collect();
        let programs = json!({
            "sound": true, "origin": checkpoint.origin(), "size": size, "root": checkpoint.root().to_string(),
            "verified": verified, "seed": seed, "tiles": tiles, "witnesses": witnesses,
            "channels_alive": channels_alive, "issued": assets.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "seconds": seconds,
        });
        self.out.tell(&people.join("\n"), &programs);
    }
}

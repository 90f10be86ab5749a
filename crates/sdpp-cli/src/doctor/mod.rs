//! `sdpp doctor`: looks at what a sale or a purchase on this machine will need, and says what to do.

use std::fmt;
use std::process::ExitCode;

use serde_json::json;

#[cfg(feature = "evm")]
mod chain;
mod ledger;
mod machine;

use crate::exit::Exit;
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::show::Out;
use crate::visit::wait;
use crate::ways::Ways;

/// Looks at configuration, keys, clock, port, disk, journals, and at the ledger with its witnesses or the chain that is used.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Free space that must be left in the home, in MB.
    #[arg(long, value_name = "MB", default_value_t = 1_000)]
    free: u64,
    /// Leave the ledger, its witnesses and chains out.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    ways: Ways,
    #[command(flatten)]
    out: Out,
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// As it should be.
    Good,
    /// It works, and somebody should know.
    Warning,
    /// It will not work.
    Bad,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Bad => "BAD",
        })
    }
}

/// What a check found.
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) state: State,
    /// What was found, and what to do about it.
    pub(super) text: String,
}

impl Finding {
    pub(super) fn good(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, state: State::Good, text: text.into() }
    }

    pub(super) fn warning(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, state: State::Warning, text: text.into() }
    }

    pub(super) fn bad(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, state: State::Bad, text: text.into() }
    }
}

/// Runs it: 0 where nothing is bad, else 1.
pub(crate) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let mut bad = false;
    let mut tell = |finding: Finding| {
        let Finding { check, state, text } = finding;
        bad |= state == State::Bad;
        let line = format!("{state:<8} {check:<14} {text}");
        let state = state.to_string().to_lowercase();
        args.out.tell(&line, &json!({ "check": check, "state": state, "text": text }));
    };
    let (config, finding) = machine::configuration(home);
    tell(finding);
    machine::keys(home).into_iter().for_each(&mut tell);
    tell(machine::disk(home, args.free));
    machine::journals(home).into_iter().for_each(&mut tell);
    tell(machine::port(home, &config));
    if args.offline {
        tell(machine::clock(None));
    } else {
        let found = wait_for(reached(home, args))?;
        tell(machine::clock(found.last_tick));
        found.findings.into_iter().for_each(&mut tell);
    }
    Ok(if bad { Exit::Failed.into() } else { ExitCode::SUCCESS })
}

/// The ledger, the chain and IOTA where they are named or configured: then a ledger that nobody named is not looked for.
async fn reached(home: &Home, args: &Args) -> ledger::Seen {
    let Ways { reach, chain, tangle } = &args.ways;
    let config = home.config().unwrap_or_default();
    let is_elsewhere = chain.is_named(&config) || tangle.is_named(&config);
    let is_named = reach.named().is_some() || config.ledger.url.is_some();
    #[cfg_attr(not(any(feature = "evm", feature = "iota")), allow(unused_mut, reason = "there is only the ledger"))]
    let mut seen = if is_named || !is_elsewhere {
        ledger::look(home, reach).await
    } else {
        ledger::Seen { findings: Vec::new(), last_tick: None }
    };
    #[cfg(feature = "evm")]
    if chain.is_named(&config) {
        seen.findings.extend(chain::look(home, chain, &config).await);
    }
    #[cfg(feature = "iota")]
    if tangle.is_named(&config) {
        seen.findings.push(match crate::iota::look(tangle, &config).await {
            Ok(text) => Finding::good("iota", text),
            Err(error) => Finding::bad("iota", error.to_string()),
        });
    }
    seen
}

fn wait_for<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut out = None;
    wait(async {
        out = Some(work.await);
        Ok(ExitCode::SUCCESS)
    })?;
    out.ok_or_else(|| "nothing was looked at".into())
}

//! `sdpp completions` and `sdpp man`: made from the command line's own definition.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::Cli;
use crate::exit::{Exit, failed};
use crate::ledger::Failure;

/// Prints completions, for example `sdpp completions bash > /etc/bash_completion.d/sdpp`.
#[derive(clap::Args)]
pub(crate) struct CompletionArgs {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes a manual page for the program and each of its verbs.
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// Where to; made if need be.
    folder: PathBuf,
}

/// Prints completions.
pub(crate) fn completions(args: &CompletionArgs) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sdpp", &mut text);
    crate::say(String::from_utf8(text)?.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Writes manual pages.
pub(crate) fn pages(args: &ManArgs) -> Result<ExitCode, Failure> {
    let folder = &args.folder;
    let wrong = |error: std::io::Error| failed(Exit::Storage, format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(wrong)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(wrong)?;
    crate::say(&format!("manual pages in {}: man -l {}", folder.display(), folder.join("sdpp.1").display()));
    Ok(ExitCode::SUCCESS)
}

//! How the program ends: exit codes, which scripts rely on (`docs/cli.md`).

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// Why the program ends, as a number for scripts. Changing one breaks somebody's script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Something else failed; the auditor found something false.
    Failed = 1,
    /// The command line or a configuration is wrong.
    Usage = 2,
    /// The auditor found nothing false, and something is missing.
    Incomplete = 3,
    /// The seller, the ledger or a broker cannot be reached.
    Unreachable = 4,
    /// The other side said no: unknown product, no room, another price.
    Refused = 5,
    /// The other side broke a rule; the evidence is kept.
    Offence = 6,
    /// The ledger contradicts itself or its witnesses.
    Dishonest = 7,
    /// Not enough money, or the budget does not reach.
    Money = 8,
    /// The order goes on with `--resume`.
    Unfinished = 9,
    /// Disk, journal or key cannot be used.
    Storage = 10,
    /// Somebody else has the port or the journal.
    InUse = 11,
    /// Source or sink has failed.
    Data = 12,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with an exit code of its own.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    text: String,
}

/// An error with this exit code, as commands return it.
pub(crate) fn failed(exit: Exit, text: impl Into<String>) -> Box<dyn Error> {
    Box::new(Ended { exit, text: text.into() })
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Ended {}

/// Why an error ends the program, if it says so.
pub(crate) fn exit_of(error: &(dyn Error + 'static)) -> Option<Exit> {
    error.downcast_ref::<Ended>().map(|ended| ended.exit)
}

/// The exit code of an error.
pub(crate) fn code_of(error: &(dyn Error + 'static)) -> ExitCode {
    exit_of(error).unwrap_or(Exit::Failed).into()
}

//! How a result is shown: as a table, or as JSON lines in its place; and as JSON lines in a file beside either.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::{Failure, head, report};

/// How a program ends: what went wrong is said.
#[expect(clippy::print_stderr, reason = "a program's error")]
pub fn ended(program: &str, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{program}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
#[derive(Debug)]
pub struct Shown {
    json: bool,
    file: Option<PathBuf>,
    /// The machine before anything was measured.
    machine: Vec<(&'static str, String)>,
}

impl Default for Shown {
    fn default() -> Self {
        Self { json: false, file: None, machine: head::machine() }
    }
}

impl Shown {
    /// Takes `--json`, or `--json-file` with its path; says whether it was one of them.
    ///
    /// # Errors
    /// There is no path.
    pub fn take(&mut self, name: &str, rest: &mut impl Iterator<Item = String>) -> Result<bool, Failure> {
        match name {
            "--json" => self.json = true,
            "--json-file" => self.file = Some(rest.next().ok_or("--json-file needs a path")?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Shows a result that names its machine.
    ///
    /// # Errors
    /// The file cannot be written.
    #[expect(clippy::print_stdout, reason = "a program's result")]
    pub fn show(&self, table: &dyn Display, json: &str) -> Result<(), Failure> {
        if let Some(path) = &self.file {
            std::fs::write(path, format!("{json}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if self.json {
            println!("{json}");
        } else {
            print!("{table}");
        }
        Ok(())
    }

    /// Shows a result with the machine before it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn show_with_machine(&self, table: &dyn Display, json: &str) -> Result<(), Failure> {
        let named = std::fmt::from_fn(|f| {
            report::write_head(f, &self.machine)?;
            write!(f, "{table}")
        });
        self.show(&named, &format!("{}\n{json}", report::head_json(&self.machine)))
    }
}

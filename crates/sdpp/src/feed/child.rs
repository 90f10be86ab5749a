//! The output of a command.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::{self, ChildStdout, Command};

use super::splitter::Splitter;
use super::{CHUNK_BYTES, Item, Taken, Upstream};
use crate::source::{Filled, Reading};

/// Lines that a command writes to its standard output. Its errors go where ours go. It is killed with
/// the hub; its own children are its own matter. That it fails is an error, after its last line.
pub struct Child {
    splitter: Splitter,
    child: process::Child,
    output: ChildStdout,
    chunk: Vec<u8>,
}

impl Child {
    /// Starts a program with its arguments; no shell reads them.
    ///
    /// # Errors
    /// The system's, naming the command, or that the reading contradicts itself.
    pub fn spawn(program: &str, arguments: &[String], reading: Reading) -> io::Result<Self> {
        // Arguments may hold a password: they stand in no error.
        let splitter = Splitter::new(reading, format!("the command {program}"))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot start the command {program}: {error}"));
        let mut child = command.spawn().map_err(named)?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { splitter, child, output, chunk: vec![0; CHUNK_BYTES] })
    }

    /// The number of its process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }
}

impl Upstream for Child {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        Box::pin(async move {
            while items.is_empty() {
                let read = self.output.read(&mut self.chunk).await?;
                if read == 0 {
                    self.splitter.end(items)?;
                    let status = self.child.wait().await?;
                    if status.success() {
                        return Ok(Filled::End);
                    }
                    return Err(io::Error::other(format!("{} has failed: {status}", self.splitter.label())));
                }
                self.splitter.push(self.chunk.get(..read).unwrap_or_default(), items)?;
            }
            Ok(Filled::Some)
        })
    }
}

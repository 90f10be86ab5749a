//! Seller and buyers in processes of their own: this program again, told what to do line by line.
//!
//! A process says one line when it is ready, and one for each command. What it prints on standard error is seen.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;

use crate::Failure;

/// One of the processes, as the one that started it sees it. Ended when dropped.
pub(super) struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    role: String,
}

impl Process {
    /// Starts it, and gives what it says first.
    pub(super) fn start(program: &Path, role: &str, arguments: &[String]) -> Result<(Self, String), Failure> {
        let mut command = Command::new(program);
        let mut child = command.arg(role).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = child.stdin.take().ok_or("a process has no standard input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("a process has no standard output")?);
        let mut process = Self { child, commands, answers, role: role.to_owned() };
        let first = process.hear()?;
        Ok((process, first))
    }

    /// Gives it a command, and waits until it has obeyed.
    pub(super) fn ask(&mut self, command: &str) -> Result<String, Failure> {
        writeln!(self.commands, "{command}")?;
        self.hear()
    }

    fn hear(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(format!("the process {} has ended, and says above why", self.role).into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process sees of itself.
#[derive(Clone, Default, Debug)]
pub(super) struct Look {
    /// Nanoseconds since it began.
    pub(super) at_ns: u64,
    /// Nanoseconds that processors have worked for it.
    pub(super) cpu_ns: u64,
    /// Bytes of it in memory.
    pub(super) memory: u64,
    /// Messages: those that the seller's source has given, or those that each buyer has got.
    pub(super) messages: Vec<u64>,
}

impl Look {
    pub(super) fn line(&self) -> String {
        let numbers = [self.at_ns, self.cpu_ns, self.memory].into_iter().chain(self.messages.iter().copied());
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn sum(&self) -> u64 {
        self.messages.iter().fold(0, |sum, messages| sum.saturating_add(*messages))
    }
}

impl FromStr for Look {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Self, Failure> {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || Ok::<_, Failure>(numbers.next().ok_or("a process says too little of itself")??);
        let (at_ns, cpu_ns, memory) = (next()?, next()?, next()?);
        Ok(Self { at_ns, cpu_ns, memory, messages: numbers.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_sees_travels_in_a_line() {
        let look = Look { at_ns: 1, cpu_ns: 2, memory: 3, messages: vec![4, 5] };
        let same: Look = look.line().parse().unwrap();
        assert_eq!((same.line(), same.sum()), (look.line(), 9));
        assert!("1 2".parse::<Look>().is_err() && "1 2 3 x".parse::<Look>().is_err());
    }

    #[test]
    fn a_process_that_ends_at_once_is_not_waited_for() {
        assert!(Process::start(Path::new("false"), "", &[]).is_err());
    }
}

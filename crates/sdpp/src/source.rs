//! Where messages come from.

use std::fs::File;
use std::future::Future;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use sdpp_proto::limits;
use sdpp_proto::message::Batch;
use tokio::time::Instant;

use crate::now_us;

/// What a source brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filled {
    /// At least one message; more may follow.
    Some,
    /// Nothing more will come.
    End,
}

/// The answer of a source.
pub type Fill<'a> = Pin<Box<dyn Future<Output = io::Result<Filled>> + Send + 'a>>;

/// A source of messages for one order.
pub trait Source: Send {
    /// Adds what is there to the batch, waiting until there is at least one message. The future may
    /// be dropped at any time without losing a message.
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a>;

    /// Leaves out messages that were sold before: the next one is number `seq`.
    ///
    /// # Errors
    /// The system's, or that this source cannot go back.
    fn seek(&mut self, seq: u64) -> io::Result<()>;
}

/// Longest pause between two messages.
const PACE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Lines of a file, one message each, in order; at a steady rate if one is given.
pub struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    /// The line in `line` was read and not yet added.
    held: bool,
    pace: Option<Pace>,
    left: u64,
}

struct Pace {
    every: Duration,
    next: Instant,
}

impl Lines {
    /// Opens a file. `rate`: messages per second; none: as fast as they are bought. `count`: at most
    /// so many lines.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path, rate: Option<f64>, count: Option<u64>) -> io::Result<Self> {
        let every = rate.filter(|rate| *rate > 0.0);
        let every = every.map(|rate| Duration::try_from_secs_f64(rate.recip()).unwrap_or(PACE_MAX).min(PACE_MAX));
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(256 * 1024, File::open(path)?),
            line: Vec::new(),
            held: false,
            pace: every.map(|every| Pace { every, next: Instant::now() }),
            left: count.unwrap_or(u64::MAX),
        })
    }

    /// Makes sure that `line` holds a message; false at the end.
    fn hold(&mut self) -> io::Result<bool> {
        while !self.held {
            self.line.clear();
            let limit = u64::from(limits::MESSAGE_MAX).saturating_add(2);
            let read = io::Read::take(&mut self.reader, limit).read_until(b'\n', &mut self.line)?;
            if read == 0 || self.left == 0 {
                return Ok(false);
            }
            if u64::try_from(read).unwrap_or(u64::MAX) >= limit {
                let text = format!("{}: a line is longer than {} bytes", self.path.display(), limits::MESSAGE_MAX);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            while self.line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                self.line.pop();
            }
            self.held = !self.line.is_empty();
        }
        Ok(true)
    }

    fn add(&mut self, batch: &mut Batch) -> bool {
        let added = batch.push(now_us(), &self.line).is_ok();
        if added {
            self.held = false;
            self.left = self.left.saturating_sub(1);
        }
        added
    }

    fn fill_now(&mut self, batch: &mut Batch) -> io::Result<Filled> {
        loop {
            if let Some(pace) = &mut self.pace
                && Instant::now() < pace.next
            {
                return Ok(Filled::Some);
            }
            if !self.hold()? {
                return Ok(if batch.is_empty() { Filled::End } else { Filled::Some });
            }
            if !self.add(batch) {
                return Ok(Filled::Some);
            }
            if let Some(pace) = &mut self.pace {
                pace.next = pace.next.checked_add(pace.every).unwrap_or(pace.next);
            }
        }
    }
}

impl Source for Lines {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            if let Some(pace) = &self.pace {
                tokio::time::sleep_until(pace.next).await;
            }
            self.fill_now(batch)
        })
    }

    fn seek(&mut self, seq: u64) -> io::Result<()> {
        self.reader = BufReader::with_capacity(256 * 1024, File::open(&self.path)?);
        self.held = false;
        for _ in 0..seq {
            if !self.hold()? {
                break;
            }
            self.held = false;
            self.left = self.left.saturating_sub(1);
        }
        Ok(())
    }
}

/// The same bytes again and again: for benchmarks.
pub struct Repeat {
    payload: Vec<u8>,
    left: u64,
    count: u64,
}

impl Repeat {
    /// `count` messages of this payload.
    pub const fn new(payload: Vec<u8>, count: u64) -> Self {
        Self { payload, left: count, count }
    }
}

impl Source for Repeat {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            let time = now_us();
            while self.left > 0 && batch.push(time, &self.payload).is_ok() {
                self.left = self.left.saturating_sub(1);
            }
            Ok(if batch.is_empty() { Filled::End } else { Filled::Some })
        })
    }

    fn seek(&mut self, seq: u64) -> io::Result<()> {
        self.left = self.count.saturating_sub(seq);
        Ok(())
    }
}

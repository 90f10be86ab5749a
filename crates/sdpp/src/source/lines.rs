//! Files that are read again for every order.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sdpp_proto::limits;
use sdpp_proto::message::Batch;
use tokio::time::Instant;

use super::{Fed, Fill, Filled, Reading, Shaper, Source};

/// Longest pause between two messages.
const PACE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Read at once.
const READ_BYTES: usize = 256 * 1024;

/// When messages are sold.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Pace {
    /// As fast as they are bought.
    #[default]
    Free,
    /// So many a second.
    Rate(f64),
    /// As far apart as their own times are; the first at once. Needs [`Reading::time`]. One that is
    /// older than the one before follows at once.
    Data {
        /// How many times faster: 1 is as it happened.
        speed: f64,
    },
}

/// How a file is sold.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LineOptions {
    /// How lines become messages.
    pub reading: Reading,
    /// When they are sold.
    pub pace: Pace,
    /// Begins again at the end, without an end. Messages are counted on.
    pub repeat: bool,
    /// At most so many messages.
    pub count: Option<u64>,
}

/// Lines of a file in order, one message each (or several lines, in CSV). Every order opens the file
/// for itself, and can go back to any message.
pub struct Lines {
    path: PathBuf,
    options: LineOptions,
    reader: BufReader<File>,
    shaper: Shaper,
    clock: Clock,
    line: Vec<u8>,
    /// The shaper holds a message that was not added yet; not before this time, if there is one.
    held: Option<Option<Instant>>,
    left: u64,
    /// Messages since the file's beginning.
    passed: u64,
    failed: Option<io::Error>,
}

/// What the next lines gave.
enum Step {
    Message,
    EndOfFile,
}

impl Lines {
    /// Opens a file of lines. `rate`: messages per second; none: as fast as they are bought. `count`:
    /// at most so many lines.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path, rate: Option<f64>, count: Option<u64>) -> io::Result<Self> {
        let pace = rate.filter(|rate| *rate > 0.0).map_or(Pace::Free, Pace::Rate);
        Self::with(path, LineOptions { pace, count, ..LineOptions::default() })
    }

    /// Opens a file.
    ///
    /// # Errors
    /// The system's, or that the options contradict each other.
    pub fn with(path: &Path, options: LineOptions) -> io::Result<Self> {
        let label = path.display().to_string();
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{label}: {error}"));
        let reader = BufReader::with_capacity(READ_BYTES, File::open(path).map_err(named)?);
        let refuse = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{label}: {what}")));
        match options.pace {
            Pace::Data { .. } if options.reading.time.is_none() => {
                return refuse("to go by the data's own times, name the field in which they stand");
            }
            Pace::Data { speed } | Pace::Rate(speed) if speed.is_nan() || speed <= 0.0 => {
                return refuse("a pace is a number above zero");
            }
            Pace::Free | Pace::Rate(_) | Pace::Data { .. } => {}
        }
        let shaper = Shaper::new(options.reading.clone(), label)?;
        let (clock, left) = (Clock::new(options.pace), options.count.unwrap_or(u64::MAX));
        let line = Vec::new();
        Ok(Self {
            path: path.to_owned(),
            options,
            reader,
            shaper,
            clock,
            line,
            held: None,
            left,
            passed: 0,
            failed: None,
        })
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.reader = BufReader::with_capacity(READ_BYTES, File::open(&self.path)?);
        self.shaper.restart();
        self.clock.restart();
        self.passed = 0;
        self.held = None;
        Ok(())
    }

    /// Reads up to the next message or the file's end.
    fn step(&mut self) -> io::Result<Step> {
        loop {
            self.line.clear();
            let limit = u64::from(limits::MESSAGE_MAX).saturating_add(2);
            let read = io::Read::take(&mut self.reader, limit).read_until(b'\n', &mut self.line)?;
            if read == 0 {
                self.shaper.finish()?;
                return Ok(Step::EndOfFile);
            }
            let line = self.line.strip_suffix(b"\n");
            let is_cut = line.is_none() && u64::try_from(read).unwrap_or(u64::MAX) >= limit;
            let line = line.unwrap_or(&self.line);
            let too_long = line.strip_suffix(b"\r").unwrap_or(line).len() > message_max();
            let fed = if is_cut || too_long { self.shaper.feed_too_long()? } else { self.shaper.feed(line)? };
            if is_cut {
                self.reader.skip_until(b'\n')?;
            }
            if fed == Fed::Message {
                self.passed = self.passed.saturating_add(1);
                return Ok(Step::Message);
            }
        }
    }

    /// Makes sure that a message is at hand and says when it is due; none at the end.
    fn hold(&mut self) -> io::Result<Option<Option<Instant>>> {
        while self.held.is_none() && self.left > 0 {
            match self.step()? {
                Step::Message => self.held = Some(self.clock.due(self.shaper.time_us())),
                Step::EndOfFile if self.options.repeat && self.passed > 0 => self.rewind()?,
                Step::EndOfFile => break,
            }
        }
        Ok(self.held)
    }

    fn fill_now(&mut self, batch: &mut Batch) -> Filled {
        loop {
            if batch.push(self.shaper.stamp(), self.shaper.message()).is_err() {
                return Filled::Some;
            }
            self.held = None;
            self.left = self.left.saturating_sub(1);
            match self.hold() {
                Ok(Some(due)) if due.is_none_or(|due| due <= Instant::now()) => {}
                Ok(_) => return Filled::Some,
                Err(error) => {
                    // Told by the next call, so that this one's messages are not doubtful.
                    self.failed = Some(error);
                    return Filled::Some;
                }
            }
        }
    }
}

impl Source for Lines {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            let held = match self.failed.take() {
                Some(error) => Err(error),
                None => self.hold(),
            };
            // What follows a broken line is not sold.
            let Some(due) = held.inspect_err(|_| self.left = 0)? else { return Ok(Filled::End) };
            if let Some(due) = due {
                tokio::time::sleep_until(due).await;
            }
            Ok(self.fill_now(batch))
        })
    }

    fn seek(&mut self, seq: u64) -> io::Result<()> {
        self.rewind()?;
        let count = self.options.count.unwrap_or(u64::MAX);
        self.left = count.saturating_sub(seq);
        let mut skip = seq.min(count);
        while skip > 0 {
            match self.step()? {
                Step::Message => skip = skip.saturating_sub(1),
                Step::EndOfFile => {
                    let Some(rest) = skip.checked_rem(self.passed).filter(|_| self.options.repeat) else { break };
                    // Whole rounds need not be read.
                    skip = rest;
                    self.rewind()?;
                }
            }
        }
        self.clock.restart();
        Ok(())
    }
}

fn message_max() -> usize {
    usize::try_from(limits::MESSAGE_MAX).unwrap_or(usize::MAX)
}

/// Says when messages are due.
struct Clock {
    pace: Pace,
    /// When the next is due, at a rate.
    next: Option<Instant>,
    /// The first message's own time, and when it was due.
    first: Option<(i64, Instant)>,
}

impl Clock {
    const fn new(pace: Pace) -> Self {
        Self { pace, next: None, first: None }
    }

    /// The data's own times begin again.
    const fn restart(&mut self) {
        self.first = None;
    }

    fn due(&mut self, time_us: Option<i64>) -> Option<Instant> {
        match self.pace {
            Pace::Free => None,
            Pace::Rate(rate) => {
                let due = self.next.unwrap_or_else(Instant::now);
                self.next = due.checked_add(pause(rate.recip()));
                Some(due)
            }
            Pace::Data { speed } => {
                let time_us = time_us?;
                let (first, start) = *self.first.get_or_insert_with(|| (time_us, Instant::now()));
                let micros = time_us.saturating_sub(first);
                Some(start.checked_add(pause(micros as f64 / 1e6 / speed)).unwrap_or(start))
            }
        }
    }
}

/// Nothing below zero, and no longer than `PACE_MAX`.
fn pause(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(PACE_MAX).min(PACE_MAX)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use crate::source::{Csv, DataTime, Form, OnBad, Pick, TimeForm};
    use crate::testing::{Folder, texts};

    fn file(folder: &Folder, text: &str) -> PathBuf {
        let path = folder.path("data");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The next batch, as text; none at the end.
    async fn next(source: &mut Lines) -> io::Result<Option<Vec<String>>> {
        let mut batch = Batch::new();
        let filled = source.fill(&mut batch).await?;
        Ok((filled == Filled::Some).then(|| texts(&batch)))
    }

    async fn all(source: &mut Lines) -> Vec<String> {
        let mut messages = Vec::new();
        while let Some(more) = next(source).await.unwrap() {
            messages.extend(more);
        }
        messages
    }

    #[tokio::test]
    async fn a_file_is_sold_from_where_the_order_stands() {
        let folder = Folder::new();
        let path = file(&folder, "a\nb\r\n\nc\nd");
        assert_eq!(all(&mut Lines::open(&path, None, None).unwrap()).await, ["a", "b", "c", "d"]);
        assert_eq!(all(&mut Lines::open(&path, None, Some(2)).unwrap()).await, ["a", "b"]);
        for (seq, rest) in [(0, &["a", "b", "c"][..]), (2, &["c"]), (3, &[]), (9, &[])] {
            let mut source = Lines::open(&path, None, Some(3)).unwrap();
            source.seek(seq).unwrap();
            assert_eq!(all(&mut source).await, rest, "{seq}");
        }
        let error = Lines::open(&folder.path("none"), None, None).err().unwrap();
        assert!(error.to_string().contains("none: "), "{error}");
    }

    #[tokio::test]
    async fn a_repeated_file_counts_on_and_goes_back_round_by_round() {
        let folder = Folder::new();
        let path = file(&folder, "a\nb\nc\n");
        let open = |count| {
            Lines::with(&path, LineOptions { repeat: true, count: Some(count), ..LineOptions::default() }).unwrap()
        };
        let whole = all(&mut open(8)).await;
        assert_eq!(whole.concat(), "abcabcab");
        for seq in 0..8u8 {
            let mut source = open(8);
            source.seek(seq.into()).unwrap();
            assert_eq!(all(&mut source).await, whole[seq.into()..], "{seq}");
        }
        let mut far = open(u64::MAX);
        far.seek(3_000_000_000_001).unwrap();
        far.left = 2;
        assert_eq!(all(&mut far).await, ["b", "c"], "whole rounds are not read");
        // Nothing repeated is an end, not a busy loop.
        std::fs::write(&path, "\n\n").unwrap();
        assert!(all(&mut open(8)).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn messages_come_at_their_pace() {
        let folder = Folder::new();
        let path = file(&folder, "a\nb\nc\n");
        let start = Instant::now();
        let mut source = Lines::open(&path, Some(2.0), None).unwrap();
        for (wait_ms, message) in [(0, "a"), (500, "b"), (1_000, "c")] {
            assert_eq!(next(&mut source).await.unwrap().unwrap(), [message]);
            assert_eq!(start.elapsed().as_millis(), wait_ms);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_datas_own_times_set_the_pace() {
        let folder = Folder::new();
        let times = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z", "2026-01-01T00:00:05Z", "2026-01-01T00:01:00Z"];
        let path = file(&folder, &times.map(|time| format!("{{\"o\":{{\"t\":\"{time}\"}}}}\n")).concat());
        let time = DataTime { field: "o.t".to_owned(), form: TimeForm::Rfc3339, stamp: true };
        let reading = Reading { time: Some(time), ..Reading::default() };
        let options = LineOptions { reading, pace: Pace::Data { speed: 10.0 }, repeat: true, count: Some(5) };
        let (start, mut batch) = (Instant::now(), Batch::new());
        let mut source = Lines::with(&path, options).unwrap();
        let mut seen = Vec::new();
        while source.fill(&mut batch).await.unwrap() == Filled::Some {
            for message in batch.messages() {
                seen.push((start.elapsed().as_millis(), message.time_us / 1_000_000 - 1_767_225_600));
            }
            batch.clear();
        }
        // The third is older than the second and follows at once; the next round begins without a pause.
        assert_eq!(seen, [(0, 0), (1_000, 10), (1_000, 5), (6_000, 60), (6_000, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fill_that_was_dropped_loses_nothing() {
        let folder = Folder::new();
        let path = file(&folder, "a\nb\n");
        let mut source = Lines::open(&path, Some(1.0), None).unwrap();
        let mut batch = Batch::new();
        source.fill(&mut batch).await.unwrap();
        for _ in 0..5 {
            let late = tokio::time::timeout(Duration::from_millis(100), source.fill(&mut batch)).await;
            assert!(late.is_err());
        }
        source.fill(&mut batch).await.unwrap();
        assert_eq!(texts(&batch), ["a", "b"]);
    }

    #[tokio::test]
    async fn what_came_before_a_broken_line_is_sold() {
        let folder = Folder::new();
        let path = file(&folder, "v\n1\n2\n3,4\n5\n");
        let csv = |on_bad| {
            let reading = Reading { form: Form::Csv(Csv::default()), on_bad, ..Reading::default() };
            Lines::with(&path, LineOptions { reading, ..LineOptions::default() }).unwrap()
        };
        let mut source = csv(OnBad::Stop);
        assert_eq!(next(&mut source).await.unwrap().unwrap(), [r#"{"v":1}"#, r#"{"v":2}"#]);
        let error = next(&mut source).await.unwrap_err().to_string();
        assert!(error.contains("data, line 4: it has 2 fields"), "{error}");
        assert_eq!(next(&mut source).await.unwrap(), None, "one error, and nothing behind it");
        assert_eq!(all(&mut csv(OnBad::Skip)).await, [r#"{"v":1}"#, r#"{"v":2}"#, r#"{"v":5}"#]);
        // Going back counts messages, not lines.
        let mut source = csv(OnBad::Skip);
        source.seek(2).unwrap();
        assert_eq!(all(&mut source).await, [r#"{"v":5}"#]);
    }

    #[tokio::test]
    async fn a_line_longer_than_a_message_is_a_broken_line() {
        let folder = Folder::new();
        let (most, over) = ("m".repeat(message_max()), "o".repeat(message_max() + 1));
        let path = file(&folder, &format!("a\n{most}\r\n{over}\nb\n{over}{over}\nc"));
        let error = async |source: &mut Lines| loop {
            match next(source).await {
                Ok(messages) => assert!(messages.is_some()),
                Err(error) => return error.to_string(),
            }
        };
        let text = error(&mut Lines::open(&path, None, None).unwrap()).await;
        assert!(text.contains("data, line 3: the line is longer"), "{text}");
        let reading = Reading { on_bad: OnBad::Skip, ..Reading::default() };
        let mut source = Lines::with(&path, LineOptions { reading, ..LineOptions::default() }).unwrap();
        let lengths: Vec<usize> = all(&mut source).await.iter().map(String::len).collect();
        assert_eq!(lengths, [1, message_max(), 1, 1]);
    }

    #[tokio::test]
    async fn options_that_contradict_each_other_are_refused() {
        let folder = Folder::new();
        let path = file(&folder, "a\n");
        let refused = |options| Lines::with(&path, options).err().unwrap().to_string();
        let paced = |pace| refused(LineOptions { pace, ..LineOptions::default() });
        assert!(paced(Pace::Data { speed: 1.0 }).contains("name the field"));
        assert!(paced(Pace::Rate(0.0)).contains("above zero"));
        assert!(paced(Pace::Rate(f64::NAN)).contains("above zero"));
        let reading = Reading { pick: Pick::all().topics(["#"]).unwrap(), ..Reading::default() };
        assert!(refused(LineOptions { reading, ..LineOptions::default() }).contains("no topic"));
    }
}

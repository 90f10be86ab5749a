//! A file of messages, as durable as the journal, that can go back to any message.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read as _, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sdpp_proto::message::Message;

use super::form::{Form, Former};
use super::{Mark, Position, Sink, Stream, invalid};
use crate::journal::Barrier;

/// Bytes gathered before they are handed to the system.
const BUFFER: usize = 256 * 1024;
/// A header of a CSV file is looked for in so many bytes.
const HEADER_MAX: u64 = 1024 * 1024;

/// A file of messages. What it held before is kept, and never taken back. It is locked: one sink at a time
/// writes to a file.
pub struct FileSink {
    path: PathBuf,
    file: Arc<SyncedFile>,
    former: Former,
    buffer: Vec<u8>,
    /// Bytes of the file, with those of the buffer.
    at: u64,
}

/// A file that the journal syncs.
struct SyncedFile(File);

impl Barrier for SyncedFile {
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl FileSink {
    /// Opens or creates a file.
    ///
    /// # Errors
    /// The system's; [`WouldBlock`](io::ErrorKind::WouldBlock) where another sink has it.
    pub fn open(path: &Path, form: Form) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            // Two that write from one place would overwrite what was paid for.
            let text = format!("another purchase writes to {}: name another file", path.display());
            return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
        }
        let at = (&file).seek(SeekFrom::End(0))?;
        let path = path.canonicalize()?;
        Ok(Self { path, file: Arc::new(SyncedFile(file)), former: Former::new(form), buffer: Vec::new(), at })
    }

    /// A file of one message a line, as they are.
    ///
    /// # Errors
    /// The system's.
    pub fn lines(path: &Path) -> io::Result<Self> {
        Self::open(path, Form::Lines(super::Encoding::Raw))
    }

    /// A file in canonical form, for the auditor.
    ///
    /// # Errors
    /// The system's.
    pub fn canonical(path: &Path) -> io::Result<Self> {
        Self::open(path, Form::Canonical)
    }

    fn hand_over(&mut self) -> io::Result<()> {
        (&self.file.0).write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// A line that somebody left open is ended, so that the first message has its own.
    fn end_line(&mut self) -> io::Result<()> {
        if self.at == 0 || *self.former.form() == Form::Canonical {
            return Ok(());
        }
        let mut last = [0];
        (&self.file.0).seek(SeekFrom::End(-1))?;
        (&self.file.0).read_exact(&mut last)?;
        (&self.file.0).seek(SeekFrom::End(0))?;
        if last != *b"\n" {
            self.buffer.push(b'\n');
            self.at = self.at.saturating_add(1);
        }
        Ok(())
    }

    /// A CSV file that has rows has its header.
    fn read_header(&mut self) -> io::Result<()> {
        if !matches!(self.former.form(), Form::Csv(_)) || self.at == 0 {
            return self.former.header(None);
        }
        (&self.file.0).seek(SeekFrom::Start(0))?;
        let mut line = Vec::new();
        io::BufRead::read_until(&mut BufReader::new((&self.file.0).take(HEADER_MAX)), b'\n', &mut line)?;
        (&self.file.0).seek(SeekFrom::End(0))?;
        self.former.header(Some(&line))
    }

    /// Where the file is to end.
    fn end_of(&self, mark: &Mark) -> io::Result<u64> {
        if let Some(position) = mark.position.number() {
            if position <= self.at {
                return Ok(position);
            }
        } else if mark.position.is_none() {
            // Nobody kept where the order began: it did at the file's beginning.
            (&self.file.0).seek(SeekFrom::Start(0))?;
            let mut data = BufReader::new(&self.file.0);
            if let Some(length) = self.former.length_of(mark.messages, &mut data)? {
                return Ok(length);
            }
        } else {
            return Err(invalid("the journal's position is one of other sinks".into()));
        }
        let text =
            format!("{} holds fewer than the {} messages that were paid for", self.path.display(), mark.messages);
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
    }
}

impl Sink for FileSink {
    fn begin(&mut self, stream: &Stream) -> io::Result<()> {
        self.former.begin(stream);
        self.end_line()?;
        self.read_header()
    }

    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        let before = self.buffer.len();
        self.former.write(seq, message, &mut self.buffer)?;
        let added = self.buffer.len().saturating_sub(before);
        self.at = self.at.saturating_add(u64::try_from(added).unwrap_or(u64::MAX));
        if self.buffer.len() >= BUFFER { self.hand_over() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        self.hand_over()?;
        let barrier: Arc<dyn Barrier> = self.file.clone();
        Ok(Some(barrier))
    }

    fn position(&self) -> Position {
        Position::at(self.at)
    }

    fn holds(&mut self, mark: &Mark) -> io::Result<()> {
        let held = self.end_of(mark).map(drop);
        (&self.file.0).seek(SeekFrom::End(0))?;
        held
    }

    fn go_back(&mut self, mark: &Mark) -> io::Result<bool> {
        if self.hand_over().is_err() {
            // What the medium did not take was not paid for.
            self.buffer.clear();
        }
        self.at = (&self.file.0).seek(SeekFrom::End(0))?;
        let end = self.end_of(mark)?;
        self.file.0.set_len(end)?;
        self.at = (&self.file.0).seek(SeekFrom::End(0))?;
        self.read_header()?;
        Ok(true)
    }

    fn describe(&self) -> Option<String> {
        Some(format!("{}:{}", self.former.name(), self.path.display()))
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        // What was not flushed was not paid for.
        let _ = self.hand_over();
        // The journal may hold the file a little longer.
        let _ = self.file.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use sdpp_proto::statement::Signing;

    use super::super::{Csv, Encoding};
    use super::*;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str, content: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("sdpp-sink-{name}-{}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }

        fn text(&self) -> String {
            std::fs::read_to_string(&self.0).unwrap()
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn begin(sink: &mut FileSink) {
        sink.begin(&Stream { topic: "t".into(), schema: String::new(), signing: Signing::Window }).unwrap();
    }

    /// Writes messages; gives the position behind each.
    fn write(sink: &mut FileSink, messages: &[&str]) -> Vec<Mark> {
        let message = |text: &&str| {
            let bytes = text.as_bytes();
            sink.write(0, &Message { time_us: 5, bytes, signature: None }).unwrap();
            sink.position()
        };
        let positions: Vec<Position> = messages.iter().map(message).collect();
        sink.flush().unwrap();
        (1..).zip(positions).map(|(messages, position)| Mark { messages, position }).collect()
    }

    /// A child has the files of its parent from the fork until it runs its own program.
    #[test]
    fn a_closed_file_can_be_opened_while_a_forked_child_still_has_it() {
        let file = Temporary::new("forked", b"");
        let sink = FileSink::lines(&file.0).unwrap();
        assert!(FileSink::lines(&file.0).is_err());
        let of_the_child = sink.file.0.try_clone().unwrap();
        drop(sink);
        FileSink::lines(&file.0).unwrap();
        drop(of_the_child);
    }

    #[test]
    fn a_file_that_held_something_keeps_it() {
        for (before, kept) in [("", ""), ("mine\n", "mine\n"), ("\n\nopen", "\n\nopen\n")] {
            let path = Temporary::new("before", before.as_bytes());
            let mut sink = FileSink::lines(&path.0).unwrap();
            begin(&mut sink);
            let start = Mark { messages: 0, position: sink.position() };
            // An empty message is a message.
            let marks = write(&mut sink, &["one", "", "three"]);
            drop(sink);
            let mut sink = FileSink::lines(&path.0).unwrap();
            begin(&mut sink);
            assert!(sink.go_back(&marks[1]).unwrap());
            write(&mut sink, &["again"]);
            assert_eq!(path.text(), format!("{kept}one\n\nagain\n"));
            sink.go_back(&start).unwrap();
            assert_eq!(path.text(), kept);
            let error = sink.go_back(&marks[2]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "it holds less than was paid for");
        }
    }

    #[test]
    fn every_form_is_cut_to_whole_messages_and_never_guesses() {
        let csv = Form::Csv(Csv::default());
        let forms = [Form::Lines(Encoding::Raw), Form::Lines(Encoding::JsonString), Form::Canonical, csv];
        for form in forms {
            let path = Temporary::new("cut", b"");
            let mut sink = FileSink::open(&path.0, form.clone()).unwrap();
            begin(&mut sink);
            let messages = [r#"{"a":"1"}"#, r#"{"a":"x\ny"}"#, r#"{"a":"3"}"#];
            let marks = write(&mut sink, &messages);
            let whole = path.text();
            for by_position in [true, false] {
                let mark = |at: usize| Mark {
                    position: if by_position { marks[at].position.clone() } else { Position::NONE },
                    ..marks[at].clone()
                };
                sink.go_back(&mark(1)).unwrap();
                let cut = usize::try_from(marks[1].position.number().unwrap()).unwrap();
                assert_eq!(path.text(), whole.get(..cut).unwrap(), "{form:?} {by_position}");
                let error = sink.go_back(&mark(2)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{form:?} {by_position}");
                write(&mut sink, &messages[2..]);
                assert_eq!(path.text(), whole, "{form:?}: once, with one header");
            }
            sink.go_back(&Mark::default()).unwrap();
            write(&mut sink, &messages);
            assert_eq!(path.text(), whole, "{form:?}: from the beginning");
        }
    }

    #[test]
    fn a_table_goes_on_below_its_header() {
        let path = Temporary::new("table", b"b,a\n1,2\n");
        let mut sink = FileSink::open(&path.0, Form::Csv(Csv::default())).unwrap();
        begin(&mut sink);
        write(&mut sink, &[r#"{"a":4,"b":3}"#]);
        assert_eq!(path.text(), "b,a\n1,2\n3,4\n");
        let message = Message { time_us: 0, bytes: br#"{"c":1}"#, signature: None };
        sink.write(2, &message).unwrap_err();
        sink.flush().unwrap();
        assert_eq!(path.text(), "b,a\n1,2\n3,4\n", "nothing of a row that is refused");
    }
}

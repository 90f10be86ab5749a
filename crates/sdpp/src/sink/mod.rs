//! Where messages go.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use sdpp_proto::message::Message;

use crate::journal::Barrier;

/// Takes what was bought.
pub trait Sink: Send {
    /// Takes one message. Messages come in order, each once.
    ///
    /// # Errors
    /// The system's: the session is settled and ended.
    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()>;

    /// Hands all that was written to the system. What it gives back is synced before anything is
    /// paid; none where the sink keeps nothing.
    ///
    /// # Errors
    /// The system's.
    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>>;

    /// After a crash: keeps the first `messages` and forgets the rest.
    ///
    /// # Errors
    /// The system's, or that this sink cannot go back.
    fn truncate(&mut self, messages: u64) -> io::Result<()>;
}

/// A file, one message a line.
pub struct LineFile {
    file: Arc<SyncedFile>,
    writer: BufWriter<File>,
}

/// A file that the journal syncs.
struct SyncedFile(File);

impl Barrier for SyncedFile {
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl LineFile {
    /// Opens or creates a file; what it holds is kept.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        file.seek(SeekFrom::End(0))?;
        let synced = Arc::new(SyncedFile(file.try_clone()?));
        Ok(Self { file: synced, writer: BufWriter::with_capacity(256 * 1024, file) })
    }
}

impl Sink for LineFile {
    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        if message.bytes.contains(&b'\n') {
            let text = format!("message {seq} holds a line break: keep this stream in another kind of sink");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.writer.write_all(message.bytes)?;
        self.writer.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        self.writer.flush()?;
        let barrier: Arc<dyn Barrier> = self.file.clone();
        Ok(Some(barrier))
    }

    fn truncate(&mut self, messages: u64) -> io::Result<()> {
        self.writer.flush()?;
        let mut file = self.file.0.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(file.try_clone()?);
        let (mut end, mut line) = (0u64, Vec::new());
        for _ in 0..messages {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                let text = format!("the file holds fewer than the {messages} messages that were paid for");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            end = end.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        }
        file.set_len(end)?;
        self.writer.get_mut().seek(SeekFrom::End(0)).map(drop)
    }
}

/// A file of messages in canonical form: what an auditor needs to check digests.
pub struct CanonicalFile {
    file: Arc<SyncedFile>,
    writer: BufWriter<File>,
}

impl CanonicalFile {
    /// Opens or creates a file; what it holds is kept.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let LineFile { file, writer } = LineFile::open(path)?;
        Ok(Self { file, writer })
    }
}

impl Sink for CanonicalFile {
    fn write(&mut self, _seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.writer.write_all(&message.time_us.to_be_bytes())?;
        // The protocol's own limit is far below.
        let length = u32::try_from(message.bytes.len()).map_err(io::Error::other)?;
        self.writer.write_all(&length.to_be_bytes())?;
        self.writer.write_all(message.bytes)?;
        self.writer.write_all(message.signature.map_or(&[][..], |signature| signature))
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        self.writer.flush()?;
        let barrier: Arc<dyn Barrier> = self.file.clone();
        Ok(Some(barrier))
    }

    fn truncate(&mut self, messages: u64) -> io::Result<()> {
        if messages == 0 {
            self.writer.flush()?;
            self.file.0.set_len(0)?;
            return self.writer.get_mut().seek(SeekFrom::Start(0)).map(drop);
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "a canonical file is only cut to nothing"))
    }
}

/// Two sinks that get the same.
pub struct Tee<A, B>(pub A, pub B);

/// Both barriers.
struct BothBarriers(Arc<dyn Barrier>, Arc<dyn Barrier>);

impl Barrier for BothBarriers {
    fn sync(&self) -> io::Result<()> {
        self.0.sync()?;
        self.1.sync()
    }
}

impl<A: Sink, B: Sink> Sink for Tee<A, B> {
    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.0.write(seq, message)?;
        self.1.write(seq, message)
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        Ok(match (self.0.flush()?, self.1.flush()?) {
            (Some(a), Some(b)) => Some(Arc::new(BothBarriers(a, b))),
            (one, None) | (None, one) => one,
        })
    }

    fn truncate(&mut self, messages: u64) -> io::Result<()> {
        self.0.truncate(messages)?;
        self.1.truncate(messages)
    }
}

/// Counts and forgets: for benchmarks and for buyers that only watch.
#[derive(Debug, Default)]
pub struct Discard {
    /// Messages taken.
    pub messages: u64,
    /// Payload bytes taken.
    pub bytes: u64,
}

impl Sink for Discard {
    fn write(&mut self, _seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::try_from(message.bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        Ok(None)
    }

    fn truncate(&mut self, messages: u64) -> io::Result<()> {
        self.messages = self.messages.min(messages);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> Message<'_> {
        Message { time_us: 0, bytes, signature: None }
    }

    #[test]
    fn a_line_file_is_cut_to_whole_messages_and_never_guesses() {
        let path = std::env::temp_dir().join(format!("sdpp-sink-{}", std::process::id()));
        let mut sink = LineFile::open(&path).unwrap();
        for (seq, text) in (0..).zip(["one", "two", "three"]) {
            sink.write(seq, &message(text.as_bytes())).unwrap();
        }
        // A line break inside a message would make two of one after a crash.
        assert_eq!(sink.write(3, &message(b"a\nb")).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(sink.truncate(4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        sink.truncate(2).unwrap();
        sink.write(2, &message(b"again")).unwrap();
        sink.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nagain\n");
        std::fs::remove_file(path).unwrap();
    }
}

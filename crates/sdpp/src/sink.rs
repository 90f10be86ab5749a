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
    fn write(&mut self, _seq: u64, message: &Message<'_>) -> io::Result<()> {
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
            end = end.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        }
        file.set_len(end)?;
        self.writer.get_mut().seek(SeekFrom::End(0)).map(drop)
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

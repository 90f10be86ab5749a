//! Standard input, and anything else that is read by a thread.

use std::io::{self, Read};

use tokio::sync::mpsc;

use super::splitter::Splitter;
use super::{CHUNK_BYTES, Item, Taken, Upstream};
use crate::source::{Filled, Reading};

/// Chunks that may wait for the hub.
const CHUNKS_MAX: usize = 4;

/// Lines of standard input, or of another reader. It is read by a thread of its own, begun with the
/// first order: a read of a terminal cannot be interrupted, and must not keep the program from ending.
pub struct Input {
    splitter: Splitter,
    reader: Option<Box<dyn Read + Send>>,
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    sender: Option<mpsc::Sender<io::Result<Vec<u8>>>>,
}

impl Input {
    /// Of standard input.
    ///
    /// # Errors
    /// The reading contradicts itself.
    pub fn stdin(reading: Reading) -> io::Result<Self> {
        Self::new(io::stdin(), "standard input", reading)
    }

    /// Of any reader; `label` names it in errors.
    ///
    /// # Errors
    /// The reading contradicts itself.
    pub fn new(reader: impl Read + Send + 'static, label: &str, reading: Reading) -> io::Result<Self> {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let splitter = Splitter::new(reading, label.to_owned())?;
        Ok(Self { splitter, reader: Some(Box::new(reader)), chunks, sender: Some(sender) })
    }
}

impl Upstream for Input {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        Box::pin(async move {
            if let (Some(reader), Some(sender)) = (self.reader.take(), self.sender.take()) {
                std::thread::Builder::new().name("sdpp-input".to_owned()).spawn(move || read(reader, &sender))?;
            }
            while items.is_empty() {
                match self.chunks.recv().await {
                    Some(Ok(chunk)) => self.splitter.push(&chunk, items)?,
                    Some(Err(error)) => {
                        return Err(io::Error::new(error.kind(), format!("{}: {error}", self.splitter.label())));
                    }
                    None => {
                        self.splitter.end(items)?;
                        return Ok(Filled::End);
                    }
                }
            }
            Ok(Filled::Some)
        })
    }
}

/// Reads until the end, an error, or nobody takes any more.
fn read(mut reader: Box<dyn Read + Send>, sender: &mpsc::Sender<io::Result<Vec<u8>>>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match reader.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => Ok(chunk.get(..read).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if sender.blocking_send(read).is_err() || failed {
            return;
        }
    }
}

//! A file that grows.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::splitter::Splitter;
use super::{CHUNK_BYTES, Item, Taken, Upstream};
use crate::source::{Filled, Form, Reading};

/// How often it looks.
const POLL: Duration = Duration::from_millis(100);

/// Where in its file a [`Follow`] begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Begin {
    /// With what is written from now on.
    #[default]
    AtEnd,
    /// With its first line.
    AtStart,
}

/// Lines of a file as they are written, like `tail -F`: it waits for a file that is not there yet, goes
/// on with a new file of the same name when the old one was moved away, and from the beginning when the
/// file was cut. A line counts when its end was written. It never ends.
pub struct Follow {
    path: PathBuf,
    splitter: Splitter,
    file: Option<File>,
    /// Read so far of it.
    position: u64,
    begin: Begin,
    has_header: bool,
    chunk: Vec<u8>,
    /// The file's absence was told.
    warned: bool,
}

impl Follow {
    /// Follows a file, which need not be there yet.
    ///
    /// # Errors
    /// The system's, or that the reading contradicts itself.
    pub fn open(path: &Path, begin: Begin, reading: Reading) -> io::Result<Self> {
        let has_header = matches!(reading.form, Form::Csv(_));
        let splitter = Splitter::new(reading, path.display().to_string())?;
        let chunk = vec![0; CHUNK_BYTES];
        let path = path.to_owned();
        let mut follow = Self { path, splitter, file: None, position: 0, begin, has_header, chunk, warned: false };
        // Now, not at the first read: what is written in between belongs to the first order.
        follow.open_first()?;
        Ok(follow)
    }

    fn open_first(&mut self) -> io::Result<()> {
        let Some(mut file) = self.try_open()? else {
            // A file that comes later is new from its first line on.
            self.begin = Begin::AtStart;
            return Ok(());
        };
        if self.begin == Begin::AtEnd {
            self.position = self.go_to_end(&mut file)?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn go_to_end(&mut self, file: &mut File) -> io::Result<u64> {
        if self.has_header {
            self.read_header(file)?;
        }
        let end = file.seek(SeekFrom::End(0))?;
        if end > 0 {
            file.seek(SeekFrom::Start(end.saturating_sub(1)))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                self.splitter.skip_line();
            }
        }
        Ok(end)
    }

    /// The first line of a CSV file says what the others mean.
    fn read_header(&mut self, file: &mut File) -> io::Result<()> {
        let read = file.read(&mut self.chunk)?;
        let head = self.chunk.get(..read).unwrap_or_default();
        let line = head.split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.ends_with(b"\n"));
        if let Some(line) = line {
            self.splitter.push(line, &mut Vec::new())?;
        }
        Ok(())
    }

    fn try_open(&mut self) -> io::Result<Option<File>> {
        match File::open(&self.path) {
            Ok(file) => {
                self.warned = false;
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(file = self.splitter.label(), "the file is not there; waiting for it");
                }
                Ok(None)
            }
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", self.splitter.label()))),
        }
    }

    fn read_chunk(&mut self, items: &mut Vec<Item>) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let read = file.read(&mut self.chunk)?;
        self.position = self.position.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        self.splitter.push(self.chunk.get(..read).unwrap_or_default(), items)?;
        Ok(read > 0)
    }

    /// Reads what is there; says whether anything was, or has changed.
    fn read_once(&mut self, items: &mut Vec<Item>) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = self.try_open()?;
            self.position = 0;
        }
        if self.read_chunk(items)? {
            return Ok(true);
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        let current = file.metadata()?;
        let named = std::fs::metadata(&self.path).ok();
        if current.len() < self.position {
            tracing::info!(file = self.splitter.label(), "the file was cut; reading it from the beginning");
            file.seek(SeekFrom::Start(0))?;
            self.position = 0;
            self.splitter.restart();
            return Ok(true);
        }
        if named.is_some_and(|named| !is_same(&named, &current)) {
            // Looked at before the last read found nothing: whoever wrote it may have written since.
            if self.read_chunk(items)? {
                return Ok(true);
            }
            tracing::info!(file = self.splitter.label(), "there is a new file of this name; reading that");
            self.splitter.end(items)?;
            self.splitter.restart();
            self.file = None;
            return Ok(true);
        }
        Ok(false)
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

impl Upstream for Follow {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        Box::pin(async move {
            while items.is_empty() {
                if !self.read_once(items)? {
                    tokio::time::sleep(POLL).await;
                }
            }
            Ok(Filled::Some)
        })
    }
}

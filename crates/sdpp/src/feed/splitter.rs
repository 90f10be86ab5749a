//! Lines out of chunks.

use std::io;

use bytes::Bytes;
use sdpp_proto::limits;

use super::Item;
use crate::source::{Fed, Reading, Shaper};

/// Puts lines together from chunks and makes items of them.
pub(super) struct Splitter {
    shaper: Shaper,
    /// The beginning of a line.
    open: Vec<u8>,
    /// The line was found too long; its rest is passed over.
    skipping: bool,
}

impl Splitter {
    pub(super) fn new(reading: Reading, label: String) -> io::Result<Self> {
        Ok(Self { shaper: Shaper::new(reading, label)?, open: Vec::new(), skipping: false })
    }

    pub(super) fn label(&self) -> &str {
        self.shaper.label()
    }

    /// Takes a chunk; a line without its end waits for the next one.
    pub(super) fn push(&mut self, chunk: &[u8], items: &mut Vec<Item>) -> io::Result<()> {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(line) if self.open.is_empty() && !self.skipping => self.line(line, items)?,
                Some(line) => {
                    self.extend(line)?;
                    self.close(items)?;
                }
                None => self.extend(part)?,
            }
        }
        Ok(())
    }

    /// Nothing follows: what is there is a line.
    pub(super) fn end(&mut self, items: &mut Vec<Item>) -> io::Result<()> {
        if !self.open.is_empty() {
            self.close(items)?;
        }
        self.skipping = false;
        self.shaper.finish()
    }

    /// Another file begins, with its own header.
    pub(super) fn restart(&mut self) {
        self.open.clear();
        self.skipping = false;
        self.shaper.restart();
    }

    /// The rest of a line whose beginning was not read is no message.
    pub(super) fn skip_line(&mut self) {
        self.skipping = true;
    }

    fn extend(&mut self, part: &[u8]) -> io::Result<()> {
        if self.skipping {
            return Ok(());
        }
        self.open.extend_from_slice(part);
        // The line's end may be two bytes.
        if self.open.len() > line_max().saturating_add(1) {
            self.open.clear();
            self.skipping = true;
            self.shaper.feed_too_long()?;
        }
        Ok(())
    }

    fn close(&mut self, items: &mut Vec<Item>) -> io::Result<()> {
        if std::mem::take(&mut self.skipping) {
            return Ok(());
        }
        let line = std::mem::take(&mut self.open);
        let result = self.line(&line, items);
        self.open = line;
        self.open.clear();
        result
    }

    fn line(&mut self, line: &[u8], items: &mut Vec<Item>) -> io::Result<()> {
        let length = line.strip_suffix(b"\r").unwrap_or(line).len();
        let fed = if length > line_max() { self.shaper.feed_too_long()? } else { self.shaper.feed(line)? };
        if fed == Fed::Message {
            let payload = Bytes::copy_from_slice(self.shaper.message());
            items.push(Item { topic: None, time_us: self.shaper.stamp(), payload });
        }
        Ok(())
    }
}

fn line_max() -> usize {
    usize::try_from(limits::MESSAGE_MAX).unwrap_or(usize::MAX)
}

//! One TCP connection as whole frames: read into one reused buffer, opened in place.

use std::io;
use std::time::Duration;

use sdpp_proto::frame::FrameHeader;
use sdpp_proto::limits::FRAME_MAX;
use sdpp_proto::offence::Offence;
use sdpp_rail::failpoint::{self, Deed};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes read ahead where much comes: several frames, so that the last one seldom has to be moved to the front.
const READ_BUFFER: usize = 4 * FRAME_MAX;
/// Bytes read ahead where little comes: thousands of quiet connections cost little.
const READ_BUFFER_MIN: usize = 4 * 1024;
/// Frames are sealed ahead up to so many bytes.
pub(crate) const WRITE_AHEAD: usize = 64 * 1024;

/// Time that the other side has to take what is left and to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    Some,
    Nothing,
    Closed,
}

pub(crate) struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Unread bytes lie in `start..end` of the buffer.
    start: usize,
    end: usize,
    /// The last read has filled the buffer.
    grows: bool,
    out: Vec<u8>,
    written: usize,
}

impl Link {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), start: 0, end: 0, grows: false, out: Vec::new(), written: 0 })
    }

    /// Waits until there is something to read, or room to write what waits.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let interest = if self.has_output() { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.stream.ready(interest).await.map(drop)
    }

    /// Waits until there is room to write what waits; for ever if nothing does.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        if self.has_output() { self.stream.writable().await } else { std::future::pending().await }
    }

    pub(crate) const fn has_output(&self) -> bool {
        self.written < self.out.len()
    }

    /// Bytes sealed and not yet written.
    pub(crate) const fn pending(&self) -> usize {
        self.out.len().saturating_sub(self.written)
    }

    /// The buffer that frames are sealed into.
    pub(crate) const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Reads what is there, without waiting.
    pub(crate) fn try_read(&mut self) -> io::Result<Read> {
        self.make_room();
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        if room.is_empty() {
            return Ok(Read::Nothing);
        }
        match self.stream.try_read(room) {
            Ok(0) => Ok(Read::Closed),
            Ok(length) => {
                // There may be more than the buffer has room for.
                self.grows = length == room.len();
                self.end = self.end.saturating_add(length);
                Ok(Read::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Makes the buffer as large as what comes, and moves what is unread only where the rest of its frame has no room.
    fn make_room(&mut self) {
        let unread = self.end.saturating_sub(self.start);
        if unread == 0 {
            (self.start, self.end) = (0, 0);
        }
        // The rest of a frame that has begun, by its header: nothing of one that is here. Anything where none has.
        let frame = self.buffer.get(self.start..self.end).and_then(|unread| FrameHeader::peek(unread).ok().flatten());
        let wanted = frame.map_or(1, |header| header.frame_len().saturating_sub(unread));
        if self.start > 0 && self.buffer.len().saturating_sub(self.end) < wanted {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, unread);
        }
        let size = self.buffer.len();
        let grown = if self.grows { size.max(READ_BUFFER_MIN).saturating_mul(4) } else { size };
        let size_wanted = grown.max(self.end.saturating_add(wanted)).max(READ_BUFFER_MIN);
        self.grows = false;
        if size_wanted > size && size < READ_BUFFER {
            self.buffer.resize(size_wanted.min(READ_BUFFER), 0);
        }
    }

    /// Nothing more is to be read or written at the moment: a connection that moves little needs no buffers until it
    /// moves more. Large ones are kept, for they cost much to make.
    pub(crate) fn pause(&mut self) {
        self.let_go(READ_BUFFER_MIN);
    }

    /// Gives back what a quiet connection does not need.
    pub(crate) fn rest(&mut self) {
        self.let_go(usize::MAX);
    }

    /// Gives back empty buffers up to this size.
    fn let_go(&mut self, size_max: usize) {
        if self.start == self.end && self.buffer.len() <= size_max {
            (self.buffer, self.start, self.end) = (Vec::new(), 0, 0);
        }
        if !self.has_output() && self.out.capacity() <= size_max {
            (self.out, self.written) = (Vec::new(), 0);
        }
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next_frame(&mut self) -> Result<Option<&mut [u8]>, Offence> {
        let unread = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some(header) = FrameHeader::peek(unread)? else { return Ok(None) };
        if unread.len() < header.frame_len() {
            return Ok(None);
        }
        let from = self.start;
        self.start = self.start.saturating_add(header.frame_len());
        Ok(self.buffer.get_mut(from..self.start))
    }

    /// Writes what can be written, without waiting; says whether anything was.
    pub(crate) fn try_write(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            failpoint::before(Deed::Frames);
            match self.stream.try_write(rest) {
                Ok(length) => {
                    self.written = self.written.saturating_add(length);
                    moved = true;
                    failpoint::after(Deed::Frames);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if !self.has_output() {
            self.out.clear();
            self.written = 0;
        }
        Ok(moved)
    }

    /// Writes the rest and says that nothing more will come.
    pub(crate) async fn end_output(&mut self) {
        // A peer that does not read is not waited for.
        let _ = tokio::time::timeout(GOODBYE, self.goodbye()).await;
    }

    async fn goodbye(&mut self) -> io::Result<()> {
        use tokio::io::AsyncWriteExt as _;
        while self.has_output() {
            self.stream.writable().await?;
            self.try_write()?;
        }
        self.stream.shutdown().await
    }

    /// Writes the rest, says goodbye and reads until the other side has done the same: closing with
    /// unread data would reset the connection and could lose the last statement.
    pub(crate) async fn close(self) {
        self.close_within(GOODBYE).await;
    }

    /// The same, for a peer that has so long.
    pub(crate) async fn close_within(mut self, patience: Duration) {
        let drained = async {
            self.goodbye().await?;
            loop {
                self.stream.readable().await?;
                (self.start, self.end) = (0, 0);
                if self.try_read()? == Read::Closed {
                    return io::Result::Ok(());
                }
            }
        };
        // A peer that does not close is not waited for; what matters is written.
        let _ = tokio::time::timeout(patience, drained).await;
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
mod tests {
    use sdpp_proto::frame::{FrameKind, write_clear};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, Link) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (one, two) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (one.unwrap(), Link::new(two.unwrap().0).unwrap())
    }

    /// A frame of type 7 with so long a body, not sealed at all.
    fn frame(length: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        write_clear(&mut frame, FrameKind::Sealed, &(0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>());
        frame
    }

    async fn next(link: &mut Link) -> Vec<u8> {
        loop {
            if let Some(frame) = link.next_frame().unwrap() {
                return frame.to_vec();
            }
            link.stream.readable().await.unwrap();
            assert_ne!(link.try_read().unwrap(), Read::Closed);
        }
    }

    #[tokio::test]
    async fn frames_of_all_sizes_come_whole_however_they_are_cut() {
        let (mut peer, mut link) = pair().await;
        let body_max = FrameKind::Sealed.body_max();
        let lengths = [0, 1, 5_000, body_max, 17, body_max, 3 * READ_BUFFER_MIN, body_max, body_max, 2];
        let all: Vec<u8> = lengths.iter().flat_map(|length| frame(*length)).collect();
        for piece in [1 << 20, 70_001, 4_096, 997] {
            let sent = all.clone();
            let sending = tokio::spawn(async move {
                for piece in sent.chunks(piece) {
                    peer.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                peer
            });
            for length in lengths {
                assert!(next(&mut link).await == frame(length), "{length} in pieces of {piece}");
                assert!(link.buffer.len() <= READ_BUFFER);
            }
            peer = sending.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_quiet_connection_keeps_little_and_loses_nothing() {
        let (mut peer, mut link) = pair().await;
        peer.write_all(&frame(200)).await.unwrap();
        next(&mut link).await;
        assert_eq!(link.buffer.len(), READ_BUFFER_MIN, "little comes");
        link.pause();
        assert_eq!((link.buffer.capacity(), link.out.capacity()), (0, 0), "and costs nothing while nothing comes");
        peer.write_all(&[frame(100_000), frame(7)[..3].to_vec()].concat()).await.unwrap();
        next(&mut link).await;
        while link.start == link.end {
            link.stream.readable().await.unwrap();
            link.try_read().unwrap();
        }
        link.rest();
        assert!(link.buffer.len() > 100_000, "something is unread");
        link.pause();
        peer.write_all(&frame(7)[3..]).await.unwrap();
        assert!(next(&mut link).await == frame(7));
        link.pause();
        assert!(link.buffer.len() > 100_000, "much has come, and may again");
        link.output().extend_from_slice(b"x");
        link.rest();
        assert_eq!((link.buffer.capacity(), link.pending()), (0, 1), "what waits to be written stays");
        link.try_write().unwrap();
        link.rest();
        assert_eq!(link.out.capacity(), 0);
        peer.write_all(&frame(9)).await.unwrap();
        assert!(next(&mut link).await == frame(9));
    }
}

//! What a sale is measured against.

use crate::clock::Took;
use crate::{Failure, Rival};

mod stream;

use stream::{Streams, Writes};

/// One way to move messages, or bytes that count as messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Plain TCP, 64 KiB a write.
    Tcp,
    /// TLS 1.3, 64 KiB a write.
    Tls64,
    /// TLS 1.3, 16 KiB a write: one record.
    Tls16,
}

impl Kind {
    /// All, in the order in which they take their turns.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Tls64, Self::Tls16];

    /// Its name in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp-64K",
            Self::Tls64 => "rustls-64K",
            Self::Tls16 => "rustls-16K",
        }
    }

    /// The name by which it is chosen, together with others like it.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls64 | Self::Tls16 => "rustls",
        }
    }
}

/// Everything that is made once.
pub(crate) struct Rivals {
    streams: Streams,
}

impl Rivals {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { streams: Streams::new()? })
    }

    /// Runs it without counting, and finds how many messages make a round: those of the largest sale.
    pub(crate) fn warm_up(&self, kind: Kind, size: usize, bytes: u64) -> Result<Rival, Failure> {
        let messages = bytes.checked_div(u64::try_from(size)?).unwrap_or_default();
        self.run(kind, size, messages)?;
        Ok(Rival::new(kind, size, messages))
    }

    /// Moves so many messages.
    pub(crate) fn run(&self, kind: Kind, size: usize, messages: u64) -> Result<Took, Failure> {
        let bytes = messages.saturating_mul(u64::try_from(size)?);
        match kind {
            Kind::Tcp => self.streams.run(Writes { bytes: 64 * 1024, tls: false }, bytes),
            Kind::Tls64 => self.streams.run(Writes { bytes: 64 * 1024, tls: true }, bytes),
            Kind::Tls16 => self.streams.run(Writes { bytes: 16 * 1024, tls: true }, bytes),
        }
    }
}

//! Where messages come from. `docs/sources.md` is for those who sell; this is for those who write a
//! source.
//!
//! Two kinds: what can be read again ([`Lines`], [`Repeat`]) is opened once per order and can go back
//! to any message. What is live (standard input, a child process, a file that grows, a broker) has no
//! past: it is read once, by a [`crate::feed::Hub`], and every order subscribes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use sdpp_proto::message::Batch;

mod csv;
pub(crate) mod field;
mod lines;
mod pick;
mod reading;
mod repeat;
mod time;

pub use lines::{LineOptions, Lines, Pace};
pub use pick::{Pick, PickError};
pub use reading::{Csv, DataTime, Form, OnBad, Reading};
pub(crate) use reading::{Fed, Shaper};
pub use repeat::Repeat;
pub use time::TimeForm;

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
    ///
    /// An error ends the order; what was added before, in this call too, is still sold.
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a>;

    /// Leaves out messages that were sold before: the next one is number `seq`. Called once, before
    /// the first `fill`. A live source has no past: it goes on with what comes from now on, under the
    /// next number, and is right to answer `Ok`.
    ///
    /// # Errors
    /// The system's, or that this source cannot go back.
    fn seek(&mut self, seq: u64) -> io::Result<()>;

    /// From now on what comes is not sold: credit is used up, and live data moves on. What waits is passed over too. `fill` goes
    /// on to tell the end. False: this source cannot, and is filled from and what it gives is dropped.
    fn let_pass(&mut self) -> bool {
        false
    }

    /// What comes is sold again. Gives the messages that were passed over since [`let_pass`](Self::let_pass).
    fn passed(&mut self) -> u64 {
        0
    }

    /// How long it is kept, with what comes meanwhile, for an order whose buyer is away. None: it is
    /// opened anew when the buyer comes back, and [`seek`](Self::seek)s.
    fn keeps(&self) -> Option<Duration> {
        None
    }
}

/// A source that was picked at run time.
impl Source for Box<dyn Source> {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        self.as_mut().fill(batch)
    }

    fn seek(&mut self, seq: u64) -> io::Result<()> {
        self.as_mut().seek(seq)
    }

    fn let_pass(&mut self) -> bool {
        self.as_mut().let_pass()
    }

    fn passed(&mut self) -> u64 {
        self.as_mut().passed()
    }

    fn keeps(&self) -> Option<Duration> {
        self.as_ref().keeps()
    }
}

/// An error of what a source reads, with a text for people.
pub(crate) fn bad_data(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

//! Two sinks that get the same.

use std::io;
use std::sync::Arc;

use sdpp_proto::message::Message;

use super::{Mark, Position, Ready, Sink, Stream, is_enough};
use crate::journal::Barrier;

/// Two sinks that get the same. When the reader of one has enough the order ends; until then the
/// other one gets everything.
pub struct Tee<A, B> {
    first: A,
    second: B,
    /// A flush met a reader that has enough: said at the next message.
    enough: bool,
}

impl<A, B> Tee<A, B> {
    /// Both of them.
    pub const fn new(first: A, second: B) -> Self {
        Self { first, second, enough: false }
    }

    /// The two.
    pub fn into_inner(self) -> (A, B) {
        (self.first, self.second)
    }
}

/// Both barriers.
struct BothBarriers(Arc<dyn Barrier>, Arc<dyn Barrier>);

impl Barrier for BothBarriers {
    fn sync(&self) -> io::Result<()> {
        self.0.sync()?;
        self.1.sync()
    }
}

/// Both answers; what has failed comes before who has enough.
fn both(first: io::Result<()>, second: io::Result<()>) -> io::Result<()> {
    match (first, second) {
        (Err(error), Err(other)) if is_enough(&error) => Err(other),
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) => Ok(()),
    }
}

fn both_ready<'a>(first: Option<Ready<'a>>, second: Option<Ready<'a>>) -> Option<Ready<'a>> {
    match (first, second) {
        // What the first one says must not be forgotten while the second one is waited for.
        (Some(first), Some(second)) => Some(Box::pin(async move {
            first.await?;
            second.await
        })),
        (one, None) | (None, one) => one,
    }
}

impl<A: Sink, B: Sink> Tee<A, B> {
    /// A flush keeps the other side's barrier.
    fn barrier(&mut self, flushed: io::Result<Option<Arc<dyn Barrier>>>) -> io::Result<Option<Arc<dyn Barrier>>> {
        match flushed {
            Err(error) if is_enough(&error) => {
                self.enough = true;
                Ok(None)
            }
            flushed => flushed,
        }
    }

    /// A mark of both as one of each.
    fn apart(&self, mark: &Mark) -> io::Result<(Mark, Mark)> {
        let (first, second) = if mark.position.is_none() {
            (Position::NONE, Position::NONE)
        } else {
            let apart = mark.position.split(self.first.position().len());
            apart.ok_or_else(|| super::invalid("the journal's position is one of other sinks".into()))?
        };
        let of = |position| Mark { messages: mark.messages, position };
        Ok((of(first), of(second)))
    }
}

impl<A: Sink, B: Sink> Sink for Tee<A, B> {
    fn begin(&mut self, stream: &Stream) -> io::Result<()> {
        self.first.begin(stream)?;
        self.second.begin(stream)
    }

    fn room(&mut self) -> Option<Ready<'_>> {
        both_ready(self.first.room(), self.second.room())
    }

    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        let enough = if std::mem::take(&mut self.enough) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) };
        both(both(self.first.write(seq, message), self.second.write(seq, message)), enough)
    }

    fn held(&mut self, through: u64) -> Option<Ready<'_>> {
        both_ready(self.first.held(through), self.second.held(through))
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        let (first, second) = (self.first.flush(), self.second.flush());
        Ok(match (self.barrier(first)?, self.barrier(second)?) {
            (Some(first), Some(second)) => Some(Arc::new(BothBarriers(first, second))),
            (one, None) | (None, one) => one,
        })
    }

    fn position(&self) -> Position {
        self.first.position().join(self.second.position())
    }

    fn holds(&mut self, mark: &Mark) -> io::Result<()> {
        let (first, second) = self.apart(mark)?;
        self.first.holds(&first)?;
        self.second.holds(&second)
    }

    fn go_back(&mut self, mark: &Mark) -> io::Result<bool> {
        let (first, second) = self.apart(mark)?;
        let first = self.first.go_back(&first)?;
        let second = self.second.go_back(&second)?;
        Ok(first && second)
    }

    fn describe(&self) -> Option<String> {
        match (self.first.describe(), self.second.describe()) {
            (Some(first), Some(second)) => Some(format!("{first} + {second}")),
            (one, None) | (None, one) => one,
        }
    }
}

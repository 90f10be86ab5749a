//! Where messages go, and what a sink says about what it holds (`docs/adr/0011-sinks.md`).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use sdpp_proto::message::Message;
use sdpp_proto::statement::{Product, Signing};

use crate::journal::Barrier;

mod csv;
mod file;
mod form;
mod json;
mod pipe;
mod tee;

pub use csv::Csv;
pub use file::FileSink;
pub use form::{Encoding, Form};
pub use pipe::PipeSink;
pub use tee::Tee;

/// Ends when a sink can go on. It may be dropped at any time without harm.
pub type Ready<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// What a sink is told before its first message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Topic of the product.
    pub topic: String,
    /// The product's schema: a hint to what the messages are.
    pub schema: String,
    /// Whether messages carry signatures.
    pub signing: Signing,
}

impl Stream {
    /// The stream of a product.
    pub fn of(product: &Product) -> Self {
        Self { topic: product.topic.clone(), schema: product.schema.clone(), signing: product.signing }
    }
}

/// Where a sink stands, in numbers that only it understands: a file says how many bytes it holds.
/// Sinks that cannot go back say nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Position(Vec<u64>);

/// Numbers that a position has at most.
const POSITION_MAX: usize = 16;

impl Position {
    /// A sink that cannot go back.
    pub const NONE: Self = Self(Vec::new());

    /// A position that is one number.
    pub fn at(number: u64) -> Self {
        Self(vec![number])
    }

    /// The number of a position that is one.
    pub fn number(&self) -> Option<u64> {
        if let [number] = self.0.as_slice() { Some(*number) } else { None }
    }

    /// Whether it says nothing.
    pub const fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Two positions in one.
    pub(crate) fn join(mut self, mut other: Self) -> Self {
        self.0.append(&mut other.0);
        self
    }

    /// The first numbers of a position, and the rest.
    pub(crate) fn split(&self, first: usize) -> Option<(Self, Self)> {
        let (first, rest) = self.0.split_at_checked(first)?;
        Some((Self(first.into()), Self(rest.into())))
    }

    const fn len(&self) -> usize {
        self.0.len()
    }

    /// As text, for the journal.
    pub(crate) fn to_text(&self) -> String {
        self.0.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Reads [`to_text`](Self::to_text).
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let numbers = text.split_whitespace().map(|number| number.parse().ok());
        numbers.take(POSITION_MAX).collect::<Option<Vec<u64>>>().map(Self)
    }
}

/// A place in an order that the journal vouches for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// Messages from the order's beginning.
    pub messages: u64,
    /// Where the sink stood behind them; nothing where the journal does not know.
    pub position: Position,
}

/// Takes what was bought.
///
/// `begin` comes first, after a restart followed by `holds` and, once the seller goes on, `go_back`; then `room`,
/// `write` for each message,
/// and now and then `held`, `flush` and `position`. Everything is called by one task, which nothing
/// here may block: what takes long is a [`Ready`].
///
/// An error of the kind [`BrokenPipe`](io::ErrorKind::BrokenPipe) says that the reader has enough: the
/// order is ended and settled as if the user had asked for it. A sink says so once. From then on it
/// takes everything and keeps nothing. Any other error freezes the order: nothing that was not held
/// is paid for, and a later resume goes on where the sink is whole.
pub trait Sink: Send {
    /// What stream comes.
    ///
    /// # Errors
    /// The system's, or that this sink cannot take such a stream: nothing is ordered.
    fn begin(&mut self, stream: &Stream) -> io::Result<()> {
        let _ = stream;
        Ok(())
    }

    /// None: there is room for the messages of a frame. Otherwise ends when there is.
    fn room(&mut self) -> Option<Ready<'_>> {
        None
    }

    /// Takes one message. Messages come in order, each once.
    ///
    /// # Errors
    /// See [`Sink`].
    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()>;

    /// None: the messages before number `through` are where they are as safe as this sink makes
    /// them, once a barrier of [`flush`](Self::flush) was synced. Otherwise ends when they are. They
    /// are not paid for before.
    fn held(&mut self, through: u64) -> Option<Ready<'_>> {
        let _ = through;
        None
    }

    /// Hands all that was written to the system. What it gives back is synced before anything is
    /// paid; none where the sink keeps nothing.
    ///
    /// # Errors
    /// See [`Sink`].
    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>>;

    /// Where it stands behind the last message written.
    fn position(&self) -> Position {
        Position::NONE
    }

    /// After a restart: whether all before the mark is there, as far as the sink can tell. Nothing is changed.
    ///
    /// # Errors
    /// The system's, or that the sink holds less than it should.
    fn holds(&mut self, mark: &Mark) -> io::Result<()> {
        let _ = mark;
        Ok(())
    }

    /// After a restart: keeps what was before the mark and forgets the rest. Says whether it could.
    /// One that cannot goes on behind what it holds, and gets again what was written since the mark.
    ///
    /// # Errors
    /// The system's, or that the sink holds less than it should.
    fn go_back(&mut self, mark: &Mark) -> io::Result<bool>;

    /// What it is, for people and for whoever makes it again after a restart; none for one that
    /// needs no name.
    fn describe(&self) -> Option<String> {
        None
    }
}

/// A sink that was picked at run time.
impl Sink for Box<dyn Sink> {
    fn begin(&mut self, stream: &Stream) -> io::Result<()> {
        self.as_mut().begin(stream)
    }

    fn room(&mut self) -> Option<Ready<'_>> {
        self.as_mut().room()
    }

    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.as_mut().write(seq, message)
    }

    fn held(&mut self, through: u64) -> Option<Ready<'_>> {
        self.as_mut().held(through)
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        self.as_mut().flush()
    }

    fn position(&self) -> Position {
        self.as_ref().position()
    }

    fn holds(&mut self, mark: &Mark) -> io::Result<()> {
        self.as_mut().holds(mark)
    }

    fn go_back(&mut self, mark: &Mark) -> io::Result<bool> {
        self.as_mut().go_back(mark)
    }

    fn describe(&self) -> Option<String> {
        self.as_ref().describe()
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

    fn go_back(&mut self, mark: &Mark) -> io::Result<bool> {
        self.messages = self.messages.min(mark.messages);
        Ok(true)
    }
}

/// The reader has enough.
pub(crate) fn is_enough(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_kept_as_text() {
        for position in [Position::NONE, Position::at(7), Position::at(1).join(Position::at(u64::MAX))] {
            assert_eq!(Position::of_text(&position.to_text()), Some(position));
        }
        assert_eq!(Position::of_text("1 x"), None);
        let both = Position::at(1).join(Position::at(2));
        assert_eq!(both.split(1), Some((Position::at(1), Position::at(2))));
        assert_eq!(both.split(3), None);
    }
}

//! Between a session and its sink: what the sink holds decides what the journal may vouch for. Lives
//! as long as the order is seen through, over all its connections.

use std::collections::VecDeque;
use std::io;

use sdpp_proto::buyer::BuyerOrder;
use sdpp_proto::codec::StatementId;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::message::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::note::Note;
use super::opening;
use crate::journal::{Ack, Beside, Journal, ReadError, note_key, order_stream};
use crate::sink::{Mark, Sink, Stream, is_enough};

/// Rows that wait until the sink holds the messages before them.
struct Waiting {
    order: StatementId,
    entries: Vec<Entry>,
    through: u64,
    id: StoreId,
    done: mpsc::UnboundedSender<Ack>,
}

pub(super) struct Keeper<'a> {
    sink: &'a mut dyn Sink,
    journal: Journal,
    note: Note,
    /// Where frames ended, from the last one that the journal vouches for.
    marks: VecDeque<Mark>,
    /// The first message not handed to the sink.
    taken: u64,
    waiting: VecDeque<Waiting>,
    /// Where the sink goes back to once the seller has taken the order up.
    cut: Option<Mark>,
    /// The note of a deposit that no order has yet.
    opening: Option<String>,
    /// The reader has enough.
    enough: bool,
    /// Since when the sink takes nothing.
    stuck: Option<Instant>,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(sink: &'a mut dyn Sink, journal: Journal, note: Note) -> Self {
        let note = Note { sink: sink.describe(), ..note };
        let (marks, waiting) = (VecDeque::new(), VecDeque::new());
        Self { sink, journal, note, marks, taken: 0, waiting, cut: None, opening: None, enough: false, stuck: None }
    }

    /// A new order's stream begins.
    pub(super) fn begin(&mut self, stream: &Stream) -> io::Result<()> {
        self.sink.begin(stream)?;
        self.note.start = self.sink.position();
        self.note.mark = Mark { messages: 0, position: self.note.start.clone() };
        self.marks = [self.note.mark.clone()].into();
        Ok(())
    }

    /// The seller never took this order and never will: the journal says so for good, and that its deposit
    /// stands behind nothing.
    pub(super) fn void(&self, account: &BuyerOrder) -> impl Future<Output = Result<(), ReadError>> + Send + use<> {
        let note = Note { void: true, ..self.note.clone() };
        let mut notes = vec![(note_key(&account.id()), note.to_text())];
        if account.terms().order.channel.is_some() {
            let request = opening::of_order(account);
            notes.push((opening::key_of(&request), opening::to_text(&request)));
        }
        let journal = self.journal.clone();
        async move { journal.put_notes(notes).await }
    }

    /// A deposit is asked for, for the order that comes next; this is its note.
    pub(super) fn opening(&mut self, key: String) {
        self.opening = Some(key);
    }

    /// An order of the journal goes on behind its verified messages. A sink of another name than the
    /// order's begins where it is. So does every sink where the journal was restored: it may hold more
    /// that was paid for than the journal knows, and nobody would send that again. Whether it was is only
    /// known for sure once the session is live, so the sink goes back no sooner.
    pub(super) fn go_on(&mut self, account: &BuyerOrder, before: &Note) -> io::Result<()> {
        self.sink.begin(&Stream::of(&account.terms().product))?;
        let (same, verified) = (before.sink == self.note.sink, account.verified());
        if same && !account.is_restored() {
            (self.note.start, self.note.mark) = (before.start.clone(), before.mark.clone());
            self.note.mark.messages = verified;
            self.sink.holds(&self.note.mark)?;
            self.cut = Some(self.note.mark.clone());
        } else {
            self.note.start = self.sink.position();
            self.note.mark = Mark { messages: verified, position: self.sink.position() };
        }
        self.marks = [self.note.mark.clone()].into();
        Ok(())
    }

    /// The seller has taken the order up, so that the journal is not behind: what the sink has beyond it
    /// comes again.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn live(&mut self) -> io::Result<()> {
        let Some(mark) = self.cut.take() else { return Ok(()) };
        if !self.sink.go_back(&mark)? {
            tracing::info!("the sink cannot go back: it may get again what came after its last durable message");
        }
        let position = self.sink.position();
        self.note.mark.position = position.clone();
        self.marks = [Mark { messages: mark.messages, position }].into();
        Ok(())
    }

    pub(super) const fn has_enough(&self) -> bool {
        self.enough
    }

    /// Hears of an error of the sink; gives back the ones that end the session.
    fn hear(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if is_enough(&error) => {
                self.enough = true;
                Ok(())
            }
            result => result,
        }
    }

    /// Whether the next frame's messages have room.
    pub(super) fn has_room(&mut self) -> bool {
        self.sink.room().is_none()
    }

    pub(super) fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.live()?;
        self.taken = seq.saturating_add(1);
        let written = self.sink.write(seq, message);
        self.hear(written)
    }

    /// A frame with messages has ended.
    pub(super) fn frame_ended(&mut self) {
        self.marks.push_back(Mark { messages: self.taken, position: self.sink.position() });
    }

    /// Takes rows for the journal. They follow those before them, when the sink holds the messages
    /// before `through`.
    pub(super) fn store(
        &mut self,
        order: StatementId,
        (entries, through): (Vec<Entry>, u64),
        (id, done): (StoreId, &mpsc::UnboundedSender<Ack>),
    ) {
        self.waiting.push_back(Waiting { order, entries, through, id, done: done.clone() });
    }

    fn is_held(&mut self) -> bool {
        let Some(front) = self.waiting.front() else { return true };
        self.sink.held(front.through.min(self.taken)).is_none()
    }

    /// Hands the rows on whose messages are held; says whether there were any.
    ///
    /// # Errors
    /// The sink's: the rows that wait are given up, as in a crash.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while !self.waiting.is_empty() && self.is_held() {
            let barrier = match self.sink.flush() {
                Ok(barrier) => barrier,
                Err(error) => {
                    self.hear(Err(error)).inspect_err(|_| self.waiting.clear())?;
                    None
                }
            };
            let Some(Waiting { order, entries, through, id, done }) = self.waiting.pop_front() else { break };
            self.vouch(through);
            // From its first rows on the order knows its channel.
            let opening = self.opening.take().map(|key| (key, String::new()));
            let notes = [(note_key(&order), self.note.to_text())].into_iter().chain(opening).collect();
            let beside = Beside { barrier, notes };
            self.journal.write_with(order_stream(&order), &entries, (id, &done), beside);
            moved = true;
        }
        Ok(moved)
    }

    /// The journal vouches for the messages before `through`.
    fn vouch(&mut self, through: u64) {
        while self.marks.get(1).is_some_and(|next| next.messages <= through) {
            self.marks.pop_front();
        }
        if let Some(mark) = self.marks.front().filter(|mark| mark.messages <= through) {
            self.note.mark = Mark { messages: through, position: mark.position.clone() };
        }
    }

    /// Gives up the rows that wait.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Since when the sink takes nothing: messages have no room, or rows wait for messages.
    pub(super) fn stuck_since(&mut self) -> Option<Instant> {
        if self.is_held() && self.has_room() {
            self.stuck = None;
        } else {
            self.stuck.get_or_insert_with(Instant::now);
        }
        self.stuck
    }

    /// Ends when the sink has moved, if it is waited for.
    ///
    /// # Errors
    /// The sink's.
    pub(super) async fn moved(&mut self) -> io::Result<()> {
        let through = self.waiting.front().map_or(0, |front| front.through.min(self.taken));
        let moved = match self.sink.held(through) {
            Some(held) => Some(held.await),
            None => None,
        };
        let moved = match moved {
            Some(moved) => moved,
            None => match self.sink.room() {
                Some(room) => room.await,
                None => std::future::pending().await,
            },
        };
        self.hear(moved)
    }

    /// Ends when the sink takes messages again and all rows that waited are on their way.
    ///
    /// # Errors
    /// The sink's.
    pub(super) async fn unstuck(&mut self) -> io::Result<()> {
        loop {
            self.advance()?;
            if self.stuck_since().is_none() {
                return Ok(());
            }
            self.moved().await?;
        }
    }
}

//! The wire of a liar: frames in, frames out, with every right to write nonsense.

use sdpp_proto::codec::{self, Bytes32, StatementId};
use sdpp_proto::frame::{self, FrameHeader, FrameKind};
use sdpp_proto::keys::{Direction, Traffic, TrafficKey};
use sdpp_proto::limits;
use sdpp_proto::statement::{Kind, Menu, Signed, Statement};
use sdpp_proto::wire::{self, Ask, Control, Hello, OrderPlain, SessionPlain};

/// What a liar heard.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    /// The buyer's first words.
    Hello(Hello),
    /// The buyer asks before it orders.
    Ask(Ask),
    /// The seller's menu.
    Menu(Box<Signed<Menu>>),
    /// The seller's answer to an ask.
    Answer(Vec<u8>),
    /// The buyer's order, opened.
    Order(Box<OrderPlain>),
    /// The seller's session, opened.
    Session(Box<SessionPlain>),
    /// A message, with its sequence number.
    Message(u64, Vec<u8>),
    /// A statement of the live session, not verified.
    Statement(Kind, Vec<u8>),
    /// A span ended.
    Cut(u64),
    /// The buyer wants no more.
    Exit,
    /// A statement was recorded.
    Recorded(StatementId),
    /// The other side ends the connection and says why.
    Error(u16),
    /// Something this liar cannot read: it has lied too much to follow.
    Noise(FrameKind),
}

impl Heard {
    /// The statement, if it is one of this kind.
    pub fn statement<T: Statement>(&self) -> Option<Signed<T>> {
        let Self::Statement(kind, bytes) = self else { return None };
        if *kind == T::KIND { Signed::parse(bytes).ok() } else { None }
    }
}

/// Bytes in, bytes out.
#[derive(Default)]
pub struct Line {
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    keys: Option<(TrafficKey, TrafficKey)>,
    held: bool,
}

impl Line {
    /// What is to be written; nothing while [`hold`](Self::hold) is on.
    pub fn take(&mut self) -> Vec<u8> {
        if self.held { Vec::new() } else { std::mem::take(&mut self.outbox) }
    }

    /// Keeps everything back, so that the caller may change it with [`outbox`](Self::outbox).
    pub const fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// What waits to be written.
    pub const fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// Writes any bytes.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Writes a clear frame.
    pub fn clear(&mut self, kind: FrameKind, body: &[u8]) {
        frame::write_clear(&mut self.outbox, kind, body);
    }

    /// Writes a sealed frame of message bytes and control items, whatever they hold. Without a
    /// session nothing is written.
    pub fn sealed(&mut self, messages: &[u8], control: &[u8]) {
        if let Some((send, _)) = &mut self.keys {
            let _ = frame::write_sealed(&mut self.outbox, send, messages, control);
        }
    }

    /// Seals a control item.
    pub fn control(&mut self, control: &Control<'_>) {
        let mut item = Vec::new();
        control.write(&mut item);
        self.sealed(&[], &item);
    }

    /// Seals a statement in its envelope.
    pub fn statement<T: Statement>(&mut self, statement: &Signed<T>) {
        self.control(&wire::envelope(&statement.erase()));
    }

    /// Seals the next frames as if `frames` had been sent before them.
    pub fn skip(&mut self, frames: u64) {
        if let Some((send, _)) = &mut self.keys {
            let counter = send.counter().saturating_add(frames);
            send.skip_to(counter);
        }
    }

    /// Seals the next frames with a key that the other side does not have.
    pub fn spoil_key(&mut self) {
        if let Some((send, _)) = &mut self.keys {
            let counter = send.counter();
            *send = Traffic::new(&[0; 32], &[0; 32].into()).direction(Direction::ToBuyer);
            send.skip_to(counter);
        }
    }

    /// Whether there is a session.
    pub const fn is_live(&self) -> bool {
        self.keys.is_some()
    }

    pub(super) fn agree(&mut self, traffic: &Traffic, send: Direction) {
        let receive = match send {
            Direction::ToBuyer => Direction::ToSeller,
            Direction::ToSeller => Direction::ToBuyer,
        };
        self.keys = Some((traffic.direction(send), traffic.direction(receive)));
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(super) fn next_frame(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        let header = FrameHeader::peek(&self.inbox).ok().flatten()?;
        if self.inbox.len() < header.frame_len() {
            return None;
        }
        let frame = self.inbox.drain(..header.frame_len()).collect();
        Some((header.kind, frame))
    }

    /// Opens a sealed frame; gives its message bytes.
    pub(super) fn open(&mut self, frame: &mut [u8], heard: &mut Vec<Heard>) -> Option<Vec<u8>> {
        let (_, receive) = self.keys.as_mut()?;
        let opened = frame::open_sealed(receive, frame).ok()?;
        let controls = wire::read_controls(opened.control).ok()?;
        heard.extend(controls.iter().map(|control| match control {
            Control::Statement { kind, statement, .. } => Heard::Statement(*kind, statement.to_vec()),
            Control::Cut(n) => Heard::Cut(*n),
            Control::Exit => Heard::Exit,
            Control::Error(code) => Heard::Error(*code),
            Control::Recorded { statement, .. } => Heard::Recorded(*statement),
        }));
        Some(opened.messages.to_vec())
    }
}

/// Body of a frame.
pub(super) fn body(frame: &[u8]) -> &[u8] {
    frame.get(limits::FRAME_HEADER_LEN..).unwrap_or_default()
}

/// The code of a clear error frame.
pub(super) fn clear_error(frame: &[u8]) -> Heard {
    codec::decode::<u16>(body(frame), limits::ERROR_MAX).map_or(Heard::Noise(FrameKind::Error), Heard::Error)
}

pub(super) fn fresh(entropy: &mut sdpp_proto::suite::Entropy) -> Bytes32 {
    Bytes32(*entropy.draw())
}

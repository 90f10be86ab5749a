//! Frames: `length u32, type u8, counter u64`, body (`spec/protocol.md` §5).
//!
//! A sealed frame's plaintext is message bytes, then control items, then the length of the control
//! items: so the messages lie at the front, as one slice.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::keys::TrafficKey;
use crate::limits::{self, CONTROL_TRAILER_LEN, FRAME_HEADER_LEN, TAG_LEN};
use crate::offence::Offence;

/// Type of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// Clear: the buyer's first.
    Hello,
    /// Clear: the seller's answer, with the signed menu.
    Menu,
    /// Clear: the buyer asks for a sample or a quote.
    Ask,
    /// Clear: a signed sample or quote.
    Answer,
    /// Sealed to the menu's key.
    Order,
    /// Sealed to the attach's key.
    Session,
    /// Sealed under the session.
    Sealed,
    /// Clear: why the connection ends, before there is a session.
    Error,
}

impl FrameKind {
    const ALL: [Self; 8] =
        [Self::Hello, Self::Menu, Self::Ask, Self::Answer, Self::Order, Self::Session, Self::Sealed, Self::Error];

    /// Number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Menu => 2,
            Self::Ask => 3,
            Self::Answer => 4,
            Self::Order => 5,
            Self::Session => 6,
            Self::Sealed => 7,
            Self::Error => 8,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Largest body.
    pub const fn body_max(self) -> usize {
        match self {
            Self::Hello => limits::HELLO_MAX,
            Self::Menu | Self::Answer => limits::MENU_BODY_MAX,
            Self::Ask => 64,
            Self::Order | Self::Session => limits::SEALED_HANDSHAKE_MAX,
            Self::Sealed => limits::FRAME_BODY_MAX,
            Self::Error => limits::ERROR_MAX,
        }
    }
}

/// A frame's header, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Its type.
    pub kind: FrameKind,
    /// Length of the body.
    pub body_len: usize,
    /// Its number in this direction: 0 for all clear frames.
    pub counter: u64,
}

impl FrameHeader {
    /// Length of the whole frame.
    pub const fn frame_len(&self) -> usize {
        FRAME_HEADER_LEN.saturating_add(self.body_len)
    }

    /// Reads a header. `Ok(None)`: more bytes are needed.
    ///
    /// # Errors
    /// [`Offence::UnknownFrame`], [`Offence::FrameTooLong`]: before anything is allocated.
    pub fn peek(bytes: &[u8]) -> Result<Option<Self>, Offence> {
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let Some((code, rest)) = rest.split_first() else { return Ok(None) };
        let kind = FrameKind::of_code(*code).ok_or(Offence::UnknownFrame)?;
        let body_len = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if body_len > kind.body_max() {
            return Err(Offence::FrameTooLong);
        }
        let Some(counter) = rest.first_chunk::<8>() else { return Ok(None) };
        Ok(Some(Self { kind, body_len, counter: u64::from_be_bytes(*counter) }))
    }

    /// The header of one whole frame; clear frames count from nothing.
    ///
    /// # Errors
    /// Those of [`peek`](Self::peek), and [`Offence::BadFrame`].
    pub fn of_frame(frame: &[u8]) -> Result<Self, Offence> {
        let header = Self::peek(frame)?.ok_or(Offence::BadFrame)?;
        let clear_and_counted = header.kind != FrameKind::Sealed && header.counter != 0;
        if frame.len() != header.frame_len() || clear_and_counted {
            return Err(Offence::BadFrame);
        }
        Ok(header)
    }

    /// The header's bytes: also the additional data of a sealed frame.
    pub fn to_bytes(&self) -> [u8; FRAME_HEADER_LEN] {
        let mut out = [0; FRAME_HEADER_LEN];
        let length = u32::try_from(self.body_len).unwrap_or(u32::MAX).to_be_bytes();
        let all = length.into_iter().chain([self.kind.code()]).chain(self.counter.to_be_bytes());
        out.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        out
    }
}

/// Appends a clear frame.
pub fn write_clear(out: &mut Vec<u8>, kind: FrameKind, body: &[u8]) {
    out.extend_from_slice(&FrameHeader { kind, body_len: body.len(), counter: 0 }.to_bytes());
    out.extend_from_slice(body);
}

/// Appends a sealed frame of message bytes and control items. The caller keeps to
/// [`limits::FRAME_PLAIN_MAX`]. `None` only when the counter is used up.
pub fn write_sealed(out: &mut Vec<u8>, key: &mut TrafficKey, messages: &[u8], control: &[u8]) -> Option<()> {
    let mut rest = Vec::with_capacity(control.len().saturating_add(CONTROL_TRAILER_LEN));
    rest.extend_from_slice(control);
    rest.extend_from_slice(&u32::try_from(control.len()).unwrap_or(u32::MAX).to_be_bytes());
    let body_len = messages.len().saturating_add(rest.len()).saturating_add(TAG_LEN);
    let header = FrameHeader { kind: FrameKind::Sealed, body_len, counter: key.counter() }.to_bytes();
    out.reserve(body_len.saturating_add(FRAME_HEADER_LEN));
    out.extend_from_slice(&header);
    let start = out.len();
    out.resize(start.saturating_add(body_len), 0);
    key.seal(&header, [messages, &rest], out.get_mut(start..)?)
}

/// Appends sealed frames with as many of the items as fit each, until none is left.
pub(crate) fn write_controls(out: &mut Vec<u8>, key: &mut TrafficKey, items: &mut VecDeque<Vec<u8>>) {
    while !items.is_empty() {
        let mut control = Vec::new();
        let mut count = 0usize;
        while let Some(item) = items.pop_front_if(|item| {
            count < limits::CONTROL_ITEMS_MAX && control.len().saturating_add(item.len()) <= limits::CONTROL_MAX
        }) {
            control.extend_from_slice(&item);
            count = count.saturating_add(1);
        }
        if count == 0 || write_sealed(out, key, &[], &control).is_none() {
            return;
        }
    }
}

/// The two parts of an opened frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenedFrame<'a> {
    /// Message bytes, whole messages or parts.
    pub messages: &'a [u8],
    /// Control items.
    pub control: &'a [u8],
}

/// Opens a sealed frame in place.
///
/// # Errors
/// [`Offence::WrongCounter`], [`Offence::BadSeal`], [`Offence::BadFrame`].
pub fn open_sealed<'a>(key: &mut TrafficKey, frame: &'a mut [u8]) -> Result<OpenedFrame<'a>, Offence> {
    let header = FrameHeader::peek(frame)?.ok_or(Offence::BadFrame)?;
    if header.counter != key.counter() {
        return Err(Offence::WrongCounter);
    }
    let (aad, body) = frame.split_at_mut_checked(FRAME_HEADER_LEN).ok_or(Offence::BadFrame)?;
    if body.len() != header.body_len {
        return Err(Offence::BadFrame);
    }
    let plain_len = key.open(aad, body).map_err(|_| Offence::BadSeal)?;
    let plain = body.get(..plain_len).ok_or(Offence::BadFrame)?;
    let (rest, trailer) = plain.split_last_chunk::<CONTROL_TRAILER_LEN>().ok_or(Offence::BadFrame)?;
    let control_len = usize::try_from(u32::from_be_bytes(*trailer)).unwrap_or(usize::MAX);
    if control_len > limits::CONTROL_MAX {
        return Err(Offence::BadFrame);
    }
    let split = rest.len().checked_sub(control_len).ok_or(Offence::BadFrame)?;
    let (messages, control) = rest.split_at(split);
    Ok(OpenedFrame { messages, control })
}

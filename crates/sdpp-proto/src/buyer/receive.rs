//! Taking messages out of frames at the buyer: whole ones are lent, a split one is put together.

use alloc::vec::Vec;

use crate::limits::{MESSAGE_HEADER_LEN, SIGNATURE_LEN};
use crate::message::{self, Message, Messages};
use crate::offence::Offence;
use crate::statement::Signing;

/// Messages of one frame, lent from its buffer.
#[derive(Debug)]
pub struct Delivery<'a> {
    first: u64,
    /// A message whose beginning came with an earlier frame.
    carried: Vec<u8>,
    whole: &'a [u8],
    signing: Signing,
    /// Messages below this were delivered before.
    from: u64,
}

impl<'a> Delivery<'a> {
    pub(super) const fn nothing(signing: Signing) -> Self {
        Self { first: 0, carried: Vec::new(), whole: &[], signing, from: 0 }
    }

    pub(super) fn new(run: Run<'a>, first: u64, from: u64, signing: Signing) -> Self {
        Self { first, carried: run.carried, whole: run.whole, signing, from }
    }

    /// The messages with their sequence numbers, those delivered earlier left out.
    pub fn messages(&self) -> impl Iterator<Item = (u64, Message<'_>)> {
        let carried = Messages::new(&self.carried, self.signing);
        let whole = Messages::new(self.whole, self.signing);
        let from = self.from;
        (self.first..).zip(carried.chain(whole)).filter(move |(seq, _)| *seq >= from)
    }

    /// Whether there is no new message.
    pub fn is_empty(&self) -> bool {
        self.messages().next().is_none()
    }
}

/// A run of whole messages, counted.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// One message that was split over frames, or nothing.
    pub(super) carried: Vec<u8>,
    pub(super) whole: &'a [u8],
    pub(super) count: u64,
    pub(super) bytes: u64,
}

/// Puts split messages together.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    carry: Vec<u8>,
}

impl Receiver {
    /// Whether a message is half here.
    pub(super) const fn is_inside(&self) -> bool {
        !self.carry.is_empty()
    }

    /// Splits a frame's message bytes.
    ///
    /// # Errors
    /// [`Offence::MessageTooLong`], by the header alone: nothing is allocated for it.
    pub(super) fn take<'a>(&mut self, mut data: &'a [u8], rule: Rule) -> Result<Run<'a>, Offence> {
        let mut run = Run { carried: Vec::new(), whole: &[], count: 0, bytes: 0 };
        if self.is_inside() {
            data = self.complete(data, rule, &mut run)?;
            if self.is_inside() {
                return Ok(run);
            }
        }
        let mut rest = data;
        loop {
            check_length(rest, rule)?;
            let Some((message, behind)) = message::split_first(rest, rule.signing) else { break };
            run.count = run.count.saturating_add(1);
            run.bytes = run.bytes.saturating_add(u64::try_from(message.bytes.len()).unwrap_or(u64::MAX));
            rest = behind;
        }
        run.whole = data.get(..data.len().saturating_sub(rest.len())).unwrap_or_default();
        self.carry.extend_from_slice(rest);
        Ok(run)
    }

    /// Completes the message that is half here; gives what lies behind it.
    fn complete<'a>(&mut self, data: &'a [u8], rule: Rule, run: &mut Run<'a>) -> Result<&'a [u8], Offence> {
        let (header, data) = data.split_at(data.len().min(MESSAGE_HEADER_LEN.saturating_sub(self.carry.len())));
        self.carry.extend_from_slice(header);
        check_length(&self.carry, rule)?;
        let Some(length) = message::stated_length(&self.carry) else { return Ok(data) };
        let tail = match rule.signing {
            Signing::Window => 0,
            Signing::Message => SIGNATURE_LEN,
        };
        let payload = usize::try_from(length).unwrap_or(usize::MAX);
        let all = MESSAGE_HEADER_LEN.saturating_add(payload).saturating_add(tail);
        let (body, data) = data.split_at(data.len().min(all.saturating_sub(self.carry.len())));
        self.carry.extend_from_slice(body);
        if self.carry.len() >= all {
            run.carried = core::mem::take(&mut self.carry);
            run.count = 1;
            run.bytes = u64::from(length);
        }
        Ok(data)
    }
}

/// How messages must look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) signing: Signing,
    pub(super) message_max: u32,
}

fn check_length(data: &[u8], rule: Rule) -> Result<(), Offence> {
    match message::stated_length(data) {
        Some(length) if length > rule.message_max => Err(Offence::MessageTooLong),
        Some(_) | None => Ok(()),
    }
}

//! A connection as TCP has them: bytes come in order, in any pieces, late, or no more at all.

use std::collections::VecDeque;

use sdpp_proto::time::Timestamp;

use super::ctx::{Ctx, LinkId, Party};

/// Bytes that are under way or wait to be read, at most.
const ROOM: usize = 128 * 1024;
/// Bytes that a slow reader takes at once.
const SIP: usize = 700;

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    Some,
    Nothing,
    /// No more will come.
    Closed,
}

#[derive(Default)]
struct Pipe {
    chunks: VecDeque<(Timestamp, Vec<u8>)>,
    last: Timestamp,
    /// The sender has said goodbye behind the last chunk.
    fin: bool,
    /// So many bytes more, then the connection is reset.
    cut_after: Option<usize>,
    slow: bool,
}

impl Pipe {
    fn waiting(&self) -> usize {
        self.chunks.iter().map(|(_, chunk)| chunk.len()).sum()
    }
}

/// A connection between a buyer and the seller.
pub(crate) struct Link {
    pub(crate) buyer: usize,
    /// To the buyer, to the seller.
    pipes: [Pipe; 2],
    reset: bool,
    /// Nothing comes through before this.
    stalled_until: Timestamp,
}

/// Who reads at an end of a link.
const fn to(party: Party) -> usize {
    match party {
        Party::Buyer(_) => 0,
        Party::Seller => 1,
    }
}

impl Link {
    pub(crate) fn new(buyer: usize) -> Self {
        Self { buyer, pipes: Default::default(), reset: false, stalled_until: Timestamp::ZERO }
    }

    /// It will be cut after so many bytes to the buyer.
    pub(crate) const fn cut_after(&mut self, bytes: usize) {
        self.pipes[0].cut_after = Some(bytes);
    }

    fn other(&self, party: Party) -> Party {
        match party {
            Party::Seller => Party::Buyer(self.buyer),
            Party::Buyer(_) => Party::Seller,
        }
    }

    /// Takes what there is room for.
    pub(crate) fn send(&mut self, ctx: &mut Ctx, from: Party, bytes: &mut Vec<u8>) -> bool {
        let reader = self.other(from);
        let stalled_until = self.stalled_until;
        let pipe = &mut self.pipes[to(reader)];
        let mut room = ROOM.saturating_sub(pipe.waiting()).min(bytes.len());
        if self.reset || pipe.fin {
            // Nobody hears it any more.
            bytes.clear();
            return false;
        }
        if let Some(cut) = pipe.cut_after
            && room >= cut
        {
            room = cut;
            self.reset = true;
        }
        let moved = room > 0;
        let mut rest: Vec<u8> = bytes.drain(..room).collect();
        while !rest.is_empty() {
            let split = ctx.shared.weather.late > 0 && rest.len() > 1 && ctx.shared.chance(300);
            let length = if split { 1 + ctx.below(rest.len() as u64 - 1) as usize } else { rest.len() };
            if split {
                ctx.hit("link: split inside a frame");
            }
            let chunk: Vec<u8> = rest.drain(..length).collect();
            let mut delay = 1 + ctx.below(8);
            if ctx.shared.chance(ctx.shared.weather.late) {
                delay += ctx.below(400);
            }
            pipe.last = pipe.last.max(ctx.now().after_ms(delay)).max(stalled_until);
            if let Some(cut) = &mut pipe.cut_after {
                *cut = cut.saturating_sub(length);
            }
            pipe.chunks.push_back((pipe.last, chunk));
            ctx.wake(reader, pipe.last);
        }
        if self.reset {
            ctx.hit("link: cut inside a frame");
            let when = pipe.last.max(ctx.now());
            ctx.wake(reader, when);
            ctx.wake(from, when);
        }
        moved
    }

    /// Reads what has arrived.
    pub(crate) fn read(&mut self, ctx: &mut Ctx, reader: Party, into: &mut Vec<u8>) -> Read {
        let now = ctx.now();
        let reset = self.reset;
        let pipe = &mut self.pipes[to(reader)];
        let mut read = 0;
        while let Some((due, chunk)) = pipe.chunks.front_mut() {
            if *due > now {
                ctx.wake(reader, *due);
                break;
            }
            if pipe.slow && chunk.len() > SIP {
                into.extend(chunk.drain(..SIP));
                read += SIP;
                *due = now.after_ms(150);
                ctx.wake(reader, now.after_ms(150));
                break;
            }
            read += chunk.len();
            into.append(chunk);
            pipe.chunks.pop_front();
        }
        if read > 0 {
            // There is room again.
            let sender = match reader {
                Party::Seller => Party::Buyer(self.buyer),
                Party::Buyer(_) => Party::Seller,
            };
            ctx.wake(sender, now.after_ms(1));
            return Read::Some;
        }
        if pipe.chunks.is_empty() && (pipe.fin || reset) { Read::Closed } else { Read::Nothing }
    }

    /// Nothing more will be sent from here.
    pub(crate) fn shut(&mut self, ctx: &mut Ctx, from: Party) {
        let reader = self.other(from);
        let pipe = &mut self.pipes[to(reader)];
        pipe.fin = true;
        let when = pipe.last.max(ctx.now().after_ms(1));
        ctx.wake(reader, when);
    }

    /// The connection is gone, with all that is under way.
    pub(crate) fn reset(&mut self, ctx: &mut Ctx) {
        self.reset = true;
        for pipe in &mut self.pipes {
            pipe.chunks.clear();
        }
        ctx.wake(Party::Seller, ctx.now());
        ctx.wake(Party::Buyer(self.buyer), ctx.now());
    }

    /// One end is gone: what it sent before still arrives.
    pub(crate) fn abandon(&mut self, ctx: &mut Ctx, party: Party) {
        self.pipes[to(party)].chunks.clear();
        self.reset = true;
        let other = self.other(party);
        let when = self.pipes[to(other)].last.max(ctx.now().after_ms(1));
        ctx.wake(other, when);
    }

    /// A fault of its own kind.
    pub(crate) fn suffer(&mut self, ctx: &mut Ctx) {
        match ctx.below(6) {
            0 => {
                ctx.hit("link: cut at once");
                self.reset(ctx);
            }
            1 | 2 => {
                let direction = ctx.below(2) as usize;
                self.pipes[direction].cut_after = Some(1 + ctx.below(3000) as usize);
            }
            3 => {
                ctx.hit("link: half closed");
                let party = if ctx.below(2) == 0 { Party::Seller } else { Party::Buyer(self.buyer) };
                self.shut(ctx, party);
            }
            4 => {
                ctx.hit("link: stalled");
                self.stalled_until = ctx.now().after_ms(1_000 + ctx.below(90_000));
            }
            _ => {
                ctx.hit("link: slow reader");
                let direction = ctx.below(2) as usize;
                self.pipes[direction].slow = true;
            }
        }
    }

    /// All is well again.
    pub(crate) fn heal(&mut self) {
        self.stalled_until = Timestamp::ZERO;
        for pipe in &mut self.pipes {
            pipe.slow = false;
            pipe.cut_after = None;
        }
    }
}

/// All connections.
pub(crate) type Links = std::collections::BTreeMap<LinkId, Link>;

//! Peers that keep to the protocol, one connection after another, until a drawn moment: then they
//! commit one drawn offence, once.
//!
//! ```text
//! let mut liar = LyingBuyer::new(keys, suite, BuyerLie::PaysTooLittle, 3, order);
//! liar.connect(seed);                // the fourth payment will be too small
//! liar.hear(now, &bytes);            // bytes of the other side, in pieces of any length
//! let bytes = liar.say();
//! ```
//! All follows from the seeds and from what is heard. Nothing that is heard makes them panic: a
//! liar that cannot follow any more falls silent, and goes on with the next connection. After its
//! lie it is honest again, from the next connection on; after one that is no offence, at once.
//!
//! Nobody can be made to break a rule in every world: a lie about a repeated message needs a
//! connection that broke off in a span. Such a chance may never come.

mod books;
mod buyer;
mod buyer_lie;
mod seller;
mod seller_lie;

pub use buyer::LyingBuyer;
pub use buyer_lie::BuyerLie;
pub use seller::LyingSeller;
pub use seller_lie::SellerLie;

use sdpp_proto::frame::{FrameHeader, FrameKind};
use sdpp_proto::limits;
use sdpp_proto::suite::Entropy;
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::Control;

use super::Line;

/// One table of lies: what each does, and what the other side may name.
macro_rules! lies {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal, [$($offence:ident),*];)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name {
            $(#[doc = $text] $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The lie's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// How a simulation counts it.
            pub const fn point(self) -> &'static str {
                match self { $(Self::$variant => concat!(stringify!($name), "::", stringify!($variant))),+ }
            }

            /// What the other side may name; nothing where the protocol bears with it.
            pub const fn offences(self) -> &'static [Offence] {
                match self { $(Self::$variant => &[$(Offence::$offence),*]),+ }
            }
        }
    };
}
use lies;

/// When the one lie is told.
#[derive(Debug)]
struct Plot {
    /// Chances that are let go by.
    left: u32,
    state: Telling,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Telling {
    Waits,
    /// Its bytes wait to be handed out.
    Ready,
    Told,
}

impl Plot {
    const fn new(at: u32) -> Self {
        Self { left: at, state: Telling::Waits }
    }

    /// Here is a chance to lie. Whether this is the one.
    fn chance(&mut self) -> bool {
        if self.state != Telling::Waits {
            return false;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                false
            }
            None => {
                self.state = Telling::Ready;
                true
            }
        }
    }

    /// What waited was handed out.
    fn said(&mut self) {
        if self.state == Telling::Ready {
            self.state = Telling::Told;
        }
    }

    /// The connection is gone: what was not handed out was not told. Whether there was such a lie.
    fn cut(&mut self) -> bool {
        let cut = self.state == Telling::Ready;
        if cut {
            self.state = Telling::Waits;
        }
        cut
    }

    /// It was told, or waits to be handed out.
    fn is_due(&self) -> bool {
        self.state != Telling::Waits
    }

    fn is_told(&self) -> bool {
        self.state == Telling::Told
    }
}

/// What of a connection both sides keep.
#[derive(Default, Debug)]
struct Talk {
    /// It says nothing more: it has lied, was told an error, or cannot follow.
    stopped: bool,
    /// The code it was told.
    told: Option<u16>,
    spoke: Timestamp,
}

impl Talk {
    fn told(&mut self, code: u16) {
        self.told = Some(code);
        self.stopped = true;
    }

    /// Keeps a connection alive that has been silent.
    fn keep_alive(&mut self, now: Timestamp, line: &mut Line) {
        if self.stopped {
            return;
        }
        if line.outbox().is_empty() && line.is_live() && now >= self.spoke.after_ms(limits::KEEPALIVE_MS) {
            line.sealed(&[], &[]);
        }
        if !line.outbox().is_empty() {
            self.spoke = now;
        }
    }
}

/// How lies of one kind are told.
type Table<L, T> = &'static [(L, T)];

/// What a table says for a lie.
fn find<L: Copy + PartialEq, T: Copy>(table: Table<L, T>, lie: L) -> Option<T> {
    table.iter().find(|(one, _)| *one == lie).map(|(_, found)| *found)
}

/// Lies about frames, the same from both sides. Each takes what is honestly said and spoils it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WireLie {
    UnknownFrame,
    TooLong,
    Skips,
    Twice,
    WrongKey,
    FlipsBit,
    CutsShort,
    Garbage,
    CountsClear,
    HelloAgain,
    BadControl,
    ManyControls,
}

impl WireLie {
    /// Before the honest bytes are written.
    fn before(self, line: &mut Line) {
        if self == Self::Skips {
            line.skip(1);
        }
        if self == Self::WrongKey {
            line.spoil_key();
        }
    }

    /// After they were written: they begin at `mark`.
    fn after(self, line: &mut Line, mark: usize, entropy: &mut Entropy) {
        let drawn = *entropy.draw();
        match self {
            Self::UnknownFrame => line.raw(&clear_header(9, 0, 0)),
            Self::TooLong => {
                let length = u32::try_from(limits::FRAME_BODY_MAX).unwrap_or(u32::MAX).saturating_add(1);
                line.raw(&clear_header(FrameKind::Sealed.code(), length, 0));
            }
            Self::Skips | Self::WrongKey => {}
            Self::Twice => {
                let again = line.outbox().get(mark..).unwrap_or_default().to_vec();
                line.raw(&again);
            }
            Self::FlipsBit => flip_bit(line, mark, &drawn),
            Self::CutsShort => cut_short(line, &drawn),
            // A length that no frame has, so that it is refused and not waited for.
            Self::Garbage => {
                let [first, rest @ ..] = drawn;
                line.raw(&[first | 0x80]);
                line.raw(&rest);
            }
            Self::CountsClear => line.raw(&clear_header(FrameKind::Error.code(), 0, 1)),
            Self::HelloAgain => line.clear(FrameKind::Hello, &[]),
            Self::BadControl => line.sealed(&[], &[0xff]),
            Self::ManyControls => {
                let mut many = Vec::new();
                (0..=limits::CONTROL_ITEMS_MAX).for_each(|_| Control::Exit.write(&mut many));
                line.sealed(&[], &many);
            }
        }
    }
}

fn clear_header(kind: u8, length: u32, counter: u64) -> Vec<u8> {
    let mut header = length.to_be_bytes().to_vec();
    header.push(kind);
    header.extend_from_slice(&counter.to_be_bytes());
    header
}

/// A number below `below`, from drawn bytes.
fn below(drawn: &[u8; 32], below: usize) -> usize {
    let mut low = [0; 4];
    low.iter_mut().zip(drawn).for_each(|(to, from)| *to = *from);
    let number = usize::try_from(u32::from_be_bytes(low)).unwrap_or_default();
    number.checked_rem(below).unwrap_or_default()
}

/// Flips one bit behind the header of the first frame from `mark` on; those of a header are other lies.
fn flip_bit(line: &mut Line, mark: usize, drawn: &[u8; 32]) {
    let frame = line.outbox().get_mut(mark..).unwrap_or_default();
    let body = FrameHeader::peek(frame).ok().flatten().map_or(0, |header| header.body_len);
    let at = limits::FRAME_HEADER_LEN.saturating_add(below(drawn, body));
    if let Some(byte) = frame.get_mut(at) {
        *byte ^= 1 << (drawn[31] & 7);
    }
}

/// Leaves out the last bytes of what was written; the frame behind fills them up.
fn cut_short(line: &mut Line, drawn: &[u8; 32]) {
    let short = below(drawn, limits::TAG_LEN).saturating_add(1);
    let length = line.outbox().len().saturating_sub(short);
    line.outbox().truncate(length);
    line.sealed(&[], &[]);
}

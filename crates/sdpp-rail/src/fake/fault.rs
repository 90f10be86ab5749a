//! The four ways in which a call can end, and who decides.

use std::collections::{BTreeMap, VecDeque};

use crate::rail::RailError;

/// A call of a fake, as faults and counters name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Call {
    /// [`Payer::open`](crate::Payer::open).
    Open,
    /// [`Payer::pay`](crate::Payer::pay).
    Pay,
    /// [`Payer::status`](crate::Payer::status).
    Status,
    /// [`Payer::close`](crate::Payer::close).
    Close,
    /// [`Payee::admit`](crate::Payee::admit).
    Admit,
    /// [`Payee::settle`](crate::Payee::settle).
    Settle,
    /// [`Payee::redeem`](crate::Payee::redeem).
    Redeem,
    /// [`Payee::outstanding`](crate::Payee::outstanding).
    Outstanding,
    /// [`Records::append`](crate::Records::append).
    Append,
    /// [`Records::fetch`](crate::Records::fetch).
    Fetch,
    /// [`Records::verify`](crate::Records::verify).
    Verify,
}

/// What becomes of one call: whether it took effect, and whether the caller hears of it.
///
/// | applied | answered | the caller gets |
/// |---|---|---|
/// | yes | yes | the answer |
/// | no | yes | [`RailError::Unavailable`]: nothing was sent |
/// | yes | no | [`RailError::Unknown`]: the reply was lost |
/// | no | no | [`RailError::Unknown`]: the request was lost |
///
/// Calls that only look (status, admit, outstanding, fetch, verify) move no money: unheard, they are `Unavailable`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The call took effect.
    pub applied: bool,
    /// The caller hears what became of it.
    pub answered: bool,
}

impl Fault {
    /// All goes well.
    pub const NONE: Self = Self { applied: true, answered: true };
    /// Refused at the door: nothing happened, and the caller knows.
    pub const REFUSED: Self = Self { applied: false, answered: true };
    /// It worked, and the reply was lost.
    pub const REPLY_LOST: Self = Self { applied: true, answered: false };
    /// It never arrived, and the caller cannot tell.
    pub const REQUEST_LOST: Self = Self { applied: false, answered: false };
    /// All four.
    pub const ALL: [Self; 4] = [Self::NONE, Self::REFUSED, Self::REPLY_LOST, Self::REQUEST_LOST];
}

impl Call {
    /// What a caller gets that hears nothing.
    pub(super) const fn unheard(self) -> RailError {
        match self {
            Self::Status | Self::Admit | Self::Outstanding | Self::Fetch | Self::Verify => RailError::Unavailable,
            Self::Open | Self::Pay | Self::Close | Self::Settle | Self::Redeem | Self::Append => RailError::Unknown,
        }
    }
}

/// Who decides: first the script of a call, then the generator, if there is one.
#[derive(Default)]
pub(super) struct Faults {
    scripts: BTreeMap<Call, VecDeque<Fault>>,
    generator: Option<Generator>,
    calls: BTreeMap<Call, u64>,
}

impl Faults {
    pub(super) fn script(&mut self, call: Call, fault: Fault) {
        self.scripts.entry(call).or_default().push_back(fault);
    }

    pub(super) fn seed(&mut self, seed: u64, per_mille: u16) {
        self.generator = Some(Generator { state: seed, per_mille });
    }

    pub(super) fn clear(&mut self) {
        self.scripts.clear();
        self.generator = None;
    }

    pub(super) fn calls(&self, call: Call) -> u64 {
        self.calls.get(&call).copied().unwrap_or(0)
    }

    /// Decides about one call.
    pub(super) fn next(&mut self, call: Call) -> Fault {
        let count = self.calls.entry(call).or_default();
        *count = count.saturating_add(1);
        let scripted = self.scripts.get_mut(&call).and_then(VecDeque::pop_front);
        scripted.unwrap_or_else(|| self.generator.as_mut().map_or(Fault::NONE, Generator::next))
    }
}

/// Seeded faults: the same seed and the same calls give the same faults.
struct Generator {
    state: u64,
    per_mille: u16,
}

impl Generator {
    fn next(&mut self) -> Fault {
        if self.draw() % 1000 >= u64::from(self.per_mille) {
            return Fault::NONE;
        }
        match self.draw() % 3 {
            0 => Fault::REFUSED,
            1 => Fault::REPLY_LOST,
            _ => Fault::REQUEST_LOST,
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): enough for faults, not for secrets.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

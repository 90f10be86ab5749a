//! Moments at which somebody is killed, drawn from a seed.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fmt;

use crate::market::Who;
use crate::random::Random;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    Handshake,
    Window,
    Payment,
    Exit,
}

pub(crate) const PHASES: [Phase; 4] = [Phase::Handshake, Phase::Window, Phase::Payment, Phase::Exit];

/// Where in a sale the point is, who gets there, its name, and how often one gets there at most in every sale.
type Point = (Phase, Who, &'static str, usize);

/// Points of `sdpp_rail::failpoint`, by the phase that a sale is in when it gets there.
const POINTS: &[Point] = &[
    (Phase::Handshake, Who::Buyer, "send/frames", 2),
    (Phase::Handshake, Who::Buyer, "sent/frames", 2),
    (Phase::Handshake, Who::Buyer, "open/channel", 1),
    (Phase::Handshake, Who::Buyer, "opened/channel", 1),
    (Phase::Handshake, Who::Buyer, "flush/order", 1),
    (Phase::Handshake, Who::Buyer, "flushed/attach", 1),
    (Phase::Handshake, Who::Buyer, "flush/acceptance", 1),
    (Phase::Handshake, Who::Buyer, "flushed/acceptance", 1),
    (Phase::Handshake, Who::Seller, "flush/order", 1),
    (Phase::Handshake, Who::Seller, "flushed/attach", 1),
    (Phase::Handshake, Who::Seller, "flush/acceptance", 1),
    (Phase::Handshake, Who::Seller, "flushed/acceptance", 1),
    (Phase::Window, Who::Buyer, "sync/sink", 4),
    (Phase::Window, Who::Buyer, "flush/invoice", 8),
    (Phase::Window, Who::Buyer, "flushed/invoice", 8),
    (Phase::Window, Who::Seller, "send/frames", 12),
    (Phase::Window, Who::Seller, "sent/frames", 12),
    (Phase::Window, Who::Seller, "flush/invoice", 8),
    (Phase::Window, Who::Seller, "flushed/invoice", 8),
    (Phase::Payment, Who::Buyer, "flush/intent", 4),
    (Phase::Payment, Who::Buyer, "flushed/intent", 4),
    (Phase::Payment, Who::Buyer, "pay/bill", 5),
    (Phase::Payment, Who::Buyer, "paid/bill", 5),
    (Phase::Payment, Who::Buyer, "flush/payment", 5),
    (Phase::Payment, Who::Buyer, "flushed/payment", 5),
    (Phase::Payment, Who::Seller, "settle/bill", 5),
    (Phase::Payment, Who::Seller, "settled/bill", 5),
    (Phase::Payment, Who::Seller, "flush/payment", 5),
    (Phase::Payment, Who::Seller, "flushed/payment", 5),
    (Phase::Exit, Who::Buyer, "flush/settlement", 1),
    (Phase::Exit, Who::Buyer, "flushed/settlement", 1),
    (Phase::Exit, Who::Buyer, "flushed/settlement", 2),
    (Phase::Exit, Who::Seller, "flush/settlement", 1),
    (Phase::Exit, Who::Seller, "flushed/settlement", 1),
    (Phase::Exit, Who::Seller, "flushed/settlement", 2),
    (Phase::Exit, Who::Seller, "redeem/voucher", 1),
    (Phase::Exit, Who::Seller, "redeemed/voucher", 1),
];

/// Who is killed, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) phase: Phase,
    pub(crate) victim: Who,
    /// Whose point it is.
    pub(crate) at: Who,
    place: &'static str,
    /// How often it has got there then.
    times: usize,
    /// Each window is paid by a transfer, and not by voucher.
    pub(crate) direct: bool,
}

impl Moment {
    pub(crate) fn draw(phase: Phase, victim: Who, random: &mut Random) -> Self {
        // The buyer's process is not there yet when the seller is told whom to kill.
        let fits = |(of, at, ..): &&Point| *of == phase && (victim != Who::Buyer || *at == Who::Buyer);
        let all: Vec<&Point> = POINTS.iter().filter(fits).collect();
        let (_, at, place, most) = random.of(&all);
        let direct = place.ends_with("/intent") || random.below(2) == 0;
        Self { phase, victim, at: *at, place, times: 1 + random.below(*most), direct }
    }

    /// The same where somebody dies by its own hand, and every window is paid by voucher.
    pub(crate) fn draw_for(phase: Phase, victim: Who, random: &mut Random) -> Self {
        loop {
            let drawn = Self::draw(phase, victim, random);
            if drawn.at == victim && !drawn.place.ends_with("/intent") {
                return Self { direct: false, ..drawn };
            }
        }
    }

    /// For `SDPP_FAILPOINT`; without a process it kills itself.
    pub(crate) fn failpoint(&self, victim: Option<u32>) -> String {
        let Self { place, times, .. } = self;
        victim.map_or_else(|| format!("{place}:{times}"), |victim| format!("{place}:{times}:{victim}"))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, victim, at, place, times, direct } = self;
        let pay = if *direct { "direct" } else { "voucher" };
        write!(f, "{phase:?}: kills the {victim:?} when the {at:?} is at {place} for the {times}. time, paid by {pay}")
    }
}

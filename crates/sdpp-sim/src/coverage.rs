//! What a simulation has reached: a fault or a state that never comes is one that nothing was shown about.

use std::collections::BTreeMap;

use sdpp_proto::offence::Offence;

use crate::liar::act::{BuyerLie, SellerLie};

/// How often each thing was reached.
#[derive(Clone, Default, Debug)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

/// What every long run must reach, beside every offence.
pub const POINTS: &[&str] = &[
    // Links.
    "link: split inside a frame",
    "link: cut at once",
    "link: cut inside a frame",
    "link: half closed",
    "link: stalled",
    "link: slow reader",
    "link: no connection",
    // Disks.
    "disk: write fails",
    "disk: flush fails",
    "disk: flush fails and is durable",
    "disk: flush lies",
    "disk: full",
    "disk: sink fails",
    "disk: ledger",
    "disk: committed within the turn",
    // Processes.
    "crash: seller",
    "crash: buyer",
    "crash: both",
    "crash: ledger",
    "crash: under a disk that lied",
    "crash: rows were lost",
    "crash: believed rows were lost",
    "start: seller has orders",
    "start: buyer has an order",
    "start: new menu",
    // Rails and ledgers.
    "call: refused",
    "call: reply lost",
    "call: request lost",
    "call: late",
    "call: of a process that died",
    "rail: away",
    "rail: reorganised",
    "rail: pending",
    "rail: ledger",
    "rail: ledger-direct",
    "rail: fake voucher",
    "rail: fake direct",
    "ledger: refused",
    "ledger: reply lost",
    "ledger: request lost",
    "ledger: witnessed",
    // Applications.
    "rude: repeats what was stored",
    "rude: repeats what was paid",
    "rude: repeats what was settled",
    "rude: admits again",
    "rude: offers at the wrong time",
    "rude: orders at the wrong time",
    "rude: exit",
    "rude: finish",
    "rude: stop",
    "rude: hangs up",
    "rude: new connection beside the old",
    // Sessions.
    "session: live",
    "session: resumed",
    "session: taken over",
    "session: forgiven",
    "session: restored",
    "session: frozen",
    "session: recalled",
    "session: ramp",
    "session: waits for credit",
    "session: pool is full",
    "session: void order",
    "session: suite 1",
    "session: suite 2",
    "session: recorded",
    "session: quoted",
    "price: message",
    "price: byte",
    "price: second",
    "rule: message",
    "payment: coalesced",
    "payment: intent found after a crash",
    "end: settled",
    "end: countersignature withheld",
    "end: default",
    "end: exit",
    "end: limit",
    "money: redeemed beside the sale",
    "money: channel closed by the buyer",
];

/// What every long run must reach beside them, where worlds have a chain.
pub const CHAIN_POINTS: &[&str] = if cfg!(feature = "evm") {
    &[
        "rail: evm",
        "chain: refused",
        "chain: busy",
        "chain: away",
        "chain: request lost",
        "chain: answer lost",
        "chain: node is behind",
        "chain: transaction waits",
        "chain: reorganised",
        "chain: transaction dropped",
        "chain: transaction comes back",
        "chain: open dropped",
        "chain: given up in the middle",
        "chain: all redeemed at once",
    ]
} else {
    &[]
};

impl Coverage {
    /// Counts one.
    pub fn hit(&mut self, point: &'static str) {
        let count = self.counts.entry(point).or_default();
        *count = count.saturating_add(1);
    }

    /// Counts an offence that was named.
    pub fn named(&mut self, offence: Offence) {
        self.hit(offence.name());
    }

    /// Adds what another run reached.
    pub fn add(&mut self, other: &Self) {
        for (point, more) in &other.counts {
            let count = self.counts.entry(point).or_default();
            *count = count.saturating_add(*more);
        }
    }

    /// How often a point was reached.
    pub fn count(&self, point: &str) -> u64 {
        self.counts.get(point).copied().unwrap_or(0)
    }

    /// All points with their counts: the listed ones, offences, lies that were named for what they are, then what
    /// is not listed anywhere.
    pub fn table(&self) -> Vec<(&'static str, u64)> {
        let offences = Offence::ALL.iter().map(|offence| offence.name());
        let buyers = BuyerLie::ALL.iter().filter(|lie| !lie.offences().is_empty()).map(|lie| lie.point());
        let sellers = SellerLie::ALL.iter().filter(|lie| !lie.offences().is_empty()).map(|lie| lie.point());
        let listed: Vec<&'static str> =
            POINTS.iter().chain(CHAIN_POINTS).copied().chain(offences).chain(buyers).chain(sellers).collect();
        let others: Vec<&'static str> = self.counts.keys().copied().filter(|point| !listed.contains(point)).collect();
        listed.into_iter().chain(others).map(|point| (point, self.count(point))).collect()
    }

    /// What was never reached.
    pub fn missing(&self) -> Vec<&'static str> {
        self.table().into_iter().filter(|(_, count)| *count == 0).map(|(point, _)| point).collect()
    }
}

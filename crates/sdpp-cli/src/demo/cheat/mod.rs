//! Thieves. Each is a patched peer on the wire; the victim is the shipped code.

use sdpp_proto::money::Amount;

use super::house::House;
use super::screen::{grouped, short};
use super::table::Table;

pub(super) mod buyer;
pub(super) mod ledger;
pub(super) mod seller;

/// What a theft came to.
struct Outcome {
    thief: String,
    stopped: String,
    evidence: String,
    loss: Amount,
    bound: Amount,
    caught: bool,
}

impl Outcome {
    /// Prints it; true if the thief was stopped and named and the loss is within the bound.
    fn print(&self, house: &House) -> bool {
        let unit = short(&house.asset);
        let within = self.loss <= self.bound;
        let mut table = Table::default();
        table
            .row("thief", self.thief.clone())
            .row("stopped", self.stopped.clone())
            .row("evidence", self.evidence.clone())
            .row("victim lost", format!("{} {unit}", grouped(self.loss.get())))
            .row("bound", format!("{} {unit}{}", grouped(self.bound.get()), if within { "" } else { "  EXCEEDED" }))
            .row("verdict", if self.caught && within { "stopped, named, within the bound" } else { "NOT STOPPED" });
        table.print();
        self.caught && within
    }
}

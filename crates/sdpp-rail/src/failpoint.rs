//! Points where a program can be made to fail: before and after every durable write, send and call of a
//! rail that can move something. They are here because every crate that does such a thing can see this one.
//!
//! A library only says that it is at a point, for the price of one atomic load. What happens there is the
//! business of a program or a test that has set a hook; the program `sdpp` does so in debug builds only.
//!
//! [`Deed`] is the one list. The tests of the program kill it at every point of the list, twice
//! (`docs/testing.md`, "Crash matrix"), and a house rule looks that nothing is flushed, renamed or removed
//! without a deed.

use std::fmt;
use std::sync::OnceLock;

macro_rules! deeds {
    ($($(#[$doc:meta])* $deed:ident: $before:literal $(, $after:literal)?;)*) => {
        /// Something that a program does and that a crash can come before or after.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Deed {
            $($(#[$doc])* $deed,)*
        }

        impl Deed {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$deed,)*];

            /// The names of its points: before it, and after it where one can be there.
            const fn names(self) -> &'static [&'static str] {
                match self {
                    $(Self::$deed => &[$before $(, $after)?],)*
                }
            }
        }
    };
}

deeds! {
    // A journal: commits with a row of this kind (`docs/journal.md`).
    /// A seller's or buyer's journal gets the menu of an order.
    Menu: "flush/menu", "flushed/menu";
    /// An order.
    Order: "flush/order", "flushed/order";
    /// An order's salt.
    Salt: "flush/salt", "flushed/salt";
    /// The start of a connection.
    Attach: "flush/attach", "flushed/attach";
    /// The seller's answer to it.
    Acceptance: "flush/acceptance", "flushed/acceptance";
    /// An invoice.
    Invoice: "flush/invoice", "flushed/invoice";
    /// A rail that moves money is about to be asked.
    Intent: "flush/intent", "flushed/intent";
    /// A payment.
    Payment: "flush/payment", "flushed/payment";
    /// One side's view of the end.
    Settlement: "flush/settlement", "flushed/settlement";
    /// The seller's word that it was not paid in time.
    Default: "flush/default", "flushed/default";
    /// Where a statement was recorded.
    Recorded: "flush/recorded", "flushed/recorded";
    /// A buyer's journal notes that a deposit is asked for, or that an order has it.
    Opening: "flush/opening", "flushed/opening";
    /// A buyer's journal notes that its order was never taken.
    Void: "flush/void", "flushed/void";
    /// An order is marked as put back from a backup.
    Restored: "flush/restored", "flushed/restored";
    /// A seller's journal notes up to where a debt was written off.
    WrittenOff: "flush/written-off", "flushed/written-off";
    /// A sink's file, before the rows that vouch for it.
    Sink: "sync/sink", "synced/sink";

    // Sockets.
    /// Bytes of a session are written to its socket.
    Frames: "send/frames", "sent/frames";
    /// Packets are written to a broker.
    Packets: "send/packets", "sent/packets";
    /// A server of HTTP has an answer and has not begun to write it.
    Answer: "answer/request";

    // What a buyer asks its rail.
    /// What stands behind an order.
    Open: "open/channel", "opened/channel";
    /// To pay.
    Pay: "pay/bill", "paid/bill";
    /// What became of a payment.
    Status: "ask/payment", "asked/payment";
    /// To close a channel.
    Close: "close/channel", "closed/channel";

    // What a seller asks its rail.
    /// What stands behind an order.
    Admit: "admit/order", "admitted/order";
    /// Whether it was paid.
    Settle: "settle/bill", "settled/bill";
    /// For the money.
    Redeem: "redeem/voucher", "redeemed/voucher";
    /// What is not redeemed yet.
    Outstanding: "find/outstanding", "found/outstanding";

    // A client of a ledger.
    /// A statement is recorded, by either side.
    Record: "record/statement", "recorded/statement";
    /// An entry goes to the ledger.
    Submit: "submit/entry", "submitted/entry";
    /// A replica remembers the checkpoint that it was shown.
    Seen: "flush/seen", "flushed/seen";
    /// A replica keeps a page that it has folded.
    Page: "flush/page", "flushed/page";
    /// A payee's book gets an order.
    Admitted: "flush/admitted", "flushed/admitted";
    /// A payee's book gets a payment.
    Credited: "flush/credited", "flushed/credited";

    // A ledger and its witness.
    /// A log begins with the checkpoint of nothing.
    Begin: "flush/beginning", "flushed/beginning";
    /// An entry is written into the open transaction.
    Stage: "stage/entry", "staged/entry";
    /// The transaction is committed, with something that somebody waits for.
    Entries: "flush/entries", "flushed/entries";
    /// The witnesses are asked to cosign.
    Cosign: "ask/witness", "asked/witness";
    /// The cosigned head is shown to everybody.
    Show: "show/head", "shown/head";
    /// Those who wait are answered.
    Entered: "answer/entries", "answered/entries";
    /// A file of the published log is written beside its place.
    Tile: "write/tile", "written/tile";
    /// It takes its place.
    PlaceTile: "place/tile", "placed/tile";
    /// The folders of new files are flushed.
    Tiles: "sync/tiles", "synced/tiles";
    /// Partial tiles that a full one replaces are removed.
    Partials: "remove/partials", "removed/partials";
    /// A witness keeps the checkpoint that it vouches for.
    Vouch: "flush/vouched", "flushed/vouched";
    /// A witness keeps two histories of one log.
    Fork: "flush/fork", "flushed/fork";

    // Stores and small files.
    /// A store's file is opened, and made if it is not there.
    Store: "make/store", "made/store";
    /// A small file is written beside its place: a key, a name, a pin.
    File: "write/file", "written/file";
    /// It takes its place.
    PlaceFile: "place/file", "placed/file";
    /// A line is added to a small file.
    Line: "add/line", "added/line";
    /// A key is kept as an old one.
    OldKey: "keep/key", "kept/key";
    /// The next key becomes the one in use.
    NextKey: "switch/key", "switched/key";
    /// A key that is kept as an old one is in use no more.
    RetireKey: "retire/key", "retired/key";
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Side {
    Before,
    After,
}

/// A point of a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Point {
    deed: Deed,
    side: Side,
}

impl Point {
    /// All points there are, in the order of the list.
    pub fn all() -> impl Iterator<Item = Self> {
        let sides = |deed: &Deed| [Side::Before, Side::After].into_iter().take(deed.names().len());
        Deed::ALL.iter().flat_map(move |deed| sides(deed).map(|side| Self { deed: *deed, side }))
    }

    /// The point of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|point| point.name() == name)
    }

    /// Its name: what is done, and with what.
    pub fn name(self) -> &'static str {
        let [before, ..] = self.deed.names() else { return "" };
        match self.side {
            Side::Before => before,
            Side::After => self.deed.names().last().unwrap_or(before),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens at a point.
pub type Hook = Box<dyn Fn(Point) + Send + Sync>;

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Sets what happens at every point from now on. Says whether it was the first to do so: the others
/// change nothing.
pub fn arm(hook: Hook) -> bool {
    HOOK.set(hook).is_ok()
}

/// Whether somebody listens.
pub fn is_armed() -> bool {
    HOOK.get().is_some()
}

/// The program is about to do this.
pub fn before(deed: Deed) {
    reach(deed, Side::Before);
}

/// The program has just done this, or tried to.
pub fn after(deed: Deed) {
    reach(deed, Side::After);
}

fn reach(deed: Deed, side: Side) {
    if let Some(hook) = HOOK.get() {
        hook(Point { deed, side });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own_and_is_found_by_it() {
        let names: Vec<&str> = Point::all().map(Point::name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for name in names {
            assert_eq!(Point::named(name).unwrap().name(), name);
            assert_eq!(name.split('/').filter(|part| !part.is_empty()).count(), 2, "{name}");
        }
        assert_eq!(Point::named("flushed/payment").unwrap(), Point { deed: Deed::Payment, side: Side::After });
        assert_eq!(Point::named("flush/nothing"), None);
    }
}

//! What peers do wrong, one variant per MUST, and the one table to the wire (`spec/errors.md`).

use core::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name {
            $(#[doc = $text] $variant,)+
        }

        impl $name {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code on the wire.
            pub const fn code(self) -> u16 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The variant of a code.
            pub fn of_code(code: u16) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.code() == code)
            }

            /// The variant's name, as the spec and logs spell it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text),+ })
            }
        }

        impl core::error::Error for $name {}
    };
}

codes! {
    /// A peer's offence. It ends the session; what was signed before stays valid.
    Offence {
        // Frames.
        UnknownFrame = 100, "a frame type this version does not have";
        FrameTooLong = 101, "a frame longer than its limit";
        WrongCounter = 102, "a sealed frame out of order, repeated or left out";
        BadSeal = 103, "a frame that does not open under the session's key";
        BadFrame = 104, "a frame whose parts do not add up";
        UnexpectedFrame = 105, "a frame that has no place in this state";
        BadControl = 106, "a control item that is malformed, not canonical or one too many";
        UnexpectedControl = 107, "a control item that has no place in this state or direction";
        // Hello and menu.
        BadHello = 110, "a malformed hello or menu'";
        VersionMismatch = 111, "no common version";
        NoCommonSuite = 112, "no common suite, or a suite that was not offered";
        BadMenu = 113, "a menu that is malformed or not signed by its seller";
        MenuExpired = 114, "a menu past its end";
        MenuTooLong = 115, "a menu valid for more than 24 hours";
        WrongSeller = 116, "a menu of another seller than the address names";
        BadAsk = 117, "an ask for what the menu does not have, or an answer to something else";
        // Order and attach.
        BadSealedOrder = 120, "an order' that does not open";
        BadOrder = 121, "an order that is malformed or not signed by its buyer";
        WrongMenu = 122, "an order for another menu";
        UnknownProduct = 123, "an order for a product or payment option that the menu does not have";
        OrderExpired = 124, "an order past its end";
        OrderForAnother = 125, "an order for another seller";
        TermsNotOffered = 126, "an order that asks for more than the menu offers";
        BadAttach = 127, "an attach that is malformed or not signed by the buyer's identity";
        WrongTranscript = 128, "an attach for another conversation";
        AttachForAnother = 129, "an attach for another order";
        AttachSuite = 130, "an attach for another suite than its envelope";
        StaleAttach = 131, "an attach whose index is not higher than the last one";
        UnknownOrder = 132, "an attach to an order the seller does not know";
        // Session.
        BadSession = 140, "a session that does not open";
        BadAcceptance = 141, "an acceptance that is malformed or not signed by the seller";
        AcceptanceForAnother = 142, "an acceptance of another order, attach or index";
        AcceptanceTranscript = 143, "an acceptance for another transcript";
        AcceptanceKey = 144, "an acceptance for another encapsulated key";
        AcceptanceWidened = 145, "an acceptance wider than the order";
        WrongStart = 146, "a start that neither repeats nor continues what the buyer holds";
        WrongForgiven = 147, "forgiven messages that are not those the buyer holds unpaid";
        // Data.
        MessageTooLong = 150, "a message longer than the product allows";
        QuantityExceeded = 151, "more messages than ordered";
        BadMessageSignature = 152, "a message without a valid signature under the rule `message`";
        WrongCut = 153, "a cut that is out of order or inside a message";
        PrefixChanged = 154, "a repeated message that differs from the one delivered before";
        // Invoices.
        BadInvoice = 160, "an invoice that is malformed or not signed by the seller";
        InvoiceForAnother = 161, "an invoice of another order";
        InvoiceChain = 162, "an invoice that does not follow its predecessor";
        InvoiceRange = 163, "an invoice for other messages than were delivered";
        InvoiceDigest = 164, "an invoice whose digest is not that of the delivered bytes";
        InvoiceUnits = 165, "an invoice that counts other units than were delivered";
        InvoiceDue = 166, "an invoice whose amount does not follow from the price";
        InvoiceCredit = 167, "an invoice that denies or invents a payment";
        InvoiceOverLimit = 168, "an invoice above the order's limit";
        InvoiceTime = 169, "an invoice for time that did not pass";
        InvoiceWithoutCut = 170, "an invoice for a span that has not ended";
        InvoiceAfterLast = 171, "data or an invoice after the last invoice";
        InvoiceWindows = 172, "an invoice whose messages do not fit its windows";
        // Payments.
        BadPayment = 180, "a payment that is malformed or not signed by the order's key";
        PaymentForAnother = 181, "a payment of another order";
        PaymentChain = 182, "a payment that does not follow its predecessor";
        PaymentInvoice = 183, "a payment for an invoice that does not wait for one";
        PaymentTotal = 184, "a payment whose total is not what its invoice says is due";
        PaymentChannel = 185, "a payment from another channel than the order's";
        PaymentRefused = 186, "a payment that the rail refuses";
        BadAck = 187, "an ack that is malformed, unsigned or for an unknown invoice";
        NotPaid = 188, "an invoice that was not paid in time";
        // Ends.
        BadSettlement = 190, "a settlement that is malformed or not signed by the other side";
        SettlementMismatch = 191, "a settlement with other totals";
        BadDefault = 192, "a default that is malformed or not signed by the seller";
        HandshakeTimeout = 200, "a handshake that takes too long";
        IdleTimeout = 201, "a connection that fell silent";
    }
}

codes! {
    /// Why a side ends a connection without blaming the other.
    Reason {
        Busy = 300, "the seller has no room for this buyer now: try again later";
        Refused = 301, "the order is refused: its terms or what stands behind it";
        Frozen = 302, "the own journal cannot be written, or is older than what was signed on it; nothing further is signed";
        Superseded = 303, "a newer connection of the same order took over";
        RailDown = 304, "the rail cannot be reached";
        LedgerDishonest = 305, "the ledger contradicts itself";
        ShuttingDown = 306, "the program is being stopped";
        AlreadyEnded = 307, "the order has ended";
        Paused = 308, "the product takes no new orders at the moment";
    }
}

impl Offence {
    /// Whether the other side was only late or silent. A connection is lost then, and another one may go on: a
    /// payment that comes too late still counts (`spec/protocol.md` §8).
    pub const fn is_lateness(self) -> bool {
        matches!(self, Self::IdleTimeout | Self::HandshakeTimeout | Self::NotPaid)
    }

    /// Whether somebody on the way, who has no key, can make a side name it: by a changed, repeated or foreign
    /// byte, or by answering in the other's place. It says nothing about the other side, and a bit of it must
    /// not cost an order (`spec/errors.md`, rule 5).
    pub const fn needs_no_key(self) -> bool {
        matches!(
            self,
            Self::UnknownFrame
                | Self::FrameTooLong
                | Self::WrongCounter
                | Self::BadSeal
                | Self::BadFrame
                | Self::UnexpectedFrame
                | Self::BadHello
                | Self::VersionMismatch
                | Self::NoCommonSuite
                | Self::BadMenu
                | Self::MenuExpired
                | Self::WrongSeller
                | Self::BadSealedOrder
                | Self::WrongTranscript
                | Self::BadSession
        )
    }
}

/// Why a connection ended, as one side tells the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The other side broke a rule.
    Offence(Offence),
    /// Nobody is to blame.
    Reason(Reason),
}

impl Fault {
    /// The code on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Offence(offence) => offence.code(),
            Self::Reason(reason) => reason.code(),
        }
    }

    /// The fault of a code.
    pub fn of_code(code: u16) -> Option<Self> {
        Offence::of_code(code).map(Self::Offence).or_else(|| Reason::of_code(code).map(Self::Reason))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offence(offence) => write!(f, "{}: {offence}", offence.name()),
            Self::Reason(reason) => write!(f, "{}: {reason}", reason.name()),
        }
    }
}

impl From<Offence> for Fault {
    fn from(offence: Offence) -> Self {
        Self::Offence(offence)
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_come_back() {
        let mut codes: alloc::vec::Vec<u16> = Offence::ALL.iter().map(|o| o.code()).collect();
        codes.extend(Reason::ALL.iter().map(|r| r.code()));
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
        assert!(codes.iter().all(|code| Fault::of_code(*code).is_some_and(|fault| fault.code() == *code)));
        assert_eq!(Fault::of_code(1), None);
    }
}

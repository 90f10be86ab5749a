//! What a lying seller does wrong, and how.

use sdpp_proto::codec::{Bytes32, Digest, StatementId};
use sdpp_proto::limits;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Acceptance, Forgiven, Invoice, Menu, Settlement};
use sdpp_proto::time::Timestamp;

use super::books::Books;
use super::buyer_lie::Drawn;
use super::{Table, WireLie, lies};

lies! {
    /// What a lying seller does wrong, once.
    SellerLie {
        // The menu.
        SilentAtHello = "Hears a hello and says nothing.", [HandshakeTimeout];
        MalformedMenu = "A menu' that is none.", [BadHello];
        OtherVersion = "Chooses a version that was not offered.", [VersionMismatch];
        NoSuite = "Has no key of the suites that were offered.", [NoCommonSuite];
        MenuForged = "A menu whose signature does not verify.", [BadMenu];
        MenuExpired = "A menu of yesterday.", [MenuExpired];
        MenuTooLong = "A menu for more than a day.", [MenuTooLong];
        MenuOfAnother = "A menu of another seller.", [WrongSeller];
        AnswersWrong = "Answers an ask with something else.", [BadAsk];
        AnswersUnasked = "Answers what was not asked.", [UnexpectedFrame, BadAsk];
        // The session.
        SilentAtOrder = "Hears an order and says nothing.", [HandshakeTimeout];
        SessionUnsealed = "A session that does not open.", [BadSession];
        SessionReplayed = "The session of an earlier connection again.", [BadSession];
        AcceptanceForged = "Accepts under another signature.", [BadAcceptance];
        AcceptsOtherOrder = "Accepts another order.", [AcceptanceForAnother];
        ChangesSalt = "Salts the digests of a known order anew.", [AcceptanceForAnother];
        AcceptsOtherTalk = "Accepts in another conversation.", [AcceptanceTranscript];
        AcceptsOtherKey = "Accepts under another encapsulation.", [AcceptanceKey];
        AcceptsMore = "Accepts more than was ordered.", [AcceptanceWidened];
        LeavesOut = "Starts behind what the buyer holds.", [WrongStart];
        ForgivesWrongly = "Forgives what nobody has lost.", [WrongForgiven];
        // Frames of a live session.
        UnknownFrame = "A frame type that there is not.", [UnknownFrame];
        FrameTooLong = "A frame longer than its type allows.", [FrameTooLong];
        SkipsFrame = "Leaves a frame out.", [WrongCounter];
        FrameTwice = "Sends a frame twice.", [WrongCounter];
        WrongKey = "Seals a frame under another key.", [BadSeal];
        FlipsBit = "Changes one bit of a sealed frame.", [BadSeal];
        CutsFrameShort = "Leaves out the end of a frame.", [BadSeal, UnknownFrame, FrameTooLong];
        Garbage = "Sends bytes that mean nothing.", [UnknownFrame, FrameTooLong];
        CountsClearFrame = "Counts a clear frame.", [BadFrame];
        HelloAgain = "Says hello in the middle of a session.", [UnexpectedFrame];
        BadControl = "A control item that is none.", [BadControl];
        ManyControls = "More control items than a frame takes.", [BadControl];
        Exits = "Wants no more, as if it bought.", [UnexpectedControl];
        SettlesEarly = "Signs the end before it has come.", [UnexpectedControl];
        FallsSilent = "Is not heard of again.", [IdleTimeout];
        // Messages and cuts.
        MessageTooLong = "A message longer than the product allows.", [MessageTooLong];
        TooManyMessages = "More messages than ordered.", [QuantityExceeded];
        MessageForged = "A message under a signature that is none.", [BadMessageSignature];
        ChangesRepeated = "Repeats a message with another content.", [PrefixChanged];
        CutsWrong = "Ends another span than the one it sends.", [WrongCut];
        CutsInside = "Ends a span inside a message.", [WrongCut];
        CutsWithoutEnd = "Ends span after span and invoices none.", [WrongCut];
        // Invoices.
        InvoiceForged = "Invoices under another signature.", [BadInvoice];
        InvoicesOtherOrder = "Invoices another order.", [InvoiceForAnother];
        InvoiceUnchained = "Invoices behind an invoice that there is not.", [InvoiceChain];
        SkipsNumber = "Leaves out a number.", [InvoiceChain];
        Equivocates = "Signs two invoices of one number.", [InvoiceChain, InvoiceAfterLast];
        InvoiceWithoutCut = "Invoices a span that has not ended.", [InvoiceWithoutCut];
        InvoicesUnsent = "Invoices a message that was not sent.", [InvoiceRange];
        OtherDigest = "Invoices other bytes than it sent.", [InvoiceDigest];
        ManyWindows = "Invoices more windows than were ordered.", [InvoiceWindows];
        ManyUnits = "Counts a unit too many.", [InvoiceUnits];
        Overcharges = "Asks for more than the price.", [InvoiceDue];
        Denies = "Denies that anything was ever paid.", [InvoiceCredit, InvoiceOverLimit];
        InventsPayment = "Credits a payment that there is not.", [InvoiceCredit];
        BillsTime = "Bills time that did not pass.", [InvoiceTime, InvoiceOverLimit];
        RunsAhead = "Sends and invoices on and on, paid or not.", [InvoiceOverLimit, InvoiceCredit];
        SendsAfterLast = "Sends a message behind the last invoice.", [InvoiceAfterLast];
        InvoicesAfterLast = "Invoices again behind the last invoice.", [InvoiceAfterLast];
        // The end.
        DefaultForged = "Complains under another signature.", [BadDefault];
        DefaultsOtherOrder = "Complains about another order.", [BadDefault];
        SettlementForged = "Signs the end with another key.", [BadSettlement];
        SettlementChanged = "Signs another end.", [SettlementMismatch];
        SettlementWithheld = "Does not sign the end: the last pair stands alone.", [];
    }
}

/// Changes of a menu.
pub(super) const MENU: Table<SellerLie, fn(&mut Menu, Timestamp)> = &[
    (SellerLie::MenuExpired, |menu, _| menu.until = Timestamp::ZERO),
    (SellerLie::MenuTooLong, |menu, now| {
        // An hour more than any difference of clocks explains.
        menu.until = now.after_ms(limits::MENU_LIFE_MS).after_ms(3_600_000);
    }),
];

/// Changes of an acceptance.
pub(super) const ACCEPTANCE: Table<SellerLie, fn(&mut Acceptance, Drawn)> = &[
    (SellerLie::AcceptsOtherOrder, |acceptance, drawn| acceptance.order_id = StatementId(drawn)),
    (SellerLie::AcceptsOtherTalk, |acceptance, drawn| acceptance.th2 = Bytes32(drawn)),
    (SellerLie::AcceptsOtherKey, |acceptance, drawn| acceptance.enc_hash = Bytes32(drawn)),
    (SellerLie::AcceptsMore, |acceptance, _| acceptance.windows = acceptance.windows.saturating_add(1)),
    (SellerLie::LeavesOut, |acceptance, _| acceptance.start = acceptance.start.saturating_add(1)),
    (SellerLie::ForgivesWrongly, |acceptance, _| {
        let first = acceptance.start;
        acceptance.forgiven = Some(Forgiven { first, count: 0, invoice: None, next_n: 0 });
        acceptance.start = first.saturating_add(1);
    }),
];

/// Changes of an invoice.
pub(super) const INVOICE: Table<SellerLie, fn(&mut Invoice, &Books, Drawn)> = &[
    (SellerLie::InvoicesOtherOrder, |invoice, _, drawn| invoice.order_id = StatementId(drawn)),
    (SellerLie::InvoiceUnchained, |invoice, _, drawn| invoice.prev = StatementId(drawn)),
    (SellerLie::SkipsNumber, |invoice, _, _| invoice.n = invoice.n.saturating_add(1)),
    (SellerLie::InvoicesUnsent, |invoice, _, _| invoice.count = invoice.count.saturating_add(1)),
    (SellerLie::OtherDigest, |invoice, _, drawn| invoice.digest = Digest(drawn)),
    (SellerLie::ManyWindows, |invoice, books, _| invoice.windows = books.terms.order.windows.saturating_add(1)),
    (SellerLie::ManyUnits, |invoice, books, _| *invoice = books.priced(invoice.clone(), 1)),
    (SellerLie::Overcharges, |invoice, _, _| {
        invoice.due = invoice.due.checked_add(Amount::new(1)).unwrap_or(Amount::ZERO);
    }),
    (SellerLie::InventsPayment, |invoice, _, drawn| invoice.paid_by = Some(StatementId(drawn))),
    (SellerLie::BillsTime, |invoice, books, _| {
        const DAY_MS: u64 = 24 * 3_600_000;
        let start = invoice.t_start.unwrap_or_default();
        (invoice.t_start, invoice.t_end) = (Some(start), Some(invoice.t_end.unwrap_or(start).after_ms(DAY_MS)));
        *invoice = books.priced(invoice.clone(), DAY_MS);
    }),
];

/// Changes of a settlement.
pub(super) const SETTLEMENT: Table<SellerLie, fn(&mut Settlement)> = &[(SellerLie::SettlementChanged, |settlement| {
    settlement.due = settlement.due.checked_add(Amount::new(1)).unwrap_or(Amount::ZERO);
})];

/// Lies about frames.
pub(super) const WIRE: Table<SellerLie, WireLie> = &[
    (SellerLie::UnknownFrame, WireLie::UnknownFrame),
    (SellerLie::FrameTooLong, WireLie::TooLong),
    (SellerLie::SkipsFrame, WireLie::Skips),
    (SellerLie::FrameTwice, WireLie::Twice),
    (SellerLie::WrongKey, WireLie::WrongKey),
    (SellerLie::FlipsBit, WireLie::FlipsBit),
    (SellerLie::CutsFrameShort, WireLie::CutsShort),
    (SellerLie::Garbage, WireLie::Garbage),
    (SellerLie::CountsClearFrame, WireLie::CountsClear),
    (SellerLie::HelloAgain, WireLie::HelloAgain),
    (SellerLie::BadControl, WireLie::BadControl),
    (SellerLie::ManyControls, WireLie::ManyControls),
];

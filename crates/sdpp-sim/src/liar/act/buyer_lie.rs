//! What a lying buyer does wrong, and how.

use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::limits;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Attach, Menu, Order, Payment, Settlement};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{Hello, SealedOrder};

use super::{Table, WireLie, lies};

lies! {
    /// What a lying buyer does wrong, once.
    BuyerLie {
        // Hello and choosing.
        SaysNothing = "Connects and says nothing.", [HandshakeTimeout];
        MalformedHello = "A hello that is none.", [BadHello];
        OldVersion = "Offers versions that the seller does not speak.", [VersionMismatch];
        NoSuite = "Offers suites that the seller does not have.", [NoCommonSuite];
        SecondHello = "Says hello again.", [UnexpectedFrame];
        AsksForNothing = "Asks for a product that the menu does not have.", [BadAsk];
        AsksTooOften = "Asks for more quotes than it may.", [BadAsk];
        SilentChoosing = "Hears the menu and falls silent.", [HandshakeTimeout];
        // A new order.
        OrderMalformed = "Orders no windows at all.", [BadOrder];
        OrderForged = "Orders under a signature that is not the buyer's.", [BadOrder];
        OrderOtherMenu = "Orders from another menu.", [WrongMenu];
        OrderOtherProduct = "Orders what is not on the menu.", [UnknownProduct];
        OrderExpired = "Orders too late.", [OrderExpired];
        OrderOtherSeller = "Orders from somebody else.", [OrderForAnother];
        OrderTooMuch = "Orders more than the menu offers.", [TermsNotOffered];
        AttachOtherOrder = "Attaches to another order than it sends.", [AttachForAnother];
        // Any attach.
        AttachForged = "Attaches under another signature than the buyer's.", [BadAttach];
        AttachOverclaims = "Says it holds what was never sent.", [BadAttach];
        AttachUnderclaims = "Says it holds nothing at all, to have everything again.", [];
        AttachOtherTalk = "Attaches to another conversation.", [WrongTranscript];
        AttachOtherSuite = "Attaches with a key of another suite than its envelope.", [AttachSuite];
        AttachStale = "Attaches with the index of the connection before.", [StaleAttach];
        AttachReplayed = "Sends the first attach again, on another connection.", [WrongTranscript];
        AttachUnknown = "Attaches to an order that nobody has heard of.", [UnknownOrder];
        OrderUnsealed = "An order' with a changed bit.", [BadSealedOrder];
        OrderReplayed = "Sends the order' of an earlier connection again, byte for byte.", [BadSealedOrder];
        OrderOtherSuite = "An order' under a suite that its hello did not offer.", [NoCommonSuite];
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
        SendsMessages = "Sends messages as if it sold.", [BadFrame];
        HelloAgain = "Says hello in the middle of a session.", [UnexpectedFrame];
        BadControl = "A control item that is none.", [BadControl];
        ManyControls = "More control items than a frame takes.", [BadControl];
        Cuts = "Ends a span as if it sold.", [UnexpectedControl];
        SettlesEarly = "Signs the end before it has come.", [UnexpectedControl];
        // Payments.
        PaymentForged = "Pays under another signature than the order's.", [BadPayment];
        PaysOtherOrder = "Pays another order.", [PaymentForAnother];
        PaymentUnchained = "Pays behind a payment that there is not.", [PaymentChain];
        PaysOutOfOrder = "Sends a payment whose predecessor it kept back.", [PaymentChain];
        ReplaysPayment = "Sends an old payment again.", [PaymentChain];
        RepeatsPayment = "Sends its newest payment again, which is its right.", [];
        PaysOtherInvoice = "Pays an invoice of another order.", [PaymentInvoice];
        PaysTwice = "Pays an invoice that is paid.", [PaymentInvoice];
        PaysTooLittle = "Pays less than is due.", [PaymentTotal];
        PaysTooMuch = "Pays more than is due.", [PaymentTotal];
        PaysOtherChannel = "Pays from another channel.", [PaymentChannel];
        ClosesChannel = "Closes its channel and pays from it all the same: the world must close it, see \
            [`closes_channel`](super::LyingBuyer::closes_channel).", [PaymentRefused];
        AckForged = "Acknowledges under another signature.", [BadAck];
        AcksOtherOrder = "Acknowledges an invoice of another order.", [BadAck];
        FloodsAcks = "Acknowledges the same invoice again and again, which is only a waste.", [];
        FloodsExits = "Asks for the end more than once, which it may.", [];
        Withholds = "Takes everything and pays no more.", [NotPaid];
        FallsSilent = "Is not heard of again.", [NotPaid, IdleTimeout];
        // The end.
        SettlementForged = "Signs the end with another key.", [BadSettlement];
        SettlementChanged = "Signs another end.", [SettlementMismatch];
        SettlementWithheld = "Does not sign the end: the last pair stands alone.", [];
    }
}

pub(super) type Drawn = [u8; 32];

/// Changes of a hello.
pub(super) const HELLO: Table<BuyerLie, fn(&mut Hello)> = &[
    (BuyerLie::OldVersion, |hello| hello.versions = vec![limits::VERSION.saturating_add(1)]),
    (BuyerLie::NoSuite, |hello| hello.suites = vec![99]),
];

/// Changes of a new order.
pub(super) const ORDER: Table<BuyerLie, fn(&mut Order, &Menu, Drawn)> = &[
    (BuyerLie::OrderMalformed, |order, _, _| order.windows = 0),
    (BuyerLie::OrderOtherMenu, |order, _, drawn| order.menu_id = StatementId(drawn)),
    (BuyerLie::OrderOtherProduct, |order, menu, _| {
        order.product = (0..=u32::MAX).find(|id| menu.product(*id).is_none()).unwrap_or_default();
    }),
    (BuyerLie::OrderExpired, |order, _, _| order.until = Timestamp::ZERO),
    (BuyerLie::OrderOtherSeller, |order, _, _| order.seller = order.sign_pk),
    (BuyerLie::OrderTooMuch, too_much),
];

fn too_much(order: &mut Order, menu: &Menu, drawn: Drawn) {
    let most = menu.product(order.product).map_or(0, |product| product.windows_max);
    if most < limits::WINDOWS_MAX {
        order.windows = most.saturating_add(1);
    } else {
        // No order may say more: a channel where none is wanted, or none where one is.
        order.channel = if order.channel.is_some() { None } else { Some(ChannelId(drawn)) };
    }
}

/// Changes of an attach.
pub(super) const ATTACH: Table<BuyerLie, fn(&mut Attach, Drawn)> = &[
    (BuyerLie::AttachOverclaims, |attach, _| attach.have.next = attach.have.next.saturating_add(1 << 40)),
    (BuyerLie::AttachOtherTalk, |attach, drawn| attach.th1 = Bytes32(drawn)),
    (BuyerLie::AttachOtherSuite, |attach, drawn| {
        attach.suite = other(attach.suite);
        attach.kem_pk = SealSecret::derive(attach.suite, &drawn.into()).1;
    }),
];

/// Changes of an order'.
pub(super) const SEALED: Table<BuyerLie, fn(&mut SealedOrder, Drawn)> = &[
    (BuyerLie::OrderUnsealed, |sealed, drawn| {
        let at = super::below(&drawn, sealed.ct.len());
        sealed.ct.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1);
    }),
    (BuyerLie::OrderOtherSuite, |sealed, _| {
        sealed.suite = Suite::of_code(sealed.suite).map(other).map_or(99, Suite::code);
    }),
];

const fn other(suite: Suite) -> Suite {
    match suite {
        Suite::X25519 => Suite::XWing,
        Suite::XWing => Suite::X25519,
    }
}

/// Changes of a payment.
pub(super) const PAYMENT: Table<BuyerLie, fn(&mut Payment, Drawn)> = &[
    (BuyerLie::PaysOtherOrder, |payment, drawn| payment.order_id = StatementId(drawn)),
    (BuyerLie::PaymentUnchained, |payment, drawn| payment.prev = StatementId(drawn)),
    (BuyerLie::PaysOtherInvoice, |payment, drawn| payment.invoice_id = StatementId(drawn)),
    (BuyerLie::PaysTooLittle, |payment, _| {
        let less = payment.total.checked_sub(Amount::new(1));
        payment.total = less.unwrap_or(Amount::new(1));
    }),
    (BuyerLie::PaysTooMuch, |payment, _| {
        let more = payment.total.checked_add(Amount::new(1));
        payment.total = more.unwrap_or(Amount::ZERO);
    }),
    (BuyerLie::PaysOtherChannel, |payment, drawn| payment.channel = Some(ChannelId(drawn))),
];

/// Changes of a settlement.
pub(super) const SETTLEMENT: Table<BuyerLie, fn(&mut Settlement)> = &[(BuyerLie::SettlementChanged, |settlement| {
    settlement.paid = settlement.paid.checked_add(Amount::new(1)).unwrap_or(Amount::ZERO);
})];

/// Lies about frames.
pub(super) const WIRE: Table<BuyerLie, WireLie> = &[
    (BuyerLie::UnknownFrame, WireLie::UnknownFrame),
    (BuyerLie::FrameTooLong, WireLie::TooLong),
    (BuyerLie::SkipsFrame, WireLie::Skips),
    (BuyerLie::FrameTwice, WireLie::Twice),
    (BuyerLie::WrongKey, WireLie::WrongKey),
    (BuyerLie::FlipsBit, WireLie::FlipsBit),
    (BuyerLie::CutsFrameShort, WireLie::CutsShort),
    (BuyerLie::Garbage, WireLie::Garbage),
    (BuyerLie::CountsClearFrame, WireLie::CountsClear),
    (BuyerLie::HelloAgain, WireLie::HelloAgain),
    (BuyerLie::BadControl, WireLie::BadControl),
    (BuyerLie::ManyControls, WireLie::ManyControls),
];

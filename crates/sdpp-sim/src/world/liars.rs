//! The seats of liars: hand-made peers in place of a process. They have no journal and never crash.

use std::sync::Arc;

use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::{Menu, Order, Signed};
use sdpp_proto::suite::SealSecret;
use sdpp_rail::{Funding, OpenRequest, Payer};

use super::buyer::Wish;
use super::call::now_or_never;
use super::ctx::{Ctx, Event, LinkId, Party};
use super::link::{Links, Read};
use super::money::Money;
use super::seller::payload;
use crate::liar::BuyerKeys;
use crate::liar::act::{BuyerLie, LyingBuyer, LyingSeller, SellerLie};

/// Connections that a liar makes at most.
const CONNECTIONS_MAX: u32 = 12;
/// How often it looks at the clock.
const LOOK_MS: u64 = 2_000;

/// Whether somebody may be named so: for the lie that was told, or for what lateness and silence look like.
pub(crate) fn is_named_rightly(offence: Offence, lies: &[Offence], has_lied: bool) -> Result<(), &'static str> {
    match offence {
        _ if offence.is_lateness() => Ok(()),
        // Its order was made for the menu of an earlier life of the seller, which never took it.
        Offence::WrongMenu | Offence::OrderExpired => Ok(()),
        _ if !has_lied => Err("it has not lied yet"),
        // What the protocol bears with may leave a liar with accounts that it cannot go on with.
        _ if lies.is_empty() || lies.contains(&offence) => Ok(()),
        _ => Err("that is not what it did"),
    }
}

/// A buyer that lies.
pub(crate) struct BuyerSeat {
    pub(crate) lie: BuyerLie,
    liar: LyingBuyer,
    number: usize,
    payer: Arc<dyn Payer>,
    opening: OpenRequest,
    funding: Funding,
    link: Option<LinkId>,
    outbox: Vec<u8>,
    connections: u32,
    /// It wanted to pay from a channel that is about to be closed, and could not close it.
    pays_openly: bool,
    pub(crate) done: bool,
}

impl BuyerSeat {
    /// A liar with a channel of its own; nothing goes wrong while it opens it.
    pub(crate) fn new(
        money: &Money,
        (number, key, reference): (usize, &SigningKey, Bytes32),
        (lie, at): (BuyerLie, u32),
        (wish, menu): (&Wish, &Signed<Menu>),
    ) -> Result<Self, String> {
        let (payer, _) = money.payer(key, None);
        let option = menu.options.first().ok_or("a menu has an option")?.clone();
        let opening = OpenRequest { reference, option, limit: wish.limit, signer: key.public(), seller: menu.seller };
        let mut funding = Err(sdpp_rail::RailError::Unavailable);
        for _ in 0..50 {
            funding = now_or_never(payer.open(&opening));
            if funding.is_ok() {
                break;
            }
        }
        let funding = funding.map_err(|error| format!("a liar finds no channel: {error}"))?;
        let (channel, honest) = (funding.channel, wish.clone());
        let change = move |order: &mut Order| {
            order.channel = channel;
            order.quantity = honest.quantity;
            order.windows = honest.windows.min(16);
            order.exposure_max = honest.exposure_max;
            order.limit = honest.limit;
        };
        let keys = BuyerKeys { identity: key.clone(), pays: key.clone() };
        let mut liar = LyingBuyer::new(keys, wish.suite, lie, at, Box::new(change));
        liar.exit_after = wish.enough_at;
        Ok(Self {
            lie,
            liar,
            number,
            payer,
            opening,
            funding,
            link: None,
            outbox: Vec::new(),
            connections: 0,
            pays_openly: false,
            done: false,
        })
    }

    pub(crate) fn has_lied(&self) -> bool {
        self.liar.has_lied()
    }

    /// Its order and the highest total that it signed a payment for.
    pub(crate) fn signed(&self) -> Option<(sdpp_proto::codec::StatementId, sdpp_proto::money::Amount)> {
        let total = if self.pays_openly { self.opening.limit } else { self.liar.signed_total() };
        self.liar.order_id().map(|order| (order, total))
    }

    pub(crate) const fn is_idle(&self) -> bool {
        self.link.is_none()
    }

    /// Whether it wants a connection now.
    pub(crate) const fn wants_line(&self) -> bool {
        !self.done && self.link.is_none()
    }

    pub(crate) fn connected(&mut self, ctx: &mut Ctx, link: LinkId) {
        self.connections += 1;
        self.link = Some(link);
        self.outbox.clear();
        self.liar.connect(ctx.shared.dice().seed());
        ctx.wake(Party::Buyer(self.number), ctx.now());
    }

    pub(crate) fn turn(&mut self, ctx: &mut Ctx, links: &mut Links) {
        let party = Party::Buyer(self.number);
        let Some(id) = self.link else { return };
        let Some(link) = links.get_mut(&id) else { return };
        let mut heard = Vec::new();
        let read = link.read(ctx, party, &mut heard);
        self.liar.hear(ctx.now(), &heard);
        if self.liar.closes_channel() {
            // Its ledger may be away for a moment; if it stays away, the payment is as good as any.
            let closed = (0..50).any(|_| now_or_never(self.payer.close(&self.funding)).is_ok());
            self.pays_openly |= !closed;
        }
        self.outbox.append(&mut self.liar.say());
        link.send(ctx, party, &mut self.outbox);
        if read == Read::Closed || (self.liar.is_over() && self.outbox.is_empty()) {
            link.shut(ctx, party);
            self.link = None;
            let honest_end = self.liar.is_over() && self.liar.told_code().is_none();
            self.done = honest_end || self.connections >= CONNECTIONS_MAX;
            if !self.done {
                let pause = 100 + ctx.below(400);
                ctx.after(pause, Event::Dial(self.number, 0));
            }
        } else {
            ctx.wake(party, ctx.now().after_ms(LOOK_MS));
        }
    }

    /// Asks for its deposit back.
    pub(crate) fn close(&self) {
        if let Ok(funding) = now_or_never(self.payer.open(&self.opening)) {
            let _ = now_or_never(self.payer.close(&funding));
        } else {
            let _ = now_or_never(self.payer.close(&self.funding));
        }
    }
}

/// A seller that lies: it talks to one connection at a time.
pub(crate) struct SellerSeat {
    pub(crate) lie: SellerLie,
    liar: LyingSeller,
    link: Option<LinkId>,
    outbox: Vec<u8>,
}

impl SellerSeat {
    pub(crate) fn new(
        (key, menu): (SigningKey, Signed<Menu>),
        seals: Vec<SealSecret>,
        (lie, at): (SellerLie, u32),
    ) -> Self {
        Self { lie, liar: LyingSeller::new((key, menu), seals, lie, at, payload), link: None, outbox: Vec::new() }
    }

    pub(crate) fn has_lied(&self) -> bool {
        self.liar.has_lied()
    }

    pub(crate) const fn is_idle(&self) -> bool {
        self.link.is_none()
    }

    pub(crate) fn accept(&mut self, ctx: &mut Ctx, links: &mut Links, id: LinkId) {
        if let Some(old) = self.link.replace(id)
            && let Some(link) = links.get_mut(&old)
        {
            link.shut(ctx, Party::Seller);
        }
        self.outbox.clear();
        self.liar.connect(ctx.shared.dice().seed());
        ctx.wake(Party::Seller, ctx.now());
    }

    pub(crate) fn turn(&mut self, ctx: &mut Ctx, links: &mut Links) {
        let Some(id) = self.link else { return };
        let Some(link) = links.get_mut(&id) else { return };
        let mut heard = Vec::new();
        let read = link.read(ctx, Party::Seller, &mut heard);
        self.liar.hear(ctx.now(), &heard);
        self.outbox.append(&mut self.liar.say());
        link.send(ctx, Party::Seller, &mut self.outbox);
        if read == Read::Closed || (self.liar.is_over() && self.outbox.is_empty()) {
            link.shut(ctx, Party::Seller);
            self.link = None;
        } else {
            ctx.wake(Party::Seller, ctx.now().after_ms(LOOK_MS));
        }
    }
}

//! From hello to a live session, at the seller (`spec/protocol.md` §4).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::live::{Live, Start};
use super::order::SellerOrder;
use super::resume::{Refusal, Resumption, opening};
use super::{Admission, Admit, Common, Ended, Event, Output};
use crate::codec::{self, Bytes32};
use crate::frame::{self, FrameKind};
use crate::hash::sha256;
use crate::journal::{Entry, StoreId};
use crate::keys::{EXPORT_TRAFFIC, INFO_ORDER, INFO_SESSION, Traffic};
use crate::limits;
use crate::offence::{Offence, Reason};
use crate::statement::{Acceptance, Attach, Invoice, Order, Payment, Quote, Signed, Terms};
use crate::suite::Suite;
use crate::time::Timestamp;
use crate::wire::{self, Ask, Hello, MenuReply, OrderPlain, SealedOrder, SealedSession, SessionPlain};

/// The menu was sent; an order may come.
pub(super) struct Ordering {
    th1: Bytes32,
    /// Suites of the buyer's hello.
    suites: Vec<u8>,
    asks: u32,
}

/// An order was opened and checked; the driver decides.
pub(super) struct Admitting {
    order: Option<Signed<Order>>,
    /// Why it can be no new order.
    unfit: Option<Offence>,
    attach: Signed<Attach>,
    /// The last invoice that the buyer has, as it shows it.
    shown: Option<Signed<Invoice>>,
    th2: Bytes32,
}

/// All is agreed; the journal must hold it before the acceptance leaves.
pub(super) struct Storing {
    account: Box<SellerOrder>,
    session: Vec<u8>,
    traffic: Traffic,
    store: StoreId,
    resumption: Resumption,
}

/// Answers a hello with the menu.
pub(super) fn hello(common: &mut Common, now: Timestamp, body: &[u8]) -> Result<Ordering, Offence> {
    let hello: Hello = codec::decode(body, limits::HELLO_MAX).map_err(|_| Offence::BadHello)?;
    if !hello.versions.contains(&limits::VERSION) {
        return Err(Offence::VersionMismatch);
    }
    let menu = &common.config.menu;
    if !menu.seal.iter().any(|key| hello.suites.contains(&key.suite.code())) {
        return Err(Offence::NoCommonSuite);
    }
    debug_assert!(menu.until > now, "the driver rotates its menu in time");
    let nonce = Bytes32(*common.entropy.draw());
    let reply = codec::encode(&MenuReply { version: limits::VERSION, nonce, menu: menu.bytes().to_vec() });
    frame::write_clear(&mut common.wire, FrameKind::Menu, &reply);
    Ok(Ordering { th1: wire::th1(body, &reply), suites: hello.suites, asks: 0 })
}

impl Ordering {
    /// Answers with a sample or a quote.
    pub(super) fn ask(&mut self, common: &mut Common, body: &[u8]) -> Result<(), Offence> {
        self.asks = self.asks.saturating_add(1);
        let ask: Ask = codec::decode(body, limits::HELLO_MAX).map_err(|_| Offence::BadAsk)?;
        let product = common.config.menu.product(ask.product).ok_or(Offence::BadAsk)?;
        if self.asks > limits::ASKS_MAX {
            return Err(Offence::BadAsk);
        }
        let answer = match ask.quote {
            None => {
                let sample = common.config.samples.iter().find(|sample| sample.topic == product.topic);
                sample.ok_or(Offence::BadAsk)?.bytes().to_vec()
            }
            Some(asked) => {
                let menu = &common.config.menu;
                menu.option(asked.option).ok_or(Offence::BadAsk)?;
                let units = match product.unit {
                    crate::money::Unit::Second => asked.quantity.saturating_mul(1000),
                    crate::money::Unit::Message | crate::money::Unit::Byte => asked.quantity,
                };
                let window = product.price().due(u64::from(product.k)).unwrap_or_default();
                let quote = Quote {
                    seller: menu.seller,
                    menu_id: menu.id(),
                    product: ask.product,
                    option: asked.option,
                    quantity: asked.quantity,
                    due: product.price().due(units).ok_or(Offence::BadAsk)?,
                    exposure_max: window.checked_mul(u64::from(product.windows_max)).unwrap_or_default(),
                    fee: crate::money::Amount::ZERO,
                };
                Signed::sign(&common.config.key, quote).bytes().to_vec()
            }
        };
        frame::write_clear(&mut common.wire, FrameKind::Answer, &answer);
        Ok(())
    }

    /// Opens and checks an order'.
    pub(super) fn order(&self, common: &mut Common, now: Timestamp, body: &[u8]) -> Result<Admitting, Offence> {
        let sealed: SealedOrder =
            codec::decode(body, limits::SEALED_HANDSHAKE_MAX).map_err(|_| Offence::BadSealedOrder)?;
        if !self.suites.contains(&sealed.suite) {
            return Err(Offence::NoCommonSuite);
        }
        let suite = Suite::of_code(sealed.suite).ok_or(Offence::NoCommonSuite)?;
        let seal = common.config.seals.iter().find(|seal| seal.suite() == suite).ok_or(Offence::NoCommonSuite)?;
        let info = wire::hpke_info(INFO_ORDER, &self.th1);
        let opened = seal.open(&sealed.enc, &info, (&sealed.ct, &[]), EXPORT_TRAFFIC);
        let opened = opened.map_err(|_| Offence::BadSealedOrder)?;
        let plain: OrderPlain =
            codec::decode(&opened.plain, limits::SEALED_HANDSHAKE_MAX).map_err(|_| Offence::BadSealedOrder)?;
        let attach = Signed::<Attach>::parse_unverified(&plain.attach).map_err(|_| Offence::BadAttach)?;
        if attach.th1 != self.th1 {
            return Err(Offence::WrongTranscript);
        }
        if attach.suite != suite {
            return Err(Offence::AttachSuite);
        }
        let order = plain.order.map(|bytes| check_order(common, &bytes)).transpose()?;
        let unfit = order.as_ref().and_then(|order| check_new(common, now, order).err());
        if order.as_ref().is_some_and(|order| order.id() != attach.order_id) {
            return Err(Offence::AttachForAnother);
        }
        let buyer = order.as_ref().map_or(attach.issuer(), Signed::issuer);
        attach.verify(&buyer).map_err(|_| Offence::BadAttach)?;
        common.outputs.push_back(Output::Admit(Box::new(Admit {
            order: order.clone(),
            order_id: attach.order_id,
            attach: attach.clone(),
            verification: plain.verification,
            unfit,
        })));
        // One that is none is not asked for unless the journal lacks it.
        let shown = plain.last_invoice.as_deref().and_then(|bytes| Signed::parse_unverified(bytes).ok());
        Ok(Admitting { order, unfit, attach, shown, th2: wire::th2(&self.th1, body) })
    }
}

/// Checks whose an order is and for whom; its signature last, because it costs most.
fn check_order(common: &Common, bytes: &[u8]) -> Result<Signed<Order>, Offence> {
    let order = Signed::<Order>::parse_unverified(bytes).map_err(|_| Offence::BadOrder)?;
    if order.seller != common.config.key.public() {
        return Err(Offence::OrderForAnother);
    }
    order.verify(&order.issuer()).map_err(|_| Offence::BadOrder)?;
    Ok(order)
}

/// Checks a new order against the menu. One that is known was checked when it was new: since then the menu
/// may have changed, and its buyer may have waited.
fn check_new(common: &Common, now: Timestamp, order: &Signed<Order>) -> Result<(), Offence> {
    let menu = &common.config.menu;
    if order.menu_id != menu.id() {
        return Err(Offence::WrongMenu);
    }
    if order.until <= now {
        return Err(Offence::OrderExpired);
    }
    let terms = Terms::resolve(menu, order).ok_or(Offence::UnknownProduct)?;
    let available = terms.product.available.unwrap_or(u64::MAX);
    if order.windows > terms.product.windows_max
        || order.quantity.is_some_and(|quantity| quantity > available)
        || order.channel.is_some() != terms.option.channel
    {
        return Err(Offence::TermsNotOffered);
    }
    Ok(())
}

type Refused = (Ended, Option<Box<SellerOrder>>);

impl Admitting {
    /// Accepts: signs the acceptance and seals the session's key to the buyer.
    pub(super) fn admit(
        self,
        common: &mut Common,
        known: Option<Box<SellerOrder>>,
        admission: &Admission,
    ) -> Result<Storing, Refused> {
        let is_new = known.is_none();
        let mut account = match known {
            Some(account) => account,
            None => self.fresh_account(common).map_err(|offence| (Ended::Offence(offence), None))?,
        };
        match self.accept(common, &mut account, (admission, is_new)) {
            Ok((session, traffic, store, resumption)) => Ok(Storing { account, session, traffic, store, resumption }),
            Err(refusal) => {
                let ended = match refusal {
                    Refusal::Offence(offence) => Ended::Offence(offence),
                    Refusal::OldJournal => Ended::Stopped(Reason::Frozen),
                };
                Err((ended, (!is_new).then_some(account)))
            }
        }
    }

    fn fresh_account(&self, common: &mut Common) -> Result<Box<SellerOrder>, Offence> {
        let order = self.order.clone().ok_or(Offence::UnknownOrder)?;
        if let Some(offence) = self.unfit {
            return Err(offence);
        }
        let terms = Terms::resolve(&common.config.menu, &order).ok_or(Offence::UnknownProduct)?;
        let salt = Bytes32(*common.entropy.draw());
        Ok(Box::new(SellerOrder::new(common.config.key.clone(), order, terms, salt)))
    }

    fn accept(
        &self,
        common: &mut Common,
        account: &mut SellerOrder,
        (admission, is_new): (&Admission, bool),
    ) -> Result<(Vec<u8>, Traffic, StoreId, Resumption), Refusal> {
        if account.id() != self.attach.order_id || account.buyer() != self.attach.issuer() {
            return Err(Offence::BadAttach.into());
        }
        if !account.accepts_index(&self.attach) {
            return Err(Offence::StaleAttach.into());
        }
        let was_held = account.last_invoice().map(Signed::id);
        let resumption = account.resume(&self.attach.have, self.shown.as_ref())?;
        let adopted = account.last_invoice().filter(|newest| account.is_restored() && Some(newest.id()) != was_held);
        let adopted = adopted.map(Signed::erase);
        let order = &account.terms.order;
        let (windows, limit) = (admission.windows.min(order.windows), admission.ceiling.min(order.limit));
        let exposure = admission.exposure.min(order.exposure_max);
        account.credit.renew(exposure, limit, windows);
        if is_new {
            account.credit.set_ramp(admission.ramp);
        }
        let info = wire::hpke_info(INFO_SESSION, &self.th2);
        let sender = self.attach.suite.sender(&self.attach.kem_pk, &info, &common.entropy.draw());
        let sender = sender.map_err(|_| Offence::BadAttach)?;
        let acceptance = Acceptance {
            order_id: account.id(),
            attach_id: self.attach.id(),
            index: self.attach.index,
            th2: self.th2,
            enc_hash: Bytes32(sha256(sender.enc())),
            start: resumption.start,
            forgiven: resumption.forgiven,
            exposure,
            windows,
            ramp: account.credit.ramp(),
        };
        let acceptance = Signed::sign(&common.config.key, acceptance);
        account.index = self.attach.index;
        let plain = codec::encode(&SessionPlain {
            acceptance: acceptance.bytes().to_vec(),
            order_salt: account.salt,
            last_invoice: pair_invoice(account, &resumption).map(|invoice| invoice.bytes().to_vec()),
            last_payment: pair_payment(account).map(|payment| payment.bytes().to_vec()),
        });
        let sealed = sender.seal(&plain, &[], EXPORT_TRAFFIC).map_err(|_| Offence::BadAttach)?;
        let session = codec::encode(&SealedSession { enc: sealed.enc, ct: sealed.ct });
        let traffic = Traffic::new(wire::th3(&self.th2, &session).as_bytes(), &sealed.export);
        let unopened = Some(&account.order).filter(|_| !account.chain.opened);
        let mut entries: Vec<Entry> = opening(unopened, account.salt, &self.attach);
        entries.extend(adopted.map(Entry::from));
        entries.push(acceptance.erase().into());
        let store = common.store(entries);
        Ok((session, traffic, store, resumption))
    }
}

/// The invoice to show: the newest, or to a buyer that is behind the one it paid last.
fn pair_invoice<'a>(account: &'a SellerOrder, resumption: &Resumption) -> Option<&'a Signed<Invoice>> {
    if resumption.behind { account.last_paid.as_ref() } else { account.last_invoice() }
}

/// The payment to show: the one credited last, if it is held. Where it is lost, the buyer sends all
/// again that no invoice of its journal credits.
fn pair_payment(account: &SellerOrder) -> Option<&Signed<Payment>> {
    account.last_payment.as_ref().filter(|payment| account.credited() == Some(payment.id()))
}

impl Storing {
    /// The write that is awaited.
    pub(super) const fn store(&self) -> StoreId {
        self.store
    }

    /// Given up before it began.
    pub(super) fn into_account(self) -> Box<SellerOrder> {
        self.account
    }

    /// The journal holds everything: the acceptance may leave.
    pub(super) fn live(mut self, common: &mut Common, now: Timestamp) -> Live {
        self.account.chain.opened = true;
        frame::write_clear(&mut common.wire, FrameKind::Session, &self.session);
        common.event(Event::Live { start: self.resumption.start });
        Live::new(common, self.account, &self.traffic, Start { now, first_n: self.resumption.first_n })
    }
}

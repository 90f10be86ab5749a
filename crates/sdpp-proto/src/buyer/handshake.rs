//! From hello to a live session, at the buyer (`spec/protocol.md` §4).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::live::Live;
use super::order::BuyerOrder;
use super::{Common, Event, OrderDraft, Output, PlaceError};
use crate::codec::{self, Bytes32, StatementId};
use crate::frame::{self, FrameKind};
use crate::hash::sha256;
use crate::journal::{Entry, StoreId};
use crate::keys::{EXPORT_TRAFFIC, INFO_ORDER, INFO_SESSION, Traffic};
use crate::limits;
use crate::money::{Amount, Unit};
use crate::offence::Offence;
use crate::statement::{Acceptance, Attach, Menu, Order, Payment, Quote, Sample, Signed, Terms};
use crate::suite::{SealSecret, Suite};
use crate::time::Timestamp;
use crate::wire::{self, Ask, Hello, MenuReply, OrderPlain, SealedOrder, SealedSession, SessionPlain};

/// The hello was sent.
pub(super) struct AwaitMenu {
    hello: Vec<u8>,
}

/// The menu is here.
pub(super) struct Choosing {
    th1: Bytes32,
    menu: Signed<Menu>,
    suite: Suite,
    asked: VecDeque<Ask>,
}

/// An order is on its way: journal, record, order', session.
pub(super) struct Placing {
    conversation: Choosing,
    account: Box<BuyerOrder>,
    attach: Signed<Attach>,
    kem: SealSecret,
    is_new: bool,
    stage: Stage,
}

enum Stage {
    Storing(StoreId),
    Recording,
    /// The order' is sent; this is its transcript.
    Sent(Bytes32),
}

impl AwaitMenu {
    /// Sends the hello.
    pub(super) fn hello(common: &mut Common) -> Self {
        let suites = common.config.suites.iter().map(|suite| suite.code()).collect();
        let nonce = Bytes32(*common.entropy.draw());
        let hello = codec::encode(&Hello { versions: [limits::VERSION].into(), suites, nonce });
        frame::write_clear(&mut common.wire, FrameKind::Hello, &hello);
        Self { hello }
    }

    /// Checks the menu.
    pub(super) fn menu(&self, common: &mut Common, now: Timestamp, body: &[u8]) -> Result<Choosing, Offence> {
        let reply: MenuReply = codec::decode(body, limits::MENU_BODY_MAX).map_err(|_| Offence::BadHello)?;
        if reply.version != limits::VERSION {
            return Err(Offence::VersionMismatch);
        }
        let menu = Signed::<Menu>::parse_unverified(&reply.menu).map_err(|_| Offence::BadMenu)?;
        if common.config.seller.is_some_and(|seller| seller != menu.seller) {
            return Err(Offence::WrongSeller);
        }
        if menu.until <= now {
            return Err(Offence::MenuExpired);
        }
        if menu.until > now.after_ms(limits::MENU_LIFE_MS.saturating_add(limits::CLOCK_TOLERANCE_MS)) {
            return Err(Offence::MenuTooLong);
        }
        let suite = common.config.suites.iter().copied().find(|suite| menu.seal_key(*suite).is_some());
        let suite = suite.ok_or(Offence::NoCommonSuite)?;
        menu.verify(&menu.seller).map_err(|_| Offence::BadMenu)?;
        common.outputs.push_back(Output::Menu(Box::new(menu.clone())));
        Ok(Choosing { th1: wire::th1(&self.hello, body), menu, suite, asked: VecDeque::new() })
    }
}

impl Choosing {
    /// Sends an ask.
    pub(super) fn ask(&mut self, common: &mut Common, ask: Ask) {
        frame::write_clear(&mut common.wire, FrameKind::Ask, &codec::encode(&ask));
        self.asked.push_back(ask);
    }

    /// Checks an answer against its ask.
    pub(super) fn answer(&mut self, common: &mut Common, body: &[u8]) -> Result<(), Offence> {
        let ask = self.asked.pop_front().ok_or(Offence::UnexpectedFrame)?;
        let seller = self.menu.seller;
        match ask.quote {
            None => {
                let sample = Signed::<Sample>::parse_unverified(body).map_err(|_| Offence::BadAsk)?;
                let topic = self.menu.product(ask.product).map(|product| product.topic.as_str());
                if sample.verify(&seller).is_err() || Some(sample.topic.as_str()) != topic {
                    return Err(Offence::BadAsk);
                }
                common.outputs.push_back(Output::Sample(Box::new(sample)));
            }
            Some(asked) => {
                let quote = Signed::<Quote>::parse_unverified(body).map_err(|_| Offence::BadAsk)?;
                let same = (quote.product, quote.option, quote.quantity, quote.menu_id)
                    == (ask.product, asked.option, asked.quantity, self.menu.id());
                if quote.verify(&seller).is_err() || !same {
                    return Err(Offence::BadAsk);
                }
                common.outputs.push_back(Output::Quote(Box::new(quote)));
            }
        }
        Ok(())
    }

    /// Signs a new order and asks for it to be made durable.
    pub(super) fn place(
        self: Box<Self>,
        common: &mut Common,
        now: Timestamp,
        draft: OrderDraft,
    ) -> Result<Placing, (PlaceError, Box<Self>)> {
        if let Err(error) = self.check(&draft) {
            return Err((error, self));
        }
        let order = Order {
            seller: self.menu.seller,
            menu_id: self.menu.id(),
            product: draft.product,
            option: draft.option,
            quantity: draft.quantity,
            windows: draft.windows,
            exposure_max: draft.exposure_max,
            limit: draft.limit,
            channel: draft.channel,
            record: draft.record,
            invoice_addr: None,
            sign_pk: draft.sign_key.public(),
            nonce: draft.nonce,
            until: draft.until,
        };
        let order = Signed::sign(&common.config.key, order);
        let Some(terms) = Terms::resolve(&self.menu, &order) else { return Err((PlaceError::Unknown, self)) };
        let account = Box::new(BuyerOrder::new(draft.sign_key, order, terms));
        Ok(self.attach(common, now, account))
    }

    fn check(&self, draft: &OrderDraft) -> Result<(), PlaceError> {
        let product = self.menu.product(draft.product).ok_or(PlaceError::Unknown)?;
        let option = self.menu.option(draft.option).ok_or(PlaceError::Unknown)?;
        if !(1..=product.windows_max).contains(&draft.windows) {
            return Err(PlaceError::Windows);
        }
        if draft.channel.is_some() != option.channel {
            return Err(PlaceError::Channel);
        }
        let available = product.available.unwrap_or(u64::MAX);
        if draft.quantity.is_some_and(|quantity| quantity == 0 || quantity > available) {
            return Err(PlaceError::Quantity);
        }
        let one = match product.unit {
            Unit::Message | Unit::Byte => product.price().due(1),
            Unit::Second => product.price().due(1000),
        };
        let one = one.unwrap_or(Amount::MAX);
        if draft.exposure_max < one || draft.limit < one { Err(PlaceError::TooLittle) } else { Ok(()) }
    }

    /// Goes on with an order.
    pub(super) fn resume(self: Box<Self>, common: &mut Common, now: Timestamp, account: Box<BuyerOrder>) -> Placing {
        self.attach(common, now, account)
    }

    /// Signs the attach; order and attach are durable before anything is sent. Until a session was
    /// had, the seller may not know the order: then it travels, and is recorded, again.
    fn attach(self: Box<Self>, common: &mut Common, now: Timestamp, mut account: Box<BuyerOrder>) -> Placing {
        account.begin(now);
        let is_new = account.salt.is_none();
        let (kem, kem_pk) = SealSecret::derive(self.suite, &common.entropy.draw());
        account.index = account.index.saturating_add(1);
        let attach = Attach {
            order_id: account.id(),
            index: account.index,
            suite: self.suite,
            kem_pk,
            th1: self.th1,
            have: account.have(),
        };
        let attach = Signed::sign(&common.config.key, attach);
        let mut entries: Vec<Entry> = Vec::new();
        if is_new {
            entries.push(self.menu.erase().into());
            entries.push(account.order.erase().into());
        }
        entries.push(attach.erase().into());
        let store = common.store(entries, account.verified());
        Placing { conversation: *self, account, attach, kem, is_new, stage: Stage::Storing(store) }
    }
}

/// Why there is no session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Offence(Offence),
    /// The own journal is older than what was signed on it, and nobody has said so.
    OldJournal,
}

impl From<Offence> for Refusal {
    fn from(offence: Offence) -> Self {
        Self::Offence(offence)
    }
}

type Refused = (Refusal, Box<BuyerOrder>);

/// A session's contents, and what was adopted with it.
type Opened = (SessionPlain, Signed<Acceptance>, (Traffic, Vec<Entry>));

impl Placing {
    pub(super) fn order_id(&self) -> StatementId {
        self.account.id()
    }

    pub(super) fn account(&self) -> &BuyerOrder {
        &self.account
    }

    pub(super) fn into_account(self) -> Box<BuyerOrder> {
        self.account
    }

    pub(super) const fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent(_))
    }

    /// The journal holds the order: record it, then send it.
    pub(super) fn stored(&mut self, common: &mut Common, through: StoreId) {
        if !matches!(self.stage, Stage::Storing(id) if through >= id) {
            return;
        }
        self.stage = Stage::Recording;
        if self.is_new {
            common.outputs.push_back(Output::RecordOrder(self.account.order.erase()));
        } else {
            self.send(common, None);
        }
    }

    /// The order is recorded.
    pub(super) fn recorded(&mut self, common: &mut Common, statement: &StatementId, record: Option<Bytes32>) {
        if matches!(self.stage, Stage::Recording) && *statement == self.account.id() {
            if let Some(record) = record {
                let entry = Entry::Record { statement: Bytes32(statement.0), record };
                common.store([entry].into(), self.account.verified());
            }
            self.send(common, record);
        }
    }

    fn send(&mut self, common: &mut Common, verification: Option<Bytes32>) {
        let account = &self.account;
        let plain = codec::encode(&OrderPlain {
            order: self.is_new.then(|| account.order.bytes().to_vec()),
            verification,
            attach: self.attach.bytes().to_vec(),
            last_invoice: account.last_invoice.as_ref().map(|invoice| invoice.bytes().to_vec()),
            last_payment: account.payments.last.as_ref().map(|payment| payment.bytes().to_vec()),
        });
        let Choosing { th1, menu, suite, .. } = &self.conversation;
        let info = wire::hpke_info(INFO_ORDER, th1);
        let public = menu.seal_key(*suite).unwrap_or_default();
        let sender = suite.sender(public, &info, &common.entropy.draw());
        let Ok(sealed) = sender.and_then(|sender| sender.seal(&plain, &[], EXPORT_TRAFFIC)) else {
            // A sealing key that is none: the session never comes and the handshake times out.
            return;
        };
        let body = codec::encode(&SealedOrder { suite: suite.code(), enc: sealed.enc, ct: sealed.ct });
        frame::write_clear(&mut common.wire, FrameKind::Order, &body);
        self.stage = Stage::Sent(wire::th2(th1, &body));
    }

    /// Opens the session and checks the acceptance.
    pub(super) fn session(
        mut self: Box<Self>,
        common: &mut Common,
        now: Timestamp,
        body: &[u8],
    ) -> Result<Live, Refused> {
        match self.open(body) {
            Ok((plain, acceptance, (traffic, adopted))) => {
                self.keep(common, (&plain, adopted), &acceptance);
                common.event(Event::Live { start: acceptance.start, exposure: acceptance.exposure });
                Ok(Live::new(common, self.account, &traffic, now))
            }
            Err(refusal) => Err((refusal, self.account)),
        }
    }

    fn open(&mut self, body: &[u8]) -> Result<Opened, Refusal> {
        let Stage::Sent(th2) = self.stage else { return Err(Offence::UnexpectedFrame.into()) };
        let sealed: SealedSession =
            codec::decode(body, limits::SEALED_HANDSHAKE_MAX).map_err(|_| Offence::BadSession)?;
        let info = wire::hpke_info(INFO_SESSION, &th2);
        let opened = self.kem.open(&sealed.enc, &info, (&sealed.ct, &[]), EXPORT_TRAFFIC);
        let opened = opened.map_err(|_| Offence::BadSession)?;
        let plain: SessionPlain =
            codec::decode(&opened.plain, limits::SEALED_HANDSHAKE_MAX).map_err(|_| Offence::BadSession)?;
        let acceptance =
            Signed::<Acceptance>::parse_unverified(&plain.acceptance).map_err(|_| Offence::BadAcceptance)?;
        let attach = &self.attach;
        if (acceptance.order_id, acceptance.attach_id, acceptance.index) != (attach.order_id, attach.id(), attach.index)
            || self.account.salt.is_some_and(|salt| salt != plain.order_salt)
        {
            return Err(Offence::AcceptanceForAnother.into());
        }
        if acceptance.th2 != th2 {
            return Err(Offence::AcceptanceTranscript.into());
        }
        if acceptance.enc_hash.0 != sha256(&sealed.enc) {
            return Err(Offence::AcceptanceKey.into());
        }
        let order = &self.account.terms.order;
        if acceptance.exposure > order.exposure_max || acceptance.windows > order.windows {
            return Err(Offence::AcceptanceWidened.into());
        }
        acceptance.verify(&order.seller).map_err(|_| Offence::BadAcceptance)?;
        let adopted = self.adopt(&plain)?;
        self.account.attach(&acceptance)?;
        let traffic = Traffic::new(wire::th3(&th2, body).as_bytes(), &opened.export);
        Ok((plain, acceptance, (traffic, adopted)))
    }

    /// Finds an own signature that the journal lacks.
    fn adopt(&mut self, plain: &SessionPlain) -> Result<Vec<Entry>, Refusal> {
        let invoice = plain.last_invoice.as_deref().and_then(|bytes| Signed::parse_unverified(bytes).ok());
        let payment = plain.last_payment.as_deref().and_then(|bytes| Signed::parse_unverified(bytes).ok());
        let (Some(invoice), Some(payment)) = (invoice, payment) else { return Ok(Vec::new()) };
        if !self.account.is_lost((&invoice, &payment)) {
            return Ok(Vec::new());
        }
        if !self.account.is_restored() {
            return Err(Refusal::OldJournal);
        }
        Ok(self.account.adopt((&invoice, &payment)))
    }

    /// Keeps what the session brought.
    fn keep(
        &mut self,
        common: &mut Common,
        (plain, adopted): (&SessionPlain, Vec<Entry>),
        acceptance: &Signed<Acceptance>,
    ) {
        let mut entries = adopted;
        if self.account.salt.is_none() {
            entries.push(Entry::Salt(plain.order_salt));
        }
        self.account.salt = Some(plain.order_salt);
        entries.push(acceptance.erase().into());
        common.store(entries, self.account.verified());
        let credited = plain.last_payment.as_deref().and_then(|bytes| Signed::<Payment>::parse_unverified(bytes).ok());
        // One that is not ours changes nothing: ours are sent again.
        self.account.payments.set_heard(credited.map(|payment| payment.id()));
    }
}

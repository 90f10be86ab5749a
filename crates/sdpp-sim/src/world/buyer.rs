//! A buyer's process: the real machine of its connection, and around it what a driver does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sdpp_proto::buyer::{self as core, BuyerConfig, BuyerOrder, OrderDraft, Output};
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::frame::FrameHeader;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::statement::{Acceptance, Invoice, Kind, Menu, RecordPolicy, Signed};
use sdpp_proto::suite::Suite;
use sdpp_proto::time::Timestamp;
use sdpp_proto::wire::{Ask, AskQuote};
use sdpp_rail::{Barrier, Bill, Funding, MemoryDisk, OpenRequest, Payer, PaymentStatus, Proof, RailError, Records};

use super::call::{Answer, Call, Ticket, ask};
use super::ctx::{Ctx, Event, LinkId, Party};
use super::journal::{Ack, Journal};
use super::link::{Links, Read};

const RAIL_RETRY_MS: u64 = 20;
/// Time that the journal has after a connection.
const FLUSH_MS: u64 = 2_000;
/// Purchases that are begun anew because the seller never took them.
const VOIDED_MAX: u32 = 3;
/// Connections without an end after which a buyer gives up.
const ATTEMPTS_MAX: u32 = 60;

/// The file below a sink: it is synced with the rows that vouch for its messages, and before them.
#[derive(Default)]
pub(crate) struct SinkFile {
    written: AtomicUsize,
    synced: AtomicUsize,
    fails: AtomicBool,
}

impl SinkFile {
    /// So many messages are written.
    fn wrote(&self, messages: usize) {
        self.written.store(messages, Ordering::Relaxed);
    }

    /// So many messages are in it, durably.
    fn restart(&self, messages: usize) {
        self.wrote(messages);
        self.synced.store(messages, Ordering::Relaxed);
    }

    /// How many messages a crash leaves.
    pub(crate) fn synced(&self) -> usize {
        self.synced.load(Ordering::Relaxed)
    }

    /// The next sync fails.
    pub(crate) fn spoil(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }
}

impl Barrier for SinkFile {
    fn sync(&self) -> std::io::Result<()> {
        if self.fails.swap(false, Ordering::Relaxed) {
            return Err(std::io::Error::other("the sink's disk is full"));
        }
        self.synced.store(self.written.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(())
    }
}

/// What a buyer wants, whatever process it lives in.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) quantity: Option<u64>,
    pub(crate) windows: u32,
    pub(crate) exposure_max: Amount,
    pub(crate) limit: Amount,
    pub(crate) record: RecordPolicy,
    pub(crate) suite: Suite,
    /// It asks for a quote before it orders.
    pub(crate) asks: bool,
    /// After so many messages it has enough.
    pub(crate) enough_at: Option<u64>,
    pub(crate) records: bool,
}

/// What outlives a buyer's process.
pub(crate) struct House {
    pub(crate) number: usize,
    pub(crate) key: SigningKey,
    pub(crate) disk: MemoryDisk,
    pub(crate) replica: Option<MemoryDisk>,
    pub(crate) wish: Wish,
    /// Messages that the sink holds.
    pub(crate) sink: Vec<(u64, Vec<u8>)>,
    /// When each of them was made, by the seller's word.
    pub(crate) times: BTreeMap<u64, i64>,
    /// How many of them are durable.
    pub(crate) file: Arc<SinkFile>,
    /// The journal was put back from a backup: the sink is not cut any more, and may get again what it held.
    pub(crate) keeps_all: bool,
    /// Where the sink is cut when the next message comes: what is behind it comes again.
    pub(crate) cut: Option<u64>,
    /// Messages that were forgiven: where both sides had lost them, they never come.
    pub(crate) forgiven: Vec<(u64, u64)>,
    /// All channels that were asked for, kept before the rail was: to be closed in the end.
    pub(crate) openings: Vec<OpenRequest>,
    /// The purchase is over, well or not.
    pub(crate) done: bool,
    /// How its last connection ended.
    pub(crate) ended: Option<core::Ended>,
    pub(crate) skew_ms: u64,
}

/// What the world wants to know of what a buyer did.
#[derive(Debug)]
pub(crate) enum Deed {
    /// It asks its rail to pay an invoice.
    Pays { invoice: Box<Signed<Invoice>>, total: Amount },
    /// A payment was signed.
    Signed { order: StatementId, total: Amount },
    /// A connection ended.
    Ended { ended: core::Ended },
}

struct Conn {
    id: LinkId,
    machine: core::Buyer,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    last_store: Option<StoreId>,
    ended: Option<core::Ended>,
    flush_until: Option<Timestamp>,
    paying: Option<Box<Bill>>,
    recalling: Vec<StatementId>,
    /// The menu, while a quote is waited for.
    asking: Option<Box<Signed<Menu>>>,
    opening: Option<(Box<OpenRequest>, Box<Signed<Menu>>)>,
    records_order: Option<StatementId>,
    exited: bool,
}

/// A running buyer.
pub(crate) struct Buyer {
    pub(crate) boot: u32,
    party: Party,
    pub(crate) journal: Journal,
    pub(crate) payer: Arc<dyn Payer>,
    records: Option<Arc<dyn Records>>,
    conn: Option<Conn>,
    account: Option<Box<BuyerOrder>>,
    attempt: u32,
    voided: u32,
    dialling: bool,
    /// An old journal was noticed: it is declared before the next connection.
    pub(crate) must_declare: bool,
    pub(crate) deeds: Vec<Deed>,
}

impl Buyer {
    /// Starts from what is durable.
    pub(crate) fn start(
        ctx: &mut Ctx,
        house: &mut House,
        (payer, records): (Arc<dyn Payer>, Option<Arc<dyn Records>>),
        boot: u32,
    ) -> Result<Self, String> {
        let party = Party::Buyer(house.number);
        let journal = Journal::open(party, &house.disk, boot);
        let records = records.filter(|_| house.wish.records);
        let mut buyer = Self {
            boot,
            party,
            journal,
            payer,
            records,
            conn: None,
            account: None,
            attempt: 0,
            voided: 0,
            dialling: false,
            must_declare: false,
            deeds: Vec::new(),
        };
        buyer.load(ctx, house)?;
        if !house.done {
            buyer.dial(ctx);
        }
        Ok(buyer)
    }

    fn load(&mut self, ctx: &Ctx, house: &mut House) -> Result<(), String> {
        house.sink.truncate(house.file.synced());
        let mut newest: Option<BuyerOrder> = None;
        for entries in self.journal.orders() {
            let menu = entries.iter().find_map(|entry| match entry {
                Entry::Statement(statement) if statement.kind == Kind::Menu => {
                    Signed::<Menu>::parse(&statement.bytes).ok()
                }
                Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
            });
            let Some(menu) = menu else { continue };
            let restored = BuyerOrder::restore(&house.key, &menu, &entries);
            let mut account = restored.map_err(|error| format!("the buyer's journal cannot be restored: {error}"))?;
            if self.journal.is_restored(&account.id()) {
                account.declare_restored();
            }
            if entries.iter().rev().take(1).any(|entry| matches!(entry, Entry::Intent(_))) {
                ctx.hit("payment: intent found after a crash");
            }
            if account.is_settled() {
                house.done = true;
            } else if newest.as_ref().is_none_or(|known| known.salt().is_none()) {
                newest = Some(account);
            }
        }
        if let Some(account) = newest.filter(|_| !house.done) {
            ctx.hit("start: buyer has an order");
            house.keeps_all |= account.is_restored();
            house.cut = (!house.keeps_all).then_some(account.verified());
            self.account = Some(Box::new(account));
        }
        house.file.restart(house.sink.len());
        Ok(())
    }

    fn dial(&mut self, ctx: &mut Ctx) {
        if !self.dialling {
            self.dialling = true;
            let pause = (50u64 << self.attempt.min(6)) / 2;
            let pause = pause + ctx.below(pause.max(1));
            let (party, boot) = (self.number(), self.boot);
            ctx.after(pause, Event::Dial(party, boot));
        }
    }

    const fn number(&self) -> usize {
        match self.party {
            Party::Buyer(number) => number,
            Party::Seller => 0,
        }
    }

    /// Whether it wants a connection now.
    pub(crate) fn wants_line(&mut self, house: &House) -> bool {
        self.dialling = false;
        self.conn.is_none() && !house.done && !self.journal.failed
    }

    /// There was nobody to answer.
    pub(crate) fn no_line(&mut self, ctx: &mut Ctx) {
        self.attempt = self.attempt.saturating_add(1);
        self.dial(ctx);
    }

    /// A connection is there.
    pub(crate) fn connected(&mut self, ctx: &mut Ctx, house: &mut House, id: LinkId) {
        if std::mem::take(&mut self.must_declare)
            && let Some(account) = &mut self.account
        {
            if self.journal.declare_restored(&account.id()).is_err() {
                self.journal.failed = true;
                return;
            }
            ctx.hit("session: restored");
            account.declare_restored();
            // The sink may hold more that was paid for than the journal knows; nobody sends that again.
            (house.cut, house.keeps_all) = (None, true);
        }
        let config = BuyerConfig {
            key: house.key.clone(),
            seller: Some(super::keys::key(super::keys::SELLER).public()),
            suites: vec![house.wish.suite],
            pay_moves_money: self.payer.moves_money(),
        };
        let seed = ctx.shared.dice().seed();
        let machine = core::Buyer::new(config, seed, ctx.now().after_ms(house.skew_ms));
        self.conn = Some(Conn {
            id,
            machine,
            inbox: Vec::new(),
            outbox: Vec::new(),
            last_store: None,
            ended: None,
            flush_until: None,
            paying: None,
            recalling: Vec::new(),
            asking: None,
            opening: None,
            records_order: None,
            exited: false,
        });
        ctx.wake(self.party, ctx.now());
    }

    /// It has no connection.
    pub(crate) const fn is_idle(&self) -> bool {
        self.conn.is_none()
    }

    /// The order that it is at.
    pub(crate) fn order(&self) -> Option<&BuyerOrder> {
        self.conn.as_ref().and_then(|conn| conn.machine.order()).or(self.account.as_deref())
    }

    /// Does all that can be done.
    pub(crate) fn turn(&mut self, ctx: &mut Ctx, links: &mut Links, house: &mut House) {
        let Some(mut conn) = self.conn.take() else { return };
        let now = ctx.now().after_ms(house.skew_ms);
        for _ in 0..10_000 {
            if !self.work(ctx, (links, house), &mut conn) {
                break;
            }
        }
        if conn.ended.is_some() {
            let until = *conn.flush_until.get_or_insert(ctx.now().after_ms(FLUSH_MS));
            if conn.last_store.is_some() && ctx.now() < until && !self.journal.failed {
                ctx.wake(self.party, until);
                self.conn = Some(conn);
                return;
            }
            self.finish(ctx, (links, house), conn);
            return;
        }
        if let Some(timeout) = conn.machine.poll_timeout().filter(|timeout| *timeout > now) {
            ctx.wake(self.party, Timestamp::from_ms(timeout.as_ms().saturating_sub(house.skew_ms)));
        }
        self.conn = Some(conn);
    }

    fn work(&mut self, ctx: &mut Ctx, (links, house): (&mut Links, &mut House), conn: &mut Conn) -> bool {
        let now = ctx.now().after_ms(house.skew_ms);
        let mut moved = false;
        let mut read = Read::Nothing;
        if conn.ended.is_none() {
            read = links.get_mut(&conn.id).map_or(Read::Closed, |link| link.read(ctx, self.party, &mut conn.inbox));
            moved |= read == Read::Some;
            feed(conn, now, house);
            if conn.machine.poll_timeout().is_some_and(|at| at <= now) {
                conn.machine.handle_timeout(now);
                moved = true;
            }
        }
        let enough =
            house.wish.enough_at.is_some_and(|at| u64::try_from(house.sink.len()).is_ok_and(|held| held >= at));
        if enough && conn.machine.is_live() && !conn.exited {
            ctx.hit("end: exit");
            conn.exited = true;
            conn.machine.exit(now);
            moved = true;
        }
        moved |= self.outputs(ctx, house, conn);
        moved |= conn.machine.poll_transmit(now, &mut conn.outbox);
        if let Some(link) = links.get_mut(&conn.id) {
            moved |= link.send(ctx, self.party, &mut conn.outbox);
        }
        if read == Read::Closed && conn.ended.is_none() {
            conn.machine.hang_up();
            self.outputs(ctx, house, conn);
            conn.ended.get_or_insert(core::Ended::Told(None));
            moved = true;
        }
        moved
    }

    fn outputs(&mut self, ctx: &mut Ctx, house: &mut House, conn: &mut Conn) -> bool {
        let now = ctx.now().after_ms(house.skew_ms);
        let mut moved = false;
        while let Some(output) = conn.machine.poll_output(now) {
            moved = true;
            match output {
                Output::Menu(menu) if house.wish.asks && self.account.is_none() => {
                    let quote = AskQuote { option: 1, quantity: 10 };
                    if conn.machine.ask(Ask { product: 1, quote: Some(quote) }) {
                        conn.asking = Some(menu);
                    }
                }
                Output::Menu(menu) => self.choose(ctx, house, (conn, menu)),
                Output::Quote(_) => {
                    ctx.hit("session: quoted");
                    if let Some(menu) = conn.asking.take() {
                        self.choose(ctx, house, (conn, menu));
                    }
                }
                Output::Sample(_) => {}
                Output::Store { id, entries, delivered_through } => {
                    let Some(order) = conn.machine.order().map(BuyerOrder::id) else { continue };
                    conn.last_store = Some(id);
                    ctx.say(|| {
                        format!("buyer {}: keeps {} through {delivered_through}", house.number, kinds(&entries))
                    });
                    self.signed(&order, &entries);
                    house.forgiven.extend(forgiven(&entries));
                    let barrier: Arc<dyn Barrier> = house.file.clone();
                    if let Some(ack) = self.journal.write(ctx, &order, (conn.id, id, Some(barrier)), &entries) {
                        heard(ctx, now, (conn, &ack));
                    }
                }
                Output::RecordOrder(statement) => match self.records.clone() {
                    Some(records) => {
                        conn.records_order = Some(statement.id);
                        let ticket = self.ticket(Some(conn.id), statement.id);
                        ask(ctx, ticket, Call::Record(records, statement), 0);
                    }
                    None => conn.machine.recorded(statement.id, None),
                },
                Output::Record(statement) => {
                    if let Some(records) = self.records.clone() {
                        let ticket = self.ticket(Some(conn.id), statement.id);
                        ask(ctx, ticket, Call::Record(records, statement), 0);
                    }
                }
                Output::Pay { invoice, before } => self.pay(ctx, conn, (invoice, before)),
                Output::Recall(invoices) => {
                    ctx.hit("session: recalled");
                    conn.recalling = invoices;
                    conn.recalling.reverse();
                    self.recall(ctx, now, conn);
                }
                Output::Event(event) => note(ctx, &event),
                Output::Closed(ended) => conn.ended = Some(ended),
            }
        }
        moved
    }

    /// Notes the payments among rows that are about to be kept.
    fn signed(&mut self, order: &StatementId, entries: &[Entry]) {
        for entry in entries {
            if let Entry::Statement(statement) = entry
                && statement.kind == Kind::Payment
                && let Ok(payment) = Signed::<sdpp_proto::statement::Payment>::parse(&statement.bytes)
            {
                self.deeds.push(Deed::Signed { order: *order, total: payment.total });
            }
        }
    }

    const fn ticket(&self, link: Option<LinkId>, about: StatementId) -> Ticket {
        Ticket { party: self.party, boot: self.boot, link, about }
    }

    /// The menu is here: goes on with the order, or opens a channel for a new one.
    fn choose(&mut self, ctx: &mut Ctx, house: &mut House, (conn, menu): (&mut Conn, Box<Signed<Menu>>)) {
        let now = ctx.now().after_ms(house.skew_ms);
        if let Some(account) = self.account.take() {
            if let Err(account) = conn.machine.resume(now, account) {
                self.account = Some(account);
            }
            return;
        }
        let Some(option) = menu.options.first().cloned() else { return };
        let reference = Bytes32(ctx.shared.dice().seed());
        let (limit, signer, seller) = (house.wish.limit, house.key.public(), menu.seller);
        let request = OpenRequest { reference, option, limit, signer, seller };
        house.openings.push(request.clone());
        let request = Box::new(request);
        conn.opening = Some((request.clone(), menu));
        let ticket = self.ticket(Some(conn.id), StatementId([0; 32]));
        ask(ctx, ticket, Call::Open(self.payer.clone(), request), 0);
    }

    fn opened(&mut self, ctx: &mut Ctx, house: &mut House, (conn, opened): (&mut Conn, Result<Funding, RailError>)) {
        let now = ctx.now().after_ms(house.skew_ms);
        let Some((request, menu)) = conn.opening.take() else { return };
        match opened {
            Ok(funding) => {
                let wish = &house.wish;
                let Some(product) = menu.products.first() else { return };
                let draft = OrderDraft {
                    product: product.id,
                    option: request.option.id,
                    quantity: wish.quantity,
                    windows: wish.windows.min(product.windows_max),
                    exposure_max: wish.exposure_max,
                    limit: wish.limit,
                    channel: funding.channel,
                    record: wish.record,
                    sign_key: house.key.clone(),
                    nonce: request.reference,
                    until: now.after_ms(60_000),
                };
                if ctx.shared.chance(ctx.shared.weather.rude) {
                    ctx.hit("rude: orders at the wrong time");
                    let nothing = OrderDraft { quantity: Some(0), ..draft.clone() };
                    assert!(conn.machine.place(now, nothing).is_err(), "an order of nothing is refused");
                }
                let placed = conn.machine.place(now, draft.clone());
                if placed.is_ok() {
                    // A sink of its own for each order.
                    house.sink.clear();
                    house.file.restart(0);
                    house.forgiven.clear();
                    (house.cut, house.keeps_all) = (None, false);
                }
                if placed.is_ok() && ctx.shared.chance(ctx.shared.weather.rude) {
                    ctx.hit("rude: orders at the wrong time");
                    assert!(conn.machine.place(now, draft).is_err(), "one order a connection");
                }
            }
            Err(RailError::Unavailable | RailError::Unknown) => {
                conn.opening = Some((request.clone(), menu));
                let ticket = self.ticket(Some(conn.id), StatementId([0; 32]));
                ask(ctx, ticket, Call::Open(self.payer.clone(), request), RAIL_RETRY_MS);
            }
            Err(RailError::Declined(_) | RailError::Dishonest(_)) => conn.machine.stop(Reason::Refused),
        }
    }

    fn pay(&mut self, ctx: &mut Ctx, conn: &mut Conn, (invoice, before): (Box<Signed<Invoice>>, Amount)) {
        let Some(account) = conn.machine.order() else { return };
        let terms = account.terms();
        let bill = Box::new(Bill {
            order: account.id(),
            invoice: invoice.id(),
            payee: terms.option.address.clone(),
            asset: terms.option.asset.clone(),
            total: invoice.due,
            before,
            messages: Some(invoice.end()),
            channel: terms.order.channel,
        });
        let total = invoice.due;
        self.deeds.push(Deed::Pays { invoice, total });
        conn.paying = Some(bill.clone());
        let ticket = self.ticket(Some(conn.id), bill.invoice);
        ask(ctx, ticket, Call::Pay(self.payer.clone(), bill), 0);
    }

    fn paid(&mut self, ctx: &mut Ctx, house: &House, (conn, paid): (&mut Conn, Result<Proof, RailError>)) {
        let Some(bill) = conn.paying.take() else { return };
        let invoice = bill.invoice;
        let ticket = self.ticket(Some(conn.id), invoice);
        match paid {
            Ok(proof) => {
                let proof = match proof {
                    Proof::Voucher => None,
                    Proof::Bytes(bytes) => Some(bytes),
                };
                conn.machine.paid(&invoice, proof.clone());
                if ctx.shared.chance(ctx.shared.weather.rude) {
                    ctx.hit("rude: repeats what was paid");
                    conn.machine.paid(&invoice, proof.clone());
                    conn.machine.paid(&bill.order, proof);
                }
            }
            Err(RailError::Unavailable) => {
                conn.paying = Some(bill.clone());
                ask(ctx, ticket, Call::Pay(self.payer.clone(), bill), RAIL_RETRY_MS);
            }
            Err(RailError::Unknown) => {
                conn.paying = Some(bill);
                ask(ctx, ticket, Call::Status(self.payer.clone(), invoice), RAIL_RETRY_MS);
            }
            Err(error @ (RailError::Declined(_) | RailError::Dishonest(_))) => {
                ctx.say(|| format!("buyer {}: its rail does not pay: {error}", house.number));
                conn.machine.stop(super::seller::reason_of(&error));
            }
        }
    }

    /// What became of an invoice in doubt, or of one that is recalled.
    fn status(
        &mut self,
        ctx: &mut Ctx,
        house: &House,
        (conn, invoice, status): (&mut Conn, StatementId, Result<PaymentStatus, RailError>),
    ) {
        let now = ctx.now().after_ms(house.skew_ms);
        if conn.recalling.last() == Some(&invoice) {
            match status {
                Ok(PaymentStatus::Paid(_)) => {
                    conn.recalling.clear();
                    conn.machine.recalled(now, Some(invoice));
                }
                Ok(PaymentStatus::NotPaid) => {
                    conn.recalling.pop();
                    self.recall(ctx, now, conn);
                }
                Ok(PaymentStatus::Pending) | Err(_) => self.recall(ctx, now, conn),
            }
            return;
        }
        let Some(bill) = conn.paying.clone() else { return };
        let ticket = self.ticket(Some(conn.id), invoice);
        match status {
            Ok(PaymentStatus::Paid(proof)) => self.paid(ctx, house, (conn, Ok(proof))),
            Ok(PaymentStatus::NotPaid) => ask(ctx, ticket, Call::Pay(self.payer.clone(), bill), 0),
            Ok(PaymentStatus::Pending) | Err(_) => {
                ask(ctx, ticket, Call::Status(self.payer.clone(), invoice), RAIL_RETRY_MS);
            }
        }
    }

    fn recall(&self, ctx: &mut Ctx, now: Timestamp, conn: &mut Conn) {
        match conn.recalling.last() {
            Some(invoice) => {
                let ticket = self.ticket(Some(conn.id), *invoice);
                ask(ctx, ticket, Call::Status(self.payer.clone(), *invoice), RAIL_RETRY_MS);
            }
            None => conn.machine.recalled(now, None),
        }
    }

    /// Acks of the journal.
    pub(crate) fn acked(&mut self, ctx: &mut Ctx, house: &House, acks: Vec<Ack>) {
        let now = ctx.now().after_ms(house.skew_ms);
        for ack in acks {
            if let Some(conn) = self.conn.as_mut().filter(|conn| conn.id == ack.link) {
                heard(ctx, now, (conn, &ack));
            }
        }
        ctx.wake(self.party, ctx.now());
    }

    /// Answers of the rail and of records.
    pub(crate) fn answered(&mut self, ctx: &mut Ctx, house: &mut House, (ticket, answer): (Ticket, Answer)) {
        if let Answer::Closed(closed) = &answer {
            if closed.is_ok() {
                ctx.hit("money: channel closed by the buyer");
            }
            return;
        }
        if let (None, Answer::Opened(Ok(funding))) = (ticket.link, &answer)
            && funding.channel.is_some()
        {
            ask(ctx, ticket, Call::Close(self.payer.clone(), funding.clone()), 0);
        }
        let Some(mut conn) = self.conn.take() else { return };
        if ticket.link == Some(conn.id) {
            match answer {
                Answer::Opened(opened) => self.opened(ctx, house, (&mut conn, opened)),
                Answer::Paid(paid) => self.paid(ctx, house, (&mut conn, paid)),
                Answer::Status(status) => self.status(ctx, house, (&mut conn, ticket.about, status)),
                Answer::Recorded(Ok(record)) => {
                    ctx.hit("session: recorded");
                    conn.records_order.take_if(|order| *order == ticket.about);
                    conn.machine.recorded(ticket.about, Some(record));
                }
                Answer::Recorded(Err(_)) => {
                    // An order that cannot be recorded is not sent.
                    if conn.records_order.take_if(|order| *order == ticket.about).is_some() {
                        conn.machine.stop(Reason::RailDown);
                    }
                }
                Answer::Closed(_)
                | Answer::Admitted(_)
                | Answer::Settled(_)
                | Answer::Redeemed(..)
                | Answer::Outstanding(_) => {}
            }
        }
        self.conn = Some(conn);
        ctx.wake(self.party, ctx.now());
    }

    /// A connection is over: goes on with another one, or is done.
    fn finish(&mut self, ctx: &mut Ctx, (links, house): (&mut Links, &mut House), conn: Conn) {
        let Conn { id, machine, ended, .. } = conn;
        if let Some(link) = links.get_mut(&id) {
            link.shut(ctx, self.party);
        }
        let ended = ended.unwrap_or(core::Ended::Told(None));
        ctx.say(|| format!("buyer {}: {id:?} ends: {ended:?}", house.number));
        let before = self.account.take();
        let account = machine.into_order().or(before);
        self.deeds.push(Deed::Ended { ended: ended.clone() });
        house.ended = Some(ended.clone());
        self.attempt = self.attempt.saturating_add(1);
        let next = if self.attempt > ATTEMPTS_MAX { Next::GivenUp } else { next(&ended, account.as_deref()) };
        match next {
            Next::Done => {
                if ended == core::Ended::Withheld {
                    ctx.hit("end: countersignature withheld");
                }
                house.done = true;
                self.account = account;
            }
            Next::GivenUp => {
                house.done = true;
                self.give_up(ctx, house);
                self.account = account;
            }
            Next::Anew => {
                ctx.hit("session: void order");
                self.give_up(ctx, house);
                self.voided += 1;
                house.sink.clear();
                house.file.restart(0);
                if self.voided > VOIDED_MAX { house.done = true } else { self.dial(ctx) }
            }
            Next::Restored => {
                self.must_declare = true;
                self.account = account;
                self.dial(ctx);
            }
            Next::Again => {
                self.account = account;
                self.dial(ctx);
            }
        }
    }

    fn give_up(&self, ctx: &mut Ctx, house: &House) {
        if let Some(request) = house.openings.last() {
            self.close(ctx, request);
        }
    }

    /// Opening again gives the same channel; then it is closed. On a chain it does not, once the close was asked for, and
    /// somebody has to come again when the grace is over.
    fn close(&self, ctx: &mut Ctx, request: &OpenRequest) {
        let ticket = self.ticket(None, StatementId([0; 32]));
        let call = if request.option.rail == "evm" { Call::Opened } else { Call::Open };
        ask(ctx, ticket, call(self.payer.clone(), Box::new(request.clone())), 0);
    }

    /// Asks for the close of every channel there ever was.
    pub(crate) fn close_all(&self, ctx: &mut Ctx, house: &House) {
        for request in &house.openings {
            self.close(ctx, request);
        }
    }

    /// What an application should not do, or does at a bad moment.
    pub(crate) fn be_rude(&mut self, ctx: &mut Ctx, house: &mut House) {
        let now = ctx.now().after_ms(house.skew_ms);
        let how = ctx.below(5);
        let Some(mut conn) = self.conn.take() else { return };
        match how {
            0 => {
                ctx.hit("rude: exit");
                conn.exited = conn.machine.is_live();
                if conn.exited {
                    conn.machine.exit(now);
                    conn.machine.exit(now);
                }
            }
            1 => {
                ctx.hit("rude: hangs up");
                conn.machine.hang_up();
            }
            2 => {
                ctx.hit("rude: stop");
                conn.machine.stop(Reason::ShuttingDown);
            }
            3 => {
                // It forgets its connection, and the seller does not know.
                ctx.hit("rude: new connection beside the old");
                conn.machine.hang_up();
                self.outputs(ctx, house, &mut conn);
                self.account = conn.machine.into_order().or(self.account.take());
                self.deeds.push(Deed::Ended { ended: core::Ended::Told(None) });
                self.dial(ctx);
                return;
            }
            _ => {
                ctx.hit("rude: orders at the wrong time");
                if conn.machine.is_live() {
                    let ask = Ask { product: 1, quote: None };
                    assert!(!conn.machine.ask(ask), "nothing is asked in a live session");
                }
            }
        }
        self.conn = Some(conn);
        ctx.wake(self.party, ctx.now());
    }
}

/// What acceptances among these rows forgive: the first and the one behind the last.
pub(crate) fn forgiven(entries: &[Entry]) -> Vec<(u64, u64)> {
    let forgiven = |entry: &Entry| match entry {
        Entry::Statement(statement) if statement.kind == Kind::Acceptance => {
            let acceptance = Signed::<Acceptance>::parse(&statement.bytes).ok()?;
            acceptance.forgiven.map(|forgiven| (forgiven.first, forgiven.first + forgiven.count))
        }
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    };
    entries.iter().filter_map(forgiven).collect()
}

/// What rows are about.
pub(crate) fn kinds(entries: &[Entry]) -> String {
    let kind = |entry: &Entry| match entry {
        Entry::Statement(statement) => format!("{:?}", statement.kind),
        Entry::Salt(_) => "salt".to_owned(),
        Entry::Intent(_) => "intent".to_owned(),
        Entry::Record { .. } => "record".to_owned(),
    };
    entries.iter().map(kind).collect::<Vec<_>>().join("+")
}

fn note(ctx: &Ctx, event: &core::Event) {
    match event {
        core::Event::Defaulted(_) => ctx.hit("end: default"),
        core::Event::Live { .. }
        | core::Event::Invoiced { .. }
        | core::Event::Paid { .. }
        | core::Event::Recorded(_) => {}
    }
}

fn feed(conn: &mut Conn, now: Timestamp, house: &mut House) {
    loop {
        match FrameHeader::peek(&conn.inbox) {
            Err(offence) => {
                conn.machine.offend(offence);
                conn.inbox.clear();
                return;
            }
            Ok(Some(header)) if conn.inbox.len() >= header.frame_len() => {
                let mut frame: Vec<u8> = conn.inbox.drain(..header.frame_len()).collect();
                if let Ok(delivery) = conn.machine.handle_frame(now, &mut frame) {
                    for (seq, message) in delivery.messages() {
                        if let Some(cut) = house.cut.take() {
                            house.sink.retain(|(seq, _)| *seq < cut);
                            house.file.restart(house.sink.len());
                        }
                        house.sink.push((seq, message.bytes.to_vec()));
                        house.file.wrote(house.sink.len());
                        house.times.insert(seq, message.time_us);
                    }
                }
            }
            Ok(_) => return,
        }
    }
}

enum Next {
    Done,
    GivenUp,
    /// The seller never took the order: another one.
    Anew,
    /// This journal is older than what was signed on it.
    Restored,
    Again,
}

/// What a driver does after a connection has ended so.
fn next(ended: &core::Ended, account: Option<&BuyerOrder>) -> Next {
    let accepted = account.is_some_and(|account| account.salt().is_some());
    match ended {
        core::Ended::Settled | core::Ended::Withheld => Next::Done,
        core::Ended::Told(None) => Next::Again,
        core::Ended::Told(Some(Fault::Offence(Offence::WrongMenu | Offence::OrderExpired))) if !accepted => Next::Anew,
        core::Ended::Offence(offence) | core::Ended::Told(Some(Fault::Offence(offence)))
            if offence.is_lateness() || (offence.needs_no_key() && accepted) =>
        {
            Next::Again
        }
        // Its journal is older than what it has signed: somebody has to say so.
        core::Ended::Stopped(Reason::Frozen) | core::Ended::Told(Some(Fault::Offence(Offence::StaleAttach))) => {
            Next::Restored
        }
        core::Ended::Offence(_) | core::Ended::Told(Some(Fault::Offence(_))) => Next::GivenUp,
        core::Ended::Stopped(Reason::ShuttingDown | Reason::RailDown) => Next::Again,
        core::Ended::Stopped(_) => Next::GivenUp,
        core::Ended::Told(Some(Fault::Reason(reason))) => match reason {
            Reason::Busy
            | Reason::Frozen
            | Reason::ShuttingDown
            | Reason::Superseded
            | Reason::RailDown
            | Reason::Paused => Next::Again,
            Reason::AlreadyEnded => Next::Done,
            Reason::Refused | Reason::LedgerDishonest => Next::GivenUp,
        },
    }
}

/// An answer of the journal.
fn heard(ctx: &Ctx, now: Timestamp, (conn, ack): (&mut Conn, &Ack)) {
    if ack.durable {
        conn.last_store.take_if(|last| ack.id >= *last);
        conn.machine.stored(now, ack.id);
        if ctx.shared.chance(ctx.shared.weather.rude) {
            ctx.hit("rude: repeats what was stored");
            conn.machine.stored(now, ack.id);
        }
    } else {
        ctx.hit("session: frozen");
        conn.last_store = None;
        conn.machine.stop(Reason::Frozen);
    }
}

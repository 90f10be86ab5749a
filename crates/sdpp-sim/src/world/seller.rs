//! The seller's process: the real machine of each connection, and around it what a driver does.

use std::collections::BTreeMap;
use std::sync::Arc;

use sdpp_proto::codec::StatementId;
use sdpp_proto::frame::FrameHeader;
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::message::Batch;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::seller::{self as core, Admission, Admit, Offered, Output, SellerConfig, SellerOrder};
use sdpp_proto::statement::{Invoice, Kind, Menu, Signed, Terms};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{Backing, Bill, MemoryDisk, Outcome, Outstanding, Payee, RailError, Records};

use super::call::{Answer, Call, Ticket, ask};
use super::ctx::{Ctx, Event, LinkId, Party};
use super::journal::{Ack, Journal};
use super::link::{Links, Read};
use super::pools::Pools;

/// Bytes that are sealed ahead of the link.
const WRITE_AHEAD: usize = 16 * 1024;
/// Pause before a rail is asked again.
const RAIL_RETRY_MS: u64 = 20;
/// Time that rail and journal have for what arrived before a connection ended.
const DRAIN_MS: u64 = 3_000;
/// Time that an older connection has to let go of its order.
const TAKEOVER_MS: u64 = 5_000;
/// How often vouchers are looked after.
const TEND_MS: u64 = 30_000;

/// What a seller is, whatever process it lives in.
pub(crate) struct House {
    pub(crate) key: SigningKey,
    pub(crate) disk: MemoryDisk,
    pub(crate) book: MemoryDisk,
    pub(crate) replica: Option<MemoryDisk>,
    /// Where the source of all orders stands: it goes on whatever dies.
    pub(crate) source: u64,
    /// Length of what the source has for each order.
    pub(crate) source_end: u64,
    /// Between two helpings, and when the next one is.
    pub(crate) pace_ms: u64,
    pub(crate) next_at: Timestamp,
}

enum Slot {
    Live(LinkId, PublicKey, u32),
    Parked(Box<SellerOrder>),
    Over,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Phase {
    Open,
    /// The connection is gone: what has arrived is finished, until then.
    Draining(Timestamp),
    /// The machine has ended: its rows become durable.
    Flushing,
}

struct Conn {
    machine: core::Seller,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    phase: Phase,
    order: Option<StatementId>,
    last_store: Option<StoreId>,
    settling: Option<(StatementId, Box<Bill>, Box<Signed<sdpp_proto::statement::Payment>>)>,
    admitting: Option<Deciding>,
    batch: Batch,
    ended: Option<core::Ended>,
    /// The last offer found no room; a payment makes some.
    stalled: bool,
    /// Nothing more is sold on this connection.
    sold_out: bool,
    said_goodbye: bool,
}

struct Deciding {
    admit: Box<Admit>,
    account: Option<Box<SellerOrder>>,
    /// It waits for an older connection until then.
    until: Timestamp,
    asked: bool,
}

/// What the world wants to know of what a seller did.
#[derive(Debug)]
pub(crate) enum Deed {
    /// A payment was credited.
    Credited { order: StatementId, invoice: StatementId, total: Amount },
    /// An invoice was signed.
    Invoiced(Box<Signed<Invoice>>),
    /// Messages were forgiven, up to this one.
    Forgiven { order: StatementId, end: u64 },
    /// A connection ended.
    Ended { link: LinkId, ended: core::Ended },
}

/// A running seller.
pub(crate) struct Seller {
    pub(crate) boot: u32,
    pub(crate) config: Arc<SellerConfig>,
    pub(crate) journal: Journal,
    payee: Arc<dyn Payee>,
    records: Option<Arc<dyn Records>>,
    orders: BTreeMap<StatementId, Slot>,
    conns: BTreeMap<LinkId, Conn>,
    pub(crate) pools: Pools,
    exposure_max: Amount,
    skew_ms: u64,
    pub(crate) deeds: Vec<Deed>,
}

/// What a seller offers each buyer, and all of them.
#[derive(Clone, Copy)]
pub(crate) struct Caps {
    pub(crate) exposure_max: Amount,
    pub(crate) strangers: Amount,
    pub(crate) proven: Amount,
}

impl Seller {
    /// Starts from what is durable.
    pub(crate) fn start(
        ctx: &mut Ctx,
        (config, house): (Arc<SellerConfig>, &House),
        (payee, records): (Arc<dyn Payee>, Option<Arc<dyn Records>>),
        (boot, caps, skew_ms): (u32, Caps, u64),
    ) -> Result<Self, String> {
        let journal = Journal::open(Party::Seller, &house.disk, boot);
        let mut seller = Self {
            boot,
            config,
            journal,
            payee,
            records,
            orders: BTreeMap::new(),
            conns: BTreeMap::new(),
            pools: Pools::new(caps.strangers, caps.proven),
            exposure_max: caps.exposure_max,
            skew_ms,
            deeds: Vec::new(),
        };
        seller.load(ctx)?;
        ctx.after(1, Event::Tend(boot));
        Ok(seller)
    }

    fn now(&self, ctx: &Ctx) -> Timestamp {
        ctx.now().after_ms(self.skew_ms)
    }

    fn load(&mut self, ctx: &Ctx) -> Result<(), String> {
        let now = self.now(ctx);
        let mut accounts = Vec::new();
        for entries in self.journal.orders() {
            let menu = entries.iter().find_map(|entry| match entry {
                Entry::Statement(statement) if statement.kind == Kind::Menu => {
                    Signed::<Menu>::parse(&statement.bytes).ok()
                }
                Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
            });
            let Some(menu) = menu else { continue };
            let restored = SellerOrder::restore(&self.config.key, &menu, &entries, now);
            let mut account = restored.map_err(|error| format!("the seller's journal cannot be restored: {error}"))?;
            if self.journal.is_restored(&account.id()) {
                account.declare_restored();
            }
            ctx.hit("start: seller has orders");
            accounts.push(account);
        }
        let proven = accounts.iter().filter(|account| account.is_proven()).map(SellerOrder::buyer);
        self.pools.known.extend(proven);
        for account in accounts {
            self.shelve(Box::new(account));
        }
        Ok(())
    }

    /// The operator says that the journal is an old one.
    pub(crate) fn declare_restored(&mut self, ctx: &Ctx) {
        let orders: Vec<StatementId> = self.orders.keys().copied().collect();
        for order in orders {
            if self.journal.declare_restored(&order).is_err() {
                self.journal.failed = true;
                return;
            }
            if let Some(Slot::Parked(account)) = self.orders.get_mut(&order) {
                ctx.hit("session: restored");
                account.declare_restored();
            }
        }
    }

    /// The operator writes off what is owed by orders that nobody is at: their pool has room again.
    pub(crate) fn write_off(&mut self) {
        for (id, slot) in &self.orders {
            if let Slot::Parked(account) = slot {
                self.pools.park(id, &account.buyer(), Amount::ZERO);
            }
        }
    }

    fn shelve(&mut self, account: Box<SellerOrder>) {
        let (id, buyer) = (account.id(), account.buyer());
        let debt = account.due().saturating_sub(account.paid());
        if account.is_over() {
            self.pools.park(&id, &buyer, Amount::ZERO);
            self.orders.insert(id, Slot::Over);
        } else {
            self.pools.park(&id, &buyer, debt);
            self.orders.insert(id, Slot::Parked(account));
        }
    }

    /// A buyer has dialled.
    pub(crate) fn accept(&mut self, ctx: &mut Ctx, link: LinkId) {
        let seed = ctx.shared.dice().seed();
        let machine = core::Seller::new(self.config.clone(), seed, self.now(ctx));
        let conn = Conn {
            machine,
            inbox: Vec::new(),
            outbox: Vec::new(),
            phase: Phase::Open,
            order: None,
            last_store: None,
            settling: None,
            admitting: None,
            // Some keep what they sell where it is, as sellers of much do, and some copy it.
            batch: if seed[0].is_multiple_of(2) { Batch::new().sharing(0) } else { Batch::new() },
            ended: None,
            stalled: false,
            sold_out: false,
            said_goodbye: false,
        };
        self.conns.insert(link, conn);
        ctx.wake(Party::Seller, ctx.now());
    }

    /// Accounts of all orders that are known, with what each connection may let them owe.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &SellerOrder> {
        let parked = self.orders.values().filter_map(|slot| match slot {
            Slot::Parked(account) => Some(account.as_ref()),
            Slot::Live(..) | Slot::Over => None,
        });
        let live = self.conns.values().filter_map(|conn| {
            conn.machine.order().or_else(|| conn.admitting.as_ref().and_then(|deciding| deciding.account.as_deref()))
        });
        parked.chain(live)
    }

    /// Nobody is connected.
    pub(crate) fn is_idle(&self) -> bool {
        self.conns.is_empty()
    }

    /// Whether an order is over, with both signatures.
    pub(crate) fn is_over(&self, order: &StatementId) -> bool {
        matches!(self.orders.get(order), Some(Slot::Over))
    }

    /// Does all that can be done.
    pub(crate) fn turn(&mut self, ctx: &mut Ctx, links: &mut Links, house: &mut House) {
        let ids: Vec<LinkId> = self.conns.keys().copied().collect();
        for id in ids {
            let Some(mut conn) = self.conns.remove(&id) else { continue };
            for _ in 0..10_000 {
                if !self.work(ctx, (links, house), (id, &mut conn)) {
                    break;
                }
            }
            if self.is_done(ctx, links, (id, &mut conn)) {
                continue;
            }
            // Whoever is gone is not late.
            if let Some(timeout) = conn.machine.poll_timeout().filter(|_| conn.phase == Phase::Open) {
                ctx.wake(Party::Seller, Timestamp::from_ms(timeout.as_ms().saturating_sub(self.skew_ms)));
            }
            if let Phase::Draining(until) = conn.phase {
                ctx.wake(Party::Seller, until);
            }
            self.conns.insert(id, conn);
        }
        self.wait_for_older(ctx);
    }

    fn work(
        &mut self,
        ctx: &mut Ctx,
        (links, house): (&mut Links, &mut House),
        (id, conn): (LinkId, &mut Conn),
    ) -> bool {
        let now = self.now(ctx);
        let mut moved = false;
        if conn.phase == Phase::Open {
            let read = links.get_mut(&id).map_or(Read::Closed, |link| link.read(ctx, Party::Seller, &mut conn.inbox));
            moved |= read == Read::Some;
            feed(&mut conn.machine, now, &mut conn.inbox);
            if conn.machine.poll_timeout().is_some_and(|at| at <= now) {
                conn.machine.handle_timeout(now);
                moved = true;
            }
            moved |= self.outputs(ctx, (id, conn));
            moved |= sell(ctx, now, house, conn);
            moved |= self.outputs(ctx, (id, conn));
            if read == Read::Closed && conn.ended.is_none() {
                conn.phase = Phase::Draining(ctx.now().after_ms(DRAIN_MS));
            }
        }
        moved |= self.outputs(ctx, (id, conn));
        if let Phase::Draining(until) = conn.phase
            && conn.ended.is_none()
            && ((conn.settling.is_none() && conn.last_store.is_none()) || ctx.now() >= until || self.journal.failed)
        {
            conn.machine.hang_up(now);
            moved |= self.outputs(ctx, (id, conn));
        }
        if conn.ended.is_some() && conn.phase != Phase::Flushing {
            conn.phase = Phase::Flushing;
            moved = true;
        }
        if conn.outbox.len() < WRITE_AHEAD {
            moved |= conn.machine.poll_transmit(now, &mut conn.outbox, WRITE_AHEAD);
        }
        if let Some(link) = links.get_mut(&id) {
            moved |= link.send(ctx, Party::Seller, &mut conn.outbox);
        }
        moved
    }

    /// Lets go of a connection that has ended and whose rows are durable.
    fn is_done(&mut self, ctx: &mut Ctx, links: &mut Links, (id, conn): (LinkId, &mut Conn)) -> bool {
        if conn.phase != Phase::Flushing {
            return false;
        }
        if !conn.said_goodbye
            && conn.outbox.is_empty()
            && let Some(link) = links.get_mut(&id)
        {
            conn.said_goodbye = true;
            link.shut(ctx, Party::Seller);
        }
        if conn.last_store.is_some() && !self.journal.failed {
            return false;
        }
        let seed = [0; 32];
        let empty = core::Seller::new(self.config.clone(), seed, self.now(ctx));
        let account = std::mem::replace(&mut conn.machine, empty).into_order(self.now(ctx));
        let account = account.or_else(|| conn.admitting.take().and_then(|deciding| deciding.account));
        let ended = conn.ended.take().unwrap_or(core::Ended::Told(None));
        ctx.say(|| format!("seller: {id:?} ends: {ended:?}"));
        self.deeds.push(Deed::Ended { link: id, ended });
        if let Some(order) = conn.order
            && matches!(self.orders.get(&order), Some(Slot::Live(owner, ..)) if *owner == id)
        {
            self.orders.remove(&order);
            match account {
                Some(account) => {
                    // What is not durable is not over: the channel stays for who comes back.
                    let (has_paid, finished) = (account.has_paid(), account.is_settled() && !self.journal.failed);
                    self.shelve(account);
                    if has_paid || finished {
                        self.redeem(ctx, &order, finished);
                    }
                }
                None => self.pools.park(&order, &self.config.key.public(), Amount::ZERO),
            }
        }
        if let Some(link) = links.get_mut(&id)
            && !conn.said_goodbye
        {
            link.shut(ctx, Party::Seller);
        }
        true
    }

    fn outputs(&mut self, ctx: &mut Ctx, (id, conn): (LinkId, &mut Conn)) -> bool {
        let now = self.now(ctx);
        let mut moved = false;
        while let Some(output) = conn.machine.poll_output(now) {
            moved = true;
            match output {
                Output::Admit(admit) => {
                    conn.order = Some(admit.order_id);
                    let until = ctx.now().after_ms(TAKEOVER_MS);
                    conn.admitting = Some(Deciding { admit, account: None, until, asked: false });
                    self.decide(ctx, (id, conn));
                }
                Output::Store { id: store, entries } => self.store(ctx, (id, conn), (store, entries)),
                Output::Settle(settle) => self.settle(ctx, (id, conn), *settle),
                Output::Record(statement) => {
                    if let Some(records) = self.records.clone() {
                        let ticket = self.ticket(Some(id), statement.id);
                        ask(ctx, ticket, Call::Record(records, statement), 0);
                    }
                }
                Output::Event(event) => self.event(ctx, conn, &event),
                Output::Closed(ended) => conn.ended = Some(ended),
            }
        }
        moved
    }

    fn store(&mut self, ctx: &mut Ctx, (id, conn): (LinkId, &mut Conn), (store, mut entries): (StoreId, Vec<Entry>)) {
        let Some(order) = conn.order else { return };
        conn.last_store = Some(store);
        for (_, end) in super::buyer::forgiven(&entries) {
            ctx.hit("session: forgiven");
            self.deeds.push(Deed::Forgiven { order, end });
        }
        self.deeds.extend(entries.iter().filter_map(invoiced));
        if entries.iter().any(|entry| matches!(entry, Entry::Statement(one) if one.kind == Kind::Order)) {
            entries.insert(0, self.config.menu.erase().into());
        }
        if let Some(ack) = self.journal.write(ctx, &order, (id, store, None), &entries) {
            heard(ctx, self.now(ctx), (conn, &ack));
        }
    }

    fn event(&mut self, ctx: &Ctx, conn: &mut Conn, event: &core::Event) {
        match event {
            core::Event::Live { .. } => ctx.hit("session: live"),
            core::Event::Paid { invoice, total, .. } => {
                conn.stalled = false;
                if let Some(account) = conn.machine.order() {
                    if account.is_proven() {
                        self.pools.known.insert(account.buyer());
                    }
                    let order = account.id();
                    self.deeds.push(Deed::Credited { order, invoice: *invoice, total: *total });
                }
            }
            core::Event::Invoiced { windows, .. } => {
                if *windows > 1 {
                    ctx.hit("payment: coalesced");
                }
            }
            core::Event::Acknowledged(_) => {}
        }
    }

    const fn ticket(&self, link: Option<LinkId>, about: StatementId) -> Ticket {
        Ticket { party: Party::Seller, boot: self.boot, link, about }
    }

    fn settle(&mut self, ctx: &mut Ctx, (id, conn): (LinkId, &mut Conn), settle: core::Settle) {
        let Some(account) = conn.machine.order() else { return };
        let terms = account.terms();
        let bill = Box::new(Bill {
            order: settle.payment.order_id,
            invoice: settle.payment.invoice_id,
            payee: terms.option.address.clone(),
            asset: terms.option.asset.clone(),
            total: settle.payment.total,
            before: settle.before,
            messages: settle.messages,
            channel: terms.order.channel,
        });
        let payment = settle.payment.id();
        let signed = Box::new(settle.payment);
        conn.settling = Some((payment, bill.clone(), signed.clone()));
        let ticket = self.ticket(Some(id), payment);
        ask(ctx, ticket, Call::Settle(self.payee.clone(), bill, signed), 0);
    }

    fn redeem(&self, ctx: &mut Ctx, order: &StatementId, finished: bool) {
        let ticket = self.ticket(None, *order);
        ask(ctx, ticket, Call::Redeem(self.payee.clone(), finished), 0);
    }

    /// Takes the order for a connection, and asks the rail what stands behind it.
    fn decide(&mut self, ctx: &mut Ctx, (id, conn): (LinkId, &mut Conn)) {
        let now = self.now(ctx);
        let Some(deciding) = conn.admitting.as_mut().filter(|deciding| !deciding.asked) else { return };
        let (order_id, buyer) = (deciding.admit.order_id, deciding.admit.attach.issuer());
        let is_order = deciding.admit.order.is_some() && deciding.admit.unfit.is_none();
        let index = deciding.admit.attach.index;
        match self.orders.remove(&order_id) {
            Some(Slot::Live(owner, owners, known)) => {
                self.orders.insert(order_id, Slot::Live(owner, owners, known));
                if owners == buyer && index > known && owner != id {
                    if let Some(old) = self.conns.get_mut(&owner) {
                        ctx.hit("session: taken over");
                        old.machine.refuse(now, Reason::Superseded);
                        ctx.wake(Party::Seller, ctx.now());
                    }
                    ctx.wake(Party::Seller, deciding.until);
                } else {
                    conn.admitting = None;
                    conn.machine.refuse(now, Reason::Busy);
                }
                return;
            }
            Some(Slot::Over) => {
                self.orders.insert(order_id, Slot::Over);
                conn.admitting = None;
                conn.machine.refuse(now, Reason::AlreadyEnded);
                return;
            }
            Some(Slot::Parked(account)) if account.buyer() != buyer => {
                self.orders.insert(order_id, Slot::Parked(account));
                conn.admitting = None;
                conn.machine.offend(now, Offence::BadAttach);
                return;
            }
            Some(Slot::Parked(account)) => {
                ctx.hit("session: resumed");
                deciding.account = Some(account);
            }
            None => {}
        }
        if deciding.account.is_none() && !is_order {
            conn.admitting = None;
            conn.machine.admit(now, &Admission::nothing());
            return;
        }
        self.orders.insert(order_id, Slot::Live(id, buyer, index));
        deciding.asked = true;
        let order =
            deciding.account.as_ref().map(|account| account.order().clone()).or_else(|| deciding.admit.order.clone());
        let settled = deciding.account.as_ref().is_some_and(|account| account.is_settled());
        match order {
            Some(order) if !settled => {
                let ticket = self.ticket(Some(id), order_id);
                ask(ctx, ticket, Call::Admit(self.payee.clone(), Box::new(order)), 0);
            }
            Some(_) | None => self.admitted(ctx, (id, conn), Ok(Backing { deposit: None })),
        }
    }

    fn admitted(&mut self, ctx: &mut Ctx, (id, conn): (LinkId, &mut Conn), backing: Result<Backing, RailError>) {
        let now = self.now(ctx);
        let Some(mut deciding) = conn.admitting.take() else { return };
        let order_id = deciding.admit.order_id;
        let backing = match backing {
            Err(RailError::Unavailable | RailError::Unknown) if ctx.now() < deciding.until => {
                let order = deciding.account.as_ref().map(|account| account.order().clone());
                let order = order.or_else(|| deciding.admit.order.clone());
                conn.admitting = Some(deciding);
                if let Some(order) = order {
                    let ticket = self.ticket(Some(id), order_id);
                    ask(ctx, ticket, Call::Admit(self.payee.clone(), Box::new(order)), RAIL_RETRY_MS);
                }
                return;
            }
            other => other,
        };
        if let Err(error) = &backing {
            ctx.say(|| format!("the seller's rail refuses an order: {error}"));
        }
        let account = deciding.account.take();
        let decided = backing
            .map_err(|error| reason_of(&error))
            .and_then(|backing| self.admission(ctx, (&deciding.admit, account.as_deref()), &backing));
        match decided {
            Ok(admission) => {
                if admission.ramp {
                    ctx.hit("session: ramp");
                }
                match account {
                    // Given up meanwhile: the account goes back with the connection.
                    Some(account) if conn.machine.is_closed() => {
                        deciding.account = Some(account);
                        conn.admitting = Some(deciding);
                        return;
                    }
                    Some(account) => conn.machine.readmit(now, account, &admission),
                    None => conn.machine.admit(now, &admission),
                };
                if ctx.shared.chance(ctx.shared.weather.rude) {
                    ctx.hit("rude: admits again");
                    assert!(!conn.machine.admit(now, &admission), "nothing awaits a decision");
                }
            }
            Err(reason) => {
                self.orders.remove(&order_id);
                if let Some(account) = account {
                    self.shelve(account);
                }
                conn.order = None;
                conn.machine.refuse(now, reason);
            }
        }
    }

    fn admission(
        &mut self,
        ctx: &Ctx,
        (admit, account): (&Admit, Option<&SellerOrder>),
        backing: &Backing,
    ) -> Result<Admission, Reason> {
        let resolved;
        let (order, terms) = match account {
            Some(account) => (account.order(), account.terms()),
            None => {
                let order = admit.order.as_ref().ok_or(Reason::Refused)?;
                resolved = Terms::resolve(&self.config.menu, order).ok_or(Reason::Refused)?;
                (order, &resolved)
            }
        };
        let wanted = self.exposure_max.min(order.exposure_max);
        let debt = account.map_or(Amount::ZERO, |account| account.due().saturating_sub(account.paid()));
        let granted = self.pools.reserve((&order.id(), &order.issuer()), (wanted, debt));
        let (exposure, ramp) = granted.ok_or_else(|| {
            ctx.hit("session: pool is full");
            Reason::Busy
        })?;
        let windows = order.windows.min(terms.product.windows_max);
        Ok(Admission { exposure, windows, ramp, ceiling: backing.deposit.unwrap_or(Amount::MAX) })
    }

    /// Connections that wait for older ones of their order.
    fn wait_for_older(&mut self, ctx: &mut Ctx) {
        let waiting = |conn: &Conn| conn.admitting.as_ref().is_some_and(|deciding| !deciding.asked);
        let ids: Vec<LinkId> = self.conns.iter().filter(|(_, conn)| waiting(conn)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(mut conn) = self.conns.remove(&id) else { continue };
            if conn.admitting.as_ref().is_some_and(|deciding| ctx.now() >= deciding.until) {
                conn.admitting = None;
                conn.machine.refuse(self.now(ctx), Reason::Busy);
            } else {
                let taken = conn
                    .order
                    .and_then(|order| self.orders.get(&order))
                    .is_some_and(|slot| matches!(slot, Slot::Live(..)));
                if !taken {
                    self.decide(ctx, (id, &mut conn));
                }
            }
            self.conns.insert(id, conn);
            ctx.wake(Party::Seller, ctx.now().after_ms(1));
        }
    }

    /// Acks of the journal.
    pub(crate) fn acked(&mut self, ctx: &mut Ctx, acks: Vec<Ack>) {
        let now = self.now(ctx);
        for ack in acks {
            if let Some(conn) = self.conns.get_mut(&ack.link) {
                heard(ctx, now, (conn, &ack));
            }
        }
        ctx.wake(Party::Seller, ctx.now());
    }

    /// Answers of the rail and of records.
    pub(crate) fn answered(&mut self, ctx: &mut Ctx, ticket: Ticket, answer: Answer) {
        match answer {
            Answer::Redeemed(done, finished) => {
                match done {
                    Ok(_) => ctx.hit("money: redeemed beside the sale"),
                    Err(RailError::Unavailable | RailError::Unknown) => {
                        let call = Call::Redeem(self.payee.clone(), finished);
                        ask(ctx, ticket, call, 500);
                    }
                    Err(RailError::Declined(_) | RailError::Dishonest(_)) => {}
                }
                return;
            }
            Answer::Outstanding(found) => return self.tended(ctx, found.unwrap_or_default()),
            _ => {}
        }
        let Some(id) = ticket.link else { return };
        let Some(mut conn) = self.conns.remove(&id) else { return };
        let now = self.now(ctx);
        match answer {
            Answer::Admitted(backing) => self.admitted(ctx, (id, &mut conn), backing),
            Answer::Settled(outcome) => self.settled(ctx, (id, &mut conn), (ticket.about, outcome)),
            Answer::Recorded(Ok(record)) => {
                ctx.hit("session: recorded");
                conn.machine.recorded(ticket.about, record);
            }
            Answer::Recorded(Err(RailError::Dishonest(_))) => conn.machine.refuse(now, Reason::LedgerDishonest),
            _ => {}
        }
        self.conns.insert(id, conn);
        ctx.wake(Party::Seller, ctx.now());
    }

    fn settled(
        &mut self,
        ctx: &mut Ctx,
        (id, conn): (LinkId, &mut Conn),
        (payment, outcome): (StatementId, Result<Outcome, RailError>),
    ) {
        let now = self.now(ctx);
        let Some((_, bill, signed)) = conn.settling.take_if(|(asked, ..)| *asked == payment) else { return };
        match outcome {
            Ok(Outcome::Settled) => {
                conn.machine.settled(now, &payment, true);
                if ctx.shared.chance(ctx.shared.weather.rude) {
                    ctx.hit("rude: repeats what was settled");
                    conn.machine.settled(now, &payment, true);
                    conn.machine.settled(now, &bill.invoice, true);
                }
            }
            Ok(Outcome::Pending) | Err(RailError::Unavailable | RailError::Unknown) => {
                if outcome == Ok(Outcome::Pending) {
                    ctx.hit("rail: pending");
                }
                conn.settling = Some((payment, bill.clone(), signed.clone()));
                let ticket = self.ticket(Some(id), payment);
                ask(ctx, ticket, Call::Settle(self.payee.clone(), bill, signed), RAIL_RETRY_MS);
            }
            Err(RailError::Declined(why)) => {
                ctx.say(|| format!("the seller's rail refuses a payment: {why}"));
                conn.machine.settled(now, &payment, false);
            }
            Err(error @ RailError::Dishonest(_)) => conn.machine.refuse(now, reason_of(&error)),
        }
    }

    /// Looks after vouchers of orders that nobody is at.
    pub(crate) fn tend(&mut self, ctx: &mut Ctx) {
        let ticket = self.ticket(None, StatementId([0; 32]));
        ask(ctx, ticket, Call::Outstanding(self.payee.clone()), 0);
        ctx.after(TEND_MS, Event::Tend(self.boot));
    }

    fn tended(&mut self, ctx: &mut Ctx, found: Vec<Outstanding>) {
        for one in found {
            let finished = match self.orders.get(&one.order) {
                Some(Slot::Live(link, ..)) => {
                    let now = self.now(ctx);
                    if one.closing
                        && let Some(conn) = self.conns.get_mut(link)
                        && !conn.machine.order().is_some_and(SellerOrder::is_settled)
                    {
                        conn.machine.refuse(now, Reason::Refused);
                        ctx.wake(Party::Seller, ctx.now());
                    }
                    if !one.closing {
                        continue;
                    }
                    false
                }
                Some(Slot::Parked(account)) => account.is_settled(),
                Some(Slot::Over) => true,
                None => false,
            };
            if !finished && !one.closing && one.amount.is_zero() {
                continue;
            }
            self.redeem(ctx, &one.order, finished);
        }
    }

    /// What an application should not do, or does at a bad moment.
    pub(crate) fn be_rude(&mut self, ctx: &mut Ctx) {
        let now = self.now(ctx);
        let how = ctx.below(4);
        let Some((_, conn)) = self.conns.iter_mut().next_back() else { return };
        match how {
            0 => {
                ctx.hit("rude: offers at the wrong time");
                let mut batch = Batch::new();
                if batch.push(0, b"out of turn").is_ok() && !conn.machine.is_live() {
                    assert_eq!(conn.machine.offer(now, &mut batch), Offered::NotLive);
                    assert_eq!(batch.len(), 1, "nothing was taken");
                }
                conn.machine.idle(now);
            }
            1 => {
                ctx.hit("rude: finish");
                conn.machine.finish(now);
                conn.machine.finish(now);
            }
            2 => {
                ctx.hit("rude: stop");
                conn.machine.refuse(now, Reason::ShuttingDown);
                conn.machine.refuse(now, Reason::Busy);
            }
            _ => {
                ctx.hit("rude: hangs up");
                conn.machine.hang_up(now);
            }
        }
        ctx.wake(Party::Seller, ctx.now());
    }
}

/// Whole frames go to the machine; it tells by its output what was wrong.
fn feed(machine: &mut core::Seller, now: Timestamp, inbox: &mut Vec<u8>) {
    loop {
        match FrameHeader::peek(inbox) {
            Err(offence) => {
                machine.offend(now, offence);
                inbox.clear();
                return;
            }
            Ok(Some(header)) if inbox.len() >= header.frame_len() => {
                let mut frame: Vec<u8> = inbox.drain(..header.frame_len()).collect();
                let _ = machine.handle_frame(now, &mut frame);
            }
            Ok(_) => return,
        }
    }
}

/// A message that says which one it is.
pub(crate) fn payload(position: u64) -> Vec<u8> {
    format!("reading {position} {}", "x".repeat(usize::try_from(position % 23).unwrap_or(0))).into_bytes()
}

fn sell(ctx: &mut Ctx, now: Timestamp, house: &mut House, conn: &mut Conn) -> bool {
    if !conn.machine.is_live() || conn.stalled || conn.sold_out {
        return false;
    }
    let Some(sent) = conn.machine.order().map(SellerOrder::sent) else { return false };
    let ready = u64::try_from(conn.batch.len()).unwrap_or(u64::MAX);
    let left = house.source_end.saturating_sub(sent.saturating_add(ready));
    if left > 0 && conn.batch.is_empty() && ctx.now() < house.next_at {
        conn.machine.idle(now);
        ctx.wake(Party::Seller, house.next_at);
        return false;
    }
    house.next_at = ctx.now().after_ms(house.pace_ms);
    let mut wanted = left.min(7);
    while wanted > 0 && conn.batch.push(i64::try_from(house.source).unwrap_or(0), &payload(house.source)).is_ok() {
        house.source += 1;
        wanted -= 1;
    }
    if conn.batch.is_empty() {
        conn.machine.finish(now);
        conn.sold_out = true;
        return false;
    }
    let before = conn.batch.len();
    match conn.machine.offer(now, &mut conn.batch) {
        Offered::Taken | Offered::NotLive => {}
        Offered::Stalled => {
            ctx.hit("session: waits for credit");
            conn.stalled = true;
        }
        Offered::Done | Offered::TooLong => {
            conn.batch.clear();
            conn.sold_out = true;
        }
    }
    conn.batch.len() != before
}

/// Why a session stops, by what its rail said.
pub(crate) const fn reason_of(error: &RailError) -> Reason {
    match error {
        RailError::Unavailable | RailError::Unknown => Reason::RailDown,
        RailError::Declined(_) => Reason::Refused,
        RailError::Dishonest(_) => Reason::LedgerDishonest,
    }
}

/// Whether an end says that the other side broke a rule, and not only that it was late or silent.
pub(crate) const fn blames(ended: &core::Ended) -> Option<Offence> {
    match ended {
        core::Ended::Offence(offence) => Some(*offence),
        core::Ended::Defaulted => Some(Offence::NotPaid),
        core::Ended::Told(Some(Fault::Offence(_) | Fault::Reason(_)) | None)
        | core::Ended::Settled { .. }
        | core::Ended::Stopped(_) => None,
    }
}

/// An invoice among rows that are about to be kept.
fn invoiced(entry: &Entry) -> Option<Deed> {
    match entry {
        Entry::Statement(statement) if statement.kind == Kind::Invoice => {
            Signed::<Invoice>::parse_unverified(&statement.bytes).ok().map(|invoice| Deed::Invoiced(Box::new(invoice)))
        }
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
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
            conn.machine.stored(now, StoreId(0));
        }
    } else {
        ctx.hit("session: frozen");
        conn.last_store = None;
        conn.machine.refuse(now, Reason::Frozen);
    }
}

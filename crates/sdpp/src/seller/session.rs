//! One connection of the seller: the machine, its socket, and everything the machine asks for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sdpp_proto::codec::StatementId;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::message::Batch;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::{self as core, Admission, Admit, Offered, Output, SellerOrder, Settle};
use sdpp_proto::statement::{Kind, Order, Signed, Terms};
use sdpp_rail::{Bill, Outcome, Payee, RailError};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};

use super::registry::{Found, Reserved};
use super::{Event, Shared, reason_of};
use crate::journal::{Ack, order_stream};
use crate::link::{Link, Read, WRITE_AHEAD};
use crate::recorder::{Recorded, Recorder};
use crate::source::{Filled, Source};
use crate::{entropy, now, sleep_until};

/// Pauses between two questions to a rail.
const RAIL_RETRY: Duration = Duration::from_millis(20);
/// Questions to a rail about one payment that get no answer.
const RAIL_TRIES: u32 = 150;
/// Time that rail and journal have for what arrived before a connection ended.
const DRAIN_WAIT: Duration = Duration::from_secs(3);
/// Time that records of a finished order have.
const RECORD_WAIT: Duration = Duration::from_secs(5);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What was decided about an order.
struct Decision {
    account: Option<Box<SellerOrder>>,
    admission: Admission,
    reserved: Reserved,
}

/// What a rail said about a payment.
enum Settled {
    Yes,
    No,
    Down(RailError),
}

pub(super) struct Session {
    shared: Arc<Shared>,
    config: Arc<core::SellerConfig>,
    machine: core::Seller,
    link: Link,
    acks: (mpsc::UnboundedSender<Ack>, mpsc::UnboundedReceiver<Ack>),
    admitting: Option<Task<Result<Decision, Reason>>>,
    settling: Option<(StatementId, Task<Settled>)>,
    redeeming: Option<Task<Result<Amount, RailError>>>,
    recorder: Option<Recorder>,
    supply: Supply,
    order: Option<StatementId>,
    last_store: Option<StoreId>,
    halt: Halt,
    /// Held for its drop: exposure goes back to its pool.
    reserved: Option<Reserved>,
    ended: Option<core::Ended>,
}

/// What ends a session from outside.
struct Halt {
    /// A newer connection takes the order over.
    superseded: Arc<Notify>,
    /// The seller's end was heard of.
    stopped: bool,
}

/// Where this order's messages come from.
#[derive(Default)]
struct Supply {
    source: Option<Box<dyn Source>>,
    batch: Batch,
    ended: bool,
    /// The last offer found no room; a payment makes some.
    stalled: bool,
}

impl Supply {
    /// Nothing more is sold; what waits is dropped.
    fn end(&mut self) {
        self.ended = true;
        self.batch.clear();
    }

    /// The source has failed: what it gave before is still sold.
    fn fail(&mut self, error: &io::Error) {
        tracing::error!(%error, "the product's source has failed; the order is ended and settled");
        self.ended = true;
    }
}

/// Runs a connection to its end.
pub(super) async fn run(shared: Arc<Shared>, stream: TcpStream, stop: watch::Receiver<bool>) {
    let (Ok(link), Ok(seed), Ok(config)) = (Link::new(stream), entropy::draw(), shared.config(now())) else { return };
    let session = Session {
        machine: core::Seller::new(config.clone(), *seed, now()),
        config,
        shared,
        link,
        acks: mpsc::unbounded_channel(),
        admitting: None,
        settling: None,
        redeeming: None,
        recorder: None,
        supply: Supply::default(),
        order: None,
        last_store: None,
        halt: Halt { superseded: Arc::new(Notify::new()), stopped: false },
        reserved: None,
        ended: None,
    };
    session.run(stop).await;
}

impl Session {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut connected = true;
        while connected && self.ended.is_none() {
            connected = match self.work() {
                Ok(true) => {
                    // Other sessions of this thread have their turn.
                    tokio::task::yield_now().await;
                    true
                }
                Ok(false) => self.wait(&mut stop).await,
                Err(_) => false,
            };
        }
        self.finish().await;
    }

    /// Does all that can be done without waiting; says whether anything moved.
    fn work(&mut self) -> io::Result<bool> {
        let mut moved = false;
        match self.link.try_read()? {
            Read::Some => moved = true,
            Read::Nothing => {}
            Read::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        moved |= self.frames();
        while let Ok(ack) = self.acks.1.try_recv() {
            self.ack(ack);
            moved = true;
        }
        moved |= self.outputs();
        moved |= self.sell()?;
        moved |= self.outputs();
        if self.link.pending() < WRITE_AHEAD {
            self.machine.poll_transmit(now(), self.link.output(), WRITE_AHEAD);
        }
        moved |= self.link.try_write()?;
        Ok(moved)
    }

    fn frames(&mut self) -> bool {
        let mut moved = false;
        loop {
            match self.link.next_frame() {
                // The machine tells by its output what was wrong.
                Ok(Some(frame)) => drop(self.machine.handle_frame(now(), frame)),
                Ok(None) => return moved,
                Err(offence) => {
                    self.machine.offend(now(), offence);
                    return true;
                }
            }
            moved = true;
        }
    }

    fn ack(&mut self, ack: Ack) {
        match ack {
            Ack::Durable(id) => {
                self.last_store.take_if(|last| id >= *last);
                self.machine.stored(now(), id);
            }
            Ack::Failed(error) => {
                tracing::error!(%error, "the journal has failed; the session freezes");
                self.machine.refuse(now(), Reason::Frozen);
            }
        }
    }

    fn outputs(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.machine.poll_output(now()) {
            moved = true;
            match output {
                Output::Admit(admit) => self.admit(*admit),
                Output::Store { id, entries } => self.store(id, entries),
                Output::Settle(settle) => self.settle(*settle),
                Output::Record(statement) => {
                    if let Some(recorder) = &mut self.recorder {
                        recorder.record(statement);
                    }
                }
                Output::Event(event) => self.event(&event),
                Output::Closed(ended) => self.ended = Some(ended),
            }
        }
        moved
    }

    fn store(&mut self, id: StoreId, mut entries: Vec<Entry>) {
        let Some(order) = self.order else { return };
        self.last_store = Some(id);
        let has_order = entries.iter().any(|entry| matches!(entry, Entry::Statement(one) if one.kind == Kind::Order));
        if has_order {
            entries.insert(0, self.config.menu.erase().into());
        }
        self.shared.settings.journal.write(order_stream(&order), &entries, id, &self.acks.0);
    }

    fn event(&mut self, event: &core::Event) {
        let (Some(order), Some(account)) = (self.order, self.machine.order()) else { return };
        match event {
            core::Event::Live { start } => {
                (self.shared.settings.listener)(&Event::Live { order, buyer: account.buyer(), start: *start });
            }
            core::Event::Paid { n, messages, total, .. } => {
                let owed = account.due().saturating_sub(account.paid());
                let buyer = account.buyer();
                self.supply.stalled = false;
                if account.is_proven() {
                    self.shared.registry.prove(buyer);
                }
                let paid = Event::Paid { order, messages: *messages, total: *total, owed };
                (self.shared.settings.listener)(&paid);
                let every = self.shared.settings.redeem_every;
                if n.checked_rem(every) == Some(every.saturating_sub(1)) && self.redeeming.is_none() {
                    self.redeem(false);
                }
            }
            core::Event::Acknowledged(_) => {}
        }
    }

    /// Starts to decide about an order: who is it, what stands behind it, is there room.
    fn admit(&mut self, admit: Admit) {
        let (shared, menu, stop) = (self.shared.clone(), self.config.clone(), self.halt.superseded.clone());
        self.order = Some(admit.order_id);
        self.admitting = Some(Box::pin(decide((shared, menu), admit, stop)));
    }

    fn decided(&mut self, decision: Result<Decision, Reason>) {
        let decision = match decision {
            Ok(decision) => decision,
            Err(reason) => return self.machine.refuse(now(), reason),
        };
        self.reserved = Some(decision.reserved);
        match decision.account {
            Some(account) => self.machine.readmit(now(), account, &decision.admission),
            None => self.machine.admit(now(), &decision.admission),
        };
    }

    /// Once live: the order's source, from where it stands.
    fn open_source(&mut self) -> io::Result<()> {
        let Some(account) = self.machine.order() else { return Ok(()) };
        let order = &account.terms().order;
        let offers = &self.shared.settings.offers;
        let offer = offers.iter().find(|offer| offer.product.id == order.product);
        let offer = offer.ok_or(io::ErrorKind::NotFound)?;
        let mut source = (offer.source)(order)?;
        source.seek(account.sent())?;
        let form = order.record.form;
        self.recorder = Some(Recorder::start(self.shared.settings.records.clone(), form));
        self.supply = Supply { source: Some(source), ..Supply::default() };
        Ok(())
    }

    /// Offers what the source has at hand.
    fn sell(&mut self) -> io::Result<bool> {
        if !self.machine.is_live() {
            return Ok(false);
        }
        if self.supply.source.is_none()
            && !self.supply.ended
            && let Err(error) = self.open_source()
        {
            tracing::error!(%error, "the product's source cannot be opened");
            self.machine.refuse(now(), Reason::Refused);
            return Ok(true);
        }
        if self.supply.stalled || self.link.pending() >= WRITE_AHEAD {
            return Ok(false);
        }
        let mut moved = self.refill()?;
        if self.supply.batch.is_empty() {
            if self.supply.ended {
                // Harmless again and again.
                self.machine.finish(now());
            }
            return Ok(moved);
        }
        let before = self.supply.batch.len();
        match self.machine.offer(now(), &mut self.supply.batch) {
            Offered::Taken => {}
            Offered::Stalled => self.supply.stalled = true,
            Offered::Done | Offered::NotLive => self.supply.end(),
            Offered::TooLong => {
                tracing::error!("the source has a message longer than the product allows; the order ends before it");
                self.supply.end();
            }
        }
        moved |= self.supply.batch.len() != before;
        Ok(moved)
    }

    /// Reads ahead from a source that is ready; says whether the source has ended.
    fn refill(&mut self) -> io::Result<bool> {
        if !self.supply.batch.is_empty() || self.supply.ended {
            return Ok(false);
        }
        let Some(source) = &mut self.supply.source else { return Ok(false) };
        match source.fill(&mut self.supply.batch).now_or_never() {
            Some(Ok(Filled::Some)) => Ok(true),
            Some(Ok(Filled::End)) => {
                self.supply.ended = true;
                Ok(true)
            }
            Some(Err(error)) => {
                self.supply.fail(&error);
                Ok(true)
            }
            None => {
                self.machine.idle(now());
                Ok(false)
            }
        }
    }

    fn settle(&mut self, settle: Settle) {
        let Some(account) = self.machine.order() else { return };
        let terms = account.terms();
        let id = settle.payment.id();
        let Some(payee) = payee_of(&self.shared, terms) else { return };
        let bill = bill_of(terms, &settle);
        self.settling = Some((id, Box::pin(ask_rail(payee, bill, settle))));
    }

    fn settled(&mut self, id: &StatementId, settled: &Settled) {
        match settled {
            Settled::Yes => self.machine.settled(now(), id, true),
            Settled::No => self.machine.settled(now(), id, false),
            Settled::Down(error) => {
                if let RailError::Dishonest(what) = error {
                    (self.shared.settings.listener)(&Event::Dishonest(what));
                }
                self.machine.refuse(now(), reason_of(error));
            }
        }
    }

    fn redeem(&mut self, finished: bool) {
        let Some(account) = self.machine.order() else { return };
        let Some(payee) = payee_of(&self.shared, account.terms()) else { return };
        let order = account.id();
        self.redeeming = Some(Box::pin(async move { payee.redeem(&order, finished).await.map(|done| done.total) }));
    }

    fn redeemed(&mut self, result: Result<Amount, RailError>) {
        let Some(order) = self.order else { return };
        match result {
            Ok(total) => (self.shared.settings.listener)(&Event::Redeemed { order, total }),
            Err(RailError::Dishonest(what)) => {
                (self.shared.settings.listener)(&Event::Dishonest(what));
                self.machine.refuse(now(), Reason::LedgerDishonest);
            }
            // Tried again after the next windows, and at the end.
            Err(error) => tracing::warn!(%error, "vouchers could not be redeemed yet"),
        }
    }

    fn recorded(&mut self, recorded: Recorded) {
        match recorded {
            Recorded::Done(statement, record) => {
                self.machine.recorded(statement, record);
                (self.shared.settings.listener)(&Event::Recorded(statement));
            }
            Recorded::Skipped => {}
            Recorded::Dishonest(what) => {
                (self.shared.settings.listener)(&Event::Dishonest(what));
                self.machine.refuse(now(), Reason::LedgerDishonest);
            }
        }
    }

    /// Waits for the next thing to happen; false when the connection is gone.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        let supply = &mut self.supply;
        let wants_source = self.machine.is_live() && supply.batch.is_empty() && !supply.ended && !supply.stalled;
        let timeout = self.machine.poll_timeout();
        let stopped = self.halt.stopped;
        tokio::select! {
            ready = self.link.ready() => return ready.is_ok(),
            Some(ack) = self.acks.1.recv() => self.ack(ack),
            decision = optional(&mut self.admitting) => {
                self.admitting = None;
                self.decided(decision);
            }
            settled = async { match &mut self.settling {
                Some((id, task)) => (*id, task.await),
                None => std::future::pending().await,
            }} => {
                self.settling = None;
                self.settled(&settled.0, &settled.1);
            }
            result = optional(&mut self.redeeming) => {
                self.redeeming = None;
                self.redeemed(result);
            }
            recorded = async { match &mut self.recorder {
                Some(recorder) => recorder.next().await,
                None => std::future::pending().await,
            }} => self.recorded(recorded),
            filled = async { match &mut supply.source {
                Some(source) if wants_source => source.fill(&mut supply.batch).await,
                Some(_) | None => std::future::pending().await,
            }} => match filled {
                Ok(Filled::Some) => {}
                Ok(Filled::End) => self.supply.ended = true,
                Err(error) => self.supply.fail(&error),
            },
            () = sleep_until(timeout) => self.machine.handle_timeout(now()),
            () = self.halt.superseded.notified() => self.machine.refuse(now(), Reason::Superseded),
            () = crate::stopped(stop), if !stopped => {
                self.halt.stopped = true;
                // The machine makes the last invoice; the buyer pays it and both sign.
                self.machine.finish(now());
                if !self.machine.is_live() {
                    self.machine.refuse(now(), Reason::ShuttingDown);
                }
            }
        }
        true
    }

    /// Writes what is left, redeems, waits for journal and records, lets go of the order.
    async fn finish(mut self) {
        // A payment that has arrived counts, also when the connection ended behind it.
        let _ = tokio::time::timeout(DRAIN_WAIT, self.drain()).await;
        self.machine.hang_up(now());
        self.outputs();
        let ended = self.ended.take().unwrap_or(core::Ended::Told(None));
        self.machine.poll_transmit(now(), self.link.output(), usize::MAX);
        self.flush_journal().await;
        self.redeem_at_end().await;
        // Records that take longer go on to be made by the recorder's own task.
        let _ = tokio::time::timeout(RECORD_WAIT, self.flush_records()).await;
        let Self { link, machine, shared, order, halt, reserved, admitting, .. } = self;
        let stop = halt.superseded;
        link.close().await;
        let account = machine.into_order(now());
        let event = Event::Ended {
            order,
            ended,
            sent: account.as_ref().map_or(0, |account| account.sent()),
            due: account.as_ref().map_or(Amount::ZERO, |account| account.due()),
            paid: account.as_ref().map_or(Amount::ZERO, |account| account.paid()),
        };
        drop(reserved);
        match (order, admitting) {
            // The decision may hold the account of a known order: it goes back when that is known.
            (Some(order), Some(deciding)) => drop(tokio::spawn({
                let shared = shared.clone();
                async move {
                    // A refusal has given the account back already.
                    if let Ok(decision) = deciding.await {
                        shared.registry.park(order, decision.account, &stop);
                    }
                }
            })),
            (Some(order), None) => shared.registry.park(order, account, &stop),
            (None, _) => {}
        }
        (shared.settings.listener)(&event);
    }

    /// Lets the rail and the journal finish what has arrived.
    async fn drain(&mut self) {
        loop {
            self.outputs();
            if let Some((id, task)) = &mut self.settling {
                let (id, settled) = (*id, task.await);
                self.settling = None;
                self.settled(&id, &settled);
            } else if self.last_store.is_some() {
                match self.acks.1.recv().await {
                    Some(ack @ Ack::Durable(_)) => self.ack(ack),
                    Some(Ack::Failed(_)) | None => return,
                }
            } else {
                return;
            }
        }
    }

    /// Waits until all that was handed to the journal is durable.
    async fn flush_journal(&mut self) {
        while let Some(last) = self.last_store {
            match self.acks.1.recv().await {
                Some(Ack::Durable(id)) if id < last => {}
                Some(Ack::Durable(_) | Ack::Failed(_)) | None => self.last_store = None,
            }
        }
    }

    async fn redeem_at_end(&mut self) {
        let Some(account) = self.machine.order() else { return };
        let (order, finished, has_paid) = (account.id(), account.is_settled(), account.has_paid());
        let payee = payee_of(&self.shared, account.terms());
        if let Some(payee) = payee.filter(|_| has_paid || finished) {
            let result = redeem_finally(payee, order, finished).await;
            self.redeemed(result);
        }
    }

    async fn flush_records(&mut self) {
        while let Some(recorder) = self.recorder.as_mut().filter(|recorder| recorder.is_busy()) {
            let recorded = recorder.next().await;
            self.recorded(recorded);
        }
    }
}

async fn optional<T>(task: &mut Option<Task<T>>) -> T {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// The payee of an order's option: by rail, asset and address, so that an order finds it again after
/// a restart with other settings.
fn payee_of(shared: &Shared, terms: &Terms) -> Option<Arc<dyn Payee>> {
    let wanted = &terms.option;
    let same = |payee: &&Arc<dyn Payee>| {
        let option = payee.option();
        (&option.rail, &option.asset, &option.address) == (&wanted.rail, &wanted.asset, &wanted.address)
    };
    shared.settings.payees.iter().find(same).cloned()
}

fn bill_of(terms: &Terms, settle: &Settle) -> Bill {
    Bill {
        order: settle.payment.order_id,
        invoice: settle.payment.invoice_id,
        payee: terms.option.address.clone(),
        asset: terms.option.asset.clone(),
        total: settle.payment.total,
        before: settle.before,
        channel: terms.order.channel,
    }
}

/// Asks until the rail has an answer: `settle` is idempotent.
async fn ask_rail(payee: Arc<dyn Payee>, bill: Bill, settle: Settle) -> Settled {
    for _ in 0..RAIL_TRIES {
        match payee.settle(&bill, &settle.payment).await {
            Ok(Outcome::Settled) => return Settled::Yes,
            Err(RailError::Declined(why)) => {
                tracing::warn!(why, "the rail refuses a payment");
                return Settled::No;
            }
            Err(error @ RailError::Dishonest(_)) => return Settled::Down(error),
            Ok(Outcome::Pending) | Err(RailError::Unavailable | RailError::Unknown) => {
                tokio::time::sleep(RAIL_RETRY).await;
            }
        }
    }
    Settled::Down(RailError::Unavailable)
}

async fn redeem_finally(payee: Arc<dyn Payee>, order: StatementId, finished: bool) -> Result<Amount, RailError> {
    let mut result = payee.redeem(&order, finished).await;
    for _ in 0..RAIL_TRIES {
        if !matches!(result, Err(RailError::Unavailable | RailError::Unknown)) {
            break;
        }
        tokio::time::sleep(RAIL_RETRY).await;
        result = payee.redeem(&order, finished).await;
    }
    result.map(|done| done.total)
}

async fn decide(
    (shared, config): (Arc<Shared>, Arc<core::SellerConfig>),
    admit: Admit,
    stop: Arc<Notify>,
) -> Result<Decision, Reason> {
    let found = shared.registry.take(&admit.attach, admit.order.is_some(), &stop).await?;
    let account = match found {
        Found::Known(account) => Some(account),
        Found::New => None,
    };
    let order = account.as_ref().map(|account| account.order().clone()).or_else(|| admit.order.clone());
    let decided = match order {
        Some(order) => {
            let terms = match &account {
                Some(account) => Some(account.terms().clone()),
                None => Terms::resolve(&config.menu, &order),
            };
            admission(&shared, terms, &order).await
        }
        // The machine names the offence: an attach to nothing.
        None => reserve(&shared, &admit, Amount::ZERO).map(|reserved| (Admission::nothing(), reserved)),
    };
    match decided {
        Ok((admission, reserved)) => Ok(Decision { account, admission, reserved }),
        Err(reason) => {
            shared.registry.park(admit.order_id, account, &stop);
            Err(reason)
        }
    }
}

fn reserve(shared: &Shared, admit: &Admit, exposure: Amount) -> Result<Reserved, Reason> {
    let reserved = shared.registry.reserve(&admit.attach.issuer(), exposure);
    reserved.map(|(reserved, _)| reserved).ok_or(Reason::Busy)
}

async fn admission(
    shared: &Shared,
    terms: Option<Terms>,
    order: &Signed<Order>,
) -> Result<(Admission, Reserved), Reason> {
    let terms = terms.ok_or(Reason::Refused)?;
    let payee = payee_of(shared, &terms).ok_or(Reason::Refused)?;
    let backing = payee.admit(order).await.map_err(|error| {
        if let RailError::Dishonest(what) = error {
            (shared.settings.listener)(&Event::Dishonest(what));
        }
        tracing::warn!(%error, "an order is refused");
        reason_of(&error)
    })?;
    let offers = &shared.settings.offers;
    let offer = offers.iter().find(|offer| offer.product.id == order.product).ok_or(Reason::Refused)?;
    let exposure = offer.exposure_max.min(order.exposure_max);
    let (reserved, stranger) = shared.registry.reserve(&order.issuer(), exposure).ok_or(Reason::Busy)?;
    let admission = Admission {
        exposure,
        windows: order.windows.min(offer.product.windows_max),
        ramp: stranger,
        ceiling: backing.deposit.unwrap_or(Amount::MAX),
    };
    Ok((admission, reserved))
}

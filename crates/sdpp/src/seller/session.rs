//! One connection of the seller: the machine, its socket, and everything the machine asks for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sdpp_proto::codec::StatementId;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Fault, Reason};
use sdpp_proto::seller::{self as core, Output};
use sdpp_proto::statement::Kind;
use sdpp_rail::RailError;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

use super::door::Ticket;
use super::limits::{FRAMES_PER_TURN, GOODBYE, PENALTY};
use super::reins::{Reins, Word};
use super::status::{OrderState, OrderStatus, Row, owed};
use super::{Event, Shared};
use crate::journal::{Ack, order_stream};
use crate::link::{Link, Read, WRITE_AHEAD};
use crate::metrics::{self, Role};
use crate::recorder::{Recorded, Recorder};
use crate::source::Filled;
use crate::{entropy, now, sleep_until};

mod admission;
mod money;
mod supply;

use admission::Decision;
use money::Settled;
pub(super) use money::{redeem_once, redeem_span};
pub(super) use supply::Supply;

/// Times that a turn seals and writes: what was taken from the source goes out while it is near.
const WRITES_PER_TURN: usize = 8;
/// Time that rail and journal have for what arrived before a connection ended.
const DRAIN_WAIT: Duration = Duration::from_secs(3);
/// Time that records of a finished order have.
const RECORD_WAIT: Duration = Duration::from_secs(5);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work for a rail, as a task of its own: it may hold what others wait for, so it goes on whether or not
/// somebody waits for it. Nobody stops it: it ends by itself, and doing it twice does no harm.
fn spawned<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
    let task = tokio::spawn(work.in_current_span());
    Box::pin(async move {
        match task.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this with it.
                Err(_) => std::future::pending().await,
            },
        }
    })
}

pub(super) struct Session {
    shared: Arc<Shared>,
    config: Arc<core::SellerConfig>,
    machine: core::Seller,
    link: Link,
    acks: (mpsc::UnboundedSender<Ack>, mpsc::UnboundedReceiver<Ack>),
    admitting: Option<Task<Result<Decision, Fault>>>,
    settling: Option<(StatementId, Task<Settled>)>,
    redeeming: Option<Task<Result<Amount, RailError>>>,
    recorder: Option<Recorder>,
    supply: Supply,
    order: Option<StatementId>,
    /// The newest write, and when it was handed over.
    last_store: Option<(StoreId, Instant)>,
    halt: Halt,
    figures: Figures,
    ended: Option<core::Ended>,
}

/// What ends a session from outside.
struct Halt {
    /// How others reach this session.
    reins: Arc<Reins>,
    /// Its place among the connections.
    ticket: Ticket,
    /// The seller's end was heard of.
    stopped: bool,
    /// It was told to finish before it was live: it does as soon as it is.
    finishes: bool,
}

/// What the status shows of this session.
#[derive(Default)]
struct Figures {
    /// Once it is live.
    row: Option<Row>,
    /// What of its debt is in the totals.
    counted: Amount,
    /// What of its payments is in the totals, with those of earlier sessions.
    credited: Amount,
    /// Messages that the order skipped.
    skipped: u64,
}

/// Runs a connection to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    stream: TcpStream,
    (ticket, reins): (Ticket, Arc<Reins>),
    stop: watch::Receiver<bool>,
) {
    let config = shared.stock.config(&shared.house, now());
    let (Ok(link), Ok(seed), Ok(config)) = (Link::new(stream), entropy::draw(), config) else { return };
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
        halt: Halt { reins, ticket, stopped: false, finishes: false },
        figures: Figures::default(),
        ended: None,
    };
    let span = tracing::info_span!(
        "seller_session",
        order = tracing::field::Empty,
        buyer = tracing::field::Empty,
        topic = tracing::field::Empty
    );
    session.run(stop).instrument(span).await;
}

impl Session {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut connected = true;
        while connected && self.ended.is_none() {
            connected = match self.work() {
                Ok(true) => {
                    // Other sessions of this thread have their turn.
                    tokio::task::yield_now().await;
                    self.glance(&mut stop).await
                }
                Ok(false) => {
                    self.link.pause();
                    self.wait(&mut stop).await
                }
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
        moved |= self.outputs();
        moved |= self.sell();
        moved |= self.outputs();
        for _ in 0..WRITES_PER_TURN {
            if self.link.pending() < WRITE_AHEAD {
                self.machine.poll_transmit(now(), self.link.output(), WRITE_AHEAD);
            }
            let wrote = self.link.try_write()?;
            moved |= wrote;
            if !wrote || self.link.has_output() || self.machine.unsent() == 0 {
                break;
            }
        }
        Ok(moved)
    }

    fn frames(&mut self) -> bool {
        let mut moved = false;
        for _ in 0..FRAMES_PER_TURN {
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
        // More may lie in the buffer; others have their turn first.
        moved
    }

    fn ack(&mut self, ack: Ack) {
        match ack {
            Ack::Durable(id) => {
                if let Some((_, handed)) = self.last_store.take_if(|(last, _)| id >= *last) {
                    metrics::stored(Role::Seller, handed.elapsed());
                }
                self.machine.stored(now(), id);
            }
            Ack::Failed(error) => {
                tracing::error!(%error, "the journal has failed; the session freezes");
                // No other answer comes: nothing may wait for one.
                self.last_store = None;
                self.machine.refuse(now(), Reason::Frozen);
            }
        }
    }

    /// Does what the machine asks for, and what follows from it at once: a journal and a rail may have answered already.
    fn outputs(&mut self) -> bool {
        let mut moved = false;
        loop {
            let output = self.machine.poll_output(now());
            match (output, self.acks.1.try_recv()) {
                (None, Err(_)) => return moved,
                (output, ack) => {
                    output.into_iter().for_each(|output| self.output(output));
                    ack.into_iter().for_each(|ack| self.ack(ack));
                }
            }
            moved = true;
        }
    }

    fn output(&mut self, output: Output) {
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

    fn store(&mut self, id: StoreId, mut entries: Vec<Entry>) {
        let Some(order) = self.order else { return };
        self.last_store = Some((id, Instant::now()));
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
                let span = tracing::Span::current();
                span.record("order", tracing::field::display(order));
                span.record("buyer", tracing::field::display(account.buyer()));
                span.record("topic", account.terms().product.topic.as_str());
                let since = (OrderState::Live, now());
                let row = Row::new(OrderStatus::of(account, since, self.figures.skipped));
                self.shared.registry.show(&order, &self.halt.reins, &row);
                self.figures.row = Some(row);
                self.figures.credited = account.paid();
                metrics::session_begins(Role::Seller);
                (self.shared.settings.listener)(&Event::Live { order, buyer: account.buyer(), start: *start });
                if std::mem::take(&mut self.halt.finishes) {
                    self.machine.finish(now());
                }
            }
            core::Event::Invoiced { messages, bytes, windows, .. } => {
                self.shared.tally.invoiced(*messages, *bytes, u64::from(*windows));
            }
            core::Event::Paid { n, messages, total, .. } => {
                let owed = owed(account);
                // Not by the row: another event may have published this payment already.
                let before = std::mem::replace(&mut self.figures.credited, *total);
                self.shared.tally.paid(&account.terms().option.asset, total.saturating_sub(before));
                if account.is_proven() {
                    self.shared.registry.prove(account.buyer());
                }
                self.supply.stalled = false;
                let paid = Event::Paid { order, messages: *messages, total: *total, owed };
                (self.shared.settings.listener)(&paid);
                self.count_skipped();
                let every = self.shared.settings.redeem_every;
                if n.checked_rem(every) == Some(every.saturating_sub(1)) && self.redeeming.is_none() {
                    self.redeem(false);
                }
            }
            core::Event::Acknowledged(_) => {}
        }
        self.publish();
    }

    /// Shows how the order stands.
    fn publish(&mut self) {
        let Some(account) = self.machine.order() else { return };
        let debt = owed(account);
        self.shared.tally.owes(&account.terms().option.asset, self.figures.counted, debt);
        self.figures.counted = debt;
        if let Some(row) = &self.figures.row {
            row.write(account, self.figures.skipped);
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

    /// Looks whether something has happened, without waiting: a source that is always ready must not
    /// keep rail, timers and others from being heard.
    async fn glance(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        tokio::select! {
            biased;
            connected = self.wait(stop) => connected,
            () = std::future::ready(()) => true,
        }
    }

    /// Waits for the next thing to happen; false when the connection is gone.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        let supply = &mut self.supply;
        let waits = supply.stalled && !supply.skips;
        let wants_source = self.machine.is_live() && supply.batch.is_empty() && !supply.ended && !waits;
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
            () = sleep_until(timeout) => {
                self.machine.handle_timeout(now());
                self.link.rest();
                self.supply.batch.rest();
            }
            word = self.halt.reins.hear() => self.told(word),
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

    fn told(&mut self, word: Word) {
        match word {
            Word::Finish if !self.machine.is_live() => self.halt.finishes = true,
            Word::Finish => self.machine.finish(now()),
            Word::Closing => {
                if !self.machine.order().is_some_and(sdpp_proto::seller::SellerOrder::is_settled) {
                    tracing::warn!("the buyer has asked to close its channel in the middle of a sale: no more is sent");
                    self.machine.refuse(now(), Reason::Refused);
                }
            }
            Word::Stop(reason) => self.machine.refuse(now(), reason),
        }
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
        // The buyer has all it needs: it does not wait for the seller's own business.
        self.link.end_output().await;
        let is_left = self.redeem_at_end().await;
        // Records that take longer go on to be made by the recorder's own task.
        let _ = tokio::time::timeout(RECORD_WAIT, self.flush_records()).await;
        self.count_skipped();
        self.publish();
        self.shared.tally.ended(&ended);
        if matches!(ended, core::Ended::Offence(_)) {
            let penalty = self.halt.ticket.penalty();
            drop(tokio::spawn(async move {
                tokio::time::sleep(PENALTY).await;
                drop(penalty);
            }));
        }
        let Self { link, machine, shared, order, halt, figures, admitting, supply, .. } = self;
        let Halt { reins, ticket, .. } = halt;
        match figures.row {
            Some(_) => {
                metrics::session_ends(Role::Seller);
                link.close().await;
            }
            None => link.close_within(GOODBYE).await,
        }
        let account = machine.into_order(now());
        let event = Event::Ended {
            order,
            ended,
            sent: account.as_ref().map_or(0, |account| account.sent()),
            due: account.as_ref().map_or(Amount::ZERO, |account| account.due()),
            paid: account.as_ref().map_or(Amount::ZERO, |account| account.paid()),
        };
        if let Some(order) = order.filter(|_| account.as_ref().is_some_and(|account| !account.is_settled())) {
            // Before the order can be taken again.
            shared.shelf.put(order, supply);
        }
        match (order, admitting) {
            // The decision may hold the account of a known order: it goes back when that is known.
            (Some(order), Some(deciding)) => drop(tokio::spawn({
                let shared = shared.clone();
                async move {
                    // A refusal has given the account back already.
                    if let Ok(decision) = deciding.await {
                        shared.registry.park(order, (decision.account, decision.skipped), &reins);
                    }
                }
            })),
            (Some(order), None) => shared.registry.park(order, (account, figures.skipped), &reins),
            (None, _) => {}
        }
        drop(ticket);
        if is_left {
            shared.over.notify_one();
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
                    Some(Ack::Failed(_)) | None => {
                        self.last_store = None;
                        return;
                    }
                }
            } else {
                return;
            }
        }
    }

    /// Waits until all that was handed to the journal is durable.
    async fn flush_journal(&mut self) {
        while let Some((last, _)) = self.last_store {
            match self.acks.1.recv().await {
                Some(Ack::Durable(id)) if id < last => {}
                Some(Ack::Durable(_) | Ack::Failed(_)) | None => self.last_store = None,
            }
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

//! One connection of the seller: the machine, its socket, and everything the machine asks for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sdpp_proto::codec::StatementId;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::{self as core, Output};
use sdpp_proto::statement::Kind;
use sdpp_rail::RailError;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};

use super::registry::Reserved;
use super::{Event, Shared};
use crate::journal::{Ack, order_stream};
use crate::link::{Link, Read, WRITE_AHEAD};
use crate::recorder::{Recorded, Recorder};
use crate::source::Filled;
use crate::{entropy, now, sleep_until};

mod admission;
mod money;
mod supply;

use admission::Decision;
use money::Settled;
use supply::Supply;

/// Time that rail and journal have for what arrived before a connection ended.
const DRAIN_WAIT: Duration = Duration::from_secs(3);
/// Time that records of a finished order have.
const RECORD_WAIT: Duration = Duration::from_secs(5);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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
            core::Event::Invoiced { .. } | core::Event::Acknowledged(_) => {}
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

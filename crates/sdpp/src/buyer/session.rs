//! One connection of the buyer: the machine, its socket, and everything the machine asks for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sdpp_proto::buyer::{self as core, BuyerOrder, Output};
use sdpp_proto::codec::StatementId;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::statement::{Form, Invoice, Menu, Signed};
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{Bill, Funding, Payer, PaymentStatus, Proof, RailError};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::count::Count;
use super::keeper::Keeper;
use super::pursuit::{OPENING_WAIT, Outcome, Plan, Pursuit, Stop};
use super::{BuyError, Buyer, Event, Progress};
use crate::journal::Ack;
use crate::link::{Link, Read};
use crate::metrics::{self, Role};
use crate::recorder::{Recorded, Recorder};
use crate::{entropy, now, sleep_until};

/// Pauses between two questions to a rail.
const RAIL_RETRY: Duration = Duration::from_millis(20);
/// Questions to a rail about one payment that get no answer.
const RAIL_TRIES: u32 = 500;
/// Time that a sink has, after a connection, for rows that wait for it.
const SINK_WAIT: Duration = Duration::from_secs(2);
/// Longest that a sink may take nothing while a connection is open.
const STUCK_MAX: Duration = Duration::from_secs(30);
/// Time that records of a finished order have.
const RECORD_WAIT: Duration = Duration::from_secs(5);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the rail has answered.
enum Answer {
    Paid(StatementId, Result<Proof, RailError>),
    /// The first of some invoices that was paid.
    Recalled(Result<Option<StatementId>, RailError>),
}

/// What is recorded, and what waits for it.
#[derive(Default)]
struct Recording {
    recorder: Option<Recorder>,
    /// The order waits for this record.
    order: Option<StatementId>,
}

struct Session<'s, 'a> {
    buyer: &'a Buyer,
    machine: core::Buyer,
    link: Link,
    plan: Option<Plan>,
    keeper: &'s mut Keeper<'a>,
    stop: &'s mut Stop,
    acks: (mpsc::UnboundedSender<Ack>, mpsc::UnboundedReceiver<Ack>),
    last_store: Option<StoreId>,
    menu: Option<Box<Signed<Menu>>>,
    /// What the rail is asked.
    asking: Option<Task<Answer>>,
    recording: Recording,
    order: Option<StatementId>,
    funding: Option<Funding>,
    end: End,
    count: Count,
}

/// How a session ends.
#[derive(Default)]
struct End {
    /// The wish to end was passed on.
    asked: bool,
    how: Option<core::Ended>,
}

/// Runs a connection to its end.
pub(super) async fn run<'a>(pursuit: &mut Pursuit<'a>, stream: TcpStream, plan: Plan) -> Result<Outcome, BuyError> {
    let seed = entropy::draw().map_err(BuyError::NoEntropy)?;
    let session = Session {
        machine: core::Buyer::new(pursuit.buyer.config(pursuit.address), *seed, now()),
        buyer: pursuit.buyer,
        link: Link::new(stream).map_err(BuyError::Connection)?,
        plan: Some(plan),
        keeper: &mut pursuit.keeper,
        stop: &mut pursuit.stop,
        acks: mpsc::unbounded_channel(),
        last_store: None,
        menu: None,
        asking: None,
        recording: Recording::default(),
        order: None,
        funding: None,
        end: End::default(),
        count: Count::default(),
    };
    let span = tracing::info_span!(
        "buyer_session",
        order = tracing::field::Empty,
        seller = tracing::field::Empty,
        topic = tracing::field::Empty
    );
    session.run().instrument(span).await
}

impl Session<'_, '_> {
    async fn run(mut self) -> Result<Outcome, BuyError> {
        let mut connected = true;
        while connected && self.end.how.is_none() {
            if let Some(menu) = self.menu.take() {
                self.choose(&menu).await?;
            }
            connected = match self.work() {
                Ok(true) => {
                    tokio::task::yield_now().await;
                    true
                }
                Ok(false) => {
                    self.link.pause();
                    self.wait().await
                }
                Err(error) => {
                    tracing::debug!(%error, "the connection is lost");
                    false
                }
            };
        }
        self.finish().await
    }

    /// Places or resumes the order, now that the menu is here.
    async fn choose(&mut self, menu: &Signed<Menu>) -> Result<(), BuyError> {
        match self.plan.take() {
            Some(Plan::Place(request)) => {
                let (draft, funding) = tokio::select! {
                    drafted = self.buyer.draft(menu, &request, self.keeper) => drafted?,
                    () = self.stop.over(OPENING_WAIT) => return Err(BuyError::Stopped),
                };
                self.recording.recorder = Recorder::start(self.buyer.settings.records.clone(), request.record.form);
                self.funding = Some(funding);
                match self.machine.place(now(), draft) {
                    Ok(order) => self.order = Some(order),
                    Err(error) => {
                        let _ = self.buyer.close_funding(self.funding.as_ref()).await;
                        return Err(BuyError::Place(error));
                    }
                }
            }
            Some(Plan::Resume(account)) => {
                self.recording.recorder = Recorder::start(self.buyer.settings.records.clone(), Form::Full);
                self.order = Some(account.id());
                // The menu has just come: the machine is choosing.
                let _ = self.machine.resume(now(), account);
            }
            None => {}
        }
        Ok(())
    }

    /// Does all that can be done without waiting; says whether anything moved.
    fn work(&mut self) -> io::Result<bool> {
        let mut moved = false;
        // What the sink has no room for stays on the wire.
        let mut read = Read::Nothing;
        if self.keeper.has_room() {
            read = self.link.try_read()?;
            moved |= read == Read::Some;
            moved |= self.frames();
        }
        self.end_if_wished();
        moved |= self.outputs();
        self.machine.poll_transmit(now(), self.link.output());
        moved |= self.link.try_write()?;
        if read == Read::Closed && self.end.how.is_none() && self.keeper.has_room() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(moved)
    }

    fn frames(&mut self) -> bool {
        let mut moved = false;
        while self.keeper.has_room() {
            match self.link.next_frame() {
                Ok(Some(frame)) => {
                    // An offence shows in the machine's output.
                    if let Ok(delivery) = self.machine.handle_frame(now(), frame)
                        && let Err(error) = deliver(&delivery, self.keeper, &self.buyer.settings.progress)
                    {
                        self.sink_failed(&error);
                        return true;
                    }
                }
                Ok(None) => return moved,
                Err(offence) => {
                    self.machine.offend(offence);
                    return true;
                }
            }
            moved = true;
        }
        moved
    }

    /// A resumed order can be ended only once it is live.
    fn end_if_wished(&mut self) {
        if self.keeper.has_enough() && self.stop.wish() {
            (self.buyer.settings.listener)(&Event::Enough);
        }
        let stoppable = self.machine.is_live() || matches!(self.plan, Some(Plan::Place(_)));
        if self.stop.is_wished() && stoppable && !self.end.asked {
            self.end.asked = true;
            self.machine.exit(now());
        }
    }

    /// Hands on what the sink holds.
    fn advance(&mut self) -> bool {
        match self.keeper.advance() {
            Ok(moved) => moved,
            Err(error) => {
                self.sink_failed(&error);
                true
            }
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
                // No other answer comes: nothing may wait for one.
                self.last_store = None;
                self.machine.stop(Reason::Frozen);
            }
        }
    }

    /// Does what the machine asks for, and what follows from it at once: sink, journal and rail may have answered
    /// already.
    fn outputs(&mut self) -> bool {
        let mut moved = false;
        loop {
            let output = self.machine.poll_output(now());
            match (output, self.acks.1.try_recv()) {
                (None, Err(_)) if !self.advance() => return moved,
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
            Output::Menu(menu) => self.menu = Some(menu),
            Output::Sample(_) | Output::Quote(_) => {}
            Output::Store { id, entries, delivered_through } => self.store(id, (entries, delivered_through)),
            Output::RecordOrder(order) => {
                let id = order.id;
                let records = self.recording.recorder.as_mut().is_some_and(|recorder| recorder.record(order));
                if records {
                    self.recording.order = Some(id);
                } else {
                    self.machine.recorded(id, None);
                }
            }
            Output::Record(statement) => {
                if let Some(recorder) = &mut self.recording.recorder {
                    recorder.record(statement);
                }
            }
            Output::Pay { invoice, before } => self.pay(&invoice, before),
            Output::Recall(invoices) => self.recall(invoices),
            Output::Event(event) => self.event(event),
            Output::Closed(ended) => self.end.how = Some(ended),
        }
    }

    /// Rows wait until the sink holds what they vouch for; its file is synced by the journal's thread,
    /// before the rows.
    fn store(&mut self, id: StoreId, rows: (Vec<Entry>, u64)) {
        let Some(order) = self.machine.order().map(BuyerOrder::id).or(self.order) else { return };
        self.last_store = Some(id);
        self.keeper.store(order, rows, (id, &self.acks.0));
    }

    /// What was received is not held: nothing more is paid for, and this process does not go on with
    /// the order. A later resume takes up where the sink is whole.
    fn sink_failed(&mut self, error: &io::Error) {
        tracing::error!(%error, "the sink has failed; nothing more is paid for");
        self.keeper.give_up();
        self.last_store = None;
        self.machine.stop(Reason::Frozen);
    }

    fn pay(&mut self, invoice: &Signed<Invoice>, before: Amount) {
        let Some(account) = self.machine.order() else { return };
        let terms = account.terms();
        let bill = Bill {
            order: account.id(),
            invoice: invoice.id(),
            payee: terms.option.address.clone(),
            asset: terms.option.asset.clone(),
            total: invoice.due,
            before,
            messages: Some(invoice.end()),
            channel: terms.order.channel,
        };
        let payer = self.buyer.settings.payer.clone();
        let id = invoice.id();
        self.ask(Box::pin(async move { Answer::Paid(id, pay_bill(payer, bill).await) }));
    }

    /// Asks the rail, unless it is too late to pay. For a voucher the answer is usually there.
    fn ask(&mut self, mut task: Task<Answer>) {
        if self.machine.is_closed() {
            return;
        }
        match (&mut task).now_or_never() {
            Some(answer) => self.answered(answer),
            None => self.asking = Some(task),
        }
    }

    fn recall(&mut self, invoices: Vec<StatementId>) {
        let payer = self.buyer.settings.payer.clone();
        self.ask(Box::pin(async move { Answer::Recalled(recall(payer, invoices).await) }));
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Paid(invoice, result) => self.paid(&invoice, result),
            Answer::Recalled(Ok(paid)) => self.machine.recalled(now(), paid),
            Answer::Recalled(Err(error)) => self.rail_failed(error),
        }
    }

    fn paid(&mut self, invoice: &StatementId, result: Result<Proof, RailError>) {
        match result {
            Ok(Proof::Voucher) => self.machine.paid(invoice, None),
            Ok(Proof::Bytes(bytes)) => self.machine.paid(invoice, Some(bytes)),
            Err(error) => self.rail_failed(error),
        }
    }

    fn rail_failed(&mut self, error: RailError) {
        tracing::error!(%error, "the rail does not pay; the session stops");
        if let RailError::Dishonest(what) = error {
            (self.buyer.settings.listener)(&Event::Dishonest(what));
        }
        self.machine.stop(crate::seller::reason_of(&error));
    }

    fn event(&mut self, event: core::Event) {
        if let Some(account) = self.machine.order() {
            self.count.event(&event, account);
        }
        let listener = &self.buyer.settings.listener;
        match event {
            core::Event::Live { start, exposure } => {
                if let Err(error) = self.keeper.live() {
                    return self.sink_failed(&error);
                }
                if let (Some(order), Some(account)) = (self.order, self.machine.order()) {
                    let span = tracing::Span::current();
                    span.record("order", tracing::field::display(order));
                    span.record("seller", tracing::field::display(account.seller()));
                    span.record("topic", account.terms().product.topic.as_str());
                    listener(&Event::Live { order, start, exposure });
                }
            }
            core::Event::Invoiced { n, windows, messages, due, .. } => {
                let owed = due.saturating_sub(self.machine.order().map_or(Amount::ZERO, BuyerOrder::paid));
                listener(&Event::Invoiced { n, windows, messages, due, owed });
            }
            core::Event::Paid { total, .. } => {
                let owed = self.machine.order().map_or(total, BuyerOrder::due).saturating_sub(total);
                listener(&Event::Paid { total, owed });
            }
            core::Event::Defaulted(_) | core::Event::Recorded(_) => {}
        }
    }

    fn recorded(&mut self, recorded: Recorded) {
        match recorded {
            Recorded::Done(statement, record) => {
                (self.buyer.settings.listener)(&Event::Recorded(statement));
                self.recording.order.take_if(|order| *order == statement);
                self.machine.recorded(statement, Some(record));
            }
            Recorded::Skipped => {
                // An order that cannot be recorded is not sent.
                if self.recording.order.take().is_some() {
                    self.machine.stop(Reason::RailDown);
                }
            }
            Recorded::Dishonest(what) => {
                (self.buyer.settings.listener)(&Event::Dishonest(what));
                self.machine.stop(Reason::LedgerDishonest);
            }
        }
    }

    /// Waits for the next thing to happen; false when the connection is gone.
    async fn wait(&mut self) -> bool {
        let timeout = self.machine.poll_timeout();
        let stuck = self.keeper.stuck_since().map(|since| patience(self.machine.order(), since));
        let reads = self.keeper.has_room();
        // A wish that cannot be passed on has its time.
        let late = self.stop.is_wished().then_some(self.buyer.settings.reconnect.stop_wait);
        tokio::select! {
            ready = async { if reads { self.link.ready().await } else { self.link.writable().await } } => {
                return ready.is_ok();
            }
            moved = self.keeper.moved() => {
                if let Err(error) = moved {
                    self.sink_failed(&error);
                }
            }
            () = at(stuck) => return false,
            Some(ack) = self.acks.1.recv() => self.ack(ack),
            answer = async { match &mut self.asking {
                Some(task) => task.await,
                None => std::future::pending().await,
            }} => {
                self.asking = None;
                self.answered(answer);
            }
            recorded = async { match &mut self.recording.recorder {
                Some(recorder) => recorder.next().await,
                None => std::future::pending().await,
            }} => self.recorded(recorded),
            () = sleep_until(timeout) => {
                self.machine.handle_timeout(now());
                self.link.rest();
            }
            () = self.stop.heard(late), if !self.end.asked => return late.is_none(),
        }
        true
    }

    /// Writes what is left and waits for journal and records.
    async fn finish(mut self) -> Result<Outcome, BuyError> {
        self.machine.hang_up();
        self.outputs();
        let ended = self.end.how.take().unwrap_or(core::Ended::Told(None));
        self.machine.poll_transmit(now(), self.link.output());
        // Written before the journal is waited for: nothing in it depends on these rows.
        let _ = self.link.try_write();
        // Rows that the sink keeps waiting go on to wait in its keeper: the seller is let go first.
        let wait = if self.keeper.stuck_since().is_some() { Duration::ZERO } else { SINK_WAIT };
        let _ = tokio::time::timeout(wait, self.flush_journal()).await;
        self.link.end_output().await;
        // Records that take longer go on to be made by the recorder's own task.
        let _ = tokio::time::timeout(RECORD_WAIT, self.flush_records()).await;
        self.count.ended(&ended);
        let Self { link, machine, funding, plan, .. } = self;
        link.close().await;
        // A connection that broke before the menu came had no use for the account.
        let unused = match plan {
            Some(Plan::Resume(account)) => Some(account),
            Some(Plan::Place(_)) | None => None,
        };
        Ok(Outcome { account: machine.into_order().or(unused), ended, funding })
    }

    async fn flush_journal(&mut self) {
        while let Some(last) = self.last_store {
            self.advance();
            tokio::select! {
                ack = self.acks.1.recv() => match ack {
                    Some(Ack::Durable(id)) if id < last => {}
                    Some(Ack::Durable(_) | Ack::Failed(_)) | None => self.last_store = None,
                },
                moved = self.keeper.moved(), if self.keeper.has_waiting() => if let Err(error) = moved {
                    self.sink_failed(&error);
                },
            }
        }
    }

    async fn flush_records(&mut self) {
        while let Some(recorder) = self.recording.recorder.as_mut().filter(|recorder| recorder.is_busy()) {
            let recorded = recorder.next().await;
            self.recorded(recorded);
        }
    }
}

/// Hands a frame's messages to the sink.
fn deliver(delivery: &core::Delivery<'_>, keeper: &mut Keeper<'_>, progress: &Progress) -> io::Result<()> {
    let (mut messages, mut bytes) = (0u64, 0u64);
    for (seq, message) in delivery.messages() {
        keeper.write(seq, &message)?;
        messages = messages.saturating_add(1);
        bytes = bytes.saturating_add(u64::try_from(message.bytes.len()).unwrap_or(u64::MAX));
    }
    if messages > 0 {
        keeper.frame_ended();
        progress.add(messages, bytes);
    }
    Ok(())
}

/// Until when a connection bears a sink that takes nothing: before the seller's patience for a payment
/// ends, or silence would be taken for the seller's.
fn patience(order: Option<&BuyerOrder>, since: Instant) -> Instant {
    let pay_by = order.map_or(Duration::MAX, |order| Duration::from_millis(order.terms().option.pay_by_ms / 2));
    since.checked_add(pay_by.min(STUCK_MAX)).unwrap_or(since)
}

/// Sleeps until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn status_of(payer: &Arc<dyn Payer>, invoice: &StatementId) -> Result<PaymentStatus, RailError> {
    failpoint::before(Deed::Status);
    let answer = payer.status(invoice).await;
    failpoint::after(Deed::Status);
    answer
}

/// The first of the invoices that the rail has paid, before this journal was put back.
async fn recall(payer: Arc<dyn Payer>, invoices: Vec<StatementId>) -> Result<Option<StatementId>, RailError> {
    for invoice in invoices {
        let mut tries = 0;
        loop {
            match status_of(&payer, &invoice).await {
                Ok(PaymentStatus::Paid(_)) => return Ok(Some(invoice)),
                Ok(PaymentStatus::NotPaid) => break,
                Err(error @ RailError::Dishonest(_)) => return Err(error),
                Ok(PaymentStatus::Pending) | Err(_) if tries < RAIL_TRIES => {
                    tries = tries.saturating_add(1);
                    tokio::time::sleep(RAIL_RETRY).await;
                }
                Ok(PaymentStatus::Pending) | Err(_) => return Err(RailError::Unknown),
            }
        }
    }
    Ok(None)
}

async fn pay_once(payer: &Arc<dyn Payer>, bill: &Bill) -> Result<Proof, RailError> {
    failpoint::before(Deed::Pay);
    let answer = payer.pay(bill).await;
    failpoint::after(Deed::Pay);
    answer
}

/// Pays once, however often the rail must be asked.
async fn pay_bill(payer: Arc<dyn Payer>, bill: Bill) -> Result<Proof, RailError> {
    let asked = Instant::now();
    let answer = pay_until_answered(payer, bill).await;
    metrics::settled(Role::Buyer, asked.elapsed());
    answer
}

async fn pay_until_answered(payer: Arc<dyn Payer>, bill: Bill) -> Result<Proof, RailError> {
    let mut answer = pay_once(&payer, &bill).await;
    for _ in 0..RAIL_TRIES {
        match answer {
            // Nothing was sent.
            Err(RailError::Unavailable) => {
                tokio::time::sleep(RAIL_RETRY).await;
                answer = pay_once(&payer, &bill).await;
            }
            // Money may have moved: ask before anything else.
            Err(RailError::Unknown) => match status_of(&payer, &bill.invoice).await {
                Ok(PaymentStatus::Paid(proof)) => return Ok(proof),
                Ok(PaymentStatus::NotPaid) => answer = pay_once(&payer, &bill).await,
                Err(error @ RailError::Dishonest(_)) => return Err(error),
                Ok(PaymentStatus::Pending) | Err(_) => tokio::time::sleep(RAIL_RETRY).await,
            },
            answer => return answer,
        }
    }
    Err(RailError::Unknown)
}

//! One connection of the buyer: the machine, its socket, and everything the machine asks for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sdpp_proto::buyer::{self as core, BuyerOrder, Output};
use sdpp_proto::codec::StatementId;
use sdpp_proto::journal::{Entry, StoreId};
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_proto::statement::{Form, Invoice, Menu, Quote, Sample, Signed};
use sdpp_proto::wire::Ask;
use sdpp_rail::{Bill, Funding, Payer, PaymentStatus, Proof, RailError};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

use super::{Address, BuyError, Buyer, Event, Request};
use crate::journal::{Ack, order_stream};
use crate::link::{Link, Read};
use crate::recorder::{Recorded, Recorder};
use crate::sink::Sink;
use crate::{entropy, now, sleep_until};

/// Pauses between two questions to a rail.
const RAIL_RETRY: Duration = Duration::from_millis(20);
/// Questions to a rail about one payment that get no answer.
const RAIL_TRIES: u32 = 500;
/// Time that records of a finished order have.
const RECORD_WAIT: Duration = Duration::from_secs(5);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a connection is for.
pub(super) enum Plan<'a> {
    Place(&'a Request),
    Resume(Box<BuyerOrder>),
}

/// What is left of a connection.
pub(super) struct Outcome {
    pub(super) account: Option<Box<BuyerOrder>>,
    pub(super) ended: core::Ended,
    pub(super) funding: Option<Funding>,
}

impl Outcome {
    pub(super) const fn lost(account: Box<BuyerOrder>) -> Self {
        Self { account: Some(account), ended: core::Ended::Told(None), funding: None }
    }
}

struct Session<'a> {
    buyer: &'a Buyer,
    machine: core::Buyer,
    link: Link,
    plan: Option<Plan<'a>>,
    sink: &'a mut dyn Sink,
    acks: (mpsc::UnboundedSender<Ack>, mpsc::UnboundedReceiver<Ack>),
    last_store: Option<StoreId>,
    menu: Option<Box<Signed<Menu>>>,
    paying: Option<(StatementId, Task<Result<Proof, RailError>>)>,
    recorder: Option<Recorder>,
    /// The order waits for this record.
    order_record: Option<StatementId>,
    order: Option<StatementId>,
    funding: Option<Funding>,
    /// The user's wish to end was passed on.
    stopped: bool,
    ended: Option<core::Ended>,
}

/// Runs a connection to its end.
pub(super) async fn run(
    buyer: &Buyer,
    address: &Address,
    stream: TcpStream,
    (plan, sink, stop): (Plan<'_>, &mut dyn Sink, watch::Receiver<bool>),
) -> Result<Outcome, BuyError> {
    let seed = entropy::draw().map_err(BuyError::NoEntropy)?;
    let session = Session {
        machine: core::Buyer::new(buyer.config(address), *seed, now()),
        buyer,
        link: Link::new(stream).map_err(BuyError::Connection)?,
        plan: Some(plan),
        sink,
        acks: mpsc::unbounded_channel(),
        last_store: None,
        menu: None,
        paying: None,
        recorder: None,
        order_record: None,
        order: None,
        funding: None,
        stopped: false,
        ended: None,
    };
    let span = tracing::info_span!(
        "buyer_session",
        order = tracing::field::Empty,
        seller = tracing::field::Empty,
        topic = tracing::field::Empty
    );
    session.run(stop).instrument(span).await
}

impl Session<'_> {
    async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Outcome, BuyError> {
        let mut connected = true;
        while connected && self.ended.is_none() {
            if let Some(menu) = self.menu.take() {
                self.choose(&menu).await?;
            }
            connected = match self.work() {
                Ok(true) => {
                    tokio::task::yield_now().await;
                    true
                }
                Ok(false) => self.wait(&mut stop).await,
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
                let (draft, funding) = self.buyer.draft(menu, request).await?;
                self.recorder = Some(Recorder::start(self.buyer.settings.records.clone(), request.record.form));
                self.funding = Some(funding);
                match self.machine.place(now(), draft) {
                    Ok(order) => self.order = Some(order),
                    Err(error) => {
                        self.buyer.close_funding(self.funding.as_ref()).await;
                        return Err(BuyError::Place(error));
                    }
                }
            }
            Some(Plan::Resume(account)) => {
                self.recorder = Some(Recorder::start(self.buyer.settings.records.clone(), Form::Full));
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
        let read = self.link.try_read()?;
        let mut moved = read == Read::Some;
        moved |= self.frames();
        while let Ok(ack) = self.acks.1.try_recv() {
            self.ack(ack);
            moved = true;
        }
        moved |= self.outputs();
        self.machine.poll_transmit(now(), self.link.output());
        moved |= self.link.try_write()?;
        if read == Read::Closed && self.ended.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(moved)
    }

    fn frames(&mut self) -> bool {
        let mut moved = false;
        loop {
            match self.link.next_frame() {
                Ok(Some(frame)) => {
                    // An offence shows in the machine's output.
                    if let Ok(delivery) = self.machine.handle_frame(now(), frame) {
                        let written = delivery.messages().try_for_each(|(seq, message)| self.sink.write(seq, &message));
                        if let Err(error) = written {
                            self.sink_failed(&error);
                            return true;
                        }
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
    }

    fn ack(&mut self, ack: Ack) {
        match ack {
            Ack::Durable(id) => {
                self.last_store.take_if(|last| id >= *last);
                self.machine.stored(now(), id);
            }
            Ack::Failed(error) => {
                tracing::error!(%error, "the journal has failed; the session freezes");
                self.machine.stop(Reason::Frozen);
            }
        }
    }

    fn outputs(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.machine.poll_output(now()) {
            moved = true;
            match output {
                Output::Menu(menu) => self.menu = Some(menu),
                Output::Sample(_) | Output::Quote(_) => {}
                Output::Store { id, entries, .. } => self.store(id, &entries),
                Output::RecordOrder(order) => {
                    let id = order.id;
                    let records = self.recorder.as_mut().is_some_and(|recorder| recorder.record(order));
                    if records {
                        self.order_record = Some(id);
                    } else {
                        self.machine.recorded(id, None);
                    }
                }
                Output::Record(statement) => {
                    if let Some(recorder) = &mut self.recorder {
                        recorder.record(statement);
                    }
                }
                Output::Pay { invoice, before } => self.pay(&invoice, before),
                Output::Event(event) => self.event(event),
                Output::Closed(ended) => self.ended = Some(ended),
            }
        }
        moved
    }

    /// The sink's file is synced by the journal's thread, before the rows.
    fn store(&mut self, id: StoreId, entries: &[Entry]) {
        let Some(order) = self.machine.order().map(BuyerOrder::id).or(self.order) else { return };
        self.last_store = Some(id);
        match self.sink.flush() {
            Ok(barrier) => {
                let journal = &self.buyer.settings.journal;
                journal.write_behind(order_stream(&order), entries, (id, &self.acks.0), barrier);
            }
            Err(error) => {
                self.last_store = None;
                self.sink_failed(&error);
            }
        }
    }

    /// What was received is not held: nothing more is paid for, and this process does not go on with
    /// the order. A later resume takes up where the sink is whole.
    fn sink_failed(&mut self, error: &io::Error) {
        tracing::error!(%error, "the sink has failed; nothing more is paid for");
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
            channel: terms.order.channel,
        };
        let payer = self.buyer.settings.payer.clone();
        self.paying = Some((invoice.id(), Box::pin(pay_bill(payer, bill))));
    }

    fn paid(&mut self, invoice: &StatementId, result: Result<Proof, RailError>) {
        match result {
            Ok(Proof::Voucher) => self.machine.paid(invoice, None),
            Ok(Proof::Bytes(bytes)) => self.machine.paid(invoice, Some(bytes)),
            Err(error) => {
                tracing::error!(%error, "the rail does not pay; the session stops");
                if let RailError::Dishonest(what) = error {
                    (self.buyer.settings.listener)(&Event::Dishonest(what));
                }
                self.machine.stop(crate::seller::reason_of(&error));
            }
        }
    }

    fn event(&self, event: core::Event) {
        let listener = &self.buyer.settings.listener;
        match event {
            core::Event::Live { start, exposure } => {
                if let (Some(order), Some(account)) = (self.order, self.machine.order()) {
                    let span = tracing::Span::current();
                    span.record("order", tracing::field::display(order));
                    span.record("seller", tracing::field::display(account.seller()));
                    span.record("topic", account.terms().product.topic.as_str());
                    listener(&Event::Live { order, start, exposure });
                }
            }
            core::Event::Invoiced { n, windows, messages, due } => {
                listener(&Event::Invoiced { n, windows, messages, due });
            }
            core::Event::Paid { total, .. } => listener(&Event::Paid { total }),
            core::Event::Defaulted(_) | core::Event::Recorded(_) => {}
        }
    }

    fn recorded(&mut self, recorded: Recorded) {
        match recorded {
            Recorded::Done(statement, record) => {
                (self.buyer.settings.listener)(&Event::Recorded(statement));
                self.order_record.take_if(|order| *order == statement);
                self.machine.recorded(statement, Some(record));
            }
            Recorded::Skipped => {
                // An order that cannot be recorded is not sent.
                if self.order_record.take().is_some() {
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
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        let timeout = self.machine.poll_timeout();
        // A resumed order can be ended only once it is live.
        let stoppable = !self.stopped && (self.machine.is_live() || matches!(self.plan, Some(Plan::Place(_))));
        tokio::select! {
            ready = self.link.ready() => return ready.is_ok(),
            Some(ack) = self.acks.1.recv() => self.ack(ack),
            (invoice, result) = async { match &mut self.paying {
                Some((invoice, task)) => (*invoice, task.await),
                None => std::future::pending().await,
            }} => {
                self.paying = None;
                self.paid(&invoice, result);
            }
            recorded = async { match &mut self.recorder {
                Some(recorder) => recorder.next().await,
                None => std::future::pending().await,
            }} => self.recorded(recorded),
            () = sleep_until(timeout) => self.machine.handle_timeout(now()),
            () = crate::stopped(stop), if stoppable => {
                self.stopped = true;
                self.machine.exit(now());
            }
        }
        true
    }

    /// Writes what is left and waits for journal and records.
    async fn finish(mut self) -> Result<Outcome, BuyError> {
        self.machine.hang_up();
        self.outputs();
        let ended = self.ended.take().unwrap_or(core::Ended::Told(None));
        self.machine.poll_transmit(now(), self.link.output());
        // Written before the journal is waited for: nothing in it depends on these rows.
        let _ = self.link.try_write();
        while let Some(last) = self.last_store {
            match self.acks.1.recv().await {
                Some(Ack::Durable(id)) if id < last => {}
                Some(Ack::Durable(_) | Ack::Failed(_)) | None => self.last_store = None,
            }
        }
        self.link.end_output().await;
        // Records that take longer go on to be made by the recorder's own task.
        let _ = tokio::time::timeout(RECORD_WAIT, self.flush_records()).await;
        let Self { link, machine, funding, .. } = self;
        link.close().await;
        Ok(Outcome { account: machine.into_order(), ended, funding })
    }

    async fn flush_records(&mut self) {
        while let Some(recorder) = self.recorder.as_mut().filter(|recorder| recorder.is_busy()) {
            let recorded = recorder.next().await;
            self.recorded(recorded);
        }
    }
}

/// Pays once, however often the rail must be asked.
async fn pay_bill(payer: Arc<dyn Payer>, bill: Bill) -> Result<Proof, RailError> {
    let mut answer = payer.pay(&bill).await;
    for _ in 0..RAIL_TRIES {
        match answer {
            // Nothing was sent.
            Err(RailError::Unavailable) => {
                tokio::time::sleep(RAIL_RETRY).await;
                answer = payer.pay(&bill).await;
            }
            // Money may have moved: ask before anything else.
            Err(RailError::Unknown) => match payer.status(&bill.invoice).await {
                Ok(PaymentStatus::Paid(proof)) => return Ok(proof),
                Ok(PaymentStatus::NotPaid) => answer = payer.pay(&bill).await,
                Err(error @ RailError::Dishonest(_)) => return Err(error),
                Ok(PaymentStatus::Pending) | Err(_) => tokio::time::sleep(RAIL_RETRY).await,
            },
            answer => return answer,
        }
    }
    Err(RailError::Unknown)
}

/// What a seller answers before there is an order.
#[derive(Debug)]
pub struct Asked {
    /// The menu.
    pub menu: Signed<Menu>,
    /// The sample, if asked for.
    pub sample: Option<Signed<Sample>>,
    /// The quote, if asked for.
    pub quote: Option<Signed<Quote>>,
}

/// Fetches a menu, and the sample or quote that `pick` asks for, if any.
///
/// # Errors
/// [`BuyError`].
pub async fn ask(
    config: sdpp_proto::buyer::BuyerConfig,
    stream: TcpStream,
    pick: impl FnOnce(&Menu) -> Option<Ask>,
) -> Result<Asked, BuyError> {
    let seed = entropy::draw().map_err(BuyError::NoEntropy)?;
    let mut machine = core::Buyer::new(config, *seed, now());
    let mut link = Link::new(stream).map_err(BuyError::Connection)?;
    let strange = || BuyError::Ended(core::Ended::Told(None));
    let Output::Menu(menu) = next_answer(&mut machine, &mut link).await? else { return Err(strange()) };
    let mut asked = Asked { menu: *menu, sample: None, quote: None };
    if let Some(question) = pick(&asked.menu) {
        machine.ask(question);
        let answer = next_answer(&mut machine, &mut link).await?;
        if let Output::Sample(sample) = answer {
            asked.sample = Some(*sample);
        } else if let Output::Quote(quote) = answer {
            asked.quote = Some(*quote);
        } else {
            return Err(strange());
        }
    }
    link.close().await;
    Ok(asked)
}

/// The machine's next output; frames are moved until there is one.
async fn next_answer(machine: &mut core::Buyer, link: &mut Link) -> Result<Output, BuyError> {
    loop {
        if let Some(output) = machine.poll_output(now()) {
            if let Output::Closed(ended) = output {
                return Err(BuyError::Ended(ended));
            }
            return Ok(output);
        }
        machine.poll_transmit(now(), link.output());
        link.try_write().map_err(BuyError::Connection)?;
        let read = link.try_read().map_err(BuyError::Connection)?;
        let mut moved = false;
        while let Ok(Some(frame)) = link.next_frame() {
            moved = true;
            // An offence shows in the machine's output.
            let _ = machine.handle_frame(now(), frame);
        }
        if read == Read::Closed && !moved {
            machine.hang_up();
        } else if !moved {
            tokio::select! {
                ready = link.ready() => ready.map_err(BuyError::Connection)?,
                () = sleep_until(machine.poll_timeout()) => machine.handle_timeout(now()),
            }
        }
    }
}

//! The seller's side of one connection, as a pure machine.
//!
//! ```text
//! Hello ──hello──▶ Ordering ──order'──▶ Admitting ──admit()──▶ Storing ──stored()──▶ Live ──▶ Closed
//!                     │ ▲                    │ refuse()                                │
//!                     └─┴─ ask / answer      └──────────────▶ Closed ◀─────────────────┘
//! ```
//! The driver feeds frames, commands, time and answers, and drains [`Seller::poll_output`] and
//! [`Seller::poll_transmit`]. Nothing here reads a clock, a disk or a rail.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::codec::{Bytes32, StatementId};
use crate::frame::{self, FrameHeader, FrameKind};
use crate::identity::SigningKey;
use crate::journal::{Entry, StoreId};
use crate::limits;
use crate::message::Batch;
use crate::money::Amount;
use crate::offence::{Fault, Offence, Reason};
use crate::statement::{AnyStatement, Attach, Menu, Order, Payment, Sample, Signed};
use crate::suite::{Entropy, SealSecret};
use crate::time::Timestamp;
use crate::wire;

mod handshake;
mod live;
mod order;
mod resume;
mod span;

pub use order::{Offered, SellerOrder};
pub use resume::RestoreError;

use handshake::{Admitting, Ordering, Storing};
use live::Live;

/// What a seller is, on every connection.
pub struct SellerConfig {
    /// The identity.
    pub key: SigningKey,
    /// The menu, signed by it.
    pub menu: Signed<Menu>,
    /// Secrets of the menu's sealing keys.
    pub seals: Vec<SealSecret>,
    /// Free samples.
    pub samples: Vec<Signed<Sample>>,
}

/// What the machine asks of its driver.
#[derive(Debug)]
pub enum Output {
    /// Decide about an order: answer with [`Seller::admit`], [`Seller::readmit`] or
    /// [`Seller::refuse`]. `order` is there when it travelled; it may be known all the same.
    Admit(Box<Admit>),
    /// Make these rows durable, in order, then call [`Seller::stored`].
    Store {
        /// Number of the write.
        id: StoreId,
        /// Rows for the order's journal.
        entries: Vec<Entry>,
    },
    /// Ask the rail whether the payment settles the invoice, then call [`Seller::settled`].
    Settle(Box<Settle>),
    /// Record a statement when there is time; nothing waits for it.
    Record(AnyStatement),
    /// Something a person or a program may want to see.
    Event(Event),
    /// The connection is over. Write what [`Seller::poll_transmit`] still gives, then close; take
    /// the account with [`Seller::into_order`].
    Closed(Ended),
}

/// A decision to take about an order.
#[derive(Debug)]
pub struct Admit {
    /// The signed order, where it travelled.
    pub order: Option<Signed<Order>>,
    /// Id of the order.
    pub order_id: StatementId,
    /// The buyer's start of this connection. Its signature is verified where `order` is given.
    pub attach: Signed<Attach>,
    /// The order's record, by the buyer's word.
    pub verification: Option<Bytes32>,
    /// What keeps it from being a new order: the menu has changed, or its time is over. One that is known goes
    /// on all the same; else the machine, however it is answered, names this offence.
    pub unfit: Option<Offence>,
}

/// A payment to be checked by the rail.
#[derive(Debug)]
pub struct Settle {
    /// Cumulative amount credited before it.
    pub before: Amount,
    /// The number behind the last message of its invoice; none where a restored journal has lost that.
    pub messages: Option<u64>,
    /// The payment, its signature verified.
    pub payment: Signed<Payment>,
}

/// The terms on which an order is admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// Most that may be owed; at most what the order allows.
    pub exposure: Amount,
    /// Outstanding windows; at most what the order asks for.
    pub windows: u32,
    /// Whether the buyer starts with one message and doubles.
    pub ramp: bool,
    /// Most that may ever be due: the smaller of the order's limit and the locked deposit.
    pub ceiling: Amount,
}

impl Admission {
    /// Nothing at all: for an attach to an order that is not known, which the machine refuses.
    pub const fn nothing() -> Self {
        Self { exposure: Amount::ZERO, windows: 1, ramp: true, ceiling: Amount::ZERO }
    }
}

/// Something worth showing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The session is live.
    Live {
        /// First message that will be sent.
        start: u64,
    },
    /// An invoice is durable and may leave; once per invoice.
    Invoiced {
        /// Its number.
        n: u64,
        /// Messages of its span.
        messages: u64,
        /// Payload bytes of its span.
        bytes: u64,
        /// Windows of its span.
        windows: u32,
    },
    /// A payment was credited.
    Paid {
        /// The invoice.
        invoice: StatementId,
        /// Number of the invoice.
        n: u64,
        /// Cumulative messages paid.
        messages: u64,
        /// Cumulative amount.
        total: Amount,
    },
    /// The buyer acknowledged an invoice's digest.
    Acknowledged(StatementId),
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Paid in full; the buyer's settlement is there unless it was withheld.
    Settled {
        /// The buyer signed, too.
        countersigned: bool,
    },
    /// Not paid in time; the own `default` is signed.
    Defaulted,
    /// The other side broke a rule.
    Offence(Offence),
    /// Refused or given up without blame.
    Stopped(Reason),
    /// The other side said so.
    Told(Option<Fault>),
}

enum State {
    Hello,
    Ordering(Box<Ordering>),
    Admitting(Box<Admitting>),
    Storing(Box<Storing>),
    Live(Box<Live>),
    Closed(Option<Box<SellerOrder>>),
}

/// What all states share.
struct Common {
    config: Arc<SellerConfig>,
    entropy: Entropy,
    outputs: VecDeque<Output>,
    /// Frames that are ready to be written.
    wire: Vec<u8>,
    next_store: StoreId,
}

impl Common {
    fn store(&mut self, entries: Vec<Entry>) -> StoreId {
        let id = self.next_store;
        self.next_store = StoreId(id.0.saturating_add(1));
        self.outputs.push_back(Output::Store { id, entries });
        id
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

/// The seller's side of one connection.
pub struct Seller {
    common: Common,
    state: State,
    deadline: Timestamp,
}

impl Seller {
    /// A fresh connection. `seed` is 32 random bytes, used for nothing else.
    pub fn new(config: Arc<SellerConfig>, seed: [u8; 32], now: Timestamp) -> Self {
        Self {
            common: Common {
                config,
                entropy: Entropy::new(seed),
                outputs: VecDeque::new(),
                wire: Vec::new(),
                next_store: StoreId(0),
            },
            state: State::Hello,
            deadline: now.after_ms(limits::HANDSHAKE_MS),
        }
    }

    /// Takes one whole frame; it is opened in place.
    ///
    /// # Errors
    /// The other side's offence: the connection is over, and the error frame is ready.
    pub fn handle_frame(&mut self, now: Timestamp, frame: &mut [u8]) -> Result<(), Offence> {
        if self.is_closed() {
            // A frame that was under way when this side ended.
            return Ok(());
        }
        let state = core::mem::replace(&mut self.state, State::Closed(None));
        let result = self.route(now, state, frame);
        if let Err(offence) = result {
            self.end(now, Ended::Offence(offence));
        }
        result
    }

    fn route(&mut self, now: Timestamp, state: State, frame: &mut [u8]) -> Result<(), Offence> {
        let header = match FrameHeader::of_frame(frame) {
            Ok(header) => header,
            Err(offence) => {
                self.state = state;
                return Err(offence);
            }
        };
        let body = frame.get(limits::FRAME_HEADER_LEN..).unwrap_or_default();
        match (state, header.kind) {
            (State::Hello, FrameKind::Hello) => {
                let next = handshake::hello(&mut self.common, now, body)?;
                self.state = State::Ordering(Box::new(next));
                self.deadline = now.after_ms(limits::CHOOSING_MS);
            }
            (State::Ordering(mut state), FrameKind::Ask) => {
                state.ask(&mut self.common, body)?;
                self.state = State::Ordering(state);
            }
            (State::Ordering(state), FrameKind::Order) => {
                let next = state.order(&mut self.common, now, body)?;
                self.state = State::Admitting(Box::new(next));
                self.deadline = now.after_ms(limits::HANDSHAKE_MS);
            }
            (State::Live(mut live), FrameKind::Sealed) => {
                let result = live.handle_frame(&mut self.common, now, frame);
                self.state = State::Live(live);
                return result.and_then(|()| self.after_live(now));
            }
            (state, FrameKind::Error) => {
                self.state = state;
                let code = crate::codec::decode::<u16>(body, limits::ERROR_MAX).map_err(|_| Offence::BadFrame)?;
                self.end(now, Ended::Told(Fault::of_code(code)));
            }
            (state, _) => {
                self.state = state;
                return Err(Offence::UnexpectedFrame);
            }
        }
        Ok(())
    }

    /// Ends the connection if the live session has come to its end.
    fn after_live(&mut self, now: Timestamp) -> Result<(), Offence> {
        if let State::Live(live) = &mut self.state
            && let Some(ended) = live.take_ended()
        {
            self.end(now, ended);
        }
        Ok(())
    }

    fn end(&mut self, now: Timestamp, ended: Ended) {
        let fault = match &ended {
            Ended::Offence(offence) => Some(Fault::Offence(*offence)),
            Ended::Stopped(reason) => Some(Fault::Reason(*reason)),
            Ended::Defaulted => Some(Fault::Offence(Offence::NotPaid)),
            Ended::Settled { .. } | Ended::Told(_) => None,
        };
        let state = core::mem::replace(&mut self.state, State::Closed(None));
        let (account, was_live) = match state {
            State::Closed(account) => {
                self.state = State::Closed(account);
                return self.push_closed_once(ended, fault);
            }
            State::Live(live) => (Some(live.close(&mut self.common, now, fault)), true),
            State::Storing(storing) => (Some(storing.into_account()), false),
            State::Hello | State::Ordering(_) | State::Admitting(_) => (None, false),
        };
        if !was_live {
            self.write_clear_error(fault);
        }
        self.state = State::Closed(account);
        self.common.outputs.push_back(Output::Closed(ended));
    }

    /// After an offence was found while the state was moved out: it stands as closed already.
    fn push_closed_once(&mut self, ended: Ended, fault: Option<Fault>) {
        if !self.common.outputs.iter().any(|output| matches!(output, Output::Closed(_))) {
            self.write_clear_error(fault);
            self.common.outputs.push_back(Output::Closed(ended));
        }
    }

    fn write_clear_error(&mut self, fault: Option<Fault>) {
        if let Some(fault) = fault {
            frame::write_clear(&mut self.common.wire, FrameKind::Error, &wire::error_body(fault.code()));
        }
    }

    /// Admits a new order. Refused (`false`) if no decision is awaited; nothing changes then.
    pub fn admit(&mut self, now: Timestamp, admission: &Admission) -> bool {
        self.decide(now, None, admission)
    }

    /// Admits a connection of an order that is known: its account goes on.
    pub fn readmit(&mut self, now: Timestamp, account: Box<SellerOrder>, admission: &Admission) -> bool {
        self.decide(now, Some(account), admission)
    }

    fn decide(&mut self, now: Timestamp, known: Option<Box<SellerOrder>>, admission: &Admission) -> bool {
        match core::mem::replace(&mut self.state, State::Closed(None)) {
            State::Admitting(admitting) => {
                match admitting.admit(&mut self.common, known, admission) {
                    Ok(storing) => self.state = State::Storing(Box::new(storing)),
                    Err((ended, account)) => {
                        self.state = State::Closed(account);
                        self.end(now, ended);
                    }
                }
                true
            }
            other @ (State::Hello | State::Ordering(_) | State::Storing(_) | State::Live(_) | State::Closed(_)) => {
                self.state = other;
                false
            }
        }
    }

    /// Refuses the order, or stops: the other side is told why.
    pub fn refuse(&mut self, now: Timestamp, reason: Reason) {
        if !matches!(self.state, State::Closed(_)) {
            self.end(now, Ended::Stopped(reason));
        }
    }

    /// The transport found an offence before there was a whole frame, such as a length above its
    /// limit: the connection is over.
    pub fn offend(&mut self, now: Timestamp, offence: Offence) {
        if !matches!(self.state, State::Closed(_)) {
            self.end(now, Ended::Offence(offence));
        }
    }

    /// The connection is gone. What is still to be stored follows as outputs.
    pub fn hang_up(&mut self, now: Timestamp) {
        if !matches!(self.state, State::Closed(_)) {
            self.end(now, Ended::Told(None));
        }
    }

    /// All writes up to this one are durable.
    pub fn stored(&mut self, now: Timestamp, through: StoreId) {
        match core::mem::replace(&mut self.state, State::Closed(None)) {
            State::Storing(storing) if through >= storing.store() => {
                self.state = State::Live(Box::new(storing.live(&mut self.common, now)));
                self.deadline = Timestamp::NEVER;
            }
            State::Live(mut live) => {
                live.stored(&mut self.common, now, through);
                self.state = State::Live(live);
                // A local event cannot be the other side's offence.
                let _ = self.after_live(now);
            }
            other
            @ (State::Hello | State::Ordering(_) | State::Admitting(_) | State::Storing(_) | State::Closed(_)) => {
                self.state = other
            }
        }
    }

    /// The rail's answer to [`Output::Settle`]: it is final (`true`), or refused for good.
    pub fn settled(&mut self, now: Timestamp, payment: &StatementId, accepted: bool) {
        let State::Live(live) = &mut self.state else { return };
        if let Err(offence) = live.settled(&mut self.common, payment, accepted) {
            self.end(now, Ended::Offence(offence));
        }
    }

    /// A statement was recorded: the other side is told where.
    pub fn recorded(&mut self, statement: StatementId, record: Bytes32) {
        if let State::Live(live) = &mut self.state {
            live.recorded(statement, record);
        }
    }

    /// Offers messages for sale. What was taken is gone from the batch.
    pub fn offer(&mut self, now: Timestamp, batch: &mut Batch) -> Offered {
        let State::Live(live) = &mut self.state else { return Offered::NotLive };
        live.offer(&mut self.common, now, batch)
    }

    /// Message bytes taken that wait to be sealed: a driver that takes no more while there are many seals them while
    /// they are still near.
    pub fn unsent(&self) -> usize {
        if let State::Live(live) = &self.state { live.unsent() } else { 0 }
    }

    /// The source has nothing at the moment: whole windows need not wait for more.
    pub fn idle(&mut self, now: Timestamp) {
        if let State::Live(live) = &mut self.state {
            live.idle(&mut self.common, now);
        }
    }

    /// The source has ended, or the seller wants to stop: the last invoice is made.
    pub fn finish(&mut self, now: Timestamp) {
        if let State::Live(live) = &mut self.state {
            live.finish(&mut self.common, now);
        }
    }

    /// Takes the next request to the driver.
    pub fn poll_output(&mut self, now: Timestamp) -> Option<Output> {
        if let State::Live(live) = &mut self.state
            && let Err(offence) = live.work(&mut self.common)
        {
            self.end(now, Ended::Offence(offence));
        }
        self.common.outputs.pop_front()
    }

    /// Appends frames that are ready to `out`, until it holds at least `enough` bytes or nothing is
    /// left. Says whether anything was added.
    pub fn poll_transmit(&mut self, now: Timestamp, out: &mut Vec<u8>, enough: usize) -> bool {
        let before = out.len();
        out.append(&mut self.common.wire);
        if let State::Live(live) = &mut self.state {
            live.transmit(now, out, enough);
        }
        out.len() > before
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.state {
            State::Closed(_) => None,
            State::Live(live) => live.poll_timeout(),
            State::Hello | State::Ordering(_) | State::Admitting(_) | State::Storing(_) => Some(self.deadline),
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Closed(_) => {}
            State::Live(live) => {
                if let Some(ended) = live.handle_timeout(&mut self.common, now) {
                    self.end(now, ended);
                }
            }
            State::Hello | State::Ordering(_) | State::Admitting(_) | State::Storing(_) => {
                if now >= self.deadline {
                    self.end(now, Ended::Offence(Offence::HandshakeTimeout));
                }
            }
        }
    }

    /// Whether the session is live.
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    /// Whether the connection is over.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// The account, while the session is live.
    pub fn order(&self) -> Option<&SellerOrder> {
        match &self.state {
            State::Live(live) => Some(live.account()),
            State::Closed(account) => account.as_deref(),
            State::Hello | State::Ordering(_) | State::Admitting(_) | State::Storing(_) => None,
        }
    }

    /// Takes the account out, so that a later connection can go on with it. The connection is over.
    pub fn into_order(mut self, now: Timestamp) -> Option<Box<SellerOrder>> {
        if !matches!(self.state, State::Closed(_)) {
            self.end(now, Ended::Told(None));
        }
        match self.state {
            State::Closed(account) => account,
            State::Hello | State::Ordering(_) | State::Admitting(_) | State::Storing(_) | State::Live(_) => None,
        }
    }
}

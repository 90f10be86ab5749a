//! The buyer's side of one connection, as a pure machine.
//!
//! ```text
//! Menu ──menu'──▶ Choosing ──place() / resume()──▶ Storing ──stored()──▶ Recording ──recorded()──▶
//!                  │ ▲                                                  (a new order only)
//!                  └─┴─ ask / answer
//! ──▶ Session ──session──▶ Live ──▶ Closed
//! ```
//! The driver feeds frames, commands, time and answers, and drains [`Buyer::poll_output`] and
//! [`Buyer::poll_transmit`]. Nothing here reads a clock, a disk or a rail.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::codec::{Bytes32, ChannelId, StatementId};
use crate::frame::{self, FrameHeader, FrameKind};
use crate::identity::{PublicKey, SigningKey};
use crate::journal::{Entry, StoreId};
use crate::limits;
use crate::money::Amount;
use crate::offence::{Fault, Offence, Reason};
use crate::statement::{AnyStatement, Default as Unpaid, Invoice, Menu, Quote, RecordPolicy, Sample, Signed, Signing};
use crate::suite::{Entropy, Suite};
use crate::time::Timestamp;
use crate::wire::{self, Ask};

mod handshake;
mod live;
mod order;
mod receive;

pub use order::BuyerOrder;
pub use receive::Delivery;

use handshake::{AwaitMenu, Choosing, Placing};
use live::Live;

/// What a buyer is.
pub struct BuyerConfig {
    /// The identity: signs orders and attaches.
    pub key: SigningKey,
    /// The seller it wants to talk to; none accepts anybody, which the user must have asked for.
    pub seller: Option<PublicKey>,
    /// Suites to offer, the preferred one first.
    pub suites: Vec<Suite>,
    /// Whether money moves at the rail's `pay`: then the intent is durable before the call.
    pub pay_moves_money: bool,
}

/// What a buyer orders.
#[derive(Clone, Debug)]
pub struct OrderDraft {
    /// Number of the product.
    pub product: u32,
    /// Number of the payment option.
    pub option: u16,
    /// Messages wanted; none: open end.
    pub quantity: Option<u64>,
    /// Outstanding windows.
    pub windows: u32,
    /// Most to owe.
    pub exposure_max: Amount,
    /// Most to spend.
    pub limit: Amount,
    /// The channel that backs it.
    pub channel: Option<ChannelId>,
    /// What is recorded.
    pub record: RecordPolicy,
    /// Key that signs payments: the channel's signer.
    pub sign_key: SigningKey,
    /// Fresh and random; the reference under which the channel was opened.
    pub nonce: Bytes32,
    /// Not accepted after this.
    pub until: Timestamp,
}

/// What the machine asks of its driver.
#[derive(Debug)]
pub enum Output {
    /// The seller's menu is here, verified: ask, place an order, or resume one.
    Menu(Box<Signed<Menu>>),
    /// A sample, verified.
    Sample(Box<Signed<Sample>>),
    /// A quote, verified.
    Quote(Box<Signed<Quote>>),
    /// Make these rows durable, in order, then call [`Buyer::stored`]. Before that, the sink must
    /// hold all messages below `delivered_through` as durably.
    Store {
        /// Number of the write.
        id: StoreId,
        /// Rows for the order's journal.
        entries: Vec<Entry>,
        /// What the sink must hold first.
        delivered_through: u64,
    },
    /// Record the order, then call [`Buyer::recorded`] for it: the order waits for that. Without
    /// records, call it at once with `None`.
    RecordOrder(AnyStatement),
    /// Record a statement when there is time; nothing waits for it.
    Record(AnyStatement),
    /// Pay through the rail, then call [`Buyer::paid`].
    Pay {
        /// The newest invoice; it covers all before it.
        invoice: Box<Signed<Invoice>>,
        /// Cumulative amount paid before.
        before: Amount,
    },
    /// The journal was restored: ask the rail which of these invoices was paid already, from the
    /// first on, then call [`Buyer::recalled`]. Nothing is paid before.
    Recall(Vec<StatementId>),
    /// Something a person or a program may want to see.
    Event(Event),
    /// The connection is over. Write what [`Buyer::poll_transmit`] still gives, then close; take
    /// the account with [`Buyer::into_order`].
    Closed(Ended),
}

/// Something worth showing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The session is live.
    Live {
        /// First message that will come.
        start: u64,
        /// Most that the seller lets this buyer owe.
        exposure: Amount,
    },
    /// An invoice was verified.
    Invoiced {
        /// Number of the invoice.
        n: u64,
        /// Windows it covers.
        windows: u32,
        /// Cumulative messages.
        messages: u64,
        /// Messages of its span.
        count: u64,
        /// Payload bytes of its span.
        bytes: u64,
        /// Cumulative amount due.
        due: Amount,
    },
    /// A payment left.
    Paid {
        /// Number of the invoice.
        n: u64,
        /// Cumulative amount.
        total: Amount,
    },
    /// The seller declared a default.
    Defaulted(Box<Signed<Unpaid>>),
    /// The seller recorded a statement.
    Recorded(StatementId),
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Both settlements are signed.
    Settled,
    /// Paid in full, but the seller did not sign the end: the last pair stands alone.
    Withheld,
    /// The other side broke a rule.
    Offence(Offence),
    /// Given up without blame.
    Stopped(Reason),
    /// The other side said so.
    Told(Option<Fault>),
}

enum State {
    Menu(Box<AwaitMenu>),
    Choosing(Box<Choosing>),
    Placing(Box<Placing>),
    Live(Box<Live>),
    Closed(Option<Box<BuyerOrder>>),
}

/// What all states share.
struct Common {
    config: BuyerConfig,
    entropy: Entropy,
    outputs: VecDeque<Output>,
    wire: Vec<u8>,
    next_store: StoreId,
}

impl Common {
    fn store(&mut self, entries: Vec<Entry>, delivered_through: u64) -> StoreId {
        let id = self.next_store;
        self.next_store = StoreId(id.0.saturating_add(1));
        self.outputs.push_back(Output::Store { id, entries, delivered_through });
        id
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

/// The buyer's side of one connection.
pub struct Buyer {
    common: Common,
    state: State,
    deadline: Timestamp,
}

impl Buyer {
    /// A fresh connection; its hello is ready. `seed` is 32 random bytes, used for nothing else.
    pub fn new(config: BuyerConfig, seed: [u8; 32], now: Timestamp) -> Self {
        let mut common = Common {
            config,
            entropy: Entropy::new(seed),
            outputs: VecDeque::new(),
            wire: Vec::new(),
            next_store: StoreId(0),
        };
        let state = AwaitMenu::hello(&mut common);
        Self { common, state: State::Menu(Box::new(state)), deadline: now.after_ms(limits::HANDSHAKE_MS) }
    }

    /// Takes one whole frame; it is opened in place and its messages are lent from it.
    ///
    /// # Errors
    /// The other side's offence: the connection is over, and the error frame is ready.
    pub fn handle_frame<'a>(&mut self, now: Timestamp, frame: &'a mut [u8]) -> Result<Delivery<'a>, Offence> {
        if self.is_closed() {
            // A frame that was under way when this side ended.
            return Ok(Delivery::nothing(Signing::Window));
        }
        let state = core::mem::replace(&mut self.state, State::Closed(None));
        let result = self.route(now, state, frame);
        if let Err(offence) = &result {
            self.end(Ended::Offence(*offence));
        }
        result
    }

    fn route<'a>(&mut self, now: Timestamp, state: State, frame: &'a mut [u8]) -> Result<Delivery<'a>, Offence> {
        let header = match FrameHeader::of_frame(frame) {
            Ok(header) => header,
            Err(offence) => {
                self.state = state;
                return Err(offence);
            }
        };
        let state = match (state, header.kind) {
            (State::Live(live), FrameKind::Sealed) => return self.live_frame(now, live, frame),
            (state, _) => state,
        };
        let body = frame.get(limits::FRAME_HEADER_LEN..).unwrap_or_default();
        self.clear_frame(now, state, (header.kind, body))?;
        Ok(Delivery::nothing(Signing::Window))
    }

    fn live_frame<'a>(
        &mut self,
        now: Timestamp,
        mut live: Box<Live>,
        frame: &'a mut [u8],
    ) -> Result<Delivery<'a>, Offence> {
        let result = live.handle_frame(&mut self.common, now, frame);
        let ended = live.take_ended();
        self.state = State::Live(live);
        if let (Ok(_), Some(ended)) = (&result, ended) {
            self.end(ended);
        }
        result
    }

    fn clear_frame(&mut self, now: Timestamp, state: State, (kind, body): (FrameKind, &[u8])) -> Result<(), Offence> {
        match (state, kind) {
            (State::Menu(state), FrameKind::Menu) => {
                let next = state.menu(&mut self.common, now, body)?;
                self.state = State::Choosing(Box::new(next));
                self.deadline = now.after_ms(limits::CHOOSING_MS);
            }
            (State::Choosing(mut state), FrameKind::Answer) => {
                state.answer(&mut self.common, body)?;
                self.state = State::Choosing(state);
            }
            (State::Placing(state), FrameKind::Session) if state.is_sent() => {
                match state.session(&mut self.common, now, body) {
                    Ok(live) => {
                        self.state = State::Live(Box::new(live));
                        self.deadline = Timestamp::NEVER;
                    }
                    Err((refusal, account)) => {
                        self.state = State::Closed(Some(account));
                        match refusal {
                            handshake::Refusal::Offence(offence) => return Err(offence),
                            handshake::Refusal::OldJournal => self.end(Ended::Stopped(Reason::Frozen)),
                        }
                    }
                }
            }
            (state @ State::Live(_), FrameKind::Error) => {
                // The seller's errors are sealed by now: this one is anybody's, and as good as a cut.
                self.state = state;
                self.end(Ended::Told(None));
            }
            (state, FrameKind::Error) => {
                self.state = state;
                let code = crate::codec::decode::<u16>(body, limits::ERROR_MAX).map_err(|_| Offence::BadFrame)?;
                self.end(Ended::Told(Fault::of_code(code)));
            }
            (state, _) => {
                self.state = state;
                return Err(Offence::UnexpectedFrame);
            }
        }
        Ok(())
    }

    fn end(&mut self, ended: Ended) {
        let fault = match &ended {
            Ended::Offence(offence) => Some(Fault::Offence(*offence)),
            Ended::Stopped(reason) => Some(Fault::Reason(*reason)),
            Ended::Settled | Ended::Withheld | Ended::Told(_) => None,
        };
        let (account, was_live) = match core::mem::replace(&mut self.state, State::Closed(None)) {
            State::Live(live) => (Some(live.close(&mut self.common, fault)), true),
            State::Placing(placing) => (Some(placing.into_account()), false),
            State::Closed(account) => (account, false),
            State::Menu(_) | State::Choosing(_) => (None, false),
        };
        self.state = State::Closed(account);
        if self.common.outputs.iter().any(|output| matches!(output, Output::Closed(_))) {
            return;
        }
        if let Some(fault) = fault.filter(|_| !was_live) {
            frame::write_clear(&mut self.common.wire, FrameKind::Error, &wire::error_body(fault.code()));
        }
        self.common.outputs.push_back(Output::Closed(ended));
    }

    /// Asks for a sample or a quote. Refused (`false`) unless a menu is being chosen from.
    pub fn ask(&mut self, ask: Ask) -> bool {
        let State::Choosing(choosing) = &mut self.state else { return false };
        choosing.ask(&mut self.common, ask);
        true
    }

    /// Places a new order.
    ///
    /// # Errors
    /// [`PlaceError`]; nothing was changed.
    pub fn place(&mut self, now: Timestamp, draft: OrderDraft) -> Result<StatementId, PlaceError> {
        match core::mem::replace(&mut self.state, State::Closed(None)) {
            State::Choosing(choosing) => match choosing.place(&mut self.common, now, draft) {
                Ok(placing) => {
                    let id = placing.order_id();
                    self.state = State::Placing(Box::new(placing));
                    self.deadline = now.after_ms(limits::HANDSHAKE_MS);
                    Ok(id)
                }
                Err((error, choosing)) => {
                    self.state = State::Choosing(choosing);
                    Err(error)
                }
            },
            other @ (State::Menu(_) | State::Placing(_) | State::Live(_) | State::Closed(_)) => {
                self.state = other;
                Err(PlaceError::NotNow)
            }
        }
    }

    /// Goes on with an order.
    ///
    /// # Errors
    /// [`PlaceError::NotNow`], with the account.
    pub fn resume(&mut self, now: Timestamp, account: Box<BuyerOrder>) -> Result<(), Box<BuyerOrder>> {
        match core::mem::replace(&mut self.state, State::Closed(None)) {
            State::Choosing(choosing) => {
                self.state = State::Placing(Box::new(choosing.resume(&mut self.common, now, account)));
                self.deadline = now.after_ms(limits::HANDSHAKE_MS);
                Ok(())
            }
            other @ (State::Menu(_) | State::Placing(_) | State::Live(_) | State::Closed(_)) => {
                self.state = other;
                Err(account)
            }
        }
    }

    /// The transport found an offence before there was a whole frame, such as a length above its
    /// limit: the connection is over.
    pub fn offend(&mut self, offence: Offence) {
        if !self.is_closed() {
            self.end(Ended::Offence(offence));
        }
    }

    /// The connection is gone. What is still to be stored follows as outputs.
    pub fn hang_up(&mut self) {
        if !self.is_closed() {
            self.end(Ended::Told(None));
        }
    }

    /// All writes up to this one are durable.
    pub fn stored(&mut self, now: Timestamp, through: StoreId) {
        match &mut self.state {
            State::Placing(placing) => placing.stored(&mut self.common, through),
            State::Live(live) => {
                live.stored(&mut self.common, now, through);
                if let Some(ended) = live.take_ended() {
                    self.end(ended);
                }
            }
            State::Menu(_) | State::Choosing(_) | State::Closed(_) => {}
        }
    }

    /// A statement was recorded (`None`: there are no records). For the order, this lets it go.
    pub fn recorded(&mut self, statement: StatementId, record: Option<Bytes32>) {
        match &mut self.state {
            State::Placing(placing) => placing.recorded(&mut self.common, &statement, record),
            State::Live(live) => live.recorded(statement, record),
            State::Menu(_) | State::Choosing(_) | State::Closed(_) => {}
        }
    }

    /// The rail has paid an invoice. `proof`: the rail's, none where the payment is the voucher.
    pub fn paid(&mut self, invoice: &StatementId, proof: Option<Vec<u8>>) {
        if let State::Live(live) = &mut self.state {
            live.paid(&mut self.common, invoice, proof);
        }
    }

    /// The rail's answer to [`Output::Recall`]: the first of the invoices that was paid, or none was.
    pub fn recalled(&mut self, now: Timestamp, paid: Option<StatementId>) {
        if let State::Live(live) = &mut self.state {
            live.recalled(&mut self.common, now, paid);
        }
    }

    /// Wants no more: the seller makes the last invoice.
    pub fn exit(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Live(live) => live.exit(now),
            State::Menu(_) | State::Choosing(_) | State::Placing(_) => self.end(Ended::Stopped(Reason::ShuttingDown)),
            State::Closed(_) => {}
        }
    }

    /// Stops; the other side is told why.
    pub fn stop(&mut self, reason: Reason) {
        if !self.is_closed() {
            self.end(Ended::Stopped(reason));
        }
    }

    /// Takes the next request to the driver.
    pub fn poll_output(&mut self, now: Timestamp) -> Option<Output> {
        if let State::Live(live) = &mut self.state
            && let Err(offence) = live.work(&mut self.common, now)
        {
            self.end(Ended::Offence(offence));
        }
        self.common.outputs.pop_front()
    }

    /// Appends frames that are ready to `out`. Says whether anything was added.
    pub fn poll_transmit(&mut self, now: Timestamp, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        out.append(&mut self.common.wire);
        if let State::Live(live) = &mut self.state {
            live.transmit(now, out);
        }
        out.len() > before
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.state {
            State::Closed(_) => None,
            State::Live(live) => Some(live.poll_timeout()),
            State::Menu(_) | State::Choosing(_) | State::Placing(_) => Some(self.deadline),
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Closed(_) => {}
            State::Live(live) => {
                if let Some(ended) = live.handle_timeout(&mut self.common, now) {
                    self.end(ended);
                }
            }
            State::Menu(_) | State::Choosing(_) | State::Placing(_) => {
                if now >= self.deadline {
                    self.end(Ended::Offence(Offence::HandshakeTimeout));
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

    /// The account, once there is an order.
    pub fn order(&self) -> Option<&BuyerOrder> {
        match &self.state {
            State::Live(live) => Some(live.account()),
            State::Placing(placing) => Some(placing.account()),
            State::Closed(account) => account.as_deref(),
            State::Menu(_) | State::Choosing(_) => None,
        }
    }

    /// Takes the account out, so that a later connection can go on with it. The connection is over.
    pub fn into_order(mut self) -> Option<Box<BuyerOrder>> {
        if !self.is_closed() {
            self.end(Ended::Told(None));
        }
        match self.state {
            State::Closed(account) => account,
            State::Menu(_) | State::Choosing(_) | State::Placing(_) | State::Live(_) => None,
        }
    }
}

/// Why an order was not placed. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlaceError {
    /// There is no menu to choose from yet, or no longer.
    NotNow,
    /// The menu has no such product or payment option.
    Unknown,
    /// More windows than the product offers, or none.
    Windows,
    /// The option needs a channel, or takes none.
    Channel,
    /// A quantity of nothing, or more than is available.
    Quantity,
    /// The exposure or the limit does not pay for one message.
    TooLittle,
}

impl core::fmt::Display for PlaceError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotNow => "no menu to order from: wait for it, or connect again",
            Self::Unknown => "the menu has no such product or payment option",
            Self::Windows => "ask for at least one and at most the product's number of outstanding windows",
            Self::Channel => "this payment option needs a channel with a deposit, or takes none",
            Self::Quantity => "order at least one message and at most what is available",
            Self::TooLittle => "the exposure or the spend limit does not pay for one message: raise it",
        })
    }
}

impl core::error::Error for PlaceError {}

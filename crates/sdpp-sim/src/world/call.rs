//! Calls of rails and records: they take time to arrive, and time to be answered, and meanwhile anything
//! can happen to who asked.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sdpp_proto::codec::StatementId;
use sdpp_proto::statement::{AnyStatement, Form, Order, Payment, Signed};
use sdpp_rail::{
    Backing, Bill, CloseStatus, Funding, OpenRequest, Outcome, Outstanding, Payee, Payer, PaymentStatus, Proof,
    RailError, RecordId, Records, Redeemed,
};

use super::ctx::{Ctx, Event, LinkId, Party};

/// Who asked, and about what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    pub(crate) party: Party,
    /// Its life: an answer to an earlier one is lost.
    pub(crate) boot: u32,
    pub(crate) link: Option<LinkId>,
    /// The order, invoice, payment or statement it is about.
    pub(crate) about: StatementId,
}

/// A question to a rail.
pub(crate) enum Call {
    Open(Arc<dyn Payer>, Box<OpenRequest>),
    /// The same of what was opened before, if it was.
    Opened(Arc<dyn Payer>, Box<OpenRequest>),
    Pay(Arc<dyn Payer>, Box<Bill>),
    Status(Arc<dyn Payer>, StatementId),
    Close(Arc<dyn Payer>, Funding),
    Admit(Arc<dyn Payee>, Box<Signed<Order>>),
    Settle(Arc<dyn Payee>, Box<Bill>, Box<Signed<Payment>>),
    Redeem(Arc<dyn Payee>, bool),
    Outstanding(Arc<dyn Payee>),
    Record(Arc<dyn Records>, AnyStatement),
}

/// Its answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Opened(Result<Funding, RailError>),
    Paid(Result<Proof, RailError>),
    Status(Result<PaymentStatus, RailError>),
    Closed(Result<CloseStatus, RailError>),
    Admitted(Result<Backing, RailError>),
    Settled(Result<Outcome, RailError>),
    Redeemed(Result<Redeemed, RailError>, bool),
    Outstanding(Result<Vec<Outstanding>, RailError>),
    Recorded(Result<RecordId, RailError>),
}

impl Answer {
    /// Whether it says that the ledger contradicts itself.
    const fn accuses(&self) -> bool {
        let error = match self {
            Self::Opened(Err(error))
            | Self::Paid(Err(error))
            | Self::Status(Err(error))
            | Self::Closed(Err(error))
            | Self::Admitted(Err(error))
            | Self::Settled(Err(error))
            | Self::Redeemed(Err(error), _)
            | Self::Outstanding(Err(error))
            | Self::Recorded(Err(error)) => error,
            _ => return false,
        };
        matches!(error, RailError::Dishonest(_))
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open(..) => "open",
            Self::Opened(..) => "opened",
            Self::Pay(..) => "pay",
            Self::Status(..) => "status",
            Self::Close(..) => "close",
            Self::Admit(..) => "admit",
            Self::Settle(..) => "settle",
            Self::Redeem(..) => "redeem",
            Self::Outstanding(..) => "outstanding",
            Self::Record(..) => "record",
        })
    }
}

/// In one thread everything answers at once: what takes time is the way.
pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a rail waits for somebody, and nobody else is there"),
    }
}

impl Call {
    /// Asks.
    pub(crate) fn apply(self, about: &StatementId) -> Answer {
        match self {
            Self::Open(payer, request) => Answer::Opened(now_or_never(payer.open(&request))),
            Self::Opened(payer, request) => {
                let found = now_or_never(payer.opened(&request));
                Answer::Opened(found.and_then(|found| found.ok_or(RailError::Declined("nothing was opened"))))
            }
            Self::Pay(payer, bill) => Answer::Paid(now_or_never(payer.pay(&bill))),
            Self::Status(payer, invoice) => Answer::Status(now_or_never(payer.status(&invoice))),
            Self::Close(payer, funding) => Answer::Closed(now_or_never(payer.close(&funding))),
            Self::Admit(payee, order) => Answer::Admitted(now_or_never(payee.admit(&order))),
            Self::Settle(payee, bill, payment) => Answer::Settled(now_or_never(payee.settle(&bill, &payment))),
            Self::Redeem(payee, finished) => Answer::Redeemed(now_or_never(payee.redeem(about, finished)), finished),
            Self::Outstanding(payee) => Answer::Outstanding(now_or_never(payee.outstanding())),
            Self::Record(records, statement) => Answer::Recorded(now_or_never(records.append(&statement, Form::Full))),
        }
    }

    /// What somebody gets who hears nothing.
    pub(crate) fn unheard(&self) -> Answer {
        let unknown = RailError::Unknown;
        let unavailable = RailError::Unavailable;
        match self {
            Self::Open(..) | Self::Opened(..) => Answer::Opened(Err(unknown)),
            Self::Pay(..) => Answer::Paid(Err(unknown)),
            Self::Status(..) => Answer::Status(Err(unavailable)),
            Self::Close(..) => Answer::Closed(Err(unknown)),
            Self::Admit(..) => Answer::Admitted(Err(unavailable)),
            Self::Settle(..) => Answer::Settled(Err(unknown)),
            Self::Redeem(_, finished) => Answer::Redeemed(Err(unknown), *finished),
            Self::Outstanding(..) => Answer::Outstanding(Err(unavailable)),
            Self::Record(..) => Answer::Recorded(Err(unknown)),
        }
    }

    /// What somebody gets whose question never left.
    pub(crate) fn refused(&self) -> Answer {
        let unavailable = RailError::Unavailable;
        match self {
            Self::Open(..) | Self::Opened(..) => Answer::Opened(Err(unavailable)),
            Self::Pay(..) => Answer::Paid(Err(unavailable)),
            Self::Status(..) => Answer::Status(Err(unavailable)),
            Self::Close(..) => Answer::Closed(Err(unavailable)),
            Self::Admit(..) => Answer::Admitted(Err(unavailable)),
            Self::Settle(..) => Answer::Settled(Err(unavailable)),
            Self::Redeem(_, finished) => Answer::Redeemed(Err(unavailable), *finished),
            Self::Outstanding(..) => Answer::Outstanding(Err(unavailable)),
            Self::Record(..) => Answer::Recorded(Err(unavailable)),
        }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Answered,
    Refused,
    ReplyLost,
    RequestLost,
}

/// Sends a call on its way; who asks has so long to wait before it asks again anyhow.
pub(crate) fn ask(ctx: &mut Ctx, ticket: Ticket, call: Call, wait_ms: u64) {
    let mut way = wait_ms + ctx.below(4);
    if ctx.shared.chance(ctx.shared.weather.late) {
        ctx.hit("call: late");
        way += ctx.below(2_000);
    }
    ctx.after(way, Event::Apply(ticket, call));
}

/// A call has arrived, if it does.
pub(crate) fn arrive(ctx: &mut Ctx, ticket: Ticket, call: Call, is_down: bool) {
    let fate = if is_down {
        ctx.hit("rail: away");
        Fate::Refused
    } else if ctx.shared.chance(ctx.shared.weather.call) {
        match ctx.below(3) {
            0 => Fate::Refused,
            1 => Fate::ReplyLost,
            _ => Fate::RequestLost,
        }
    } else {
        Fate::Answered
    };
    ctx.say(|| format!("{:?} asks its rail: {call:?} {:.6}: {fate:?}", ticket.party, ticket.about.to_string()));
    let answer = match fate {
        Fate::Answered => call.apply(&ticket.about),
        Fate::Refused => {
            ctx.hit("call: refused");
            call.refused()
        }
        Fate::ReplyLost => {
            ctx.hit("call: reply lost");
            let unheard = call.unheard();
            drop(call.apply(&ticket.about));
            unheard
        }
        Fate::RequestLost => {
            ctx.hit("call: request lost");
            call.unheard()
        }
    };
    ctx.say(|| format!("{:?} will hear: {answer:?}", ticket.party));
    if answer.accuses() {
        ctx.shared.accuse();
    }
    let mut way = 1 + ctx.below(4) + ctx.shared.spent_ms();
    if ctx.shared.chance(ctx.shared.weather.late) {
        way += ctx.below(1_000);
    }
    ctx.after(way, Event::Answer(ticket, answer));
}

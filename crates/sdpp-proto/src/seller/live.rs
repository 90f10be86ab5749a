//! A live session at the seller: data and invoices out, payments in.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::order::{Ending, Offered, SellerOrder};
use super::span::Span;
use super::{Common, Ended, Event, Output, Settle};
use crate::codec::{Bytes32, StatementId};
use crate::frame;
use crate::identity::PublicKey;
use crate::journal::StoreId;
use crate::keys::{Direction, Traffic, TrafficKey};
use crate::limits;
use crate::message::Batch;
use crate::money::Amount;
use crate::offence::{Fault, Offence};
use crate::statement::{Ack, AnyStatement, Default as Unpaid, Kind, Payment, Settlement, Signed};
use crate::time::Timestamp;
use crate::wire::{self, Control};

/// A write under way, and what follows when it is durable.
enum Awaited {
    Invoice(StatementId),
    Payment(Box<Signed<Payment>>),
    /// Own statements that may be sent once durable.
    Send(Vec<u8>),
    CounterSettlement,
    /// The default, to be sent once durable.
    Default(AnyStatement),
    Evidence,
}

/// What has been sent of the account's spans on this connection.
struct Cursor {
    /// Span that is being sent.
    n: u64,
    /// Bytes of it that were sent.
    offset: usize,
    /// Next invoice to send.
    invoice_n: u64,
}

/// What goes into one frame.
struct FramePlan {
    n: u64,
    start: usize,
    end: usize,
    /// The span ends with this frame.
    cut: bool,
    /// What the messages leave for control items.
    room: usize,
}

/// Most that a cut takes.
const CUT_ROOM: usize = 16;

/// When this connection began, and when either side was last heard on it.
struct Pulse {
    since: Timestamp,
    heard: Timestamp,
    spoke: Timestamp,
}

/// Where a connection starts.
pub(super) struct Start {
    pub(super) now: Timestamp,
    pub(super) first_n: u64,
}

pub(super) struct Live {
    account: Box<SellerOrder>,
    send: TrafficKey,
    receive: TrafficKey,
    cursor: Cursor,
    /// Control items that wait for a frame.
    control: VecDeque<Vec<u8>>,
    stores: VecDeque<(StoreId, Awaited)>,
    /// Payments read and not yet verified.
    unverified: Vec<Signed<Payment>>,
    /// Payments verified, waiting for the rail.
    waiting: VecDeque<Signed<Payment>>,
    /// The payment at the rail.
    settling: Option<Signed<Payment>>,
    /// Cumulative amount that the rail has settled; the account follows when it is durable.
    settled: Amount,
    /// Id of the last payment of the chain, credited or not.
    tip: StatementId,
    pulse: Pulse,
    ended: Option<Ended>,
    exit_deadline: Timestamp,
}

impl Live {
    pub(super) fn new(common: &mut Common, account: Box<SellerOrder>, traffic: &Traffic, start: Start) -> Self {
        let tip = account.credited().unwrap_or_else(|| account.id());
        let mut live = Self {
            send: traffic.direction(Direction::ToBuyer),
            receive: traffic.direction(Direction::ToSeller),
            cursor: Cursor { n: start.first_n, offset: 0, invoice_n: start.first_n },
            control: VecDeque::new(),
            stores: VecDeque::new(),
            unverified: Vec::new(),
            waiting: VecDeque::new(),
            settling: None,
            settled: account.paid(),
            tip,
            pulse: Pulse { since: start.now, heard: start.now, spoke: start.now },
            ended: None,
            exit_deadline: Timestamp::NEVER,
            account,
        };
        if live.account.is_restored() {
            live.account.finish(start.now);
        }
        live.account.advance_time(start.now);
        live.account.refresh();
        // The connection before may have ended between the last payment and the two settlements.
        live.settle_if_paid(common, start.now);
        live.store_fresh(common);
        live
    }

    pub(super) fn account(&self) -> &SellerOrder {
        &self.account
    }

    pub(super) const fn take_ended(&mut self) -> Option<Ended> {
        self.ended.take()
    }

    pub(super) fn handle_frame(
        &mut self,
        common: &mut Common,
        now: Timestamp,
        bytes: &mut [u8],
    ) -> Result<(), Offence> {
        let opened = frame::open_sealed(&mut self.receive, bytes)?;
        self.pulse.heard = now;
        if !opened.messages.is_empty() {
            return Err(Offence::BadFrame);
        }
        for control in wire::read_controls(opened.control)? {
            self.control_item(common, now, &control)?;
        }
        Ok(())
    }

    fn control_item(&mut self, common: &mut Common, now: Timestamp, control: &Control<'_>) -> Result<(), Offence> {
        match control {
            Control::Statement { kind: Kind::Payment, statement, .. } => {
                let payment = Signed::parse_unverified(statement).map_err(|_| Offence::BadPayment)?;
                if self.unverified.len() >= limits::INVOICES_WAITING_MAX {
                    return Err(Offence::PaymentChain);
                }
                self.unverified.push(payment);
            }
            Control::Statement { kind: Kind::Ack, statement, .. } => self.ack(common, statement)?,
            Control::Statement { kind: Kind::Settlement, statement, .. } => {
                self.counter_settlement(common, statement)?
            }
            Control::Exit => self.finish(common, now),
            Control::Error(code) => self.ended = Some(Ended::Told(Fault::of_code(*code))),
            Control::Recorded { .. } => {}
            Control::Statement { .. } | Control::Cut(_) => return Err(Offence::UnexpectedControl),
        }
        Ok(())
    }

    fn pays(&self) -> PublicKey {
        self.account.terms.order.sign_pk
    }

    fn ack(&mut self, common: &mut Common, statement: &[u8]) -> Result<(), Offence> {
        let ack = Signed::<Ack>::parse_unverified(statement).map_err(|_| Offence::BadAck)?;
        if ack.order_id != self.account.id() {
            return Err(Offence::BadAck);
        }
        // One for an invoice that was paid in the meantime is late, not wrong. One row per invoice: a
        // buyer does not fill the journal, and what is of no use is not worth a verification.
        if !self.account.awaits_ack(&ack.invoice_id) {
            return Ok(());
        }
        ack.verify(&self.pays()).map_err(|_| Offence::BadAck)?;
        self.account.acknowledged(&ack.invoice_id);
        let id = common.store([ack.erase().into()].into());
        self.stores.push_back((id, Awaited::Evidence));
        common.event(Event::Acknowledged(ack.invoice_id));
        Ok(())
    }

    fn counter_settlement(&mut self, common: &mut Common, statement: &[u8]) -> Result<(), Offence> {
        let settlement = Signed::<Settlement>::parse_unverified(statement).map_err(|_| Offence::BadSettlement)?;
        if !self.account.is_settled() {
            return Err(Offence::UnexpectedControl);
        }
        if self.stores.iter().any(|(_, awaited)| matches!(awaited, Awaited::CounterSettlement)) {
            // One is on its way to the journal already.
            return Ok(());
        }
        settlement.verify(&self.pays()).map_err(|_| Offence::BadSettlement)?;
        if Some(settlement.body()) != self.own_settlement().as_ref() {
            return Err(Offence::SettlementMismatch);
        }
        let id = common.store([settlement.erase().into()].into());
        self.stores.push_back((id, Awaited::CounterSettlement));
        Ok(())
    }

    /// Verifies what was read since the last call and hands the next payment to the rail. The newest
    /// signature of a run covers the rest by hash; but each is evidence, or a voucher, of its own and
    /// goes to the journal, so each is verified.
    pub(super) fn work(&mut self, common: &mut Common) -> Result<(), Offence> {
        let pays = self.pays();
        for payment in core::mem::take(&mut self.unverified) {
            // The newest of the chain, sent again: it was verified, and repeating it is cheap for the sender.
            if payment.id() == self.tip {
                continue;
            }
            payment.verify(&pays).map_err(|_| Offence::BadPayment)?;
            self.chain_payment(payment)?;
        }
        if self.settling.is_none() {
            self.settle_next(common)?;
        }
        self.store_fresh(common);
        Ok(())
    }

    fn chain_payment(&mut self, payment: Signed<Payment>) -> Result<(), Offence> {
        if payment.prev != self.tip {
            return Err(Offence::PaymentChain);
        }
        self.account.check_payment(&payment)?;
        self.tip = payment.id();
        // A voucher for more replaces one for less that still waits; a transfer of its own does not.
        // Nor does what nothing new was due for, where vouchers have proofs: it comes without one.
        if self.pays_by_vouchers() {
            let is_proven = payment.proof.is_some();
            while self.waiting.pop_back_if(|before| is_proven || before.proof.is_none()).is_some() {}
        }
        self.waiting.push_back(payment);
        Ok(())
    }

    fn settle_next(&mut self, common: &mut Common) -> Result<(), Offence> {
        let Some(payment) = self.waiting.pop_front() else { return Ok(()) };
        self.account.check_payment(&payment)?;
        if payment.total == self.settled && (self.pays_by_vouchers() || payment.proof.is_none()) {
            // Nothing new is due: no rail is asked.
            self.store_payment(common, payment);
            return Ok(());
        }
        self.settling = Some(payment.clone());
        let before = self.settled;
        let messages = self.account.waiting(&payment.invoice_id).map(|issued| issued.invoice.end());
        common.outputs.push_back(Output::Settle(Box::new(Settle { before, messages, payment })));
        Ok(())
    }

    /// Whether the newest payment is worth all before it: cumulative vouchers against a channel.
    const fn pays_by_vouchers(&self) -> bool {
        self.account.terms.option.channel
    }

    fn store_payment(&mut self, common: &mut Common, payment: Signed<Payment>) {
        let id = common.store([payment.erase().into()].into());
        self.stores.push_back((id, Awaited::Payment(Box::new(payment))));
    }

    pub(super) fn settled(&mut self, common: &mut Common, id: &StatementId, accepted: bool) -> Result<(), Offence> {
        let Some(payment) = self.settling.take_if(|payment| payment.id() == *id) else { return Ok(()) };
        if !accepted {
            return Err(Offence::PaymentRefused);
        }
        self.settled = payment.total;
        self.store_payment(common, payment);
        Ok(())
    }

    pub(super) fn stored(&mut self, common: &mut Common, now: Timestamp, through: StoreId) {
        while let Some((_, awaited)) = self.stores.pop_front_if(|(id, _)| *id <= through) {
            match awaited {
                Awaited::Invoice(id) => self.invoice_stored(common, now, &id),
                Awaited::Payment(payment) => self.payment_stored(common, now, *payment),
                Awaited::Send(item) => self.control.push_back(item),
                Awaited::CounterSettlement => {
                    self.account.ending = Some(Ending::Countersigned);
                    self.ended = Some(Ended::Settled { countersigned: true });
                }
                Awaited::Default(unpaid) => {
                    let mut item = Vec::new();
                    wire::envelope(&unpaid).write(&mut item);
                    self.control.push_back(item);
                    common.outputs.push_back(Output::Record(unpaid));
                    self.ended = Some(Ended::Defaulted);
                }
                Awaited::Evidence => {}
            }
        }
        self.store_fresh(common);
    }

    fn invoice_stored(&mut self, common: &mut Common, now: Timestamp, id: &StatementId) {
        self.account.invoice_stored(id, now);
        let every = u64::from(self.account.terms.order.record.every);
        if let Some(issued) = self.account.waiting(id) {
            let invoice = &issued.invoice;
            common.event(Event::Invoiced {
                n: invoice.n,
                messages: invoice.count,
                bytes: invoice.bytes,
                windows: invoice.windows,
            });
            let on_beat = issued.invoice.n.checked_rem(every) == Some(0);
            if on_beat || issued.invoice.last {
                common.outputs.push_back(Output::Record(issued.invoice.erase()));
            }
        }
    }

    fn payment_stored(&mut self, common: &mut Common, now: Timestamp, payment: Signed<Payment>) {
        self.account.credit_payment(payment);
        if let (Some(invoice), Some(payment)) = (&self.account.last_paid, &self.account.last_payment) {
            common.event(Event::Paid {
                invoice: invoice.id(),
                n: invoice.n,
                messages: invoice.end(),
                total: payment.total,
            });
        }
        self.account.advance_time(now);
        self.settle_if_paid(common, now);
    }

    /// Signs the end once the last invoice is paid. A default that was paid late is superseded: the
    /// order ends with a last invoice.
    fn settle_if_paid(&mut self, common: &mut Common, now: Timestamp) {
        if self.account.last_paid.as_ref().is_some_and(|invoice| invoice.last) {
            self.settle_order(common, now);
        } else if self.account.ending == Some(Ending::Defaulted) && self.account.closed.is_empty() {
            self.account.ending = None;
            self.account.finish(now);
        }
    }

    /// The last invoice is paid: sign the end.
    fn settle_order(&mut self, common: &mut Common, now: Timestamp) {
        let Some(body) = self.own_settlement() else { return };
        let settlement = Signed::sign(&self.account.key, body);
        if !self.account.is_settled() {
            self.account.ending = Some(Ending::Settled);
        }
        self.exit_deadline = now.after_ms(limits::EXIT_MS);
        let id = common.store([settlement.erase().into()].into());
        let mut item = Vec::new();
        wire::envelope(&settlement.erase()).write(&mut item);
        self.stores.push_back((id, Awaited::Send(item)));
        common.outputs.push_back(Output::Record(settlement.erase()));
    }

    fn own_settlement(&self) -> Option<Settlement> {
        let invoice = self.account.last_paid.as_ref()?;
        Some(Settlement {
            order_id: self.account.id(),
            invoice_id: invoice.id(),
            payment_id: self.account.credited(),
            due: invoice.due,
            paid: self.account.paid(),
        })
    }

    /// Hands new invoices to the journal.
    fn store_fresh(&mut self, common: &mut Common) {
        for invoice in core::mem::take(&mut self.account.fresh) {
            let awaited = Awaited::Invoice(invoice.id);
            let id = common.store([invoice.into()].into());
            self.stores.push_back((id, awaited));
        }
    }

    pub(super) fn offer(&mut self, common: &mut Common, now: Timestamp, batch: &mut Batch) -> Offered {
        let offered = self.account.offer(now, batch);
        if offered == Offered::Done {
            self.account.finish(now);
        }
        self.store_fresh(common);
        offered
    }

    pub(super) fn idle(&mut self, common: &mut Common, now: Timestamp) {
        self.account.advance_time(now);
        self.account.idle(now);
        self.store_fresh(common);
    }

    pub(super) fn finish(&mut self, common: &mut Common, now: Timestamp) {
        self.account.finish(now);
        self.store_fresh(common);
    }

    pub(super) fn recorded(&mut self, statement: StatementId, record: Bytes32) {
        let mut item = Vec::new();
        Control::Recorded { statement, record }.write(&mut item);
        self.control.push_back(item);
    }

    /// Seals what is ready: data and cuts first, then the invoices that became durable.
    pub(super) fn transmit(&mut self, now: Timestamp, out: &mut Vec<u8>, enough: usize) {
        let start = out.len();
        while out.len() < enough && self.transmit_frame(out) {}
        if out.len() > start {
            self.pulse.spoke = now;
        }
    }

    fn transmit_frame(&mut self, out: &mut Vec<u8>) -> bool {
        let plan = self.plan_frame();
        let mut control = Vec::new();
        let mut after = Cursor { n: plan.n, offset: plan.end, invoice_n: self.cursor.invoice_n };
        if plan.cut {
            Control::Cut(plan.n).write(&mut control);
            after = Cursor { n: plan.n.saturating_add(1), offset: 0, invoice_n: self.cursor.invoice_n };
        }
        self.control_items(plan.room, &mut control, &mut after);
        if plan.end == plan.start && control.is_empty() {
            return false;
        }
        let spans = self.account.closed.iter().chain(&self.account.open);
        let span = spans.into_iter().find(|span| span.start.n == plan.n);
        let length = plan.end.saturating_sub(plan.start);
        let data = span.and_then(|span| span.data.at(plan.start).get(..length)).unwrap_or_default();
        if frame::write_sealed(out, &mut self.send, data, &control).is_none() {
            return false;
        }
        self.cursor = after;
        true
    }

    /// Message bytes that wait to be sealed.
    pub(super) fn unsent(&self) -> usize {
        // The newest first: those that were sent and wait for their payment may be many.
        let newest = self.account.open.iter().chain(self.account.closed.iter().rev());
        let spans = newest.take_while(|span| span.start.n >= self.cursor.n);
        let sent = |span: &Span| if span.start.n == self.cursor.n { self.cursor.offset } else { 0 };
        spans.map(|span| span.data.len().saturating_sub(sent(span))).fold(0, usize::saturating_add)
    }

    /// What of the spans goes into the next frame.
    fn plan_frame(&self) -> FramePlan {
        let full = limits::FRAME_PLAIN_MAX.saturating_sub(limits::CONTROL_TRAILER_LEN);
        let mut spans = self.account.closed.iter().chain(&self.account.open);
        let Some(span) = spans.find(|span| span.start.n >= self.cursor.n) else {
            let Cursor { n, offset, .. } = self.cursor;
            return FramePlan { n, start: offset, end: offset, cut: false, room: full };
        };
        // A span that went away was paid: the next one is sent from its beginning.
        let start = if span.start.n == self.cursor.n { self.cursor.offset } else { 0 };
        let end = span.frame_end(start, full);
        let room = full.saturating_sub(end.saturating_sub(start));
        let cut = span.issued.is_some() && end >= span.data.len() && room >= CUT_ROOM;
        FramePlan { n: span.start.n, start, end, cut, room }
    }

    /// Adds durable invoices whose cut was sent, and other items, as far as there is room.
    fn control_items(&mut self, room: usize, control: &mut Vec<u8>, cursor: &mut Cursor) {
        let room = room.min(limits::CONTROL_MAX);
        let mut items = usize::from(!control.is_empty());
        let ready = |span: &&Span| span.start.n >= cursor.invoice_n && span.start.n < cursor.n;
        let mut next = cursor.invoice_n;
        for span in self.account.closed.iter().filter(ready) {
            let Some(issued) = span.issued.as_ref().filter(|issued| issued.durable) else { break };
            let length = issued.invoice.bytes().len().saturating_add(16);
            if control.len().saturating_add(length) > room || items >= limits::CONTROL_ITEMS_MAX {
                break;
            }
            wire::envelope(&issued.invoice.erase()).write(control);
            items = items.saturating_add(1);
            next = span.start.n.saturating_add(1);
        }
        cursor.invoice_n = next;
        while let Some(item) = self
            .control
            .pop_front_if(|item| control.len().saturating_add(item.len()) <= room && items < limits::CONTROL_ITEMS_MAX)
        {
            control.extend_from_slice(&item);
            items = items.saturating_add(1);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let fixed = [
            self.pulse.heard.after_ms(limits::IDLE_MS),
            self.pulse.spoke.after_ms(limits::KEEPALIVE_MS),
            self.exit_deadline,
            self.pay_deadline().unwrap_or(Timestamp::NEVER),
        ];
        fixed.into_iter().chain(self.account.poll_timeout()).min()
    }

    /// When the oldest unpaid invoice must have been paid: its time runs while the buyer can be heard,
    /// and anew on every connection.
    fn pay_deadline(&self) -> Option<Timestamp> {
        if self.account.is_settled() {
            return None;
        }
        // A payment on its way at the rail or to the disk has come in time.
        if self.settling.is_some() || !self.stores.is_empty() {
            return None;
        }
        let issued = self.account.oldest_unpaid()?;
        Some(issued.since.max(self.pulse.since).after_ms(self.account.terms.option.pay_by_ms))
    }

    pub(super) fn handle_timeout(&mut self, common: &mut Common, now: Timestamp) -> Option<Ended> {
        if now >= self.pulse.heard.after_ms(limits::IDLE_MS) {
            return Some(Ended::Offence(Offence::IdleTimeout));
        }
        if now >= self.exit_deadline {
            return Some(Ended::Settled { countersigned: false });
        }
        if let Some(deadline) = self.pay_deadline().filter(|deadline| now >= *deadline) {
            // Once is enough: a second connection that brings no payment is only ended.
            if self.account.ending == Some(Ending::Defaulted) {
                return Some(Ended::Defaulted);
            }
            self.declare_default(common, deadline);
        }
        if now >= self.pulse.spoke.after_ms(limits::KEEPALIVE_MS) {
            self.pulse.spoke = now;
            // An empty frame.
            frame::write_sealed(&mut common.wire, &mut self.send, &[], &[]);
        }
        self.account.advance_time(now);
        self.store_fresh(common);
        None
    }

    fn declare_default(&mut self, common: &mut Common, deadline: Timestamp) {
        let Some(invoice) = self.account.last_invoice() else { return };
        let unpaid = Unpaid {
            order_id: self.account.id(),
            invoice_id: invoice.id(),
            due: invoice.due,
            paid: self.account.paid(),
            deadline,
        };
        let unpaid = Signed::sign(&self.account.key, unpaid);
        self.account.ending = Some(Ending::Defaulted);
        let id = common.store([unpaid.erase().into()].into());
        self.stores.push_back((id, Awaited::Default(unpaid.erase())));
    }

    /// Ends the connection: the rest is sealed, the account stays.
    pub(super) fn close(mut self, common: &mut Common, now: Timestamp, fault: Option<Fault>) -> Box<SellerOrder> {
        self.account.detach(now);
        self.store_fresh(common);
        if let Some(fault) = fault {
            let mut item = Vec::new();
            Control::Error(fault.code()).write(&mut item);
            self.control.push_back(item);
        }
        frame::write_controls(&mut common.wire, &mut self.send, &mut self.control);
        self.account
    }
}

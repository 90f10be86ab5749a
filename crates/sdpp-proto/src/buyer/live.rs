//! A live session at the buyer: messages and invoices in, payments out.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::order::BuyerOrder;
use super::receive::{Delivery, Receiver, Rule, Run};
use super::{Common, Ended, Event, Output};
use crate::codec::{Bytes32, StatementId};
use crate::frame;
use crate::journal::{Entry, StoreId};
use crate::keys::{Direction, Traffic, TrafficKey};
use crate::limits;
use crate::message::{self, Messages};
use crate::offence::{Fault, Offence};
use crate::statement::{Ack, AnyStatement, Default as Unpaid, Invoice, Kind, Payment, Settlement, Signed, Signing};
use crate::time::Timestamp;
use crate::wire::{self, Control};

/// A write under way, and what follows when it is durable.
enum Awaited {
    /// The intent to pay an invoice.
    Intent(Box<Signed<Invoice>>),
    /// A signed payment.
    Payment {
        item: Vec<u8>,
        record: Option<AnyStatement>,
        /// None for one that is sent again.
        event: Option<Event>,
    },
    /// The own settlement.
    Settlement(Vec<u8>),
    Evidence,
}

/// What is known of payments that a restored journal lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Recall {
    /// The rail is to be asked.
    Due,
    /// It is asked.
    Asked,
    /// It has answered: one payment may be made.
    Done,
}

pub(super) struct Live {
    account: Box<BuyerOrder>,
    send: TrafficKey,
    receive: TrafficKey,
    receiver: Receiver,
    /// Invoices read and not yet verified.
    fresh: Vec<Signed<Invoice>>,
    /// Verified invoices that the journal does not hold yet.
    unsaved: Vec<Entry>,
    /// The seller's default, which goes to the journal behind the invoice that it names.
    told: Option<Entry>,
    /// The invoice that is being paid.
    paying: Option<Signed<Invoice>>,
    control: VecDeque<Vec<u8>>,
    stores: VecDeque<(StoreId, Awaited)>,
    heard: Timestamp,
    spoke: Timestamp,
    ended: Option<Ended>,
    exit: Exit,
    recall: Recall,
}

/// How far the end is.
struct Exit {
    asked: bool,
    deadline: Timestamp,
}

impl Live {
    pub(super) fn new(common: &mut Common, account: Box<BuyerOrder>, traffic: &Traffic, now: Timestamp) -> Self {
        let paid_up = account.is_paid_up();
        let settles_only = account.is_restored() && !account.is_settled();
        let mut live = Self {
            send: traffic.direction(Direction::ToSeller),
            receive: traffic.direction(Direction::ToBuyer),
            receiver: Receiver::default(),
            fresh: Vec::new(),
            unsaved: Vec::new(),
            told: None,
            paying: None,
            control: VecDeque::new(),
            stores: Self::send_again(common, &account),
            heard: now,
            spoke: now,
            ended: None,
            exit: Exit {
                asked: false,
                deadline: if paid_up { now.after_ms(limits::EXIT_MS) } else { Timestamp::NEVER },
            },
            recall: Recall::Due,
            account,
        };
        if settles_only {
            live.exit(now);
        }
        live
    }

    /// Payments that the seller does not hold are sent again. Their write may have been under way when
    /// the connection before ended, so they go to the journal again, too.
    fn send_again(common: &mut Common, account: &BuyerOrder) -> VecDeque<(StoreId, Awaited)> {
        let again = |payment: &Signed<Payment>| {
            let id = common.store([payment.erase().into()].into(), account.verified());
            (id, Awaited::Payment { item: item_of(&payment.erase()), record: None, event: None })
        };
        account.payments.unheard().map(again).collect()
    }

    pub(super) fn account(&self) -> &BuyerOrder {
        &self.account
    }

    pub(super) const fn take_ended(&mut self) -> Option<Ended> {
        self.ended.take()
    }

    pub(super) fn handle_frame<'a>(
        &mut self,
        common: &mut Common,
        now: Timestamp,
        bytes: &'a mut [u8],
    ) -> Result<Delivery<'a>, Offence> {
        let opened = frame::open_sealed(&mut self.receive, bytes)?;
        self.heard = now;
        let product = &self.account.terms().product;
        let rule = Rule { signing: product.signing, message_max: product.message_max };
        let first = self.account.next();
        let run = self.receiver.take(opened.messages, rule)?;
        if rule.signing == Signing::Message {
            self.verify_messages(&run, first)?;
        }
        let controls = wire::read_controls(opened.control)?;
        let from = self.account.delivered();
        self.absorb(&run, rule.signing)?;
        // From here on the messages count as delivered: an offence must not keep them back.
        if let Err(offence) = controls.iter().try_for_each(|control| self.control_item(common, control)) {
            self.ended = Some(Ended::Offence(offence));
        }
        Ok(Delivery::new(run, first, from, rule.signing))
    }

    fn verify_messages(&self, run: &Run<'_>, first: u64) -> Result<(), Offence> {
        let (seller, order) = (self.account.seller(), self.account.id());
        let carried = Messages::new(&run.carried, Signing::Message);
        let all = carried.chain(Messages::new(run.whole, Signing::Message));
        let right = (first..).zip(all).all(|(seq, message)| message.verify(&seller, &order, seq));
        if right { Ok(()) } else { Err(Offence::BadMessageSignature) }
    }

    /// Books a run; stops where repeated messages must be compared with the ones delivered before.
    fn absorb(&mut self, run: &Run<'_>, signing: Signing) -> Result<(), Offence> {
        let (mut count, mut bytes) = (run.count, run.bytes);
        let (mut carried, mut whole) = (run.carried.as_slice(), run.whole);
        while count > self.account.until_check() {
            let (head, rest) = if carried.is_empty() { (&mut whole, true) } else { (&mut carried, false) };
            let Some((message, behind)) = message::split_first(head, signing) else { break };
            let length = head.len().saturating_sub(behind.len());
            let payload = u64::try_from(message.bytes.len()).unwrap_or(u64::MAX);
            let slice = head.get(..length).unwrap_or_default();
            *head = behind;
            debug_assert!(rest || behind.is_empty(), "one message was carried");
            self.account.absorb([slice, &[]], 1, payload)?;
            self.account.check_repeated()?;
            count = count.saturating_sub(1);
            bytes = bytes.saturating_sub(payload);
        }
        self.account.absorb([carried, whole], count, bytes)?;
        self.account.check_repeated()
    }

    fn control_item(&mut self, common: &mut Common, control: &Control<'_>) -> Result<(), Offence> {
        match control {
            Control::Cut(n) => {
                if self.receiver.is_inside() {
                    return Err(Offence::WrongCut);
                }
                self.account.cut(*n)?;
            }
            Control::Statement { kind: Kind::Invoice, statement, .. } => {
                let invoice = Signed::parse_unverified(statement).map_err(|_| Offence::BadInvoice)?;
                if self.fresh.len() >= limits::INVOICES_WAITING_MAX {
                    return Err(Offence::InvoiceWithoutCut);
                }
                self.fresh.push(invoice);
            }
            Control::Statement { kind: Kind::Settlement, statement, .. } => self.settlement(common, statement)?,
            Control::Statement { kind: Kind::Default, statement, .. } => self.unpaid(common, statement)?,
            Control::Recorded { .. } if !self.account.takes_record() => {}
            Control::Recorded { statement, record } => {
                let entry = Entry::Record { statement: Bytes32(statement.0), record: *record };
                self.evidence(common, entry);
                common.event(Event::Recorded(*statement));
            }
            Control::Error(code) => self.ended = Some(Ended::Told(Fault::of_code(*code))),
            Control::Statement { .. } | Control::Exit => return Err(Offence::UnexpectedControl),
        }
        Ok(())
    }

    fn evidence(&mut self, common: &mut Common, entry: Entry) {
        let id = common.store([entry].into(), 0);
        self.stores.push_back((id, Awaited::Evidence));
    }

    /// The seller signed the end: sign it, too.
    fn settlement(&mut self, common: &mut Common, statement: &[u8]) -> Result<(), Offence> {
        let theirs = Signed::<Settlement>::parse_unverified(statement).map_err(|_| Offence::BadSettlement)?;
        if !self.account.is_paid_up() {
            return Err(Offence::UnexpectedControl);
        }
        if self.stores.iter().any(|(_, awaited)| matches!(awaited, Awaited::Settlement(_))) {
            // The own one is on its way to the journal already.
            return Ok(());
        }
        theirs.verify(&self.account.seller()).map_err(|_| Offence::BadSettlement)?;
        let own = self.account.settlement().filter(|own| own == theirs.body());
        let own = Signed::sign(self.account.key(), own.ok_or(Offence::SettlementMismatch)?);
        self.account.settled = true;
        let entries: Vec<Entry> = [theirs.erase().into(), own.erase().into()].into();
        let id = common.store(entries, self.account.delivered());
        self.stores.push_back((id, Awaited::Settlement(item_of(&own.erase()))));
        common.outputs.push_back(Output::Record(own.erase()));
        Ok(())
    }

    fn unpaid(&mut self, common: &mut Common, statement: &[u8]) -> Result<(), Offence> {
        let unpaid = Signed::<Unpaid>::parse_unverified(statement).map_err(|_| Offence::BadDefault)?;
        if unpaid.order_id != self.account.id() {
            return Err(Offence::BadDefault);
        }
        if self.account.is_defaulted() {
            // There is one per order: more of them neither say more nor fill the journal.
            return Ok(());
        }
        unpaid.verify(&self.account.seller()).map_err(|_| Offence::BadDefault)?;
        self.account.set_defaulted();
        self.told = Some(unpaid.erase().into());
        common.event(Event::Defaulted(Box::new(unpaid)));
        Ok(())
    }

    /// Verifies what was read since the last call, then pays the newest. The newest signature of a run
    /// covers the rest by hash; but each is evidence of its own and goes to the journal, so each is
    /// verified.
    pub(super) fn work(&mut self, common: &mut Common, now: Timestamp) -> Result<(), Offence> {
        let fresh = core::mem::take(&mut self.fresh);
        if !fresh.is_empty() {
            let chained = fresh.iter().zip(fresh.iter().skip(1)).all(|(before, next)| next.prev == before.id());
            if !chained {
                return Err(Offence::InvoiceChain);
            }
        }
        let seller = self.account.seller();
        fresh.iter().try_for_each(|invoice| invoice.verify(&seller)).map_err(|_| Offence::BadInvoice)?;
        for invoice in &fresh {
            self.account.take_invoice(now, invoice)?;
            self.unsaved.push(invoice.erase().into());
            common.event(Event::Invoiced {
                n: invoice.n,
                windows: invoice.windows,
                messages: invoice.end(),
                count: invoice.count,
                bytes: invoice.bytes,
                due: invoice.due,
            });
        }
        if let Some(newest) = fresh.last().filter(|_| self.account.terms().product.acks) {
            let ack = Ack { order_id: self.account.id(), invoice_id: newest.id() };
            self.control.push_back(item_of(&Signed::sign(self.account.key(), ack).erase()));
        }
        if self.told.is_some() {
            let id = self.save(common);
            self.stores.push_back((id, Awaited::Evidence));
        }
        self.pay_next(common, now);
        Ok(())
    }

    /// Hands over what the journal does not hold yet.
    fn save(&mut self, common: &mut Common) -> StoreId {
        let mut entries = core::mem::take(&mut self.unsaved);
        entries.extend(self.told.take());
        common.store(entries, self.account.verified())
    }

    fn pay_next(&mut self, common: &mut Common, now: Timestamp) {
        if self.paying.is_some() {
            return;
        }
        if self.account.is_restored() && !self.may_pay(common) {
            return;
        }
        let Some(invoice) = self.account.next_to_pay().cloned() else { return };
        self.recall = Recall::Due;
        if invoice.due == self.account.paid() {
            // Nothing new is due: the payment only answers.
            self.sign(common, &invoice, None);
            if invoice.last {
                self.exit.deadline = now.after_ms(limits::EXIT_MS);
            }
            return;
        }
        self.paying = Some(invoice.clone());
        if common.config.pay_moves_money {
            self.account.payments.intent = Some(invoice.id());
            let mut entries = core::mem::take(&mut self.unsaved);
            entries.push(Entry::Intent(Bytes32(invoice.id().0)));
            let id = common.store(entries, self.account.verified());
            self.stores.push_back((id, Awaited::Intent(Box::new(invoice))));
        } else {
            common.outputs.push_back(Output::Pay { invoice: Box::new(invoice), before: self.account.paid() });
        }
    }

    /// After a restore: only once the last invoice is here, and, where money moves at once, when the rail
    /// has said which of those that wait was paid already.
    fn may_pay(&mut self, common: &mut Common) -> bool {
        let all = self.account.last_invoice.as_ref().is_some_and(|invoice| invoice.last);
        if !all || !common.config.pay_moves_money || self.account.unpaid.is_empty() {
            return all;
        }
        if self.recall == Recall::Due {
            self.recall = Recall::Asked;
            let waiting = self.account.unpaid.iter().map(Signed::id).collect();
            common.outputs.push_back(Output::Recall(waiting));
        }
        self.recall == Recall::Done
    }

    /// The rail has said what was paid.
    pub(super) fn recalled(&mut self, common: &mut Common, now: Timestamp, paid: Option<StatementId>) {
        if self.recall == Recall::Asked {
            self.recall = Recall::Done;
            self.account.payments.intent = paid;
            self.pay_next(common, now);
        }
    }

    /// The rail has paid: sign, store, then send.
    pub(super) fn paid(&mut self, common: &mut Common, invoice: &StatementId, proof: Option<Vec<u8>>) {
        if let Some(invoice) = self.paying.take_if(|paying| paying.id() == *invoice) {
            self.sign(common, &invoice, proof);
        }
    }

    fn sign(&mut self, common: &mut Common, invoice: &Signed<Invoice>, proof: Option<Vec<u8>>) {
        let payment = self.account.sign_payment(invoice, proof);
        let mut entries = core::mem::take(&mut self.unsaved);
        entries.push(payment.erase().into());
        let id = common.store(entries, self.account.verified());
        let every = u64::from(self.account.terms().order.record.every);
        let record = invoice.last || invoice.n.checked_rem(every) == Some(0);
        let awaited = Awaited::Payment {
            item: item_of(&payment.erase()),
            record: record.then(|| payment.erase()),
            event: Some(Event::Paid { n: invoice.n, total: payment.total }),
        };
        self.stores.push_back((id, awaited));
    }

    pub(super) fn stored(&mut self, common: &mut Common, now: Timestamp, through: StoreId) {
        while let Some((_, awaited)) = self.stores.pop_front_if(|(id, _)| *id <= through) {
            match awaited {
                Awaited::Intent(invoice) => {
                    common.outputs.push_back(Output::Pay { invoice, before: self.account.paid() });
                }
                Awaited::Payment { item, record, event } => {
                    self.control.push_back(item);
                    event.into_iter().for_each(|event| common.event(event));
                    common.outputs.extend(record.map(Output::Record));
                    if self.account.is_paid_up() {
                        self.exit.deadline = now.after_ms(limits::EXIT_MS);
                    }
                }
                Awaited::Settlement(item) => {
                    self.control.push_back(item);
                    self.ended = Some(Ended::Settled);
                }
                Awaited::Evidence => {}
            }
        }
    }

    pub(super) fn recorded(&mut self, statement: StatementId, record: Option<Bytes32>) {
        if let Some(record) = record {
            self.control.push_back(item(&Control::Recorded { statement, record }));
        }
    }

    /// Asks for the end, once.
    pub(super) fn exit(&mut self, now: Timestamp) {
        if !self.exit.asked {
            self.exit = Exit { asked: true, deadline: now.after_ms(limits::EXIT_MS) };
            self.control.push_back(item(&Control::Exit));
        }
    }

    pub(super) fn transmit(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        if !self.control.is_empty() {
            frame::write_controls(out, &mut self.send, &mut self.control);
            self.spoke = now;
        }
    }

    /// When the end is late: only once this side has asked for it or paid everything.
    const fn exit_deadline(&self) -> Timestamp {
        self.exit.deadline
    }

    pub(super) fn poll_timeout(&self) -> Timestamp {
        let fixed = [self.heard.after_ms(limits::IDLE_MS), self.spoke.after_ms(limits::KEEPALIVE_MS)];
        fixed.into_iter().fold(self.exit_deadline(), Timestamp::min)
    }

    pub(super) fn handle_timeout(&mut self, common: &mut Common, now: Timestamp) -> Option<Ended> {
        if now >= self.heard.after_ms(limits::IDLE_MS) {
            return Some(Ended::Offence(Offence::IdleTimeout));
        }
        if now >= self.exit.deadline {
            if self.account.is_paid_up() {
                return Some(Ended::Withheld);
            }
            if self.exit.asked && self.paying.is_none() {
                return Some(Ended::Stopped(crate::offence::Reason::ShuttingDown));
            }
            self.exit.deadline = Timestamp::NEVER;
        }
        if now >= self.spoke.after_ms(limits::KEEPALIVE_MS) {
            self.spoke = now;
            // An empty frame.
            frame::write_sealed(&mut common.wire, &mut self.send, &[], &[]);
        }
        None
    }

    /// Ends the connection: the rest is sealed, the account stays.
    pub(super) fn close(mut self, common: &mut Common, fault: Option<Fault>) -> Box<BuyerOrder> {
        if !self.unsaved.is_empty() || self.told.is_some() {
            self.save(common);
        }
        self.control.extend(fault.map(|fault| item(&Control::Error(fault.code()))));
        frame::write_controls(&mut common.wire, &mut self.send, &mut self.control);
        self.account
    }
}

fn item(control: &Control<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    control.write(&mut out);
    out
}

fn item_of(statement: &AnyStatement) -> Vec<u8> {
    item(&wire::envelope(statement))
}

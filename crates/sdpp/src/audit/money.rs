//! Payments, what is credited for them, and the ends: acks, settlements, defaults.

use std::collections::VecDeque;

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Ack, Default as Unpaid, Payment, Settlement};

use super::case::{Book, Case, Head, Link, Seen, Stop};
use super::report::{Missing, Party, Topic};
use super::rule::Rule;
use super::sale::{Sale, party};

/// A payment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paid {
    id: StatementId,
    index: u64,
    total: Amount,
}

/// The chain of payments, and how far the seller has credited it.
#[derive(Debug, Default)]
pub(super) struct Money {
    last: Option<Paid>,
    credited: Option<Paid>,
    uncredited: VecDeque<Paid>,
    /// A default that no payment has superseded.
    default: Option<StatementId>,
}

impl Money {
    /// How many payments were made.
    pub(super) fn made(&self) -> u64 {
        self.last.map_or(0, |paid| paid.index.saturating_add(1))
    }

    /// The total paid, by the buyer's word.
    pub(super) fn paid(&self) -> Amount {
        self.last.map_or(Amount::ZERO, |paid| paid.total)
    }

    /// The total credited, by the seller's word.
    pub(super) fn credited(&self) -> Amount {
        self.credited.map_or(Amount::ZERO, |paid| paid.total)
    }

    /// Checks what an invoice says was credited; gives how many payments that are.
    pub(super) fn credit(
        &mut self,
        case: &Case<'_>,
        (by, total): (Option<StatementId>, Amount),
        book: &Book,
    ) -> Result<u64, Stop> {
        let Some(id) = by else {
            case.equal(Rule::InvoicePaid, "credited without a payment", Amount::ZERO, total)?;
            return match self.credited {
                None => Ok(0),
                Some(paid) => Err(fell(case, &paid)),
            };
        };
        let Some(index) = book.payment_index(&id)? else {
            let expected = self.last.map_or(id, |paid| paid.id);
            let link = Link { rule: Rule::InvoicePaid, what: "the payment credited", expected, found: id };
            return Err(case.unlinked(book, &link));
        };
        if let Some(paid) = self.credited.filter(|paid| index < paid.index) {
            return Err(fell(case, &paid));
        }
        while let Some(paid) = self.uncredited.pop_front_if(|paid| paid.index <= index) {
            self.credited = Some(paid);
        }
        case.equal(Rule::InvoicePaid, "credited", self.credited(), total)?;
        Ok(index.saturating_add(1))
    }
}

fn fell(case: &Case<'_>, before: &Paid) -> Stop {
    case.breaks(Rule::InvoicePaid, format!("payment {} of {} was credited before", before.id, before.total))
}

impl Sale {
    /// Checks a payment and takes its invoice, and all before it, as paid.
    pub(super) fn payment(&mut self, head: &Head, payment: &Payment, book: &mut Book) -> Result<Seen, Stop> {
        let case = Case::new(head, Party::Buyer);
        let n = self.check_payment(&case, payment, book)?;
        match self.chain.unpaid_through(&payment.invoice_id, n).and_then(Iterator::last) {
            Some(invoice) => case.equal(Rule::PaymentTotal, "total", invoice.due, payment.total)?,
            None => self.check_paid_again(&case, payment, book)?,
        }
        self.chain.pay_through(&payment.invoice_id, n);
        let paid = Paid { id: head.id, index: self.money.made(), total: payment.total };
        self.money.last = Some(paid);
        self.money.uncredited.push_back(paid);
        if let Some(default) = self.money.default.take_if(|_| self.chain.unpaid().next().is_none()) {
            book.note(Topic::Superseded, Some(default), "the default was answered by a later payment");
        }
        Ok(Seen::Payment { index: paid.index, invoice: n })
    }

    /// All but the total; gives the number of the invoice.
    fn check_payment(&self, case: &Case<'_>, payment: &Payment, book: &Book) -> Result<u64, Stop> {
        let order = &self.terms.order;
        let expected = self.money.last.map_or(self.id, |paid| paid.id);
        let link = Link { rule: Rule::PaymentPrev, what: "the payment before it", expected, found: payment.prev };
        case.links(book, &link)?;
        if payment.channel != order.channel {
            let name = |channel: Option<_>| channel.map_or_else(|| "none".to_owned(), |id| format!("{id}"));
            return case.equal(Rule::PaymentChannel, "channel", name(order.channel), name(payment.channel)).map(|()| 0);
        }
        let Some(n) = book.invoice_number(&payment.invoice_id)? else {
            return Err(self.no_invoice(case, Rule::PaymentInvoice, payment.invoice_id, book));
        };
        if book.is_void(&payment.invoice_id)? {
            return Err(case.breaks(Rule::PaymentVoid, format!("invoice {n} is void")));
        }
        Ok(n)
    }

    /// An invoice that is paid already may be paid again, for the same total.
    fn check_paid_again(&self, case: &Case<'_>, payment: &Payment, book: &mut Book) -> Result<(), Stop> {
        let before = self.money.paid();
        if payment.total < before {
            let text = format!("total: expected at least {before}, found {}", payment.total);
            return Err(case.breaks(Rule::PaymentFalls, text));
        }
        case.equal(Rule::PaymentTotal, "total of an invoice that is paid already", before, payment.total)?;
        book.note(Topic::PaidAgain, Some(case.head.id), "an invoice was paid again, at no new cost");
        Ok(())
    }

    /// Checks who signed a payment, and for which order.
    pub(super) fn payment_belongs(&self, head: &Head, payment: &Payment, book: &Book) -> Result<(), Stop> {
        let ties = [Some(payment.prev), Some(payment.invoice_id)];
        self.belongs(head, (&self.terms.order.sign_pk, &payment.order_id), &ties, book)
    }

    fn no_invoice(&self, case: &Case<'_>, rule: Rule, found: StatementId, book: &Book) -> Stop {
        let expected = self.chain.newest().map_or(self.id, |newest| newest.head.id);
        case.unlinked(book, &Link { rule, what: "its invoice", expected, found })
    }

    /// Checks the buyer's word that a digest is right.
    pub(super) fn ack(&self, head: &Head, ack: &Ack, book: &Book) -> Result<(), Stop> {
        self.belongs(head, (&self.terms.order.sign_pk, &ack.order_id), &[Some(ack.invoice_id)], book)?;
        match book.invoice_number(&ack.invoice_id)? {
            Some(_) => Ok(()),
            None => Err(self.no_invoice(&Case::new(head, Party::Buyer), Rule::AckInvoice, ack.invoice_id, book)),
        }
    }

    /// Checks one side's view of the end.
    pub(super) fn settlement(&self, head: &Head, settlement: &Settlement, book: &Book) -> Result<Seen, Stop> {
        let Settlement { order_id, invoice_id, payment_id, due, paid } = settlement;
        let by = party(&head.issuer, &self.seller, Some(self));
        let signer: &PublicKey = if by == Party::Seller { &self.seller } else { &self.terms.order.sign_pk };
        self.belongs(head, (signer, order_id), &[Some(*invoice_id), *payment_id], book)?;
        let case = Case::new(head, by);
        let rule = Rule::SettlementTotals;
        self.check_newest(&case, rule, (*invoice_id, *due), book)?;
        match (payment_id, self.money.last) {
            (None, None) => {}
            (Some(found), last) => {
                let expected = last.map_or(self.id, |last| last.id);
                case.links(book, &Link { rule, what: "the last payment", expected, found: *found })?;
            }
            (None, Some(last)) => {
                return Err(case.contradicts(rule, Some(last.id), format!("it leaves out payment {}", last.id)));
            }
        }
        case.equal(rule, "paid", self.money.paid(), *paid)?;
        Ok(self.end_seen())
    }

    /// Checks the seller's word that it was not paid in time.
    pub(super) fn default(&mut self, head: &Head, default: &Unpaid, book: &mut Book) -> Result<Seen, Stop> {
        let Unpaid { order_id, invoice_id, due, paid, .. } = default;
        self.belongs(head, (&self.seller, order_id), &[Some(*invoice_id)], book)?;
        let case = Case::new(head, Party::Seller);
        self.check_newest(&case, Rule::DefaultUnpaid, (*invoice_id, *due), book)?;
        self.check_default_paid(&case, (*due, *paid))?;
        if self.chain.unpaid().next().is_none() {
            if paid >= due {
                return Err(case.breaks(Rule::DefaultUnpaid, format!("{due} were due and {paid} credited")));
            }
            let text = "the buyer signed a payment of all that was due, and the seller did not credit it: \
                        whether it arrived and could be settled, only the rail can say";
            book.note(Topic::NotCredited, Some(head.id), text);
        } else {
            self.money.default = Some(head.id);
        }
        Ok(self.end_seen())
    }

    /// What was credited is the total of a payment, and never falls.
    fn check_default_paid(&self, case: &Case<'_>, (due, paid): (Amount, Amount)) -> Result<(), Stop> {
        let credited = self.money.credited();
        case.at_most(Rule::DefaultTotals, "credited", due, paid)?;
        if paid > self.money.paid() {
            return Err(Stop::Missing(Missing::Payment(paid)));
        }
        if paid == credited || self.money.uncredited.binary_search_by_key(&paid, |payment| payment.total).is_ok() {
            return Ok(());
        }
        case.equal(Rule::DefaultTotals, "credited", credited, paid)
    }

    /// The newest invoice that stands, and what is due for it.
    fn check_newest(
        &self,
        case: &Case<'_>,
        rule: Rule,
        (found, due): (StatementId, Amount),
        book: &Book,
    ) -> Result<(), Stop> {
        let Some(newest) = self.chain.newest() else {
            return Err(Stop::Missing(Missing::Statement { id: found, what: "its invoice", named_by: case.head.id }));
        };
        if self.chain.may_end_at(&found, book)? {
            return Err(Stop::Missing(Missing::Forgiveness(case.head.id)));
        }
        case.links(book, &Link { rule, what: "the newest invoice", expected: newest.head.id, found })?;
        let rule = if rule == Rule::DefaultUnpaid { Rule::DefaultTotals } else { rule };
        case.equal(rule, "due", newest.due, due)
    }

    fn end_seen(&self) -> Seen {
        Seen::End { invoices: self.chain.made(), payments: self.money.made() }
    }
}

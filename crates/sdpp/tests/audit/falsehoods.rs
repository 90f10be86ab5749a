//! One falsehood for every rule, named with its statement, its party and its rule.

use std::collections::BTreeSet;

use sdpp::audit::{Party, Rule};
use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Acceptance, Ack, Attach, Invoice, Menu, Order, Payment, Settlement, Signed, Signing};
use sdpp_proto::time::Timestamp;

use crate::passes::finding;
use crate::world::{Edits, Sale, buyer, converse, key, payer, seller};

/// A falsehood: which rule it breaks, which statement is to be named, and the edits.
type Case = (Rule, &'static str, Edits);

fn one(amount: Amount) -> Amount {
    amount.checked_add(Amount::new(1)).unwrap()
}

macro_rules! edit {
    ($rule:ident, $label:literal, $kind:ident: $edit:expr $(, $field:ident: $value:expr)*) => {
        (Rule::$rule, $label, Edits { $kind: $edit, $($field: $value,)* ..Edits::default() })
    };
}

/// Edits the invoice of one number.
macro_rules! invoice {
    ($rule:ident, $n:literal, |$ctx:pat_param, $body:ident| $edit:expr $(, $field:ident: $value:expr)*) => {
        (
            Rule::$rule,
            concat!("invoice ", $n),
            Edits {
                invoice: |$ctx, n, $body| {
                    if n == $n {
                        $edit
                    }
                },
                $($field: $value,)*
                ..Edits::default()
            },
        )
    };
}

macro_rules! payment {
    ($rule:ident, $n:literal, |$ctx:pat_param, $body:ident| $edit:expr) => {
        (
            Rule::$rule,
            concat!("payment ", $n),
            Edits {
                payment: |$ctx, n, $body| {
                    if n == $n {
                        $edit
                    }
                },
                ..Edits::default()
            },
        )
    };
}

macro_rules! acceptance {
    ($rule:ident, $n:literal, |$ctx:pat_param, $body:ident| $edit:expr) => {
        (
            Rule::$rule,
            concat!("acceptance ", $n),
            Edits {
                acceptance: |$ctx, n, $body| {
                    if n == $n {
                        $edit
                    }
                },
                ..Edits::default()
            },
        )
    };
}

fn by_seller() -> Vec<Case> {
    vec![
        edit!(MenuSeller, "menu", menu: |_, body| body.seller = buyer().public()),
        edit!(OrderId, "acceptance 0", acceptance: |_, _, body| body.order_id = StatementId([1; 32])),
        acceptance!(AcceptanceAttach, 1, |ctx, body| body.attach_id = ctx.id("attach 0")),
        acceptance!(AcceptanceAttach, 0, |_, body| body.index = 2),
        acceptance!(AcceptanceExposure, 0, |_, body| body.exposure = Amount::new(101)),
        acceptance!(AcceptanceWindows, 0, |_, body| body.windows = 5),
        acceptance!(AcceptanceStart, 0, |_, body| body.start = 1),
        acceptance!(Forgiven, 1, |_, body| body.start = 43),
        acceptance!(Forgiven, 1, |ctx, body| body.forgiven.as_mut().unwrap().invoice = Some(ctx.id("invoice 2"))),
        acceptance!(Forgiven, 1, |_, body| body.forgiven.as_mut().unwrap().invoice = None),
        acceptance!(Forgiven, 1, |_, body| body.forgiven.as_mut().unwrap().next_n = 3),
        acceptance!(Forgiven, 1, |_, body| {
            body.start = 41;
            body.forgiven.as_mut().unwrap().first = 36;
        }),
        acceptance!(Forgiven, 1, |_, body| body.forgiven.as_mut().unwrap().count = u64::MAX),
        edit!(DefaultTotals, "default", default: |_, body| body.due = one(body.due), with_default: true),
        edit!(DefaultTotals, "default", default: |_, body| body.paid = Amount::new(1), with_default: true),
        edit!(DefaultTotals, "default", default: |_, body| body.paid = Amount::new(99), with_default: true),
        edit!(DefaultUnpaid, "default", default: |ctx, body| body.invoice_id = ctx.id("invoice 0"), with_default: true),
        edit!(SettlementTotals, "settlement 0", settlement: |_, _, body| body.due = one(body.due)),
        edit!(SettlementTotals, "settlement 0", settlement: |_, _, body| body.paid = one(body.paid)),
        edit!(SettlementTotals, "settlement 0", settlement: |_, _, body| body.payment_id = None),
        edit!(SettlementTotals, "settlement 0", settlement: |ctx, _, body| body.payment_id = Some(ctx.id("payment 2"))),
        edit!(SettlementTotals, "settlement 0", settlement: |ctx, _, body| body.invoice_id = ctx.id("invoice 4")),
    ]
}

fn by_seller_in_invoices() -> Vec<Case> {
    vec![
        invoice!(OrderId, 1, |_, body| body.order_id = StatementId([1; 32])),
        // A number that the void invoices have used up, and one that nothing explains.
        (
            Rule::InvoiceNumber,
            "invoice 4",
            Edits {
                acceptance: |_, n, body| {
                    if n == 1 {
                        body.forgiven.as_mut().unwrap().next_n = 5;
                    }
                },
                ..Edits::default()
            },
        ),
        invoice!(InvoiceNumber, 1, |_, body| (body.n, body.units_total) = (2, 0)),
        invoice!(Equivocation, 1, |_, body| body.n = 0),
        invoice!(Equivocation, 4, |_, body| body.n = 3),
        invoice!(Equivocation, 1, |_, body| body.first = 9),
        invoice!(Forgiven, 4, |_, body| body.first = 41),
        invoice!(InvoicePrev, 0, |ctx, body| body.prev = ctx.id("attach 0")),
        invoice!(InvoicePrev, 2, |ctx, body| body.prev = ctx.id("invoice 0")),
        invoice!(InvoicePrev, 4, |ctx, body| body.prev = ctx.id("invoice 3")),
        invoice!(InvoiceFirst, 1, |_, body| body.first = 51),
        invoice!(InvoiceFirst, 4, |_, body| body.first = 78),
        invoice!(InvoiceWindows, 1, |_, body| body.windows = 0),
        invoice!(InvoiceWindows, 1, |_, body| body.windows = 5),
        invoice!(InvoiceCount, 1, |_, body| body.windows = 1),
        invoice!(InvoiceBytes, 1, |_, body| body.bytes = 2001),
        // Within what messages may have, and not what these have: the data says so, and the digest binds it.
        invoice!(InvoiceBytes, 1, |_, body| body.bytes += 1),
        invoice!(InvoiceTime, 1, |_, body| body.t_end = Some(Timestamp::from_ms(1))),
        invoice!(InvoiceTime, 1, |_, body| body.t_end = None, unit: Some(Unit::Second)),
        invoice!(InvoiceTime, 1, |_, body| (body.t_start, body.t_end) = (None, None), unit: Some(Unit::Second)),
        invoice!(InvoiceTime, 1, |_, body| body.t_start = Some(Timestamp::from_ms(1)), unit: Some(Unit::Second)),
        invoice!(InvoiceTime, 1, |_, body| body.t_end = Some(Timestamp::from_ms(2004)), unit: Some(Unit::Second)),
        invoice!(InvoiceUnits, 1, |_, body| body.units_total += 1),
        invoice!(InvoiceUnits, 1, |_, body| body.t_end = Some(Timestamp::from_ms(5000)), unit: Some(Unit::Second)),
        invoice!(InvoiceUnits, 1, |_, body| body.bytes += 1, unit: Some(Unit::Byte)),
        invoice!(InvoiceDue, 1, |_, body| body.due = one(body.due)),
        invoice!(InvoiceDue, 1, |_, body| body.due = Amount::ZERO),
        invoice!(InvoiceLimit, 2, |_, _body| (), order: |_, body| body.limit = Amount::new(11)),
        invoice!(InvoiceQuantity, 5, |_, _body| (), order: |_, body| body.quantity = Some(54)),
        invoice!(InvoicePaid, 0, |_, body| body.paid = Amount::new(1)),
        invoice!(InvoicePaid, 1, |_, body| body.paid = one(body.paid)),
        invoice!(InvoicePaid, 2, |_, body| (body.paid, body.paid_by) = (Amount::ZERO, None)),
        invoice!(InvoicePaid, 1, |ctx, body| body.paid_by = Some(ctx.id("invoice 0"))),
        invoice!(InvoicePaid, 4, |ctx, body| (body.paid, body.paid_by) = (Amount::new(3), Some(ctx.id("payment 0")))),
        (Rule::AfterLast, "invoice 2", Edits { invoice: |_, n, body| body.last = n == 1, ..Edits::default() }),
    ]
}

fn by_buyer() -> Vec<Case> {
    vec![
        edit!(OrderSeller, "order", order: |_, body| body.seller = buyer().public()),
        edit!(OrderTerms, "order", order: |_, body| body.product = 8),
        edit!(OrderTerms, "order", order: |_, body| body.option = 2),
        edit!(OrderWindows, "order", order: |_, body| body.windows = 9),
        edit!(OrderChannel, "order", order: |_, body| body.channel = None),
        edit!(AttachIndex, "attach 1", attach: |_, _, body| body.index = 1),
        edit!(OrderId, "attach 1", attach: |_, n, body| if n == 1 { body.order_id = StatementId([1; 32]) }),
        edit!(OrderId, "ack", ack: |_, body| body.order_id = StatementId([1; 32])),
        edit!(AckInvoice, "ack", ack: |ctx, body| body.invoice_id = ctx.id("payment 0")),
        payment!(OrderId, 1, |_, body| body.order_id = StatementId([1; 32])),
        payment!(PaymentPrev, 0, |ctx, body| body.prev = ctx.id("invoice 0")),
        payment!(PaymentPrev, 2, |ctx, body| body.prev = ctx.id("payment 0")),
        payment!(PaymentInvoice, 1, |ctx, body| body.invoice_id = ctx.id("payment 0")),
        payment!(PaymentVoid, 2, |ctx, body| body.invoice_id = ctx.id("invoice 3")),
        payment!(PaymentTotal, 1, |_, body| body.total = one(body.total)),
        payment!(PaymentTotal, 1, |_, body| body.total = Amount::ZERO),
        payment!(PaymentTotal, 1, |ctx, body| body.invoice_id = ctx.id("invoice 0")),
        payment!(PaymentFalls, 2, |ctx, body| {
            body.invoice_id = ctx.id("invoice 0");
            body.total = Amount::new(3);
        }),
        payment!(PaymentChannel, 1, |_, body| body.channel = None),
        payment!(PaymentChannel, 0, |_, body| body.channel = Some(ChannelId([6; 32]))),
        edit!(
            SettlementTotals,
            "settlement 1",
            settlement: |_, n, body| if n == 1 { body.paid = Amount::ZERO }
        ),
    ]
}

fn check(sale: &Sale, (rule, label): (Rule, &str), by: Party) {
    let found = finding(sale);
    let position = u64::try_from(sale.position(label)).unwrap();
    let named = (found.rule, found.by, found.statement, found.position);
    assert_eq!(named, (rule, by, Some(sale.ctx.id(label)), Some(position)), "{label}: {found}");
}

#[test]
fn every_falsehood_is_named() {
    let cases = [(Party::Seller, by_seller()), (Party::Seller, by_seller_in_invoices()), (Party::Buyer, by_buyer())];
    for (by, cases) in cases {
        for (rule, label, edits) in cases {
            check(&converse(Unit::Message, &edits), (rule, label), by);
        }
    }
}

#[test]
fn every_rule_has_a_test() {
    let cases = [by_seller(), by_seller_in_invoices(), by_buyer()];
    let tested: BTreeSet<Rule> = cases.iter().flatten().map(|(rule, ..)| *rule).collect();
    // Those of the other tests of this folder.
    let elsewhere = [
        Rule::Form,
        Rule::Signature,
        Rule::Issuer,
        Rule::Digest,
        Rule::MessageSignature,
        Rule::Checkpoint,
        Rule::Inclusion,
        Rule::RecordEntry,
        Rule::RecordContent,
    ];
    let untested: Vec<_> =
        Rule::ALL.iter().filter(|rule| !tested.contains(rule) && !elsewhere.contains(rule)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn what_nobody_signed_is_nobodys_falsehood() {
    let honest = converse(Unit::Message, &Edits::default());
    for (label, _) in &honest.ctx.said {
        let at = honest.position(label);
        let mut sale = honest.clone();
        let mut bytes = sale.bundle.statements[at].to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        sale.bundle.statements[at] = bytes.into();
        check(&sale, (Rule::Signature, label), Party::Exporter);

        sale.bundle.statements[at] = b"not a statement"[..].into();
        let found = finding(&sale);
        assert_eq!((found.rule, found.by, found.statement), (Rule::Form, Party::Exporter, None));
        assert_eq!(found.position, u64::try_from(at).ok());
    }
}

#[test]
fn every_kind_has_its_signer() {
    type Resign = fn(&mut Sale, &str, &sdpp_proto::identity::SigningKey);
    let cases: [(&str, Resign, bool); 8] = [
        ("menu", Sale::sign_by::<Menu>, true),
        ("attach 0", Sale::sign_by::<Attach>, false),
        ("acceptance 0", Sale::sign_by::<Acceptance>, true),
        ("invoice 2", Sale::sign_by::<Invoice>, true),
        ("ack", Sale::sign_by::<Ack>, false),
        ("payment 1", Sale::sign_by::<Payment>, false),
        ("settlement 0", Sale::sign_by::<Settlement>, true),
        ("settlement 1", Sale::sign_by::<Settlement>, false),
    ];
    for (label, resign, is_sellers) in cases {
        let sign = |key| {
            let mut sale = converse(Unit::Message, &Edits::default());
            resign(&mut sale, label, &key);
            sale
        };
        check(&sign(key(77)), (Rule::Issuer, label), Party::Exporter);
        if label.starts_with("settlement") {
            // Both sides settle; the buyer does so with the order's key.
            check(&sign(buyer()), (Rule::Issuer, label), Party::Buyer);
        } else if is_sellers && label != "menu" {
            check(&sign(payer()), (Rule::Issuer, label), Party::Buyer);
        } else if label != "menu" {
            check(&sign(seller()), (Rule::Issuer, label), Party::Seller);
        }
    }
}

#[test]
fn a_field_outside_its_limits_is_its_signers() {
    let edits = Edits { order: |_, body| body.quantity = Some(0), ..Edits::default() };
    let found = finding(&converse(Unit::Message, &edits));
    // Before the order is known, nobody is known to be its buyer.
    assert_eq!((found.rule, found.by), (Rule::Form, Party::Exporter));
    let edits = Edits { payment: |_, _, body| body.proof = Some(vec![0; 9000]), ..Edits::default() };
    check(&converse(Unit::Message, &edits), (Rule::Form, "payment 0"), Party::Buyer);
}

#[test]
fn two_words_about_one_thing_are_kept_together() {
    let mut sale = converse(Unit::Message, &Edits::default());
    let mut other: Invoice = sale.body("invoice 1");
    other.digest.0[0] ^= 1;
    sale.insert("payment 3", "other", &seller(), other);
    let found = finding(&sale);
    assert_eq!((found.rule, found.by), (Rule::Equivocation, Party::Seller));
    assert_eq!(found.statement, Some(sale.ctx.id("other")));
    assert_eq!(found.conflicts_with, Some(sale.ctx.id("invoice 1")));
}

#[test]
fn statements_of_another_sale_are_the_exporters() {
    let other = converse(Unit::Message, &Edits { order: |_, body| body.nonce = Bytes32([7; 32]), ..Edits::default() });
    for label in ["order", "attach 0", "acceptance 0", "invoice 0", "payment 0", "settlement 0"] {
        let mut sale = converse(Unit::Message, &Edits::default());
        let foreign = other.bundle.statements[other.position(label)].clone();
        sale.bundle.statements.insert(4, foreign);
        let found = finding(&sale);
        let named = (found.rule, found.by, found.statement);
        assert_eq!(named, (Rule::OrderId, Party::Exporter, Some(other.ctx.id(label))), "{label}");
    }
}

#[test]
fn an_invoice_paid_twice_costs_nothing() {
    let mut sale = converse(Unit::Message, &Edits::default());
    ["payment 2", "payment 3", "settlement 0", "settlement 1"].iter().for_each(|label| sale.drop(label));
    sale.drop("invoice 5");
    let mut again: Payment = sale.body("payment 1");
    again.prev = sale.ctx.id("payment 1");
    sale.insert("payment 1", "again", &payer(), again);
    let report = crate::passes::audit(&sale.bundle, &crate::world::trust());
    assert!(report.is_clean(), "{report}");
    assert!(report.notes.iter().any(|note| note.topic == sdpp::audit::Topic::PaidAgain));
}

#[test]
fn a_message_that_the_seller_committed_to_unsigned_is_its_falsehood() {
    // The seller's digest covers message 3 with a signature that is not its own.
    let mut sale = converse(Unit::Message, &Edits { signing: Signing::Message, ..Edits::default() });
    let order: Order = sale.body("order");
    let order_id = Signed::sign(&buyer(), order).id();
    let mut data = sale.bundle.messages.concat();
    data[sale.ends[3] - 1] ^= 1;
    let invoice: Invoice = sale.body("invoice 0");
    let start = sdpp_proto::span::SpanStart { order: order_id, n: 0, first: 0 };
    let salt = sdpp_proto::span::span_salt(&crate::world::SALT, 0);
    let mut hasher = sdpp_proto::span::SpanHasher::new(&start, &salt);
    hasher.update(&data[..sale.ends[9]]);
    let at = sale.position("invoice 0");
    sale.bundle.statements.truncate(at);
    sale.ctx.said.truncate(at);
    sale.insert("acceptance 0", "invoice 0", &seller(), Invoice { digest: hasher.digest(10), ..invoice });
    sale.bundle.messages = vec![data.into()];
    check(&sale, (Rule::MessageSignature, "invoice 0"), Party::Seller);
}

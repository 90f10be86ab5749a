//! Rare turns of honest conversations, and what a lie would make of them.

use sdpp::audit::{Missing, Party, Report, Rule, Topic, Verdict};
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{
    Acceptance, Attach, Default as Unpaid, Forgiven, Have, Invoice, Payment, Settlement, Signed,
};

use crate::passes::finding;
use crate::world::{Edits, Sale, buyer, converse, seller, trust};

fn audit(sale: &Sale) -> Report {
    crate::passes::audit(&sale.bundle, &trust())
}

#[test]
fn an_attach_without_an_answer_is_noted() {
    let mut sale = converse(Unit::Message, &Edits::default());
    let attach = Attach { index: 3, ..sale.body("attach 1") };
    sale.insert("invoice 4", "attach 2", &buyer(), attach);
    let report = audit(&sale);
    assert!(report.is_clean(), "{report}");
    let noted: Vec<_> = report.notes.iter().map(|note| (note.topic, note.statement)).collect();
    assert_eq!(noted, [(Topic::Unanswered, Some(sale.ctx.id("attach 2")))]);
}

#[test]
fn a_message_may_be_as_long_as_the_menu_allows() {
    for (message_max, clean) in [(7, true), (6, false)] {
        let edits = match message_max {
            7 => Edits { menu: |_, body| body.products[0].message_max = 7, ..Edits::default() },
            _ => Edits { menu: |_, body| body.products[0].message_max = 6, ..Edits::default() },
        };
        let report = audit(&converse(Unit::Message, &edits));
        assert_eq!(report.is_clean(), clean, "{message_max}: {report}");
    }
}

/// The sale without its end, and with a seller that says it was not paid.
fn defaulted(unit: Unit, edits: &Edits, behind: &str, paid: fn(&Sale) -> Amount) -> Sale {
    let mut sale = converse(unit, edits);
    ["settlement 0", "settlement 1"].iter().for_each(|label| sale.drop(label));
    if behind != "payment 3" {
        sale.drop("payment 3");
    }
    let invoice = sale.body::<Invoice>("invoice 5");
    let default = Unpaid {
        order_id: invoice.order_id,
        invoice_id: sale.ctx.id("invoice 5"),
        due: invoice.due,
        paid: paid(&sale),
        deadline: sdpp_proto::time::Timestamp::from_ms(1),
    };
    sale.insert(behind, "default", &seller(), default);
    sale
}

#[test]
fn a_default_although_all_was_paid_is_false_only_if_the_seller_credited_it() {
    let total = |sale: &Sale| sale.body::<Payment>("payment 3").total;
    let found = finding(&defaulted(Unit::Byte, &Edits::default(), "payment 3", total));
    assert_eq!((found.rule, found.by), (Rule::DefaultUnpaid, Party::Seller), "{found}");
    let before = |sale: &Sale| sale.body::<Payment>("payment 2").total;
    let report = audit(&defaulted(Unit::Byte, &Edits::default(), "payment 3", before));
    assert!(report.is_clean(), "{report}");
    assert!(report.notes.iter().any(|note| note.topic == Topic::NotCredited), "{report}");
}

/// The last invoice was signed before payment 2 was credited: the default may name either.
#[test]
fn a_default_may_credit_a_payment_that_no_invoice_names_yet() {
    let edits = Edits {
        invoice: |ctx, n, body| {
            if n == 5 {
                (body.paid, body.paid_by) = (Amount::new(12), Some(ctx.id("payment 1")));
            }
        },
        ..Edits::default()
    };
    for label in ["payment 1", "payment 2"] {
        let total: fn(&Sale) -> Amount = match label {
            "payment 1" => |sale| sale.body::<Payment>("payment 1").total,
            _ => |sale| sale.body::<Payment>("payment 2").total,
        };
        let report = audit(&defaulted(Unit::Message, &edits, "invoice 5", total));
        assert!(report.is_clean(), "{label}: {report}");
    }
    // Between the two lies no payment.
    let found = finding(&defaulted(Unit::Message, &edits, "invoice 5", |_| Amount::new(13)));
    assert_eq!((found.rule, found.by), (Rule::DefaultTotals, Party::Seller), "{found}");
}

/// An acceptance that starts behind what the bundle explains rests on a payment that it lacks, or on nothing.
#[test]
fn a_start_behind_a_payment_that_is_left_out_is_a_gap() {
    let edits = |known: bool| {
        if known {
            Edits { acceptance: |_, n, body| late(n, body), ..Edits::default() }
        } else {
            Edits {
                acceptance: |_, n, body| late(n, body),
                attach: |_, n, body| {
                    if n == 1 {
                        body.have.last_payment = Some(StatementId([7; 32]));
                    }
                },
                ..Edits::default()
            }
        }
    };
    fn late(n: u32, body: &mut Acceptance) {
        if n == 1 {
            (body.start, body.forgiven) = (45, None);
        }
    }
    let report = audit(&converse(Unit::Message, &edits(false)));
    let gap = Missing::Statement {
        id: StatementId([7; 32]),
        what: "the last payment",
        named_by: converse(Unit::Message, &edits(false)).ctx.id("acceptance 1"),
    };
    assert_eq!(report.verdict, Verdict::Incomplete(gap), "{report}");
    let found = finding(&converse(Unit::Message, &edits(true)));
    assert_eq!((found.rule, found.by), (Rule::AcceptanceStart, Party::Seller), "{found}");
    // No payment explains a start before what the buyer holds.
    let early = Edits {
        acceptance: |_, n, body| {
            if n == 1 {
                (body.start, body.forgiven) = (36, None);
            }
        },
        attach: edits(false).attach,
        ..Edits::default()
    };
    let found = finding(&converse(Unit::Message, &early));
    assert_eq!((found.rule, found.by), (Rule::AcceptanceStart, Party::Seller), "{found}");
}

/// Time is sold: a last invoice that closes nothing but the order bills none.
#[test]
fn an_empty_last_invoice_bills_no_time_and_any_other_does() {
    let edits = Edits {
        unit: Some(Unit::Second),
        invoice: |_, n, body| {
            if n == 5 {
                (body.windows, body.count, body.bytes) = (0, 0, 0);
                (body.t_start, body.t_end) = (None, None);
                body.units_total -= 1000;
                // Five seconds at 3 per 10.
                body.due = Amount::new(2);
            }
        },
        ..Edits::default()
    };
    let mut sale = converse(Unit::Second, &edits);
    sale.bundle.messages.clear();
    let report = audit(&sale);
    assert!(report.is_clean(), "{report}");
    let edits = Edits {
        unit: Some(Unit::Second),
        invoice: |_, n, body| {
            if n == 5 {
                (body.t_start, body.t_end) = (None, None);
            }
        },
        ..Edits::default()
    };
    assert_eq!(finding(&converse(Unit::Second, &edits)).rule, Rule::InvoiceTime);
}

#[test]
fn an_invoice_of_the_right_number_on_an_unknown_one_is_a_gap() {
    let edits = Edits {
        invoice: |_, n, body| {
            if n == 0 {
                body.prev = StatementId([7; 32]);
            }
        },
        ..Edits::default()
    };
    let report = audit(&converse(Unit::Message, &edits));
    let names = |id: &StatementId| *id == StatementId([7; 32]);
    assert!(matches!(&report.verdict, Verdict::Incomplete(Missing::Statement { id, .. }) if names(id)), "{report}");
}

/// The buyer lost what it had paid for, or does not want it again.
#[test]
fn what_is_paid_need_not_be_repeated() {
    let edits = Edits {
        attach: |ctx, n, body| {
            if n == 1 {
                (body.have.base, body.have.next, body.have.last_invoice) = (30, 30, Some(ctx.id("invoice 1")));
            }
        },
        acceptance: |_, n, body| {
            if n == 1 {
                (body.start, body.forgiven) = (37, None);
            }
        },
        ..Edits::default()
    };
    let mut sale = converse(Unit::Message, &edits);
    let behind = ["invoice 3", "invoice 4", "invoice 5", "payment 2", "payment 3", "settlement 0", "settlement 1"];
    behind.iter().for_each(|label| sale.drop(label));
    sale.bundle.messages.clear();
    let report = audit(&sale);
    assert!(report.is_clean(), "{report}");
}

/// What nobody has paid may have been forgiven, in an acceptance that was left out; what was paid may not.
#[test]
fn an_end_at_an_older_invoice_may_have_forgiven_the_newer_ones() {
    for paid in [false, true] {
        let mut sale = converse(Unit::Message, &Edits::default());
        ["settlement 0", "settlement 1"].iter().for_each(|label| sale.drop(label));
        if !paid {
            sale.drop("payment 3");
        }
        let (invoice, payment) = (sale.body::<Invoice>("invoice 4"), sale.body::<Payment>("payment 2"));
        let settlement = Settlement {
            order_id: invoice.order_id,
            invoice_id: sale.ctx.id("invoice 4"),
            payment_id: Some(sale.ctx.id("payment 2")),
            due: invoice.due,
            paid: payment.total,
        };
        let behind = if paid { "payment 3" } else { "invoice 5" };
        sale.insert(behind, "settlement", &seller(), settlement);
        let report = audit(&sale);
        match report.verdict {
            Verdict::Incomplete(Missing::Forgiveness(named)) => {
                assert_eq!((named, paid), (sale.ctx.id("settlement"), false))
            }
            Verdict::False(found) => assert_eq!((found.rule, paid), (Rule::SettlementTotals, true)),
            Verdict::Clean | Verdict::Incomplete(_) => panic!("{report}"),
        }
    }
}

/// What another connection says that forgives from `first` on, behind a second one that did so before or without it.
fn forgiven_again(first: u64, behind: &str) -> Report {
    // The second one forgives messages 42 and 43.
    let edits = Edits {
        crashes_again: 4,
        attach: |_, n, body| body.have.next -= if n == 2 { 2 } else { 0 },
        acceptance: |_, n, body| {
            if n == 2 {
                body.start = 44;
                body.forgiven.as_mut().unwrap().count = 2;
            }
        },
        ..Edits::default()
    };
    let mut sale = converse(Unit::Message, &edits);
    let have = Have { next: 46, base: first, ..sale.body::<Attach>("attach 2").have };
    let forgiven = Some(Forgiven { first, count: 46 - first, invoice: None, next_n: 4 });
    let mut index = 4;
    if behind == "acceptance 1" {
        ["attach 2", "acceptance 2"].iter().for_each(|label| sale.drop(label));
        index = 3;
    }
    let attach = Attach { index, have, ..sale.body("attach 1") };
    let attach_id = Signed::sign(&buyer(), attach.clone()).id();
    let acceptance = Acceptance { attach_id, index, start: 46, forgiven, ..sale.body("acceptance 1") };
    sale.insert(behind, "attach 3", &buyer(), attach);
    sale.insert("attach 3", "acceptance 3", &seller(), acceptance);
    audit(&sale)
}

/// A buyer that did not hear what was forgiven, or was put back to before it did, holds more when it comes again: all
/// of it is forgiven from the same message on, and counted once.
#[test]
fn what_was_forgiven_and_not_heard_is_forgiven_again_from_its_start() {
    let all =
        [(37, "acceptance 1"), (42, "acceptance 1"), (37, "acceptance 2"), (42, "acceptance 2"), (44, "acceptance 2")];
    for (first, behind) in all {
        let report = forgiven_again(first, behind);
        assert!(report.is_clean(), "{first} behind {behind}: {report}");
        assert_eq!(report.totals.forgiven, 9, "{first} behind {behind}: {report}");
    }
    assert!(!forgiven_again(43, "acceptance 2").is_clean(), "in the middle of what was forgiven nothing begins");
}

//! What was left out makes an audit incomplete; it makes nobody false.

use sdpp::audit::{Missing, Topic, Verdict};
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Unit;
use sdpp_proto::statement::{Acceptance, Revocation, RevokeReason, Rotation};
use sdpp_proto::time::Timestamp;

use crate::world::{Ctx, Edits, Sale, converse, key, trust};

fn missing(sale: &Sale) -> Missing {
    let report = crate::passes::audit(&sale.bundle, &trust());
    match report.verdict {
        Verdict::Incomplete(missing) => missing,
        Verdict::Clean | Verdict::False(_) => panic!("{report}"),
    }
}

fn without(label: &str) -> (Missing, StatementId) {
    let mut sale = converse(Unit::Message, &Edits::default());
    let id = sale.ctx.id(label);
    sale.drop(label);
    (missing(&sale), id)
}

#[test]
fn a_statement_left_out_makes_nobody_false() {
    assert_eq!(
        missing(&Sale { bundle: Default::default(), ctx: Default::default(), ends: vec![] }),
        Missing::Menu(None)
    );
    let (found, menu) = without("menu");
    assert_eq!(found, Missing::Menu(Some(menu)));
    assert_eq!(without("order").0, Missing::Order(None));
    assert_eq!(without("acceptance 0").0, Missing::Acceptance);
    assert_eq!(without("invoice 1").0, Missing::Invoice(1));
    for label in ["attach 0", "attach 1", "invoice 0", "payment 0", "payment 1", "payment 2", "payment 3", "invoice 5"]
    {
        let (found, id) = without(label);
        assert!(matches!(found, Missing::Statement { id: named, .. } if named == id), "{label}: {found}");
    }
    // Behind a forgiveness that was left out, an invoice follows on an older one.
    assert!(matches!(without("acceptance 1").0, Missing::Forgiveness(_)));
}

/// Forgives from message 38 on; invoices end at 37.
fn beyond() -> Edits {
    let acceptance: fn(&Ctx, u32, &mut Acceptance) = |_, n, body| {
        if n == 1 {
            body.start = 43;
            body.forgiven.as_mut().unwrap().first = 38;
        }
    };
    Edits { acceptance, ..Edits::default() }
}

#[test]
fn a_gap_may_be_what_was_forgiven() {
    let missing = |edits: &Edits| missing(&converse(Unit::Message, edits));
    let edits = Edits { invoice: |_, n, body| body.first += u64::from(n == 1), ..Edits::default() };
    assert!(matches!(missing(&edits), Missing::Forgiveness(_)));
    let edits = Edits { invoice: |_, n, body| body.n += u64::from(n == 1), ..Edits::default() };
    assert!(matches!(missing(&edits), Missing::Forgiveness(_)));
    let mut sale = converse(Unit::Message, &beyond());
    sale.drop("invoice 3");
    assert_eq!(self::missing(&sale), Missing::Invoice(3));
    let edits = Edits {
        payment: |ctx, n, body| {
            if n == 3 {
                body.invoice_id = ctx.id("invoice 5")
            }
        },
        default: |_, body| body.paid = body.due,
        with_default: true,
        unit: Some(Unit::Byte),
        ..Edits::default()
    };
    assert!(matches!(missing(&edits), Missing::Payment(_)));
}

#[test]
fn whatever_is_left_out_nobody_is_called_false() {
    let honest = converse(Unit::Message, &Edits { with_default: true, ..Edits::default() });
    for (first, _) in &honest.ctx.said {
        for (second, _) in &honest.ctx.said {
            let mut sale = honest.clone();
            sale.drop(first);
            if first != second {
                sale.drop(second);
            }
            let report = crate::passes::audit(&sale.bundle, &trust());
            assert!(!matches!(report.verdict, Verdict::False(_)), "without {first} and {second}: {report}");
        }
    }
}

#[test]
fn the_end_of_a_key_is_noted_and_takes_nothing_back() {
    let mut sale = converse(Unit::Message, &Edits::default());
    let at = Timestamp::from_ms(1);
    let said =
        [Rotation::sign(&key(1), &key(9), at).erase(), Revocation::sign(&key(1), at, RevokeReason::Exposed).erase()];
    sale.bundle.statements.extend(said.iter().map(|said| said.bytes.clone()));
    let report = crate::passes::audit(&sale.bundle, &trust());
    assert!(report.is_clean(), "{report}");
    let noted: Vec<_> = report.notes.iter().filter(|note| note.topic == Topic::Key).collect();
    assert_eq!(noted.iter().map(|note| note.statement).collect::<Vec<_>>(), said.map(|said| Some(said.id)));
    assert!(noted[1].text.contains("revoked"), "{}", noted[1].text);
}

#[test]
fn a_void_invoice_need_not_be_there() {
    let mut sale = converse(Unit::Message, &Edits::default());
    sale.drop("invoice 3");
    let report = crate::passes::audit(&sale.bundle, &trust());
    assert!(report.is_clean() && report.totals.invoices_void == 0, "{report}");
}

#[test]
fn the_audit_goes_on_without_data() {
    let mut sale = converse(Unit::Message, &Edits::default());
    let data = sale.bundle.messages.concat();
    sale.bundle.messages = vec![data[..sale.ends[32]].into()];
    assert_eq!(missing(&sale), Missing::Messages(33));
    assert_eq!(crate::passes::audit(&sale.bundle, &trust()).totals.statements, 19);
    sale.bundle.order_salt = None;
    assert_eq!(missing(&sale), Missing::Salt);
    sale.bundle.messages.clear();
    assert!(crate::passes::audit(&sale.bundle, &trust()).is_clean());
}

#[test]
fn data_behind_the_last_invoice_is_noted() {
    let mut sale = converse(Unit::Message, &Edits::default());
    sale.bundle.messages.push(vec![0; 13].into());
    let report = crate::passes::audit(&sale.bundle, &trust());
    assert!(report.is_clean() && report.notes.iter().any(|note| note.topic == Topic::Uninvoiced), "{report}");
}

#[test]
fn what_lies_behind_a_gap_is_not_judged() {
    let edits = Edits { settlement: |_, _, body| body.paid = body.due.saturating_sub(body.paid), ..Edits::default() };
    let mut sale = converse(Unit::Message, &edits);
    sale.drop("payment 1");
    let report = crate::passes::audit(&sale.bundle, &trust());
    assert!(matches!(report.verdict, Verdict::Incomplete(_)), "{report}");
    assert!(report.notes.iter().any(|note| note.topic == Topic::Unchecked));
}

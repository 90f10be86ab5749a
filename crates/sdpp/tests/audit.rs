//! The auditor against honest conversations and against one falsehood for every rule.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

#[path = "audit/corners.rs"]
mod corners;
#[path = "audit/falsehoods.rs"]
mod falsehoods;
#[path = "audit/gaps.rs"]
mod gaps;
#[path = "audit/passes.rs"]
mod passes;
#[path = "audit/records.rs"]
mod records;
#[path = "audit/world.rs"]
mod world;

use sdpp::audit::{Bundle, BundleError, Item, Items, Party, Rule, Topic, Verdict};
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::Signing;

use passes::finding;
use world::{Edits, Sale, converse, trust};

#[test]
fn honest_conversations_are_clean() {
    for unit in [Unit::Message, Unit::Byte, Unit::Second] {
        let sale = converse(unit, &Edits::default());
        let report = passes::audit(&sale.bundle, &trust());
        assert_eq!(report.verdict, Verdict::Clean, "{unit:?}\n{report}");
        let totals = &report.totals;
        assert_eq!((totals.messages, totals.windows, totals.forgiven), (50, 6, 5));
        assert_eq!((totals.invoices, totals.invoices_void, totals.payments, totals.digests), (5, 1, 4, 5));
        assert_eq!((totals.paid, totals.unpaid, totals.statements), (totals.due, Amount::ZERO, 19));
        assert_eq!(report.notes, []);
    }
    let report = passes::audit(&converse(Unit::Message, &Edits::default()).bundle, &trust());
    assert_eq!(report.totals.due, Amount::new(15));
    assert!(report.to_string().starts_with("CLEAN: "), "{report}");
}

#[test]
fn messages_are_forgiven_at_each_of_two_crashes_in_a_row() {
    let edits = Edits { crashes_again: 4, ..Edits::default() };
    let report = passes::audit(&converse(Unit::Message, &edits).bundle, &trust());
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    assert_eq!((report.totals.forgiven, report.totals.messages, report.totals.digests), (9, 46, 5));
    // What lies between the two is nobody's to leave out.
    let leaves_out = Edits {
        crashes_again: 4,
        acceptance: |_, index, acceptance| {
            if index == 2 {
                acceptance.forgiven.as_mut().unwrap().first = 43;
                acceptance.start += 1;
            }
        },
        ..Edits::default()
    };
    assert!(!passes::audit(&converse(Unit::Message, &leaves_out).bundle, &trust()).is_clean());
}

#[test]
fn an_acceptance_may_stand_in_for_the_statement_before_it() {
    let edits = Edits {
        invoice: |ctx, n, invoice| match n {
            0 => invoice.prev = ctx.id("acceptance 0"),
            4 => invoice.prev = ctx.id("acceptance 1"),
            _ => {}
        },
        ..Edits::default()
    };
    assert!(passes::audit(&converse(Unit::Message, &edits).bundle, &trust()).is_clean());
}

#[test]
fn a_statement_that_comes_twice_changes_nothing() {
    let mut sale = converse(Unit::Message, &Edits::default());
    let once = passes::audit(&sale.bundle, &trust());
    let twice: Vec<_> = sale.bundle.statements.iter().flat_map(|bytes| [bytes.clone(), bytes.clone()]).collect();
    sale.bundle.statements.extend(twice);
    assert_eq!(passes::audit(&sale.bundle, &trust()), once);
}

#[test]
fn what_is_not_false_is_noted() {
    let topics = |edits: &Edits, drop: &[&str]| {
        let mut sale = converse(Unit::Byte, edits);
        drop.iter().for_each(|label| sale.drop(label));
        let report = passes::audit(&sale.bundle, &trust());
        assert!(report.is_clean(), "{report}");
        report.notes.iter().map(|note| note.topic).collect::<Vec<_>>()
    };
    // Behind 37 messages 43 are due, and 11 are paid.
    let edits = Edits {
        acceptance: |_, n, body| body.exposure = Amount::new(if n == 0 { 31 } else { 32 }),
        ..Edits::default()
    };
    assert_eq!(topics(&edits, &[]), [Topic::Exposure]);
    let edits = Edits { acceptance: |_, _, body| body.exposure = Amount::new(32), ..Edits::default() };
    assert_eq!(topics(&edits, &[]), []);
    let ends = ["settlement 0", "settlement 1", "payment 3"];
    assert_eq!(topics(&Edits::default(), &ends), [Topic::Unpaid]);
    let edits = Edits { with_default: true, ..Edits::default() };
    assert_eq!(topics(&edits, &ends), [Topic::Unpaid]);
    assert_eq!(topics(&edits, &[]), [Topic::Superseded]);
}

#[test]
fn data_is_compared_byte_by_byte() {
    for signing in [Signing::Window, Signing::Message] {
        let edits = Edits { signing, ..Edits::default() };
        let honest = converse(Unit::Message, &edits);
        let data = honest.bundle.messages.concat();
        for size in [1, 7, 1000, data.len()] {
            let report = sdpp::audit::audit(&honest.bundle, &trust(), Some(data.chunks(size)));
            assert!(report.is_clean() && report.totals.digests == 5, "{report}");
        }
        for at in (0..data.len()).step_by(if signing == Signing::Message { 13 } else { 1 }) {
            let mut changed = data.clone();
            changed[at] ^= 0x80;
            let mut sale = honest.clone();
            sale.bundle.messages = vec![changed.into()];
            let report = passes::audit(&sale.bundle, &trust());
            let (first, held) = (sale.message_at(at), 37..42);
            match &report.verdict {
                Verdict::False(found) => {
                    assert_eq!((found.rule, found.by), (Rule::Digest, Party::Exporter), "byte {at}: {report}");
                    if !held.contains(&first) {
                        assert_eq!(found.statement, Some(sale.ctx.id(&sale.invoice_of(first))), "byte {at}");
                    }
                }
                // Nobody is charged for forgiven messages, so no digest speaks of them.
                Verdict::Clean => assert!(held.contains(&first), "byte {at}"),
                Verdict::Incomplete(_) => panic!("byte {at}: {report}"),
            }
        }
    }
}

#[test]
fn an_unpaid_digest_is_the_sellers() {
    let edits = Edits {
        invoice: |_, n, body| {
            if n == 5 {
                body.digest.0[0] ^= 1;
            }
        },
        ..Edits::default()
    };
    let mut sale = converse(Unit::Message, &edits);
    ["settlement 0", "settlement 1", "payment 3"].iter().for_each(|label| sale.drop(label));
    let found = finding(&sale);
    assert_eq!((found.by, found.rule, found.statement), (Party::Seller, Rule::Digest, Some(sale.ctx.id("invoice 5"))));
}

#[test]
fn a_bundle_comes_back_as_it_was() {
    let mut sale = converse(Unit::Byte, &Edits::default());
    records::with_log(&mut sale, |_| {});
    let file = sale.bundle.encode().unwrap();
    assert_eq!(Bundle::decode(&file), Ok(sale.bundle.clone()));
    assert_eq!(Bundle::decode(&file).unwrap().encode().as_ref(), Ok(&file));
    for cut in (0..file.len()).step_by(7).chain([1, 2, 3, file.len() - 1]) {
        assert_eq!(Bundle::decode(&file[..cut]), Err(BundleError::CutOff));
    }
    let longer = [&file[..], &[0]].concat();
    assert_eq!(Bundle::decode(&longer), Err(BundleError::Trailing));
    let mut items = Items::new(&file[..]);
    assert_eq!(items.next_item(), Ok(Some(Item::Header(sale.bundle.order_salt))));
    assert_eq!(items.next_item(), Ok(Some(Item::Statement(sale.bundle.statements[0].to_vec()))));
}

#[test]
fn files_that_are_no_bundles_are_refused() {
    let file = converse(Unit::Message, &Edits::default()).bundle.encode().unwrap();
    for at in 0..64 {
        let mut changed = file.clone();
        changed[at] ^= 0xff;
        if let Ok(bundle) = Bundle::decode(&changed) {
            assert_ne!(bundle, Bundle::decode(&file).unwrap(), "byte {at}");
        }
    }
    for bad in
        [&b""[..], b"\x01", b"\x00\x40", b"\x00\x58\x01a", b"\x00\x5b\0\0\0\0\0\0\0\x01a", b"\x00\x5a\xff\xff\xff\xff"]
    {
        assert!(Bundle::decode(bad).is_err(), "{bad:?}");
    }
    let huge = Bundle { statements: vec![vec![0; 32 * 1024 + 1].into()], ..Bundle::default() };
    assert_eq!(huge.encode(), Err(BundleError::TooLong));
}

#[test]
fn json_is_one_line_and_escaped() {
    let sale: Sale = converse(Unit::Message, &Edits { order: |_, body| body.windows = 9, ..Edits::default() });
    let report = passes::audit(&sale.bundle, &trust());
    let json = report.to_json();
    assert!(json.starts_with("{\"verdict\":\"false\",\"finding\":{\"statement\":\""), "{json}");
    assert!(json.contains("\"by\":\"buyer\",\"rule\":\"order-windows\""), "{json}");
    assert!(!json.contains('\n') && json.matches('{').count() == json.matches('}').count(), "{json}");
    assert!(report.to_string().contains("order-windows"), "{report}");
}

#[test]
fn rules_have_one_name_each() {
    let mut names: Vec<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Rule::ALL.len());
}

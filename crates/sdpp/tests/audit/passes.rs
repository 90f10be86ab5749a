//! A bundle that is read several times is judged as one in memory, and as one of which the auditor keeps nothing there.

use std::cell::Cell;
use std::io;

use sdpp::audit::{Auditor, Bundle, BundleError, Finding, Report, Trust, Verdict, audit_from};
use sdpp_proto::money::Unit;

use crate::records;
use crate::world::{Edits, Sale, converse, trust};

/// Audits in every way; the reports are the same.
pub(crate) fn audit(bundle: &Bundle, trust: &Trust) -> Report {
    let report = bundle.audit(trust);
    let file = bundle.encode().unwrap();
    assert_eq!(audit_from(|| Ok(&file[..]), trust).as_ref(), Ok(&report));
    for recent_max in [0, 1, 3] {
        assert_eq!(audit_keeping(recent_max, bundle, trust), report, "{recent_max} statements in memory");
    }
    report
}

/// Keeps so little in memory that nearly all is in the auditor's file.
fn audit_keeping(recent_max: usize, bundle: &Bundle, trust: &Trust) -> Report {
    let auditor = Auditor::new(trust).keeping(recent_max);
    let mut auditor = match bundle.order_salt {
        _ if bundle.messages.is_empty() => auditor,
        Some(salt) => auditor.with_data(salt, bundle.messages.iter()),
        None => auditor.without_salt(),
    };
    if let Some(log) = &bundle.log {
        auditor.checkpoint(&log.checkpoint);
        log.records.iter().for_each(|record| auditor.record(record));
    }
    bundle.statements.iter().for_each(|statement| drop(auditor.feed(statement).cloned()));
    auditor.finish()
}

/// What is false in a sale.
pub(crate) fn finding(sale: &Sale) -> Finding {
    let report = audit(&sale.bundle, &trust());
    match report.verdict {
        Verdict::False(found) => *found,
        Verdict::Clean | Verdict::Incomplete(_) => panic!("{report}"),
    }
}

/// Whatever the auditor has written down, a statement that comes again changes nothing, wherever it comes.
#[test]
fn every_statement_may_come_again_at_every_later_place() {
    let sale = converse(Unit::Message, &Edits::default());
    let once = audit(&sale.bundle, &trust());
    for old in 0..sale.bundle.statements.len() {
        for place in old + 1..=sale.bundle.statements.len() {
            let mut again = sale.bundle.clone();
            again.statements.insert(place, again.statements[old].clone());
            assert_eq!(audit_keeping(0, &again, &trust()), once, "{old} at {place}");
        }
    }
}

/// The number of records is that of recorded statements, however often each is handed over.
#[test]
fn a_record_that_comes_again_counts_once() {
    let mut sale = converse(Unit::Message, &Edits::default());
    records::with_log(&mut sale, |_| {});
    let once = audit(&sale.bundle, &records::trusting(1));
    let log = sale.bundle.log.as_mut().unwrap();
    log.records.extend(log.records.clone());
    assert_eq!(audit(&sale.bundle, &records::trusting(1)), once);
}

#[test]
fn with_and_without_data_salt_and_evidence() {
    for unit in [Unit::Message, Unit::Byte, Unit::Second] {
        let mut sale = converse(unit, &Edits::default());
        assert!(audit(&sale.bundle, &trust()).is_clean());
        records::with_log(&mut sale, |_| {});
        assert!(audit(&sale.bundle, &records::trusting(1)).is_clean());
        assert_eq!(audit(&sale.bundle, &records::trusting(1)).totals.records, 18);
        sale.bundle.order_salt = None;
        assert!(!audit(&sale.bundle, &records::trusting(1)).is_clean());
        sale.bundle.messages.clear();
        assert!(audit(&sale.bundle, &records::trusting(1)).is_clean());
    }
    assert!(!audit(&Bundle::default(), &trust()).is_clean());
}

#[test]
fn what_is_no_bundle_is_refused_before_anything_is_judged() {
    let mut sale = converse(Unit::Message, &Edits::default());
    records::with_log(&mut sale, |_| {});
    let file = sale.bundle.encode().unwrap();
    for cut in (0..file.len()).step_by(7).chain([1, 2, 3, file.len() - 1]) {
        assert_eq!(audit_from(|| Ok(&file[..cut]), &trust()), Err(BundleError::CutOff));
    }
    let longer = [&file[..], &[0]].concat();
    assert_eq!(audit_from(|| Ok(&longer[..]), &trust()), Err(BundleError::Trailing));
    let gone = || Err::<&[u8], _>(io::ErrorKind::NotFound.into());
    assert_eq!(audit_from(gone, &trust()), Err(BundleError::Io(io::ErrorKind::NotFound)));
}

#[test]
fn a_file_that_is_cut_off_between_two_readings_is_no_bundle() {
    let file = converse(Unit::Message, &Edits::default()).bundle.encode().unwrap();
    // The second reading is that of the messages, the third that of the statements.
    for (reading, length) in [(1, file.len() - 30), (2, 100)] {
        let count = Cell::new(0);
        let open = || {
            let now = count.replace(count.get() + 1);
            Ok(if now == reading { &file[..length] } else { &file[..] })
        };
        assert_eq!(audit_from(open, &trust()), Err(BundleError::CutOff), "reading {reading}");
    }
}

//! A bundle that is read several times is judged as one in memory.

use std::cell::Cell;
use std::io;

use sdpp::audit::{Bundle, BundleError, Report, Trust, audit_from};
use sdpp_proto::money::Unit;

use crate::records;
use crate::world::{Edits, converse, trust};

/// Audits in both ways; the reports are the same.
pub(crate) fn audit(bundle: &Bundle, trust: &Trust) -> Report {
    let report = bundle.audit(trust);
    let file = bundle.encode().unwrap();
    assert_eq!(audit_from(|| Ok(&file[..]), trust).as_ref(), Ok(&report));
    report
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

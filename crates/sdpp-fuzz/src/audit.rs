//! Bundles for the auditor.

use std::sync::Arc;

use sdpp::audit::{Bundle, Party, Trust, Verdict, limits};

use crate::choices::{Choices, flip};
use crate::kit::{self, key};
use crate::sale::{Sale, sales};

/// Statements of one tampered bundle.
const STATEMENTS_MAX: usize = 100;

/// A file as it comes.
///
/// It is written again as it was read, and audited without a panic: a file of strangers accuses nobody whose key is
/// not under it.
pub(crate) fn audit_bundle(data: &[u8]) {
    let Ok(bundle) = Bundle::decode(data) else { return };
    let whole = bundle.messages.iter().all(|piece| piece.len() <= limits::PIECE_MAX);
    assert!(whole && bundle.statements.iter().all(|statement| statement.len() <= limits::STATEMENT_MAX));
    assert_eq!(bundle.encode().as_deref(), Ok(data), "one file for this bundle");
    let _ = bundle.audit(&Trust { seller: key(kit::SELLER).public(), log: None });
    let report = bundle.audit(&Trust { seller: key(kit::STRANGER).public(), log: None });
    if let Verdict::False(finding) = report.verdict {
        assert_ne!(finding.by, Party::Seller, "a seller that signed nothing is accused");
    }
}

/// The bundle of an honest sale, whose statements somebody has dropped, repeated, moved, changed or mixed with those
/// of other sales, as the bytes say.
///
/// No side that was honest is ever accused; where nothing was done but to leave statements out, nothing is false.
pub(crate) fn audit_tampered(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (_, sale) = choices.pick(sales());
    let mut bundle = bundle_of(sale);
    if choices.yes() {
        bundle.messages.clear();
    }
    let (mut only_dropped, mut said) = (true, bundle.statements.clone());
    for _ in 0..choices.below(5) {
        let at = choices.below(said.len().max(1));
        match (choices.below(7), said.len()) {
            (0 | 1, 1..) => drop(said.remove(at)),
            (2, 1..) => said.truncate(at),
            (what, 1..STATEMENTS_MAX) => {
                only_dropped = false;
                tamper(&mut choices, &mut said, (what, at));
            }
            _ => {}
        }
    }
    bundle.statements = said;
    let report = bundle.audit(&Trust { seller: key(kit::SELLER).public(), log: None });
    if let Verdict::False(finding) = &report.verdict {
        assert_eq!(finding.by, Party::Exporter, "an honest side is accused: {finding}");
        assert!(!only_dropped, "a gap is not false: {finding}");
    }
}

fn tamper(choices: &mut Choices<'_>, said: &mut Vec<Arc<[u8]>>, (what, at): (usize, usize)) {
    let other = choices.below(said.len());
    match what {
        3 => said.swap(at, other),
        4 => said.insert(other, said[at].clone()),
        5 => {
            let mut bytes = said[at].to_vec();
            flip(&mut bytes, choices);
            said[at] = bytes.into();
        }
        _ => {
            let (_, other) = choices.pick(sales());
            said.insert(at, choices.pick(&bundle_of(other).statements).clone());
        }
    }
}

/// What the buyer of a sale exports.
pub(crate) fn bundle_of(sale: &Sale) -> Bundle {
    let mut bundle = sdpp::bundle::of(&sale.rows.1);
    bundle.messages = vec![sale.sink.as_slice().into()];
    bundle
}

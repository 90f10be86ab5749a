//! The auditor: rebuilds every charge of an order from signed statements, digests and the log, off
//! line, and believes nobody.
//!
//! It names the **first** false statement (which, by whom, against which rule), or says that all is
//! clean, or what is missing. Three principles:
//!
//! - Only what somebody signed can be held against somebody. Bytes without a valid signature, and
//!   statements of another sale, are the fault of whoever handed over the bundle ([`Party::Exporter`]).
//! - A link to a statement that is not in the bundle is not false but [`Missing`]: else whoever
//!   exports could make an honest side look false by leaving something out.
//! - A risk that one side takes knowingly is a [`Note`], not a falsehood.
//!
//! ```text
//! Bundle ── statements ──► Auditor::feed ──┐
//!        ── messages ────► with_data ──────┼──► finish ──► Report { Clean | False | Incomplete }
//!        ── log evidence ► checkpoint, record ┘
//! Trust  ── the seller's key, the log's policy
//! ```

mod auditor;
mod bundle;
mod case;
mod chain;
mod data;
mod json;
mod ledger;
pub mod limits;
mod memory;
mod money;
mod report;
mod rule;
mod sale;
#[cfg_attr(not(feature = "sqlite"), path = "no_spill.rs")]
mod spill;
mod stream;
#[cfg(feature = "sqlite")]
#[cfg(test)]
#[allow(
    dead_code,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "the integration tests' own"
)]
#[path = "../../tests/audit/world.rs"]
mod world;

pub use auditor::{Auditor, Trust};
pub use bundle::{Bundle, BundleError, Item, Items, LogEvidence, RecordProof};
pub use report::{Finding, Missing, Note, Party, Report, Topic, Totals, Verdict};
pub use rule::Rule;
pub use stream::audit_from;

/// Audits a bundle.
///
/// `data` is what [`Auditor::with_data`] takes; without it the bundle's own messages are used, if it
/// has any.
pub fn audit<B: AsRef<[u8]>>(bundle: &Bundle, trust: &Trust, data: Option<impl Iterator<Item = B>>) -> Report {
    let auditor = Auditor::new(trust);
    match (bundle.order_salt, data) {
        (Some(salt), Some(pieces)) => run(auditor.with_data(salt, pieces), bundle),
        (_, None) if bundle.messages.is_empty() => run(auditor, bundle),
        (Some(salt), None) => run(auditor.with_data(salt, bundle.messages.iter()), bundle),
        (None, _) => run(auditor.without_salt(), bundle),
    }
}

impl Bundle {
    /// Audits it with what it holds.
    pub fn audit(&self, trust: &Trust) -> Report {
        audit(self, trust, None::<std::iter::Empty<&[u8]>>)
    }
}

fn run(mut auditor: Auditor<'_>, bundle: &Bundle) -> Report {
    if let Some(log) = &bundle.log {
        auditor.checkpoint(&log.checkpoint);
        log.records.iter().for_each(|record| auditor.record(record));
    }
    for statement in &bundle.statements {
        auditor.feed(statement);
    }
    auditor.finish()
}

//! The ledger that is used, and its witnesses.

use sdpp_ledger::Verifier;
use sdpp_proto::time::Timestamp;

use super::Finding;
use crate::home::{Home, Role};
use crate::ledger::reach::{Reach, Remote};
use crate::text::time;

/// A witness that signed longer ago may be gone.
const STALE_MS: u64 = 10 * 60 * 1000;

/// What was seen of a ledger.
pub(super) struct Seen {
    pub(super) findings: Vec<Finding>,
    /// Its last tick, if it has one.
    pub(super) last_tick: Option<Timestamp>,
}

/// Follows the log as a buyer would, with a replica of its own.
pub(super) async fn look(home: &Home, reach: &Reach) -> Seen {
    const CHECK: &str = "ledger";
    let bad = |error: &dyn std::fmt::Display| Seen {
        findings: vec![Finding::bad(CHECK, error.to_string())],
        last_tick: None,
    };
    let remote = match Remote::open(home, Role::Buyer, reach).await {
        Ok(remote) => remote,
        Err(error) => return bad(&error),
    };
    let size = match remote.follow().await {
        Ok(size) => size,
        Err(error) => return bad(&error),
    };
    let last_tick = match remote.look(|fold| Ok(fold.time())).await {
        Ok(tick) => tick,
        Err(error) => return bad(&error),
    };
    let text = format!("{} at {}: {size} entries, checked here", remote.client.origin(), remote.url);
    let findings = vec![Finding::good(CHECK, text), witnesses(&remote).await];
    Seen { findings, last_tick }
}

async fn witnesses(remote: &Remote) -> Finding {
    const CHECK: &str = "witness";
    let policy = remote.client.policy();
    let (all, quorum) = (policy.witnesses().len(), policy.quorum());
    if quorum == 0 {
        let text = "quorum 0: nobody but the ledger says that all see the same log; name one with --witness";
        return Finding::warning(CHECK, text);
    }
    let Some(note) = remote.client.checkpoint().await else {
        return Finding::bad(CHECK, "the ledger has no checkpoint yet");
    };
    let now = sdpp::now();
    let signed = match policy.check(note.as_bytes(), &Verifier) {
        Ok(trusted) => trusted.cosigned_at,
        Err(error) => return Finding::bad(CHECK, error.to_string()),
    };
    let oldest = signed.iter().map(|cosigned| cosigned.time_s).min();
    match oldest.map(|at| Timestamp::from_ms(at.saturating_mul(1000))).filter(|at| now.since_ms(*at) > STALE_MS) {
        Some(at) => Finding::warning(
            CHECK,
            format!(
                "{} of {all} signed the newest checkpoint, the oldest at {}: nothing new, or gone?",
                signed.len(),
                time(at)
            ),
        ),
        None => {
            Finding::good(CHECK, format!("{} of {all} signed the newest checkpoint; quorum {quorum}", signed.len()))
        }
    }
}

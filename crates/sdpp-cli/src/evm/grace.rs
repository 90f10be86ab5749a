//! Which grace periods and how much finality are taken: a seller that is too slow for its own loses money, and a buyer whose
//! seller asks for too much has its deposit locked for nothing.

use std::time::Duration;

use sdpp::seller::TEND_EVERY;
use sdpp_evm::limits;

use crate::config;
use crate::exit::{Exit, failed};
use crate::ledger::Failure;

/// Looks that a seller has within a grace period: of several one may fail, and another one find no node.
const LOOKS: u64 = 4;

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A time as the configuration has it.
fn words(ms: u64) -> String {
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

/// Refuses a grace period in which this seller may not see a close, and have its voucher mined, in time.
pub(crate) fn check(config: &config::Seller) -> Result<(), Failure> {
    let grace = config.grace.unwrap_or(limits::GRACE_MIN_MS);
    let look = config.tend_every.unwrap_or_else(|| ms(TEND_EVERY));
    let mined = ms(limits::MINED_TIMEOUT);
    let least = look.saturating_mul(LOOKS).saturating_add(mined);
    if grace >= least {
        return Ok(());
    }
    let (grace, look, mined, least) = (words(grace), words(look), words(mined), words(least));
    Err(failed(
        Exit::Usage,
        format!(
            "grace = \"{grace}\" is too short for a chain: closes are looked after every {look} (tend_every), and redeeming \
             may take {mined}. Say grace = \"{least}\" or more in [seller], or a shorter tend_every"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_has_room_for_some_looks_and_a_transaction() {
        let seller = |grace: Option<u64>, tend_every: Option<u64>| config::Seller {
            grace: grace.map(|s| s * 1000),
            tend_every: tend_every.map(|s| s * 1000),
            ..config::Seller::default()
        };
        for (grace, tend_every) in [(None, None), (Some(300), None), (Some(184), Some(1)), (None, Some(1755))] {
            assert!(check(&seller(grace, tend_every)).is_ok(), "{grace:?} {tend_every:?}");
        }
        for (grace, tend_every) in
            [(Some(299), None), (Some(183), Some(1)), (None, Some(1756)), (None, Some(u64::MAX / 1000))]
        {
            assert!(check(&seller(grace, tend_every)).is_err(), "{grace:?} {tend_every:?}");
        }
        let text = check(&seller(Some(299), None)).unwrap_err().to_string();
        assert!(text.contains("\"299s\"") && text.contains("\"300s\"") && text.contains("tend_every"), "{text}");
    }
}

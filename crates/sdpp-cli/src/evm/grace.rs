//! Which grace periods and how much finality are taken: a seller that is too slow for its own loses money, and a buyer whose
//! seller asks for too much has its deposit locked for nothing.

use std::time::Duration;

use sdpp::seller::TEND_EVERY;
use sdpp_evm::limits;
use sdpp_proto::statement::PayOption;

use crate::config;
use crate::exit::{Exit, failed};
use crate::ledger::Failure;

/// Looks that a seller has within a grace period: of several one may fail, and another one find no node.
const LOOKS: u64 = 4;
/// Blocks that a seller may ask for beyond those that are final for the buyer.
const FINALITY_MORE_MAX: u32 = 64;
/// Longest grace period that a buyer takes: a day.
const GRACE_MAX_MS: u64 = 24 * 60 * 60 * 1000;

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

/// Refuses an option of a seller that would keep a deposit for too long before the order goes out, or after it is given up.
pub(super) fn bearable(option: &PayOption, finality: u32) -> Result<(), Failure> {
    let deepest = finality.saturating_add(FINALITY_MORE_MAX);
    if option.finality > deepest {
        let asked = option.finality;
        let what = format!(
            "the seller takes a channel when it is {asked} blocks deep, and more than {deepest} ({FINALITY_MORE_MAX} above your \
             own {finality}) are too many: say finality in [evm.networks.NAME] if you want to wait so long"
        );
        return Err(failed(Exit::Refused, what));
    }
    if option.grace_min_ms > GRACE_MAX_MS {
        let (asked, most) = (words(option.grace_min_ms), words(GRACE_MAX_MS));
        let what = format!(
            "the seller asks for a grace period of {asked}: a deposit would be locked for so long after it is given up, and \
             more than {most} is not taken"
        );
        return Err(failed(Exit::Refused, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sdpp_proto::money::AssetId;

    use super::*;

    #[test]
    fn a_seller_that_wants_a_deposit_locked_for_too_long_is_refused() {
        let option = |finality: u32, grace_min_ms: u64| PayOption {
            id: 1,
            rail: "evm".into(),
            asset: AssetId::new("eip155:1/slip44:60"),
            address: String::new(),
            finality,
            grace_min_ms,
            pay_by_ms: 60_000,
            channel: true,
            terms: Vec::new(),
        };
        assert!(bearable(&option(74, GRACE_MAX_MS), 10).is_ok());
        let text = bearable(&option(75, 0), 10).unwrap_err().to_string();
        assert!(text.contains("75") && text.contains("74") && text.contains("finality"), "{text}");
        let text = bearable(&option(0, GRACE_MAX_MS + 1), 10).unwrap_err().to_string();
        assert!(text.contains("86400001ms") && text.contains("86400s"), "{text}");
        assert!(bearable(&option(u32::MAX, 0), u32::MAX).is_ok());
    }

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

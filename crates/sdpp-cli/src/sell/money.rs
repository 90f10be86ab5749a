//! What the seller is paid in, and by which rails.

use std::sync::Arc;

use sdpp_ledger::{DirectPayee, PayeeConfig, VoucherPayee};
use sdpp_proto::money::AssetId;
use sdpp_rail::{Durability, Payee};

use crate::config::{self, Pay};
use crate::exit::{Exit, failed};
use crate::ledger::Failure;
use crate::ledger::reach::Remote;
use crate::text::symbol;

/// What the seller is paid in: what was said, else the ledger's trial money, else its only asset.
pub(super) async fn asset(remote: &Remote, said: Option<&str>) -> Result<AssetId, Failure> {
    let issued = remote.look(sdpp_ledger::Fold::all_issued).await?;
    let of = |name: &str| issued.iter().map(|(asset, _)| asset).filter(|asset| symbol(asset) == name).count();
    if let Some(said) = said {
        if said.contains('@') {
            return Ok(AssetId::new(said));
        }
        if of(said) == 1 {
            let found = issued.iter().find(|(asset, _)| symbol(asset) == said);
            return Ok(found.map(|(asset, _)| asset.clone()).unwrap_or_else(|| AssetId::new(said)));
        }
        let what = format!("{} issuers of this ledger have a '{said}': write SYMBOL@ISSUER", of(said));
        return Err(failed(Exit::Usage, what));
    }
    // Only a hint: whoever pays in something else is refused.
    if let Ok(Some((asset, _))) = remote.http().trial().await {
        return Ok(asset);
    }
    match issued.as_slice() {
        [(asset, _)] => Ok(asset.clone()),
        _ => Err(failed(
            Exit::Usage,
            "say what you are paid in: --asset SYMBOL@ISSUER; `sdpp ledger balance` shows the assets of an account",
        )),
    }
}

/// The ways to be paid.
pub(super) fn payees(
    remote: &Remote,
    config: &config::Seller,
    asset: &AssetId,
) -> Result<Vec<Arc<dyn Payee>>, Failure> {
    let usual = PayeeConfig::new(remote.key.clone(), asset.clone(), Some(remote.url.clone()));
    let terms = PayeeConfig {
        grace_min_ms: config.grace.unwrap_or(usual.grace_min_ms),
        pay_by_ms: config.pay_by.unwrap_or(usual.pay_by_ms),
        ..usual
    };
    let ways = config.pay.clone().unwrap_or_else(|| vec![Pay::Voucher]);
    let mut payees: Vec<Arc<dyn Payee>> = Vec::new();
    for way in [Pay::Voucher, Pay::Direct].into_iter().filter(|way| ways.contains(way)) {
        let client = remote.client.clone();
        // What is not redeemed yet is nowhere else: the book survives what the money must survive.
        payees.push(match way {
            Pay::Voucher => {
                let store = Box::new(remote.role.store("rail", Durability::Power)?);
                Arc::new(VoucherPayee::new(client, terms.clone(), store))
            }
            Pay::Direct => {
                let store = Box::new(remote.role.store("rail-direct", Durability::Power)?);
                Arc::new(DirectPayee::new(client, terms.clone(), store))
            }
        });
    }
    Ok(payees)
}

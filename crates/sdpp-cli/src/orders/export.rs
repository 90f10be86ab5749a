//! An order's evidence: statements of the journal, the exact messages if they were kept, and the
//! ledger's proofs.

use sdpp::audit::{Bundle, Trust};
use sdpp::journal::order_stream;
use sdpp_ledger::LedgerTerms;

use crate::buy::journals::Found;
use crate::buy::{ledger_of, sinks, terms_of};
use crate::config::Rail;
use crate::export;
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::reach::Reach;
use crate::ways::rail_of;

/// The bundle of an order, with the ledger's proofs if it may be asked; and whom the buyer trusts about an order of its
/// own: the seller it ordered from, and the ledger of its terms or of its records.
pub(crate) async fn bundle_of(home: &Home, found: &Found, reach: Option<&Reach>) -> Result<(Bundle, Trust), Failure> {
    let order = found.order.order;
    let entries = found.journal.read(order_stream(&order)).await?;
    let kept = found.order.note.sink.as_deref().and_then(sinks::kept).filter(|path| path.exists());
    let mut bundle = export::bundle(&entries, kept.as_deref())?;
    let mut trust = Trust { seller: found.order.seller, log: None };
    let Some(reach) = reach else { return Ok((bundle, trust)) };
    let (terms, offer) = terms_of(&found.journal, &order).await?;
    if let Some(remote) = ledger_of(home, reach, (&terms.option, &offer)).await? {
        bundle.log = Some(export::evidence(&entries, &remote.client, remote.service.as_ref()).await?);
        trust.log = Some(match rail_of(&terms.option) {
            Some(Rail::Voucher | Rail::Direct) => LedgerTerms::parse(&terms.option.terms)?.policy()?,
            Some(Rail::Evm | Rail::Iota) | None => remote.client.policy().clone(),
        });
    }
    Ok((bundle, trust))
}

//! An order's evidence: statements of the journal, the exact messages if they were kept, and the
//! ledger's proofs.

use sdpp::audit::{Bundle, Trust};
use sdpp::journal::order_stream;
use sdpp_ledger::LedgerTerms;

use crate::buy::journals::Found;
use crate::buy::{Desk, sinks, terms_of};
use crate::export;
use crate::home::Home;
use crate::ledger::Failure;
use crate::ledger::reach::Reach;

/// The bundle of an order; with the ledger's proofs if it may be asked.
pub(crate) async fn bundle_of(home: &Home, found: &Found, reach: Option<&Reach>) -> Result<Bundle, Failure> {
    let order = found.order.order;
    let entries = found.journal.read(order_stream(&order)).await?;
    let kept = found.order.note.sink.as_deref().and_then(sinks::kept).filter(|path| path.exists());
    let mut bundle = export::bundle(&entries, kept.as_deref())?;
    if let Some(reach) = reach {
        let terms = terms_of(&found.journal, &order).await?;
        let desk = Desk::open(home, reach, &terms.option).await?;
        let service = desk.remote.service.clone();
        bundle.log = Some(export::evidence(&entries, &desk.remote.client, service.as_ref()).await?);
    }
    Ok(bundle)
}

/// Whom the buyer trusts about an order of its own: the seller it ordered from, and the ledger of its terms.
pub(crate) async fn trust_of(found: &Found, with_ledger: bool) -> Result<Trust, Failure> {
    let terms = terms_of(&found.journal, &found.order.order).await?;
    let log = if with_ledger { Some(LedgerTerms::parse(&terms.option.terms)?.policy()?) } else { None };
    Ok(Trust { seller: found.order.seller, log })
}

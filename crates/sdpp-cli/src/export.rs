//! Makes the bundle of an order: statements from a journal, the way to every record from the ledger,
//! and the messages.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use sdpp::audit::{Bundle, LogEvidence, RecordProof};
use sdpp_ledger::{LedgerClient, LedgerService};
use sdpp_proto::journal::Entry;
use sdpp_proto::statement::AnyStatement;

/// Message bytes per piece of a bundle.
const PIECE: usize = 64 * 1024;

/// The statements, the salt and the messages of an order.
pub(crate) fn bundle(entries: &[Entry], messages: Option<&Path>) -> std::io::Result<Bundle> {
    let mut bundle = sdpp::bundle::of(entries);
    if let Some(path) = messages {
        let bytes = std::fs::read(path)?;
        bundle.messages = bytes.chunks(PIECE).map(Arc::from).collect();
    }
    Ok(bundle)
}

/// The way from the newest checkpoint to the record of every statement that has one.
pub(crate) async fn evidence(
    entries: &[Entry],
    client: &LedgerClient,
    service: &dyn LedgerService,
) -> Result<LogEvidence, Box<dyn Error>> {
    let size = client.follow().await?;
    let checkpoint = client.checkpoint().await.ok_or("the ledger has no checkpoint")?;
    let mut records = Vec::new();
    for entry in entries {
        let Entry::Statement(AnyStatement { id, .. }) = entry else { continue };
        let Some(record) = client.look(|fold| fold.record(id)).await? else { continue };
        let index = record.place.index;
        let page = service.entries(index, 1).await?;
        let entry = page.into_iter().next().ok_or("the ledger withholds an entry")?;
        let proof = service.inclusion(index, size).await?;
        records.push(RecordProof { statement: *id, entry, index, proof });
    }
    Ok(LogEvidence { checkpoint: checkpoint.as_bytes().to_vec(), records })
}

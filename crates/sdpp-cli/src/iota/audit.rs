//! What IOTA says of an own order: its payments and its records.

use std::sync::Arc;

use sdpp::journal::order_stream;
use sdpp_iota::{
    Deed, IotaTerms, Nodes, NotDone, Record, TransferProof, Window, address_of, executed, kept_proof, verify,
};
use sdpp_proto::journal::Entry;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{AnyStatement, Invoice, Kind, Payment, Signed, Statement, Terms};
use sdpp_rail::{Durability, RecordId, SqliteStore};

use super::network::Network;
use super::{RAIL, RECORDS, Tangle, purse_of};
use crate::audit::{Check, State};
use crate::buy::journals::Found;
use crate::buy::terms_of;
use crate::exit::{Exit, failed};
use crate::home::{Home, Role, is_busy};
use crate::ledger::Failure;

/// Asks IOTA about an order; nothing where it has nothing to do with one.
pub(crate) async fn check(home: &Home, tangle: &Tangle, found: &Found) -> Result<Vec<Check>, Failure> {
    let order = found.order.order;
    let (terms, offer) = terms_of(&found.journal, &order).await?;
    let entries = found.journal.read(order_stream(&order)).await?;
    let mut checks = Vec::new();
    if terms.option.rail == RAIL {
        let chain = IotaTerms::parse(&terms.option.terms).map_err(|error| failed(Exit::Refused, error.to_string()))?;
        let network = tangle.reach_of(&home.config()?, &chain.chain).await?;
        checks.push(payments(&network, &terms, &entries).await?);
    }
    if offer.backend == RECORDS {
        let network = tangle.reach(&home.config()?).await?;
        let kept = kept_proofs(home, network.nodes.chain())?;
        checks.push(records((&network.nodes, kept.as_ref()), &entries).await?);
    }
    Ok(checks)
}

/// The buyer's store of proofs, which nodes may have dropped; none while a purchase has it.
fn kept_proofs(home: &Home, chain: &str) -> Result<Option<SqliteStore>, Failure> {
    let (role, name) = (home.role(Role::Buyer)?, purse_of(chain));
    let path = role.file(&format!("{name}.db"));
    if !path.exists() || is_busy(&path) {
        return Ok(None);
    }
    role.store(&name, Durability::Power).map(Some)
}

fn parsed<T: Statement>(entry: &Entry, kind: Kind) -> Option<Signed<T>> {
    match entry {
        Entry::Statement(statement) if statement.kind == kind => Signed::parse(&statement.bytes).ok(),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    }
}

/// Each payment is a transaction that moved what its invoice asked for.
async fn payments(network: &Network, terms: &Terms, entries: &[Entry]) -> Result<Check, Failure> {
    const WHAT: &str = "payments";
    let invoices: Vec<Signed<Invoice>> = entries.iter().filter_map(|entry| parsed(entry, Kind::Invoice)).collect();
    let payee = address_of(&terms.option.address);
    let (mut before, mut there, mut missing, mut last) = (Amount::ZERO, 0u64, 0u64, None);
    for payment in entries.iter().filter_map(|entry| parsed::<Payment>(entry, Kind::Payment)) {
        let amount = payment.total.saturating_sub(before);
        before = payment.total;
        let Some(proof) = &payment.proof else { continue };
        let proof = TransferProof::decode(proof).map_err(|error| failed(Exit::Refused, error.to_string()))?;
        let digest = proof.digest();
        let found = network.nodes.find(&digest).await;
        let found = found.map_err(|_| failed(Exit::Unreachable, "the nodes of IOTA do not answer"))?;
        last = Some(digest);
        let Some(receipt) = found else {
            missing = missing.saturating_add(1);
            continue;
        };
        let known = invoices.iter().any(|invoice| invoice.id() == payment.invoice_id);
        let Some((payee, nanos)) = payee.zip(u64::try_from(amount.get()).ok()).filter(|_| known) else {
            return Ok(Check::new(WHAT, State::False, format!("payment {} answers no invoice", payment.id())));
        };
        let record = Record::Paid(payment.invoice_id).encode();
        match verify(&receipt, proof.payer(), &Deed::Pay(Window { payee, amount: nanos, record })) {
            Ok(_) => there = there.saturating_add(1),
            Err(NotDone::NoCheckpoint) => missing = missing.saturating_add(1),
            Err(error) => {
                return Ok(Check::new(
                    WHAT,
                    State::False,
                    format!("transaction {digest} of payment {}: {error}", payment.id()),
                ));
            }
        }
    }
    let page = last.and_then(|digest| network.explorer(&digest.to_string()));
    let page = page.map(|page| format!(", the last one {page}")).unwrap_or_default();
    let text = format!("{there} transactions paid {before} nano{page}");
    Ok(match missing {
        0 => Check::new(WHAT, State::Good, text),
        more => Check::new(WHAT, State::Missing, format!("{text}; {more} more are at no node: nodes drop old ones")),
    })
}

/// What was recorded is there, and is what was recorded.
async fn records(from: (&Arc<Nodes>, Option<&SqliteStore>), entries: &[Entry]) -> Result<Check, Failure> {
    const WHAT: &str = "records";
    let statements: Vec<&AnyStatement> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Statement(statement) => Some(statement),
            Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
        })
        .collect();
    let (mut there, mut missing) = (0u64, 0u64);
    for entry in entries {
        let Entry::Record { statement: id, record } = entry else { continue };
        let Some(statement) = statements.iter().find(|statement| statement.id.0 == id.0) else { continue };
        match holds(from, record, statement).await? {
            Some(true) => there = there.saturating_add(1),
            Some(false) => {
                return Ok(Check::new(WHAT, State::False, format!("transaction {record} does not record {id}")));
            }
            None => missing = missing.saturating_add(1),
        }
    }
    let text = format!("{there} statements are on IOTA network {}", from.0.chain());
    Ok(match missing {
        0 => Check::new(WHAT, State::Good, text),
        more => Check::new(WHAT, State::Missing, format!("{text}; {more} more are at no node: nodes drop old ones")),
    })
}

/// Whether a record is of a statement; none where no node has it, and no proof is kept.
async fn holds(
    (nodes, kept): (&Arc<Nodes>, Option<&SqliteStore>),
    record: &RecordId,
    statement: &AnyStatement,
) -> Result<Option<bool>, Failure> {
    let digest = sdpp_iota::digest_of(record);
    let found = nodes.find(&digest).await;
    let mut found = found.map_err(|_| failed(Exit::Unreachable, "the nodes of IOTA do not answer"))?;
    if let (None, Some(kept)) = (&found, kept) {
        found = kept_proof(kept, &digest).map_err(|error| failed(Exit::Storage, error.to_string()))?;
    }
    let Some(receipt) = found else { return Ok(None) };
    Ok(match executed(&receipt) {
        Ok((_, Deed::Record(bytes) | Deed::Keep(bytes), of)) if of == digest => {
            Some(Record::decode(&bytes).is_some_and(|held| held.is_of(statement)))
        }
        Err(NotDone::NoCheckpoint) => None,
        Ok(_) | Err(_) => Some(false),
    })
}

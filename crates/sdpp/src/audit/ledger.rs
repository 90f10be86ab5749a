//! What the ledger says: a checkpoint under a policy, records under the checkpoint, and whether the
//! order's record policy was kept.

use sdpp_log::{Checkpoint, NoteVerifier, Policy, TrustError, leaf_hash, verify_inclusion};
use sdpp_proto::codec::StatementId;
use sdpp_proto::cose;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::statement::{Form, RecordPolicy};

use super::bundle::{RecordProof, only_byte_string};
use super::case::{Book, Seen, Stop};
use super::limits;
use super::memory::{Kept, Lost, Memory, Packed};
use super::report::{Finding, Missing, Party, Topic};
use super::rule::Rule;
use super::sale::Sale;

/// Strict Ed25519 for notes: the same answers as for statements.
struct Strict;

impl NoteVerifier for Strict {
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        PublicKey::from_bytes(*public).is_ok_and(|key| key.verify(message, signature))
    }
}

/// The ledger's evidence, as far as it was checked.
#[derive(Debug)]
pub(super) struct Ledger {
    policy: Option<Policy>,
    was_given: bool,
    checkpoint: Option<Checkpoint>,
    /// The first thing that is false or missing.
    stop: Option<Stop>,
    recorded: Memory<Form>,
}

/// How far records commit to the chains of an order.
#[derive(Debug, Default)]
struct Covered {
    invoices: u64,
    payments: u64,
    is_ended: bool,
}

impl Ledger {
    pub(super) fn new(policy: Option<Policy>) -> Self {
        Self { policy, was_given: false, checkpoint: None, stop: None, recorded: Memory::default() }
    }

    /// Keeps so many records at most in memory.
    pub(super) fn keep(&mut self, recent_max: usize) {
        self.recorded.keep(recent_max);
    }

    pub(super) fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    /// Takes the signed checkpoint.
    pub(super) fn checkpoint(&mut self, note: &[u8]) {
        self.was_given = true;
        let Some(policy) = &self.policy else { return };
        match policy.check(note, &Strict) {
            Ok(trusted) => self.checkpoint = Some(trusted.checkpoint),
            Err(TrustError::QuorumNotMet { valid, quorum }) => {
                self.stop = Some(Stop::Missing(Missing::Cosignatures { valid, quorum }));
            }
            Err(error @ (TrustError::Open(_) | TrustError::Cosignature(_))) => {
                self.stop = Some(breaks(None, Party::Ledger, Rule::Checkpoint, error.to_string()));
            }
        }
    }

    /// Takes a record. Nothing is checked without a checkpoint that is trusted.
    pub(super) fn record(&mut self, record: &RecordProof) {
        if self.stop.is_some() {
            return;
        }
        let (Some(checkpoint), Some(policy)) = (&self.checkpoint, &self.policy) else { return };
        match check_record(record, checkpoint, policy) {
            Ok(form) => self.recorded.insert(record.statement, form),
            Err(stop) => self.stop = Some(stop),
        }
    }

    /// Compares what is recorded with what the order asks for.
    pub(super) fn finish(&mut self, sale: &Sale, book: &mut Book) {
        if self.policy.is_none() {
            if self.was_given {
                book.note(Topic::NoPolicy, None, "records were not checked: no log to trust was named");
            }
            return;
        }
        if !self.was_given {
            self.stop = sale.is_recorded.then_some(Stop::Missing(Missing::LogEvidence));
            return;
        }
        if let Err(Lost(why)) = self.compare(sale, book) {
            self.stop.get_or_insert(Stop::Missing(Missing::Memory(why)));
        }
    }

    fn compare(&mut self, sale: &Sale, book: &mut Book) -> Result<(), Lost> {
        if self.stop.is_none() && sale.is_recorded && !self.recorded.contains(&sale.id)? {
            self.stop = Some(Stop::Missing(Missing::Record(sale.id)));
        }
        let covered = self.cover(sale, book)?;
        if self.stop.is_none() && sale.is_recorded {
            note_unrecorded(sale, &covered, book);
        }
        Ok(())
    }

    fn cover(&self, sale: &Sale, book: &mut Book) -> Result<Covered, Lost> {
        let mut covered = Covered::default();
        let (mut records, mut strangers, mut others) = (0u64, 0u64, 0u64);
        // In the order of ids, as the other memory has them: long files are read from their beginnings to their ends.
        self.recorded.each(|id, form| {
            records = records.saturating_add(1);
            others = others.saturating_add(u64::from(form != sale.terms.order.record.form));
            match book.seen.get(id)? {
                Some(seen) => covered.add(seen),
                None => strangers = strangers.saturating_add(1),
            }
            Ok(())
        })?;
        book.totals.records = records;
        if strangers > 0 {
            book.note(Topic::Record, None, format!("{strangers} records are of statements outside this bundle"));
        }
        if others > 0 {
            book.note(Topic::Record, None, format!("{others} records have another form than the order asks for"));
        }
        Ok(covered)
    }
}

impl Kept for Form {
    fn pack(self) -> Packed {
        match self {
            Self::Full => (0, 0, 0),
            Self::Hash => (1, 0, 0),
        }
    }

    fn unpack(packed: Packed) -> Option<Self> {
        match packed {
            (0, 0, 0) => Some(Self::Full),
            (1, 0, 0) => Some(Self::Hash),
            _ => None,
        }
    }
}

impl Covered {
    fn add(&mut self, seen: Seen) {
        let (invoices, payments) = match seen {
            Seen::Other => (0, 0),
            Seen::Invoice { n, payments } | Seen::Void { n, payments } => (n.saturating_add(1), payments),
            Seen::Payment { index, invoice } => (invoice.saturating_add(1), index.saturating_add(1)),
            Seen::End { invoices, payments } => {
                self.is_ended = true;
                (invoices, payments)
            }
        };
        self.invoices = self.invoices.max(invoices);
        self.payments = self.payments.max(payments);
    }
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
impl Ledger {
    /// One that was told of a record and cannot read it again.
    pub(super) fn that_lost(statement: StatementId, policy: Policy) -> Self {
        let mut ledger = Self { was_given: true, ..Self::new(Some(policy)) };
        ledger.recorded.insert(statement, Form::Full);
        ledger.recorded.lose();
        ledger
    }
}

fn breaks(statement: Option<StatementId>, by: Party, rule: Rule, text: impl Into<String>) -> Stop {
    let text = text.into();
    Stop::False(Box::new(Finding { statement, kind: None, position: None, by, rule, conflicts_with: None, text }))
}

/// Checks one record: what it holds, that it is in the log, that it is an entry of this log.
fn check_record(record: &RecordProof, checkpoint: &Checkpoint, policy: &Policy) -> Result<Form, Stop> {
    let breaks = |by, rule, text: String| breaks(Some(record.statement), by, rule, text);
    if record.entry.len() > limits::ENTRY_MAX {
        return Err(breaks(Party::Exporter, Rule::RecordEntry, "the entry is longer than any log takes".into()));
    }
    let leaf = leaf_hash(&record.entry);
    verify_inclusion(&leaf, record.index, checkpoint.size(), &record.proof, &checkpoint.root())
        .map_err(|error| breaks(Party::Ledger, Rule::Inclusion, format!("entry {}: {error}", record.index)))?;
    // From here on the log committed to the entry, whatever it is.
    let entry = cose::parse(&record.entry);
    let entry = entry.map_err(|error| breaks(Party::Ledger, Rule::RecordEntry, error.to_string()))?;
    entry.verify().map_err(|error| breaks(Party::Ledger, Rule::RecordEntry, error.to_string()))?;
    if entry.subject != policy.log().name() {
        let text = format!("the entry was made for {:?}", entry.subject);
        return Err(breaks(Party::Ledger, Rule::RecordEntry, text));
    }
    let is_record = entry.content_type == cose::content_type("ledger-record");
    let held = is_record.then(|| held(entry.payload)).flatten();
    let (form, id) =
        held.ok_or_else(|| breaks(Party::Exporter, Rule::RecordContent, "the entry is not a record".into()))?;
    if id != record.statement {
        return Err(breaks(Party::Exporter, Rule::RecordContent, format!("the record holds {id}")));
    }
    Ok(form)
}

/// What a record holds: `{1: form, 2: statement or id}`.
fn held(payload: &[u8]) -> Option<(Form, StatementId)> {
    let (form, body) = match payload.strip_prefix(&[0xa2, 0x01])?.split_first_chunk::<2>()? {
        ([0x00, 0x02], body) => (Form::Full, only_byte_string(body)?),
        ([0x01, 0x02], body) => (Form::Hash, only_byte_string(body)?),
        (_, _) => return None,
    };
    let id = match form {
        Form::Full => cose::parse(body).ok()?.id(),
        Form::Hash => StatementId(<[u8; 32]>::try_from(body).ok()?),
    };
    Some((form, id))
}

/// A record of a pair commits to all before it: only what lies behind the newest one is noted.
fn note_unrecorded(sale: &Sale, covered: &Covered, book: &mut Book) {
    let (made, paid) = (sale.chain.made(), sale.money.made());
    let invoices = made.saturating_sub(covered.invoices);
    let payments = paid.saturating_sub(covered.payments);
    let is_ended = covered.is_ended || sale.chain.newest().is_some_and(|newest| newest.is_last);
    let RecordPolicy { every, .. } = sale.terms.order.record;
    let allowed = match every.checked_sub(1) {
        _ if is_ended => 0,
        None => u64::MAX,
        Some(behind) => u64::from(behind),
    };
    if invoices > allowed || payments > allowed {
        let text = format!("no record commits to the last {invoices} invoices and {payments} payments");
        book.note(Topic::Unrecorded, None, text);
    }
}

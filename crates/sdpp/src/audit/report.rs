//! What the auditor says: verdict, totals, notes.

use std::fmt;

use sdpp_proto::codec::StatementId;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::Kind;

use super::rule::Rule;

/// Who is answerable for something false.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// The seller: it signed.
    Seller,
    /// The buyer: it signed, with its identity or with the order's key.
    Buyer,
    /// The ledger, or whoever handed over its evidence.
    Ledger,
    /// Whoever handed over the bundle or the data: no side signed what is false in it.
    Exporter,
}

impl Party {
    /// Its stable name, for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seller => "seller",
            Self::Buyer => "buyer",
            Self::Ledger => "ledger",
            Self::Exporter => "exporter",
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seller => "the seller",
            Self::Buyer => "the buyer",
            Self::Ledger => "the ledger",
            Self::Exporter => "whoever handed over the evidence",
        })
    }
}

/// The first thing that is false.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The statement, by its id; none where bytes are no statement or the ledger's evidence is false.
    pub statement: Option<StatementId>,
    /// Its kind.
    pub kind: Option<Kind>,
    /// Its place among the statements fed, from 0.
    pub position: Option<u64>,
    /// Who is answerable.
    pub by: Party,
    /// The rule that is broken.
    pub rule: Rule,
    /// The statement that contradicts it, where the two together are the proof: keep both.
    pub conflicts_with: Option<StatementId>,
    /// What was expected and what was found.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.statement) {
            (Some(kind), Some(id)) => writeln!(f, "FALSE: the {} {id}", kind.name())?,
            (_, Some(id)) => writeln!(f, "FALSE: what concerns {id}")?,
            (_, None) => writeln!(f, "FALSE: a part of the evidence that is no statement")?,
        }
        writeln!(f, "  by:    {}", self.by)?;
        writeln!(f, "  rule:  {} ({})", self.rule, self.rule.text())?;
        write!(f, "  found: {}", self.text)?;
        match self.conflicts_with {
            Some(other) => write!(f, "\n  proof: keep it together with {other}"),
            None => Ok(()),
        }
    }
}

/// What is missing, so that nothing can be said about what depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    /// The menu that the order names, or any menu.
    Menu(Option<StatementId>),
    /// The order.
    Order(Option<StatementId>),
    /// An acceptance: there are charges and no connection.
    Acceptance,
    /// The invoice of this number.
    Invoice(u64),
    /// An acceptance that forgives what lies before this statement.
    Forgiveness(StatementId),
    /// A payment of this total.
    Payment(Amount),
    /// A statement that another one names.
    Statement {
        /// What is missing.
        id: StatementId,
        /// What it must be, in words.
        what: &'static str,
        /// The statement that names it.
        named_by: StatementId,
    },
    /// The salt of the order, without which digests cannot be computed.
    Salt,
    /// Messages from this sequence number on.
    Messages(u64),
    /// Evidence of the ledger: a checkpoint and proofs.
    LogEvidence,
    /// Signatures of witnesses under the checkpoint.
    Cosignatures {
        /// Witnesses that signed.
        valid: usize,
        /// Witnesses that the policy asks for.
        quorum: usize,
    },
    /// The record of a statement that must be recorded.
    Record(StatementId),
    /// What the auditor itself wrote into its temporary file and cannot read again, and why: the bundle may be whole.
    Memory(String),
}

impl Missing {
    /// Its stable name, for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Menu(_) => "menu",
            Self::Order(_) => "order",
            Self::Acceptance => "acceptance",
            Self::Invoice(_) => "invoice",
            Self::Forgiveness(_) => "forgiveness",
            Self::Payment(_) => "payment",
            Self::Statement { .. } => "statement",
            Self::Salt => "salt",
            Self::Messages(_) => "messages",
            Self::LogEvidence => "log-evidence",
            Self::Cosignatures { .. } => "cosignatures",
            Self::Record(_) => "record",
            Self::Memory(_) => "memory",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Menu(Some(id)) => write!(f, "the menu {id} that the order takes its prices from"),
            Self::Menu(None) => f.write_str("the menu"),
            Self::Order(Some(id)) => write!(f, "the order {id}"),
            Self::Order(None) => f.write_str("the order"),
            Self::Acceptance => f.write_str("the seller's acceptance of the connection that charges were made on"),
            Self::Invoice(n) => write!(f, "invoice number {n}"),
            Self::Forgiveness(id) => write!(f, "an acceptance by which {id} follows on what lies before it"),
            Self::Payment(total) => write!(f, "a payment of {total} in all, which the seller says it credited"),
            Self::Statement { id, what, named_by } => write!(f, "{what} {id}, which {named_by} names"),
            Self::Salt => f.write_str("the order's salt, without which data cannot be compared"),
            Self::Messages(seq) => write!(f, "message data from number {seq} on"),
            Self::LogEvidence => f.write_str("the ledger's checkpoint and proofs"),
            Self::Cosignatures { valid, quorum } => {
                write!(f, "signatures of witnesses under the checkpoint: {valid} of {quorum} needed are there")
            }
            Self::Record(id) => write!(f, "the record of {id} on the ledger"),
            Self::Memory(why) => {
                write!(f, "statements that the auditor wrote into its temporary file and cannot read again ({why})")
            }
        }
    }
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every charge follows from what both sides signed.
    Clean,
    /// Something is false; the first of it.
    False(Box<Finding>),
    /// Nothing is false as far as it can be checked, and this is missing.
    Incomplete(Missing),
}

impl Verdict {
    /// Its stable name, for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::False(_) => "false",
            Self::Incomplete(_) => "incomplete",
        }
    }
}

/// What a note is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// The seller lent more than it had said: its own risk.
    Exposure,
    /// An attach that no acceptance answers.
    Unanswered,
    /// Money that is due and not paid.
    Unpaid,
    /// A payment that the seller did not credit when it declared a default.
    NotCredited,
    /// A default that a later payment supersedes.
    Superseded,
    /// An invoice that was paid again, at no new cost.
    PaidAgain,
    /// Statements that the order's record policy wants on the ledger and that no record commits to.
    Unrecorded,
    /// A record in another form than the order asks for, or of a statement outside the bundle.
    Record,
    /// Evidence of a ledger that could not be judged: no policy was given.
    NoPolicy,
    /// The end of a key, in its own words.
    Key,
    /// Data behind the last invoice.
    Uninvoiced,
    /// Statements behind the point where the audit ended, which were not looked at.
    Unchecked,
}

impl Topic {
    /// Its stable name, for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exposure => "exposure",
            Self::Unanswered => "unanswered",
            Self::Unpaid => "unpaid",
            Self::NotCredited => "not-credited",
            Self::Superseded => "superseded",
            Self::PaidAgain => "paid-again",
            Self::Unrecorded => "unrecorded",
            Self::Record => "record",
            Self::NoPolicy => "no-policy",
            Self::Key => "key",
            Self::Uninvoiced => "uninvoiced",
            Self::Unchecked => "unchecked",
        }
    }
}

/// Something worth knowing that is not false.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// What it is about.
    pub topic: Topic,
    /// The statement that it is about.
    pub statement: Option<StatementId>,
    /// The note in words.
    pub text: String,
}

/// What was counted, from statements that stand: void invoices are not in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Statements that were checked, every one once.
    pub statements: u64,
    /// Messages charged.
    pub messages: u64,
    /// Payload bytes charged.
    pub bytes: u64,
    /// Windows charged.
    pub windows: u64,
    /// Invoices that stand.
    pub invoices: u64,
    /// Invoices that are void.
    pub invoices_void: u64,
    /// Payments.
    pub payments: u64,
    /// Cumulative amount due.
    pub due: Amount,
    /// Cumulative amount paid, as the buyer signed.
    pub paid: Amount,
    /// Cumulative amount credited, as the seller signed.
    pub credited: Amount,
    /// Due and not paid.
    pub unpaid: Amount,
    /// Messages delivered and never charged.
    pub forgiven: u64,
    /// Records found on the ledger.
    pub records: u64,
    /// Digests compared with the data.
    pub digests: u64,
}

/// The auditor's report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The answer.
    pub verdict: Verdict,
    /// The order.
    pub order: Option<StatementId>,
    /// The seller, as the auditor was told.
    pub seller: PublicKey,
    /// The buyer, as the order says.
    pub buyer: Option<PublicKey>,
    /// What amounts count.
    pub asset: Option<AssetId>,
    /// What was counted.
    pub totals: Totals,
    /// What else is worth knowing.
    pub notes: Vec<Note>,
    /// Notes beyond [`limits::NOTES_MAX`](super::limits::NOTES_MAX).
    pub notes_left_out: u64,
}

impl Report {
    /// Whether every charge was rebuilt and nothing is false or missing.
    pub const fn is_clean(&self) -> bool {
        matches!(self.verdict, Verdict::Clean)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Clean => writeln!(f, "CLEAN: every charge follows from what both sides signed")?,
            Verdict::False(finding) => writeln!(f, "{finding}")?,
            Verdict::Incomplete(missing) => {
                writeln!(f, "INCOMPLETE: nothing checked so far is false, but this is missing:")?;
                writeln!(f, "  {missing}")?;
            }
        }
        if let Some(order) = self.order {
            writeln!(f, "order     {order}")?;
        }
        writeln!(f, "seller    {}", self.seller)?;
        if let Some(buyer) = self.buyer {
            writeln!(f, "buyer     {buyer}")?;
        }
        self.write_totals(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {}", note.text))?;
        match self.notes_left_out {
            0 => Ok(()),
            more => writeln!(f, "note: and {more} more notes"),
        }
    }
}

impl Report {
    fn write_totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        let asset = self.asset.as_ref().map_or("", AssetId::as_str);
        let Totals { messages, bytes, windows, forgiven, .. } = totals;
        writeln!(
            f,
            "delivered {messages} messages, {bytes} bytes, in {windows} windows; {forgiven} messages forgiven"
        )?;
        writeln!(f, "due       {} {asset}, by {} invoices", totals.due, totals.invoices)?;
        writeln!(f, "paid      {} {asset}, by {} payments", totals.paid, totals.payments)?;
        writeln!(f, "unpaid    {} {asset}", totals.unpaid)?;
        let Totals { statements, digests, records, .. } = totals;
        writeln!(f, "checked   {statements} statements, {digests} digests of data, {records} records on the ledger")
    }
}

//! `sdpp ledger verify`: checks an entry by the proofs beside it. Nothing is asked of anybody.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sdpp_ledger::{Body, Entry, Receipt, Verifier};
use sdpp_log::{Policy, TlogProof, Trusted, VerifierKey, leaf_hash};
use sdpp_proto::cose;
use sdpp_proto::identity::PublicKey;
use sdpp_proto::statement::{AnyStatement, Form};
use sdpp_proto::time::Timestamp;
use serde_json::{Value, json};

use super::show::{self, Out};
use super::{Failure, station};
use crate::text::time;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The entry, as `prove` wrote it.
    #[arg(value_name = "FILE.cose")]
    entry: PathBuf,
    /// Where it is and who has seen that; FILE.tlog-proof if there is one.
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// The log's signed word that it is in its tree; FILE.receipt if there is one.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Verifier key of the log.
    #[arg(long, value_name = "VKEY")]
    log: VerifierKey,
    /// Verifier key of a witness; may be given several times.
    #[arg(long, value_name = "VKEY")]
    witness: Vec<VerifierKey>,
    /// How many witnesses must have cosigned; all that are given if not said.
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
    #[command(flatten)]
    out: Out,
}

/// What was shown by a `.tlog-proof`.
struct Placed {
    index: u64,
    trusted: Trusted,
}

/// All that was shown.
struct Shown {
    entry: Entry,
    placed: Option<Placed>,
    receipt: bool,
    record: Option<AnyStatement>,
}

/// Checks in order, and stops at the first thing that fails.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let quorum = args.quorum.unwrap_or(args.witness.len());
    let policy = Policy::new(args.log.clone(), args.witness.clone(), quorum).map_err(|error| {
        format!("{error}: --log takes a ledger's key, --witness and --quorum those of its witnesses")
    })?;
    let log = PublicKey::from_bytes(*args.log.public()).map_err(|_| "--log: not an acceptable key")?;
    let proof = beside(&args.entry, args.proof.as_ref(), "tlog-proof");
    let receipt = beside(&args.entry, args.receipt.as_ref(), "receipt");
    let name = args.entry.display();
    let bytes = station::read(&args.entry)?;
    if proof.is_none() && receipt.is_none() {
        return Err(format!("there is no proof beside {name}: give one with --proof or --receipt").into());
    }

    let entry = Entry::open(&bytes).map_err(|error| format!("{name}: {error}"))?;
    if entry.origin() != args.log.name() {
        let (meant, log) = (entry.origin(), args.log.name());
        return Err(format!("{name}: an entry of another log, {meant} and not {log}").into());
    }
    let placed = proof.as_deref().map(|path| place(path, &bytes, &policy)).transpose()?;
    if let Some(path) = receipt.as_deref() {
        check_receipt(path, &bytes, &log)?;
    }
    if placed.is_none() && quorum > 0 {
        return Err(format!(
            "a receipt shows no witnesses, and the quorum is {quorum}: give the .tlog-proof with --proof"
        )
        .into());
    }
    let record = record(&entry)?;
    let shown = Shown { entry, placed, receipt: receipt.is_some(), record };
    args.out.tell(&shown.people(args.log.name()), &shown.programs(&args.log));
    Ok(ExitCode::SUCCESS)
}

/// A file that was named, or the one beside the entry if it is there.
fn beside(entry: &Path, named: Option<&PathBuf>, end: &str) -> Option<PathBuf> {
    named.cloned().or_else(|| Some(entry.with_extension(end)).filter(|path| path.exists()))
}

fn place(path: &Path, entry: &[u8], policy: &Policy) -> Result<Placed, Failure> {
    let name = path.display();
    let proof = TlogProof::parse(&station::read(path)?).map_err(|error| format!("{name}: {error}"))?;
    let trusted = proof.verify(&leaf_hash(entry), policy, &Verifier).map_err(|error| format!("{name}: {error}"))?;
    Ok(Placed { index: proof.index(), trusted })
}

fn check_receipt(path: &Path, entry: &[u8], log: &PublicKey) -> Result<(), Failure> {
    let receipt = Receipt::parse(&station::read(path)?).and_then(|receipt| receipt.verify(entry, log));
    receipt.map(drop).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The statement inside a record, whose signature is checked with the entry's own.
fn record(entry: &Entry) -> Result<Option<AnyStatement>, Failure> {
    match entry.body() {
        Body::Record(record) if record.form == Form::Full => {
            let statement = AnyStatement::parse(&record.body);
            Ok(Some(statement.map_err(|error| format!("the recorded statement: {error}"))?))
        }
        Body::Record(_)
        | Body::Issue(_)
        | Body::Transfer(_)
        | Body::Open(_)
        | Body::TopUp(_)
        | Body::Redeem { .. }
        | Body::RequestClose(_)
        | Body::Close(_)
        | Body::Tick(_) => Ok(None),
    }
}

impl Shown {
    fn people(&self, log: &str) -> String {
        let entry = &self.entry;
        let mut lines = vec![
            format!("entry     {} {}", show::kind(entry.body()), show::what(entry, true)),
            format!("id        {}", entry.id()),
            format!("signed    by {}", entry.issuer()),
        ];
        if let Some(statement) = &self.record {
            let (kind, id, issuer) = (statement.kind.name(), statement.id, issuer(statement));
            lines.push(format!("record    of the {kind} {id}, signed by {issuer}"));
        } else if matches!(entry.body(), Body::Record(_)) {
            lines.push("record    of an id only: the statement is not in it".to_owned());
        }
        if let Some(Placed { index, trusted }) = &self.placed {
            let size = trusted.checkpoint.size();
            lines.push(format!("log       {log} has it at index {index}, in its tree of {size} entries"));
            for by in &trusted.cosigned_at {
                let at = time(Timestamp::from_ms(by.time_s.saturating_mul(1000)));
                lines.push(format!("cosigned  {at} by {}", by.witness.name()));
            }
            if trusted.cosigned_at.is_empty() {
                lines.push("cosigned  by nobody who was named: the log may show others another history".to_owned());
            }
        }
        if self.receipt {
            lines.push(format!(
                "receipt   {log} signed that the entry is in its tree; a receipt alone does not prove where"
            ));
        }
        lines.push("verified".to_owned());
        lines.join("\n")
    }

    fn programs(&self, log: &VerifierKey) -> Value {
        let placed = self.placed.as_ref();
        let index = placed.map(|placed| placed.index);
        let record = self.record.as_ref();
        let own = json!({
            "verified": true, "index": index, "log": log.to_string(), "receipt": self.receipt,
            "size": placed.map(|placed| placed.trusted.checkpoint.size()),
            "cosigned": placed.map(|placed| cosigned(&placed.trusted)),
            "record_of": record.map(|statement| statement.kind.name()),
            "record_issuer": record.map(issuer),
        });
        show::with(show::entry_json(index.unwrap_or_default(), &self.entry), own)
    }
}

/// Who signed a statement that was verified.
fn issuer(statement: &AnyStatement) -> String {
    cose::parse(&statement.bytes).map(|parsed| parsed.issuer.to_string()).unwrap_or_default()
}

fn cosigned(trusted: &Trusted) -> Value {
    let each = |by: &sdpp_log::Cosignature| json!({ "witness": by.witness.to_string(), "time_s": by.time_s });
    trusted.cosigned_at.iter().map(each).collect()
}

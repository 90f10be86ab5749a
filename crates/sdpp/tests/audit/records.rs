//! The ledger's evidence: checkpoint, witnesses, inclusion, contents, and what is not recorded.

use sdpp::audit::{Finding, LogEvidence, Missing, Party, RecordProof, Report, Rule, Topic, Trust, Verdict};
use sdpp_log::{Checkpoint, Hash, Note, NoteSigner, Policy, SignatureType, Tree, VerifierKey, leaf_hash};
use sdpp_proto::cose;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::Unit;
use sdpp_proto::statement::Form;

use crate::world::{Edits, Sale, converse, key, seller, trust};

const ORIGIN: &str = "log.example";
const RECORD: &str = "application/sdpp-ledger-record+cbor";

struct Pen(SigningKey);

impl NoteSigner for Pen {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

fn verifier(name: &str, kind: SignatureType, seed: u8) -> VerifierKey {
    VerifierKey::new(name, kind, *key(seed).public().as_bytes()).unwrap()
}

fn log_key() -> VerifierKey {
    verifier(ORIGIN, SignatureType::Ed25519, 50)
}

fn witness() -> VerifierKey {
    verifier("witness.example", SignatureType::Cosignature, 51)
}

pub(crate) fn trusting(quorum: usize) -> Trust {
    Trust { log: Some(Policy::new(log_key(), vec![witness()], quorum).unwrap()), ..trust() }
}

/// An entry that records a body.
fn entry(form: Form, body: &[u8], origin: &str) -> Vec<u8> {
    let mut payload = vec![0xa2, 1, u8::from(form == Form::Hash), 2];
    match body.len() {
        length @ 0..24 => payload.push(0x40 | length as u8),
        length @ 24..256 => payload.extend_from_slice(&[0x58, length as u8]),
        length => {
            payload.push(0x59);
            payload.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    payload.extend_from_slice(body);
    cose::sign(&seller(), RECORD, origin, &payload).0
}

fn checkpoint(size: u64, root: Hash, signer: u8, with_witness: bool) -> Vec<u8> {
    let text = Checkpoint::new(ORIGIN, size, root).unwrap().to_string();
    let mut note = Note::new(&text).unwrap();
    note.sign(&log_key(), &Pen(key(signer))).unwrap();
    let mut note = note.to_string();
    if with_witness {
        let signed = [&7u64.to_be_bytes()[..], &key(51).sign(format!("cosignature/v1\ntime 7\n{text}").as_bytes())];
        let blob = [&witness().id().0[..], &signed.concat()].concat();
        note.push_str(&format!("\u{2014} {} {}\n", witness().name(), base64(&blob)));
    }
    note.into_bytes()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0usize, |word, byte| word << 8 | *byte as usize) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[word >> (18 - 6 * at) & 63] as char;
            out.push(if at <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

/// Records every statement behind the menu, after `edit` has had its way with the entries.
pub(crate) fn with_log(sale: &mut Sale, edit: impl Fn(&mut Vec<(String, Vec<u8>)>)) {
    let mut entries: Vec<_> = sale
        .ctx
        .said
        .iter()
        .skip(1)
        .map(|(label, _)| label.clone())
        .map(|label| {
            let bytes = &sale.bundle.statements[sale.position(&label)];
            let entry = entry(Form::Full, bytes, ORIGIN);
            (label, entry)
        })
        .collect();
    edit(&mut entries);
    let mut tree = Tree::new();
    for (_, entry) in &entries {
        tree.append(leaf_hash(entry));
    }
    let size = tree.size();
    let records = (0..).zip(&entries).map(|(index, (label, entry))| RecordProof {
        statement: sale.ctx.id(label),
        entry: entry.clone(),
        index,
        proof: tree.inclusion_proof(index, size).unwrap(),
    });
    let checkpoint = checkpoint(size, tree.root(size).unwrap(), 50, true);
    sale.bundle.log = Some(LogEvidence { checkpoint, records: records.collect() });
}

fn recorded(edit: impl Fn(&mut Vec<(String, Vec<u8>)>)) -> Sale {
    let mut sale = converse(Unit::Message, &Edits::default());
    with_log(&mut sale, edit);
    sale
}

fn evidence(sale: &mut Sale) -> &mut LogEvidence {
    sale.bundle.log.as_mut().unwrap()
}

fn found(report: &Report) -> &Finding {
    match &report.verdict {
        Verdict::False(found) => found,
        Verdict::Clean | Verdict::Incomplete(_) => panic!("{report}"),
    }
}

fn missing(report: &Report) -> &Missing {
    match &report.verdict {
        Verdict::Incomplete(missing) => missing,
        Verdict::Clean | Verdict::False(_) => panic!("{report}"),
    }
}

#[test]
fn records_that_are_right_are_counted() {
    for quorum in [0, 1] {
        let report = crate::passes::audit(&recorded(|_| {}).bundle, &trusting(quorum));
        assert!(report.is_clean() && report.notes.is_empty(), "{report}");
        assert_eq!(report.totals.records, 18);
    }
    let hashed = |sale: &Sale, label: &str| entry(Form::Hash, &sale.ctx.id(label).0, ORIGIN);
    let sale = converse(Unit::Message, &Edits::default());
    let sale = recorded(|entries| entries.iter_mut().for_each(|(label, entry)| *entry = hashed(&sale, label)));
    let report = crate::passes::audit(&sale.bundle, &trusting(1));
    assert!(report.is_clean() && report.totals.records == 18, "{report}");
    assert_eq!(report.notes.iter().map(|note| note.topic).collect::<Vec<_>>(), [Topic::Record]);
}

#[test]
fn a_wrong_proof_is_named() {
    for at in 0..18 {
        let mut sale = recorded(|_| {});
        let record = &mut evidence(&mut sale).records[at];
        record.proof[0].0[0] ^= 1;
        let statement = Some(record.statement);
        let report = crate::passes::audit(&sale.bundle, &trusting(1));
        let finding = found(&report);
        assert_eq!((finding.rule, finding.by, finding.statement), (Rule::Inclusion, Party::Ledger, statement));
    }
}

#[test]
fn a_forked_log_is_caught_by_its_witness() {
    let mut sale = recorded(|_| {});
    let fork = Hash([8; 32]);
    // The log shows this seller another history. Its own signature is right, the witness's is not there.
    evidence(&mut sale).checkpoint = checkpoint(18, fork, 50, false);
    assert_eq!(
        missing(&crate::passes::audit(&sale.bundle, &trusting(1))),
        &Missing::Cosignatures { valid: 0, quorum: 1 }
    );
    // Without witnesses the records still do not lead to that root.
    assert_eq!(found(&crate::passes::audit(&sale.bundle, &trusting(0))).rule, Rule::Inclusion);
    evidence(&mut sale).checkpoint = checkpoint(18, fork, 52, true);
    let report = crate::passes::audit(&sale.bundle, &trusting(1));
    assert_eq!((found(&report).rule, found(&report).by), (Rule::Checkpoint, Party::Ledger));
    evidence(&mut sale).checkpoint = b"nonsense".to_vec();
    assert_eq!(found(&crate::passes::audit(&sale.bundle, &trusting(1))).rule, Rule::Checkpoint);
}

#[test]
fn a_missing_or_false_cosignature_is_named() {
    let mut sale = recorded(|_| {});
    let good = evidence(&mut sale).checkpoint.clone();
    let text = String::from_utf8(good).unwrap();
    let lines: Vec<_> = text.lines().collect();
    evidence(&mut sale).checkpoint = format!("{}\n", lines[..lines.len() - 1].join("\n")).into_bytes();
    assert_eq!(
        missing(&crate::passes::audit(&sale.bundle, &trusting(1))),
        &Missing::Cosignatures { valid: 0, quorum: 1 }
    );
    assert!(crate::passes::audit(&sale.bundle, &trusting(0)).is_clean());
    // The witness's line with the log's signature in it.
    evidence(&mut sale).checkpoint = text.replace("time", "").replace("Bw", "Bg").into_bytes();
    assert!(!crate::passes::audit(&sale.bundle, &trusting(1)).is_clean());
}

#[test]
fn what_a_record_holds_is_compared() {
    let order = |edit: fn(&Sale) -> Vec<u8>| {
        let honest = converse(Unit::Message, &Edits::default());
        let sale = recorded(|entries| entries[0].1 = edit(&honest));
        let report = crate::passes::audit(&sale.bundle, &trusting(1));
        let finding = found(&report);
        assert_eq!(finding.statement, Some(sale.ctx.id("order")));
        (finding.rule, finding.by)
    };
    let content = (Rule::RecordContent, Party::Exporter);
    assert_eq!(order(|sale| entry(Form::Full, &sale.bundle.statements[2], ORIGIN)), content);
    assert_eq!(order(|_| entry(Form::Hash, &[7; 32], ORIGIN)), content);
    assert_eq!(order(|_| entry(Form::Hash, &[7; 31], ORIGIN)), content);
    assert_eq!(order(|_| cose::sign(&seller(), "application/sdpp-ledger-tick+cbor", ORIGIN, &[0]).0), content);
    let of_log = (Rule::RecordEntry, Party::Ledger);
    assert_eq!(order(|sale| entry(Form::Hash, &sale.ctx.id("order").0, "another.log")), of_log);
    assert_eq!(order(|_| b"noise".to_vec()), of_log);
    let unsigned = |sale: &Sale| {
        let mut entry = entry(Form::Hash, &sale.ctx.id("order").0, ORIGIN);
        *entry.last_mut().unwrap() ^= 1;
        entry
    };
    assert_eq!(order(unsigned), of_log);
}

#[test]
fn what_is_not_recorded_is_noted() {
    let sale = recorded(|entries| entries.retain(|(label, _)| label != "order"));
    assert_eq!(missing(&crate::passes::audit(&sale.bundle, &trusting(1))), &Missing::Record(sale.ctx.id("order")));
    let topics = |keep: &[&str]| {
        let sale = recorded(|entries| entries.retain(|(label, _)| keep.contains(&label.as_str())));
        let report = crate::passes::audit(&sale.bundle, &trusting(1));
        assert!(report.is_clean(), "{report}");
        report.notes.iter().map(|note| note.topic).collect::<Vec<_>>()
    };
    // The newest pair commits to all before it; so does a settlement.
    assert_eq!(topics(&["order", "invoice 5", "payment 3"]), []);
    assert_eq!(topics(&["order", "payment 3"]), []);
    assert_eq!(topics(&["order", "settlement 1"]), []);
    assert_eq!(topics(&["order", "invoice 5"]), [Topic::Unrecorded]);
    assert_eq!(topics(&["order", "payment 2"]), [Topic::Unrecorded]);
}

#[test]
fn evidence_and_trust_belong_together() {
    let mut sale = recorded(|_| {});
    let report = crate::passes::audit(&sale.bundle, &trust());
    assert!(report.is_clean() && report.notes.iter().any(|note| note.topic == Topic::NoPolicy), "{report}");
    sale.bundle.log = None;
    assert_eq!(missing(&crate::passes::audit(&sale.bundle, &trusting(1))), &Missing::LogEvidence);
    let edits = Edits { menu: |_, body| body.records.backend = "none".into(), ..Edits::default() };
    assert!(crate::passes::audit(&converse(Unit::Message, &edits).bundle, &trusting(1)).is_clean());
}

#[test]
fn a_false_statement_comes_before_a_false_ledger() {
    let edits = Edits { payment: |_, _, body| body.channel = None, ..Edits::default() };
    let mut sale = converse(Unit::Message, &edits);
    with_log(&mut sale, |_| {});
    evidence(&mut sale).records[0].index = 17;
    assert_eq!(found(&crate::passes::audit(&sale.bundle, &trusting(1))).rule, Rule::PaymentChannel);
}

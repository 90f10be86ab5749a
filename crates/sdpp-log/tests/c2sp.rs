//! The examples of the C2SP specifications, byte for byte, and proofs and requests with real keys.
//!
//! The specifications print no keys for their checkpoints and cosignatures, so these are compared in form only; what
//! they say in words (times, key ids, sizes) is checked. Their example of a `.tlog-proof` leaves out the signatures:
//! here stands another example's in their place. Foreign signatures that verify are in `notes.rs`.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod common;

use common::{Dalek, Secret};
use sdpp_log::add_checkpoint::{self, conflict_body, cosigned_body, parse_conflict, parse_cosigned};
use sdpp_log::{
    AddCheckpoint, Checkpoint, CheckpointError, Hash, LogState, Note, NoteError, OpenError, Policy, ProofError,
    Refusal, RequestError, Signature, SignatureType, SignedCheckpoint, TlogProof, TlogProofError, TlogProofRefusal,
    Tree, TrustError, Witness, cosign, leaf_hash, limits,
};

/// tlog-checkpoint, the first example.
const CHECKPOINT: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
";

/// tlog-cosignature, the first example.
const COSIGNED: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
";

/// tlog-witness, "add-checkpoint": the request.
const REQUEST: &str = "old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

/// tlog-witness, "add-checkpoint": the answer.
const ANSWER: &str = "— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==
— witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==
— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==
";

/// tlog-proof, the example up to its signatures.
const PROOF_HEAD: &str = "c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

";

const ORIGIN: &str = "log.example/1";
const WITNESS: &str = "witness.example/w1";

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_be_bytes())
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    for index in 0..40 {
        tree.append(leaf(index));
    }
    tree
}

fn signed(size: u64) -> Note {
    signed_root(size, tree().root(size).unwrap())
}

fn signed_root(size: u64, root: Hash) -> Note {
    let text = Checkpoint::new(ORIGIN, size, root).unwrap().to_string();
    let mut note = Note::new(&text).unwrap();
    let log = Secret::new(1);
    note.sign(&log.key(ORIGIN, SignatureType::Ed25519), &log).unwrap();
    note
}

fn witness() -> Witness {
    let mut witness = Witness::new();
    let log = Secret::new(1).key(ORIGIN, SignatureType::Ed25519);
    witness.follow(ORIGIN, vec![log], LogState::EMPTY).unwrap();
    witness
}

fn policy(quorum: usize) -> Policy {
    let witness = Secret::new(2).key(WITNESS, SignatureType::Cosignature);
    Policy::new(Secret::new(1).key(ORIGIN, SignatureType::Ed25519), vec![witness], quorum).unwrap()
}

#[test]
fn the_example_checkpoints_are_read() {
    for (text, signatures) in [(CHECKPOINT, 1), (COSIGNED, 2)] {
        let note = Note::parse(text.as_bytes()).unwrap();
        assert_eq!((note.to_string().as_str(), note.signatures().len()), (text, signatures));
        let checkpoint = Checkpoint::parse(note.text()).unwrap();
        assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.to_string(), note.text());
    }
    let cosigned = Note::parse(COSIGNED.as_bytes()).unwrap();
    let [log, witness] = cosigned.signatures() else { panic!("two lines") };
    // An Ed25519 signature; and one behind the time that the specification's message names.
    assert_eq!((log.name(), log.bytes().len()), ("example.com/behind-the-sofa", 64));
    assert_eq!((witness.name(), witness.bytes().len()), ("witness.example.com/w1", 72));
    assert_eq!(witness.bytes()[..8], 1_679_315_147_u64.to_be_bytes());
    assert_eq!(witness.key_id().to_string(), "8d66cf3f");
}

#[test]
fn the_example_request_and_answer_are_read() {
    let request = AddCheckpoint::parse(REQUEST.as_bytes()).unwrap();
    assert_eq!((request.old_size(), request.proof().len()), (20_852_014, 4));
    assert_eq!(request.to_string(), REQUEST);
    let again = AddCheckpoint::new(request.old_size(), request.proof().to_vec(), request.note());
    assert_eq!(again.as_ref(), Ok(&request));
    let note = Note::parse(request.note().as_bytes()).unwrap();
    assert_eq!((note.signatures().len(), &note.signatures()[0]), (2, &signature(CHECKPOINT)));

    let lines = parse_cosigned(ANSWER.as_bytes()).unwrap();
    let names: Vec<&str> = lines.iter().map(Signature::name).collect();
    assert_eq!(names, ["witness.example/w1", "witness.example/w1", "witness.example/w2"]);
    assert!(lines.iter().all(|line| line.bytes().len() == 72));
    assert_eq!(cosigned_body(&lines), ANSWER);
}

fn signature(note: &str) -> Signature {
    Note::parse(note.as_bytes()).unwrap().signatures()[0].clone()
}

#[test]
fn the_example_proof_is_read() {
    let text = format!("{PROOF_HEAD}{}\n", signature(CHECKPOINT));
    let proof = TlogProof::parse(text.as_bytes()).unwrap();
    assert_eq!((proof.index(), proof.hashes().len()), (73_894, 5));
    assert!(proof.extra().unwrap().starts_with(b"age-v1.2.1-darwin-arm64.tar.gz"));
    assert_eq!(Checkpoint::parse(proof.note().text()).unwrap().size(), 109_482);
    assert_eq!(proof.to_string(), text);
}

#[test]
fn a_proof_travels_and_nothing_else_passes() {
    let mut note = signed(37);
    let signer = Secret::new(2);
    let mut witness = witness();
    let next = witness.check(0, &[], note.to_string().as_bytes(), &Dalek).unwrap();
    let key = signer.key(WITNESS, SignatureType::Cosignature);
    let alone = note.to_string();
    note.add(cosign(&witness.apply(next).unwrap(), &key, 42, &signer).unwrap()).unwrap();

    for index in 0..37 {
        let hashes = tree().inclusion_proof(index, 37).unwrap();
        let proof = TlogProof::new(index, hashes.clone(), note.to_string().as_bytes()).unwrap();
        let file = proof.to_string();
        let read = TlogProof::parse(file.as_bytes()).unwrap();
        assert_eq!((&read, read.extra()), (&proof, None));
        let trusted = read.verify(&leaf(index), &policy(1), &Dalek).unwrap();
        assert_eq!((trusted.checkpoint.size(), trusted.cosigned_at[0].time_s), (37, 42));

        let other = read.verify(&leaf(index + 1), &policy(1), &Dalek);
        assert_eq!(other, Err(TlogProofRefusal::Inclusion(ProofError::RootMismatch)));
        let unseen = TlogProof::new(index, hashes, alone.as_bytes()).unwrap().verify(&leaf(index), &policy(1), &Dalek);
        let quorum = TrustError::QuorumNotMet { valid: 0, quorum: 1 };
        assert_eq!(unseen, Err(TlogProofRefusal::Trust(quorum)));
    }
    let beyond = TlogProof::new(37, Vec::new(), alone.as_bytes()).unwrap();
    let refused = TlogProofRefusal::Inclusion(ProofError::IndexOutOfRange);
    assert_eq!(beyond.verify(&leaf(37), &policy(0), &Dalek), Err(refused));
}

#[test]
fn no_changed_byte_of_a_proof_passes() {
    let note = signed(37).to_string();
    let proof = TlogProof::new(20, tree().inclusion_proof(20, 37).unwrap(), note.as_bytes()).unwrap();
    let file = proof.to_string().into_bytes();
    let verify = |bytes: &[u8]| TlogProof::parse(bytes).map(|proof| proof.verify(&leaf(20), &policy(0), &Dalek));
    assert!(matches!(verify(&file), Ok(Ok(_))));
    for at in 0..file.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = file.clone();
            changed[at] ^= flip;
            assert!(!matches!(verify(&changed), Ok(Ok(_))), "byte {at}");
        }
        assert!(TlogProof::parse(&file[..at]).is_err(), "{at}");
    }
    // Only the extra data is nobody's word.
    let extra = proof.with_extra(b"anything").unwrap();
    assert!(matches!(verify(extra.to_string().as_bytes()), Ok(Ok(_))));
}

#[test]
fn each_mistake_in_a_proof_has_its_error() {
    let note = signed(1).to_string();
    let file = |head: &str| TlogProof::parse(format!("{head}\n{note}").as_bytes());
    let header = "c2sp.org/tlog-proof@v1\n";
    let hash = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n";
    assert!(file(&format!("{header}index 0\n")).is_ok());
    assert!(file(&format!("{header}index 0\n{}", hash.repeat(63))).is_ok());
    for (head, error) in [
        ("c2sp.org/tlog-proof@v2\nindex 0\n".to_owned(), TlogProofError::WrongHeader),
        ("\nindex 0\n".to_owned(), TlogProofError::WrongHeader),
        (header.to_owned(), TlogProofError::InvalidIndex),
        (format!("{header}index 00\n"), TlogProofError::InvalidIndex),
        (format!("{header}index -1\n"), TlogProofError::InvalidIndex),
        (format!("{header}index 9223372036854775807\n"), TlogProofError::InvalidIndex),
        (format!("{header}index 0\r\n"), TlogProofError::InvalidIndex),
        (format!("{header}index 0\nextra AQ==\n"), TlogProofError::InvalidHash),
        (format!("{header}extra AQ==\nextra AQ==\nindex 0\n"), TlogProofError::InvalidIndex),
        (format!("{header}extra \nindex 0\n"), TlogProofError::InvalidExtra),
        (format!("{header}extra AR==\nindex 0\n"), TlogProofError::InvalidExtra),
        (format!("{header}extra {}\nindex 0\n", "AAAA".repeat(5_462)), TlogProofError::InvalidExtra),
        (format!("{header}index 0\n{hash}AAAA\n"), TlogProofError::InvalidHash),
        (format!("{header}index 0\n {hash}"), TlogProofError::InvalidHash),
        (format!("{header}index 0\n{}", hash.repeat(64)), TlogProofError::TooManyHashes),
    ] {
        assert_eq!(file(&head), Err(error), "{head:?}");
    }
    let start = format!("{header}index 0\n");
    let parse = |bytes: &[u8]| TlogProof::parse(bytes).unwrap_err();
    assert_eq!(parse(start.as_bytes()), TlogProofError::NoCheckpoint);
    assert_eq!(parse(format!("{start}{note}").as_bytes()), TlogProofError::InvalidHash);
    let open = TlogProofError::Checkpoint(OpenError::Note(NoteError::NoSignatures));
    assert_eq!(parse(format!("{start}\njunk\n").as_bytes()), open);
    assert_eq!(parse(&[0xff]), TlogProofError::NotUtf8);
    assert_eq!(parse(&vec![b'a'; limits::TLOG_PROOF_BYTES_MAX + 1]), TlogProofError::TooLarge);
    assert_eq!(parse(&vec![b'a'; limits::TLOG_PROOF_BYTES_MAX]), TlogProofError::NoCheckpoint);
    let proof = TlogProof::parse(format!("{start}\n{note}").as_bytes()).unwrap();
    assert_eq!(proof.clone().with_extra(b""), Err(TlogProofError::InvalidExtra));
    let most = proof.with_extra(&[7; limits::TLOG_PROOF_EXTRA_BYTES_MAX]).unwrap();
    assert_eq!(TlogProof::parse(most.to_string().as_bytes()), Ok(most));
}

#[test]
fn each_mistake_in_a_request_has_its_error() {
    let note = signed(1).to_string();
    let hash = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n";
    let parse = |head: &str| AddCheckpoint::parse(format!("{head}\n{note}").as_bytes());
    assert!(parse("old 0\n").is_ok());
    assert!(parse(&format!("old 9223372036854775807\n{}", hash.repeat(63))).is_ok());
    for (head, error) in [
        ("\n".to_owned(), RequestError::InvalidOldSize),
        ("old\n".to_owned(), RequestError::InvalidOldSize),
        ("old 00\n".to_owned(), RequestError::InvalidOldSize),
        ("old  0\n".to_owned(), RequestError::InvalidOldSize),
        ("Old 0\n".to_owned(), RequestError::InvalidOldSize),
        ("old 0 \n".to_owned(), RequestError::InvalidOldSize),
        ("old 9223372036854775808\n".to_owned(), RequestError::InvalidOldSize),
        (format!("old 1\n{hash}AAAA\n"), RequestError::InvalidHash),
        (format!("old 1\n{}\r\n", hash.trim_end()), RequestError::InvalidHash),
        (format!("old 1\n{}", hash.repeat(64)), RequestError::TooManyHashes),
    ] {
        assert_eq!(parse(&head), Err(error), "{head:?}");
    }
    assert_eq!(AddCheckpoint::parse(b"old 0\n"), Err(RequestError::NoCheckpoint));
    assert_eq!(AddCheckpoint::parse(b"old 0\n\n"), Err(RequestError::NoCheckpoint));
    assert_eq!(AddCheckpoint::parse(&[0xff]), Err(RequestError::NotUtf8));
    let large = vec![b'a'; limits::ADD_CHECKPOINT_BYTES_MAX + 1];
    assert_eq!(AddCheckpoint::parse(&large), Err(RequestError::TooLarge));
    let large = "a".repeat(limits::NOTE_BYTES_MAX + 1);
    assert_eq!(AddCheckpoint::new(0, Vec::new(), &large), Err(RequestError::TooLarge));
    assert_eq!(AddCheckpoint::new(u64::MAX, Vec::new(), "n"), Err(RequestError::InvalidOldSize));
}

#[test]
fn each_mistake_in_an_answer_has_its_error() {
    assert_eq!(parse_cosigned(b""), Err(NoteError::NoSignatures));
    assert_eq!(parse_cosigned(ANSWER.trim_end().as_bytes()), Err(NoteError::UnfinishedLine));
    assert_eq!(parse_cosigned(format!("{ANSWER}\n").as_bytes()), Err(NoteError::MalformedSignature));
    assert_eq!(parse_cosigned(b"junk\n"), Err(NoteError::MalformedSignature));
    assert_eq!(parse_cosigned(ANSWER.replace('\n', "\r\n").as_bytes()), Err(NoteError::ControlCharacter));
    assert_eq!(parse_cosigned(&[0xff]), Err(NoteError::NotUtf8));
    assert_eq!(parse_cosigned(ANSWER.repeat(40).as_bytes()), Err(NoteError::TooManySignatures));
    assert_eq!(parse_cosigned(ANSWER.repeat(400).as_bytes()), Err(NoteError::TooLarge));
    assert_eq!((conflict_body(37).as_str(), parse_conflict(b"37\n")), ("37\n", Some(37)));
    assert_eq!(add_checkpoint::CONFLICT_CONTENT_TYPE, "text/x.tlog.size");
    for bad in [&b"37"[..], b"037\n", b"37\n\n", b"\n", b"", b"37 \n", b"9223372036854775808\n", &[0xff, b'\n']] {
        assert_eq!(parse_conflict(bad), None, "{bad:?}");
    }
}

/// The status that a witness answers with, in a log's life from first to last.
#[test]
fn statuses_are_those_of_the_specification() {
    let (tree, mut witness) = (tree(), witness());
    let next = witness.check(0, &[], signed(20).to_string().as_bytes(), &Dalek).unwrap();
    witness.apply(next).unwrap();
    let status = |old, proof: Vec<Hash>, note: &str| {
        let body = AddCheckpoint::new(old, proof, note).unwrap().to_string();
        let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
        let checked = witness.check(request.old_size(), request.proof(), request.note().as_bytes(), &Dalek);
        checked.map_or_else(|refusal| (refusal.http_status(), Some(refusal)), |_| (200, None))
    };
    let grown = tree.consistency_proof(20, 30).unwrap();
    let (small, same, large) = (signed(10).to_string(), signed(20).to_string(), signed(30).to_string());
    assert_eq!(status(20, grown.clone(), &large), (200, None));
    assert_eq!(status(20, Vec::new(), &same), (200, None));
    assert_eq!(status(20, grown.clone(), "junk").0, 400);
    assert_eq!(status(20, Vec::new(), &small), (400, Some(Refusal::Rollback)));
    assert_eq!(status(20, grown.clone(), &large.replace("\n30\n", "\n31\n")).0, 403);
    assert_eq!(status(20, grown.clone(), &large.replacen(ORIGIN, "other", 1)), (404, Some(Refusal::UnknownOrigin)));
    assert_eq!(status(0, Vec::new(), &large), (409, Some(Refusal::Conflict { known_size: 20 })));
    assert_eq!(status(19, Vec::new(), &large).0, 409);
    let fork = signed_root(20, Hash([7; 32])).to_string();
    assert_eq!(status(20, Vec::new(), &fork), (422, Some(Refusal::Fork { known_size: 20 })));
    assert_eq!(status(20, grown[1..].to_vec(), &large).0, 422);
    assert_eq!(status(20, grown.clone(), &signed_root(30, Hash([7; 32])).to_string()).0, 422);
}

#[test]
fn a_witness_of_nothing_yet_keeps_the_rules_of_the_empty_tree() {
    let (witness, note) = (witness(), signed(0).to_string());
    let status = |proof: &[Hash], note: &str| witness.check(0, proof, note.as_bytes(), &Dalek).err();
    assert_eq!(status(&[], &note), None);
    let proof = status(&[Hash::EMPTY], &signed(5).to_string()).unwrap();
    assert_eq!((proof, proof.http_status()), (Refusal::BadProof(ProofError::TooLong), 422));
    // No log of ours can sign a wrong root of the empty tree: only its text is made here.
    let [_, _, root, ..] = note.split('\n').collect::<Vec<_>>()[..] else { panic!("three lines") };
    let wrong = status(&[], &note.replacen(root, "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=", 1)).unwrap();
    let expected = Refusal::Malformed(OpenError::Checkpoint(CheckpointError::WrongEmptyRoot));
    assert_eq!((wrong, wrong.http_status()), (expected, 422));
    let log = Secret::new(1).key(ORIGIN, SignatureType::Ed25519);
    assert!(SignedCheckpoint::open(note.as_bytes(), ORIGIN, &[log], &Dalek).is_ok());
}

//! The witness over HTTP: statuses as C2SP tlog-witness has them, and what a client makes of them.

use std::sync::Arc;

use sdpp_ledger::http::{ClientOptions, HttpClientError, HttpWitness, Server, ServerConfig, serve_witness};
use sdpp_ledger::{LedgerService, LocalLedger, Verifier, Witness, WitnessError, WitnessService};
use sdpp_log::{Hash, Note, Policy, Refusal, Signature, VerifierKey};
use sdpp_rail::{FlushFault, MemoryDisk, MemoryStore};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use crate::common::*;
use crate::kit::*;

const WITNESS: u8 = 50;

pub(crate) struct Stand {
    pub(crate) witness: Arc<Witness>,
    pub(crate) server: Server,
    pub(crate) runtime: Runtime,
}

impl Stand {
    pub(crate) fn new(disk: &MemoryDisk) -> Self {
        let runtime = runtime();
        let store = Box::new(disk.open());
        let started = Witness::start("witness.example", test_key(WITNESS), Hand::new().clock(), store, &[log_vkey()]);
        let witness = Arc::new(started.unwrap());
        let listener = listener(&runtime);
        let server = {
            let _inside = runtime.enter();
            serve_witness(witness.clone(), listener, ServerConfig::default()).unwrap()
        };
        Self { witness, server, runtime }
    }

    pub(crate) fn remote(&self) -> HttpWitness {
        let url = format!("http://{}/", self.server.local_addr());
        HttpWitness::new(&url, self.witness.key().clone(), ClientOptions::new(self.runtime.handle().clone())).unwrap()
    }

    pub(crate) fn add(&self, old: &str, proof: &[Hash], note: &str) -> Told {
        let lines: String = proof.iter().map(|hash| format!("{}\n", base64(hash))).collect();
        self.send(format!("old {old}\n{lines}\n{note}").as_bytes())
    }

    fn send(&self, body: &[u8]) -> Told {
        post(self.server.local_addr(), "/add-checkpoint", "text/plain", body)
    }

    fn latest(&self, origin: &str) -> Told {
        let hash = Hash(Sha256::digest(origin).into());
        get(self.server.local_addr(), &format!("/{hash}/checkpoint"))
    }
}

fn base64(hash: &Hash) -> String {
    use base64ct::Encoding;
    base64ct::Base64::encode_string(&hash.0)
}

pub(crate) fn note(ledger: &LocalLedger) -> Arc<str> {
    block_on(ledger.checkpoint()).unwrap()
}

pub(crate) fn strict(key: &VerifierKey) -> Policy {
    Policy::new(log_vkey(), vec![key.clone()], 1).unwrap()
}

#[test]
fn every_rule_has_its_status() {
    let stand = Stand::new(&MemoryDisk::new());
    let ledger = fresh_ledger();
    let empty = note(&ledger);
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let two = note(&ledger);
    submit(&ledger, &issue(PAYER, 100, 2)).unwrap();
    let three = note(&ledger);
    let proof = block_on(ledger.consistency(2, 3)).unwrap();
    let fork = fresh_ledger();
    submit(&fork, &issue(STRANGER, 100, 1)).unwrap();
    let other_root = note(&fork);
    let mut foreign = config(&Hand::new(), Vec::new());
    foreign.origin = "other.example".into();
    let foreign = note(&LocalLedger::start(foreign, Box::new(MemoryStore::new())).unwrap());
    let unsigned = format!("{}\n— somebody AAAAAAA=\n", two.split_once("\n\n").unwrap().0.to_owned() + "\n");
    let forged = two.replace("\n2\n", "\n3\n");
    let junk = Hash([7; 32]);

    assert_eq!(stand.latest(ORIGIN).status, 404, "never cosigned");
    assert_eq!(stand.add("0", &[], &empty).status, 200);
    assert_eq!(stand.add("0", &[junk], &two).status, 422, "a proof from nothing is empty");
    let told = stand.add("0", &[], &two);
    assert_eq!(told.status, 200);
    let line = Signature::parse(told.text().strip_suffix('\n').unwrap()).unwrap();
    let mut signed = Note::parse(two.as_bytes()).unwrap();
    signed.add(line).unwrap();
    strict(stand.witness.key()).check(signed.to_string().as_bytes(), &Verifier).expect("cosigned");
    assert_eq!(stand.latest(ORIGIN).text(), signed.to_string());

    let told = stand.add("0", &[], &three);
    assert_eq!((told.status, told.text()), (409, "2\n"));
    assert_eq!(told.header("content-type"), Some("text/x.tlog.size"));
    assert_eq!(stand.add("3", &[], &two).status, 400, "the old size is above the checkpoint's");
    assert_eq!(stand.add("2", &[], &other_root).status, 422, "the same size with another root");
    assert_eq!(stand.add("2", &[junk], &three).status, 422);
    assert_eq!(stand.add("2", &[], &three).status, 422);
    assert_eq!(stand.add("2", &[], &foreign).status, 404);
    assert_eq!(stand.add("2", &[], &unsigned).status, 403);
    assert_eq!(stand.add("2", &[], &forged).status, 403);
    assert_eq!(stand.add("2", &proof, &three).status, 200);
    assert_eq!(stand.add("3", &[], &three).status, 200, "the same again");
    assert_eq!(stand.witness.forks(ORIGIN).unwrap().len(), 1, "two roots of one size are kept, bad proofs are not");
    assert_eq!(stand.latest("other.example").status, 404);
}

#[test]
fn malformed_bodies_are_refused() {
    let stand = Stand::new(&MemoryDisk::new());
    let ledger = fresh_ledger();
    let good = note(&ledger);
    let many: Vec<Hash> = vec![Hash::EMPTY; 64];
    assert_eq!(stand.add("0", &many, &good).problem(), (400, "bad-request".to_owned()));
    for old in ["", "00", "+0", "-1", "x", "0 ", "99999999999999999999"] {
        assert_eq!(stand.add(old, &[], &good).status, 400, "{old:?}");
    }
    for body in [
        &b""[..],
        b"\xff",
        b"old 0",
        b"old 0\n",
        b"old 0\n\n",
        b"old 0\n\nnot a note",
        b"old 0\nAAAA\n\n",
        good.as_bytes(),
        format!("old 0\r\n\r\n{good}").as_bytes(),
        format!("old 0\n\n{}", &good[..good.len() - 1]).as_bytes(),
    ] {
        assert_eq!(stand.send(body).status, 400, "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(stand.send(&vec![b'a'; 100_000]).problem(), (413, "body-too-long".to_owned()));
    assert_eq!(get(stand.server.local_addr(), "/add-checkpoint").problem(), (405, "bad-method".to_owned()));
    for path in ["/", "/checkpoint", "/00/checkpoint"] {
        assert_eq!(get(stand.server.local_addr(), path).status, 404, "{path}");
    }
    assert_eq!(stand.latest(ORIGIN).status, 404);
}

#[test]
fn a_client_tells_what_the_witness_says() {
    let stand = Stand::new(&MemoryDisk::new());
    let remote = stand.remote();
    let ledger = fresh_ledger();
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let two = note(&ledger);
    submit(&ledger, &issue(PAYER, 100, 2)).unwrap();
    let three = note(&ledger);
    let fork = fresh_ledger();
    submit(&fork, &issue(STRANGER, 100, 1)).unwrap();
    let refused = |old, note: &str| match block_on(remote.cosign(old, &[], note)) {
        Err(WitnessError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert!(block_on(remote.cosign(0, &[], &two)).unwrap().is_by(stand.witness.key()));
    assert_eq!(refused(0, &three), Refusal::Conflict { known_size: 2 });
    assert_eq!(refused(3, &two), Refusal::Rollback);
    assert_eq!(refused(2, &note(&fork)), Refusal::Fork { known_size: 2 });
    assert!(matches!(refused(2, &three), Refusal::BadProof(_)));
    assert!(matches!(refused(2, "x"), Refusal::Malformed(_)));
    assert!(matches!(refused(2, &two.replace("\n2\n", "\n3\n")), Refusal::BadSignature(_)));
    let mut foreign = config(&Hand::new(), Vec::new());
    foreign.origin = "other.example".into();
    let foreign = LocalLedger::start(foreign, Box::new(MemoryStore::new())).unwrap();
    assert_eq!(refused(0, &note(&foreign)), Refusal::UnknownOrigin);
}

#[test]
fn a_signature_by_another_key_is_none() {
    let stand = Stand::new(&MemoryDisk::new());
    let url = format!("http://{}", stand.server.local_addr());
    let options = || ClientOptions::new(stand.runtime.handle().clone());
    let other = sdpp_ledger::witness_key("witness.example", &test_key(WITNESS + 1)).unwrap();
    let remote = HttpWitness::new(&url, other, options()).unwrap();
    let answer = block_on(remote.cosign(0, &[], &note(&fresh_ledger())));
    assert_eq!(answer, Err(WitnessError::Unavailable));
    assert_eq!(HttpWitness::new(&url, log_vkey(), options()).err(), Some(HttpClientError::NotAWitness));
}

#[test]
fn of_an_answer_only_the_right_line_counts() {
    let stand = Stand::new(&MemoryDisk::new());
    let shown = note(&fresh_ledger());
    let line = stand.add("0", &[], &shown).text().to_owned();
    let key = stand.witness.key();
    let ask = |status: &str, headers: &str, body: &str| {
        let url = format!("http://{}", parrot(answer(status, headers, body.as_bytes())));
        let options = ClientOptions::new(stand.runtime.handle().clone());
        block_on(HttpWitness::new(&url, key.clone(), options).unwrap().cosign(0, &[], &shown))
    };
    let expected = Signature::parse(line.trim_end()).unwrap();
    let strange = "— somebody AAAAAAA=\n";
    for good in [line.clone(), format!("{strange}{line}"), format!("{line}{strange}")] {
        assert_eq!(ask("200 OK", "", &good), Ok(expected.clone()), "{good}");
    }
    let mut other = expected.bytes().to_vec();
    *other.last_mut().unwrap() ^= 1;
    let blob = [&key.id().0[..], &other].concat();
    let forged = format!("— witness.example {}\n", <base64ct::Base64 as base64ct::Encoding>::encode_string(&blob));
    for bad in
        ["", "\n", strange, &forged, &format!("{forged}{line}"), line.trim_end(), "\u{2014}", &"x\n".repeat(100_000)]
    {
        assert_eq!(ask("200 OK", "", bad), Err(WitnessError::Unavailable), "{bad:.200}");
    }
    let size = "content-type: text/x.tlog.size\r\n";
    let conflict = Err(WitnessError::Refused(Refusal::Conflict { known_size: 7 }));
    assert_eq!(ask("409 Conflict", size, "7\n"), conflict);
    // A conflict about the size that was named would be asked again for ever.
    for (headers, body) in [("", "7\n"), (size, "7"), (size, "07\n"), (size, "x\n"), (size, "0\n"), (size, "")] {
        assert_eq!(ask("409 Conflict", headers, body), Err(WitnessError::Unavailable), "{body:?}");
    }
    for status in ["301 Moved", "400 Bad Request", "429 Too Many Requests", "500 Oops"] {
        assert_eq!(ask(status, "", &line), Err(WitnessError::Unavailable), "{status}");
    }
}

#[test]
fn the_last_note_survives_a_restart() {
    let disk = MemoryDisk::new();
    let stand = Stand::new(&disk);
    let ledger = fresh_ledger();
    submit(&ledger, &issue(PAYER, 100, 1)).unwrap();
    let two = note(&ledger);
    // Somebody else's line is not passed on.
    let stuffed = format!("{two}— somebody AAAAAAA=\n");
    assert_eq!(stand.add("0", &[], &stuffed).status, 200);
    let before = stand.latest(ORIGIN);
    assert!(!before.text().contains("somebody"));
    let restarted = Stand::new(&disk);
    let after = restarted.latest(ORIGIN);
    for told in [before, after] {
        let trusted = strict(stand.witness.key()).check(&told.body, &Verifier).expect("cosigned");
        assert_eq!(trusted.checkpoint.size(), 2);
        assert_eq!(told.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[test]
fn a_witness_that_cannot_write_says_so() {
    let disk = MemoryDisk::new();
    let stand = Stand::new(&disk);
    disk.fail_next_flush(FlushFault::Fails);
    let told = stand.add("0", &[], &note(&fresh_ledger()));
    assert_eq!(told.problem(), (503, "unavailable".to_owned()));
    assert_eq!(block_on(stand.remote().cosign(0, &[], &note(&fresh_ledger()))), Err(WitnessError::Unavailable));
}

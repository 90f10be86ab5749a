//! Proofs that leave the house: receipts, `.tlog-proof` files and the published tiles, checked here and written to
//! `SDPP_INTEROP_OUT` for readers that share no code with us (`spec/interop`).
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test panics where it fails"
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, process};

use common::*;
use sdpp_ledger::entry::Record;
use sdpp_ledger::{
    Body, Entry, Inclusion, LedgerService, LocalLedger, Receipt, ReceiptError, Verifier, Witness, receipt,
};
use sdpp_log::tiled::tile_bytes;
use sdpp_log::{
    Checkpoint, Edge, Hash, Note, Policy, ProofError, TileKind, TilePath, TlogProof, TlogProofRefusal, VerifierKey,
    bundle, leaf_hash,
};
use sdpp_proto::statement::Form;
use sdpp_rail::MemoryStore;

const WITNESS: u8 = 7;

/// A ledger that has published a little more than one full tile, and everything it published.
struct House {
    policy: Policy,
    note: Arc<str>,
    checkpoint: Checkpoint,
    entries: Vec<Vec<u8>>,
    ledger: LocalLedger,
}

impl House {
    fn new() -> Self {
        let hand = Hand::new();
        let store = Box::new(MemoryStore::new());
        let witness = Witness::start("witness.example/w1", test_key(WITNESS), hand.clock(), store, &[log_vkey()]);
        let witness = Arc::new(witness.unwrap());
        let policy = Policy::new(log_vkey(), vec![witness.key().clone()], 1).unwrap();
        let ledger = LocalLedger::start(config(&hand, vec![witness]), Box::new(MemoryStore::new())).unwrap();
        submit(&ledger, &issue(PAYER, 1_000_000, 1)).unwrap();
        for number in 0..260 {
            submit(&ledger, &transfer(PAYER, PAYEE, 1, number)).unwrap();
        }
        let statement = voucher(channel(1), 7).erase();
        submit(&ledger, &entry(PAYEE, Body::Record(Record::of(&statement, Form::Full)))).unwrap();

        let note = block_on(ledger.checkpoint()).unwrap();
        let checkpoint = policy.check(note.as_bytes(), &Verifier).unwrap().checkpoint;
        let mut entries = Vec::new();
        while (entries.len() as u64) < checkpoint.size() {
            entries.extend(block_on(ledger.entries(entries.len() as u64, 256)).unwrap());
        }
        entries.truncate(usize::try_from(checkpoint.size()).unwrap());
        Self { policy, note, checkpoint, entries, ledger }
    }

    fn proof(&self, index: usize) -> Vec<Hash> {
        block_on(self.ledger.inclusion(index as u64, self.checkpoint.size())).unwrap()
    }

    fn sign(&self, index: usize, proof: &[Hash]) -> Result<Vec<u8>, ReceiptError> {
        let (size, root) = (self.checkpoint.size(), self.checkpoint.root());
        let inclusion = Inclusion { entry: &self.entries[index], index: index as u64, size, proof, root };
        Receipt::sign(&test_key(LOG), &inclusion)
    }

    fn receipt(&self, index: usize) -> Vec<u8> {
        self.sign(index, &self.proof(index)).unwrap()
    }

    fn tlog_proof(&self, index: usize) -> TlogProof {
        TlogProof::new(index as u64, self.proof(index), self.note.as_bytes()).unwrap()
    }

    /// The entries that travel: the first two, both sides of a tile's border, a transfer, the record.
    fn travellers(&self) -> [usize; 6] {
        [0, 1, 255, 256, self.entries.len() - 2, self.entries.len() - 1]
    }
}

fn verify(receipt: &[u8], entry: &[u8], log: u8) -> Result<Hash, ReceiptError> {
    Receipt::parse(receipt)?.verify(entry, &public(log))
}

#[test]
fn receipts_and_proofs_show_what_the_log_has_and_nothing_else() {
    let house = House::new();
    for index in house.travellers() {
        let (entry, receipt, proof) = (&house.entries[index], house.receipt(index), house.tlog_proof(index));
        assert_eq!(receipt, house.receipt(index), "signing again gives the same");
        let parsed = Receipt::parse(&receipt).unwrap();
        assert_eq!((parsed.issuer(), parsed.subject(), parsed.index()), (public(LOG), ORIGIN, index as u64));
        assert_eq!(parsed.size(), house.checkpoint.size());
        assert_eq!(verify(&receipt, entry, LOG), Ok(house.checkpoint.root()));
        let trusted = proof.verify(&leaf_hash(entry), &house.policy, &Verifier).unwrap();
        assert_eq!((trusted.checkpoint, trusted.cosigned_at.len()), (house.checkpoint.clone(), 1));
        assert_eq!(TlogProof::parse(proof.to_string().as_bytes()), Ok(proof.clone()));

        let other = &house.entries[(index + 1) % house.entries.len()];
        assert_eq!(verify(&receipt, other, LOG), Err(ReceiptError::BadSignature));
        assert_eq!(verify(&receipt, entry, STRANGER), Err(ReceiptError::OtherLog));
        assert_eq!(verify(&receipt, b"junk", LOG), Err(ReceiptError::NotAnEntry));
        let refused = proof.verify(&leaf_hash(other), &house.policy, &Verifier);
        assert_eq!(refused, Err(TlogProofRefusal::Inclusion(ProofError::RootMismatch)));
        let foreign = Entry::sign(&test_key(PAYER), "other.example", Entry::parse(entry).unwrap().body().clone());
        assert_eq!(verify(&receipt, foreign.bytes(), LOG), Err(ReceiptError::OtherSubject));
    }
}

/// The registered numbers of COSE and of RFC 9942, as other readers look for them.
#[test]
fn a_receipt_is_written_with_the_registered_labels() {
    let receipt = House::new().receipt(1);
    // Tag 18, an array of four; the protected map: alg -8, kid of 32 bytes.
    assert_eq!(receipt[..2], [0xd2, 0x84]);
    let protected =
        receipt.windows(7).position(|bytes| bytes == [0xa4, 0x01, 0x27, 0x04, 0x58, 0x20, public(LOG).as_bytes()[0]]);
    assert!(protected.is_some_and(|at| at < 8), "{receipt:02x?}");
    let has = |bytes: &[u8]| receipt.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(&[0x0f, 0xa2, 0x01]), "15: {{1: issuer, 2: subject}}");
    assert!(has(&[0x19, 0x01, 0x8b, 0x01]), "395: 1");
    assert!(has(&[0xa1, 0x19, 0x01, 0x8c, 0xa1, 0x20, 0x81]), "396: {{-1: [proof]}}");
}

#[test]
fn no_changed_byte_of_a_receipt_or_its_entry_passes() {
    let house = House::new();
    let index = 255;
    let (entry, receipt) = (&house.entries[index], house.receipt(index));
    // Size and index, which nobody signs, as CBOR.
    let size = u16::try_from(house.checkpoint.size()).unwrap().to_be_bytes();
    let place = [0x19, size[0], size[1], 0x18, 0xff];
    let start = receipt.windows(5).position(|window| window == place).unwrap();
    for at in 0..receipt.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = receipt.clone();
            changed[at] ^= flip;
            match verify(&changed, entry, LOG) {
                Ok(root) => assert!((start..start + 5).contains(&at) && root == house.checkpoint.root(), "byte {at}"),
                Err(error) => assert_ne!(error, ReceiptError::NotAnEntry),
            }
        }
        assert!(Receipt::parse(&receipt[..at]).is_err(), "{at}");
    }
    for at in 0..entry.len() {
        let mut changed = entry.clone();
        changed[at] ^= 1;
        assert!(verify(&receipt, &changed, LOG).is_err(), "byte {at}");
    }
    assert_eq!(Receipt::parse(&[&receipt[..], &[0]].concat()), Err(ReceiptError::Malformed));
    assert_eq!(Receipt::parse(&vec![0; receipt::RECEIPT_MAX + 1]), Err(ReceiptError::TooLong));
    // The array of four spelled in two bytes.
    let longer = [&receipt[..1], &[0x98, 0x04], &receipt[2..]].concat();
    assert_eq!((receipt[1], Receipt::parse(&longer)), (0x84, Err(ReceiptError::Malformed)));
}

#[test]
fn a_log_signs_no_receipt_for_what_it_does_not_have() {
    let house = House::new();
    let proof = house.proof(3);
    assert_eq!(house.sign(4, &proof), Err(ReceiptError::Proof(ProofError::RootMismatch)));
    assert_eq!(house.sign(3, &proof[1..]), Err(ReceiptError::Proof(ProofError::TooShort)));
    assert_eq!(house.sign(3, &[proof[0]; 64]), Err(ReceiptError::Proof(ProofError::TooLong)));
    let (size, root) = (house.checkpoint.size(), house.checkpoint.root());
    let inclusion = Inclusion { entry: b"junk", index: 3, size, proof: &proof, root };
    assert_eq!(Receipt::sign(&test_key(LOG), &inclusion), Err(ReceiptError::NotAnEntry));
}

/// Where the files for other readers go: `SDPP_INTEROP_OUT`, else a folder that is removed again.
struct Out {
    path: PathBuf,
    kept: bool,
}

impl Out {
    fn new() -> Self {
        let given = env::var_os("SDPP_INTEROP_OUT").map(PathBuf::from);
        let kept = given.is_some();
        let path = given.unwrap_or_else(|| env::temp_dir().join(format!("sdpp-travel-{}", process::id())));
        let _ = fs::remove_dir_all(path.join("travel"));
        let _ = fs::remove_dir_all(path.join("site"));
        Self { path, kept }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path.join(name)).unwrap()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[test]
fn what_travels_is_written_for_other_readers() {
    let (house, out) = (House::new(), Out::new());
    out.write("log.vkey", format!("{}\n", house.policy.log()));
    out.write("witness.vkey", format!("{}\n", house.policy.witnesses()[0]));
    for index in house.travellers() {
        let name = |kind: &str| format!("travel/{index:03}.{kind}");
        let issuer = Entry::parse(&house.entries[index]).unwrap().issuer();
        let hex: String = issuer.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        out.write(&name("cose"), &house.entries[index]);
        out.write(&name("issuer"), format!("{hex}\n"));
        out.write(&name("receipt"), house.receipt(index));
        out.write(&name("tlog-proof"), house.tlog_proof(index).to_string());
    }
    write_site(&house, &out);

    let log: VerifierKey = String::from_utf8(out.read("log.vkey")).unwrap().trim().parse().unwrap();
    assert_eq!(log, log_vkey());
    for index in house.travellers() {
        let name = |kind: &str| format!("travel/{index:03}.{kind}");
        let entry = out.read(&name("cose"));
        assert_eq!(verify(&out.read(&name("receipt")), &entry, LOG), Ok(house.checkpoint.root()));
        let proof = TlogProof::parse(&out.read(&name("tlog-proof"))).unwrap();
        proof.verify(&leaf_hash(&entry), &house.policy, &Verifier).unwrap();
    }
    check_site(&house, &out.path.join("site"));
}

/// The checkpoint, all hash tiles and all bundles, under their C2SP names.
fn write_site(house: &House, out: &Out) {
    out.write("site/checkpoint", house.note.as_bytes());
    let mut edge = Edge::new();
    for entry in &house.entries {
        for tile in edge.append(leaf_hash(entry)).unwrap() {
            out.write(&format!("site/{}", tile.path), tile_bytes(&tile.hashes));
        }
    }
    assert_eq!(edge.root(), house.checkpoint.root());
    for (path, hashes) in edge.partials() {
        out.write(&format!("site/{path}"), tile_bytes(hashes));
    }
    for (index, entries) in house.entries.chunks(256).enumerate() {
        let path = TilePath::within(TileKind::Entries, index as u64, edge.size()).unwrap();
        out.write(&format!("site/{path}"), bundle::encode(entries).unwrap());
    }
}

/// Reads the site as a stranger: from the note alone to every entry.
fn check_site(house: &House, site: &Path) {
    let note = fs::read(site.join("checkpoint")).unwrap();
    let text = Note::parse(&note).unwrap().text().to_owned();
    let checkpoint = Checkpoint::parse(&text).unwrap();
    let read = |path: TilePath| {
        let bytes = fs::read(site.join(path.to_string())).map_err(|_| path)?;
        sdpp_log::tiled::parse_tile(&bytes, path.width()).map_err(|_| path)
    };
    assert_eq!(sdpp_log::tiled::root(checkpoint.size(), read), Ok(checkpoint.root()));
    let last = TilePath::last(TileKind::Entries, checkpoint.size()).unwrap();
    let mut entries = Vec::new();
    for index in 0..=last.index() {
        let path = TilePath::within(TileKind::Entries, index, checkpoint.size()).unwrap();
        let bytes = fs::read(site.join(path.to_string())).unwrap();
        entries.extend(bundle::parse(&bytes, path.width()).unwrap().into_iter().map(<[u8]>::to_vec));
    }
    assert_eq!(entries, house.entries);
}

#[test]
fn a_receipt_may_be_as_long_as_it_may_be_and_no_longer() {
    let sign = |subject: usize| {
        let entry = Entry::sign(&test_key(PAYER), &"s".repeat(subject), issue(PAYER, 1, 1).body().clone());
        let entry = entry.bytes();
        let inclusion = Inclusion { entry, index: 0, size: 1, proof: &[], root: leaf_hash(entry) };
        Receipt::sign(&test_key(LOG), &inclusion)
    };
    let rest = sign(1_000).unwrap().len() - 1_000;
    let longest = sign(receipt::RECEIPT_MAX - rest).unwrap();
    assert_eq!(longest.len(), receipt::RECEIPT_MAX);
    assert!(Receipt::parse(&longest).is_ok());
    for more in [1, 100] {
        assert_eq!(sign(receipt::RECEIPT_MAX - rest + more), Err(ReceiptError::TooLong));
    }
}

#[test]
fn a_receipt_may_have_the_longest_proof() {
    let proof = vec![Hash([7; 32]); sdpp_log::limits::PROOF_HASHES_MAX];
    let (entry, size) = (issue(PAYER, 1, 1), sdpp_log::limits::TREE_SIZE_MAX);
    let root = sdpp_log::inclusion_root(&leaf_hash(entry.bytes()), 0, size, &proof).unwrap();
    let inclusion = Inclusion { entry: entry.bytes(), index: 0, size, proof: &proof, root };
    let receipt = Receipt::sign(&test_key(LOG), &inclusion).unwrap();
    assert_eq!(verify(&receipt, entry.bytes(), LOG), Ok(root));
}

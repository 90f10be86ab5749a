//! The texts of the transparency log: notes, checkpoints, proofs that travel, requests to witnesses, policies, tiles.

use std::sync::LazyLock;

use sdpp_ledger::{Verifier, log_key, witness_key};
use sdpp_log::limits::{TILE_WIDTH, TREE_SIZE_MAX};
use sdpp_log::{
    AddCheckpoint, Checkpoint, Hash, LogState, Note, NoteSigner, Policy, Signature, TileKind, TilePath, TlogProof,
    Tree, VerifierKey, Witness, add_checkpoint, bundle, cosign, leaf_hash, tiled, verify_consistency,
};
use sdpp_proto::identity::SigningKey;

use crate::choices::Choices;
use crate::kit::key;

pub(crate) const ORIGIN: &str = "ledger.example/fuzz";
pub(crate) const LOG: u8 = 10;
const WITNESSES: [u8; 3] = [11, 12, 13];

/// Signs notes with a key of the kit.
struct Pen(SigningKey);

impl NoteSigner for Pen {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

pub(crate) fn log_vkey() -> VerifierKey {
    log_key(ORIGIN, &key(LOG)).expect("the name of a log")
}

fn witness_vkey(number: usize) -> VerifierKey {
    let seed = WITNESSES[number % WITNESSES.len()];
    witness_key(&format!("witness.example/{seed}"), &key(seed)).expect("the name of a witness")
}

fn policy_of(witnesses: usize, quorum: usize) -> Policy {
    Policy::new(log_vkey(), (0..witnesses).map(witness_vkey).collect(), quorum).expect("a policy")
}

/// A tree of entries that follow from their number.
fn tree() -> &'static Tree {
    static TREE: LazyLock<Tree> = LazyLock::new(|| {
        let mut tree = Tree::new();
        for number in 0..300u32 {
            tree.append(leaf_hash(&number.to_be_bytes()));
        }
        tree
    });
    &TREE
}

/// The signed checkpoint of the tree at this size.
pub(crate) fn checkpoint(size: u64) -> Note {
    let root = tree().root(size).expect("the tree has so many leaves");
    let checkpoint = Checkpoint::new(ORIGIN, size, root).expect("a checkpoint");
    let mut note = Note::new(&checkpoint.to_string()).expect("a text");
    note.sign(&log_vkey(), &Pen(key(LOG))).expect("the log signs");
    note
}

/// The proof that travels of one leaf.
pub(crate) fn tlog_proof_of(index: u64, size: u64) -> TlogProof {
    let hashes = tree().inclusion_proof(index, size).expect("the leaf is there");
    TlogProof::new(index, hashes, checkpoint(size).to_string().as_bytes()).expect("a proof")
}

/// The request to cosign the step from one size to another.
pub(crate) fn step(old: u64, new: u64) -> AddCheckpoint {
    let proof = tree().consistency_proof(old, new).expect("sizes of this tree");
    AddCheckpoint::new(old, proof, &checkpoint(new).to_string()).expect("a request")
}

/// The cosignature of a witness under a checkpoint.
pub(crate) fn cosignature(number: usize, size: u64, time_s: u64) -> Signature {
    let mut witness = Witness::new();
    witness.follow(ORIGIN, vec![log_vkey()], LogState::EMPTY).expect("a log to follow");
    let next = witness.check(0, &[], checkpoint(size).to_string().as_bytes(), &Verifier).expect("a first step");
    let accepted = witness.apply(next).expect("nothing came between");
    let pen = Pen(key(WITNESSES[number % WITNESSES.len()]));
    cosign(&accepted, &witness_vkey(number), time_s, &pen).expect("a cosignature")
}

/// A signed note, a checkpoint, a signature line and a verifier key, whichever the bytes are.
///
/// Each is written again as it was read; a note that a policy trusts is signed over this very text.
pub(crate) fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data, "one text for this note");
        for line in note.signatures() {
            assert_eq!(Signature::parse(&line.to_string()).as_ref(), Ok(line));
        }
        if let Ok(trusted) = policy_of(0, 0).check(data, &Verifier) {
            assert_eq!(trusted.checkpoint.to_string(), note.text());
            assert_eq!(trusted.checkpoint.origin(), ORIGIN);
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text, "one text for this checkpoint");
        assert!(checkpoint.size() <= TREE_SIZE_MAX);
    }
    if let Ok(line) = Signature::parse(text) {
        assert_eq!(line.to_string(), text, "one line for this signature");
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text, "one text for this key");
    }
}

/// A proof that travels. It shows that one entry is in the log, and no second one at its place.
pub(crate) fn tlog_proof(data: &[u8]) {
    let Ok(proof) = TlogProof::parse(data) else { return };
    assert_eq!(proof.to_string().as_bytes(), data, "one text for this proof");
    let policy = policy_of(0, 0);
    let shown = |leaf: Hash| proof.verify(&leaf, &policy, &Verifier).is_ok();
    assert!(!shown(leaf_hash(data)), "an entry that was never logged");
    // An entry that is in the log, but at another place.
    let other = proof.index().wrapping_add(1) as u32;
    assert!(!shown(leaf_hash(&other.to_be_bytes())), "one place for each entry");
}

/// A request to a witness and the bodies of its answers.
///
/// The witness follows the log only forwards, and only what the log signed of this very tree.
pub(crate) fn add_checkpoint(data: &[u8]) {
    if let Ok(lines) = add_checkpoint::parse_cosigned(data) {
        assert_eq!(add_checkpoint::cosigned_body(&lines).as_bytes(), data);
    }
    if let Some(size) = add_checkpoint::parse_conflict(data) {
        assert_eq!(add_checkpoint::conflict_body(size).as_bytes(), data);
    }
    let Ok(request) = AddCheckpoint::parse(data) else { return };
    assert_eq!(request.to_string().as_bytes(), data, "one body for this request");
    let known = request.old_size().min(tree().size());
    let state = LogState { size: known, root: tree().root(known).expect("a size of this tree") };
    let mut witness = Witness::new();
    witness.follow(ORIGIN, vec![log_vkey()], state).expect("a log to follow");
    let Ok(next) = witness.check(request.old_size(), request.proof(), request.note().as_bytes(), &Verifier) else {
        assert_eq!(witness.state(ORIGIN), Some(state), "a refusal changes nothing");
        return;
    };
    let to = next.to();
    assert_eq!(tree().root(to.size), Ok(to.root), "only this tree was ever signed");
    verify_consistency(state.size, &state.root, to.size, &to.root, request.proof()).expect("it was checked");
    assert!(witness.apply(next).is_ok() && witness.state(ORIGIN) == Some(to));
}

/// Policies and notes that were signed by whoever the bytes say, sometimes badly.
///
/// A note is trusted exactly where the log and a quorum of the witnesses signed and nobody known signed badly.
pub(crate) fn policy(data: &[u8]) {
    let mut choices = Choices::new(data);
    let witnesses = choices.below(WITNESSES.len() + 1);
    let quorum = choices.below(WITNESSES.len() + 2);
    let keys = (0..witnesses).map(witness_vkey).collect();
    let Ok(policy) = Policy::new(log_vkey(), keys, quorum) else {
        assert!(quorum > witnesses);
        return;
    };
    let size = choices.below(300) as u64;
    let (mut note, mut signed, mut bad) = (unsigned(size), false, false);
    let mut cosigned = [false; WITNESSES.len()];
    for _ in 0..choices.below(8) {
        let (who, spoilt) = (choices.below(WITNESSES.len() + 1), choices.byte() == 0xff);
        let line = if who == WITNESSES.len() {
            checkpoint(size).signatures()[0].clone()
        } else {
            cosignature(who, size, choices.number() >> 1)
        };
        let line = if spoilt { spoil(&line) } else { line };
        let known = who == WITNESSES.len() || who < witnesses;
        bad |= spoilt && known;
        signed |= who == WITNESSES.len();
        cosigned.get_mut(who).into_iter().for_each(|seen| *seen = true);
        note.add(line).expect("a few lines");
    }
    let enough = cosigned.iter().take(witnesses).filter(|seen| **seen).count() >= quorum;
    let trusted = policy.check(note.to_string().as_bytes(), &Verifier);
    assert_eq!(trusted.is_ok(), signed && enough && !bad, "{trusted:?}\n{note}");
}

fn unsigned(size: u64) -> Note {
    Note::new(checkpoint(size).text()).expect("a text")
}

/// The same line with another signature.
fn spoil(line: &Signature) -> Signature {
    let text = line.to_string();
    let mut changed = text.into_bytes();
    // Behind the key id, before the padding.
    let at = changed.len() - 10;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    Signature::parse(&String::from_utf8(changed).expect("base64")).expect("a line")
}

/// Names of tiles, tiles and bundles of entries.
pub(crate) fn tile_path(data: &[u8]) {
    if let Some(path) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<TilePath>().ok()) {
        assert_eq!(path.to_string().as_bytes(), data, "one name for this tile");
        assert_eq!(TilePath::new(path.kind(), path.index(), path.width()), Ok(path));
        assert_eq!(path.is_partial(), path.width() < TILE_WIDTH);
    }
    let mut choices = Choices::new(data);
    let level = choices.below(64) as u8;
    let kind = *choices.pick(&[TileKind::Entries, TileKind::Hashes { level }]);
    let (index, size) = (choices.number(), choices.number() & TREE_SIZE_MAX);
    for path in [TilePath::within(kind, index, size), TilePath::last(kind, size)].into_iter().flatten() {
        assert_eq!(path.to_string().parse(), Ok(path));
        assert_eq!(TilePath::within(kind, path.index(), size), Some(path));
    }
    let (width, rest) = (choices.below(300) as u16, choices.rest());
    if let Ok(entries) = bundle::parse(rest, width) {
        assert_eq!(entries.len(), usize::from(width));
        assert_eq!(bundle::encode(&entries).as_deref(), Ok(rest), "one bundle for these entries");
    }
    if let Ok(hashes) = tiled::parse_tile(rest, width) {
        assert_eq!(tiled::tile_bytes(&hashes), rest, "one tile for these hashes");
    }
}

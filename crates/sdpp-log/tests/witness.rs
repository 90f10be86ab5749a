//! The witness rule under honest, forgetful and lying logs.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use sdpp_log::{
    Checkpoint, Hash, LogState, Note, NoteError, NoteSigner, NoteVerifier, OpenError, PolicyError, ProofError, Refusal,
    SignatureType, Tree, VerifierKey, Witness, leaf_hash, limits,
};

/// A stand-in for Ed25519: "signs" by folding the message into 64 bytes. Enough here, where only the rule is tested.
struct Fold;

impl NoteSigner for Fold {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let hash = leaf_hash(message).0;
        core::array::from_fn(|i| hash[i % 32])
    }
}

impl NoteVerifier for Fold {
    fn verify(&self, _: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        self.sign(message) == *signature
    }
}

const ORIGIN: &str = "log.example/1";

fn key() -> VerifierKey {
    VerifierKey::new(ORIGIN, SignatureType::Ed25519, [3; 32]).unwrap()
}

fn tree(salt: u8) -> Tree {
    let mut tree = Tree::new();
    for i in 0..40u8 {
        tree.append(leaf_hash(&[i, if i < 10 { 0 } else { salt }]));
    }
    tree
}

fn signed(origin: &str, size: u64, root: Hash) -> Note {
    let mut note = Note::new(&Checkpoint::new(origin, size, root).unwrap().to_string()).unwrap();
    note.sign(&key(), &Fold).unwrap();
    note
}

fn bytes(tree: &Tree, size: u64) -> Vec<u8> {
    signed(ORIGIN, size, tree.root(size).unwrap()).to_string().into_bytes()
}

fn witness() -> Witness {
    let mut witness = Witness::new();
    witness.follow(ORIGIN, vec![key()], LogState::EMPTY).unwrap();
    witness
}

/// Moves a witness honestly.
fn advance(witness: &mut Witness, tree: &Tree, size: u64) {
    let old = witness.state(ORIGIN).unwrap().size;
    let proof = tree.consistency_proof(old, size).unwrap();
    let next = witness.check(old, &proof, &bytes(tree, size), &Fold).unwrap();
    witness.apply(next).unwrap();
}

#[test]
fn follows_an_honest_log_through_all_steps() {
    let tree = tree(1);
    for step in 1..=13 {
        let mut witness = witness();
        for size in (0..=40).step_by(step) {
            advance(&mut witness, &tree, size);
            assert_eq!(witness.state(ORIGIN), Some(LogState { size, root: tree.root(size).unwrap() }));
            // Asking again for the same checkpoint is harmless.
            advance(&mut witness, &tree, size);
        }
    }
}

#[test]
fn a_check_changes_nothing_and_a_stale_step_is_not_taken() {
    let (tree, mut witness) = (tree(1), witness());
    let first = witness.check(0, &[], &bytes(&tree, 5), &Fold).unwrap();
    let second = witness.check(0, &[], &bytes(&tree, 9), &Fold).unwrap();
    assert_eq!(witness.state(ORIGIN), Some(LogState::EMPTY));
    assert_eq!((first.origin(), first.from(), first.to().size), (ORIGIN, LogState::EMPTY, 5));
    assert_eq!(witness.apply(second).unwrap().signed().checkpoint().size(), 9);
    // The race that the specification warns of: the earlier step must not roll back.
    assert_eq!(witness.apply(first), Err(Refusal::Conflict { known_size: 9 }));
    assert_eq!(witness.state(ORIGIN).unwrap().size, 9);
}

#[test]
fn a_lying_log_is_refused() {
    let (honest, other, mut witness) = (tree(1), tree(2), witness());
    advance(&mut witness, &honest, 20);
    let before = witness.clone();
    let check = |old, proof: &[Hash], note: &[u8]| witness.check(old, proof, note, &Fold).unwrap_err();

    assert_eq!(check(20, &[], &bytes(&other, 20)), Refusal::Fork { known_size: 20 });
    for size in 21..=40 {
        let proof = other.consistency_proof(20, size).unwrap();
        assert_eq!(check(20, &proof, &bytes(&other, size)), Refusal::BadProof(ProofError::OldRootMismatch));
        assert_eq!(check(20, &[], &bytes(&honest, size)), Refusal::BadProof(ProofError::TooShort));
    }
    for size in 0..20 {
        assert_eq!(check(20, &[], &bytes(&honest, size)), Refusal::Rollback);
        assert_eq!(check(size, &[], &bytes(&honest, size)), Refusal::Conflict { known_size: 20 });
    }
    assert_eq!(check(0, &[], &bytes(&honest, 30)), Refusal::Conflict { known_size: 20 });
    let long = [Hash::EMPTY; 64];
    assert_eq!(check(20, &long, &bytes(&honest, 30)), Refusal::BadProof(ProofError::TooLong));
    assert_eq!(check(20, &long[..1], &bytes(&honest, 20)), Refusal::BadProof(ProofError::TooLong));
    assert_eq!(witness, before);
}

#[test]
fn strangers_and_forgers_are_refused() {
    let (tree, witness) = (tree(1), witness());
    let check = |note: &str| witness.check(0, &[], note.as_bytes(), &Fold).unwrap_err();
    let root = tree.root(5).unwrap();
    assert_eq!(check(&signed("other", 5, root).to_string()), Refusal::UnknownOrigin);
    assert_eq!(check("junk"), Refusal::Malformed(OpenError::Note(NoteError::NoSignatures)));

    let good = signed(ORIGIN, 5, root).to_string();
    assert_eq!(check(&good.replacen("\n5\n", "\n6\n", 1)), Refusal::BadSignature(NoteError::BadSignature));
    let renamed = good.replace(&format!("\u{2014} {ORIGIN}"), "\u{2014} other");
    assert_eq!(check(&renamed), Refusal::BadSignature(NoteError::NotSigned));
}

#[test]
fn a_log_has_at_most_8_keys() {
    let keys = |count: u8| (0..count).map(|i| VerifierKey::new(ORIGIN, SignatureType::Ed25519, [i; 32]).unwrap());
    let follow = |count: u8| Witness::new().follow(ORIGIN, keys(count).collect(), LogState::EMPTY);
    let most = u8::try_from(limits::LOG_KEYS_MAX).unwrap();
    assert_eq!((follow(1), follow(most)), (Ok(()), Ok(())));
    assert_eq!((follow(0), follow(most + 1)), (Err(PolicyError::WrongKeyType), Err(PolicyError::WrongKeyType)));
}

#[test]
fn a_proof_has_at_most_63_hashes() {
    let (tree, mut witness) = (tree(1), witness());
    advance(&mut witness, &tree, 3);
    let note = signed(ORIGIN, limits::TREE_SIZE_MAX, Hash([9; 32])).to_string();
    let check = |count: usize| witness.check(3, &[Hash::EMPTY; 65][..count], note.as_bytes(), &Fold);
    // For these sizes the tree alone would ask for 64.
    assert_eq!(check(64), Err(Refusal::BadProof(ProofError::TooLong)));
    assert_eq!(check(63), Err(Refusal::BadProof(ProofError::TooShort)));
}

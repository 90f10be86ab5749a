//! Roots and proofs, against `ct-merkle` and `tlog_tiles` (Go's `sumdb/tlog` in Rust).

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sdpp_log::tiled::tile_bytes;
use sdpp_log::{Frontier, Hash, Tree, leaf_hash, verify_consistency, verify_inclusion};
use sha2::Sha256;

use crate::choices::{Choices, flip};

/// Entries of the largest tree.
const ENTRIES_MAX: usize = 70;

/// A tree of the input's entries; then proofs of it, some of them changed, for which the input also chooses sizes,
/// index, leaf and roots.
///
/// Roots and proofs are the same, and every proof is accepted by all three or by none.
pub(crate) fn diff_merkle(data: &[u8]) {
    let mut choices = Choices::new(data);
    let count = choices.below(ENTRIES_MAX + 1);
    let entries: Vec<Vec<u8>> = (0..count).map(|_| choices.some().to_vec()).collect();
    let (mut tree, mut frontier) = (Tree::new(), Frontier::new());
    let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for entry in &entries {
        tree.append(leaf_hash(entry));
        frontier.append(leaf_hash(entry)).expect("a small tree");
        oracle.push(entry.clone());
    }
    let size = tree.size();
    let root = tree.root(size).expect("its size");
    assert_eq!((root.0[..].to_vec(), root), (oracle.root().as_bytes().to_vec(), frontier.root()));
    if count == 0 {
        return;
    }
    for _ in 0..4 {
        inclusion(&mut choices, &tree, &oracle);
        consistency(&mut choices, &tree, &oracle);
    }
}

type Oracle = MemoryBackedTree<Sha256, Vec<u8>>;

fn inclusion(choices: &mut Choices<'_>, tree: &Tree, oracle: &Oracle) {
    let at = choices.below(oracle.items().len());
    let (mut index, mut size) = (at as u64, tree.size());
    let mut proof = tree.inclusion_proof(index, size).expect("a leaf of this tree");
    assert_eq!(tile_bytes(&proof), oracle.prove_inclusion(at).as_bytes());
    let mut root = tree.root(size).expect("its size");
    let mut entry = oracle.items()[at].clone();
    for _ in 0..choices.below(3) {
        match choices.below(5) {
            0 => index = size_near(choices, index),
            1 => size = size_near(choices, size),
            2 => entry = choices.some().to_vec(),
            3 => root = tree.root(choices.number() % (tree.size() + 1)).expect("a size of this tree"),
            _ => change(choices, &mut proof),
        }
    }
    let leaf = leaf_hash(&entry);
    let ours = verify_inclusion(&leaf, index, size, &proof, &root).is_ok();
    let theirs = tlog_tiles::check_record(&theirs(&proof), size, theirs_of(&root), index, theirs_of(&leaf)).is_ok();
    assert_eq!(ours, theirs, "tlog_tiles: {index} of {size}");
    if let Ok(given) = InclusionProof::<Sha256>::try_from_bytes(tile_bytes(&proof)) {
        let whole = RootHash::<Sha256>::new(root.0.into(), size);
        assert_eq!(ours, whole.verify_inclusion(&entry, index, &given).is_ok(), "ct-merkle: {index} of {size}");
    }
}

fn consistency(choices: &mut Choices<'_>, tree: &Tree, oracle: &Oracle) {
    let added = choices.below(oracle.items().len());
    let (mut old, mut new) = (tree.size() - added as u64, tree.size());
    let mut proof = tree.consistency_proof(old, new).expect("sizes of this tree");
    assert_eq!(tile_bytes(&proof), oracle.prove_consistency(added).as_bytes());
    let (mut old_root, mut new_root) = (tree.root(old).expect("a size"), tree.root(new).expect("a size"));
    for _ in 0..choices.below(3) {
        match choices.below(5) {
            0 => old = size_near(choices, old),
            1 => new = size_near(choices, new),
            2 => old_root = tree.root(choices.number() % (tree.size() + 1)).expect("a size of this tree"),
            3 => new_root = tree.root(choices.number() % (tree.size() + 1)).expect("a size of this tree"),
            _ => change(choices, &mut proof),
        }
    }
    let ours = verify_consistency(old, &old_root, new, &new_root, &proof).is_ok();
    if old == 0 {
        // C2SP: the empty tree is a prefix of all. The other two refuse to speak of it.
        assert_eq!(ours, old_root == Hash::EMPTY && proof.is_empty() && (new > 0 || new_root == Hash::EMPTY));
        return;
    }
    let (given, new_hash, old_hash) = (theirs(&proof), theirs_of(&new_root), theirs_of(&old_root));
    let theirs = tlog_tiles::check_tree(&given, new, new_hash, old, old_hash).is_ok();
    assert_eq!(ours, theirs, "tlog_tiles: {old} to {new}");
    if let Ok(given) = ConsistencyProof::<Sha256>::try_from_bytes(tile_bytes(&proof)) {
        let whole = RootHash::<Sha256>::new(new_root.0.into(), new);
        let before = RootHash::<Sha256>::new(old_root.0.into(), old);
        assert_eq!(ours, whole.verify_consistency(&before, &given).is_ok(), "ct-merkle: {old} to {new}");
    }
}

/// Sizes that a tree can have: the others refuse or overflow above.
fn size_near(choices: &mut Choices<'_>, size: u64) -> u64 {
    choices.near(size) & sdpp_log::limits::TREE_SIZE_MAX
}

/// Another proof: cut, longer, in another order, with one bit changed.
fn change(choices: &mut Choices<'_>, proof: &mut Vec<Hash>) {
    match (choices.below(4), proof.len()) {
        (0, length @ 1..) => {
            proof.remove(choices.below(length));
        }
        (1, length @ 1..) => flip(&mut proof[choices.below(length)].0, choices),
        (2, length @ 2..) => proof.swap(choices.below(length), choices.below(length)),
        (_, length) => proof.insert(choices.below(length + 1), Hash(choices.bytes32())),
    }
}

fn theirs_of(hash: &Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(hash.0)
}

fn theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().map(theirs_of).collect()
}

//! Tree, frontier and proofs against the recursive definition of RFC 6962 §2.1, for every small tree.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use sdpp_log::{Frontier, Hash, ProofError, Tree, leaf_hash, node_hash, verify_consistency, verify_inclusion};

const SIZE_MAX: usize = 70;

/// A tiny deterministic generator (xorshift64*), so that a failing run can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn tree(leaves: &[Hash]) -> Tree {
    let mut tree = Tree::new();
    for leaf in leaves {
        tree.append(*leaf);
    }
    tree
}

/// The largest power of two below `n`: the `k` of the RFC.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// `MTH(D[n])`, RFC 6962 §2.1.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// `PATH(m, D[n])`, RFC 6962 §2.1.1.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = if m < k { (path(m, left), mth(right)) } else { (path(m - k, right), mth(left)) };
    proof.push(sibling);
    proof
}

/// `SUBPROOF(m, D[n], b)`, RFC 6962 §2.1.2.
fn subproof(m: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if complete { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) =
        if m <= k { (subproof(m, left, complete), mth(right)) } else { (subproof(m - k, right, false), mth(left)) };
    proof.push(sibling);
    proof
}

fn hash(hex: &str) -> Hash {
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
    Hash(core::array::from_fn(byte))
}

/// Every small way to spoil a proof: one bit of a hash, a hash too few, one too many, two in the wrong order.
fn mutations(proof: &[Hash], numbers: &mut Numbers) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for i in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[i].0[numbers.below(32) as usize] ^= 1 << numbers.below(8);
        let mut removed = proof.to_vec();
        removed.remove(i);
        let mut doubled = proof.to_vec();
        doubled.insert(i, proof[i]);
        all.extend([flipped, removed, doubled]);
        if i > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(i - 1, i);
            all.push(swapped);
        }
    }
    for extra in [Hash::EMPTY, Hash([0; 32])] {
        all.push([proof, &[extra]].concat());
        all.push([&[extra], proof].concat());
    }
    all
}

#[test]
fn known_roots_of_the_eight_leaves() {
    // The reference vectors of Certificate Transparency, for 0 to 8 leaves.
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let tree = tree(&entries.map(leaf_hash));
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(tree.root(size as u64), Ok(hash(root)));
    }
    // Known proofs of the same vectors.
    let proof = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(tree.inclusion_proof(5, 8), Ok(proof.map(hash).to_vec()));
    let proof = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(tree.consistency_proof(6, 8), Ok(proof.map(hash).to_vec()));
}

#[test]
fn roots_are_those_of_the_definition() {
    let leaves = leaves(SIZE_MAX);
    let tree = tree(&leaves);
    let mut frontier = Frontier::new();
    for size in 0..=SIZE_MAX {
        assert_eq!(tree.root(size as u64), Ok(mth(&leaves[..size])));
        assert_eq!(frontier.root(), mth(&leaves[..size]));
        if let Some(leaf) = leaves.get(size) {
            assert_eq!(frontier.append(*leaf), Ok(size as u64));
        }
    }
}

#[test]
fn inclusion_proofs_are_those_of_the_definition_and_no_other_passes() {
    let (leaves, mut numbers) = (leaves(SIZE_MAX), Numbers(1));
    let tree = tree(&leaves);
    for size in 1..=SIZE_MAX {
        let root = mth(&leaves[..size]);
        for index in 0..size {
            let (i, n, leaf) = (index as u64, size as u64, leaves[index]);
            let proof = tree.inclusion_proof(i, n).unwrap();
            assert_eq!(proof, path(index, &leaves[..size]));
            assert_eq!(verify_inclusion(&leaf, i, n, &proof, &root), Ok(()));
            for bad in mutations(&proof, &mut numbers) {
                assert!(verify_inclusion(&leaf, i, n, &bad, &root).is_err(), "{index} of {size}");
            }
            let other = (i + 1 + numbers.below(70)) % 71;
            assert!(verify_inclusion(&leaf, other, n, &proof, &root).is_err(), "{index} as {other} of {size}");
            assert_eq!(verify_inclusion(&root, i, n, &proof, &leaf).is_ok(), size == 1);
        }
    }
}

#[test]
fn consistency_proofs_are_those_of_the_definition_and_no_other_passes() {
    let (leaves, mut numbers) = (leaves(SIZE_MAX), Numbers(2));
    let tree = tree(&leaves);
    for new in 0..=SIZE_MAX {
        let new_root = mth(&leaves[..new]);
        for old in 0..=new {
            let (m, n, old_root) = (old as u64, new as u64, mth(&leaves[..old]));
            let proof = tree.consistency_proof(m, n).unwrap();
            let expected = if old == 0 { Vec::new() } else { subproof(old, &leaves[..new], true) };
            assert_eq!(proof, expected);
            assert_eq!(verify_consistency(m, &old_root, n, &new_root, &proof), Ok(()));
            for bad in mutations(&proof, &mut numbers) {
                assert!(verify_consistency(m, &old_root, n, &new_root, &bad).is_err(), "{old} to {new}");
            }
            let wrong = Hash([7; 32]);
            assert!(verify_consistency(m, &wrong, n, &new_root, &proof).is_err(), "{old} to {new}");
            // The empty tree is a prefix of any: only there is nothing to compare the new root with.
            let blind = old == 0 && new > 0;
            assert_eq!(verify_consistency(m, &old_root, n, &wrong, &proof).is_ok(), blind, "{old} to {new}");
        }
    }
}

#[test]
fn a_rewritten_leaf_is_caught_by_every_later_tree() {
    let honest = leaves(40);
    for rewritten in 0..20 {
        let mut forged = honest.clone();
        forged[rewritten].0[0] ^= 1;
        let forged = tree(&forged);
        for new in 20..=40 {
            let (root, proof) = (forged.root(new).unwrap(), forged.consistency_proof(20, new).unwrap());
            let error = if new == 20 { ProofError::RootsDiffer } else { ProofError::OldRootMismatch };
            assert_eq!(verify_consistency(20, &mth(&honest[..20]), new, &root, &proof), Err(error));
        }
    }
}

#[test]
fn large_trees_prove_random_places() {
    let (leaves, mut numbers) = (leaves(5000), Numbers(3));
    let tree = tree(&leaves);
    for _ in 0..500 {
        let new = 1 + numbers.below(5000);
        let (old, index) = (numbers.below(new + 1), numbers.below(new));
        let (old_root, root) = (tree.root(old).unwrap(), tree.root(new).unwrap());
        let inclusion = tree.inclusion_proof(index, new).unwrap();
        assert_eq!(verify_inclusion(&leaves[index as usize], index, new, &inclusion, &root), Ok(()));
        let consistency = tree.consistency_proof(old, new).unwrap();
        assert_eq!(verify_consistency(old, &old_root, new, &root, &consistency), Ok(()));
        assert!(inclusion.len() <= 13 && consistency.len() <= 14);
    }
}

//! Checking proofs against roots that are already trusted.

use alloc::vec::Vec;
use core::fmt;

use crate::hash::{Hash, node_hash};

/// Why a proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// The leaf index is not below the tree size.
    IndexOutOfRange,
    /// The old size is above the new one.
    SizesReversed,
    /// The proof has fewer hashes than the sizes ask for.
    TooShort,
    /// The proof has more hashes than the sizes ask for.
    TooLong,
    /// The proof leads to another root for the old tree.
    OldRootMismatch,
    /// The proof leads to another root for the (new) tree.
    RootMismatch,
    /// The sizes are equal and the roots are not: a fork.
    RootsDiffer,
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IndexOutOfRange => "leaf index is not below the tree size",
            Self::SizesReversed => "old tree size is above the new one",
            Self::TooShort => "proof is too short",
            Self::TooLong => "proof is too long",
            Self::OldRootMismatch => "proof does not lead to the old root",
            Self::RootMismatch => "proof does not lead to the root",
            Self::RootsDiffer => "two roots for one tree size",
        })
    }
}

impl core::error::Error for ProofError {}

/// Checks that the leaf with this hash is at `index` in the tree of `size` leaves with this root (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`ProofError::IndexOutOfRange`] if `index >= size` (so always for the empty tree), [`ProofError::TooShort`],
/// [`ProofError::TooLong`], [`ProofError::RootMismatch`].
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if inclusion_root(leaf, index, size, proof)? == *root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

/// The root to which an inclusion proof leads. It shows nothing until that root is known from elsewhere: signed, say.
///
/// # Errors
/// [`ProofError::IndexOutOfRange`], [`ProofError::TooShort`], [`ProofError::TooLong`].
pub fn inclusion_root(leaf: &Hash, index: u64, size: u64, proof: &[Hash]) -> Result<Hash, ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfRange);
    }
    let mut path = Path { node: index, last: size.saturating_sub(1) };
    let mut computed = *leaf;
    for sibling in proof {
        computed = match path.next()? {
            Side::Left => node_hash(sibling, &computed),
            Side::Right => node_hash(&computed, sibling),
        };
    }
    path.finish()?;
    Ok(computed)
}

/// The hashes of an inclusion proof that stand left of the leaf, the largest subtree first: the peaks of the
/// [`Frontier`](crate::Frontier) before it. They are as true as the proof, so verify that.
///
/// # Errors
/// Those of [`inclusion_root`].
pub fn peaks_before(index: u64, size: u64, proof: &[Hash]) -> Result<Vec<Hash>, ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfRange);
    }
    let mut path = Path { node: index, last: size.saturating_sub(1) };
    let mut peaks = Vec::new();
    for sibling in proof {
        if matches!(path.next()?, Side::Left) {
            peaks.push(*sibling);
        }
    }
    path.finish()?;
    peaks.reverse();
    Ok(peaks)
}

/// Checks that the old tree is a prefix of the new one (RFC 9162 §2.1.4.2).
///
/// Beyond the RFC, which asks for `0 < old_size < new_size`: equal sizes need equal roots and an empty proof, and the
/// empty tree, whose root must be [`Hash::EMPTY`], is a prefix of any tree with an empty proof (C2SP tlog-witness).
///
/// # Errors
/// [`ProofError::SizesReversed`], [`ProofError::TooShort`], [`ProofError::TooLong`], [`ProofError::OldRootMismatch`],
/// [`ProofError::RootMismatch`], and [`ProofError::RootsDiffer`] if the sizes are equal and the roots are not.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::SizesReversed);
    }
    if old_size == new_size && old_root != new_root {
        return Err(ProofError::RootsDiffer);
    }
    if old_size == 0 && *old_root != Hash::EMPTY {
        return Err(ProofError::OldRootMismatch);
    }
    if old_size == 0 || old_size == new_size {
        return if proof.is_empty() { Ok(()) } else { Err(ProofError::TooLong) };
    }
    let (first, rest) = match proof.split_first() {
        None => return Err(ProofError::TooShort),
        // The old root is itself a node of the new tree, so the proof leaves it out.
        Some(_) if old_size.is_power_of_two() => (old_root, proof),
        Some(split) => split,
    };
    let mut path = Path { node: old_size.saturating_sub(1), last: new_size.saturating_sub(1) };
    path.skip_ones();
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        match path.next()? {
            Side::Left => {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            }
            Side::Right => new = node_hash(&new, sibling),
        }
    }
    path.finish()?;
    if old != *old_root {
        return Err(ProofError::OldRootMismatch);
    }
    if new == *new_root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

/// On which side of the path the next hash of the proof stands.
enum Side {
    Left,
    Right,
}

/// The way from a node to the root: `fn` and `sn` of RFC 9162.
struct Path {
    node: u64,
    last: u64,
}

impl Path {
    /// Takes one hash of the proof and climbs past its parent.
    fn next(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::TooLong);
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            // A node on the ragged edge has no right sibling until it becomes a right child itself.
            while self.node & 1 == 0 && self.node != 0 {
                self.up();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.up();
        Ok(side)
    }

    fn skip_ones(&mut self) {
        while self.node & 1 == 1 {
            self.up();
        }
    }

    fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    fn finish(self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::TooShort) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "a panic is how a test fails"
    )]

    use super::*;
    use crate::hash::leaf_hash;

    const A: Hash = Hash([1; 32]);
    const B: Hash = Hash([2; 32]);

    #[test]
    fn one_leaf_needs_no_proof() {
        let leaf = leaf_hash(b"x");
        assert_eq!(verify_inclusion(&leaf, 0, 1, &[], &leaf), Ok(()));
        assert_eq!(verify_inclusion(&leaf, 0, 1, &[A], &leaf), Err(ProofError::TooLong));
        assert_eq!(verify_inclusion(&leaf, 0, 1, &[], &A), Err(ProofError::RootMismatch));
        assert_eq!(verify_inclusion(&leaf, 0, 2, &[], &leaf), Err(ProofError::TooShort));
    }

    #[test]
    fn index_must_be_below_the_size() {
        assert_eq!(verify_inclusion(&A, 0, 0, &[], &Hash::EMPTY), Err(ProofError::IndexOutOfRange));
        assert_eq!(verify_inclusion(&A, 3, 3, &[A, B], &A), Err(ProofError::IndexOutOfRange));
        assert_eq!(verify_inclusion(&A, u64::MAX, u64::MAX, &[], &A), Err(ProofError::IndexOutOfRange));
    }

    #[test]
    fn the_empty_tree_is_a_prefix_of_all() {
        assert_eq!(verify_consistency(0, &Hash::EMPTY, 5, &A, &[]), Ok(()));
        assert_eq!(verify_consistency(0, &Hash::EMPTY, 0, &Hash::EMPTY, &[]), Ok(()));
        assert_eq!(verify_consistency(0, &Hash::EMPTY, 5, &A, &[B]), Err(ProofError::TooLong));
        assert_eq!(verify_consistency(0, &B, 5, &A, &[]), Err(ProofError::OldRootMismatch));
        assert_eq!(verify_consistency(0, &A, 0, &A, &[]), Err(ProofError::OldRootMismatch));
    }

    #[test]
    fn equal_sizes_need_equal_roots_and_no_proof() {
        assert_eq!(verify_consistency(4, &A, 4, &A, &[]), Ok(()));
        assert_eq!(verify_consistency(4, &A, 4, &B, &[]), Err(ProofError::RootsDiffer));
        assert_eq!(verify_consistency(4, &A, 4, &A, &[B]), Err(ProofError::TooLong));
    }

    #[test]
    fn sizes_go_forward_and_a_proof_is_needed() {
        assert_eq!(verify_consistency(5, &A, 4, &B, &[]), Err(ProofError::SizesReversed));
        assert_eq!(verify_consistency(4, &A, 5, &B, &[]), Err(ProofError::TooShort));
        assert_eq!(verify_consistency(3, &A, 5, &B, &[]), Err(ProofError::TooShort));
    }

    #[test]
    fn huge_sizes_end() {
        let proof = [A; 65];
        assert_eq!(verify_inclusion(&A, 0, u64::MAX, &proof, &B), Err(ProofError::TooLong));
        assert_eq!(verify_consistency(1, &A, u64::MAX, &B, &proof), Err(ProofError::TooLong));
        assert_eq!(verify_inclusion(&A, u64::MAX - 1, u64::MAX, &proof[..64], &B), Err(ProofError::TooLong));
    }
}

//! The whole tree, able to prove anything about its past (RFC 9162 §2.1).

use alloc::vec::Vec;
use core::fmt;

use crate::hash::{Hash, node_hash};

/// Why the tree could not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// The size asked for is above the tree's size, or the old size above the new one.
    SizeOutOfRange,
    /// The leaf index is not below the size.
    IndexOutOfRange,
    /// The tree has [`TREE_SIZE_MAX`](crate::limits::TREE_SIZE_MAX) leaves.
    Full,
    /// The parts of a [`Frontier`](crate::Frontier) do not fit its size.
    WrongPeaks,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SizeOutOfRange => "tree size out of range",
            Self::IndexOutOfRange => "leaf index out of range",
            Self::Full => "tree is full",
            Self::WrongPeaks => "number of peaks does not fit the tree size",
        })
    }
}

impl core::error::Error for TreeError {}

/// An append-only Merkle tree (RFC 9162 §2.1).
///
/// Keeps the hash of every complete subtree, one list per level (64 bytes a leaf in all). A root or a proof
/// reads O(log n) of them and computes only the nodes of the ragged right edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// `levels[k][i]` is the root of the leaves `i * 2^k .. (i + 1) * 2^k`.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// A tree without leaves.
    pub const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        let leaves = self.levels.first().map_or(0, Vec::len);
        u64::try_from(leaves).expect("a list of 32-byte hashes in memory has fewer than 2^64 elements")
    }

    /// Appends a leaf by its [`leaf_hash`](crate::leaf_hash) and returns its index. O(1) amortised, O(log n) at worst.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size();
        let mut position = index;
        let mut hash = leaf;
        for nodes in &mut self.levels {
            let left = nodes.last().copied();
            nodes.push(hash);
            match left {
                // An odd position closes a pair: its parent is complete as well.
                Some(left) if position & 1 == 1 => hash = node_hash(&left, &hash),
                Some(_) | None => return index,
            }
            position >>= 1;
        }
        self.levels.push(Vec::from([hash]));
        index
    }

    /// The hash of the complete subtree over the leaves `index * 2^level .. (index + 1) * 2^level`, if there is one.
    ///
    /// The hashes of tile `(L, N)` are the nodes of level `8 * L` from index `256 * N` on (C2SP tlog-tiles).
    pub fn node(&self, level: u8, index: u64) -> Option<Hash> {
        self.levels.get(usize::from(level))?.get(usize::try_from(index).ok()?).copied()
    }

    /// The root of the first `size` leaves; [`Hash::EMPTY`] for none (RFC 9162 §2.1.1).
    ///
    /// # Errors
    /// [`TreeError::SizeOutOfRange`] if the tree has fewer leaves.
    pub fn root(&self, size: u64) -> Result<Hash, TreeError> {
        if size > self.size() {
            return Err(TreeError::SizeOutOfRange);
        }
        Ok(if size == 0 { Hash::EMPTY } else { self.ragged(0, size) })
    }

    /// The proof that leaf `index` is in the tree of the first `size` leaves (RFC 9162 §2.1.3.1).
    ///
    /// # Errors
    /// [`TreeError::SizeOutOfRange`] if the tree has fewer leaves, [`TreeError::IndexOutOfRange`] if `index >= size`.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
        if size > self.size() {
            return Err(TreeError::SizeOutOfRange);
        }
        if index >= size {
            return Err(TreeError::IndexOutOfRange);
        }
        let mut proof = Vec::new();
        self.climb(0, index, size, &mut proof);
        Ok(proof)
    }

    /// The proof that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 9162 §2.1.4.1).
    ///
    /// Empty if `old` is 0 or equals `new`: there is nothing to prove.
    ///
    /// # Errors
    /// [`TreeError::SizeOutOfRange`] if the tree has fewer than `new` leaves or `old > new`.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, TreeError> {
        if new > self.size() || old > new {
            return Err(TreeError::SizeOutOfRange);
        }
        let mut proof = Vec::new();
        if old == 0 || old == new {
            return Ok(proof);
        }
        // The last complete subtree of the old tree, as large as it gets.
        let level = old.trailing_zeros();
        let last = shr(old, level).saturating_sub(1);
        let level = u8::try_from(level).expect("a u64 has at most 64 trailing zeros");
        if last > 0 {
            proof.push(self.complete(level, last));
        }
        self.climb(level, last, new, &mut proof);
        Ok(proof)
    }

    /// Collects the siblings on the way from node `(level, index)` to the root of the first `size` leaves.
    fn climb(&self, mut level: u8, mut index: u64, size: u64, proof: &mut Vec<Hash>) {
        let mut last = shr(size.saturating_sub(1), u32::from(level));
        while last > 0 {
            if index & 1 == 1 {
                proof.push(self.complete(level, index.saturating_sub(1)));
            } else if index < last {
                let right = index.saturating_add(1);
                let start = right.checked_shl(u32::from(level)).expect("the right sibling starts below the size");
                proof.push(if right < last { self.complete(level, right) } else { self.ragged(start, size) });
            }
            index >>= 1;
            last >>= 1;
            level = level.saturating_add(1);
        }
    }

    /// The root over the leaves `start..end`, where `start` is a multiple of a power of two not below `end - start`.
    fn ragged(&self, start: u64, end: u64) -> Hash {
        let mut rest = end.saturating_sub(start);
        let mut position = end;
        let mut root = None;
        // From the smallest complete subtree (rightmost) to the largest.
        while rest > 0 {
            let level = rest.trailing_zeros();
            let width = rest & rest.wrapping_neg();
            position = position.saturating_sub(width);
            let left = self.complete(u8::try_from(level).expect("below 64"), shr(position, level));
            root = Some(root.map_or(left, |right| node_hash(&left, &right)));
            rest &= rest.saturating_sub(1);
        }
        root.expect("the callers never ask for the root of no leaves")
    }

    fn complete(&self, level: u8, index: u64) -> Hash {
        self.node(level, index).expect("every complete subtree below the size is stored")
    }
}

/// `value >> bits`, 0 when all bits are shifted out.
fn shr(value: u64, bits: u32) -> u64 {
    value.checked_shr(bits).unwrap_or(0)
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

    fn tree(size: u8) -> Tree {
        let mut tree = Tree::new();
        for i in 0..size {
            assert_eq!(tree.append(leaf_hash(&[i])), u64::from(i));
        }
        tree
    }

    #[test]
    fn keeps_only_complete_subtrees() {
        let tree = tree(7);
        assert_eq!(tree.size(), 7);
        assert_eq!(tree.levels.iter().map(Vec::len).collect::<Vec<_>>(), [7, 3, 1]);
        assert_eq!(tree.node(2, 0), Some(tree.root(4).unwrap()));
        assert_eq!(tree.node(2, 1), None);
        assert_eq!(tree.node(200, 0), None);
        assert_eq!(tree.node(0, u64::MAX), None);
    }

    #[test]
    fn the_empty_tree_has_the_empty_root_and_proves_nothing() {
        let tree = Tree::new();
        assert_eq!(tree.root(0), Ok(Hash::EMPTY));
        assert_eq!(tree.root(1), Err(TreeError::SizeOutOfRange));
        assert_eq!(tree.inclusion_proof(0, 0), Err(TreeError::IndexOutOfRange));
        assert_eq!(tree.consistency_proof(0, 0), Ok(Vec::new()));
    }

    #[test]
    fn refuses_what_it_does_not_have() {
        let tree = tree(5);
        assert_eq!(tree.root(6), Err(TreeError::SizeOutOfRange));
        assert_eq!(tree.inclusion_proof(0, 6), Err(TreeError::SizeOutOfRange));
        assert_eq!(tree.inclusion_proof(4, 4), Err(TreeError::IndexOutOfRange));
        assert_eq!(tree.consistency_proof(4, 6), Err(TreeError::SizeOutOfRange));
        assert_eq!(tree.consistency_proof(5, 4), Err(TreeError::SizeOutOfRange));
        assert_eq!(tree.inclusion_proof(0, u64::MAX), Err(TreeError::SizeOutOfRange));
    }
}

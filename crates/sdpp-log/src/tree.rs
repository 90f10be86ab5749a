//! The whole tree, able to prove anything about its past (RFC 9162 §2.1).

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use crate::hash::{Hash, node_hash};
use crate::walk;

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
        let Ok(root) = walk::root(size, &mut self.complete());
        Ok(root)
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
        let Ok(proof) = walk::inclusion(index, size, &mut self.complete());
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
        let Ok(proof) = walk::consistency(old, new, &mut self.complete());
        Ok(proof)
    }

    fn complete(&self) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> {
        |level, index| Ok(self.node(level, index).expect("every complete subtree below the size is stored"))
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

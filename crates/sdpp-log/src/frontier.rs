//! Only the right edge of a tree: enough to append and to know the root (a "compact range").

use alloc::vec::Vec;

use crate::hash::{Hash, node_hash};
use crate::limits::TREE_SIZE_MAX;
use crate::tree::TreeError;

/// The roots of the largest complete subtrees of a tree, from left to right: at most 63 hashes.
///
/// For auditors that replay a log and for appenders that only need roots. It cannot prove anything about the past;
/// [`Tree`](crate::Tree) can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a tree without leaves.
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Restores a frontier from what [`size`](Self::size) and [`peaks`](Self::peaks) gave.
    ///
    /// The hashes are taken as they are: compare [`root`](Self::root) with a root you trust.
    ///
    /// # Errors
    /// [`TreeError::SizeOutOfRange`] above [`TREE_SIZE_MAX`], [`TreeError::WrongPeaks`] if the number of peaks does
    /// not fit the size.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Result<Self, TreeError> {
        if size > TREE_SIZE_MAX {
            return Err(TreeError::SizeOutOfRange);
        }
        if usize::try_from(size.count_ones()) != Ok(peaks.len()) {
            return Err(TreeError::WrongPeaks);
        }
        Ok(Self { size, peaks })
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The subtree roots, largest (leftmost) first: one for every set bit of the size.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf by its [`leaf_hash`](crate::leaf_hash) and returns its index. O(1) amortised, O(log n) at worst.
    ///
    /// # Errors
    /// [`TreeError::Full`] at [`TREE_SIZE_MAX`] leaves; nothing changes.
    pub fn append(&mut self, leaf: Hash) -> Result<u64, TreeError> {
        let index = self.size;
        let size = index.checked_add(1).filter(|size| *size <= TREE_SIZE_MAX).ok_or(TreeError::Full)?;
        let mut hash = leaf;
        // Every trailing one of the old size is a peak that the new leaf completes to a pair.
        for _ in 0..index.trailing_ones() {
            let left = self.peaks.pop().expect("there is one peak for every set bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size = size;
        Ok(index)
    }

    /// The root of the tree; [`Hash::EMPTY`] without leaves (RFC 9162 §2.1.1).
    pub fn root(&self) -> Hash {
        let fold = |right: Hash, left: &Hash| node_hash(left, &right);
        match self.peaks.split_last() {
            Some((last, others)) => others.iter().rev().fold(*last, fold),
            None => Hash::EMPTY,
        }
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
    use crate::proof::peaks_before;
    use crate::tree::Tree;

    #[test]
    fn agrees_with_the_tree_and_survives_a_restart() {
        let (mut tree, mut frontier) = (Tree::new(), Frontier::new());
        for i in 0..300u64 {
            assert_eq!(tree.root(i), Ok(frontier.root()));
            assert_eq!(frontier.peaks().len(), usize::try_from(i.count_ones()).unwrap());
            frontier = Frontier::from_parts(frontier.size(), frontier.peaks().to_vec()).unwrap();
            let leaf = leaf_hash(&i.to_be_bytes());
            assert_eq!(frontier.append(leaf), Ok(tree.append(leaf)));
        }
    }

    #[test]
    fn an_inclusion_proof_has_the_frontier_before_its_leaf() {
        let (mut tree, mut before) = (Tree::new(), Vec::new());
        let mut frontier = Frontier::new();
        for size in 1..70u64 {
            before.push(frontier.clone());
            let leaf = leaf_hash(&size.to_be_bytes());
            tree.append(leaf);
            frontier.append(leaf).unwrap();
            for (index, expected) in (0..).zip(&before) {
                let proof = tree.inclusion_proof(index, size).unwrap();
                let peaks = peaks_before(index, size, &proof).unwrap();
                assert_eq!(Frontier::from_parts(index, peaks).as_ref(), Ok(expected), "{index} of {size}");
            }
        }
        assert!(peaks_before(3, 3, &[]).is_err());
        assert!(peaks_before(0, 2, &[]).is_err());
    }

    #[test]
    fn refuses_parts_that_do_not_fit() {
        assert_eq!(Frontier::from_parts(3, Vec::from([Hash::EMPTY])), Err(TreeError::WrongPeaks));
        assert_eq!(Frontier::from_parts(u64::MAX, Vec::new()), Err(TreeError::SizeOutOfRange));
    }

    #[test]
    fn a_full_tree_stays_as_it_is() {
        let mut full = Frontier::from_parts(TREE_SIZE_MAX, Vec::from([Hash::EMPTY; 63])).unwrap();
        let before = full.clone();
        assert_eq!(full.append(Hash::EMPTY), Err(TreeError::Full));
        assert_eq!(full, before);
    }
}

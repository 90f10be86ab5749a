//! The right edge of a tree as a writer of tiles needs it: what is still partial, and what just became full.

use alloc::vec::Vec;
use core::mem;

use crate::frontier::Frontier;
use crate::hash::Hash;
use crate::limits::{TILE_LEVELS, TILE_WIDTH, TREE_SIZE_MAX};
use crate::tiled::{TiledError, subtree_root};
use crate::tiles::{TileKind, TilePath};
use crate::tree::TreeError;

/// A tile that will never change again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// Its place; never partial.
    pub path: TilePath,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
}

/// The partial tile of every level: at most 255 hashes each, 8 KiB a level, for a tree of any size.
///
/// [`append`](Self::append) hands out each tile when it is full, [`partials`](Self::partials) what is to be published
/// beside them for the size reached. From both alone an `Edge` is [restored](Self::from_tiles).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    frontier: Frontier,
    /// `levels[l]` is the partial tile of level `l`; the last one is not empty.
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of a tree without leaves.
    pub const fn new() -> Self {
        Self { frontier: Frontier::new(), levels: Vec::new() }
    }

    /// Restores an edge from the partial tiles of a tree of `size` leaves; no full one is read.
    ///
    /// The hashes are taken as they are: compare [`root`](Self::root) with a root you trust.
    ///
    /// # Errors
    /// [`TreeError::SizeOutOfRange`] above [`TREE_SIZE_MAX`], [`TiledError::WrongWidth`], and those of the reader.
    pub fn from_tiles<T: AsRef<[Hash]>, E>(
        size: u64,
        mut read: impl FnMut(TilePath) -> Result<T, E>,
    ) -> Result<Self, TiledError<E>> {
        if size > TREE_SIZE_MAX {
            return Err(TiledError::Tree(TreeError::SizeOutOfRange));
        }
        let mut levels = Vec::new();
        for level in 0..TILE_LEVELS {
            let Some(path) = TilePath::last(TileKind::Hashes { level }, size) else { break };
            let mut hashes = Vec::new();
            if path.is_partial() {
                hashes.extend_from_slice(read(path).map_err(TiledError::Read)?.as_ref());
                if hashes.len() != usize::from(path.width()) {
                    return Err(TiledError::WrongWidth(path));
                }
            }
            levels.push(hashes);
        }
        let peaks = levels.iter().rev().flat_map(|hashes| peaks(hashes)).collect();
        Ok(Self { frontier: Frontier::from_parts(size, peaks).map_err(TiledError::Tree)?, levels })
    }

    /// Appends a leaf by its [`leaf_hash`](crate::leaf_hash). Gives the tiles that it completed, lowest level first:
    /// none for 255 of 256 leaves.
    ///
    /// # Errors
    /// [`TreeError::Full`]; nothing changes.
    pub fn append(&mut self, leaf: Hash) -> Result<Vec<FullTile>, TreeError> {
        let index = self.frontier.append(leaf)?;
        let (mut full, mut hash) = (Vec::new(), leaf);
        for level in 0..TILE_LEVELS {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::new());
            }
            let hashes = self.levels.get_mut(usize::from(level)).expect("pushed above if it was missing");
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let hashes = mem::take(hashes);
            hash = subtree_root(&hashes).expect("a full tile has 256 hashes");
            let path = TilePath::within(TileKind::Hashes { level }, tile_of(index, level), self.size());
            full.push(FullTile { path: path.expect("the tile of a leaf is within the tree"), hashes });
        }
        Ok(full)
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root of the tree; [`Hash::EMPTY`] without leaves. O(log n).
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The same edge as peaks.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The hashes of a level that are in no full tile: `floor(size / 256^level) mod 256`.
    pub fn partial(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// The partial tiles of the tree as it is now, lowest level first; those without a hash are left out.
    pub fn partials(&self) -> impl Iterator<Item = (TilePath, &[Hash])> {
        (0..TILE_LEVELS).filter_map(|level| {
            let path = TilePath::last(TileKind::Hashes { level }, self.size())?;
            path.is_partial().then(|| (path, self.partial(level)))
        })
    }
}

/// In which tile of a level the leaf is.
fn tile_of(leaf: u64, level: u8) -> u64 {
    let bits = u32::from(level).saturating_add(1).saturating_mul(8);
    leaf.checked_shr(bits).unwrap_or(0)
}

/// The roots of the largest complete subtrees over a partial tile, from left to right.
fn peaks(mut hashes: &[Hash]) -> Vec<Hash> {
    let mut peaks = Vec::new();
    for width in [128, 64, 32, 16, 8, 4, 2, 1] {
        if let Some((subtree, rest)) = hashes.split_at_checked(width) {
            peaks.extend(subtree_root(subtree));
            hashes = rest;
        }
    }
    peaks
}

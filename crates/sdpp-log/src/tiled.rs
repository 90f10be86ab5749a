//! Roots and proofs from published tiles (C2SP tlog-tiles, "Merkle Tree"), without the whole tree in memory.
//!
//! Each function gives what [`Tree`](crate::Tree) gives for the same leaves. It asks `read` for every tile that it
//! needs, once, by the path that the tile has in a tree of that size. Whoever keeps a wider version of a partial tile
//! may cut it: hashes never change. Nothing is verified here: compare roots, or check the proof, before you believe
//! what tiles say.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::frontier::Frontier;
use crate::hash::{Hash, node_hash};
use crate::limits::{TILE_WIDTH, TREE_SIZE_MAX};
use crate::tiles::{TileError, TileKind, TilePath};
use crate::tree::TreeError;
use crate::walk;

/// Why tiles gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TiledError<E> {
    /// The question makes no sense.
    Tree(TreeError),
    /// The reader has no such tile, or failed.
    Read(E),
    /// The reader gave a tile with another number of hashes than its path says.
    WrongWidth(TilePath),
}

impl<E: fmt::Display> fmt::Display for TiledError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::WrongWidth(path) => write!(f, "{path} has another number of hashes"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for TiledError<E> {}

/// The root of a tree of `size` leaves; [`Hash::EMPTY`] for none.
///
/// # Errors
/// [`TreeError::SizeOutOfRange`] above [`TREE_SIZE_MAX`], and those of the reader.
pub fn root<T: AsRef<[Hash]>, E>(size: u64, read: impl FnMut(TilePath) -> Result<T, E>) -> Result<Hash, TiledError<E>> {
    let mut tiles = Tiles::new(size, read)?;
    walk::root(size, &mut |level, index| tiles.complete(level, index))
}

/// The proof that leaf `index` is in the tree of `size` leaves (RFC 9162 §2.1.3.1).
///
/// # Errors
/// [`TreeError::SizeOutOfRange`] above [`TREE_SIZE_MAX`], [`TreeError::IndexOutOfRange`] if `index >= size`, and those
/// of the reader.
pub fn inclusion_proof<T: AsRef<[Hash]>, E>(
    index: u64,
    size: u64,
    read: impl FnMut(TilePath) -> Result<T, E>,
) -> Result<Vec<Hash>, TiledError<E>> {
    let mut tiles = Tiles::new(size, read)?;
    if index >= size {
        return Err(TiledError::Tree(TreeError::IndexOutOfRange));
    }
    walk::inclusion(index, size, &mut |level, index| tiles.complete(level, index))
}

/// The proof that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 9162 §2.1.4.1), from the tiles
/// of the new one. Empty if `old` is 0 or equals `new`.
///
/// # Errors
/// [`TreeError::SizeOutOfRange`] above [`TREE_SIZE_MAX`] or if `old > new`, and those of the reader.
pub fn consistency_proof<T: AsRef<[Hash]>, E>(
    old: u64,
    new: u64,
    read: impl FnMut(TilePath) -> Result<T, E>,
) -> Result<Vec<Hash>, TiledError<E>> {
    let mut tiles = Tiles::new(new, read)?;
    if old > new {
        return Err(TiledError::Tree(TreeError::SizeOutOfRange));
    }
    walk::consistency(old, new, &mut |level, index| tiles.complete(level, index))
}

/// The right edge of a tree of `size` leaves.
///
/// # Errors
/// [`TreeError::SizeOutOfRange`] above [`TREE_SIZE_MAX`], and those of the reader.
pub fn frontier<T: AsRef<[Hash]>, E>(
    size: u64,
    read: impl FnMut(TilePath) -> Result<T, E>,
) -> Result<Frontier, TiledError<E>> {
    let mut tiles = Tiles::new(size, read)?;
    let peaks: Result<Vec<Hash>, _> = walk::peaks(size).map(|(level, index)| tiles.complete(level, index)).collect();
    Frontier::from_parts(size, peaks?).map_err(TiledError::Tree)
}

/// The bytes of a tile: its hashes, one behind the other.
pub fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile of `width` hashes, from all its bytes.
///
/// # Errors
/// [`TileError::InvalidWidth`] if there are more bytes or fewer.
pub fn parse_tile(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(width) {
        return Err(TileError::InvalidWidth);
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// The root over a power of two of hashes.
pub fn subtree_root(hashes: &[Hash]) -> Option<Hash> {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let (pairs, _) = row.as_chunks::<2>();
        row = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied()
}

/// The tiles of one tree, each read once.
struct Tiles<T, R> {
    size: u64,
    read: R,
    known: BTreeMap<TilePath, T>,
}

impl<T: AsRef<[Hash]>, E, R: FnMut(TilePath) -> Result<T, E>> Tiles<T, R> {
    fn new(size: u64, read: R) -> Result<Self, TiledError<E>> {
        if size > TREE_SIZE_MAX {
            return Err(TiledError::Tree(TreeError::SizeOutOfRange));
        }
        Ok(Self { size, read, known: BTreeMap::new() })
    }

    /// The hash of a complete subtree within the size: one of a tile's hashes, or the root over some of them.
    fn complete(&mut self, level: u8, index: u64) -> Result<Hash, TiledError<E>> {
        let (tile_level, above) = (level / 8, level % 8);
        // Subtrees of this height in a tile.
        let in_tile = walk::shr(u64::from(TILE_WIDTH), above).max(1);
        let tile = index.checked_div(in_tile).unwrap_or(0);
        let path = TilePath::within(TileKind::Hashes { level: tile_level }, tile, self.size);
        let path = path.ok_or(TiledError::Tree(TreeError::SizeOutOfRange))?;
        let count = 1_usize.checked_shl(u32::from(above)).unwrap_or(1);
        let place = index.checked_rem(in_tile).and_then(|place| usize::try_from(place).ok()).unwrap_or(0);
        let hashes = self.tile(path)?.chunks_exact(count).nth(place);
        hashes.and_then(subtree_root).ok_or(TiledError::WrongWidth(path))
    }

    fn tile(&mut self, path: TilePath) -> Result<&[Hash], TiledError<E>> {
        if !self.known.contains_key(&path) {
            let tile = (self.read)(path).map_err(TiledError::Read)?;
            if tile.as_ref().len() != usize::from(path.width()) {
                return Err(TiledError::WrongWidth(path));
            }
            self.known.insert(path, tile);
        }
        self.known.get(&path).map(AsRef::as_ref).ok_or(TiledError::WrongWidth(path))
    }
}

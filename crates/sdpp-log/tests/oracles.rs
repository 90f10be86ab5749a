//! Two trees written by other people, `ct-merkle` and `tlog_tiles` (Go's `sumdb/tlog` in Rust), against ours: the same
//! roots, proofs and tiles over random entries, and each accepts what the other proves.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use std::cell::Cell;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use sdpp_log::tiled::{self, parse_tile, tile_bytes};
use sdpp_log::{Edge, Hash, TileKind, TilePath, Tree, leaf_hash, verify_consistency, verify_inclusion};
use sha2::Sha256;
use tlog_tiles::{HashReader, Tile, TileHashReader, TileReader, stored_hash_index};

const HEIGHT: u8 = 8;

/// A tiny deterministic generator (xorshift64*), so that a failing run can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }

    fn entry(&mut self) -> Vec<u8> {
        (0..self.below(40)).map(|_| self.below(256) as u8).collect()
    }
}

fn ours(entries: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::new();
    for entry in entries {
        tree.append(leaf_hash(entry));
    }
    tree
}

/// Our tiles, under our names, as their reader asks for them.
struct OurTiles<'a> {
    tree: &'a Tree,
    size: u64,
    read: Cell<usize>,
}

/// `tlog_tiles` 0.2 writes the paths of Go's checksum database, `tile/<height>/<L>/<N>`, and calls the entries `data`.
/// C2SP fixes the height at 8 and leaves it out, and calls them `entries`; the rest of the path is the same.
fn c2sp_path(tile: &Tile) -> TilePath {
    let go = tile.path();
    let rest = go.strip_prefix("tile/8/").unwrap();
    let rest = rest.strip_prefix("data/").map_or(rest.to_owned(), |number| format!("entries/{number}"));
    format!("tile/{rest}").parse().unwrap()
}

fn tile_hashes(tree: &Tree, path: TilePath) -> Vec<Hash> {
    let TileKind::Hashes { level } = path.kind() else { panic!("{path}") };
    let first = path.index() * 256;
    (first..first + u64::from(path.width())).map(|index| tree.node(8 * level, index).unwrap()).collect()
}

impl TileReader for OurTiles<'_> {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        self.read.set(self.read.get() + tiles.len());
        let read = |tile: &Tile| {
            let path = c2sp_path(tile);
            assert_eq!(TilePath::within(path.kind(), path.index(), self.size), Some(path));
            tile_bytes(&tile_hashes(self.tree, path))
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect()
}

fn plain(hashes: Vec<tlog_tiles::Hash>) -> Vec<Hash> {
    hashes.into_iter().map(|hash| Hash(hash.0)).collect()
}

#[test]
fn ct_merkle_has_the_same_roots_and_proofs() {
    let mut numbers = Numbers(11);
    let entries: Vec<Vec<u8>> = (0..400).map(|_| numbers.entry()).collect();
    let (tree, mut oracle) = (ours(&entries), MemoryBackedTree::<Sha256, Vec<u8>>::new());
    for (before, entry) in entries.iter().enumerate() {
        let old_root = oracle.root();
        assert_eq!(tree.root(before as u64).unwrap().0[..], old_root.as_bytes()[..]);
        oracle.push(entry.clone());
        let (size, root) = (before as u64 + 1, oracle.root());
        let our_root = tree.root(size).unwrap();

        let index = numbers.below(size);
        let theirs = oracle.prove_inclusion(index as usize);
        let proof = tree.inclusion_proof(index, size).unwrap();
        assert_eq!(tile_bytes(&proof), theirs.as_bytes(), "{index} in {size}");
        let proved = parse_tile(theirs.as_bytes(), proof.len() as u16).unwrap();
        verify_inclusion(&leaf_hash(&entries[index as usize]), index, size, &proved, &our_root).unwrap();
        let proof = InclusionProof::<Sha256>::try_from_bytes(tile_bytes(&proof)).unwrap();
        root.verify_inclusion(&entries[index as usize], index, &proof).unwrap();

        let added = numbers.below(size);
        let (old, theirs) = (size - added, oracle.prove_consistency(added as usize));
        let proof = tree.consistency_proof(old, size).unwrap();
        assert_eq!(tile_bytes(&proof), theirs.as_bytes(), "{old} to {size}");
        let proof = ConsistencyProof::<Sha256>::try_from_bytes(tile_bytes(&proof)).unwrap();
        let old_root = tree.root(old).unwrap();
        let their_old = ct_merkle::RootHash::<Sha256>::new(old_root.0.into(), old);
        root.verify_consistency(&their_old, &proof).unwrap();
        let proved = parse_tile(theirs.as_bytes(), (theirs.as_bytes().len() / 32) as u16).unwrap();
        verify_consistency(old, &old_root, size, &our_root, &proved).unwrap();
    }
}

#[test]
fn tlog_tiles_reads_our_tiles_and_proves_the_same() {
    let mut numbers = Numbers(12);
    let entries: Vec<Vec<u8>> = (0..66_000).map(|_| numbers.entry()).collect();
    let tree = ours(&entries);
    let fixed = [1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_792, 66_000];
    let random: Vec<u64> = (0..60).map(|_| 1 + numbers.below(66_000)).collect();
    for size in fixed.into_iter().chain(random) {
        let root = tree.root(size).unwrap();
        let shelf = OurTiles { tree: &tree, size, read: Cell::new(0) };
        let reader = TileHashReader::new(size, tlog_tiles::Hash(root.0), &shelf);
        assert!(tlog_tiles::tree_hash(size, &reader).unwrap() == tlog_tiles::Hash(root.0), "root of {size}");
        let read = |path| Ok::<_, ()>(tile_hashes(&tree, path));
        for _ in 0..8 {
            let (index, old) = (numbers.below(size), 1 + numbers.below(size));
            let proof = plain(tlog_tiles::prove_record(size, index, &reader).unwrap());
            assert_eq!(tree.inclusion_proof(index, size).as_ref(), Ok(&proof), "{index} in {size}");
            assert_eq!(tiled::inclusion_proof(index, size, read).as_ref(), Ok(&proof), "{index} in {size}");
            let leaf = tlog_tiles::record_hash(&entries[index as usize]);
            tlog_tiles::check_record(&theirs(&proof), size, tlog_tiles::Hash(root.0), index, leaf).unwrap();

            let proof = plain(tlog_tiles::prove_tree(size, old, &reader).unwrap());
            assert_eq!(tiled::consistency_proof(old, size, read).as_ref(), Ok(&proof), "{old} to {size}");
            let old_root = tree.root(old).unwrap();
            verify_consistency(old, &old_root, size, &root, &proof).unwrap();
            let (new, old_root) = (tlog_tiles::Hash(root.0), tlog_tiles::Hash(old_root.0));
            tlog_tiles::check_tree(&theirs(&proof), size, new, old, old_root).unwrap();
        }
        assert!(shelf.read.get() > 0);
    }
}

/// Their storage: one list of hashes in the order in which a log of Go's kind writes them.
struct Stored(Vec<tlog_tiles::Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

#[test]
fn tlog_tiles_writes_the_tiles_that_an_edge_hands_out() {
    let mut numbers = Numbers(13);
    let (mut stored, mut edge, mut published) = (Stored(Vec::new()), Edge::new(), 0);
    let mut full = std::collections::BTreeMap::new();
    for number in 0..66_000 {
        let entry = numbers.entry();
        let hashes = tlog_tiles::stored_hashes(number, &entry, &stored).unwrap();
        assert_eq!(stored.0.len() as u64, stored_hash_index(0, number));
        stored.0.extend(hashes);
        full.extend(edge.append(leaf_hash(&entry)).unwrap().into_iter().map(|tile| (tile.path, tile.hashes)));
        if numbers.below(200) != 0 {
            continue;
        }
        // A checkpoint: what they would write for it is what we have full or partial, and nothing of ours is missing.
        let size = edge.size();
        let mut partials = edge.partials().count();
        for tile in Tile::new_tiles(HEIGHT, published, size) {
            let path = c2sp_path(&tile);
            let bytes = tile.read_data(&stored).unwrap();
            if path.is_partial() {
                let (_, hashes) = edge.partials().find(|(partial, _)| *partial == path).unwrap();
                assert_eq!(tile_bytes(hashes), bytes, "{path}");
                partials -= 1;
            } else {
                assert_eq!(full.remove(&path).map(|hashes| tile_bytes(&hashes)), Some(bytes), "{path}");
            }
        }
        assert!(full.is_empty(), "{full:?}");
        // They leave out the partial tiles that have not changed.
        assert!(edge.partials().filter(|(path, _)| unchanged(path, published, size)).count() == partials);
        published = size;
    }
    assert!(published > 65_536);
}

fn unchanged(path: &TilePath, old: u64, new: u64) -> bool {
    TilePath::last(path.kind(), old) == TilePath::last(path.kind(), new)
}

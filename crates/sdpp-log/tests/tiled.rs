//! Answers from tiles against those of the whole tree, and the tiles that a writer hands out.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use sdpp_log::tiled::{self, TiledError, parse_tile, tile_bytes};
use sdpp_log::{Edge, Frontier, Hash, TileError, TileKind, TilePath, Tree, TreeError, leaf_hash, limits};

const SMALL_MAX: u64 = 600;
const LARGE_MAX: u64 = 70_000;
const LARGE: [u64; 14] =
    [767, 768, 769, 4_095, 32_768, 65_279, 65_280, 65_281, 65_535, 65_536, 65_537, 65_792, 69_999, LARGE_MAX];

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_be_bytes())
}

fn tree(size: u64) -> Tree {
    let mut tree = Tree::new();
    for index in 0..size {
        tree.append(leaf(index));
    }
    tree
}

/// The tiles of a tree of one size, from its nodes. Notes what is asked for.
struct Shelf<'a> {
    tree: &'a Tree,
    size: u64,
    asked: RefCell<Vec<TilePath>>,
}

impl<'a> Shelf<'a> {
    fn new(tree: &'a Tree, size: u64) -> Self {
        Self { tree, size, asked: RefCell::default() }
    }

    fn read(&self, path: TilePath) -> Result<Vec<Hash>, TilePath> {
        assert_eq!(TilePath::within(path.kind(), path.index(), self.size), Some(path), "not a tile of {}", self.size);
        assert!(!self.asked.borrow().contains(&path), "{path} is read twice");
        self.asked.borrow_mut().push(path);
        hashes(self.tree, path).ok_or(path)
    }

    fn again(&self) -> impl FnMut(TilePath) -> Result<Vec<Hash>, TilePath> {
        self.asked.borrow_mut().clear();
        |path| self.read(path)
    }
}

fn hashes(tree: &Tree, path: TilePath) -> Option<Vec<Hash>> {
    let TileKind::Hashes { level } = path.kind() else { return None };
    let first = path.index() * 256;
    (first..first + u64::from(path.width())).map(|index| tree.node(8 * level, index)).collect()
}

/// Asks everything about one size, with these indexes and old sizes.
fn compare(tree: &Tree, size: u64, places: &[u64]) {
    let shelf = Shelf::new(tree, size);
    assert_eq!(tiled::root(size, shelf.again()), Ok(tree.root(size).unwrap()), "root of {size}");
    let frontier = tiled::frontier(size, shelf.again()).unwrap();
    assert_eq!((frontier.size(), frontier.root()), (size, tree.root(size).unwrap()), "frontier of {size}");
    for place in places {
        let inclusion = tiled::inclusion_proof(*place, size, shelf.again());
        assert_eq!(inclusion, tree.inclusion_proof(*place, size).map_err(TiledError::Tree), "{place} in {size}");
        let consistency = tiled::consistency_proof(*place, size, shelf.again());
        assert_eq!(consistency, tree.consistency_proof(*place, size).map_err(TiledError::Tree), "{place} to {size}");
    }
}

#[test]
fn tiles_answer_as_the_tree_does_for_every_small_size() {
    let tree = tree(SMALL_MAX);
    for size in 0..=SMALL_MAX {
        let spread = (0..size).step_by(61);
        let ends = [size / 2, size.saturating_sub(1), size, size + 1, 255, 256, 257];
        compare(&tree, size, &spread.chain(ends).collect::<Vec<_>>());
    }
}

#[test]
fn tiles_answer_as_the_tree_does_for_large_sizes() {
    let tree = tree(LARGE_MAX);
    for size in LARGE {
        let places = [0, 1, 255, 256, 511, 4_096, 32_767, 65_279, 65_535, 65_536, size / 3, size - 1, size];
        compare(&tree, size, &places);
    }
}

#[test]
fn an_edge_hands_out_every_tile_once() {
    let (mut edge, mut frontier, mut tree) = (Edge::new(), Frontier::new(), Tree::new());
    let mut full = BTreeMap::new();
    for index in 0..LARGE_MAX {
        tree.append(leaf(index));
        frontier.append(leaf(index)).unwrap();
        for tile in edge.append(leaf(index)).unwrap() {
            assert_eq!(Some(&tile.hashes), hashes(&tree, tile.path).as_ref(), "{}", tile.path);
            assert!(!tile.path.is_partial() && full.insert(tile.path, tile.hashes).is_none());
        }
        let size = index + 1;
        if size <= SMALL_MAX || LARGE.contains(&size) {
            assert_eq!((edge.size(), edge.root(), edge.frontier()), (size, tree.root(size).unwrap(), &frontier));
            check_shelf(&edge, &full, &tree);
        }
    }
    let names: Vec<String> = edge.partials().map(|(path, _)| path.to_string()).collect();
    assert_eq!(names, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"], "as the specification says");
    assert_eq!(full.len(), 273 + 1);
}

/// What was handed out and what is still partial are all tiles of the tree, and enough to start again.
fn check_shelf(edge: &Edge, full: &BTreeMap<TilePath, Vec<Hash>>, tree: &Tree) {
    let size = edge.size();
    let mut shelf = full.clone();
    for (path, hashes) in edge.partials() {
        let TileKind::Hashes { level } = path.kind() else { panic!("{path}") };
        assert_eq!((edge.partial(level), hashes.is_empty()), (hashes, false));
        shelf.insert(path, hashes.to_vec());
    }
    let mut wanted = 0;
    for level in 0..limits::TILE_LEVELS {
        assert_eq!(edge.partial(level).len() as u64, (size >> (8 * level)) % 256);
        let kind = TileKind::Hashes { level };
        let Some(last) = TilePath::last(kind, size) else { continue };
        for index in 0..=last.index() {
            let path = TilePath::within(kind, index, size).unwrap();
            assert_eq!(shelf.get(&path), hashes(tree, path).as_ref(), "{path} of {size}");
            wanted += 1;
        }
    }
    assert_eq!(shelf.len(), wanted, "nothing but the tiles of {size}");

    let mut read = |path: TilePath| if path.is_partial() { shelf.get(&path).ok_or(path) } else { Err(path) };
    assert_eq!(Edge::from_tiles(size, &mut read).as_ref(), Ok(edge), "restored from partial tiles alone");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_read() {
    let none = |path| Err::<Vec<Hash>, _>(path);
    let refused = |error| Err(TiledError::Tree(error));
    let above = limits::TREE_SIZE_MAX + 1;
    assert_eq!(tiled::root(0, none), Ok(Hash::EMPTY));
    assert_eq!(tiled::root(above, none), refused(TreeError::SizeOutOfRange));
    assert_eq!(tiled::frontier(above, none).map(|_| ()), Err(TiledError::Tree(TreeError::SizeOutOfRange)));
    assert_eq!(Edge::from_tiles(above, none).map(|_| ()), Err(TiledError::Tree(TreeError::SizeOutOfRange)));
    assert_eq!(tiled::inclusion_proof(0, above, none), Err(TiledError::Tree(TreeError::SizeOutOfRange)));
    assert_eq!(tiled::inclusion_proof(5, 5, none), Err(TiledError::Tree(TreeError::IndexOutOfRange)));
    assert_eq!(tiled::inclusion_proof(0, 0, none), Err(TiledError::Tree(TreeError::IndexOutOfRange)));
    assert_eq!(tiled::consistency_proof(6, 5, none), Err(TiledError::Tree(TreeError::SizeOutOfRange)));
    assert_eq!(tiled::consistency_proof(5, 5, none), Ok(Vec::new()));
    assert_eq!(tiled::consistency_proof(0, 5, none), Ok(Vec::new()));
}

#[test]
fn a_reader_that_fails_or_cheats_is_named() {
    let path: TilePath = "tile/0/000.p/5".parse().unwrap();
    assert_eq!(tiled::root(5, Err::<Vec<Hash>, _>), Err(TiledError::Read(path)));
    for width in [0, 1, 4, 6, 256] {
        let tile = vec![Hash::EMPTY; width];
        let read = |_| Ok::<_, ()>(&tile);
        assert_eq!(tiled::root(5, read), Err(TiledError::WrongWidth(path)));
        assert_eq!(tiled::inclusion_proof(2, 5, read), Err(TiledError::WrongWidth(path)));
        assert_eq!(Edge::from_tiles(5, read), Err(TiledError::WrongWidth(path)));
    }
}

#[test]
fn the_largest_tree_has_an_edge_that_takes_no_more() {
    let tile = vec![leaf(1); 256];
    let read = |path: TilePath| Ok::<_, ()>(&tile[..usize::from(path.width())]);
    let mut edge = Edge::from_tiles(limits::TREE_SIZE_MAX, read).unwrap();
    let before = edge.clone();
    assert_eq!(
        (0..9).map(|level| edge.partial(level).len()).collect::<Vec<_>>(),
        [255, 255, 255, 255, 255, 255, 255, 127, 0]
    );
    assert_eq!(edge.append(leaf(2)), Err(TreeError::Full));
    assert_eq!(edge, before);
    let last = limits::TREE_SIZE_MAX - 1;
    assert_eq!(tiled::inclusion_proof(last, limits::TREE_SIZE_MAX, read).unwrap().len(), 62);
    assert_eq!(tiled::inclusion_proof(0, limits::TREE_SIZE_MAX, read).unwrap().len(), 63);
}

#[test]
fn a_tile_comes_back_from_its_bytes() {
    let tile: Vec<Hash> = (0..7).map(leaf).collect();
    let bytes = tile_bytes(&tile);
    assert_eq!(bytes.len(), 7 * 32);
    assert_eq!(parse_tile(&bytes, 7), Ok(tile));
    assert_eq!(parse_tile(&bytes, 6), Err(TileError::InvalidWidth));
    assert_eq!(parse_tile(&bytes[1..], 7), Err(TileError::InvalidWidth));
    assert_eq!(parse_tile(&bytes[1..], 6), Err(TileError::InvalidWidth));
}

//! Names of tiles and checkpoints, against `tlog_tiles`.

use sdpp_log::limits::{EXTENSION_LINES_MAX, NAME_BYTES_MAX, TILE_INDEX_MAX, TILE_LEVEL_MAX, TREE_SIZE_MAX};
use sdpp_log::{Checkpoint, Hash, TileKind, TilePath};
use tlog_tiles::Tile;

use crate::choices::Choices;

/// Height of our tiles, which Go's checksum database writes into each name.
const HEIGHT: u8 = 8;

/// A name of a tile, a checkpoint, and the tile that has a leaf of a tree.
///
/// What ours accepts theirs accepts with the same meaning; what theirs accepts within our limits ours accepts.
pub(crate) fn diff_tiles(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    path(text);
    checkpoint(text);
    written(&mut Choices::new(data));
}

/// C2SP's name as the checksum database has it: with the height, and with `data` for `entries`.
fn go_path(c2sp: &str) -> Option<String> {
    let rest = c2sp.strip_prefix("tile/")?;
    let rest = rest.strip_prefix("entries/").map_or(rest.to_owned(), |number| format!("data/{number}"));
    Some(format!("tile/{HEIGHT}/{rest}"))
}

fn path(text: &str) {
    let ours = text.parse::<TilePath>();
    let Some(go) = go_path(text).filter(|_| !text.starts_with("tile/data")) else {
        assert!(ours.is_err());
        return;
    };
    // Theirs panics at a level that no tree has, and at a width of nothing (tlog_tiles 0.2.0).
    let level = text.split('/').nth(1).and_then(|level| level.parse::<u8>().ok());
    let width = text.rsplit_once(".p/").and_then(|(_, width)| width.parse::<u32>().ok());
    if level.is_some_and(|level| level > TILE_LEVEL_MAX) || width == Some(0) {
        assert!(ours.is_err());
        return;
    }
    let theirs = Tile::from_path(&go);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => same(ours, theirs),
        (Ok(ours), Err(_)) => panic!("only ours accepts {ours}"),
        (Err(_), Ok(theirs)) => {
            let within = theirs.level() <= TILE_LEVEL_MAX && theirs.level_index() <= TILE_INDEX_MAX;
            assert!(!within, "only theirs accepts {text}");
        }
        (Err(_), Err(_)) => {}
    }
}

fn same(ours: &TilePath, theirs: &Tile) {
    match ours.kind() {
        TileKind::Entries => assert!(theirs.is_data()),
        TileKind::Hashes { level } => assert_eq!((theirs.is_data(), theirs.level()), (false, level)),
    }
    assert_eq!((u32::from(ours.width()), ours.index()), (theirs.width(), theirs.level_index()));
    assert_eq!(go_path(&ours.to_string()), Some(theirs.path()));
}

fn checkpoint(text: &str) {
    let (ours, theirs) = (Checkpoint::parse(text), tlog_tiles::Checkpoint::from_bytes(text.as_bytes()));
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => {
            let extensions: String = ours.extensions().iter().map(|line| format!("{line}\n")).collect();
            assert_eq!((ours.origin(), ours.size()), (theirs.origin(), theirs.size()));
            assert_eq!((ours.root().0, extensions.as_str()), (theirs.hash().0, theirs.extension()));
            assert_eq!(ours.to_string().into_bytes(), theirs.to_bytes());
        }
        (Ok(_), Err(error)) => panic!("only ours accepts {text:?}: {error}"),
        (Err(error), Ok(theirs)) => assert!(!is_within_limits(theirs), "only theirs accepts {text:?}: {error}"),
        (Err(_), Err(_)) => {}
    }
}

/// What the other side does not look at.
fn is_within_limits(checkpoint: &tlog_tiles::Checkpoint) -> bool {
    let control = |text: &str| text.bytes().any(|byte| byte < 0x20);
    let lines: Vec<&str> = checkpoint.extension().lines().collect();
    checkpoint.origin().len() <= NAME_BYTES_MAX
        && !control(checkpoint.origin())
        && checkpoint.size() <= TREE_SIZE_MAX
        && (checkpoint.size() > 0 || checkpoint.hash().0 == Hash::EMPTY.0)
        && lines.len() <= EXTENSION_LINES_MAX
        && !checkpoint.extension().split('\n').any(control)
}

/// The tile with a hash of a tree, as both name it.
fn written(choices: &mut Choices<'_>) {
    let (index, size) = (choices.number() >> 20, choices.number() >> 20);
    let Some(last) = TilePath::last(TileKind::Hashes { level: 0 }, size) else { return };
    // Their new tiles of a tree that has grown by one leaf are all partial or just full.
    for tile in Tile::new_tiles(HEIGHT, size - 1, size) {
        let kind = TileKind::Hashes { level: tile.level() };
        let ours = TilePath::within(kind, tile.level_index(), size).expect("the tile is in the tree");
        same(&ours, &tile);
    }
    let tile = Tile::from_index(HEIGHT, tlog_tiles::stored_hash_index(0, index));
    assert_eq!(tile.level_index(), index / 256);
    assert_eq!(last.index(), (size - 1) / 256);
}

//! Published files, read as a stranger reads them.

use std::path::Path;

use sdpp_ledger::Verifier;
use sdpp_log::{Checkpoint, Hash, SignedCheckpoint, TileKind, TilePath, VerifierKey, bundle, leaf_hash, tiled};

/// A tile or a bundle: by its name, or the start of the full one that has replaced it.
fn read(folder: &Path, path: TilePath) -> Vec<u8> {
    let full = TilePath::new(path.kind(), path.index(), sdpp_log::limits::TILE_WIDTH).unwrap();
    let read = std::fs::read(folder.join(path.to_string())).or_else(|_| std::fs::read(folder.join(full.to_string())));
    read.unwrap_or_else(|error| panic!("{path} is missing: {error}"))
}

fn hashes(folder: &Path, path: TilePath) -> Vec<Hash> {
    let bytes = read(folder, path);
    let mut all = tiled::parse_tile(&bytes, u16::try_from(bytes.len() / 32).unwrap()).unwrap();
    assert!(all.len() >= usize::from(path.width()), "{path} is short");
    all.truncate(usize::from(path.width()));
    all
}

fn entries(folder: &Path, path: TilePath) -> Vec<Vec<u8>> {
    let bytes = read(folder, path);
    let parsed = bundle::parse(&bytes, path.width()).or_else(|_| bundle::parse(&bytes, sdpp_log::limits::TILE_WIDTH));
    let mut all: Vec<Vec<u8>> = parsed.unwrap().into_iter().map(<[u8]>::to_vec).collect();
    all.truncate(usize::from(path.width()));
    all
}

/// Checks that all that belongs to the published checkpoint is there and leads to its root. None
/// before the first checkpoint.
pub(crate) fn check(folder: &Path, key: &VerifierKey) -> Option<Checkpoint> {
    let note = std::fs::read(folder.join("checkpoint")).ok()?;
    let signed = SignedCheckpoint::open(&note, key.name(), std::slice::from_ref(key), &Verifier);
    let checkpoint = signed.expect("a whole checkpoint, signed by the log").checkpoint().clone();
    let size = checkpoint.size();
    let root = tiled::root(size, |path| Ok::<_, std::convert::Infallible>(hashes(folder, path)));
    assert_eq!(root.unwrap(), checkpoint.root(), "the tiles of {size} entries");
    let last = TilePath::last(TileKind::Entries, size).map_or(0, |last| last.index() + 1);
    for index in 0..last {
        let bundle = TilePath::within(TileKind::Entries, index, size).unwrap();
        let leaves: Vec<Hash> = entries(folder, bundle).iter().map(|entry| leaf_hash(entry)).collect();
        let tile = TilePath::within(TileKind::Hashes { level: 0 }, index, size).unwrap();
        assert_eq!(leaves, hashes(folder, tile), "bundle {bundle}");
    }
    Some(checkpoint)
}

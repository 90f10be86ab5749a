//! Names of the files that a tiled log publishes (C2SP tlog-tiles). No tile is read or written here.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::limits::{TILE_INDEX_MAX, TILE_LEVEL_MAX, TILE_PATH_BYTES_MAX, TILE_WIDTH};
use crate::text::parse_decimal;

/// Why a tile path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileError {
    /// Longer than [`TILE_PATH_BYTES_MAX`] bytes.
    TooLong,
    /// Not of the form `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
    Malformed,
    /// The level is above [`TILE_LEVEL_MAX`], or not a decimal without leading zeros.
    InvalidLevel,
    /// The index is above [`TILE_INDEX_MAX`], or not encoded in the one right way.
    InvalidIndex,
    /// The width is 0, above [`TILE_WIDTH`], a named full width, or not a decimal without leading zeros.
    InvalidWidth,
}

impl fmt::Display for TileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "tile path is too long",
            Self::Malformed => "malformed tile path",
            Self::InvalidLevel => "invalid tile level",
            Self::InvalidIndex => "invalid tile index",
            Self::InvalidWidth => "invalid tile width",
        })
    }
}

impl core::error::Error for TileError {}

/// What is in a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of complete subtrees of `256^level` leaves.
    Hashes {
        /// 0 for leaf hashes.
        level: u8,
    },
    /// The entries themselves, each with its length.
    Entries,
}

/// The path of a tile below the log's URL prefix; `parse` then `to_string` gives the same text.
///
/// ```
/// use sdpp_log::{TileKind, TilePath};
/// let path = TilePath::new(TileKind::Hashes { level: 0 }, 1_234_067, 8)?;
/// assert_eq!(path.to_string(), "tile/0/x001/x234/067.p/8");
/// assert_eq!("tile/0/x001/x234/067.p/8".parse(), Ok(path));
/// # Ok::<(), sdpp_log::TileError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TilePath {
    /// A tile by its place and width: [`TILE_WIDTH`] for a full one, less for a partial one.
    ///
    /// # Errors
    /// [`TileError::InvalidLevel`], [`TileError::InvalidIndex`], [`TileError::InvalidWidth`].
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileError> {
        if matches!(kind, TileKind::Hashes { level } if level > TILE_LEVEL_MAX) {
            return Err(TileError::InvalidLevel);
        }
        if index > TILE_INDEX_MAX {
            return Err(TileError::InvalidIndex);
        }
        if width == 0 || width > TILE_WIDTH {
            return Err(TileError::InvalidWidth);
        }
        Ok(Self { kind, index, width })
    }

    /// What is in the tile.
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its place in its level, from 0.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Number of hashes or entries in it, 1 to [`TILE_WIDTH`].
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it has fewer than [`TILE_WIDTH`] hashes or entries.
    pub const fn is_partial(&self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The tile at this place in a tree of `size` leaves: full where it is complete, else partial with the width
    /// `floor(size / 256^level) mod 256`. `None` if the tree has nothing there.
    pub fn within(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = elements(kind, size)?.checked_sub(before)?.min(u64::from(TILE_WIDTH));
        Self::new(kind, index, u16::try_from(width).ok()?).ok()
    }

    /// The last tile of its kind in a tree of `size` leaves: partial or full. `None` if there is none at this level.
    pub fn last(kind: TileKind, size: u64) -> Option<Self> {
        let last = elements(kind, size)?.checked_sub(1)?;
        Self::within(kind, last.checked_div(u64::from(TILE_WIDTH))?, size)
    }
}

/// Hashes, or entries, that all tiles of this kind hold together in a tree of `size` leaves.
fn elements(kind: TileKind, size: u64) -> Option<u64> {
    let level = match kind {
        TileKind::Hashes { level } => level,
        TileKind::Entries => 0,
    };
    Some(size.checked_shr(u32::from(level).checked_mul(8)?).unwrap_or(0))
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = Vec::new();
        let mut rest = self.index;
        while rest >= 1000 {
            rest /= 1000;
            groups.push(rest % 1000);
        }
        groups.iter().rev().try_for_each(|group| write!(f, "x{group:03}/"))?;
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_partial() { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for TilePath {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        if path.len() > TILE_PATH_BYTES_MAX {
            return Err(TileError::TooLong);
        }
        let rest = path.strip_prefix("tile/").ok_or(TileError::Malformed)?;
        let (kind, rest) = rest.split_once('/').ok_or(TileError::Malformed)?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, parse_width(width)?),
            None => (rest, TILE_WIDTH),
        };
        Self::new(parse_kind(kind)?, parse_index(index)?, width)
    }
}

fn parse_kind(kind: &str) -> Result<TileKind, TileError> {
    if kind == "entries" {
        return Ok(TileKind::Entries);
    }
    let level = parse_decimal(kind, u64::from(TILE_LEVEL_MAX)).and_then(|level| u8::try_from(level).ok());
    level.map(|level| TileKind::Hashes { level }).ok_or(TileError::InvalidLevel)
}

fn parse_width(width: &str) -> Result<u16, TileError> {
    let width = parse_decimal(width, u64::from(TILE_WIDTH)).and_then(|width| u16::try_from(width).ok());
    // A full tile has no suffix, so each tile has one name.
    width.filter(|width| (1..TILE_WIDTH).contains(width)).ok_or(TileError::InvalidWidth)
}

/// `x001/x234/067`: groups of three digits, an `x` before all but the last, no leading group of zeros.
fn parse_index(text: &str) -> Result<u64, TileError> {
    if text.starts_with("x000") {
        return Err(TileError::InvalidIndex);
    }
    let (leading, last) = text.rsplit_once('/').map_or((None, text), |(leading, last)| (Some(leading), last));
    let leading = leading.into_iter().flat_map(|leading| leading.split('/')).map(|group| group.strip_prefix('x'));
    leading.chain([Some(last)]).try_fold(0u64, push_group).ok_or(TileError::InvalidIndex)
}

fn push_group(index: u64, group: Option<&str>) -> Option<u64> {
    let group = group.filter(|group| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit()))?;
    index.checked_mul(1000)?.checked_add(group.parse().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "a panic is how a test fails"
    )]

    use alloc::string::ToString;

    use super::*;

    const LEAVES: TileKind = TileKind::Hashes { level: 0 };

    #[test]
    fn known_names() {
        for (kind, index, width, text) in [
            (LEAVES, 0, 256, "tile/0/000"),
            (LEAVES, 1_234_067, 256, "tile/0/x001/x234/067"),
            (LEAVES, 1000, 255, "tile/0/x001/000.p/255"),
            (LEAVES, 1_000_000, 1, "tile/0/x001/x000/000.p/1"),
            (TileKind::Hashes { level: 63 }, 999, 256, "tile/63/999"),
            (TileKind::Entries, 67, 112, "tile/entries/067.p/112"),
            (LEAVES, TILE_INDEX_MAX, 1, "tile/0/x036/x028/x797/x018/x963/967.p/1"),
        ] {
            let path = TilePath::new(kind, index, width).unwrap();
            assert_eq!(path.to_string(), text);
            assert_eq!(text.parse(), Ok(path));
        }
    }

    #[test]
    fn each_mistake_has_its_error() {
        let parse = |text: &str| text.parse::<TilePath>().unwrap_err();
        for text in ["", "tile", "tile/", "tile/0", "/tile/0/000", "tiles/0/000"] {
            assert_eq!(parse(text), TileError::Malformed, "{text}");
        }
        for text in ["tile/64/000", "tile/00/000", "tile/x/000", "tile//000", "tile/-1/000", "tile/Entries/000"] {
            assert_eq!(parse(text), TileError::InvalidLevel, "{text}");
        }
        for index in [
            "",
            "0",
            "00",
            "0000",
            "x000",
            "x000/001",
            "001/002",
            "x001",
            "x001/x002",
            "x01/002",
            "x001//002",
            "x001/002/",
            "/001",
            "X001/002",
            "+01",
            "067.p",
            "x036/x028/x797/x018/x963/968",
            "x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(parse(&alloc::format!("tile/0/{index}")), TileError::InvalidIndex, "{index}");
        }
        for width in ["", "0", "01", "256", "257", "1/", "-1", "1.p/1"] {
            assert_eq!(parse(&alloc::format!("tile/0/000.p/{width}")), TileError::InvalidWidth, "{width}");
        }
        assert_eq!(parse(&"a".repeat(TILE_PATH_BYTES_MAX + 1)), TileError::TooLong);
        assert_eq!(TilePath::new(LEAVES, 0, 0), Err(TileError::InvalidWidth));
        assert_eq!(TilePath::new(LEAVES, 0, 257), Err(TileError::InvalidWidth));
        assert_eq!(TilePath::new(LEAVES, TILE_INDEX_MAX + 1, 1), Err(TileError::InvalidIndex));
        assert_eq!(TilePath::new(TileKind::Hashes { level: 64 }, 0, 1), Err(TileError::InvalidLevel));
    }

    #[test]
    fn last_tiles_are_those_of_the_specification() {
        // "A tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0 tile of width 112,
        // one full level 1 tile, one partial level 1 tile of width 17, and one partial level 2 tile of width 1."
        let last = |level, size| TilePath::last(TileKind::Hashes { level }, size).map(|tile| tile.to_string());
        assert_eq!(last(0, 70_000).as_deref(), Some("tile/0/273.p/112"));
        assert_eq!(last(1, 70_000).as_deref(), Some("tile/1/001.p/17"));
        assert_eq!(last(2, 70_000).as_deref(), Some("tile/2/000.p/1"));
        assert_eq!(last(3, 70_000), None);
        assert_eq!(last(0, 256).as_deref(), Some("tile/0/000"));
        assert_eq!(last(1, 256).as_deref(), Some("tile/1/000.p/1"));
        assert_eq!(last(0, 0), None);
        assert_eq!(last(63, u64::MAX), None);
        let entries = TilePath::last(TileKind::Entries, 70_000).map(|tile| tile.to_string());
        assert_eq!(entries.as_deref(), Some("tile/entries/273.p/112"));

        let within = |level, index| TilePath::within(TileKind::Hashes { level }, index, 70_000);
        assert_eq!(within(0, 272).unwrap().to_string(), "tile/0/272");
        assert_eq!(within(0, 273).unwrap().to_string(), "tile/0/273.p/112");
        assert_eq!(within(1, 0).unwrap().to_string(), "tile/1/000");
        assert_eq!((within(0, 274), within(1, 2), within(3, 0), within(0, u64::MAX)), (None, None, None, None));
        assert_eq!(TilePath::within(TileKind::Entries, 1, 256), None);
    }
}

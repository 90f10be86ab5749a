//! Entry bundles: the entries of a tile, each behind its length (C2SP tlog-tiles, "Log entries").

use alloc::vec::Vec;
use core::fmt;

use crate::limits::{BUNDLE_ENTRY_BYTES_MAX, TILE_WIDTH};

/// Why entries are no bundle, or bytes not this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// No entry, or more than [`TILE_WIDTH`].
    InvalidWidth,
    /// An entry of more than [`BUNDLE_ENTRY_BYTES_MAX`] bytes.
    EntryTooLong,
    /// The bytes end before the last entry does.
    Truncated,
    /// Bytes behind the last entry.
    TrailingBytes,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidWidth => "a bundle has 1 to 256 entries",
            Self::EntryTooLong => "entry is too long for a bundle",
            Self::Truncated => "bundle ends within an entry",
            Self::TrailingBytes => "bytes behind the last entry of a bundle",
        })
    }
}

impl core::error::Error for BundleError {}

/// The bundle of these entries: for each its length, as a big-endian `u16`, and its bytes.
///
/// # Errors
/// [`BundleError::InvalidWidth`], [`BundleError::EntryTooLong`].
pub fn encode<T: AsRef<[u8]>>(entries: &[T]) -> Result<Vec<u8>, BundleError> {
    check_width(entries.len())?;
    let mut bundle = Vec::new();
    for entry in entries.iter().map(AsRef::as_ref) {
        let length = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong)?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The entries of a bundle of exactly `width` entries, from all its bytes.
///
/// # Errors
/// [`BundleError::InvalidWidth`], [`BundleError::Truncated`], [`BundleError::TrailingBytes`].
pub fn parse(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    check_width(usize::from(width))?;
    split(bytes, width).collect()
}

/// Goes through a bundle entry by entry, and takes nothing into memory. Ends with the first error; bytes behind the
/// last entry are one.
pub const fn split(bytes: &[u8], width: u16) -> Split<'_> {
    Split { rest: bytes, left: width }
}

/// Made by [`split`].
#[derive(Clone, Debug)]
pub struct Split<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Split<'a> {
    fn entry(&mut self) -> Result<&'a [u8], BundleError> {
        let (length, rest) = self.rest.split_first_chunk::<2>().ok_or(BundleError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or(BundleError::Truncated)?;
        self.rest = rest;
        Ok(entry)
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<&'a [u8], BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.entry()
            }
            None if self.rest.is_empty() => return None,
            None => Err(BundleError::TrailingBytes),
        };
        if item.is_err() {
            *self = split(&[], 0);
        }
        Some(item)
    }
}

fn check_width(width: usize) -> Result<(), BundleError> {
    if width == 0 || width > usize::from(TILE_WIDTH) { Err(BundleError::InvalidWidth) } else { Ok(()) }
}

const _: () = assert!(BUNDLE_ENTRY_BYTES_MAX == u16::MAX as usize, "the length of an entry has 16 bits");

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "a panic is how a test fails"
    )]

    use super::*;

    #[test]
    fn a_bundle_comes_back_as_it_was() {
        let longest = alloc::vec![7; BUNDLE_ENTRY_BYTES_MAX];
        let entries: [&[u8]; 4] = [b"one", b"", &longest, b"four"];
        let bundle = encode(&entries).unwrap();
        assert_eq!(bundle[..5], [0, 3, b'o', b'n', b'e']);
        assert_eq!(parse(&bundle, 4).unwrap(), entries);
        assert_eq!(split(&bundle, 4).map(Result::unwrap).collect::<Vec<_>>(), entries);
        let full = alloc::vec![b"x"; 256];
        assert_eq!(parse(&encode(&full).unwrap(), 256).unwrap(), full);
    }

    #[test]
    fn each_mistake_has_its_error() {
        assert_eq!(encode::<&[u8]>(&[]), Err(BundleError::InvalidWidth));
        assert_eq!(encode(&[b"x"; 257]), Err(BundleError::InvalidWidth));
        assert_eq!(encode(&[alloc::vec![0; BUNDLE_ENTRY_BYTES_MAX + 1]]), Err(BundleError::EntryTooLong));
        assert_eq!(parse(&[], 0), Err(BundleError::InvalidWidth));
        assert_eq!(parse(&[0; 600], 257), Err(BundleError::InvalidWidth));
        let bundle = encode(&[&b"one"[..], b"two"]).unwrap();
        for end in 0..bundle.len() {
            assert_eq!(parse(&bundle[..end], 2), Err(BundleError::Truncated), "{end}");
        }
        assert_eq!(parse(&bundle, 1), Err(BundleError::TrailingBytes));
        assert_eq!(parse(&bundle, 3), Err(BundleError::Truncated));
        assert_eq!(parse(&[&bundle[..], &[0]].concat(), 2), Err(BundleError::TrailingBytes));
    }

    #[test]
    fn a_walk_ends_with_its_first_error() {
        let bundle = encode(&[&b"one"[..], b"two"]).unwrap();
        let walk = |bytes: &[u8], width| split(bytes, width).map(|entry| entry.map(<[u8]>::len)).collect::<Vec<_>>();
        assert_eq!(walk(&bundle, 2), [Ok(3), Ok(3)]);
        assert_eq!(walk(&bundle[..8], 9), [Ok(3), Err(BundleError::Truncated)]);
        assert_eq!(walk(&bundle, 1), [Ok(3), Err(BundleError::TrailingBytes)]);
    }
}

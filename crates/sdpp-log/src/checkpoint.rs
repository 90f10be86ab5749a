//! Checkpoints: a log's name, size and root as three lines of text (C2SP tlog-checkpoint).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::hash::Hash;
use crate::limits::{EXTENSION_LINES_MAX, NAME_BYTES_MAX, TREE_SIZE_MAX};
use crate::text::{decode_hash, encode_base64, is_line, parse_decimal};

/// Why a checkpoint's text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// Fewer than three lines.
    TooFewLines,
    /// The last line does not end with a newline.
    UnfinishedLine,
    /// The origin is empty, longer than [`NAME_BYTES_MAX`] bytes, or has a control character.
    InvalidOrigin,
    /// The size is not a decimal without leading zeros, or above [`TREE_SIZE_MAX`].
    InvalidSize,
    /// The root is not the canonical base64 of 32 bytes.
    InvalidRoot,
    /// The size is 0 and the root is not [`Hash::EMPTY`].
    WrongEmptyRoot,
    /// An extension line is empty or has a control character.
    InvalidExtension,
    /// More than [`EXTENSION_LINES_MAX`] extension lines.
    TooManyExtensions,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooFewLines => "checkpoint has fewer than three lines",
            Self::UnfinishedLine => "checkpoint does not end with a newline",
            Self::InvalidOrigin => "invalid origin",
            Self::InvalidSize => "invalid tree size",
            Self::InvalidRoot => "invalid root hash",
            Self::WrongEmptyRoot => "wrong root hash of the empty tree",
            Self::InvalidExtension => "invalid extension line",
            Self::TooManyExtensions => "too many extension lines",
        })
    }
}

impl core::error::Error for CheckpointError {}

/// A tree head: which log, how many leaves, which root. `to_string` gives the text to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines (C2SP advises against them).
    ///
    /// # Errors
    /// [`CheckpointError::InvalidOrigin`], [`CheckpointError::InvalidSize`], [`CheckpointError::WrongEmptyRoot`].
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !is_line(origin) || origin.len() > NAME_BYTES_MAX {
            return Err(CheckpointError::InvalidOrigin);
        }
        if size > TREE_SIZE_MAX {
            return Err(CheckpointError::InvalidSize);
        }
        if size == 0 && root != Hash::EMPTY {
            return Err(CheckpointError::WrongEmptyRoot);
        }
        Ok(Self { origin: origin.to_string(), size, root, extensions: Vec::new() })
    }

    /// Adds a line whose meaning the log and its readers agree on.
    ///
    /// # Errors
    /// [`CheckpointError::InvalidExtension`], [`CheckpointError::TooManyExtensions`].
    pub fn with_extension(mut self, line: &str) -> Result<Self, CheckpointError> {
        if !is_line(line) {
            return Err(CheckpointError::InvalidExtension);
        }
        if self.extensions.len() >= EXTENSION_LINES_MAX {
            return Err(CheckpointError::TooManyExtensions);
        }
        self.extensions.push(line.to_string());
        Ok(self)
    }

    /// Reads the text of a note. Strict: `parse` then `to_string` gives the same text.
    ///
    /// # Errors
    /// All of [`CheckpointError`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let text = text.strip_suffix('\n').ok_or(CheckpointError::UnfinishedLine)?;
        let mut lines = text.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::TooFewLines);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = parse_decimal(size, TREE_SIZE_MAX).ok_or(CheckpointError::InvalidSize)?;
        let root = decode_hash(root).ok_or(CheckpointError::InvalidRoot)?;
        lines.try_fold(Self::new(origin, size, root)?, Self::with_extension)
    }

    /// The log's name; best a URL without schema.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree at that size.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The lines after the third, without newlines.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

/// The text of the note, with its final newline.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, encode_base64(&self.root.0))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
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

    use alloc::format;

    use super::*;

    /// From C2SP tlog-checkpoint.
    const SOFA: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn comes_back_as_it_was() {
        let sofa = Checkpoint::parse(SOFA).unwrap();
        assert_eq!((sofa.origin(), sofa.size()), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(sofa.to_string(), SOFA);
        assert_eq!(Checkpoint::new(sofa.origin(), sofa.size(), sofa.root()), Ok(sofa.clone()));

        let extended = format!("{SOFA}one\ntwo words\n");
        let parsed = Checkpoint::parse(&extended).unwrap();
        assert_eq!(parsed.extensions(), ["one", "two words"]);
        assert_eq!(parsed.to_string(), extended);
        assert_eq!(sofa.with_extension("one").unwrap().with_extension("two words"), Ok(parsed));
    }

    #[test]
    fn the_empty_tree_has_one_root() {
        let empty = Checkpoint::new("o", 0, Hash::EMPTY).unwrap();
        assert_eq!(Checkpoint::parse(&empty.to_string()), Ok(empty));
        assert_eq!(Checkpoint::new("o", 0, Hash([0; 32])), Err(CheckpointError::WrongEmptyRoot));
    }

    #[test]
    fn each_mistake_has_its_error() {
        let root = encode_base64(&[0; 32]);
        let line = "\u{1f}";
        for (text, error) in [
            (String::new(), CheckpointError::UnfinishedLine),
            ("o\n1\n".into(), CheckpointError::TooFewLines),
            (format!("o\n1\n{root}"), CheckpointError::UnfinishedLine),
            (format!("\n1\n{root}\n"), CheckpointError::InvalidOrigin),
            (format!("o\r\n1\n{root}\n"), CheckpointError::InvalidOrigin),
            (format!("{}\n1\n{root}\n", "o".repeat(256)), CheckpointError::InvalidOrigin),
            (format!("o\n01\n{root}\n"), CheckpointError::InvalidSize),
            (format!("o\n\n{root}\n"), CheckpointError::InvalidSize),
            (format!("o\n9223372036854775808\n{root}\n"), CheckpointError::InvalidSize),
            (format!("o\n1\n{root} \n"), CheckpointError::InvalidRoot),
            ("o\n1\n\n".into(), CheckpointError::InvalidRoot),
            ("o\n1\nAAAA\n".into(), CheckpointError::InvalidRoot),
            (format!("o\n0\n{root}\n"), CheckpointError::WrongEmptyRoot),
            (format!("o\n1\n{root}\n\n"), CheckpointError::InvalidExtension),
            (format!("o\n1\n{root}\n{line}\n"), CheckpointError::InvalidExtension),
            (format!("o\n1\n{root}\n{}", "e\n".repeat(17)), CheckpointError::TooManyExtensions),
        ] {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
        assert!(Checkpoint::parse(&format!("o\n9223372036854775807\n{root}\n{}", "e\n".repeat(16))).is_ok());
        assert_eq!(Checkpoint::new("o", u64::MAX, Hash::EMPTY), Err(CheckpointError::InvalidSize));
    }
}

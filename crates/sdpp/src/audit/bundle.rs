//! The bundle: everything that one order left behind, as one file.
//!
//! The file is a CBOR sequence (RFC 8742) in which a small number says what the byte string behind
//! it is: so it can be written and read piece by piece, and every length is checked before it is
//! believed.
//!
//! | number | byte string | how often |
//! |---|---|---|
//! | 0 | CBOR `[magic, version, salt or null]` | once, first |
//! | 1 | a signed statement, in the order in which they were made | any |
//! | 2 | the ledger's signed checkpoint | at most once |
//! | 3 | CBOR `[statement id, index, [hashes]]`, a record's place in the log | any, behind 2 |
//! | 4 | the record's entry | once behind each 3 |
//! | 5 | messages in canonical form, one behind the other, cut anywhere | any |
//! | 6 | nothing | once, last: a file that was cut off has none |

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use sdpp_log::Hash;
use sdpp_proto::codec::{self, Bytes32, StatementId};

use super::limits;

const MAGIC: &str = "SDPP/2 bundle";
const VERSION: u32 = 1;

type Header = (String, u32, Option<Bytes32>);
type Place = (StatementId, u64, Vec<Bytes32>);

/// The export of one order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bundle {
    /// The statements, as bytes, in the order in which they were made.
    pub statements: Vec<Arc<[u8]>>,
    /// The order's salt, if data is to be checked.
    pub order_salt: Option<Bytes32>,
    /// What the ledger says about them.
    pub log: Option<LogEvidence>,
    /// The messages that the buyer holds, forgiven ones among them, from number 0 on: in canonical
    /// form, one behind the other, in pieces of any size.
    pub messages: Vec<Arc<[u8]>>,
}

/// A checkpoint, and the way from it to every record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogEvidence {
    /// The signed note, with the witnesses' cosignatures.
    pub checkpoint: Vec<u8>,
    /// Recorded statements.
    pub records: Vec<RecordProof>,
}

/// That a statement is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordProof {
    /// The statement.
    pub statement: StatementId,
    /// The entry that holds it, or its id: the leaf of the tree.
    pub entry: Vec<u8>,
    /// Its place in the log.
    pub index: u64,
    /// The inclusion proof (RFC 9162 §2.1.3).
    pub proof: Vec<Hash>,
}

/// One part of a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// The order's salt.
    Header(Option<Bytes32>),
    /// A statement.
    Statement(Vec<u8>),
    /// The checkpoint.
    Checkpoint(Vec<u8>),
    /// A record.
    Record(RecordProof),
    /// A piece of the messages.
    Messages(Vec<u8>),
}

/// Why bytes are not a bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BundleError {
    /// Not a bundle, or one of another version.
    NotABundle,
    /// A part is longer than its limit, or there are too many.
    TooLong,
    /// A part is not what its number says, is not canonical, or stands in the wrong place.
    Malformed,
    /// It ends too early.
    CutOff,
    /// Something stands behind its end.
    Trailing,
    /// It could not be read.
    Io(io::ErrorKind),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABundle => f.write_str("not a bundle of this version"),
            Self::TooLong => f.write_str("a part of the bundle is longer than its limit"),
            Self::Malformed => f.write_str("a part of the bundle is malformed or in the wrong place"),
            Self::CutOff => f.write_str("the bundle ends too early"),
            Self::Trailing => f.write_str("something stands behind the end of the bundle"),
            Self::Io(kind) => write!(f, "the bundle cannot be read: {kind}"),
        }
    }
}

impl std::error::Error for BundleError {}

impl From<io::Error> for BundleError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::CutOff } else { Self::Io(error.kind()) }
    }
}

/// What the number before a byte string says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Tag {
    Header,
    Statement,
    Checkpoint,
    Place,
    Entry,
    Messages,
    End,
}

impl Tag {
    const ALL: [Self; 7] =
        [Self::Header, Self::Statement, Self::Checkpoint, Self::Place, Self::Entry, Self::Messages, Self::End];

    const fn code(self) -> u8 {
        match self {
            Self::Header => 0,
            Self::Statement => 1,
            Self::Checkpoint => 2,
            Self::Place => 3,
            Self::Entry => 4,
            Self::Messages => 5,
            Self::End => 6,
        }
    }

    const fn length_max(self) -> usize {
        match self {
            Self::Header => limits::HEADER_MAX,
            Self::Statement => limits::STATEMENT_MAX,
            Self::Checkpoint => limits::CHECKPOINT_MAX,
            Self::Place => limits::PLACE_MAX,
            Self::Entry => limits::ENTRY_MAX,
            Self::Messages => limits::PIECE_MAX,
            Self::End => 0,
        }
    }

    /// Whether this may stand behind `before`.
    const fn may_follow(self, before: Self) -> bool {
        match self {
            Self::Header => false,
            Self::Statement => matches!(before, Self::Header | Self::Statement),
            Self::Checkpoint => matches!(before, Self::Header | Self::Statement),
            Self::Place => matches!(before, Self::Checkpoint | Self::Entry),
            Self::Entry => matches!(before, Self::Place),
            Self::Messages | Self::End => !matches!(before, Self::Place | Self::End),
        }
    }
}

fn write(out: &mut Vec<u8>, tag: Tag, body: &[u8]) -> Result<(), BundleError> {
    if body.len() > tag.length_max() {
        return Err(BundleError::TooLong);
    }
    out.push(tag.code());
    let length = u32::try_from(body.len()).map_err(|_| BundleError::TooLong)?;
    // The shortest head of a CBOR byte string (RFC 8949 §4.2.1).
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..24), _) => out.push(0x40 | short),
        (Ok(byte), _) => out.extend_from_slice(&[0x58, byte]),
        (Err(_), Ok(word)) => {
            out.push(0x59);
            out.extend_from_slice(&word.to_be_bytes());
        }
        (Err(_), Err(_)) => {
            out.push(0x5a);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(body);
    Ok(())
}

/// Reads a bundle part by part.
#[derive(Debug)]
pub struct Items<R> {
    reader: R,
    before: Option<Tag>,
    count: u64,
}

impl<R: Read> Items<R> {
    /// Over a bundle's bytes.
    pub const fn new(reader: R) -> Self {
        Self { reader, before: None, count: 0 }
    }

    /// The next part; none behind the last.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn next_item(&mut self) -> Result<Option<Item>, BundleError> {
        if self.before == Some(Tag::End) {
            return Ok(None);
        }
        let (tag, body) = self.next_part()?;
        Ok(Some(match tag {
            Tag::Header => Item::Header(header(&body)?),
            Tag::Statement => Item::Statement(body),
            Tag::Checkpoint => Item::Checkpoint(body),
            Tag::Place => Item::Record(self.record(&body)?),
            Tag::Messages if !body.is_empty() => Item::Messages(body),
            Tag::Messages | Tag::Entry => return Err(BundleError::Malformed),
            Tag::End => {
                let mut behind = [0];
                return if self.reader.read(&mut behind)? == 0 { Ok(None) } else { Err(BundleError::Trailing) };
            }
        }))
    }

    fn record(&mut self, place: &[u8]) -> Result<RecordProof, BundleError> {
        let place: Place = codec::decode(place, limits::PLACE_MAX).map_err(|_| BundleError::Malformed)?;
        let (statement, index, hashes) = place;
        if hashes.len() > limits::PROOF_HASHES_MAX {
            return Err(BundleError::TooLong);
        }
        let (_, entry) = self.next_part()?;
        Ok(RecordProof { statement, entry, index, proof: hashes.into_iter().map(|hash| Hash(hash.0)).collect() })
    }

    fn next_part(&mut self) -> Result<(Tag, Vec<u8>), BundleError> {
        self.count = self.count.saturating_add(1);
        if self.count > limits::ITEMS_MAX {
            return Err(BundleError::TooLong);
        }
        let [code] = self.bytes()?;
        let tag = Tag::ALL.into_iter().find(|tag| tag.code() == code);
        let tag = match (self.before, tag) {
            (None, Some(Tag::Header)) => Tag::Header,
            (None, _) => return Err(BundleError::NotABundle),
            (Some(before), Some(tag)) if tag.may_follow(before) => tag,
            (Some(_), _) => return Err(BundleError::Malformed),
        };
        let length = self.length()?;
        if length > tag.length_max() {
            return Err(BundleError::TooLong);
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        self.before = Some(tag);
        Ok((tag, body))
    }

    /// The head of a byte string, in its shortest form.
    fn length(&mut self) -> Result<usize, BundleError> {
        let [head] = self.bytes()?;
        let (length, least) = match head {
            0x40..=0x57 => (u32::from(head & 0x1f), 0),
            0x58 => (u32::from(u8::from_be_bytes(self.bytes()?)), 24),
            0x59 => (u32::from(u16::from_be_bytes(self.bytes()?)), 1 << 8),
            0x5a => (u32::from_be_bytes(self.bytes()?), 1 << 16),
            _ => return Err(BundleError::Malformed),
        };
        if length < least {
            return Err(BundleError::Malformed);
        }
        usize::try_from(length).map_err(|_| BundleError::TooLong)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// What a CBOR byte string holds, if it is all there is and has the shortest head.
pub(super) fn only_byte_string(bytes: &[u8]) -> Option<&[u8]> {
    let mut items = Items::new(bytes);
    let length = items.length().ok()?;
    Some(items.reader).filter(|body| body.len() == length)
}

fn header(body: &[u8]) -> Result<Option<Bytes32>, BundleError> {
    let (magic, version, salt): Header =
        codec::decode(body, limits::HEADER_MAX).map_err(|_| BundleError::NotABundle)?;
    if magic == MAGIC && version == VERSION { Ok(salt) } else { Err(BundleError::NotABundle) }
}

impl Bundle {
    /// The file.
    ///
    /// # Errors
    /// [`BundleError::TooLong`] for a part above its limit. Messages are cut into pieces as needed.
    pub fn encode(&self) -> Result<Vec<u8>, BundleError> {
        let mut out = Vec::new();
        let header: Header = (MAGIC.to_owned(), VERSION, self.order_salt);
        write(&mut out, Tag::Header, &codec::encode(&header))?;
        self.statements.iter().try_for_each(|bytes| write(&mut out, Tag::Statement, bytes))?;
        if let Some(log) = &self.log {
            write(&mut out, Tag::Checkpoint, &log.checkpoint)?;
            for record in &log.records {
                let hashes = record.proof.iter().map(|hash| Bytes32(hash.0)).collect();
                let place: Place = (record.statement, record.index, hashes);
                write(&mut out, Tag::Place, &codec::encode(&place))?;
                write(&mut out, Tag::Entry, &record.entry)?;
            }
        }
        let mut pieces = self.messages.iter().flat_map(|messages| messages.chunks(limits::PIECE_MAX));
        pieces.try_for_each(|piece| write(&mut out, Tag::Messages, piece))?;
        write(&mut out, Tag::End, &[])?;
        Ok(out)
    }

    /// Reads a file. Nothing in it is verified.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        Self::read(bytes)
    }

    /// Reads a file from anywhere.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn read(reader: impl Read) -> Result<Self, BundleError> {
        let mut bundle = Self::default();
        let mut items = Items::new(reader);
        while let Some(item) = items.next_item()? {
            match item {
                Item::Header(salt) => bundle.order_salt = salt,
                Item::Statement(bytes) => bundle.statements.push(bytes.into()),
                Item::Checkpoint(checkpoint) => bundle.log = Some(LogEvidence { checkpoint, records: Vec::new() }),
                Item::Record(record) => bundle.log.get_or_insert_default().records.push(record),
                Item::Messages(bytes) => bundle.messages.push(bytes.into()),
            }
        }
        Ok(bundle)
    }
}

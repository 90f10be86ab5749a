//! What both machines ask their drivers to keep (`spec/protocol.md` §9).

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::codec::{self, Bytes32, CodecError};
use crate::cose::CoseError;
use crate::limits;
use crate::statement::AnyStatement;

/// Numbers the writes of one connection, rising. Writes become durable in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct StoreId(pub u64);

/// One row of an order's journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A signed statement, own or the other side's.
    Statement(AnyStatement),
    /// The order's salt. Secret between the two sides.
    Salt(Bytes32),
    /// A payment of this invoice is about to be made through the rail: until its payment follows,
    /// the rail must be asked what became of it.
    Intent(Bytes32),
    /// Where a statement was recorded.
    Record {
        /// The statement's id.
        statement: Bytes32,
        /// The record's id.
        record: Bytes32,
    },
}

/// The row on disk.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Row {
    #[cbor(n(1), with = "minicbor::bytes")]
    statement: Option<Vec<u8>>,
    #[n(2)]
    salt: Option<Bytes32>,
    #[n(3)]
    record: Option<(Bytes32, Bytes32)>,
    #[n(4)]
    intent: Option<Bytes32>,
}

/// A row that is not one: the journal is damaged or of another program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadEntry {
    /// Not a row.
    Codec(CodecError),
    /// The statement in it.
    Statement(CoseError),
    /// A row of no kind.
    Empty,
}

impl core::fmt::Display for BadEntry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Codec(error) => write!(f, "damaged journal row: {error}"),
            Self::Statement(error) => write!(f, "damaged statement in the journal: {error}"),
            Self::Empty => f.write_str("journal row of an unknown kind"),
        }
    }
}

impl core::error::Error for BadEntry {}

impl From<AnyStatement> for Entry {
    fn from(statement: AnyStatement) -> Self {
        Self::Statement(statement)
    }
}

impl Entry {
    /// The row's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut row = Row { statement: None, salt: None, record: None, intent: None };
        match self {
            Self::Statement(statement) => row.statement = Some(statement.bytes.to_vec()),
            Self::Salt(salt) => row.salt = Some(*salt),
            Self::Intent(invoice) => row.intent = Some(*invoice),
            Self::Record { statement, record } => row.record = Some((*statement, *record)),
        }
        codec::encode(&row)
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`BadEntry`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadEntry> {
        let row: Row = codec::decode(bytes, limits::STATEMENT_MAX.saturating_add(64)).map_err(BadEntry::Codec)?;
        match row {
            Row { statement: Some(bytes), salt: None, record: None, intent: None } => {
                AnyStatement::parse(&bytes).map(Self::Statement).map_err(BadEntry::Statement)
            }
            Row { statement: None, salt: Some(salt), record: None, intent: None } => Ok(Self::Salt(salt)),
            Row { statement: None, salt: None, record: Some((statement, record)), intent: None } => {
                Ok(Self::Record { statement, record })
            }
            Row { statement: None, salt: None, record: None, intent: Some(invoice) } => Ok(Self::Intent(invoice)),
            Row { .. } => Err(BadEntry::Empty),
        }
    }
}

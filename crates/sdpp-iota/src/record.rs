//! What stands in the record of a transaction.

use sdpp_proto::codec::StatementId;
use sdpp_proto::statement::AnyStatement;

/// Longest statement that is recorded whole.
pub(crate) const STATEMENT_BYTES_MAX: usize = crate::limits::RECORD_BYTES_MAX - MARK - 1;
/// What all records begin with.
const MAGIC: &[u8; 5] = b"SDPP/";
const MARK: usize = MAGIC.len();

/// What a record says. Each begins with `SDPP/` and a letter, so that none is taken for another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// This transaction pays this invoice.
    Paid(StatementId),
    /// There is a statement of this id.
    Id(StatementId),
    /// This is a statement.
    Statement(Vec<u8>),
}

impl Record {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (letter, rest): (u8, &[u8]) = match self {
            Self::Paid(id) => (b'P', &id.0),
            Self::Id(id) => (b'I', &id.0),
            Self::Statement(bytes) => (b'S', bytes),
        };
        [MAGIC.as_slice(), &[letter], rest].concat()
    }

    /// Whether it records this statement.
    pub fn is_of(&self, statement: &AnyStatement) -> bool {
        match self {
            Self::Id(id) => *id == statement.id,
            Self::Statement(bytes) => *bytes == *statement.bytes,
            Self::Paid(_) => false,
        }
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (letter, rest) = bytes.strip_prefix(MAGIC)?.split_first()?;
        match letter {
            b'P' => Some(Self::Paid(StatementId(rest.try_into().ok()?))),
            b'I' => Some(Self::Id(StatementId(rest.try_into().ok()?))),
            b'S' => Some(Self::Statement(rest.to_vec())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_is_never_another_one() {
        let id = StatementId([7; 32]);
        let all = [Record::Paid(id), Record::Id(id), Record::Statement(vec![7; 32])];
        for record in &all {
            assert_eq!(Record::decode(&record.encode()).as_ref(), Some(record));
            assert_eq!(all.iter().filter(|other| other.encode() == record.encode()).count(), 1);
        }
        for bad in [&b""[..], b"SDPP/", b"SDPP/P", b"SDPP/Q0000", b"{}"] {
            assert_eq!(Record::decode(bad), None);
        }
    }
}

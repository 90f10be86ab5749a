//! Statements on IOTA: a transaction for each, with the statement or its id in it.

use std::sync::Arc;

use iota_sdk_types::TransactionDigest;
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::statement::{AnyStatement, Form, Kind};
use sdpp_rail::{RailError, RecordId, Records, Reply};

use crate::deed::Deed;
use crate::limits;
use crate::purse::{Purse, Spent};
use crate::receipt::{NotDone, executed};
use crate::record::{Record, STATEMENT_BYTES_MAX};
use crate::sent::RECORD;

/// Name of this kind of records in the registry of `spec/rails.md`.
const BACKEND: &str = "iota";

/// How what is recorded lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lasting {
    /// In the transaction. Nodes drop it after some epochs: the proof is kept here, and whoever has it needs no node that does.
    #[default]
    Transaction,
    /// In an immutable object that no node drops: its storage is paid for good.
    Object,
}

/// Statements recorded by one account. A record's id is the digest of its transaction.
pub struct IotaRecords {
    purse: Arc<Purse>,
    lasting: Lasting,
    ends_only: bool,
}

/// The digest of a record's transaction.
pub const fn digest_of(record: &RecordId) -> TransactionDigest {
    TransactionDigest::new(record.0)
}

fn name_of(statement: &StatementId) -> String {
    format!("{RECORD}{statement}")
}

impl IotaRecords {
    /// Records out of this purse, which keeps the proofs.
    pub const fn new(purse: Arc<Purse>, lasting: Lasting) -> Self {
        Self { purse, lasting, ends_only: false }
    }

    /// The same, but of each order only its ends are recorded, and by their ids: a seller that lets buyers say what is
    /// recorded lets them spend its gas.
    #[must_use]
    pub fn ends_only(self) -> Self {
        Self { ends_only: true, ..self }
    }

    async fn record(&self, statement: &AnyStatement, form: Form) -> Result<RecordId, RailError> {
        let is_end = !matches!(statement.kind, Kind::Invoice | Kind::Payment);
        if self.ends_only && !is_end {
            return Err(RailError::Declined("only the ends of orders are recorded here"));
        }
        let name = name_of(&statement.id);
        // Known in one form is known.
        if let Some(Spent::Done(digest)) = self.purse.look(&name).await? {
            return Ok(Bytes32(digest.into()));
        }
        let is_whole = form == Form::Full && !self.ends_only && statement.bytes.len() <= STATEMENT_BYTES_MAX;
        let record = if is_whole { Record::Statement(statement.bytes.to_vec()) } else { Record::Id(statement.id) };
        let deed = match self.lasting {
            Lasting::Transaction => Deed::Record(record.encode()),
            Lasting::Object => Deed::Keep(record.encode()),
        };
        match self.purse.spend(&name, &deed).await? {
            Spent::Done(digest) => {
                self.purse.prove(limits::PROVEN_AT_ONCE).await;
                Ok(Bytes32(digest.into()))
            }
            Spent::Void => Err(RailError::Unavailable),
            Spent::Failed => Err(RailError::Declined("a node says that the record failed on the network")),
        }
    }

    /// What a record holds, and whether it is this account's.
    async fn read(&self, record: &RecordId) -> Result<Option<(bool, Record)>, RailError> {
        let Some(receipt) = self.purse.receipt(&digest_of(record)).await? else { return Ok(None) };
        match executed(&receipt) {
            Ok((sender, Deed::Record(bytes) | Deed::Keep(bytes), digest)) if Bytes32(digest.into()) == *record => {
                Ok(Record::decode(&bytes).map(|held| (sender == self.purse.address(), held)))
            }
            Err(NotDone::NoCheckpoint) => Err(RailError::Unavailable),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

impl Records for IotaRecords {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn origin(&self) -> String {
        format!("iota:{}", self.purse.nodes().chain())
    }

    fn append<'a>(&'a self, statement: &'a AnyStatement, form: Form) -> Reply<'a, RecordId> {
        Box::pin(self.record(statement, form))
    }

    fn fetch<'a>(&'a self, record: &'a RecordId) -> Reply<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            Ok(self.read(record).await?.filter(|(is_own, _)| *is_own).and_then(|(_, held)| match held {
                Record::Id(id) => Some(id.0.to_vec()),
                Record::Statement(bytes) => Some(bytes),
                Record::Paid(_) => None,
            }))
        })
    }

    fn verify<'a>(&'a self, record: &'a RecordId, statement: &'a AnyStatement) -> Reply<'a, bool> {
        Box::pin(async move { Ok(self.read(record).await?.is_some_and(|(_, held)| held.is_of(statement))) })
    }
}

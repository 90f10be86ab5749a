//! Records on the embedded ledger.

use std::sync::Arc;

use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::statement::{AnyStatement, Form};
use sdpp_rail::{RailError, RecordId, Records, Reply};

use crate::client::LedgerClient;
use crate::entry::{Body, Entry, Record};

/// Name of this kind of records in the registry of `spec/rails.md`.
const BACKEND: &str = "ledger";

/// Statements on a ledger, recorded in the name of one key. A record's id is that of its entry.
pub struct LedgerRecords {
    client: Arc<LedgerClient>,
    key: SigningKey,
}

impl LedgerRecords {
    /// Records in the name of this key.
    pub const fn new(client: Arc<LedgerClient>, key: SigningKey) -> Self {
        Self { client, key }
    }

    async fn recorded(&self, record: &RecordId) -> Result<Option<Record>, RailError> {
        let id = StatementId(record.0);
        // The entry stays where it is: only an unknown one needs a fresh look.
        let place = match self.client.look(|fold| fold.record_entry(&id)).await? {
            Some(place) => Some(place),
            None => self.client.fresh(|fold| fold.record_entry(&id)).await?,
        };
        let Some(place) = place else { return Ok(None) };
        let entry = self.client.entry(place.index).await?;
        Ok(entry.and_then(|entry| match entry.body() {
            Body::Record(record) => Some(record.clone()),
            Body::Issue(_)
            | Body::Transfer(_)
            | Body::Open(_)
            | Body::TopUp(_)
            | Body::Redeem { .. }
            | Body::RequestClose(_)
            | Body::Close(_)
            | Body::Tick(_) => None,
        }))
    }
}

impl Records for LedgerRecords {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn origin(&self) -> String {
        self.client.origin().to_owned()
    }

    fn append<'a>(&'a self, statement: &'a AnyStatement, form: Form) -> Reply<'a, RecordId> {
        Box::pin(async move {
            let known = self.client.look(|fold| fold.record(&statement.id)).await?;
            if let Some(known) = known {
                return Ok(Bytes32(known.place.id.0));
            }
            let record = Body::Record(Record::of(statement, form));
            let entry = Entry::sign(&self.key, self.client.origin(), record);
            let place = self.client.submit(&entry).await?;
            Ok(Bytes32(place.id.0))
        })
    }

    fn fetch<'a>(&'a self, record: &'a RecordId) -> Reply<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.recorded(record).await?.map(|record| record.body.to_vec())) })
    }

    fn verify<'a>(&'a self, record: &'a RecordId, statement: &'a AnyStatement) -> Reply<'a, bool> {
        Box::pin(async move {
            let Some(record) = self.recorded(record).await? else { return Ok(false) };
            // The replica has not looked at the signature inside a record.
            let sound = match record.form {
                Form::Hash => true,
                Form::Full => AnyStatement::parse(&record.body).is_ok(),
            };
            Ok(sound && record.statement == statement.id)
        })
    }
}

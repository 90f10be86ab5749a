//! Fake records.

use sdpp_proto::codec::Bytes32;
use sdpp_proto::hash::labelled;
use sdpp_proto::statement::{AnyStatement, Form};

use crate::rail::{RecordId, Records, Reply};

use super::bank::Book;
use super::{Call, FakeBank};

/// Records kept by a [`FakeBank`].
#[derive(Clone)]
pub struct FakeRecords {
    bank: FakeBank,
}

impl FakeRecords {
    /// The records of this bank.
    pub fn new(bank: &FakeBank) -> Self {
        Self { bank: bank.clone() }
    }
}

fn record_of(statement: &AnyStatement) -> RecordId {
    Bytes32(labelled("fake record", &[statement.id.as_bytes()]))
}

fn append(book: &mut Book, statement: &AnyStatement, form: Form) -> RecordId {
    let id = record_of(statement);
    book.records.entry(id).or_insert_with(|| {
        let bytes = match form {
            Form::Full => statement.bytes.to_vec(),
            Form::Hash => statement.id.as_bytes().to_vec(),
        };
        (statement.id, bytes)
    });
    id
}

impl Records for FakeRecords {
    fn backend(&self) -> &'static str {
        "fake"
    }

    fn origin(&self) -> String {
        "fake.invalid/records".to_owned()
    }

    fn append<'a>(&'a self, statement: &'a AnyStatement, form: Form) -> Reply<'a, RecordId> {
        Box::pin(async move { self.bank.act(Call::Append, |book| Ok(append(book, statement, form))) })
    }

    fn fetch<'a>(&'a self, record: &'a RecordId) -> Reply<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            self.bank.act(Call::Fetch, |book| Ok(book.records.get(record).map(|(_, bytes)| bytes.clone())))
        })
    }

    fn verify<'a>(&'a self, record: &'a RecordId, statement: &'a AnyStatement) -> Reply<'a, bool> {
        Box::pin(async move {
            let holds = |book: &mut Book| book.records.get(record).is_some_and(|(id, _)| *id == statement.id);
            self.bank.act(Call::Verify, |book| Ok(holds(book)))
        })
    }
}

//! What [`Records`] must do.

use std::future::Future;

use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{AnyStatement, Form, Payment, Settlement, Signed};

use crate::rail::{RailError, RecordId, Records, Reply};

use super::test_key;

/// How often an idempotent call is repeated before the suite calls the ledger dead.
const TRIES_MAX: usize = 100;

/// Runs all cases. `fresh` gives 32 bytes that this ledger has never seen; `wait` lets what was sent
/// become final.
///
/// # Panics
/// Where the records break their contract.
pub async fn records<W: Future<Output = ()>>(
    records: &dyn Records,
    mut fresh: impl FnMut() -> Bytes32,
    mut wait: impl FnMut() -> W,
) {
    assert!(!records.backend().is_empty(), "the kind of records has a name");
    assert_eq!(records.origin(), records.origin(), "the origin does not change");
    let mut ledger = Ledger { records, wait: &mut wait };
    for form in [Form::Full, Form::Hash] {
        ledger.keeps_statements(&mut fresh, form).await;
    }
    ledger.keeps_the_first_form(&mut fresh).await;
    ledger.knows_what_it_does_not_hold(&mut fresh).await;
}

struct Ledger<'a, F> {
    records: &'a dyn Records,
    wait: &'a mut F,
}

impl<'a, W: Future<Output = ()>, F: FnMut() -> W> Ledger<'a, F> {
    async fn insist<'b, T>(&mut self, mut call: impl FnMut() -> Reply<'b, T>) -> Result<T, RailError> {
        let mut last = RailError::Unavailable;
        for _ in 0..TRIES_MAX {
            match call().await {
                Err(error @ (RailError::Unavailable | RailError::Unknown)) => last = error,
                clear => return clear,
            }
            (self.wait)().await;
        }
        Err(last)
    }

    async fn append(&mut self, statement: &AnyStatement, form: Form) -> RecordId {
        let records = self.records;
        let id = self.insist(|| records.append(statement, form)).await.expect("a statement is recorded");
        (self.wait)().await;
        id
    }

    async fn fetch(&mut self, id: &RecordId) -> Option<Vec<u8>> {
        let records = self.records;
        self.insist(|| records.fetch(id)).await.expect("a record is fetched, or there is none")
    }

    async fn verify(&mut self, id: &RecordId, statement: &AnyStatement) -> bool {
        let records = self.records;
        self.insist(|| records.verify(id, statement)).await.expect("a record is verified, one way or the other")
    }

    async fn keeps_statements(&mut self, fresh: &mut impl FnMut() -> Bytes32, form: Form) {
        let statements = [payment(fresh()), settlement(fresh()), payment(fresh())];
        let mut ids = Vec::new();
        for statement in &statements {
            ids.push(self.append(statement, form).await);
        }
        for (statement, id) in statements.iter().zip(&ids) {
            assert_eq!(self.append(statement, form).await, *id, "a known statement gives its record again");
            let bytes = self.fetch(id).await.expect("what was recorded can be fetched");
            match form {
                Form::Full => assert_eq!(bytes, *statement.bytes, "a full record holds the exact bytes"),
                Form::Hash => assert_eq!(bytes, statement.id.0, "a hashed record holds the id, no more"),
            }
            for other in &statements {
                let same = other.id == statement.id;
                assert_eq!(self.verify(id, other).await, same, "a record is of its own statement only");
            }
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), statements.len(), "each statement has a record of its own");
    }

    async fn keeps_the_first_form(&mut self, fresh: &mut impl FnMut() -> Bytes32) {
        for (first, second) in [(Form::Full, Form::Hash), (Form::Hash, Form::Full)] {
            let statement = payment(fresh());
            let id = self.append(&statement, first).await;
            let before = self.fetch(&id).await;
            assert_eq!(self.append(&statement, second).await, id, "known in one form is known");
            assert_eq!(self.fetch(&id).await, before, "a record never changes");
        }
    }

    async fn knows_what_it_does_not_hold(&mut self, fresh: &mut impl FnMut() -> Bytes32) {
        let unknown = fresh();
        assert_eq!(self.fetch(&unknown).await, None, "no such record");
        assert!(!self.verify(&unknown, &payment(fresh())).await, "no record holds nothing");
    }
}

fn payment(nonce: Bytes32) -> AnyStatement {
    let body = Payment {
        order_id: StatementId(nonce.0),
        prev: StatementId(nonce.0),
        invoice_id: StatementId([1; 32]),
        total: Amount::new(5),
        channel: None,
        proof: None,
    };
    Signed::sign(&test_key(203), body).erase()
}

fn settlement(nonce: Bytes32) -> AnyStatement {
    let body = Settlement {
        order_id: StatementId(nonce.0),
        invoice_id: StatementId([1; 32]),
        payment_id: None,
        due: Amount::new(5),
        paid: Amount::new(5),
    };
    Signed::sign(&test_key(204), body).erase()
}

//! Records as events of a contract: an id, or a whole statement, in a transaction of the recorder's account.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::{Filter, Log, TransactionReceipt};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall as _, SolEvent as _};
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::statement::{AnyStatement, Form, Kind};
use sdpp_rail::{RailError, RecordId, Records, Reply};

use crate::abi::SdppRecords as r;
use crate::limits;
use crate::node::{Node, answered};
use crate::sender::{Call, Sender};

/// Name of this kind of records in the registry of `spec/rails.md`.
const BACKEND: &str = "evm";

/// Statements on a chain, recorded by one account. A record's id is the hash of its transaction.
pub struct EvmRecords {
    node: Arc<Node>,
    sender: Sender,
    contract: Address,
    ends_only: bool,
    known: Mutex<BTreeMap<StatementId, RecordId>>,
}

/// What an event of the contract holds.
struct Found {
    by: Address,
    digest: B256,
    body: Vec<u8>,
}

impl EvmRecords {
    /// Records in the name of this account, in this contract.
    pub fn new(node: Arc<Node>, account: PrivateKeySigner, contract: Address) -> Self {
        let sender = Sender::new(node.clone(), account);
        Self { node, sender, contract, ends_only: false, known: Mutex::default() }
    }

    /// The same, but of each order only its ends are recorded, and by their ids: a seller that lets buyers say what is
    /// recorded lets them spend its gas.
    #[must_use]
    pub fn ends_only(self) -> Self {
        Self { ends_only: true, ..self }
    }

    /// The record of a statement, if there is one: whoever lost its memory finds it again.
    async fn search(&self, statement: &StatementId) -> Result<Option<RecordId>, RailError> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(statement) {
            return Ok(Some(*known));
        }
        // Nodes refuse more blocks at once; what is older than that is not recorded again by whoever goes on with an order.
        let newest = self.node.height().await?;
        let first = newest.saturating_add(1).saturating_sub(limits::LOGS_BLOCKS);
        let filter = Filter::new()
            .address(self.contract)
            .from_block(first)
            .to_block(newest)
            .topic1(self.sender.account().into_word())
            .topic2(B256::new(statement.0));
        let logs = answered(self.node.provider().get_logs(&filter)).await?;
        let found = logs.first().and_then(|log| log.transaction_hash).map(|hash| Bytes32(hash.0));
        if let Some(found) = found {
            self.remember(*statement, found);
        }
        Ok(found)
    }

    fn remember(&self, statement: StatementId, record: RecordId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= limits::RECORDS_REMEMBERED_MAX {
            // Ids are random, so this is anybody; it is searched again.
            known.pop_first();
        }
        known.insert(statement, record);
    }

    async fn record(&self, statement: &AnyStatement, form: Form) -> Result<RecordId, RailError> {
        let is_end = !matches!(statement.kind, Kind::Invoice | Kind::Payment);
        if self.ends_only && !is_end {
            return Err(RailError::Declined("only the ends of orders are recorded here"));
        }
        let form = if self.ends_only { Form::Hash } else { form };
        if let Some(known) = self.search(&statement.id).await? {
            return Ok(known);
        }
        let digest = B256::new(statement.id.0);
        let data = match form {
            Form::Hash => r::anchorCall { digest }.abi_encode(),
            Form::Full => r::keepCall { digest, statement: statement.bytes.to_vec().into() }.abi_encode(),
        };
        let sent = self.sender.send(Call::new(self.contract, data.into(), U256::ZERO)).await?;
        let record = Bytes32(sent.transaction_hash.0);
        self.remember(statement.id, record);
        Ok(record)
    }

    /// The records of a final transaction; none where there is no such one, or not yet.
    async fn final_records(&self, record: &RecordId) -> Result<Vec<Found>, RailError> {
        let asked = self.node.provider().get_transaction_receipt(B256::new(record.0)).into_future();
        let Some(receipt) = answered(asked).await? else { return Ok(Vec::new()) };
        if !self.is_final(&receipt).await? {
            return Err(RailError::Unavailable);
        }
        let logs = receipt.inner.logs().iter().filter(|log| log.address() == self.contract);
        Ok(logs.filter_map(found_in).collect())
    }

    async fn is_final(&self, receipt: &TransactionReceipt) -> Result<bool, RailError> {
        let newest = answered(self.node.provider().get_block_number().into_future()).await?;
        let depth = receipt.block_number.and_then(|block| newest.checked_sub(block));
        Ok(depth.is_some_and(|depth| depth >= u64::from(self.node.finality())))
    }
}

fn found_in(log: &Log) -> Option<Found> {
    if let Ok(kept) = r::Kept::decode_log(&log.inner) {
        return Some(Found { by: kept.by, digest: kept.digest, body: kept.statement.to_vec() });
    }
    let anchored = r::Anchored::decode_log(&log.inner).ok()?;
    Some(Found { by: anchored.by, digest: anchored.digest, body: anchored.digest.to_vec() })
}

impl Found {
    /// The contract does not look at what it keeps: whoever reads it does.
    fn is_of(&self, statement: &AnyStatement) -> bool {
        let whole = self.body.len() != B256::len_bytes();
        self.digest.0 == statement.id.0 && (!whole || self.body == *statement.bytes)
    }
}

impl Records for EvmRecords {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn origin(&self) -> String {
        format!("eip155:{}:{}", self.node.place().chain, self.contract)
    }

    fn append<'a>(&'a self, statement: &'a AnyStatement, form: Form) -> Reply<'a, RecordId> {
        Box::pin(self.record(statement, form))
    }

    fn fetch<'a>(&'a self, record: &'a RecordId) -> Reply<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let own = self.sender.account();
            let found = self.final_records(record).await?;
            Ok(found.into_iter().find(|found| found.by == own).map(|found| found.body))
        })
    }

    fn verify<'a>(&'a self, record: &'a RecordId, statement: &'a AnyStatement) -> Reply<'a, bool> {
        Box::pin(async move { Ok(self.final_records(record).await?.iter().any(|found| found.is_of(statement))) })
    }
}

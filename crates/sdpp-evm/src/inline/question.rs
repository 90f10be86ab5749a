//! What is asked over JSON-RPC, as far as this rail asks it.

use std::sync::Arc;

use alloy::consensus::{Header as Heads, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxEnvelope};
use alloy::eips::eip2718::Decodable2718 as _;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bloom, Bytes, TxKind, U64};
use alloy::rpc::json_rpc::{ErrorPayload, ResponsePayload, SerializedRequest};
use alloy::rpc::types::{
    Block as FullBlock, BlockTransactions, FeeHistory, Filter, Header, Log, TransactionReceipt, TransactionRequest,
};
use serde_json::Value;
use serde_json::value::to_value;

use super::blocks::{Block, Blocks, Transaction};
use super::machine::{GAS_MAX, Reverted, State};
use super::{CHAIN, InlineChain, seconds};
use crate::curve;

/// What a unit of gas is said to cost, in wei; nobody pays it.
const GAS_PRICE: u64 = 1_000_000_000;
/// Gas that a block has room for.
const BLOCK_GAS: u64 = 30_000_000;
/// A call that forwards gas needs more than it uses: hundredths of the latter that an estimate gives.
const ESTIMATE_PERCENT: u64 = 130;

/// An error, in the node's words; with the data of a revert.
struct Said(i64, &'static str, Option<Bytes>);

/// The node has too much to do.
pub(super) fn busy() -> ResponsePayload {
    payload(Err(Said(-32005, "limit exceeded", None)))
}

fn payload(answer: Result<Value, Said>) -> ResponsePayload {
    match answer {
        Ok(value) => ResponsePayload::Success(raw(&value)),
        Err(Said(code, message, data)) => {
            let data = data.map(|data| raw(&to_value(data).unwrap_or_default()));
            ResponsePayload::Failure(ErrorPayload { code, message: message.into(), data })
        }
    }
}

fn raw(value: &Value) -> Box<serde_json::value::RawValue> {
    serde_json::value::to_raw_value(value).expect("a value is JSON")
}

fn json(value: impl serde::Serialize) -> Result<Value, Said> {
    to_value(value).map_err(|_| Said(-32603, "internal error", None))
}

/// One question.
struct Question<'a> {
    blocks: &'a mut Blocks,
    params: Vec<Value>,
    now: u64,
    /// Blocks that the node has not heard of yet.
    behind: u64,
    /// Questions until a transaction is mined.
    waits: u32,
}

impl InlineChain {
    /// Answers, as seen so many blocks late; a transaction waits for so many questions.
    pub(super) fn answer(&self, request: &SerializedRequest, behind: u64, waits: u32) -> ResponsePayload {
        let params = request.params().map(|params| serde_json::from_str(params.get()));
        let params = params.transpose().ok().flatten().unwrap_or_default();
        let now = seconds((self.clock)());
        let mut blocks = self.lock();
        blocks.tick(now, request.method() == "eth_blockNumber");
        payload(Question { blocks: &mut blocks, params, now, behind, waits }.answer(request.method()))
    }
}

impl Question<'_> {
    fn answer(mut self, method: &str) -> Result<Value, Said> {
        match method {
            "eth_chainId" => json(U64::from(CHAIN)),
            "eth_gasPrice" => json(U64::from(GAS_PRICE)),
            "eth_blockNumber" => json(U64::from(self.newest())),
            "eth_getCode" => {
                let account = self.param(0)?;
                json(self.state(1)?.code(account))
            }
            "eth_getBalance" => {
                let account = self.param(0)?;
                json(self.state(1)?.coins(account))
            }
            "eth_getTransactionCount" => self.count(),
            "eth_call" => self.call(),
            "eth_estimateGas" => self.estimate(),
            "eth_feeHistory" => json(FeeHistory {
                base_fee_per_gas: vec![u128::from(GAS_PRICE); 2],
                gas_used_ratio: vec![0.5],
                oldest_block: self.newest(),
                reward: Some(vec![vec![1_000_000]]),
                ..FeeHistory::default()
            }),
            "eth_sendRawTransaction" => self.send(),
            "eth_getTransactionReceipt" => self.receipt(),
            "eth_getBlockByNumber" => self.block(),
            "eth_getLogs" => self.logs(),
            _ => Err(Said(-32601, "the method does not exist", None)),
        }
    }

    fn param<T: serde::de::DeserializeOwned>(&self, at: usize) -> Result<T, Said> {
        let found = self.params.get(at).cloned().unwrap_or(Value::Null);
        serde_json::from_value(found).map_err(|_| Said(-32602, "invalid params", None))
    }

    fn newest(&self) -> u64 {
        self.blocks.height(self.behind)
    }

    fn number(&self, at: usize) -> Result<u64, Said> {
        match self.param::<Option<BlockId>>(at)? {
            Some(BlockId::Number(BlockNumberOrTag::Number(number))) => Ok(number),
            Some(BlockId::Hash(_)) => Err(Said(-32602, "invalid params", None)),
            Some(BlockId::Number(_)) | None => Ok(self.newest()),
        }
    }

    fn state(&self, at: usize) -> Result<Arc<State>, Said> {
        let number = self.number(at)?;
        if number > self.newest() {
            return Err(Said(-32000, "header not found", None));
        }
        self.blocks.state(number).cloned().ok_or(Said(-32000, "missing trie node", None))
    }

    fn count(&self) -> Result<Value, Said> {
        let account: Address = self.param(0)?;
        let is_pending = self.param::<Option<BlockId>>(1)? == Some(BlockId::pending());
        let count = if is_pending { self.blocks.pending_nonce(account) } else { self.state(1)?.nonce(account) };
        json(U64::from(count))
    }

    fn request(&self) -> Result<Transaction, Said> {
        let asked: TransactionRequest = self.param(0)?;
        let from = asked.from.unwrap_or_default();
        let to = asked.to.unwrap_or(TxKind::Create);
        let data = asked.input.into_input().unwrap_or_default();
        Ok(Transaction::of(from, to, data, asked.value.unwrap_or_default()))
    }

    fn call(&self) -> Result<Value, Said> {
        let (request, number) = (self.request()?, self.number(1)?);
        let at = self.blocks.block(number).ok_or(Said(-32000, "header not found", None))?.at;
        let done = self.state(1)?.try_out(&request, at).map_err(reverted)?;
        json(done.output)
    }

    fn estimate(&self) -> Result<Value, Said> {
        let request = self.request()?;
        let state = self.blocks.state(self.newest()).ok_or(Said(-32000, "missing trie node", None))?;
        if request.value > state.coins(request.from) {
            return Err(Said(-32000, "insufficient funds for gas * price + value", None));
        }
        let done = state.try_out(&request, self.blocks.next(self.now)).map_err(reverted)?;
        let gas = done.gas.saturating_mul(ESTIMATE_PERCENT).checked_div(100).unwrap_or(done.gas);
        json(U64::from(gas.min(GAS_MAX)))
    }

    fn send(&mut self) -> Result<Value, Said> {
        let raw: Bytes = self.param(0)?;
        let bad = |_| Said(-32000, "invalid transaction", None);
        let envelope = TxEnvelope::decode_2718(&mut raw.as_ref()).map_err(bad)?;
        let from = curve::signer_of(envelope.signature(), envelope.signature_hash());
        let from = from.ok_or(Said(-32000, "invalid sender", None))?;
        if envelope.chain_id() != Some(CHAIN) {
            return Err(Said(-32000, "invalid chain id for signer", None));
        }
        let transaction = Transaction {
            hash: *envelope.tx_hash(),
            from,
            to: envelope.kind(),
            data: envelope.input().clone(),
            value: envelope.value(),
            nonce: envelope.nonce(),
            gas_limit: envelope.gas_limit(),
            fee: envelope.max_fee_per_gas(),
        };
        let hash = transaction.hash;
        let taken = self.blocks.take(transaction, (self.now, self.waits));
        taken.map_err(|why| Said(-32000, why, None))?;
        json(hash)
    }

    fn receipt(&self) -> Result<Value, Said> {
        let hash: B256 = self.param(0)?;
        let found = self.blocks.find(hash).filter(|block| block.at.number <= self.newest());
        let Some((block, mined)) = found.and_then(|block| Some((block, block.mined.as_ref()?))) else {
            return Ok(Value::Null);
        };
        let receipt = Receipt { status: mined.success.into(), cumulative_gas_used: mined.gas, logs: logs_of(block) };
        json(TransactionReceipt {
            inner: ReceiptEnvelope::Eip1559(ReceiptWithBloom { receipt, logs_bloom: Bloom::ZERO }),
            transaction_hash: hash,
            transaction_index: Some(0),
            block_hash: Some(block.hash),
            block_number: Some(block.at.number),
            gas_used: mined.gas,
            effective_gas_price: u128::from(GAS_PRICE),
            blob_gas_used: None,
            blob_gas_price: None,
            from: mined.transaction.from,
            to: mined.transaction.to.into_to(),
            contract_address: None,
        })
    }

    fn block(&self) -> Result<Value, Said> {
        let number = self.number(0)?;
        let Some(block) = self.blocks.block(number).filter(|_| number <= self.newest()) else { return Ok(Value::Null) };
        let inner = Heads { number, timestamp: block.at.timestamp, gas_limit: BLOCK_GAS, ..Heads::default() };
        let header = Header { hash: block.hash, inner, total_difficulty: None, size: None };
        let hashes = block.mined.iter().map(|mined| mined.transaction.hash).collect();
        json(FullBlock::<B256> {
            header,
            uncles: Vec::new(),
            transactions: BlockTransactions::Hashes(hashes),
            withdrawals: None,
        })
    }

    fn logs(&self) -> Result<Value, Said> {
        let filter: Filter = self.param(0)?;
        let newest = self.newest();
        let (from, to) = (filter.get_from_block().unwrap_or(newest), filter.get_to_block().unwrap_or(newest));
        let mut found = Vec::new();
        for number in from..=to.min(newest) {
            let logs = self.blocks.block(number).map(logs_of).unwrap_or_default();
            found.extend(logs.into_iter().filter(|log| filter.matches(&log.inner)));
        }
        json(found)
    }
}

fn reverted(Reverted { why, .. }: Reverted) -> Said {
    Said(3, "execution reverted", Some(why))
}

fn logs_of(block: &Block) -> Vec<Log> {
    let mined = block.mined.iter();
    let logs = mined.flat_map(|mined| mined.logs.iter().map(|log| (mined.transaction.hash, log.clone())));
    let logs = logs.zip(0..).map(|((hash, inner), index)| Log {
        inner,
        block_hash: Some(block.hash),
        block_number: Some(block.at.number),
        block_timestamp: Some(block.at.timestamp),
        transaction_hash: Some(hash),
        transaction_index: Some(0),
        log_index: Some(index),
        removed: false,
    });
    logs.collect()
}

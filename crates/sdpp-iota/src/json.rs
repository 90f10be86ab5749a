//! Nodes over JSON-RPC.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64ct::{Base64, Encoding as _};
use iota_sdk_types::{Address, ObjectReference, SenderSignedTransaction, Transaction, TransactionDigest};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::limits;
use crate::node::{Answer, CallError, Coin, Coins, Estimate, Transport};
use crate::receipt::Receipt;

/// The body of an answer that is on its way.
pub type Body<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, CallError>> + Send + 'a>>;

/// Carries bodies of requests, and brings those of answers.
pub trait Line: Send + Sync {
    /// For people.
    fn name(&self) -> String;

    /// Posts a body; `executes`: it has a transaction executed, which takes longer.
    fn post(&self, body: Vec<u8>, executes: bool) -> Body<'_>;
}

/// A node over JSON-RPC. Its answers carry no signatures of validators.
pub struct JsonRpc {
    line: Arc<dyn Line>,
    count: AtomicU64,
}

/// JSON-RPC's code for a request whose parameters make no sense; nodes say it of unknown transactions.
const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC's code for a failure inside of a node: whether something was done is not known.
const INTERNAL: i64 = -32603;
/// How nodes begin to say that they do not know a transaction.
const UNKNOWN: &str = "Could not find the referenced transaction";
/// What people are told of a node's refusal, at most.
const REASON_CHARS_MAX: usize = 300;

impl JsonRpc {
    /// Over this line.
    pub fn new(line: Arc<dyn Line>) -> Self {
        Self { line, count: AtomicU64::new(1) }
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        let id = self.count.fetch_add(1, Ordering::Relaxed);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let executes = method == "iota_executeTransactionBlock";
        let body = self.line.post(request.to_string().into_bytes(), executes).await?;
        let answer: Value = serde_json::from_slice(&body).map_err(|_| CallError::Malformed("it is no JSON"))?;
        if answer.get("id") != Some(&json!(id)) {
            return Err(CallError::Malformed("it answers another question"));
        }
        if let Some(error) = answer.get("error") {
            return Err(refusal(error));
        }
        answer.get("result").cloned().ok_or(CallError::Malformed("it has no result"))
    }
}

fn refusal(error: &Value) -> CallError {
    let message = error.get("message").and_then(Value::as_str).unwrap_or("without a reason");
    let message: String = message.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect();
    match error.get("code").and_then(Value::as_i64) {
        Some(INTERNAL) => CallError::Lost,
        Some(INVALID_PARAMS) if message.starts_with(UNKNOWN) => CallError::Refused(UNKNOWN.to_owned()),
        _ => CallError::Refused(message),
    }
}

/// A field that has to be there.
fn field<'a>(value: &'a Value, name: &'static str) -> Result<&'a Value, CallError> {
    value.get(name).ok_or(CallError::Malformed(name))
}

/// A number, which these nodes write as text.
fn number(value: &Value, name: &'static str) -> Result<u64, CallError> {
    let text = value.as_str().ok_or(CallError::Malformed(name))?;
    let is_plain = text == "0" || (text.starts_with(|first: char| ('1'..='9').contains(&first)));
    text.parse().ok().filter(|_| is_plain).ok_or(CallError::Malformed(name))
}

/// What stands there in its one spelling.
fn parsed<T: std::str::FromStr + std::fmt::Display>(value: &Value, name: &'static str) -> Result<T, CallError> {
    let text = field(value, name)?.as_str().ok_or(CallError::Malformed(name))?;
    text.parse().ok().filter(|parsed: &T| parsed.to_string() == text).ok_or(CallError::Malformed(name))
}

fn decoded<T: DeserializeOwned>(value: &Value, name: &'static str) -> Result<T, CallError> {
    serde_json::from_value(field(value, name)?.clone()).map_err(|_| CallError::Malformed(name))
}

fn coin(listed: &Value) -> Result<Coin, CallError> {
    let reference = ObjectReference {
        object_id: parsed(listed, "coinObjectId")?,
        version: number(field(listed, "version")?, "version")?.into(),
        digest: parsed(listed, "digest")?,
    };
    Ok(Coin { reference, balance: number(field(listed, "balance")?, "balance")? })
}

fn coins(result: &Value) -> Result<Coins, CallError> {
    let listed = field(result, "data")?.as_array().ok_or(CallError::Malformed("data"))?;
    let coins = listed.iter().map(coin).collect::<Result<Vec<_>, _>>()?;
    let more = field(result, "hasNextPage")?.as_bool().ok_or(CallError::Malformed("hasNextPage"))?;
    let next = result.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
    Ok(Coins { coins, next: next.filter(|_| more) })
}

fn estimate(result: &Value) -> Result<Estimate, CallError> {
    let effects = field(result, "effects")?;
    let status = field(effects, "status")?;
    if status.get("status").and_then(Value::as_str) != Some("success") {
        let why = status.get("error").and_then(Value::as_str).unwrap_or("it would fail");
        return Err(CallError::Refused(why.chars().take(REASON_CHARS_MAX).collect()));
    }
    let used = field(effects, "gasUsed")?;
    let part = |name| number(field(used, name)?, name);
    let budget = part("computationCost")?.saturating_add(part("storageCost")?);
    Ok(Estimate { budget, cost: budget.saturating_sub(part("storageRebate")?) })
}

fn receipt(result: &Value) -> Result<Receipt, CallError> {
    let transaction = field(result, "rawTransaction")?.as_str().ok_or(CallError::Malformed("rawTransaction"))?;
    let transaction = Base64::decode_vec(transaction).map_err(|_| CallError::Malformed("rawTransaction"))?;
    let effects = decoded(result, "rawEffects")?;
    let checkpoint = result.get("checkpoint").filter(|value| !value.is_null());
    let checkpoint = checkpoint.map(|value| number(value, "checkpoint")).transpose()?;
    Ok(Receipt { transaction, effects, checkpoint })
}

impl Transport for JsonRpc {
    fn name(&self) -> String {
        self.line.name()
    }

    fn chain(&self) -> Answer<'_, String> {
        Box::pin(async {
            let chain = self.call("iota_getChainIdentifier", json!([])).await?;
            let is_hex = |text: &&str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            chain.as_str().filter(is_hex).map(str::to_lowercase).ok_or(CallError::Malformed("the chain's identifier"))
        })
    }

    fn epoch(&self) -> Answer<'_, u64> {
        Box::pin(async {
            let newest = self.call("iota_getLatestCheckpointSequenceNumber", json!([])).await?;
            let newest = number(&newest, "the newest checkpoint")?.to_string();
            number(field(&self.call("iota_getCheckpoint", json!([newest])).await?, "epoch")?, "epoch")
        })
    }

    fn gas_price(&self) -> Answer<'_, u64> {
        Box::pin(async { number(&self.call("iotax_getReferenceGasPrice", json!([])).await?, "the price of gas") })
    }

    fn coins<'a>(&'a self, owner: &'a Address, page: Option<String>) -> Answer<'a, Coins> {
        Box::pin(async move {
            let params = json!([owner.to_string(), null, page, limits::COINS_PER_PAGE]);
            coins(&self.call("iotax_getCoins", params).await?)
        })
    }

    fn estimate<'a>(&'a self, transaction: &'a Transaction) -> Answer<'a, Estimate> {
        Box::pin(
            async move { estimate(&self.call("iota_dryRunTransactionBlock", json!([base64(transaction)?])).await?) },
        )
    }

    fn execute<'a>(&'a self, signed: &'a SenderSignedTransaction) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let signed = signed.signed_transaction();
            let signatures: Vec<String> =
                signed.signatures().iter().map(|one| Base64::encode_string(&one.to_bytes())).collect();
            let options = json!({ "showEffects": true, "showRawEffects": true });
            let params = json!([base64(signed.transaction())?, signatures, options, "WaitForLocalExecution"]);
            let result = self.call("iota_executeTransactionBlock", params).await?;
            let effects = result.get("rawEffects").and_then(Value::as_array).filter(|effects| !effects.is_empty());
            if effects.is_some() {
                return decoded(&result, "rawEffects");
            }
            // A node that shows them only where it is asked for the transaction.
            let digest = signed.transaction().digest();
            self.transaction(&digest).await?.map(|receipt| receipt.effects).ok_or(CallError::Lost)
        })
    }

    fn transaction<'a>(&'a self, digest: &'a TransactionDigest) -> Answer<'a, Option<Receipt>> {
        Box::pin(async move {
            let options = json!({ "showRawInput": true, "showRawEffects": true });
            match self.call("iota_getTransactionBlock", json!([digest.to_string(), options])).await {
                Ok(result) => receipt(&result).map(Some),
                Err(CallError::Refused(why)) if why == UNKNOWN => Ok(None),
                Err(error) => Err(error),
            }
        })
    }
}

fn base64(transaction: &Transaction) -> Result<String, CallError> {
    let bytes = bcs::to_bytes(transaction).map_err(|_| CallError::Malformed("the transaction"))?;
    Ok(Base64::encode_string(&bytes))
}

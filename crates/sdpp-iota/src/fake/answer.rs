//! The recorded JSON-RPC, answered by the fake network.

use base64ct::{Base64, Encoding as _};
use iota_sdk_types::{
    Address, ExecutionStatus, ObjectId, SenderSignedTransaction, Transaction, TransactionDigest, TransactionEffects,
    UserSignature,
};
use serde_json::{Value, json};

use super::{FakeCoin, Ledger};

/// The code of what the network refuses.
const REFUSED: i64 = -32_002;
/// The code of questions that make no sense.
const INVALID: i64 = -32_602;

type Told = Result<Value, (i64, String)>;

/// The method of a request.
pub(super) fn method_of(body: &[u8]) -> String {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    request.get("method").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Answers a request.
pub(super) fn answer(ledger: &mut Ledger, body: &[u8]) -> Value {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let params = request.get("params").and_then(Value::as_array).cloned().unwrap_or_default();
    let id = request.get("id").cloned().unwrap_or_default();
    let told = match request.get("method").and_then(Value::as_str).unwrap_or_default() {
        "iota_getChainIdentifier" => Ok(json!(ledger.chain)),
        "iotax_getReferenceGasPrice" => Ok(json!(ledger.gas_price.to_string())),
        "iota_getLatestCheckpointSequenceNumber" => Ok(json!(ledger.checkpoints.len().saturating_sub(1).to_string())),
        "iota_getCheckpoint" => checkpoint(ledger, &params),
        "iotax_getCoins" => coins(ledger, &params),
        "iota_dryRunTransactionBlock" => dry_run(ledger, &params),
        "iota_executeTransactionBlock" => execute(ledger, &params),
        "iota_getTransactionBlock" => transaction(ledger, &params),
        method => Err((-32_601, format!("Method not found: {method}"))),
    };
    match told {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, message)) => json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }),
    }
}

fn invalid(what: &str) -> (i64, String) {
    (INVALID, format!("Invalid params: {what}"))
}

fn text(params: &[Value], index: usize) -> Result<&str, (i64, String)> {
    params.get(index).and_then(Value::as_str).ok_or_else(|| invalid("a text is missing"))
}

fn from_base64<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, (i64, String)> {
    let bytes = Base64::decode_vec(text).map_err(|_| invalid("it is not base64"))?;
    bcs::from_bytes(&bytes).map_err(|_| invalid("it is not BCS"))
}

fn checkpoint(ledger: &Ledger, params: &[Value]) -> Told {
    let number: usize = text(params, 0)?.parse().map_err(|_| invalid("no number"))?;
    let found = ledger.checkpoints.get(number).ok_or_else(|| invalid("no such checkpoint"))?;
    let transactions: Vec<String> = found.1.iter().map(ToString::to_string).collect();
    Ok(json!({ "epoch": found.0.to_string(), "sequenceNumber": number.to_string(), "transactions": transactions }))
}

/// A coin as nodes list it.
pub(super) fn listed(id: &ObjectId, coin: &FakeCoin) -> Value {
    json!({
        "coinType": "0x2::iota::IOTA",
        "coinObjectId": id.to_string(),
        "version": coin.version.to_string(),
        "digest": coin.digest.to_string(),
        "balance": coin.balance.to_string(),
    })
}

fn coins(ledger: &Ledger, params: &[Value]) -> Told {
    let owner: Address = text(params, 0)?.parse().map_err(|_| invalid("no address"))?;
    let after = params.get(2).and_then(Value::as_str).map(str::to_owned);
    let limit = params.get(3).and_then(Value::as_u64).and_then(|limit| limit.try_into().ok()).unwrap_or(50);
    let own = ledger.coins.iter().filter(|(_, coin)| coin.owner == owner);
    let mut own = own.skip_while(|(id, _)| after.as_ref().is_some_and(|after| id.to_string() <= *after)).peekable();
    let mut data = Vec::new();
    while data.len() < limit
        && let Some((id, coin)) = own.next()
    {
        data.push(listed(id, coin));
    }
    let next = data.last().and_then(|coin| coin.get("coinObjectId")).cloned();
    Ok(json!({ "data": data, "nextCursor": next, "hasNextPage": own.peek().is_some() }))
}

fn effects_of(effects: &TransactionEffects) -> Value {
    let TransactionEffects::V1(inner) = effects else { return Value::Null };
    let mut status = json!({ "status": "success" });
    if let ExecutionStatus::Failure { error, command } = &inner.status {
        let command = command.unwrap_or(0);
        status = json!({ "status": "failure", "error": format!("{error:?} in command {command}") });
    }
    let cost = &inner.gas_cost_summary;
    json!({
        "messageVersion": "v1",
        "status": status,
        "executedEpoch": inner.epoch.to_string(),
        "transactionDigest": inner.transaction_digest.to_string(),
        "gasUsed": {
            "computationCost": cost.computation_cost.to_string(),
            "computationCostBurned": cost.computation_cost_burned.to_string(),
            "storageCost": cost.storage_cost.to_string(),
            "storageRebate": cost.storage_rebate.to_string(),
            "nonRefundableStorageFee": "0",
        },
    })
}

fn dry_run(ledger: &Ledger, params: &[Value]) -> Told {
    let transaction: Transaction = from_base64(text(params, 0)?)?;
    let effects = ledger.dry_run(&transaction).map_err(|why| (REFUSED, why))?;
    Ok(json!({ "effects": effects_of(&effects) }))
}

fn raw(effects: &TransactionEffects) -> Vec<u8> {
    bcs::to_bytes(effects).unwrap_or_default()
}

fn execute(ledger: &mut Ledger, params: &[Value]) -> Told {
    let transaction: Transaction = from_base64(text(params, 0)?)?;
    let signatures = params.get(1).and_then(Value::as_array).cloned().unwrap_or_default();
    let read = |text: &Value| {
        let bytes = Base64::decode_vec(text.as_str().unwrap_or_default()).map_err(|_| invalid("it is not base64"))?;
        UserSignature::from_bytes(&bytes).map_err(|_| invalid("no signature"))
    };
    let signatures = signatures.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let digest = ledger.execute(SenderSignedTransaction::new(transaction, signatures)).map_err(|why| (REFUSED, why))?;
    let done = ledger.done.get(&digest).ok_or_else(|| invalid("it is gone"))?;
    Ok(json!({
        "digest": digest.to_string(),
        "effects": effects_of(&done.effects),
        "rawEffects": raw(&done.effects),
        "confirmedLocalExecution": true,
    }))
}

fn transaction(ledger: &mut Ledger, params: &[Value]) -> Told {
    let digest: TransactionDigest = text(params, 0)?.parse().map_err(|_| invalid("no digest"))?;
    let unknown = || (INVALID, format!("Could not find the referenced transaction [TransactionDigest({digest})]."));
    if !ledger.is_known(&digest) {
        return Err(unknown());
    }
    let done = ledger.done.get(&digest).ok_or_else(unknown)?;
    let signed = bcs::to_bytes(&done.signed).unwrap_or_default();
    let mut told = json!({
        "digest": digest.to_string(),
        "rawTransaction": Base64::encode_string(&signed),
        "effects": effects_of(&done.effects),
        "rawEffects": raw(&done.effects),
    });
    if let (Some(checkpoint), Some(told)) = (done.checkpoint, told.as_object_mut()) {
        told.insert("checkpoint".into(), json!(checkpoint.to_string()));
    }
    Ok(told)
}

//! A gas station of the fake network, and the HTTP that it answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64ct::{Base64, Encoding as _};
use iota_sdk_types::{
    Address, ObjectId, ObjectReference, SenderSignedTransaction, Transaction, UserSignature, Version,
};
use serde_json::{Value, json};

use super::FakeNetwork;
use crate::node::{Answer, CallError};
use crate::station::{GasStation, Reserved};
use crate::wallet::Wallet;

/// Pays for everybody's gas out of one account.
pub struct FakeStation {
    network: Arc<FakeNetwork>,
    wallet: Wallet,
    /// Coins that are set aside, by reservation; none once they were used.
    reserved: Mutex<BTreeMap<u64, Option<Vec<ObjectId>>>>,
}

impl FakeStation {
    /// With the key of this seed, whose account has to have coins.
    pub fn new(network: &Arc<FakeNetwork>, seed: [u8; 32]) -> Arc<Self> {
        let wallet = Wallet::from_seed(&seed);
        Arc::new(Self { network: network.clone(), wallet, reserved: Mutex::default() })
    }

    /// Its account.
    pub fn address(&self) -> Address {
        self.wallet.address()
    }

    fn set_aside(&self, budget: u64) -> Result<Reserved, String> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = self.network.lock();
        let taken: Vec<ObjectId> = reserved.values().flatten().flatten().copied().collect();
        let mut own = ledger.coins.iter().filter(|(id, coin)| coin.owner == self.address() && !taken.contains(id));
        let found = own.find(|(_, coin)| coin.balance >= budget).ok_or("Unable to reserve gas coins")?;
        let coins = vec![ObjectReference::new(*found.0, Version::from_u64(found.1.version), found.1.digest)];
        let reservation = (reserved.len() as u64).saturating_add(1);
        reserved.insert(reservation, Some(vec![*found.0]));
        Ok(Reserved { sponsor: self.address(), reservation, coins })
    }

    fn sign_and_execute(&self, reservation: u64, signed: &SenderSignedTransaction) -> Result<(), String> {
        let taken =
            self.reserved.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&reservation).and_then(Option::take);
        taken.ok_or("Reservation is unknown, used or expired")?;
        let own = signed.signed_transaction();
        let sponsored = self.wallet.sign(own.transaction()).map_err(|error| error.to_string())?;
        // As the real one: the sponsor's first.
        let signatures = sponsored.signed_transaction().signatures().iter().chain(own.signatures()).cloned().collect();
        let both = SenderSignedTransaction::new(own.transaction().clone(), signatures);
        self.network.lock().execute(both).map(drop)
    }

    /// Answers a request's body at a path, as a station does over HTTP.
    pub fn answer(&self, path: &str, body: &[u8]) -> Vec<u8> {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let told = match path {
            "/v1/reserve_gas" => {
                let budget = request.get("gas_budget").and_then(Value::as_u64).unwrap_or(0);
                self.set_aside(budget).map(|reserved| {
                    let coin = |coin: &ObjectReference| {
                        json!({
                            "objectId": coin.object_id.to_string(), "version": coin.version.as_u64(),
                            "digest": coin.digest.to_string(),
                        })
                    };
                    json!({ "error": null, "result": {
                        "sponsor_address": reserved.sponsor.to_string(), "reservation_id": reserved.reservation,
                        "gas_coins": reserved.coins.iter().map(coin).collect::<Vec<_>>(),
                    } })
                })
            }
            "/v1/execute_tx" => self.executed(&request).map(|()| json!({ "error": null, "effects": {} })),
            _ => Err("no such path".into()),
        };
        told.unwrap_or_else(|why| json!({ "result": null, "effects": null, "error": why })).to_string().into_bytes()
    }

    fn executed(&self, request: &Value) -> Result<(), String> {
        let bytes = |name: &str| {
            let text = request.get(name).and_then(Value::as_str).unwrap_or_default();
            Base64::decode_vec(text).map_err(|_| format!("{name} is no base64"))
        };
        let transaction: Transaction = bcs::from_bytes(&bytes("tx_bytes")?).map_err(|error| error.to_string())?;
        let signature = UserSignature::from_bytes(&bytes("user_sig")?).map_err(|error| error.to_string())?;
        let reservation = request.get("reservation_id").and_then(Value::as_u64).unwrap_or(0);
        self.sign_and_execute(reservation, &SenderSignedTransaction::new(transaction, vec![signature]))
    }
}

impl GasStation for FakeStation {
    fn name(&self) -> String {
        "a fake gas station".into()
    }

    fn reserve(&self, budget: u64) -> Answer<'_, Reserved> {
        Box::pin(std::future::ready(self.set_aside(budget).map_err(CallError::Refused)))
    }

    fn execute<'a>(&'a self, reservation: u64, signed: &'a SenderSignedTransaction) -> Answer<'a, ()> {
        Box::pin(std::future::ready(self.sign_and_execute(reservation, signed).map_err(CallError::Refused)))
    }
}

//! The recorded conversations with a real network, through the real decoder and the real checks.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::path::Path;

use base64ct::{Base64, Encoding as _};
use iota_sdk_crypto::ToFromBech32 as _;
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_types::{Address, ObjectReference, SenderSignedTransaction, Transaction, TransactionKind};
use sdpp_iota::{Expected, Gas, NotPaid, Receipt, Wallet, Window, build, matched, verify};
use serde_json::Value;

/// The buyer's seed, as the recording's page says.
const SEED: [u8; 32] = [7; 32];

fn recorded(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn base64(value: &Value) -> Vec<u8> {
    Base64::decode_vec(value.as_str().unwrap()).unwrap()
}

fn wallet() -> Wallet {
    Wallet::import(&Ed25519PrivateKey::new(SEED).to_bech32().unwrap()).unwrap()
}

/// The receipt of a recorded transaction, as a node hands it out.
fn recorded_receipt(name: &str) -> Receipt {
    let result = &recorded(&format!("{name}.response"))["result"];
    let effects: Vec<u8> = serde_json::from_value(result["rawEffects"].clone()).unwrap();
    let checkpoint = result["checkpoint"].as_str().map(|number| number.parse().unwrap());
    Receipt { transaction: base64(&result["rawTransaction"]), effects, checkpoint }
}

fn transaction(name: &str) -> Transaction {
    bcs::from_bytes(&base64(&recorded(&format!("{name}.request"))["params"][0])).unwrap()
}

fn paid() -> (Receipt, Expected, Gas) {
    let (window, gas) = matched(&transaction("15-execute-hash")).unwrap();
    let Window { payer, payee, amount, record } = window;
    (recorded_receipt("16-get-hash"), Expected { payer, payee, amount, record }, gas)
}

#[test]
fn a_window_is_built_and_signed_as_the_network_took_it() {
    let request = recorded("15-execute-hash.request");
    let (_, Expected { payer, payee, amount, record }, gas) = paid();
    assert_eq!((amount, record.len()), (1_000_000, 297));
    assert_eq!(wallet().address(), payer);
    let built = build(&Window { payer, payee, amount, record }, &gas).unwrap();
    assert_eq!(bcs::to_bytes(&built).unwrap(), base64(&request["params"][0]));
    let signed = wallet().sign(&built).unwrap();
    let signatures = signed.signed_transaction().signatures();
    assert_eq!(signatures.len(), 1);
    assert_eq!(signatures[0].to_bytes(), base64(&request["params"][1][0]));
    assert_eq!(bcs::to_bytes(&signed).unwrap(), recorded_receipt("16-get-hash").transaction);
    let digest = recorded("15-execute-hash.response")["result"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(built.digest().to_string(), digest);
}

#[test]
fn what_the_network_answered_is_a_payment() {
    let (receipt, expected, _) = paid();
    let digest = verify(&receipt, &expected).unwrap();
    assert_eq!(digest.to_string(), recorded("16-get-hash.response")["result"]["digest"].as_str().unwrap());
}

#[test]
fn every_field_that_is_checked_counts() {
    let (receipt, expected, gas) = paid();
    let other = Address::new([9; 32]);
    for (changed, why) in [
        (Expected { payer: other, ..expected.clone() }, NotPaid::Payer),
        (Expected { payee: other, ..expected.clone() }, NotPaid::Payee),
        (Expected { amount: 999_999, ..expected.clone() }, NotPaid::Amount),
        (Expected { record: vec![1], ..expected.clone() }, NotPaid::Record),
    ] {
        assert_eq!(verify(&receipt, &changed), Err(why));
    }
    let unseen = Receipt { checkpoint: None, ..receipt.clone() };
    assert_eq!(verify(&unseen, &expected), Err(NotPaid::NoCheckpoint));
    // The effects of the plain transfer, of a transaction that failed, of nothing.
    let effects = recorded_receipt("06-get-none").effects;
    assert_eq!(verify(&Receipt { effects, ..receipt.clone() }, &expected), Err(NotPaid::OtherEffects));
    for effects in [Vec::new(), [receipt.effects.as_slice(), &[0]].concat()] {
        assert_eq!(verify(&Receipt { effects, ..receipt.clone() }, &expected), Err(NotPaid::Malformed));
    }
    let long = [receipt.transaction.as_slice(), &[0]].concat();
    assert_eq!(verify(&Receipt { transaction: long, ..receipt.clone() }, &expected), Err(NotPaid::Malformed));
    // Signed by somebody else, twice, by nobody.
    let built = transaction("15-execute-hash");
    let signature = |seed: u8| {
        let key = Ed25519PrivateKey::new([seed; 32]).to_bech32().unwrap();
        let signed = Wallet::import(&key).unwrap().sign(&built).unwrap();
        signed.signed_transaction().signatures()[0].clone()
    };
    let with = |signatures| {
        let signed = SenderSignedTransaction::new(built.clone(), signatures);
        verify(&Receipt { transaction: bcs::to_bytes(&signed).unwrap(), ..receipt.clone() }, &expected)
    };
    assert!(with(vec![signature(7)]).is_ok());
    assert_eq!(with(vec![signature(8)]), Err(NotPaid::Signature));
    assert_eq!(with(vec![signature(7), signature(7)]), Err(NotPaid::Signatures));
    assert_eq!(with(Vec::new()), Err(NotPaid::Signatures));
    // The payer's signature of another transaction.
    let Expected { payer, payee, record, .. } = expected.clone();
    let other = build(&Window { payer, payee, amount: 2, record }, &gas).unwrap();
    let foreign = wallet().sign(&other).unwrap().signed_transaction().signatures()[0].clone();
    assert_eq!(with(vec![foreign]), Err(NotPaid::Signature));
}

#[test]
fn no_changed_bit_of_a_signed_transaction_pays() {
    let (receipt, expected, _) = paid();
    for bit in 0..receipt.transaction.len() * 8 {
        let mut changed = receipt.clone();
        changed.transaction[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&changed, &expected).is_err(), "bit {bit}");
    }
}

#[test]
fn other_transactions_are_no_windows() {
    for name in ["05-execute-none", "10-execute-pure", "20-execute-bag"] {
        assert!(matched(&transaction(name)).is_err(), "{name}");
    }
    let Transaction::V1(good) = transaction("15-execute-hash") else { unreachable!("it is of version 1") };
    let TransactionKind::Programmable(program) = good.kind.clone() else { unreachable!("it is a program") };
    let with = |change: &dyn Fn(&mut iota_sdk_types::ProgrammableTransaction)| {
        let (mut changed, mut program) = (good.clone(), program.clone());
        change(&mut program);
        changed.kind = TransactionKind::Programmable(program);
        matched(&Transaction::V1(changed)).is_ok()
    };
    assert!(with(&|_| {}));
    assert!(!with(&|program| program.commands.push(program.commands[0].clone())));
    assert!(!with(&|program| program.commands.swap(0, 2)));
    assert!(!with(&|program| drop(program.commands.pop())));
    assert!(!with(&|program| program.inputs.push(program.inputs[0].clone())));
    assert!(!with(&|program| program.inputs.swap(0, 1)));
    let mut expiring = good;
    expiring.expiration = iota_sdk_types::TransactionExpiration::Epoch(9);
    assert!(matched(&Transaction::V1(expiring)).is_err());
}

#[test]
fn a_transaction_that_failed_on_the_network_is_no_payment() {
    let failed = &recorded("64-insufficient-coin.response")["result"]["effects"];
    assert_eq!(failed["status"]["status"], "failure");
    // Its effects in BCS were not recorded: those of the paid one are made to say so.
    let (receipt, expected, _) = paid();
    let mut effects: iota_sdk_types::TransactionEffects = bcs::from_bytes(&receipt.effects).unwrap();
    let iota_sdk_types::TransactionEffects::V1(inner) = &mut effects else { unreachable!("it is of version 1") };
    inner.status = iota_sdk_types::ExecutionStatus::Failure {
        error: iota_sdk_types::ExecutionError::InsufficientCoinBalance,
        command: Some(0),
    };
    let effects = bcs::to_bytes(&effects).unwrap();
    assert_eq!(verify(&Receipt { effects, ..receipt }, &expected), Err(NotPaid::Failed));
}

#[test]
fn gas_coins_are_references_as_nodes_list_them() {
    let coins = &recorded("13-coins-hash.response")["result"]["data"];
    let (_, _, gas) = paid();
    let listed = coins.as_array().unwrap().iter().map(|coin| ObjectReference {
        object_id: coin["coinObjectId"].as_str().unwrap().parse().unwrap(),
        version: coin["version"].as_str().unwrap().parse::<u64>().unwrap().into(),
        digest: coin["digest"].as_str().unwrap().parse().unwrap(),
    });
    assert!(listed.into_iter().any(|coin| coin == gas.coins[0]), "{gas:?}");
}

//! The recorded conversations with a real network, through the real decoder and the real checks.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::path::Path;
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use iota_sdk_crypto::ToFromBech32 as _;
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_types::{Address, SenderSignedTransaction, Transaction, TransactionKind};
use sdpp_iota::{
    Body, CallError, Deed, Estimate, Gas, JsonRpc, Line, NotDone, Receipt, Transport, Wallet, Window, build, matched,
    verify,
};
use sdpp_rail::suite::block_on;
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

/// The recorded payment: its receipt, who paid, what, and with which gas.
fn paid() -> (Receipt, Address, Window, Gas) {
    let (payer, deed, gas) = matched(&transaction("15-execute-hash")).unwrap();
    let Deed::Pay(window) = deed else { unreachable!("it pays") };
    (recorded_receipt("16-get-hash"), payer, window, gas)
}

#[test]
fn a_window_is_built_and_signed_as_the_network_took_it() {
    let request = recorded("15-execute-hash.request");
    let (_, payer, window, gas) = paid();
    assert_eq!((window.amount, window.record.len()), (1_000_000, 297));
    assert_eq!(wallet().address(), payer);
    let built = build(payer, &Deed::Pay(window), &gas).unwrap();
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
    let (receipt, payer, window, _) = paid();
    let digest = verify(&receipt, payer, &Deed::Pay(window)).unwrap();
    assert_eq!(digest.to_string(), recorded("16-get-hash.response")["result"]["digest"].as_str().unwrap());
}

#[test]
fn every_field_that_is_checked_counts() {
    let (receipt, payer, window, gas) = paid();
    let (other, expected) = (Address::new([9; 32]), Deed::Pay(window.clone()));
    assert_eq!(verify(&receipt, other, &expected), Err(NotDone::Payer));
    for (changed, why) in [
        (Deed::Pay(Window { payee: other, ..window.clone() }), NotDone::Payee),
        (Deed::Pay(Window { amount: 999_999, ..window.clone() }), NotDone::Amount),
        (Deed::Pay(Window { record: vec![1], ..window.clone() }), NotDone::Record),
        (Deed::Record(window.record.clone()), NotDone::Kind),
    ] {
        assert_eq!(verify(&receipt, payer, &changed), Err(why));
    }
    let verify = |receipt: &Receipt| verify(receipt, payer, &expected);
    let unseen = Receipt { checkpoint: None, ..receipt.clone() };
    assert_eq!(verify(&unseen), Err(NotDone::NoCheckpoint));
    // The effects of the plain transfer, of a transaction that failed, of nothing.
    let effects = recorded_receipt("06-get-none").effects;
    assert_eq!(verify(&Receipt { effects, ..receipt.clone() }), Err(NotDone::OtherEffects));
    for effects in [Vec::new(), [receipt.effects.as_slice(), &[0]].concat()] {
        assert_eq!(verify(&Receipt { effects, ..receipt.clone() }), Err(NotDone::Malformed));
    }
    let long = [receipt.transaction.as_slice(), &[0]].concat();
    assert_eq!(verify(&Receipt { transaction: long, ..receipt.clone() }), Err(NotDone::Malformed));
    // Signed by somebody else, twice, by nobody.
    let built = transaction("15-execute-hash");
    let signature = |seed: u8| {
        let key = Ed25519PrivateKey::new([seed; 32]).to_bech32().unwrap();
        let signed = Wallet::import(&key).unwrap().sign(&built).unwrap();
        signed.signed_transaction().signatures()[0].clone()
    };
    let with = |signatures| {
        let signed = SenderSignedTransaction::new(built.clone(), signatures);
        verify(&Receipt { transaction: bcs::to_bytes(&signed).unwrap(), ..receipt.clone() })
    };
    assert!(with(vec![signature(7)]).is_ok());
    assert_eq!(with(vec![signature(8)]), Err(NotDone::Signature));
    assert_eq!(with(vec![signature(7), signature(7)]), Err(NotDone::Signatures));
    assert_eq!(with(Vec::new()), Err(NotDone::Signatures));
    // The payer's signature of another transaction.
    let other = build(payer, &Deed::Pay(Window { amount: 2, ..window }), &gas).unwrap();
    let foreign = wallet().sign(&other).unwrap().signed_transaction().signatures()[0].clone();
    assert_eq!(with(vec![foreign]), Err(NotDone::Signature));
}

#[test]
fn no_changed_bit_of_a_signed_transaction_pays() {
    let (receipt, payer, window, _) = paid();
    let expected = Deed::Pay(window);
    for bit in 0..receipt.transaction.len() * 8 {
        let mut changed = receipt.clone();
        changed.transaction[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&changed, payer, &expected).is_err(), "bit {bit}");
    }
}

#[test]
fn other_transactions_are_no_windows() {
    for name in ["10-execute-pure", "20-execute-bag"] {
        assert!(matched(&transaction(name)).is_err(), "{name}");
    }
    // The plain transfer is one of money without a word of what it is for: no payment of a window.
    let (payer, sent, _) = matched(&transaction("05-execute-none")).unwrap();
    assert!(matches!(sent, Deed::Send { amount: 1_000_000, .. }), "{sent:?}");
    let Deed::Send { to: payee, amount } = sent else { unreachable!("it sends") };
    let window = Window { payee, amount, record: Vec::new() };
    assert_eq!(verify(&recorded_receipt("06-get-none"), payer, &Deed::Pay(window)), Err(NotDone::Kind));
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
    // A payment that is good in one epoch is one; with somebody else's gas it is none.
    let mut expiring = good.clone();
    expiring.expiration = iota_sdk_types::TransactionExpiration::Epoch(9);
    assert_eq!(matched(&Transaction::V1(expiring)).unwrap().2.expires, Some(9));
    let mut sponsored = good;
    sponsored.gas_payment.owner = Address::new([9; 32]);
    assert!(matched(&Transaction::V1(sponsored)).is_err());
}

#[test]
fn a_transaction_that_failed_on_the_network_is_no_payment() {
    let failed = &recorded("64-insufficient-coin.response")["result"]["effects"];
    assert_eq!(failed["status"]["status"], "failure");
    // Its effects in BCS were not recorded: those of the paid one are made to say so.
    let (receipt, payer, window, _) = paid();
    let mut effects: iota_sdk_types::TransactionEffects = bcs::from_bytes(&receipt.effects).unwrap();
    let iota_sdk_types::TransactionEffects::V1(inner) = &mut effects else { unreachable!("it is of version 1") };
    inner.status = iota_sdk_types::ExecutionStatus::Failure {
        error: iota_sdk_types::ExecutionError::InsufficientCoinBalance,
        command: Some(0),
    };
    let effects = bcs::to_bytes(&effects).unwrap();
    assert_eq!(verify(&Receipt { effects, ..receipt }, payer, &Deed::Pay(window)), Err(NotDone::Failed));
}

/// Answers with what was recorded, by the question's method.
struct Tape(Vec<&'static str>);

impl Line for Tape {
    fn name(&self) -> String {
        "what was recorded".into()
    }

    fn post(&self, body: Vec<u8>, _: bool) -> Body<'_> {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let is_of = |name: &&&str| recorded(&format!("{name}.request"))["method"] == asked["method"];
        let mut answer = recorded(&format!("{}.response", self.0.iter().find(is_of).unwrap()));
        answer["id"] = asked["id"].clone();
        Box::pin(std::future::ready(Ok(answer.to_string().into_bytes())))
    }
}

fn tape(names: &[&'static str]) -> JsonRpc {
    JsonRpc::new(Arc::new(Tape(names.to_vec())))
}

#[test]
fn every_recorded_answer_is_read() {
    let (receipt, payer, window, gas) = paid();
    let node = tape(&["01-chain", "02-refgas", "13-coins-hash", "14-dryrun-hash", "15-execute-hash", "16-get-hash"]);
    assert_eq!(block_on(node.chain()).unwrap(), "8d602a01");
    assert_eq!(block_on(node.gas_price()).unwrap(), 1000);
    let coins = block_on(node.coins(&payer, None)).unwrap();
    assert_eq!((coins.coins.len(), coins.next.is_some()), (5, true));
    assert_eq!(coins.coins.iter().find(|coin| coin.reference == gas.coins[0]).unwrap().balance, 999_993_058_800);
    let estimate = block_on(node.estimate(&transaction("15-execute-hash"))).unwrap();
    assert_eq!(estimate, Estimate { budget: 2_960_800, cost: 1_980_400 });
    let built = build(payer, &Deed::Pay(window), &gas).unwrap();
    let signed = wallet().sign(&built).unwrap();
    assert_eq!(block_on(node.execute(&signed)).unwrap(), receipt.effects);
    assert_eq!(block_on(node.transaction(&built.digest())).unwrap(), Some(receipt));
}

#[test]
fn every_recorded_refusal_is_told_apart() {
    let (_, payer, window, gas) = paid();
    let built = build(payer, &Deed::Pay(window), &gas).unwrap();
    let signed = wallet().sign(&built).unwrap();
    for (name, begins) in [
        ("62-bad-signature", "Invalid user signature"),
        ("63-gas-price-too-low", "Transaction execution failed due to issues with transaction inputs"),
        ("65-stale-gas-version", "Transaction execution failed due to issues with transaction inputs"),
    ] {
        let refused = block_on(tape(&[name]).execute(&signed));
        assert!(matches!(&refused, Err(CallError::Refused(why)) if why.starts_with(begins)), "{name}: {refused:?}");
    }
    assert_eq!(block_on(tape(&["66-unknown-digest"]).transaction(&built.digest())), Ok(None));
    // It was executed and failed: its effects say so, and a node that does not show them is asked for them.
    let node = tape(&["64-insufficient-coin", "66-unknown-digest"]);
    assert_eq!(block_on(node.execute(&signed)), Err(CallError::Lost));
}

#[test]
fn a_changed_field_of_an_answer_is_no_answer() {
    struct Changed(&'static str, fn(&mut Value));
    impl Line for Changed {
        fn name(&self) -> String {
            "what was recorded, and changed".into()
        }
        fn post(&self, body: Vec<u8>, _: bool) -> Body<'_> {
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let mut answer = recorded(&format!("{}.response", self.0));
            answer["id"] = asked["id"].clone();
            (self.1)(&mut answer);
            Box::pin(std::future::ready(Ok(answer.to_string().into_bytes())))
        }
    }
    let (_, payer, window, gas) = paid();
    let built = build(payer, &Deed::Pay(window), &gas).unwrap();
    let with = |name, change| JsonRpc::new(Arc::new(Changed(name, change)));
    let is_none = |error: &CallError| matches!(error, CallError::Malformed(_));
    let changes: [fn(&mut Value); 4] = [
        |answer| answer["id"] = 0.into(),
        |answer| answer["result"] = "8D602A0".into(),
        |answer| answer["result"] = 7.into(),
        |answer| drop(answer.as_object_mut().unwrap().remove("result")),
    ];
    for change in changes {
        assert!(block_on(with("01-chain", change).chain()).is_err_and(|error| is_none(&error)));
    }
    let changes: [fn(&mut Value); 5] = [
        |answer| answer["result"]["data"][0]["balance"] = "-1".into(),
        |answer| answer["result"]["data"][0]["version"] = "03".into(),
        |answer| answer["result"]["data"][0]["coinObjectId"] = "0x".into(),
        |answer| answer["result"]["data"][0]["digest"] = "0OIl".into(),
        |answer| answer["result"]["hasNextPage"] = Value::Null,
    ];
    for change in changes {
        assert!(block_on(with("13-coins-hash", change).coins(&payer, None)).is_err_and(|error| is_none(&error)));
    }
    let changes: [fn(&mut Value); 4] = [
        |answer| answer["result"]["rawTransaction"] = "?".into(),
        |answer| answer["result"]["rawEffects"][0] = 256.into(),
        |answer| answer["result"]["checkpoint"] = 47.into(),
        |answer| drop(answer["result"].as_object_mut().unwrap().remove("rawEffects")),
    ];
    for change in changes {
        let answer = block_on(with("16-get-hash", change).transaction(&built.digest()));
        assert!(answer.is_err_and(|error| is_none(&error)));
    }
    let failed: fn(&mut Value) = |answer| answer["result"]["effects"]["status"]["status"] = "failure".into();
    let answer = block_on(with("14-dryrun-hash", failed).estimate(&built));
    assert!(matches!(answer, Err(CallError::Refused(_))));
}

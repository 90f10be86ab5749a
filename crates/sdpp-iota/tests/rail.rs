//! The rail and the records on the fake network.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::sync::{Arc, Mutex};

use iota_sdk_types::{TransactionDigest, TransactionEffects};
use kit::*;
use sdpp_iota::fake::{FakeNetwork, FakeSigned, FakeValidators, Fate, Way};
use sdpp_iota::{
    Committee, Deed, IotaPayee, IotaRecords, JsonRpc, Lasting, Nodes, PayeeConfig, Purse, Spent, TransferProof,
    Transport, limits,
};
use sdpp_proto::codec::{self, Bytes32};
use sdpp_proto::statement::Form;
use sdpp_rail::suite::{self, Sale};
use sdpp_rail::{MemoryDisk, Outcome, Payee as _, Payer as _, Proof, RailError, Records as _};
use serde_json::Value;

fn honest() -> Way {
    Arc::new(|_| Fate::Answered)
}

/// Something goes wrong with every fourth question, in another way each time.
fn storm(seed: u64) -> Way {
    let state = Mutex::new(seed);
    Arc::new(move |_| {
        let mut state = state.lock().unwrap();
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (*state >> 33) % 16 {
            0 => Fate::Refused,
            1 => Fate::Busy,
            2 => Fate::RequestLost,
            3 => Fate::AnswerLost,
            _ => Fate::Answered,
        }
    })
}

#[tokio::test(start_paused = true)]
async fn the_rail_conforms() {
    let world = World::new(3, [honest(), honest()]);
    suite::payer_payee(&world).await;
    world.is_sound();
}

#[tokio::test(start_paused = true)]
async fn the_rail_conforms_where_payments_are_final_late() {
    let world = World::new(3, [honest(), honest()]);
    world.network.set_lateness(3);
    suite::payer_payee(&world).await;
    world.is_sound();
}

#[tokio::test(start_paused = true)]
async fn the_rail_conforms_in_a_storm() {
    for seed in 0..20 {
        let world = World::new(3, [storm(seed), storm(seed + 100)]);
        suite::payer_payee(&world).await;
        world.is_sound();
    }
}

/// Settles a payment that was made, over a way on which something is changed.
async fn settled_over(way: Way) -> Result<Outcome, RailError> {
    let world = World::new(1, [honest(), way]);
    let sale = Sale::start(&world).await;
    let bill = sale.bill(0, 10);
    let proof = world.payer.pay(&bill).await.unwrap();
    let settled = world.payee.settle(&bill, &sale.payment(&bill, &proof)).await;
    world.is_sound();
    settled
}

fn to_looks(change: fn(&mut Value)) -> Way {
    Arc::new(move |method| match method {
        "iota_getTransactionBlock" => Fate::Lied(change),
        _ => Fate::Answered,
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_node_changes_of_a_payment_does_not_count() {
    assert_eq!(settled_over(honest()).await, Ok(Outcome::Settled));
    let late = to_looks(|answer| drop(answer["result"].as_object_mut().unwrap().remove("checkpoint")));
    assert_eq!(settled_over(late).await, Ok(Outcome::Pending));
    let hidden = to_looks(|answer| {
        let (id, message) = (answer["id"].clone(), "Could not find the referenced transaction [x].");
        *answer = serde_json::json!({ "id": id, "error": { "code": -32602, "message": message } });
    });
    assert_eq!(settled_over(hidden).await, Ok(Outcome::Pending));
    let other_effects = to_looks(|answer| {
        let effects = answer["result"]["rawEffects"].as_array_mut().unwrap();
        let last = effects.len() - 1;
        effects.truncate(last);
    });
    assert_eq!(settled_over(other_effects).await, Err(RailError::Unavailable));
    let other_transaction = to_looks(|answer| answer["result"]["rawTransaction"] = "AAAA".into());
    assert_eq!(settled_over(other_transaction).await, Err(RailError::Unavailable));
    // The right transaction with the effects of another one; another transaction altogether.
    let foreign = to_looks(|answer| {
        let bytes: Vec<u8> = serde_json::from_value(answer["result"]["rawEffects"].clone()).unwrap();
        let mut effects: TransactionEffects = bcs::from_bytes(&bytes).unwrap();
        let TransactionEffects::V1(inner) = &mut effects else { unreachable!("it is of version 1") };
        inner.transaction_digest = TransactionDigest::new([9; 32]);
        answer["result"]["rawEffects"] = serde_json::to_value(bcs::to_bytes(&effects).unwrap()).unwrap();
    });
    assert_eq!(settled_over(foreign).await, Err(RailError::Unavailable));
    let recorded = to_looks(|answer| {
        let told: Value = serde_json::from_str(include_str!("wire/16-get-hash.response.json")).unwrap();
        answer["result"] = told["result"].clone();
    });
    assert_eq!(settled_over(recorded).await, Err(RailError::Unavailable));
    let other_chain: Way = Arc::new(|method| match method {
        "iota_getChainIdentifier" => Fate::Lied(|answer| answer["result"] = "00000000".into()),
        _ => Fate::Answered,
    });
    assert_eq!(settled_over(other_chain).await, Err(RailError::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_payment_pays_one_invoice_of_one_payee_by_one_payer() {
    let world = World::new(1, [honest(), honest()]);
    let sale = Sale::start(&world).await;
    let (bill, other) = (sale.bill(0, 10), sale.bill(10, 20));
    let proof = world.payer.pay(&bill).await.unwrap();
    let declined = |settled: Result<Outcome, RailError>| matches!(settled, Err(RailError::Declined(_)));
    // For the next invoice, of the same amount.
    assert!(declined(world.payee.settle(&other, &sale.payment(&other, &proof)).await));
    // By somebody else, as the buyer says.
    let Proof::Bytes(bytes) = &proof else { unreachable!("it names a transaction") };
    let named = TransferProof { payer: Bytes32([9; 32]), ..TransferProof::decode(bytes).unwrap() };
    let stolen = Proof::Bytes(codec::encode(&named));
    assert!(declined(world.payee.settle(&bill, &sale.payment(&bill, &stolen)).await));
    for rubbish in [Vec::new(), vec![0xa0], vec![0; 300]] {
        let rubbish = Proof::Bytes(rubbish);
        assert!(declined(world.payee.settle(&bill, &sale.payment(&bill, &rubbish)).await));
    }
    assert_eq!(world.payee.settle(&bill, &sale.payment(&bill, &proof)).await, Ok(Outcome::Settled));
}

/// A payee that believes nobody but these validators.
fn distrustful(world: &World, [shown, trusted]: [&FakeValidators; 2]) -> IotaPayee {
    let node = FakeSigned::new(&world.network, shown.clone());
    let nodes = Arc::new(Nodes::new(CHAIN, vec![Arc::new(node)]));
    let committee = Some(Arc::new(Committee::trusted(trusted.committee(0)).unwrap()));
    let config = PayeeConfig { account: address(PAYEE), pay_by_ms: 60_000, committee };
    IotaPayee::new(nodes, config, Box::new(MemoryDisk::new().open()))
}

#[tokio::test(start_paused = true)]
async fn a_payment_counts_where_the_validators_have_signed_its_checkpoint() {
    let (validators, others) = (FakeValidators::new(1), FakeValidators::new(2));
    let world = World::new(1, [honest(), honest()]);
    for epoch in 0..3 {
        let sale = Sale::start(&world).await;
        let bill = sale.bill(0, 10);
        let payment = sale.payment(&bill, &world.payer.pay(&bill).await.unwrap());
        for (shown, trusted, expected) in [
            (&validators, &validators, Ok(Outcome::Settled)),
            (&others, &validators, Err("a node shows a checkpoint that the validators have not signed so")),
        ] {
            let payee = distrustful(&world, [shown, trusted]);
            payee.admit(&sale.order).await.unwrap();
            let settled = payee.settle(&bill, &payment).await;
            assert_eq!(settled, expected.map_err(RailError::Dishonest), "epoch {epoch}");
        }
        world.network.next_epoch(1_000);
        // The price and the epoch are looked at again.
        tokio::time::sleep(limits::PRICES_FOR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_payee_that_wants_signatures_credits_nothing_where_no_wire_carries_them() {
    let world = World::new(1, [honest(), honest()]);
    let committee = Some(Arc::new(Committee::trusted(FakeValidators::new(1).committee(0)).unwrap()));
    let config = PayeeConfig { account: address(PAYEE), pay_by_ms: 60_000, committee };
    let payee = IotaPayee::new(nodes(&world.network, honest()), config, Box::new(MemoryDisk::new().open()));
    let sale = Sale::start(&world).await;
    let bill = sale.bill(0, 10);
    payee.admit(&sale.order).await.unwrap();
    let payment = sale.payment(&bill, &world.payer.pay(&bill).await.unwrap());
    assert_eq!(payee.settle(&bill, &payment).await, Err(RailError::Unavailable));
}

fn records(network: &Arc<FakeNetwork>, disk: &MemoryDisk, lasting: Lasting) -> IotaRecords {
    IotaRecords::new(purse(network, honest(), disk), lasting)
}

fn fresh() -> impl FnMut() -> Bytes32 {
    let mut count = 0u64;
    move || {
        count += 1;
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&count.to_be_bytes());
        Bytes32(bytes)
    }
}

#[tokio::test(start_paused = true)]
async fn records_conform_in_both_ways_to_last() {
    for lasting in [Lasting::Transaction, Lasting::Object] {
        for late in [0, 2] {
            let network = FakeNetwork::new(CHAIN);
            network.grant(address(PAYER), FUNDS);
            network.set_lateness(late);
            let disk = MemoryDisk::new();
            suite::records(&records(&network, &disk, lasting), fresh(), || {
                network.finalise();
                std::future::ready(())
            })
            .await;
            assert!(network.is_conserved());
            assert_eq!(network.equivocations(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_is_verified_after_all_nodes_have_dropped_it() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let disk = MemoryDisk::new();
    let sale_of = World::new(1, [honest(), honest()]);
    let order = Sale::start(&sale_of).await.order;
    let statement = order.erase();
    // As on a real network: it is in no checkpoint yet when it is recorded, and nothing is recorded behind it.
    network.set_lateness(1);
    let kept = records(&network, &disk, Lasting::Transaction);
    let id = kept.append(&statement, Form::Full).await.unwrap();
    drop(kept);
    purse(&network, honest(), &disk).resume().await;
    network.prune();
    let stranger = records(&network, &MemoryDisk::new(), Lasting::Transaction);
    assert_eq!(stranger.fetch(&id).await, Ok(None), "whoever has no proof has nothing");
    let later = records(&network, &disk, Lasting::Transaction);
    assert_eq!(later.fetch(&id).await, Ok(Some(statement.bytes.to_vec())));
    assert_eq!(later.verify(&id, &statement).await, Ok(true));
    // And is not recorded again.
    assert_eq!(later.append(&statement, Form::Full).await, Ok(id));
    assert_eq!(network.executed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_or_is_of_another_network_is_passed_over() {
    let (network, other) = (FakeNetwork::new(CHAIN), FakeNetwork::new("00000000"));
    network.grant(address(PAYER), FUNDS);
    for bad in [
        network.line_with(Arc::new(|_| Fate::Refused)),
        network.line_with(Arc::new(|_| Fate::Busy)),
        network.line_with(Arc::new(|_| Fate::RequestLost)),
        other.line(),
    ] {
        let both: Vec<Arc<dyn Transport>> = vec![Arc::new(JsonRpc::new(bad)), Arc::new(JsonRpc::new(network.line()))];
        let nodes = Arc::new(Nodes::new(CHAIN, both));
        let purse = Purse::open(nodes, wallet(PAYER), Box::new(MemoryDisk::new().open())).unwrap();
        let sent = purse.spend("one", &Deed::Send { to: address(PAYEE), amount: 1 }).await;
        assert!(matches!(sent, Ok(Spent::Done(_))), "{sent:?}");
    }
    assert_eq!((network.executed(), other.executed()), (4, 0));
}

//! Nodes over gRPC: the fake network behind a port of this machine, as a node has it.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kit::*;
use sdpp_iota::fake::{FakeGrpc, FakeNetwork, FakeSigned, FakeValidators, Fate, Way};
use sdpp_iota::{
    Committee, Deed, Grpc, IotaPayee, IotaPayer, JsonRpc, Nodes, PayeeConfig, Purse, Spent, Transport, Window, limits,
};
use sdpp_rail::suite::{self, Sale};
use sdpp_rail::{MemoryDisk, Outcome, Payee as _, Payer as _, RailError};

fn honest() -> Way {
    Arc::new(|_| Fate::Answered)
}

/// A node over gRPC, with the word of these validators.
async fn node(network: &Arc<FakeNetwork>, validators: &FakeValidators, way: Way) -> Arc<dyn Transport> {
    let address = FakeGrpc::serve(FakeSigned::new(network, validators.clone()), way).await.unwrap();
    Arc::new(Grpc::new(&format!("grpc://{address}")).unwrap())
}

async fn over(network: &Arc<FakeNetwork>, way: Way) -> Arc<Nodes> {
    Arc::new(Nodes::new(CHAIN, vec![node(network, &FakeValidators::new(1), way).await]))
}

fn window(number: u8) -> Deed {
    Deed::Pay(Window { payee: address(PAYEE), amount: 1_000, record: vec![number] })
}

#[tokio::test]
async fn the_rail_conforms_over_grpc() {
    let network = FakeNetwork::new(CHAIN);
    let nodes = [over(&network, honest()).await, over(&network, honest()).await];
    let world = World::over(network, 3, nodes);
    suite::payer_payee(&world).await;
    world.is_sound();
}

#[tokio::test]
async fn a_node_says_the_same_over_both_wires() {
    let network = FakeNetwork::new(CHAIN);
    (0..120).for_each(|_| network.grant(address(PAYER), limits::BUDGET));
    let grpc = node(&network, &FakeValidators::new(1), honest()).await;
    let json = JsonRpc::new(network.line());
    network.next_epoch(1_500);
    assert_eq!(grpc.chain().await, json.chain().await);
    assert_eq!((grpc.epoch().await, grpc.gas_price().await), (Ok(1), Ok(1_500)));
    // Page by page.
    let [grpcs, jsons] = [grpc.clone(), Arc::new(JsonRpc::new(network.line()))].map(|one| Nodes::new(CHAIN, vec![one]));
    let coins = grpcs.coins(&address(PAYER)).await.unwrap();
    assert_eq!(coins.len(), 120);
    assert_eq!(coins, jsons.coins(&address(PAYER)).await.unwrap());
    let purse = Purse::open(Arc::new(grpcs), wallet(PAYER), Box::new(MemoryDisk::new().open())).unwrap();
    let other = Purse::open(Arc::new(jsons), wallet(PAYER), Box::new(MemoryDisk::new().open())).unwrap();
    assert_eq!(purse.estimate(&window(1)).await, other.estimate(&window(1)).await);
    let Ok(Spent::Done(digest)) = purse.spend("one", &window(1)).await else { panic!("it is not done") };
    let receipt = grpc.transaction(&digest).await.unwrap();
    assert!(receipt.as_ref().is_some_and(|receipt| receipt.digest() == Some(digest) && receipt.checkpoint.is_some()));
    assert_eq!(receipt, json.transaction(&digest).await.unwrap());
    network.prune();
    assert_eq!(grpc.transaction(&digest).await, Ok(None));
    assert_eq!(grpc.certified(99).await, Ok(None));
}

#[tokio::test]
async fn an_answer_over_grpc_that_never_comes_is_looked_up_and_the_same_bytes_are_sent_again() {
    for fate in [Fate::AnswerLost, Fate::RequestLost] {
        let (network, is_on) = (FakeNetwork::new(CHAIN), Arc::new(AtomicBool::new(true)));
        network.grant(address(PAYER), FUNDS);
        let (lost, on) = (fate.clone(), is_on.clone());
        let way: Way = Arc::new(move |method| {
            if method == "ExecuteTransactions" && on.load(Ordering::SeqCst) { lost.clone() } else { Fate::Answered }
        });
        let nodes = over(&network, way).await;
        let purse = Purse::open(nodes, wallet(PAYER), Box::new(MemoryDisk::new().open())).unwrap();
        assert_eq!(purse.spend("one", &window(1)).await, Err(RailError::Unknown), "{fate:?}");
        is_on.store(false, Ordering::SeqCst);
        assert!(matches!(purse.look("one").await, Ok(Some(Spent::Done(_)))), "{fate:?}");
        assert_eq!((network.executed(), network.equivocations()), (1, 0), "{fate:?}");
    }
}

#[tokio::test]
async fn a_node_over_grpc_that_is_not_there_is_an_outage_and_the_next_one_is_asked() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let nowhere: Arc<dyn Transport> = Arc::new(Grpc::new("grpc://127.0.0.1:1").unwrap());
    let purse = |nodes| Purse::open(Arc::new(nodes), wallet(PAYER), Box::new(MemoryDisk::new().open())).unwrap();
    let alone = purse(Nodes::new(CHAIN, vec![nowhere.clone()]));
    assert_eq!(alone.spend("one", &window(1)).await, Err(RailError::Unavailable));
    let busy = node(&network, &FakeValidators::new(1), Arc::new(|_| Fate::Busy)).await;
    let both = purse(Nodes::new(CHAIN, vec![nowhere, busy, Arc::new(JsonRpc::new(network.line()))]));
    assert!(matches!(both.spend("one", &window(1)).await, Ok(Spent::Done(_))));
}

#[tokio::test]
async fn what_the_network_refuses_over_grpc_is_refused() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let purse = Purse::open(over(&network, honest()).await, wallet(PAYER), Box::new(MemoryDisk::new().open())).unwrap();
    assert!(matches!(purse.spend("one", &window(1)).await, Ok(Spent::Done(_))));
    // The epoch is over, and nobody has said so yet.
    network.next_epoch(5_000);
    assert_eq!(purse.spend("two", &window(2)).await, Ok(Spent::Void));
    assert!(matches!(purse.spend("two", &window(2)).await, Ok(Spent::Done(_))));
    assert_eq!((network.executed(), network.equivocations()), (2, 0));
    assert!(Grpc::new("http://127.0.0.1:9000").is_err() && Grpc::new("grpcs://").is_err());
    let named = Grpc::new("grpcs://user:secret@node.example:443/key?token=1").map(|node| node.name());
    assert!(named.is_ok_and(|name| name == "grpcs://node.example:443"));
}

/// A payee that believes the validators whom its nodes have named first, and nobody else.
async fn distrustful(nodes: &Arc<Nodes>, trust: &MemoryDisk) -> (IotaPayee, Arc<Committee>) {
    let committee = Committee::of_nodes(nodes, Box::new(trust.open())).await.unwrap().unwrap();
    let committee = Arc::new(committee);
    let config = PayeeConfig { account: address(PAYEE), pay_by_ms: 60_000, committee: Some(committee.clone()) };
    (IotaPayee::new(nodes.clone(), config, Box::new(MemoryDisk::new().open())), committee)
}

#[tokio::test]
async fn validators_are_trusted_once_and_followed_over_epochs_and_restarts() {
    let network = FakeNetwork::new(CHAIN);
    let [honest, liars] = [FakeValidators::new(1), FakeValidators::new(2)];
    let way: Way = Arc::new(|_| Fate::Answered);
    let good = Arc::new(Nodes::new(CHAIN, vec![node(&network, &honest, way.clone()).await]));
    let bad = Arc::new(Nodes::new(CHAIN, vec![node(&network, &liars, way.clone()).await]));
    let trust = MemoryDisk::new();
    let mut last = None;
    for epoch in 0..4 {
        // Each time another program: it begins with what the one before has kept.
        let (payee, committee) = distrustful(&good, &trust).await;
        assert_eq!((committee.is_first(), committee.fingerprint().0), (epoch == 0, epoch.max(1) - 1));
        let world = World::over(network.clone(), 1, [good.clone(), good.clone()]);
        let sale = Sale::start(&world).await;
        let bill = sale.bill(0, 10);
        let payment = sale.payment(&bill, &world.payer.pay(&bill).await.unwrap());
        payee.admit(&sale.order).await.unwrap();
        assert_eq!(payee.settle(&bill, &payment).await, Ok(Outcome::Settled), "epoch {epoch}");
        let fingerprint = committee.fingerprint();
        assert!(fingerprint.0 == epoch && last != Some(fingerprint.clone()));
        last = Some(fingerprint);
        // A node of other validators is not believed, whatever it shows.
        let (payee, _) = distrustful(&bad, &trust).await;
        payee.admit(&sale.order).await.unwrap();
        assert!(matches!(payee.settle(&bill, &payment).await, Err(RailError::Dishonest(_))), "epoch {epoch}");
        network.next_epoch(1_000);
    }
}

#[tokio::test]
async fn nodes_that_name_different_validators_are_not_trusted_at_first() {
    let network = FakeNetwork::new(CHAIN);
    let way: Way = Arc::new(|_| Fate::Answered);
    let mut transports = Vec::new();
    for seed in [1, 2] {
        transports.push(node(&network, &FakeValidators::new(seed), way.clone()).await);
    }
    let nodes = Nodes::new(CHAIN, transports);
    let trusted = Committee::of_nodes(&nodes, Box::new(MemoryDisk::new().open())).await;
    assert_eq!(trusted.err(), Some(RailError::Dishonest("two nodes name different validators")));
    let nodes = Nodes::new(CHAIN, vec![Arc::new(JsonRpc::new(network.line()))]);
    assert!(Committee::of_nodes(&nodes, Box::new(MemoryDisk::new().open())).await.unwrap().is_none());
}

#[tokio::test]
async fn trust_is_not_given_up_by_a_silent_node_nor_by_a_wire_without_signatures() {
    let (network, trust) = (FakeNetwork::new(CHAIN), MemoryDisk::new());
    let json: Arc<dyn Transport> = Arc::new(JsonRpc::new(network.line()));
    let silent: Arc<dyn Transport> = Arc::new(Grpc::new("grpc://127.0.0.1:1").unwrap());
    let of = |nodes: Nodes| {
        let store = Box::new(trust.open());
        async move { Committee::of_nodes(&nodes, store).await.map(|trusted| trusted.is_some()) }
    };
    // A node that signs nothing does not stand in for one that is not there.
    let both = Nodes::new(CHAIN, vec![json.clone(), silent]);
    assert_eq!(of(both).await, Err(RailError::Unavailable));
    let seen = Nodes::new(CHAIN, vec![json.clone(), node(&network, &FakeValidators::new(1), honest()).await]);
    assert_eq!(of(seen).await, Ok(true));
    let without = of(Nodes::new(CHAIN, vec![json])).await;
    assert!(matches!(without, Err(RailError::Declined(why)) if why.contains("trusted here before")), "{without:?}");
}

#[tokio::test]
async fn a_committee_of_another_epoch_is_not_taken_for_the_one_that_all_name() {
    let [network, behind] = [FakeNetwork::new(CHAIN), FakeNetwork::new(CHAIN)];
    network.next_epoch(1_000);
    for order in [[0, 1], [1, 0]] {
        let [real, liar] = [(&network, 1), (&behind, 2)];
        let of = [real, liar];
        let mut transports = Vec::new();
        for index in order {
            transports.push(node(of[index].0, &FakeValidators::new(of[index].1), honest()).await);
        }
        let named = Committee::of_nodes(&Nodes::new(CHAIN, transports), Box::new(MemoryDisk::new().open())).await;
        assert_eq!(named.map(drop).err(), Some(RailError::Unavailable));
    }
}

#[tokio::test]
async fn one_node_that_shows_signatures_is_enough_whatever_the_others_show() {
    let network = FakeNetwork::new(CHAIN);
    let good = node(&network, &FakeValidators::new(1), honest()).await;
    let trust = MemoryDisk::new();
    let alone = Arc::new(Nodes::new(CHAIN, vec![good.clone()]));
    drop(distrustful(&alone, &trust).await);
    // Other validators, signatures that were changed, a checkpoint that it is not in.
    let liar = node(&network, &FakeValidators::new(2), honest()).await;
    let lies: [fn(&mut serde_json::Value); 2] = [
        |answer| answer["result"]["checkpoint"] = "0".into(),
        |answer| {
            let raw = answer["result"]["rawTransaction"].as_str().unwrap().replace('A', "B");
            answer["result"]["rawTransaction"] = raw.into();
        },
    ];
    for lie in lies {
        let way: Way =
            Arc::new(move |method| if method == "iota_getTransactionBlock" { Fate::Lied(lie) } else { Fate::Answered });
        let lying: Arc<dyn Transport> = Arc::new(JsonRpc::new(network.line_with(way)));
        let all = Arc::new(Nodes::new(CHAIN, vec![lying, liar.clone(), good.clone()]));
        let (payee, _) = distrustful(&all, &trust).await;
        let world = World::over(network.clone(), 1, [alone.clone(), alone.clone()]);
        let sale = Sale::start(&world).await;
        let bill = sale.bill(0, 10);
        let payment = sale.payment(&bill, &world.payer.pay(&bill).await.unwrap());
        payee.admit(&sale.order).await.unwrap();
        assert_eq!(payee.settle(&bill, &payment).await, Ok(Outcome::Settled));
    }
}

#[tokio::test]
async fn a_payer_needs_no_other_wire() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let purse = Purse::open(over(&network, honest()).await, wallet(PAYER), Box::new(MemoryDisk::new().open())).unwrap();
    purse.prepare(4, 1_000).await.unwrap();
    let payer = IotaPayer::new(Arc::new(purse), 4);
    assert!(network.coins(address(PAYER)) >= 4 && payer.moves_money());
    assert!(network.is_conserved());
}

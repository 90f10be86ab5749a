//! Nodes that differ, lie or forget: what is believed of whom, and what becomes of payments and coins meanwhile.
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
use sdpp_iota::fake::{FakeNetwork, Fate, Way};
use sdpp_iota::{Deed, IotaPayer, JsonRpc, Nodes, Purse, Spent, Transport, Window, limits};
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_rail::{Bill, MemoryDisk, Payer as _, PaymentStatus, RailError};
use tokio::time::Instant;

const EXECUTE: &str = "iota_executeTransactionBlock";

fn honest() -> Way {
    Arc::new(|_| Fate::Answered)
}

fn window(number: u8) -> Deed {
    Deed::Pay(Window { payee: address(PAYEE), amount: 1_000, record: vec![number] })
}

fn bill(number: u8) -> Bill {
    Bill {
        order: StatementId([1; 32]),
        invoice: StatementId([number; 32]),
        payee: address(PAYEE).to_string(),
        asset: sdpp_iota::asset(CHAIN),
        total: Amount::new(1_000),
        before: Amount::ZERO,
        messages: Some(10),
        channel: None,
    }
}

/// This becomes of questions by these methods, for as long as it is on.
fn to(method: &'static str, fate: &Fate, is_on: &Arc<AtomicBool>) -> Way {
    let (fate, is_on) = (fate.clone(), is_on.clone());
    Arc::new(move |asked| if asked == method && is_on.load(Ordering::SeqCst) { fate.clone() } else { Fate::Answered })
}

fn over(network: &Arc<FakeNetwork>, ways: Vec<Way>) -> Arc<Nodes> {
    let node = |way| -> Arc<dyn Transport> { Arc::new(JsonRpc::new(network.line_with(way))) };
    Arc::new(Nodes::new(CHAIN, ways.into_iter().map(node).collect()))
}

fn purse(network: &Arc<FakeNetwork>, ways: Vec<Way>, disk: &MemoryDisk) -> Arc<Purse> {
    Arc::new(Purse::open(over(network, ways), wallet(PAYER), Box::new(disk.open())).unwrap())
}

fn switch() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

fn no_coins() -> Fate {
    Fate::Lied(|answer| answer["result"]["data"] = serde_json::json!([]))
}

#[tokio::test(start_paused = true)]
async fn a_coin_that_was_said_to_be_gone_pays_again_and_its_payment_is_not_made_anew() {
    let (network, lost, hidden) = (FakeNetwork::new(CHAIN), switch(), switch());
    network.grant(address(PAYER), FUNDS);
    hidden.store(false, Ordering::SeqCst);
    let losing = to(EXECUTE, &Fate::RequestLost, &lost);
    let hiding = to("iotax_getCoins", &no_coins(), &hidden);
    let way: Way = Arc::new(move |method| if method == EXECUTE { losing(method) } else { hiding(method) });
    let disk = MemoryDisk::new();
    let one = purse(&network, vec![way.clone()], &disk);
    assert_eq!(one.spend("one", &window(1)).await, Err(RailError::Unknown));
    network.next_epoch(1_000);
    hidden.store(true, Ordering::SeqCst);
    lost.store(false, Ordering::SeqCst);
    assert_eq!(one.look("one").await, Err(RailError::Unknown));
    hidden.store(false, Ordering::SeqCst);
    assert!(matches!(one.spend("two", &window(2)).await, Ok(Spent::Done(_))));
    assert_eq!(one.spend("one", &window(1)).await, Err(RailError::Unknown), "it is lost for good");
    drop(one);
    disk.crash();
    let later = purse(&network, vec![way], &disk);
    assert!(matches!(later.spend("three", &window(3)).await, Ok(Spent::Done(_))));
    assert_eq!((network.executed(), network.equivocations(), network.balance(address(PAYEE))), (2, 0, 2_000));
}

#[tokio::test(start_paused = true)]
async fn one_node_that_hides_a_coin_does_not_lose_a_payment() {
    let (network, lost) = (FakeNetwork::new(CHAIN), switch());
    network.grant(address(PAYER), FUNDS);
    let blind: Way = Arc::new(|method| match method {
        EXECUTE => Fate::RequestLost,
        "iotax_getCoins" => no_coins(),
        _ => Fate::Answered,
    });
    let ways = vec![to(EXECUTE, &Fate::RequestLost, &lost), blind];
    let payer = IotaPayer::new(purse(&network, ways, &MemoryDisk::new()), 1);
    assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
    network.next_epoch(1_000);
    assert_eq!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::NotPaid));
    lost.store(false, Ordering::SeqCst);
    payer.pay(&bill(1)).await.unwrap();
    assert_eq!((network.executed(), network.equivocations()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_payment_is_lost_only_where_all_nodes_say_so() {
    let (network, lost) = (FakeNetwork::new(CHAIN), switch());
    network.grant(address(PAYER), FUNDS);
    let blind: Way = Arc::new(|method| match method {
        EXECUTE => Fate::RequestLost,
        "iotax_getCoins" => no_coins(),
        _ => Fate::Answered,
    });
    let disk = MemoryDisk::new();
    let most = vec![to(EXECUTE, &Fate::RequestLost, &lost), blind.clone(), blind];
    let one = purse(&network, most, &disk);
    assert_eq!(one.spend("one", &window(1)).await, Err(RailError::Unknown));
    network.next_epoch(1_000);
    assert_eq!(one.look("one").await, Err(RailError::Unknown), "two of three see no coin: nothing is known yet");
    drop(one);
    disk.crash();
    // Without them it is told, and done.
    let alone = purse(&network, vec![honest()], &disk);
    assert_eq!(alone.look("one").await, Ok(Some(Spent::Void)));
    assert!(matches!(alone.spend("one", &window(1)).await, Ok(Spent::Done(_))));
}

#[tokio::test(start_paused = true)]
async fn what_was_called_void_and_was_done_after_all_is_found() {
    let (network, on) = (FakeNetwork::new(CHAIN), switch());
    network.grant(address(PAYER), FUNDS);
    let (first, is_on) = (network.coins_at_first(address(PAYER)), on.clone());
    // It executes, denies it, says that the epoch is over and the coin as it was.
    let denying: Way = Arc::new(move |method| match method {
        _ if !is_on.load(Ordering::SeqCst) => Fate::Answered,
        EXECUTE => Fate::AnswerLost,
        "iota_getTransactionBlock" => Fate::Lied(|answer| {
            let (id, message) = (answer["id"].clone(), "Could not find the referenced transaction [x].");
            *answer = serde_json::json!({ "id": id, "error": { "code": -32602, "message": message } });
        }),
        "iota_getCheckpoint" => Fate::Lied(|answer| answer["result"]["epoch"] = "9".into()),
        "iotax_getCoins" => Fate::Replaced(first.clone()),
        _ => Fate::Answered,
    });
    let payer = IotaPayer::new(purse(&network, vec![denying], &MemoryDisk::new()), 1);
    // Signed while it still says the right epoch.
    on.store(false, Ordering::SeqCst);
    payer.purse().estimate(&window(9)).await.unwrap();
    on.store(true, Ordering::SeqCst);
    assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
    assert_eq!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::NotPaid));
    assert_eq!(network.balance(address(PAYEE)), 1_000, "and it was paid");
    // It denies no more, and before another one takes its place the first one is found.
    on.store(false, Ordering::SeqCst);
    payer.pay(&bill(1)).await.unwrap();
    assert!(matches!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::Paid(_))));
    assert_eq!((network.executed(), network.balance(address(PAYEE))), (1, 1_000));
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_found_after_another_one_took_its_place() {
    let (network, on) = (FakeNetwork::new(CHAIN), switch());
    network.grant(address(PAYER), FUNDS);
    let (first, is_on) = (network.coins_at_first(address(PAYER)), on.clone());
    let denying: Way = Arc::new(move |method| match method {
        _ if !is_on.load(Ordering::SeqCst) => Fate::Answered,
        EXECUTE => Fate::AnswerLost,
        "iota_getTransactionBlock" => Fate::Lied(|answer| {
            let (id, message) = (answer["id"].clone(), "Could not find the referenced transaction [x].");
            *answer = serde_json::json!({ "id": id, "error": { "code": -32602, "message": message } });
        }),
        "iotax_getCoins" => Fate::Replaced(first.clone()),
        _ => Fate::Answered,
    });
    let disk = MemoryDisk::new();
    let payer = IotaPayer::new(purse(&network, vec![denying.clone()], &disk), 1);
    assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
    network.next_epoch(1_000);
    assert_eq!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::NotPaid));
    assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown), "signed anew, and refused");
    drop(payer);
    disk.crash();
    on.store(false, Ordering::SeqCst);
    let payer = IotaPayer::new(purse(&network, vec![denying], &disk), 1);
    assert!(matches!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::Paid(_))));
    assert_eq!((network.executed(), network.balance(address(PAYEE))), (1, 1_000));
    // And the coin pays on.
    payer.pay(&bill(2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_life_left_open_is_ended_by_whoever_needs_its_coin() {
    let (network, lost, disk) = (FakeNetwork::new(CHAIN), switch(), MemoryDisk::new());
    network.grant(address(PAYER), FUNDS);
    let before = purse(&network, vec![to(EXECUTE, &Fate::RequestLost, &lost)], &disk);
    assert_eq!(before.spend("record/1", &Deed::Record(vec![1])).await, Err(RailError::Unknown));
    drop(before);
    disk.crash();
    // Nobody resumes, and nobody asks for the first one again.
    let after = purse(&network, vec![honest()], &disk);
    let began = Instant::now();
    assert!(matches!(after.spend("record/2", &Deed::Record(vec![2])).await, Ok(Spent::Done(_))));
    assert!(began.elapsed() < limits::COIN_WAIT / 4, "{:?}", began.elapsed());
    assert_eq!((network.executed(), network.equivocations()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_nobody_asks_for_any_more_keeps_no_coin() {
    let (network, lost, disk) = (FakeNetwork::new(CHAIN), switch(), MemoryDisk::new());
    network.grant(address(PAYER), FUNDS);
    let payer = IotaPayer::new(purse(&network, vec![to(EXECUTE, &Fate::RequestLost, &lost)], &disk), 1);
    assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
    drop(payer);
    disk.crash();
    network.next_epoch(1_000);
    let payer = IotaPayer::new(purse(&network, vec![honest()], &disk), 1);
    payer.purse().resume().await;
    let began = Instant::now();
    payer.pay(&bill(2)).await.unwrap();
    assert!(began.elapsed() < limits::COIN_WAIT / 4, "{:?}", began.elapsed());
    // Its coin went elsewhere since: it is not made anew, and says so at once.
    assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
    assert!(began.elapsed() < limits::COIN_WAIT / 4, "{:?}", began.elapsed());
    assert_eq!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::Pending));
    assert_eq!((network.executed(), network.balance(address(PAYEE))), (1, 1_000));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_executes_keeps_no_payment_from_its_end() {
    let (network, lost) = (FakeNetwork::new(CHAIN), switch());
    network.grant(address(PAYER), FUNDS);
    let never: Way = Arc::new(|method| if method == EXECUTE { Fate::RequestLost } else { Fate::Answered });
    let both = purse(&network, vec![to(EXECUTE, &Fate::RequestLost, &lost), never], &MemoryDisk::new());
    assert_eq!(both.spend("one", &window(1)).await, Err(RailError::Unknown));
    network.next_epoch(1_000);
    assert_eq!(both.look("one").await, Ok(Some(Spent::Void)));
    lost.store(false, Ordering::SeqCst);
    assert!(matches!(both.spend("one", &window(1)).await, Ok(Spent::Done(_))));
    assert_eq!((network.executed(), network.equivocations()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_epoch_and_the_price_are_those_that_most_nodes_say() {
    let network = FakeNetwork::new(CHAIN);
    network.next_epoch(1_200);
    let far: Way = Arc::new(|method| match method {
        "iota_getCheckpoint" => Fate::Lied(|answer| answer["result"]["epoch"] = "1099511627776".into()),
        "iotax_getReferenceGasPrice" => Fate::Lied(|answer| answer["result"] = "1".into()),
        _ => Fate::Answered,
    });
    for ways in [vec![far.clone(), honest(), honest()], vec![honest(), far.clone()], vec![far.clone(), honest()]] {
        assert_eq!(over(&network, ways).prices().await, Ok((1, 1_200)));
    }
    // One that has fallen behind does not hold up the other.
    let behind: Way = Arc::new(|method| match method {
        "iota_getCheckpoint" => Fate::Lied(|answer| answer["result"]["epoch"] = "0".into()),
        _ => Fate::Answered,
    });
    for ways in [vec![behind.clone(), honest()], vec![honest(), behind]] {
        assert_eq!(over(&network, ways).prices().await, Ok((1, 1_200)));
    }
    let gone: Way = Arc::new(|_| Fate::Refused);
    assert_eq!(over(&network, vec![gone.clone(), honest()]).prices().await, Ok((1, 1_200)));
    assert_eq!(over(&network, vec![gone]).prices().await, Err(RailError::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn less_gas_than_nobody_has_asked_for_will_do() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), limits::BUDGET / 4);
    let payer = IotaPayer::new(purse(&network, vec![honest()], &MemoryDisk::new()), 1);
    // As after a restart in mid-order: no order was opened in this life.
    payer.pay(&bill(1)).await.unwrap();
    payer.pay(&bill(2)).await.unwrap();
    assert_eq!(network.balance(address(PAYEE)), 2_000);
    let error = payer.purse().spend("much", &Deed::Send { to: address(PAYEE), amount: FUNDS }).await.unwrap_err();
    assert!(matches!(error, RailError::Declined(why) if why.contains("not enough IOTA")), "{error}");
}

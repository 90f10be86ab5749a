//! Coins, and what is signed with them, on the fake network.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use iota_sdk_types::{ExecutionError, ExecutionStatus, TransactionEffects};
use kit::*;
use sdpp_iota::fake::{FakeNetwork, Fate, Way};
use sdpp_iota::{Deed, IotaPayer, JsonRpc, Nodes, Purse, Spent, Transport, Window, limits};
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_rail::{Bill, FlushFault, MemoryDisk, Payer as _, PaymentStatus, RailError};

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

/// Something happens to what is executed while `is_on`, and to nothing else.
fn to_executions(fate: &Fate, is_on: &Arc<AtomicBool>) -> Way {
    let (fate, is_on) = (fate.clone(), is_on.clone());
    Arc::new(move |method| {
        if method == "iota_executeTransactionBlock" && is_on.load(Ordering::SeqCst) {
            fate.clone()
        } else {
            Fate::Answered
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_hundred_windows_are_paid_at_once_without_an_equivocation() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), 100 * limits::BUDGET);
    let purse = purse(&network, honest(), &MemoryDisk::new());
    purse.prepare(100, 1_000).await.unwrap();
    assert!(network.coins(address(PAYER)) > 90, "{} coins", network.coins(address(PAYER)));
    let payer = Arc::new(IotaPayer::new(purse, 1));
    let paying: Vec<_> = (0..100)
        .map(|number| {
            let payer = payer.clone();
            tokio::spawn(async move { payer.pay(&bill(number)).await })
        })
        .collect();
    for paid in paying {
        paid.await.unwrap().unwrap();
    }
    assert_eq!((network.executed(), network.equivocations()), (101, 0));
    assert_eq!(network.balance(address(PAYEE)), 100 * 1_000);
    assert!(network.is_conserved());
}

#[tokio::test(start_paused = true)]
async fn one_coin_pays_one_window_after_the_other() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let purse = purse(&network, honest(), &MemoryDisk::new());
    for number in 0..50 {
        assert!(matches!(purse.spend(&number.to_string(), &window(number)).await, Ok(Spent::Done(_))));
    }
    assert_eq!((network.executed(), network.coins(address(PAYER))), (50, 1));
    assert_eq!(network.equivocations(), 0);
}

#[tokio::test(start_paused = true)]
async fn small_coins_are_put_together() {
    let network = FakeNetwork::new(CHAIN);
    for _ in 0..5 {
        network.grant(address(PAYER), limits::BUDGET / 3);
    }
    let purse = purse(&network, honest(), &MemoryDisk::new());
    assert!(matches!(purse.spend("one", &window(1)).await, Ok(Spent::Done(_))));
    assert!(network.coins(address(PAYER)) < 3);
    let error = purse.spend("two", &Deed::Send { to: address(PAYEE), amount: FUNDS }).await.unwrap_err();
    assert!(matches!(error, RailError::Declined(why) if why.contains("not enough IOTA")), "{error}");
    assert!(network.is_conserved());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_looked_up_and_the_same_bytes_are_sent_again() {
    for fate in [Fate::AnswerLost, Fate::RequestLost] {
        let (network, is_on) = (FakeNetwork::new(CHAIN), Arc::new(AtomicBool::new(true)));
        network.grant(address(PAYER), FUNDS);
        let payer = IotaPayer::new(purse(&network, to_executions(&fate, &is_on), &MemoryDisk::new()), 1);
        assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
        assert_eq!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::Pending));
        is_on.store(false, Ordering::SeqCst);
        let PaymentStatus::Paid(proof) = payer.status(&bill(1).invoice).await.unwrap() else { panic!("{fate:?}") };
        assert_eq!(payer.pay(&bill(1)).await, Ok(proof));
        assert_eq!((network.executed(), network.equivocations()), (1, 0), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_signed_before_a_crash_is_sent_after_it_and_paid_once() {
    for fate in [Fate::AnswerLost, Fate::RequestLost, Fate::Refused] {
        let (network, is_on) = (FakeNetwork::new(CHAIN), Arc::new(AtomicBool::new(true)));
        network.grant(address(PAYER), FUNDS);
        let disk = MemoryDisk::new();
        let payer = IotaPayer::new(purse(&network, to_executions(&fate, &is_on), &disk), 1);
        assert!(payer.pay(&bill(1)).await.is_err());
        drop(payer);
        disk.crash();
        is_on.store(false, Ordering::SeqCst);
        let purse = purse(&network, honest(), &disk);
        // Another window has to wait for the coin, and gets it.
        let payer = IotaPayer::new(purse.clone(), 1);
        purse.resume().await;
        payer.pay(&bill(2)).await.unwrap();
        assert!(matches!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::Paid(_))), "{fate:?}");
        assert_eq!((network.executed(), network.equivocations()), (2, 0), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn coin_versions_are_known_after_a_restart_also_where_a_node_lags_behind() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let disk = MemoryDisk::new();
    assert!(matches!(purse(&network, honest(), &disk).spend("one", &window(1)).await, Ok(Spent::Done(_))));
    // It lists the coin as it was.
    let lagging: Way = Arc::new(|method| match method {
        "iotax_getCoins" => Fate::Lied(|answer| answer["result"]["data"][0]["version"] = "1".into()),
        _ => Fate::Answered,
    });
    assert_eq!(purse(&network, lagging, &disk).spend("two", &window(2)).await, Err(RailError::Unavailable));
    assert_eq!((network.executed(), network.equivocations()), (1, 0));
    assert!(matches!(purse(&network, honest(), &disk).spend("two", &window(2)).await, Ok(Spent::Done(_))));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_executed_in_its_epoch_is_void_and_paid_anew() {
    let (network, is_on) = (FakeNetwork::new(CHAIN), Arc::new(AtomicBool::new(true)));
    network.grant(address(PAYER), FUNDS);
    let payer = IotaPayer::new(purse(&network, to_executions(&Fate::RequestLost, &is_on), &MemoryDisk::new()), 1);
    assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
    network.next_epoch(2_000);
    is_on.store(false, Ordering::SeqCst);
    assert_eq!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::NotPaid));
    payer.pay(&bill(1)).await.unwrap();
    assert_eq!((network.executed(), network.balance(address(PAYEE))), (1, 1_000));
    // The same coin and version in another epoch: that locks nothing.
    assert_eq!(network.equivocations(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_void_payment_had_is_kept_for_the_one_that_takes_its_place() {
    let (network, is_on) = (FakeNetwork::new(CHAIN), Arc::new(AtomicBool::new(true)));
    // The smaller one, which is taken first.
    network.grant(address(PAYER), FUNDS);
    network.grant(address(PAYER), 2 * FUNDS);
    let payer = IotaPayer::new(purse(&network, to_executions(&Fate::RequestLost, &is_on), &MemoryDisk::new()), 1);
    assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
    network.next_epoch(2_000);
    is_on.store(false, Ordering::SeqCst);
    assert_eq!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::NotPaid));
    // It looks which coins there are.
    payer.purse().estimate(&window(2)).await.unwrap();
    payer.pay(&bill(2)).await.unwrap();
    payer.pay(&bill(1)).await.unwrap();
    assert_eq!((network.executed(), network.equivocations()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_void_is_made_with_whatever_coin_there_is() {
    let (network, is_on) = (FakeNetwork::new(CHAIN), Arc::new(AtomicBool::new(true)));
    network.grant(address(PAYER), FUNDS);
    let purse = purse(&network, to_executions(&Fate::RequestLost, &is_on), &MemoryDisk::new());
    let record = Deed::Record(vec![1]);
    assert_eq!(purse.spend("record/1", &record).await, Err(RailError::Unknown));
    network.next_epoch(2_000);
    is_on.store(false, Ordering::SeqCst);
    assert_eq!(purse.look("record/1").await, Ok(Some(Spent::Void)));
    assert!(matches!(purse.spend("pay/1", &window(1)).await, Ok(Spent::Done(_))));
    assert!(matches!(purse.spend("record/1", &record).await, Ok(Spent::Done(_))));
    assert_eq!((network.executed(), network.equivocations()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_executed_and_dropped_by_all_nodes_since_is_not_paid_anew_and_holds_up_nothing() {
    let (network, is_on) = (FakeNetwork::new(CHAIN), Arc::new(AtomicBool::new(true)));
    network.grant(address(PAYER), FUNDS);
    let disk = MemoryDisk::new();
    let payer = IotaPayer::new(purse(&network, to_executions(&Fate::AnswerLost, &is_on), &disk), 1);
    assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
    drop(payer);
    (0..3).for_each(|_| network.next_epoch(1_000));
    network.prune();
    let later = IotaPayer::new(purse(&network, honest(), &disk), 1);
    later.purse().resume().await;
    for number in 2..4 {
        later.pay(&bill(number)).await.unwrap();
        assert_eq!(later.status(&bill(1).invoice).await, Ok(PaymentStatus::Pending));
        assert_eq!(later.pay(&bill(1)).await, Err(RailError::Unknown));
    }
    assert_eq!((network.executed(), network.balance(address(PAYEE)), network.equivocations()), (3, 3_000, 0));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_last_payment_of_a_process_is_known_to_the_next_one() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let disk = MemoryDisk::new();
    let payer = IotaPayer::new(purse(&network, honest(), &disk), 1);
    let proof = payer.pay(&bill(1)).await.unwrap();
    drop(payer);
    disk.crash();
    network.prune();
    let later = IotaPayer::new(purse(&network, Arc::new(|_| Fate::Refused), &disk), 1);
    assert_eq!(later.status(&bill(1).invoice).await, Ok(PaymentStatus::Paid(proof)), "and nobody is asked");
}

/// The effects say that it failed.
fn as_failed(answer: &mut serde_json::Value) {
    let Some(raw) = answer["result"].get("rawEffects").cloned() else { return };
    let bytes: Vec<u8> = serde_json::from_value(raw).unwrap();
    let mut effects: TransactionEffects = bcs::from_bytes(&bytes).unwrap();
    let TransactionEffects::V1(inner) = &mut effects else { unreachable!("it is of version 1") };
    inner.status = ExecutionStatus::Failure { error: ExecutionError::InsufficientCoinBalance, command: Some(0) };
    answer["result"]["rawEffects"] = serde_json::to_value(bcs::to_bytes(&effects).unwrap()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_calls_a_payment_failed_does_not_have_it_made_again() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let payer = IotaPayer::new(purse(&network, Arc::new(|_| Fate::Lied(as_failed)), &MemoryDisk::new()), 1);
    for _ in 0..5 {
        assert!(matches!(payer.pay(&bill(1)).await, Err(RailError::Declined(_))));
        assert_eq!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::NotPaid));
    }
    assert_eq!((network.executed(), network.balance(address(PAYEE))), (1, 1_000));
}

/// It says that the epoch is over, that it knows no transaction, and that coins are as they were; and does all it is asked.
fn denying(network: &Arc<FakeNetwork>) -> Way {
    let (network, asked) = (network.clone(), AtomicUsize::new(0));
    Arc::new(move |method| match method {
        "iota_executeTransactionBlock" => {
            asked.fetch_add(1, Ordering::SeqCst);
            Fate::Lied(|answer| {
                let id = answer["id"].clone();
                *answer =
                    serde_json::json!({ "id": id, "error": { "code": -32002, "message": "Transaction Expired" } });
            })
        }
        "iota_getTransactionBlock" => Fate::Lied(|answer| {
            let (id, message) = (answer["id"].clone(), "Could not find the referenced transaction [x].");
            *answer = serde_json::json!({ "id": id, "error": { "code": -32602, "message": message } });
        }),
        "iota_getCheckpoint" if asked.load(Ordering::SeqCst) > 0 => {
            Fate::Lied(|answer| answer["result"]["epoch"] = "9".into())
        }
        "iotax_getCoins" => Fate::Replaced(network.coins_at_first(address(PAYER))),
        _ => Fate::Answered,
    })
}

#[tokio::test(start_paused = true)]
async fn a_node_that_denies_a_payment_and_its_epoch_and_its_coins_does_not_have_it_made_twice() {
    let network = FakeNetwork::new(CHAIN);
    (0..3).for_each(|_| network.grant(address(PAYER), FUNDS));
    let payer = IotaPayer::new(purse(&network, denying(&network), &MemoryDisk::new()), 1);
    for _ in 0..5 {
        assert!(payer.pay(&bill(1)).await.is_err());
        let _ = payer.status(&bill(1).invoice).await;
    }
    assert_eq!(network.balance(address(PAYEE)), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_payment_whose_only_coin_is_on_its_way_waits_for_it() {
    for fate in [Fate::AnswerLost, Fate::RequestLost] {
        let (network, is_on) = (FakeNetwork::new(CHAIN), Arc::new(AtomicBool::new(true)));
        network.grant(address(PAYER), FUNDS);
        let purse = purse(&network, to_executions(&fate, &is_on), &MemoryDisk::new());
        let payer = Arc::new(IotaPayer::new(purse, 1));
        assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
        let other = payer.clone();
        let waiting = tokio::spawn(async move { other.pay(&bill(2)).await });
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        is_on.store(false, Ordering::SeqCst);
        assert!(matches!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::Paid(_))), "{fate:?}");
        assert!(waiting.await.unwrap().is_ok(), "{fate:?}");
        assert_eq!((network.executed(), network.equivocations()), (2, 0), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_division_that_got_lost_keeps_no_order_of_another_size_from_opening() {
    let (network, is_on) = (FakeNetwork::new(CHAIN), Arc::new(AtomicBool::new(true)));
    network.grant(address(PAYER), FUNDS);
    let purse = purse(&network, to_executions(&Fate::RequestLost, &is_on), &MemoryDisk::new());
    assert_eq!(purse.prepare(4, 1_000).await, Err(RailError::Unknown));
    is_on.store(false, Ordering::SeqCst);
    network.next_epoch(1_000);
    for begun in purse.begun("divide/").unwrap() {
        assert_eq!(purse.look(&begun.name).await, Ok(Some(Spent::Void)));
    }
    purse.prepare(6, 2_000).await.unwrap();
    assert!(network.coins(address(PAYER)) >= 6);
}

#[tokio::test(start_paused = true)]
async fn what_one_node_refuses_another_one_is_asked() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let refusing: Way = Arc::new(|_| {
        Fate::Lied(|answer| {
            let id = answer["id"].clone();
            if answer["result"].get("rawEffects").is_some() {
                *answer = serde_json::json!({ "id": id, "error": { "code": -32601, "message": "Method not found" } });
            }
        })
    });
    // It refuses before anything is done.
    let (first, second) = (network.line_with(refusing), network.line());
    let both: Vec<Arc<dyn Transport>> = vec![Arc::new(JsonRpc::new(first)), Arc::new(JsonRpc::new(second))];
    let purse = Purse::open(Arc::new(Nodes::new(CHAIN, both)), wallet(PAYER), Box::new(MemoryDisk::new().open()));
    assert!(matches!(purse.unwrap().spend("one", &window(1)).await, Ok(Spent::Done(_))));
}

#[tokio::test(start_paused = true)]
async fn pages_without_end_are_not_read_without_end() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let endless: Way = Arc::new(|method| match method {
        "iotax_getCoins" => Fate::Lied(|answer| {
            answer["result"]["hasNextPage"] = true.into();
            answer["result"]["nextCursor"] = "0x1".into();
        }),
        _ => Fate::Answered,
    });
    let coins = nodes(&network, endless).coins(&address(PAYER)).await.unwrap();
    assert!(!coins.is_empty());
    let empty: Way = Arc::new(|method| match method {
        "iotax_getCoins" => Fate::Lied(|answer| {
            answer["result"] = serde_json::json!({ "data": [], "hasNextPage": true, "nextCursor": "0x1" });
        }),
        _ => Fate::Answered,
    });
    assert_eq!(nodes(&network, empty).coins(&address(PAYER)).await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_another_price_of_gas_is_not_used() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let purse = purse(&network, honest(), &MemoryDisk::new());
    purse.estimate(&window(1)).await.unwrap();
    assert!(matches!(purse.spend("one", &window(1)).await, Ok(Spent::Done(_))));
    network.next_epoch(20_000);
    tokio::time::sleep(limits::PRICES_FOR).await;
    assert!(matches!(purse.spend("two", &window(2)).await, Ok(Spent::Done(_))));
    let estimate = purse.estimate(&window(3)).await.unwrap();
    assert!(estimate.budget > limits::BUDGET_MIN, "{estimate:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hides_a_payment_does_not_have_it_made_again() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let lies = Arc::new(AtomicUsize::new(0));
    let counted = lies.clone();
    let way: Way = Arc::new(move |method| match method {
        "iota_executeTransactionBlock" => {
            counted.fetch_add(1, Ordering::SeqCst);
            Fate::Lied(|answer| {
                let id = answer["id"].clone();
                *answer = serde_json::json!({ "id": id, "error": { "code": -32002, "message": "no" } });
            })
        }
        "iota_getTransactionBlock" => Fate::Lied(|answer| {
            let (id, message) = (answer["id"].clone(), "Could not find the referenced transaction [x].");
            *answer = serde_json::json!({ "id": id, "error": { "code": -32602, "message": message } });
        }),
        _ => Fate::Answered,
    });
    let payer = IotaPayer::new(purse(&network, way, &MemoryDisk::new()), 1);
    for _ in 0..5 {
        assert_eq!(payer.pay(&bill(1)).await, Err(RailError::Unknown));
        assert_eq!(payer.status(&bill(1).invoice).await, Ok(PaymentStatus::Pending));
    }
    assert!(lies.load(Ordering::SeqCst) > 5);
    assert_eq!((network.executed(), network.balance(address(PAYEE))), (1, 1_000));
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_that_is_not_durable() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let disk = MemoryDisk::new();
    let purse = purse(&network, honest(), &disk);
    disk.fail_next_flush(FlushFault::Fails);
    for name in ["one", "two"] {
        assert_eq!(purse.spend(name, &window(1)).await, Err(RailError::Unavailable));
    }
    assert_eq!(network.executed(), 0);
    disk.crash();
    let later = kit::purse(&network, honest(), &disk);
    assert_eq!(later.look("one").await, Ok(None));
    assert!(matches!(later.spend("one", &window(2)).await, Ok(Spent::Done(_))));
    assert_eq!((network.executed(), network.equivocations()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_never_used_for_something_else() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let disk = MemoryDisk::new();
    let done = purse(&network, honest(), &disk).spend("one", &window(1)).await.unwrap();
    let later = purse(&network, honest(), &disk);
    assert_eq!(later.spend("one", &window(1)).await, Ok(done));
    let error = later.spend("one", &window(2)).await.unwrap_err();
    assert_eq!(error, RailError::Declined("the same was paid with other terms"));
    let other: BTreeSet<_> = [later.look("one").await.unwrap(), later.look("two").await.unwrap()]
        .into_iter()
        .map(|spent| spent.is_some())
        .collect();
    assert_eq!(other, BTreeSet::from([false, true]));
}

#[tokio::test(start_paused = true)]
async fn a_payment_costs_what_the_recorded_one_did() {
    let network = FakeNetwork::new(CHAIN);
    network.grant(address(PAYER), FUNDS);
    let purse = purse(&network, honest(), &MemoryDisk::new());
    let estimate = purse.estimate(&window(1)).await.unwrap();
    assert_eq!((estimate.budget, estimate.cost), (2_960_800, 1_980_400));
    assert!(matches!(purse.spend("one", &window(1)).await, Ok(Spent::Done(_))));
    assert_eq!(network.balance(address(PAYER)), FUNDS - 1_000 - estimate.cost);
}

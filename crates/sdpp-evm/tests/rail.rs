//! The rail on a real node.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::too_many_arguments,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy::primitives::{Address, U256};
use alloy::providers::Provider as _;
use kit::proxy::{Mode, Proxy};
use kit::world::{FINALITY, PAYEE, PAYER, VOUCHERS, World};
use kit::{Anvil, PATIENCE, TestUsd, key};
use sdpp_evm::abi::SdppRecords;
use sdpp_evm::{ChannelState, EvmPayer, EvmRecords, Node, NodeConfig, NodeError, PayerKeys};
use sdpp_proto::codec::{Bytes32, ChannelId, StatementId};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Form, Order, Payment, RecordPolicy, Signed};
use sdpp_proto::time::Timestamp;
use sdpp_rail::suite::{self, RailWorld as _, Sale};
use sdpp_rail::{Payee as _, Payer as _, RailError, Records as _};

async fn native() -> World {
    let world = World::new(Anvil::start().await, None).await;
    world.anvil.keep_mining();
    world
}

#[tokio::test]
async fn the_rail_conforms_with_native_coins() {
    suite::payer_payee(&native().await).await;
}

#[tokio::test]
async fn the_rail_conforms_with_a_token() {
    let anvil = Anvil::start().await;
    let token = anvil.deploy(&TestUsd::BYTECODE).await;
    anvil.mint(token, key(PAYER).address(), 1_000_000).await;
    let world = World::new(anvil, Some(token)).await;
    world.anvil.keep_mining();
    suite::payer_payee(&world).await;
}

#[tokio::test]
async fn a_node_of_another_chain_or_without_the_contract_is_refused() {
    let anvil = Anvil::start().await;
    let connect = async |config: NodeConfig| Node::connect(&config).await.err().unwrap();
    let good = anvil.config(0);
    let mut other = good.clone();
    other.place.chain = 1;
    assert_eq!(connect(other).await, NodeError::OtherChain { wanted: 1, found: kit::CHAIN });
    let other = anvil.deploy(&TestUsd::BYTECODE).await;
    for (contract, why) in [(Address::repeat_byte(7), NodeError::NoContract), (other, NodeError::OtherCode)] {
        let mut empty = good.clone();
        empty.place.contract = contract;
        assert_eq!(connect(empty).await, why);
    }
    for url in ["", "ftp://127.0.0.1", "no url"] {
        assert_eq!(connect(NodeConfig { url: url.into(), ..good.clone() }).await, NodeError::BadUrl);
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = connect(NodeConfig { url: format!("http://{closed}"), ..good }).await;
    assert!(matches!(silent, NodeError::Silent(_)), "{silent:?}");
}

#[tokio::test]
async fn a_buyer_that_asks_for_the_close_does_not_get_what_it_has_signed_for() {
    let world = native().await;
    let sale = Sale::start(&world).await;
    sale.pay_and_settle(&sale.bill(0, 10)).await;
    sale.pay_and_settle(&sale.bill(10, 60)).await;
    sale.close().await.unwrap();
    // The seller's watcher finds it, what is in a hurry first, and redeems within the grace.
    let found = world.payee.outstanding().await.unwrap();
    assert_eq!((found[0].order, found[0].closing, found[0].amount), (sale.order.id(), true, Amount::new(50 + 10)));
    assert_eq!(world.payee.redeem(&found[0].order, false).await.unwrap().total, Amount::new(60));
    world.pass_ms(60_000).await;
    assert_eq!((world.received().await, world.locked().await), (Amount::new(60), Amount::ZERO));
    // The rest is the buyer's, to the base unit.
    assert_eq!(world.payer.withdraw(None).await, Ok(Amount::new(40)));
}

#[tokio::test]
async fn a_buyer_has_its_money_back_alone_when_the_seller_is_gone() {
    let world = native().await;
    let sale = Sale::start(&world).await;
    sale.close().await.unwrap();
    world.anvil.pass(60).await;
    // Nobody else does anything.
    sale.close().await.unwrap();
    assert_eq!(world.locked().await, Amount::ZERO);
    assert_eq!(world.payer.withdraw(None).await, Ok(Amount::new(100)));
}

#[tokio::test]
async fn a_reorganisation_that_drops_an_open_leaves_no_credit() {
    let world = World::new(Anvil::start().await, None).await;
    let snapshot: U256 = world.anvil.provider.raw_request("evm_snapshot".into(), ()).await.unwrap();
    let mining = tokio::spawn(keep_mining(world.anvil.provider.clone()));
    let sale = Sale::open(&world).await;
    // Opened, and not deep enough for a payee that waits for more.
    mining.abort();
    let _: bool = world.anvil.provider.raw_request("evm_revert".into(), (snapshot,)).await.unwrap();
    world.payer.look_again();
    world.payee.look_again();
    assert_eq!(sale.admit().await.err(), Some(RailError::Declined("there is no such channel")));
    let id = sale.funding.channel.unwrap();
    assert_eq!(world.anvil.node(0).await.channel(&id).await.unwrap().state, ChannelState::Unused);
    assert_eq!(world.payer.pay(&sale.bill(0, 5)).await, Err(RailError::Declined("there is no such channel")));
}

async fn keep_mining(provider: alloy::providers::DynProvider) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mined = provider.raw_request::<_, Option<serde_json::Value>>("anvil_mine".into(), (U256::from(1),));
        if mined.await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn an_open_is_not_taken_before_it_is_final() {
    let world = World::new(Anvil::start().await, None).await;
    let (payer, request) = (
        &world.payer,
        sdpp_rail::OpenRequest {
            reference: world.fresh(),
            option: world.payee.option(),
            limit: Amount::new(100),
            signer: world.signer().public(),
            seller: sdpp_rail::suite::test_seller(),
        },
    );
    // Without further blocks the payer waits.
    let opened = tokio::time::timeout(Duration::from_secs(2), payer.open(&request)).await;
    assert!(opened.is_err(), "{opened:?}");
    world.anvil.keep_mining();
    // Asked again, by the same reference: it is the same channel.
    let funding = tokio::time::timeout(PATIENCE, payer.open(&request)).await.unwrap().unwrap();
    assert_eq!(funding.deposit, Amount::new(100));
    assert_eq!(world.locked().await, Amount::new(100), "once");
}

#[tokio::test]
async fn a_transaction_of_an_earlier_life_that_is_stuck_is_replaced() {
    let world = World::new(Anvil::start().await, None).await;
    world.anvil.raw("evm_setAutomine", (false,)).await;
    let request = || sdpp_rail::OpenRequest {
        reference: world.fresh(),
        option: world.payee.option(),
        limit: Amount::new(100),
        signer: world.signer().public(),
        seller: sdpp_rail::suite::test_seller(),
    };
    let (first, second) = (request(), request());
    // It dies while its transaction waits in the mempool.
    assert!(tokio::time::timeout(Duration::from_secs(2), world.payer.open(&first)).await.is_err());
    let keys = PayerKeys { account: key(PAYER), vouchers: key(VOUCHERS) };
    let again = EvmPayer::new(world.anvil.node(FINALITY).await, keys);
    let mining = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.anvil.keep_mining();
    };
    let (funding, ()) = tokio::join!(tokio::time::timeout(PATIENCE, again.open(&second)), mining);
    assert_eq!(funding.unwrap().unwrap().deposit, Amount::new(100));
    assert_eq!(world.locked().await, Amount::new(100), "the other was replaced, or is still to come");
    assert_eq!(again.opened(&first).await, Ok(None));
}

#[tokio::test]
async fn records_conform() {
    let anvil = Anvil::start().await;
    let contract = anvil.deploy(&SdppRecords::BYTECODE).await;
    let records = EvmRecords::new(anvil.node(FINALITY).await, key(PAYER), contract);
    let count = AtomicU64::new(1);
    let fresh = || {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&count.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        Bytes32(bytes)
    };
    suite::records(&records, fresh, || anvil.mine(u64::from(FINALITY))).await;
    // Whoever has lost its memory finds its own again, and no other account's.
    let again = EvmRecords::new(anvil.node(FINALITY).await, key(PAYER), contract);
    let other = EvmRecords::new(anvil.node(FINALITY).await, key(PAYEE), contract);
    let (order_id, invoice_id) = (StatementId([4; 32]), StatementId([5; 32]));
    let payment = Payment { order_id, prev: order_id, invoice_id, total: Amount::new(7), channel: None, proof: None };
    let payment = Signed::sign(&suite::test_key(60), payment).erase();
    let first = records.append(&payment, Form::Hash).await.unwrap();
    assert_eq!(again.append(&payment, Form::Hash).await, Ok(first));
    assert_ne!(other.append(&payment, Form::Hash).await, Ok(first));
    // Not final yet.
    assert_eq!(records.verify(&first, &payment).await, Err(RailError::Unavailable));
    anvil.mine(u64::from(FINALITY)).await;
    assert_eq!(records.verify(&first, &payment).await, Ok(true));
}

#[tokio::test]
async fn the_rail_conforms_in_a_storm() {
    let anvil = Anvil::start().await;
    let lines = [Proxy::to(&anvil.url).await, Proxy::to(&anvil.url).await];
    let nodes = [anvil.node_over(&lines[0], FINALITY).await, anvil.node_over(&lines[1], FINALITY).await];
    let world = World::over(anvil, nodes, None);
    world.anvil.keep_mining();
    // Requests are refused, answered with errors, or heard and their answers lost.
    lines.iter().zip([7, 8]).for_each(|(line, seed)| line.set(Mode::Storm(seed)));
    suite::payer_payee(&world).await;
}

#[tokio::test]
async fn a_silent_node_is_an_outage_and_no_voucher_is_taken_on_old_news() {
    let anvil = Anvil::start().await;
    let lines = [Proxy::to(&anvil.url).await, Proxy::to(&anvil.url).await];
    let nodes = [anvil.node_over(&lines[0], FINALITY).await, anvil.node_over(&lines[1], FINALITY).await];
    let world = World::over(anvil, nodes, None);
    world.anvil.keep_mining();
    let sale = Sale::start(&world).await;
    sale.pay_and_settle(&sale.bill(0, 10)).await;
    for mode in [Mode::Refuse, Mode::Broken] {
        lines.iter().for_each(|line| line.set(mode));
        // What was seen a moment ago still counts; a payer needs no more.
        let bill = sale.bill(10, 20);
        let payment = sale.payment(&bill, &world.payer.pay(&bill).await.unwrap());
        world.payee.settle(&bill, &payment).await.unwrap();
        // News from before a new block do not.
        world.payee.look_again();
        world.payer.look_again();
        let bill = sale.bill(20, 30);
        let payment = sale.payment(&bill, &world.voucher(&bill));
        assert_eq!(world.payee.settle(&bill, &payment).await, Err(RailError::Unavailable));
        assert_eq!(world.payer.pay(&bill).await, Err(RailError::Unavailable));
        let redeemed = world.payee.redeem(&sale.order.id(), false).await;
        assert_eq!(redeemed.err(), Some(RailError::Unavailable));
        lines.iter().for_each(|line| line.set(Mode::Pass));
        sale.pay_and_settle(&sale.bill(20, 20)).await;
    }
    assert_eq!(sale.redeem(true).await, Ok(Amount::new(20)));
}

#[tokio::test]
async fn a_node_that_hangs_is_given_up() {
    let anvil = Anvil::start().await;
    let line = Proxy::to(&anvil.url).await;
    let node = anvil.node_over(&line, 0).await;
    line.set(Mode::Hang);
    let asked = tokio::time::timeout(PATIENCE, node.channel(&ChannelId([7; 32])));
    assert_eq!(asked.await.unwrap(), Err(RailError::Unavailable));
    let config = NodeConfig { url: line.url.clone(), ..anvil.config(0) };
    let connected = tokio::time::timeout(PATIENCE, Node::connect(&config)).await.unwrap();
    assert!(matches!(connected, Err(NodeError::Silent(_))));
}

#[tokio::test]
async fn a_channel_pays_no_other_seller_of_the_same_account() {
    let world = World::new(Anvil::start().await, None).await;
    world.anvil.keep_mining();
    let (reference, option, seller) = (world.fresh(), world.payee.option(), sdpp_rail::suite::test_seller());
    let (limit, signer) = (Amount::new(100), world.signer().public());
    let request = sdpp_rail::OpenRequest { reference, option, limit, signer, seller };
    let funding = world.payer.open(&request).await.unwrap();
    let order = |seller| {
        let order = Order {
            seller,
            menu_id: StatementId([9; 32]),
            product: 1,
            option: 0,
            quantity: None,
            windows: 2,
            exposure_max: limit,
            limit,
            channel: funding.channel,
            record: RecordPolicy { form: Form::Full, every: 1 },
            invoice_addr: None,
            sign_pk: signer,
            nonce: reference,
            until: Timestamp::NEVER,
        };
        Signed::sign(world.buyer(), order)
    };
    let other = sdpp_rail::suite::test_key(99).public();
    let refused = world.payee.admit(&order(other)).await.unwrap_err();
    assert_eq!(refused, RailError::Declined("the channel was opened for another order"));
    assert!(world.payee.admit(&order(seller)).await.is_ok());
}

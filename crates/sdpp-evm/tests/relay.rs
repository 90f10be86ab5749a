//! A payer without coins for gas.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use alloy::primitives::{Address, U256};
use alloy::providers::Provider as _;
use kit::world::{FINALITY, PAYEE, POOR, RELAYER, World};
use kit::{Anvil, TestUsd, key};
use sdpp_evm::abi::SdppChannels;
use sdpp_evm::{Channel, ChannelState, Consent, Relay as _, Relayed, Relayer};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::money::Amount;
use sdpp_rail::suite::{self, RailWorld as _, Sale};
use sdpp_rail::{Funding, OpenRequest, Payee as _, Payer as _, RailError};

/// What the payer has in the beginning.
const ALL: u64 = 1_000_000;

async fn world() -> (World, Address) {
    let anvil = Anvil::start().await;
    let token = anvil.deploy(&TestUsd::BYTECODE).await;
    anvil.mint(token, key(POOR).address(), ALL).await;
    let world = World::relayed(anvil, token).await;
    world.anvil.keep_mining();
    (world, token)
}

fn request(world: &World, limit: u64) -> OpenRequest {
    let (reference, option) = (world.fresh(), world.payee.option());
    OpenRequest {
        reference,
        option,
        limit: Amount::new(u128::from(limit)),
        signer: world.signer().public(),
        seller: sdpp_rail::suite::test_seller(),
    }
}

async fn coins(world: &World, account: u8) -> U256 {
    world.anvil.provider.get_balance(key(account).address()).await.unwrap()
}

/// In the contract, and outside of it.
async fn tokens(world: &World, token: Address, account: Address) -> [u64; 2] {
    let channels = SdppChannels::new(world.anvil.place.contract, world.anvil.provider.clone());
    let usd = TestUsd::new(token, world.anvil.provider.clone());
    let inside = channels.balanceOf(token, account).call().await.unwrap();
    [inside.to(), usd.balanceOf(account).call().await.unwrap().to()]
}

#[tokio::test]
async fn the_rail_conforms_for_a_payer_without_coins() {
    let (world, _) = world().await;
    suite::payer_payee(&world).await;
    assert_eq!(coins(&world, POOR).await, U256::ZERO);
    assert_eq!(world.anvil.provider.get_transaction_count(key(POOR).address()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_payer_without_coins_opens_pays_closes_and_has_the_rest_back() {
    let (world, token) = world().await;
    let before = coins(&world, RELAYER).await;
    let sale = Sale::start(&world).await;
    assert_eq!(tokens(&world, token, key(POOR).address()).await, [0, ALL - 100]);
    sale.pay_and_settle(&sale.bill(0, 60)).await;
    sale.close().await.unwrap();
    world.payee.look_again();
    assert_eq!(world.payee.redeem(&sale.order.id(), false).await.unwrap().total, Amount::new(60));
    world.anvil.pass(60).await;
    sale.close().await.unwrap();
    assert_eq!(world.payer.withdraw(Some(token)).await, Ok(Amount::new(40)));
    assert_eq!(tokens(&world, token, key(POOR).address()).await, [0, ALL - 60]);
    assert_eq!(tokens(&world, token, key(PAYEE).address()).await, [60, 0]);
    assert_eq!(tokens(&world, token, world.anvil.place.contract).await, [0, 60]);
    // Somebody else has paid the gas, and nothing but the gas.
    assert!(coins(&world, RELAYER).await < before);
    assert_eq!(tokens(&world, token, key(RELAYER).address()).await, [0, 0]);
    assert_eq!(coins(&world, POOR).await, U256::ZERO);
}

#[tokio::test]
async fn what_is_signed_travels_is_sent_once_and_cannot_be_changed() {
    let (world, token) = world().await;
    let relayer = Relayer::new(world.anvil.node(FINALITY).await, key(RELAYER));
    for (count, consent) in (1..).zip([Consent::Authorization, Consent::Permit]) {
        let request = request(&world, 100);
        let signed = world.payer.sign_open_by(&request, consent).await.unwrap();
        // Another amount, payee, signer, grace or salt, or another signature: each word of the call counts.
        for at in (4..signed.bytes().len()).step_by(32).map(|word| word + 31) {
            let mut changed = signed.bytes().to_vec();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 1;
            }
            if let Some(changed) = Relayed::parse(&changed) {
                assert!(matches!(relayer.relay(&changed).await, Err(RailError::Declined(_))), "{consent:?}, byte {at}");
            }
        }
        assert_eq!(world.payer.opened(&request).await, Ok(None));
        let travelled = Relayed::parse(signed.bytes()).unwrap();
        relayer.relay(&travelled).await.unwrap();
        let again = relayer.relay(&travelled).await;
        assert_eq!(again, Err(RailError::Declined("a channel of this order was opened before")));
        let funding = world.payer.open(&request).await.unwrap();
        assert_eq!(funding.deposit, Amount::new(100));
        assert_eq!(tokens(&world, token, key(POOR).address()).await, [0, ALL - count * 100]);
        closes_by_its_payers_wish(&world, &relayer, &funding).await;
    }
}

async fn closes_by_its_payers_wish(world: &World, relayer: &Relayer, funding: &Funding) {
    let id = funding.channel.unwrap();
    let state = async || -> Channel { world.anvil.node(0).await.channel(&id).await.unwrap() };
    // Another channel's wish is nothing to this one.
    let other = world.payer.sign_request_close(&ChannelId([9; 32])).unwrap();
    assert!(matches!(relayer.relay(&other).await, Err(RailError::Declined(_))));
    assert_eq!(state().await.state, ChannelState::Open);
    let signed = world.payer.sign_request_close(&id).unwrap();
    relayer.relay(&Relayed::parse(signed.bytes()).unwrap()).await.unwrap();
    assert!(matches!(state().await.state, ChannelState::Closing(_)));
    let again = relayer.relay(&signed).await;
    assert_eq!(again, Err(RailError::Declined("the channel is about to be closed")));
}

#[tokio::test]
async fn a_payee_closes_by_its_signature_with_all_that_it_is_owed() {
    let (world, token) = world().await;
    let relayer = Relayer::new(world.anvil.node(FINALITY).await, key(RELAYER));
    let sales = [Sale::start(&world).await, Sale::start(&world).await];
    sales[0].pay_and_settle(&sales[0].bill(0, 60)).await;
    for sale in &sales {
        let signed = world.payee.sign_close(&sale.order.id()).unwrap();
        relayer.relay(&Relayed::parse(signed.bytes()).unwrap()).await.unwrap();
        let state = world.anvil.node(0).await.channel(&sale.funding.channel.unwrap()).await.unwrap().state;
        assert_eq!(state, ChannelState::Closed);
    }
    assert_eq!(tokens(&world, token, key(PAYEE).address()).await, [60, 0]);
    assert_eq!(tokens(&world, token, key(POOR).address()).await, [200 - 60, ALL - 200]);
    assert_eq!(world.anvil.provider.get_transaction_count(key(PAYEE).address()).await.unwrap(), 0);
}

#[tokio::test]
async fn native_coins_and_tokens_that_take_no_signatures_are_declined() {
    alloy::sol!(
        #[sol(rpc)]
        TestFalseToken,
        "../../contracts/artifacts/TestFalseToken.json"
    );
    let anvil = Anvil::start().await;
    let token = anvil.deploy(&TestFalseToken::BYTECODE).await;
    let world = World::relayed(anvil, token).await;
    let signed = world.payer.sign_open(&request(&world, 100)).await;
    let no_signatures = RailError::Declined("the token takes no signatures: send its deposit yourself");
    assert_eq!(signed, Err(no_signatures.clone()));
    assert_eq!(world.payer.open(&request(&world, 100)).await, Err(no_signatures));
    let native = World::new(Anvil::start().await, None).await;
    let signed = native.payer.sign_open(&request(&native, 100)).await;
    assert!(matches!(signed, Err(RailError::Declined(_))));
}

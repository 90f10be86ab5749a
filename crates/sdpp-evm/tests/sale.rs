//! Whole sales over TCP that are paid on a chain.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::too_many_arguments,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use kit::market::{MESSAGES, Market, PRICE};
use kit::world::{PAYEE, PAYER};
use kit::{PATIENCE, key};
use sdpp_evm::abi::SdppRecords;
use sdpp_evm::asset;
use sdpp_proto::money::Amount;
use sdpp_rail::Payee as _;

#[tokio::test]
async fn a_thousand_messages_are_bought_and_settled_with_two_transactions() {
    let market = Market::new().await;
    let shop = market.serve().await;
    let bought = tokio::time::timeout(PATIENCE, market.buy(&shop, false)).await.unwrap();
    assert!(bought.is_settled(), "{bought:?}");
    let paid = MESSAGES * PRICE;
    assert_eq!((bought.delivered, bought.paid), (MESSAGES, Amount::new(u128::from(paid))));
    let [payer, payee] = [PAYER, PAYEE].map(|account| key(account).address());
    // The seller closes the channel with the last voucher.
    while market.owns(payee).await < paid {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    shop.close().await;
    assert_eq!((market.owns(payee).await, market.owns(payer).await), (paid, 9 * MESSAGES * PRICE));
    assert_eq!((market.transactions(PAYER).await, market.transactions(PAYEE).await), (1, 1));
    let asset = asset(market.anvil.place.chain, Some(market.token));
    assert_eq!(market.payee().await.option().asset, asset);
}

#[tokio::test]
async fn a_sale_is_recorded_where_it_is_paid() {
    let market = Market::new().await;
    let shop = market.serve().await;
    let bought = tokio::time::timeout(PATIENCE, market.buy(&shop, true)).await.unwrap();
    assert!(bought.is_settled(), "{bought:?}");
    shop.close().await;
    let records = SdppRecords::new(market.records, market.anvil.provider.clone());
    let anchored = records.Anchored_filter().from_block(0).query().await.unwrap();
    let order = bought.order.0;
    assert!(anchored.iter().any(|(event, _)| event.digest.0 == order), "the order is on the chain");
    assert!(anchored.iter().all(|(event, _)| event.by == key(PAYER).address()));
}

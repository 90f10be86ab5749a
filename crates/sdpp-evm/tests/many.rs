//! Many vouchers at once.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use alloy::providers::Provider as _;
use kit::world::{FINALITY, PAYEE, World};
use kit::{Anvil, key};
use sdpp_evm::{Claim, EvmPayee, PayeeConfig, RedeemedAll};
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_rail::suite::{RailWorld as _, Sale};
use sdpp_rail::{Payee as _, PayeeBook, Proof};

const CHANNELS: usize = 10;

/// Sales that have been paid for, none of it redeemed.
async fn paid_sales(world: &World, count: usize) -> Vec<Sale<'_>> {
    let mut sales = Vec::new();
    for _ in 0..count {
        let sale = Sale::start(world).await;
        sale.pay_and_settle(&sale.bill(0, 10)).await;
        sales.push(sale);
    }
    sales
}

async fn transactions(world: &World) -> u64 {
    world.anvil.provider.get_transaction_count(key(PAYEE).address()).await.unwrap()
}

fn sorted(mut orders: Vec<StatementId>) -> Vec<StatementId> {
    orders.sort_unstable();
    orders
}

#[tokio::test]
async fn ten_channels_are_redeemed_by_one_transaction_and_a_bad_voucher_holds_up_none() {
    let world = World::new(Anvil::start().await, None).await;
    world.anvil.keep_mining();
    let sales = paid_sales(&world, CHANNELS).await;
    let bad = Sale::start(&world).await;
    // By another key than the channel's, and yet in the payee's book.
    let bill = bad.bill(0, 10);
    let claim = Claim { channel: bill.channel.unwrap(), total: bill.total, messages: 10, invoice: bill.invoice };
    let proof: Proof = claim.sign(&world.anvil.place, &key(9)).unwrap().encode();
    let book = PayeeBook::new(Box::new(world.disk.open()), "evm-payee");
    book.settle(&bad.payment(&bill, &proof)).unwrap();
    let config = PayeeConfig { grace_min_ms: 60_000, ..PayeeConfig::new(key(PAYEE), None) };
    let payee = EvmPayee::new(world.anvil.node(FINALITY).await, config, Box::new(world.disk.open()));
    // One that is in a hurry: it is redeemed, too.
    sales[3].close().await.unwrap();

    let found = payee.redeem_all().await.unwrap();
    let orders = sorted(sales.iter().map(|sale| sale.order.id()).collect());
    assert_eq!((sorted(found.redeemed), found.left_out, found.transactions), (orders, vec![bad.order.id()], 1));
    assert_eq!((transactions(&world).await, world.received().await), (1, Amount::new(10 * 10)));
    // Nothing is left of them but the bad one, and that costs no gas.
    let outstanding = payee.outstanding().await.unwrap();
    let open: Vec<_> = outstanding.iter().filter(|one| !one.amount.is_zero()).map(|one| one.order).collect();
    assert_eq!(open, [bad.order.id()]);
    let again = payee.redeem_all().await.unwrap();
    assert_eq!(again, RedeemedAll { left_out: vec![bad.order.id()], ..RedeemedAll::default() });
    assert_eq!((transactions(&world).await, world.received().await), (1, Amount::new(10 * 10)));
}

#[tokio::test]
async fn what_a_block_has_no_room_for_takes_more_transactions() {
    let world = World::new(Anvil::start().await, None).await;
    world.anvil.keep_mining();
    let sales = paid_sales(&world, CHANNELS).await;
    world.anvil.raw("evm_setBlockGasLimit", (alloy::primitives::U256::from(300_000),)).await;
    world.anvil.mine(1).await;
    let found = world.payee.redeem_all().await.unwrap();
    assert_eq!((found.redeemed.len(), found.left_out.len()), (sales.len(), 0));
    assert!((2..10).contains(&found.transactions), "{found:?}");
    assert_eq!(u64::from(found.transactions), transactions(&world).await);
    assert_eq!(world.received().await, Amount::new(10 * 10));
}

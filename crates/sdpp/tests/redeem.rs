//! A seller that redeems while its orders end, on a rail that does one thing at a time, and on one where it is dear.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod kit;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kit::*;
use sdpp::seller::{MakeSource, Offer, Seller};
use sdpp::source::Repeat;
use sdpp_proto::money::Amount;
use sdpp_rail::FlushFault;
use sdpp_rail::fake::{FakeMode, FakeWorld};
use tokio::task::JoinHandle;

/// Orders that end while the rail is away: more than are closed between two looks.
const ORDERS: u8 = 20;

/// A seller whose orders are all over and paid for, none of them redeemed.
async fn all_over(world: &World) -> (Arc<Dear>, Seller, JoinHandle<()>) {
    let dear = Dear::new(world);
    dear.away.store(true, Ordering::SeqCst);
    let source: MakeSource = Arc::new(|_| Ok(Box::new(Repeat::new(vec![7; 100], 40))));
    let (product, exposure_max) = (world.product.clone(), Amount::new(1_000_000));
    let seller = dear.seller(world, vec![Offer { product, source, exposure_max, sample: Vec::new() }]).await;
    let (at, serving) = world.listen(&seller).await;
    for seed in 2..2 + ORDERS {
        // The source ends before the order is full: a part of the deposit is the buyer's.
        let (address, request) = (world.address(at), world.request(60, 1));
        let buying = world.buyer(seed);
        let done = buying.buy(&address, &request, &mut Kept::default(), world.stop.subscribe()).await.unwrap();
        assert_eq!(done.paid, Amount::new(120));
    }
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::ZERO);
    (dear, seller, serving)
}

fn locked(world: &World) -> u128 {
    let of = |seed: u8| world.bank.locked(&key(seed).public().multibase(), &FakeWorld::asset()).get();
    (2..2 + ORDERS).map(of).sum()
}

#[tokio::test]
async fn a_seller_that_ends_closes_all_channels_that_are_over_where_redeeming_is_dear() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let (dear, _seller, serving) = all_over(&world).await;
    dear.away.store(false, Ordering::SeqCst);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(120 * u128::from(ORDERS)));
    assert_eq!(locked(&world), 0, "nothing of the buyers is kept");
}

/// Nothing is closed any more then: what a later life signs could not be redeemed. The vouchers are money all the same.
#[tokio::test]
async fn a_seller_whose_journal_has_failed_redeems_what_is_over_once_and_ends() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let (dear, seller, serving) = all_over(&world).await;
    world.seller_disk.fail_next_flush(FlushFault::Fails);
    let (at, more) = world.listen(&seller).await;
    let buying = world.buyer(99);
    let (address, request) = (world.address(at), world.request(40, 1));
    let bought = buying.buy(&address, &request, &mut Kept::default(), world.stop.subscribe()).await;
    assert!(bought.map_or(true, |done| done.paid.is_zero()), "nothing is sold without a journal");
    dear.away.store(false, Ordering::SeqCst);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
    more.await.unwrap();
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(120 * u128::from(ORDERS)));
    assert!(locked(&world) > 0, "the channels are left open");
}

/// The last invoice starts a redemption; the end of the order wants another one.
#[tokio::test]
async fn an_order_that_ends_while_it_redeems_is_let_go() {
    let mut world = World::new(FakeMode::Voucher, product(10), 40);
    world.payee = Narrow::wrap;
    let (at, serving) = world.serve().await;
    let buyer = world.buyer(2);
    let mut sink = Kept::default();
    let done = buyer.buy(&world.address(at), &world.request(40, 1), &mut sink, world.stop.subscribe()).await.unwrap();
    assert_eq!(done.paid, Amount::new(120));
    world.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(60), serving).await.expect("the session has ended").unwrap();
    assert_eq!(world.bank.balance("seller", &sdpp_rail::fake::FakeWorld::asset()), Amount::new(120));
}

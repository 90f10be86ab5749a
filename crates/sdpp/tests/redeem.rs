//! A seller that redeems while its orders end, on a rail that does one thing at a time.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod kit;

use std::time::Duration;

use kit::*;
use sdpp_proto::money::Amount;
use sdpp_rail::fake::FakeMode;

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

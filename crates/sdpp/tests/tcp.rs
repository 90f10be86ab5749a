//! Sales over real sockets, on a fake bank.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

mod kit;

use kit::*;
use sdpp_proto::buyer::Ended;
use sdpp_proto::money::Amount;
use sdpp_rail::fake::FakeMode;

#[tokio::test]
async fn a_thousand_messages_are_sold_by_voucher_and_by_transfer() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let world = World::new(mode, product(10), 1000);
        let (at, serving) = world.serve().await;
        let mut sink = Kept::default();
        let buyer = world.buyer(2);
        let stop = world.stop.subscribe();
        let done = buyer.buy(&world.address(at), &world.request(1000, 8), &mut sink, stop).await.unwrap();
        assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 1000, Amount::new(3000)));
        assert_eq!(sink.0.lock().unwrap().len(), 1000);
        world.stop.send(true).unwrap();
        serving.await.unwrap();
        assert_eq!(world.bank.balance("seller", &sdpp_rail::fake::FakeWorld::asset()), Amount::new(3000), "{mode:?}");
    }
}

#[tokio::test]
async fn many_buyers_get_each_their_own() {
    let world = World::new(FakeMode::Voucher, product(10), 500);
    let (at, serving) = world.serve().await;
    let mut buying = tokio::task::JoinSet::new();
    for seed in 10..30 {
        let (buyer, address, stop) = (world.buyer(seed), world.address(at), world.stop.subscribe());
        let quantity = 100 + u64::from(seed);
        let request = world.request(quantity, 4);
        buying.spawn(async move {
            let mut sink = Kept::default();
            let done = buyer.buy(&address, &request, &mut sink, stop).await.unwrap();
            assert_eq!((done.delivered, done.paid), (quantity, Amount::new(3 * u128::from(quantity))));
            assert_eq!(done.ended, Ended::Settled);
        });
    }
    while let Some(done) = buying.join_next().await {
        done.unwrap();
    }
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

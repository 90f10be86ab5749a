//! A seller that redeems while its orders end, on a rail that does one thing at a time.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod kit;

use std::sync::Arc;
use std::time::Duration;

use kit::*;
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_rail::fake::FakeMode;
use sdpp_rail::{Backing, Bill, Outcome, Payee, Redeemed, Reply};
use tokio::sync::Mutex;

/// A rail that redeems one after the other, and slowly.
struct Narrow {
    inner: Hasty,
    door: Mutex<()>,
}

impl Payee for Narrow {
    fn option(&self) -> PayOption {
        self.inner.option()
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        self.inner.admit(order)
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        self.inner.settle(bill, payment)
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        Box::pin(async move {
            let _inside = self.door.lock().await;
            // Long enough for the order to end meanwhile.
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.inner.redeem(order, finished).await
        })
    }

    fn outstanding(&self) -> Reply<'_, Vec<sdpp_rail::Outstanding>> {
        self.inner.outstanding()
    }
}

/// The last invoice starts a redemption; the end of the order wants another one.
#[tokio::test]
async fn an_order_that_ends_while_it_redeems_is_let_go() {
    let mut world = World::new(FakeMode::Voucher, product(10), 40);
    world.payee = |inner| Arc::new(Narrow { inner, door: Mutex::new(()) });
    let (at, serving) = world.serve().await;
    let buyer = world.buyer(2);
    let mut sink = Kept::default();
    let done = buyer.buy(&world.address(at), &world.request(40, 1), &mut sink, world.stop.subscribe()).await.unwrap();
    assert_eq!(done.paid, Amount::new(120));
    world.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(60), serving).await.expect("the session has ended").unwrap();
    assert_eq!(world.bank.balance("seller", &sdpp_rail::fake::FakeWorld::asset()), Amount::new(120));
}

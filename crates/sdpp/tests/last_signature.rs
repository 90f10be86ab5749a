//! A buyer that dies before it has the seller's last signature comes back for it, although its channel is
//! closed by then.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that panics has failed")]

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kit::*;
use sdpp::seller::Event;
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::StatementId;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_rail::failpoint::{self, Point};
use sdpp_rail::fake::FakeMode;
use sdpp_rail::{Backing, Bill, MemoryDisk, Outcome, Outstanding, Payee, RailError, Redeemed, Reply};

/// A payee that closes channels and takes no order with a closed one, as the ledger's does.
struct Closing {
    payee: Hasty,
    closed: std::sync::atomic::AtomicBool,
}

impl Payee for Closing {
    fn option(&self) -> PayOption {
        self.payee.option()
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        if self.closed.load(Ordering::SeqCst) {
            return Box::pin(async { Err(RailError::Declined("the channel is closed")) });
        }
        self.payee.admit(order)
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        self.payee.settle(bill, payment)
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        self.closed.fetch_or(finished, Ordering::SeqCst);
        self.payee.redeem(order, finished)
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        self.payee.outstanding()
    }
}

#[tokio::test]
async fn a_buyer_comes_back_for_the_last_signature_when_its_channel_is_closed() {
    // The seller signs the end first; the second one to flush its own is the buyer, whose journal stops there.
    let flushes = AtomicU32::new(0);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let signing = Point::named("flush/settlement").unwrap();
    failpoint::arm(Box::new(move |point| {
        if point == signing && flushes.fetch_add(1, Ordering::SeqCst) == 1 {
            tell.send(()).unwrap();
            panic!("the test has the buyer die here");
        }
    }));
    let mut world = World::new(FakeMode::Voucher, product(10), 100);
    world.payee = |payee| Arc::new(Closing { payee, closed: Default::default() });
    let (at, serving) = world.serve().await;
    let (disk, mut sink) = (MemoryDisk::new(), Kept::default());
    let buyer = world.buyer_on(2, &disk);
    let (address, request) = (world.address(at), world.request(100, 4));
    let buying = {
        let (address, mut sink, stop) = (address.clone(), sink.clone(), world.stop.subscribe());
        tokio::spawn(async move { buyer.buy(&address, &request, &mut sink, stop).await })
    };
    told.recv().await.unwrap();
    // Its journal is dead.
    assert!(!buying.await.unwrap().unwrap().is_settled());
    disk.crash();
    while world.seller_events.lock().unwrap().iter().all(|event| !matches!(event, Event::Ended { .. })) {
        tokio::task::yield_now().await;
    }
    let buyer = world.buyer_on(2, &disk);
    let order = buyer.orders().await.unwrap()[0].order;
    let done = buyer.resume(&address, order, &mut sink, world.stop.subscribe()).await.unwrap();
    assert_eq!((done.ended, done.delivered, done.paid.get()), (Ended::Settled, 100, 300));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

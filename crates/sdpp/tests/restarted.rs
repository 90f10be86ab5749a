//! Sellers that are started again while an order is on its way to them: its sealing keys and its menu are
//! others then. And sellers that are still at the connection that was lost.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::net::SocketAddr;
use std::sync::Arc;

use kit::*;
use sdpp::buyer::{Buyer, Event, OrderState};
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::StatementId;
use sdpp_proto::statement::{Order, PayOption, Payment, Signed};
use sdpp_rail::fake::{Call, FakeMode};
use sdpp_rail::{Backing, Bill, MemoryDisk, Outcome, Outstanding, Payee, Redeemed, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Passes one piece on.
async fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    let mut piece = vec![0; 1 << 16];
    let length = from.read(&mut piece).await.unwrap();
    to.write_all(&piece[..length]).await.unwrap();
}

/// Lets hello and menu through, then the order if it is to be heard, and nothing more.
async fn break_off(listener: &TcpListener, to: SocketAddr, heard: bool) {
    let (mut near, _) = listener.accept().await.unwrap();
    let mut far = TcpStream::connect(to).await.unwrap();
    pass(&mut near, &mut far).await;
    pass(&mut far, &mut near).await;
    if heard {
        pass(&mut near, &mut far).await;
        // The session: it says that the order is durable.
        far.readable().await.unwrap();
    } else {
        near.readable().await.unwrap();
    }
}

/// A purchase whose first connection breaks off, and whose seller is another process at the next one.
async fn bought(heard: bool, mode: FakeMode) -> Vec<OrderState> {
    let world = World::new(mode, product(10), 100);
    let (first, serving) = world.serve().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (disk, sink) = (MemoryDisk::new(), Kept::default());
    let (buyer, address) = (world.buyer_on(2, &disk), world.address(proxy.local_addr().unwrap()));
    let (mut own, request, stop) = (sink.clone(), world.request(100, 4), world.stop.subscribe());
    let buying = tokio::spawn(async move { buyer.buy(&address, &request, &mut own, stop).await.unwrap() });
    break_off(&proxy, first, heard).await;
    serving.abort();
    let _ = serving.await;
    world.seller_disk.crash();
    let (second, serving) = world.serve().await;
    let passing = tokio::spawn(async move {
        while let Ok((mut near, _)) = proxy.accept().await {
            let mut far = TcpStream::connect(second).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let done = buying.await.unwrap();
    assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 100, done.due), "heard: {heard}");
    assert_eq!(done.paid.get(), 300);
    assert_eq!(sink.0.lock().unwrap().len(), 100);
    passing.abort();
    world.stop.send(true).unwrap();
    serving.await.unwrap();
    let orders: Vec<_> = Buyer::new(world.buyer_settings(2, &disk)).orders().await.unwrap();
    assert!(orders.iter().any(|order| order.order == done.order && order.state == OrderState::Settled));
    // The channel of the order that never was; the seller closes the other one.
    let closed = u64::from(mode == FakeMode::Voucher && !heard);
    assert_eq!(world.bank.calls(Call::Close), closed);
    orders.iter().map(|order| order.state).collect()
}

#[tokio::test]
async fn an_order_that_was_taken_goes_on_although_the_menu_has_changed() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        assert_eq!(bought(true, mode).await, [OrderState::Settled]);
    }
}

#[tokio::test]
async fn an_order_that_was_never_heard_of_is_ordered_anew() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let mut states = bought(false, mode).await;
        states.sort_by_key(|state| *state == OrderState::Settled);
        assert_eq!(states, [OrderState::Void, OrderState::Settled]);
    }
}

/// Orders that have come, and what lets the rail answer.
static ASKED: Semaphore = Semaphore::const_new(0);
static ANSWER: Semaphore = Semaphore::const_new(0);

/// A payee that takes its time.
struct Slow(Hasty);

impl Payee for Slow {
    fn option(&self) -> PayOption {
        self.0.option()
    }

    fn admit<'a>(&'a self, order: &'a Signed<Order>) -> Reply<'a, Backing> {
        ASKED.add_permits(1);
        Box::pin(async move {
            let _answer = ANSWER.acquire().await;
            self.0.admit(order).await
        })
    }

    fn settle<'a>(&'a self, bill: &'a Bill, payment: &'a Signed<Payment>) -> Reply<'a, Outcome> {
        self.0.settle(bill, payment)
    }

    fn redeem<'a>(&'a self, order: &'a StatementId, finished: bool) -> Reply<'a, Redeemed> {
        self.0.redeem(order, finished)
    }

    fn outstanding(&self) -> Reply<'_, Vec<Outstanding>> {
        self.0.outstanding()
    }
}

#[tokio::test]
async fn a_seller_that_is_still_at_the_lost_connection_is_asked_again() {
    let mut world = World::new(FakeMode::Voucher, product(10), 100);
    world.payee = |payee| Arc::new(Slow(payee));
    let (at, serving) = world.serve().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (world.address(proxy.local_addr().unwrap()), Heard::default());
    let mut settings = world.buyer_settings(2, &MemoryDisk::new());
    settings.listener = heard.listener();
    let (request, stop) = (world.request(100, 4), world.stop.subscribe());
    let buying = tokio::spawn(async move {
        let mut sink = Kept::default();
        Buyer::new(settings).buy(&address, &request, &mut sink, stop).await.unwrap()
    });
    let (mut near, _) = proxy.accept().await.unwrap();
    let mut far = TcpStream::connect(at).await.unwrap();
    pass(&mut near, &mut far).await;
    pass(&mut far, &mut near).await;
    pass(&mut near, &mut far).await;
    ASKED.acquire().await.unwrap().forget();
    // The buyer loses it; the seller does not know yet.
    drop(near);
    let passing = tokio::spawn(async move {
        while let Ok((mut near, _)) = proxy.accept().await {
            let mut far = TcpStream::connect(at).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    // Its second connection was told that there is no room: the first has the order.
    heard.until(|event| matches!(event, Event::Reconnecting { attempt: 2 })).await;
    drop(far);
    ANSWER.add_permits(100);
    let done = buying.await.unwrap();
    assert_eq!((done.ended, done.delivered, done.paid.get()), (Ended::Settled, 100, 300));
    passing.abort();
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

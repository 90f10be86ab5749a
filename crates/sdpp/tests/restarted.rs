//! Sellers that are started again while an order is on its way to them: its sealing keys and its menu are
//! others then.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::net::SocketAddr;

use kit::*;
use sdpp::buyer::{Buyer, OrderState};
use sdpp_proto::buyer::Ended;
use sdpp_rail::MemoryDisk;
use sdpp_rail::fake::{Call, FakeMode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

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
    assert_eq!(u64::from(world.bank.calls(Call::Close)), closed);
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

//! Live data to a buyer whose connection breaks: what comes meanwhile waits for it.
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
use sdpp::feed::{Hub, Item, Start, Taken, Upstream};
use sdpp::source::Filled;
use sdpp_proto::buyer::Ended;
use sdpp_rail::fake::FakeMode;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a test says is what comes.
struct Spoken(mpsc::UnboundedReceiver<u64>);

impl Upstream for Spoken {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        Box::pin(async move {
            match self.0.recv().await {
                Some(number) => {
                    items.push(Item { topic: None, time_us: 0, payload: number.to_string().into() });
                    Ok(Filled::Some)
                }
                None => Ok(Filled::End),
            }
        })
    }
}

/// Passes connections on, and breaks them when it is told.
async fn breakable(to: SocketAddr) -> (SocketAddr, Arc<tokio::sync::Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, cut) = (listener.local_addr().unwrap(), Arc::new(tokio::sync::Notify::new()));
    let told = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let Ok(mut far) = TcpStream::connect(to).await else { continue };
            let told = told.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = told.notified() => {}
                }
            });
        }
    });
    (at, cut)
}

#[tokio::test]
async fn what_comes_while_a_buyer_is_cut_off_is_delivered_when_it_is_back() {
    let world = World::new(FakeMode::Voucher, product(2), 0);
    let (say, said) = mpsc::unbounded_channel();
    let hub = Hub::start(Spoken(said), Start::Now);
    let (at, serving) = world.serve_from(Arc::new(move |_| Ok(Box::new(hub.subscribe(Default::default()))))).await;
    let (proxy, cut) = breakable(at).await;
    let sink = Kept::default();
    let (buyer, address, request) = (world.buyer(2), world.address(proxy), world.request(100, 8));
    let (mut own, stop) = (sink.clone(), world.stop.subscribe());
    let buying = tokio::spawn(async move { buyer.buy(&address, &request, &mut own, stop).await.unwrap() });
    let lives = |events: &[sdpp::seller::Event]| {
        events.iter().filter(|event| matches!(event, sdpp::seller::Event::Live { .. })).count()
    };
    for round in 0..5u64 {
        // Each life of the connection gets messages, is cut, and more are said before it is back.
        while lives(&world.seller_events.lock().unwrap()) <= usize::try_from(round).unwrap() {
            tokio::task::yield_now().await;
        }
        (round * 20..round * 20 + 10).for_each(|number| say.send(number).unwrap());
        while sink.0.lock().unwrap().len() < usize::try_from(round * 20 + 1).unwrap() {
            tokio::task::yield_now().await;
        }
        cut.notify_waiters();
        (round * 20 + 10..round * 20 + 20).for_each(|number| say.send(number).unwrap());
    }
    let done = buying.await.unwrap();
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 100));
    let texts: Vec<String> =
        sink.0.lock().unwrap().iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into()).collect();
    let wanted: Vec<String> = (0..100u64).map(|number| number.to_string()).collect();
    assert_eq!(texts, wanted);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

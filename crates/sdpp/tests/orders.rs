//! A buyer as a tool needs it: what its journal knows, waiting for a seller, stopping and closing.
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

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kit::*;
use sdpp::buyer::{BuyError, Buyer, Event, OrderState, Purchase, Reconnect};
use sdpp_proto::buyer::Ended;
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::Reason;
use sdpp_rail::fake::{Call, FakeMode, FakePayee, FakeWorld, Fault};
use sdpp_rail::{Bill, CloseStatus, Funding, MemoryDisk, OpenRequest, Payer, PaymentStatus, Proof, Reply};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// An address where nobody listens.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A seller is killed in the middle of a sale to a patient buyer, whose purchase goes on by itself.
struct Cut {
    world: World,
    disk: MemoryDisk,
    heard: Heard,
    sink: Kept,
    stop: watch::Sender<bool>,
    buying: tokio::task::JoinHandle<Result<Purchase, BuyError>>,
    at: SocketAddr,
}

async fn cut(mode: FakeMode, reconnect: Reconnect) -> Cut {
    let world = World::new(mode, product(10), 3000);
    let (at, serving) = world.serve().await;
    let (disk, heard, sink) = (MemoryDisk::new(), Heard::default(), Kept::default());
    let mut settings = world.buyer_settings(2, &disk);
    settings.listener = heard.listener();
    settings.reconnect = reconnect;
    let stop = watch::channel(false).0;
    let buying = {
        let (mut sink, address, request) = (sink.clone(), world.address(at), world.request(3000, 4));
        let stop = stop.subscribe();
        tokio::spawn(async move { Buyer::new(settings).buy(&address, &request, &mut sink, stop).await })
    };
    heard.until(|event| matches!(event, Event::Paid { total, .. } if total.get() > 300)).await;
    serving.abort();
    let _ = serving.await;
    heard.until(|event| matches!(event, Event::Reconnecting { .. })).await;
    world.seller_disk.crash();
    Cut { world, disk, heard, sink, stop, buying, at }
}

fn patient() -> Reconnect {
    Reconnect { tries: None, ..quick(0) }
}

#[tokio::test]
async fn a_buyer_that_never_gives_up_goes_on_when_the_seller_is_back() {
    let cut = cut(FakeMode::Voucher, patient()).await;
    cut.heard.until(|event| matches!(event, Event::Reconnecting { attempt } if *attempt > 7)).await;
    let serving = cut.world.serve_at(TcpListener::bind(cut.at).await.unwrap()).await;
    let done = cut.buying.await.unwrap().unwrap();
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 3000));
    assert_eq!(cut.sink.0.lock().unwrap().len(), 3000);
    cut.world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn an_order_whose_seller_does_not_come_back_is_parked_and_closed_later() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let cut = cut(mode, quick(2)).await;
        let done = cut.buying.await.unwrap().unwrap();
        assert_eq!(done.ended, Ended::Told(None));
        assert!(done.parked && !done.is_settled());
        assert_eq!(cut.world.bank.calls(Call::Close), 0, "its channel is kept for later");
        let buyer = cut.world.buyer_on(2, &cut.disk);
        let orders = buyer.orders().await.unwrap();
        assert_eq!((orders[0].order, orders[0].paid), (done.order, done.paid));
        assert!(matches!(orders[0].state, OrderState::Open | OrderState::Unpaid));
        assert_eq!((orders[0].topic.as_str(), orders[0].quantity), ("weather", Some(3000)));
        // Nobody is there: it is said, and nothing is given up.
        let mut sink = cut.sink.clone();
        let address = orders[0].note.address();
        let error = buyer.close(&address, done.order, (&mut sink, false)).await.unwrap_err();
        assert!(matches!(error, BuyError::Connection(_)), "{error}");
        assert_eq!(cut.world.bank.calls(Call::Close), 0);
        // It is back: what it has under way is settled, and nothing more is bought.
        let serving = cut.world.serve_at(TcpListener::bind(cut.at).await.unwrap()).await;
        let closed = buyer.close(&address, done.order, (&mut sink, false)).await.unwrap();
        assert_eq!(closed.ended, Ended::Settled, "{mode:?}");
        assert!(closed.delivered < 3000 && closed.paid >= done.paid);
        let kept = cut.sink.0.lock().unwrap().len() as u64;
        assert_eq!(kept, closed.delivered);
        assert_eq!(buyer.orders().await.unwrap()[0].state, OrderState::Settled);
        let again = buyer.close(&address, done.order, (&mut sink, true)).await.unwrap();
        assert_eq!((again.ended, again.closing), (Ended::Settled, false), "there is nothing left to do");
        cut.world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn an_order_whose_seller_is_gone_for_good_is_left_to_the_rail() {
    let cut = cut(FakeMode::Voucher, quick(1)).await;
    let done = cut.buying.await.unwrap().unwrap();
    let buyer = cut.world.buyer_on(2, &cut.disk);
    let given_up = buyer.close(&cut.world.address(cut.at), done.order, (&mut cut.sink.clone(), true)).await.unwrap();
    assert!(given_up.closing && !given_up.parked, "the rail was asked: {given_up:?}");
    assert_eq!(cut.world.bank.calls(Call::Close), 1);
}

/// A rail that does what it is asked and whose first answer never comes.
struct Mute(Arc<dyn Payer>);

impl Payer for Mute {
    fn moves_money(&self) -> bool {
        self.0.moves_money()
    }

    fn open<'a>(&'a self, request: &'a OpenRequest) -> Reply<'a, Funding> {
        Box::pin(async move {
            self.0.open(request).await?;
            std::future::pending().await
        })
    }

    fn pay<'a>(&'a self, bill: &'a Bill) -> Reply<'a, Proof> {
        self.0.pay(bill)
    }

    fn status<'a>(&'a self, invoice: &'a StatementId) -> Reply<'a, PaymentStatus> {
        self.0.status(invoice)
    }

    fn close<'a>(&'a self, funding: &'a Funding) -> Reply<'a, CloseStatus> {
        self.0.close(funding)
    }
}

#[tokio::test]
async fn a_deposit_whose_order_was_never_written_comes_back_with_the_next_purchase() {
    let world = World::new(FakeMode::Voucher, product(10), 100);
    let (at, serving) = world.serve().await;
    let (disk, address, request) = (MemoryDisk::new(), world.address(at), world.request(100, 4));
    let (account, asset) = (key(2).public().multibase(), FakeWorld::asset());
    let mut settings = world.buyer_settings(2, &disk);
    settings.payer = Arc::new(Mute(settings.payer));
    let stop = watch::channel(false).0;
    let dies = Buyer::new(settings);
    let (mut sink, asked) = (Kept::default(), stop.subscribe());
    let mut buying = Box::pin(dies.buy(&address, &request, &mut sink, asked));
    while world.bank.locked(&account, &asset) == Amount::ZERO {
        let _ = tokio::time::timeout(Duration::from_millis(1), &mut buying).await;
    }
    drop(buying);
    drop(dies);
    disk.crash();
    // The journal knows of no order, and yet of the deposit. The second purchase has one of its own.
    for closed in [1, 2, 2] {
        let buyer = world.buyer_on(2, &disk);
        let done = buyer.buy(&address, &request, &mut Kept::default(), stop.subscribe()).await.unwrap();
        assert_eq!((done.ended, done.delivered), (Ended::Settled, 100));
        assert_eq!(
            world.bank.calls(Call::Close),
            closed,
            "as long as it is not over: then no more, and never one that is used"
        );
        world.bank.advance_ms(FakePayee::GRACE_MIN_MS);
        assert_eq!(world.bank.locked(&account, &asset), Amount::ZERO);
    }
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_wish_to_stop_is_not_kept_waiting_by_a_seller_that_is_away() {
    // Before the deadline it comes back: the order is settled.
    let reconnect = Reconnect { stop_wait: Duration::from_secs(3600), ..patient() };
    let cut_off = cut(FakeMode::Voucher, reconnect).await;
    cut_off.stop.send(true).unwrap();
    let serving = cut_off.world.serve_at(TcpListener::bind(cut_off.at).await.unwrap()).await;
    let done = cut_off.buying.await.unwrap().unwrap();
    assert_eq!(done.ended, Ended::Settled);
    assert!(done.delivered < 3000);
    cut_off.world.stop.send(true).unwrap();
    serving.await.unwrap();
    // It does not: the order is parked.
    let reconnect = Reconnect { stop_wait: Duration::ZERO, ..patient() };
    let cut_off = cut(FakeMode::Voucher, reconnect).await;
    cut_off.stop.send(true).unwrap();
    let done = cut_off.buying.await.unwrap().unwrap();
    assert_eq!(done.ended, Ended::Stopped(Reason::ShuttingDown));
    assert!(done.parked);
    assert_eq!(cut_off.world.bank.calls(Call::Close), 0);
}

/// A seller that takes the connection and says nothing.
#[tokio::test]
async fn a_wish_to_stop_is_heard_while_a_resumed_order_is_not_live() {
    let cut = cut(FakeMode::Voucher, quick(1)).await;
    let order = cut.buying.await.unwrap().unwrap().order;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = cut.world.address(silent.local_addr().unwrap());
    let mut settings = cut.world.buyer_settings(2, &cut.disk);
    settings.reconnect = Reconnect { stop_wait: Duration::ZERO, ..quick(0) };
    let (mut sink, stop) = (cut.sink.clone(), cut.stop.subscribe());
    let resuming = tokio::spawn(async move { Buyer::new(settings).resume(&address, order, &mut sink, stop).await });
    let held = silent.accept().await.unwrap();
    cut.stop.send(true).unwrap();
    let done = resuming.await.unwrap().unwrap();
    assert_eq!(done.ended, Ended::Stopped(Reason::ShuttingDown), "though the menu never came");
    drop(held);
}

#[tokio::test]
async fn a_seller_that_is_not_there_is_an_error_or_waited_for() {
    let world = World::new(FakeMode::Voucher, product(10), 50);
    let at = nowhere().await;
    let (disk, stop) = (MemoryDisk::new(), watch::channel(false).0);
    let mut settings = world.buyer_settings(2, &disk);
    settings.reconnect = patient();
    let (request, mut sink) = (world.request(50, 4), Kept::default());
    let error = Buyer::new(settings).buy(&world.address(at), &request, &mut sink, stop.subscribe()).await;
    assert!(matches!(error, Err(BuyError::Connection(_))), "at once, whatever happens later");
    let mut settings = world.buyer_settings(2, &disk);
    settings.reconnect = Reconnect { wait_for_seller: true, ..patient() };
    let buying = {
        let (address, stop) = (world.address(at), stop.subscribe());
        tokio::spawn(async move { Buyer::new(settings).buy(&address, &request, &mut sink, stop).await })
    };
    let serving = world.serve_at(TcpListener::bind(at).await.unwrap()).await;
    let done = buying.await.unwrap().unwrap();
    assert_eq!((done.ended, done.paid), (Ended::Settled, Amount::new(150)));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
    // The wish to stop ends the wait.
    let mut settings = world.buyer_settings(2, &disk);
    settings.reconnect = Reconnect { wait_for_seller: true, ..patient() };
    stop.send_replace(true);
    let (address, request, mut sink) = (world.address(nowhere().await), world.request(1, 1), Kept::default());
    let stopped = Buyer::new(settings).buy(&address, &request, &mut sink, stop.subscribe()).await;
    assert!(matches!(stopped, Err(BuyError::Connection(_))));
}

#[tokio::test]
async fn an_order_that_the_journal_does_not_know_is_said() {
    let world = World::new(FakeMode::Voucher, product(10), 50);
    let buyer = world.buyer(2);
    assert!(buyer.orders().await.unwrap().is_empty());
    let order = sdpp_proto::codec::StatementId([7; 32]);
    let (address, mut sink) = (world.address(nowhere().await), Kept::default());
    let error = buyer.resume(&address, order, &mut sink, world.stop.subscribe()).await.unwrap_err();
    assert!(matches!(error, BuyError::UnknownOrder(id) if id == order), "{error}");
}

#[tokio::test]
async fn an_order_whose_rail_is_away_for_long_is_parked_and_goes_on_when_it_is_back() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let world = World::new(mode, product(10), 300);
        let (at, serving) = world.serve().await;
        let disk = MemoryDisk::new();
        for _ in 0..3 {
            world.bank.push_fault(Call::Pay, Fault::NONE);
        }
        for _ in 0..1000 {
            world.bank.push_fault(Call::Pay, Fault::REFUSED);
        }
        let (mut sink, stop) = (Kept::default(), world.stop.subscribe());
        let buyer = world.buyer_on(2, &disk);
        let done = buyer.buy(&world.address(at), &world.request(300, 4), &mut sink, stop.clone()).await.unwrap();
        assert_eq!(done.ended, Ended::Stopped(Reason::RailDown), "{mode:?}");
        assert!(done.parked && done.paid > Amount::ZERO, "{mode:?}: the channel stays, and so does the order");
        world.bank.clear_faults();
        let done = world.buyer_on(2, &disk).resume(&world.address(at), done.order, &mut sink, stop).await.unwrap();
        assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 300, Amount::new(900)), "{mode:?}");
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

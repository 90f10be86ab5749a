//! What was said once is said again: it is worth nothing the second time.

use sdpp::seller::{OrderState, Status};
use sdpp_proto::buyer::Ended;
use sdpp_proto::frame::FrameKind;
use sdpp_proto::money::Amount;
use sdpp_proto::offence::{Offence, Reason};
use sdpp_proto::statement::{Invoice, Order, Payment, Signed};
use sdpp_rail::fake::{Call, FakeMode, FakeWorld};

use crate::kit::*;
use crate::rogue::{Rogue, pay};
use crate::tap::*;

/// Every word of a signed payment again, in every way that a socket allows.
#[tokio::test]
async fn a_replayed_payment_gives_no_credit_and_asks_no_rail() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let (mut rogue, invoice) = Rogue::take_one(at, 3, 3).await;
    pay(&world, &mut rogue, &invoice).await;
    let first = rogue.liar.last_payment.clone().unwrap();
    let next = rogue.invoice().await;
    assert_eq!((next.due, next.paid), (Amount::new(6), Amount::new(3)));
    let asked = world.bank.calls(Call::Settle);
    for _ in 0..1000 {
        rogue.liar.line.statement(&first);
    }
    rogue.say().await;
    // It is still listened to, and has the credit of one payment: one message more.
    pay(&world, &mut rogue, &next).await;
    let third = rogue.invoice().await;
    assert_eq!((third.due, third.paid), (Amount::new(9), Amount::new(6)));
    assert_eq!(world.bank.calls(Call::Settle), asked + 1, "the rail was asked for the second payment only");
    // One that is not the newest any more breaks the chain.
    rogue.liar.line.statement(&first);
    assert_eq!(rogue.error().await, Some(Offence::PaymentChain.code()));
    drop(rogue);
    until(|| seller.status().connections == 0).await;
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(6));
    assert_eq!(owed(&seller.status()), Amount::new(3));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

fn owed(status: &Status) -> Amount {
    status.orders.iter().fold(Amount::ZERO, |sum, order| sum.checked_add(order.owed).unwrap())
}

/// What is made of an old payment for a new invoice.
type Carry = fn(&Payment, Payment) -> Payment;

/// The proof that paid one order's invoice is shown for another's, and a whole payment is carried over.
#[tokio::test]
async fn what_paid_one_order_pays_no_other() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let (mut honest, invoice) = Rogue::take_one(at, 3, 3).await;
    pay(&world, &mut honest, &invoice).await;
    let paid = honest.liar.last_payment.clone().unwrap();
    honest.invoice().await;
    let cases: [(Carry, Offence); 3] = [
        (|old, _| old.clone(), Offence::PaymentForAnother),
        (|old, new| Payment { proof: old.proof.clone(), ..new }, Offence::PaymentRefused),
        (|old, new| Payment { invoice_id: old.invoice_id, proof: old.proof.clone(), ..new }, Offence::PaymentInvoice),
    ];
    for (seed, (change, offence)) in (10..).zip(cases) {
        let (mut thief, invoice) = Rogue::take_one(at, seed, 3).await;
        let payment = change(&paid, thief.liar.payment(&invoice));
        let prev = thief.order_id();
        thief.liar.send_payment(Payment { prev, ..payment });
        assert_eq!(thief.error().await, Some(offence.code()));
    }
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(3), "paid once");
    until(|| seller.status().connections == 1).await;
    assert_eq!(owed(&seller.status()), Amount::new(12), "each owes what it took, and the honest one its next");
    drop(honest);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Vouchers are cumulative: an older one, a smaller one and one again give nothing.
#[tokio::test]
async fn a_replayed_or_smaller_voucher_gives_nothing() {
    for smaller in [false, true] {
        let world = World::new(FakeMode::Voucher, product(10), 0);
        let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
        let (at, serving) = world.listen(&seller).await;
        // The channel of an honest purchase that has not gone on.
        let mut rogue = Rogue::greeted(at, 3, 3).await;
        let channel = open_channel(&world, 3).await;
        let order = Order { channel: Some(channel), exposure_max: Amount::new(3), ..rogue.liar.order() };
        rogue.liar.send_order(order);
        let invoice = rogue.invoice().await;
        rogue.liar.pay(&invoice);
        let first = rogue.liar.last_payment.clone().unwrap();
        let second = rogue.invoice().await;
        rogue.liar.line.statement(&first);
        if smaller {
            let payment = Payment { total: Amount::new(3), ..rogue.liar.payment(&second) };
            rogue.liar.send_payment(payment);
            assert_eq!(rogue.error().await, Some(Offence::PaymentTotal.code()));
        } else {
            rogue.liar.pay(&second);
            let third = rogue.invoice().await;
            assert_eq!((third.due, third.paid), (Amount::new(9), Amount::new(6)));
            rogue.liar.line.statement(&first);
            assert_eq!(rogue.error().await, Some(Offence::PaymentChain.code()));
        }
        drop(rogue);
        until(|| seller.status().connections == 0).await;
        let credited = if smaller { 3 } else { 6 };
        assert_eq!(seller.status().orders[0].paid, Amount::new(credited));
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

async fn open_channel(world: &World, seed: u8) -> sdpp_proto::codec::ChannelId {
    use sdpp_rail::{OpenRequest, Payer as _};
    let key = key(seed);
    let account = key.public().multibase();
    world.bank.fund(&account, &FakeWorld::asset(), Amount::new(1000)).unwrap();
    let payer = sdpp_rail::fake::FakePayer::new(&world.bank, account, FakeMode::Voucher);
    let request = OpenRequest {
        reference: sdpp_proto::codec::Bytes32([seed; 32]),
        option: world.option(),
        limit: Amount::new(900),
        signer: key.public(),
        seller: key.public(),
    };
    payer.open(&request).await.unwrap().channel.unwrap()
}

/// The bytes of an order' on another connection, and the signed order on one of its own buyer.
#[tokio::test]
async fn a_replayed_order_is_never_a_second_one() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let mut rogue = Rogue::greeted(at, 3, 3).await;
    let order = Order { exposure_max: Amount::new(3), quantity: Some(1), ..rogue.liar.order() };
    rogue.liar.send_order(order);
    let sealed = rogue.liar.line.outbox().clone();
    let invoice = rogue.invoice().await;
    let order = rogue.liar.order.clone().unwrap();

    // Whoever has listened: the same hello, the same order'.
    let mut thief = Rogue::greeted(at, 3, 3).await;
    thief.liar.line.raw(&sealed);
    assert_eq!(thief.error().await, Some(Offence::BadSealedOrder.code()));
    // Its own buyer, while it is live, when it is parked, and when it is over.
    let again = async |seed: u8| {
        let mut again = Rogue::greeted(at, 3, seed).await;
        let attach = again.liar.attach(order.id(), 1);
        let attach = Signed::sign(&again.liar.keys.identity, attach);
        again.liar.send_signed(Some(order.clone()), &attach);
        again.error().await
    };
    assert_eq!(again(50).await, Some(Reason::Busy.code()));
    drop(rogue);
    let state = |state| move |status: Status| status.orders.iter().any(|order| order.state == state);
    until(|| state(OrderState::Parked)(seller.status())).await;
    assert_eq!(again(51).await, Some(Offence::StaleAttach.code()));
    let mut rogue = Rogue::come_back(at, 3, &order, 0).await;
    let same: Signed<Invoice> = rogue.invoice().await;
    assert_eq!(same.id(), invoice.id(), "one order, one chain");
    pay(&world, &mut rogue, &same).await;
    let last = rogue.invoice().await;
    pay(&world, &mut rogue, &last).await;
    rogue.hear(|heard| heard.statement::<sdpp_proto::statement::Settlement>().is_some()).await.unwrap();
    let settlement = Signed::sign(&rogue.liar.keys.pays, rogue.liar.settlement(&last));
    rogue.liar.line.statement(&settlement);
    rogue.say().await;
    drop(rogue);
    until(|| state(OrderState::Over)(seller.status())).await;
    assert_eq!(again(52).await, Some(Reason::AlreadyEnded.code()));
    assert_eq!(seller.status().orders.len(), 1);
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(3), "charged once");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// Answers of the rail are lost, connections break and both programs die, all the while: money moves once.
#[tokio::test]
async fn a_retry_pays_once_whatever_is_lost_around_it() {
    for mode in [FakeMode::Direct, FakeMode::Voucher] {
        let world = World::new(mode, product(10), 2000);
        let (disk, sink) = (sdpp_rail::MemoryDisk::new(), Kept::default());
        world.bank.seed_faults(7, 200);
        let (mut at, mut serving) = world.serve().await;
        let mut order = None;
        let mut done = None;
        for life in 0..20 {
            let (buyer, mut held) = (world.buyer_on(2, &disk), sink.clone());
            let (address, stop) = (world.address(at), world.stop.subscribe());
            let request = world.request(2000, 4);
            let task = tokio::spawn(async move {
                match order {
                    None => buyer.buy(&address, &request, &mut held, stop).await,
                    Some(order) => buyer.resume(&address, order, &mut held, stop).await,
                }
            });
            let before = sink.0.lock().unwrap().len();
            if life < 6 {
                until(|| sink.0.lock().unwrap().len() > before + 60 || task.is_finished()).await;
                task.abort();
                let _ = task.await;
                disk.crash();
                if life % 2 == 0 {
                    serving.abort();
                    let _ = serving.await;
                    world.seller_disk.crash();
                    (at, serving) = world.serve().await;
                }
                let known = world.buyer_on(2, &disk).orders().await.unwrap();
                order = known.first().map(|known| known.order);
                continue;
            }
            match task.await.unwrap() {
                Ok(purchase) if purchase.ended == Ended::Settled => {
                    done = Some(purchase);
                    break;
                }
                Ok(purchase) => order = Some(purchase.order),
                Err(error) => panic!("{error}"),
            }
        }
        let done = done.expect("the order is seen through");
        assert_eq!(done.delivered, 2000, "{mode:?}");
        world.bank.clear_faults();
        world.stop.send(true).unwrap();
        serving.await.unwrap();
        let earned = world.bank.balance("seller", &FakeWorld::asset());
        assert_eq!(earned, done.paid, "{mode:?}: each invoice once");
        let kept = sink.0.lock().unwrap();
        assert!(kept.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq), "{mode:?}: in order, each once");
        assert_eq!(kept.len(), 2000, "{mode:?}");
    }
}

/// A frame of the live session again: it has its place once.
#[tokio::test]
async fn a_replayed_frame_ends_its_session() {
    let world = World::new(FakeMode::Direct, product(10), 0);
    let seller = world.seller(vec![offer(named("weather", 1), flood())]).await;
    let (at, serving) = world.listen(&seller).await;
    let (mut rogue, invoice) = Rogue::take_one(at, 3, 3).await;
    pay(&world, &mut rogue, &invoice).await;
    let frame = rogue.liar.line.outbox().clone();
    assert_eq!(frame.get(4), Some(&7), "a {:?} frame", FrameKind::Sealed);
    rogue.invoice().await;
    rogue.liar.line.raw(&frame);
    assert_eq!(rogue.error().await, Some(Offence::WrongCounter.code()));
    assert_eq!(world.bank.balance("seller", &FakeWorld::asset()), Amount::new(3));
    world.stop.send(true).unwrap();
    drop(rogue);
    serving.await.unwrap();
}

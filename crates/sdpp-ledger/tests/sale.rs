//! Sales over real sockets that are paid by vouchers of a real ledger: what a channel may do in
//! between.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where it fails"
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use sdpp::journal::Journal;
use sdpp::seller::{self, Limits, Offer, Pools, Seller};
use sdpp::source::Repeat;
use sdpp_ledger::{ChannelState, LocalLedger, PayeeConfig, VoucherPayee, VoucherPayer};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::offence::{Fault, Offence, Reason};
use sdpp_proto::statement::{Form, Invoice, Order, Payment, Product, RecordOffer, Signed, Signing, Stalled};
use sdpp_proto::suite::Suite;
use sdpp_rail::{Funding, MemoryDisk, MemoryStore, OpenRequest, Payee, Payer};
use sdpp_sim::liar::{BuyerKeys, Heard, RawBuyer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const GRACE_MS: u64 = 60_000;

/// A ledger, and what of a seller survives it.
struct World {
    hand: Hand,
    ledger: LocalLedger,
    rail: MemoryDisk,
    journal: MemoryDisk,
    tend_every: Duration,
}

struct Shop {
    seller: Seller,
    at: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl World {
    /// The payer and a stranger have 1000 coins each.
    fn new(tend_every: Duration) -> Self {
        let hand = Hand::new();
        let ledger = ledger(&hand, MemoryStore::new());
        submit(&ledger, &issue(PAYER, 1000, 1)).unwrap();
        submit(&ledger, &issue(STRANGER, 1000, 2)).unwrap();
        Self { hand, ledger, rail: MemoryDisk::new(), journal: MemoryDisk::new(), tend_every }
    }

    fn payee(&self, disk: &MemoryDisk) -> VoucherPayee {
        let (key, asset) = (test_key(PAYEE), coin());
        let config = PayeeConfig { key, asset, grace_min_ms: GRACE_MS, pay_by_ms: 60_000, url: None };
        VoucherPayee::new(client(self.ledger.clone()), config, Box::new(disk.open()))
    }

    fn payer(&self, seed: u8) -> VoucherPayer {
        VoucherPayer::new(client(self.ledger.clone()), test_key(seed))
    }

    async fn open(&self, seed: u8, number: u64) -> Funding {
        let limit = Amount::new(100);
        let option = self.payee(&MemoryDisk::new()).option();
        let request =
            OpenRequest { reference: reference(number), option, limit, signer: public(SIGNER), seller: public(SIGNER) };
        self.payer(seed).open(&request).await.unwrap()
    }

    fn earned(&self) -> u128 {
        balance(&client(self.ledger.clone()), PAYEE)
    }

    async fn serve(&self) -> Shop {
        let offer = Offer {
            product: product(),
            source: Arc::new(|_| Ok(Box::new(Repeat::new(b"reading".to_vec(), 1000)))),
            exposure_max: Amount::new(1000),
            sample: Vec::new(),
        };
        let seller = Seller::start(seller::Settings {
            key: test_key(PAYEE),
            offers: vec![offer],
            payees: vec![Arc::new(self.payee(&self.rail))],
            records: None,
            record_offer: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
            standings: None,
            journal: Journal::start(self.journal.open()).unwrap(),
            pools: Pools { strangers: Amount::MAX, proven: Amount::MAX },
            limits: Limits::default(),
            redeem_every: 0,
            tend_every: self.tend_every,
            listener: Arc::new(|_| {}),
        })
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, stop, serves) = (listener.local_addr().unwrap(), watch::channel(false).0, seller.clone());
        let stopped = stop.subscribe();
        let serving = tokio::spawn(async move { serves.serve(listener, stopped).await });
        Shop { seller, at, stop, serving }
    }
}

impl Shop {
    async fn close(self) {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap();
    }
}

fn product() -> Product {
    Product {
        id: 1,
        topic: "weather".into(),
        schema: String::new(),
        unit: Unit::Message,
        amount: Amount::new(3),
        per: 1,
        available: None,
        k: 10,
        window_ms: 0,
        window_bytes: 0,
        message_max: 100,
        windows_max: 1,
        signing: Signing::Window,
        acks: false,
        when_stalled: Stalled::Buffer,
        sample: false,
        cadence_ms: None,
        licence: None,
    }
}

/// A buyer made by hand, on a socket.
struct Hands {
    liar: RawBuyer,
    stream: TcpStream,
    heard: Vec<Heard>,
}

impl Hands {
    /// Orders with this channel.
    async fn order(at: SocketAddr, (identity, seed): (u8, u8), funding: &Funding) -> Self {
        let keys = BuyerKeys { identity: test_key(identity), pays: test_key(SIGNER) };
        let liar = RawBuyer::new(keys, Suite::X25519, [seed; 32]);
        let mut hands = Self { liar, stream: TcpStream::connect(at).await.unwrap(), heard: Vec::new() };
        let hello = hands.liar.hello();
        hands.liar.send_hello(&hello);
        hands.hear(|heard| matches!(heard, Heard::Menu(_))).await.unwrap();
        let nonce = Bytes32([seed; 32]);
        let order = Order { channel: funding.channel, limit: Amount::new(100), nonce, ..hands.liar.order() };
        hands.liar.send_order(order);
        hands
    }

    async fn hear(&mut self, wanted: impl Fn(&Heard) -> bool) -> Option<Heard> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let _ = self.stream.write_all(&self.liar.line.take()).await;
            if let Some(at) = self.heard.iter().position(&wanted) {
                return self.heard.drain(..=at).next_back();
            }
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.heard.extend(self.liar.receive(&buffer[..length])),
            }
        }
    }

    async fn invoice(&mut self) -> Signed<Invoice> {
        let ended = |heard: &Heard| matches!(heard, Heard::Error(_));
        let heard = self.hear(|heard| heard.statement::<Invoice>().is_some() || ended(heard)).await.unwrap();
        heard.statement().unwrap_or_else(|| panic!("instead of an invoice: {heard:?}"))
    }

    async fn fault(&mut self) -> Option<Fault> {
        match self.hear(|heard| matches!(heard, Heard::Error(_))).await {
            Some(Heard::Error(code)) => Fault::of_code(code),
            _ => None,
        }
    }
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

/// Nobody looks in between, so that a test says what is noticed by the sale alone.
const NEVER: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn one_channel_named_in_two_orders_serves_the_first() {
    let world = World::new(NEVER);
    let shop = world.serve().await;
    let funding = world.open(PAYER, 1).await;
    let mut first = Hands::order(shop.at, (PAYER, 1), &funding).await;
    let invoice = first.invoice().await;
    let mut second = Hands::order(shop.at, (PAYER, 2), &funding).await;
    assert_eq!(second.fault().await, Some(Reason::Refused.into()), "the same buyer, another order");
    let mut stranger = Hands::order(shop.at, (STRANGER, 3), &funding).await;
    assert_eq!(stranger.fault().await, Some(Reason::Refused.into()), "somebody else's channel");
    // The first is not disturbed.
    first.liar.pay(&invoice);
    let next = first.invoice().await;
    assert_eq!((next.due, next.paid), (Amount::new(9), Amount::new(3)));
    first.liar.pay(&next);
    first.invoice().await;
    let order = first.liar.order.clone().unwrap().id();
    drop(first);
    until(|| shop.seller.status().connections == 0).await;
    // A third one, when the first is away.
    let mut third = Hands::order(shop.at, (PAYER, 4), &funding).await;
    assert_eq!(third.fault().await, Some(Reason::Refused.into()), "nor later");
    until(|| world.earned() == 9).await;
    let orders = shop.seller.status().orders;
    assert_eq!((orders.len(), orders[0].order, orders[0].paid), (1, order, Amount::new(9)));
    shop.close().await;
}

#[tokio::test]
async fn a_close_that_is_requested_between_check_and_voucher_stops_the_credit() {
    let world = World::new(NEVER);
    let shop = world.serve().await;
    let funding = world.open(PAYER, 1).await;
    let mut buyer = Hands::order(shop.at, (PAYER, 1), &funding).await;
    let first = buyer.invoice().await;
    buyer.liar.pay(&first);
    // The channel was checked, and a voucher was taken; two more messages are out.
    let second = buyer.invoice().await;
    assert_eq!((second.due, second.paid), (Amount::new(9), Amount::new(3)));
    world.payer(PAYER).close(&funding).await.unwrap();
    buyer.liar.pay(&second);
    assert_eq!(buyer.fault().await, Some(Offence::PaymentRefused.into()), "no new voucher");
    drop(buyer);
    until(|| shop.seller.status().connections == 0).await;
    let order = shop.seller.status().orders[0].clone();
    assert_eq!((order.paid, order.owed), (Amount::new(3), Amount::new(6)), "lost is what was out, no more");
    // What was taken before is redeemed, and the grace period takes nothing of it.
    until(|| world.earned() == 3).await;
    world.hand.pass(GRACE_MS + 1);
    world.payer(PAYER).tend().await.unwrap();
    let channel = world.payer(PAYER).channel(&funding.channel.unwrap()).await.unwrap().unwrap();
    assert_eq!((channel.state, channel.redeemed), (ChannelState::Closed, Amount::new(3)));
    shop.close().await;
}

#[tokio::test]
async fn a_requested_close_is_noticed_beside_the_sale_and_no_more_is_sent() {
    let world = World::new(Duration::from_millis(5));
    let shop = world.serve().await;
    let funding = world.open(PAYER, 1).await;
    let mut buyer = Hands::order(shop.at, (PAYER, 1), &funding).await;
    let first = buyer.invoice().await;
    buyer.liar.pay(&first);
    buyer.invoice().await;
    world.payer(PAYER).close(&funding).await.unwrap();
    // It says nothing, and is told all the same.
    assert_eq!(buyer.fault().await, Some(Reason::Refused.into()));
    until(|| world.earned() == 3).await;
    shop.close().await;
}

#[tokio::test]
async fn a_seller_that_starts_again_redeems_what_buyers_left_behind() {
    let world = World::new(NEVER);
    let shop = world.serve().await;
    for (number, identity) in [(1u8, PAYER), (2, STRANGER)] {
        let funding = world.open(identity, u64::from(number)).await;
        let mut buyer = Hands::order(shop.at, (identity, number), &funding).await;
        let invoice = buyer.invoice().await;
        buyer.liar.pay(&invoice);
        // The next invoice says that the payment was credited.
        let next = buyer.invoice().await;
        assert_eq!(next.paid, Amount::new(3));
        std::mem::forget(buyer);
    }
    shop.serving.abort();
    let _ = shop.serving.await;
    drop(shop.seller);
    world.rail.crash();
    world.journal.crash();
    assert_eq!(world.earned(), 0);

    let again = world.serve().await;
    until(|| world.earned() == 6).await;
    again.close().await;
}

/// The payment that is the voucher names channel and order; a copy of it is worth nothing elsewhere.
#[tokio::test]
async fn a_voucher_pays_only_the_order_it_names() {
    let world = World::new(NEVER);
    let shop = world.serve().await;
    let (mine, other) = (world.open(PAYER, 1).await, world.open(PAYER, 2).await);
    let mut first = Hands::order(shop.at, (PAYER, 1), &mine).await;
    let invoice = first.invoice().await;
    let mut second = Hands::order(shop.at, (PAYER, 2), &other).await;
    let wrong = second.invoice().await;
    let swapped = Payment { channel: other.channel, ..first.liar.payment(&invoice) };
    first.liar.send_payment(swapped);
    assert_eq!(first.fault().await, Some(Offence::PaymentChannel.into()));
    let copied = Payment { order_id: invoice.order_id, ..second.liar.payment(&wrong) };
    second.liar.send_payment(copied);
    assert_eq!(second.fault().await, Some(Offence::PaymentForAnother.into()));
    shop.close().await;
    assert_eq!(world.earned(), 0);
}

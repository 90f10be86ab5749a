//! A hand-made buyer on a socket, for what a real one would not do.

use std::net::SocketAddr;

use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Invoice, Order, Signed};
use sdpp_proto::suite::Suite;
use sdpp_rail::fake::{FakeMode, FakePayer, FakeWorld};
use sdpp_rail::{Bill, Payer, Proof};
use sdpp_sim::liar::{BuyerKeys, Heard, RawBuyer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{World, key};

pub(crate) struct Rogue {
    pub(crate) liar: RawBuyer,
    pub(crate) stream: TcpStream,
    /// The newest invoice that it was asked for.
    pub(crate) newest: Option<Signed<Invoice>>,
    waiting: Vec<Heard>,
}

impl Rogue {
    /// Connected, and nothing said yet. Each connection of a key needs a seed of its own.
    pub(crate) async fn connect(at: SocketAddr, buyer: u8, seed: u8) -> Self {
        let keys = BuyerKeys { identity: key(buyer), pays: key(buyer) };
        Self::connect_as(at, keys, [seed; 32]).await
    }

    /// The same with any keys.
    pub(crate) async fn connect_as(at: SocketAddr, keys: BuyerKeys, seed: [u8; 32]) -> Self {
        Self::over(TcpStream::connect(at).await.unwrap(), keys, seed)
    }

    /// The same over a connection that was made.
    pub(crate) fn over(stream: TcpStream, keys: BuyerKeys, seed: [u8; 32]) -> Self {
        Self { liar: RawBuyer::new(keys, Suite::X25519, seed), stream, newest: None, waiting: Vec::new() }
    }

    /// Connected, and the menu heard.
    pub(crate) async fn greeted(at: SocketAddr, buyer: u8, seed: u8) -> Self {
        let mut rogue = Self::connect(at, buyer, seed).await;
        rogue.greet().await.unwrap();
        rogue
    }

    /// Says hello and hears the menu; none if the seller has no room.
    pub(crate) async fn greet(&mut self) -> Option<Heard> {
        let hello = self.liar.hello();
        self.liar.send_hello(&hello);
        self.hear(|heard| matches!(heard, Heard::Menu(_))).await
    }

    /// Writes what waits.
    pub(crate) async fn say(&mut self) {
        self.stream.write_all(&self.liar.line.take()).await.unwrap();
    }

    /// Writes what waits, and reads until it hears this; none at the end of the connection.
    pub(crate) async fn hear(&mut self, wanted: impl Fn(&Heard) -> bool) -> Option<Heard> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            // What the seller wrote before it went can still be read.
            let _ = self.stream.write_all(&self.liar.line.take()).await;
            if let Some(at) = self.waiting.iter().position(&wanted) {
                return self.waiting.drain(..=at).next_back();
            }
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.waiting.extend(self.liar.receive(&buffer[..length])),
            }
        }
    }

    /// The code of the error that ends the connection.
    pub(crate) async fn error(&mut self) -> Option<u16> {
        match self.hear(|heard| matches!(heard, Heard::Error(_))).await {
            Some(Heard::Error(code)) => Some(code),
            _ => None,
        }
    }

    /// Orders, and hears the first invoice: one message at this price is owed now.
    pub(crate) async fn take_one(at: SocketAddr, buyer: u8, exposure: u128) -> (Self, Signed<Invoice>) {
        let mut rogue = Self::greeted(at, buyer, buyer).await;
        let order = Order { exposure_max: Amount::new(exposure), ..rogue.liar.order() };
        rogue.liar.send_order(order);
        let invoice = rogue.invoice().await;
        (rogue, invoice)
    }

    pub(crate) async fn invoice(&mut self) -> Signed<Invoice> {
        let heard = self.hear(|heard| heard.statement::<Invoice>().is_some()).await;
        let invoice = heard.unwrap().statement::<Invoice>().unwrap();
        self.newest = Some(invoice.clone());
        invoice
    }

    /// A second connection of an order of which so many messages are held, and no invoice.
    pub(crate) async fn come_back(at: SocketAddr, buyer: u8, order: &Signed<Order>, held: u64) -> Self {
        let mut rogue = Self::greeted(at, buyer, buyer.wrapping_add(100)).await;
        let mut attach = rogue.liar.attach(order.id(), 2);
        attach.have.next = held;
        let attach = Signed::sign(&rogue.liar.keys.identity, attach);
        rogue.liar.order = Some(order.clone());
        rogue.liar.send_signed(None, &attach);
        rogue
    }

    pub(crate) fn order_id(&self) -> StatementId {
        self.liar.order.as_ref().unwrap().id()
    }
}

/// Pays by the fake rail, as an honest buyer does.
pub(crate) async fn pay(world: &World, debtor: &mut Rogue, invoice: &Signed<Invoice>) {
    let buyer = debtor.liar.keys.identity.public().multibase();
    let asset = FakeWorld::asset();
    world.bank.fund(&buyer, &asset, Amount::new(1000)).unwrap();
    let payer = FakePayer::new(&world.bank, buyer, FakeMode::Direct);
    let bill = Bill {
        order: invoice.order_id,
        invoice: invoice.id(),
        payee: "seller".into(),
        asset,
        total: invoice.due,
        before: debtor.liar.last_payment.as_ref().map_or(Amount::ZERO, |payment| payment.total),
        messages: Some(invoice.end()),
        channel: None,
    };
    let Proof::Bytes(proof) = payer.pay(&bill).await.unwrap() else { panic!("a transfer has a proof") };
    let mut payment = debtor.liar.payment(invoice);
    payment.proof = Some(proof);
    debtor.liar.send_payment(payment);
}

//! A hand-made buyer on a socket, for what a real one would not do.

use std::net::SocketAddr;

use sdpp_proto::codec::StatementId;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Invoice, Order, Signed};
use sdpp_proto::suite::Suite;
use sdpp_sim::liar::{BuyerKeys, Heard, RawBuyer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::key;

pub(crate) struct Rogue {
    pub(crate) liar: RawBuyer,
    pub(crate) stream: TcpStream,
    waiting: Vec<Heard>,
}

impl Rogue {
    /// Connected, and nothing said yet. Each connection of a key needs a seed of its own.
    pub(crate) async fn connect(at: SocketAddr, buyer: u8, seed: u8) -> Self {
        let keys = BuyerKeys { identity: key(buyer), pays: key(buyer) };
        let liar = RawBuyer::new(keys, Suite::X25519, [seed; 32]);
        Self { liar, stream: TcpStream::connect(at).await.unwrap(), waiting: Vec::new() }
    }

    /// Connected, and the menu heard.
    pub(crate) async fn greeted(at: SocketAddr, buyer: u8, seed: u8) -> Self {
        let mut rogue = Self::connect(at, buyer, seed).await;
        let hello = rogue.liar.hello();
        rogue.liar.send_hello(&hello);
        rogue.hear(|heard| matches!(heard, Heard::Menu(_))).await.unwrap();
        rogue
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
        heard.unwrap().statement::<Invoice>().unwrap()
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

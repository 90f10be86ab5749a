//! A hand-made seller on a socket, for what a real one would not do, and a place where it sells.

use std::net::SocketAddr;

use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Form, Invoice, Menu, PayOption, Payment, Product, RecordOffer, SealKey, Signed};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_rail::fake::FakeWorld;
use sdpp_sim::liar::{Heard, RawSeller};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use crate::kit::{World, key};

/// Where a crook listens, with the menu it shows.
pub(crate) struct Stall {
    pub(crate) listener: TcpListener,
    pub(crate) menu: Signed<Menu>,
    seller: u8,
    served: std::cell::Cell<u8>,
}

fn seal() -> (SealSecret, Vec<u8>) {
    SealSecret::derive(Suite::X25519, &Zeroizing::new([9; 32]))
}

impl Stall {
    /// One that sells under this world's key and takes its money.
    pub(crate) async fn open(world: &World, product: Product) -> Self {
        Self::of(1, world, product).await
    }

    /// One of any seller.
    pub(crate) async fn of(seller: u8, world: &World, product: Product) -> Self {
        let menu = Menu {
            seller: key(seller).public(),
            until: sdpp::now().after_ms(3_600_000),
            seal: vec![SealKey { suite: Suite::X25519, public: seal().1 }],
            records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
            default_currency: FakeWorld::asset(),
            options: vec![PayOption { id: 1, ..world.option() }],
            products: vec![product],
        };
        let menu = Signed::sign(&key(seller), menu);
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), menu, seller, served: 0.into() }
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection, and nothing said yet.
    pub(crate) async fn accept(&self) -> Crook {
        self.served.set(self.served.get() + 1);
        let liar = RawSeller::new(key(self.seller), self.menu.clone(), vec![seal().0], [self.served.get(); 32]);
        Crook { liar, stream: self.listener.accept().await.unwrap().0, waiting: Vec::new() }
    }

    /// The next connection, up to the buyer's order.
    pub(crate) async fn ordered(&self) -> Crook {
        let mut crook = self.accept().await;
        crook.hear(|heard| matches!(heard, Heard::Hello(_))).await.unwrap();
        let reply = crook.liar.menu_reply();
        crook.liar.send_menu(&reply);
        crook.hear(|heard| matches!(heard, Heard::Order(_))).await.unwrap();
        crook
    }

    /// The next connection, with a live session.
    pub(crate) async fn live(&self) -> Crook {
        self.ordered().await.accepting()
    }

    /// The same for an order that had a connection before.
    pub(crate) async fn again(&self, before: Crook) -> Crook {
        // The older one is cut, else the buyer would stay with it.
        let Crook { liar: before, stream, .. } = before;
        drop(stream);
        let mut crook = self.accept().await;
        (crook.liar.order, crook.liar.salt) = (before.order, before.salt);
        crook.liar.totals = before.totals;
        crook.hear(|heard| matches!(heard, Heard::Hello(_))).await.unwrap();
        let reply = crook.liar.menu_reply();
        crook.liar.send_menu(&reply);
        crook.hear(|heard| matches!(heard, Heard::Order(_))).await.unwrap();
        crook.accepting()
    }
}

/// A seller made by hand, on one connection.
pub(crate) struct Crook {
    pub(crate) liar: RawSeller,
    pub(crate) stream: TcpStream,
    waiting: Vec<Heard>,
}

impl Crook {
    fn accepting(mut self) -> Self {
        let acceptance = self.liar.acceptance();
        self.liar.send_acceptance(acceptance);
        self
    }

    /// Writes what waits.
    pub(crate) async fn say(&mut self) {
        // A buyer that has gone is none to talk to.
        let _ = self.stream.write_all(&self.liar.line.take()).await;
    }

    /// Writes what waits, and reads until it hears this; none at the end of the connection.
    pub(crate) async fn hear(&mut self, wanted: impl Fn(&Heard) -> bool) -> Option<Heard> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            self.say().await;
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

    /// Messages of the next span, honest ones.
    pub(crate) fn payloads(&self, count: u64) -> Vec<Vec<u8>> {
        (0..count).map(|at| format!("reading {}", self.liar.totals.next + at).into_bytes()).collect()
    }

    /// Sends messages and ends their span; the invoice is still to come.
    pub(crate) fn send(&mut self, count: u64) {
        let payloads = self.payloads(count);
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        self.liar.send_messages(&slices);
        self.liar.send_cut();
    }

    /// One honest window, and its payment, which the books credit.
    pub(crate) async fn sell(&mut self, count: u64) -> (Signed<Invoice>, Signed<Payment>) {
        let invoice = self.deliver(count, false);
        (invoice, self.paid().await)
    }

    /// One honest window.
    pub(crate) fn deliver(&mut self, count: u64, last: bool) -> Signed<Invoice> {
        let payloads = self.payloads(count);
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        self.liar.deliver(&slices, last)
    }

    /// The next payment, which the books credit.
    pub(crate) async fn paid(&mut self) -> Signed<Payment> {
        let heard = self.hear(|heard| heard.statement::<Payment>().is_some()).await;
        let payment = heard.unwrap().statement::<Payment>().unwrap();
        self.liar.credit(&payment);
        payment
    }

    /// What was paid so far.
    pub(crate) fn total(&self) -> Amount {
        self.liar.totals.paid
    }
}

//! A source of your own: a thermometer that is read ten times a second and remembers what it measured, so that an order
//! can go on where it stood. Sold and bought in this one program, for the money of a fake bank:
//! `cargo run -p sdpp --example custom_source`.
#![allow(clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sdpp::buyer::{self, Buyer, Request};
use sdpp::proto::message::Batch;
use sdpp::proto::money::{Amount, Price};
use sdpp::proto::statement::Product;
use sdpp::rail::fake::{FakeBank, FakeMode, FakePayee, FakePayer, FakeWorld};
use sdpp::rail::{MemoryStore, Payee as _, suite::test_key};
use sdpp::seller::{self, Offer, Seller};
use sdpp::sink::{Encoding, Form, PipeSink};
use sdpp::source::{Fill, Filled, Source};
use sdpp::{address::Address, journal::Journal};
use tokio::time::{Interval, interval};

/// Time between two measurements.
const PERIOD: Duration = Duration::from_millis(100);
/// How long a promised delivery may wait for more messages of its window.
const WINDOW_MS: u64 = 300;

/// One order's view of the thermometer.
struct Thermometer {
    clock: Interval,
    /// Number of the next measurement.
    next: u64,
}

impl Thermometer {
    fn new() -> Self {
        Self { clock: interval(PERIOD), next: 0 }
    }

    /// What was measured as number `seq`: the device keeps it, here it is simulated.
    fn measured(seq: u64) -> String {
        let tenths = 205u64.saturating_add(seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60);
        format!(r#"{{"n":{seq},"celsius":{}.{}}}"#, tenths / 10, tenths % 10)
    }
}

impl Source for Thermometer {
    // The future may be dropped at any time: nothing is taken from the device before the last await.
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            self.clock.tick().await;
            let line = Self::measured(self.next);
            // A batch is given with room for a message; a longer one than any may be is the source's fault.
            batch.push(sdpp::now_us(), line.as_bytes()).map_err(io::Error::other)?;
            self.next = self.next.saturating_add(1);
            Ok(Filled::Some)
        })
    }

    // After a break the order goes on with the message that it has not sold yet.
    fn seek(&mut self, seq: u64) -> io::Result<()> {
        self.next = seq;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bank = FakeBank::new();
    bank.fund("buyer", &FakeWorld::asset(), Amount::new(1_000))?;

    // Three units a measurement; a window is paid after three of them, or after 300 ms.
    let product = Product { k: 3, window_ms: WINDOW_MS, ..Product::new("celsius", Price::per_message(3)) };
    let offer = Offer::new(product, |_order| Ok(Thermometer::new()))?;
    let payee = Arc::new(FakePayee::new(&bank, "seller", FakeWorld::asset(), FakeMode::Voucher));
    let (rail, key) = (payee.option().rail, test_key(1));
    let journal = Journal::start(MemoryStore::new())?;
    let settings = seller::Settings::new(key.clone(), vec![offer], vec![payee], journal);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = Address::new(key.public(), listener.local_addr()?, "celsius");
    let seller = Seller::start(settings).await?;
    tokio::spawn(async move { seller.serve(listener, sdpp::never()).await });

    let payer = Arc::new(FakePayer::new(&bank, "buyer", FakeMode::Voucher));
    let buyer = Buyer::new(buyer::Settings::new(test_key(2), payer, rail, Journal::start(MemoryStore::new())?));
    let mut sink = PipeSink::stdout(Form::Lines(Encoding::Raw))?;
    let bought = buyer.buy(&address.peer(), &Request::new("celsius", 10), &mut sink, sdpp::never()).await?;
    eprintln!("{} measurements for {} units", bought.delivered, bought.paid);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sold() {
        main().unwrap();
    }

    #[tokio::test]
    async fn an_order_that_comes_back_gets_the_same_measurements() {
        let read = async |from| {
            let (mut source, mut batch) = (Thermometer::new(), Batch::new());
            source.seek(from).unwrap();
            while batch.len() < 3 {
                assert_eq!(source.fill(&mut batch).await.unwrap(), Filled::Some);
            }
            batch.messages().map(|message| message.bytes.to_vec()).collect::<Vec<_>>()
        };
        let (first, again) = (read(0).await, read(1).await);
        assert_eq!(first.get(1..), again.get(..2));
    }
}

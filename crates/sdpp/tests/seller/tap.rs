//! A source that a test opens message by message, and waiting without a clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sdpp::buyer::{BuyError, Buyer, Purchase, Request};
use sdpp::feed::{Item, Taken, Upstream};
use sdpp::seller::{MakeSource, Offer};
use sdpp::source::{Fill, Filled, Source};
use sdpp_proto::message::Batch;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::Product;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::kit::{Kept, World, product};

/// Yields until it holds. What never comes hangs, and the harness says where.
pub(crate) async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

/// Messages that may flow, counted from the first.
pub(crate) struct Tap {
    open: watch::Sender<u64>,
    drawn: Arc<AtomicU64>,
}

struct Flow {
    name: &'static str,
    open: watch::Receiver<u64>,
    next: u64,
    drawn: Arc<AtomicU64>,
}

impl Source for Flow {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            // A tap that is gone stays as it was.
            let wide = self.open.wait_for(|open| *open > self.next).await.map(|open| *open);
            let Ok(wide) = wide else { return std::future::pending().await };
            while self.next < wide && batch.push(0, text(self.name, self.next).as_bytes()).is_ok() {
                self.next += 1;
            }
            self.drawn.store(self.next, Ordering::Relaxed);
            Ok(Filled::Some)
        })
    }

    fn seek(&mut self, seq: u64) -> std::io::Result<()> {
        self.next = seq;
        Ok(())
    }
}

/// What message `number` of a flow says.
pub(crate) fn text(name: &str, number: u64) -> String {
    format!("{name} {number}")
}

impl Tap {
    pub(crate) fn new() -> Self {
        Self { open: watch::channel(0).0, drawn: Arc::default() }
    }

    pub(crate) fn open(&self, messages: u64) {
        self.open.send_replace(messages);
    }

    /// How many the newest source has given.
    pub(crate) fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }

    pub(crate) fn source(&self, name: &'static str) -> MakeSource {
        let (open, drawn) = (self.open.clone(), self.drawn.clone());
        Arc::new(move |_| Ok(Box::new(Flow { name, open: open.subscribe(), next: 0, drawn: drawn.clone() })))
    }
}

pub(crate) fn named(topic: &str, id: u32) -> Product {
    Product { id, topic: topic.into(), ..product(10) }
}

pub(crate) fn offer(product: Product, source: MakeSource) -> Offer {
    Offer { product, source, exposure_max: Amount::new(1_000_000), sample: Vec::new() }
}

/// A purchase under way, what it has so far, and how to stop it.
pub(crate) struct Buying {
    pub(crate) kept: Kept,
    pub(crate) task: JoinHandle<Result<Purchase, BuyError>>,
    /// Held: a buyer whose stop is gone never stops.
    stop: watch::Sender<bool>,
}

impl Buying {
    pub(crate) fn start(world: &World, at: SocketAddr, buyer: Buyer, request: Request) -> Self {
        let (kept, stop, address) = (Kept::default(), watch::channel(false).0, world.address(at));
        let (mut sink, heard) = (kept.clone(), stop.subscribe());
        let task = tokio::spawn(async move { buyer.buy(&address, &request, &mut sink, heard).await });
        Self { kept, task, stop }
    }

    pub(crate) fn count(&self) -> usize {
        self.kept.0.lock().unwrap().len()
    }

    pub(crate) async fn done(self) -> Purchase {
        self.task.await.unwrap().unwrap()
    }

    /// It has enough: what came is settled.
    pub(crate) async fn stopped(self) -> Purchase {
        self.stop.send_replace(true);
        self.done().await
    }

    /// The buyer's program dies.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// How a purchase ended, also where there was none.
pub(crate) fn told(result: Result<Purchase, BuyError>) -> sdpp_proto::buyer::Ended {
    match result {
        Ok(purchase) => purchase.ended,
        Err(BuyError::Ended(ended)) => ended,
        Err(error) => panic!("{error}"),
    }
}

/// What a test says is what comes.
pub(crate) struct Said(pub(crate) tokio::sync::mpsc::UnboundedReceiver<u64>);

impl Upstream for Said {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        Box::pin(async move {
            let Some(number) = self.0.recv().await else { return Ok(Filled::End) };
            items.push(Item { topic: None, time_us: 0, payload: text("weather", number).into() });
            Ok(Filled::Some)
        })
    }
}

/// As much as anybody buys, at once.
pub(crate) fn flood() -> MakeSource {
    Arc::new(|_| Ok(Box::new(sdpp::source::Repeat::new(b"reading".to_vec(), 1 << 40))))
}

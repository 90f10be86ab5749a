//! The seller's process: one live source, shared by all orders through the program's own hub.

use std::io::BufRead as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sdpp::feed::{Hub, Item, Overflow, Start, Take, Taken, Upstream};
use sdpp::seller::{self, Offer};
use sdpp::source::{Filled, Source};
use sdpp_proto::statement::{Product, Stalled};
use sdpp_rail::fake::FakeBank;
use tokio::sync::watch;

use super::HANDSHAKES;
use super::live::Shape;
use super::process::Look;
use crate::Failure;
use crate::clock::own_cpu;
use crate::memory::resident;
use crate::rail;
use crate::sale::{self, Journal, Spec};

/// Read from a live source at once, in bytes: as much as the program's own sources do.
const CHUNK_BYTES: usize = 64 * 1024;
/// How often a source of a fixed rate gives what is due.
const BEAT: Duration = Duration::from_millis(1);

/// A live source out of thin air: the same payload again and again.
struct Feed {
    open: watch::Receiver<bool>,
    end: watch::Receiver<bool>,
    payload: Bytes,
    /// Messages a second; none: as many as are taken. May change.
    rate: watch::Receiver<Option<u64>>,
    /// Since when it has this rate.
    begun: Option<Instant>,
    /// Messages since then.
    given: u64,
}

impl Feed {
    /// How many messages there are now.
    fn due(&mut self) -> u64 {
        let chunk = CHUNK_BYTES.checked_div(self.payload.len()).unwrap_or(1).max(1);
        let chunk = u64::try_from(chunk).unwrap_or(u64::MAX);
        if self.rate.has_changed().unwrap_or(false) {
            self.begun = None;
        }
        let Some(rate) = *self.rate.borrow_and_update() else { return chunk };
        if self.begun.is_none() {
            self.given = 0;
        }
        let passed_us = crate::since(*self.begun.get_or_insert_with(Instant::now)).as_micros();
        let due = passed_us.saturating_mul(u128::from(rate)).checked_div(1_000_000).unwrap_or_default();
        u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.given).min(chunk)
    }
}

impl Upstream for Feed {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        Box::pin(async move {
            self.open.wait_for(|open| *open).await.map_err(std::io::Error::other)?;
            let due = loop {
                if *self.end.borrow() {
                    return Ok(Filled::End);
                }
                match self.due() {
                    0 => tokio::time::sleep(BEAT).await,
                    due => break due,
                }
            };
            let time_us = sdpp::now_us();
            items.extend((0..due).map(|_| Item { topic: None, time_us, payload: self.payload.clone() }));
            self.given = self.given.saturating_add(due);
            Ok(Filled::Some)
        })
    }
}

/// The process itself: obeys until its standard input ends.
pub(super) fn obey(shape: &Shape) -> Result<(), Failure> {
    let begun = Instant::now();
    let (open, opened) = watch::channel(false);
    let (end, ended) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let (tell, told) = mpsc::channel();
    let payload = Bytes::from(sale::payload(shape.size));
    let (rate, rated) = watch::channel(shape.rate);
    let feed = Feed { open: opened, end: ended, payload, rate: rated, begun: None, given: 0 };
    let hub: Arc<Mutex<Option<Hub>>> = Arc::default();
    let (here, given) = (hub.clone(), shape.clone());
    let selling = thread::spawn(move || {
        let settings = settings(&given, &here)?;
        let start = move || {
            *here.lock().unwrap_or_else(PoisonError::into_inner) = Some(Hub::start(feed, Start::FirstOrder));
        };
        super::serve(settings, (tell, stopped), start)
    });
    println_line(&told.recv()?.to_string());
    let received = || {
        let hub = hub.lock().unwrap_or_else(PoisonError::into_inner);
        hub.as_ref().map_or(0, |hub| hub.status().received)
    };
    for command in std::io::stdin().lock().lines() {
        let command = command?;
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("open", _) => drop(open.send_replace(true)),
            ("rate", number) => drop(rate.send_replace(Some(number.parse()?).filter(|rate| *rate > 0))),
            ("end", _) => drop(end.send_replace(true)),
            _ => {}
        }
        let at_ns = u64::try_from(crate::since(begun).as_nanos())?;
        let cpu_ns = u64::try_from(own_cpu().as_nanos())?;
        println_line(&Look { at_ns, cpu_ns, memory: resident()?, messages: vec![received()] }.line());
    }
    stop.send_replace(true);
    selling.join().map_err(|_| "the seller's thread panicked")?
}

/// A line for the process that started this one.
#[expect(clippy::print_stdout, reason = "that is how the processes talk")]
pub(super) fn println_line(line: &str) {
    println!("{line}");
}

/// Whoever does not keep up loses the oldest, as live products do that are sold with `when_stalled = skip`.
fn settings(shape: &Shape, hub: &Arc<Mutex<Option<Hub>>>) -> Result<seller::Settings, Failure> {
    let spec = Spec { size: shape.size, k: shape.k, windows: shape.windows, messages: 0 };
    let journal = Journal::Memory.start(Path::new(""), "seller")?;
    let mut settings = rail::selling(sale::settings(&spec, &FakeBank::new(), journal));
    let take = Take { overflow: Overflow::DropOldest, queue_messages: shape.queue, ..Take::default() };
    let hub = hub.clone();
    let source = move |_: &_| {
        let hub = hub.lock().unwrap_or_else(PoisonError::into_inner);
        let hub = hub.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
        Ok(Box::new(hub.subscribe(take.clone())) as Box<dyn Source>)
    };
    let skips = |product| Product { when_stalled: Stalled::Skip, ..product };
    let offer = |offer: Offer| Offer { source: Arc::new(source.clone()), product: skips(offer.product), ..offer };
    settings.offers = settings.offers.into_iter().map(offer).collect();
    settings.limits.connections = shape.buyers.saturating_add(HANDSHAKES);
    Ok(settings)
}

//! The buyers' process: so many buyers on one thread, each with an order without an end.

use std::cell::Cell;
use std::io::{self, BufRead as _};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sdpp::buyer::{Event, Request};
use sdpp::journal::Barrier;
use sdpp::sink::{Mark, Ready, Sink};
use sdpp_proto::message::Message;
use sdpp_proto::money::Amount;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::live::Shape;
use super::process::Look;
use super::selling::println_line;
use super::{HANDSHAKES, LOOK};
use crate::Failure;
use crate::clock::own_cpu;
use crate::memory::resident;
use crate::rail;
use crate::sale::{self, Journal, Spec};

/// Most that one buyer spends; nobody comes near it.
const LIMIT: Amount = Amount::new(1 << 50);
/// A slow sink looks so often whether it may hurry.
const NAP: Duration = Duration::from_millis(50);

/// What the buyers' thread and the one that obeys share.
struct Common {
    live: AtomicUsize,
    /// What each has got.
    messages: Vec<AtomicU64>,
    /// The end has come: slow sinks take what is left at once.
    hurry: AtomicBool,
    failed: AtomicBool,
}

/// The process itself: obeys until its standard input ends.
pub(super) fn obey(shape: &Shape, at: SocketAddr) -> Result<(), Failure> {
    let begun = Instant::now();
    let messages = (0..shape.buyers).map(|_| AtomicU64::new(0)).collect();
    let common = Common { live: 0.into(), messages, hurry: false.into(), failed: false.into() };
    let common = Arc::new(common);
    println_line(&look(begun, &common)?.line());
    let mut buying = None;
    for command in io::stdin().lock().lines() {
        match command?.as_str() {
            "connect" => {
                let (shape, here) = (shape.clone(), common.clone());
                buying = Some(thread::spawn(move || buy(&shape, at, &here)));
                while common.live.load(Ordering::SeqCst) < common.messages.len()
                    && !common.failed.load(Ordering::SeqCst)
                {
                    thread::sleep(LOOK);
                }
            }
            "end" => {
                common.hurry.store(true, Ordering::SeqCst);
                buying.take().ok_or("nobody has connected")?.join().map_err(|_| "the buyers' thread panicked")??;
            }
            _ => {}
        }
        if common.failed.load(Ordering::SeqCst) {
            break;
        }
        println_line(&look(begun, &common)?.line());
    }
    match buying {
        Some(buying) if common.failed.load(Ordering::SeqCst) => {
            buying.join().map_err(|_| "the buyers' thread panicked")?
        }
        _ => Ok(()),
    }
}

fn look(begun: Instant, common: &Common) -> Result<Look, Failure> {
    let messages = common.messages.iter().map(|messages| messages.load(Ordering::Relaxed)).collect();
    let at_ns = u64::try_from(crate::since(begun).as_nanos())?;
    Ok(Look { at_ns, cpu_ns: u64::try_from(own_cpu().as_nanos())?, memory: resident()?, messages })
}

/// All buy, until the source ends and all is settled.
fn buy(shape: &Shape, at: SocketAddr, common: &Arc<Common>) -> Result<(), Failure> {
    let spec = Spec { size: shape.size, k: shape.k, windows: shape.windows, messages: 0 };
    let journal = Journal::Memory.start(Path::new(""), "buyer")?;
    let (_stop, stopped) = watch::channel(false);
    LocalSet::new().block_on(&sale::runtime()?, async move {
        let (mut tasks, under_way) = (Vec::new(), Rc::new(Cell::new(0_usize)));
        for number in 0..shape.buyers {
            while under_way.get().saturating_sub(common.live.load(Ordering::SeqCst)) >= HANDSHAKES
                && !common.failed.load(Ordering::SeqCst)
            {
                tokio::time::sleep(LOOK).await;
            }
            under_way.set(under_way.get().saturating_add(1));
            let here = common.clone();
            let listener = move |event: &Event| {
                if matches!(event, Event::Live { .. }) {
                    here.live.fetch_add(1, Ordering::SeqCst);
                }
            };
            let buyer = rail::buyer(sale::buyer_key(number), journal.clone(), Arc::new(listener));
            let request = Request { quantity: None, limit: Some(LIMIT), ..sale::request(&spec) };
            let mut sink = Counted {
                common: common.clone(),
                number,
                pace: shape.pace_of(number).map(|each| Pace { each, free_at: None }),
            };
            let (stopped, common) = (stopped.clone(), common.clone());
            tasks.push(tokio::task::spawn_local(async move {
                let bought = buyer.buy(&sale::address(at), &request, &mut sink, stopped).await;
                let settled = bought.as_ref().is_ok_and(|purchase| {
                    let got = common.messages.get(number).map(|messages| messages.load(Ordering::Relaxed));
                    purchase.is_settled() && got == Some(purchase.delivered) && purchase.paid == purchase.due
                });
                if !settled {
                    common.failed.store(true, Ordering::SeqCst);
                    return Err(Failure::from(format!("buyer {number} did not settle in full: {bought:?}")));
                }
                Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

/// Counts, at its own pace if it is slow.
struct Counted {
    common: Arc<Common>,
    number: usize,
    pace: Option<Pace>,
}

/// So long each message keeps a slow sink busy.
struct Pace {
    each: Duration,
    free_at: Option<Instant>,
}

impl Counted {
    /// How long it is still busy.
    fn busy(&self) -> Duration {
        let free_at = self.pace.as_ref().and_then(|pace| pace.free_at);
        let busy = free_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        if self.common.hurry.load(Ordering::Relaxed) { Duration::ZERO } else { busy }
    }
}

impl Sink for Counted {
    fn room(&mut self) -> Option<Ready<'_>> {
        if self.busy().is_zero() {
            return None;
        }
        Some(Box::pin(async {
            while !self.busy().is_zero() {
                tokio::time::sleep(self.busy().min(NAP)).await;
            }
            Ok(())
        }))
    }

    fn write(&mut self, _seq: u64, _message: &Message<'_>) -> io::Result<()> {
        if let Some(messages) = self.common.messages.get(self.number) {
            messages.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(pace) = &mut self.pace {
            let now = Instant::now();
            pace.free_at = pace.free_at.unwrap_or(now).max(now).checked_add(pace.each);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        Ok(None)
    }

    fn go_back(&mut self, _mark: &Mark) -> io::Result<bool> {
        Ok(false)
    }
}

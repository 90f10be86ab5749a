//! Watching the program: logs, and over HTTP its numbers and its health.
//!
//! ```text
//! seller, buyer ── events ──► Watch ──► Readiness ──► /readyz
//! ledger ◄── follow, every so often ──┘
//! library ── facade `metrics` ──► Numbers ──────────► /metrics
//! ```
//! Nobody who watches can change anything, and nothing secret is shown. It is served without TLS and
//! without a password: best on a loopback address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sdpp::{buyer, seller};
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::Ended;
use sdpp_rail::{RailError, Reply};
use tokio::task::JoinHandle;

pub(crate) mod logs;
mod numbers;
mod ready;
mod server;
#[cfg(feature = "otel")]
mod traces;

use self::numbers::Numbers;
use self::ready::Readiness;
use self::server::Server;
use crate::exit::{Exit, failed};
use crate::ledger::Failure;
use sdpp_config::duration_ms;

/// How often the ledger, or the node of a chain, is asked whether it is there; `SDPP_WATCH_EVERY` says otherwise, for tests.
const EVERY: Duration = Duration::from_secs(15);
/// It may leave so many questions in a row without an answer.
const SILENT_ROUNDS: u32 = 4;
/// Under which name events of sales stand in the logs.
const TARGET: &str = "sdpp::sale";

/// A ledger or the node of a chain that is asked every so often whether it is there.
pub(crate) struct Followed {
    /// What it is, and where, for people.
    place: String,
    ask: Box<dyn Fn() -> Reply<'static, ()> + Send + Sync>,
}

impl Followed {
    pub(crate) fn new(place: String, ask: impl Fn() -> Reply<'static, ()> + Send + Sync + 'static) -> Self {
        Self { place, ask: Box::new(ask) }
    }
}

/// Watches one seller or buyer. Without an address nothing is served.
pub(crate) struct Watch {
    ready: Readiness,
    every: Duration,
    served: Option<Served>,
}

/// What runs for those who watch.
struct Served {
    server: Server,
    numbers: Numbers,
    /// Asks the place of money.
    asking: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}

impl Watch {
    /// Serves at this address from now on, if there is one, and says where. Inside a runtime, before
    /// anything is counted.
    pub(crate) async fn open(address: Option<SocketAddr>) -> Result<Self, Failure> {
        let every = every()?;
        let ready = Readiness::new(every.saturating_mul(SILENT_ROUNDS));
        let Some(address) = address else { return Ok(Self { ready, every, served: None }) };
        let listener = server::bind(address).await?;
        let numbers = Numbers::install();
        let server = Server::start(listener, ready.clone(), numbers.clone())?;
        let bound = server.address();
        eprintln!("metrics    http://{bound}/metrics, health at /healthz and /readyz");
        if !bound.ip().is_loopback() {
            eprintln!(
                "warning    everybody who reaches {bound} can read what is sold and paid: keep it in your network"
            );
        }
        Ok(Self { ready, every, served: Some(Served { server, numbers, asking: None }) })
    }

    /// Asks this place of money every so often; it has just answered.
    pub(crate) fn follow(&mut self, followed: Option<Followed>) {
        let (Some(served), Some(Followed { place, ask })) = (&mut self.served, followed) else { return };
        let (ready, numbers, every) = (self.ready.clone(), served.numbers.clone(), self.every);
        ready.answered(&place);
        served.asking = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                numbers.keep_up();
                match ask().await {
                    Ok(()) => ready.answered(&place),
                    Err(RailError::Dishonest(what)) => ready.dishonest(what),
                    // Silence shows by itself.
                    Err(RailError::Unavailable | RailError::Unknown | RailError::Declined(_)) => {}
                }
            }
        }));
    }

    /// Hears what a seller's listener hears.
    pub(crate) fn seller(&self, people: seller::Listener) -> seller::Listener {
        let ready = self.ready.clone();
        Arc::new(move |event| {
            if let seller::Event::Dishonest(what) = event {
                ready.dishonest(what);
            }
            if let seller::Event::Ended { ended: Ended::Stopped(Reason::Frozen), .. } = event {
                ready.frozen();
            }
            log(event);
            if logs::for_people() {
                people(event);
            }
        })
    }

    /// Hears what a buyer's listener hears.
    pub(crate) fn buyer(&self, people: buyer::Listener) -> buyer::Listener {
        let ready = self.ready.clone();
        Arc::new(move |event| {
            if let buyer::Event::Dishonest(what) = event {
                ready.dishonest(what);
            }
            people(event);
        })
    }

    /// It settles what runs and takes nothing new: balancers send nobody more.
    pub(crate) fn ending(&self) {
        self.ready.ending();
    }

    /// Serves no longer; answers that run are finished.
    pub(crate) async fn stop(mut self) {
        if let Some(served) = &mut self.served {
            served.server.stop().await;
        }
    }
}

/// What happened, for machines: with fields, never to be read out of a sentence.
fn log(event: &seller::Event) {
    use seller::Event;
    match event {
        Event::Live { order, buyer, start } => {
            tracing::info!(target: TARGET, %order, %buyer, start, "live");
        }
        Event::Ended { order: Some(order), ended, sent, due, paid } => {
            tracing::info!(target: TARGET, %order, ?ended, sent, %due, %paid, "ended");
        }
        // Anybody can connect and go away: no line each, unless somebody asks for it.
        Event::Ended { order: None, ended, .. } => tracing::debug!(target: TARGET, ?ended, "ended without an order"),
        Event::Skipped { order, messages } => {
            tracing::warn!(target: TARGET, %order, messages, "live messages went by unpaid");
        }
        Event::Redeemed { order, total } => tracing::info!(target: TARGET, %order, %total, "redeemed"),
        Event::Dishonest(what) => tracing::error!(target: TARGET, what, "the ledger is not to be trusted"),
        Event::Paid { order, messages, total, owed } => {
            tracing::debug!(target: TARGET, %order, messages, %total, %owed, "paid");
        }
        Event::Recorded(statement) => tracing::debug!(target: TARGET, %statement, "recorded"),
    }
}

fn every() -> Result<Duration, Failure> {
    let Ok(asked) = std::env::var("SDPP_WATCH_EVERY") else { return Ok(EVERY) };
    let ms = duration_ms(&asked).ok().filter(|ms| *ms > 0);
    let ms = ms.ok_or_else(|| failed(Exit::Usage, format!("SDPP_WATCH_EVERY: '{asked}' is no time like 15s")))?;
    Ok(Duration::from_millis(ms))
}

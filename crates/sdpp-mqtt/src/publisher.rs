//! A broker as the place where bought messages go.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sdpp::topic::{self, TopicError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::limits::RETRY_FIRST;
use crate::line::{Dialer, Line, longer, refusal};
use crate::outbox::Outbox;
use crate::packet::{Packet, Qos};
use crate::{ConnectError, Options, Refusal};

/// How messages are published.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PublishOptions {
    /// Stands before every topic, with a slash between; empty: nothing does.
    pub prefix: String,
    /// Quality of service. With 0 the broker acknowledges nothing.
    pub qos: Qos,
}

/// Why a message is not published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublishError {
    /// Too much waits for the broker: see [`Publisher::ready`].
    Full,
    /// The topic, with its prefix, is none.
    BadTopic(TopicError),
    /// Topics that begin with `$` belong to the broker.
    BrokersTopic,
    /// The broker takes no packet of this length.
    TooLargeForBroker {
        /// Number of the message.
        seq: u64,
        /// Longest packet that it takes.
        max: u32,
    },
    /// The broker refuses a message. Nothing more is published: there would be a gap.
    Refused {
        /// Number of the message.
        seq: u64,
        /// Its topic.
        topic: String,
        /// Why.
        why: Refusal,
    },
    /// The publisher was closed.
    Closed,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("too much waits for the broker"),
            Self::BadTopic(error) => error.fmt(f),
            Self::BrokersTopic => f.write_str("topics that begin with $ belong to the broker: publish below a prefix"),
            Self::TooLargeForBroker { seq, max } => {
                write!(f, "message {seq} is longer than the {max} bytes that the broker takes: raise its limit")
            }
            Self::Refused { seq, topic, why } => write!(f, "the broker refuses message {seq} of `{topic}`: {why}"),
            Self::Closed => f.write_str("the connection to the broker was closed"),
        }
    }
}

impl std::error::Error for PublishError {}

impl From<PublishError> for io::Error {
    fn from(error: PublishError) -> Self {
        let kind = match &error {
            PublishError::Full => io::ErrorKind::WouldBlock,
            PublishError::BadTopic(_) | PublishError::BrokersTopic => io::ErrorKind::InvalidData,
            PublishError::TooLargeForBroker { .. } => io::ErrorKind::FileTooLarge,
            PublishError::Refused { .. } => io::ErrorKind::PermissionDenied,
            PublishError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

/// Publishes in order, and keeps each message until the broker has acknowledged it. It connects again
/// by itself, for ever, and then sends again what was not acknowledged: a message may come twice, but
/// none is left out. With MQTT 5 each carries its number as the property `sdpp-seq`, so that readers
/// can drop a repeat. Nothing is published as retained.
pub struct Publisher {
    shared: Arc<Shared>,
    prefix: String,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is to be sent, or the end.
    work: Notify,
    /// Something was acknowledged, or the end.
    progress: Notify,
    outages: AtomicU64,
}

struct State {
    outbox: Outbox,
    closing: bool,
    ended: Option<PublishError>,
}

impl Publisher {
    /// Connects.
    ///
    /// # Errors
    /// [`ConnectError`]: the broker refuses for good, or is not reached within the time of the options.
    pub async fn connect(options: Options, publish: PublishOptions) -> Result<Self, ConnectError> {
        let prefix = publish.prefix.trim_end_matches('/').to_owned();
        if !prefix.is_empty() && topic::check(&prefix).is_err() {
            return Err(ConnectError::BadOptions("the prefix of what is published is no topic"));
        }
        let outbox = Outbox::new(options.version, publish.qos);
        let dialer = Dialer::new(options)?;
        let line = dialer.dial_first().await?;
        if line.connack.qos_max < publish.qos {
            return Err(ConnectError::BadOptions(
                "the broker does not have this quality of service: choose a lower one",
            ));
        }
        let state = Mutex::new(State { outbox, closing: false, ended: None });
        let (work, progress, outages) = (Notify::new(), Notify::new(), AtomicU64::new(0));
        let shared = Arc::new(Shared { state, work, progress, outages });
        let task = tokio::spawn(run(Stop(shared.clone()), dialer, line));
        Ok(Self { shared, prefix, task })
    }

    /// Takes a message to be published, without waiting. `seq` is its number in the order.
    ///
    /// # Errors
    /// [`PublishError`]. [`PublishError::Full`] passes, see [`Publisher::ready`]; nothing was taken.
    pub fn publish(&self, seq: u64, topic: &str, payload: impl Into<Bytes>) -> Result<(), PublishError> {
        let topic = if self.prefix.is_empty() { topic.to_owned() } else { [&self.prefix, topic].join("/") };
        topic::check(&topic).map_err(PublishError::BadTopic)?;
        if topic.starts_with('$') {
            return Err(PublishError::BrokersTopic);
        }
        let mut state = self.shared.lock();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        if !state.outbox.has_room() {
            return Err(PublishError::Full);
        }
        state.outbox.push(seq, topic, payload.into());
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Waits until there is room for a message.
    ///
    /// # Errors
    /// Why there will be none.
    pub async fn ready(&self) -> Result<(), PublishError> {
        self.until(|state| state.outbox.has_room()).await
    }

    /// How many messages, from the first that was published here and without a gap, the broker has
    /// acknowledged. With quality of service 0: how many have left.
    pub fn acknowledged(&self) -> u64 {
        self.shared.lock().outbox.acknowledged()
    }

    /// Waits until the broker has acknowledged all that was published.
    ///
    /// # Errors
    /// Why it will not.
    pub async fn flush(&self) -> Result<(), PublishError> {
        self.until(|state| state.outbox.is_empty()).await
    }

    /// Waits until so many messages are acknowledged, as [`Publisher::acknowledged`] counts.
    ///
    /// # Errors
    /// Why they will not be.
    pub async fn wait(&self, messages: u64) -> Result<(), PublishError> {
        self.until(|state| state.outbox.acknowledged() >= messages).await
    }

    /// How often the connection was lost.
    pub fn outages(&self) -> u64 {
        self.shared.outages.load(Ordering::Relaxed)
    }

    /// Waits until nothing more can be published, and says why.
    pub async fn closed(&self) -> PublishError {
        match self.until(|_| false).await {
            Ok(()) => PublishError::Closed,
            Err(error) => error,
        }
    }

    /// Waits until all is acknowledged, and takes leave of the broker.
    ///
    /// # Errors
    /// Why it will not be.
    pub async fn close(self) -> Result<(), PublishError> {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        match self.closed().await {
            PublishError::Closed => Ok(()),
            error @ (PublishError::Full
            | PublishError::BadTopic(_)
            | PublishError::BrokersTopic
            | PublishError::TooLargeForBroker { .. }
            | PublishError::Refused { .. }) => Err(error),
        }
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) -> Result<(), PublishError> {
        loop {
            // Made before the look: what happens in between wakes it.
            let progress = self.shared.progress.notified();
            {
                let state = self.shared.lock();
                if is_so(&state) {
                    return Ok(());
                }
                if let Some(error) = &state.ended {
                    return Err(error.clone());
                }
            }
            progress.await;
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, error: PublishError) {
        self.lock().ended.get_or_insert(error);
        self.progress.notify_waiters();
    }
}

/// Tells everybody when the task ends for whatever reason.
struct Stop(Arc<Shared>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.end(PublishError::Closed);
    }
}

/// Why a connection is at its end.
enum Ended {
    Lost(io::Error),
    ForGood(PublishError),
    Closed,
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl From<PublishError> for Ended {
    fn from(error: PublishError) -> Self {
        Self::ForGood(error)
    }
}

async fn run(stop: Stop, dialer: Dialer, first: Line) {
    let shared = &stop.0;
    let mut line = first;
    loop {
        shared.lock().outbox.begin(&line.connack);
        match serve(shared, &mut line).await {
            Ended::Closed => {
                line.close().await;
                return;
            }
            Ended::ForGood(error) => {
                tracing::error!(%error, "nothing more is published");
                line.close().await;
                return shared.end(error);
            }
            Ended::Lost(error) => {
                // Once for each outage.
                let outages = shared.outages.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                let broker = &dialer.options.address;
                tracing::warn!(%broker, outages, %error, "the broker is lost; connecting again until it is there");
            }
        }
        line = dial_again(&dialer).await;
    }
}

async fn dial_again(dialer: &Dialer) -> Line {
    let mut pause = RETRY_FIRST;
    loop {
        sleep(pause).await;
        pause = longer(pause);
        match dialer.dial().await {
            Ok(line) => {
                tracing::info!(broker = %dialer.options.address, "connected to the broker again");
                return line;
            }
            Err(error) => tracing::debug!(%error, "not connected to the broker yet"),
        }
    }
}

/// Uses a connection until its end.
async fn serve(shared: &Shared, line: &mut Line) -> Ended {
    loop {
        match step(shared, line).await {
            Ok(()) => {}
            Err(ended) => return ended,
        }
    }
}

async fn step(shared: &Shared, line: &mut Line) -> Result<(), Ended> {
    loop {
        let more = shared.lock().outbox.write(&mut line.out)?;
        line.flush().await?;
        shared.lock().outbox.written();
        shared.progress.notify_waiters();
        if !more {
            break;
        }
    }
    {
        let state = shared.lock();
        if state.closing && state.outbox.is_empty() {
            return Err(Ended::Closed);
        }
    }
    let packet = tokio::select! {
        packet = line.next() => Some(packet?),
        () = shared.work.notified() => None,
    };
    let mut packet = packet;
    while let Some(one) = packet {
        take(shared, one, line)?;
        packet = line.next_now()?;
    }
    Ok(())
}

fn take(shared: &Shared, packet: Packet, line: &mut Line) -> Result<(), Ended> {
    match packet {
        Packet::Ack { step, id, reason } => shared.lock().outbox.answer(step, (id, reason), &mut line.out)?,
        Packet::Disconnect { reason } => {
            return Err(io::Error::other(format!("it takes leave: {}", refusal(reason))).into());
        }
        // A session may have subscriptions of somebody's before; nobody here wants them.
        Packet::Publish(_) | Packet::TooLarge { .. } => {}
        Packet::ConnAck(_) | Packet::SubAck { .. } | Packet::PingResp => {}
    }
    Ok(())
}

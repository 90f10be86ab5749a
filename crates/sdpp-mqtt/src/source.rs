//! A broker as a live source.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sdpp::feed::{Item, Taken, Upstream};
use sdpp::now_us;
use sdpp::source::Filled;
use sdpp::topic;
use tokio::time::sleep;

use crate::limits::{EARLY_BYTES_MAX, FILTERS_MAX, ITEMS_MAX, RETRY_FIRST};
use crate::line::{Dialer, Line, longer, refusal};
use crate::packet::{Packet, Publish, Qos, Step, write_ack, write_subscribe};
use crate::{ConnectError, Options};

/// What is subscribed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe {
    /// Filters of topics.
    pub filters: Vec<String>,
    /// Quality of service.
    pub qos: Qos,
    /// Takes messages too that the broker kept from before: the last of each topic, again at each
    /// connection.
    pub retained: bool,
}

/// What happened at a [`MqttSource`]. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct MqttCounters(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    outages: AtomicU64,
    connections: AtomicU64,
    left_out: AtomicU64,
}

impl MqttCounters {
    /// How often the connection was lost.
    pub fn outages(&self) -> u64 {
        self.0.outages.load(Ordering::Relaxed)
    }

    /// How often there was one, with its subscriptions in place.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Messages that cannot be sold: too large, or with a topic that no topic may be.
    pub fn left_out(&self) -> u64 {
        self.0.left_out.load(Ordering::Relaxed)
    }

    fn leave_out(&self, what: &str) {
        let left_out = self.0.left_out.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if left_out.is_power_of_two() {
            tracing::warn!(left_out, "a message from the broker cannot be sold: {what}");
        }
    }
}

/// Messages of a broker, each with its topic, for a [`sdpp::feed::Hub`]. It acknowledges what the hub
/// took, and connects and subscribes again by itself, for ever.
pub struct MqttSource {
    dialer: Dialer,
    subscribe: Subscribe,
    line: Option<Line>,
    /// Messages of quality of service 2 that were taken and not yet released by the broker.
    unreleased: HashSet<u16>,
    counters: MqttCounters,
}

impl MqttSource {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// [`ConnectError`]: the broker refuses for good, or is not reached within the time of the options.
    pub async fn connect(options: Options, subscribe: Subscribe) -> Result<Self, ConnectError> {
        if subscribe.filters.is_empty() || subscribe.filters.len() > FILTERS_MAX {
            return Err(ConnectError::BadOptions("subscribe to 1 to 64 filters of topics"));
        }
        if !subscribe.filters.iter().all(|filter| topic::is_filter(filter)) {
            return Err(ConnectError::BadOptions(
                "not a filter of topics: `+` stands for a whole level, `#` only at the end",
            ));
        }
        let dialer = Dialer::new(options)?;
        let line = dialer.dial_first().await?;
        let (counters, unreleased) = (MqttCounters::default(), HashSet::new());
        let mut source = Self { dialer, subscribe, line: None, unreleased, counters };
        source.begin(line).await?;
        Ok(source)
    }

    /// Takes leave of the broker until the first order comes ([`sdpp::feed::Start::FirstOrder`]). With
    /// a session the broker keeps meanwhile what comes.
    pub async fn rest(mut self) -> Self {
        if let Some(mut line) = self.line.take() {
            // What came already was for nobody and is not acknowledged: it stays with the broker.
            line.out.clear();
            line.close().await;
        }
        self
    }

    /// What happened so far.
    pub fn counters(&self) -> MqttCounters {
        self.counters.clone()
    }

    /// Subscribes on a new connection. Also where the broker knows the session: its filters may be
    /// others than ours.
    async fn begin(&mut self, mut line: Line) -> Result<(), ConnectError> {
        if !line.connack.session_present {
            self.unreleased.clear();
        }
        let (filters, wanted) = (&self.subscribe.filters, (self.subscribe.qos, self.subscribe.retained));
        write_subscribe(self.dialer.options.version, filters, wanted, &mut line.out);
        let address = self.dialer.options.address.to_string();
        let lost = |error: io::Error| ConnectError::Unreachable {
            address: address.clone(),
            why: error.to_string(),
            for_good: false,
        };
        line.flush().await.map_err(lost)?;
        // Messages of an old session may come before the answer, and wait.
        let (mut early, mut bytes) = (VecDeque::new(), 0usize);
        let reasons = loop {
            let packet = line.next().await.map_err(lost)?;
            if let Packet::SubAck { reasons, .. } = packet {
                break reasons;
            }
            bytes = bytes.saturating_add(weight(&packet));
            early.push_back(packet);
            if bytes > EARLY_BYTES_MAX {
                return Err(lost(io::Error::other("it sends messages, but no answer to the subscription")));
            }
        };
        line.early = early;
        for (filter, reason) in filters.iter().zip(reasons) {
            if reason >= 0x80 {
                let (filter, why) = (filter.clone(), refusal(reason));
                return Err(ConnectError::NoSubscription { address, filter, why });
            }
        }
        self.counters.0.connections.fetch_add(1, Ordering::Relaxed);
        self.line = Some(line);
        Ok(())
    }

    /// Connects again, however long that takes.
    async fn begin_again(&mut self) {
        let mut pause = RETRY_FIRST;
        loop {
            sleep(pause).await;
            pause = longer(pause);
            let begun = match self.dialer.dial().await {
                Ok(line) => self.begin(line).await,
                Err(error) => Err(error),
            };
            match begun {
                Ok(()) => {
                    tracing::info!(broker = %self.dialer.options.address, "connected to the broker again");
                    return;
                }
                Err(error) => tracing::debug!(%error, "not connected to the broker yet"),
            }
        }
    }

    /// Handles what has come, waiting for the first.
    async fn receive(&mut self, line: &mut Line, items: &mut Vec<Item>) -> io::Result<()> {
        // Acknowledges what the hub took since.
        line.flush().await?;
        let mut packet = Some(line.next().await?);
        while let Some(one) = packet {
            self.packet(one, line, items)?;
            packet = if items.len() < ITEMS_MAX { line.next_now()? } else { None };
        }
        Ok(())
    }

    fn packet(&mut self, packet: Packet, line: &mut Line, items: &mut Vec<Item>) -> io::Result<()> {
        match packet {
            Packet::Publish(publish) => self.publish(publish, line, items),
            Packet::TooLarge { qos, id } => {
                self.counters.leave_out("it is larger than any message may be");
                self.acknowledge(qos, id, line);
            }
            Packet::Ack { step: Step::Rel, id, .. } => {
                self.unreleased.remove(&id);
                write_ack(Step::Comp, id, &mut line.out);
            }
            Packet::Disconnect { reason } => {
                return Err(io::Error::other(format!("it takes leave: {}", refusal(reason))));
            }
            // Nothing that we asked for, and no harm.
            Packet::PingResp | Packet::SubAck { .. } | Packet::Ack { .. } | Packet::ConnAck(_) => {}
        }
        Ok(())
    }

    fn publish(&mut self, publish: Publish, line: &mut Line, items: &mut Vec<Item>) {
        let again = publish.qos == Qos::ExactlyOnce && self.unreleased.contains(&publish.id);
        self.acknowledge(publish.qos, publish.id, line);
        if again || (publish.retain && !self.subscribe.retained) {
            return;
        }
        if let Err(error) = topic::check(&publish.topic) {
            return self.counters.leave_out(&error.to_string());
        }
        items.push(Item { topic: Some(publish.topic.into()), time_us: now_us(), payload: publish.payload });
    }

    /// Puts the acknowledgement into the line; it leaves when the hub asks for more.
    fn acknowledge(&mut self, qos: Qos, id: u16, line: &mut Line) {
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => write_ack(Step::Ack, id, &mut line.out),
            Qos::ExactlyOnce => {
                self.unreleased.insert(id);
                write_ack(Step::Rec, id, &mut line.out);
            }
        }
    }
}

/// What a packet takes in memory, roughly.
fn weight(packet: &Packet) -> usize {
    let bytes = match packet {
        Packet::Publish(publish) => publish.payload.len().saturating_add(publish.topic.len()),
        Packet::TooLarge { .. }
        | Packet::ConnAck(_)
        | Packet::Ack { .. }
        | Packet::SubAck { .. }
        | Packet::PingResp
        | Packet::Disconnect { .. } => 0,
    };
    bytes.saturating_add(size_of::<Packet>())
}

impl Upstream for MqttSource {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        Box::pin(async move {
            while items.is_empty() {
                let Some(mut line) = self.line.take() else {
                    self.begin_again().await;
                    continue;
                };
                match self.receive(&mut line, items).await {
                    Ok(()) => self.line = Some(line),
                    Err(error) => {
                        // Once for each outage.
                        let outages = self.counters.0.outages.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                        let broker = &self.dialer.options.address;
                        tracing::warn!(%broker, outages, %error, "the broker is lost; connecting again until it is there");
                    }
                }
            }
            Ok(Filled::Some)
        })
    }
}

//! What a sale is measured against.

use std::time::Duration;

use crate::clock::Took;
use crate::{Failure, Rival};

mod http;
pub(crate) mod jetstream;
mod mqtt;
mod nats;
pub(crate) mod postgres;
mod server;
mod stream;

use sdpp_mqtt::Qos;
use server::{Program, Server};
pub(crate) use stream::{HOST, tls};
use stream::{Streams, Writes};

/// Whoever does nothing for so long is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One way to move messages, or bytes that count as messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Plain TCP, 64 KiB a write.
    Tcp,
    /// TLS 1.3, 64 KiB a write.
    Tls64,
    /// TLS 1.3, 16 KiB a write: one record.
    Tls16,
    /// NATS core, through a real server.
    Nats,
    /// MQTT with quality of service 0, through a real broker.
    MqttQos0,
    /// MQTT with quality of service 1, through the same.
    MqttQos1,
    /// HTTP/1.1, a signed payment with each request, one request at a time.
    Http,
}

impl Kind {
    /// All, in the order in which they take their turns.
    pub const ALL: [Self; 7] =
        [Self::Tcp, Self::Tls64, Self::Tls16, Self::Nats, Self::MqttQos0, Self::MqttQos1, Self::Http];

    /// Its name in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp-64K",
            Self::Tls64 => "rustls-64K",
            Self::Tls16 => "rustls-16K",
            Self::Nats => "nats",
            Self::MqttQos0 => "mqtt-qos0",
            Self::MqttQos1 => "mqtt-qos1",
            Self::Http => "http-paid",
        }
    }

    /// The name by which it is chosen, together with others like it.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls64 | Self::Tls16 => "rustls",
            Self::Nats => "nats",
            Self::MqttQos0 | Self::MqttQos1 => "mqtt",
            Self::Http => "http",
        }
    }

    /// Whether it knows no messages: these are counted by their bytes.
    const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls64 | Self::Tls16)
    }
}

/// Everything that is made once. Servers are stopped when it is dropped.
pub(crate) struct Rivals {
    streams: Streams,
    nats: Found,
    mqtt: Found,
}

/// A server, or why there is none.
type Found = Result<Server, String>;

impl Rivals {
    /// Starts the servers of those that were chosen. One that is not there is no error, one that does not
    /// start is.
    pub(crate) fn new(chosen: &[Kind]) -> Result<Self, Failure> {
        let found = |kind: Kind, program: &Program| -> Result<Found, Failure> {
            if chosen.iter().all(|one| one.group() != kind.group()) {
                return Ok(Err("not chosen".to_owned()));
            }
            match program.find() {
                Ok(path) => Ok(Ok(Server::start(program, &path)?)),
                Err(why) => Ok(Err(why)),
            }
        };
        let (nats, mqtt) = (found(Kind::Nats, &nats::PROGRAM)?, found(Kind::MqttQos0, &mqtt::PROGRAM)?);
        Ok(Self { streams: Streams::new()?, nats, mqtt })
    }

    /// The servers that are there, and their versions.
    pub(crate) fn versions(&self) -> Vec<(&'static str, String)> {
        let servers = [(&nats::PROGRAM, &self.nats), (&mqtt::PROGRAM, &self.mqtt)].into_iter();
        let there = servers.filter_map(|(program, found)| Some((program.name, found.as_ref().ok()?)));
        there.map(|(name, server)| (name, server.version().unwrap_or_else(|| "unknown".to_owned()))).collect()
    }

    /// The server that this one needs and has not.
    fn missing(&self, kind: Kind) -> Option<&str> {
        let found = match kind {
            Kind::Tcp | Kind::Tls64 | Kind::Tls16 | Kind::Http => return None,
            Kind::Nats => &self.nats,
            Kind::MqttQos0 | Kind::MqttQos1 => &self.mqtt,
        };
        found.as_ref().err().map(String::as_str)
    }

    /// Runs it without counting, and finds how many messages make a round: those of the largest sale for a
    /// stream, as many as it moves in such a time for the others, which are far slower.
    pub(crate) fn warm_up(&self, kind: Kind, size: usize, bytes: u64, round: Duration) -> Result<Rival, Failure> {
        if let Some(why) = self.missing(kind) {
            return Ok(Rival::absent(kind, size, why));
        }
        let messages = if kind.is_stream() {
            let messages = bytes.checked_div(u64::try_from(size)?).unwrap_or_default();
            self.run(kind, size, messages)?;
            messages
        } else {
            crate::search(1, round, |messages| Ok(self.run(kind, size, messages)?.wall))?
        };
        Ok(Rival::new(kind, size, messages))
    }

    /// Moves so many messages.
    pub(crate) fn run(&self, kind: Kind, size: usize, messages: u64) -> Result<Took, Failure> {
        let broker = || self.mqtt.as_ref().map_err(String::as_str);
        let bytes = messages.saturating_mul(u64::try_from(size)?);
        match kind {
            Kind::Tcp => self.streams.run(Writes { bytes: 64 * 1024, tls: false }, bytes),
            Kind::Tls64 => self.streams.run(Writes { bytes: 64 * 1024, tls: true }, bytes),
            Kind::Tls16 => self.streams.run(Writes { bytes: 16 * 1024, tls: true }, bytes),
            Kind::Nats => nats::run(self.nats.as_ref().map_err(String::as_str)?, size, messages),
            Kind::MqttQos0 => mqtt::run(broker()?, Qos::AtMostOnce, size, messages),
            Kind::MqttQos1 => mqtt::run(broker()?, Qos::AtLeastOnce, size, messages),
            Kind::Http => http::run(size, messages),
        }
    }
}

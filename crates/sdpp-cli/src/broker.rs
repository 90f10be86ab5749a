//! MQTT brokers: what they send is sold, and what was bought is published to them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use sdpp::feed::{Hub, Start};
use sdpp::journal::Barrier;
use sdpp::sink::{Mark, Ready, Sink, Stream};
use sdpp::topic;
use sdpp_mqtt::{
    Address, Login, MqttSource, Options, PublishError, PublishOptions, Publisher, Qos, Roots, Subscribe, Version,
};
use sdpp_proto::message::Message;

use crate::config;
use crate::exit::{Exit, failed};
use crate::ledger::Failure;
use crate::ledger::station;

/// How a broker is spoken to, by the configuration and the environment.
fn options(url: &str, mqtt: &config::Mqtt) -> Result<Options, Failure> {
    let address: Address = url.parse()?;
    let mut options = Options::new(address);
    options.version = match mqtt.version {
        Some(3) => Version::V3,
        Some(5) | None => Version::V5,
        Some(other) => return Err(failed(Exit::Usage, format!("[mqtt] version = {other}: write 3 or 5"))),
    };
    options.login = match &mqtt.login {
        Some(file) => Some(Login::from_file(file)?),
        None => Login::from_env()?,
    };
    if let Some(ca) = &mqtt.ca {
        options.roots = Roots::Pem(station::read(ca)?);
    }
    Ok(options)
}

fn qos(asked: Option<u8>) -> Result<Qos, Failure> {
    match asked {
        Some(0) => Ok(Qos::AtMostOnce),
        Some(1) | None => Ok(Qos::AtLeastOnce),
        Some(2) => Ok(Qos::ExactlyOnce),
        Some(other) => Err(failed(Exit::Usage, format!("qos = {other}: write 0, 1 or 2"))),
    }
}

/// Subscribes, and reads for all orders. Inside a runtime.
pub(crate) async fn subscribe(url: &str, source: &config::Source, mqtt: &config::Mqtt) -> Result<Hub, Failure> {
    let mut options = options(url, mqtt)?;
    options.session.clone_from(&source.session);
    let has_session = source.session.is_some();
    let mut filters = source.topics.clone();
    if filters.is_empty() && !options.address.path.is_empty() {
        filters.push(options.address.path.clone());
    }
    let subscribe = Subscribe { filters, qos: qos(source.qos)?, retained: false };
    let source =
        MqttSource::connect(options, subscribe).await.map_err(|error| failed(Exit::Unreachable, error.to_string()))?;
    if has_session {
        // What the broker kept is for the first order that comes.
        return Ok(Hub::start(source.rest().await, Start::FirstOrder));
    }
    Ok(Hub::start(source, Start::Now))
}

/// Publishes what was bought.
pub(crate) struct MqttSink {
    publisher: Publisher,
    described: String,
    stream: Option<Stream>,
    /// Number of the first message that is published here.
    first: Option<u64>,
    /// The rest of a frame that the publisher had no room for.
    waiting: VecDeque<(u64, String, Bytes)>,
}

impl MqttSink {
    /// Connects. What stands behind the slash of the address is put before every topic.
    pub(crate) async fn connect(url: &str, asked_qos: Option<u8>, mqtt: &config::Mqtt) -> Result<Self, Failure> {
        let options = options(url, mqtt)?;
        // Shown without user and password.
        let described = format!("{}/{}", options.address, options.address.path);
        let publish = PublishOptions { prefix: options.address.path.clone(), qos: qos(asked_qos)? };
        let connected = Publisher::connect(options, publish).await;
        let publisher = connected.map_err(|error| failed(Exit::Unreachable, error.to_string()))?;
        Ok(Self { publisher, described, stream: None, first: None, waiting: VecDeque::new() })
    }

    /// Hands over what waits, as far as there is room.
    fn hand_over(&mut self) -> io::Result<bool> {
        while let Some((seq, topic, payload)) = self.waiting.front() {
            match self.publisher.publish(*seq, topic, payload.clone()) {
                Err(PublishError::Full) => return Ok(false),
                published => published?,
            }
            self.waiting.pop_front();
        }
        Ok(true)
    }

    async fn hand_all_over(&mut self) -> io::Result<()> {
        while !self.hand_over()? {
            self.publisher.ready().await?;
        }
        Ok(())
    }
}

impl Sink for MqttSink {
    fn begin(&mut self, stream: &Stream) -> io::Result<()> {
        self.stream = Some(stream.clone());
        Ok(())
    }

    fn room(&mut self) -> Option<Ready<'_>> {
        if self.waiting.is_empty() {
            return None;
        }
        Some(Box::pin(self.hand_all_over()))
    }

    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.first.get_or_insert(seq);
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
        let (topic, payload) = if stream.schema == topic::SCHEMA {
            topic::split(message.bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        } else {
            (stream.topic.as_str(), message.bytes)
        };
        self.waiting.push_back((seq, topic.to_owned(), Bytes::copy_from_slice(payload)));
        self.hand_over().map(drop)
    }

    fn held(&mut self, through: u64) -> Option<Ready<'_>> {
        let wanted = through.saturating_sub(self.first.unwrap_or(through));
        if self.publisher.acknowledged() >= wanted {
            return None;
        }
        Some(Box::pin(async move {
            self.hand_all_over().await?;
            Ok(self.publisher.wait(wanted).await?)
        }))
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        Ok(None)
    }

    fn go_back(&mut self, _: &Mark) -> io::Result<bool> {
        // What was published cannot be taken back; readers drop repeats by `sdpp-seq`.
        Ok(false)
    }

    fn describe(&self) -> Option<String> {
        Some(self.described.clone())
    }
}

//! A broker of MQTT 3.1.1 or 5 as a live source of SDPP, and as a place to publish what was bought.
//!
//! [`MqttSource`] is an [`sdpp::feed::Upstream`]: it subscribes, acknowledges what the hub took, and
//! connects again by itself for ever. [`Publisher`] publishes in order, keeps what the broker has not
//! acknowledged, and says how much that is. `docs/sources.md` says how to use both.
//!
//! The client is our own, on the few packets that we need (`docs/adr/0010-own-mqtt-client.md`).

mod address;
mod line;
mod options;
mod outbox;
mod packet;
mod publisher;
mod source;

pub use address::{Address, AddressError};
pub use line::{ConnectError, Refusal};
pub use options::{Login, LoginError, Options, Roots};
pub use packet::{Qos, Version};
pub use publisher::{PublishError, PublishOptions, Publisher};
pub use source::{MqttCounters, MqttSource, Subscribe};

/// Every limit of this crate.
pub(crate) mod limits {
    use std::time::Duration;

    /// Largest packet: a message, its topic, and properties beside them.
    pub(crate) const PACKET_MAX: usize = sdpp::topic::TOPIC_MAX + 4 * 1024 * 1024 + 16 * 1024;
    /// Time to connect, TLS and the broker's answer included.
    pub(crate) const CONNECT: Duration = Duration::from_secs(10);
    /// Time in which the broker has to take what we write.
    pub(crate) const WRITE: Duration = Duration::from_secs(30);
    /// Pauses between attempts to connect again double from the first to the last.
    pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(100);
    /// See `RETRY_FIRST`.
    pub(crate) const RETRY_LAST: Duration = Duration::from_secs(15);
    /// Time that the broker keeps a persistent session while we are away (MQTT 5).
    pub(crate) const SESSION_S: u32 = 7 * 24 * 60 * 60;
    /// Messages that the broker may send before we acknowledge one (MQTT 5).
    pub(crate) const RECEIVE_MAX: u16 = 1_000;
    /// Bytes of messages that may come before the answer to a subscription.
    pub(crate) const EARLY_BYTES_MAX: usize = 64 * 1024 * 1024;
    /// Items handed over at once.
    pub(crate) const ITEMS_MAX: usize = 1_000;
    /// Read at once.
    pub(crate) const READ_BYTES: usize = 64 * 1024;
    /// Messages on the wire without the broker's acknowledgement.
    pub(crate) const IN_FLIGHT_MAX: usize = 200;
    /// The same for MQTT 3.1.1 with quality of service 2, where a broker cannot say how many it takes and
    /// closes the connection at one more: mosquitto's usual limit.
    pub(crate) const IN_FLIGHT_V3: usize = 20;
    /// Messages that a publisher keeps until the broker has acknowledged them.
    pub(crate) const KEPT_MESSAGES: usize = 10_000;
    /// Their bytes; a single larger one aside.
    pub(crate) const KEPT_BYTES: usize = 32 * 1024 * 1024;
    /// Bytes written at once, a single larger message aside.
    pub(crate) const WRITE_BYTES: usize = 256 * 1024;
    /// Filters of one subscription.
    pub(crate) const FILTERS_MAX: usize = 64;
    /// Length of user name, password and client id: MQTT states it in 16 bits.
    pub(crate) const TEXT_MAX: usize = 65_535;
}

//! Packets of MQTT 3.1.1 and 5, as far as a client without a will, aliases and extended authentication
//! needs them. Section numbers are those of the MQTT 5 specification.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

mod read;
mod write;

pub(crate) use read::Decoder;
pub(crate) use write::write_subscribe;
pub(crate) use write::{Connect, Outgoing, write_ack, write_connect, write_disconnect, write_ping, write_publish};

/// Which MQTT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// 3.1.1.
    V3,
    /// 5.
    #[default]
    V5,
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "3" | "3.1.1" => Ok(Self::V3),
            "5" | "5.0" => Ok(Self::V5),
            _ => Err("the version of MQTT is 3 (for 3.1.1) or 5"),
        }
    }
}

/// Quality of service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Qos {
    /// At most once: lost when the connection is.
    AtMostOnce,
    /// At least once: acknowledged, and sent again without an acknowledgement.
    #[default]
    AtLeastOnce,
    /// Exactly once, within a session.
    ExactlyOnce,
}

impl Qos {
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    const fn of_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

impl FromStr for Qos {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bits: u8 = text.parse().map_err(|_| "the quality of service is 0, 1 or 2")?;
        Self::of_bits(bits).ok_or("the quality of service is 0, 1 or 2")
    }
}

/// Which step of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// `PUBACK`.
    Ack,
    /// `PUBREC`.
    Rec,
    /// `PUBREL`.
    Rel,
    /// `PUBCOMP`.
    Comp,
}

/// What a broker sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Packet {
    ConnAck(ConnAck),
    Publish(Publish),
    /// A message larger than we take; its payload was passed over.
    TooLarge {
        qos: Qos,
        id: u16,
    },
    Ack {
        step: Step,
        id: u16,
        reason: u8,
    },
    SubAck {
        id: u16,
        reasons: Vec<u8>,
    },
    PingResp,
    Disconnect {
        reason: u8,
    },
}

/// The answer to a connection (§3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ConnAck {
    pub(crate) session_present: bool,
    /// 0: welcome. From 0x80 as in MQTT 5; a version-3 code is translated.
    pub(crate) reason: u8,
    /// The best quality of service that it has.
    pub(crate) qos_max: Qos,
    /// Messages that we may send without an acknowledgement.
    pub(crate) receive_max: u16,
    /// Largest packet that it takes.
    pub(crate) packet_max: Option<u32>,
    /// The time without a word that it allows, if it is another than we asked for.
    pub(crate) keep_alive_s: Option<u16>,
}

impl ConnAck {
    /// An answer without limits.
    pub(crate) const fn of(session_present: bool, reason: u8) -> Self {
        let (qos_max, receive_max) = (Qos::ExactlyOnce, u16::MAX);
        Self { session_present, reason, qos_max, receive_max, packet_max: None, keep_alive_s: None }
    }
}

/// A message from the broker (§3.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Publish {
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    /// 0 with quality of service 0.
    pub(crate) id: u16,
    pub(crate) payload: Bytes,
}

/// The broker sends what is no MQTT, or not what may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the broker sends what is no MQTT: {}", self.0)
    }
}

//! Addresses of products: `sdpp://KEY@HOST:PORT/TOPIC`. The key in it is how a buyer knows the seller.
//!
//! ```
//! use sdpp::address::Address;
//!
//! let text = "sdpp://z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH@[::1]:7400/air%20quality";
//! let address: Address = text.parse()?;
//! assert_eq!(address.topic()?, "air quality");
//! assert_eq!(address.socket(), "[::1]:7400");
//! assert_eq!(address.to_string(), text);
//! # Ok::<(), sdpp::address::AddressError>(())
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sdpp_proto::identity::PublicKey;

use crate::buyer;

/// Where a seller listens unless it is told otherwise.
pub const PORT: u16 = 7400;
const SCHEME: &str = "sdpp://";
/// What a topic must not hold as it is in an address.
const HIDDEN: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#').add(b'"').add(b'<').add(b'>').add(b'`');

/// Where a product is sold, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The seller's key. Without one the buyer cannot know whom it talks to.
    pub seller: Option<PublicKey>,
    /// Name or IP address of the seller's machine; an IPv6 address in brackets.
    pub host: String,
    /// Its port; [`PORT`] where the text names none.
    pub port: u16,
    /// The product; none where the address is a seller's.
    pub topic: Option<String>,
}

/// Why text is no address, or an address not enough. Holds what was read, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AddressError {
    /// Not an address of a product.
    Malformed {
        /// What was read.
        text: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An address of a seller where one of a product is needed.
    NoTopic(Box<Address>),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { text, what } => {
                write!(f, "'{text}' is no address of a product: {what}; write sdpp://KEY@HOST:PORT/TOPIC")
            }
            Self::NoTopic(address) => {
                write!(f, "{address} names no product: add /TOPIC; `sdpp menu {address}` shows what there is")
            }
        }
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// The address of a topic that a seller sells at this socket address: what buyers are given.
    pub fn new(seller: PublicKey, at: SocketAddr, topic: impl Into<String>) -> Self {
        let host = match at {
            SocketAddr::V4(at) => at.ip().to_string(),
            SocketAddr::V6(at) => format!("[{}]", at.ip()),
        };
        Self { seller: Some(seller), host, port: at.port(), topic: Some(topic.into()) }
    }

    /// Host and port, as sockets want them.
    pub fn socket(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Where a buyer connects, and who must answer.
    pub fn peer(&self) -> buyer::Address {
        buyer::Address { seller: self.seller, host: self.socket() }
    }

    /// The product's topic.
    ///
    /// # Errors
    /// [`AddressError::NoTopic`].
    pub fn topic(&self) -> Result<&str, AddressError> {
        self.topic.as_deref().ok_or_else(|| AddressError::NoTopic(Box::new(self.clone())))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |what| AddressError::Malformed { text: text.to_owned(), what };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| wrong("it does not begin with sdpp://"))?;
        let (authority, topic) = rest.split_once('/').map_or((rest, ""), |(authority, topic)| (authority, topic));
        let (key, place) = authority.split_once('@').map_or((None, authority), |(key, place)| (Some(key), place));
        let seller = match key {
            Some(key) => Some(key.parse().map_err(|_| wrong("the part before @ is not a key (z6Mk…)"))?),
            None => None,
        };
        let (host, port) = split_port(place).ok_or_else(|| wrong("host or port cannot be read"))?;
        let topic = percent_decode_str(topic).decode_utf8().map_err(|_| wrong("the topic is not text"))?;
        let topic = Some(topic.into_owned()).filter(|topic| !topic.is_empty());
        Ok(Self { seller, host: host.to_owned(), port, topic })
    }
}

/// Host and port; an IPv6 address stands in brackets, which stay.
fn split_port(place: &str) -> Option<(&str, u16)> {
    let after = place.rfind(']').map_or(0, |bracket| bracket);
    let tail = place.get(after..)?;
    let (host, port) = match tail.rfind(':') {
        Some(colon) => {
            let (host, port) = place.split_at_checked(after.checked_add(colon)?)?;
            (host, port.strip_prefix(':')?.parse().ok()?)
        }
        None => (place, PORT),
    };
    (!host.is_empty() && !host.contains(char::is_whitespace)).then_some((host, port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if let Some(seller) = &self.seller {
            write!(f, "{seller}@")?;
        }
        f.write_str(&self.socket())?;
        match &self.topic {
            Some(topic) => write!(f, "/{}", utf8_percent_encode(topic, HIDDEN)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH";

    #[test]
    fn an_address_is_read_and_written_the_same() {
        for text in [
            format!("sdpp://{KEY}@127.0.0.1:7400/weather"),
            format!("sdpp://{KEY}@[::1]:7400/a/b"),
            format!("sdpp://{KEY}@example.org:1/with%20space"),
            "sdpp://localhost:7400".to_owned(),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        let short: Address = format!("sdpp://{KEY}@[::1]/t").parse().unwrap();
        assert_eq!(short.socket(), "[::1]:7400");
        let nameless: Address = "sdpp://h/".parse().unwrap();
        assert_eq!(nameless.topic, None);
        assert!(nameless.topic().unwrap_err().to_string().contains("`sdpp menu sdpp://h:7400`"));
        let key = KEY.parse().unwrap();
        for at in ["127.0.0.1:1", "[::1]:2"] {
            let address = Address::new(key, at.parse().unwrap(), "a b");
            assert_eq!(address.to_string(), format!("sdpp://{KEY}@{at}/a%20b"));
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("weather", "sdpp://"),
            ("http://h/t", "sdpp://"),
            ("sdpp://abc@h:1/t", "key"),
            ("sdpp://h:99999/t", "port"),
            ("sdpp://", "host"),
            ("sdpp://h/%ff", "text"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

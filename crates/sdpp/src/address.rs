//! Addresses of products: `sdpp://KEY@HOST:PORT/TOPIC`. The key in it is how a buyer knows the seller.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sdpp_proto::identity::PublicKey;

/// Where a seller listens unless it is told otherwise.
pub(crate) const PORT: u16 = 7400;
const SCHEME: &str = "sdpp://";
/// What a topic must not hold as it is in an address.
const HIDDEN: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#').add(b'"').add(b'<').add(b'>').add(b'`');

/// Where a product is sold, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) seller: Option<PublicKey>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) topic: Option<String>,
}

impl Address {
    /// Host and port, as sockets want them.
    pub(crate) fn socket(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The library's form.
    pub(crate) fn peer(&self) -> sdpp::buyer::Address {
        sdpp::buyer::Address { seller: self.seller, host: self.socket() }
    }

    /// The topic, or what to say without one.
    pub(crate) fn topic(&self) -> Result<&str, String> {
        self.topic
            .as_deref()
            .ok_or_else(|| format!("{self} names no product: add /TOPIC; `sdpp menu {self}` shows what there is"))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |what: &str| format!("'{text}' is no address of a product: {what}; write sdpp://KEY@HOST:PORT/TOPIC");
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
        assert_eq!("sdpp://h/".parse::<Address>().unwrap().topic, None);
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
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

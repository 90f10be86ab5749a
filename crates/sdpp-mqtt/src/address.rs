//! Where a broker is.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::options::Login;

const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

/// `mqtt://HOST[:PORT][/TOPIC]`, or `mqtts://…` with TLS. Shown without user and password.
#[derive(Clone, Debug)]
pub struct Address {
    /// Whether TLS is spoken.
    pub secure: bool,
    /// Name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What stands behind the slash: a filter to subscribe to, or a prefix of what is published.
    pub path: String,
    /// User and password, if they stand in the URL. Whoever lists processes sees them there: better
    /// use [`Login::from_env`] or [`Login::from_file`].
    pub login: Option<Login>,
}

/// Not an address of a broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressError;

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text itself may hold a password.
        f.write_str("not an address of the form mqtt://HOST[:PORT][/TOPIC] or mqtts://HOST[:PORT][/TOPIC]")
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (secure, rest) = match text.split_once("://").ok_or(AddressError)? {
            ("mqtt", rest) => (false, rest),
            ("mqtts", rest) => (true, rest),
            _ => return Err(AddressError),
        };
        // A filter may hold `#`, so there is no fragment.
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(parse_login(login)?), host),
            None => (None, authority),
        };
        let (host, port) = parse_host(host, if secure { TLS_PORT } else { PORT })?;
        Ok(Self { secure, host, port, path: decoded(path)?.to_string(), login })
    }
}

fn decoded(text: &str) -> Result<Zeroizing<String>, AddressError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| AddressError)?;
    Ok(Zeroizing::new(text.into_owned()))
}

fn parse_login(text: &str) -> Result<Login, AddressError> {
    let (user, password) = text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
    let password = password.map(decoded).transpose()?;
    Login::new(&decoded(user)?, password.as_deref().map_or("", String::as_str)).map_err(|_| AddressError)
}

fn parse_host(text: &str, port: u16) -> Result<(String, u16), AddressError> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or(AddressError)?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| AddressError)?,
        None if rest.is_empty() => port,
        None => return Err(AddressError),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(plain) || port == 0 {
        Err(AddressError)
    } else {
        Ok((host.to_owned(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "mqtts" } else { "mqtt" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_secrets() {
        let shown = |text: &str| {
            let address: Address = text.parse().unwrap();
            (address.to_string(), address.path.clone())
        };
        assert_eq!(shown("mqtt://broker.example"), ("mqtt://broker.example:1883".into(), String::new()));
        assert_eq!(shown("mqtts://10.0.0.1:99/a/+/%C3%BC/#"), ("mqtts://10.0.0.1:99".into(), "a/+/ü/#".into()));
        assert_eq!(shown("mqtts://[::1]/x"), ("mqtts://[::1]:8883".into(), "x".into()));
        let address: Address = "mqtt://us%40er:se%3Acret@host/p".parse().unwrap();
        let login = address.login.as_ref().unwrap();
        assert_eq!((login.user(), login.password()), ("us@er", "se:cret"));
        let printed = format!("{address} {address:?}");
        assert!(!printed.contains("se:cret") && !printed.contains("se%3Acret"), "{printed}");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for bad in ["", "host", "http://host", "mqtt://", "mqtt:///x", "mqtt://host:", "mqtt://host:0", "mqtt://host:x"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        for bad in ["mqtt://ho st", "mqtt://[::1", "mqtt://u:p@", "mqtt://host/%ff", "mqtt://[::1]x"] {
            let error = bad.parse::<Address>().unwrap_err().to_string();
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}

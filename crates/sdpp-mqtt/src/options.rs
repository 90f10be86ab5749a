//! How a broker is spoken to.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::limits::TEXT_MAX;
use crate::{Address, Version};

/// The environment variable with the user's name.
const USER: &str = "SDPP_MQTT_USER";
/// The environment variable with the password.
const PASSWORD: &str = "SDPP_MQTT_PASSWORD";

/// User and password. Never printed.
#[derive(Clone)]
pub struct Login {
    user: String,
    password: Zeroizing<String>,
}

/// Why there is no login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoginError {
    /// The file cannot be read.
    Unreadable(std::io::ErrorKind),
    /// Not `USER:PASSWORD` on the first line.
    Malformed,
    /// User or password are longer than MQTT can say.
    TooLong,
    /// A password without a user, or a variable that is not text.
    Variables,
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(kind) => write!(f, "the file with the broker's password cannot be read: {kind}"),
            Self::Malformed => f.write_str("the file with the broker's password needs USER:PASSWORD on its first line"),
            Self::TooLong => f.write_str("user or password of the broker are longer than 65,535 bytes"),
            Self::Variables => write!(f, "{PASSWORD} needs {USER} beside it, and both must be text"),
        }
    }
}

impl std::error::Error for LoginError {}

impl Login {
    /// From its parts.
    ///
    /// # Errors
    /// One is too long.
    pub fn new(user: &str, password: &str) -> Result<Self, LoginError> {
        if user.len() > TEXT_MAX || password.len() > TEXT_MAX {
            return Err(LoginError::TooLong);
        }
        Ok(Self { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) })
    }

    /// From `SDPP_MQTT_USER` and `SDPP_MQTT_PASSWORD`; none if neither is set.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn from_env() -> Result<Option<Self>, LoginError> {
        let variable = |name| match std::env::var(name) {
            Ok(value) => Ok(Some(Zeroizing::new(value))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(LoginError::Variables),
        };
        match (variable(USER)?, variable(PASSWORD)?) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(LoginError::Variables),
            (Some(user), password) => Self::new(&user, password.as_deref().map_or("", String::as_str)).map(Some),
        }
    }

    /// From the first line of a file, `USER:PASSWORD`.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn from_file(path: &Path) -> Result<Self, LoginError> {
        let text = std::fs::read_to_string(path).map_err(|error| LoginError::Unreadable(error.kind()))?;
        let text = Zeroizing::new(text);
        let line = text.lines().next().unwrap_or_default();
        let (user, password) = line.split_once(':').ok_or(LoginError::Malformed)?;
        Self::new(user, password)
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// Whose certificates are believed, where the address is `mqtts`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Roots {
    /// Those of the system.
    System,
    /// Only these, as PEM: for a broker with a certificate of its own.
    Pem(Vec<u8>),
}

/// How a broker is spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub address: Address,
    /// Which MQTT.
    pub version: Version,
    /// Who we are to it; none: what stands in the address.
    pub login: Option<Login>,
    /// Whom we believe.
    pub roots: Roots,
    /// A client id that stays the same, and with it a session that outlives connections: the broker
    /// keeps for us what comes while we are away, with quality of service 1 and 2. Two clients of one
    /// id throw each other out. None: a new id, and a new session each time.
    pub session: Option<String>,
    /// A broker that is silent for so long is given up.
    pub keep_alive_s: u16,
    /// The first connection is tried for so long, unless it is refused for good.
    pub patience_ms: u64,
}

impl Options {
    /// The usual: MQTT 5, the system's certificates, no session, half a minute, ten seconds.
    pub const fn new(address: Address) -> Self {
        let (version, roots) = (Version::V5, Roots::System);
        Self { address, version, login: None, roots, session: None, keep_alive_s: 30, patience_ms: 10_000 }
    }

    /// Who we are to the broker.
    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.as_ref().or(self.address.login.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_read_from_a_file_and_never_printed() {
        let path = std::env::temp_dir().join(format!("sdpp-mqtt-login-{}", std::process::id()));
        std::fs::write(&path, "me:pass:word\nmore").unwrap();
        let login = Login::from_file(&path).unwrap();
        assert_eq!((login.user(), login.password()), ("me", "pass:word"));
        assert_eq!(format!("{login:?}"), "Login");
        std::fs::write(&path, "me").unwrap();
        assert_eq!(Login::from_file(&path).err(), Some(LoginError::Malformed));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Login::from_file(&path).err(), Some(LoginError::Unreadable(std::io::ErrorKind::NotFound)));
        assert_eq!(Login::new("me", &"x".repeat(TEXT_MAX + 1)).err(), Some(LoginError::TooLong));
    }
}

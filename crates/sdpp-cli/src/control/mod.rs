//! Talking to a running seller or buyer: a socket in the role's folder, which only its owner can open.
//! A request is a line of JSON; the answer is a line that says whether it was done, and rows.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(unix)]
mod socket;
mod status;

#[cfg(unix)]
pub(crate) use socket::{Serving, call, serve};
pub(crate) use status::{Args, run};

use crate::home::RoleHome;

/// Bytes of a request at most.
const REQUEST_MAX: usize = 64 * 1024;
/// Time for a whole conversation.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can be asked.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// How it stands.
    Status,
    /// Take no new orders of a product.
    Pause {
        /// Its name.
        topic: String,
    },
    /// Take new orders again.
    Unpause {
        /// Its name.
        topic: String,
    },
    /// Another price, for new orders.
    Price {
        /// Of which product.
        topic: String,
        /// As on the command line.
        price: String,
    },
    /// Read the configuration again.
    Reload,
    /// Settle and end an order.
    End {
        /// Its id.
        order: String,
    },
    /// Take what an order owes out of its pool.
    WriteOff {
        /// Its id.
        order: String,
    },
}

/// Rows of JSON, or what is wrong, for people.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Value>, String>> + Send + 'a>>;

/// A running seller or buyer.
pub(crate) trait Answers: Send + Sync {
    /// Does what is asked.
    fn answer(&self, request: Request) -> Answer<'_>;
}

/// Where the socket of a seller is.
pub(crate) fn path(role: &RoleHome) -> PathBuf {
    role.file("control.sock")
}

/// Where the socket of a purchase is, by the number of its journal.
pub(crate) fn purchase(role: &RoleHome, number: u32) -> PathBuf {
    role.file(&format!("control-{number}.sock"))
}

//! Trust at first sight: the key that a ledger shows first is remembered, and no other is taken later.

use std::fmt;
use std::sync::Arc;

use sdpp_log::{Policy, PolicyError, VerifierKey};
use sdpp_rail::{Store, StoreError};

use super::HttpLedger;
use crate::client::{ClientError, LedgerClient};
use crate::service::ServiceError;

/// Where a client's store keeps the key that it saw first.
const PINNED: &str = "ledger-client-pinned";

/// Why a ledger is not followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FirstSightError {
    /// It does not answer.
    Service(ServiceError),
    /// It shows another key than it did first: it was replaced, or somebody else answers there.
    AnotherLedger {
        /// The key that is remembered.
        known: String,
        /// The key that it shows now.
        shown: Box<VerifierKey>,
    },
    /// What it shows is no key of a log.
    Policy(PolicyError),
    /// The client's store.
    Store(StoreError),
    /// The client.
    Client(ClientError),
}

impl fmt::Display for FirstSightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(error) => error.fmt(f),
            Self::AnotherLedger { known, shown } => {
                write!(f, "not the ledger that it was: {known} is trusted, {shown} is shown; ask its operator")
            }
            Self::Policy(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Client(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FirstSightError {}

impl LedgerClient {
    /// A client of a served ledger that trusts the key which it shows first, without witnesses, and
    /// remembers it in its store: for trials and for machines that the operator set up. Whoever knows
    /// the key, or its witnesses, gives [`new`](Self::new) a [`Policy`] instead.
    ///
    /// # Errors
    /// [`FirstSightError`].
    pub async fn at_first_sight(ledger: HttpLedger, mut store: Box<dyn Store>) -> Result<Self, FirstSightError> {
        let shown = ledger.claimed_key().await.map_err(FirstSightError::Service)?;
        match store.head(PINNED).map_err(FirstSightError::Store)? {
            Some(known) if known != shown.to_string().as_bytes() => {
                let known = String::from_utf8_lossy(&known).into_owned();
                return Err(FirstSightError::AnotherLedger { known, shown: Box::new(shown) });
            }
            Some(_) => {}
            None => {
                let pin = store.put(PINNED, shown.to_string().as_bytes()).and_then(|()| store.flush());
                pin.map_err(FirstSightError::Store)?;
            }
        }
        let policy = Policy::new(shown, Vec::new(), 0).map_err(FirstSightError::Policy)?;
        Self::new(Arc::new(ledger), policy, Some(store)).map_err(FirstSightError::Client)
    }
}

//! A purchase that runs: what its owner can ask and tell it meanwhile.

use serde_json::{Value, json};
use tokio::sync::watch;

use super::progress::Progress;
use crate::control::{Answer, Answers, Request};
use crate::home::RoleHome;

/// What does not change while a purchase runs.
pub(super) struct Running {
    pub(super) topic: String,
    pub(super) seller: String,
    pub(super) quantity: Option<u64>,
    pub(super) progress: Progress,
    /// Turned true, what came is settled and the order ends.
    pub(super) stop: watch::Sender<bool>,
}

impl Running {
    fn row(&self) -> Value {
        let now = self.progress.now();
        json!({
            "kind": "purchase", "order": now.order.map(|order| order.to_string()), "topic": self.topic,
            "seller": self.seller, "state": if *self.stop.borrow() { "settling" } else { now.connection },
            "messages": now.messages, "quantity": self.quantity, "paid": now.paid.to_string(),
            "at_risk": now.owed.to_string(), "unit": &*now.unit,
        })
    }

    fn end(&self, start: &str) -> Result<Vec<Value>, String> {
        match self.progress.now().order {
            Some(order) if order.to_string().starts_with(start) => {
                self.stop.send_replace(true);
                Ok(Vec::new())
            }
            Some(_) | None => Err(format!("no purchase that runs here has the order {start}")),
        }
    }
}

impl Answers for Running {
    fn answer(&self, request: Request) -> Answer<'_> {
        Box::pin(async move {
            match request {
                Request::Status => Ok(vec![self.row()]),
                Request::End { order } => self.end(&order),
                Request::Pause { .. }
                | Request::Unpause { .. }
                | Request::Price { .. }
                | Request::Reload
                | Request::WriteOff { .. } => {
                    Err("a purchase can be looked at and ended; the rest is for a seller".to_owned())
                }
            }
        })
    }
}

/// What listens for its owner; ends when dropped.
pub(super) struct Listening {
    #[cfg(unix)]
    _control: Option<crate::control::Serving>,
}

impl Running {
    /// Answers on a socket of its own, by the number of its journal. A purchase goes on without, too.
    #[cfg(unix)]
    pub(super) fn listen(self, role: &RoleHome, number: u32) -> Listening {
        let path = crate::control::purchase(role, number);
        let progress = self.progress.clone();
        let control = crate::control::serve(path.clone(), std::sync::Arc::new(self));
        let control = control.inspect_err(|error| {
            progress.line(&format!("note: `sdpp status` cannot see this purchase: {}: {error}", path.display()));
        });
        Listening { _control: control.ok() }
    }

    /// Where there are no Unix sockets, nobody asks.
    #[cfg(not(unix))]
    pub(super) fn listen(self, _: &RoleHome, _: u32) -> Listening {
        Listening {}
    }
}

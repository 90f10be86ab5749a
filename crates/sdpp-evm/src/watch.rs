//! Follows a chain for a payee: one question for the newest block every so often, and one for the contract's events where
//! there is one, however many channels there are. So a requested close is known without a look at each, and a voucher
//! waits for no node.

use std::sync::{Arc, Mutex, PoisonError};

use sdpp_rail::RailError;
use tokio::runtime::Handle;
use tokio::sync::Mutex as Turn;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::limits;
use crate::node::Node;
use crate::views::Views;

/// Ends with its value.
pub(crate) struct Watch {
    follower: Arc<Follower>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Follower {
    node: Arc<Node>,
    views: Arc<Views>,
    /// The newest block whose events are known; none before the first one, and after a gap.
    known: Turn<Option<u64>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }
}

impl Watch {
    pub(crate) fn new(node: Arc<Node>, views: Arc<Views>) -> Self {
        Self { follower: Arc::new(Follower { node, views, known: Turn::new(None) }), task: Mutex::new(None) }
    }

    /// Sees to it that somebody looks every so often from now on, in the runtime of the caller: the one before may have ended
    /// with its runtime.
    pub(crate) fn keep_on(&self) {
        let mut task = self.task();
        if task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            *task = Some(runtime.spawn(follow_for_ever(self.follower.clone())));
        }
    }

    /// Looks now.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: channels have to be looked at one by one.
    pub(crate) async fn follow(&self) -> Result<(), RailError> {
        self.keep_on();
        self.follower.follow().await
    }

    fn task(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn follow_for_ever(follower: Arc<Follower>) {
    loop {
        sleep(limits::WATCH_EVERY).await;
        // An outage is waited out: what was seen gets older meanwhile, and then counts no more.
        if !follower.views.is_empty() && follower.follow().await.is_err() {
            tracing::debug!("the chain cannot be followed now");
        }
    }
}

impl Follower {
    async fn follow(&self) -> Result<(), RailError> {
        let mut known = self.known.lock().await;
        let asked = Instant::now();
        let newest = self.node.newest().await?;
        let happened = match *known {
            Some(before) if before == newest => Vec::new(),
            Some(before) if newest.saturating_sub(before) <= limits::EVENT_BLOCKS_MAX => {
                let from = before.min(newest).saturating_sub(limits::EVENT_BLOCKS_AGAIN);
                self.node.happened(from, newest).await?
            }
            // What happened since the channels were seen nobody knows.
            _ => {
                self.views.look_again();
                Vec::new()
            }
        };
        *known = Some(newest);
        self.views.follow(&happened, asked);
        Ok(())
    }
}

//! Looks at channels that are kept for a moment: a voucher waits for no node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sdpp_proto::codec::ChannelId;
use sdpp_rail::RailError;
use tokio::time::Instant;

use crate::limits;
use crate::node::{Channel, ChannelState, Node};

/// Channels as they were seen last.
pub(crate) struct Views {
    node: Arc<Node>,
    seen: Mutex<BTreeMap<ChannelId, (Channel, Instant)>>,
}

impl Views {
    pub(crate) const fn new(node: Arc<Node>) -> Self {
        Self { node, seen: Mutex::new(BTreeMap::new()) }
    }

    /// A new look at the newest block.
    pub(crate) async fn look(&self, id: &ChannelId) -> Result<Channel, RailError> {
        let channel = self.node.channel(id).await?;
        self.keep(id, channel);
        Ok(channel)
    }

    /// A look that is not too old: a fresh one, or where the node does not answer, one from which on a requested close is
    /// still seen in time.
    pub(crate) async fn recent(&self, id: &ChannelId) -> Result<Channel, RailError> {
        let kept = self.kept(id);
        if let Some((channel, seen)) = kept
            && seen.elapsed() < limits::VIEW_FRESH
        {
            return Ok(channel);
        }
        match (self.look(id).await, kept) {
            (Err(RailError::Unavailable), Some((channel, seen))) if seen.elapsed() < old(&channel) => Ok(channel),
            (answer, _) => answer,
        }
    }

    pub(crate) fn forget(&self, id: &ChannelId) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// There is a new block: what was seen counts no more.
    pub(crate) fn look_again(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn kept(&self, id: &ChannelId) -> Option<(Channel, Instant)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    fn keep(&self, id: &ChannelId, channel: Channel) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if channel.state == ChannelState::Closed {
            seen.remove(id);
            return;
        }
        if seen.len() >= limits::VIEWS_MAX {
            // Ids are random, so this is anybody; it is looked at again.
            seen.pop_first();
        }
        seen.insert(*id, (channel, Instant::now()));
    }
}

fn old(channel: &Channel) -> Duration {
    limits::VIEW_OLD.min(Duration::from_secs(u64::from(channel.grace_s)).checked_div(4).unwrap_or_default())
}

//! Looks at channels that are kept for a while: a voucher waits for no node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sdpp_proto::codec::ChannelId;
use sdpp_rail::RailError;
use tokio::time::Instant;

use crate::limits;
use crate::node::{Channel, ChannelState, Happened, Node};

/// Channels as they were seen last.
pub(crate) struct Views {
    node: Arc<Node>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    seen: BTreeMap<ChannelId, (Channel, Instant)>,
    /// From when it is known what happened to all of them since they were seen; none where nobody follows the chain.
    followed: Option<Instant>,
}

impl Views {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, inner: Mutex::default() }
    }

    /// A new look at the newest block.
    pub(crate) async fn look(&self, id: &ChannelId) -> Result<Channel, RailError> {
        self.node.keeps_up().await?;
        let channel = self.node.channel(id).await?;
        self.keep(id, channel);
        Ok(channel)
    }

    /// A look that is not too old: one that is fresh or was followed, or where the node does not answer, one from which on a
    /// requested close is still seen in time.
    pub(crate) async fn recent(&self, id: &ChannelId) -> Result<Channel, RailError> {
        let kept = self.kept(id);
        if let Some((channel, known)) = kept
            && known.elapsed() < limits::VIEW_FRESH.min(quarter_of_grace(&channel))
        {
            return Ok(channel);
        }
        match (self.look(id).await, kept) {
            (Err(RailError::Unavailable), Some((channel, known)))
                if known.elapsed() < limits::VIEW_OLD.min(quarter_of_grace(&channel)) =>
            {
                Ok(channel)
            }
            (answer, _) => answer,
        }
    }

    /// Whatever was seen last, however long ago, or a first look: for whoever needs what never changes of a channel.
    pub(crate) async fn known(&self, id: &ChannelId) -> Result<Channel, RailError> {
        match self.kept(id) {
            Some((channel, _)) => Ok(channel),
            None => self.look(id).await,
        }
    }

    pub(crate) fn forget(&self, id: &ChannelId) {
        self.lock().seen.remove(id);
    }

    /// There is a new block: what was seen counts no more.
    pub(crate) fn look_again(&self) {
        *self.lock() = Inner::default();
    }

    /// What happened up to a block that was the newest one at this time, without a gap to what was told before.
    pub(crate) fn follow(&self, happened: &[Happened], at: Instant) {
        let mut inner = self.lock();
        for one in happened {
            match *one {
                Happened::CloseRequested { id, close_at } => {
                    if let Some((channel, _)) = inner.seen.get_mut(&id) {
                        channel.state = ChannelState::Closing(close_at);
                    }
                }
                Happened::Closed { id } => {
                    inner.seen.remove(&id);
                }
            }
        }
        inner.followed = Some(at);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().seen.is_empty()
    }

    /// What was seen, and until when it is known to have been so.
    fn kept(&self, id: &ChannelId) -> Option<(Channel, Instant)> {
        let inner = self.lock();
        let (channel, seen) = inner.seen.get(id).copied()?;
        // A node may have lost an event, or a reorganisation may have: each channel is looked at itself now and then.
        let follows = seen.elapsed() < limits::VIEW_FOLLOWED.min(quarter_of_grace(&channel));
        Some((channel, inner.followed.filter(|_| follows).map_or(seen, |followed| followed.max(seen))))
    }

    fn keep(&self, id: &ChannelId, channel: Channel) {
        let mut inner = self.lock();
        // What is not there yet, or not any more by a reorganisation, says nothing when it comes.
        if matches!(channel.state, ChannelState::Closed | ChannelState::Unused) {
            inner.seen.remove(id);
            return;
        }
        if inner.seen.len() >= limits::VIEWS_MAX {
            // Ids are random, so this is anybody; it is looked at again.
            inner.seen.pop_first();
        }
        inner.seen.insert(*id, (channel, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quarter_of_grace(channel: &Channel) -> Duration {
    Duration::from_secs(u64::from(channel.grace_s)).checked_div(4).unwrap_or_default()
}

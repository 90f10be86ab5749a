//! A large body that goes out piece by piece, and is counted until it is gone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{Limits, PIECE_BYTES};

/// Room for bundles on their way out, in all and for one address.
pub(super) struct Room {
    all: Arc<Semaphore>,
    per_address_max: usize,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A place in it, until it is dropped.
pub(super) struct Place {
    _one: OwnedSemaphorePermit,
    address: IpAddr,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Room {
    pub(super) fn new(limits: &Limits) -> Self {
        let all = Arc::new(Semaphore::new(limits.bundles_max));
        Self { all, per_address_max: limits.bundles_per_address_max, taken: Arc::default() }
    }

    /// A place for somebody, if there is one.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let one = self.all.clone().try_acquire_owned().ok()?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= self.per_address_max {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Place { _one: one, address, taken: self.taken.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// The bytes of an entry bundle. A connection takes the next piece only when the last one is mostly
/// sent, so its place lasts as long as the reader needs.
pub(super) struct Bundle {
    pub(super) left: Bytes,
    /// None once everything was handed out.
    pub(super) place: Option<Place>,
}

impl HttpBody for Bundle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            self.place = None;
            return Poll::Ready(None);
        }
        let piece = self.left.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

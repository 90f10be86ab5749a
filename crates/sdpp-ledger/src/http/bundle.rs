//! A large body that goes out piece by piece, and is counted until it is gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::limits::PIECE_BYTES;

/// The bytes of an entry bundle. A connection takes the next piece only when the last one is mostly
/// sent, so the permit lasts as long as the reader needs.
pub(super) struct Bundle {
    pub(super) left: Bytes,
    /// None once everything was handed out.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl HttpBody for Bundle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            self.permit = None;
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

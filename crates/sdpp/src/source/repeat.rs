//! The same bytes again and again.

use std::io;

use sdpp_proto::message::Batch;

use super::{Fill, Filled, Source};
use crate::now_us;

/// The same bytes again and again: for benchmarks.
pub struct Repeat {
    payload: Vec<u8>,
    left: u64,
    count: u64,
}

impl Repeat {
    /// `count` messages of this payload.
    pub const fn new(payload: Vec<u8>, count: u64) -> Self {
        Self { payload, left: count, count }
    }
}

impl Source for Repeat {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            let time = now_us();
            while self.left > 0 && batch.push(time, &self.payload).is_ok() {
                self.left = self.left.saturating_sub(1);
            }
            Ok(if batch.is_empty() { Filled::End } else { Filled::Some })
        })
    }

    fn seek(&mut self, seq: u64) -> io::Result<()> {
        self.left = self.count.saturating_sub(seq);
        Ok(())
    }
}

//! Where a session's messages come from.

use std::io;

use futures_util::FutureExt as _;
use sdpp_proto::message::Batch;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::Offered;
use sdpp_proto::statement::{Signing, Stalled};

use super::Session;
use crate::link::WRITE_AHEAD;
use crate::now;
use crate::recorder::Recorder;
use crate::seller::Event;
use crate::seller::limits::SIGNED_PER_TURN;
use crate::source::{Filled, Source};

/// Where this order's messages come from.
#[derive(Default)]
pub(in crate::seller) struct Supply {
    pub(in crate::seller) source: Option<Box<dyn Source>>,
    pub(super) batch: Batch,
    pub(super) ended: bool,
    /// The last offer found no room; a payment makes some.
    pub(super) stalled: bool,
    /// Live data does not wait for credit (`when_stalled = skip`).
    pub(super) skips: bool,
    /// Messages dropped since credit was used up; the source may know of more.
    pub(super) dropped: u64,
}

impl Supply {
    /// Nothing more is sold; what waits is dropped, and the source is let go: it may hold up an upstream.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.source = None;
        self.batch.clear();
    }

    /// Credit is used up. A live source that can lets the rest pass by itself: what comes wakes nobody then.
    fn stall(&mut self) {
        self.stalled = true;
        if let Some(source) = self.source.as_mut().filter(|_| self.skips) {
            // One that cannot is emptied again and again.
            source.let_pass();
        }
    }

    /// The source has failed: what it gave before is still sold.
    pub(super) fn fail(&mut self, error: &io::Error) {
        tracing::error!(%error, "the product's source has failed; the order is ended and settled");
        self.ended = true;
    }
}

impl Session {
    /// Once live: the order's source, from where it stands.
    fn open_source(&mut self) -> io::Result<()> {
        let Some(account) = self.machine.order() else { return Ok(()) };
        let (order, product) = (&account.terms().order, &account.terms().product);
        let form = order.record.form;
        if let Some(kept) = self.shared.shelf.take(&account.id()) {
            self.recorder = Recorder::start(self.shared.settings.records.clone(), form);
            self.supply = Supply { stalled: false, ..kept };
            return Ok(());
        }
        let offer = self.shared.stock.known(&product.topic).ok_or(io::ErrorKind::NotFound)?;
        let mut source = (offer.source)(order)?;
        // What was skipped has no number, and is behind us all the same.
        source.seek(account.sent().saturating_add(self.figures.skipped))?;
        let batch = match product.signing {
            Signing::Window => Batch::new(),
            Signing::Message => Batch::bounded(SIGNED_PER_TURN),
        };
        let skips = product.when_stalled == Stalled::Skip;
        self.recorder = Recorder::start(self.shared.settings.records.clone(), form);
        self.supply = Supply { source: Some(source), batch, skips, ..Supply::default() };
        Ok(())
    }

    /// Offers what the source has at hand.
    pub(super) fn sell(&mut self) -> bool {
        if !self.machine.is_live() {
            return false;
        }
        if self.supply.source.is_none()
            && !self.supply.ended
            && let Err(error) = self.open_source()
        {
            tracing::error!(%error, "the product's source cannot be opened");
            self.machine.refuse(now(), Reason::Refused);
            return true;
        }
        if self.supply.stalled {
            return self.supply.skips && self.skip();
        }
        if self.link.pending() >= WRITE_AHEAD || self.machine.unsent() > 0 {
            return false;
        }
        let mut moved = self.refill();
        if self.supply.batch.is_empty() {
            if self.supply.ended {
                // Harmless again and again.
                self.machine.finish(now());
            }
            return moved;
        }
        let before = self.supply.batch.len();
        match self.machine.offer(now(), &mut self.supply.batch) {
            Offered::Taken => {}
            Offered::Stalled => {
                self.supply.stall();
                // Now: a batch that is not empty asks its source for nothing, and the next event may be far.
                moved |= self.supply.skips && self.skip();
            }
            Offered::Done => self.supply.end(),
            // What waits is for the next connection.
            Offered::NotLive => {}
            Offered::TooLong => {
                tracing::error!("the source has a message longer than the product allows; the order ends before it");
                self.supply.end();
            }
        }
        moved |= self.supply.batch.len() != before;
        moved
    }

    /// Credit is used up and live data moves on: what is here is dropped before it has a number.
    fn skip(&mut self) -> bool {
        let mut moved = self.refill();
        let dropped = self.supply.batch.len();
        if dropped > 0 {
            self.supply.batch.clear();
            self.supply.dropped = self.supply.dropped.saturating_add(u64::try_from(dropped).unwrap_or(u64::MAX));
            moved = true;
        }
        if self.supply.ended {
            self.machine.finish(now());
        }
        moved
    }

    /// Credit is there again, or the order ends: says what was dropped.
    pub(super) fn count_skipped(&mut self) {
        let passed = self.supply.source.as_mut().map_or(0, |source| source.passed());
        let messages = std::mem::take(&mut self.supply.dropped).saturating_add(passed);
        let Some(order) = self.order.filter(|_| messages > 0) else { return };
        self.figures.skipped = self.figures.skipped.saturating_add(messages);
        self.shared.tally.skipped(messages);
        (self.shared.settings.listener)(&Event::Skipped { order, messages });
    }

    /// Reads ahead from a source that is ready; says whether the source has ended.
    fn refill(&mut self) -> bool {
        if !self.supply.batch.is_empty() || self.supply.ended {
            return false;
        }
        let Some(source) = &mut self.supply.source else { return false };
        match source.fill(&mut self.supply.batch).now_or_never() {
            Some(Ok(Filled::Some)) => true,
            Some(Ok(Filled::End)) => {
                self.supply.ended = true;
                true
            }
            Some(Err(error)) => {
                self.supply.fail(&error);
                true
            }
            None => {
                self.machine.idle(now());
                false
            }
        }
    }
}

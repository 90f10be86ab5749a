//! Where a session's messages come from.

use std::io;

use futures_util::FutureExt as _;
use sdpp_proto::message::Batch;
use sdpp_proto::offence::Reason;
use sdpp_proto::seller::Offered;

use super::Session;
use crate::link::WRITE_AHEAD;
use crate::now;
use crate::recorder::Recorder;
use crate::source::{Filled, Source};

/// Where this order's messages come from.
#[derive(Default)]
pub(super) struct Supply {
    pub(super) source: Option<Box<dyn Source>>,
    pub(super) batch: Batch,
    pub(super) ended: bool,
    /// The last offer found no room; a payment makes some.
    pub(super) stalled: bool,
}

impl Supply {
    /// Nothing more is sold; what waits is dropped.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.batch.clear();
    }

    /// The source has failed: what it gave before is still sold.
    pub(super) fn fail(&mut self, error: &io::Error) {
        tracing::error!(%error, "the product's source has failed; the order is ended and settled");
        self.ended = true;
    }
}

impl Session {
    /// Once live: the order's source, from where it stands.
    pub(super) fn open_source(&mut self) -> io::Result<()> {
        let Some(account) = self.machine.order() else { return Ok(()) };
        let order = &account.terms().order;
        let offers = &self.shared.settings.offers;
        let offer = offers.iter().find(|offer| offer.product.id == order.product);
        let offer = offer.ok_or(io::ErrorKind::NotFound)?;
        let mut source = (offer.source)(order)?;
        source.seek(account.sent())?;
        let form = order.record.form;
        self.recorder = Some(Recorder::start(self.shared.settings.records.clone(), form));
        self.supply = Supply { source: Some(source), ..Supply::default() };
        Ok(())
    }

    /// Offers what the source has at hand.
    pub(super) fn sell(&mut self) -> io::Result<bool> {
        if !self.machine.is_live() {
            return Ok(false);
        }
        if self.supply.source.is_none()
            && !self.supply.ended
            && let Err(error) = self.open_source()
        {
            tracing::error!(%error, "the product's source cannot be opened");
            self.machine.refuse(now(), Reason::Refused);
            return Ok(true);
        }
        if self.supply.stalled || self.link.pending() >= WRITE_AHEAD {
            return Ok(false);
        }
        let mut moved = self.refill()?;
        if self.supply.batch.is_empty() {
            if self.supply.ended {
                // Harmless again and again.
                self.machine.finish(now());
            }
            return Ok(moved);
        }
        let before = self.supply.batch.len();
        match self.machine.offer(now(), &mut self.supply.batch) {
            Offered::Taken => {}
            Offered::Stalled => self.supply.stalled = true,
            Offered::Done | Offered::NotLive => self.supply.end(),
            Offered::TooLong => {
                tracing::error!("the source has a message longer than the product allows; the order ends before it");
                self.supply.end();
            }
        }
        moved |= self.supply.batch.len() != before;
        Ok(moved)
    }

    /// Reads ahead from a source that is ready; says whether the source has ended.
    pub(super) fn refill(&mut self) -> io::Result<bool> {
        if !self.supply.batch.is_empty() || self.supply.ended {
            return Ok(false);
        }
        let Some(source) = &mut self.supply.source else { return Ok(false) };
        match source.fill(&mut self.supply.batch).now_or_never() {
            Some(Ok(Filled::Some)) => Ok(true),
            Some(Ok(Filled::End)) => {
                self.supply.ended = true;
                Ok(true)
            }
            Some(Err(error)) => {
                self.supply.fail(&error);
                Ok(true)
            }
            None => {
                self.machine.idle(now());
                Ok(false)
            }
        }
    }
}

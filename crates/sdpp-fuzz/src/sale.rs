//! An honest sale between the two shipped machines: what goes over the wire, and what both journals keep.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use sdpp_proto::buyer::{self, Buyer, BuyerOrder, OrderDraft};
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::frame::FrameHeader;
use sdpp_proto::journal::Entry;
use sdpp_proto::message::Batch;
use sdpp_proto::seller::{self, Offered, Seller, SellerConfig, SellerOrder};
use sdpp_proto::time::Timestamp;

use crate::kit::{self, START};

/// Steps after which a sale must have come to rest.
const STEPS_MAX: usize = 5_000;

/// One connection of an order, driven in memory.
pub(crate) struct Sale {
    pub(crate) now: Timestamp,
    pub(crate) config: Arc<SellerConfig>,
    pub(crate) seller: Seller,
    pub(crate) buyer: Buyer,
    pub(crate) draft: OrderDraft,
    /// Accounts of earlier connections.
    pub(crate) known: (Option<Box<SellerOrder>>, Option<Box<BuyerOrder>>),
    /// Rows of both journals.
    pub(crate) rows: (Vec<Entry>, Vec<Entry>),
    /// Every frame: whether it went to the buyer, and its bytes.
    pub(crate) frames: Vec<(bool, Vec<u8>)>,
    /// Messages that the buyer got, in canonical form.
    pub(crate) sink: Vec<u8>,
    pub(crate) ended: (Option<seller::Ended>, Option<buyer::Ended>),
    /// Invoices that the rail was asked to pay.
    pub(crate) rail: BTreeSet<StatementId>,
    moves: bool,
    ramp: bool,
    source: u64,
    batch: Batch,
}

/// How sales differ.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Which product.
    pub(crate) product: usize,
    /// Whether money moves when the buyer pays.
    pub(crate) moves: bool,
    pub(crate) ramp: bool,
    /// The connection breaks after so many messages; none: the sale runs to its end.
    pub(crate) until: Option<u64>,
}

pub(crate) const PLANS: [Plan; 6] = [
    Plan { product: 0, moves: false, ramp: false, until: None },
    Plan { product: 0, moves: true, ramp: true, until: Some(25) },
    Plan { product: 1, moves: false, ramp: false, until: Some(30) },
    Plan { product: 2, moves: false, ramp: false, until: Some(20) },
    Plan { product: 3, moves: false, ramp: true, until: Some(21) },
    Plan { product: 4, moves: true, ramp: false, until: None },
];

/// The sales of all plans, as far as they go.
pub(crate) fn sales() -> &'static [(Plan, Sale)] {
    static SALES: LazyLock<Vec<(Plan, Sale)>> = LazyLock::new(|| {
        let run = |plan: Plan| {
            let mut sale = Sale::new(plan, [1, 2]);
            sale.run(plan.until.unwrap_or(u64::MAX));
            (plan, sale)
        };
        PLANS.into_iter().map(run).collect()
    });
    &SALES
}

impl Sale {
    /// A fresh connection of both machines; `seeds` are their randomness.
    pub(crate) fn new(plan: Plan, seeds: [u8; 2]) -> Self {
        let config = kit::sellers()[plan.product].clone();
        // An order of its own for each plan: in two histories of one order its buyer would contradict itself.
        let nonce = Bytes32([5 + u8::from(plan.moves); 32]);
        let draft = OrderDraft { nonce, ..kit::draft(&config.menu.products[0]) };
        Self {
            now: START,
            seller: Seller::new(config.clone(), [seeds[0]; 32], START),
            buyer: Buyer::new(kit::buyer(plan.moves), [seeds[1]; 32], START),
            config,
            draft,
            known: (None, None),
            rows: (Vec::new(), Vec::new()),
            frames: Vec::new(),
            sink: Vec::new(),
            ended: (None, None),
            rail: BTreeSet::new(),
            moves: plan.moves,
            ramp: plan.ramp,
            source: 0,
            batch: Batch::new().sharing(0),
        }
    }

    /// Messages that the buyer got on this connection.
    pub(crate) fn delivered(&self) -> u64 {
        self.buyer.order().map_or(0, BuyerOrder::delivered)
    }

    /// Runs until the buyer has so many messages, or nothing moves any more.
    pub(crate) fn run(&mut self, until: u64) {
        for _ in 0..STEPS_MAX {
            if self.delivered() >= until || !self.step() {
                return;
            }
        }
        panic!("the sale does not come to rest");
    }

    fn step(&mut self) -> bool {
        self.now = self.now.after_ms(7);
        let mut moved = self.offer();
        while let Some(output) = self.seller.poll_output(self.now) {
            moved = true;
            self.answer_seller(output);
        }
        while let Some(output) = self.buyer.poll_output(self.now) {
            moved = true;
            self.answer_buyer(output);
        }
        let (mut to_buyer, mut to_seller) = (Vec::new(), Vec::new());
        moved |= self.seller.poll_transmit(self.now, &mut to_buyer, usize::MAX);
        moved |= self.buyer.poll_transmit(self.now, &mut to_seller);
        for frame in frames(&mut to_buyer) {
            self.frames.push((true, frame.to_vec()));
            let Ok(delivery) = self.buyer.handle_frame(self.now, frame) else { continue };
            for (_, message) in delivery.messages() {
                self.sink.extend_from_slice(&message.time_us.to_be_bytes());
                self.sink.extend_from_slice(&(message.bytes.len() as u32).to_be_bytes());
                self.sink.extend_from_slice(message.bytes);
                self.sink.extend_from_slice(message.signature.map_or(&[], |signature| &signature[..]));
            }
        }
        for frame in frames(&mut to_seller) {
            self.frames.push((false, frame.to_vec()));
            // An offence shows in the output.
            let _ = self.seller.handle_frame(self.now, frame);
        }
        moved
    }

    fn offer(&mut self) -> bool {
        if !self.seller.is_live() {
            return false;
        }
        while self.batch.len() < 10 {
            self.batch.push(self.source as i64, &kit::message(self.source)).expect("a small message");
            self.source += 1;
        }
        let before = self.batch.len();
        let offered = self.seller.offer(self.now, &mut self.batch);
        // Time is sold without end: somebody has to stop.
        if offered == Offered::Done || (self.draft.quantity.is_none() && self.source > 60) {
            self.seller.finish(self.now);
        }
        self.batch.len() != before
    }

    fn answer_seller(&mut self, output: seller::Output) {
        match output {
            seller::Output::Admit(_) => {
                let admission = kit::admission(&self.draft, self.ramp);
                let admitted = match self.known.0.take() {
                    Some(account) => self.seller.readmit(self.now, account, &admission),
                    None => self.seller.admit(self.now, &admission),
                };
                assert!(admitted, "a decision was asked for");
            }
            seller::Output::Store { id, entries } => {
                self.rows.0.extend(entries);
                self.seller.stored(self.now, id);
            }
            seller::Output::Settle(settle) => {
                let proved = settle.payment.proof.as_deref() == Some(&settle.payment.invoice_id.0[..]);
                self.seller.settled(self.now, &settle.payment.id(), proved || !self.moves);
            }
            seller::Output::Record(statement) => self.seller.recorded(statement.id, Bytes32([7; 32])),
            seller::Output::Event(_) => {}
            seller::Output::Closed(ended) => self.ended.0 = Some(ended),
        }
    }

    fn answer_buyer(&mut self, output: buyer::Output) {
        match output {
            buyer::Output::Menu(_) => match self.known.1.take() {
                Some(account) => assert!(self.buyer.resume(self.now, account).is_ok(), "it is time to choose"),
                None => {
                    self.buyer.place(self.now, self.draft.clone()).expect("an order that can be had");
                }
            },
            buyer::Output::Store { id, entries, .. } => {
                self.rows.1.extend(entries);
                self.buyer.stored(self.now, id);
            }
            buyer::Output::RecordOrder(order) => self.buyer.recorded(order.id, Some(Bytes32([6; 32]))),
            buyer::Output::Pay { invoice, .. } => {
                self.rail.insert(invoice.id());
                let proof = self.moves.then(|| invoice.id().0.to_vec());
                self.buyer.paid(&invoice.id(), proof);
            }
            buyer::Output::Recall(invoices) => {
                let paid = invoices.into_iter().find(|invoice| self.rail.contains(invoice));
                self.buyer.recalled(self.now, paid);
            }
            buyer::Output::Record(_) | buyer::Output::Event(_) | buyer::Output::Sample(_) | buyer::Output::Quote(_) => {
            }
            buyer::Output::Closed(ended) => self.ended.1 = Some(ended),
        }
    }
}

/// Splits a stream of whole frames.
pub(crate) fn frames(bytes: &mut [u8]) -> Vec<&mut [u8]> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Ok(Some(header)) = FrameHeader::peek(rest) {
        let (frame, behind) = rest.split_at_mut(header.frame_len());
        out.push(frame);
        rest = behind;
    }
    assert!(rest.is_empty(), "machines write whole frames");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sale_has_an_order_of_its_own() {
        let orders: BTreeSet<StatementId> = sales().iter().map(|(_, sale)| sale.buyer.order().unwrap().id()).collect();
        assert_eq!(orders.len(), PLANS.len());
    }
}
